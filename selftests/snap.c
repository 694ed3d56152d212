// SPDX-License-Identifier: GPL-2.0
/* Reading /dev/kvmgang, see snap.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"
#include "snap.h"
#include "tap.h"

#define NR_COUNTERS	(sizeof(struct kvmgang_counters) / sizeof(__u64))

int kvmgang_open(void)
{
	int fd = open(KVMGANG_DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(KVMGANG_DEVICE ": %m");
	return fd;
}

/*
 * Opens the device for each call: nothing of this file keeps the module from being removed, and
 * that costs less than what it reads.
 */
static int call(unsigned int cmd, void *arg)
{
	int fd = kvmgang_open();
	int err = ioctl(fd, cmd, arg) ? errno : 0;

	close(fd);
	return err;
}

void kvmgang_info(struct kvmgang_info *info)
{
	*info = (struct kvmgang_info){ .size = sizeof(*info) };
	errno = call(KVMGANG_INFO, info);
	if (errno)
		die("KVMGANG_INFO: %m");
}

static void snap_grow(struct snap *snap, uint32_t vms, uint32_t vcpus)
{
	snap_free(snap);
	/* Half as much more, because under churn there will be others when we come back. */
	snap->room_vms = vms + vms / 2 + 8;
	snap->room_vcpus = vcpus + vcpus / 2 + 8;
	snap->vms = calloc(snap->room_vms, sizeof(*snap->vms));
	snap->vcpus = calloc(snap->room_vcpus, sizeof(*snap->vcpus));
	if (!snap->vms || !snap->vcpus)
		die("no memory for a snapshot");
}

bool snap_read(struct snap *snap, uint32_t vm_id)
{
	int tries;

	for (tries = 0; tries < 10; tries++) {
		snap->head = (struct kvmgang_snapshot){
			.size = sizeof(snap->head),
			.vm_id = vm_id,
			.vm_row_size = sizeof(*snap->vms),
			.vcpu_row_size = sizeof(*snap->vcpus),
			.nr_vms = snap->room_vms,
			.nr_vcpus = snap->room_vcpus,
			.vms = (uintptr_t)snap->vms,
			.vcpus = (uintptr_t)snap->vcpus,
		};
		errno = call(KVMGANG_SNAPSHOT, &snap->head);
		if (!errno)
			return true;
		if (errno == ENOENT && vm_id)
			return false;
		if (errno != ENOSPC)
			die("KVMGANG_SNAPSHOT: %m");
		snap_grow(snap, snap->head.nr_vms, snap->head.nr_vcpus);
	}
	die("no snapshot is ever large enough");
}

void snap_free(struct snap *snap)
{
	free(snap->vms);
	free(snap->vcpus);
	*snap = (struct snap){ .head = snap->head };
}

const struct kvmgang_vm_row *snap_vm(const struct snap *snap, uint32_t vm_id)
{
	uint32_t i;

	for (i = 0; i < snap->head.nr_vms; i++) {
		if (snap->vms[i].vm_id == vm_id)
			return &snap->vms[i];
	}
	return NULL;
}

const struct kvmgang_vcpu_row *snap_vcpu(const struct snap *snap, uint32_t vm_id, uint32_t vcpu_id)
{
	uint32_t i;

	for (i = 0; i < snap->head.nr_vcpus; i++) {
		if (snap->vcpus[i].vm_id == vm_id && snap->vcpus[i].vcpu_id == vcpu_id)
			return &snap->vcpus[i];
	}
	return NULL;
}

uint32_t vm_id_of(const struct vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		struct kvmgang_lookup lookup = {
			.size = sizeof(lookup),
			.tid = vm->vcpus[i].tid,
		};

		if (!lookup.tid)
			continue;
		errno = call(KVMGANG_LOOKUP, &lookup);
		if (!errno)
			return lookup.out_vm_id;
		if (errno != ENOENT)
			die("KVMGANG_LOOKUP: %m");
	}
	return 0;
}

uint32_t vm_id_wait(const struct vm *vm)
{
	uint32_t vm_id;

	await((vm_id = vm_id_of(vm)) != 0);
	return vm_id;
}

bool vm_exists(uint32_t vm_id)
{
	struct snap snap = {};
	bool exists = snap_read(&snap, vm_id);

	snap_free(&snap);
	return exists;
}

