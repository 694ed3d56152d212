// SPDX-License-Identifier: GPL-2.0
/*
 * Every state for what it is: guests and VMMs are put into a known situation, and it is the state
 * of that name that grows. Also who a row belongs to: threads and VMs that change, go, and come.
 *
 * A share of 90 % where physics says "nearly all" leaves room for the VMM's own work.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"
#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define WATCH_MS	200

/*
 * Watches a vCPU of this process: @state has at least @percent of the time that the host leaves it.
 * A host whose kernel checks itself takes a fifth and more, but it is for the scheduler to say.
 */
static void expect_share(uint32_t vm_id, uint32_t vcpu_id, enum kvmgang_state state, int percent)
{
	pid_t tid = row_read(vm_id, vcpu_id).tid;
	uint64_t delay = schedstat_read(tid).run_delay_ns, elapsed;
	struct kvmgang_counters during;

	during = row_watch(vm_id, vcpu_id, WATCH_MS, &elapsed);
	REQUIRE(elapsed, >, 0);
	/* A wait that has not ended is not in the scheduler's figure. */
	await(row_read(vm_id, vcpu_id).state != KVMGANG_READY);
	delay = schedstat_read(tid).run_delay_ns - delay;
	EXPECT(waited(&during), <=, delay);
	EXPECT(100 * during.state_ns[state], >=, percent * (elapsed - waited(&during)));
}

/* Watches a vCPU that nothing can move: all time goes to @state, to the nanosecond. */
static void expect_only(uint32_t vm_id, uint32_t vcpu_id, enum kvmgang_state state)
{
	struct kvmgang_counters during;
	uint64_t elapsed;

	EXPECT(row_read(vm_id, vcpu_id).state, ==, state);
	during = row_watch(vm_id, vcpu_id, WATCH_MS, &elapsed);
	EXPECT(elapsed, >, 0);
	EXPECT(during.state_ns[state], ==, elapsed);
	EXPECT(during.switches, ==, 0);
}

/*
 * On one pCPU: 6.12 moves threads between run queues that have fallen asleep there but not left,
 * and then counts their sleep as run_delay, and so as steal and ready time (settle_off_cpu()).
 */
static struct vm *start_one(const char *program, uint64_t argument)
{
	struct vm *vm = vm_new(1);

	vm_pin(vm, nth_cpu(nr_cpus() - 1));
	vm_start(vm, program, argument);
	return vm;
}

static void test_run(void)
{
	struct vm *vm;
	uint32_t vm_id;

	if (nr_cpus() < 2)
		tap_skip("needs 2 CPUs");
	pin_thread(0, nth_cpu(0));
	vm = start_one(guest_spin, 0);
	vm_id = vm_id_wait(vm);
	expect_share(vm_id, 0, KVMGANG_RUN, 90);
	EXPECT(row_read(vm_id, 0).state, ==, KVMGANG_RUN);
	EXPECT(row_read(vm_id, 0).tid, ==, vm->vcpus[0].tid);
	EXPECT(row_read(vm_id, 0).cpu, ==, vm->vcpus[0].cpu);
	EXPECT(row_read(vm_id, 0).node, ==, node_of(vm->vcpus[0].cpu));
}

static void test_halted(void)
{
	struct vm *vm = start_one(guest_halt, 0);
	uint32_t vm_id = vm_id_wait(vm);
	uint64_t count;

	/*
	 * 6.12's KVM wakes the vCPUs of a new VM once, 100 ms after the first load, for their
	 * clock.
	 */
	sleep_ms(150);
	await(row_read(vm_id, 0).state == KVMGANG_HALTED);
	expect_only(vm_id, 0, KVMGANG_HALTED);

	count = vcpu_count(&vm->vcpus[0]);
	vcpu_interrupt(&vm->vcpus[0]);
	await(vcpu_count(&vm->vcpus[0]) == count + 1);
	await(row_read(vm_id, 0).state == KVMGANG_HALTED);
	expect_only(vm_id, 0, KVMGANG_HALTED);
}

