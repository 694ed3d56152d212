// SPDX-License-Identifier: GPL-2.0
/*
 * The registry of VMs and vCPUs, by way of fake ones, and what is settled when a vCPU is read.
 *
 * The suite expects that no guest runs.
 */
#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/kvm_host.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>

#include "kunit.h"
#include "vcpu.h"

static void expect_living(struct kunit *test, u32 nr_vms, u32 nr_vcpus)
{
	KUNIT_EXPECT_EQ(test, vcpu_nr_vms(), nr_vms);
	KUNIT_EXPECT_EQ(test, vcpu_nr_vcpus(), nr_vcpus);
}

static void test_birth(struct kunit *test)
{
	struct fake_vm *vm = fake_vm_new(test, 2), *other = fake_vm_new(test, 1);
	struct kvmgang_vcpu *vcpu, *sibling, *stranger;
	u64 before = local_clock();

	vcpu = fake_vm_enter(vm, 0);
	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	expect_living(test, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, fake_vm_enter(vm, 0), vcpu);
	expect_living(test, 1, 1);
	KUNIT_EXPECT_EQ(test, vcpu->id, 0);
	KUNIT_EXPECT_GE(test, vcpu->account.born, before);
	KUNIT_EXPECT_GE(test, vcpu->account.born, vcpu->vm->born);
	KUNIT_EXPECT_GT(test, vcpu->vm->id, 0);
	KUNIT_EXPECT_NULL(test, vcpu->thread);

	sibling = fake_vm_enter(vm, 1);
	KUNIT_ASSERT_NOT_NULL(test, sibling);
	KUNIT_EXPECT_PTR_NE(test, sibling, vcpu);
	KUNIT_EXPECT_PTR_EQ(test, sibling->vm, vcpu->vm);
	KUNIT_EXPECT_EQ(test, sibling->id, 1);
	KUNIT_EXPECT_EQ(test, vcpu->vm->nr_vcpus, 2);
	expect_living(test, 1, 2);

	stranger = fake_vm_enter(other, 0);
	KUNIT_ASSERT_NOT_NULL(test, stranger);
	KUNIT_EXPECT_PTR_NE(test, stranger->vm, vcpu->vm);
	KUNIT_EXPECT_GT(test, stranger->vm->id, vcpu->vm->id);
	expect_living(test, 2, 3);
}

static void test_death(struct kunit *test)
{
	struct fake_vm *vm = fake_vm_new(test, 2), *other = fake_vm_new(test, 1);
	struct fake_vm *unknown = fake_vm_new(test, 1);
	struct kvmgang_vcpu *survivor;

	fake_vm_enter(vm, 0);
	fake_vm_enter(vm, 1);
	survivor = fake_vm_enter(other, 0);
	fake_vm_destroy(unknown);
	expect_living(test, 2, 3);
	fake_vm_destroy(vm);
	expect_living(test, 1, 1);
	fake_vm_destroy(vm);
	expect_living(test, 1, 1);
	KUNIT_EXPECT_PTR_EQ(test, fake_vm_enter(other, 0), survivor);
	fake_vm_destroy(other);
	expect_living(test, 0, 0);
	KUNIT_EXPECT_TRUE(test, await(no_vms()));
}

/* KVM may give a new VM the addresses of an old one, whose record may not be removed yet. */
static void test_same_address(struct kunit *test)
{
	struct fake_vm *vm = fake_vm_new(test, 1);
	struct kvmgang_vcpu *vcpu;
	u32 id = 0;
	int i;

	for (i = 0; i < 100; i++) {
		vcpu = fake_vm_enter(vm, 0);
		KUNIT_ASSERT_NOT_NULL(test, vcpu);
		KUNIT_ASSERT_GT(test, vcpu->vm->id, id);
		KUNIT_ASSERT_EQ(test, vcpu->account.count.state_ns[KVMGANG_RUN], 0);
		KUNIT_ASSERT_FALSE(test, vcpu->vm->dead);
		expect_living(test, 1, 1);
		id = vcpu->vm->id;
		vcpu->account.count.state_ns[KVMGANG_RUN] = 1;
		fake_vm_destroy(vm);
	}
}

