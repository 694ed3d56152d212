/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VMM for tests: virtual machines whose vCPUs are real, run by KVM, each by a thread of its own.
 *
 *	struct vm *vm = vm_new(4);
 *
 *	vm_pin(vm, 2);
 *	vm_start(vm, guest_spin, 0);
 *	...
 *	vm_free(vm);
 *
 * There are no devices but the in-kernel local APICs, and no firmware: a guest is one of the
 * programs below. What a test cannot do without fails by die(): these functions return no errors.
 * A VM belongs to one thread at a time; only its vCPUs have threads of their own.
 */
#ifndef SELFTESTS_VMM_H
#define SELFTESTS_VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A program of guest.S, and what its argument means. All count, see vcpu_count(). */
extern const char guest_spin[];	/* spins; none */
extern const char guest_halt[];	/* sleeps, counts interrupts; timer period, ns, or 0 */
extern const char guest_barrier[];	/* spins at a barrier with all vCPUs of the VM; none */
extern const char guest_lock[];	/* fights its siblings for a spinlock; loops to hold it */
extern const char guest_ping[];	/* pairs of vCPUs interrupt each other and sleep; none */
extern const char guest_io[];		/* leaves KVM_RUN by port I/O; loops before each */

struct vcpu {
	struct vm *vm;
	int id;
	int fd;
	struct kvm_run *run;
	int cpu;			/* pCPU that its threads are pinned to, -1: to none */
	pid_t tid;			/* of its thread, 0: has none */
	pthread_t thread;
	pthread_barrier_t started;
	bool stop;

	/* Both the test's. Called by the vCPU's thread whenever it leaves KVM_RUN. */
	void (*left)(struct vcpu *vcpu);
	void *data;
};

struct vm {
	int fd;
	int nr_vcpus;
	char *memory;
	size_t memory_size;
	struct vcpu vcpus[];
};

struct vm *vm_new(int nr_vcpus);

/* The file descriptors are closed: KVM destroys the VM before this returns. */
void vm_free(struct vm *vm);

/* Pins threads of the VM's vCPUs, present and future, to @cpu; -1: to none. */
void vm_pin(struct vm *vm, int cpu);
void vcpu_pin(struct vcpu *vcpu, int cpu);

/* Has all vCPUs, which have no threads, begin @program; returns when all have been in the guest. */
void vm_start(struct vm *vm, const char *program, uint64_t argument);

/* Ends the threads of the vCPUs; the vCPUs remain, and can go on. */
void vm_stop(struct vm *vm);
void vm_continue(struct vm *vm);

/* The next entry will begin @program. The vCPU is out of KVM_RUN. */
void vcpu_load(struct vcpu *vcpu, const char *program, uint64_t argument);

/* Thread by thread. Once vcpu_start() returns vcpu->tid is known, but the guest may not run yet. */
void vcpu_start(struct vcpu *vcpu);
void vcpu_stop(struct vcpu *vcpu);

/* One KVM_RUN by the calling thread, for vCPUs that have no thread of their own. */
void vcpu_enter(struct vcpu *vcpu);

/* Interrupts a guest_halt(). */
void vcpu_interrupt(struct vcpu *vcpu);

/* The guest's progress. */
uint64_t vcpu_count(const struct vcpu *vcpu);
uint64_t vm_count(const struct vm *vm);

/* Waits until every vCPU of the VM has made progress. */
void vm_wait_progress(const struct vm *vm);

#endif /* SELFTESTS_VMM_H */
