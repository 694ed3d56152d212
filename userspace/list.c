// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang list: one row per VM over one interval, in the order of their ids. It does not go down to
 * single vCPUs, as show does.
 */
#include "command.h"
#include "report.h"
#include "table.h"

int command_list(const struct options *options)
{
	struct sample sample;
	json_t *report;

	sample_start(&sample);
	sample_next(&sample, options->interval_s);
	report = report_all(&sample, NULL);
	if (options->json)
		print_json(report);
	else
		print_vms(json_object_get(report, "vms"), ALL_ROWS);
	json_decref(report);
	sample_end(&sample);
	return STATUS_OK;
}
