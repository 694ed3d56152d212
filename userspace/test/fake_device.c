// SPDX-License-Identifier: GPL-2.0
/*
 * A /dev/kvmgang for render.bats, preloaded into the command: fixed counters, so that every figure
 * printed can be checked. It says nothing about the module, which the lab tests with real guests.
 *
 * One second passes from snapshot to snapshot. Between the first and the second VM 2 goes, VM 3
 * comes and VM 1 gets a third vCPU. Rows are in descending order, which the contract allows.
 * FAKE_PIDS holds the pids of VM 1, 2 and 3; FAKE_SCHED_EXT a directory that stands for
 * /sys/kernel/sched_ext.
 *
 * What is asked to be set is written to the file FAKE_ASKED, or refused with FAKE_SET_ERRNO because
 * of the keys FAKE_BAD and the VM FAKE_BAD_VM; what there is to get does not change. With ENOSPC
 * FAKE_FULL is the reservations that there would be and the milli-pCPU that there are, of the nodes
 * FAKE_FULL_NODES.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/kvmgang.h>

#include "kmod/kfunc.h"

#define FAKE_FD	1000
#define MS	1000000ULL

static struct kvmgang_vm_row vms[2];
static struct kvmgang_vcpu_row vcpus[4];

int open(const char *file, int oflag, ...)
{
	int (*real)(const char *file, int oflag, ...) = dlsym(RTLD_NEXT, "open");
	const char *error = getenv("FAKE_ERRNO");

	if (strcmp(file, KVMGANG_DEVICE) != 0)
		return real(file, oflag);
	if (!error)
		return FAKE_FD;
	errno = atoi(error);
	return -1;
}

FILE *fopen(const char *filename, const char *modes)
{
	FILE *(*real)(const char *filename, const char *modes) = dlsym(RTLD_NEXT, "fopen");
	static const char sched_ext[] = "/sys/kernel/sched_ext";
	const char *instead = getenv("FAKE_SCHED_EXT");
	char path[4096];

	if (!instead || strncmp(filename, sched_ext, sizeof(sched_ext) - 1) != 0)
		return real(filename, modes);
	snprintf(path, sizeof(path), "%s%s", instead, filename + sizeof(sched_ext) - 1);
	return real(path, modes);
}

static struct kvmgang_vcpu_row *add_vcpu(__u32 nr, __u32 vm_id, __u32 id, __u64 born, __u64 now)
{
	vcpus[nr] = (struct kvmgang_vcpu_row){
		.vm_id = vm_id, .vcpu_id = id, .tid = (int)(100 * vm_id + id),
		.node = id == 1, .born_ns = born, .now_ns = now,
	};
	return &vcpus[nr];
}

static void add_vm(__u32 nr, __u32 vm_id)
{
	int pids[3] = { 0 };
	const char *env = getenv("FAKE_PIDS");

	if (env)
		sscanf(env, "%d %d %d", &pids[0], &pids[1], &pids[2]);
	vms[nr] = (struct kvmgang_vm_row){ .vm_id = vm_id, .pid = pids[vm_id - 1] };
}

/* Fills in the state after @seconds seconds, the first VM 1's. Returns the number of vCPUs. */
static __u32 build(__u64 seconds)
{
	__u64 now = (10000 + 1000 * seconds) * MS;
	struct kvmgang_vcpu_row *vcpu;
	__u32 nr = 0;

	add_vm(0, seconds ? 3 : 2);
	add_vm(1, 1);
	vms[1].home_nodes = 0x3;
	vcpu = add_vcpu(nr++, seconds ? 3 : 2, 0, seconds ? 10750 * MS : 0, now);
	vcpu->state = KVMGANG_BLOCKED;
	vcpu->count.state_ns[KVMGANG_BLOCKED] = now - vcpu->born_ns;
	if (seconds) {
		vcpu = add_vcpu(nr++, 1, 2, 10500 * MS, now);
		vcpu->count.state_ns[KVMGANG_RUN] = now - vcpu->born_ns;
	}
	vcpu = add_vcpu(nr++, 1, 1, 0, now);
	vcpu->state = KVMGANG_HALTED;
	vcpu->count.state_ns[KVMGANG_HALTED] = now;
	vcpu = add_vcpu(nr++, 1, 0, 0, now);
	vcpu->count.state_ns[KVMGANG_RUN] = now / 2;
	vcpu->count.state_ns[KVMGANG_READY] = now / 4;
	vcpu->count.state_ns[KVMGANG_HALTED] = now / 4;
	vcpu->count.displaced_ns[KVMGANG_BY_VM] = now / 4;
	vcpu->count.ready_hist[0] = 99 * seconds;
	vcpu->count.ready_hist[10] = seconds;
	vcpu->top[0] = (struct kvmgang_top_displacer){ .vm_id = 3, .ns = 5 * MS };
	vcpu->top[2] = (struct kvmgang_top_displacer){ .vm_id = 2, .ns = 2500 * MS };
	return nr;
}

