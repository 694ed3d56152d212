// SPDX-License-Identifier: GPL-2.0
/*
 * What is ordinary to a host and must be to the scheduler: real-time tasks, CPUs that come and go,
 * processes by the thousand, nice levels, affinities and cgroups that change. Whatever happens,
 * every vCPU gets on, nobody throws the scheduler out, and the module's accounting is exact.
 *
 * Shares of time are of virtual time, as in test_gang.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guests.h"
#include "host.h"
#include "policy.h"
#include "service.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"
#include "witness.h"

/* Of the guest that sleeps. */
#define TICK_NS		(2 * NSEC_PER_MSEC)

#define CGROUPS		"/sys/fs/cgroup"

/* The pCPU where it happens. The test itself keeps to the first one, and sees it from there. */
static int scene(void)
{
	return nth_cpu(1);
}

static struct service begin(void)
{
	pin_thread(0, nth_cpu(0));
	return guests_begin(4);
}

/* VMs of each kind. */
enum { SLEEPS, WATCHED, SPINS, MEETS, NR_KINDS };

struct guests {
	int nr;
	struct witness witness;
	struct vm *vm[NR_KINDS];
	struct snap last;
};

static void guests_run(struct guests *guests)
{
	int i;

	witness_prepare(&guests->witness, &guests->vm[WATCHED]->vcpus[0]);
	vm_start(guests->vm[SLEEPS], guest_halt, TICK_NS);
	vm_start(guests->vm[WATCHED], guest_io, WITNESS_LOOPS);
	vm_start(guests->vm[SPINS], guest_spin, 0);
	if (guests->vm[MEETS])
		vm_start(guests->vm[MEETS], guest_barrier, 0);
	for (i = 0; i < guests->nr; i++)
		vm_id_wait(guests->vm[i]);
	witness_begin(&guests->witness, vm_id_of(guests->vm[WATCHED]));
	snap_read(&guests->last, ALL_VMS);
}

/* One of each kind, together more than there are pCPUs for. */
static void guests_start(struct guests *guests)
{
	*guests = (struct guests){
		.nr = NR_KINDS,
		.vm = {
			[SLEEPS] = vm_new(1),
			[WATCHED] = vm_new(1),
			[SPINS] = vm_new(nr_cpus()),
			[MEETS] = vm_new(2),
		},
	};
	guests_run(guests);
}

/* So few that the scheduler can be attached beside them in bearable time. */
static void guests_start_few(struct guests *guests)
{
	*guests = (struct guests){
		.nr = MEETS,
		.vm = { [SLEEPS] = vm_new(1), [WATCHED] = vm_new(1), [SPINS] = vm_new(1) },
	};
	guests_run(guests);
}

/*
 * Each vCPU gets on, and none has lost any of its time: the rows add up and go on from where they
 * were, and the witness compares one with run_delay.
 */
static void guests_check(struct guests *guests)
{
	uint64_t samples = witness_samples(&guests->witness);
	struct snap now = {};
	int i;

	for (i = 0; i < guests->nr; i++)
		vm_wait_progress(guests->vm[i]);
	await(witness_samples(&guests->witness) >= samples + 5);
	snap_read(&now, ALL_VMS);
	snap_check(&now);
	snap_check_order(&guests->last, &now);
	EXPECT(now.head.nr_vms, ==, guests->last.head.nr_vms);
	EXPECT(now.head.nr_vcpus, ==, guests->last.head.nr_vcpus);
	snap_free(&guests->last);
	guests->last = now;
}

/*
 * Each vCPU of the VM, which was read twice, had something of the time between; returns how much
 * that was. A node of two pCPUs, of which one is left, may be the home of half of the VM and of two
 * others that are always busy. As half a VM has half its shares, its two vCPUs are entitled to a
 * fifth of the pCPU; half of that is enough for each of them, since it has it in windows.
 */
static uint64_t expect_all_run(const struct snap *first, const struct snap *last)
{
	uint64_t ns = 0;
	uint32_t i;

	for (i = 0; i < last->head.nr_vcpus; i++) {
		struct kvmgang_counters count = row_since(&last->vcpus[i], &first->vcpus[i]);

		ns = last->vcpus[i].now_ns - first->vcpus[i].now_ns;
		tap_note("vCPU %u: %llu of %lu ns", i, count.state_ns[KVMGANG_RUN], ns);
		EXPECT(20 * count.state_ns[KVMGANG_RUN], >=, ns);
	}
	return ns;
}

