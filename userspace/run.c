// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang run: loads the scheduler, holds it, and says why it left. As long as this process lives
 * every task of the host is scheduled by it; when it ends, however it ends, all of them are back
 * with the kernel's own scheduler, and guests run on.
 *
 * It comes back after an error of its own, but not for ever, and after the kernel asked for that;
 * it does not when the operator threw it out or somebody else's scheduler has taken its place.
 *
 * What is scheduled how is no matter here: sched_ext/scx_kvmgang.bpf.c. There is nothing that could
 * be configured, hence nothing to be reloaded: SIGHUP stops it, as it does any program whose
 * terminal is gone.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kmod/kfunc.h"
#include "sched_ext/interface.h"

#include "command.h"
#include "device.h"
#include "notify.h"
#include "scheduler.h"
#include "scx_kvmgang.skel.h"

/*
 * It comes back after so many faults, 1, 2 and 4 s after each; one more within the time below, and
 * there is something that coming back does not cure. Between two faults of a scheduler that cannot
 * get on at all lies at least the kernel's watchdog, so they are seen as one series.
 */
#define MAX_FAULTS		3
#define FORGET_FAULTS_MS	(10 * 60 * 1000)
#define FIRST_DELAY_MS		1000

/* After hotplug: CPUs mostly come and go several at a time. It is no fault, and is not counted. */
#define RESTART_DELAY_MS	1000

/* For a scheduler that is on its way out: the kernel walks all tasks, more than once. */
#define DETACH_POLL_MS		100
#define MAX_DETACH_POLLS	300

/* The kernel's watchdog in tests that provoke it. 7.3 warns of less than 4096. */
#define STALL_TIMEOUT_MS	5000

enum news { NEWS_NONE, NEWS_STOP, NEWS_LEFT };

struct run {
	int signals;
	int watchdog_ms;
	enum fault fault;
	struct scx_kvmgang *scheduler;
	struct bpf_link *link;
	struct ring_buffer *exits;
	bool left;
	struct sched_exit exit;		/* if it has @left */
	long long faults_ms[MAX_FAULTS]; /* when the last ones were; 0: not yet */
};

static bool verbose;
static char first_warning[256];

/* Without --verbose nobody wants the verifier's thousand lines; the first one says what failed. */
__attribute__((format(printf, 2, 0)))
static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (verbose)
		return level <= LIBBPF_INFO ? vfprintf(stderr, format, args) : 0;
	if (level == LIBBPF_WARN && !*first_warning) {
		vsnprintf(first_warning, sizeof(first_warning), format, args);
		first_warning[strcspn(first_warning, "\n")] = '\0';
	}
	return 0;
}

__attribute__((noreturn)) static void load_failed(int error)
{
	static const char prefix[] = "libbpf: ";
	const char *what = first_warning;

	if (!strncmp(what, prefix, sizeof(prefix) - 1))
		what += sizeof(prefix) - 1;
	errx(STATUS_FAILED, "scheduler: cannot be loaded: %s%s", *what ? what : strerror(error),
	     verbose ? "" : " (--verbose tells more)");
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The kernel wants CAP_BPF and CAP_PERFMON, and for the module's BTF this one; it covers them. */
static void check_privilege(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data))
		err(STATUS_FAILED, "capget");
	if (!(data[0].effective & 1u << CAP_SYS_ADMIN))
		errx(STATUS_FAILED, "scheduler: permission denied (root, or CAP_SYS_ADMIN)");
}

static void check_kernel(void)
{
	struct scheduler scheduler;

	scheduler_read(&scheduler);
	if (!*scheduler.state)
		errx(STATUS_FAILED,
		     "scheduler: this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT)");
}

static void check_module(void)
{
	struct kvmgang_info info;
	int fd = device_open();

	device_info(fd, &info);
	close(fd);
	if (info.out_kfunc_abi != KVMGANG_KFUNC_ABI)
		errx(STATUS_FAILED, "scheduler: kfunc ABI of the module is %u: must be %u",
		     info.out_kfunc_abi, KVMGANG_KFUNC_ABI);
}

