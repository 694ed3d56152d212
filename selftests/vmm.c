// SPDX-License-Identifier: GPL-2.0
/*
 * A VMM for tests, see vmm.h.
 *
 * A vCPU thread is stopped by a signal, which makes KVM_RUN return, and kvm_run::immediate_exit,
 * which makes it return also when the signal came just before the call.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "host.h"
#include "vmm.h"

extern const char guest_code[], guest_code_end[], guest_gdt[], guest_idt[];

#define APIC_BASE		0xfee00000ULL
#define APIC_BASE_BSP		(1 << 8)
#define APIC_BASE_X2APIC	(3 << 10)
#define MSI_ADDRESS(apic_id)	(APIC_BASE | (uint32_t)(apic_id) << 12)

#define CR0_PE			(1UL << 0)
#define CR0_PG			(1UL << 31)
#define CR4_PAE			(1UL << 5)
#define EFER_LME		(1UL << 8)
#define EFER_LMA		(1UL << 10)
#define PTE_PRESENT_WRITE	3UL
#define PTE_LARGE		(1UL << 7)
#define RFLAGS_FIXED		2

/* Far more than any CPU has; KVM says E2BIG if not. */
#define MAX_CPUID_ENTRIES	256

#define SIGNAL_KICK		SIGUSR1

static struct kvm_cpuid2 *host_cpuid;
static int run_size;			/* of the mapping of struct kvm_run */

static void ignore(int signal)
{
	(void)signal;
}

static int kvm_open(void)
{
	struct sigaction action = { .sa_handler = ignore };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		die("/dev/kvm: %m");
	/* No SA_RESTART: KVM_RUN has to return. */
	if (sigaction(SIGNAL_KICK, &action, NULL))
		die("sigaction: %m");
	return kvm;
}

static void ask_kvm(int kvm)
{
	size_t size = sizeof(*host_cpuid) + MAX_CPUID_ENTRIES * sizeof(host_cpuid->entries[0]);

	if (host_cpuid)
		return;
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_size < 0)
		die("KVM_GET_VCPU_MMAP_SIZE: %m");
	host_cpuid = calloc(1, size);
	if (!host_cpuid)
		die("calloc: %m");
	host_cpuid->nent = MAX_CPUID_ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, host_cpuid))
		die("KVM_GET_SUPPORTED_CPUID: %m");
}

static uint64_t *guest_u64(const struct vm *vm, size_t address)
{
	return (uint64_t *)(vm->memory + address);
}

static char *slot_of(const struct vcpu *vcpu)
{
	return vcpu->vm->memory + GUEST_SLOTS + (size_t)vcpu->id * GUEST_SLOT_SIZE;
}

static void make_memory(struct vm *vm)
{
	struct kvm_userspace_memory_region region = {};

	vm->memory_size = GUEST_SLOTS + (size_t)vm->nr_vcpus * GUEST_SLOT_SIZE;
	vm->memory_size = (vm->memory_size + 4095) & ~4095UL;
	vm->memory = mmap(NULL, vm->memory_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (vm->memory == MAP_FAILED)
		die("mmap of guest memory: %m");

	*guest_u64(vm, GUEST_PML4) = GUEST_PDPT | PTE_PRESENT_WRITE;
	*guest_u64(vm, GUEST_PDPT) = GUEST_PD | PTE_PRESENT_WRITE;
	*guest_u64(vm, GUEST_PD) = PTE_PRESENT_WRITE | PTE_LARGE;
	memcpy(vm->memory + GUEST_CODE, guest_code, guest_code_end - guest_code);

	region.memory_size = vm->memory_size;
	region.userspace_addr = (uintptr_t)vm->memory;
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION: %m");
}

static void make_vcpu(struct vm *vm, int id)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vcpu *vcpu = &vm->vcpus[id];

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->cpu = -1;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);
	if (vcpu->fd < 0)
		die("KVM_CREATE_VCPU %d: %m", id);
	vcpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die("mmap of kvm_run: %m");
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, host_cpuid))
		die("KVM_SET_CPUID2: %m");
	/* All but the first would otherwise wait for a start-up IPI. */
	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable))
		die("KVM_SET_MP_STATE: %m");
	if (pthread_barrier_init(&vcpu->started, NULL, 2))
		die("pthread_barrier_init");
}

struct vm *vm_new(int nr_vcpus)
{
	struct vm *vm = calloc(1, sizeof(*vm) + nr_vcpus * sizeof(vm->vcpus[0]));
	int kvm = kvm_open();
	int i;

