/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * int unwind_raw_clone(unsigned long flags, void *stack_end, volatile int *alive, void (*start)(void)): clone(2) itself
 * (x86-64: flags, stack, parent_tid, child_tid, tls). The new thread calls start() and ends. Nothing called it: its return
 * address is undefined, as that of glibc's own clone() is.
 */
	.text
	.globl unwind_raw_clone
	.type unwind_raw_clone, @function
	.p2align 4
unwind_raw_clone:
	.cfi_startproc
	mov	%rdx, %r10
	xor	%edx, %edx
	xor	%r8d, %r8d
	mov	%rcx, %r9
	mov	$56, %eax		/* __NR_clone */
	syscall
	test	%rax, %rax
	jz	1f
	ret
1:
	.cfi_undefined %rip
	xor	%ebp, %ebp
	call	*%r9
	xor	%edi, %edi
	mov	$60, %eax		/* __NR_exit: of this thread alone */
	syscall
	hlt
	.cfi_endproc
	.size unwind_raw_clone, . - unwind_raw_clone

	.section .note.GNU-stack, "", @progbits
