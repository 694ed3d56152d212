// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang run: loads the scheduler, holds it, and says why it left. As long as this process lives
 * every task of the host is scheduled by it; when it ends, however it ends, all of them are back
 * with the kernel's own scheduler, and guests run on.
 *
 * What is scheduled how is no matter here: sched_ext/scx_kvmgang.bpf.c.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "device.h"
#include "scx_kvmgang.skel.h"

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return level <= LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

int command_run(const struct options *options)
{
	struct scx_kvmgang *scheduler;
	struct bpf_link *link;
	sigset_t signals;
	int signal;

	(void)options;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	libbpf_set_print(print_libbpf);
	scheduler = scx_kvmgang__open_and_load();
	if (!scheduler)
		err(STATUS_FAILED, "scheduler");
	link = bpf_map__attach_struct_ops(scheduler->maps.kvmgang_ops);
	if (!link)
		err(STATUS_FAILED, "scheduler: attach");
	puts("kvmgang: scheduler attached");
	fflush(stdout);
	sigwait(&signals, &signal);
	bpf_link__destroy(link);
	scx_kvmgang__destroy(scheduler);
	return STATUS_OK;
}
