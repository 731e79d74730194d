/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/smaps.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LINE_BYTES (5 * 4096)           /* a path of a page, each byte escaped ("\012"), and the fields before it */
#define READ_BYTES 16384                 /* more than the kernel gives at once */

/*
 * The kind of a mapping, from the line that begins it (fs/proc/task_mmu.c, show_map_vma): "START-END PERMISSIONS OFFSET
 * DEVICE INODE NAME". A name that a program gives to anonymous memory holds no brackets of its own (prctl(2),
 * PR_SET_VMA_ANON_NAME), and a file's begins with a slash; System V shared memory may have the inode 0.
 */
static int parse_head(const char *line, enum dt_smaps_kind *ret_kind)
{
	uint64_t start, end, inode;
	int name = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %*x %*x:%*x %" SCNu64 " %n", &start, &end, &inode, &name) != 3 || !name)
		return -EBADMSG;
	line += name;
	if (inode || *line == '/')
		*ret_kind = DT_SMAPS_FILE;
	else if (!*line || !strncmp(line, "[anon:", strlen("[anon:")))
		*ret_kind = DT_SMAPS_ANONYMOUS;
	else
		*ret_kind = !strcmp(line, "[heap]\n") ? DT_SMAPS_HEAP : DT_SMAPS_OTHER;
	return 0;
}

/* "Rss:                 108 kB". Fields that are not asked for are left out, also those that are no figures. */
static int parse_field(const char *line, enum dt_smaps_kind kind, struct dt_smaps *smaps)
{
	const struct {
		const char *name;
		uint64_t *sum;
	} fields[] = {
		{ "Rss:", &smaps->resident_bytes[kind] },
		{ "Private_Clean:", &smaps->private_bytes },
		{ "Private_Dirty:", &smaps->private_bytes },
		{ "Swap:", &smaps->swap_bytes },
		{ "Shared_Hugetlb:", &smaps->hugetlb_bytes },
		{ "Private_Hugetlb:", &smaps->hugetlb_bytes },
	};

	for (size_t i = 0; i < DT_ARRAY_SIZE(fields); i++) {
		uint64_t kib, bytes;

		if (strncmp(line, fields[i].name, strlen(fields[i].name)))
			continue;
		if (sscanf(line + strlen(fields[i].name), "%" SCNu64 " kB", &kib) != 1 || __builtin_mul_overflow(kib, 1024u, &bytes) ||
		    __builtin_add_overflow(*fields[i].sum, bytes, fields[i].sum))
			return -EBADMSG;
		return 0;
	}
	return 0;
}

int dt_smaps_parse(FILE *file, struct dt_smaps *ret_smaps)
{
	enum dt_smaps_kind kind = DT_SMAPS_OTHER;
	struct dt_smaps smaps = { 0 };
	size_t mappings = 0;
	DT_FREE char *line = malloc(LINE_BYTES);

	if (!line)
		return -ENOMEM;
	/* Fields begin with a capital letter, mappings with a hexadecimal number in small ones. */
	for (errno = 0; fgets(line, LINE_BYTES, file); errno = 0) {
		bool is_head = isdigit((unsigned char)*line) || islower((unsigned char)*line);
		int error = strchr(line, '\n') && (is_head || mappings) ? 0 : -EBADMSG;

		if (!error)
			error = is_head ? parse_head(line, &kind) : parse_field(line, kind, &smaps);
		if (error)
			return error;
		/* A process that maps ahead of the reader all the time would keep it for as long as there are addresses. */
		mappings += is_head;
		if (mappings > DT_SMAPS_MAPPINGS_MAX)
			return -E2BIG;
	}
	if (ferror(file))
		return errno ? -errno : -EIO;
	if (!mappings)
		return -ESRCH;          /* the file of a zombie, or of a kernel thread, is empty */
	*ret_smaps = smaps;
	return 0;
}

int dt_smaps_read(pid_t pid, struct dt_smaps *ret_smaps)
{
	char path[64];
	int error;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	DT_FILE FILE *file = fopen(path, "re");

	if (file)
		setvbuf(file, NULL, _IOFBF, READ_BYTES);
	error = file ? dt_smaps_parse(file, ret_smaps) : -errno;
	if (error == -ENOENT)
		return -ESRCH;
	return error == -EPERM ? -EACCES : error;
}

uint64_t dt_smaps_resident(const struct dt_smaps *smaps)
{
	uint64_t sum = 0;

	for (int kind = 0; kind < DT_SMAPS_KIND_COUNT; kind++)
		sum += smaps->resident_bytes[kind];
	return sum;
}
