// SPDX-License-Identifier: GPL-2.0
/*
 * Who displaced a ready vCPU: every nanosecond is charged once, to the right kind, and the VMs that
 * are remembered by name are the right ones.
 */
#include <kunit/test.h>

#include "displace.h"
#include "kunit.h"

#define OWN		7	/* the VM of the vCPU that waited */
#define IDLE_EXIT	1000000ULL	/* ns; a longer wait was not for an idle pCPU */

static const struct kvmgang_occupant nobody = { .kind = KVMGANG_BY_NOBODY };
static const struct kvmgang_occupant host = { .kind = KVMGANG_BY_HOST };
static const struct kvmgang_occupant kthread = { .kind = KVMGANG_BY_KTHREAD };

static struct kvmgang_occupant vm(u32 id)
{
	return (struct kvmgang_occupant){ .kind = KVMGANG_BY_VM, .vm_id = id };
}

/* What is remembered of @vm_id, 0 if nothing is. Twice remembered is once too often. */
static u64 top_ns(struct kunit *test, const struct kvmgang_displaced *d, u32 vm_id)
{
	int i, found = 0;
	u64 ns = 0;

	for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++) {
		if (d->top[i].vm_id != vm_id)
			continue;
		ns = d->top[i].ns;
		found++;
	}
	KUNIT_ASSERT_LE(test, found, 1);
	return ns;
}

static void expect_by(struct kunit *test, const u64 *by, u64 vms, u64 siblings, u64 hosts,
		      u64 kthreads, u64 nobodies)
{
	KUNIT_EXPECT_EQ(test, by[KVMGANG_BY_VM], vms);
	KUNIT_EXPECT_EQ(test, by[KVMGANG_BY_SIBLING], siblings);
	KUNIT_EXPECT_EQ(test, by[KVMGANG_BY_HOST], hosts);
	KUNIT_EXPECT_EQ(test, by[KVMGANG_BY_KTHREAD], kthreads);
	KUNIT_EXPECT_EQ(test, by[KVMGANG_BY_NOBODY], nobodies);
}

/* An episode of @ns of which the pCPU's time was spent so, between VMs @first and @last. */
struct episode {
	const char *name;
	u64 ns;
	u64 vms, hosts, kthreads, nobodies;
	u32 first, last;
	u64 by[KVMGANG_NR_DISPLACERS];
	u64 top_first, top_last;
};

static const struct episode episodes[] = {
	{ "another VM all the time", 1000, .vms = 1000, .first = 1, .last = 1,
	  .by = { [KVMGANG_BY_VM] = 1000 }, 1000, 1000 },
	{ "two VMs: half each", 1000, .vms = 1000, .first = 1, .last = 2,
	  .by = { [KVMGANG_BY_VM] = 1000 }, 500, 500 },
	{ "two VMs: no odd nanosecond is lost", 1001, .vms = 1001, .first = 1, .last = 2,
	  .by = { [KVMGANG_BY_VM] = 1001 }, 500, 501 },
	{ "only the first is known", 1000, .vms = 1000, .first = 1,
	  .by = { [KVMGANG_BY_VM] = 1000 }, 1000, 0 },
	{ "only the last is known", 1000, .vms = 1000, .last = 2,
	  .by = { [KVMGANG_BY_VM] = 1000 }, 0, 1000 },
	{ "vCPUs that nobody knows", 1000, .vms = 1000,
	  .by = { [KVMGANG_BY_NOBODY] = 1000 } },
	{ "a sibling", 1000, .vms = 1000, .first = OWN, .last = OWN,
	  .by = { [KVMGANG_BY_SIBLING] = 1000 } },
	{ "a sibling, then a VM", 1000, .vms = 1000, .first = OWN, .last = 2,
	  .by = { [KVMGANG_BY_VM] = 500, [KVMGANG_BY_SIBLING] = 500 }, 0, 500 },
	{ "host threads", 1000, .hosts = 1000, .by = { [KVMGANG_BY_HOST] = 1000 } },
	{ "bound kernel threads", 1000, .kthreads = 1000, .by = { [KVMGANG_BY_KTHREAD] = 1000 } },
	{ "an idle pCPU", 1000, .nobodies = 1000, .by = { [KVMGANG_BY_NOBODY] = 1000 } },
	{ "of each some", 1000, 400, 300, 200, 100, 1, 1,
	  { [KVMGANG_BY_VM] = 400, [KVMGANG_BY_HOST] = 300, [KVMGANG_BY_KTHREAD] = 200,
	    [KVMGANG_BY_NOBODY] = 100 }, 400, 400 },
	{ "less than was spent: VMs first", 1000, 700, 700, 700, 700, 1, 1,
	  { [KVMGANG_BY_VM] = 700, [KVMGANG_BY_HOST] = 300 }, 700, 700 },
	{ "more than was spent", 1000, 100, 100, 100, 0, 1, 1,
	  { [KVMGANG_BY_VM] = 100, [KVMGANG_BY_HOST] = 100, [KVMGANG_BY_KTHREAD] = 100,
	    [KVMGANG_BY_NOBODY] = 700 }, 100, 100 },
};

