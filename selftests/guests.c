// SPDX-License-Identifier: GPL-2.0
/* See guests.h. */
#include <signal.h>
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

struct service guests_begin_with(int nr, const char *option)
{
	if (access("/sys/kernel/sched_ext", F_OK))
		tap_skip("the kernel has no sched_ext");
	if (nr_cpus() < nr)
		tap_skip("needs %d CPUs", nr);
	policy_begin();
	return service_start(NULL, option);
}

struct service guests_begin(int nr)
{
	return guests_begin_with(nr, "--once");
}

void guests_end(struct service *service)
{
	if (!EXPECT(service_end(service, SIGTERM), ==, 0))
		tap_note("%s", service->said);
	EXPECT(scheduler_is("disabled"), ==, true);
}

struct service guests_begin_on_one_node(void)
{
	if (node_of(nth_cpu(0)) != node_of(nth_cpu(nr_cpus() - 1)))
		tap_skip("needs a host of one node");
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