/*
 * Who was where the hog is goes elsewhere, and who wakes up does not go there: the sleeper, which
 * wakes up every 2 ms, would miss nearly all of its ticks if it once waited there.
 */
static void lose_a_pcpu(bool beside_stuck)
{
	struct service service = begin();
	struct hog hog = {}, stuck = {};
	struct snap first = {}, last = {};
	struct guests guests;
	uint64_t ticks, ns;

	guests_start(&guests);
	if (beside_stuck)
		hog_start(&stuck, scene(), false);
	hog_start(&hog, scene(), true);
	guests_check(&guests);
	ticks = vm_count(guests.vm[SLEEPS]);
	snap_read(&first, vm_id_of(guests.vm[SPINS]));
	sleep_ms(4 * SETTLE_MS);
	snap_read(&last, vm_id_of(guests.vm[SPINS]));
	ticks = vm_count(guests.vm[SLEEPS]) - ticks;
	ns = expect_all_run(&first, &last);
	tap_note("%lu ticks in %lu ns", ticks, ns);
	EXPECT(2 * ticks * TICK_NS, >=, ns);
	snap_free(&first);
	snap_free(&last);
	hog_stop(&hog);
	if (beside_stuck)
		hog_stop(&stuck);
	guests_check(&guests);
	guests_end(&service);
}

static void test_fifo(void)
{
	lose_a_pcpu(false);
}

/* Whoever is bound to the pCPU that the real-time task has waits, and nobody waits for him. */
static void test_stuck(void)
{
	lose_a_pcpu(true);
}

/*
 * Who may run nowhere else waits, and goes on when the hog is gone. Then each of the two is
 * entitled to half of the pCPU, as six VMs share four, and gets half of that at least.
 */
static void test_fifo_pinned(void)
{
	struct service service = begin();
	struct kvmgang_counters count;
	struct guests guests;
	struct vm *pinned[2];
	struct hog hog = {};
	uint64_t ns;
	int i;

	for (i = 0; i < 2; i++) {
		pinned[i] = vm_new(1);
		vm_pin(pinned[i], scene());
		vm_start(pinned[i], guest_spin, 0);
		vm_id_wait(pinned[i]);
	}
	guests_start(&guests);
	hog_start(&hog, scene(), true);
	for (i = 0; i < 2; i++) {
		count = row_watch(vm_id_of(pinned[i]), 0, SETTLE_MS, &ns);
		EXPECT(2 * count.state_ns[KVMGANG_READY], >=, ns);
	}
	guests_check(&guests);
	hog_stop(&hog);
	guests_check(&guests);
	for (i = 0; i < 2; i++) {
		count = row_watch(vm_id_of(pinned[i]), 0, 2 * SETTLE_MS, &ns);
		tap_note("VM %d: %llu of %lu ns", i, count.state_ns[KVMGANG_RUN], ns);
		EXPECT(4 * count.state_ns[KVMGANG_RUN], >=, ns);
	}
	guests_end(&service);
}

/* It has the first claim to a quarter of a pCPU, on whichever it likes. */
static void test_deadline(void)
{
	struct service service = begin();
	struct guests guests;
	struct hog hog = {};
	uint64_t ran;
	int i;

	guests_start(&guests);
	hog_start(&hog, -1, false);
	set_deadline(hog.tid, 5 * NSEC_PER_MSEC, 20 * NSEC_PER_MSEC);
	for (i = 0; i < 3; i++) {
		ran = schedstat_read(hog.tid).run_ns;
		sleep_ms(SETTLE_MS);
		guests_check(&guests);
		EXPECT(schedstat_read(hog.tid).run_ns, >, ran);
	}
	hog_stop(&hog);
	guests_check(&guests);
	guests_end(&service);
}

