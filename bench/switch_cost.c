// SPDX-License-Identifier: GPL-2.0
/*
 * What the module adds to a switch, in instructions.
 *
 *	switch_cost NS_PER_INSTRUCTION
 *
 * Two threads on one pCPU give way to each other as fast as they can: first two vCPUs, each
 * entering its guest in between, then two threads that are none. How long a switch takes is
 * measured in turn without and with the module. In a lab host of one pCPU every instruction takes
 * the same virtual time and nothing else does, so the difference is a count of instructions, and
 * repeatable.
 */
#include <sched.h>
#include <stdlib.h>

#include "selftests/host.h"
#include "selftests/vmm.h"

#define ROUNDS		5
#define SWITCHES	2000

static void give_way(struct vcpu *vcpu)
{
	(void)vcpu;
	sched_yield();
}

static void *plain_thread(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED))
		sched_yield();
	return NULL;
}

/* Nanoseconds per arrival of the thread @tid, whose partner is all that it shares the pCPU with. */
static double ns_per_switch(pid_t tid)
{
	struct schedstat from, to;
	uint64_t start, end;

	sleep_ms(20);
	from = schedstat_read(tid);
	start = now_ns();
	do {
		sleep_ms(10);
		to = schedstat_read(tid);
		end = now_ns();
	} while (to.arrivals - from.arrivals < SWITCHES);
	/* Each arrival of one is followed by one of the other. */
	return (double)(end - start) / (double)(2 * (to.arrivals - from.arrivals));
}

static double vcpu_switch(void)
{
	struct vm *vm = vm_new(2);
	double ns;

	for (int i = 0; i < vm->nr_vcpus; i++)
		vm->vcpus[i].left = give_way;
	vm_pin(vm, nth_cpu(0));
	vm_start(vm, guest_io, 0);
	ns = ns_per_switch(vm->vcpus[0].tid);
	vm_free(vm);
	return ns;
}

static double plain_switch(void)
{
	pthread_t partner;
	bool stop = false;
	uint64_t start, end;
	struct schedstat from, to;

	/* The guests' VM keeps the kernel's preempt notifiers switched on, as on any KVM host. */
	struct vm *vm = vm_new(1);

	pthread_create(&partner, NULL, plain_thread, &stop);
	from = schedstat_read(0);
	start = now_ns();
	do {
		for (int i = 0; i < 100; i++)
			sched_yield();
		to = schedstat_read(0);
		end = now_ns();
	} while (to.arrivals - from.arrivals < SWITCHES);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(partner, NULL);
	vm_free(vm);
	return (double)(end - start) / (double)(2 * (to.arrivals - from.arrivals));
}

static int ascending(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void compare(const char *what, double (*measure)(void), double ns_per_instruction)
{
	double without[ROUNDS], with[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		without[i] = measure() / ns_per_instruction;
		if (module_load())
			die("the module cannot be loaded");
		with[i] = measure() / ns_per_instruction;
		if (module_unload())
			die("the module cannot be unloaded");
	}
	qsort(without, ROUNDS, sizeof(*without), ascending);
	qsort(with, ROUNDS, sizeof(*with), ascending);
	printf("%-20s %8.0f %8.0f %+8.0f   (%.0f..%.0f, %.0f..%.0f)\n", what, without[ROUNDS / 2],
	       with[ROUNDS / 2], with[ROUNDS / 2] - without[ROUNDS / 2], without[0],
	       without[ROUNDS - 1], with[0], with[ROUNDS - 1]);
}

int main(int argc, char **argv)
{
	double ns_per_instruction = argc == 2 ? atof(argv[1]) : 0;

	if (ns_per_instruction <= 0)
		die("usage: switch_cost NS_PER_INSTRUCTION");
	pin_thread(0, nth_cpu(0));
	printf("instructions          without     with     adds   (least..most of %d, each)\n",
	       ROUNDS);
	compare("vCPU switch", vcpu_switch, ns_per_instruction);
	compare("other switch", plain_switch, ns_per_instruction);
	return 0;
}
