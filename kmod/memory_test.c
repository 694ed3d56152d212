// SPDX-License-Identifier: GPL-2.0
/* What memory.h makes of the nodes of pages. Where pages are is for selftests/test_gang.c. */
#include <kunit/test.h>

#include "kunit.h"
#include "memory.h"

#define PAGES	64

/* @count of @nr pages are on @node, anywhere among others that are on @others nodes. */
static int node_of_most(struct rnd_state *rnd, int node, u32 count, u32 nr, u32 others)
{
	s16 nid[PAGES];
	u32 i, j;

	for (i = 0; i < nr; i++)
		nid[i] = i < count ? node : node + 1 + random_below(rnd, others);
	for (i = nr - 1; i > 0; i--) {
		j = random_below(rnd, i + 1);
		swap(nid[i], nid[j]);
	}
	return memory_majority(nid, nr);
}

static void test_majority(struct kunit *test)
{
	struct rnd_state rnd;
	u32 count, nr, others;
	int found;

	seed_random(test, &rnd);
	for (nr = MEMORY_LEAST; nr <= PAGES; nr++) {
		for (count = 1; count <= nr; count++) {
			others = 1 + random_below(&rnd, 5);
			found = node_of_most(&rnd, 7, count, nr, others);
			if (4 * count >= 3 * nr)
				KUNIT_ASSERT_EQ(test, found, 7);
			else
				KUNIT_ASSERT_NE(test, found, 7);
		}
	}
}

static void test_too_few(struct kunit *test)
{
	static const s16 nid[MEMORY_LEAST] = {};

	KUNIT_EXPECT_EQ(test, memory_majority(nid, 0), NUMA_NO_NODE);
	KUNIT_EXPECT_EQ(test, memory_majority(nid, MEMORY_LEAST - 1), NUMA_NO_NODE);
	KUNIT_EXPECT_EQ(test, memory_majority(nid, MEMORY_LEAST), 0);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_majority),
	KUNIT_CASE(test_too_few),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_memory",
	.test_cases = cases,
};

kunit_test_suite(suite);