static void test_halted_by_timer(void)
{
	struct vm *vm = start_one(guest_halt, 20 * NSEC_PER_MSEC);

	expect_share(vm_id_wait(vm), 0, KVMGANG_HALTED, 80);
}

static void sleep_in_vmm(struct vcpu *vcpu)
{
	(void)vcpu;
	sleep_ms(20);
}

static void test_blocked_in_vmm(void)
{
	struct vm *vm = vm_new(1);

	vm_pin(vm, nth_cpu(nr_cpus() - 1));
	vm->vcpus[0].left = sleep_in_vmm;
	vm_start(vm, guest_io, 0);
	expect_share(vm_id_wait(vm), 0, KVMGANG_BLOCKED, 80);
}

/*
 * It sleeps inside KVM_RUN, as it does when it halts, but because its memory is not there:
 * userspace has yet to provide the page.
 */
static void test_blocked_in_kvm(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register missing = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zeropage = {};
	struct vm *vm = start_one(guest_spin, 0);
	uint32_t vm_id = vm_id_wait(vm);
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		tap_skip("no userfaultfd: %m");
	missing.range.start = (uintptr_t)vm->memory + GUEST_SLOTS;
	missing.range.len = 4096;
	REQUIRE(ioctl(uffd, UFFDIO_REGISTER, &missing), ==, 0);
	REQUIRE(madvise(vm->memory + GUEST_SLOTS, 4096, MADV_REMOVE), ==, 0);
	await(row_read(vm_id, 0).state == KVMGANG_BLOCKED);
	expect_only(vm_id, 0, KVMGANG_BLOCKED);

	zeropage.range = missing.range;
	REQUIRE(ioctl(uffd, UFFDIO_ZEROPAGE, &zeropage), ==, 0);
	vm_wait_progress(vm);
	await(row_read(vm_id, 0).state == KVMGANG_RUN);
}

/* What a process of its own, with a VM of its own, tells us. */
struct other {
	uint32_t vm_id;
	pid_t pid;
};

static struct other *start_process(const char *program, int nr_vcpus)
{
	struct other *other;
	uint32_t vm_id;
	pid_t pid;