/* Processes that do nothing but begin and end, as many at a time as there are pCPUs. */
static void storm(uint64_t *forks)
{
	pid_t pid;

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

#define STORM_FORKS	effort(500, 5000)

static void test_forks(void)
{
	struct service service = begin();
	const int nr = nr_cpus();
	struct guests guests;
	uint64_t *forks;
	pid_t pids[nr];
	int i;

	forks = mmap(NULL, sizeof(*forks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	REQUIRE(forks != MAP_FAILED, ==, true);
	/* Before the guests, whose mappings every fork would copy. */
	pin_thread(0, -1);
	for (i = 0; i < nr; i++) {
		pids[i] = fork();
		if (!pids[i])
			storm(forks);
		REQUIRE(pids[i], >, 0);
	}
	pin_thread(0, nth_cpu(0));
	guests_start(&guests);
	do {
		guests_check(&guests);
	} while (__atomic_load_n(forks, __ATOMIC_RELAXED) < (uint64_t)STORM_FORKS);
	for (i = 0; i < nr; i++) {
		kill(pids[i], SIGKILL);
		EXPECT(waitpid(pids[i], NULL, 0), ==, pids[i]);
	}
	tap_note("%lu forks", *forks);
	guests_check(&guests);
	guests_end(&service);
}

typedef void (*pest_step)(const struct guests *guests, int n);

/* A thread that takes a step every ms until it is told to stop. */
struct pest {
	pthread_t thread;
	pest_step step;
	const struct guests *guests;
	int steps;
	bool stop;
};

static void *pest_thread(void *arg)
{
	struct pest *pest = arg;

	while (!__atomic_load_n(&pest->stop, __ATOMIC_RELAXED)) {
		pest->step(pest->guests, pest->steps);
		__atomic_fetch_add(&pest->steps, 1, __ATOMIC_RELAXED);
		sleep_ms(1);
	}
	return NULL;
}

/* Guests that are pestered @steps times get on. */
static void pester(struct guests *guests, pest_step step, int steps)
{
	struct pest pest = { .step = step, .guests = guests };

	if (pthread_create(&pest.thread, NULL, pest_thread, &pest))
		die("pthread_create");
	do {
		guests_check(guests);
	} while (__atomic_load_n(&pest.steps, __ATOMIC_RELAXED) < steps);
	__atomic_store_n(&pest.stop, true, __ATOMIC_RELAXED);
	pthread_join(pest.thread, NULL);
	tap_note("%d times", pest.steps);
}

/* Where a vCPU is sent: half a host away, so that of two nodes it is the other one. */
static int nth_stop(int n)
{
	return nth_cpu((n / 2 + n % 2 * (nr_cpus() / 2)) % nr_cpus());
}

/* All vCPUs of one VM after the other; every fifth time they may go where they like. */
static void change_affinity(const struct guests *guests, int n)
{
	const struct vm *vm = guests->vm[n % guests->nr];
	int i;

	n /= guests->nr;
	for (i = 0; i < vm->nr_vcpus; i++)
		pin_thread(vm->vcpus[i].tid, n % 5 < 4 ? nth_stop(n + 2 * i) : -1);
}

static void test_affinity(void)
{
	struct service service = begin();
	struct guests guests;
	int i;

	guests_start(&guests);
	pester(&guests, change_affinity, effort(300, 3000));
	for (i = 0; i < guests.nr; i++)
		vm_pin(guests.vm[i], -1);
	guests_check(&guests);
	guests_end(&service);
}

/*
 * A VM two of whose vCPUs have a pCPU each to themselves, and the third one must share its own with
 * another VM. It has far more than that one, and yet its vCPU there is not to starve: nobody waits
 * for longer than 2 s.
 */
static void test_bound(void)
{
	struct service service = begin();
	struct vm *wide = vm_new(3), *rival = vm_new(1);
	struct kvmgang_counters count;
	uint64_t ns;
	int i;

	for (i = 0; i < 3; i++)
		vcpu_pin(&wide->vcpus[i], nth_cpu(1 + i));
	vm_pin(rival, scene());
	vm_start(wide, guest_spin, 0);
	vm_start(rival, guest_spin, 0);
	vm_id_wait(rival);
	sleep_ms(SETTLE_MS);
	count = row_watch(vm_id_wait(wide), 0, 2000 + SETTLE_MS, &ns);
	tap_note("vCPU 0: %llu of %lu ns", count.state_ns[KVMGANG_RUN], ns);
	EXPECT(count.state_ns[KVMGANG_RUN], >, 0);
	vm_wait_progress(rival);
	guests_end(&service);
}

/* One of two, or a file of it. */
static const char *cgroup_path(int n, const char *file)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), CGROUPS "/kvmgang-test-%d/%s", n, file);
	return path;
}

