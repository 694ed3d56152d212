// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 2, ready targets: a VM's vCPUs wait no longer than the user said, for which others are
 * throttled; and when there is no way to have it so, that is told, and nobody is throttled in vain.
 */
#include <stdio.h>

#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"
#include "witness.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define NR_VCPUS	4

/* In which a target is to be kept. */
#define CONTROL_MS	2000

static void target_set(const struct guest *guest, __u64 permille)
{
	REQUIRE(policy_set_one(guest->id, KVMGANG_KEY_READY_TARGET, permille), ==, 0);
}

/* For how long the vCPU of @guest that was ready for longest was so, of WATCH_MS; in permille. */
static uint64_t watch_readiest(struct guest *guests, int nr, int watched)
{
	uint64_t before[NR_VCPUS], ready, most = 0;
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		before[i] = row_read(guests[watched].id, i).count.state_ns[KVMGANG_READY];
	guests_watch(guests, nr, WATCH_MS);
	for (i = 0; i < NR_VCPUS; i++) {
		ready = row_read(guests[watched].id, i).count.state_ns[KVMGANG_READY] - before[i];
		if (ready > most)
			most = ready;
	}
	for (i = 0; i < nr; i++)
		tap_note("VM %d: %llu ns run, %llu ready, %llu throttled", i,
			 guests[i].during.state_ns[KVMGANG_RUN],
			 guests[i].during.state_ns[KVMGANG_READY],
			 guests[i].during.state_ns[KVMGANG_THROTTLED]);
	tap_note("%lu ns of %d ms was one of its vCPUs ready at most", most, WATCH_MS);
	return most / NSEC_PER_MSEC * 1000 / WATCH_MS;
}

static void expect_state(const char *state)
{
	struct service status = command_start(NULL, "status", "--json");
	char said[64];

	EXPECT(service_wait(&status), ==, 0);
	snprintf(said, sizeof(said), "\"ready_targets\":\"%s\"", state);
	expect_said(&status, said);
}

static void guests_start(struct guest *guests, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		guest_start(&guests[i], NR_VCPUS, guest_spin);
}

/* At 3:1 one VM is to wait for a twentieth of the time. All that others have is what it allows. */
static void test_kept(void)
{
	const uint64_t target = 50, allowed = worth(target * NR_VCPUS);
	struct service service = guests_begin_on_one_node();
	uint64_t run, throttled;
	struct guest guests[3];
	int second, i;

	guests_start(guests, 3);
	expect_state("none");
	target_set(&guests[0], target);
	sleep_ms(CONTROL_MS);
	for (second = 0; second < effort(3, 30); second++) {
		EXPECT(watch_readiest(guests, 3, 0), <, target);
		run = guests[1].during.state_ns[KVMGANG_RUN] +
		      guests[2].during.state_ns[KVMGANG_RUN];
		EXPECT(run, <=, allowed);
		/* Not much less, either: the worst tenth of a second of the worst vCPU counts. */
		EXPECT(run, >=, allowed / 3);
		for (i = 1; i < 3; i++) {
			throttled = guests[i].during.state_ns[KVMGANG_THROTTLED];
			EXPECT(throttled, >=, worth(900 * NR_VCPUS));
			/* Neither is preferred. */
			EXPECT(3 * guests[i].during.state_ns[KVMGANG_RUN], >=, run);
		}
	}
	expect_state("kept");

	/* Without a target everybody gets his own again. */
	target_set(&guests[0], 0);
	sleep_ms(SETTLE_MS);
	guests_watch(guests, 3, WATCH_MS);
	for (i = 0; i < 3; i++) {
		EXPECT(guests[i].during.state_ns[KVMGANG_THROTTLED], ==, 0);
		EXPECT(guests[i].during.state_ns[KVMGANG_RUN], >=, worth(1200));
	}
	expect_state("none");
	guests_end(&service);
}

/* Those with the lowest shares give first. */
static void test_lowest_first(void)
{
	struct service service = guests_begin_on_one_node();
	struct guest guests[3];
	uint64_t run;

	guests_start(guests, 3);
	REQUIRE(policy_set_one(guests[1].id, KVMGANG_KEY_SHARES, 300), ==, 0);
	target_set(&guests[0], 400);
	sleep_ms(CONTROL_MS);
	EXPECT(watch_readiest(guests, 3, 0), <, 400);
	EXPECT(guests[1].during.state_ns[KVMGANG_RUN], >=, worth(NR_VCPUS * 400 / 2));
	run = guests[2].during.state_ns[KVMGANG_RUN];
	EXPECT(run, <=, worth(100));
	/* Its turn comes once in a second or a little more; there may be none in this one. */
	run += guests_watch(&guests[2], 1, WATCH_MS);
	EXPECT(run, >, 0);
	guests_end(&service);
}

