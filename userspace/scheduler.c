// SPDX-License-Identifier: GPL-2.0
/*
 * Looks at the scheduler from outside. Its counters are found by asking the kernel for the program
 * that counts, and not by a file under /sys/fs/bpf: so there is nothing to clean up, and nothing
 * stale to be found after the process that held it was killed. It attaches and changes nothing.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "scheduler.h"

#define NSEC_PER_SEC	1000000000ULL

/* The maps of one program that are looked at; our scheduler's have fewer. */
#define MAX_MAPS	64

bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(line, (int)size, file);

	if (file)
		fclose(file);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

void scheduler_read(struct scheduler *scheduler)
{
	*scheduler = (struct scheduler){ 0 };
	if (!read_line("/sys/kernel/sched_ext/state", scheduler->state, sizeof(scheduler->state)))
		return;
	/* It may go in between. */
	if (strcmp(scheduler->state, "disabled") != 0)
		read_line("/sys/kernel/sched_ext/root/ops", scheduler->name,
			  sizeof(scheduler->name));
}

/* A map of the scheduler, and the program by which it is found. */
struct wanted {
	const char *program, *map;
	size_t value_size;
};

static bool is_our_program(__u32 id, const char *name, struct bpf_prog_info *info)
{
	int fd = bpf_prog_get_fd_by_id(id);
	__u32 length = sizeof(*info);
	bool ours;

	if (fd < 0)
		return false;
	ours = !bpf_prog_get_info_by_fd(fd, info, &length) &&
	       info->type == BPF_PROG_TYPE_STRUCT_OPS && !strcmp(info->name, name);
	close(fd);
	return ours;
}

/* The oldest, should somebody else be loading one that cannot be attached. */
static bool find_program(const char *name, struct bpf_prog_info *info, __u32 *map_ids)
{
	__u32 id = 0;

	while (!bpf_prog_get_next_id(id, &id)) {
		*info = (struct bpf_prog_info){
			.nr_map_ids = MAX_MAPS,
			.map_ids = (uintptr_t)map_ids,
		};
		if (is_our_program(id, name, info))
			return true;
	}
	return false;
}

static int open_if_wanted(__u32 id, const struct wanted *wanted)
{
	struct bpf_map_info info = { 0 };
	__u32 length = sizeof(info);
	int fd = bpf_map_get_fd_by_id(id);

	if (fd < 0)
		return -1;
	if (!bpf_map_get_info_by_fd(fd, &info, &length) && !strcmp(info.name, wanted->map) &&
	    info.value_size == wanted->value_size && info.max_entries == MAX_NODES)
		return fd;
	close(fd);
	return -1;
}

/* -1: there is none. @age_ns: since the scheduler was loaded. */
static int open_map(const struct wanted *wanted, __u64 *age_ns)
{
	__u32 map_ids[MAX_MAPS];
	struct bpf_prog_info info;
	struct timespec now;
	int fd = -1;

	if (!find_program(wanted->program, &info, map_ids))
		return -1;
	clock_gettime(CLOCK_BOOTTIME, &now);
	*age_ns = (__u64)now.tv_sec * NSEC_PER_SEC + (__u64)now.tv_nsec - info.load_time;
	for (__u32 i = 0; fd < 0 && i < info.nr_map_ids && i < MAX_MAPS; i++)
		fd = open_if_wanted(map_ids[i], wanted);
	return fd;
}

static void read_counters(int fd, struct sched_stats *nodes)
{
	int nr_cpus = libbpf_num_possible_cpus();
	struct sched_stats *cpus;

	if (nr_cpus < 1)
		errx(STATUS_FAILED, "the number of CPUs: %s", strerror(-nr_cpus));
	cpus = calloc((size_t)nr_cpus, sizeof(*cpus));
	if (!cpus)
		err(STATUS_FAILED, "counters of %d CPUs", nr_cpus);
	for (__u32 node = 0; node < MAX_NODES; node++) {
		if (bpf_map_lookup_elem(fd, &node, cpus))
			err(STATUS_FAILED, "the scheduler's counters");
		for (int cpu = 0; cpu < nr_cpus; cpu++) {
			for (int i = 0; i < NR_EVENTS; i++)
				nodes[node].nr[i] += cpus[cpu].nr[i];
		}
	}
	free(cpus);
}

static void read_targets(int fd, struct target_report *nodes)
{
	for (__u32 node = 0; node < MAX_NODES; node++) {
		if (bpf_map_lookup_elem(fd, &node, &nodes[node]))
			err(STATUS_FAILED, "the scheduler's report of ready targets");
	}
}

bool scheduler_stats_read(struct scheduler_stats *stats)
{
	static const struct wanted counters = {
		STATS_PROG, STATS_MAP, sizeof(struct sched_stats)
	}, targets = {
		TARGETS_PROG, TARGETS_MAP, sizeof(struct target_report)
	};
	int fd;

	*stats = (struct scheduler_stats){ 0 };
	fd = open_map(&targets, &stats->age_ns);
	if (fd < 0)
		return false;
	read_targets(fd, stats->targets);
	close(fd);
	fd = open_map(&counters, &stats->age_ns);
	if (fd < 0)
		return false;
	read_counters(fd, stats->node);
	close(fd);
	return true;
}
