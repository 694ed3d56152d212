/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the scheduler knows of tasks, VMs, pCPUs and nodes, and where it keeps it.
 *
 * Nothing here is under a lock but the heaps. Counters change by atomic operations; whatever else
 * two pCPUs may write at a time is a hint whose staleness costs a missed chance and no more, and
 * each such place says so.
 *
 * Times are ns of bpf_ktime_get_ns(), which is the clock of kvmgang_resched_at().
 */
#ifndef KVMGANG_STATE_BPF_H
#define KVMGANG_STATE_BPF_H

#include "fair.h"
#include "heap.h"
#include "interface.h"

#define MAX_CPUS	1024
#define MAX_VMS		(HEAP_SIZE - 1)

/* Each time a pCPU reschedules it asks again. */
#define SLICE_NS	1

/* VMs that can have a part of one window on one node. */
#define MAX_GANGS	128

/*
 * In the place of a VM's id: the tasks that are scheduled each on its own, as if they were one more
 * VM. They are the host's own and the vCPUs of VMs that do not gang.
 */
#define SOLO		0xffffffffU

/* A task's, from its fork to its exit. */
struct thread {
	u32 vm_id;		/* 0: serves no vCPU */
	u32 node;		/* on whose queues it waits */
	u32 side;		/* it is counted with: its VM, or SOLO */
	u32 vcpu;		/* it serves the VM's so many'th one */
	u64 vtime;		/* virtual time; of a vCPU: progress, ns of run and sleep */
	u64 started;		/* it is on a pCPU, charged up to here; 0: it is not */
	u64 slept;		/* since when */
	u64 burst;		/* ran for, since it woke up or the last sample of that */
	u32 home_cpu;		/* pCPU of @node where it ran last, plus 1 */
	u32 called;		/* there is an idle pCPU at home: this one, plus 1 */
	bool runnable;		/* counted in entity::runnable */
	bool queued;		/* counted in entity::waiting */
	bool credit;		/* runs on credit: outside its VM's window, for a short time */
	u32 held;		/* HELD_COSTOP: waits because it is ahead of its siblings, ... */
	/* See ready.bpf.h. */
	u64 ready_since;	/* 0: it is not, or nobody asks */
	u64 ready;		/* ns that it was in this period, ... */
	u32 ready_period;	/* ... which is this one of its VM */
	/* See cgroup.bpf.h and park.bpf.h. */
	u64 cgroup;		/* id of the one that it is in */
	u64 cgroup_seen;	/* generation of which these two are: */
	u64 limited;		/* id of the nearest that has a limit, 0: none has */
	u32 weight;		/* that the cgroups give it, in terms of 100; 0: 100 */
	u64 accounted;		/* of the run time that the kernel accounts for, drawn so far */
	u64 drawing;		/* it is counted as running in this one and those above */
	u64 parked;		/* since when it waits for a limit, though not always parked */
};

/* Whoever takes part in windows: a ganged VM, or the solo tasks, on a node. */
struct entity {
	u64 vtime;		/* virtual; unused for solo tasks, which have their own */
	u32 members;		/* vCPUs of the VM that wait here, whether it gangs or not */
	u32 runnable;		/* tasks that run or want to */
	u32 waiting;		/* of these, on a queue */
	u32 in_runnable;	/* the VM is in the rank of the runnable, ... */
	u32 in_waiting;		/* ... the waiting, ... */
	u32 in_reserved;	/* ... or those that have a reservation */
	u32 passed_over;	/* at the last election, because it did not fit */
	u64 window;		/* number of the last one of which it had a part */
};

enum { NO_QUEUE, QUEUE_WANTED, HAS_QUEUE };