/* A VM's record holds a reference on its VMM, so these tell when it is freed. */
static void test_freed(struct kunit *test)
{
	const struct pid *vmm = task_tgid(current);
	const int before = refcount_read(&vmm->count);
	struct fake_vm *vms[16];
	int i;

	for (i = 0; i < ARRAY_SIZE(vms); i++) {
		vms[i] = fake_vm_new(test, 1);
		KUNIT_ASSERT_NOT_NULL(test, fake_vm_enter(vms[i], 0));
	}
	KUNIT_EXPECT_EQ(test, refcount_read(&vmm->count), before + ARRAY_SIZE(vms));
	for (i = 0; i < ARRAY_SIZE(vms); i++)
		fake_vm_destroy(vms[i]);
	KUNIT_EXPECT_TRUE(test, await(refcount_read(&vmm->count) == before));
	KUNIT_EXPECT_TRUE(test, no_vms());
}

static int enter_own_vcpu(void *vm)
{
	fake_vm_enter(vm, smp_processor_id());
	return 0;
}

/* All vCPUs of a VM enter the guest for the first time at once; no pCPU comes or goes meanwhile. */
static void test_born_at_once(struct kunit *test)
{
	struct fake_vm *vm = fake_vm_new(test, nr_cpu_ids);
	struct kvmgang_vcpu *vcpu;
	int round, cpu;

	for (round = 0; round < 100; round++) {
		stop_machine(enter_own_vcpu, vm, cpu_online_mask);
		KUNIT_ASSERT_EQ(test, vcpu_nr_vms(), 1);
		KUNIT_ASSERT_EQ(test, vcpu_nr_vcpus(), num_online_cpus());
		vcpu = fake_vm_enter(vm, cpumask_first(cpu_online_mask));
		KUNIT_ASSERT_EQ(test, vcpu->vm->nr_vcpus, num_online_cpus());
		for_each_online_cpu(cpu)
			KUNIT_ASSERT_PTR_EQ(test, fake_vm_enter(vm, cpu)->vm, vcpu->vm);
		fake_vm_destroy(vm);
	}
}

#define CHURN_VCPUS	4

struct churn {
	struct task_struct *task;
	struct fake_vm *vm;
	struct rnd_state rnd;
	u32 births;
	u32 failures;
};

/* VMs of random sizes come and go at one address. */
static int churn(void *arg)
{
	struct churn *c = arg;
	u32 nr, id;

	while (!kthread_should_stop()) {
		nr = 1 + random_below(&c->rnd, CHURN_VCPUS);
		for (id = 0; id < nr; id++)
			c->failures += !fake_vm_enter(c->vm, id);
		c->births++;
		if (random_below(&c->rnd, 2))
			schedule_timeout_interruptible(1);
		fake_vm_destroy(c->vm);
		cond_resched();
	}
	return 0;
}

static void churn_end(void *arg)
{
	struct churn *c = arg;

	kthread_stop(c->task);
	put_task_struct(c->task);
}

static void churn_begin(struct kunit *test, struct churn *c, struct rnd_state *rnd, int cpu)
{
	c->vm = fake_vm_new(test, CHURN_VCPUS);
	prandom_seed_state(&c->rnd, prandom_u32_state(rnd));
	c->task = kthread_create_on_cpu(churn, c, cpu, "churn/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(c->task));
	get_task_struct(c->task);
	wake_up_process(c->task);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, churn_end, c), 0);
}

/* The list is in the order of birth, so ids that grow along it are unique. */
static int count_disorder(void)
{
	const struct kvmgang_vm *vm;
	int disorder = 0;
	u32 id = 0;

	guard(rwsem_read)(&vms_rwsem);
	list_for_each_entry_rcu(vm, &vms, link, lockdep_is_held(&vms_rwsem)) {
		disorder += vm->id <= id;
		id = vm->id;
	}
	return disorder;
}

static u32 next_id(struct kunit *test)
{
	struct fake_vm *vm = fake_vm_new(test, 1);
	const struct kvmgang_vcpu *vcpu = fake_vm_enter(vm, 0);
	u32 id;

	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	id = vcpu->vm->id;
	fake_vm_destroy(vm);
	return id;
}

