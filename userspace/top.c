// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang top: the host and its VMs, refreshed, those that wait most first. On a terminal every
 * refresh replaces the last one and stops at the last line; elsewhere refreshes follow each other.
 * It reads no keys: SIGINT or SIGTERM ends it between two refreshes, with status 0.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "command.h"
#include "report.h"
#include "table.h"

#define CLEAR		"\033[H\033[2J"
#define LINES_ABOVE	5	/* host table, blank line, titles, and the cursor's own line */

static double ready_percent(const struct vm_interval *vm)
{
	return counters_percent(&vm->did, vm->did.state_ns[KVMGANG_READY]);
}

/* Most ready time first; equals by id, so that they keep their places. */
static int by_ready(const void *a, const void *b)
{
	const struct vm_interval *x = a, *y = b;
	double ready_x = ready_percent(x), ready_y = ready_percent(y);

	if (ready_x != ready_y)
		return ready_x < ready_y ? 1 : -1;
	return x->vm->vm_id < y->vm->vm_id ? -1 : 1;
}

static size_t rows_that_fit(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row)
		return ALL_ROWS;
	return size.ws_row > LINES_ABOVE ? size.ws_row - LINES_ABOVE : 1;
}

static void print_text(const json_t *object)
{
	static const struct column columns[] = {
		{ "PCPUS", NULL, "pcpus", &as_count },
		{ "VMS", NULL, "vms", &as_count },
		{ "VCPUS", NULL, "vcpus", &as_count },
		{ "VCPUS/PCPU", NULL, "overcommit", &as_decimal },
		{ "BUSIEST-VM", NULL, "busiest_name", &as_name },
		{ "RUNS-PCPUS", NULL, "busiest_pcpus", &as_decimal },
		{ "INTERVAL", NULL, "interval_ns", &as_time },
	};
	json_t *host = json_array();

	append(host, json_incref(json_object_get(object, "host")));
	if (isatty(STDOUT_FILENO))
		fputs(CLEAR, stdout);
	print_table(columns, NR_COLUMNS(columns), host, ALL_ROWS);
	putchar('\n');
	print_vms(json_object_get(object, "vms"), rows_that_fit());
	if (!isatty(STDOUT_FILENO))
		putchar('\n');
	json_decref(host);
}

int command_top(const struct options *options)
{
	struct sample sample;

	sample_start(&sample);
	sigaddset(&sample.stop, SIGINT);
	sigaddset(&sample.stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &sample.stop, NULL);

	for (unsigned long i = 0; !options->count || i < options->count; i++) {
		json_t *object;

		if (!sample_next(&sample, options->interval_s))
			break;
		object = report_all(&sample, by_ready);
		if (options->json)
			print_json(object);
		else
			print_text(object);
		json_decref(object);
		if (fflush(stdout))
			break;	/* main tells why */
	}
	sample_end(&sample);
	return STATUS_OK;
}
