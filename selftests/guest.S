/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test guests do. Each program counts its progress in its vCPU's slot, for the first time
 * when it starts, and never ends; vmm.h says what each is and what its argument means.
 *
 * The VMM copies all this to GUEST_CODE and enters a program in 64-bit mode, interrupts off, with
 *
 *	%rdi	the vCPU's slot: its counter; %rsp is the slot's end
 *	%rsi	the argument
 *	%rdx	the vCPU's number, which is its x2APIC id
 *	%rcx	how many vCPUs the VM has
 *	%rbx	GUEST_SHARED
 *
 * There is no fault handler: a fault shuts the guest down, which the VMM reports.
 */
#include "guest.h"

#define MSR_X2APIC_EOI		0x80b
#define MSR_X2APIC_SPIV		0x80f
#define MSR_X2APIC_ICR		0x830
#define MSR_X2APIC_LVT_TIMER	0x832
#define MSR_X2APIC_TIMER_INIT	0x838
#define MSR_X2APIC_TIMER_DIV	0x83e

#define SPIV_ENABLE		0x1ff
#define ICR_ASSERT		(1 << 14)
#define LVT_PERIODIC		(1 << 17)
#define DIVIDE_BY_1		0xb

	.section .rodata
	.balign 4096
	.globl guest_code, guest_code_end, guest_gdt, guest_idt
	.globl guest_spin, guest_halt, guest_barrier, guest_lock, guest_ping, guest_io

/* Clobbers %rax and %rdx, expects the register in %ecx. */
.macro write_msr value, high = 0
	movl	$\value, %eax
	movl	$\high, %edx
	wrmsr
.endm

.macro gate handler
	.word	GUEST_CODE + \handler - guest_code
	.word	GUEST_CS
	.word	0x8e00			/* present interrupt gate, no stack switch */
	.word	0
	.quad	0
.endm

guest_code:

guest_spin:
	incq	(%rdi)
	jmp	guest_spin

guest_halt:
	incq	(%rdi)
	call	apic_on
	testq	%rsi, %rsi
	jz	sleep
	movl	$MSR_X2APIC_TIMER_DIV, %ecx
	write_msr DIVIDE_BY_1
	movl	$MSR_X2APIC_LVT_TIMER, %ecx
	write_msr LVT_PERIODIC | GUEST_VECTOR_TICK
	movl	$MSR_X2APIC_TIMER_INIT, %ecx
	movl	%esi, %eax
	wrmsr				/* %edx is still 0 */
sleep:
	sti
	hlt
	jmp	sleep

/* The shared word counts arrivals; round n is complete when there were n * %rcx. */
guest_barrier:
	xorl	%r8d, %r8d
	incq	(%rdi)
1:	addq	%rcx, %r8
	lock incq (%rbx)
2:	pause
	cmpq	%r8, (%rbx)
	jb	2b
	incq	(%rdi)
	jmp	1b

guest_lock:
	incq	(%rdi)
1:	lock btsq $0, (%rbx)
	jnc	3f
2:	pause
	testb	$1, (%rbx)
	jnz	2b
	jmp	1b
3:	movq	%rsi, %rax
4:	decq	%rax
	jnz	4b
	movq	$0, (%rbx)
	incq	(%rdi)
	jmp	1b

/* An interrupt for an APIC that is off would be lost: all wait for all before the first ping. */
guest_ping:
	incq	(%rdi)
	movl	%edx, %r9d
	movq	%rcx, %r8
	call	apic_on
	lock incq (%rbx)
1:	pause
	cmpq	%r8, (%rbx)
	jb	1b
	xorl	$1, %r9d		/* from now on: the other one of the pair */
	testl	$1, %r9d
	jz	sleep
	call	ping
	jmp	sleep

guest_io:
	movq	%rsi, %rax
	testq	%rax, %rax
	jz	2f
1:	decq	%rax
	jnz	1b
2:	incq	(%rdi)
	outb	%al, $GUEST_PORT
	jmp	guest_io

apic_on:
	movl	$MSR_X2APIC_SPIV, %ecx
	write_msr SPIV_ENABLE
	ret

ping:
	movl	$MSR_X2APIC_ICR, %ecx
	movl	$(ICR_ASSERT | GUEST_VECTOR_PING), %eax
	movl	%r9d, %edx
	wrmsr
	ret

/* Programs sleep, and keep nothing in %rax, %rcx and %rdx, when they take interrupts. */
tick_handler:
	incq	(%rdi)
	movl	$MSR_X2APIC_EOI, %ecx
	write_msr 0
	iretq

ping_handler:
	incq	(%rdi)
	movl	$MSR_X2APIC_EOI, %ecx
	write_msr 0
	call	ping
	iretq

	.balign 16
guest_gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* GUEST_CS: 64-bit code */
	.quad	0x00cf93000000ffff	/* GUEST_SS */
guest_idt:
	.fill	2 * GUEST_VECTOR_TICK, 8, 0	/* exceptions: none is expected */
	gate	tick_handler
	gate	ping_handler
guest_code_end:

	.section .note.GNU-stack, "", @progbits
