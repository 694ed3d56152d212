// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/kvmgang through its own door: every size of every struct and row, every too small buffer,
 * and rows whose content is known because their VMs are fake. What rows say of real vCPUs, and who
 * may open the door, is for the selftests.
 *
 * The suite expects that no guest runs.
 */
#include <kunit/test.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvmgang.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/clock.h>
#include <linux/uaccess.h>

#include "kunit.h"
#include "vcpu.h"

#define NR_VMS		3
#define NR_VCPUS	6		/* 1 + 2 + 3 */
#define UNUSED		0x5a		/* what a buffer holds where nothing may be written */

/* Room for all rows, and one more, of the longest size. */
#define VMS_BYTES	((NR_VMS + 1) * PAGE_SIZE)
#define VCPUS_BYTES	((NR_VCPUS + 1) * PAGE_SIZE)
#define ARG_BYTES	(2 * PAGE_SIZE)

/* A caller: user memory, and kernel memory to look at it. */
struct caller {
	struct file *file;
	struct fake_vm *fakes[NR_VMS];
	u32 ids[NR_VMS];
	unsigned long user_arg, user_vms, user_vcpus;
	u8 *arg, *vms, *vcpus;
};

static unsigned long user_memory(struct kunit *test, size_t size)
{
	unsigned long address = kunit_vm_mmap(test, NULL, 0, size, PROT_READ | PROT_WRITE,
					      MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_NE(test, address, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(address));
	return address;
}

static void *kernel_memory(struct kunit *test, size_t size)
{
	void *memory = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	return memory;
}

/* Every counter of every vCPU is another number. */
static void fill_counters(struct kvmgang_vcpu *vcpu, u64 base)
{
	u64 *counters = (u64 *)&vcpu->account.count;
	int i;

	for (i = KVMGANG_NR_STATES; i < sizeof(vcpu->account.count) / sizeof(u64); i++)
		counters[i] = base + i;
}

static void make_vms(struct kunit *test, struct caller *c)
{
	struct kvmgang_vcpu *vcpu;
	u32 i, j;

	for (i = 0; i < NR_VMS; i++) {
		c->fakes[i] = fake_vm_new(test, i + 1);
		for (j = 0; j <= i; j++) {
			vcpu = fake_vm_enter(c->fakes[i], j);
			KUNIT_ASSERT_NOT_NULL(test, vcpu);
			fill_counters(vcpu, 1000000 * (i + 1) + 10000 * j);
			c->ids[i] = vcpu->vm->id;
		}
	}
}

static void close_file(void *file)
{
	filp_close(file, NULL);
	/* A kernel thread's files are closed later, and until then the module cannot go. */
	flush_delayed_fput();
}

static int begin(struct kunit *test)
{
	struct caller *c = kernel_memory(test, sizeof(*c));

	if (!await(no_vms()))
		return -EBUSY;
	c->file = filp_open(KVMGANG_DEVICE, O_RDWR, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c->file));
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, close_file, c->file), 0);
	c->user_arg = user_memory(test, ARG_BYTES);
	c->user_vms = user_memory(test, VMS_BYTES);
	c->user_vcpus = user_memory(test, VCPUS_BYTES);
	c->arg = kernel_memory(test, ARG_BYTES);
	c->vms = kernel_memory(test, VMS_BYTES);
	c->vcpus = kernel_memory(test, VCPUS_BYTES);
	make_vms(test, c);
	test->priv = c;
	return 0;
}

static int call_at(struct caller *c, unsigned int cmd, unsigned long address)
{
	return c->file->f_op->unlocked_ioctl(c->file, cmd, address);
}

/* With the first @bytes of c->arg, which is then what came back. */
static int call(struct kunit *test, unsigned int cmd, size_t bytes)
{
	struct caller *c = test->priv;
	int err;

	KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)c->user_arg, c->arg, bytes), 0);
	err = call_at(c, cmd, c->user_arg);
	KUNIT_ASSERT_EQ(test, copy_from_user(c->arg, (void __user *)c->user_arg, bytes), 0);
	return err;
}