static uint64_t nr_vms(void)
{
	struct kvmgang_info info;

	kvmgang_info(&info);
	return info.out_nr_vms;
}

void await_no_vms(void)
{
	await(nr_vms() == 0);
}

struct kvmgang_vcpu_row row_read(uint32_t vm_id, uint32_t vcpu_id)
{
	const struct kvmgang_vcpu_row *found = NULL;
	struct kvmgang_vcpu_row row;
	struct snap snap = {};

	if (snap_read(&snap, vm_id))
		found = snap_vcpu(&snap, vm_id, vcpu_id);
	if (!found)
		die("no row of VM %u, vCPU %u", vm_id, vcpu_id);
	row = *found;
	snap_free(&snap);
	row_check(&row);
	return row;
}

struct kvmgang_counters row_since(const struct kvmgang_vcpu_row *later,
				  const struct kvmgang_vcpu_row *earlier)
{
	const __u64 *to = (const __u64 *)&later->count, *from = (const __u64 *)&earlier->count;
	struct kvmgang_counters difference = {};
	size_t i;

	for (i = 0; i < NR_COUNTERS; i++)
		((__u64 *)&difference)[i] = to[i] - from[i];
	return difference;
}

struct kvmgang_counters row_watch(uint32_t vm_id, uint32_t vcpu_id, int ms, uint64_t *elapsed_ns)
{
	struct kvmgang_vcpu_row earlier, later;

	earlier = row_read(vm_id, vcpu_id);
	sleep_ms(ms);
	later = row_read(vm_id, vcpu_id);
	row_check_order(&earlier, &later);
	*elapsed_ns = later.now_ns - earlier.now_ns;
	return row_since(&later, &earlier);
}

static uint64_t sum_of(const __u64 *values, int nr)
{
	uint64_t sum = 0;

	while (nr--)
		sum += values[nr];
	return sum;
}

uint64_t state_sum(const struct kvmgang_counters *count)
{
	return sum_of(count->state_ns, KVMGANG_NR_STATES);
}

uint64_t waited(const struct kvmgang_counters *count)
{
	return count->state_ns[KVMGANG_READY] + count->state_ns[KVMGANG_COSTOP] +
	       count->state_ns[KVMGANG_THROTTLED];
}

static void check_displaced(const struct kvmgang_vcpu_row *row)
{
	const struct kvmgang_counters *count = &row->count;
	uint64_t displaced = sum_of(count->displaced_ns, KVMGANG_NR_DISPLACERS);
	uint64_t ready = count->state_ns[KVMGANG_READY];
	uint64_t by_vm = 0;
	int i, j;

	/* Ready time of an episode that goes on is not yet attributed. */
	if (row->state == KVMGANG_RUN)
		EXPECT(displaced, ==, ready);
	else
		EXPECT(displaced, <=, ready);

	for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++) {
		by_vm += row->top[i].ns;
		EXPECT(row->top[i].vm_id, !=, row->vm_id);
		for (j = 0; j < i && row->top[i].vm_id; j++)
			EXPECT(row->top[i].vm_id, !=, row->top[j].vm_id);
	}
	EXPECT(by_vm, <=, count->displaced_ns[KVMGANG_BY_VM]);
}

void row_check(const struct kvmgang_vcpu_row *row)
{
	const struct kvmgang_counters *count = &row->count;
	const __u64 *moved = count->migrations;

	EXPECT(state_sum(count), ==, row->now_ns - row->born_ns);
	EXPECT(row->state, <, KVMGANG_NR_STATES);
	EXPECT(row->vm_id, >, 0);
	EXPECT(count->run_remote_ns, <=, count->state_ns[KVMGANG_RUN]);
	EXPECT(count->run_shared_ns, <=, count->state_ns[KVMGANG_RUN]);
	EXPECT(count->preemptions, <=, count->switches);
	EXPECT(count->wakeups, <=, count->switches - count->preemptions);
	EXPECT(moved[KVMGANG_MIGRATED_NODE], <=, moved[KVMGANG_MIGRATED_LLC]);
	EXPECT(moved[KVMGANG_MIGRATED_LLC], <=, moved[KVMGANG_MIGRATED_CPU]);
	EXPECT(count->yields_honoured, <=, count->yields_asked);
	/* Each ended wait followed a switch; the first may have been under way at birth. */
	EXPECT(sum_of(count->ready_hist, KVMGANG_READY_BUCKETS), <=, count->switches + 1);
	check_displaced(row);
}