static int take_exit(void *data, void *record, size_t size)
{
	struct run *run = data;

	if (size < sizeof(run->exit))
		errx(STATUS_FAILED, "scheduler: a record of %zu bytes", size);
	memcpy(&run->exit, record, sizeof(run->exit));
	run->left = true;
	return 0;
}

static void look_for_exit(struct run *run)
{
	int error = ring_buffer__consume(run->exits);

	if (error < 0)
		errx(STATUS_FAILED, "scheduler: ring buffer: %s", strerror(-error));
}

/* Waits at most @ms, -1: for ever. Whoever asks to stop comes first. */
static enum news wait_for_news(struct run *run, int ms)
{
	long long end = now_ms() + ms;

	for (;;) {
		struct pollfd fds[] = {
			{ .fd = run->signals, .events = POLLIN },
			{ .fd = run->exits ? ring_buffer__epoll_fd(run->exits) : -1,
			  .events = POLLIN },
		};
		int left = ms < 0 ? -1 : (int)(end - now_ms());
		int timeout = run->watchdog_ms;

		if (run->watchdog_ms > 0)
			notify("WATCHDOG=1");
		if (ms >= 0 && left <= 0)
			return NEWS_NONE;
		if (timeout < 0 || (left > 0 && left < timeout))
			timeout = left;
		if (poll(fds, sizeof(fds) / sizeof(fds[0]), timeout) < 0 && errno != EINTR)
			err(STATUS_FAILED, "poll");
		if (fds[0].revents)
			return NEWS_STOP;
		if (fds[1].revents)
			look_for_exit(run);
		if (run->left)
			return NEWS_LEFT;
	}
}

/* Only one scheduler can be attached. One that has just been killed may not be gone yet. */
static enum news check_rivals(struct run *run)
{
	struct scheduler scheduler;

	for (int polls = 0; polls < MAX_DETACH_POLLS; polls++) {
		scheduler_read(&scheduler);
		if (!strcmp(scheduler.state, "disabled"))
			return NEWS_NONE;
		if (!strcmp(scheduler.state, "enabling"))
			errx(STATUS_FAILED, "scheduler: another one is just being attached");
		if (strcmp(scheduler.state, "disabling") != 0)
			errx(STATUS_FAILED, "scheduler: '%s' is attached, and only one can be",
			     scheduler.name);
		if (wait_for_news(run, DETACH_POLL_MS) == NEWS_STOP)
			return NEWS_STOP;
	}
	errx(STATUS_FAILED, "scheduler: '%s' is being detached and does not come to an end",
	     scheduler.name);
}

static void load(struct run *run)
{
	*first_warning = '\0';
	run->scheduler = scx_kvmgang__open();
	if (!run->scheduler)
		load_failed(errno);
	run->scheduler->rodata->fault = run->fault;
	if (run->fault == FAULT_STALL)
		run->scheduler->struct_ops.kvmgang_ops->timeout_ms = STALL_TIMEOUT_MS;
	if (scx_kvmgang__load(run->scheduler))
		load_failed(errno);
	run->exits = ring_buffer__new(bpf_map__fd(run->scheduler->maps.exits), take_exit, run,
				      NULL);
	if (!run->exits)
		load_failed(errno);
}

/*
 * From here on it schedules, unless it has left already: the kernel reports a scheduler that could
 * not start as one that was attached and left.
 */
static enum news attach(struct run *run)
{
	run->left = false;
	check_module();
	if (check_rivals(run) == NEWS_STOP)
		return NEWS_STOP;
	load(run);
	run->link = bpf_map__attach_struct_ops(run->scheduler->maps.kvmgang_ops);
	if (!run->link && errno == EBUSY)
		check_rivals(run);
	if (!run->link)
		load_failed(errno);
	look_for_exit(run);
	return run->left ? NEWS_LEFT : NEWS_NONE;
}

/* When this returns all tasks are back with the kernel's own scheduler. */
static void detach(struct run *run)
{
	bpf_link__destroy(run->link);
	ring_buffer__free(run->exits);
	scx_kvmgang__destroy(run->scheduler);
	run->link = NULL;
	run->exits = NULL;
	run->scheduler = NULL;
}