static void expect_refused(struct kunit *test, unsigned int cmd, size_t bytes, int expected)
{
	struct caller *c = test->priv;
	u8 *before = kernel_memory(test, bytes);

	memcpy(before, c->arg, bytes);
	KUNIT_ASSERT_EQ(test, call(test, cmd, bytes), expected);
	KUNIT_ASSERT_EQ(test, memcmp(c->arg, before, bytes), 0);
	kunit_kfree(test, before);
}

/* The sizes of ABI 1, which are what the oldest caller has, for ever. */
struct command {
	const char *name;
	unsigned int cmd;
	u32 abi1_bytes;
	u32 our_bytes;
};

static const struct command commands[] = {
	{ "info", KVMGANG_INFO, 56, sizeof(struct kvmgang_info) },
	{ "snapshot", KVMGANG_SNAPSHOT, 64, sizeof(struct kvmgang_snapshot) },
	{ "lookup", KVMGANG_LOOKUP, 24, sizeof(struct kvmgang_lookup) },
	{ "get policy", KVMGANG_GET_POLICY, 136, sizeof(struct kvmgang_policy) },
	{ "set policy", KVMGANG_SET_POLICY, 136, sizeof(struct kvmgang_policy) },
};

KUNIT_ARRAY_PARAM_DESC(command, commands, name);

/* What a caller writes into a struct of @size that all commands take, and that finds something. */
static void fill_arg(struct caller *c, const struct command *command, u32 size)
{
	memset(c->arg, 0, ARG_BYTES);
	*(u32 *)c->arg = size;
	if (command->cmd == KVMGANG_SNAPSHOT)
		*(struct kvmgang_snapshot *)c->arg = (struct kvmgang_snapshot){
			.size = size,
			.vm_row_size = sizeof(struct kvmgang_vm_row),
			.vcpu_row_size = sizeof(struct kvmgang_vcpu_row),
			.nr_vms = NR_VMS,
			.nr_vcpus = NR_VCPUS,
			.vms = c->user_vms,
			.vcpus = c->user_vcpus,
		};
}

static int expected_of(const struct command *command, u32 size)
{
	if (size < command->abi1_bytes)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	/* A thread with tid 0 there is not. */
	return command->cmd == KVMGANG_LOOKUP ? -ENOENT : 0;
}

static void check_size(struct kunit *test, u32 size)
{
	const struct command *command = test->param_value;
	struct caller *c = test->priv;
	const u32 beyond = max(size, command->our_bytes);

	fill_arg(c, command, size);
	c->arg[beyond] = UNUSED;
	KUNIT_ASSERT_EQ_MSG(test, call(test, command->cmd, beyond + 1),
			    expected_of(command, size), "size %u", size);
	KUNIT_ASSERT_EQ(test, *(u32 *)c->arg, size);
	KUNIT_ASSERT_EQ(test, c->arg[beyond], UNUSED);
	KUNIT_ASSERT_NULL(test, memchr_inv(c->arg + command->our_bytes, 0,
					   beyond - command->our_bytes));
}

static void test_size(struct kunit *test)
{
	u32 size;

	for (size = 0; size < 256; size++)
		check_size(test, size);
	for (; size < PAGE_SIZE; size += 61)
		check_size(test, size);
	for (size = PAGE_SIZE - 2; size < PAGE_SIZE + 3; size++)
		check_size(test, size);
}

