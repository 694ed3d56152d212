/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * kvmgang: where every vCPU's time goes, as /dev/kvmgang tells it, and what each VM is to get.
 *
 * Every ioctl takes a pointer to a struct, aligned to 8 bytes, whose first member is its size as
 * the caller knows it. A caller that knows a longer struct than the kernel must leave the unknown
 * tail zero; a caller that knows a shorter one is served as long as it reaches the end of the ABI
 * 1 layout. All reserved members must be zero. A failed call changes nothing, except where a
 * struct's comment says that a needed size or the reason comes back.
 *
 *   EACCES      opening the node without permission
 *   EBADF       to read, the node must be open for reading; to change, for writing
 *   EPERM       to change without CAP_SYS_NICE, which is asked for at the call
 *   ENOTTY      no such ioctl
 *   EFAULT      a pointer that cannot be read or written
 *   EINVAL      size below the ABI 1 layout, misaligned pointer, unknown flag, reserved member set
 *   ERANGE      a setting that is out of its range
 *   E2BIG       size beyond the kernel's and the tail is not zero, or beyond a page
 *   ENOENT      no such VM, or the thread is no vCPU
 *   ENOSPC      a buffer is too small, or pCPUs are too few for what is to be reserved of them; the
 *               needed counts, or the figures, come back
 *   ENOMEM      no memory for the copy
 *
 * Times are nanoseconds of the scheduler's clock (local_clock()); they never go backwards.
 */
#ifndef _UAPI_LINUX_KVMGANG_H
#define _UAPI_LINUX_KVMGANG_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KVMGANG_ABI		1

#define KVMGANG_DEVICE		"/dev/kvmgang"

/*
 * The state of a vCPU: at every instant exactly one of these. The sum of the six times is
 * now_ns - born_ns, to the nanosecond, in every row that the kernel hands out.
 */
enum kvmgang_state {
	KVMGANG_RUN,		/* on a pCPU, in the guest or working for it (esxtop %RUN) */
	KVMGANG_READY,		/* runnable, waiting because pCPUs are busy (%RDY less %MLMTD) */
	KVMGANG_COSTOP,		/* runnable, held back by gang policy (%CSTP) */
	KVMGANG_THROTTLED,	/* runnable, held back by its VM's limit (%MLMTD) */
	KVMGANG_HALTED,		/* asleep because the guest is idle (%IDLE) */
	KVMGANG_BLOCKED,	/* asleep for anything else, or served by no thread (%VMWAIT) */
	KVMGANG_NR_STATES
};

/* Who had the pCPU while a vCPU was ready. */
enum kvmgang_displacer {
	KVMGANG_BY_VM,		/* a vCPU of another VM */
	KVMGANG_BY_SIBLING,	/* a vCPU of the same VM: two siblings stacked on one pCPU */
	KVMGANG_BY_HOST,	/* a host thread */
	KVMGANG_BY_KTHREAD,	/* a kernel thread bound to that pCPU, as interrupt work is */
	KVMGANG_BY_NOBODY,	/* the wake-up and the switch themselves */
	KVMGANG_NR_DISPLACERS
};

/* How far a vCPU moved when it next ran elsewhere. A node move is also an LLC and a pCPU move. */
enum kvmgang_migration {
	KVMGANG_MIGRATED_CPU,
	KVMGANG_MIGRATED_LLC,
	KVMGANG_MIGRATED_NODE,
	KVMGANG_NR_MIGRATIONS
};

/*
 * Bucket 0 of the ready histogram counts episodes shorter than 2^10 ns, bucket i those of
 * [2^(i+9), 2^(i+10)) ns; the last, from 2^40 ns (18 minutes), has no upper bound.
 */
#define KVMGANG_READY_BUCKETS	32
#define KVMGANG_READY_SHIFT	10

/* How many displacing VMs a vCPU remembers by name; the smallest makes room for a new one. */
#define KVMGANG_TOP_DISPLACERS	4

/*
 * Monotonic counters of one vCPU, or the sums of a VM's vCPUs. Nothing but __u64, so that a sum is
 * one loop. New ones are appended; the sizes of the arrays in it are part of the ABI.
 */
