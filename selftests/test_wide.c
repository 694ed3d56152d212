// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 4 for VMs that are wider than a node: their parts, each on a node of its own, are one VM
 * all the same. For hosts of two nodes; of VMs that fit, test_gang.c has more.
 *
 * Shares of time are of virtual time, as in test_gang.
 */
#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

#define MOST_VCPUS	8

/* What each vCPU of @guest runs in @ms, of one snapshot at the beginning and one at the end. */
static void watch_vcpus(const struct guest *guest, int ms, uint64_t *run)
{
	struct snap first = {}, last = {};
	int i;

	snap_read(&first, guest->id);
	sleep_ms(ms);
	snap_read(&last, guest->id);
	for (i = 0; i < guest->nr_vcpus; i++)
		run[i] = row_since(snap_vcpu(&last, guest->id, i),
				   snap_vcpu(&first, guest->id, i)).state_ns[KVMGANG_RUN];
	snap_free(&first);
	snap_free(&last);
}

/* @got is @part of @of of what @run ns are, to within @permille of that. */
static void expect_part(uint64_t got, uint64_t run, int part, int of, int permille)
{
	uint64_t entitled = run * part / of;

	tap_note("%lu of %lu ns", got, entitled);
	EXPECT(1000 * got, >=, (1000 - permille) * entitled);
	EXPECT(1000 * got, <=, (1000 + permille) * entitled);
}

/* Neighbours share a node, as the guest believes that they are near to each other. */
static void test_parts(void)
{
	struct service service = guests_begin_on_two_nodes();
	const struct kvmgang_vcpu_row *row[4];
	struct snap snap = {};
	struct guest guest;
	int i;

	pin_thread(0, nth_cpu(0));
	guest_start(&guest, 4, guest_barrier);
	sleep_ms(SETTLE_MS);
	REQUIRE(snap_read(&snap, guest.id), ==, true);
	for (i = 0; i < 4; i++)
		row[i] = snap_vcpu(&snap, guest.id, i);
	EXPECT(snap_vm(&snap, guest.id)->home_nodes, ==, 3);
	EXPECT(row[0]->node, ==, row[1]->node);
	EXPECT(row[2]->node, ==, row[3]->node);
	EXPECT(row[0]->node, !=, row[2]->node);
	snap_free(&snap);
	guests_end(&service);
}

static uint64_t barriers_of(const struct guest *guests, int nr, int ms)
{
	uint64_t before = 0, after = 0;
	int i;

	for (i = 0; i < nr; i++)
		before += vm_count(guests[i].vm);
	sleep_ms(ms);
	for (i = 0; i < nr; i++)
		after += vm_count(guests[i].vm);
	return after - before;
}

/*
 * Two VMs as wide as the host: parts that did not follow each other met at half as many barriers
 * when this was measured.
 */
static void test_aligned(void)
{
	struct service service = guests_begin_on_two_nodes();
	uint64_t alone, together;
	struct guest guests[2];

	guest_start(&guests[0], 4, guest_barrier);
	sleep_ms(SETTLE_MS);
	alone = barriers_of(guests, 1, SETTLE_MS);
	guest_start(&guests[1], 4, guest_barrier);
	sleep_ms(SETTLE_MS);
	together = barriers_of(guests, 2, 2 * SETTLE_MS) / 2;
	tap_note("%lu barriers alone, %lu of two together", alone, together);
	EXPECT(10 * together, >=, 8 * alone);
	guests_end(&service);
}

/* More vCPUs than the host has pCPUs: they share what their VM gets. */
static void test_wider_than_the_host(void)
{
	struct service service = guests_begin_on_two_nodes();
	struct guest guests[2];
	uint64_t run, each[MOST_VCPUS] = {};
	int i;

	guest_start(&guests[0], 6, guest_spin);
	guest_start(&guests[1], 4, guest_spin);
	sleep_ms(SETTLE_MS);
	run = guests_watch(guests, 2, WATCH_MS);
	expect_part(guests[0].during.state_ns[KVMGANG_RUN], run, 1, 2, 20);
	watch_vcpus(&guests[0], WATCH_MS, each);
	run = 0;
	for (i = 0; i < 6; i++)
		run += each[i];
	for (i = 0; i < 6; i++)
		expect_part(each[i], run, 1, 6, 60);
	guests_end(&service);
}

/* Shares are a VM's, in however many parts it is. */
static void test_shares_beside_narrow(void)
{
	struct service service = guests_begin_on_two_nodes();
	struct guest guests[3];
	uint64_t run;
	int i;

	guest_start(&guests[0], 4, guest_spin);
	for (i = 1; i < 3; i++) {
		guest_start(&guests[i], 2, guest_spin);
		REQUIRE(policy_set_one(guests[i].id, KVMGANG_KEY_HOME_NODES, i), ==, 0);
	}
	sleep_ms(SETTLE_MS);
	run = guests_watch(guests, 3, WATCH_MS);
	for (i = 0; i < 3; i++)
		expect_part(guests[i].during.state_ns[KVMGANG_RUN], run, 1, 3, 30);
	guests_end(&service);
}

/* All parts draw from one budget, and wait when it is used up. */
static void test_limit(void)
{
	struct service service = guests_begin_on_two_nodes();
	struct guest guest;

	guest_start(&guest, 4, guest_barrier);
	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_LIMIT, 2000), ==, 0);
	sleep_ms(SETTLE_MS);
	guests_watch(&guest, 1, WATCH_MS);
	expect_part(guest.during.state_ns[KVMGANG_RUN], worth(2000), 1, 1, 20);
	EXPECT(guest.during.state_ns[KVMGANG_THROTTLED], >, 0);
	guests_end(&service);
}

/*
 * A task of the host on each node, whichever of the two is first to elect, gets as much as a vCPU
 * of a VM of which only parts are beside it. Of four pCPUs each of eight threads has 0.5; a window
 * is 1.2 % of that.
 */
static void test_tasks_beside(void)
{
	struct service service = guests_begin_on_two_nodes();
	uint64_t ran[2];
	struct guest guest;
	struct hog hogs[2];
	int i;

	guest_start(&guest, 6, guest_spin);
	for (i = 0; i < 2; i++)
		hog_start(&hogs[i], nth_cpu(i * (nr_cpus() - 1)), false);
	sleep_ms(SETTLE_MS);
	for (i = 0; i < 2; i++)
		ran[i] = schedstat_read(hogs[i].tid).run_ns;
	sleep_ms(WATCH_MS);
	for (i = 0; i < 2; i++) {
		ran[i] = schedstat_read(hogs[i].tid).run_ns - ran[i];
		expect_part(ran[i], worth(500), 1, 1, 50);
		hog_stop(&hogs[i]);
	}
	guests_end(&service);
}

GUESTS_MAIN(
	{ "a VM wider than a node is at home on several", test_parts },
	{ "its parts run at the same time", test_aligned },
	{ "one wider than the host is fair to its vCPUs", test_wider_than_the_host },
	{ "its shares are those of one VM", test_shares_beside_narrow },
	{ "a task of the host gets as much as its vCPUs", test_tasks_beside },
	{ "its limit is that of all parts together", test_limit },
	GUESTS_LEAVE,
)
