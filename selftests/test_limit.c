// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 2, what a VM may have at most and gets at least: limits and reservations. test_gang has
 * shares.
 */
#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

/* Far fewer pCPUs than the guest has vCPUs that wait for each other: they have them together. */
static void test_limit(void)
{
	struct service service = guests_begin_on_one_node();
	uint64_t alone, limited, whole, run;
	struct guest guest;

	guest_start(&guest, 4, guest_barrier);
	sleep_ms(SETTLE_MS);
	alone = vm_count(guest.vm);
	whole = guests_watch(&guest, 1, WATCH_MS);
	alone = vm_count(guest.vm) - alone;

	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_LIMIT, 1500), ==, 0);
	sleep_ms(SETTLE_MS);
	limited = vm_count(guest.vm);
	run = guests_watch(&guest, 1, WATCH_MS);
	limited = vm_count(guest.vm) - limited;
	tap_note("%lu ns run of %lu allowed, %llu ns throttled", run, worth(1500),
		 guest.during.state_ns[KVMGANG_THROTTLED]);
	tap_note("%lu barriers in %lu ns run, %lu in %lu ns", alone, whole, limited, run);
	EXPECT(run, >=, worth(1500) * 99 / 100);
	EXPECT(run, <=, worth(1500) * 101 / 100);
	/* What they waited they were throttled, but for the time of a switch now and then. */
	EXPECT(guest.during.state_ns[KVMGANG_THROTTLED], >=, worth(4000 - 1500) * 9 / 10);
	EXPECT(100 * guest.during.state_ns[KVMGANG_COSTOP], <=, run);
	EXPECT((double)limited / run, >=, 0.9 * alone / whole);

	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_LIMIT, 0), ==, 0);
	sleep_ms(SETTLE_MS);
	EXPECT(guests_watch(&guest, 1, WATCH_MS), >=, worth(4000) * 95 / 100);
	guests_end(&service);
}

/*
 * A limit of a hundredth of a pCPU, and rivals: the VM is stopped for as long as ever it is, and
 * yet each of its vCPUs gets on.
 */
static void test_low_limit(void)
{
	const int periods = effort(4, 300);
	struct service service = guests_begin(4);
	struct guest guests[2];
	uint64_t run = 0;
	int i, period;

	for (i = 0; i < 2; i++)
		guest_start(&guests[i], 4, guest_spin);
	REQUIRE(policy_set_one(guests[0].id, KVMGANG_KEY_LIMIT, 10), ==, 0);
	sleep_ms(2 * WATCH_MS);
	for (period = 0; period < periods; period++) {
		guests_watch(guests, 2, WATCH_MS);
		run += guests[0].during.state_ns[KVMGANG_RUN];
		EXPECT(guests[1].during.state_ns[KVMGANG_RUN], >, 0);
	}
	tap_note("%lu ns run of %lu allowed", run, periods * worth(10));
	/* What it begins with, a turn, may be used in the last period or before the first. */
	EXPECT(run, >=, (periods - 1) * worth(10));
	EXPECT(run, <=, (periods + 1) * worth(10));
	for (i = 0; i < 4; i++)
		EXPECT(row_read(guests[0].id, i).count.state_ns[KVMGANG_RUN], >, 0);
	guests_end(&service);
}

/* Whatever the shares, against ten that take what they can get. */
static void test_reservation(void)
{
	struct service service = guests_begin_on_one_node();
	struct guest guests[11];
	int i;

	for (i = 0; i < 11; i++)
		guest_start(&guests[i], 4, guest_spin);
	REQUIRE(policy_set_one(guests[0].id, KVMGANG_KEY_SHARES, 1), ==, 0);
	REQUIRE(policy_set_one(guests[0].id, KVMGANG_KEY_RESERVATION, 1000), ==, 0);
	/* With so few shares it may have come so far that it waits for two seconds. */
	sleep_ms(3 * WATCH_MS);
	guests_watch(guests, 11, WATCH_MS);
	tap_note("%llu ns run of %lu reserved", guests[0].during.state_ns[KVMGANG_RUN],
		 worth(1000));
	EXPECT(guests[0].during.state_ns[KVMGANG_RUN], >=, worth(1000) * 98 / 100);
	EXPECT(guests[0].during.state_ns[KVMGANG_RUN], <=, worth(1000) * 11 / 10);
	REQUIRE(policy_set_one(guests[0].id, KVMGANG_KEY_RESERVATION, 0), ==, 0);
	sleep_ms(WATCH_MS);
	guests_watch(guests, 11, WATCH_MS);
	EXPECT(guests[0].during.state_ns[KVMGANG_RUN], <=, worth(1000) / 10);
	guests_end(&service);
}

GUESTS_MAIN(
	{ "a limit is kept, and the vCPUs run together", test_limit },
	{ "a VM of a low limit gets on", test_low_limit },
	{ "a reservation is kept", test_reservation },
	GUESTS_LEAVE,
)
