// SPDX-License-Identifier: GPL-2.0
/*
 * The counters beside the states: each is made to count by the one thing that it counts.
 *
 * Some need a machine with several nodes, or several hardware threads per core, or a KVM with
 * pause-loop exiting: there these are skipped, and run on another lab host.
 */
#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define WATCH_MS	200

/* The test's own thread has the first pCPU, vCPUs get others. */
static void need_cpus(int nr)
{
	if (nr_cpus() < nr)
		tap_skip("needs %d CPUs", nr);
	pin_thread(0, nth_cpu(0));
}

static struct vm *start_on(int cpu, int nr_vcpus, const char *program, uint64_t argument)
{
	struct vm *vm = vm_new(nr_vcpus);

	vm_pin(vm, cpu);
	vm_start(vm, program, argument);
	return vm;
}

static void test_switches(void)
{
	struct kvmgang_counters during;
	uint64_t elapsed;
	struct vm *vm;

	need_cpus(2);
	vm = start_on(nth_cpu(1), 2, guest_spin, 0);
	during = row_watch(vm_id_wait(vm), 0, WATCH_MS, &elapsed);
	EXPECT(during.preemptions, >, 0);
	/* A guest that spins never sleeps: it leaves its pCPU for no other reason. */
	EXPECT(during.preemptions, ==, during.switches);
	EXPECT(during.wakeups, ==, 0);
}

static void test_wakeups(void)
{
	struct kvmgang_vcpu_row first, last;
	struct kvmgang_counters during;
	uint64_t before, ticks;
	uint32_t vm_id;
	struct vm *vm;

	need_cpus(2);
	/* KVM polls for less than a millisecond before it lets a halted vCPU sleep. */
	vm = start_on(nth_cpu(1), 1, guest_halt, 10 * NSEC_PER_MSEC);
	vm_id = vm_id_wait(vm);
	before = vm_count(vm);
	first = row_read(vm_id, 0);
	sleep_ms(WATCH_MS);
	last = row_read(vm_id, 0);
	ticks = vm_count(vm) - before;
	during = row_since(&last, &first);

	tap_note("%lu ticks, %llu wake-ups", ticks, during.wakeups);
	EXPECT(during.wakeups, >=, ticks / 2);
	/* Every sleep is a switch without preemption, and one may be under way at either read. */
	EXPECT(during.switches - during.preemptions, >=, during.wakeups - 1);
	EXPECT(during.switches - during.preemptions, <=, during.wakeups + 1);
}

/*
 * However often vCPUs give way to each other, a pCPU's time is counted once. One that left in the
 * last moments is read as of when it left, one that runs as of the read lag ago.
 */
static void test_one_at_a_time(void)
{
	struct snap first = {}, last = {};
	struct kvmgang_info info;
	uint64_t run = 0, elapsed;
	struct vm *vm;
	uint32_t vm_id;

	need_cpus(2);
	vm = start_on(nth_cpu(1), 4, guest_ping, 0);
	vm_id = vm_id_wait(vm);
	sleep_ms(WATCH_MS);
	REQUIRE(snap_read(&first, vm_id), ==, true);
	sleep_ms(WATCH_MS);
	REQUIRE(snap_read(&last, vm_id), ==, true);

	elapsed = last.head.out_end_ns - first.head.out_begin_ns;
	for (uint32_t i = 0; i < 4; i++) {
		const struct kvmgang_vcpu_row *from = snap_vcpu(&first, vm_id, i);
		const struct kvmgang_vcpu_row *to = snap_vcpu(&last, vm_id, i);

		run += to->count.state_ns[KVMGANG_RUN] - from->count.state_ns[KVMGANG_RUN];
	}
	tap_note("%lu ns run in %lu ns", run, elapsed);
	kvmgang_info(&info);
	EXPECT(run, <=, elapsed + info.out_read_lag_ns);
	EXPECT(run, >=, elapsed / 2);
	snap_free(&first);
	snap_free(&last);
}

/* Moves a vCPU that spins and waits until it runs there. */
static struct kvmgang_counters move(struct vm *vm, uint32_t vm_id, int cpu)
{
	struct kvmgang_vcpu_row first, last;

