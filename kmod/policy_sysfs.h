/* SPDX-License-Identifier: GPL-2.0 */
/* Settings as files: see policy_sysfs.c. All may sleep. */
#ifndef KVMGANG_POLICY_SYSFS_H
#define KVMGANG_POLICY_SYSFS_H

struct kobject;
struct kvmgang_vm;

/* The defaults' directory in @root. */
int policy_sysfs_init(struct kobject *root);
void policy_sysfs_exit(void);

/* The settings' directory in kvmgang_vm::dir, for the caller to delete and put; NULL: no memory. */
struct kobject *policy_sysfs_add(const struct kvmgang_vm *vm);

#endif /* KVMGANG_POLICY_SYSFS_H */
