/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * snapshot: the tables of all traced processes at one moment, as plain data.
 *
 * Filled once by whoever has the data (a session, later a file), then only read. Rows refer to each other by index.
 * Strings are bytes as the system gave them (paths and names need not be UTF-8), owned by the snapshot, and equal
 * strings are stored once. Integers are exact.
 */
#ifndef DT_SNAPSHOT_SNAPSHOT_H
#define DT_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <linux/types.h>

#include <domtrace/domtrace.h>            /* what is declared in both is exported */
#include <domtrace/wire.h>

/*
 * What the kernel says of the memory of a process, mapping by mapping, each at its own moment (target/smaps.h); the
 * first four parts add up to resident_bytes.
 */
struct dt_snapshot_memory {
	bool known;
	int64_t after_ns;               /* from the snapshot's moment to this reading; negative: it is that much older */
	uint64_t resident_bytes;
	uint64_t heap_bytes, anonymous_mapping_bytes, file_mapping_bytes, other_mapping_bytes;
	uint64_t private_bytes;         /* resident, and mapped by no other process */
	uint64_t swap_bytes;
	uint64_t hugetlb_bytes;         /* in huge pages set aside, which are not in resident_bytes */
};

/* How libc's blocks and those of other domains lie in one another (snapshot/layers.h), by the blocks as they were read. */
struct dt_snapshot_layers {
	bool known;
	bool exact;                     /* nothing changed between the snapshot's moment and the end of the reading */
	int64_t after_ns;               /* from the one to the other */
	uint64_t libc_bytes;            /* live_bytes of its libc domain where exact */
	uint64_t claimed_bytes;         /* of them, in a block of another domain; the rest is unclaimed */
};

/*
 * What is told as old: the blocks that were live at the snapshot's moment and had been allocated before one instant, which was at
 * least as long before as asked for. None of them is younger than age_ns, and all live blocks that are older are among them.
 */
struct dt_snapshot_ages {
	uint64_t older_than_ns;         /* as asked for; 0: it was not */
	uint64_t age_ns;                /* of that instant; 0: tracing had not begun so long ago, and nothing is old */
	bool exact;                     /* no block could be missed that went while the blocks were read */
};

/* Live blocks by size class (snapshot/sizes.h): the classes that are not empty, the smallest first. */
struct dt_snapshot_size {
	uint64_t upper_bytes;           /* a power of two: its blocks have at most so many bytes, and more than half of it */
	uint64_t blocks, bytes;
};

struct dt_snapshot_sizes {
	const struct dt_snapshot_size *rows;
	uint32_t count;
};

struct dt_snapshot_process {
	pid_t pid, ppid;
	uint64_t start_time_ns;         /* after boot */
	const char *comm, *exe;
	const char *const *command;     /* NULL-terminated argument vector */
	const char *python;             /* "3.11.2"; NULL: no CPython that is understood */
	bool exited;
	bool from_start;                /* every allocation of its program was seen; else those since it was attached to */
	uint64_t rss_bytes;             /* of an exited process: when last seen */
	struct dt_snapshot_memory memory;
	struct dt_snapshot_layers layers;
};

struct dt_snapshot_domain {
	uint32_t process;               /* index */
	enum dt_source source;
	uint32_t id;                    /* tracemalloc's number, or the program's (DECLARED); meaningless for other sources */
	const char *name;
	uint64_t live_blocks, live_bytes, peak_bytes;
	uint64_t allocations, allocated_bytes, frees, freed_bytes;
	uint64_t temporary;             /* of the frees: by the thread that allocated, before it allocated again from that source */
	bool at_peak_exact;             /* at_peak_bytes of its traces add up to peak_bytes */
	uint64_t old_blocks, old_bytes; /* of the live ones: struct dt_snapshot_ages */
	bool compared;                  /* with libc's blocks, which never is libc itself: where its process has layers */
	uint64_t in_libc_bytes, outside_libc_bytes; /* of its blocks as they were read then */
	bool sized;                     /* there are sizes, also of its traces */
	bool sizes_exact;               /* they add up to all live blocks; else some of these are of no class */
	struct dt_snapshot_sizes sizes;
};

struct dt_snapshot_trace {
	uint32_t domain, traceback;     /* indexes */
	uint64_t blocks, bytes;         /* live */
	uint64_t allocations, allocated_bytes;
	uint64_t peak_bytes;
	uint64_t at_peak_bytes;         /* live when its domain first came to its peak_bytes */
	uint64_t temporary;
	uint64_t old_blocks, old_bytes;
	struct dt_snapshot_sizes sizes;
};

struct dt_snapshot_traceback {
	const uint32_t *frames;         /* indexes, oldest first */
	uint32_t frame_count;
	uint32_t total_frames;          /* on the stack, kept or not, and those inlined into the kept ones */
	enum dt_truncation truncation;
};