/* A caller of a later ABI that uses what we do not know. */
static void test_tail(struct kunit *test)
{
	const struct command *command = test->param_value;
	struct caller *c = test->priv;
	u32 at;

	for (at = command->our_bytes; at < PAGE_SIZE; at += at < 256 ? 1 : 61) {
		fill_arg(c, command, PAGE_SIZE);
		c->arg[at] = 1;
		expect_refused(test, command->cmd, PAGE_SIZE, -E2BIG);
	}
	fill_arg(c, command, PAGE_SIZE);
	c->arg[PAGE_SIZE - 1] = 1;
	expect_refused(test, command->cmd, PAGE_SIZE, -E2BIG);
	/* Of one byte only, and right behind it. */
	fill_arg(c, command, command->our_bytes + 1);
	c->arg[command->our_bytes] = 1;
	expect_refused(test, command->cmd, PAGE_SIZE, -E2BIG);
	fill_arg(c, command, command->our_bytes);
	c->arg[command->our_bytes] = 1;
	KUNIT_EXPECT_EQ(test, call(test, command->cmd, PAGE_SIZE),
			expected_of(command, command->our_bytes));
}

static void test_flags(struct kunit *test)
{
	const struct command *command = test->param_value;
	struct caller *c = test->priv;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		fill_arg(c, command, command->our_bytes);
		((u32 *)c->arg)[1] = BIT(bit);
		expect_refused(test, command->cmd, PAGE_SIZE, -EINVAL);
	}
	for (bit = 1; bit < 8; bit++)
		KUNIT_EXPECT_EQ(test, call_at(c, command->cmd, c->user_arg + bit), -EINVAL);
	KUNIT_EXPECT_EQ(test, call_at(c, command->cmd, 0), -EFAULT);
}

static void test_unknown(struct kunit *test)
{
	struct caller *c = test->priv;
	unsigned int nr;

	fill_arg(c, &commands[0], sizeof(struct kvmgang_info));
	for (nr = ARRAY_SIZE(commands); nr < 256; nr++)
		expect_refused(test, _IO(KVMGANG_IOCTL_TYPE, nr), PAGE_SIZE, -ENOTTY);
	expect_refused(test, _IO(KVMGANG_IOCTL_TYPE ^ 1, 0), PAGE_SIZE, -ENOTTY);
	expect_refused(test, _IOWR(KVMGANG_IOCTL_TYPE, 0, struct kvmgang_info), ARG_BYTES,
		       -ENOTTY);
}

static void test_info(struct kunit *test)
{
	struct caller *c = test->priv;
	const struct kvmgang_info *info = (void *)c->arg;

	fill_arg(c, &commands[0], sizeof(*info));
	KUNIT_EXPECT_EQ(test, call(test, KVMGANG_INFO, sizeof(*info)), 0);
	KUNIT_EXPECT_EQ(test, info->out_abi, KVMGANG_ABI);
	KUNIT_EXPECT_EQ(test, info->out_nr_vms, NR_VMS);
	KUNIT_EXPECT_EQ(test, info->out_nr_vcpus, NR_VCPUS);
	KUNIT_EXPECT_EQ(test, info->out_max_vms, KVMGANG_MAX_VMS);
	KUNIT_EXPECT_EQ(test, info->out_max_vcpus, KVMGANG_MAX_VCPUS);
	KUNIT_EXPECT_EQ(test, info->out_read_lag_ns, KVMGANG_READ_LAG_NS);
	KUNIT_EXPECT_EQ(test, info->out_refused, vcpu_nr_refused());
}

static struct kvmgang_snapshot *request(struct kunit *test)
{
	struct caller *c = test->priv;
	struct kvmgang_snapshot *s = (void *)c->arg;

	fill_arg(c, &commands[1], sizeof(*s));
	memset(c->vms, UNUSED, VMS_BYTES);
	memset(c->vcpus, UNUSED, VCPUS_BYTES);
	KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)c->user_vms, c->vms, VMS_BYTES), 0);
	KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)c->user_vcpus, c->vcpus, VCPUS_BYTES),
			0);
	return s;
}

static int snapshot(struct kunit *test)
{
	struct caller *c = test->priv;
	int err = call(test, KVMGANG_SNAPSHOT, sizeof(struct kvmgang_snapshot));

	KUNIT_ASSERT_EQ(test, copy_from_user(c->vms, (void __user *)c->user_vms, VMS_BYTES), 0);
	KUNIT_ASSERT_EQ(test, copy_from_user(c->vcpus, (void __user *)c->user_vcpus, VCPUS_BYTES),
			0);
	return err;
}

