/* SPDX-License-Identifier: GPL-2.0 */
/* The VM that is meant on the command line. What does not name one ends the command. */
#ifndef KVMGANG_FIND_H
#define KVMGANG_FIND_H

#include "sample.h"

/* Needs no device, so that a mistake is reported without one. */
__u32 parse_vm(const char *arg);

/* The id of @arg, of which parse_vm() made @id. */
__u32 find_vm(const struct sample *sample, const char *arg, __u32 id);

#endif /* KVMGANG_FIND_H */
