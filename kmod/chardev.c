// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/kvmgang: the ioctls of uapi/linux/kvmgang.h.
 *
 * Each one is copied in whole (copy_struct_from_user() gives short and long structs their errno),
 * checked, carried out, and copied out whole. A snapshot is gathered in kernel memory first, one
 * vCPU's lock at a time, so that a slow or faulting buffer holds nobody up and a failed call has
 * written no row.
 */
#include <linux/fs.h>
#include <linux/kvmgang.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chardev.h"
#include "kfunc.h"
#include "layout.h"
#include "policy.h"
#include "thread.h"
#include "vcpu.h"

struct rows {
	struct kvmgang_vm_row *vms;
	struct kvmgang_vcpu_row *vcpus;
	u32 max_vms, max_vcpus;		/* room */
	u32 nr_vms, nr_vcpus;		/* found; beyond the room they are only counted */
	u64 newest;			/* ns, of all vCPUs */
};

static int do_info(void *arg)
{
	struct kvmgang_info *info = arg;

	if (info->flags)
		return -EINVAL;
	info->out_abi = KVMGANG_ABI;
	info->out_kfunc_abi = KVMGANG_KFUNC_ABI;
	info->out_nr_vms = vcpu_nr_vms();
	info->out_nr_vcpus = vcpu_nr_vcpus();
	info->out_vcpu_bytes = sizeof(struct kvmgang_vcpu) + sizeof(struct kvmgang_thread);
	info->out_max_vms = KVMGANG_MAX_VMS;
	info->out_max_vcpus = KVMGANG_MAX_VCPUS;
	info->out_reserved = 0;
	info->out_read_lag_ns = KVMGANG_READ_LAG_NS;
	info->out_refused = vcpu_nr_refused();
	info->out_forced_idle_ns = vcpu_host_forced_idle();
	return 0;
}

static void gather_vcpu(struct rows *rows, struct kvmgang_vcpu *vcpu, struct kvmgang_vm_row *vm)
{
	struct kvmgang_vcpu_row *row;

	if (rows->nr_vcpus++ >= rows->max_vcpus)
		return;
	row = &rows->vcpus[rows->nr_vcpus - 1];
	vcpu_read(vcpu, row);
	rows->newest = max(rows->newest, row->now_ns);
	if (vm) {
		vm->nr_vcpus++;
		account_sum(&vm->sum, &row->count);
	}
}

static void gather_vm(struct rows *rows, struct kvmgang_vm *vm)
{
	struct kvmgang_vm_row *row = NULL;
	struct kvmgang_vcpu *vcpu;

	if (rows->nr_vms++ < rows->max_vms) {
		row = &rows->vms[rows->nr_vms - 1];
		row->vm_id = vm->id;
		row->pid = pid_vnr(vm->pid);
		row->home_nodes = READ_ONCE(vm->home_nodes);
		row->born_ns = vm->born;
		row->sum.forced_idle_ns = atomic64_read(&vm->forced_idle);
	}
	/* vCPUs may be added while we walk; RCU list primitives make that harmless. */
	list_for_each_entry_rcu(vcpu, &vm->vcpus, link, lockdep_is_held(&vms_rwsem))
		gather_vcpu(rows, vcpu, row);
}

/* Walks all VMs, or the one with @vm_id. The semaphore keeps what is on the lists in memory. */
static void gather(struct rows *rows, u32 vm_id)
{
	struct kvmgang_vm *vm;

	guard(rwsem_read)(&vms_rwsem);
	list_for_each_entry_rcu(vm, &vms, link, lockdep_is_held(&vms_rwsem)) {
		if (!READ_ONCE(vm->dead) && (!vm_id || vm->id == vm_id))
			gather_vm(rows, vm);
		cond_resched();
	}
}

static int check_snapshot(const struct kvmgang_snapshot *s)
{
	if (s->flags || s->reserved)
		return -EINVAL;
	if (!s->vm_row_size || s->vm_row_size % 8 || s->vm_row_size > PAGE_SIZE ||
	    !s->vcpu_row_size || s->vcpu_row_size % 8 || s->vcpu_row_size > PAGE_SIZE)
		return -EINVAL;
	if (s->vms % 8 || s->vcpus % 8)
		return -EINVAL;
	return 0;
}

