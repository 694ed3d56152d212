// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 4, gang windows: how far apart the members start. What the scheduler gives to whom is
 * test_gang's. Times are virtual, which on the lab host is that of instructions executed, 125 in a
 * microsecond.
 */
#include "guests.h"
#include "host.h"
#include "snap.h"
#include "tap.h"

#include "costart.h"
#include "costart.skel.h"

/* For how long starts are counted. */
#define COUNT_MS		effort(2000, 20000)

/* The last of a gang's members starts so long after the first, in 99 windows of 100. */
#define MOST_NS		(200 * 1000)

static struct costart *checker_begin(void)
{
	struct costart *checker = costart__open_and_load();

	if (!checker)
		die("the checker cannot be loaded");
	if (costart__attach(checker))
		die("the checker cannot be attached");
	checker->bss->window_ns = WINDOW_NS;
	return checker;
}

static void checker_knows(struct costart *checker, const struct guest *guest, int vm)
{
	struct member member = { .all = (1ULL << guest->nr_vcpus) - 1, .vm = vm };
	int i;

	for (i = 0; i < guest->nr_vcpus; i++) {
		__u32 tid = guest->vm->vcpus[i].tid;

		member.nr = i;
		REQUIRE(bpf_map__update_elem(checker->maps.members, &tid, sizeof(tid), &member,
					     sizeof(member), BPF_ANY), ==, 0);
	}
}

/* Below which @permille of all starts are; *@nr: how many these are. */
static uint64_t quantile(const struct costart *checker, int permille, uint64_t *nr)
{
	uint64_t seen = 0, i;

	*nr = 0;
	for (i = 0; i < NR_BUCKETS; i++)
		*nr += checker->bss->starts[i];
	for (i = 0; i < NR_BUCKETS - 1; i++) {
		seen += checker->bss->starts[i];
		if (1000 * seen >= permille * *nr)
			break;
	}
	return (i + 1) * BUCKET_NS;
}

/* @nr VMs as wide as the host, whose vCPUs are all runnable at all times. */
static void start_together(int nr)
{
	struct service service = guests_begin_on_one_node();
	struct costart *checker = checker_begin();
	struct guest guests[nr];
	const uint64_t windows = NSEC_PER_MSEC * COUNT_MS / WINDOW_NS;
	uint64_t p50, p99, all;
	int i;

	for (i = 0; i < nr; i++) {
		guest_start(&guests[i], nr_cpus(), guest_barrier);
		checker_knows(checker, &guests[i], i);
	}
	sleep_ms(SETTLE_MS);
	__atomic_store_n(&checker->bss->begin, now_ns(), __ATOMIC_SEQ_CST);
	sleep_ms(COUNT_MS);
	p50 = quantile(checker, 500, &all);
	p99 = quantile(checker, 990, &all);
	tap_note("%lu starts: half within %lu us, 99 %% within %lu us, the longest %llu us", all,
		 p50 / 1000, p99 / 1000, checker->bss->longest_ns / 1000);
	tap_note("%llu beside host tasks, the longest %llu us", checker->bss->disturbed,
		 checker->bss->longest_disturbed_ns / 1000);
	/* A VM that is elected twice in a row does not start again. */
	EXPECT(all, >=, windows / 3);
	EXPECT(p99, <=, MOST_NS);
	costart__destroy(checker);
	guests_end(&service);
}

static void test_two(void)
{
	start_together(2);
}

static void test_three(void)
{
	start_together(3);
}

GUESTS_MAIN(
	{ "members start together, 2:1", test_two },
	{ "members start together, 3:1", test_three },
	GUESTS_LEAVE,
)