static void test_churn(struct kunit *test)
{
	struct churn *churns = kunit_kcalloc(test, nr_cpu_ids, sizeof(*churns), GFP_KERNEL);
	struct rnd_state rnd;
	u32 first, births = 0;
	int cpu, i;

	KUNIT_ASSERT_NOT_NULL(test, churns);
	seed_random(test, &rnd);
	first = next_id(test);
	for_each_online_cpu(cpu)
		churn_begin(test, &churns[cpu], &rnd, cpu);
	for (i = 0; i < 200; i++) {
		KUNIT_EXPECT_EQ(test, count_disorder(), 0);
		KUNIT_EXPECT_LE(test, vcpu_nr_vms(), nr_cpu_ids);
		KUNIT_EXPECT_LE(test, vcpu_nr_vcpus(), nr_cpu_ids * CHURN_VCPUS);
		schedule_timeout_interruptible(1);
	}
	for_each_online_cpu(cpu) {
		kunit_release_action(test, churn_end, &churns[cpu]);
		births += churns[cpu].births;
		KUNIT_EXPECT_EQ(test, churns[cpu].failures, 0);
		KUNIT_EXPECT_GT(test, churns[cpu].births, 0);
	}
	kunit_info(test, "%u VMs\n", births);
	expect_living(test, 0, 0);
	/* Each birth took one id. */
	KUNIT_EXPECT_EQ(test, next_id(test) - first - 1, births);
	KUNIT_EXPECT_TRUE(test, await(no_vms()));
}

/*
 * A VM dies at any moment of the worker's work for its birth. The worker is queued on this pCPU and
 * gives way to us wherever it can be preempted; a removal too many trips over a list.
 */
static void test_death_in_birth(struct kunit *test)
{
	const u32 work_us = 1000;	/* a debug kernel's worker takes less */
	struct fake_vm *vm = fake_vm_new(test, 1);
	struct rnd_state rnd;
	u32 us, round, failures = 0;

	seed_random(test, &rnd);
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	sched_set_fifo(current);
	for (round = 0; round < 2000; round++) {
		us = random_below(&rnd, work_us);
		failures += !fake_vm_enter(vm, 0);
		usleep_range(us, us + 1);
		fake_vm_destroy(vm);
		/* Half of the time it has caught up before the next birth. */
		if (random_below(&rnd, 2))
			failures += !await(no_vms());
	}
	KUNIT_EXPECT_EQ(test, failures, 0);
	KUNIT_EXPECT_TRUE(test, await(no_vms()));
}

KUNIT_DEFINE_ACTION_WRAPPER(free_keys, kvfree, const void *);

/*
 * As many VMs and vCPUs as there may be. Nobody follows a key, and only when it is new is it read;
 * so these overlap, and a crowd needs 64 bytes each instead of 10 KiB.
 */
#define KEY_BYTES	64
#define VCPUS_PER_VM	(KVMGANG_MAX_VCPUS / KVMGANG_MAX_VMS)

static struct kvm *crowd_vm(void *keys, u32 i)
{
	return keys + i / VCPUS_PER_VM * VCPUS_PER_VM * KEY_BYTES;
}

static struct kvmgang_vcpu *crowd_enter(void *keys, u32 i)
{
	struct kvm_vcpu *key = keys + i * KEY_BYTES;

	key->kvm = crowd_vm(keys, i);
	key->vcpu_id = i % VCPUS_PER_VM;
	guard(irqsave)();
	return vcpu_get(key);
}

static void crowd_destroy(void *keys)
{
	u32 i;

	for (i = 0; i < KVMGANG_MAX_VCPUS + VCPUS_PER_VM; i += VCPUS_PER_VM)
		vcpu_destroy_vm(crowd_vm(keys, i));
}

/* The last VM is one too many. */
static void *crowd_gather(struct kunit *test)
{
	void *keys = kvzalloc((KVMGANG_MAX_VCPUS + VCPUS_PER_VM) * KEY_BYTES +
			      sizeof(struct kvm_vcpu), GFP_KERNEL);
	u32 i, refused = 0;

	KUNIT_ASSERT_NOT_NULL(test, keys);
	kunit_add_action(test, free_keys, keys);
	kunit_add_action(test, crowd_destroy, keys);
	for (i = 0; i < KVMGANG_MAX_VCPUS; i++)
		refused += !crowd_enter(keys, i);
	KUNIT_ASSERT_EQ(test, refused, 0);
	return keys;
}

