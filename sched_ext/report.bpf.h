/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the scheduler tells the command: what it did, and why it left; and the faults by which tests
 * make it leave. See interface.h for what is told.
 */
#ifndef KVMGANG_REPORT_BPF_H
#define KVMGANG_REPORT_BPF_H

#include "interface.h"
#include "kmod/kfunc.h"

/* enum fault; set before loading. */
const volatile __u32 fault;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_NODES);
	__type(key, u32);
	__type(value, struct sched_stats);
} kvmgang_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_NODES);
	__type(key, u32);
	__type(value, struct target_report);
} kvmgang_targets SEC(".maps");

/* For the one struct sched_exit. A page is the least that it can have. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} exits SEC(".maps");

/*
 * No atomic operation: a pCPU's record is its own, and programs that count run with interrupts off.
 */
static void event(u32 node, enum sched_event event)
{
	struct sched_stats *stats = bpf_map_lookup_elem(&kvmgang_stats, &node);

	if (stats)
		stats->nr[event]++;
}

/*
 * scx_bpf_error() of the kernel's own headers, which no package ships. Arguments are integers or
 * pointers, as bpf_printk()'s.
 */
#define sched_error(format, args...)						\
({										\
	static char format_[] = format;						\
	unsigned long long args_[] = { args };					\
										\
	scx_bpf_error_bstr(format_, args_, sizeof(args_));			\
})

/* True: the caller is to do nothing for @p. */
static bool fault_strikes(const struct task_struct *p)
{
	u32 i;

	if (fault != FAULT_ERROR && fault != FAULT_STALL)
		return false;
	for (i = 0; i < sizeof(FAULTY_COMM); i++)
		if (p->comm[i] != FAULTY_COMM[i])
			return false;
	if (fault == FAULT_ERROR)
		sched_error("fault wanted for thread %d", p->pid);
	return true;
}

/*
 * The command has compared them, too, but a module can be replaced between that and the attachment.
 * From here on the module stays: this program holds it.
 */
static int check_kfunc_abi(void)
{
	u32 abi = kvmgang_kfunc_abi();

	if (fault == FAULT_ABI)
		abi++;
	if (abi == KVMGANG_KFUNC_ABI)
		return 0;
	sched_error("kfunc ABI of the module is %u: must be %u", abi, KVMGANG_KFUNC_ABI);
	return -EINVAL;
}

static enum exit_why exit_why(const struct scx_exit_info *info)
{
	switch (info->kind) {
	case SCX_EXIT_UNREG:
		return EXIT_DETACHED;
	case SCX_EXIT_SYSRQ:
		return EXIT_OPERATOR;
	case SCX_EXIT_UNREG_KERN:
		return info->exit_code & SCX_ECODE_ACT_RESTART ? EXIT_RESTART : EXIT_FAULT;
	default:
		return EXIT_FAULT;
	}
}

static void report_exit(const struct scx_exit_info *info)
{
	struct sched_exit *exit = bpf_ringbuf_reserve(&exits, sizeof(*exit), 0);

	if (!exit)
		return;
	exit->why = exit_why(info);
	bpf_probe_read_kernel_str(exit->reason, sizeof(exit->reason), info->reason);
	bpf_probe_read_kernel_str(exit->message, sizeof(exit->message), info->msg);
	bpf_ringbuf_submit(exit, BPF_RB_FORCE_WAKEUP);
}

#endif /* KVMGANG_REPORT_BPF_H */