/* A caller's row may be shorter than ours, which cuts it, or longer, which clears the rest. */
static int copy_rows(u64 address, u32 row_size, const void *rows, size_t our_size, u32 nr)
{
	char __user *to = u64_to_user_ptr(address);
	size_t size = min_t(size_t, row_size, our_size);

	for (; nr; nr--, to += row_size, rows += our_size) {
		if (copy_to_user(to, rows, size) || clear_user(to + size, row_size - size))
			return -EFAULT;
	}
	return 0;
}

static int deliver(const struct kvmgang_snapshot *s, const struct rows *rows)
{
	int err = copy_rows(s->vms, s->vm_row_size, rows->vms, sizeof(*rows->vms), rows->nr_vms);

	return err ?: copy_rows(s->vcpus, s->vcpu_row_size, rows->vcpus, sizeof(*rows->vcpus),
				rows->nr_vcpus);
}

static int do_snapshot(void *arg)
{
	struct kvmgang_snapshot *s = arg;
	struct rows rows = {
		/* A caller's room beyond what can exist costs no memory. */
		.max_vms = min(s->nr_vms, vcpu_nr_vms()),
		.max_vcpus = min(s->nr_vcpus, vcpu_nr_vcpus()),
	};
	int err = check_snapshot(s);

	if (err)
		return err;
again:
	rows.vms = kvcalloc(rows.max_vms, sizeof(*rows.vms), GFP_KERNEL_ACCOUNT);
	rows.vcpus = kvcalloc(rows.max_vcpus, sizeof(*rows.vcpus), GFP_KERNEL_ACCOUNT);
	err = -ENOMEM;
	if ((rows.max_vms && !rows.vms) || (rows.max_vcpus && !rows.vcpus))
		goto out;

	s->out_begin_ns = local_clock();
	gather(&rows, s->vm_id);
	/* The clock of a pCPU that has just stamped one may be ahead of ours. */
	s->out_end_ns = max(local_clock(), rows.newest);

	err = -ENOENT;
	if (s->vm_id && !rows.nr_vms)
		goto out;
	err = -ENOSPC;
	if (rows.nr_vms > s->nr_vms || rows.nr_vcpus > s->nr_vcpus) {
		s->nr_vms = rows.nr_vms;
		s->nr_vcpus = rows.nr_vcpus;
		goto out;
	}
	if (rows.nr_vms > rows.max_vms || rows.nr_vcpus > rows.max_vcpus)
		goto grow;

	err = deliver(s, &rows);
	s->nr_vms = rows.nr_vms;
	s->nr_vcpus = rows.nr_vcpus;
out:
	kvfree(rows.vcpus);
	kvfree(rows.vms);
	return err;

grow:	/* Births in between; the caller has room for them, so they belong in this snapshot. */
	kvfree(rows.vcpus);
	kvfree(rows.vms);
	rows = (struct rows){ .max_vms = rows.nr_vms, .max_vcpus = rows.nr_vcpus };
	goto again;
}

static int do_lookup(void *arg)
{
	struct kvmgang_lookup *lookup = arg;
	int err = -ENOENT;
	struct pid *pid;

	if (lookup->flags)
		return -EINVAL;
	lookup->out_reserved = 0;
	pid = find_get_pid(lookup->tid);
	scoped_guard(rcu) {
		const struct task_struct *p = pid_task(pid, PIDTYPE_PID);

		if (p)
			err = thread_lookup(p, &lookup->out_vm_id, &lookup->out_vcpu_id);
	}
	put_pid(pid);
	return err;
}

static int do_get_policy(void *arg)
{
	struct kvmgang_policy *policy = arg;
	struct policy_view view;
	u32 key;
	int err;

	if (policy->flags || policy->set || policy->reset)
		return -EINVAL;
	err = policy_read(policy->vm_id, &view);
	if (err)
		return err;
	for (key = 0; key < KVMGANG_NR_KEYS; key++) {
		policy->setting[key] = (struct kvmgang_setting){
			.value = view.value[key],
			.out_origin = view.origin[key],
		};
	}
	policy->out_bad_vm = 0;
	policy->out_bad = 0;
	policy->out_known = policy_known();
	policy->out_generation = view.generation;
	return 0;
}