static void test_limits(struct kunit *test)
{
	const u64 refused = vcpu_nr_refused();
	struct fake_vm *vm = fake_vm_new(test, 1);
	struct kvmgang_vcpu *first;
	void *keys;
	u32 i;

	/* Ahead of the worker, which would make directories for all of them: not what is tested. */
	sched_set_fifo(current);
	keys = crowd_gather(test);
	expect_living(test, KVMGANG_MAX_VMS, KVMGANG_MAX_VCPUS);
	KUNIT_EXPECT_EQ(test, vcpu_nr_refused(), refused);
	first = crowd_enter(keys, 0);
	KUNIT_EXPECT_NOT_NULL(test, first);

	/* Not one VM more. */
	KUNIT_EXPECT_NULL(test, fake_vm_enter(vm, 0));
	KUNIT_EXPECT_EQ(test, vcpu_nr_refused(), refused + 1);
	expect_living(test, KVMGANG_MAX_VMS, KVMGANG_MAX_VCPUS);

	/* Nor one vCPU more, though there is room for its VM. */
	vcpu_destroy_vm(crowd_vm(keys, 0));
	expect_living(test, KVMGANG_MAX_VMS - 1, KVMGANG_MAX_VCPUS - VCPUS_PER_VM);
	for (i = 0; i < VCPUS_PER_VM; i++)
		KUNIT_EXPECT_NOT_NULL(test, crowd_enter(keys, i));
	vm->vcpus[0].kvm = crowd_vm(keys, 0);
	KUNIT_EXPECT_NULL(test, fake_vm_enter(vm, 0));
	KUNIT_EXPECT_EQ(test, vcpu_nr_refused(), refused + 2);
	expect_living(test, KVMGANG_MAX_VMS, KVMGANG_MAX_VCPUS);

	crowd_destroy(keys);
	expect_living(test, 0, 0);
	sched_set_normal(current, 0);
	KUNIT_EXPECT_TRUE(test, await(no_vms()));
	vm->vcpus[0].kvm = fake_vm_key(vm);
	KUNIT_EXPECT_NOT_NULL(test, fake_vm_enter(vm, 0));
}

/* A vCPU and its thread as the scheduler sees it off its pCPU, at a time that is made up. */
struct served {
	struct kvmgang_thread thread;
	struct task_struct *task;
	struct kvmgang_vcpu *vcpu;
	u64 now;			/* when it got its pCPU */
};

#define WAITED	12345ULL		/* of run_delay, before the test */

/* In memory that outlives the VM's, as the VM's end looks at the thread. */
static struct served *serve(struct kunit *test)
{
	struct served *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->now = local_clock();
	s->task = kunit_kzalloc(test, sizeof(*s->task), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s->task);
	s->vcpu = fake_vm_enter(fake_vm_new(test, 1), 0);
	KUNIT_ASSERT_NOT_NULL(test, s->vcpu);

	s->task->__state = TASK_RUNNING;
	s->task->sched_info.run_delay = WAITED;
	s->thread.task = s->task;
	s->thread.pid = task_pid(current);
	s->thread.vcpu = s->vcpu;
	s->thread.entered = s->vcpu->key;
	guard(raw_spinlock_irqsave)(&s->vcpu->lock);
	account_born(&s->vcpu->account, s->now);
	s->vcpu->account.waited = WAITED;
	account_arrive(&s->vcpu->account, s->now, WAITED, 0);
	s->vcpu->thread = &s->thread;
	return s;
}

static void settle(struct served *s, u64 now)
{
	guard(raw_spinlock_irqsave)(&s->vcpu->lock);
	vcpu_settle(s->vcpu, now);
}

static void depart(struct served *s, u64 now, u32 rest)
{
	guard(raw_spinlock_irqsave)(&s->vcpu->lock);
	account_depart(&s->vcpu->account, now, rest);
	if (rest == KVMGANG_RUN)
		s->task->sched_info.last_queued = now;
	else
		s->task->__state = TASK_INTERRUPTIBLE;
}

static void unbind(struct served *s, u64 now)
{
	guard(raw_spinlock_irqsave)(&s->vcpu->lock);
	vcpu_unbind(s->vcpu, now);
}

static void expect_ns(struct kunit *test, const struct served *s, u32 state, u64 ns)
{
	KUNIT_EXPECT_EQ_MSG(test, s->vcpu->account.count.state_ns[state], ns, "state %u", state);
}