static void cgroup_write(int n, const char *file, const char *text)
{
	errno = file_write(cgroup_path(n, file), text);
	if (errno)
		die("%s of cgroup %d: %m", file, n);
}

/* With all threads of the process, hence all vCPUs. */
static void change_cgroup(const struct guests *guests, int n)
{
	(void)guests;
	cgroup_write(n % 2, "cgroup.procs", "0");
}

static void test_cgroups(void)
{
	struct service service;
	struct guests guests;
	int i;

	if (file_write(CGROUPS "/cgroup.subtree_control", "+cpu"))
		tap_skip("there is no cpu controller in " CGROUPS);
	service = begin();
	for (i = 0; i < 2; i++) {
		if (mkdir(cgroup_path(i, ""), 0755) && errno != EEXIST)
			die("mkdir of cgroup %d: %m", i);
	}
	cgroup_write(0, "cpu.weight", "20");
	cgroup_write(1, "cpu.weight", "500");
	guests_start(&guests);
	pester(&guests, change_cgroup, effort(100, 1000));
	guests_check(&guests);
	guests_end(&service);
	EXPECT(file_write(CGROUPS "/cgroup.procs", "0"), ==, 0);
	for (i = 0; i < 2; i++)
		EXPECT(rmdir(cgroup_path(i, "")), ==, 0);
}

#define HOGS_MS		(4 * SETTLE_MS)

/* What each of @nr hogs gets in HOGS_MS. */
static void hogs_watch(const struct hog *hogs, int nr, uint64_t *ran)
{
	int i;

	sleep_ms(SETTLE_MS);
	for (i = 0; i < nr; i++)
		ran[i] = schedstat_read(hogs[i].tid).run_ns;
	sleep_ms(HOGS_MS);
	for (i = 0; i < nr; i++) {
		ran[i] = schedstat_read(hogs[i].tid).run_ns - ran[i];
		tap_note("hog %d: %lu ns", i, ran[i]);
	}
}

/*
 * Two for each pCPU. Nodes may have one more or one less, and a window is a twelfth of what each
 * gets, so nobody is expected to have more than a half of that.
 */
static void test_hogs(void)
{
	struct service service = begin();
	int i, nr = 2 * nr_cpus();
	struct hog hogs[nr];
	uint64_t ran[nr];

	for (i = 0; i < nr; i++) {
		hogs[i] = (struct hog){};
		hog_start(&hogs[i], -1, false);
	}
	hogs_watch(hogs, nr, ran);
	for (i = 0; i < nr; i++) {
		EXPECT(4 * ran[i], >=, HOGS_MS * NSEC_PER_MSEC);
		hog_stop(&hogs[i]);
	}
	guests_end(&service);
}

/*
 * Weights of 1024 and 335, or 3.06 to 1; sched_ext knows them as 100 and 33. Of 200 windows the
 * nice one gets 49; two more or less make 2.9 to 3.3, and a switch costs a little.
 *
 * Beside guests each gets on. Of four pCPUs each of ten threads would have 0.4, the nice one a
 * third of that, 0.13; a quarter of that is not to starve.
 */
static void test_nice(void)
{
	struct service service = begin();
	struct hog hogs[2] = {};
	struct guests guests;
	uint64_t ran[2];
	int i;

	for (i = 0; i < 2; i++) {
		hog_start(&hogs[i], scene(), false);
		if (setpriority(PRIO_PROCESS, hogs[i].tid, 5 * i))
			die("setpriority: %m");
	}
	hogs_watch(hogs, 2, ran);
	EXPECT(10 * ran[0], >=, 28 * ran[1]);
	EXPECT(10 * ran[0], <=, 33 * ran[1]);
	guests_start(&guests);
	hogs_watch(hogs, 2, ran);
	for (i = 0; i < 2; i++)
		EXPECT(30 * ran[i], >=, HOGS_MS * NSEC_PER_MSEC);
	guests_check(&guests);
	for (i = 0; i < 2; i++)
		hog_stop(&hogs[i]);
	guests_end(&service);
}

