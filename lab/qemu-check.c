// SPDX-License-Identifier: GPL-2.0
/*
 * What qemu-check.sh runs inside an emulated machine to see whether the lab's QEMU keeps what its
 * patches promise. Each subcommand prints figures and leaves the verdict to the script.
 *
 *   rate N        rounds per virtual second of a loop on CPU 0 while N - 1 other CPUs do the same
 *   pause         the cost of PAUSE in instructions
 *   filter COUNT  makes a KVM guest PAUSE COUNT times in a tight loop
 *   spread COUNT  the same with 200 instructions between two PAUSEs
 *   race          four processes on all CPUs race for a lock; who had it when, in nanoseconds
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC	1000000000LL

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "CPU %d", cpu);
}

static void *shared_page(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		err(1, "mmap");
	return page;
}

/* Two instructions a round. */
static void spin(uint64_t rounds)
{
	asm volatile("1: dec %0; jnz 1b" : "+r"(rounds));
}

static void spin_pausing(uint64_t rounds)
{
	asm volatile("1: pause; dec %0; jnz 1b" : "+r"(rounds));
}

static void rate(int cpus)
{
	int *stop = shared_page();
	int64_t begin, end;
	uint64_t rounds = 0;
	int cpu;

	for (cpu = 1; cpu < cpus; cpu++) {
		if (fork() == 0) {
			pin(cpu);
			while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
				spin(1000);
			_exit(0);
		}
	}
	pin(0);
	usleep(100000);
	begin = now_ns();
	do {
		spin(10000);
		rounds += 10000;
		end = now_ns();
	} while (end - begin < NSEC_PER_SEC / 2);
	__atomic_store_n(stop, 1, __ATOMIC_RELAXED);
	while (wait(NULL) > 0)
		;
	printf("%lld\n", (long long)(rounds * NSEC_PER_SEC / (end - begin)));
}

static void pause_cost(void)
{
	const uint64_t rounds = 200000;
	int64_t begin, plain, pausing;

	pin(0);
	begin = now_ns();
	spin(rounds * 10);
	plain = (now_ns() - begin) / 10;
	begin = now_ns();
	spin_pausing(rounds);
	pausing = now_ns() - begin;
	printf("%lld\n", (long long)((pausing - plain) * 2 / plain));
}

/* Runs real-mode code at address 0 until it halts. */
static void run_guest(const void *code, size_t size)
{
	struct kvm_userspace_memory_region region = { .memory_size = 4096 };
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_run *run;
	int kvm, vm, vcpu;
	void *memory = shared_page();

	memcpy(memory, code, size);
	region.userspace_addr = (uintptr_t)memory;
	kvm = open("/dev/kvm", O_RDWR);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (kvm < 0 || vm < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		err(1, "VM");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu, 0);
	if (vcpu < 0 || run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		err(1, "vCPU");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		err(1, "registers");
	if (ioctl(vcpu, KVM_RUN, 0))
		err(1, "KVM_RUN");
	if (run->exit_reason != KVM_EXIT_HLT)
		errx(1, "exit reason %u", run->exit_reason);
}

static void filter(uint16_t count)
{
	uint8_t code[] = {
		0xb9, count & 0xff, count >> 8,	/*    mov $count, %cx */
		0xf3, 0x90,			/* 1: pause */
		0xe2, 0xfc,			/*    loop 1b */
		0xf4,				/*    hlt */
	};

	run_guest(code, sizeof(code));
}

static void spread(uint16_t count)
{
	uint8_t code[] = {
		0xb9, count & 0xff, count >> 8,	/*    mov $count, %cx */
		0xf3, 0x90,			/* 1: pause */
		0xba, 100, 0,			/*    mov $100, %dx */
		0x4a,				/* 2: dec %dx */
		0x75, 0xfd,			/*    jnz 2b */
		0xe2, 0xf6,			/*    loop 1b */
		0xf4,				/*    hlt */
	};

	run_guest(code, sizeof(code));
}

static void race(void)
{
	struct {
		int lock;
		int turns;
		struct { int who; int64_t ns; } log[128];
	} *shared = shared_page();
	int who, i;

	for (who = 0; who < 4; who++) {
		if (fork())
			continue;
		for (i = 0; i < 32; i++) {
			while (__atomic_exchange_n(&shared->lock, 1, __ATOMIC_ACQUIRE))
				asm volatile("pause");
			shared->log[shared->turns].who = who;
			shared->log[shared->turns++].ns = now_ns();
			spin(10000);
			__atomic_store_n(&shared->lock, 0, __ATOMIC_RELEASE);
			spin(rand() % 10000);
		}
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	for (i = 0; i < shared->turns; i++)
		printf("%d %lld\n", shared->log[i].who, (long long)shared->log[i].ns);
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;

	if (!strcmp(command, "rate"))
		rate(number);
	else if (!strcmp(command, "pause"))
		pause_cost();
	else if (!strcmp(command, "filter"))
		filter(number);
	else if (!strcmp(command, "spread"))
		spread(number);
	else if (!strcmp(command, "race"))
		race();
	else
		errx(2, "no such subcommand");
	return 0;
}
