/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/feature.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "session/link.h"
#include "target/maps.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define UPROBE_PMU_PATH "/sys/bus/event_source/devices/uprobe/type"

struct feature_row {
	const char *name, *help, *loss;
	int (*probe)(void);             /* 0: the kernel has it; NULL: it always has */
};

static int probe_session(void);
static int probe_multi(void);
static int probe_markers(void);

static const struct feature_row features[DT_FEATURE_COUNT] = {
	[DT_FEATURE_SESSION] = {
		"session", "one probe for the entry and the return of a call (uprobe session, kernel 6.13)",
		"a nested allocator call also pays for its return", probe_session },
	[DT_FEATURE_MULTI] = {
		"multi", "one link for all sites of a file (uprobe_multi, kernel 6.6)",
		"each site takes a perf event of its own, and attaching takes longer", probe_multi },
	[DT_FEATURE_CHEAP_SITES] = {
		"cheap-sites", "probes on the first instruction that the kernel emulates",
		"the kernel single-steps the first instruction of some functions, about 10 µs a call", NULL },
	[DT_FEATURE_MARKERS] = {
		"markers", "snapshots at lines of programs (sleepable uprobes, kernel 6.0)",
		"no snapshot is taken at DT_SNAPSHOT, and --snapshot-at is refused", probe_markers },
};

const char *dt_feature_name(size_t index, const char **ret_help)
{
	if (index >= DT_FEATURE_COUNT)
		return NULL;
	if (ret_help)
		*ret_help = features[index].help;
	return features[index].name;
}

const char *dt_feature_loss(enum dt_feature feature)
{
	return features[feature].loss;
}

/* ---- trying it --------------------------------------------------------------------------------------------------- */

/* What the trial probes. One instruction that is neither a nop nor emulated differently anywhere. */
__attribute__((noinline, noclone, used)) static int probed_function(int value)
{
	__asm__ volatile("" : "+r"(value));
	return value + 1;
}

static void *call_probed_function(void *unused)
{
	(void)unused;
	probed_function(1);
	return NULL;
}

/* A program that adds 1 to the only element of an array map. */
static int load_counting_program(int map_fd, int attach_type)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4, .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4 },
		{ .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map_fd },
		{ .code = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = 2, .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = 1 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_1, .imm = BPF_ADD },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach_type);

	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "dt_probe", "GPL", code, DT_ARRAY_SIZE(code), &opts);
}

/*
 * Attaches to a function of our own and calls it from two threads: the kernel has the attach type, and its pid filter
 * takes whole processes (before 6.10 and its stable relatives that of uprobe_multi took one thread; kernel
 * 46ba0e49b642 "bpf: fix multi-uprobe PID filtering logic").
 */
static int probe_attach_type(int attach_type, uint64_t hits_expected)
{
	DT_FD int map_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "dt_probe", 4, 8, 1, NULL);
	DT_FD int program_fd = map_fd < 0 ? -1 : load_counting_program(map_fd, attach_type);
	DT_FD int link_fd = -1;
	DT_FREE char *path = NULL;
	struct dt_maps maps = { 0 };
	const struct dt_mapping *mapping;
	uint64_t address = (uint64_t)(uintptr_t)probed_function, offset, hits = 0;
	pthread_t thread;
	int error;

	if (program_fd < 0)
		return -ENOTSUP;
	error = dt_maps_read(getpid(), &maps);
	if (error)
		return error;
	mapping = dt_maps_find(&maps, address);
	error = mapping ? dt_mapping_path(getpid(), mapping, &path) : -ENXIO;
	offset = mapping ? address - mapping->start + mapping->offset : 0;
	dt_maps_clear(&maps);
	if (error)
		return error;
	link_fd = dt_link_create_multi(program_fd, attach_type, path, &offset, &(uint64_t){ 0 }, 1, getpid(), false);
	if (link_fd < 0)
		return link_fd;
	probed_function(1);
	if (pthread_create(&thread, NULL, call_probed_function, NULL) || pthread_join(thread, NULL))
		return -EAGAIN;
	if (bpf_map_lookup_elem(map_fd, &(uint32_t){ 0 }, &hits))
		return -errno;
	return hits == hits_expected ? 0 : -ENOTSUP;
}

