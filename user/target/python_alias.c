/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/python_alias.h"

#include <errno.h>
#include <sys/uio.h>

#include "target/process.h"

#define TABLE_WORDS (1 + DT_PYTHON_CALLS) /* ctx, then the functions */
#define LAYERS_MAX 4                    /* of what was put over a table */
#define DEBUG_HOOKS_ALLOC 8             /* debug_alloc_api_t {char api_id; PyMemAllocatorEx alloc} */

struct holder {
	pid_t pid;
	uint64_t bias;
	const struct dt_python_alloc *alloc;
	uint64_t address;               /* of the PyMemAllocatorEx */
	uint64_t words[TABLE_WORDS];
};

/* What a word of a table is; the other address of the same function through ret_other. */
static enum dt_python_hold classify(const struct holder *holder, size_t call, uint64_t word, uint64_t *ret_other)
{
	for (size_t table = 0; table < DT_PYTHON_TABLES; table++) {
		uint64_t function = holder->alloc->functions[table][call] + holder->bias;
		uint64_t alias = holder->alloc->aliases[table][call] ? holder->alloc->aliases[table][call] + holder->bias : 0;

		if (word != function && (word != alias || !alias))
			continue;
		*ret_other = word == function ? alias : function;
		return word == function ? DT_PYTHON_FUNCTIONS : DT_PYTHON_ALIASES;
	}
	return DT_PYTHON_UNKNOWN;
}

static enum dt_python_hold classify_all(const struct holder *holder)
{
	enum dt_python_hold least = DT_PYTHON_ALIASES;
	uint64_t other;

	for (size_t i = 0; i < DT_PYTHON_CALLS; i++) {
		enum dt_python_hold hold = classify(holder, i, holder->words[1 + i], &other);

		least = hold < least ? hold : least;
	}
	return least;
}

/* Finds the functions at `address`, or below the layers that were put over them. -ENOENT: it holds others. */
static int find_holder(struct holder *holder, uint64_t address, unsigned int layers)
{
	uint64_t ctx;
	int error = dt_process_read_memory(holder->pid, address, holder->words, sizeof(holder->words));

	if (error)
		return error;
	holder->address = address;
	if (classify_all(holder) != DT_PYTHON_UNKNOWN)
		return 0;
	ctx = holder->words[0];
	if (!ctx || !layers)
		return -ENOENT;
	error = find_holder(holder, ctx, layers - 1);
	if (error == -ENOENT || error == -EFAULT)
		error = find_holder(holder, ctx + DEBUG_HOOKS_ALLOC, layers - 1);
	return error == -EFAULT ? -ENOENT : error;
}

static int open_holder(pid_t pid, uint64_t bias, const struct dt_python_alloc *alloc, size_t table, struct holder *holder)
{
	*holder = (struct holder){ .pid = pid, .bias = bias, .alloc = alloc };
	return find_holder(holder, alloc->tables[table] + bias, LAYERS_MAX);
}

int dt_python_alias_read(pid_t pid, uint64_t bias, const struct dt_python_alloc *alloc, enum dt_python_hold *ret_hold)
{
	enum dt_python_hold least = DT_PYTHON_ALIASES;

	for (size_t table = 0; table < DT_PYTHON_TABLES; table++) {
		struct holder holder;
		int error = open_holder(pid, bias, alloc, table, &holder);
		enum dt_python_hold hold = error ? DT_PYTHON_UNKNOWN : classify_all(&holder);

		if (error && error != -ENOENT)
			return error;
		least = hold < least ? hold : least;
	}
	*ret_hold = least;
	return 0;
}

static int write_word(pid_t pid, uint64_t address, uint64_t word)
{
	struct iovec local = { .iov_base = &word, .iov_len = sizeof(word) };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)address, .iov_len = sizeof(word) };
	ssize_t n = process_vm_writev(pid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	return n == sizeof(word) ? 0 : -EFAULT;
}

int dt_python_alias_write(pid_t pid, uint64_t bias, const struct dt_python_alloc *alloc, bool undo)
{
	enum dt_python_hold from = undo ? DT_PYTHON_ALIASES : DT_PYTHON_FUNCTIONS;

	for (size_t table = 0; table < DT_PYTHON_TABLES; table++) {
		struct holder holder;
		int error = open_holder(pid, bias, alloc, table, &holder);

		if (error == -ENOENT)
			continue;
		for (size_t i = 0; i < DT_PYTHON_CALLS && !error; i++) {
			uint64_t other;

			if (classify(&holder, i, holder.words[1 + i], &other) == from && other)
				error = write_word(pid, holder.address + 8 + i * 8, other);
		}
		if (error)
			return error;
	}
	return 0;
}
