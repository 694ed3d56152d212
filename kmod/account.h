/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arithmetic of one vCPU's time: which of the six states each nanosecond belongs to.
 *
 * The model is a cursor. Everything before @cursor has been given to a state, nothing after it, so
 *
 *	sum of state_ns[] == cursor - born
 *
 * holds after every step by construction, and counters only ever grow. A step moves the cursor:
 *
 *	           depart                    queued        arrive
 *	  -- run ----|---- halted / blocked ----|-- waiting --|---- run --
 *
 * How long a thread waited is not timed here. It is read from sched_info.run_delay, which is the
 * scheduler's own figure and the guest's steal time; what a scheduler reported as held is taken
 * out of it as costop or throttled, the rest is ready. Hence ready + costop + throttled equals
 * run_delay exactly whenever the vCPU runs. What is left of an interval off the pCPU after the
 * wait is sleep, or, for a preempted vCPU that never slept, the switch's own cost, which counts as
 * run.
 *
 * Reads move the cursor too. A read may see an event later than the scheduler's clock, cached per
 * run queue, stamped it; the cursor is then a few hundred nanoseconds ahead of the event, and the
 * next state simply begins that much later. Nothing is taken back.
 *
 * Pure: no locks, no clock, no task. The caller serialises and says what time it is (ns).
 */
#ifndef KVMGANG_ACCOUNT_H
#define KVMGANG_ACCOUNT_H

#include <linux/kvmgang.h>

struct kvmgang_account {
	struct kvmgang_counters count;
	__u64 born;		/* ns */
	__u64 cursor;		/* ns, the cursor */
	__u64 waited;		/* ns of the thread's run_delay that is settled */
	__u64 held_since;	/* ns, start of the hold that is not in held[] yet */
	__u64 held[2];		/* ns of holds, costop and throttled, that are not settled */
	__u64 episode;		/* ns of ready time since the vCPU last ran */
	__u8 running;		/* on a pCPU */
	__u8 rest;		/* where time off the pCPU that is no wait goes */
	__u8 hold;		/* KVMGANG_COSTOP, KVMGANG_THROTTLED, or 0: not held */
	__u8 remote;		/* this run is off the home nodes */
};

/* Gives the time up to @now to @state. A @now before the cursor changes nothing. */
static inline void account_fill(struct kvmgang_account *a, __u32 state, __u64 now)
{
	if (now <= a->cursor)
		return;
	a->count.state_ns[state] += now - a->cursor;
	if (state == KVMGANG_RUN && a->remote)
		a->count.run_remote_ns += now - a->cursor;
	a->cursor = now;
}

/*
 * Another @ns of run were shared with foreign tasks. Whoever measured it read the clock a little
 * later than the scheduler stamped the switch, so it may be more than there was.
 */
static inline void account_shared(struct kvmgang_account *a, __u64 ns)
{
	a->count.run_shared_ns += ns;
	if (a->count.run_shared_ns > a->count.state_ns[KVMGANG_RUN])
		a->count.run_shared_ns = a->count.state_ns[KVMGANG_RUN];
}

/* Begins the account at @now of a vCPU that no thread serves yet. */
static inline void account_born(struct kvmgang_account *a, __u64 now)
{
	a->born = now;
	a->cursor = now;
	a->rest = KVMGANG_BLOCKED;
}

/* Notes how long the hold has lasted up to @now, of a wait that began at @since. */
static inline void account_note_hold(struct kvmgang_account *a, __u64 since, __u64 now)
{
	if (since < a->held_since)
		since = a->held_since;
	if (!a->hold || now <= since)
		return;
	a->held[a->hold - KVMGANG_COSTOP] += now - since;
	a->held_since = now;
}

/* Of a wait of @wait, as much as there was of holds in @state, which are settled by that. */
static inline __u64 account_held(struct kvmgang_account *a, __u32 state, __u64 wait)
{
	__u64 *held = &a->held[state - KVMGANG_COSTOP];
	__u64 part = *held < wait ? *held : wait;

	*held -= part;
	a->count.state_ns[state] += part;
	return part;
}