	first = row_read(vm_id, 0);
	vm_pin(vm, cpu);
	await(row_read(vm_id, 0).cpu == cpu);
	last = row_read(vm_id, 0);
	return row_since(&last, &first);
}

static void test_migrations(void)
{
	struct kvmgang_counters moved;
	int from, to, n;
	uint32_t vm_id;
	struct vm *vm;

	need_cpus(3);
	from = nth_cpu(1);
	vm = start_on(from, 1, guest_spin, 0);
	vm_id = vm_id_wait(vm);
	await(row_read(vm_id, 0).cpu == from);

	for (n = 2; n < nr_cpus(); n++) {
		to = nth_cpu(n);
		moved = move(vm, vm_id, to);
		EXPECT(moved.migrations[KVMGANG_MIGRATED_CPU], ==, 1);
		EXPECT(moved.migrations[KVMGANG_MIGRATED_NODE], ==, node_of(from) != node_of(to));
		if (node_of(from) != node_of(to))
			EXPECT(moved.migrations[KVMGANG_MIGRATED_LLC], ==, 1);
		else if (llc_of(from) >= 0 && llc_of(to) >= 0)
			EXPECT(moved.migrations[KVMGANG_MIGRATED_LLC], ==,
			       llc_of(from) != llc_of(to));
		EXPECT(row_read(vm_id, 0).node, ==, node_of(to));
		from = to;
	}
}

/* Some CPU of another node than the second CPU's, -1: there is none. */
static int remote_cpu(void)
{
	int n;

	for (n = 2; n < nr_cpus(); n++) {
		if (node_of(nth_cpu(n)) != node_of(nth_cpu(1)))
			return nth_cpu(n);
	}
	return -1;
}

static void test_run_remote(void)
{
	struct kvmgang_counters during;
	struct kvmgang_vcpu_row home;
	struct snap snap = {};
	uint64_t elapsed;
	uint32_t vm_id;
	struct vm *vm;

	need_cpus(2);
	if (remote_cpu() < 0)
		tap_skip("needs 2 NUMA nodes");
	vm = start_on(nth_cpu(1), 1, guest_spin, 0);
	vm_id = vm_id_wait(vm);
	REQUIRE(snap_read(&snap, vm_id), ==, true);
	EXPECT(snap_vm(&snap, vm_id)->home_nodes, ==, 1ULL << node_of(nth_cpu(1)));
	home = row_read(vm_id, 0);
	EXPECT(home.count.run_remote_ns, ==, 0);

	move(vm, vm_id, remote_cpu());
	during = row_watch(vm_id, 0, WATCH_MS, &elapsed);
	EXPECT(during.run_remote_ns, >, 0);
	EXPECT(during.run_remote_ns, ==, during.state_ns[KVMGANG_RUN]);

	move(vm, vm_id, nth_cpu(1));
	during = row_watch(vm_id, 0, WATCH_MS, &elapsed);
	EXPECT(during.state_ns[KVMGANG_RUN], >, 0);
	EXPECT(during.run_remote_ns, ==, 0);
}

static void test_run_shared(void)
{
	struct kvmgang_counters during;
	int cpu = -1, n;
	uint64_t elapsed;
	struct hog hog;
	uint32_t vm_id;
	struct vm *vm;

	need_cpus(4);
	for (n = 1; n < nr_cpus() && cpu < 0; n++) {
		if (sibling_of(nth_cpu(n)) > nth_cpu(0))
			cpu = nth_cpu(n);
	}
	if (cpu < 0)
		tap_skip("needs 2 hardware threads per core");
	vm = start_on(cpu, 1, guest_spin, 0);
	vm_id = vm_id_wait(vm);

	during = row_watch(vm_id, 0, WATCH_MS, &elapsed);
	EXPECT(during.run_shared_ns, <=, during.state_ns[KVMGANG_RUN] / 2);

	hog_start(&hog, sibling_of(cpu), false);
	during = row_watch(vm_id, 0, WATCH_MS, &elapsed);
	hog_stop(&hog);
	EXPECT(100 * during.run_shared_ns, >=, 80 * during.state_ns[KVMGANG_RUN]);

	/* A sibling vCPU is no foreign task. */
	vm_free(vm);
	vm = vm_new(2);
	vcpu_pin(&vm->vcpus[0], cpu);
	vcpu_pin(&vm->vcpus[1], sibling_of(cpu));
	vm_start(vm, guest_spin, 0);
	during = row_watch(vm_id_wait(vm), 0, WATCH_MS, &elapsed);
	EXPECT(during.run_shared_ns, <=, during.state_ns[KVMGANG_RUN] / 2);
}

