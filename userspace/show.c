// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang show: everything that is counted about the vCPUs of one VM. The text is several tables of
 * one row per vCPU, for no terminal is as wide as all counters; histograms are in the JSON only.
 */
#include <err.h>
#include <stdio.h>

#include "command.h"
#include "find.h"
#include "policy.h"
#include "report.h"
#include "table.h"

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

static void print_forced_idle(const json_t *vm)
{
	static const struct column lines[] = {
		{ "forced idle", NULL, "forced_idle_ns", &as_time },
	};

	puts("\nSince birth, pCPUs' time for the VM's isolation");
	print_fields(lines, NR_COLUMNS(lines), vm);
}

static void print_text(json_t *vm)
{
	const json_t *vcpus = json_object_get(vm, "vcpus");
	json_t *vms = json_array();

	append(vms, json_incref(vm));
	print_vms(vms, ALL_ROWS);
	json_decref(vms);
	puts("\nPolicy");
	print_policy(json_object_get(vm, "policy"));
	print_forced_idle(vm);
	print_shares(vcpus);
	print_episodes(vcpus, "interval", "\nLast interval, ready episodes and who had the pCPU");
	print_times(vcpus);
	print_events(vcpus);
	print_episodes(vcpus, "total", "\nSince birth, ready episodes and who had the pCPU");
	print_top_displacers(vcpus);
}

int command_show(const struct options *options)
{
	__u32 id = parse_vm(options->vm);
	struct kvmgang_policy policy;
	struct sample sample;
	json_t *vm;

	sample_start(&sample);
	id = find_vm(&sample, options->vm, id);
	sample_next(&sample, options->interval_s);
	vm = report_one(&sample, id);
	if (!vm || !device_get_policy(sample.fd, id, &policy))
		errx(STATUS_FAILED, "VM '%s': ended during the interval", options->vm);
	put(vm, "policy", report_policy(&policy));
	if (options->json)
		print_json(vm);
	else
		print_text(vm);
	json_decref(vm);
	sample_end(&sample);
	return STATUS_OK;
}