static int fake_snapshot(struct kvmgang_snapshot *s)
{
	static __u64 taken;
	__u32 nr_vcpus = build(taken);
	int room = s->nr_vms >= 2 && s->nr_vcpus >= nr_vcpus;

	s->nr_vms = 2;
	s->nr_vcpus = nr_vcpus;
	if (!room) {
		errno = ENOSPC;
		return -1;
	}
	vms[1].sum.forced_idle_ns = 250 * MS;
	for (__u32 i = 0; i < nr_vcpus; i++) {
		struct kvmgang_vm_row *vm = vcpus[i].vm_id == 1 ? &vms[1] : &vms[0];

		vm->nr_vcpus++;
		for (size_t j = 0; j < sizeof(vm->sum) / sizeof(__u64); j++)
			((__u64 *)&vm->sum)[j] += ((__u64 *)&vcpus[i].count)[j];
	}
	memcpy((void *)(uintptr_t)s->vms, vms, sizeof(vms));
	memcpy((void *)(uintptr_t)s->vcpus, vcpus, nr_vcpus * sizeof(vcpus[0]));
	s->out_end_ns = (10000 + 1000 * taken++) * MS;
	return 0;
}

static int fake_info(struct kvmgang_info *info)
{
	const char *abi = getenv("FAKE_ABI"), *kfunc_abi = getenv("FAKE_KFUNC_ABI");

	info->out_abi = abi ? (__u32)atoi(abi) : KVMGANG_ABI;
	info->out_kfunc_abi = kfunc_abi ? (__u32)atoi(kfunc_abi) : KVMGANG_KFUNC_ABI;
	info->out_nr_vms = 2;
	info->out_nr_vcpus = 4;
	info->out_vcpu_bytes = 1234;
	info->out_max_vms = 4096;
	info->out_max_vcpus = 16384;
	info->out_read_lag_ns = 1000;
	info->out_refused = 7;
	info->out_forced_idle_ns = 1500 * MS;
	return 0;
}

static unsigned long number(const char *variable)
{
	const char *text = getenv(variable);

	return text ? strtoul(text, NULL, 0) : 0;
}

static int fake_get_policy(struct kvmgang_policy *policy)
{
	static const struct kvmgang_setting builtin[KVMGANG_NR_KEYS] = {
		[KVMGANG_KEY_SHARES] = { .value = 100 },
		[KVMGANG_KEY_GANG] = { .value = KVMGANG_GANG_AUTO },
		[KVMGANG_KEY_COSTOP_US] = { .value = 3000 },
		[KVMGANG_KEY_COSTART_US] = { .value = 2000 },
	};

	memcpy(policy->setting, builtin, sizeof(builtin));
	policy->out_known = (1 << KVMGANG_NR_KEYS) - 1;
	if (policy->vm_id != 1)
		return 0;
	policy->setting[KVMGANG_KEY_SHARES].value = 250;
	policy->setting[KVMGANG_KEY_SHARES].out_origin = KVMGANG_ORIGIN_CGROUP;
	policy->setting[KVMGANG_KEY_HOME_NODES].value = 0xb;
	policy->setting[KVMGANG_KEY_HOME_NODES].out_origin = KVMGANG_ORIGIN_USER;
	policy->setting[KVMGANG_KEY_RESERVATION].value = 700;
	policy->setting[KVMGANG_KEY_RESERVATION].out_origin = KVMGANG_ORIGIN_USER;
	policy->setting[KVMGANG_KEY_LATENCY].value = KVMGANG_LATENCY_SENSITIVE;
	policy->setting[KVMGANG_KEY_LATENCY].out_origin = KVMGANG_ORIGIN_USER;
	policy->setting[KVMGANG_KEY_READY_TARGET].value = 50;
	policy->setting[KVMGANG_KEY_READY_TARGET].out_origin = KVMGANG_ORIGIN_USER;
	policy->setting[KVMGANG_KEY_ISOLATION].value = KVMGANG_ISOLATION_CORE;
	policy->setting[KVMGANG_KEY_ISOLATION].out_origin = KVMGANG_ORIGIN_USER;
	return 0;
}

static void fake_full(struct kvmgang_policy *policy)
{
	const char *figures = getenv("FAKE_FULL");

	policy->setting[KVMGANG_KEY_HOME_NODES].value = number("FAKE_FULL_NODES");
	if (figures)
		sscanf(figures, "%llu/%llu", &policy->setting[KVMGANG_KEY_RESERVATION].value,
		       &policy->setting[KVMGANG_KEY_LIMIT].value);
}

static int fake_set_policy(struct kvmgang_policy *policy)
{
	const char *path = getenv("FAKE_ASKED");
	FILE *file;

	errno = (int)number("FAKE_SET_ERRNO");
	if (errno) {
		policy->out_bad = number("FAKE_BAD");
		policy->out_bad_vm = number("FAKE_BAD_VM");
		if (errno == ENOSPC)
			fake_full(policy);
		return -1;
	}
	file = path ? fopen(path, "we") : NULL;
	if (!file)
		return -1;
	fprintf(file, "vm %u set %#llx reset %#llx:", policy->vm_id, policy->set, policy->reset);
	for (int key = 0; key < KVMGANG_NR_KEYS; key++)
		fprintf(file, " %llu", policy->setting[key].value);
	fclose(file);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd == FAKE_FD && request == KVMGANG_INFO)
		return fake_info(arg);
	if (fd == FAKE_FD && request == KVMGANG_SNAPSHOT)
		return fake_snapshot(arg);
	if (fd == FAKE_FD && request == KVMGANG_GET_POLICY)
		return fake_get_policy(arg);
	if (fd == FAKE_FD && request == KVMGANG_SET_POLICY)
		return fake_set_policy(arg);
	errno = ENOTTY;
	return -1;
}