static const char *exit_words(const struct sched_exit *exit)
{
	static char words[sizeof(exit->reason) + sizeof(exit->message) + 4];

	snprintf(words, sizeof(words), "%s%s%s", exit->reason, *exit->message ? ": " : "",
		 exit->message);
	words[strcspn(words, "\n")] = '\0';
	return words;
}

/* It has left for good. */
__attribute__((noreturn)) static void give_up(const struct run *run, const char *why)
{
	const char *words = exit_words(&run->exit);

	notify("STOPPING=1\nSTATUS=scheduler left: %s; %s", words, why);
	errx(STATUS_FAILED, "scheduler left: %s; %s", words, why);
}

/* Remembers a fault; the time to wait after it, or -1: it was one too many. */
static int delay_after_fault(struct run *run)
{
	long long now = now_ms();
	int recent = 0;

	for (int i = 0; i < MAX_FAULTS; i++)
		recent += run->faults_ms[i] && now - run->faults_ms[i] < FORGET_FAULTS_MS;
	if (recent == MAX_FAULTS)
		return -1;
	memmove(&run->faults_ms[1], &run->faults_ms[0],
		sizeof(run->faults_ms[0]) * (MAX_FAULTS - 1));
	run->faults_ms[0] = now;
	return FIRST_DELAY_MS << recent;
}

/* Returns the time to wait before it is attached again, or does not return. */
static int come_back_after(struct run *run, bool once)
{
	int delay;

	switch (run->exit.why) {
	case EXIT_DETACHED:
		give_up(run, "somebody else wanted that");
	case EXIT_OPERATOR:
		give_up(run, "the operator wanted that");
	default:
		break;
	}
	if (once)
		give_up(run, "not attached again because of --once");
	if (run->exit.why == EXIT_RESTART)
		return RESTART_DELAY_MS;
	delay = delay_after_fault(run);
	if (delay < 0)
		give_up(run, "too many faults in 10 minutes");
	return delay;
}

static enum news wait_before_return(struct run *run, bool once)
{
	int delay = come_back_after(run, once);
	const char *words = exit_words(&run->exit);

	notify("STATUS=scheduler left: %s; attaching again", words);
	warnx("scheduler left: %s; attaching again in %d s", words, delay / 1000);
	run->left = false;
	return wait_for_news(run, delay);
}

/* Holds the scheduler until somebody wants this to stop. */
static void hold(struct run *run, bool once)
{
	enum news news;
	bool first = true;

	while ((news = attach(run)) != NEWS_STOP) {
		if (news == NEWS_LEFT && first)
			give_up(run, "it could not start");
		if (news == NEWS_NONE) {
			puts("kvmgang: scheduler attached");
			fflush(stdout);
			notify("READY=1\nSTATUS=scheduler attached");
			first = false;
			news = wait_for_news(run, -1);
		}
		if (news == NEWS_STOP)
			break;
		detach(run);
		if (wait_before_return(run, once) == NEWS_STOP)
			break;
	}
	notify("STOPPING=1\nSTATUS=detaching the scheduler");
	if (run->link)
		puts("kvmgang: detaching the scheduler");
	detach(run);
}

/* Before anything that can fail with half a scheduler attached. */
static int open_signals(void)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* That nobody reads the log any more is no reason to stop scheduling. */
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (fd < 0)
		err(STATUS_FAILED, "signalfd");
	return fd;
}

/* Not for users: see enum fault. */
static enum fault fault_wanted(void)
{
	const char *name = getenv("KVMGANG_FAULT");

	if (!name)
		return FAULT_NONE;
	if (!strcmp(name, "error"))
		return FAULT_ERROR;
	if (!strcmp(name, "stall"))
		return FAULT_STALL;
	if (!strcmp(name, "abi"))
		return FAULT_ABI;
	errx(STATUS_USAGE, "KVMGANG_FAULT '%s': must be error, stall or abi", name);
}

int command_run(const struct options *options)
{
	struct run run = { .fault = fault_wanted() };

	verbose = options->verbose;
	libbpf_set_print(print_libbpf);
	check_kernel();
	check_privilege();
	run.watchdog_ms = notify_watchdog_ms();
	run.signals = open_signals();
	hold(&run, options->once);
	close(run.signals);
	return STATUS_OK;
}
