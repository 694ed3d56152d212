/* SPDX-License-Identifier: GPL-2.0 */
/* When a pCPU asks its scheduler again: see resched.c. */
#ifndef KVMGANG_RESCHED_H
#define KVMGANG_RESCHED_H

#include <linux/types.h>

/* At insmod and rmmod; may sleep. At the latter no scheduler is attached, nor are threads found. */
void resched_init(void);
void resched_exit(void);

/*
 * @cpu, an online pCPU, idle or not, reschedules once the caller has let go of the run queue locks
 * that it holds. Any context but NMI.
 */
void resched_cpu_soon(int cpu);

/*
 * This pCPU reschedules at @at, ns of ktime_get(), to within the latency of an interrupt; at once
 * if that is past. Replaces what was asked before; 0: nothing any more. Preemption off; run queue
 * locks may be held.
 */
void resched_this_cpu_at(u64 at);

#endif /* KVMGANG_RESCHED_H */