struct kvmgang_counters {
	__u64 state_ns[KVMGANG_NR_STATES];
	__u64 run_remote_ns;		/* part of run spent off the VM's home nodes */
	__u64 run_shared_ns;		/* part of run while the SMT sibling ran a foreign task */
	__u64 switches;			/* times the vCPU left a pCPU */
	__u64 preemptions;		/* of these, while still runnable */
	__u64 wakeups;			/* times it ran again after sleeping */
	__u64 migrations[KVMGANG_NR_MIGRATIONS];
	__u64 yields_asked;		/* directed yields (PLE, hypercall) asked by this vCPU */
	__u64 yields_honoured;		/* of these, granted by the scheduler */
	__u64 displaced_ns[KVMGANG_NR_DISPLACERS]; /* ready by displacer, of ended episodes */
	__u64 ready_hist[KVMGANG_READY_BUCKETS];   /* ended ready episodes by length */
	__u64 forced_idle_ns;		/* of a VM only: pCPUs idle because it is isolated */
};

/*
 * ns of ready time, of ended episodes, during which VM vm_id had the pCPU. vm_id 0: unused. In no
 * order; a VM that was forgotten to make room begins again at 0.
 */
struct kvmgang_top_displacer {
	__u32 vm_id;
	__u32 reserved;
	__u64 ns;
};

struct kvmgang_vm_row {
	__u32 vm_id;		/* from 1, never reused while the module is loaded */
	__s32 pid;		/* of the VMM in the caller's pid namespace, 0 if not visible */
	__u32 nr_vcpus;		/* that have entered the guest at least once */
	__u32 reserved;
	__u64 home_nodes;	/* bit n: NUMA node n is a home node, whoever chose it */
	__u64 born_ns;		/* birth of the first vCPU's record */
	struct kvmgang_counters sum;	/* last, because it grows */
};

struct kvmgang_vcpu_row {
	__u32 vm_id;
	__u32 vcpu_id;		/* as the VMM gave it to KVM_CREATE_VCPU */
	__s32 tid;		/* in the caller's pid namespace, 0 if no thread serves the vCPU */
	__u32 state;		/* enum kvmgang_state at now_ns */
	__s32 cpu;		/* pCPU it runs on or ran on last */
	__s32 node;		/* NUMA node of that pCPU */
	__u64 born_ns;		/* first guest entry that the module saw */
	__u64 now_ns;		/* the instant up to which the counters are complete */
	struct kvmgang_top_displacer top[KVMGANG_TOP_DISPLACERS];
	struct kvmgang_counters count;	/* last, because it grows */
};

/**
 * struct kvmgang_info - KVMGANG_INFO
 * @size: sizeof(struct kvmgang_info)
 * @flags: must be 0
 * @out_abi: KVMGANG_ABI of the module
 * @out_kfunc_abi: what a sched_ext scheduler checks before it attaches
 * @out_nr_vms: VMs known now
 * @out_nr_vcpus: vCPUs known now
 * @out_vcpu_bytes: kernel memory of one vCPU's record and its thread's, sysfs not counted
 * @out_max_vms: most VMs that are accounted at a time; later ones are counted in @out_refused
 * @out_max_vcpus: most vCPUs that are accounted at a time
 * @out_reserved: 0
 * @out_read_lag_ns: vCPUs are reported as of this long before the read, or up to ten times as long
 *	if they are about to be preempted
 * @out_refused: vCPUs not accounted, for lack of memory or beyond a maximum, counted at each try
 * @out_forced_idle_ns: time that pCPUs stood idle for the sake of any VM's isolation, see
 *	KVMGANG_KEY_ISOLATION; of VMs that have ended, too
 *
 * Context: any thread with the node open for reading; may sleep.
 */
struct kvmgang_info {
	__u32 size;
	__u32 flags;
	__u32 out_abi;
	__u32 out_kfunc_abi;
	__u32 out_nr_vms;
	__u32 out_nr_vcpus;
	__u32 out_vcpu_bytes;
	__u32 out_max_vms;
	__u32 out_max_vcpus;
	__u32 out_reserved;
	__aligned_u64 out_read_lag_ns;
	__aligned_u64 out_refused;
	__aligned_u64 out_forced_idle_ns;
};

