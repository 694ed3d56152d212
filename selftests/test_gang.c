// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 4: what the scheduler gives to whom, by the module's account of it. The guests are real
 * and the scheduler is attached as a user would attach it; test_run has how it comes and goes.
 *
 * Shares of time are of virtual time, which on the lab host is that of instructions executed.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

/*
 * In a second a VM has what it is entitled to, to 2 %; in ten, to 0.5 %. But it has it in windows,
 * on all its pCPUs, of which one may be just before or after.
 */
#define FAIR_MS		effort(1000, 10000)
#define FAIR_PERMILLE	effort(20, 5)

static void expect_fair(struct guest *guests, const int *shares, int nr)
{
	uint64_t run, got, entitled, error, window, all_shares = 0;
	int i;

	run = guests_watch(guests, nr, FAIR_MS);
	for (i = 0; i < nr; i++)
		all_shares += shares[i];
	for (i = 0; i < nr; i++) {
		got = guests[i].during.state_ns[KVMGANG_RUN];
		entitled = run * shares[i] / all_shares;
		tap_note("%d shares, %d vCPUs: %lu of %lu ns", shares[i], guests[i].nr_vcpus, got,
			 entitled);
		error = entitled * FAIR_PERMILLE / 1000;
		window = WINDOW_NS * guests[i].nr_vcpus;
		if (error < window)
			error = window;
		EXPECT(got, >=, entitled - error);
		EXPECT(got, <=, entitled + error);
	}
}

/* What a VM may have by its shares it can use: they are as wide as the host. */
static void share_out(const char *program, const int *shares)
{
	struct service service = guests_begin_on_one_node();
	struct guest guests[3];
	int i;

	for (i = 0; i < 3; i++) {
		guest_start(&guests[i], nr_cpus(), program);
		REQUIRE(policy_set_one(guests[i].id, KVMGANG_KEY_SHARES, shares[i]), ==, 0);
	}
	sleep_ms(SETTLE_MS);
	expect_fair(guests, shares, 3);
	guests_end(&service);
}

static void test_shares(void)
{
	share_out(guest_spin, (const int[]){ 100, 200, 400 });
}

static void test_shares_of_gangs(void)
{
	share_out(guest_barrier, (const int[]){ 100, 200, 400 });
}

/* Shares are a VM's, not a vCPU's: on one pCPU, where each can use what it may have. */
static void test_shares_by_vm(void)
{
	static const int equal[] = { 100, 100, 100 };
	struct service service = guests_begin(2);
	struct guest guests[3];
	int i;

	for (i = 0; i < 3; i++) {
		guest_start(&guests[i], 1 << i, guest_spin);
		vm_pin(guests[i].vm, nth_cpu(1));
	}
	sleep_ms(SETTLE_MS);
	expect_fair(guests, equal, 3);
	guests_end(&service);
}

/*
 * Three host tasks that may run on one pCPU only are entitled to more than that, and wait for what
 * they cannot have. What is left are three pCPUs, of which the VMs can use what they may have.
 */
static void test_shares_beside_bound(void)
{
	static const int shares[] = { 100, 150 };
	struct service service = guests_begin_on_one_node();
	struct guest guests[2];
	struct hog hogs[3] = {};
	int i;

	pin_thread(0, nth_cpu(0));
	for (i = 0; i < 2; i++) {
		guest_start(&guests[i], 2, guest_spin);
		REQUIRE(policy_set_one(guests[i].id, KVMGANG_KEY_SHARES, shares[i]), ==, 0);
	}
	for (i = 0; i < 3; i++)
		hog_start(&hogs[i], nth_cpu(1), false);
	sleep_ms(SETTLE_MS);
	expect_fair(guests, shares, 2);
	for (i = 0; i < 3; i++)
		hog_stop(&hogs[i]);
	guests_end(&service);
}

/* What each of @nr hogs and of @guest's vCPUs got is the same to within @permille of that. */
static void expect_equal(struct hog *hogs, int nr, struct guest *guest, int permille)
{
	uint64_t before[nr], least = UINT64_MAX, most = 0, each;
	int i;

	sleep_ms(SETTLE_MS);
	for (i = 0; i < nr; i++)
		before[i] = schedstat_read(hogs[i].tid).run_ns;
	each = guests_watch(guest, 1, WATCH_MS) / guest->nr_vcpus;
	for (i = 0; i < nr; i++) {
		uint64_t ran = schedstat_read(hogs[i].tid).run_ns - before[i];

		least = ran < least ? ran : least;
		most = ran > most ? ran : most;
	}
	tap_note("%d tasks: %lu to %lu ns, vCPUs %lu ns", nr, least, most, each);
	EXPECT(1000 * least, >=, (1000 - permille) * each);
	EXPECT(1000 * most, <=, (1000 + permille) * each);
}

