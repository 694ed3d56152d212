// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 2, isolation: nobody runs beside a vCPU of an isolated VM but its siblings, and yet
 * everybody gets on. Who ran beside whom says the kernel's tracepoint (beside.bpf.c), to the
 * nanosecond, and not the scheduler.
 *
 * Real-time tasks, kernel threads and interrupts may run anywhere. How a setting comes to the
 * scheduler is test_policy's.
 */
#include <linux/kvmgang.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "beside.skel.h"
#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

/* Of one measurement. */
#define CHECK_MS	effort(2000, 60000)

static struct beside *checker;

static int core_id(int cpu)
{
	int sibling = sibling_of(cpu);

	return sibling >= 0 && sibling < cpu ? sibling : cpu;
}

static void checker_begin(void)
{
	checker->bss->foreign_ns = 0;
	checker->bss->longest_ns = 0;
	checker->bss->isolated_ns = 0;
	checker->bss->together_ns = 0;
	__atomic_store_n(&checker->bss->begin, now_ns(), __ATOMIC_SEQ_CST);
}

static struct service begin(void)
{
	struct service service;
	int i;

	if (sibling_of(nth_cpu(0)) < 0 || nr_cpus() < 4)
		tap_skip("needs two cores of two hardware threads");
	service = guests_begin(4);
	checker = beside__open_and_load();
	if (!checker)
		die("the checker cannot be loaded");
	for (i = 0; i < nr_cpus(); i++)
		checker->bss->core[nth_cpu(i)] = core_id(nth_cpu(i));
	if (beside__attach(checker))
		die("the checker cannot be attached");
	/* It knows what began to run since. */
	checker_begin();
	return service;
}

static void checker_knows(const struct guest *guest)
{
	__u32 id = guest->id;
	int i;

	for (i = 0; i < guest->nr_vcpus; i++) {
		__u32 tid = guest->vm->vcpus[i].tid;

		REQUIRE(bpf_map__update_elem(checker->maps.vm_of_tid, &tid, sizeof(tid), &id,
					     sizeof(id), BPF_ANY), ==, 0);
	}
}

/* The checker takes it for isolated, whether it is or not. */
static void checker_minds(const struct guest *guest)
{
	__u32 id = guest->id;

	REQUIRE(bpf_map__update_elem(checker->maps.isolated, &id, sizeof(id), &id, sizeof(id),
				     BPF_ANY), ==, 0);
}

static void start(struct guest *guest, int nr_vcpus, const char *program)
{
	guest_start(guest, nr_vcpus, program);
	checker_knows(guest);
}

static void isolate(const struct guest *guest, enum kvmgang_isolation isolation)
{
	REQUIRE(policy_set_one(guest->id, KVMGANG_KEY_ISOLATION, isolation), ==, 0);
}

/* ns that somebody was beside an isolated vCPU who must not be; *@of: what there was to see. */
static uint64_t checker_end(uint64_t *of)
{
	uint64_t foreign = __atomic_load_n(&checker->bss->foreign_ns, __ATOMIC_SEQ_CST);

	*of = checker->bss->isolated_ns;
	tap_note("%lu ns beside somebody else of %lu ns run, %llu ns at a time", foreign, *of,
		 checker->bss->longest_ns);
	if (foreign)
		tap_note("the last one on pCPU %u: %u beside %u", checker->bss->last_cpu,
			 checker->bss->last_here, checker->bss->last_beside);
	return foreign;
}

static uint64_t host_forced_idle(void)
{
	struct kvmgang_info info = { .size = sizeof(info) };

	REQUIRE(ioctl(policy_device, KVMGANG_INFO, &info), ==, 0);
	return info.out_forced_idle_ns;
}

static uint64_t forced_idle(uint32_t vm_id)
{
	struct snap snap = {};
	uint64_t ns;

	snap_read(&snap, ALL_VMS);
	snap_check(&snap);
	ns = snap_vm(&snap, vm_id)->sum.forced_idle_ns;
	snap_free(&snap);
	return ns;
}

/* A host thread that is awake for a third of the time. */
struct dozer {
	pthread_t thread;
	uint64_t naps;
	bool stop;
};