static int do_set_policy(void *arg)
{
	struct kvmgang_policy *policy = arg;
	struct policy_request request = {
		.vm_id = policy->vm_id,
		.reset = policy->reset,
		.set.given = policy->set,
	};
	u32 key;
	int err;

	if (policy->flags)
		return -EINVAL;
	for (key = 0; key < KVMGANG_NR_KEYS; key++) {
		if (policy->set & policy_bit(key) && policy->setting[key].reserved)
			return -EINVAL;
		request.set.value[key] = policy->setting[key].value;
	}
	err = policy_change(&request);
	if (request.bad) {
		policy->out_bad = request.bad;
		policy->out_bad_vm = request.bad_vm;
	}
	if (err == -ENOSPC) {
		policy->setting[KVMGANG_KEY_HOME_NODES].value = request.full.nodes;
		policy->setting[KVMGANG_KEY_LIMIT].value = request.full.capacity;
		policy->setting[KVMGANG_KEY_RESERVATION].value = request.full.reserved;
	}
	return err;
}

/* @size: of our struct; @min: its end in ABI 1; @needs: how the node must have been opened. */
struct ioctl_op {
	unsigned int cmd;
	fmode_t needs;
	size_t size, min;
	int (*run)(void *arg);
};

#define IOCTL_OP(_cmd, _needs, _fn, _struct, _last)			\
	[_IOC_NR(_cmd)] = {						\
		.cmd = (_cmd),						\
		.needs = (_needs),					\
		.size = sizeof(struct _struct) +			\
			BUILD_BUG_ON_ZERO(sizeof(struct _struct) > sizeof(union ioctl_arg)), \
		.min = offsetofend(struct _struct, _last),		\
		.run = (_fn),						\
	}

union ioctl_arg {
	u32 size;
	struct kvmgang_info info;
	struct kvmgang_snapshot snapshot;
	struct kvmgang_lookup lookup;
	struct kvmgang_policy policy;
};

static const struct ioctl_op ioctl_ops[] = {
	IOCTL_OP(KVMGANG_INFO, FMODE_READ, do_info, kvmgang_info, out_refused),
	IOCTL_OP(KVMGANG_SNAPSHOT, FMODE_READ, do_snapshot, kvmgang_snapshot, out_end_ns),
	IOCTL_OP(KVMGANG_LOOKUP, FMODE_READ, do_lookup, kvmgang_lookup, out_reserved),
	IOCTL_OP(KVMGANG_GET_POLICY, FMODE_READ, do_get_policy, kvmgang_policy,
		 setting[KVMGANG_KEY_HOME_NODES]),
	IOCTL_OP(KVMGANG_SET_POLICY, FMODE_WRITE, do_set_policy, kvmgang_policy,
		 setting[KVMGANG_KEY_HOME_NODES]),
};

static long kvmgang_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	void __user *user = (void __user *)uarg;
	union ioctl_arg arg = {};
	const struct ioctl_op *op;
	u32 size;
	int err;

	if (_IOC_NR(cmd) >= ARRAY_SIZE(ioctl_ops) || ioctl_ops[_IOC_NR(cmd)].cmd != cmd)
		return -ENOTTY;
	op = &ioctl_ops[_IOC_NR(cmd)];
	if (!(file->f_mode & op->needs))
		return -EBADF;
	if (uarg % 8)
		return -EINVAL;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < op->min)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(&arg, op->size, user, size);
	if (err)
		return err;
	/* The caller may have changed it between the copies; the one that was checked counts. */
	arg.size = size;

	err = op->run(&arg);
	/* How much is needed, which keys were refused and why; else the argument is as it was. */
	if (err && err != -ENOSPC && err != -EINVAL && err != -ERANGE)
		return err;
	if (copy_to_user(user, &arg, min_t(size_t, size, op->size)))
		return -EFAULT;
	return err;
}

static const struct file_operations kvmgang_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kvmgang_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* Where a host's time goes says much about its guests: root's until root decides otherwise. */
static struct miscdevice kvmgang_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kvmgang",
	.fops = &kvmgang_fops,
	.mode = 0600,
};

int chardev_init(void)
{
	return misc_register(&kvmgang_device);
}

void chardev_exit(void)
{
	misc_deregister(&kvmgang_device);
}
