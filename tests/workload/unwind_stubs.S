/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In place of the allocator's functions (ld --wrap): tells of the call, then jumps to the function itself with the stack and
 * the arguments as they were.
 */
	.text

	.macro STUB name record
	.globl __wrap_\name
	.type __wrap_\name, @function
	.p2align 4
__wrap_\name:
	.cfi_startproc
	endbr64
	push	%rcx
	.cfi_adjust_cfa_offset 8
	push	%rdx
	.cfi_adjust_cfa_offset 8
	push	%rsi
	.cfi_adjust_cfa_offset 8
	push	%rdi
	.cfi_adjust_cfa_offset 8
	mov	%rsp, %rdi
	mov	32(%rsp), %rsi
	sub	$8, %rsp		/* a multiple of 16 at the call */
	.cfi_adjust_cfa_offset 8
	call	\record
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	pop	%rdi
	.cfi_adjust_cfa_offset -8
	pop	%rsi
	.cfi_adjust_cfa_offset -8
	pop	%rdx
	.cfi_adjust_cfa_offset -8
	pop	%rcx
	.cfi_adjust_cfa_offset -8
	jmp	__real_\name@PLT
	.cfi_endproc
	.size __wrap_\name, . - __wrap_\name
	.endm

	STUB malloc unwind_record_first
	STUB calloc unwind_record_product
	STUB realloc unwind_record_second
	STUB aligned_alloc unwind_record_second
	STUB posix_memalign unwind_record_third
	STUB pthread_create unwind_record_inside
#ifdef UNWIND_DLOPEN			/* a static program cannot name it without a warning */
	STUB dlopen unwind_record_inside
#endif

	.section .note.GNU-stack, "", @progbits