/* Settles time off the pCPU up to @now, of which the thread waited until @run_delay was reached. */
static inline void account_wait(struct kvmgang_account *a, __u64 now, __u64 run_delay)
{
	__u64 wait = run_delay > a->waited ? run_delay - a->waited : 0;
	__u64 ready = wait;

	if (now > wait)
		account_fill(a, a->rest, now - wait);
	account_note_hold(a, now > wait ? now - wait : 0, now);
	ready -= account_held(a, KVMGANG_COSTOP, ready);
	ready -= account_held(a, KVMGANG_THROTTLED, ready);
	a->count.state_ns[KVMGANG_READY] += ready;
	a->episode += ready;
	a->waited += wait;
	a->cursor += wait;
}

/* Forgets holds, of which there can be no more than there was of a wait. */
static inline void account_end_hold(struct kvmgang_account *a)
{
	a->hold = 0;
	a->held[0] = 0;
	a->held[1] = 0;
}

/* The vCPU leaves its pCPU at @now; time that is no wait goes to @rest until it runs again. */
static inline void account_depart(struct kvmgang_account *a, __u64 now, __u32 rest)
{
	account_fill(a, KVMGANG_RUN, now);
	a->running = 0;
	a->rest = rest;
}

/* Bucket of the ready histogram for an episode of @ns. */
static inline __u32 account_bucket(__u64 ns)
{
	__u32 log = ns ? 63 - __builtin_clzll(ns) : 0;

	if (log < KVMGANG_READY_SHIFT)
		return 0;
	log -= KVMGANG_READY_SHIFT - 1;
	return log < KVMGANG_READY_BUCKETS ? log : KVMGANG_READY_BUCKETS - 1;
}

/*
 * The vCPU got a pCPU at @now; its thread's run_delay is now @run_delay. If more than that was seen
 * to be waited, the scheduler's clock had stood still (sched_ext moving a task to an idle pCPU does
 * that); it is not held against the waits to come. A hold ends here whatever the scheduler said.
 * Returns the length of the ready episode that ended, 0 if there was none.
 */
static inline __u64 account_arrive(struct kvmgang_account *a, __u64 now, __u64 run_delay,
				   int remote)
{
	__u64 episode;

	account_wait(a, now, run_delay);
	a->waited = run_delay;
	a->running = 1;
	account_end_hold(a);
	a->remote = !!remote;
	episode = a->episode;
	a->episode = 0;
	if (episode)
		a->count.ready_hist[account_bucket(episode)]++;
	return episode;
}

/*
 * From @now on the time that the vCPU waits belongs to @hold; 0 ends the hold. Since @queued it has
 * been waiting; 0: it is not. Nothing is settled: the scheduler may be about to let the vCPU run,
 * as of a time before @now.
 */
static inline void account_hold(struct kvmgang_account *a, __u64 now, __u32 hold, __u64 queued)
{
	if (!a->running && queued)
		account_note_hold(a, queued, now);
	a->hold = hold;
	a->held_since = now;
}

/* The state of a vCPU; @queued: its thread waits on a run queue. */
static inline __u32 account_state(const struct kvmgang_account *a, int queued)
{
	if (a->running)
		return KVMGANG_RUN;
	if (queued || a->rest == KVMGANG_RUN)
		return a->hold ? a->hold : KVMGANG_READY;
	return a->rest;
}

/* Adds the counters of one vCPU to a VM's. */
static inline void account_sum(struct kvmgang_counters *sum, const struct kvmgang_counters *add)
{
	__u64 *to = (__u64 *)sum;
	const __u64 *from = (const __u64 *)add;
	unsigned int i;

	for (i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

#endif /* KVMGANG_ACCOUNT_H */