static int probe_session(void)
{
	return probe_attach_type(DT_BPF_TRACE_UPROBE_SESSION, 4);
}

static int probe_multi(void)
{
	return probe_attach_type(DT_BPF_TRACE_UPROBE_MULTI, 2);
}

/* A program that does nothing, and might sleep while it does. */
static int probe_markers(void)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE);
	DT_FD int program_fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "dt_probe", "GPL", code, DT_ARRAY_SIZE(code), &opts);

	return program_fd < 0 ? -ENOTSUP : 0;
}

static int find_feature(const char *name)
{
	for (int i = 0; i < DT_FEATURE_COUNT; i++)
		if (!strcmp(features[i].name, name))
			return i;
	return -EINVAL;
}

int dt_features_probe(const char *const *without, const struct dt_log *log, struct dt_features *ret_features)
{
	struct dt_features found = { 0 };

	for (; without && *without; without++) {
		int feature = find_feature(*without);

		if (feature < 0)
			return dt_log_error(log, -EINVAL,
					    "there is no feature '%s' to do without: 'domtrace doctor' names them", *without);
		found.refused[feature] = true;
	}
	for (int i = 0; i < DT_FEATURE_COUNT; i++) {
		found.has[i] = !features[i].probe || !features[i].probe();
		dt_log_debug(log, "feature %s: %s", features[i].name, !found.has[i] ? "missing" : found.refused[i] ? "refused" : "used");
		found.has[i] = found.has[i] && !found.refused[i];
	}
	*ret_features = found;
	return 0;
}

bool dt_kernel_has_function(const char *name)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;

	btf__free(btf);
	return has;
}

/* ---- what nothing works without ---------------------------------------------------------------------------------- */

static const unsigned int required_capabilities[] = { CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE };

/* CAP_SYS_ADMIN stands for the two that were split from it in Linux 5.8 (capabilities(7)). */
static bool has_capability(unsigned int capability)
{
	return capng_have_capability(CAPNG_EFFECTIVE, capability) ||
	       (capability != CAP_SYS_PTRACE && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN));
}

void dt_features_missing_capabilities(char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	capng_get_caps_process();
	for (size_t i = 0; i < DT_ARRAY_SIZE(required_capabilities); i++) {
		const char *name = capng_capability_to_name(required_capabilities[i]);

		if (has_capability(required_capabilities[i]) || used >= size)
			continue;
		used += (size_t)snprintf(text + used, size - used, "%scap_%s", used ? ", " : "", name ? name : "?");
	}
}

int dt_features_require(const struct dt_log *log)
{
	char missing[128];

	if (access(BTF_PATH, R_OK))
		return dt_log_error(log, -ENOTSUP, "this kernel does not describe itself (no %s): domtrace needs one built with "
				    "CONFIG_DEBUG_INFO_BTF, as Debian's are", BTF_PATH);
	if (access(UPROBE_PMU_PATH, R_OK))
		return dt_log_error(log, -ENOTSUP, "this kernel has no uprobes (no %s): domtrace needs one built with "
				    "CONFIG_UPROBE_EVENTS", UPROBE_PMU_PATH);
	dt_features_missing_capabilities(missing, sizeof(missing));
	if (*missing)
		return dt_log_error(log, -EPERM, "not enough privilege: tracing needs %s as well; run domtrace with sudo", missing);
	return 0;
}

/*
 * perf_uprobe_event_init() asks for CAP_SYS_ADMIN, where the links of uprobe_multi are content with CAP_PERFMON
 * (kernel/events/core.c; -EACCES measured without it on 6.1 and 6.18).
 */
int dt_features_require_single(const struct dt_log *log)
{
	capng_get_caps_process();
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN))
		return 0;
	return dt_log_error(log, -EPERM, "not enough privilege: this kernel attaches uprobes one by one (no uprobe_multi), "
			    "which needs cap_sys_admin as well; run domtrace with sudo");
}