struct dt_snapshot_frame {
	enum dt_frame_kind kind;
	const char *function;           /* NULL: unknown */
	const char *file;               /* Python: always; native: NULL where unknown */
	int line;                       /* 0: unknown */
	int first_line;                 /* Python: of the code object */
	const char *module;             /* native: path of the mapped file, "[vdso]", or NULL: no file */
	const char *build_id;           /* native: lower-case hex, or NULL */
	uint64_t address;               /* native: offset in the file of the call instruction; without a file, its address */
	uint64_t function_offset;       /* native, not inlined: bytes from the function's start to `address` */
	bool inlined;
};

struct dt_snapshot {
	uint64_t sequence;              /* 1, 2, 3 … in one run */
	const char *label;
	struct timespec time;           /* CLOCK_REALTIME */
	uint64_t elapsed_ns;            /* since tracing started or was last cleared */
	uint32_t traceback_limit;
	struct dt_snapshot_ages ages;
	uint64_t counters[DT_COUNTER_COUNT];
	const char *kernel, *architecture;

	struct dt_snapshot_process *processes;
	struct dt_snapshot_domain *domains;
	struct dt_snapshot_trace *traces;
	struct dt_snapshot_traceback *tracebacks;
	struct dt_snapshot_frame *frames;
	uint32_t process_count, domain_count, trace_count, traceback_count, frame_count;

	struct dt_snapshot_store *store; /* owns all of the above */
};

/* -ENOMEM. */
int dt_snapshot_new(struct dt_snapshot **ret_snapshot);
void dt_snapshot_free(struct dt_snapshot *snapshot);

/* The string, owned by the snapshot; the same pointer for equal strings. NULL in, NULL out; NULL also for no memory. */
const char *dt_snapshot_string(struct dt_snapshot *snapshot, const char *string);

/* Memory that the snapshot owns, aligned for any object, not cleared. NULL: no memory. */
void *dt_snapshot_bytes(struct dt_snapshot *snapshot, size_t size);

/* Each copies a row (its strings, its vectors) to the end of its table. -ENOMEM, -EOVERFLOW (2^32 rows). */
int dt_snapshot_add_process(struct dt_snapshot *snapshot, const struct dt_snapshot_process *row, uint32_t *ret_index);
int dt_snapshot_add_domain(struct dt_snapshot *snapshot, const struct dt_snapshot_domain *row, uint32_t *ret_index);
int dt_snapshot_add_trace(struct dt_snapshot *snapshot, const struct dt_snapshot_trace *row, uint32_t *ret_index);
/* Equal tracebacks and equal frames are stored once: *ret_index may be that of an earlier one. */
int dt_snapshot_add_traceback(struct dt_snapshot *snapshot, const struct dt_snapshot_traceback *row, uint32_t *ret_index);
int dt_snapshot_add_frame(struct dt_snapshot *snapshot, const struct dt_snapshot_frame *row, uint32_t *ret_index);
/*
 * The same for tables whose rows have their numbers already: equal ones stay apart. Such a snapshot gets no rows by the two above.
 */
int dt_snapshot_append_traceback(struct dt_snapshot *snapshot, const struct dt_snapshot_traceback *row);
int dt_snapshot_append_frame(struct dt_snapshot *snapshot, const struct dt_snapshot_frame *row);

/* True while no loss counter is above 0. */
bool dt_snapshot_is_complete(const struct dt_snapshot *snapshot);
/*
 * Checks what must hold in every snapshot: indexes in range; in each domain live = allocations − frees, and the sums
 * over its traces equal its own figures, that at its peak where it says so; parts of memory and exact layers add up to the whole; so do size
 * classes. 0, or -EBADMSG with *ret_reason a sentence owned by the snapshot.
 */
int dt_snapshot_check(struct dt_snapshot *snapshot, const char **ret_reason);

/* Names in JSON and reports. */
const char *dt_source_name(enum dt_source source);
const char *dt_truncation_name(enum dt_truncation truncation);   /* NULL for none */
const char *dt_truncation_help(enum dt_truncation truncation);   /* why there are no older frames; NULL for none */
const char *dt_counter_name(enum dt_counter counter);
const char *dt_counter_help(enum dt_counter counter);
bool dt_counter_is_loss(enum dt_counter counter);
/* "libc", "numpy", "pandas", "tracemalloc:7", "declared:7" of one without a name: at most 32 bytes with the NUL. */
#define DT_DOMAIN_NAME_SIZE 32
void dt_domain_name_format(enum dt_source source, uint32_t id, char name[DT_DOMAIN_NAME_SIZE]);
/* The reverse, also plain numbers (tracemalloc). -EINVAL: no such domain. */
int dt_domain_name_parse(const char *name, enum dt_source *ret_source, uint32_t *ret_id);

#endif
