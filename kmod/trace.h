/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: /sys/kernel/tracing/events/kvmgang/. Times are ns; tids are the host's. A vCPU's off
 * time between a depart and the next arrive is @ready, what a scheduler held, and the rest as @rest
 * of the depart says.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvmgang

#if !defined(KVMGANG_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KVMGANG_TRACE_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

#include "vcpu.h"

#define show_state(state)						\
	__print_symbolic(state,						\
			 { KVMGANG_RUN,		"run" },		\
			 { KVMGANG_READY,	"ready" },		\
			 { KVMGANG_COSTOP,	"costop" },		\
			 { KVMGANG_THROTTLED,	"throttled" },		\
			 { KVMGANG_HALTED,	"halted" },		\
			 { KVMGANG_BLOCKED,	"blocked" })

#define show_displacer(kind)						\
	__print_symbolic(kind,						\
			 { KVMGANG_BY_VM,	"vm" },			\
			 { KVMGANG_BY_SIBLING,	"sibling" },		\
			 { KVMGANG_BY_HOST,	"host" },		\
			 { KVMGANG_BY_KTHREAD,	"kthread" },		\
			 { KVMGANG_BY_NOBODY,	"nobody" })

/* A thread begins to serve a vCPU. */
TRACE_EVENT(vcpu_bind,
	TP_PROTO(const struct kvmgang_vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(int, tid)
		__field(int, cpu)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->tid = vcpu->thread->task->pid;
		__entry->cpu = vcpu->cpu;
	),
	TP_printk("vm=%u vcpu=%u tid=%d cpu=%d",
		  __entry->vm, __entry->vcpu, __entry->tid, __entry->cpu)
);

/* A vCPU left its pCPU to next_tid, a vCPU of next_vm if that is not 0. rest: asleep as what. */
TRACE_EVENT(vcpu_depart,
	TP_PROTO(const struct kvmgang_vcpu *vcpu, const struct task_struct *next,
		 struct kvmgang_occupant who),
	TP_ARGS(vcpu, next, who),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(int, tid)
		__field(int, cpu)
		__field(u32, state)
		__field(u32, by)
		__field(u32, next_vm)
		__field(int, next_tid)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->tid = vcpu->thread->task->pid;
		__entry->cpu = vcpu->cpu;
		__entry->state = account_state(&vcpu->account, vcpu->preempted);
		__entry->by = who.kind;
		__entry->next_vm = who.vm_id;
		__entry->next_tid = next->pid;
	),
	TP_printk("vm=%u vcpu=%u tid=%d cpu=%d state=%s by=%s next_vm=%u next_tid=%d",
		  __entry->vm, __entry->vcpu, __entry->tid, __entry->cpu,
		  show_state(__entry->state), show_displacer(__entry->by), __entry->next_vm,
		  __entry->next_tid)
);

/* A vCPU got pCPU cpu after it had left from_cpu; it was ready for ready ns; by had cpu before. */
TRACE_EVENT(vcpu_arrive,
	TP_PROTO(const struct kvmgang_vcpu *vcpu, int from_cpu, u64 ready,
		 struct kvmgang_occupant before),
	TP_ARGS(vcpu, from_cpu, ready, before),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(int, tid)
		__field(int, cpu)
		__field(int, from_cpu)
		__field(int, node)
		__field(int, from_node)
		__field(u32, by)
		__field(u32, before_vm)
		__field(u64, ready)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->tid = vcpu->thread->task->pid;
		__entry->cpu = vcpu->cpu;
		__entry->from_cpu = from_cpu;
		__entry->node = cpu_to_node(vcpu->cpu);
		__entry->from_node = cpu_to_node(from_cpu);
		__entry->by = before.kind;
		__entry->before_vm = before.vm_id;
		__entry->ready = ready;
	),
	TP_printk("vm=%u vcpu=%u tid=%d cpu=%d from_cpu=%d node=%d from_node=%d by=%s before_vm=%u ready=%llu",
		  __entry->vm, __entry->vcpu, __entry->tid, __entry->cpu, __entry->from_cpu,
		  __entry->node, __entry->from_node, show_displacer(__entry->by),
		  __entry->before_vm, __entry->ready)
);

/* A scheduler holds a runnable vCPU back as state, or lets it go: state=run. */
TRACE_EVENT(vcpu_hold,
	TP_PROTO(const struct kvmgang_vcpu *vcpu, u32 state),
	TP_ARGS(vcpu, state),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(int, tid)
		__field(u32, state)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->tid = vcpu->thread->task->pid;
		__entry->state = state;
	),
	TP_printk("vm=%u vcpu=%u tid=%d state=%s",
		  __entry->vm, __entry->vcpu, __entry->tid, show_state(__entry->state))
);

#define show_key(key)							\
	__print_symbolic(key,						\
			 { KVMGANG_KEY_SHARES,		"shares" },	\
			 { KVMGANG_KEY_GANG,		"gang" },	\
			 { KVMGANG_KEY_COSTOP_US,	"costop_us" },	\
			 { KVMGANG_KEY_COSTART_US,	"costart_us" },	\
			 { KVMGANG_KEY_HOME_NODES,	"home_nodes" },	\
			 { KVMGANG_KEY_LIMIT,		"limit" },	\
			 { KVMGANG_KEY_RESERVATION,	"reservation" }, \
			 { KVMGANG_KEY_LATENCY,		"latency" },	\
			 { KVMGANG_KEY_READY_TARGET,	"ready_target" }, \
			 { KVMGANG_KEY_ISOLATION,	"isolation" })

#define show_origin(origin)						\
	__print_symbolic(origin,					\
			 { KVMGANG_ORIGIN_DEFAULT,	"default" },	\
			 { KVMGANG_ORIGIN_CGROUP,	"cgroup" },	\
			 { KVMGANG_ORIGIN_USER,		"user" })

/* What key is for a VM, or with vm=0 by default, after somebody set or reset it. */
TRACE_EVENT(policy_change,
	TP_PROTO(u32 vm, u32 key, u64 value, u32 origin),
	TP_ARGS(vm, key, value, origin),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, key)
		__field(u64, value)
		__field(u32, origin)
	),
	TP_fast_assign(
		__entry->vm = vm;
		__entry->key = key;
		__entry->value = value;
		__entry->origin = origin;
	),
	TP_printk("vm=%u key=%s value=%llu origin=%s",
		  __entry->vm, show_key(__entry->key), __entry->value,
		  show_origin(__entry->origin))
);

/* A VM is at home on other nodes from now on; bit n of nodes: node n. */
TRACE_EVENT(vm_home,
	TP_PROTO(const struct kvmgang_vm *vm),
	TP_ARGS(vm),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u64, nodes)
	),
	TP_fast_assign(
		__entry->vm = vm->id;
		__entry->nodes = vm->home_nodes;
	),
	TP_printk("vm=%u nodes=0x%llx", __entry->vm, __entry->nodes)
);

#endif /* KVMGANG_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
