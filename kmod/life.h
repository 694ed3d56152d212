/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A vCPU thread whose life is made up, for the KUnit suite of account.h.
 *
 * struct life is that thread and the scheduler's figures about it (run_delay, last_queued). It
 * tells the account what thread.c and vcpu.c tell it, in their order, and keeps by itself how long
 * the thread was in which state: what the account should say. It knows no cursor, so that the two
 * can only agree by both being right.
 */
#ifndef KVMGANG_LIFE_H
#define KVMGANG_LIFE_H

#include <kunit/test.h>

#include "account.h"

#define BIRTH		1000000000ULL	/* ns, when every life begins */

struct life {
	struct kvmgang_account a;
	u64 now;			/* ns */
	u64 run_delay;			/* ns, as sched_info has it: of waits that are over */
	u64 queued;			/* ns, start of a wait; 0: none */
	bool running;
	bool remote;
	u32 rest;			/* asleep as what */
	u32 hold;
	u64 episode;			/* ns of ready since it last ran */
	struct kvmgang_counters truth;	/* only what the account counts */
};

static inline u32 life_state(const struct life *l)
{
	if (l->running)
		return KVMGANG_RUN;
	if (l->queued)
		return l->hold ?: KVMGANG_READY;
	return l->rest;
}

static inline void life_pass(struct life *l, u64 ns)
{
	u32 state = life_state(l);

	l->now += ns;
	l->truth.state_ns[state] += ns;
	if (state == KVMGANG_READY)
		l->episode += ns;
	if (state == KVMGANG_RUN && l->remote)
		l->truth.run_remote_ns += ns;
}

/* As vcpu_settle() does; @now may be wrong. */
static inline void life_read(struct life *l, u64 now)
{
	struct kvmgang_account *a = &l->a;

	if (a->running)
		account_fill(a, KVMGANG_RUN, now);
	else if (!l->queued)
		account_fill(a, a->rest, now);
	else if (now > l->queued && now > a->cursor)
		account_wait(a, now, l->run_delay + now - l->queued);
}

static inline void life_preempt(struct life *l)
{
	l->running = false;
	l->queued = l->now;
	account_depart(&l->a, l->now, KVMGANG_RUN);
}

static inline void life_sleep(struct life *l, u32 rest)
{
	l->running = false;
	l->rest = rest;
	account_depart(&l->a, l->now, rest);
}

static inline void life_wake(struct life *l)
{
	l->queued = l->now;
}

static inline void life_hold(struct life *l, u32 hold)
{
	l->hold = hold;
	account_hold(&l->a, l->now, hold, l->queued);
}

static inline u64 life_arrive(struct life *l, bool remote)
{
	if (l->queued)
		l->run_delay += l->now - l->queued;
	l->queued = 0;
	l->running = true;
	l->remote = remote;
	l->hold = 0;
	return account_arrive(&l->a, l->now, l->run_delay, remote);
}

static inline void life_begin(struct life *l)
{
	*l = (struct life){ .now = BIRTH, .rest = KVMGANG_BLOCKED };
	account_born(&l->a, l->now);
}

static inline u64 waited(const struct life *l)
{
	const u64 *ns = l->a.count.state_ns;

	return ns[KVMGANG_READY] + ns[KVMGANG_COSTOP] + ns[KVMGANG_THROTTLED];
}

/* Contract 1, which holds whatever the clock does. */
static inline void expect_identity(struct kunit *test, const struct life *l)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < KVMGANG_NR_STATES; i++)
		sum += l->a.count.state_ns[i];
	KUNIT_ASSERT_EQ(test, sum, l->a.cursor - l->a.born);
}

/*
 * A read at the present, after which the account has to be the truth. Only a wait that begins at
 * this instant leaves the sleep before it to the next read.
 */
static inline void expect_truth(struct kunit *test, struct life *l)
{
	int i;

	life_read(l, l->now);
	expect_identity(test, l);
	KUNIT_ASSERT_EQ(test, account_state(&l->a, !!l->queued), life_state(l));
	if (l->queued == l->now)
		return;
	KUNIT_ASSERT_EQ(test, l->a.cursor, l->now);
	for (i = 0; i < KVMGANG_NR_STATES; i++)
		KUNIT_ASSERT_EQ_MSG(test, l->a.count.state_ns[i], l->truth.state_ns[i],
				    "state %d", i);
	KUNIT_ASSERT_EQ(test, l->a.count.run_remote_ns, l->truth.run_remote_ns);
}

enum event { PREEMPT, HALT, BLOCK, WAKE, COSTOP, THROTTLE, RELEASE, ARRIVE };

static inline void life_event(struct life *l, enum event event)
{
	switch (event) {
	case PREEMPT:
		life_preempt(l);
		break;
	case HALT:
		life_sleep(l, KVMGANG_HALTED);
		break;
	case BLOCK:
		life_sleep(l, KVMGANG_BLOCKED);
		break;
	case WAKE:
		life_wake(l);
		break;
	case COSTOP:
		life_hold(l, KVMGANG_COSTOP);
		break;
	case THROTTLE:
		life_hold(l, KVMGANG_THROTTLED);
		break;
	case RELEASE:
		life_hold(l, 0);
		break;
	case ARRIVE:
		life_arrive(l, false);
		break;
	}
}

#endif /* KVMGANG_LIFE_H */
