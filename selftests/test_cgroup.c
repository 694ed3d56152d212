// SPDX-License-Identifier: GPL-2.0
/*
 * cpu.max and cpu.weight of cgroups: to attach the scheduler lifts nobody's limits.
 *
 * All cgroups are below one that the test's process is in, and threaded, so that each thread of it
 * can be in another one, as those of a VMM that libvirt has started.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "guests.h"
#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

#define ROOT		"/sys/fs/cgroup"
#define BASE		ROOT "/kvmgang-cgroups"

/* @cgroup: below BASE, as in "/a/b"; "": BASE itself. */
static void cgroup_write(const char *cgroup, const char *file, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), BASE "%s/%s", cgroup, file);
	errno = file_write(path, text);
	if (errno)
		die("%s to %s: %m", text, path);
}

static void cgroup_make(const char *cgroup)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), BASE "%s", cgroup);
	if (mkdir(path, 0755))
		die("mkdir %s: %m", path);
	cgroup_write(cgroup, "cgroup.type", "threaded");
}

static void cgroup_join(const char *cgroup, pid_t tid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", tid);
	cgroup_write(cgroup, "cgroup.threads", text);
}

static int remove_directory(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP ? rmdir(path) : 0;
}

/* Nothing of it may be in use any more. */
static void cgroups_remove(void)
{
	file_write(ROOT "/cgroup.procs", "0");
	nftw(BASE, remove_directory, 16, FTW_DEPTH | FTW_PHYS);
}

/* What was set before the scheduler is attached counts like what is set later. */
static void cgroups_begin(void)
{
	cgroups_remove();
	if (file_write(ROOT "/cgroup.subtree_control", "+cpu"))
		tap_skip("there is no cpu controller in " ROOT);
	if (mkdir(BASE, 0755))
		die("mkdir %s: %m", BASE);
	cgroup_write("", "cgroup.procs", "0");
	cgroup_make("/a");
	cgroup_make("/b");
	cgroup_write("", "cgroup.subtree_control", "+cpu");
	cgroup_make("/a/c");
	cgroup_make("/a/d");
	cgroup_write("/a", "cgroup.subtree_control", "+cpu");
}

static void cgroups_end(struct service *service)
{
	guests_end(service);
	cgroups_remove();
	EXPECT(access(BASE, F_OK), !=, 0);
}

static void hogs_start(struct hog *hogs, int nr, const char *cgroup)
{
	int i;

	for (i = 0; i < nr; i++) {
		hogs[i] = (struct hog){ 0 };
		hog_start(&hogs[i], -1, false);
		cgroup_join(cgroup, hogs[i].tid);
	}
}

