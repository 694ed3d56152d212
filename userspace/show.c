// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang show: everything that is counted about the vCPUs of one VM. The text is several tables of
 * one row per vCPU, for no terminal is as wide as all counters; histograms are in the JSON only.
 */
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "table.h"

/* Returns the id if @arg is a number, else 0: then it is a name. */
static __u32 parse_id(const char *arg)
{
	unsigned long id;

	if (!*arg)
		errx(STATUS_USAGE, "VM '': must be an id or a name");
	if (arg[strspn(arg, "0123456789")])
		return 0;
	errno = 0;
	id = strtoul(arg, NULL, 10);
	if (errno || id < 1 || id > UINT32_MAX)
		errx(STATUS_USAGE, "VM id '%s': must be 1 to %u", arg, UINT32_MAX);
	return (__u32)id;
}

static void __attribute__((noreturn)) fail_ambiguous(const struct sample *sample, const char *name)
{
	fprintf(stderr, "kvmgang: VM '%s': several VMs have this name, use one of the ids", name);
	for (__u32 i = 0; i < sample->now.nr_vms; i++) {
		__u32 id = sample->now.vms[i].vm_id;
		const char *other = names_find(&sample->names, id);

		if (other && strcmp(other, name) == 0)
			fprintf(stderr, " %u", id);
	}
	fputc('\n', stderr);
	exit(STATUS_FAILED);
}

static __u32 find_name(const struct sample *sample, const char *name)
{
	__u32 found = 0;

	for (__u32 i = 0; i < sample->now.nr_vms; i++) {
		__u32 id = sample->now.vms[i].vm_id;
		const char *other = names_find(&sample->names, id);

		if (!other || strcmp(other, name) != 0)
			continue;
		if (found)
			fail_ambiguous(sample, name);
		found = id;
	}
	if (!found)
		errx(STATUS_FAILED, "VM '%s': no VM has this name (kvmgang list shows all)", name);
	return found;
}

static void check_id(const struct sample *sample, __u32 id)
{
	for (__u32 i = 0; i < sample->now.nr_vms; i++) {
		if (sample->now.vms[i].vm_id == id)
			return;
	}
	errx(STATUS_FAILED, "VM id '%u': no VM has this id (kvmgang list shows all)", id);
}

static void format_displacers(const json_t *value, char *cell)
{
	size_t nr = json_array_size(value), used = 0;

	snprintf(cell, CELL_SIZE, "-");
	for (size_t i = 0; i < nr && used < CELL_SIZE; i++) {
		const json_t *top = json_array_get(value, i);
		const json_t *name = json_object_get(top, "name");
		char who[CELL_SIZE] = "gone", time[CELL_SIZE];

		if (json_is_string(name))
			as_name.fn(name, who);
		as_time.fn(json_object_get(top, "ns"), time);
		used += (size_t)snprintf(cell + used, CELL_SIZE - used, "%s%s(%lld) %s",
					 used ? ", " : "", who,
					 json_integer_value(json_object_get(top, "vm_id")), time);
	}
}

static const struct format as_displacers = { format_displacers, true };

static void print_shares(const json_t *vcpus)
{
	static const struct column columns[] = {
		{ "VCPU", NULL, "id", &as_count },
		{ "TID", NULL, "tid", &as_count },
		{ "STATE", NULL, "state", &as_text },
		{ "CPU", NULL, "cpu", &as_count },
		{ "NODE", NULL, "node", &as_count },
		{ "RUN%", "interval", "run_pct", &as_decimal },
		{ "READY%", "interval", "ready_pct", &as_decimal },
		{ "COSTP%", "interval", "costop_pct", &as_decimal },
		{ "THROT%", "interval", "throttled_pct", &as_decimal },
		{ "HALT%", "interval", "halted_pct", &as_decimal },
		{ "BLOCK%", "interval", "blocked_pct", &as_decimal },
		{ "REMOT%", "interval", "run_remote_pct", &as_decimal },
		{ "SHARE%", "interval", "run_shared_pct", &as_decimal },
	};

	puts("\nLast interval, share of each vCPU's time");
	print_table(columns, NR_COLUMNS(columns), vcpus, ALL_ROWS);
}

