/* SPDX-License-Identifier: GPL-2.0 */
/* What VMs are to get: settings by VM, and the defaults. See policy.c. */
#ifndef KVMGANG_POLICY_H
#define KVMGANG_POLICY_H

#include <linux/types.h>

#include "policy_keys.h"

struct kvmgang_vm;
struct kvmgang_vm_policy;

/* Of one VM; all zero: nothing was set or told. */
struct kvmgang_vm_settings {
	struct policy_settings own;	/* the user's */
	struct policy_settings cgroup;	/* told by the scheduler */
	u64 auto_home;			/* home nodes unless the user says which */
};

/* One value of each key, and where it comes from. */
struct policy_view {
	u64 generation;			/* the values are at least as new */
	u64 value[KVMGANG_NR_KEYS];
	u32 origin[KVMGANG_NR_KEYS];
};

/* What a user asks for. */
struct policy_request {
	u32 vm_id;			/* 0: the defaults */
	u64 reset;			/* keys */
	struct policy_settings set;
	u64 bad;			/* out: the keys for which it was refused */
	u32 bad_vm;			/* out: the VM that refuses a default */
	struct {			/* out, with -ENOSPC: pCPUs of which too much is reserved */
		u64 nodes;		/* theirs; 0: all that the host has */
		u64 capacity, reserved;	/* milli-pCPU; the latter as it would be */
	} full;
};

/*
 * Carries out @request as a whole, or not at all: the one way for users to change something. Errors
 * are those of KVMGANG_SET_POLICY. Process context, in which the caller's privilege is looked at;
 * may sleep.
 */
int policy_change(struct policy_request *request);

/* The settings of a VM, or with 0 the defaults. -ENOENT: no such VM. Any context. */
int policy_read(u32 vm_id, struct policy_view *view);

/*
 * For the scheduler, see kfunc.c. Run queue locks may be held. -ENOENT: no such VM; -ERANGE: not
 * allowed.
 */
u64 policy_generation(void);
int policy_for_scheduler(u32 vm_id, struct kvmgang_vm_policy *out);
int policy_tell_home(u32 vm_id, u64 nodes);
int policy_tell_cgroup(u32 vm_id, u32 key, u64 value);

/* Brings kvmgang_vm::home_nodes up to date. @vm is on the list of VMs; any context. */
void policy_update_home(struct kvmgang_vm *vm);

#endif /* KVMGANG_POLICY_H */
