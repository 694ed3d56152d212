/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Settings of VMs by both doors, the device and the files, and what is to be found of them.
 *
 * policy_set() and its like return 0 or errno. As in vmm.h, what a test cannot do without fails by
 * die().
 */
#ifndef SELFTESTS_POLICY_H
#define SELFTESTS_POLICY_H

#include <linux/kvmgang.h>
#include <stdint.h>

#include "vmm.h"

#define DEFAULTS	0			/* for a VM's id */
#define ALL_KEYS	((1ULL << KVMGANG_NR_KEYS) - 1)
#define BIT(key)	(1ULL << (key))

extern const char * const policy_key_names[KVMGANG_NR_KEYS];
extern const __u64 policy_builtin[KVMGANG_NR_KEYS];

/* Open for reading and writing after policy_begin(). */
extern int policy_device;

int policy_open(int access);

/* Every test begins without VMs and with the defaults built in, whatever the last one left. */
void policy_begin(void);
uint32_t policy_begin_with_guest(void);

/* A VM that sleeps; its id. */
uint32_t policy_start_guest(struct vm **vm);

int policy_call(int fd, unsigned int cmd, struct kvmgang_policy *policy);
int policy_set(struct kvmgang_policy policy);
int policy_set_one(uint32_t vm_id, enum kvmgang_key key, __u64 value);
int policy_set_skew(uint32_t vm_id, __u64 costop_us, __u64 costart_us);
int policy_reset(uint32_t vm_id, __u64 keys);
struct kvmgang_policy policy_get(uint32_t vm_id);

/* @path: PATH_MAX bytes. The files of a VM come a little after the VM. */
void policy_path(char *path, uint32_t vm_id, const char *file);
int policy_write(uint32_t vm_id, const char *file, const char *text);
void policy_await_files(uint32_t vm_id);

void expect_setting(uint32_t vm_id, enum kvmgang_key key, __u64 value, enum kvmgang_origin origin);
void expect_builtin(uint32_t vm_id);

/* The defaults and a VM's settings, to see afterwards that nothing has changed. */
struct policies {
	struct kvmgang_policy defaults, vm;
};

struct policies policy_look(uint32_t vm_id);
void expect_unchanged(const struct policies *before, uint32_t vm_id);

#endif /* SELFTESTS_POLICY_H */