void row_check_order(const struct kvmgang_vcpu_row *earlier, const struct kvmgang_vcpu_row *later)
{
	const __u64 *from = (const __u64 *)&earlier->count, *to = (const __u64 *)&later->count;
	size_t i;

	EXPECT(later->now_ns, >=, earlier->now_ns);
	EXPECT(later->born_ns, ==, earlier->born_ns);
	for (i = 0; i < NR_COUNTERS; i++) {
		if (!EXPECT(to[i], >=, from[i]))
			tap_note("that was counter %zu of struct kvmgang_counters", i);
	}
}

static void check_vm(const struct kvmgang_vm_row *vm, const struct kvmgang_vcpu_row *vcpus)
{
	const __u64 *sum = (const __u64 *)&vm->sum;
	uint64_t expected;
	size_t i;
	uint32_t v;

	for (v = 0; v < vm->nr_vcpus; v++) {
		EXPECT(vcpus[v].vm_id, ==, vm->vm_id);
		EXPECT(vcpus[v].born_ns, >=, vm->born_ns);
	}
	for (i = 0; i < NR_COUNTERS; i++) {
		/* No vCPU has it. */
		expected = &sum[i] == &vm->sum.forced_idle_ns ? sum[i] : 0;
		for (v = 0; v < vm->nr_vcpus; v++)
			expected += ((const __u64 *)&vcpus[v].count)[i];
		EXPECT(sum[i], ==, expected);
	}
}

void snap_check(const struct snap *snap)
{
	const struct kvmgang_vcpu_row *vcpus = snap->vcpus;
	struct kvmgang_info info;
	uint32_t i;

	kvmgang_info(&info);
	EXPECT(snap->head.out_begin_ns, <=, snap->head.out_end_ns);
	for (i = 0; i < snap->head.nr_vcpus; i++) {
		row_check(&snap->vcpus[i]);
		EXPECT(snap->vcpus[i].now_ns, <=, snap->head.out_end_ns);
		/* However long it has been running. */
		if (snap->vcpus[i].state == KVMGANG_RUN)
			EXPECT(snap->vcpus[i].now_ns + 10 * info.out_read_lag_ns, >=,
			       snap->head.out_begin_ns);
	}
	for (i = 0; i < snap->head.nr_vms; i++) {
		check_vm(&snap->vms[i], vcpus);
		vcpus += snap->vms[i].nr_vcpus;
	}
	EXPECT(vcpus - snap->vcpus, ==, snap->head.nr_vcpus);
}

void snap_check_order(const struct snap *earlier, const struct snap *later)
{
	const struct kvmgang_vcpu_row *before;
	uint32_t i;

	for (i = 0; i < later->head.nr_vcpus; i++) {
		before = snap_vcpu(earlier, later->vcpus[i].vm_id, later->vcpus[i].vcpu_id);
		if (before)
			row_check_order(before, &later->vcpus[i]);
	}
}

static void *reader_thread(void *arg)
{
	struct reader *reader = arg;
	struct snap snaps[2] = {};
	int now = 0;

	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
		snap_read(&snaps[now], ALL_VMS);
		snap_check(&snaps[now]);
		snap_check_order(&snaps[!now], &snaps[now]);
		now = !now;
		__atomic_fetch_add(&reader->reads, 1, __ATOMIC_RELAXED);
	}
	snap_free(&snaps[0]);
	snap_free(&snaps[1]);
	return NULL;
}

void readers_start(struct reader *readers, int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		readers[i] = (struct reader){};
		if (pthread_create(&readers[i].thread, NULL, reader_thread, &readers[i]))
			die("pthread_create");
	}
}

void readers_stop(struct reader *readers, int nr, uint64_t min_reads)
{
	int i;

	for (i = 0; i < nr; i++)
		await(__atomic_load_n(&readers[i].reads, __ATOMIC_RELAXED) >= min_reads);
	for (i = 0; i < nr; i++) {
		__atomic_store_n(&readers[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(readers[i].thread, NULL);
		tap_note("reader %d: %lu snapshots", i, readers[i].reads);
	}
}
