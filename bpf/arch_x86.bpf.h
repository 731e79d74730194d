/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * arch_x86: where a call keeps its things (System V AMD64 ABI 1.0, section 3.2).
 * At a site the stack pointer still is where the call left it, so it points at the return address; at a return it is one
 * word above that.
 */

/*
 * What the kernel leaves on the stack for a signal handler (arch/x86/include/asm/sigframe.h: struct rt_sigframe, whose
 * return address is gone by the time that its code runs): struct ucontext, in it from byte 40 on struct sigcontext with r8 … r15,
 * rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip (arch/x86/include/uapi/asm/sigcontext.h).
 */
#define ARCH_SIGNAL_OFFSET (40 + 10 * 8)
#define ARCH_SIGNAL_FRAME_POINTER 0     /* words from there */
#define ARCH_SIGNAL_STACK 5
#define ARCH_SIGNAL_PC 6
#define ARCH_SIGNAL_WORDS 7

struct call_registers {
	__u64 arguments[4];
	__u64 stack;                    /* address of the word that holds the return address */
};

static __always_inline void arch_at_entry(const struct pt_regs *ctx, struct call_registers *registers)
{
	__u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx), third = PT_REGS_PARM3(ctx), fourth = PT_REGS_PARM4(ctx);

	/* All are read here: the verifier takes no address in the context that is chosen at run time. */
	asm volatile("" : "+r"(first), "+r"(second), "+r"(third), "+r"(fourth));
	registers->arguments[0] = first;
	registers->arguments[1] = second;
	registers->arguments[2] = third;
	registers->arguments[3] = fourth;
	registers->stack = PT_REGS_SP(ctx);
}

static __always_inline __u64 arch_argument(const struct call_registers *registers, __u8 position)
{
	return position == 0 ? registers->arguments[0] :
	       position == 1 ? registers->arguments[1] :
	       position == 2 ? registers->arguments[2] : registers->arguments[3];
}

/* What a call at the probed instruction would return to, were that one byte long: so a frame is found and named that is not at its entry. */
static __always_inline __u64 arch_behind_probe(const struct pt_regs *ctx)
{
	return PT_REGS_IP(ctx) + 1;
}

/* The slot that the return address was in before `ret` took it. */
static __always_inline __u64 arch_return_slot(const struct pt_regs *ctx)
{
	return PT_REGS_SP(ctx) - sizeof(__u64);
}

static __always_inline __u64 arch_thread_pointer(void)
{
	return bpf_get_current_task_btf()->thread.fsbase;
}

#define ARCH_KEPT_WORDS 8               /* a power of two, so that a mask bounds an index */

/* By enum dt_kept_register. */
static __always_inline void arch_kept_registers(const struct pt_regs *ctx, __u64 registers[ARCH_KEPT_WORDS])
{
	registers[DT_KEPT_RBX] = ctx->rbx;
	registers[DT_KEPT_RBP] = ctx->rbp;
	registers[DT_KEPT_R12] = ctx->r12;
	registers[DT_KEPT_R13] = ctx->r13;
	registers[DT_KEPT_R14] = ctx->r14;
	registers[DT_KEPT_R15] = ctx->r15;
	registers[6] = registers[7] = 0;
}
