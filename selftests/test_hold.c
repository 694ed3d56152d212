// SPDX-License-Identifier: GPL-2.0
/*
 * What a scheduler tells the module by the kfuncs: a vCPU that it holds back is in co-stop, or
 * throttled, and not ready; and whatever the scheduler does, the sum of the three is run_delay. And
 * what it is told: the settings of a VM, with what the scheduler itself said about it.
 *
 * The scheduler is hold.bpf.c; that its own decisions make sense is no matter here.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hold.skel.h"
#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"
#include "witness.h"

static struct hold *scheduler;
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
	scheduler = hold__open_and_load();
	REQUIRE(!!scheduler, ==, true);
	attached = bpf_map__attach_struct_ops(scheduler->maps.hold_ops);
	REQUIRE(!!attached, ==, true);
	await(scheduler_is("enabled"));
}

/* The kernel frees the programs, which hold the module, some time after the last user is gone. */
static void detach_scheduler(void)
{
	bpf_link__destroy(attached);
	await(!scheduler_is("enabled"));
	hold__destroy(scheduler);
	await(read_number("/sys/module/kvmgang/refcnt") == 0);
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

static struct kvmgang_policy change(struct kvmgang_policy policy)
{
	int device = open(KVMGANG_DEVICE, O_RDWR | O_CLOEXEC);

	policy.size = sizeof(policy);
	if (device < 0 || ioctl(device, KVMGANG_SET_POLICY, &policy))
		die("KVMGANG_SET_POLICY: %m");
	policy.set = 0;
	policy.reset = 0;
	if (ioctl(device, KVMGANG_GET_POLICY, &policy))
		die("KVMGANG_GET_POLICY: %m");
	close(device);
	return policy;
}

/* What the scheduler has asked for after now; two, because one may be under way. */
static void await_answer(void)
{
	const uint32_t *asked = &scheduler->bss->nr_asked;
	uint32_t before = __atomic_load_n(asked, __ATOMIC_RELAXED);

	await(__atomic_load_n(asked, __ATOMIC_ACQUIRE) - before > 2 * (uint32_t)nr_cpus());
}

static void tell(uint64_t nodes, uint32_t key, uint64_t value)
{
	uint32_t before = scheduler->bss->nr_told;

	scheduler->bss->told_nodes = nodes;
	scheduler->bss->told_key = key;
	scheduler->bss->told_value = value;
	__atomic_store_n(&scheduler->bss->tell, 1, __ATOMIC_RELEASE);
	await(__atomic_load_n(&scheduler->bss->nr_told, __ATOMIC_ACQUIRE) != before);
	await_answer();
}

static void test_asked(void)
{
	struct witness witness = {};
	struct kvmgang_policy policy = {
		.set = 1 << KVMGANG_KEY_SHARES | 1 << KVMGANG_KEY_GANG |
		       1 << KVMGANG_KEY_COSTOP_US | 1 << KVMGANG_KEY_COSTART_US |
		       1 << KVMGANG_KEY_LIMIT | 1 << KVMGANG_KEY_RESERVATION |
		       1 << KVMGANG_KEY_LATENCY | 1 << KVMGANG_KEY_READY_TARGET |
		       1 << KVMGANG_KEY_ISOLATION,
		.setting = {
			[KVMGANG_KEY_SHARES] = { .value = 77 },
			[KVMGANG_KEY_GANG] = { .value = KVMGANG_GANG_STRICT },
			[KVMGANG_KEY_COSTOP_US] = { .value = 5000 },
			[KVMGANG_KEY_COSTART_US] = { .value = 4000 },
			[KVMGANG_KEY_LIMIT] = { .value = 1500 },
			[KVMGANG_KEY_RESERVATION] = { .value = 250 },
			[KVMGANG_KEY_LATENCY] = { .value = KVMGANG_LATENCY_SENSITIVE },
			[KVMGANG_KEY_READY_TARGET] = { .value = 50 },
			[KVMGANG_KEY_ISOLATION] = { .value = KVMGANG_ISOLATION_CORE },
		},
	};

	attach_scheduler();
	start_witnesses(&witness, 1);
	scheduler->bss->asked_vm = witness.vm_id;
	await_answer();
	EXPECT(scheduler->bss->policy_result, ==, 0);
	EXPECT(scheduler->bss->policy_of_bad_size, ==, -EINVAL);
	EXPECT(scheduler->bss->policy.shares, ==, 100);
	EXPECT(scheduler->bss->policy.gang, ==, KVMGANG_GANG_AUTO);
	EXPECT(scheduler->bss->policy.limit, ==, 0);
	EXPECT(scheduler->bss->policy.reservation, ==, 0);
	EXPECT(scheduler->bss->policy.latency, ==, KVMGANG_LATENCY_NORMAL);
	EXPECT(scheduler->bss->policy.ready_target, ==, 0);
	EXPECT(scheduler->bss->policy.isolation, ==, KVMGANG_ISOLATION_NONE);
	EXPECT(scheduler->bss->policy.home_nodes, ==, 0);
	EXPECT(scheduler->bss->policy.home, ==, 1ULL << node_of(nth_cpu(1)));

	policy.vm_id = witness.vm_id;
	policy = change(policy);
	await_answer();
	EXPECT(scheduler->bss->policy.shares, ==, 77);
	EXPECT(scheduler->bss->policy.gang, ==, KVMGANG_GANG_STRICT);
	EXPECT(scheduler->bss->policy.costop_us, ==, 5000);
	EXPECT(scheduler->bss->policy.costart_us, ==, 4000);
	EXPECT(scheduler->bss->policy.limit, ==, 1500);
	EXPECT(scheduler->bss->policy.reservation, ==, 250);
	EXPECT(scheduler->bss->policy.latency, ==, KVMGANG_LATENCY_SENSITIVE);
	EXPECT(scheduler->bss->policy.ready_target, ==, 50);
	EXPECT(scheduler->bss->policy.isolation, ==, KVMGANG_ISOLATION_CORE);
	EXPECT(scheduler->bss->policy.generation, ==, policy.out_generation);
	EXPECT(scheduler->bss->policy_generation, ==, policy.out_generation);

	scheduler->bss->asked_vm = 0xffffffff;
	await_answer();
	EXPECT(scheduler->bss->policy_result, ==, -ENOENT);
	check_scheduler();
	detach_scheduler();
}

static void expect_shares(uint32_t vm_id, uint64_t shares, enum kvmgang_origin origin)
{
	struct kvmgang_policy policy = change((struct kvmgang_policy){ .vm_id = vm_id });

	EXPECT(scheduler->bss->policy.shares, ==, shares);
	EXPECT(policy.setting[KVMGANG_KEY_SHARES].value, ==, shares);
	EXPECT(policy.setting[KVMGANG_KEY_SHARES].out_origin, ==, origin);
}

static void test_told(void)
{
	/* On a host with one node there is no other home, and less to see. */
	uint64_t first = 1ULL << node_of(nth_cpu(0));
	uint64_t other = 1ULL << node_of(nth_cpu(nr_cpus() - 1));
	struct kvmgang_policy policy = {
		.set = 1 << KVMGANG_KEY_SHARES | 1 << KVMGANG_KEY_HOME_NODES,
		.setting[KVMGANG_KEY_SHARES].value = 9,
	};
	struct witness witness = {};
	uint32_t vm_id;

	attach_scheduler();
	start_witnesses(&witness, 1);
	vm_id = witness.vm_id;
	scheduler->bss->asked_vm = vm_id;
	tell(other, KVMGANG_KEY_SHARES, 333);
	EXPECT(scheduler->bss->set_home_result, ==, 0);
	EXPECT(scheduler->bss->set_cgroup_result, ==, 0);
	EXPECT(scheduler->bss->policy.home, ==, other);
	EXPECT(scheduler->bss->policy.home_nodes, ==, 0);
	expect_shares(vm_id, 333, KVMGANG_ORIGIN_CGROUP);

	/* The user's word goes before. */
	policy.vm_id = vm_id;
	policy.setting[KVMGANG_KEY_HOME_NODES].value = first;
	change(policy);
	tell(other, KVMGANG_KEY_SHARES, 444);
	EXPECT(scheduler->bss->policy.home, ==, first);
	EXPECT(scheduler->bss->policy.home_nodes, ==, first);
	expect_shares(vm_id, 9, KVMGANG_ORIGIN_USER);
	policy.reset = policy.set;
	policy.set = 0;
	change(policy);
	await_answer();
	EXPECT(scheduler->bss->policy.home, ==, other);
	expect_shares(vm_id, 444, KVMGANG_ORIGIN_CGROUP);

	/* Refused: nothing has changed; and a cgroup that says nothing any more. */
	tell(0, KVMGANG_KEY_SHARES, 10001);
	EXPECT(scheduler->bss->set_home_result, ==, -ERANGE);
	EXPECT(scheduler->bss->set_cgroup_result, ==, -ERANGE);
	tell(1ULL << 63, KVMGANG_KEY_GANG, 1);
	EXPECT(scheduler->bss->set_home_result, ==, -ERANGE);
	EXPECT(scheduler->bss->set_cgroup_result, ==, -EINVAL);
	EXPECT(scheduler->bss->policy.home, ==, other);
	expect_shares(vm_id, 444, KVMGANG_ORIGIN_CGROUP);
	tell(other, KVMGANG_KEY_SHARES, ~0ULL);
	EXPECT(scheduler->bss->set_cgroup_result, ==, 0);
	expect_shares(vm_id, 100, KVMGANG_ORIGIN_DEFAULT);
	tell(other, KVMGANG_KEY_LIMIT, 2500);
	EXPECT(scheduler->bss->set_cgroup_result, ==, 0);
	EXPECT(scheduler->bss->policy.limit, ==, 2500);
	tell(other, KVMGANG_KEY_RESERVATION, 500);
	EXPECT(scheduler->bss->set_cgroup_result, ==, -EINVAL);
	EXPECT(scheduler->bss->policy.reservation, ==, 0);

	scheduler->bss->asked_vm = 0xffffffff;
	tell(other, KVMGANG_KEY_SHARES, 5);
	EXPECT(scheduler->bss->set_home_result, ==, -ENOENT);
	EXPECT(scheduler->bss->set_cgroup_result, ==, -ENOENT);
	check_scheduler();
	detach_scheduler();
}

TAP_MAIN(
	{ "a held vCPU is in co-stop or throttled, and not ready", test_hold },
	{ "a vCPU of another VM is not held", test_other_vm },
	{ "a held vCPU goes on when the scheduler goes", test_detach },
	{ "kfuncs refuse what makes no sense", test_refused },
	{ "a scheduler learns what is set of a VM", test_asked },
	{ "what a scheduler tells of a VM counts unless the user says otherwise", test_told },
)
