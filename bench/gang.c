// SPDX-License-Identifier: GPL-2.0
/*
 * VMs at work side by side, and what each gets done.
 *
 *	gang MS PROGRAM:VCPUS...
 *
 * One line per VM: what it counts per second, and where its vCPUs' time went. It does not choose the
 * scheduler; whoever compares two runs this under each.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "selftests/host.h"
#include "selftests/snap.h"
#include "selftests/vmm.h"

#define MAX_VMS		64

static const struct work {
	const char *name;
	const char *program;
	uint64_t argument;
} works[] = {
	{ "spin", guest_spin, 0 },
	{ "barrier", guest_barrier, 0 },
	{ "lock", guest_lock, 200 },
	{ "ping", guest_ping, 0 },
	{ "halt", guest_halt, 2000000 },	/* wakes up every 2 ms */
};

struct run {
	const struct work *work;
	struct vm *vm;
	uint64_t count;
	struct kvmgang_counters sum;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static const struct work *find_work(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++) {
		if (strlen(works[i].name) == length && !strncmp(works[i].name, name, length))
			return &works[i];
	}
	die("no such work");
}

static void start(struct run *run, const char *spec)
{
	const char *colon = strchr(spec, ':');

	if (!colon)
		die("usage: gang MS PROGRAM:VCPUS...");
	run->work = find_work(spec, colon - spec);
	run->vm = vm_new(atoi(colon + 1));
	vm_start(run->vm, run->work->program, run->work->argument);
}

static void look(struct run *run, struct kvmgang_counters *sum, uint64_t *count)
{
	struct snap snap = {};

	if (!snap_read(&snap, vm_id_of(run->vm)))
		die("the VM is gone");
	*sum = snap.vms[0].sum;
	*count = vm_count(run->vm);
	snap_free(&snap);
}

static void report(const struct run *run, uint64_t ns)
{
	struct kvmgang_counters now, was = run->sum;
	uint64_t count, all = 0, hist = 0, seen = 0;
	int p50 = -1, p99 = -1, max = 0;

	look((struct run *)run, &now, &count);
	for (int i = 0; i < KVMGANG_NR_STATES; i++)
		all += now.state_ns[i] - was.state_ns[i];
	for (int i = 0; i < KVMGANG_READY_BUCKETS; i++)
		hist += now.ready_hist[i] - was.ready_hist[i];
	for (int i = 0; i < KVMGANG_READY_BUCKETS; i++) {
		uint64_t n = now.ready_hist[i] - was.ready_hist[i];

		seen += n;
		if (p50 < 0 && seen * 2 >= hist)
			p50 = i;
		if (p99 < 0 && seen * 100 >= hist * 99)
			p99 = i;
		if (n)
			max = i;
	}
	printf("%-8s %d  %12.0f/s  run %5.1f%%  ready %5.1f%%  costop %5.1f%%  halted %5.1f%%  per s: switches %.0f preempted %.0f moved %.0f yields %.0f/%.0f  ready p50 < %d us  p99 < %d us  max < %d us\n",
	       run->work->name, run->vm->nr_vcpus, (count - run->count) * 1e9 / ns,
	       100.0 * (now.state_ns[0] - was.state_ns[0]) / all,
	       100.0 * (now.state_ns[1] - was.state_ns[1]) / all,
	       100.0 * (now.state_ns[2] - was.state_ns[2]) / all,
	       100.0 * (now.state_ns[4] - was.state_ns[4]) / all,
	       (now.switches - was.switches) * 1e9 / ns,
	       (now.preemptions - was.preemptions) * 1e9 / ns,
	       (now.migrations[0] - was.migrations[0]) * 1e9 / ns,
	       (now.yields_honoured - was.yields_honoured) * 1e9 / ns,
	       (now.yields_asked - was.yields_asked) * 1e9 / ns,
	       1 << p50, 1 << p99, 1 << max);
}

int main(int argc, char **argv)
{
	static struct run runs[MAX_VMS];
	int nr = argc - 2;
	uint64_t began;

	if (argc < 3 || nr > MAX_VMS)
		die("usage: gang MS PROGRAM:VCPUS...");
	for (int i = 0; i < nr; i++)
		start(&runs[i], argv[2 + i]);
	sleep_ms(200);
	for (int i = 0; i < nr; i++)
		look(&runs[i], &runs[i].sum, &runs[i].count);
	began = now_ns();
	sleep_ms(atoi(argv[1]));
	for (int i = 0; i < nr; i++)
		report(&runs[i], now_ns() - began);
	return 0;
}