static void expect_settled(struct kunit *test, const struct served *s, u64 until)
{
	const struct kvmgang_account *a = &s->vcpu->account;
	u64 sum = 0;
	int i;

	for (i = 0; i < KVMGANG_NR_STATES; i++)
		sum += a->count.state_ns[i];
	KUNIT_EXPECT_EQ(test, a->cursor, until);
	KUNIT_EXPECT_EQ(test, sum, until - a->born);
}

static void test_settle_running(struct kunit *test)
{
	struct served *s = serve(test);

	settle(s, s->now + 1000);
	expect_ns(test, s, KVMGANG_RUN, 1000);
	expect_settled(test, s, s->now + 1000);
}

/* It has run for long, and is about to be preempted: as of a while ago, but not of when it came. */
static void test_settle_leaving(struct kunit *test)
{
	struct served *s = serve(test);
	u64 lag = KVMGANG_LEAVE_LAG_NS - KVMGANG_READ_LAG_NS;

	set_tsk_need_resched(s->task);
	settle(s, s->now + lag);
	expect_settled(test, s, s->now);
	settle(s, s->now + lag + 1000);
	expect_ns(test, s, KVMGANG_RUN, 1000);
	expect_settled(test, s, s->now + 1000);
}

static void test_settle_asleep(struct kunit *test)
{
	struct served *s = serve(test);

	depart(s, s->now + 1000, KVMGANG_HALTED);
	settle(s, s->now + 3000);
	expect_ns(test, s, KVMGANG_HALTED, 2000);
	expect_settled(test, s, s->now + 3000);

	/* It is being woken: not yet queued, no more asleep. The arrival will tell. */
	s->task->__state = TASK_RUNNING;
	settle(s, s->now + 4000);
	expect_settled(test, s, s->now + 3000);

	/* It waited and runs on, and its arrival is about to take our lock. */
	s->task->__state = TASK_INTERRUPTIBLE;
	s->task->sched_info.run_delay = WAITED + 500;
	settle(s, s->now + 4000);
	expect_settled(test, s, s->now + 3000);
}

static void test_settle_waiting(struct kunit *test)
{
	struct served *s = serve(test);

	depart(s, s->now + 1000, KVMGANG_BLOCKED);
	s->task->__state = TASK_RUNNING;
	s->task->sched_info.last_queued = s->now + 3000;
	/* As of the instant when it began to wait. */
	settle(s, s->now + 3000);
	expect_settled(test, s, s->now + 1000);

	settle(s, s->now + 7000);
	expect_ns(test, s, KVMGANG_BLOCKED, 2000);
	expect_ns(test, s, KVMGANG_READY, 4000);
	expect_settled(test, s, s->now + 7000);
	/* Another read may have begun earlier. */
	settle(s, s->now + 6000);
	expect_settled(test, s, s->now + 7000);
	settle(s, s->now + 8000);
	expect_ns(test, s, KVMGANG_READY, 5000);
	expect_settled(test, s, s->now + 8000);
}

static void test_settle_preempted(struct kunit *test)
{
	struct served *s = serve(test);

	depart(s, s->now + 1000, KVMGANG_RUN);
	settle(s, s->now + 1500);
	expect_ns(test, s, KVMGANG_RUN, 1000);
	expect_ns(test, s, KVMGANG_READY, 500);
	expect_settled(test, s, s->now + 1500);
}

static void expect_unbound(struct kunit *test, struct served *s, u64 now)
{
	u64 blocked = s->vcpu->account.count.state_ns[KVMGANG_BLOCKED];

	KUNIT_EXPECT_NULL(test, s->vcpu->thread);
	KUNIT_EXPECT_NULL(test, s->thread.vcpu);
	KUNIT_EXPECT_NULL(test, s->thread.entered);
	KUNIT_EXPECT_EQ(test, account_state(&s->vcpu->account, 0), KVMGANG_BLOCKED);
	KUNIT_EXPECT_EQ(test, s->vcpu->account.hold, 0);
	expect_settled(test, s, now);
	settle(s, now + 100);
	expect_ns(test, s, KVMGANG_BLOCKED, blocked + 100);
	expect_settled(test, s, now + 100);
}