	if (!vm)
		die("calloc: %m");
	ask_kvm(kvm);
	vm->nr_vcpus = nr_vcpus;
	/* EINTR: a signal for another thread's vCPU may be on its way. */
	do {
		vm->fd = ioctl(kvm, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		die("KVM_CREATE_VM: %m");
	close(kvm);

	make_memory(vm);
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		die("KVM_CREATE_IRQCHIP: %m");
	for (i = 0; i < nr_vcpus; i++)
		make_vcpu(vm, i);
	return vm;
}

void vm_free(struct vm *vm)
{
	int i;

	vm_stop(vm);
	for (i = 0; i < vm->nr_vcpus; i++) {
		munmap(vm->vcpus[i].run, run_size);
		close(vm->vcpus[i].fd);
	}
	close(vm->fd);
	munmap(vm->memory, vm->memory_size);
	free(vm);
}

static struct kvm_segment segment(int selector, int type, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1,
		.l = code, .db = !code, .g = 1,
	};
}

static void load_sregs(struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS: %m");
	sregs.cs = segment(GUEST_CS, 0xb, true);
	sregs.ss = segment(GUEST_SS, 0x3, false);
	sregs.ds = sregs.ss;
	sregs.es = sregs.ss;
	sregs.gdt.base = GUEST_CODE + (guest_gdt - guest_code);
	sregs.gdt.limit = guest_idt - guest_gdt - 1;
	sregs.idt.base = GUEST_CODE + (guest_idt - guest_code);
	sregs.idt.limit = GUEST_NR_VECTORS * 16 - 1;
	sregs.cr0 |= CR0_PE | CR0_PG;
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 |= CR4_PAE;
	sregs.efer |= EFER_LME | EFER_LMA;
	sregs.apic_base = APIC_BASE | APIC_BASE_X2APIC | (vcpu->id ? 0 : APIC_BASE_BSP);
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
		die("KVM_SET_SREGS: %m");
}

void vcpu_load(struct vcpu *vcpu, const char *program, uint64_t argument)
{
	size_t slot = slot_of(vcpu) - vcpu->vm->memory;
	struct kvm_regs regs = {
		.rip = GUEST_CODE + (program - guest_code),
		.rflags = RFLAGS_FIXED,
		.rsp = slot + GUEST_SLOT_SIZE,
		.rdi = slot,
		.rsi = argument,
		.rdx = vcpu->id,
		.rcx = vcpu->vm->nr_vcpus,
		.rbx = GUEST_SHARED,
	};

	load_sregs(vcpu);
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS: %m");
}

void vcpu_enter(struct vcpu *vcpu)
{
	if (ioctl(vcpu->fd, KVM_RUN, 0)) {
		if (errno != EINTR && errno != EAGAIN)
			die("KVM_RUN of vCPU %d: %m", vcpu->id);
		return;
	}
	if (vcpu->run->exit_reason != KVM_EXIT_IO || vcpu->run->io.port != GUEST_PORT)
		die("vCPU %d left the guest for reason %u", vcpu->id, vcpu->run->exit_reason);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	pin_thread(0, vcpu->cpu);
	vcpu->tid = gettid();
	pthread_barrier_wait(&vcpu->started);

	while (!__atomic_load_n(&vcpu->stop, __ATOMIC_ACQUIRE)) {
		vcpu_enter(vcpu);
		if (vcpu->left)
			vcpu->left(vcpu);
	}
	return NULL;
}

void vcpu_start(struct vcpu *vcpu)
{
	if (vcpu->tid)
		die("vCPU %d has a thread already", vcpu->id);
	vcpu->stop = false;
	if (pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu))
		die("pthread_create");
	pthread_barrier_wait(&vcpu->started);
}

static void ask_to_stop(struct vcpu *vcpu)
{
	if (!vcpu->tid)
		return;
	__atomic_store_n(&vcpu->stop, true, __ATOMIC_RELEASE);
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
	pthread_kill(vcpu->thread, SIGNAL_KICK);
}

void vcpu_stop(struct vcpu *vcpu)
{
	ask_to_stop(vcpu);
	if (!vcpu->tid)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->tid = 0;
	vcpu->run->immediate_exit = 0;
}

/* All are asked before the first is waited for, so that they stop in parallel. */
void vm_stop(struct vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		ask_to_stop(&vm->vcpus[i]);
	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_stop(&vm->vcpus[i]);
}

void vm_continue(struct vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_start(&vm->vcpus[i]);
}

void vm_start(struct vm *vm, const char *program, uint64_t argument)
{
	const int nr = vm->nr_vcpus;
	uint64_t before[nr];
	int i;

	*guest_u64(vm, GUEST_SHARED) = 0;
	for (i = 0; i < nr; i++) {
		before[i] = vcpu_count(&vm->vcpus[i]);
		vcpu_load(&vm->vcpus[i], program, argument);
	}
	vm_continue(vm);
	for (i = 0; i < nr; i++)
		await(vcpu_count(&vm->vcpus[i]) != before[i]);
}

void vcpu_pin(struct vcpu *vcpu, int cpu)
{
	vcpu->cpu = cpu;
	if (vcpu->tid)
		pin_thread(vcpu->tid, cpu);
}

void vm_pin(struct vm *vm, int cpu)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_pin(&vm->vcpus[i], cpu);
}

void vcpu_interrupt(struct vcpu *vcpu)
{
	struct kvm_msi msi = {
		.address_lo = MSI_ADDRESS(vcpu->id),
		.data = GUEST_VECTOR_TICK,
	};

	/* It says to how many APICs it was delivered. */
	if (ioctl(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi) != 1)
		die("KVM_SIGNAL_MSI to vCPU %d: %m", vcpu->id);
}

uint64_t vcpu_count(const struct vcpu *vcpu)
{
	return __atomic_load_n((uint64_t *)slot_of(vcpu), __ATOMIC_RELAXED);
}

uint64_t vm_count(const struct vm *vm)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		sum += vcpu_count(&vm->vcpus[i]);
	return sum;
}

void vm_wait_progress(const struct vm *vm)
{
	uint64_t before[vm->nr_vcpus];
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		before[i] = vcpu_count(&vm->vcpus[i]);
	for (i = 0; i < vm->nr_vcpus; i++)
		await(vcpu_count(&vm->vcpus[i]) != before[i]);
}
