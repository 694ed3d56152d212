// SPDX-License-Identifier: GPL-2.0
/*
 * VMs at work side by side, and what each gets done.
 *
 *	gang MS PROGRAM:VCPUS...
 *
 * One line per VM: what it counts per second, and where its vCPUs' time went. It does not choose
 * the scheduler; whoever compares two runs this under each, and in turn.
 */
#include <stdlib.h>
#include <string.h>

#include "selftests/host.h"
#include "selftests/snap.h"
#include "selftests/vmm.h"

#define MAX_VMS		64
#define WARM_UP_MS	200

static const struct work {
	const char *name;
	const char *program;
	uint64_t argument;
} works[] = {
	{ "spin", guest_spin, 0 },
	{ "barrier", guest_barrier, 0 },
	{ "lock", guest_lock, 200 },
	{ "ping", guest_ping, 0 },
	{ "tick", guest_halt, 2000000 },	/* sleeps, and wakes up every 2 ms */
};

struct run {
	const struct work *work;
	struct vm *vm;
	uint64_t count;
	struct kvmgang_counters sum;
};

static const struct work *find_work(const char *spec, size_t length)
{
	for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++) {
		if (strlen(works[i].name) == length && !strncmp(works[i].name, spec, length))
			return &works[i];
	}
	die("%s: the programs are spin, barrier, lock, ping and tick", spec);
}

static void start(struct run *run, const char *spec)
{
	size_t length = strcspn(spec, ":");
	long nr_vcpus = spec[length] ? strtol(spec + length + 1, NULL, 10) : 0;

	if (nr_vcpus < 1 || nr_vcpus > 255)
		die("%s: 1 to 255 vCPUs are wanted after a colon", spec);
	run->work = find_work(spec, length);
	run->vm = vm_new((int)nr_vcpus);
	vm_start(run->vm, run->work->program, run->work->argument);
}

static void look(struct run *run)
{
	struct snap snap = {};

	if (!snap_read(&snap, vm_id_wait(run->vm)))
		die("the VM is gone");
	run->sum = snap.vms[0].sum;
	run->count = vm_count(run->vm);
	snap_free(&snap);
}

static double percent(const struct run *from, const struct run *to, enum kvmgang_state state)
{
	uint64_t all = state_sum(&to->sum) - state_sum(&from->sum);

	return 100.0 * (double)(to->sum.state_ns[state] - from->sum.state_ns[state]) / (double)all;
}

static void report(const struct run *from, uint64_t ns)
{
	struct run to = *from;

	look(&to);
	printf("%-8s %3d %14.0f/s  run %5.1f%%  ready %5.1f%%  costop %5.1f%%  halted %5.1f%%\n",
	       to.work->name, to.vm->nr_vcpus,
	       (double)(to.count - from->count) * (double)NSEC_PER_SEC / (double)ns,
	       percent(from, &to, KVMGANG_RUN), percent(from, &to, KVMGANG_READY),
	       percent(from, &to, KVMGANG_COSTOP), percent(from, &to, KVMGANG_HALTED));
}

int main(int argc, char **argv)
{
	static struct run runs[MAX_VMS];
	int nr = argc - 2, ms;
	uint64_t began;

	if (nr < 1 || nr > MAX_VMS)
		die("usage: gang MS PROGRAM:VCPUS...");
	ms = (int)strtol(argv[1], NULL, 10);
	for (int i = 0; i < nr; i++)
		start(&runs[i], argv[2 + i]);
	sleep_ms(WARM_UP_MS);
	for (int i = 0; i < nr; i++)
		look(&runs[i]);
	began = now_ns();
	sleep_ms(ms);
	for (int i = 0; i < nr; i++)
		report(&runs[i], now_ns() - began);
	return 0;
}
