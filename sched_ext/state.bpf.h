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

/* VMs that can have a part of one window on one node. */
#define MAX_GANGS	128

/* In the place of a VM's id: the host's own tasks, as if they were one more VM. */
#define HOST		0xffffffffU

/* A task's, from its fork to its exit. */
struct thread {
	u32 vm_id;		/* 0: serves no vCPU */
	u32 node;		/* on whose queues it waits */
	u64 vtime;		/* virtual time; of a vCPU: progress, ns of run and sleep */
	u64 started;		/* it is on a pCPU, charged up to here; 0: it is not */
	u64 slept;		/* since when */
	bool runnable;		/* counted in entity::runnable */
	bool queued;		/* counted in entity::waiting */
	bool credit;		/* runs on credit: outside its VM's window, for a short time */
};

/* Whoever takes part in windows: a VM on a node, or the host's tasks on a node. */
struct entity {
	u32 runnable;		/* tasks that run or want to */
	u32 waiting;		/* of these, on a queue */
	u32 in_runnable;	/* it is in the heap of the runnable ... */
	u32 in_waiting;		/* ... or of the waiting */
	u32 passed_over;	/* at the last election, because it did not fit */
};

struct vm {
	u64 vtime;
	u32 shares;
	u32 threads;
	struct entity on[MAX_NODES];
	u32 has_queue[MAX_NODES];
};

/* A part of a window: so many pCPUs for so many members of a VM. */
struct gang {
	u32 vm_id;
	s32 slots;		/* not taken yet */
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
	u64 clock;		/* virtual */
	u64 waiting;		/* tasks on the node's queues */
	u64 host_vtime;
	u32 host_elected;	/* in the election that is going on */
	struct entity host;
	struct gangs gangs[2];
	u32 nr_cpus;
	u16 cpu[MAX_CPUS];
};

struct pcpu_state {
	u64 claim;		/* window << 32 | VM that the pCPU is for, or HOST; else backfill */
	u64 credit_until;	/* nobody else may come on credit before */
	u64 resched_at;		/* what the timer was told; this pCPU's own */
	u32 node;
	s32 next;		/* tid of the one to run next, by directed yield */
	u32 vm_id;		/* of the vCPU that runs, HOST, or 0 when idle: a hint */
};

/* A heap of VMs on a node, ordered by virtual time, and the lock that it needs. */
struct queue {
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
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VMS);
	__type(key, u32);
	__type(value, struct vm);
} vms SEC(".maps");

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

enum { RUNNABLE, WAITING, NR_QUEUES };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_NODES * NR_QUEUES);
	__type(key, u32);
	__type(value, struct queue);
} queues SEC(".maps");

static struct thread *thread_of(struct task_struct *p)
{
	return bpf_task_storage_get(&threads, p, NULL, 0);
}

static struct vm *vm_of(u32 vm_id)
{
	return bpf_map_lookup_elem(&vms, &vm_id);
}

static struct node_state *node_of(u32 id)
{
	return bpf_map_lookup_elem(&nodes, &id);
}

static struct pcpu_state *pcpu_of(s32 cpu)
{
	u32 id = cpu;

	return bpf_map_lookup_elem(&pcpus, &id);
}

/* Where host tasks of a node wait, by virtual time. */
static u64 host_dsq(u32 node)
{
	return node;
}

/* Where a VM's vCPUs of a node wait, those first that have come least far. */
static u64 vm_dsq(u32 vm_id, u32 node)
{
	return 1ULL << 40 | (u64)vm_id << 8 | node;
}

#endif /* KVMGANG_STATE_BPF_H */
