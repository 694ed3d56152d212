// SPDX-License-Identifier: GPL-2.0
/*
 * How hard the scheduler makes it for the verifier, which gives up on a program after a million
 * instructions, each counted as often as it is looked at. How often that is differs from kernel to
 * kernel, so a program that has just been accepted by one may be refused by the next. And most of
 * the time that it takes to attach the scheduler is the verifier's.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "host.h"
#include "service.h"
#include "tap.h"

/* The members of kvmgang_ops that are programs. */
#define NR_OPS		18

/*
 * A tenth of the kernel's BPF_COMPLEXITY_LIMIT_INSNS. dispatch() is by far the largest: 7.2 and 7.3
 * look at 37000. What a loop or a branch too many costs is a factor, not a few per cent.
 */
#define LIMIT_INSNS	1000000
#define CEILING_INSNS	(LIMIT_INSNS / 10)

#define PREFIX		"kvmgang_"

static bool look_at(__u32 id)
{
	struct bpf_prog_info info = {};
	__u32 length = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	int err;

	/* Programs of others may go at any time. */
	if (fd < 0)
		return false;
	err = bpf_obj_get_info_by_fd(fd, &info, &length);
	close(fd);
	if (err || strncmp(info.name, PREFIX, strlen(PREFIX)) != 0)
		return false;
	tap_note("%-15s %6u instructions verified", info.name, info.verified_insns);
	EXPECT(info.verified_insns, >, 0);
	EXPECT(info.verified_insns, <=, CEILING_INSNS);
	return true;
}

static void test_complexity(void)
{
	struct service service;
	__u32 id = 0;
	int nr = 0;

	if (access("/sys/kernel/sched_ext", F_OK))
		tap_skip("the kernel has no sched_ext");
	service = service_start(NULL, "--once");
	while (!bpf_prog_get_next_id(id, &id))
		nr += look_at(id);
	EXPECT(errno, ==, ENOENT);
	EXPECT(nr, >=, NR_OPS);
	EXPECT(service_end(&service, SIGTERM), ==, 0);
}

TAP_MAIN({ "the verifier has at most a tenth of its limit to do", test_complexity })
