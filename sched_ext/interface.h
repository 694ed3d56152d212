/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the scheduler and the command tell each other: faults that a test asks for, why the
 * scheduler left, and what it counted. Both are always of one build, so this is no ABI.
 *
 * Included after vmlinux.h by one and after <linux/types.h> by the other.
 */
#ifndef KVMGANG_INTERFACE_H
#define KVMGANG_INTERFACE_H

/* NUMA nodes that are told apart. */
#define MAX_NODES	16

/*
 * What befalls a thread called FAULTY_COMM as soon as it wants to run. Tests must see the kernel
 * throw the scheduler out for what really happened; in production it is FAULT_NONE, and the
 * verifier removes the code.
 */
#define FAULTY_COMM	"kvmgang-faulty"

enum fault {
	FAULT_NONE,
	FAULT_ERROR,		/* the scheduler finds an error in itself */
	FAULT_STALL,		/* the thread is forgotten */
	FAULT_ABI,		/* no thread needed: the module's kfuncs seem to be others */
};

/* Why the scheduler left, as far as it decides whether to come back. */
enum exit_why {
	EXIT_DETACHED,		/* its BPF link was closed or detached */
	EXIT_OPERATOR,		/* sysrq-S */
	EXIT_RESTART,		/* the kernel wants it to start anew, as after CPU hotplug */
	EXIT_FAULT,		/* an error, a stall, or anything else */
};

#define EXIT_TEXT_SIZE	1024	/* of the kernel's longest message */

struct sched_exit {
	__u32 why;
	char reason[64];		/* the kernel's words for its kind of exit */
	char message[EXIT_TEXT_SIZE];	/* and for this one; may be empty */
};

/*
 * What happened on a node. Each pCPU counts by itself, in a record of its own for every node; the
 * sum over the pCPUs is the truth.
 */
enum sched_event {
	EVENT_WINDOW,		/* a window was elected */
	EVENT_MEMBER,		/* a pCPU took a slot of a window: for a VM's vCPU or a host task */
	EVENT_BACKFILL,		/* a pCPU without a slot took somebody who waited */
	EVENT_COSTOP,		/* a leading vCPU was held back for its siblings */
	EVENT_YIELD,		/* directed yields asked for ... */
	EVENT_YIELD_HONOURED,	/* ... and granted */
	EVENT_CREDIT,		/* a task ran outside its window, on credit */
	EVENT_THROTTLE,		/* a VM had used up what its limit allows */
	EVENT_HOME_MOVE,	/* a VM got this node as its home instead of another one */
	NR_EVENTS
};

struct sched_stats {
	__u64 nr[NR_EVENTS];
};

enum target_state {
	TARGET_NONE,		/* no VM has a ready target */
	TARGET_KEPT,		/* or is about to be */
	TARGET_LEAST,		/* not kept, though all others have the least that they can have */
	TARGET_UNMET,		/* VMs with targets want more than there is: all compete */
	NR_TARGET_STATES
};

/* A node's ready targets, as of the last period. */
struct target_report {
	__u32 state;		/* enum target_state */
	__u32 want;		/* milli-pCPU that the VMs with targets want together, ... */
	__u32 capacity;		/* ... and what there is for them */
};

/* By these names, which the kernel cuts to 15 characters, another process finds the maps. */
#define SCHED_NAME	"kvmgang"		/* sched_ext_ops.name */
#define STATS_MAP	"kvmgang_stats"
#define STATS_PROG	"kvmgang_yield"		/* one that counts */
#define TARGETS_MAP	"kvmgang_targets"
#define TARGETS_PROG	"kvmgang_init"		/* one that knows of them */

#endif /* KVMGANG_INTERFACE_H */