static bool untouched(const u8 *buffer, size_t from, size_t to)
{
	return !memchr_inv(buffer + from, UNUSED, to - from);
}

static void expect_nothing_written(struct kunit *test)
{
	const struct caller *c = test->priv;

	KUNIT_ASSERT_TRUE(test, untouched(c->vms, 0, VMS_BYTES));
	KUNIT_ASSERT_TRUE(test, untouched(c->vcpus, 0, VCPUS_BYTES));
}

static void test_bad_request(struct kunit *test)
{
	static const u32 bad_sizes[] = { 0, 1, 4, 12, sizeof(struct kvmgang_vm_row) + 4,
					 PAGE_SIZE - 1, PAGE_SIZE + 8, 1U << 31, U32_MAX - 7 };
	int i;

	for (i = 0; i < ARRAY_SIZE(bad_sizes); i++) {
		request(test)->vm_row_size = bad_sizes[i];
		KUNIT_EXPECT_EQ(test, snapshot(test), -EINVAL);
		expect_nothing_written(test);
		request(test)->vcpu_row_size = bad_sizes[i];
		KUNIT_EXPECT_EQ(test, snapshot(test), -EINVAL);
		expect_nothing_written(test);
	}
	for (i = 1; i < 8; i++) {
		request(test)->vms += i;
		KUNIT_EXPECT_EQ(test, snapshot(test), -EINVAL);
		request(test)->vcpus += i;
		KUNIT_EXPECT_EQ(test, snapshot(test), -EINVAL);
		expect_nothing_written(test);
	}
	request(test)->reserved = 1;
	KUNIT_EXPECT_EQ(test, snapshot(test), -EINVAL);
	expect_nothing_written(test);
}

static void test_room(struct kunit *test)
{
	struct kvmgang_snapshot *s;
	u32 vms, vcpus;

	for (vms = 0; vms <= NR_VMS + 1; vms++) {
		for (vcpus = 0; vcpus <= NR_VCPUS + 1; vcpus++) {
			s = request(test);
			s->nr_vms = vms;
			s->nr_vcpus = vcpus;
			if (vms >= NR_VMS && vcpus >= NR_VCPUS) {
				KUNIT_ASSERT_EQ(test, snapshot(test), 0);
			} else {
				KUNIT_ASSERT_EQ(test, snapshot(test), -ENOSPC);
				expect_nothing_written(test);
			}
			KUNIT_ASSERT_EQ(test, s->nr_vms, NR_VMS);
			KUNIT_ASSERT_EQ(test, s->nr_vcpus, NR_VCPUS);
		}
	}
	/* Much room is as good as enough, and costs nothing. */
	s = request(test);
	s->nr_vms = U32_MAX;
	s->nr_vcpus = U32_MAX;
	KUNIT_EXPECT_EQ(test, snapshot(test), 0);
	KUNIT_EXPECT_EQ(test, s->nr_vms, NR_VMS);
	KUNIT_EXPECT_EQ(test, s->nr_vcpus, NR_VCPUS);
}

/* The number of @row's VM, and in @vcpu that of its vCPU, by its place in the buffer. */
static u32 place_of(u32 row, u32 *vcpu)
{
	u32 vm = 0;

	while (row > vm)
		row -= ++vm;
	*vcpu = row;
	return vm;
}