/*
 * Watches a vCPU whose pCPU @rival wants too, a thread of this process: it is charged, as @by, with
 * what it ran by the scheduler's own account, but for a slice at either end: it watches for so long
 * that these do not matter, nor where slices last 20 ms. Host threads come and go besides, many on
 * a kernel that checks itself; nobody else does.
 */
static void expect_displaced(uint32_t vm_id, uint32_t vcpu_id, pid_t rival,
			     enum kvmgang_displacer by)
{
	uint64_t ran = schedstat_read(rival).run_ns, displaced = 0, host, elapsed;
	struct kvmgang_counters during;
	int i;

	during = row_watch(vm_id, vcpu_id, 5 * WATCH_MS, &elapsed);
	ran = schedstat_read(rival).run_ns - ran;
	for (i = 0; i < KVMGANG_NR_DISPLACERS; i++)
		displaced += during.displaced_ns[i];
	host = during.displaced_ns[KVMGANG_BY_HOST] + during.displaced_ns[KVMGANG_BY_KTHREAD];
	tap_note("%lu ns ran, %lu charged, %llu as host, %llu as kthread", ran, displaced,
		 during.displaced_ns[KVMGANG_BY_HOST], during.displaced_ns[KVMGANG_BY_KTHREAD]);
	EXPECT(ran, >, 0);
	if (by == KVMGANG_BY_HOST) {
		/* The first thread that takes the pCPU says what all are until the vCPU is back. */
		EXPECT(during.displaced_ns[by], >, 0);
		EXPECT(100 * host, >=, 80 * ran);
		return;
	}
	EXPECT(100 * during.displaced_ns[by], >=, 80 * ran);
	EXPECT(100 * during.displaced_ns[by], <=, 120 * ran);
	EXPECT(100 * during.displaced_ns[by], >=, 80 * (displaced - host));
}

static uint64_t top_ns(const struct kvmgang_vcpu_row *row, uint32_t vm_id)
{
	int i;

	for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++) {
		if (row->top[i].vm_id == vm_id)
			return row->top[i].ns;
	}
	return 0;
}

static void test_displaced_by_vm(void)
{
	struct kvmgang_vcpu_row row;
	struct vm *vms[2];
	uint32_t ids[2];
	int i;

	need_cpus(2);
	for (i = 0; i < 2; i++) {
		vms[i] = start_on(nth_cpu(1), 1, guest_spin, 0);
		ids[i] = vm_id_wait(vms[i]);
	}
	for (i = 0; i < 2; i++) {
		expect_displaced(ids[i], 0, vms[!i]->vcpus[0].tid, KVMGANG_BY_VM);
		row = row_read(ids[i], 0);
		EXPECT(top_ns(&row, ids[!i]), >, 0);
		/* There is no other VM that could have had the pCPU. */
		EXPECT(top_ns(&row, ids[!i]), ==, row.count.displaced_ns[KVMGANG_BY_VM]);
	}
}

/*
 * More VMs than a row has room for: those that it names are among them. In a rotation that never
 * changes only two are ever known, the one that takes the pCPU and the one that gives it back.
 */
static void test_many_displacers(void)
{
	struct kvmgang_vcpu_row row;
	uint32_t ids[KVMGANG_TOP_DISPLACERS + 3];
	int i, j, used = 0, named = 0;

	need_cpus(2);
	for (i = 0; i < KVMGANG_TOP_DISPLACERS + 3; i++)
		ids[i] = vm_id_wait(start_on(nth_cpu(1), 1, guest_spin, 0));
	sleep_ms(WATCH_MS);
	row = row_read(ids[0], 0);
	for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++) {
		used += row.top[i].vm_id != 0;
		for (j = 1; j < KVMGANG_TOP_DISPLACERS + 3; j++)
			named += row.top[i].vm_id == ids[j];
	}
	EXPECT(used, >=, 2);
	EXPECT(named, ==, used);
}