struct vm {
	u64 front;		/* progress of the vCPU that has come farthest, ... */
	u64 front_at;		/* ... and when it had; see front_of() */
	u64 burst;		/* ns, mean length of its vCPUs' runs; see sample_burst() */
	u32 sleepy;		/* they mostly sleep */
	u32 id;			/* 0: the record is just being made */
	u32 threads;		/* its vCPUs'; at 0 the record goes, and none is added any more */
	u32 life;		/* of the records that there ever were, the so many'th */
	/* See home.bpf.h. */
	u32 parts;
	u32 part[MAX_NODES];	/* node where the vCPUs of each wait, ... */
	u32 homed[MAX_NODES];	/* ... and as how many they are counted there */
	u64 home_looked_at;
	u32 home_asked;		/* a pCPU is at it */
	u64 home_told;		/* what the module knows of it */
	u64 aligned;		/* it has a part of the windows that end then; see align.bpf.h */
	/* Settings, see policy.bpf.h. */
	u64 generation;
	u64 wanted_nodes;	/* 0: any */
	u64 known_home;		/* the module's word */
	u64 costop_ns, costart_ns;
	u32 shares;
	u32 gang;
	u32 limit, reservation;	/* milli-pCPU */
	u32 sensitive;
	u32 isolated;		/* see isolate.bpf.h */
	u32 starves;		/* one of its vCPUs does: it is to come first, once */
	u64 fed_at;		/* when it last did so */
	/* See vm_cgroup.bpf.h. */
	u64 cgroup_seen;	/* generation for which its cgroups were looked at, or NEVER_SEEN */
	u64 limited;		/* id of the first limited cgroup that is not its own; 0: none is */
	u32 told, told_seen;	/* the module was told something, and that was read again */
	/* See limit.bpf.h. */
	u32 throttled;
	s64 budget, reserved;	/* ns of pCPU time that are left of them */
	u64 refilled_at;
	/* See target.bpf.h. */
	u32 target;		/* permille */
	u32 squeeze;		/* milli-pCPU, a limit for the sake of others; 0: none */
	u32 squeezed;		/* throttled in this period, */
	u32 ready_period;
	u64 ready, ready_worst;	/* in which its vCPUs were ready for so many ns, and one of them, */
	u64 ran;		/* and ran for so many */
	u64 wants;		/* milli-pCPU */
	struct entity on[MAX_NODES];
	u32 queue[MAX_NODES];	/* NO_QUEUE, ... */
};

/* A part of a window: so many pCPUs for so many members of a VM. */
struct gang {
	u32 vm_id;
	s32 slots;		/* not taken yet */
	s32 cores;		/* that isolated VMs may claim yet by it */
	u32 rank;		/* that it comes from */
};

struct gangs {
	u32 nr;
	struct gang gang[MAX_GANGS];
};

struct node_state {
	u32 electing;		/* a pCPU is at it */
	u32 contended;		/* somebody waits, or did when the window began */
	u64 window;		/* number of the window; gangs[window % 2] are its */
	u64 window_end;
	u64 electing_for;	/* end of the window that is being made, or was made last */
	u64 clock;		/* virtual */
	u64 clock_before;	/* at the last election */
	u64 stride;		/* mean of what it goes on in a window */
	u64 level;		/* virtual time of the first VM that waited; 0: none did */
	u64 waiting;		/* tasks on the node's queues */
	u32 solo_elected;	/* in the election that is going on, as are all these: */
	u64 solo_first;		/* least virtual time of the solo tasks that wait, ... */
	u64 solo_lead;		/* ... how far that task may be ahead, ... */
	u64 solo_vtime;		/* ... the least of those that run, too, ... */
	u32 solo_behind;	/* ... and those of them that come before all that wait */
	u32 clocked;		/* the clock follows the most entitled of those that wait, ... */
	u32 vm_waits;		/* ... a VM that does has come up, ... */
	u32 first_served;	/* ... and this one, or SOLO, was first to get a part by that */
	u32 elected, members;	/* VMs so far, and their runnable vCPUs, on other nodes, too */
	u32 width;		/* mean of these, or of the last ones; 1 if there are no VMs */
	struct entity solo;
	struct entity unparked;	/* of the solo tasks, at the last election */
	u32 parks;		/* somebody ever was parked here */
	struct gangs gangs[2];
	u32 homed;		/* vCPUs that are at home here */
	/* See target.bpf.h. */
	u64 looked_at;
	u64 ran;		/* ns in this period, all who wait here, ... */
	u64 ran_beside;		/* ... and of them, host tasks and VMs looked at elsewhere */
	u64 allowance;		/* milli-pCPU of those without a target, if it squeezes them */
	u32 squeezes;
	u32 target_doubts;	/* periods in a row that spoke against the present state, ... */
	u32 target_misses;	/* ... and in which others had the least, and that did not do */
	struct bpf_cpumask __kptr *mask;	/* of @cpu; never changed */
	u32 nr_cpus;
	u16 cpu[MAX_CPUS];
};

