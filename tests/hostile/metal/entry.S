/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.S: how a vCPU comes to C. The first one starts here in long mode with RSI at the zero page (Linux's
 * 64-bit boot protocol); the others at a page below 1 MiB, in real mode, where metal_start_other()
 * (main.c) has copied trampoline to; they take over page tables and GDT from the first.
 */
	.code64
	.section .text.entry, "ax"
	.globl entry
entry:
	cld
	lea	stack_end(%rip), %rsp
	mov	%rsi, %rdi
	call	metal_main
halt:	cli
	hlt
	jmp	halt

/* Executes at physical address TRAMPOLINE, which the start-up interrupt's vector names. */
	.set TRAMPOLINE, 0x8000
	.set PAGE_TABLES, 0x9000
	.set GDT, 0x500

	.section .rodata
	.globl trampoline, trampoline_end
	.code16
trampoline:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + (gdt_pointer - trampoline)
	mov	%cr4, %eax
	or	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$PAGE_TABLES, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx		/* EFER: LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000001, %eax		/* PG, PE */
	mov	%eax, %cr0
	ljmpl	$0x10, $TRAMPOLINE + (trampoline_long - trampoline)
	.code64
trampoline_long:
	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$other_stack_end, %rsp
	mov	$metal_other, %rax
	call	*%rax
1:	hlt
	jmp	1b
	.balign 4
gdt_pointer:
	.word	4 * 8 - 1
	.long	GDT
trampoline_end:

	.bss
	.balign 16
	.skip	0x8000
stack_end:
	.skip	0x8000
other_stack_end:
	.section .note.GNU-stack, "", @progbits
