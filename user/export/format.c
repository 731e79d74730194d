/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/format.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

static int write_json(const struct dt_snapshot *snapshot, enum dt_sort sort, FILE *out)
{
	(void)sort;
	return dt_snapshot_write_json(snapshot, out);
}

static const struct {
	const char *name;
	int (*write)(const struct dt_snapshot *snapshot, enum dt_sort sort, FILE *out);
} formats[] = {
	{ "json", write_json },
	{ "csv", dt_csv_write },
	{ "folded", dt_folded_write },
};

static size_t find_format(const char *name)
{
	size_t i = 0;

	while (i < DT_ARRAY_SIZE(formats) && strcmp(formats[i].name, name))
		i++;
	return i;
}

bool dt_export_format_is_known(const char *format)
{
	return find_format(format) < DT_ARRAY_SIZE(formats);
}

int dt_export_write(const struct dt_snapshot *snapshot, const char *format, enum dt_sort sort, const struct dt_log *log, FILE *out)
{
	size_t index = find_format(format);
	int error;

	if (index == DT_ARRAY_SIZE(formats))
		return dt_log_error(log, -EINVAL, "there is no format '%s'", format);
	error = formats[index].write(snapshot, sort, out);
	errno = 0;
	if (!error && (fflush(out) == EOF || ferror(out)))
		error = errno ? -errno : -EIO;
	return error ? dt_log_error(log, error, "the snapshot cannot be written as %s: %s", format, strerror(-error)) : 0;
}
