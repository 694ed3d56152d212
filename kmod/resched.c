// SPDX-License-Identifier: GPL-2.0
/*
 * When a pCPU asks its scheduler again: at once, or at an exact time.
 *
 * sched_ext ends slices on ticks, which at HZ=250 are longer apart than a gang's members may start.
 * So each pCPU has a timer of its own here, and a window ends everywhere at the same instant
 * without one pCPU having to interrupt all the others. A scheduler that wants to be asked each time
 * gives its tasks a slice of 1 ns.
 *
 * scx_bpf_kick_cpu() would do for "at once", but distributions' kernels exist in which no program
 * can call it (7.2.12 of Debian: the BTF lacks its implicit argument's variant).
 *
 * Not here: any decision. Rescheduling more often than needed costs time and nothing else.
 */
#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/version.h>

#include "resched.h"

/* This pCPU's, with interrupts off; @kick is also started by others. */
struct resched {
	struct hrtimer timer;		/* may be queued for earlier than @at, never for later */
	u64 at;				/* ns of ktime_get(); 0: not at all */
	struct irq_work relay;		/* kicks @wanted as soon as interrupts are on again */
	struct cpumask wanted;
	atomic_t kicked;		/* somebody has started @kick, and it has not arrived */
	call_single_data_t kick;
};

static DEFINE_PER_CPU(struct resched, resched);

/* On return from the interrupt, or from the guest, schedule() is called. */
static void resched_this_cpu(void)
{
	set_tsk_need_resched(current);
	set_preempt_need_resched();
}

static void on_kick(void *unused)
{
	atomic_set(&this_cpu_ptr(&resched)->kicked, 0);
	resched_this_cpu();
}

/*
 * One at a time: of two pCPUs that start the same call at once both would see that it is not under
 * way, and the target's list of calls would have it twice and never end.
 */
static void kick(int cpu)
{
	struct resched *r = per_cpu_ptr(&resched, cpu);

	if (!atomic_xchg(&r->kicked, 1) && smp_call_function_single_async(cpu, &r->kick))
		atomic_set(&r->kicked, 0);
}

/*
 * The insertion of a task takes effect after the program that asks for the kick has returned, but
 * with interrupts off all the way. So other pCPUs are told from an interrupt on this one.
 */
static void on_relay(struct irq_work *work)
{
	struct resched *r = container_of(work, struct resched, relay);
	int cpu;

	for_each_cpu(cpu, &r->wanted) {
		cpumask_clear_cpu(cpu, &r->wanted);
		if (cpu == smp_processor_id())
			resched_this_cpu();
		else if (cpu_online(cpu))
			kick(cpu);
	}
}

void resched_cpu_soon(int cpu)
{
	struct resched *r;

	guard(irqsave)();
	r = this_cpu_ptr(&resched);
	cpumask_set_cpu(cpu, &r->wanted);
	irq_work_queue(&r->relay);
}

static enum hrtimer_restart on_time(struct hrtimer *timer)
{
	struct resched *r = container_of(timer, struct resched, timer);

	/* A pCPU that went offline left its timer to another one. */
	if (r != this_cpu_ptr(&resched) || !r->at)
		return HRTIMER_NORESTART;
	if (ktime_get_ns() < r->at) {
		hrtimer_set_expires(timer, ns_to_ktime(r->at));
		return HRTIMER_RESTART;
	}
	r->at = 0;
	resched_this_cpu();
	return HRTIMER_NORESTART;
}

/* To move a queued timer costs more than to let it come early and look. */
void resched_this_cpu_at(u64 at)
{
	struct resched *r;

	guard(irqsave)();
	r = this_cpu_ptr(&resched);
	r->at = at;
	if (!at)
		return;
	if (hrtimer_is_queued(&r->timer) && ktime_to_ns(hrtimer_get_expires(&r->timer)) <= at)
		return;
	hrtimer_start(&r->timer, ns_to_ktime(at), HRTIMER_MODE_ABS_PINNED_HARD);
}

static void timer_setup_pinned(struct hrtimer *timer)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, on_time, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
#else	/* one call does both since 6.13 */
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
	timer->function = on_time;
#endif
}

void resched_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct resched *r = &per_cpu(resched, cpu);

		timer_setup_pinned(&r->timer);
		r->relay = IRQ_WORK_INIT_HARD(on_relay);
		INIT_CSD(&r->kick, on_kick, NULL);
	}
}

static void nothing(void *unused)
{
}

void resched_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		hrtimer_cancel(&per_cpu(resched.timer, cpu));
		irq_work_sync(&per_cpu(resched.relay, cpu));
	}
	/* Kicks that are under way arrive before this does, in the same interrupt at the latest. */
	on_each_cpu(nothing, NULL, true);
	synchronize_rcu();
}