/*
 * Two for each pCPU of the scene's node, which may run on any of them: half have weights of 1024,
 * half of 110, which sched_ext knows as 100 and 11. That is 9.1 to 1. Of 200 windows on each pCPU
 * the nice ones get 20; one more or less makes 8.5 to 9.5, and a switch costs a little.
 */
static void test_nice_crowd(void)
{
	struct service service = begin();
	uint64_t ran[2 * nr_cpus()], sum[2] = {};
	struct hog hogs[2 * nr_cpus()];
	cpu_set_t cpus;
	int i, nr;

	CPU_ZERO(&cpus);
	for (i = 0; i < nr_cpus(); i++)
		if (node_of(nth_cpu(i)) == node_of(scene()))
			CPU_SET(nth_cpu(i), &cpus);
	for (nr = 0; nr < 2 * CPU_COUNT(&cpus); nr++) {
		hog_start(&hogs[nr], scene(), false);
		if (setpriority(PRIO_PROCESS, hogs[nr].tid, nr % 2 * 10))
			die("setpriority: %m");
		if (sched_setaffinity(hogs[nr].tid, sizeof(cpus), &cpus))
			die("sched_setaffinity: %m");
	}
	hogs_watch(hogs, nr, ran);
	for (i = 0; i < nr; i++) {
		sum[i % 2] += ran[i];
		hog_stop(&hogs[i]);
	}
	EXPECT(10 * sum[0], >=, 83 * sum[1]);
	EXPECT(10 * sum[0], <=, 98 * sum[1]);
	guests_end(&service);
}

static void set_online(int cpu, bool online)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	errno = file_write(path, online ? "1" : "0");
	if (errno)
		die("%s: %m", path);
}

/* Windows on what pCPUs there are now. */
static void crowd_check(struct guests *guests)
{
	struct vm *crowd = vm_new(nr_cpus());
	int i;

	vm_start(crowd, guest_spin, 0);
	for (i = 0; i < guests->nr; i++)
		vm_wait_progress(guests->vm[i]);
	vm_wait_progress(crowd);
	vm_free(crowd);
}

/*
 * The kernel detaches the scheduler each time and the command brings it back. A vCPU that spins
 * runs on the pCPU that goes: it was bound to it, and is not when that goes.
 */
static void test_hotplug(void)
{
	int cpu = nth_cpu(nr_cpus() - 1), online;
	struct service service = guests_begin_with(4, NULL);
	struct guests guests;

	pin_thread(0, nth_cpu(0));
	guests_start_few(&guests);
	vm_pin(guests.vm[SPINS], cpu);
	guests_check(&guests);
	vm_pin(guests.vm[SPINS], -1);
	for (online = 0; online < 2; online++) {
		set_online(cpu, online);
		service_await(&service, "STATUS=scheduler left");
		guests_check(&guests);
		service_await(&service, "READY=1");
		EXPECT(scheduler_is("enabled"), ==, true);
		guests_check(&guests);
		crowd_check(&guests);
		guests_check(&guests);
	}
	guests_end(&service);
	expect_said(&service, "scheduler left: unregistered from the main kernel");
	expect_said(&service, "; attaching again in 1 s\n");
}

GUESTS_MAIN(
	{ "a real-time task takes a pCPU", test_fifo },
	{ "a task that is bound to that pCPU holds nobody up", test_stuck },
	{ "a real-time task takes the only pCPU that vCPUs may use", test_fifo_pinned },
	{ "a deadline task", test_deadline },
	{ "processes that begin and end", test_forks },
	{ "vCPUs whose affinity changes all the time", test_affinity },
	{ "a vCPU that is bound to the pCPU of another VM", test_bound },
	{ "vCPUs that change cgroups all the time", test_cgroups },
	{ "more host tasks than pCPUs", test_hogs },
	{ "host tasks get what their nice levels say", test_nice },
	{ "host tasks share several pCPUs by nice levels", test_nice_crowd },
	GUESTS_LEAVE,
	{ "a CPU goes and comes back", test_hotplug },
)