/*
 * A host task is worth a vCPU. A single one on four pCPUs should have four windows in five, and has
 * three in four: 750 where each vCPU has 812, or 8 % less. Of twelve threads each has 333 ms, and a
 * window is 1.8 % of that; three of these are allowed.
 */
static void test_tasks(void)
{
	struct service service = guests_begin_on_one_node();
	int nr_hogs = 2 * nr_cpus(), i;
	struct hog hogs[nr_hogs];
	struct guest guest;

	pin_thread(0, nth_cpu(0));
	guest_start(&guest, nr_cpus(), guest_spin);
	for (i = 0; i < nr_hogs; i++) {
		hog_start(&hogs[i], -1, false);
		if (!i)
			expect_equal(hogs, 1, &guest, 100);
		else if ((i + 1) % nr_cpus() == 0)
			expect_equal(hogs, i + 1, &guest, 55);
	}
	for (i = 0; i < nr_hogs; i++)
		hog_stop(&hogs[i]);
	guests_end(&service);
}

/* Two VMs as wide as the host, whose vCPUs meet at barriers: apart, they would hardly get on. */
static void test_windows(void)
{
	struct service service = guests_begin_on_one_node();
	uint64_t alone, together;
	struct guest guests[2];
	int i;

	guest_start(&guests[0], nr_cpus(), guest_barrier);
	sleep_ms(SETTLE_MS);
	alone = vm_count(guests[0].vm);
	sleep_ms(SETTLE_MS);
	alone = vm_count(guests[0].vm) - alone;

	guest_start(&guests[1], nr_cpus(), guest_barrier);
	sleep_ms(SETTLE_MS);
	together = vm_count(guests[0].vm) + vm_count(guests[1].vm);
	guests_watch(guests, 2, SETTLE_MS);
	together = vm_count(guests[0].vm) + vm_count(guests[1].vm) - together;
	tap_note("%lu barriers alone, %lu of two together", alone, together);
	EXPECT(10 * together, >=, 8 * alone);
	for (i = 0; i < 2; i++)
		EXPECT(guests[i].during.state_ns[KVMGANG_READY], >, 0);
	guests_end(&service);
}

/* On a host where everybody has a pCPU nobody is held, and each sibling has one of its own. */
static void test_idle_host(void)
{
	struct service service = guests_begin(4);
	struct kvmgang_vcpu_row a, b;
	struct guest guest;

	pin_thread(0, nth_cpu(0));
	guest_start(&guest, 2, guest_spin);
	sleep_ms(SETTLE_MS);
	guests_watch(&guest, 1, SETTLE_MS);
	a = row_read(guest.id, 0);
	b = row_read(guest.id, 1);
	EXPECT(a.cpu, !=, b.cpu);
	EXPECT(guest.during.state_ns[KVMGANG_COSTOP], ==, 0);
	EXPECT(100 * guest.during.state_ns[KVMGANG_RUN], >=, 98 * state_sum(&guest.during));
	guests_end(&service);
}

/*
 * A VM of two vCPUs, one of which has a pCPU to itself while the other shares one with a VM. Its
 * lead is bounded by costop_us, and more so the less that is.
 */
static uint64_t lead_with(struct guest *guest, int costop_us, int costart_us)
{
	struct kvmgang_vcpu_row before[2], after[2];
	uint64_t run[2];
	int i;

	REQUIRE(policy_set_skew(guest->id, costop_us, costart_us), ==, 0);
	sleep_ms(SETTLE_MS);
	for (i = 0; i < 2; i++)
		before[i] = row_read(guest->id, i);
	sleep_ms(SETTLE_MS);
	for (i = 0; i < 2; i++) {
		after[i] = row_read(guest->id, i);
		run[i] = row_since(&after[i], &before[i]).state_ns[KVMGANG_RUN];
	}
	guest->during = row_since(&after[0], &before[0]);
	tap_note("costop_us %d: %lu ns and %lu ns run, %llu ns held", costop_us, run[0], run[1],
		 guest->during.state_ns[KVMGANG_COSTOP]);
	return run[0] > run[1] ? run[0] - run[1] : 0;
}

