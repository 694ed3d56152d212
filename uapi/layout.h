/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The layout of ABI 1, pinned: the module includes this, and lab/lint.sh compiles it as every
 * language and for every word size that a user may have. It is not installed.
 *
 * Structs may grow at their end: then sizes change here and lines are added, but no offset changes.
 */
#ifndef KVMGANG_LAYOUT_H
#define KVMGANG_LAYOUT_H

#include <linux/kvmgang.h>

/* C89 has no static assertion. */
#define PIN_THAT(name, condition) \
	extern char kvmgang_pin_##name[(condition) ? 1 : -1]

#define PIN_SIZE(type, size) \
	PIN_THAT(type, sizeof(struct kvmgang_##type) == (size))

#define PIN(type, member, offset) \
	PIN_THAT(type##_##member, __builtin_offsetof(struct kvmgang_##type, member) == (offset))

PIN_SIZE(counters, 432);
PIN(counters, state_ns, 0);
PIN(counters, run_remote_ns, 48);
PIN(counters, run_shared_ns, 56);
PIN(counters, switches, 64);
PIN(counters, preemptions, 72);
PIN(counters, wakeups, 80);
PIN(counters, migrations, 88);
PIN(counters, yields_asked, 112);
PIN(counters, yields_honoured, 120);
PIN(counters, displaced_ns, 128);
PIN(counters, ready_hist, 168);
PIN(counters, forced_idle_ns, 424);

PIN_SIZE(top_displacer, 16);
PIN(top_displacer, vm_id, 0);
PIN(top_displacer, reserved, 4);
PIN(top_displacer, ns, 8);

PIN_SIZE(vm_row, 464);
PIN(vm_row, vm_id, 0);
PIN(vm_row, pid, 4);
PIN(vm_row, nr_vcpus, 8);
PIN(vm_row, reserved, 12);
PIN(vm_row, home_nodes, 16);
PIN(vm_row, born_ns, 24);
PIN(vm_row, sum, 32);

PIN_SIZE(vcpu_row, 536);
PIN(vcpu_row, vm_id, 0);
PIN(vcpu_row, vcpu_id, 4);
PIN(vcpu_row, tid, 8);
PIN(vcpu_row, state, 12);
PIN(vcpu_row, cpu, 16);
PIN(vcpu_row, node, 20);
PIN(vcpu_row, born_ns, 24);
PIN(vcpu_row, now_ns, 32);
PIN(vcpu_row, top, 40);
PIN(vcpu_row, count, 104);

PIN_SIZE(info, 64);
PIN(info, size, 0);
PIN(info, flags, 4);
PIN(info, out_abi, 8);
PIN(info, out_kfunc_abi, 12);
PIN(info, out_nr_vms, 16);
PIN(info, out_nr_vcpus, 20);
PIN(info, out_vcpu_bytes, 24);
PIN(info, out_max_vms, 28);
PIN(info, out_max_vcpus, 32);
PIN(info, out_reserved, 36);
PIN(info, out_read_lag_ns, 40);
PIN(info, out_refused, 48);
PIN(info, out_forced_idle_ns, 56);

PIN_SIZE(snapshot, 64);
PIN(snapshot, size, 0);
PIN(snapshot, flags, 4);
PIN(snapshot, vm_id, 8);
PIN(snapshot, vm_row_size, 12);
PIN(snapshot, vcpu_row_size, 16);
PIN(snapshot, reserved, 20);
PIN(snapshot, nr_vms, 24);
PIN(snapshot, nr_vcpus, 28);
PIN(snapshot, vms, 32);
PIN(snapshot, vcpus, 40);
PIN(snapshot, out_begin_ns, 48);
PIN(snapshot, out_end_ns, 56);

PIN_SIZE(lookup, 24);
PIN(lookup, size, 0);
PIN(lookup, flags, 4);
PIN(lookup, tid, 8);
PIN(lookup, out_vm_id, 12);
PIN(lookup, out_vcpu_id, 16);
PIN(lookup, out_reserved, 20);

PIN_SIZE(setting, 16);
PIN(setting, value, 0);
PIN(setting, out_origin, 8);
PIN(setting, reserved, 12);

PIN_SIZE(policy, 216);
PIN(policy, size, 0);
PIN(policy, flags, 4);
PIN(policy, vm_id, 8);
PIN(policy, out_bad_vm, 12);
PIN(policy, set, 16);
PIN(policy, reset, 24);
PIN(policy, out_bad, 32);
PIN(policy, out_known, 40);
PIN(policy, out_generation, 48);
PIN(policy, setting, 56);

PIN_THAT(key_shares, KVMGANG_KEY_SHARES == 0);
PIN_THAT(key_gang, KVMGANG_KEY_GANG == 1);
PIN_THAT(key_costop_us, KVMGANG_KEY_COSTOP_US == 2);
PIN_THAT(key_costart_us, KVMGANG_KEY_COSTART_US == 3);
PIN_THAT(key_home_nodes, KVMGANG_KEY_HOME_NODES == 4);
PIN_THAT(key_limit, KVMGANG_KEY_LIMIT == 5);
PIN_THAT(key_reservation, KVMGANG_KEY_RESERVATION == 6);
PIN_THAT(key_latency, KVMGANG_KEY_LATENCY == 7);
PIN_THAT(key_ready_target, KVMGANG_KEY_READY_TARGET == 8);
PIN_THAT(key_isolation, KVMGANG_KEY_ISOLATION == 9);

PIN_THAT(info_number, KVMGANG_INFO == 0xBB00);
PIN_THAT(snapshot_number, KVMGANG_SNAPSHOT == 0xBB01);
PIN_THAT(lookup_number, KVMGANG_LOOKUP == 0xBB02);
PIN_THAT(get_policy_number, KVMGANG_GET_POLICY == 0xBB03);
PIN_THAT(set_policy_number, KVMGANG_SET_POLICY == 0xBB04);

#undef PIN
#undef PIN_SIZE
#undef PIN_THAT

#endif /* KVMGANG_LAYOUT_H */
