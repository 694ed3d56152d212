// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 2, what a VM may have at most and gets at least: limits, reservations, and who preempts
 * whom. test_gang has shares.
 */
#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

#define WATCH_MS	1000

/* ns that @milli thousandths of a pCPU are in WATCH_MS. */
static uint64_t worth(uint64_t milli)
{
	return milli * WATCH_MS * NSEC_PER_MSEC / 1000;
}

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
	EXPECT(guest.during.state_ns[KVMGANG_COSTOP], ==, 0);
	EXPECT((double)limited / run, >=, 0.9 * alone / whole);

	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_LIMIT, 0), ==, 0);
	sleep_ms(SETTLE_MS);
	EXPECT(guests_watch(&guest, 1, WATCH_MS), >=, worth(4000) * 95 / 100);
	guests_end(&service);
}

TAP_MAIN(
	{ "a limit is kept, and the vCPUs run together", test_limit },
)
