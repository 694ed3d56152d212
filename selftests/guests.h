/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guests under the scheduler, and what they got of the host by the module's account. The scheduler
 * is attached as a user would attach it; if the kernel throws it out the test fails.
 */
#ifndef SELFTESTS_GUESTS_H
#define SELFTESTS_GUESTS_H

#include <stdint.h>
#include <linux/kvmgang.h>

#include "service.h"
#include "tap.h"
#include "vmm.h"

/* In which what was before, or a first choice, no longer shows. */
#define SETTLE_MS	300

/* For how long it is looked what guests get. */
#define WATCH_MS	1000

/* ns that @milli thousandths of a pCPU are in WATCH_MS. */
uint64_t worth(uint64_t milli);

/* The scheduler's. */
#define WINDOW_NS	(6 * NSEC_PER_MSEC)

/*
 * Skips the test on a host with fewer than @nr pCPUs, or without sched_ext. The scheduler is the
 * test's own or, in a program with GUESTS_MAIN(), that of all tests.
 */
struct service guests_begin(int nr);

/* The same with another option of kvmgang run than --once, or with none. Then it is its own. */
struct service guests_begin_with(int nr, const char *option);

/* Shares are of a node: what several are worth together depends on who lives where. */
struct service guests_begin_on_one_node(void);

/* For a host of which the first and the last pCPU are on different nodes. */
struct service guests_begin_on_two_nodes(void);

/* Expects that the scheduler is still there. */
void guests_end(struct service *service);

/*
 * As TAP_MAIN(), but the tests have one scheduler: to attach takes longer than most tests do. It
 * goes at the end of the program, unless GUESTS_LEAVE is among the tests: that expects it to be
 * there still, and to go when it is told to.
 */
#define GUESTS_MAIN(...)							\
int main(int argc, char **argv)							\
{										\
	struct tap_test tests[] = { __VA_ARGS__ };				\
										\
	return guests_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0])); \
}

#define GUESTS_LEAVE	{ "the scheduler goes when it is told to", guests_leave }

int guests_main(int argc, char **argv, struct tap_test *tests, int nr);
void guests_leave(void);

struct guest {
	struct vm *vm;
	uint32_t id;
	int nr_vcpus;
	struct kvmgang_counters during;		/* the VM's sum, of the last guests_watch() */
};

void guest_start(struct guest *guest, int nr_vcpus, const char *program);

/* What happens to @guests in @ms. Returns ns of run of all together. */
uint64_t guests_watch(struct guest *guests, int nr, int ms);

#endif /* SELFTESTS_GUESTS_H */
