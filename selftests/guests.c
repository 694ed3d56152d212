// SPDX-License-Identifier: GPL-2.0
/* See guests.h. */
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

uint64_t worth(uint64_t milli)
{
	return milli * WATCH_MS * NSEC_PER_MSEC / 1000;
}

/* Of all tests, whose processes know it from the first one, which started it. */
static struct service lasting;

static bool has_sched_ext(void)
{
	return !access("/sys/kernel/sched_ext", F_OK);
}

static void begin(int nr)
{
	if (!has_sched_ext())
		tap_skip("the kernel has no sched_ext");
	if (nr_cpus() < nr)
		tap_skip("needs %d CPUs", nr);
	policy_begin();
}

struct service guests_begin_with(int nr, const char *option)
{
	begin(nr);
	if (lasting.pid && scheduler_is("enabled"))
		guests_leave();
	return service_start(NULL, option);
}

struct service guests_begin(int nr)
{
	begin(nr);
	if (!lasting.pid)
		return service_start(NULL, "--once");
	REQUIRE(scheduler_is("enabled"), ==, true);
	return lasting;
}

void guests_end(struct service *service)
{
	/* Who is thrown out at the last moment may have no time to say so. */
	EXPECT(scheduler_is("enabled"), ==, true);
	if (service->pid == lasting.pid)
		return;
	if (!EXPECT(service_end(service, SIGTERM), ==, 0))
		tap_note("%s", service->said);
	EXPECT(scheduler_is("disabled"), ==, true);
}

int guests_main(int argc, char **argv, struct tap_test *tests, int nr)
{
	if (has_sched_ext())
		lasting = service_start(NULL, "--once");
	return tap_main(argc, argv, tests, nr);
}

/* Its status is for the process that started it; but it says why it left if it was not told to. */
void guests_leave(void)
{
	if (!lasting.pid)
		tap_skip("the kernel has no sched_ext");
	EXPECT(scheduler_is("enabled"), ==, true);
	kill(lasting.pid, SIGTERM);
	service_listen(&lasting);
	if (!EXPECT(!strstr(lasting.said, "left"), ==, true))
		tap_note("%s", lasting.said);
	EXPECT(scheduler_is("disabled"), ==, true);
}

static bool has_two_nodes(void)
{
	return node_of(nth_cpu(0)) != node_of(nth_cpu(nr_cpus() - 1));
}

struct service guests_begin_on_one_node(void)
{
	if (has_two_nodes())
		tap_skip("needs a host of one node");
	return guests_begin(4);
}

struct service guests_begin_on_two_nodes(void)
{
	if (!has_two_nodes())
		tap_skip("needs 2 NUMA nodes");
	return guests_begin(4);
}

void guest_start(struct guest *guest, int nr_vcpus, const char *program)
{
	guest->nr_vcpus = nr_vcpus;
	guest->vm = vm_new(nr_vcpus);
	vm_start(guest->vm, program, 0);
	guest->id = vm_id_wait(guest->vm);
}

uint64_t guests_watch(struct guest *guests, int nr, int ms)
{
	struct snap first = {}, last = {};
	uint64_t run = 0;
	int i;

	snap_read(&first, ALL_VMS);
	sleep_ms(ms);
	snap_read(&last, ALL_VMS);
	for (i = 0; i < nr; i++) {
		const __u64 *from = (const __u64 *)&snap_vm(&first, guests[i].id)->sum;
		const __u64 *to = (const __u64 *)&snap_vm(&last, guests[i].id)->sum;
		__u64 *difference = (__u64 *)&guests[i].during;
		size_t n;

		for (n = 0; n < sizeof(guests[i].during) / sizeof(*to); n++)
			difference[n] = to[n] - from[n];
		run += guests[i].during.state_ns[KVMGANG_RUN];
	}
	snap_check_order(&first, &last);
	snap_free(&first);
	snap_free(&last);
	return run;
}
