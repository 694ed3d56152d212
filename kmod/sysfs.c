// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/kvmgang: one value per file.
 *
 *	abi, kfunc_abi
 *	defaults/ (policy_sysfs.c)
 *	vms/ID/{pid,nr_vcpus,home_nodes,run_ns,ready_ns,...}
 *	vms/ID/policy/ (policy_sysfs.c)
 *	vms/ID/vcpus/ID/{tid,state,run_ns,ready_ns,...}
 *
 * The states and what identifies a row are here; histograms, displacers and whatever else takes a
 * consistent look at many figures is the snapshot's (chardev.c). docs/ABI says what each file
 * means.
 *
 * A directory is an object of its own that points at the record: kobject_del() waits for readers,
 * so the record may go right after it.
 */
#include <linux/cleanup.h>
#include <linux/kobject.h>
#include <linux/nodemask.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "kfunc.h"
#include "policy_sysfs.h"
#include "sysfs.h"
#include "vcpu.h"

struct vm_dir {
	struct kobject kobj;
	struct kvmgang_vm *vm;
};

struct vcpu_dir {
	struct kobject kobj;
	struct kvmgang_vcpu *vcpu;
};

static struct kobject *root, *vms_dir;

static const char * const state_names[KVMGANG_NR_STATES] = {
	[KVMGANG_RUN] = "run",
	[KVMGANG_READY] = "ready",
	[KVMGANG_COSTOP] = "costop",
	[KVMGANG_THROTTLED] = "throttled",
	[KVMGANG_HALTED] = "halted",
	[KVMGANG_BLOCKED] = "blocked",
};

static struct kvmgang_vcpu *to_vcpu(struct kobject *kobj)
{
	return container_of(kobj, struct vcpu_dir, kobj)->vcpu;
}

static struct kobj_attribute vcpu_times[KVMGANG_NR_STATES];

static ssize_t vcpu_time_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct kvmgang_vcpu_row row;

	vcpu_read(to_vcpu(kobj), &row);
	return sysfs_emit(buf, "%llu\n", row.count.state_ns[attr - vcpu_times]);
}

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct kvmgang_vcpu_row row;

	vcpu_read(to_vcpu(kobj), &row);
	return sysfs_emit(buf, "%s\n", state_names[row.state]);
}

static ssize_t tid_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct kvmgang_vcpu_row row;

	vcpu_read(to_vcpu(kobj), &row);
	return sysfs_emit(buf, "%d\n", row.tid);
}

static struct kobj_attribute vcpu_state = __ATTR(state, 0400, state_show, NULL);
static struct kobj_attribute vcpu_tid = __ATTR(tid, 0400, tid_show, NULL);
static struct kobj_attribute vcpu_times[KVMGANG_NR_STATES] = {
	[KVMGANG_RUN] = __ATTR(run_ns, 0400, vcpu_time_show, NULL),
	[KVMGANG_READY] = __ATTR(ready_ns, 0400, vcpu_time_show, NULL),
	[KVMGANG_COSTOP] = __ATTR(costop_ns, 0400, vcpu_time_show, NULL),
	[KVMGANG_THROTTLED] = __ATTR(throttled_ns, 0400, vcpu_time_show, NULL),
	[KVMGANG_HALTED] = __ATTR(halted_ns, 0400, vcpu_time_show, NULL),
	[KVMGANG_BLOCKED] = __ATTR(blocked_ns, 0400, vcpu_time_show, NULL),
};

static struct attribute *vcpu_attrs[] = {
	&vcpu_tid.attr,
	&vcpu_state.attr,
	&vcpu_times[KVMGANG_RUN].attr,
	&vcpu_times[KVMGANG_READY].attr,
	&vcpu_times[KVMGANG_COSTOP].attr,
	&vcpu_times[KVMGANG_THROTTLED].attr,
	&vcpu_times[KVMGANG_HALTED].attr,
	&vcpu_times[KVMGANG_BLOCKED].attr,
	NULL
};
ATTRIBUTE_GROUPS(vcpu);

static void vcpu_dir_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct vcpu_dir, kobj));
}

static const struct kobj_type vcpu_type = {
	.release = vcpu_dir_release,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = vcpu_groups,
};

static struct kvmgang_vm *to_vm(struct kobject *kobj)
{
	return container_of(kobj, struct vm_dir, kobj)->vm;
}

static struct kobj_attribute vm_times[KVMGANG_NR_STATES];

/* The directory keeps the VM, and vCPUs stay with their VM, so the list only grows under us. */
static ssize_t vm_time_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct kvmgang_vcpu_row row;
	struct kvmgang_vcpu *vcpu;
	u64 sum = 0;

	list_for_each_entry_rcu(vcpu, &to_vm(kobj)->vcpus, link, true) {
		vcpu_read(vcpu, &row);
		sum += row.count.state_ns[attr - vm_times];
	}
	return sysfs_emit(buf, "%llu\n", sum);
}

static ssize_t pid_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", pid_vnr(to_vm(kobj)->pid));
}

static ssize_t nr_vcpus_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(to_vm(kobj)->nr_vcpus));
}

static ssize_t home_nodes_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	DECLARE_BITMAP(nodes, 64);

	bitmap_from_u64(nodes, READ_ONCE(to_vm(kobj)->home_nodes));
	return sysfs_emit(buf, "%*pbl\n", 64, nodes);
}

static ssize_t vm_forced_idle_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", atomic64_read(&to_vm(kobj)->forced_idle));
}

