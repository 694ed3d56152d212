/* SPDX-License-Identifier: GPL-2.0 */
/* What a sched_ext scheduler may ask and tell: see kfunc.c. It may include this after vmlinux.h. */
#ifndef KVMGANG_KFUNC_H
#define KVMGANG_KFUNC_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/*
 * Grows with every change of a kfunc's meaning or signature. A scheduler compares it with the one
 * it was built for before it attaches.
 */
#define KVMGANG_KFUNC_ABI	6

/* What a VM is to get: inherited and told values are resolved. */
struct kvmgang_vm_policy {
	__u64 generation;		/* the rest is at least as new */
	__u64 home_nodes;		/* the user's; 0: auto, the scheduler chooses */
	__u64 home;		/* nodes that count as home now, whoever chose them */
	__u32 shares;
	__u32 gang;		/* enum kvmgang_gang */
	__u32 costop_us;
	__u32 costart_us;
	__u32 limit;			/* milli-pCPU; 0: none */
	__u32 reservation;		/* milli-pCPU */
	__u32 latency;			/* enum kvmgang_latency */
	__u32 ready_target;		/* permille; 0: none */
	__u32 isolation;		/* enum kvmgang_isolation */
	__u32 reserved;
};

/* At insmod; may sleep. The kfuncs go with the module, which BPF programs hold. */
int kfunc_init(void);

#endif /* KVMGANG_KFUNC_H */