/* What the VM with the target does not want, others have. */
static void test_idle(void)
{
	struct service service = guests_begin_on_one_node();
	struct guest guests[3];

	guests_start(guests, 3);
	target_set(&guests[0], 50);
	sleep_ms(CONTROL_MS);
	EXPECT(watch_readiest(guests, 3, 0), <, 50);
	vm_stop(guests[0].vm);
	sleep_ms(CONTROL_MS);
	EXPECT(guests_watch(guests, 3, WATCH_MS), >=, worth(NR_VCPUS * 950));
	vm_continue(guests[0].vm);
	sleep_ms(CONTROL_MS);
	EXPECT(watch_readiest(guests, 3, 0), <, 50);
	guests_end(&service);
}

/* When all are to wait for a twentieth at 3:1, it is told, and each has his third. */
static void test_infeasible(void)
{
	struct service service = guests_begin_on_one_node();
	struct guest guests[3];
	int i;

	guests_start(guests, 3);
	for (i = 0; i < 3; i++)
		target_set(&guests[i], 50);
	sleep_ms(CONTROL_MS);
	watch_readiest(guests, 3, 0);
	for (i = 0; i < 3; i++) {
		EXPECT(guests[i].during.state_ns[KVMGANG_THROTTLED], ==, 0);
		EXPECT(guests[i].during.state_ns[KVMGANG_RUN], >=, worth(1200));
	}
	expect_state("cannot be met");
	/* One of them can. */
	for (i = 1; i < 3; i++)
		target_set(&guests[i], 0);
	sleep_ms(2 * CONTROL_MS);
	EXPECT(watch_readiest(guests, 3, 0), <, 50);
	expect_state("kept");
	guests_end(&service);
}

/*
 * With all of this on, and whatever is held back for it: states sum up, no counter goes backwards,
 * and what a vCPU waited is its thread's run_delay to the nanosecond.
 */
static void test_exact(void)
{
	static const struct {
		enum kvmgang_key key;
		__u64 value;
	} settings[] = {
		{ KVMGANG_KEY_READY_TARGET, 300 },
		{ KVMGANG_KEY_LIMIT, 1500 },
		{ KVMGANG_KEY_RESERVATION, 500 },
		{ KVMGANG_KEY_LATENCY, KVMGANG_LATENCY_SENSITIVE },
	};
	struct witness witnesses[ARRAY_SIZE(settings)][NR_VCPUS] = {};
	struct service service = guests_begin_on_one_node();
	struct vm *vms[ARRAY_SIZE(settings)];
	struct reader readers[2];
	uint64_t samples = 0;
	size_t n;
	int i;

	for (n = 0; n < ARRAY_SIZE(settings); n++) {
		uint32_t vm_id;

		vms[n] = vm_new(NR_VCPUS);
		for (i = 0; i < NR_VCPUS; i++)
			witness_prepare(&witnesses[n][i], &vms[n]->vcpus[i]);
		vm_start(vms[n], guest_io, WITNESS_LOOPS);
		vm_id = vm_id_wait(vms[n]);
		REQUIRE(policy_set_one(vm_id, settings[n].key, settings[n].value), ==, 0);
		for (i = 0; i < NR_VCPUS; i++)
			witness_begin(&witnesses[n][i], vm_id);
	}
	readers_start(readers, 2);
	sleep_ms(effort(3000, 60000));
	readers_stop(readers, 2, 100);
	for (n = 0; n < ARRAY_SIZE(settings); n++) {
		vm_stop(vms[n]);
		for (i = 0; i < NR_VCPUS; i++) {
			EXPECT(witnesses[n][i].samples, >, 0);
			samples += witnesses[n][i].samples;
		}
	}
	tap_note("%lu samples", samples);
	guests_end(&service);
}

GUESTS_MAIN(
	{ "a ready target is kept, and others are throttled for it", test_kept },
	{ "those with the lowest shares are throttled first", test_lowest_first },
	{ "nobody is throttled for a VM that sleeps", test_idle },
	{ "targets that cannot be met are told, and given up", test_infeasible },
	{ "accounts are exact while VMs are held back", test_exact },
	GUESTS_LEAVE,
)
