// SPDX-License-Identifier: GPL-2.0
/*
 * What a scheduler tells the module by the kfuncs: a vCPU that it holds back is in co-stop, or
 * throttled, and not ready; and whatever the scheduler does, the sum of the three is run_delay.
 *
 * The scheduler is hold.bpf.c; that its own decisions make sense is no matter here.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "hold.skel.h"
#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"
#include "witness.h"

static struct hold_bpf *scheduler;
static struct bpf_link *attached;

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	static char text[65536];	/* what the verifier has to say comes last */
	char *line, *rest = text;

	if (level > LIBBPF_WARN)
		return 0;
	vsnprintf(text, sizeof(text), format, args);
	while ((line = strsep(&rest, "\n"))) {
		if (*line)
			tap_note("%s", line);
	}
	return 0;
}

static bool is_enabled(void)
{
	FILE *file = fopen("/sys/kernel/sched_ext/state", "r");
	char state[32] = "";

	if (!file || !fgets(state, sizeof(state), file))
		die("/sys/kernel/sched_ext/state");
	fclose(file);
	return !strcmp(state, "enabled\n");
}

/*
 * Of some builds of 7.2 (7.2.12) the BTF leaves kfuncs the argument that the verifier adds, so that
 * no program can call them; which ones differs from build to build.
 */
static bool can_iterate_dsq(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool can = false;
	int id;

	if (!btf)
		die("the kernel's BTF: %m");
	id = btf__find_by_name_kind(btf, "bpf_iter_scx_dsq_new", BTF_KIND_FUNC);
	if (id > 0)
		can = btf_vlen(btf__type_by_id(btf, btf__type_by_id(btf, id)->type)) == 3;
	btf__free(btf);
	return can;
}

static void attach_scheduler(void)
{
	if (access("/sys/kernel/sched_ext", F_OK))
		tap_skip("the kernel has no sched_ext");
	if (!can_iterate_dsq())
		tap_skip("the kernel's BTF has no bpf_iter_scx_dsq_new() that a program can call");
	if (nr_cpus() < 2)
		tap_skip("needs 2 CPUs");
	libbpf_set_print(print_libbpf);
	scheduler = hold_bpf__open_and_load();
	REQUIRE(scheduler != NULL, ==, true);
	attached = bpf_map__attach_struct_ops(scheduler->maps.hold_ops);
	REQUIRE(attached != NULL, ==, true);
	await(is_enabled());
}

static void detach_scheduler(void)
{
	bpf_link__destroy(attached);
	await(!is_enabled());
}

/* It did all it was asked to and was not thrown out. */
static void check_scheduler(void)
{
	EXPECT(scheduler->bss->nr_hold_errors, ==, 0);
	if (!EXPECT(scheduler->bss->exit_kind, ==, 0))
		tap_note("%s", scheduler->bss->exit_message);
}

static struct vm *start_witnesses(struct witness *witnesses, int nr)
{
	struct vm *vm = vm_new(nr);
	int i;

	pin_thread(0, nth_cpu(0));
	vm_pin(vm, nth_cpu(1));
	for (i = 0; i < nr; i++)
		witness_prepare(&witnesses[i], &vm->vcpus[i]);
	vm_start(vm, guest_io, WITNESS_LOOPS);
	for (i = 0; i < nr; i++)
		witness_begin(&witnesses[i], vm_id_wait(vm));
	for (i = 0; i < nr; i++)
		await(witness_samples(&witnesses[i]) > 0);
	return vm;
}

static void hold(uint32_t vm_id, enum kvmgang_state state)
{
	scheduler->bss->held_vm = vm_id;
	__atomic_store_n(&scheduler->bss->hold_state, state, __ATOMIC_RELEASE);
}

/* See release_parked() for why @cpu, which may be idle, gets a visit. */
static void release(int cpu)
{
	__atomic_store_n(&scheduler->bss->hold_state, 0, __ATOMIC_RELEASE);
	pin_thread(0, cpu);
	pin_thread(0, nth_cpu(0));
}

/* Both wait for the same, whether a sibling has their pCPU or none. */
static void hold_and_release(const struct vm *vm, struct witness *witnesses,
			     enum kvmgang_state state)
{
	uint32_t vm_id = witnesses[0].vm_id;
	struct kvmgang_counters during;
	uint64_t elapsed, samples;
	int i;

