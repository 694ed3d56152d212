/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/kvmgang: see chardev.c. Both may sleep. */
#ifndef KVMGANG_CHARDEV_H
#define KVMGANG_CHARDEV_H

int chardev_init(void);
void chardev_exit(void);

#endif /* KVMGANG_CHARDEV_H */
