// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang status: the module, its limits, who schedules, and if it is ours, what it did. It looks
 * at no VM, so it is quick and needs no interval. Which tasks a scheduler takes is not asked: a
 * sched_ext scheduler in partial mode is shown like any other.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "command.h"
#include "device.h"
#include "scheduler.h"
#include "table.h"

static const char *const event_keys[NR_EVENTS] = {
	[EVENT_WINDOW] = "windows",
	[EVENT_MEMBER] = "members",
	[EVENT_BACKFILL] = "backfills",
	[EVENT_COSTOP] = "costops",
	[EVENT_YIELD] = "yields_asked",
	[EVENT_YIELD_HONOURED] = "yields_honoured",
	[EVENT_CREDIT] = "credits",
	[EVENT_THROTTLE] = "throttles",
	[EVENT_HOME_MOVE] = "home_moves",
};

static const char *const target_words[NR_TARGET_STATES] = {
	[TARGET_NONE] = "none",
	[TARGET_KEPT] = "kept",
	[TARGET_LEAST] = "missed",
	[TARGET_UNMET] = "cannot be met",
};

static bool node_exists(int node)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
	/* A kernel without NUMA calls everything node 0 and says so nowhere. */
	return !node || !access(path, F_OK);
}

static void put_targets(json_t *row, const struct target_report *targets)
{
	put(row, "ready_targets", json_string(target_words[targets->state % NR_TARGET_STATES]));
	put(row, "targets_want_milli", json_integer(targets->want));
	put(row, "targets_capacity_milli", json_integer(targets->capacity));
}

static json_t *report_nodes(const struct scheduler_stats *stats)
{
	json_t *nodes = json_array();

	for (int node = 0; node < MAX_NODES; node++) {
		json_t *row;

		if (!node_exists(node))
			continue;
		row = json_object();
		put(row, "node", json_integer(node));
		for (int i = 0; i < NR_EVENTS; i++)
			put(row, event_keys[i], json_integer((json_int_t)stats->node[node].nr[i]));
		put_targets(row, &stats->targets[node]);
		append(nodes, row);
	}
	return nodes;
}

static void put_scheduler(json_t *status)
{
	struct scheduler_stats stats;
	struct scheduler scheduler;
	bool attached, ours;

	scheduler_read(&scheduler);
	attached = *scheduler.name;
	ours = !strcmp(scheduler.name, SCHED_NAME) && scheduler_stats_read(&stats);
	put(status, "sched_ext", json_boolean(attached));
	put(status, "sched_ext_state",
	    *scheduler.state ? json_string(scheduler.state) : json_null());
	put(status, "scheduler",
	    json_string(attached ? scheduler.name : "EEVDF (no sched_ext)"));
	put(status, "scheduler_age_ns",
	    ours ? json_integer((json_int_t)stats.age_ns) : json_null());
	put(status, "nodes", ours ? report_nodes(&stats) : json_null());
}

static json_t *report(const struct kvmgang_info *info)
{
	json_t *status = json_object();
	struct utsname kernel;
	char version[64];
	bool known = read_line("/sys/module/kvmgang/version", version, sizeof(version));

	if (uname(&kernel))
		err(STATUS_FAILED, "uname");
	put(status, "version", known ? json_string(version) : json_null());
	put(status, "abi", json_integer(info->out_abi));
	put(status, "kfunc_abi", json_integer(info->out_kfunc_abi));
	put(status, "vms", json_integer(info->out_nr_vms));
	put(status, "max_vms", json_integer(info->out_max_vms));
	put(status, "vcpus", json_integer(info->out_nr_vcpus));
	put(status, "max_vcpus", json_integer(info->out_max_vcpus));
	put(status, "vcpu_bytes", json_integer(info->out_vcpu_bytes));
	put(status, "read_lag_ns", json_integer((json_int_t)info->out_read_lag_ns));
	put(status, "refused", json_integer((json_int_t)info->out_refused));
	put_scheduler(status);
	put(status, "kernel", json_string(kernel.release));
	return status;
}

int command_status(const struct options *options)
{
	static const struct column lines[] = {
		{ "module", NULL, "version", &as_text },
		{ "ABI", NULL, "abi", &as_count },
		{ "kfunc ABI", NULL, "kfunc_abi", &as_count },
		{ "VMs", NULL, "vms", &as_count },
		{ "VMs at most", NULL, "max_vms", &as_count },
		{ "vCPUs", NULL, "vcpus", &as_count },
		{ "vCPUs at most", NULL, "max_vcpus", &as_count },
		{ "bytes per vCPU", NULL, "vcpu_bytes", &as_count },
		{ "read lag", NULL, "read_lag_ns", &as_time },
		{ "vCPUs refused", NULL, "refused", &as_count },
		{ "scheduler", NULL, "scheduler", &as_text },
		{ "sched_ext", NULL, "sched_ext_state", &as_text },
		{ "scheduler's age", NULL, "scheduler_age_ns", &as_time },
		{ "kernel", NULL, "kernel", &as_text },
	};
	static const struct column node_columns[] = {
		{ "NODE", NULL, "node", &as_count },
		{ "WINDOWS", NULL, "windows", &as_count },
		{ "MEMBERS", NULL, "members", &as_count },
		{ "BACKFILLS", NULL, "backfills", &as_count },
		{ "CREDITS", NULL, "credits", &as_count },
		{ "COSTOPS", NULL, "costops", &as_count },
		{ "YIELDS", NULL, "yields_asked", &as_count },
		{ "HONOURED", NULL, "yields_honoured", &as_count },
		{ "THROTTLES", NULL, "throttles", &as_count },
		{ "HOME-MOVES", NULL, "home_moves", &as_count },
		{ "TARGETS", NULL, "ready_targets", &as_text },
	};
	struct kvmgang_info info;
	int fd = device_open();
	json_t *status, *nodes;

	device_info(fd, &info);
	close(fd);
	status = report(&info);
	nodes = json_object_get(status, "nodes");
	if (options->json) {
		print_json(status);
	} else {
		print_fields(lines, NR_COLUMNS(lines), status);
		if (json_is_array(nodes)) {
			putchar('\n');
			print_table(node_columns, NR_COLUMNS(node_columns), nodes, ALL_ROWS);
		}
	}
	json_decref(status);
	return STATUS_OK;
}