static void test_costop(void)
{
	struct service service = guests_begin(3);
	struct guest guest = { .nr_vcpus = 2 }, rivals[3];
	int i;

	/* Both on one node: siblings are compared with those that wait where they do. */
	pin_thread(0, nth_cpu(nr_cpus() - 1));
	guest.vm = vm_new(2);
	vcpu_pin(&guest.vm->vcpus[0], nth_cpu(0));
	vcpu_pin(&guest.vm->vcpus[1], nth_cpu(1));
	vm_start(guest.vm, guest_spin, 0);
	guest.id = vm_id_wait(guest.vm);
	/* One vCPU has two rivals, the other one, and would get half as much more. */
	for (i = 0; i < 3; i++) {
		guest_start(&rivals[i], 1, guest_spin);
		vm_pin(rivals[i].vm, nth_cpu(i ? 1 : 0));
	}
	/* Without a bound it would be some 50 ms, half as much again. Windows are the grain. */
	EXPECT(lead_with(&guest, 3000, 2000), <=, 6 * WINDOW_NS);
	EXPECT(guest.during.state_ns[KVMGANG_COSTOP], >, 0);
	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_LATENCY, KVMGANG_LATENCY_SENSITIVE), ==, 0);
	lead_with(&guest, 3000, 2000);
	EXPECT(guest.during.state_ns[KVMGANG_COSTOP], ==, 0);
	guests_end(&service);
}

/* How many of the ended ready episodes were of 2^@shift ns or longer. */
static uint64_t waits_of(const struct kvmgang_counters *counters, int shift)
{
	uint64_t nr = 0;
	int i;

	for (i = shift - KVMGANG_READY_SHIFT + 1; i < KVMGANG_READY_BUCKETS; i++)
		nr += counters->ready_hist[i];
	return nr;
}

/*
 * Not in step with the windows, which end at multiples of 6 ms: in a second there are wakes in all
 * parts of a window, 23 us apart at most.
 */
#define TIMER_US	2017
#define NR_WAKES	(2 * WATCH_MS * 1000 / TIMER_US)

/*
 * A guest's timer wakes it up, beside @nr vCPUs that spin for each pCPU: hardly any of its wakes is
 * lost, and of a thousand at most two wait for a millisecond (2^20 ns).
 */
static void wake_beside(int nr)
{
	struct service service = guests_begin_on_one_node();
	struct guest sleeper = { .vm = vm_new(2), .nr_vcpus = 2 }, rivals[nr];
	uint64_t wakes, waits;
	int i;

	for (i = 0; i < nr; i++)
		guest_start(&rivals[i], nr_cpus(), i % 2 ? guest_spin : guest_barrier);
	vm_start(sleeper.vm, guest_halt, TIMER_US * 1000);
	sleeper.id = vm_id_wait(sleeper.vm);
	for (i = 0; i < 2; i++) {
		REQUIRE(policy_set_one(sleeper.id, KVMGANG_KEY_LATENCY,
				       i ? KVMGANG_LATENCY_SENSITIVE : KVMGANG_LATENCY_NORMAL),
			==, 0);
		sleep_ms(SETTLE_MS);
		guests_watch(&sleeper, 1, WATCH_MS);
		wakes = sleeper.during.wakeups;
		waits = waits_of(&sleeper.during, 20);
		tap_note("%s: %lu of %d wakes, of which %lu waited, %llu ns ready in all",
			 i ? "sensitive" : "normal", wakes, NR_WAKES, waits,
			 sleeper.during.state_ns[KVMGANG_READY]);
		EXPECT(100 * wakes, >=, 99 * NR_WAKES);
		EXPECT(400 * waits, <=, wakes);
	}
	guests_end(&service);
}

static void test_wakes(void)
{
	wake_beside(2);
}

static void test_wakes_beside_three(void)
{
	wake_beside(3);
}

/* How long it takes the calling thread, which has slept, to run for @ns. */
static uint64_t burst(uint64_t ns)
{
	uint64_t began;

	sleep_ms(10);
	began = now_ns();
	run_for(ns);
	return now_ns() - began;
}

