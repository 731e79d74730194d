/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bare: what attaching alone costs. It attaches programs that do nothing to the places that domtrace would take, in the
 * way that domtrace would take, says "ready", and holds them until its input ends.
 *
 * Usage: bare PID FILE libc|tracemalloc [--without FEATURE]…
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "session/feature.h"
#include "session/link.h"
#include "session/sites.h"

enum method { METHOD_SESSION, METHOD_MULTI, METHOD_SINGLE };

struct places {
	uint64_t offsets[DT_SITE_PLANS_MAX], cookies[DT_SITE_PLANS_MAX];
	size_t count;
};

static void give_up(const char *what, int error)
{
	fprintf(stderr, "bare: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static void say(void *context, enum dt_log_level level, const char *message)
{
	(void)context;
	(void)level;
	fprintf(stderr, "bare: %s\n", message);
}

/* return 0: to a session that means that its return is wanted, too. */
static int load_empty(int attach_type)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = (enum bpf_attach_type)attach_type);
	int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "bare", "GPL", code, DT_ARRAY_SIZE(code), &opts);

	if (fd < 0)
		give_up("cannot load a program", fd);
	return fd;
}

/* The links stay open until the process ends. */
static void attach(enum method method, bool session, bool returns, const char *path, pid_t pid, const struct places *places)
{
	int type = method == METHOD_SINGLE ? 0 : session ? DT_BPF_TRACE_UPROBE_SESSION : DT_BPF_TRACE_UPROBE_MULTI;
	int program_fd, fd = 0;

	if (!places->count)
		return;
	program_fd = load_empty(type);
	if (method != METHOD_SINGLE)
		fd = dt_link_create_multi(program_fd, type, path, places->offsets, places->cookies, places->count, pid, returns);
	for (size_t i = 0; method == METHOD_SINGLE && i < places->count && fd >= 0; i++)
		fd = dt_link_create_single(program_fd, path, places->offsets[i], places->cookies[i], pid, returns);
	if (fd < 0)
		give_up("cannot attach", fd);
}

static bool shape_returns(enum dt_shape shape)
{
	return dt_shape_returns(shape);
}

static void attach_sites(const struct dt_site_plan *plans, size_t count, enum dt_source source, enum method method, const char *path, pid_t pid)
{
	struct places calls = { .count = 0 }, events = { .count = 0 };

	for (size_t i = 0; i < count; i++) {
		const struct dt_site_info *info = dt_site_info(plans[i].site);
		struct places *places = shape_returns(info->shape) ? &calls : &events;

		if (info->source != source || info->shape == DT_SHAPE_NEW || !dt_shape_is_booked(info->shape))
			continue;
		places->offsets[places->count] = plans[i].offset;
		places->cookies[places->count++] = plans[i].site;
	}
	if (!calls.count && !events.count)
		give_up(path, ENOENT);
	if (method != METHOD_SESSION)
		attach(method, false, true, path, pid, &calls);
	attach(method, method == METHOD_SESSION, false, path, pid, &calls);
	attach(method, false, false, path, pid, &events);
}

static const struct dt_log log_to_stderr = { .write = say };

/* The features left by `--without NAME` …, from the same trials as domtrace's. */
static struct dt_features parse_features(int argc, char **argv)
{
	const char *without[DT_FEATURE_COUNT + 1] = { NULL };
	struct dt_features features;
	size_t refused = 0;
	int error;

	for (int i = 0; i + 1 < argc && refused < DT_FEATURE_COUNT; i += 2)
		without[refused++] = argv[i + 1];
	error = dt_features_probe(without, &log_to_stderr, &features);
	if (error)
		give_up("the features", error);
	return features;
}

static void plan(const char *path, bool cheap, struct dt_site_plan **plans, size_t *count)
{
	struct dt_elf *elf;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : dt_elf_open(fd, &elf);

	if (!error)
		error = dt_sites_plan(elf, &(struct dt_site_search){ path, cheap, NULL, &log_to_stderr }, plans, count);
	if (error)
		give_up(path, error);
	dt_elf_close(elf);
}

int main(int argc, char **argv)
{
	struct dt_features features;
	struct dt_site_plan *plans;
	enum dt_source source;
	enum method method;
	size_t count;

	if (argc < 4) {
		fputs("usage: bare PID FILE libc|tracemalloc [--without FEATURE]...\n", stderr);
		return 2;
	}
	source = strcmp(argv[3], "libc") ? DT_SOURCE_TRACEMALLOC : DT_SOURCE_LIBC;
	features = parse_features(argc - 4, argv + 4);
	method = !features.has[DT_FEATURE_MULTI] ? METHOD_SINGLE : features.has[DT_FEATURE_SESSION] ? METHOD_SESSION : METHOD_MULTI;
	plan(argv[2], features.has[DT_FEATURE_CHEAP_SITES], &plans, &count);
	attach_sites(plans, count, source, method, argv[2], atoi(argv[1]));
	free(plans);
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
