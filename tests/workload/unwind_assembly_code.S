/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions written by hand: `void NAME(void (*callee)(size_t), size_t bytes)` calls callee(bytes). Some say how they keep their
 * frame, some do not. All note their own return address in unwind_assembly_return.
 */
	.macro BEGIN name
	.globl \name
	.type \name, @function
	.p2align 4
\name:
	.endm

	.macro END name
	.size \name, . - \name
	.endm

	.text

/* With a description: a frame that grows and shrinks, registers saved by hand, in an order of its own. */
	BEGIN assembly_described
	.cfi_startproc
	mov	(%rsp), %rax
	mov	%rax, unwind_assembly_return(%rip)
	sub	$24, %rsp
	.cfi_adjust_cfa_offset 24
	mov	%rbx, 8(%rsp)
	.cfi_rel_offset %rbx, 8
	mov	%rbp, (%rsp)
	.cfi_rel_offset %rbp, 0
	mov	%rdi, %rbx
	xor	%ebp, %ebp
	push	%rsi
	.cfi_adjust_cfa_offset 8
	push	%rsi
	.cfi_adjust_cfa_offset 8
	mov	%rsi, %rdi
	call	*%rbx
	pop	%rdi
	.cfi_adjust_cfa_offset -8
	pop	%rdi
	.cfi_adjust_cfa_offset -8
	mov	(%rsp), %rbp
	.cfi_restore %rbp
	mov	8(%rsp), %rbx
	.cfi_restore %rbx
	add	$24, %rsp
	.cfi_adjust_cfa_offset -24
	ret
	.cfi_endproc
	END assembly_described

/* Without one, with a frame pointer. */
	BEGIN assembly_frame_pointer
	mov	(%rsp), %rax
	mov	%rax, unwind_assembly_return(%rip)
	push	%rbp
	mov	%rsp, %rbp
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
	pop	%rbp
	ret
	END assembly_frame_pointer

/* Without one, without a frame pointer: only the code says how large the frame is. */
	BEGIN assembly_bare
	mov	(%rsp), %rax
	mov	%rax, unwind_assembly_return(%rip)
	push	%rbx
	sub	$16, %rsp
	mov	%rdi, %rbx
	mov	%rsi, %rdi
	call	*%rbx
	add	$16, %rsp
	pop	%rbx
	ret
	END assembly_bare

/* Nor does the code say it: the size comes in a register. A multiple of 16, and 8 more. */
	BEGIN assembly_unknowable
	mov	(%rsp), %rax
	mov	%rax, unwind_assembly_return(%rip)
	push	%rbx
	push	%r12
	mov	%rsi, %r12
	and	$-16, %r12
	add	$8, %r12
	sub	%r12, %rsp
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
	add	%r12, %rsp
	pop	%r12
	pop	%rbx
	ret
	END assembly_unknowable

	.bss
	.globl unwind_assembly_return
	.type unwind_assembly_return, @object
	.size unwind_assembly_return, 8
	.p2align 3
unwind_assembly_return:
	.zero 8

	.section .note.GNU-stack, "", @progbits
