/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In place of the allocator's functions (ld --wrap): tells of the call, then jumps to the function itself with the stack and
 * the arguments as they were.
 */
#ifdef UNWIND_RENAMED			/* the compiler was told of the stubs, not ld */
#define REAL(name) name
#else
#define REAL(name) __real_##name
#endif

	.text

	.macro STUB name record real
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
	jmp	\real@PLT
	.cfi_endproc
	.size __wrap_\name, . - __wrap_\name
	.endm

	STUB malloc unwind_record_first REAL(malloc)
	STUB calloc unwind_record_product REAL(calloc)
	STUB realloc unwind_record_second REAL(realloc)
	STUB aligned_alloc unwind_record_second REAL(aligned_alloc)
	STUB posix_memalign unwind_record_third REAL(posix_memalign)
	STUB pthread_create unwind_record_inside REAL(pthread_create)
#ifdef UNWIND_DLOPEN			/* a static program cannot name it without a warning */
	STUB dlopen unwind_record_inside REAL(dlopen)
#endif

	.section .note.GNU-stack, "", @progbits