static struct kobj_attribute vm_forced_idle =
	__ATTR(forced_idle_ns, 0400, vm_forced_idle_show, NULL);
static struct kobj_attribute vm_pid = __ATTR(pid, 0400, pid_show, NULL);
static struct kobj_attribute vm_nr_vcpus = __ATTR(nr_vcpus, 0400, nr_vcpus_show, NULL);
static struct kobj_attribute vm_home_nodes = __ATTR(home_nodes, 0400, home_nodes_show, NULL);
static struct kobj_attribute vm_times[KVMGANG_NR_STATES] = {
	[KVMGANG_RUN] = __ATTR(run_ns, 0400, vm_time_show, NULL),
	[KVMGANG_READY] = __ATTR(ready_ns, 0400, vm_time_show, NULL),
	[KVMGANG_COSTOP] = __ATTR(costop_ns, 0400, vm_time_show, NULL),
	[KVMGANG_THROTTLED] = __ATTR(throttled_ns, 0400, vm_time_show, NULL),
	[KVMGANG_HALTED] = __ATTR(halted_ns, 0400, vm_time_show, NULL),
	[KVMGANG_BLOCKED] = __ATTR(blocked_ns, 0400, vm_time_show, NULL),
};

static struct attribute *vm_attrs[] = {
	&vm_pid.attr,
	&vm_nr_vcpus.attr,
	&vm_home_nodes.attr,
	&vm_times[KVMGANG_RUN].attr,
	&vm_times[KVMGANG_READY].attr,
	&vm_times[KVMGANG_COSTOP].attr,
	&vm_times[KVMGANG_THROTTLED].attr,
	&vm_times[KVMGANG_HALTED].attr,
	&vm_times[KVMGANG_BLOCKED].attr,
	&vm_forced_idle.attr,
	NULL
};
ATTRIBUTE_GROUPS(vm);

static void vm_dir_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct vm_dir, kobj));
}

static const struct kobj_type vm_type = {
	.release = vm_dir_release,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = vm_groups,
};

static struct kobject *make_vm_dir(struct kvmgang_vm *vm)
{
	struct vm_dir *dir = kzalloc(sizeof(*dir), GFP_KERNEL);

	if (!dir)
		return NULL;
	dir->vm = vm;
	if (kobject_init_and_add(&dir->kobj, &vm_type, vms_dir, "%u", vm->id)) {
		kobject_put(&dir->kobj);
		return NULL;
	}
	return &dir->kobj;
}

static struct kobject *make_vcpu_dir(struct kvmgang_vcpu *vcpu)
{
	struct vcpu_dir *dir = kzalloc(sizeof(*dir), GFP_KERNEL);

	if (!dir)
		return NULL;
	dir->vcpu = vcpu;
	if (kobject_init_and_add(&dir->kobj, &vcpu_type, vcpu->vm->vcpus_dir, "%u", vcpu->id)) {
		kobject_put(&dir->kobj);
		return NULL;
	}
	return &dir->kobj;
}

void sysfs_add_vm(struct kvmgang_vm *vm)
{
	struct kvmgang_vcpu *vcpu;

	if (!vm->dir)
		vm->dir = make_vm_dir(vm);
	if (vm->dir && !vm->vcpus_dir)
		vm->vcpus_dir = kobject_create_and_add("vcpus", vm->dir);
	if (vm->dir && !vm->policy_dir)
		vm->policy_dir = policy_sysfs_add(vm);
	if (!vm->vcpus_dir || !vm->policy_dir) {
		pr_warn_once("no memory for a VM's directory in sysfs\n");
		return;
	}
	list_for_each_entry_rcu(vcpu, &vm->vcpus, link, true)
		if (!vcpu->dir)
			vcpu->dir = make_vcpu_dir(vcpu);
}

static void remove_dir(struct kobject *dir)
{
	if (!dir)
		return;
	kobject_del(dir);
	kobject_put(dir);
}

void sysfs_remove_vm(struct kvmgang_vm *vm)
{
	struct kvmgang_vcpu *vcpu;

	list_for_each_entry(vcpu, &vm->vcpus, link)
		remove_dir(vcpu->dir);
	remove_dir(vm->vcpus_dir);
	remove_dir(vm->policy_dir);
	remove_dir(vm->dir);
}

static ssize_t abi_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", KVMGANG_ABI);
}

static ssize_t kfunc_abi_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", KVMGANG_KFUNC_ABI);
}

static struct kobj_attribute root_abi = __ATTR(abi, 0400, abi_show, NULL);
static struct kobj_attribute root_kfunc_abi = __ATTR(kfunc_abi, 0400, kfunc_abi_show, NULL);

static const struct attribute *root_attrs[] = { &root_abi.attr, &root_kfunc_abi.attr, NULL };

int sysfs_init(void)
{
	int err = -ENOMEM;

	root = kobject_create_and_add("kvmgang", kernel_kobj);
	if (!root)
		return err;
	vms_dir = kobject_create_and_add("vms", root);
	if (!vms_dir)
		goto put_root;
	err = sysfs_create_files(root, root_attrs);
	if (err)
		goto put_vms;
	err = policy_sysfs_init(root);
	if (err)
		goto remove_files;
	return 0;

remove_files:
	sysfs_remove_files(root, root_attrs);
put_vms:
	kobject_put(vms_dir);
put_root:
	kobject_put(root);
	return err;
}

void sysfs_exit(void)
{
	policy_sysfs_exit();
	sysfs_remove_files(root, root_attrs);
	kobject_put(vms_dir);
	kobject_put(root);
}
