// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 5, the scheduler's part: it comes and goes under running guests, by order or by mishap,
 * and whatever ends it, every guest goes on, the module's accounting is exact, the command says
 * why, and the next scheduler attaches at once.
 *
 * Mishaps are real: the scheduler is built to fail for a thread of a certain name if KVMGANG_FAULT
 * asks for that. What is scheduled how is for test_gang.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "kmod/kfunc.h"
#include "sched_ext/interface.h"

#include "hold.skel.h"
#include "host.h"
#include "service.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"
#include "witness.h"

/* The command says that it is alive twice as often, which is many times in any test. */
#define WATCHDOG_USEC	"100000"

struct guests {
	struct witness witness;
	struct vm *watched, *rival, *sleeper;
};

/*
 * All on the second CPU, so that attaching has the first one: two vCPUs that want all of it, and
 * two that wake up every 2 ms.
 */
static void guests_start(struct guests *guests)
{
	if (access("/sys/kernel/sched_ext", F_OK))
		tap_skip("the kernel has no sched_ext");
	if (nr_cpus() < 2)
		tap_skip("needs 2 CPUs");
	*guests = (struct guests){
		.watched = vm_new(1), .rival = vm_new(1), .sleeper = vm_new(2),
	};
	pin_thread(0, nth_cpu(0));
	vm_pin(guests->watched, nth_cpu(1));
	vm_pin(guests->rival, nth_cpu(1));
	vm_pin(guests->sleeper, nth_cpu(1));
	witness_prepare(&guests->witness, &guests->watched->vcpus[0]);
	vm_start(guests->watched, guest_io, WITNESS_LOOPS);
	vm_start(guests->rival, guest_spin, 0);
	vm_start(guests->sleeper, guest_halt, 2 * NSEC_PER_MSEC);
	witness_begin(&guests->witness, vm_id_wait(guests->watched));
	await(witness_samples(&guests->witness) > 0);
}

/* Each gets on, and its account is exact: the witness compares it with run_delay. */
static void guests_check(const struct guests *guests)
{
	uint64_t samples = witness_samples(&guests->witness);
	struct snap snap = {};

	vm_wait_progress(guests->watched);
	vm_wait_progress(guests->rival);
	vm_wait_progress(guests->sleeper);
	await(witness_samples(&guests->witness) >= samples + 5);
	snap_read(&snap, ALL_VMS);
	snap_check(&snap);
	snap_free(&snap);
}

/* It fails with one line, which has @text in it. */
static void expect_refused(const char *fault, const char *text)
{
	struct service service = command_start(fault, "run", NULL);
	const char *end;

	EXPECT(service_wait(&service), ==, 1);
	expect_said(&service, text);
	end = strchr(service.said, '\n');
	if (!EXPECT(end && !end[1], ==, true))
		tap_note("%s", service.said);
}

static void expect_attaches(const struct guests *guests)
{
	struct service service = service_start(NULL, NULL);

	guests_check(guests);
	EXPECT(service_end(&service, SIGTERM), ==, 0);
	EXPECT(scheduler_is("disabled"), ==, true);
	guests_check(guests);
}

static void *faulty_thread(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, FAULTY_COMM);
	sleep_ms(1);
	return NULL;
}

static void fault_start(pthread_t *thread)
{
	if (pthread_create(thread, NULL, faulty_thread, NULL))
		die("pthread_create");
}

static void test_run(void)
{
	struct service service, status;
	struct guests guests;
	int i;

	guests_start(&guests);
	setenv("WATCHDOG_USEC", WATCHDOG_USEC, 1);
	service = service_start(NULL, NULL);
	guests_check(&guests);
	for (i = 0; i < 3; i++)
		service_await(&service, "WATCHDOG=1");
	status = command_start(NULL, "status", "--json");
	EXPECT(service_wait(&status), ==, 0);
	expect_said(&status, "\"scheduler\":\"kvmgang\"");
	expect_said(&status, "\"nodes\":[{\"node\":0,\"windows\":");
	expect_refused(NULL, "scheduler: 'kvmgang' is attached, and only one can be");
	EXPECT(module_unload(), ==, EAGAIN);
	EXPECT(service_end(&service, SIGTERM), ==, 0);
	EXPECT(scheduler_is("disabled"), ==, true);
	guests_check(&guests);
	status = command_start(NULL, "status", "--json");
	EXPECT(service_wait(&status), ==, 0);
	expect_said(&status, "\"scheduler_age_ns\":null,\"nodes\":null");
}

