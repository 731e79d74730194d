/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * stack: each event has a stack of its own.
 *
 * From 6.13 on the kernel puts the stack of a program for kprobes, of which uprobes' are, into memory of the CPU once it takes 64
 * bytes: such a program, it holds, does not begin again on a CPU before it has ended (kernel e00931c02568 "bpf: Enable private stack
 * for eligible subprogs", kernel/bpf/verifier.c: bpf_enable_priv_stack(), BPF_PRIV_STACK_MIN_SIZE; x86: 7d1cd70d4b16 "bpf, x86: Support
 * private stack in jit"). Of a uprobe's that is not so. It runs with migration disabled, and not preemption, and nothing
 * looks whether it runs already (include/linux/bpf.h: bpf_prog_run_array_uprobe(), before 6.6 bpf_prog_run_array_sleepable();
 * kernel/trace/bpf_trace.c: uprobe_prog_run()). Where the kernel is preemptible (preempt=full, lazy, RT), and everywhere while a sleepable
 * program waits for a page, another thread's event may come on the same CPU: the two would have one stack, and each would find the
 * other's books in it.
 *
 * A program in which a tail call stands never gets such a stack (kernel/bpf/verifier.c: check_max_stack_depth()). It need not be one
 * that can be made: the verifier looks for it among all instructions (check_subprogs()), decides about stacks, and takes out what is
 * never reached only then. So this one has no map, which sleepable programs may not have, and costs nothing. It stands in
 * the program itself and not in a function that is called, where it would limit the stack of the callers to 256 bytes.
 *
 * Programs of tracepoints have no need of it: they do run with preemption disabled, and only once on a CPU at a time
 * (kernel/trace/bpf_trace.c: __bpf_trace_run()).
 */
static const volatile __u32 stack_never; /* 0, which the verifier knows */

/* In each program of a uprobe; tests/unit/test_object.c looks for it. */
static __always_inline void stack_keep_own(void *context)
{
	if (stack_never)
		bpf_tail_call(context, NULL, 0);
}