/**
 * struct kvmgang_snapshot - KVMGANG_SNAPSHOT
 * @size: sizeof(struct kvmgang_snapshot)
 * @flags: must be 0
 * @vm_id: one VM only, or 0 for all
 * @vm_row_size: sizeof(struct kvmgang_vm_row) as the caller knows it, a multiple of 8
 * @vcpu_row_size: sizeof(struct kvmgang_vcpu_row) as the caller knows it, a multiple of 8
 * @reserved: must be 0
 * @nr_vms: in: rows that @vms has room for; out: rows written, or needed (ENOSPC)
 * @nr_vcpus: the same for @vcpus
 * @vms: address of the VM rows, aligned to 8 bytes
 * @vcpus: address of the vCPU rows, aligned to 8 bytes, grouped by VM in the order of @vms, each
 *	in the order of birth
 * @out_begin_ns: clock before the first row was read
 * @out_end_ns: clock after the last row was read, and no less than any row's now_ns, though pCPUs'
 *	clocks may differ
 *
 * A VM row's sums and its nr_vcpus are those of its vCPU rows in the same call, but for
 * forced_idle_ns, of which a vCPU has none. A row longer than
 * the kernel's is filled up with zeros, a shorter one is cut. ENOENT: @vm_id is no VM.
 *
 * Context: any thread with the node open for reading; may sleep; pauses no guest.
 */
struct kvmgang_snapshot {
	__u32 size;
	__u32 flags;
	__u32 vm_id;
	__u32 vm_row_size;
	__u32 vcpu_row_size;
	__u32 reserved;
	__u32 nr_vms;
	__u32 nr_vcpus;
	__aligned_u64 vms;
	__aligned_u64 vcpus;
	__aligned_u64 out_begin_ns;
	__aligned_u64 out_end_ns;
};

/**
 * struct kvmgang_lookup - KVMGANG_LOOKUP: which vCPU does a thread serve?
 * @size: sizeof(struct kvmgang_lookup)
 * @flags: must be 0
 * @tid: the thread, in the caller's pid namespace
 * @out_vm_id: its VM
 * @out_vcpu_id: its vCPU
 * @out_reserved: 0
 *
 * ENOENT: no such thread, or it serves no vCPU.
 *
 * Context: any thread with the node open for reading; may sleep.
 */
struct kvmgang_lookup {
	__u32 size;
	__u32 flags;
	__s32 tid;
	__u32 out_vm_id;
	__u32 out_vcpu_id;
	__u32 out_reserved;
};