static void *dozer_thread(void *arg)
{
	struct dozer *dozer = arg;
	uint64_t until;

	while (!__atomic_load_n(&dozer->stop, __ATOMIC_RELAXED)) {
		until = now_ns() + NSEC_PER_MSEC / 2;
		while (now_ns() < until)
			;
		__atomic_fetch_add(&dozer->naps, 1, __ATOMIC_RELAXED);
		sleep_ms(1);
	}
	return NULL;
}

/* Processes that do nothing but begin and end. */
static pid_t storm_start(uint64_t *forks)
{
	pid_t storm = fork(), pid;

	REQUIRE(storm, >=, 0);
	if (storm)
		return storm;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			_exit(1);
		__atomic_fetch_add(forks, 1, __ATOMIC_RELAXED);
	}
}

/* All that a host may have to do. */
struct load {
	struct guest guests[2];		/* the first one is to be isolated */
	struct hog hogs[3];		/* one that may run anywhere and two that may not */
	struct dozer dozers[2];
	uint64_t *forks;
	pid_t storm;
};

#define NR_HOGS		3
#define NR_DOZERS	2

static void load_start(struct load *load, int nr_vcpus)
{
	int i;

	*load = (struct load){};
	load->forks = mmap(NULL, sizeof(*load->forks), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(load->forks != MAP_FAILED, ==, true);
	/* Before the guests, whose mappings every fork would copy. */
	load->storm = storm_start(load->forks);
	start(&load->guests[0], nr_vcpus, guest_spin);
	start(&load->guests[1], 2, guest_barrier);
	checker_minds(&load->guests[0]);
	for (i = 0; i < NR_HOGS; i++)
		hog_start(&load->hogs[i], i ? nth_cpu(i) : -1, false);
	for (i = 0; i < NR_DOZERS; i++)
		if (pthread_create(&load->dozers[i].thread, NULL, dozer_thread, &load->dozers[i]))
			die("pthread_create");
}

/* Each part of it gets on while the checker looks. */
static void load_watch(struct load *load, int ms)
{
	uint64_t ran[NR_HOGS], naps[NR_DOZERS], forks = *load->forks;
	int i;

	for (i = 0; i < NR_HOGS; i++)
		ran[i] = schedstat_read(load->hogs[i].tid).run_ns;
	for (i = 0; i < NR_DOZERS; i++)
		naps[i] = load->dozers[i].naps;
	checker_begin();
	guests_watch(load->guests, 2, ms);
	for (i = 0; i < 2; i++) {
		tap_note("VM %d: %llu ns run", i, load->guests[i].during.state_ns[KVMGANG_RUN]);
		vm_wait_progress(load->guests[i].vm);
	}
	for (i = 0; i < NR_HOGS; i++) {
		ran[i] = schedstat_read(load->hogs[i].tid).run_ns - ran[i];
		tap_note("hog %d: %lu ns run", i, ran[i]);
		EXPECT(ran[i], >, 0);
	}
	for (i = 0; i < NR_DOZERS; i++)
		EXPECT(load->dozers[i].naps, >, naps[i]);
	tap_note("%lu forks", *load->forks - forks);
	EXPECT(*load->forks, >, forks);
}

static void load_stop(struct load *load)
{
	int i;

	for (i = 0; i < NR_DOZERS; i++) {
		__atomic_store_n(&load->dozers[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(load->dozers[i].thread, NULL);
	}
	for (i = 0; i < NR_HOGS; i++)
		hog_stop(&load->hogs[i]);
	kill(load->storm, SIGKILL);
	EXPECT(waitpid(load->storm, NULL, 0), ==, load->storm);
}

/*
 * Without isolation the checker must find much to complain of, with it nothing at all. An odd
 * number of vCPUs leaves a hardware thread that nobody else may have.
 */
static void test_mixed(void)
{
	struct service service = begin();
	uint64_t foreign, idle, of;
	struct load load;

	load_start(&load, 3);
	sleep_ms(SETTLE_MS);
	load_watch(&load, SETTLE_MS);
	foreign = checker_end(&of);
	EXPECT(10 * foreign, >=, of);
	EXPECT(forced_idle(load.guests[0].id), ==, 0);

	isolate(&load.guests[0], KVMGANG_ISOLATION_CORE);
	sleep_ms(SETTLE_MS);
	load_watch(&load, CHECK_MS);
	EXPECT(checker_end(&of), ==, 0);
	EXPECT(of, >, 0);
	idle = forced_idle(load.guests[0].id);
	tap_note("%lu ns of forced idleness", idle);
	EXPECT(idle, >, 0);
	EXPECT(host_forced_idle(), >=, idle);
	load_stop(&load);
	guests_end(&service);
}

/* While all run, again and again; each time it counts, and each time it is over. */
static void test_on_and_off(void)
{
	const int times = effort(10, 100);
	struct service service = begin();
	uint64_t before, of;
	struct load load;
	int i;

	load_start(&load, 2);
	for (i = 0; i < times; i++) {
		isolate(&load.guests[0], KVMGANG_ISOLATION_CORE);
		sleep_ms(100);
		checker_begin();
		sleep_ms(100);
		EXPECT(checker_end(&of), ==, 0);
		isolate(&load.guests[0], KVMGANG_ISOLATION_NONE);
		sleep_ms(i % 3 * 10);
	}
	sleep_ms(SETTLE_MS);
	before = host_forced_idle();
	load_watch(&load, SETTLE_MS);
	EXPECT(checker_end(&of), >, 0);
	EXPECT(host_forced_idle(), ==, before);
	load_stop(&load);
	guests_end(&service);
}

/* What waits when it is isolated has nobody beside it when its turn comes. */
static void test_waiting(void)
{
	const int times = effort(10, 100);
	struct service service = begin();
	struct guest guest, rivals[2];
	uint64_t foreign = 0, of;
	int i;

	for (i = 0; i < 2; i++)
		start(&rivals[i], 4, guest_spin);
	start(&guest, 2, guest_spin);
	checker_minds(&guest);
	/* Of four pCPUs a fifth of one: its turn comes every 60 ms. */
	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_SHARES, 10), ==, 0);
	sleep_ms(SETTLE_MS);
	for (i = 0; i < times; i++) {
		isolate(&guest, KVMGANG_ISOLATION_CORE);
		sleep_ms(20);
		checker_begin();
		sleep_ms(100);
		foreign += checker_end(&of);
		isolate(&guest, KVMGANG_ISOLATION_NONE);
		sleep_ms(40 + i % 3 * 20);
	}
	EXPECT(foreign, ==, 0);
	guests_end(&service);
}

/* A thread of the test's, which serves a vCPU of an isolated VM for a while. */
struct newcomer {
	pthread_t thread;
	struct guest *guest;
	int nr;			/* of the vCPU */
};

#define STAY_ENTRIES	4
#define ENTRY_LOOPS	200000

/*
 * In the lab 62 500 instructions: the guest is left by an interrupt at once, its VM gets a record,
 * a home and its settings, and the pCPU chooses somebody else.
 */
#define WAY_OUT_NS	500000

static void *newcomer_thread(void *arg)
{
	struct newcomer *newcomer = arg;
	__u32 tid = gettid(), id = newcomer->guest->id;
	int i;

	REQUIRE(bpf_map__update_elem(checker->maps.newcomers, &tid, sizeof(tid), &id, sizeof(id),
				     BPF_ANY), ==, 0);
	for (i = 0; i < STAY_ENTRIES; i++)
		vcpu_enter(&newcomer->guest->vm->vcpus[newcomer->nr]);
	return NULL;
}

/*
 * Isolation begins with a thread's first guest entry, wherever it has woken up: beside others there
 * is only the way out of that entry, on which the guest does nothing. And new vCPUs get on though
 * another VM would have all pCPUs: they queue before their VM has a queue of its own.
 */
static void test_newcomers(void)
{
	const int rounds = effort(50, 500);
	struct service service = begin();
	struct newcomer newcomers[2];
	struct guest guest, rival;
	int round, i;
	uint64_t of;

	start(&rival, 4, guest_spin);
	guest_start(&guest, 2, guest_io);
	checker_minds(&guest);
	isolate(&guest, KVMGANG_ISOLATION_CORE);
	vm_stop(guest.vm);
	for (i = 0; i < 2; i++)
		vcpu_load(&guest.vm->vcpus[i], guest_io, ENTRY_LOOPS);
	checker_begin();
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < 2; i++) {
			newcomers[i] = (struct newcomer){ .guest = &guest, .nr = i };
			if (pthread_create(&newcomers[i].thread, NULL, newcomer_thread,
					   &newcomers[i]))
				die("pthread_create");
		}
		for (i = 0; i < 2; i++)
			pthread_join(newcomers[i].thread, NULL);
	}
	checker_end(&of);
	EXPECT(of, >, 0);
	EXPECT(checker->bss->longest_ns, <=, WAY_OUT_NS);
	guests_end(&service);
}