KUNIT_ARRAY_PARAM_DESC(episode, episodes, name);

static void test_preempted(struct kunit *test)
{
	const struct episode *e = test->param_value;
	struct kvmgang_occupied occupied = { { 11, 0, 22, 33, 44 } };
	struct kvmgang_displaced d = {};
	u64 by[KVMGANG_NR_DISPLACERS] = { 1, 2, 3, 4, 5 };

	displaced_begin(&d, e->first ? vm(e->first) : host, &occupied);
	occupied.ns[KVMGANG_BY_VM] += e->vms;
	occupied.ns[KVMGANG_BY_HOST] += e->hosts;
	occupied.ns[KVMGANG_BY_KTHREAD] += e->kthreads;
	occupied.ns[KVMGANG_BY_NOBODY] += e->nobodies;
	displaced_end(&d, OWN, e->last ? vm(e->last) : host, &occupied, e->ns, by);

	expect_by(test, by, e->by[KVMGANG_BY_VM] + 1, e->by[KVMGANG_BY_SIBLING] + 2,
		  e->by[KVMGANG_BY_HOST] + 3, e->by[KVMGANG_BY_KTHREAD] + 4,
		  e->by[KVMGANG_BY_NOBODY] + 5);
	KUNIT_EXPECT_EQ(test, top_ns(test, &d, 1), e->first == 1 ? e->top_first : 0);
	if (e->last == 2)
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, 2), e->top_last);
	KUNIT_EXPECT_EQ(test, top_ns(test, &d, OWN), 0);
}

static void test_woken(struct kunit *test)
{
	u64 by[KVMGANG_NR_DISPLACERS] = {};
	struct kvmgang_displaced d = {};

	displaced_woken(&d, OWN, vm(1), 100, by);
	expect_by(test, by, 100, 0, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, top_ns(test, &d, 1), 100);
	displaced_woken(&d, OWN, vm(OWN), 100, by);
	expect_by(test, by, 100, 100, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, top_ns(test, &d, OWN), 0);
	displaced_woken(&d, OWN, host, 100, by);
	expect_by(test, by, 100, 100, 100, 0, 0);
	displaced_woken(&d, OWN, kthread, 100, by);
	expect_by(test, by, 100, 100, 100, 100, 0);
	/* A long wait was not for an idle pCPU, whoever ran there last. */
	displaced_woken(&d, OWN, nobody, IDLE_EXIT, by);
	expect_by(test, by, 100, 100, 100, 100, IDLE_EXIT);
	displaced_woken(&d, OWN, nobody, IDLE_EXIT + 1, by);
	expect_by(test, by, 100, 100, 100 + IDLE_EXIT + 1, 100, IDLE_EXIT);
}

/* Charges VM @id with @ns, as the simplest of episodes does. */
static void charge(struct kvmgang_displaced *d, u32 id, u64 ns)
{
	u64 by[KVMGANG_NR_DISPLACERS] = {};

	displaced_woken(d, OWN, vm(id), ns, by);
}

static void test_top_fills(struct kunit *test)
{
	struct kvmgang_displaced d = {};
	u32 id;

	for (id = 100; id < 100 + KVMGANG_TOP_DISPLACERS; id++)
		charge(&d, id, id);
	for (id = 100; id < 100 + KVMGANG_TOP_DISPLACERS; id++)
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, id), id);
	/* Who is known is added to. */
	for (id = 100; id < 100 + KVMGANG_TOP_DISPLACERS; id++)
		charge(&d, id, 1000);
	for (id = 100; id < 100 + KVMGANG_TOP_DISPLACERS; id++)
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, id), 1000 + id);
}

/* The smallest makes room, wherever it stands, and the new one begins at what it did itself. */
static void test_top_evicts(struct kunit *test)
{
	struct kvmgang_displaced d;
	int smallest, i;

	for (smallest = 0; smallest < KVMGANG_TOP_DISPLACERS; smallest++) {
		d = (struct kvmgang_displaced){};
		for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++)
			charge(&d, 100 + i, i == smallest ? 10 : 20 + i);
		charge(&d, 200, 3);
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, 200), 3);
		for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++)
			KUNIT_EXPECT_EQ(test, top_ns(test, &d, 100 + i),
					i == smallest ? 0 : 20 + i);
		/* The next takes the place of the one that did least. */
		charge(&d, 201, 1);
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, 200), 0);
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, 201), 1);
		/* Who was forgotten begins again. */
		charge(&d, 100 + smallest, 5);
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, 100 + smallest), 5);
	}
}