/*
 * What can be set of a VM. Who changes a default changes all VMs of which this key is not set. New
 * keys are appended.
 *
 * KVMGANG_KEY_SHARES: relative weight of the VM, KVMGANG_SHARES_MIN to _MAX; 100. Without a setting
 * of its own a VM has the weight of its cgroup (cpu.weight), unless that is 100, if the scheduler
 * that is or was attached told the module of it.
 *
 * KVMGANG_KEY_GANG: an enum kvmgang_gang; auto.
 *
 * KVMGANG_KEY_COSTOP_US, KVMGANG_KEY_COSTART_US: by how many microseconds the vCPU that is farthest
 * may be ahead of the slowest runnable one before it is held back, and when it is let go;
 * KVMGANG_SKEW_US_MIN to _MAX; 3000 and 2000. co-start is never above co-stop, for no VM and not in
 * the defaults.
 *
 * KVMGANG_KEY_HOME_NODES: bit n: NUMA node n, which must have CPUs or memory; 0: auto, which is the
 * default. Then home is what the scheduler chooses, and until it does, the node on which the VM's
 * first vCPU entered the guest first. struct kvmgang_vm_row has the nodes that result. It chooses
 * one, or as many as it takes for a VM of more vCPUs than any node has pCPUs; rather one that has
 * most of the VM's memory, if there is room.
 *
 * KVMGANG_KEY_LIMIT: what all vCPUs of the VM together use at most, in thousandths of a pCPU
 * (milli-pCPU), up to KVMGANG_MILLI_PCPU_MAX; 0: no limit, which is the default. The scheduler
 * enforces it by stopping all vCPUs together, for 2 s at most, in which those that want to run are
 * throttled. Hence the vCPUs of a VM with a limit run as a gang whatever KVMGANG_KEY_GANG is. What
 * threads of the VMM that are no vCPUs use is not charged. Without a setting of its own a VM has
 * the limit of its cgroup (cpu.max) if the scheduler that is or was attached told the module of it.
 *
 * KVMGANG_KEY_RESERVATION: what the VM gets at least, as far as it wants to run, when others want
 * the pCPUs too; milli-pCPU, up to KVMGANG_MILLI_PCPU_MAX; 0. Nobody can set one that is above the
 * VM's limit, nor more of them than there are pCPUs: see struct kvmgang_policy.
 *
 * KVMGANG_KEY_LATENCY: an enum kvmgang_latency; normal. vCPUs of a VM that is sensitive preempt
 * others when they wake up, within what their VM is entitled to, and are in co-stop only when they
 * are more than KVMGANG_SKEW_US_MAX ahead.
 *
 * KVMGANG_KEY_READY_TARGET: how much of the time each vCPU may be ready at most, in permille, up to
 * KVMGANG_READY_TARGET_MAX; 0: no target, which is the default. VMs of the same node that have no
 * target are throttled for it, unless those that have one want more than there is.
 *
 * KVMGANG_KEY_ISOLATION: an enum kvmgang_isolation (none, core); none. With core, while a vCPU of
 * the VM runs, the other hardware threads of its core run vCPUs of the same VM or nobody; kernel
 * threads, interrupts and real-time and deadline tasks are not kept away. The vCPUs run as a gang
 * whatever KVMGANG_KEY_GANG is. While a pCPU stands idle for this, though somebody waits who could
 * run there, it is in forced idle: struct kvmgang_counters has it of the VM that is isolated,
 * struct kvmgang_info of the host. Without SMT it means nothing.
 */
enum kvmgang_key {
	KVMGANG_KEY_SHARES,
	KVMGANG_KEY_GANG,
	KVMGANG_KEY_COSTOP_US,
	KVMGANG_KEY_COSTART_US,
	KVMGANG_KEY_HOME_NODES,
	KVMGANG_KEY_LIMIT,
	KVMGANG_KEY_RESERVATION,
	KVMGANG_KEY_LATENCY,
	KVMGANG_KEY_READY_TARGET,
	KVMGANG_KEY_ISOLATION,
	KVMGANG_NR_KEYS
};

#define KVMGANG_SHARES_MIN	1
#define KVMGANG_SHARES_MAX	10000

/*
 * To switch all pCPUs from one gang to another takes about 100 us: a smaller skew cannot be kept.
 * A guest takes a vCPU that is held for seconds for dead.
 */
#define KVMGANG_SKEW_US_MIN	100
#define KVMGANG_SKEW_US_MAX	1000000

/* As many pCPUs as sched_ext schedulers of this project reckon with. */
#define KVMGANG_MILLI_PCPU_MAX	1024000

/* Permille: all of the time. */
#define KVMGANG_READY_TARGET_MAX	1000

enum kvmgang_gang {
	KVMGANG_GANG_OFF,	/* each vCPU on its own */
	KVMGANG_GANG_RELAXED,	/* windows and bounded skew; may run outside on credit */
	KVMGANG_GANG_STRICT,	/* vCPUs run only inside their VM's windows */
	KVMGANG_GANG_AUTO,	/* relaxed when it pays, off when not */
	KVMGANG_NR_GANGS
};

enum kvmgang_latency {
	KVMGANG_LATENCY_NORMAL,
	KVMGANG_LATENCY_SENSITIVE,	/* see KVMGANG_KEY_LATENCY */
	KVMGANG_NR_LATENCIES
};

enum kvmgang_isolation {
	KVMGANG_ISOLATION_NONE,
	KVMGANG_ISOLATION_CORE,	/* nobody else on the other hardware threads of its vCPUs' cores */
	KVMGANG_NR_ISOLATIONS
};