/* Two isolated VMs, neither of which may run beside the other, nor anybody beside either. */
static void test_two(void)
{
	struct service service = begin();
	struct guest guests[3];
	uint64_t of;
	int i;

	for (i = 0; i < 3; i++)
		start(&guests[i], 2, i ? guest_spin : guest_ping);
	for (i = 0; i < 2; i++) {
		checker_minds(&guests[i]);
		isolate(&guests[i], KVMGANG_ISOLATION_CORE);
	}
	sleep_ms(SETTLE_MS);
	checker_begin();
	guests_watch(guests, 3, CHECK_MS / 2);
	EXPECT(checker_end(&of), ==, 0);
	for (i = 0; i < 3; i++) {
		tap_note("VM %d: %llu ns run", i, guests[i].during.state_ns[KVMGANG_RUN]);
		EXPECT(20 * guests[i].during.state_ns[KVMGANG_RUN], >=,
		       CHECK_MS / 2 * NSEC_PER_MSEC);
		vm_wait_progress(guests[i].vm);
	}
	guests_end(&service);
}

/* What runs is not known to the checker before it is switched from, which may be never. */
static void switch_everywhere(void)
{
	int i;

	for (i = 0; i < nr_cpus(); i++)
		pin_thread(0, nth_cpu(i));
}