/* Who did nothing displaces nobody from the list. */
static void test_top_nothing(struct kunit *test)
{
	struct kvmgang_occupied occupied = {};
	u64 by[KVMGANG_NR_DISPLACERS] = {};
	struct kvmgang_displaced d = {};
	int i;

	for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++)
		charge(&d, 100 + i, 1);
	charge(&d, 200, 0);
	displaced_begin(&d, vm(201), &occupied);
	occupied.ns[KVMGANG_BY_VM] += 1;
	/* Half of 1 ns is nothing. */
	displaced_end(&d, OWN, vm(100), &occupied, 1, by);
	KUNIT_EXPECT_EQ(test, top_ns(test, &d, 200), 0);
	KUNIT_EXPECT_EQ(test, top_ns(test, &d, 201), 0);
	KUNIT_EXPECT_EQ(test, top_ns(test, &d, 100), 2);
	for (i = 1; i < KVMGANG_TOP_DISPLACERS; i++)
		KUNIT_EXPECT_EQ(test, top_ns(test, &d, 100 + i), 1);
}

static u64 sum_of(const u64 *by)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < KVMGANG_NR_DISPLACERS; i++)
		sum += by[i];
	return sum;
}

#define EPISODES	16384
#define VMS		12	/* three times what is remembered; one of them is the vCPU's own */

static struct kvmgang_occupant random_occupant(struct rnd_state *rnd)
{
	switch (random_below(rnd, 6)) {
	case 0:
		return host;
	case 1:
		return kthread;
	case 2:
		return nobody;
	default:
		/* The lower the number, the more often. */
		return vm(1 + random_below(rnd, 1 + random_below(rnd, VMS)));
	}
}

static void random_episode(struct kvmgang_displaced *d, struct rnd_state *rnd, u64 ns, u64 *by)
{
	struct kvmgang_occupied occupied = {};
	int i;

	if (random_below(rnd, 2)) {
		displaced_woken(d, OWN, random_occupant(rnd), ns, by);
		return;
	}
	for (i = 0; i < KVMGANG_NR_DISPLACERS; i++)
		occupied.ns[i] = prandom_u32_state(rnd);
	displaced_begin(d, random_occupant(rnd), &occupied);
	for (i = 0; i < KVMGANG_NR_DISPLACERS; i++)
		occupied.ns[i] += random_below(rnd, 1000000);
	displaced_end(d, OWN, random_occupant(rnd), &occupied, ns, by);
}

/* All that waited is charged, and no more is in the list than was charged to VMs. */
static void test_random(struct kunit *test)
{
	u64 by[KVMGANG_NR_DISPLACERS] = {}, total = 0, named;
	struct kvmgang_displaced d = {};
	struct rnd_state rnd;
	int i;
	u32 id;

	seed_random(test, &rnd);
	for (i = 0; i < EPISODES; i++) {
		u64 ns = random_below(&rnd, 3000000);

		random_episode(&d, &rnd, ns, by);
		total += ns;
		KUNIT_ASSERT_EQ(test, sum_of(by), total);
		named = 0;
		for (id = 1; id <= VMS; id++)
			named += top_ns(test, &d, id);
		KUNIT_ASSERT_LE(test, named, by[KVMGANG_BY_VM]);
		KUNIT_ASSERT_EQ(test, top_ns(test, &d, OWN), 0);
	}
}

/* Whoever does more than all others together is on the list, with what it did. */
static void test_heavy_hitter(struct kunit *test)
{
	struct kvmgang_displaced d = {};
	struct rnd_state rnd;
	u64 ns, heavy = 0;
	int i;

	seed_random(test, &rnd);
	for (i = 0; i < EPISODES; i++) {
		ns = 1 + random_below(&rnd, 1000);
		heavy += ns + 1000;
		charge(&d, 1, ns + 1000);
		charge(&d, 2 + random_below(&rnd, 100), ns);
		KUNIT_ASSERT_EQ(test, top_ns(test, &d, 1), heavy);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(test_preempted, episode_gen_params),
	KUNIT_CASE(test_woken),
	KUNIT_CASE(test_top_fills),
	KUNIT_CASE(test_top_evicts),
	KUNIT_CASE(test_top_nothing),
	KUNIT_CASE(test_random),
	KUNIT_CASE(test_heavy_hitter),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_displace",
	.test_cases = cases,
};

kunit_test_suite(suite);
