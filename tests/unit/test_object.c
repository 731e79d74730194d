// SPDX-License-Identifier: BSD-2-Clause
/* What must hold of the instructions of the BPF programs, whatever the kernel's verifier thinks of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/libbpf.h>
#include <cmocka.h>
#include <linux/bpf.h>

#include "session/skeleton.h"

static bool is_tail_call(const struct bpf_insn *instruction)
{
	return instruction->code == (BPF_JMP | BPF_CALL) && !instruction->src_reg && instruction->imm == BPF_FUNC_tail_call;
}

/* In the program itself, and not in a function that it calls: those are not part of it before it is loaded. */
static size_t tail_call_count(const struct bpf_program *program)
{
	const struct bpf_insn *instructions = bpf_program__insns(program);
	size_t count = 0;

	for (size_t i = 0; i < bpf_program__insn_cnt(program); i++)
		count += is_tail_call(&instructions[i]);
	return count;
}

/* bpf/stack.bpf.h: else two threads on a CPU have one stack. Others are not to have it, which would only be for show. */
static void test_programs_of_uprobes_have_stacks_of_their_own(void **state)
{
	struct domtrace_bpf *bpf = domtrace_bpf__open();
	struct bpf_program *program;
	size_t uprobes = 0;

	(void)state;
	assert_non_null(bpf);
	bpf_object__for_each_program(program, bpf->obj) {
		bool is_uprobe = bpf_program__type(program) == BPF_PROG_TYPE_KPROBE;

		uprobes += is_uprobe;
		if (tail_call_count(program) != is_uprobe)
			fail_msg("%s has %zu tail calls, not %d: see bpf/stack.bpf.h", bpf_program__name(program), tail_call_count(program),
				 is_uprobe);
	}
	assert_true(uprobes > 0);
	domtrace_bpf__destroy(bpf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs_of_uprobes_have_stacks_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