struct pcpu_state {
	u64 claim;		/* window << 32 | VM that the pCPU is for, or SOLO; else backfill */
	u64 credit_until;	/* nobody else may come on credit before */
	u64 resched_at;		/* what the timer was told; this pCPU's own */
	u32 node;
	s32 next;		/* tid of the one to run next, by directed yield */
	u32 side;		/* whose task runs, SOLO, or 0 when idle: a hint */
	u32 side_node;		/* where that waits */
	u64 charged;		/* up to here; see charge.bpf.h */
	u64 solo_vtime;		/* of a solo task that runs: as of the end of the window */
	/* See isolate.bpf.h; only while somebody is isolated. */
	u32 core;		/* its first pCPU */
	u32 thread;		/* which one of the core's this is */
	u32 refused;		/* wants to be told when a thread of the core leaves */
	u32 denied;		/* the last time it asked, by itself */
	u64 call_queue;		/* where somebody waits who is meant for this pCPU, ... */
	s32 call;		/* ... this tid; a hint, as others write it */
	u32 forced_by;		/* VM because of whose isolation it is idle ... */
	u64 forced_since;	/* ... since when; 0: it is not */
	u64 evicted_at;		/* when somebody ran who had not entered */
};

struct rank {
	struct bpf_spin_lock lock;
	struct heap heap;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_NODES);
	__type(key, u32);
	__type(value, struct node_state);
} nodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct pcpu_state);
} pcpus SEC(".maps");

enum { RUNNABLE, WAITING, RESERVED, NR_RANKS };

/* One more for all nodes, see limit.bpf.h. */
#define THROTTLED_RANK	(MAX_NODES * NR_RANKS)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, THROTTLED_RANK + 1);
	__type(key, u32);
	__type(value, struct rank);
} ranks SEC(".maps");

static struct thread *thread_of(struct task_struct *p)
{
	return bpf_task_storage_get(&threads, p, NULL, 0);
}

static struct node_state *node_of(u32 id)
{
	return bpf_map_lookup_elem(&nodes, &id);
}

/* Is there a pCPU of @n that @p may run on? */
static bool may_run_at(const struct task_struct *p, const struct node_state *n)
{
	struct bpf_cpumask *mask = n->mask;

	return mask && bpf_cpumask_intersects((const struct cpumask *)mask, p->cpus_ptr);
}

static struct pcpu_state *pcpu_of(s32 cpu)
{
	u32 id = cpu;

	return bpf_map_lookup_elem(&pcpus, &id);
}

/* The @i-th pCPU of @n; -1: there are not so many. */
static s32 cpu_at(const struct node_state *n, u32 i)
{
	return i < n->nr_cpus && i < MAX_CPUS ? n->cpu[i] : -1;
}

/* The same, as the pCPU's state; NULL: there are not so many. */
static struct pcpu_state *pcpu_at(const struct node_state *n, u32 i)
{
	s32 cpu = cpu_at(n, i);

	return cpu >= 0 ? pcpu_of(cpu) : NULL;
}

/* Where solo tasks of a node wait, by virtual time. */
static u64 solo_dsq(u32 node)
{
	return node;
}

/* Where solo tasks of a node wait that may not run before some time, by that time. */
static u64 parked_dsq(u32 node)
{
	return 1ULL << 41 | node;
}

/* Where a VM's vCPUs of a node wait, those first that have come least far. */
static u64 vm_dsq(u32 vm_id, u32 node)
{
	return 1ULL << 40 | (u64)vm_id << 8 | node;
}

/* Tasks on the queues of @node that wait for a time, and not for a pCPU. */
static u64 nr_parked(const struct node_state *n, u32 node)
{
	s32 nr = n->parks ? scx_bpf_dsq_nr_queued(parked_dsq(node)) : 0;

	return nr > 0 ? nr : 0;
}

/* @nr of those of @node that are counted, without those that are parked. */
static u64 unparked(const struct node_state *n, u32 node, u64 nr)
{
	u64 parked = nr ? nr_parked(n, node) : 0;

	return nr > parked ? nr - parked : 0;
}

#endif /* KVMGANG_STATE_BPF_H */