static void hogs_stop(struct hog *hogs, int nr)
{
	int i;

	/* All at once: each has to run to see it. */
	for (i = 0; i < nr; i++)
		__atomic_store_n(&hogs[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < nr; i++)
		hog_stop(&hogs[i]);
}

static uint64_t hogs_ran(const struct hog *hogs, int nr)
{
	uint64_t ns = 0;
	int i;

	for (i = 0; i < nr; i++)
		ns += schedstat_read(hogs[i].tid).run_ns;
	return ns;
}

/* What they have together of a pCPU, in thousandths, while WATCH_MS pass. */
static uint64_t hogs_watch(const struct hog *hogs, int nr)
{
	uint64_t ran, began, milli;

	sleep_ms(SETTLE_MS);
	began = now_ns();
	ran = hogs_ran(hogs, nr);
	sleep_ms(WATCH_MS);
	ran = hogs_ran(hogs, nr) - ran;
	milli = 1000 * ran / (now_ns() - began);
	tap_note("%d hogs: %lu milli-pCPU", nr, milli);
	return milli;
}

/*
 * Within 3 % of @wanted milli-pCPU: what a period brings may be used up at once, and of fifty
 * periods one more or less may begin while it is watched.
 */
static void expect_share(const struct hog *hogs, int nr, uint64_t wanted)
{
	uint64_t milli = hogs_watch(hogs, nr);

	EXPECT(100 * milli, >=, 97 * wanted);
	EXPECT(100 * milli, <=, 103 * wanted);
}

static void test_max(void)
{
	struct service service;
	struct hog hogs[4];

	cgroups_begin();
	cgroup_write("/a", "cpu.max", "10000 20000");
	service = guests_begin(4);
	hogs_start(hogs, 1, "/a");
	expect_share(hogs, 1, 500);
	hogs_start(hogs + 1, 1, "/a");
	expect_share(hogs, 2, 500);
	cgroup_write("/a", "cpu.max", "2500 10000");
	expect_share(hogs, 2, 250);
	hogs_start(hogs + 2, 2, "/a");
	cgroup_write("/a", "cpu.max", "30000 20000");
	expect_share(hogs, 4, 1500);
	cgroup_write("/a", "cpu.max", "max");
	EXPECT(hogs_watch(hogs, 4), >=, 3900);
	hogs_stop(hogs, 4);
	cgroups_end(&service);
}

static void test_nested(void)
{
	struct service service;
	struct hog hogs[4];

	cgroups_begin();
	service = guests_begin(4);
	cgroup_write("/a", "cpu.max", "16000 20000");
	cgroup_write("/a/c", "cpu.max", "6000 20000");
	hogs_start(hogs, 2, "/a/c");
	expect_share(hogs, 2, 300);
	hogs_start(hogs + 2, 2, "/a/d");
	expect_share(hogs, 4, 800);
	EXPECT(hogs_watch(hogs, 2), <=, 310);
	/* Who leaves it is free of it at once. */
	cgroup_join("/b", hogs[0].tid);
	EXPECT(hogs_watch(hogs, 1), >=, 950);
	expect_share(hogs + 1, 3, 800);
	hogs_stop(hogs, 4);
	cgroups_end(&service);
}

/*
 * A hundred that share a millisecond in a second: 0.1 ms for each would be ten of them in a second.
 * Nobody else has to wait for them, and each gets on: none waits for longer than 4 s for the limit.
 */
static void test_least(void)
{
	const int nr = 100, ms = effort(6000, 40000);
	uint64_t before[nr], all = 0, ran;
	struct hog hogs[nr], free[1];
	struct service service;
	int i;

	cgroups_begin();
	cgroup_write("/a", "cpu.max", "1000 1000000");
	service = guests_begin(4);
	hogs_start(hogs, nr, "/a");
	hogs_start(free, 1, "/b");
	sleep_ms(SETTLE_MS);
	for (i = 0; i < nr; i++)
		before[i] = schedstat_read(hogs[i].tid).run_ns;
	sleep_ms(ms);
	for (i = 0; i < nr; i++) {
		ran = schedstat_read(hogs[i].tid).run_ns - before[i];
		EXPECT(ran, >, 0);
		all += ran;
	}
	tap_note("%lu ns in %d ms", all, ms);
	/* 0.1 ms each every 4 s, and until the pCPU has asked: emulated, it takes as much again. */
	EXPECT(all, <=, NSEC_PER_MSEC * nr * (ms / 4000 + 1) * 2 / 5);
	EXPECT(hogs_watch(free, 1), >=, 900);
	cgroup_write("/a", "cpu.max", "max");
	hogs_stop(hogs, nr);
	hogs_stop(free, 1);
	cgroups_end(&service);
}

/* Those that wait for their limit are in nobody's way: guests have all the rest. */
static void test_beside_guests(void)
{
	struct service service;
	struct guest guest;
	struct hog hogs[4];
	uint64_t run;

	cgroups_begin();
	cgroup_write("/a", "cpu.max", "8000 20000");
	service = guests_begin(4);
	guest_start(&guest, 4, guest_spin);
	hogs_start(hogs, 4, "/a");
	expect_share(hogs, 4, 400);
	run = guests_watch(&guest, 1, WATCH_MS);
	tap_note("guest: %lu ns", run);
	EXPECT(run, >=, worth(3500));
	hogs_stop(hogs, 4);
	cgroups_end(&service);
}

/* The vCPUs of @guest from @first on, @nr of them. */
static void vcpus_join(const char *cgroup, const struct guest *guest, int first, int nr)
{
	int i;

	for (i = first; i < first + nr; i++)
		cgroup_join(cgroup, guest->vm->vcpus[i].tid);
}

/* Both have one vCPU, and those share a pCPU: of that they have what their shares say. */
static void expect_ratio(struct guest *guests, uint64_t wanted)
{
	uint64_t run[2];
	int i;

	sleep_ms(SETTLE_MS);
	guests_watch(guests, 2, WATCH_MS);
	for (i = 0; i < 2; i++)
		run[i] = guests[i].during.state_ns[KVMGANG_RUN];
	tap_note("%lu ns and %lu ns", run[0], run[1]);
	EXPECT(100 * run[1], >=, 93 * wanted * run[0]);
	EXPECT(100 * run[1], <=, 107 * wanted * run[0]);
}

static void test_weight(void)
{
	static const char * const cgroups[] = { "/a", "/b" };
	struct guest guests[2];
	struct service service;
	int i;

	cgroups_begin();
	cgroup_write("/a", "cpu.weight", "50");
	service = guests_begin(4);
	for (i = 0; i < 2; i++) {
		guest_start(&guests[i], 1, guest_spin);
		vm_pin(guests[i].vm, nth_cpu(1));
		vcpus_join(cgroups[i], &guests[i], 0, 1);
	}
	cgroup_write("/b", "cpu.weight", "200");
	expect_ratio(guests, 4);
	expect_setting(guests[0].id, KVMGANG_KEY_SHARES, 50, KVMGANG_ORIGIN_CGROUP);
	expect_setting(guests[1].id, KVMGANG_KEY_SHARES, 200, KVMGANG_ORIGIN_CGROUP);
	/* The user's word counts, and 100 is none of the cgroup. */
	REQUIRE(policy_set_one(guests[0].id, KVMGANG_KEY_SHARES, 200), ==, 0);
	expect_setting(guests[0].id, KVMGANG_KEY_SHARES, 200, KVMGANG_ORIGIN_USER);
	expect_ratio(guests, 1);
	cgroup_write("/b", "cpu.weight", "100");
	REQUIRE(policy_reset(guests[0].id, ALL_KEYS), ==, 0);
	expect_ratio(guests, 2);
	expect_setting(guests[0].id, KVMGANG_KEY_SHARES, 50, KVMGANG_ORIGIN_CGROUP);
	expect_setting(guests[1].id, KVMGANG_KEY_SHARES, 100, KVMGANG_ORIGIN_DEFAULT);
	/* Of a cgroup that two VMs are in neither has the weight. */
	vcpus_join("/a", &guests[1], 0, 1);
	expect_ratio(guests, 1);
	for (i = 0; i < 2; i++)
		expect_setting(guests[i].id, KVMGANG_KEY_SHARES, 100, KVMGANG_ORIGIN_DEFAULT);
	cgroups_end(&service);
}

static void expect_run(struct guest *guests, int nr, uint64_t milli)
{
	uint64_t run;

	sleep_ms(SETTLE_MS);
	run = guests_watch(guests, nr, WATCH_MS);
	tap_note("%lu ns of %lu milli-pCPU", run, milli);
	EXPECT(run, >=, worth(milli * 97 / 100));
	EXPECT(run, <=, worth(milli * 103 / 100));
}

/* By the VM's cgroup, while a thread of the VMM spins beside, and by those of the vCPUs. */
static void test_limit(void)
{
	struct service service;
	struct guest guest;
	struct hog helper;
	int i;

	cgroups_begin();
	cgroup_write("/a", "cpu.max", "150000 100000");
	service = guests_begin(4);
	guest_start(&guest, 4, guest_barrier);
	vcpus_join("/a", &guest, 0, 4);
	expect_run(&guest, 1, 1500);
	expect_setting(guest.id, KVMGANG_KEY_LIMIT, 1500, KVMGANG_ORIGIN_CGROUP);
	hogs_start(&helper, 1, "/a");
	expect_run(&guest, 1, 1500);
	/* It takes turns with the VM, but is not stopped with it. */
	EXPECT(hogs_watch(&helper, 1), >=, 500);

	vcpus_join("/a/c", &guest, 0, 2);
	vcpus_join("/a/d", &guest, 2, 2);
	cgroup_write("/a/c", "cpu.max", "30000 100000");
	cgroup_write("/a/d", "cpu.max", "90000 100000");
	expect_run(&guest, 1, 1200);
	expect_setting(guest.id, KVMGANG_KEY_LIMIT, 1200, KVMGANG_ORIGIN_CGROUP);
	EXPECT(guest.during.state_ns[KVMGANG_THROTTLED], >=, 1000 * NSEC_PER_MSEC);
	for (i = 0; i < 4; i++)
		EXPECT(row_read(guest.id, i).count.state_ns[KVMGANG_RUN], >, 0);

	REQUIRE(policy_set_one(guest.id, KVMGANG_KEY_LIMIT, 800), ==, 0);
	expect_run(&guest, 1, 800);
	REQUIRE(policy_reset(guest.id, ALL_KEYS), ==, 0);
	cgroup_write("/a", "cpu.max", "max");
	cgroup_write("/a/c", "cpu.max", "max");
	cgroup_write("/a/d", "cpu.max", "max");
	hog_stop(&helper);
	expect_run(&guest, 1, 4000);
	expect_setting(guest.id, KVMGANG_KEY_LIMIT, 0, KVMGANG_ORIGIN_DEFAULT);
	cgroups_end(&service);
}

/* Two VMs and a host task below a cgroup, as all are that is in machine.slice. */
static void test_slice(void)
{
	static const char * const cgroups[] = { "/a/c", "/a/d" };
	struct guest guests[2];
	struct service service;
	struct hog hog;
	uint64_t run, ran;
	int i;

	cgroups_begin();
	cgroup_write("/a", "cpu.max", "40000 20000");
	service = guests_begin(4);
	for (i = 0; i < 2; i++) {
		guest_start(&guests[i], 2, guest_spin);
		vcpus_join(cgroups[i], &guests[i], 0, 2);
	}
	expect_run(guests, 2, 2000);
	for (i = 0; i < 2; i++) {
		EXPECT(guests[i].during.state_ns[KVMGANG_RUN], >=, 500 * NSEC_PER_MSEC);
		EXPECT(guests[i].during.state_ns[KVMGANG_THROTTLED], >=, 500 * NSEC_PER_MSEC);
		expect_setting(guests[i].id, KVMGANG_KEY_LIMIT, 0, KVMGANG_ORIGIN_DEFAULT);
	}
	hogs_start(&hog, 1, "/a");
	sleep_ms(SETTLE_MS);
	ran = hogs_ran(&hog, 1);
	run = guests_watch(guests, 2, WATCH_MS);
	ran = hogs_ran(&hog, 1) - ran;
	tap_note("%lu ns of the guests and %lu ns of the host task", run, ran);
	EXPECT(run + ran, >=, 1940 * NSEC_PER_MSEC);
	EXPECT(run + ran, <=, 2060 * NSEC_PER_MSEC);
	EXPECT(ran, >=, 200 * NSEC_PER_MSEC);
	hog_stop(&hog);
	cgroups_end(&service);
}

/* As many as there are pCPUs of each kind: within a tenth the second have @wanted times as much. */
static void expect_hog_ratio(const struct hog *few, const struct hog *many, uint64_t wanted)
{
	uint64_t ran[2];

	sleep_ms(SETTLE_MS);
	ran[0] = hogs_ran(few, 4);
	ran[1] = hogs_ran(many, 4);
	sleep_ms(WATCH_MS);
	ran[0] = hogs_ran(few, 4) - ran[0];
	ran[1] = hogs_ran(many, 4) - ran[1];
	tap_note("%lu ns and %lu ns", ran[0], ran[1]);
	EXPECT(10 * ran[1], >=, 9 * wanted * ran[0]);
	EXPECT(10 * ran[1], <=, 11 * wanted * ran[0]);
}

/* Of nested cgroups the product counts. Who moves takes nothing with him. */
static void test_host_weight(void)
{
	struct hog light[4], heavy[4];
	struct service service;
	int i;

	cgroups_begin();
	cgroup_write("/a", "cpu.weight", "200");
	cgroup_write("/a/c", "cpu.weight", "300");
	service = guests_begin_on_one_node();
	if (nr_cpus() != 4)
		tap_skip("needs 4 CPUs, no more");
	hogs_start(light, 4, "/b");
	hogs_start(heavy, 4, "/a/c");
	expect_hog_ratio(light, heavy, 6);
	cgroup_write("/a", "cpu.weight", "100");
	expect_hog_ratio(light, heavy, 3);
	for (i = 0; i < 4; i++)
		cgroup_join("/a", heavy[i].tid);
	if (rmdir(BASE "/a/c"))
		die("rmdir: %m");
	expect_hog_ratio(light, heavy, 1);
	hogs_stop(light, 4);
	hogs_stop(heavy, 4);
	cgroups_end(&service);
}

TAP_MAIN(
	{ "host tasks have what cpu.max says", test_max },
	{ "limits within limits", test_nested },
	{ "a hundred tasks and a millisecond in a second", test_least },
	{ "tasks that have used their cpu.max up are in no guest's way", test_beside_guests },
	{ "host tasks have what their cgroups' weights say", test_host_weight },
	{ "the weight of a VM's cgroup is its shares", test_weight },
	{ "the cpu.max of a VM's cgroup is its limit", test_limit },
	{ "a cpu.max that several VMs share", test_slice },
)