/* Rows of sizes that are not ours: what we know is cut, and what we do not know is 0. */
static void expect_vcpu_row(struct kunit *test, u32 nr, u32 size)
{
	const struct caller *c = test->priv;
	const u8 *bytes = c->vcpus + nr * size;
	u32 known = min_t(u32, size, sizeof(struct kvmgang_vcpu_row));
	struct kvmgang_vcpu_row row = {};
	const u64 *counters = (u64 *)&row.count;
	u32 vm, vcpu, i;

	vm = place_of(nr, &vcpu);
	memcpy(&row, bytes, known);
	KUNIT_ASSERT_EQ(test, row.vm_id, c->ids[vm]);
	KUNIT_ASSERT_EQ(test, row.vcpu_id, vcpu);
	for (i = KVMGANG_NR_STATES; i < sizeof(row.count) / sizeof(u64); i++) {
		bool cut = offsetof(struct kvmgang_vcpu_row, count) + (i + 1) * sizeof(u64) > size;

		KUNIT_ASSERT_EQ_MSG(test, counters[i],
				    cut ? 0 : 1000000 * (vm + 1) + 10000 * vcpu + i,
				    "counter %u of a row of %u bytes", i, size);
	}
	KUNIT_ASSERT_NULL(test, memchr_inv(bytes + known, 0, size - known));
}

static void expect_vm_row(struct kunit *test, u32 nr, u32 size)
{
	const struct caller *c = test->priv;
	const u8 *bytes = c->vms + nr * size;
	u32 known = min_t(u32, size, sizeof(struct kvmgang_vm_row));
	struct kvmgang_vm_row row = {};

	memcpy(&row, bytes, known);
	KUNIT_ASSERT_EQ(test, row.vm_id, c->ids[nr]);
	if (size > offsetof(struct kvmgang_vm_row, nr_vcpus))
		KUNIT_ASSERT_EQ(test, row.nr_vcpus, nr + 1);
	KUNIT_ASSERT_EQ(test, row.reserved, 0);
	KUNIT_ASSERT_NULL(test, memchr_inv(bytes + known, 0, size - known));
}

static void test_row_sizes(struct kunit *test)
{
	const struct caller *c = test->priv;
	struct kvmgang_snapshot *s;
	u32 size, i;

	for (size = 8; size <= PAGE_SIZE; size += 8) {
		s = request(test);
		s->vcpu_row_size = size;
		s->vm_row_size = PAGE_SIZE + 8 - size;
		KUNIT_ASSERT_EQ(test, snapshot(test), 0);
		for (i = 0; i < NR_VCPUS; i++)
			expect_vcpu_row(test, i, size);
		for (i = 0; i < NR_VMS; i++)
			expect_vm_row(test, i, PAGE_SIZE + 8 - size);
		KUNIT_ASSERT_TRUE(test, untouched(c->vcpus, NR_VCPUS * size, VCPUS_BYTES));
		KUNIT_ASSERT_TRUE(test, untouched(c->vms, NR_VMS * (PAGE_SIZE + 8 - size),
						  VMS_BYTES));
	}
}

/* A row that was stamped by a pCPU whose clock is ahead of the reader's is not from the future. */
static void test_ahead(struct kunit *test)
{
	const struct caller *c = test->priv;
	const struct kvmgang_vcpu_row *vcpus = (void *)c->vcpus;
	struct kvmgang_vcpu *vcpu = fake_vm_enter(c->fakes[0], 0);
	const struct kvmgang_snapshot *s = request(test);

	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	vcpu->account.cursor = local_clock() + NSEC_PER_SEC;
	KUNIT_ASSERT_EQ(test, snapshot(test), 0);
	KUNIT_EXPECT_EQ(test, vcpus[0].now_ns, vcpu->account.cursor);
	KUNIT_EXPECT_EQ(test, s->out_end_ns, vcpu->account.cursor);
}

