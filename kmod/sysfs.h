/* SPDX-License-Identifier: GPL-2.0 */
/* /sys/kernel/kvmgang: see sysfs.c. All may sleep. */
#ifndef KVMGANG_SYSFS_H
#define KVMGANG_SYSFS_H

struct kvmgang_vm;

int sysfs_init(void);
void sysfs_exit(void);

/*
 * Makes what is missing of @vm's directories, or removes them. Only the worker in vcpu.c calls
 * these. A directory that cannot be made is reported once in the log and left out; the account is
 * not affected.
 */
void sysfs_add_vm(struct kvmgang_vm *vm);
void sysfs_remove_vm(struct kvmgang_vm *vm);

#endif /* KVMGANG_SYSFS_H */
