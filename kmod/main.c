// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang: honest time accounting of KVM vCPUs. This file only says in which order the parts come
 * and go.
 *
 *	occupancy	who has which pCPU
 *	sysfs		/sys/kernel/kvmgang
 *	policy		what VMs are to get; neither comes nor goes
 *	vcpu		the records, and the end of VMs
 *	resched		pCPUs that ask their scheduler at an exact time
 *	thread		the hooks that find and follow vCPU threads
 *	yield		directed yields
 *	kfunc		what a sched_ext scheduler may ask and tell
 *	chardev		/dev/kvmgang
 *
 * The doors are opened last and closed first. The module can be removed whenever no descriptor is
 * open and no scheduler holds it; guests do not notice either way.
 */
#include <linux/module.h>

#include "chardev.h"
#include "kfunc.h"
#include "occupancy.h"
#include "resched.h"
#include "sysfs.h"
#include "thread.h"
#include "vcpu.h"
#include "version.h"
#include "yield.h"

static int __init kvmgang_init(void)
{
	int err;

	err = occupancy_init();
	if (err)
		return err;
	err = sysfs_init();
	if (err)
		goto exit_occupancy;
	err = vcpu_init();
	if (err)
		goto exit_sysfs;
	resched_init();
	err = thread_init();
	if (err)
		goto exit_resched;
	err = yield_init();
	if (err)
		goto exit_thread;
	err = kfunc_init();
	if (err)
		goto exit_yield;
	err = chardev_init();
	if (err)
		goto exit_yield;
	return 0;

exit_yield:
	yield_exit();
exit_thread:
	thread_exit();
exit_resched:
	resched_exit();
	vcpu_exit();
exit_sysfs:
	sysfs_exit();
exit_occupancy:
	occupancy_exit();
	return err;
}

static void __exit kvmgang_exit(void)
{
	chardev_exit();
	yield_exit();
	thread_exit();
	resched_exit();
	vcpu_exit();
	sysfs_exit();
	occupancy_exit();
}

module_init(kvmgang_init);
module_exit(kvmgang_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("NUMA-local gang scheduling and honest ready time for KVM vCPUs");
MODULE_SOFTDEP("pre: kvm");
MODULE_VERSION(KVMGANG_VERSION);