/* A VM's row is the sum of those of its vCPUs in the same snapshot, whenever they were read. */
static void test_sums(struct kunit *test)
{
	const struct caller *c = test->priv;
	const struct kvmgang_vcpu_row *vcpus = (void *)c->vcpus;
	const struct kvmgang_vm_row *vms = (void *)c->vms;
	const struct kvmgang_snapshot *s = request(test);
	struct kvmgang_counters sum;
	u32 i, row = 0, nr;

	KUNIT_ASSERT_EQ(test, snapshot(test), 0);
	KUNIT_EXPECT_LE(test, s->out_begin_ns, s->out_end_ns);
	for (i = 0; i < NR_VMS; i++) {
		sum = (struct kvmgang_counters){};
		KUNIT_ASSERT_LE(test, row + vms[i].nr_vcpus, NR_VCPUS);
		for (nr = 0; nr < vms[i].nr_vcpus; nr++, row++) {
			KUNIT_EXPECT_EQ(test, vcpus[row].vm_id, vms[i].vm_id);
			KUNIT_EXPECT_GE(test, vcpus[row].born_ns, vms[i].born_ns);
			/* It is as old as the lag, but not older than the vCPU. */
			KUNIT_EXPECT_GE(test, vcpus[row].now_ns + KVMGANG_READ_LAG_NS,
					s->out_begin_ns);
			if (vcpus[row].now_ns != vcpus[row].born_ns)
				KUNIT_EXPECT_LE(test, vcpus[row].now_ns + KVMGANG_READ_LAG_NS,
						s->out_end_ns);
			account_sum(&sum, &vcpus[row].count);
		}
		/* No vCPU has it. */
		sum.forced_idle_ns = vms[i].sum.forced_idle_ns;
		KUNIT_EXPECT_MEMEQ(test, &sum, &vms[i].sum, sizeof(sum));
	}
	KUNIT_EXPECT_EQ(test, row, NR_VCPUS);
}

static void test_one_vm(struct kunit *test)
{
	const struct caller *c = test->priv;
	const struct kvmgang_vcpu_row *vcpus = (void *)c->vcpus;
	const struct kvmgang_vm_row *vms = (void *)c->vms;
	struct kvmgang_snapshot *s;
	u32 i, j;

	for (i = 0; i < NR_VMS; i++) {
		s = request(test);
		s->vm_id = c->ids[i];
		s->nr_vms = 1;
		s->nr_vcpus = i + 1;
		KUNIT_ASSERT_EQ(test, snapshot(test), 0);
		KUNIT_EXPECT_EQ(test, s->nr_vms, 1);
		KUNIT_EXPECT_EQ(test, s->nr_vcpus, i + 1);
		KUNIT_EXPECT_EQ(test, vms[0].vm_id, c->ids[i]);
		for (j = 0; j <= i; j++)
			KUNIT_EXPECT_EQ(test, vcpus[j].vm_id, c->ids[i]);

		s = request(test);
		s->vm_id = c->ids[i];
		s->nr_vcpus = i;
		KUNIT_EXPECT_EQ(test, snapshot(test), -ENOSPC);
		KUNIT_EXPECT_EQ(test, s->nr_vcpus, i + 1);
		expect_nothing_written(test);
	}
	fake_vm_destroy(c->fakes[0]);
	request(test)->vm_id = c->ids[0];
	KUNIT_EXPECT_EQ(test, snapshot(test), -ENOENT);
	request(test)->vm_id = U32_MAX;
	KUNIT_EXPECT_EQ(test, snapshot(test), -ENOENT);
	expect_nothing_written(test);
}

/* A buffer that ends too early, or is none. */
static void test_fault(struct kunit *test)
{
	const struct caller *c = test->priv;

	request(test)->vms = 0;
	KUNIT_EXPECT_EQ(test, snapshot(test), -EFAULT);
	request(test)->vcpus = 0;
	KUNIT_EXPECT_EQ(test, snapshot(test), -EFAULT);
	request(test)->vcpus = ~7UL;
	KUNIT_EXPECT_EQ(test, snapshot(test), -EFAULT);
	/* The kernel's own memory is no buffer. */
	request(test)->vcpus = (unsigned long)c->vcpus;
	KUNIT_EXPECT_EQ(test, snapshot(test), -EFAULT);
	KUNIT_EXPECT_TRUE(test, untouched(c->vcpus, 0, VCPUS_BYTES));
}

struct births {
	struct task_struct *task;
	struct fake_vm *vm;
};