/*
 * A task of the host that wants a millisecond in eleven, which is less than its part of four pCPUs
 * beside eight vCPUs, does not wait for a window when it has slept. It may when it comes while
 * another one, such as a kworker, is on credit on its pCPU.
 */
static void test_bursts(void)
{
	struct service service = guests_begin_on_one_node();
	struct guest guests[2];
	int i, waits = 0;

	for (i = 0; i < 2; i++)
		guest_start(&guests[i], nr_cpus(), guest_barrier);
	sleep_ms(SETTLE_MS);
	for (i = 0; i < 100; i++)
		waits += burst(NSEC_PER_MSEC) > 3 * NSEC_PER_MSEC / 2;
	tap_note("%d of 100 waited", waits);
	EXPECT(waits, <=, 10);
	guests_end(&service);
}

static __u64 home_of(uint32_t vm_id)
{
	struct snap snap = {};
	__u64 home;

	REQUIRE(snap_read(&snap, vm_id), ==, true);
	home = snap_vm(&snap, vm_id)->home_nodes;
	snap_free(&snap);
	return home;
}

/* Two VMs for each node; every one fits. */
static void test_homes(void)
{
	struct service service = guests_begin_on_two_nodes();
	struct guest guests[4];
	int homes[2] = {}, i;
	__u64 home[4];

	for (i = 0; i < 4; i++)
		guest_start(&guests[i], nr_cpus() / 2, guest_spin);
	/* A home is chosen again every two seconds. */
	sleep_ms(4500);
	for (i = 0; i < 4; i++) {
		home[i] = home_of(guests[i].id);
		REQUIRE(home[i] == 1 || home[i] == 2, ==, true);
		homes[home[i] - 1]++;
	}
	EXPECT(homes[0], ==, 2);
	guests_watch(guests, 4, effort(2500, 60000));
	for (i = 0; i < 4; i++) {
		EXPECT(home_of(guests[i].id), ==, home[i]);
		tap_note("VM %u: %llu ns of %llu ns run were off its home", guests[i].id,
			 guests[i].during.run_remote_ns, guests[i].during.state_ns[KVMGANG_RUN]);
		EXPECT(100 * guests[i].during.run_remote_ns, <=,
		       guests[i].during.state_ns[KVMGANG_RUN]);
	}
	guests_end(&service);
}

/* Where the user wants it, a VM lives, at once and with all its vCPUs. */
static void test_wanted_home(void)
{
	struct service service = guests_begin_on_two_nodes();
	int node = node_of(nth_cpu(nr_cpus() - 1));
	struct guest guest;

	pin_thread(0, nth_cpu(0));
	guest_start(&guest, 2, guest_spin);
	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_HOME_NODES, 1ULL << node), ==, 0);
	sleep_ms(SETTLE_MS);
	guests_watch(&guest, 1, SETTLE_MS);
	tap_note("%llu ns of %llu", guest.during.run_remote_ns, guest.during.state_ns[KVMGANG_RUN]);
	/* A kthread may take its place for a moment. */
	EXPECT(100 * guest.during.run_remote_ns, <=, guest.during.state_ns[KVMGANG_RUN]);
	EXPECT(row_read(guest.id, 0).node, ==, node);
	EXPECT(row_read(guest.id, 1).node, ==, node);
	guests_end(&service);
}

/* Memory of the VM that is on the node of @cpu, much against what all VMs of these tests have. */
static void add_memory(const struct vm *vm, int cpu)
{
	struct kvm_userspace_memory_region region = {
		.slot = 1,
		.guest_phys_addr = 16 << 20,
		.memory_size = 4 << 20,
	};
	void *memory = mmap(NULL, region.memory_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(memory == MAP_FAILED, ==, false);
	pin_thread(0, cpu);
	memset(memory, 1, region.memory_size);
	pin_thread(0, -1);
	region.userspace_addr = (uintptr_t)memory;
	REQUIRE(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region), ==, 0);
}

