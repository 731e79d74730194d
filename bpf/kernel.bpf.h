/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * kernel: the few kernel structures that are read, relocated by CO-RE to the running kernel.
 * arch/x86/include/asm/processor.h: thread_struct.fsbase is what arch_prctl and clone(CLONE_SETTLS) wrote; in a uprobe,
 * where current runs in the kernel, it equals the thread's pthread_self() (measured on 6.18).
 */
struct thread_struct {
	unsigned long fsbase;
} __attribute__((preserve_access_index));

struct task_struct {
	struct thread_struct thread;
} __attribute__((preserve_access_index));