static void print_times(const json_t *vcpus)
{
	static const struct column columns[] = {
		{ "VCPU", NULL, "id", &as_count },
		{ "AGE", "total", "time_ns", &as_time },
		{ "RUN", "total", "run_ns", &as_time },
		{ "READY", "total", "ready_ns", &as_time },
		{ "COSTOP", "total", "costop_ns", &as_time },
		{ "THROTTLED", "total", "throttled_ns", &as_time },
		{ "HALTED", "total", "halted_ns", &as_time },
		{ "BLOCKED", "total", "blocked_ns", &as_time },
		{ "REMOTE", "total", "run_remote_ns", &as_time },
		{ "SHARED", "total", "run_shared_ns", &as_time },
	};

	puts("\nSince birth, time");
	print_table(columns, NR_COLUMNS(columns), vcpus, ALL_ROWS);
}

static void print_events(const json_t *vcpus)
{
	static const struct column columns[] = {
		{ "VCPU", NULL, "id", &as_count },
		{ "SWITCHES", "total", "switches", &as_count },
		{ "PREEMPTED", "total", "preemptions", &as_count },
		{ "WAKEUPS", "total", "wakeups", &as_count },
		{ "MIG-CPU", "total", "migrations_cpu", &as_count },
		{ "MIG-LLC", "total", "migrations_llc", &as_count },
		{ "MIG-NODE", "total", "migrations_node", &as_count },
		{ "YIELDS", "total", "yields_asked", &as_count },
		{ "HONOURED", "total", "yields_honoured", &as_count },
	};

	puts("\nSince birth, events");
	print_table(columns, NR_COLUMNS(columns), vcpus, ALL_ROWS);
}

static void print_episodes(const json_t *vcpus, const char *group, const char *title)
{
	const struct column columns[] = {
		{ "VCPU", NULL, "id", &as_count },
		{ "EPISODES", group, "ready_episodes", &as_count },
		{ "P50", group, "ready_p50_ns", &as_time },
		{ "P99", group, "ready_p99_ns", &as_time },
		{ "P99.9", group, "ready_p999_ns", &as_time },
		{ "BY-VM", group, "displaced_vm_ns", &as_time },
		{ "BY-SIBLING", group, "displaced_sibling_ns", &as_time },
		{ "BY-HOST", group, "displaced_host_ns", &as_time },
		{ "BY-KTHREAD", group, "displaced_kthread_ns", &as_time },
		{ "BY-NOBODY", group, "displaced_nobody_ns", &as_time },
	};

	puts(title);
	print_table(columns, NR_COLUMNS(columns), vcpus, ALL_ROWS);
}

static void print_top_displacers(const json_t *vcpus)
{
	static const struct column columns[] = {
		{ "VCPU", NULL, "id", &as_count },
		{ "VM(ID) TIME", NULL, "top_displacers", &as_displacers },
	};

	puts("\nSince birth, VMs that had the pCPU while the vCPU was ready");
	print_table(columns, NR_COLUMNS(columns), vcpus, ALL_ROWS);
}

static void print_text(json_t *vm)
{
	const json_t *vcpus = json_object_get(vm, "vcpus");
	json_t *vms = json_array();

	append(vms, json_incref(vm));
	print_vms(vms, ALL_ROWS);
	json_decref(vms);
	print_shares(vcpus);
	print_episodes(vcpus, "interval", "\nLast interval, ready episodes and who had the pCPU");
	print_times(vcpus);
	print_events(vcpus);
	print_episodes(vcpus, "total", "\nSince birth, ready episodes and who had the pCPU");
	print_top_displacers(vcpus);
}

int command_show(const struct options *options)
{
	__u32 id = parse_id(options->vm);
	struct sample sample;
	json_t *vm;

	sample_start(&sample);
	if (id)
		check_id(&sample, id);
	else
		id = find_name(&sample, options->vm);

	sample_next(&sample, options->interval_s);
	vm = report_one(&sample, id);
	if (!vm)
		errx(STATUS_FAILED, "VM '%s': ended during the interval", options->vm);
	if (options->json)
		print_json(vm);
	else
		print_text(vm);
	json_decref(vm);
	sample_end(&sample);
	return STATUS_OK;
}