static void test_unbind(struct kunit *test)
{
	struct served *s = serve(test);

	unbind(s, s->now + 1000);
	expect_ns(test, s, KVMGANG_RUN, 1000);
	expect_unbound(test, s, s->now + 1000);

	s = serve(test);
	depart(s, s->now + 1000, KVMGANG_HALTED);
	unbind(s, s->now + 3000);
	expect_ns(test, s, KVMGANG_HALTED, 2000);
	expect_unbound(test, s, s->now + 3000);

	/* The whole wait, not that of a lag ago: nobody will settle it later. */
	s = serve(test);
	depart(s, s->now + 1000, KVMGANG_RUN);
	account_hold(&s->vcpu->account, s->now + 1000, KVMGANG_COSTOP, s->now + 1000);
	unbind(s, s->now + 3000);
	expect_ns(test, s, KVMGANG_COSTOP, 2000);
	expect_unbound(test, s, s->now + 3000);
}

/* The VM dies while a thread still serves its vCPU. */
static void test_death_of_served(struct kunit *test)
{
	struct served *s = serve(test);

	vcpu_destroy_vm(s->vcpu->vm->key);
	KUNIT_EXPECT_NULL(test, s->thread.vcpu);
	KUNIT_EXPECT_NULL(test, s->thread.entered);
}

static u64 row_sum(const struct kvmgang_vcpu_row *row)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < KVMGANG_NR_STATES; i++)
		sum += row->count.state_ns[i];
	return sum;
}

static void test_read(struct kunit *test)
{
	struct served *s = serve(test);
	struct kvmgang_vcpu_row row;

	vcpu_read(s->vcpu, &row);
	KUNIT_EXPECT_EQ(test, row.vm_id, s->vcpu->vm->id);
	KUNIT_EXPECT_EQ(test, row.vcpu_id, 0);
	KUNIT_EXPECT_EQ(test, row.tid, task_pid_vnr(current));
	KUNIT_EXPECT_EQ(test, row.state, KVMGANG_RUN);
	KUNIT_EXPECT_EQ(test, row.cpu, s->vcpu->cpu);
	KUNIT_EXPECT_EQ(test, row.node, cpu_to_node(s->vcpu->cpu));
	KUNIT_EXPECT_EQ(test, row.born_ns, s->now);
	KUNIT_EXPECT_EQ(test, row_sum(&row), row.now_ns - row.born_ns);

	depart(s, row.now_ns + 1000, KVMGANG_HALTED);
	vcpu_read(s->vcpu, &row);
	KUNIT_EXPECT_EQ(test, row.state, KVMGANG_HALTED);
	KUNIT_EXPECT_EQ(test, row_sum(&row), row.now_ns - row.born_ns);

	s->task->sched_info.last_queued = row.now_ns + 1000;
	vcpu_read(s->vcpu, &row);
	KUNIT_EXPECT_EQ(test, row.state, KVMGANG_READY);
	KUNIT_EXPECT_EQ(test, row_sum(&row), row.now_ns - row.born_ns);

	unbind(s, local_clock());
	s->vcpu->displaced.top[1] = (struct kvmgang_top_displacer){ .vm_id = 5, .ns = 77 };
	vcpu_read(s->vcpu, &row);
	KUNIT_EXPECT_EQ(test, row.state, KVMGANG_BLOCKED);
	KUNIT_EXPECT_EQ(test, row.tid, 0);
	KUNIT_EXPECT_EQ(test, row.top[1].vm_id, 5);
	KUNIT_EXPECT_EQ(test, row.top[1].ns, 77);
	KUNIT_EXPECT_EQ(test, row_sum(&row), row.now_ns - row.born_ns);
}

static int begin(struct kunit *test)
{
	return await(no_vms()) ? 0 : -EBUSY;
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_birth),
	KUNIT_CASE(test_death),
	KUNIT_CASE(test_same_address),
	KUNIT_CASE(test_freed),
	KUNIT_CASE(test_born_at_once),
	KUNIT_CASE_SLOW(test_churn),
	KUNIT_CASE_SLOW(test_death_in_birth),
	KUNIT_CASE_SLOW(test_limits),
	KUNIT_CASE(test_settle_running),
	KUNIT_CASE(test_settle_leaving),
	KUNIT_CASE(test_settle_asleep),
	KUNIT_CASE(test_settle_waiting),
	KUNIT_CASE(test_settle_preempted),
	KUNIT_CASE(test_unbind),
	KUNIT_CASE(test_death_of_served),
	KUNIT_CASE(test_read),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_vcpu",
	.init = begin,
	.test_cases = cases,
};

kunit_test_suite(suite);