	other = mmap(NULL, sizeof(*other), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	REQUIRE(other != MAP_FAILED, ==, true);
	pid = fork();
	REQUIRE(pid, >=, 0);
	if (!pid) {
		struct vm *vm;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		vm = vm_new(nr_vcpus);
		vm_pin(vm, nth_cpu(nr_cpus() - 1));
		vm_start(vm, program, 0);
		vm_id = vm_id_wait(vm);
		__atomic_store_n(&other->vm_id, vm_id, __ATOMIC_RELEASE);
		for (;;)
			pause();
	}
	other->pid = pid;
	await(__atomic_load_n(&other->vm_id, __ATOMIC_ACQUIRE) != 0);
	return other;
}

static void stop_and_watch(const char *program, enum kvmgang_state otherwise)
{
	struct other *other = start_process(program, 1);
	int status;

	await(row_read(other->vm_id, 0).state == otherwise);
	kill(other->pid, SIGSTOP);
	REQUIRE(waitpid(other->pid, &status, WUNTRACED), ==, other->pid);
	await(row_read(other->vm_id, 0).state == KVMGANG_BLOCKED);
	expect_only(other->vm_id, 0, KVMGANG_BLOCKED);
	kill(other->pid, SIGCONT);
	await(row_read(other->vm_id, 0).state == otherwise);
	kill(other->pid, SIGKILL);
	waitpid(other->pid, &status, 0);
}

static void test_stopped_process(void)
{
	stop_and_watch(guest_spin, KVMGANG_RUN);
	/* Its guest is idle, but that is no longer why it sleeps. */
	stop_and_watch(guest_halt, KVMGANG_HALTED);
}

static void test_killed_process(void)
{
	struct other *other = start_process(guest_spin, 3);

	EXPECT(vm_exists(other->vm_id), ==, true);
	kill(other->pid, SIGKILL);
	waitpid(other->pid, NULL, 0);
	await(!vm_exists(other->vm_id));
}

static void test_no_thread(void)
{
	struct vm *vm = start_one(guest_spin, 0);
	uint32_t vm_id = vm_id_wait(vm);
	struct kvmgang_vcpu_row before, after;
	pid_t first_tid = vm->vcpus[0].tid;

	vm_stop(vm);
	await(!row_read(vm_id, 0).tid);
	before = row_read(vm_id, 0);
	expect_only(vm_id, 0, KVMGANG_BLOCKED);

	vm_continue(vm);
	vm_wait_progress(vm);
	EXPECT(vm_id_wait(vm), ==, vm_id);
	await(row_read(vm_id, 0).count.state_ns[KVMGANG_RUN] > before.count.state_ns[KVMGANG_RUN]);
	after = row_read(vm_id, 0);
	row_check_order(&before, &after);
	EXPECT(after.tid, ==, vm->vcpus[0].tid);
	EXPECT(after.tid, !=, first_tid);
}

/* All vCPUs of a process that serves several VMs are told apart. */
static void test_several_vms(void)
{
	struct vm *vms[3];
	uint32_t ids[3];
	struct snap snap = {};
	const struct kvmgang_vm_row *row;
	int i;

	for (i = 0; i < 3; i++) {
		vms[i] = vm_new(i + 1);
		vm_start(vms[i], guest_halt, 0);
		ids[i] = vm_id_wait(vms[i]);
	}
	EXPECT(ids[0], !=, ids[1]);
	EXPECT(ids[0], !=, ids[2]);
	EXPECT(ids[1], !=, ids[2]);
	snap_read(&snap, ALL_VMS);
	snap_check(&snap);
	for (i = 0; i < 3; i++) {
		row = snap_vm(&snap, ids[i]);
		REQUIRE(!!row, ==, true);
		EXPECT(row->nr_vcpus, ==, i + 1);
		EXPECT(row->pid, ==, getpid());
		EXPECT(row->home_nodes, !=, 0);
	}
}

/*
 * One thread that enters two vCPUs in turn. At any time it serves the one that it entered last; the
 * other is served by none.
 */
static void test_shared_thread(void)
{
	struct vm *vm = vm_new(2);
	struct vcpu *vcpus = vm->vcpus;
	struct kvmgang_vcpu_row rows[2], first[2];
	uint32_t vm_id;
	int i, turn;

	for (i = 0; i < 2; i++)
		vcpu_load(&vcpus[i], guest_io, 10000);
	/* The library looks vCPUs up by their threads, and both have this one now. */
	vcpus[0].tid = gettid();
	vcpu_enter(&vcpus[0]);
	vm_id = vm_id_wait(vm);
	vcpu_enter(&vcpus[1]);

	for (i = 0; i < 2; i++)
		first[i] = row_read(vm_id, i);
	for (turn = 0; turn < 50; turn++) {
		int now = turn % 2, other = !now;

		vcpu_enter(&vcpus[now]);
		rows[now] = row_read(vm_id, now);
		rows[other] = row_read(vm_id, other);
		EXPECT(rows[now].tid, ==, gettid());
		EXPECT(rows[now].state, ==, KVMGANG_RUN);
		EXPECT(rows[other].tid, ==, 0);
		EXPECT(rows[other].state, ==, KVMGANG_BLOCKED);
	}
	for (i = 0; i < 2; i++) {
		row_check_order(&first[i], &rows[i]);
		rows[i].count = row_since(&rows[i], &first[i]);
		EXPECT(rows[i].count.state_ns[KVMGANG_RUN], >, 0);
	}
	/* One thread cannot have run for longer than the time that passed. */
	EXPECT(rows[0].count.state_ns[KVMGANG_RUN] + rows[1].count.state_ns[KVMGANG_RUN], <=,
	       (rows[0].now_ns > rows[1].now_ns ? rows[0].now_ns : rows[1].now_ns) -
	       (first[0].now_ns < first[1].now_ns ? first[0].now_ns : first[1].now_ns));
	vcpus[0].tid = 0;
}

static void spin_in_vmm(struct vcpu *vcpu)
{
	while (!__atomic_load_n(&vcpu->stop, __ATOMIC_RELAXED))
		asm volatile("pause" : : : "memory");
}

/*
 * Another thread enters the vCPU while its own, out of KVM_RUN, waits for a pCPU. The wait was the
 * vCPU's, and ends there like any other: the row says because of whom it was.
 */
static void test_taken_over(void)
{
	struct vm *vm = vm_new(1);
	struct kvmgang_vcpu_row before, row;
	struct kvmgang_counters during;
	struct hog hog;
	uint32_t vm_id;

	if (nr_cpus() < 2)
		tap_skip("needs 2 CPUs");
	pin_thread(0, nth_cpu(0));
	vm_pin(vm, nth_cpu(1));
	vm->vcpus[0].left = spin_in_vmm;
	vm_start(vm, guest_io, 0);
	vm_id = vm_id_wait(vm);
	before = row_read(vm_id, 0);
	hog_start(&hog, nth_cpu(1), true);
	await(row_read(vm_id, 0).state == KVMGANG_READY);
	sleep_ms(20);

	vcpu_enter(&vm->vcpus[0]);
	row = row_read(vm_id, 0);
	hog_stop(&hog);
	EXPECT(row.tid, ==, gettid());
	EXPECT(row.state, ==, KVMGANG_RUN);
	during = row_since(&row, &before);
	EXPECT(during.state_ns[KVMGANG_READY], >=, 10 * NSEC_PER_MSEC);
	/* A kernel thread may have been first, and all are what the first one was. */
	EXPECT(100 * (during.displaced_ns[KVMGANG_BY_HOST] +
		      during.displaced_ns[KVMGANG_BY_KTHREAD]), >=,
	       90 * during.state_ns[KVMGANG_READY]);
}

/* The kernel gives a new VM the memory of one that went; its id is new all the same. */
static void test_destroyed_vm(void)
{
	uint32_t last_id = 0, vm_id;
	struct vm *vm;
	int i;

	for (i = 0; i < 10; i++) {
		vm = start_one(guest_spin, 0);
		vm_id = vm_id_wait(vm);
		EXPECT(vm_id, >, last_id);
		last_id = vm_id;
		vm_free(vm);
		await(!vm_exists(vm_id));
	}
}

/*
 * The module is loaded under guests that run: it finds a vCPU when that next enters the guest,
 * which for one that sleeps is when it wakes up.
 */
static void test_late_module(void)
{
	struct vm *spin, *halt;
	uint32_t vm_id;

	REQUIRE(module_unload(), ==, 0);
	spin = start_one(guest_spin, 0);
	halt = start_one(guest_halt, 0);
	/* It counts itself just before it falls asleep; give it the time. */
	sleep_ms(50);
	REQUIRE(module_load(), ==, 0);

	vm_id = vm_id_wait(spin);
	EXPECT(row_read(vm_id, 0).tid, ==, spin->vcpus[0].tid);
	EXPECT(vm_id_of(halt), ==, 0);
	vcpu_interrupt(&halt->vcpus[0]);
	vm_id = vm_id_wait(halt);
	await(row_read(vm_id, 0).state == KVMGANG_HALTED);
	expect_only(vm_id, 0, KVMGANG_HALTED);
}

TAP_MAIN(
	{ "a guest that spins runs", test_run },
	{ "a guest that sleeps is halted, and only that", test_halted },
	{ "a guest that wakes up by its timer is mostly halted", test_halted_by_timer },
	{ "a vCPU whose VMM sleeps is blocked", test_blocked_in_vmm },
	{ "a vCPU whose memory is missing is blocked", test_blocked_in_kvm },
	{ "a vCPU whose process is stopped is blocked", test_stopped_process },
	{ "a killed process leaves no VM", test_killed_process },
	{ "a vCPU without thread is blocked, and goes on with another", test_no_thread },
	{ "a thread that serves two vCPUs serves the one it entered last", test_shared_thread },
	{ "a vCPU taken over from a thread that waits has waited", test_taken_over },
	{ "several VMs of a process are told apart", test_several_vms },
	{ "a destroyed VM goes and its id is not used again", test_destroyed_vm },
	{ "guests that started before the module are found", test_late_module },
)
