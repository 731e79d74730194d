/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * untold: blocks that a program tells of only if tracemalloc is on (struct dt_untold). They are booked at the call of Untrack that
 * asks whether it is, as the call of Track would book them that follows only if it is. If that one follows it has nothing to add.
 */

/* The call of Untrack that returns to an address; NULL: it is none behind which a block may be untold. */
static __always_inline const struct dt_untold *untold_find(const struct dt_process *process, __u64 return_address)
{
	for (int i = 0; i < DT_UNTOLD_MAX; i++)
		if (process->untold[i].untrack == return_address)
			return &process->untold[i];
	return NULL;
}

/* Do programs ask so in this process? */
static __always_inline bool untold_is_possible(const struct dt_process *process)
{
	return process->untold[0].untrack;
}

/* Does a call of Track, returning to an address, only repeat what was booked at the call of Untrack before it? */
static __always_inline bool untold_is_repeated(const struct account *account, __u64 return_address, __u64 address, __u64 bytes)
{
	const struct dt_process *process = process_row(account->row);

	for (int i = 0; i < DT_UNTOLD_MAX; i++)
		if (process->untold[i].untrack && process->untold[i].track == return_address)
			return live_holds(account, address, bytes);
	return false;
}

/* Where the block is, and its bytes. False: the code did not tell. */
static __always_inline bool untold_read(const struct pt_regs *ctx, const struct dt_untold *untold, __u64 *address, __u64 *bytes)
{
	__u64 registers[ARCH_KEPT_WORDS];

	if (untold->address == DT_NONE)
		return false;
	arch_kept_registers(ctx, registers);
	*address = registers[untold->address & (ARCH_KEPT_WORDS - 1)];
	*bytes = registers[untold->bytes & (ARCH_KEPT_WORDS - 1)];
	if (untold->factor != DT_NONE)
		*bytes *= registers[untold->factor & (ARCH_KEPT_WORDS - 1)];
	return true;
}