/* A VM of one vCPU comes and goes. */
static int births(void *arg)
{
	struct births *b = arg;

	while (!kthread_should_stop()) {
		fake_vm_enter(b->vm, 0);
		cond_resched();
		fake_vm_destroy(b->vm);
		cond_resched();
	}
	return 0;
}

static void stop_births(void *arg)
{
	struct births *b = arg;

	kthread_stop(b->task);
	put_task_struct(b->task);
}

static void start_births(struct kunit *test, struct births *b)
{
	b->vm = fake_vm_new(test, 1);
	b->task = kthread_create(births, b, "births");
	KUNIT_ASSERT_FALSE(test, IS_ERR(b->task));
	get_task_struct(b->task);
	wake_up_process(b->task);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_births, b), 0);
}

/* Whatever came and went: the VMs that were there all the time come first, and rows fit. */
static void expect_consistent(struct kunit *test, const struct kvmgang_snapshot *s)
{
	const struct caller *c = test->priv;
	const struct kvmgang_vcpu_row *vcpus = (void *)c->vcpus;
	const struct kvmgang_vm_row *vms = (void *)c->vms;
	u32 i, nr, row = 0;

	for (i = 0; i < s->nr_vms; i++)
		for (nr = 0; nr < vms[i].nr_vcpus; nr++, row++)
			KUNIT_ASSERT_EQ(test, vcpus[row].vm_id, vms[i].vm_id);
	KUNIT_ASSERT_EQ(test, row, s->nr_vcpus);
	for (i = 0; i < NR_VCPUS; i++)
		expect_vcpu_row(test, i, sizeof(*vcpus));
	for (i = 0; i < NR_VMS; i++)
		expect_vm_row(test, i, sizeof(*vms));
	KUNIT_ASSERT_TRUE(test, untouched(c->vms, s->nr_vms * sizeof(*vms), VMS_BYTES));
	KUNIT_ASSERT_TRUE(test, untouched(c->vcpus, s->nr_vcpus * sizeof(*vcpus), VCPUS_BYTES));
}

/* VMs are born between the count and the rows, and die between two rows. */
static void test_births_meanwhile(struct kunit *test)
{
	struct births *b = kernel_memory(test, sizeof(*b));
	struct kvmgang_snapshot *s;
	int i, err, seen = 0;

	start_births(test, b);
	for (i = 0; i < 200; i++) {
		s = request(test);
		s->nr_vms = 2 * NR_VMS;
		s->nr_vcpus = 2 * NR_VCPUS;
		KUNIT_ASSERT_EQ(test, snapshot(test), 0);
		expect_consistent(test, s);
		seen += s->nr_vms - NR_VMS;

		/* Exactly enough without the one that comes and goes. */
		s = request(test);
		err = snapshot(test);
		if (err) {
			KUNIT_ASSERT_EQ(test, err, -ENOSPC);
			KUNIT_ASSERT_GT(test, s->nr_vms + s->nr_vcpus, NR_VMS + NR_VCPUS);
			expect_nothing_written(test);
		} else {
			expect_consistent(test, s);
		}
		cond_resched();
	}
	kunit_info(test, "%d VMs came in 200 snapshots\n", seen);
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(test_size, command_gen_params),
	KUNIT_CASE_PARAM(test_tail, command_gen_params),
	KUNIT_CASE_PARAM(test_flags, command_gen_params),
	KUNIT_CASE(test_unknown),
	KUNIT_CASE(test_info),
	KUNIT_CASE(test_bad_request),
	KUNIT_CASE(test_room),
	KUNIT_CASE(test_row_sizes),
	KUNIT_CASE(test_sums),
	KUNIT_CASE(test_ahead),
	KUNIT_CASE(test_one_vm),
	KUNIT_CASE(test_fault),
	KUNIT_CASE_SLOW(test_births_meanwhile),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_chardev",
	.init = begin,
	.test_cases = cases,
};

kunit_test_suite(suite);
