// SPDX-License-Identifier: GPL-2.0
/*
 * Directed yields: how often a spinning vCPU asked KVM to run another one in its place, and
 * whether the scheduler did. KVM counts only those that a guest asks by hypercall, not the
 * pause-loop exits, so yield_to(), which serves both, is watched by a kretprobe. Only spinners pay
 * for it.
 */
#include <linux/kprobes.h>

#include "thread.h"
#include "yield.h"

static int on_yield_to(struct kretprobe_instance *call, struct pt_regs *regs)
{
	if (!thread_is_vcpu())
		return 1;
	thread_count_yield(false);
	return 0;
}

/* yield_to() returns 1 if the other thread was given the pCPU, 0 or -ESRCH if not. */
static int on_yield_to_return(struct kretprobe_instance *call, struct pt_regs *regs)
{
	if ((long)regs_return_value(regs) > 0)
		thread_count_yield(true);
	return 0;
}

/*
 * A granted yield sleeps inside yield_to(), so as many calls can be open as vCPUs are preempted
 * while they spin. Beyond 1024 (about 100 KiB) a call is not counted.
 */
static struct kretprobe yield_probe = {
	.kp.symbol_name = "yield_to",
	.entry_handler = on_yield_to,
	.handler = on_yield_to_return,
	.maxactive = 1024,
};

int yield_init(void)
{
	int err = register_kretprobe(&yield_probe);

	if (err)
		pr_err("cannot count directed yields: kretprobe on %s: error %d\n",
		       yield_probe.kp.symbol_name, err);
	return err;
}

void yield_exit(void)
{
	unregister_kretprobe(&yield_probe);
}