static void test_displaced_by_sibling(void)
{
	struct vm *vm;

	need_cpus(2);
	vm = start_on(nth_cpu(1), 2, guest_spin, 0);
	expect_displaced(vm_id_wait(vm), 1, vm->vcpus[0].tid, KVMGANG_BY_SIBLING);
}

static void test_displaced_by_host(void)
{
	struct hog hog;
	struct vm *vm;

	need_cpus(2);
	vm = start_on(nth_cpu(1), 1, guest_spin, 0);
	hog_start(&hog, nth_cpu(1), false);
	expect_displaced(vm_id_wait(vm), 0, hog.tid, KVMGANG_BY_HOST);
	hog_stop(&hog);
}

/* Does KVM see guests spin? Each vendor's module says so by a parameter of its own. */
static bool has_pause_loop_exiting(void)
{
	return read_number("/sys/module/kvm_amd/parameters/pause_filter_count") > 0 ||
	       read_number("/sys/module/kvm_intel/parameters/ple_gap") > 0;
}

/* Fights for a lock that is held most of the time, twice as many as have a pCPU. */
static void test_directed_yields(void)
{
	struct snap before = {}, after = {};
	uint32_t vm_id;
	struct vm *vm;
	int i;

	need_cpus(3);
	if (!has_pause_loop_exiting())
		tap_skip("KVM has no pause-loop exiting here");
	vm = vm_new(4);
	for (i = 0; i < 4; i++)
		vcpu_pin(&vm->vcpus[i], nth_cpu(1 + i % 2));
	vm_start(vm, guest_lock, 20000);
	vm_id = vm_id_wait(vm);
	REQUIRE(snap_read(&before, vm_id), ==, true);
	sleep_ms(2 * WATCH_MS);
	REQUIRE(snap_read(&after, vm_id), ==, true);
	snap_check(&after);
	EXPECT(after.vms[0].sum.yields_asked, >, before.vms[0].sum.yields_asked);
	tap_note("%llu directed yields, %llu honoured",
		 after.vms[0].sum.yields_asked - before.vms[0].sum.yields_asked,
		 after.vms[0].sum.yields_honoured - before.vms[0].sum.yields_honoured);
}

/* Waits of a time slice must not be in the histogram's first bucket, nor beyond the whole test. */
static void test_histogram(void)
{
	struct kvmgang_counters during;
	uint64_t elapsed, shortest = 0, longest = 0, episodes = 0;
	struct vm *vm;
	int i;

	need_cpus(2);
	vm = start_on(nth_cpu(1), 2, guest_spin, 0);
	during = row_watch(vm_id_wait(vm), 0, WATCH_MS, &elapsed);
	for (i = 0; i < KVMGANG_READY_BUCKETS; i++) {
		uint64_t nr = during.ready_hist[i];

		episodes += nr;
		shortest += i ? nr << (i + KVMGANG_READY_SHIFT - 1) : 0;
		longest += nr << (i + KVMGANG_READY_SHIFT);
	}
	EXPECT(episodes, >, 0);
	EXPECT(episodes, <=, during.switches + 1);
	/*
	 * What the buckets stand for encloses the time they were filled by, but for the episode
	 * that was under way at the first read: it is in the histogram whole, in ready in part.
	 */
	EXPECT(longest + elapsed / 5, >=, during.state_ns[KVMGANG_READY]);
	EXPECT(shortest, <=, during.state_ns[KVMGANG_READY] + elapsed / 5);
}

TAP_MAIN(
	{ "preempted vCPUs count preemptions and switches", test_switches },
	{ "sleeping vCPUs count wake-ups", test_wakeups },
	{ "vCPUs that share a pCPU run one at a time", test_one_at_a_time },
	{ "a moved vCPU counts one migration of each level that it crossed", test_migrations },
	{ "run time off the home node is remote", test_run_remote },
	{ "run time beside a foreign hardware thread is shared", test_run_shared },
	{ "ready because of another VM", test_displaced_by_vm },
	{ "ready because of more VMs than are remembered", test_many_displacers },
	{ "ready because of a sibling", test_displaced_by_sibling },
	{ "ready because of a host thread", test_displaced_by_host },
	{ "spinning guests count directed yields", test_directed_yields },
	{ "ready episodes by length", test_histogram },
)
