// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang status: the module, its limits, and who schedules. It looks at no VM, so it is quick and
 * needs no interval. Which tasks a scheduler takes is not asked: a sched_ext scheduler in partial
 * mode is shown like any other.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "command.h"
#include "device.h"
#include "table.h"

/* Reads one line of a sysfs file; false if there is none. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(line, (int)size, file);

	if (file)
		fclose(file);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

static void put_scheduler(json_t *status)
{
	char state[32], ops[128];
	bool attached = read_line("/sys/kernel/sched_ext/state", state, sizeof(state)) &&
			strcmp(state, "disabled") != 0 &&
			read_line("/sys/kernel/sched_ext/root/ops", ops, sizeof(ops));

	put(status, "sched_ext", json_boolean(attached));
	put(status, "scheduler", json_string(attached ? ops : "EEVDF (no sched_ext)"));
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
		{ "kernel", NULL, "kernel", &as_text },
	};
	struct kvmgang_info info;
	int fd = device_open();
	json_t *status;

	device_info(fd, &info);
	close(fd);
	status = report(&info);
	if (options->json)
		print_json(status);
	else
		print_fields(lines, NR_COLUMNS(lines), status);
	json_decref(status);
	return STATUS_OK;
}