	hold(vm_id, state);
	for (i = 0; i < vm->nr_vcpus; i++)
		await(row_read(vm_id, i).state == state);
	/* Its counters are as of the read lag ago; the first ones are to be of the hold, too. */
	sleep_ms(5);
	for (i = 0; i < vm->nr_vcpus; i++) {
		during = row_watch(vm_id, i, 100, &elapsed);
		EXPECT(elapsed, >, 0);
		EXPECT(during.state_ns[state], ==, elapsed);
		EXPECT(during.switches, ==, 0);
	}
	release(vm->vcpus[0].cpu);
	for (i = 0; i < vm->nr_vcpus; i++) {
		samples = witness_samples(&witnesses[i]);
		await(witness_samples(&witnesses[i]) >= samples + 5);
		during = row_watch(vm_id, i, 50, &elapsed);
		EXPECT(during.state_ns[state], ==, 0);
		EXPECT(during.state_ns[KVMGANG_RUN], >, 0);
	}
}

static void test_hold(void)
{
	struct witness witnesses[2] = {};
	struct vm *vm;

	attach_scheduler();
	vm = start_witnesses(witnesses, 2);
	hold_and_release(vm, witnesses, KVMGANG_COSTOP);
	hold_and_release(vm, witnesses, KVMGANG_THROTTLED);
	hold_and_release(vm, witnesses, KVMGANG_COSTOP);
	check_scheduler();
	detach_scheduler();
}

/* What the scheduler of a VM that it holds says is of no concern to another. */
static void test_other_vm(void)
{
	struct witness witnesses[2] = {};
	struct kvmgang_vcpu_row row;
	struct vm *held, *other;

	attach_scheduler();
	held = start_witnesses(&witnesses[0], 1);
	other = start_witnesses(&witnesses[1], 1);
	hold_and_release(held, witnesses, KVMGANG_COSTOP);
	vm_wait_progress(other);
	row = row_read(witnesses[1].vm_id, 0);
	EXPECT(row.count.state_ns[KVMGANG_COSTOP], ==, 0);
	EXPECT(row.count.state_ns[KVMGANG_THROTTLED], ==, 0);
	check_scheduler();
	detach_scheduler();
}

static void test_detach(void)
{
	struct witness witness = {};
	struct kvmgang_counters during;
	uint64_t elapsed, samples;
	struct vm *vm;

	attach_scheduler();
	vm = start_witnesses(&witness, 1);
	hold(witness.vm_id, KVMGANG_COSTOP);
	await(row_read(witness.vm_id, 0).state == KVMGANG_COSTOP);
	sleep_ms(20);
	detach_scheduler();

	vm_wait_progress(vm);
	samples = witness_samples(&witness);
	await(witness_samples(&witness) >= samples + 5);
	during = row_watch(witness.vm_id, 0, 50, &elapsed);
	EXPECT(during.state_ns[KVMGANG_COSTOP], ==, 0);
	EXPECT(during.state_ns[KVMGANG_RUN], >, 0);
}

static void test_refused(void)
{
	struct witness witness = {};
	struct kvmgang_info info;

	attach_scheduler();
	start_witnesses(&witness, 1);
	kvmgang_info(&info);
	EXPECT(scheduler->bss->kfunc_abi, ==, info.out_kfunc_abi);
	await(scheduler->bss->hold_of_no_vcpu && scheduler->bss->hold_of_bad_state);
	EXPECT(scheduler->bss->hold_of_no_vcpu, ==, -ENOENT);
	EXPECT(scheduler->bss->release_of_no_vcpu, ==, -ENOENT);
	EXPECT(scheduler->bss->hold_of_bad_state, ==, -EINVAL);
	/* The scheduler uses the module. */
	EXPECT(module_unload(), ==, EAGAIN);
	detach_scheduler();
}

TAP_MAIN(
	{ "a held vCPU is in co-stop or throttled, and not ready", test_hold },
	{ "a vCPU of another VM is not held", test_other_vm },
	{ "a held vCPU goes on when the scheduler goes", test_detach },
	{ "kfuncs refuse what makes no sense", test_refused },
)