/* Where the value of a key comes from. */
enum kvmgang_origin {
	KVMGANG_ORIGIN_DEFAULT,	/* the defaults; of the defaults: what is built in */
	KVMGANG_ORIGIN_CGROUP,	/* the VM's cgroup, by way of the scheduler */
	KVMGANG_ORIGIN_USER,	/* set for this VM; of the defaults: changed */
	KVMGANG_NR_ORIGINS
};

struct kvmgang_setting {
	__u64 value;
	__u32 out_origin;	/* enum kvmgang_origin */
	__u32 reserved;
};

/**
 * struct kvmgang_policy - KVMGANG_GET_POLICY, KVMGANG_SET_POLICY
 * @size: sizeof(struct kvmgang_policy)
 * @flags: must be 0
 * @vm_id: the VM, or 0 for the defaults
 * @out_bad_vm: when a default was refused because of what is set of a VM: that VM
 * @set: SET: bit n: set key n (of enum kvmgang_key) to its value; GET: must be 0
 * @reset: SET: bit n: key n is no longer set of this VM, or is the built-in default again; GET:
 *	must be 0
 * @out_bad: when SET was refused because of keys: these (bit n: key n); else left alone
 * @out_known: GET: keys that the module knows; settings beyond them are zero
 * @out_generation: GET: grows with every SET, by whomever; the settings are at least as new
 * @setting: by enum kvmgang_key; SET does not look at those that @set does not name; when SET was
 *	refused with ENOSPC, three values say which pCPUs are too few
 *
 * SET does all that it is asked for at once, or nothing. Who reads meanwhile sees all of it or
 * nothing. A VM's settings go with it; a later VM begins with the defaults.
 *
 * ENOENT: @vm_id is no VM. ERANGE: a value is out of its range, or names nodes that are not there.
 * EINVAL with @out_bad set: unknown keys; keys that are to be both set and reset; co-start above
 * co-stop, or a reservation above a limit other than 0, in what is asked for and what remains
 * together. A cgroup's limit may still come to be below a reservation; then the limit counts.
 *
 * ENOSPC with @out_bad set: the reservations of all VMs, inherited ones included, would sum up to
 * more than 1000 for each of the host's online pCPUs; or those of the VMs whose home nodes are not
 * auto and within a set of nodes, to more than 1000 for each online pCPU of these. The sets that
 * are looked at are those that VMs with a reservation have; not unions of them. Then in @setting
 * are, as KVMGANG_KEY_HOME_NODES these nodes, or 0 for the host; as KVMGANG_KEY_LIMIT the
 * milli-pCPU that their pCPUs are; as KVMGANG_KEY_RESERVATION the milli-pCPU of them that would be
 * reserved.
 *
 * Only what adds to such a sum is refused. When pCPUs go, or a VM is born with a default for which
 * there is no room, nothing else happens: all reservations stay, and the scheduler has less to give
 * than they promise.
 *
 * Context: any thread; GET with the node open for reading, SET with the node open for writing and
 * CAP_SYS_NICE in the initial user namespace; may sleep. SET of defaults looks at every VM, and so
 * does SET of reservations and home nodes, once for each set of nodes.
 */
struct kvmgang_policy {
	__u32 size;
	__u32 flags;
	__u32 vm_id;
	__u32 out_bad_vm;
	__aligned_u64 set;
	__aligned_u64 reset;
	__aligned_u64 out_bad;
	__aligned_u64 out_known;
	__aligned_u64 out_generation;
	struct kvmgang_setting setting[KVMGANG_NR_KEYS];	/* last, because it grows */
};

/* 0xBB is unassigned in Documentation/userspace-api/ioctl/ioctl-number.rst of Linux 7.2. */
#define KVMGANG_IOCTL_TYPE	0xBB

#define KVMGANG_INFO		_IO(KVMGANG_IOCTL_TYPE, 0x00)
#define KVMGANG_SNAPSHOT	_IO(KVMGANG_IOCTL_TYPE, 0x01)
#define KVMGANG_LOOKUP		_IO(KVMGANG_IOCTL_TYPE, 0x02)
#define KVMGANG_GET_POLICY	_IO(KVMGANG_IOCTL_TYPE, 0x03)
#define KVMGANG_SET_POLICY	_IO(KVMGANG_IOCTL_TYPE, 0x04)

#endif /* _UAPI_LINUX_KVMGANG_H */