/* A VM that begins away from its memory goes there when it may, and stays. */
static void test_memory(void)
{
	struct service service = guests_begin_on_two_nodes();
	struct guest guest = { .vm = vm_new(2), .nr_vcpus = 2 };
	int last = nth_cpu(nr_cpus() - 1);

	add_memory(guest.vm, last);
	vm_pin(guest.vm, nth_cpu(0));
	vm_start(guest.vm, guest_spin, 0);
	guest.id = vm_id_wait(guest.vm);
	EXPECT(home_of(guest.id), ==, 1 << node_of(nth_cpu(0)));
	vm_pin(guest.vm, -1);
	await(home_of(guest.id) == 1ULL << node_of(last));
	sleep_ms(SETTLE_MS);
	guests_watch(&guest, 1, WATCH_MS);
	tap_note("%llu ns of %llu", guest.during.run_remote_ns, guest.during.state_ns[KVMGANG_RUN]);
	EXPECT(100 * guest.during.run_remote_ns, <=, guest.during.state_ns[KVMGANG_RUN]);
	EXPECT(home_of(guest.id), ==, 1ULL << node_of(last));
	guests_end(&service);
}

/*
 * A thread whose affinity changes runs where it may now, though that is another node and busy, and
 * gets what it is entitled to there: as much as one vCPU.
 */
static void test_affinity(void)
{
	struct service service = guests_begin_on_two_nodes();
	int last = nth_cpu(nr_cpus() - 1);
	struct hog hog = {};
	struct guest rivals[2];
	uint64_t ran;
	int i;

	pin_thread(0, nth_cpu(0));
	for (i = 0; i < 2; i++) {
		guest_start(&rivals[i], 1, guest_spin);
		vm_pin(rivals[i].vm, last);
	}
	hog_start(&hog, nth_cpu(0), false);
	pin_thread(hog.tid, last);
	sleep_ms(SETTLE_MS);
	ran = schedstat_read(hog.tid).run_ns;
	sleep_ms(2 * SETTLE_MS);
	ran = schedstat_read(hog.tid).run_ns - ran;
	tap_note("%lu ns of %d ms", ran, 2 * SETTLE_MS);
	EXPECT(ran, >=, 2 * SETTLE_MS * NSEC_PER_MSEC / 3 - 3 * WINDOW_NS);
	EXPECT(ran, <=, 2 * SETTLE_MS * NSEC_PER_MSEC / 3 + 3 * WINDOW_NS);
	hog_stop(&hog);
	guests_end(&service);
}

/* Spinners for a lock that is held by one who waits: the scheduler lets him run. */
static void test_yields(void)
{
	struct service service = guests_begin(3);
	struct guest guest = { .vm = vm_new(4) }, rival;
	int i;

	pin_thread(0, nth_cpu(0));
	for (i = 0; i < 4; i++)
		vcpu_pin(&guest.vm->vcpus[i], nth_cpu(1 + i % 2));
	vm_start(guest.vm, guest_lock, 20000);
	guest.id = vm_id_wait(guest.vm);
	guest_start(&rival, 1, guest_spin);
	guests_watch(&guest, 1, 2 * SETTLE_MS);
	tap_note("%llu directed yields, %llu honoured", guest.during.yields_asked,
		 guest.during.yields_honoured);
	EXPECT(guest.during.yields_asked, >, 0);
	EXPECT(guest.during.yields_honoured, >, 0);
	/* Each vCPU may have been in one when we looked first. */
	EXPECT(guest.during.yields_honoured, <=, guest.during.yields_asked + 4);
	guests_end(&service);
}

GUESTS_MAIN(
	{ "shares weigh what VMs get", test_shares },
	{ "shares weigh what gangs get", test_shares_of_gangs },
	{ "equal VMs get the same, whatever their number of vCPUs", test_shares_by_vm },
	{ "host tasks that are bound to one pCPU do not blur shares", test_shares_beside_bound },
	{ "a host task gets as much as a vCPU", test_tasks },
	{ "vCPUs that wait for each other run together", test_windows },
	{ "on an idle host nobody is held", test_idle_host },
	{ "a leading vCPU is held, unless its VM is sensitive to latency", test_costop },
	{ "a timer's wakes do not wait, 2:1", test_wakes },
	{ "a timer's wakes do not wait, 3:1", test_wakes_beside_three },
	{ "a host task's burst does not wait", test_bursts },
	{ "VMs are split between nodes, and stay at home", test_homes },
	{ "a VM goes where the user wants it", test_wanted_home },
	{ "a VM goes where its memory is", test_memory },
	{ "a thread goes where its affinity says", test_affinity },
	{ "directed yields are honoured", test_yields },
	GUESTS_LEAVE,
)
