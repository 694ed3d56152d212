/* SPDX-License-Identifier: GPL-2.0 */
/* The release, of module and tool alike. What they may expect of each other is in KVMGANG_ABI. */
#ifndef KVMGANG_VERSION_H
#define KVMGANG_VERSION_H

#define KVMGANG_VERSION	"0.1"

#endif /* KVMGANG_VERSION_H */