static void test_refused(void)
{
	struct bpf_link *link;
	struct hold *other;
	char abi[80];

	if (access("/sys/kernel/sched_ext", F_OK))
		tap_skip("the kernel has no sched_ext");
	other = hold__open_and_load();
	REQUIRE(!!other, ==, true);
	link = bpf_map__attach_struct_ops(other->maps.hold_ops);
	REQUIRE(!!link, ==, true);
	expect_refused(NULL, "scheduler: 'hold' is attached, and only one can be");
	bpf_link__destroy(link);
	hold__destroy(other);
	snprintf(abi, sizeof(abi), "kfunc ABI of the module is %d: must be %d; it could not start",
		 KVMGANG_KFUNC_ABI + 1, KVMGANG_KFUNC_ABI);
	expect_refused("abi", abi);
	/* The programs that hold it are freed some time after the process that loaded them. */
	await(!module_unload());
	expect_refused(NULL, "/dev/kvmgang: module kvmgang is not loaded (insmod kvmgang.ko)");
	REQUIRE(module_load(), ==, 0);
}

static void test_kill(void)
{
	struct service service;
	struct guests guests;

	guests_start(&guests);
	service = service_start(NULL, NULL);
	guests_check(&guests);
	EXPECT(service_end(&service, SIGKILL), ==, -SIGKILL);
	expect_attaches(&guests);
}

static void test_sysrq(void)
{
	struct service service;
	struct guests guests;
	int fd;

	guests_start(&guests);
	service = service_start(NULL, NULL);
	fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "S", 1) != 1)
		die("sysrq: %m");
	close(fd);
	EXPECT(service_wait(&service), ==, 1);
	expect_said(&service, "scheduler left: disabled by sysrq-S; the operator wanted that");
	guests_check(&guests);
	expect_attaches(&guests);
}

/* It comes back three times, and then it does not. */
static void test_error(void)
{
	struct service service;
	struct guests guests;
	pthread_t thread;
	int i;

	guests_start(&guests);
	service = service_start("error", NULL);
	for (i = 0; i < 3; i++) {
		fault_start(&thread);
		service_await(&service,
			      "STATUS=scheduler left: scx_bpf_error: fault wanted for thread");
		pthread_join(thread, NULL);
		guests_check(&guests);
		service_await(&service, "READY=1");
		guests_check(&guests);
	}
	fault_start(&thread);
	EXPECT(service_wait(&service), ==, 1);
	pthread_join(thread, NULL);
	expect_said(&service, "; attaching again in 1 s\n");
	expect_said(&service, "; attaching again in 2 s\n");
	expect_said(&service, "; attaching again in 4 s\n");
	expect_said(&service, "; too many faults in 10 minutes\n");
	guests_check(&guests);
}

static void test_stall(void)
{
	struct service service;
	struct guests guests;
	pthread_t thread;

	guests_start(&guests);
	/* Nobody reads that; the command has to come to its end all the same. */
	setenv("WATCHDOG_USEC", WATCHDOG_USEC, 1);
	service = service_start("stall", "--once");
	fault_start(&thread);
	EXPECT(service_wait(&service), ==, 1);
	pthread_join(thread, NULL);
	expect_said(&service, "scheduler left: runnable task stall: " FAULTY_COMM "[");
	expect_said(&service, "; not attached again because of --once\n");
	guests_check(&guests);
	expect_attaches(&guests);
}

TAP_MAIN(
	{ "attached, told of, and detached by SIGTERM", test_run },
	{ "refused in one line", test_refused },
	{ "killed by SIGKILL", test_kill },
	{ "thrown out by sysrq-S", test_sysrq },
	{ "an error, until there are too many", test_error },
	{ "a stalled task", test_stall },
)
