/* SPDX-License-Identifier: BSD-2-Clause */
/* doctor: what this machine has for tracing, and the sites of a process, for people. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "session/attach.h"
#include "session/feature.h"
#include "session/module.h"
#include "session/traced.h"
#include "snapshot/snapshot.h"

/* ---- doctor ------------------------------------------------------------------------------------------------------ */

/* Keeps the sentence that says what is missing. */
struct verdict {
	char *line;
};

static void keep_line(void *context, enum dt_log_level level, const char *line)
{
	struct verdict *verdict = context;

	if (level == DT_LOG_ERROR && !verdict->line)
		verdict->line = strdup(line);
}

static const char *const method_texts[] = {
	[DT_ATTACH_SESSION] = "session: entry and return of a call are one probe",
	[DT_ATTACH_MULTI] = "multi: one link for all entries of a file, one for all returns",
	[DT_ATTACH_SINGLE] = "single: a perf event for each entry, one for each return",
};

static void write_features(const struct dt_features *features, FILE *out)
{
	const char *name, *help;

	for (size_t i = 0; (name = dt_feature_name(i, &help)); i++) {
		fprintf(out, "  %-12s %-8s %s\n", name, features->has[i] ? "yes" : features->refused[i] ? "refused" : "no", help);
		if (!features->has[i])
			fprintf(out, "  %-12s %-8s without it, %s\n", "", "", dt_feature_loss((enum dt_feature)i));
	}
}

int dt_doctor_write(const struct dt_session_opts *opts, FILE *out, bool *ret_able)
{
	struct verdict verdict = { 0 };
	const struct dt_log keep = { keep_line, &verdict };
	struct dt_features features = { 0 };
	struct dt_session_opts trial = *opts;
	struct dt_session *session = NULL;
	struct utsname name;
	char missing[128];
	int error;

	uname(&name);
	dt_features_missing_capabilities(missing, sizeof(missing));
	fprintf(out, "kernel        %s, %s\n", name.release, name.machine);
	fprintf(out, "privilege     %s%s\n", *missing ? "lacks " : "enough", missing);
	error = dt_features_require(&keep);
	if (!error)
		error = dt_features_probe(opts->without, &opts->log, &features);
	if (error == -EINVAL)
		return error;
	trial.log = keep;
	if (!error)
		error = dt_session_new(&trial, &session);
	dt_session_free(session);
	if (!error) {
		fprintf(out, "features\n");
		write_features(&features, out);
		fprintf(out, "attach        %s\n", method_texts[dt_attach_method_choose(&features)]);
	}
	fprintf(out, "verdict       %s\n", error ? verdict.line ? verdict.line : strerror(-error) : "domtrace can trace here");
	free(verdict.line);
	*ret_able = !error;
	return 0;
}

/* ---- sites ------------------------------------------------------------------------------------------------------- */

static void write_names(const struct dt_site_plan *plan, FILE *out)
{
	for (size_t i = 0; i < plan->name_count; i++)
		fprintf(out, "%s%s", i ? " = " : "", plan->names[i]);
}

static const char *plan_method(const struct dt_site_plan *plan, enum dt_attach_method method)
{
	enum dt_shape shape = dt_site_info(plan->site)->shape;

	if (shape == DT_SHAPE_NEW)
		return method == DT_ATTACH_SINGLE ? "single, entry and each ret" : "multi, entry and each ret";
	if (dt_shape_returns(shape))
		return method == DT_ATTACH_SESSION ? "session" : method == DT_ATTACH_MULTI ? "multi, entry and return" : "single, entry and return";
	return method == DT_ATTACH_SINGLE ? "single, entry" : "multi, entry";
}

static void write_module(const struct dt_module *module, enum dt_attach_method method, FILE *out)
{
	fprintf(out, "%s", module->path);
	if (dt_elf_build_id(module->elf))
		fprintf(out, " (build id %s)", dt_elf_build_id(module->elf));
	fputc('\n', out);
	for (size_t i = 0; i < module->plan_count; i++) {
		const struct dt_site_plan *plan = &module->plans[i];

		fputs("  ", out);
		write_names(plan, out);
		fprintf(out, "\n    at +%u, file offset 0x%llx: %s\n", plan->place.distance, (unsigned long long)plan->offset, plan->place.instruction);
		fprintf(out, "    %s, %s\n", plan->place.emulated ? "emulated" : "single-stepped", plan->place.reason);
		fprintf(out, "    %s\n", plan_method(plan, method));
	}
	if (module->debug_state_vaddr)
		fputs("  _dl_debug_state\n    where the loader says that mappings have changed\n", out);
	if (module->has_python && module->python.code_free_vaddr)
		fputs("  tp_dealloc of PyCode_Type\n    where CPython frees code objects\n", out);
}

static int write_process(struct dt_modules *modules, pid_t pid, enum dt_attach_method method, FILE *out)
{
	const struct dt_module *before = NULL;
	struct dt_maps maps;
	int error = dt_maps_read(pid, &maps);

	if (error)
		return dt_log_error(modules->log, error, "cannot read the mappings of process %d: %s", (int)pid, strerror(-error));
	for (size_t i = 0; i < maps.count && !error; i++) {
		struct dt_module *module;

		if (!maps.mappings[i].executable || !maps.mappings[i].inode)
			continue;
		error = dt_modules_get(modules, pid, &maps.mappings[i], &module);
		if (!error && module != before && module->elf && (module->plan_count || module->debug_state_vaddr))
			write_module(module, method, out);
		before = error ? before : module;
		error = error == -ENOMEM ? error : 0;
	}
	dt_maps_clear(&maps);
	return error;
}

int dt_sites_write(const struct dt_session_opts *opts, pid_t pid, FILE *out)
{
	struct dt_allocators allocators = { 0 };
	struct dt_modules modules = { .log = &opts->log, .allocators = &allocators };
	struct dt_features features = { 0 };
	char missing[128];
	DT_FD int pidfd = -1;
	int error = dt_process_open(pid, &opts->log, &pidfd);

	if (error)
		return error;
	dt_features_missing_capabilities(missing, sizeof(missing));
	if (*missing)
		dt_log_warning(&opts->log, "how sites would be attached is not known: trying it needs %s as well", missing);
	error = dt_features_probe(opts->without, &opts->log, &features);
	if (error)
		return error;
	error = dt_allocators_parse(opts->allocators, &opts->log, &allocators);
	if (error)
		return error;
	modules.cheap_sites = features.has[DT_FEATURE_CHEAP_SITES];
	error = write_process(&modules, pid, dt_attach_method_choose(&features), out);
	dt_modules_clear(&modules);
	dt_allocators_clear(&allocators);
	return error;
}