/* For how much of the time two isolated vCPUs run on one core, permille. */
static uint64_t share_core(void)
{
	uint64_t permille, of;

	sleep_ms(SETTLE_MS);
	checker_begin();
	sleep_ms(CHECK_MS / 2);
	switch_everywhere();
	EXPECT(checker_end(&of), ==, 0);
	EXPECT(of, >=, CHECK_MS / 4 * NSEC_PER_MSEC);
	permille = checker->bss->together_ns * 1000 / (now_ns() - checker->bss->begin);
	tap_note("together for %lu permille of the time", permille);
	return permille;
}

/* With too few cores two vCPUs share one; with a core for each of them each has one. */
static void test_spread(void)
{
	struct service service = begin();
	struct guest guest, rival;

	start(&rival, 4, guest_spin);
	start(&guest, 2, guest_spin);
	checker_minds(&guest);
	isolate(&guest, KVMGANG_ISOLATION_CORE);
	EXPECT(share_core(), >=, 500);
	vm_free(rival.vm);
	/* They make room for this thread, and come apart at the next tick. */
	EXPECT(share_core(), <=, 100);
	guests_end(&service);
}

/* Of the host's pCPUs nothing is lost while nobody is isolated. */
static void test_none(void)
{
	struct service service = begin();
	struct guest guests[2];
	uint64_t run;
	int i;

	for (i = 0; i < 2; i++)
		start(&guests[i], 4, guest_spin);
	sleep_ms(SETTLE_MS);
	run = guests_watch(guests, 2, SETTLE_MS);
	tap_note("%lu ns run", run);
	EXPECT(100 * run, >=, 95ULL * nr_cpus() * SETTLE_MS * NSEC_PER_MSEC);
	EXPECT(host_forced_idle(), ==, 0);
	guests_end(&service);
}

GUESTS_MAIN(
	{ "without isolation nothing is lost", test_none },
	{ "nobody else runs beside an isolated vCPU", test_mixed },
	{ "isolation comes and goes while all run", test_on_and_off },
	{ "isolation begins with the first guest entry", test_newcomers },
	{ "isolation counts for who waits", test_waiting },
	{ "two isolated VMs", test_two },
	{ "isolated vCPUs have cores of their own if there are enough", test_spread },
	GUESTS_LEAVE,
)
