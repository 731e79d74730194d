/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * maps: every table, with the struct of its rows in wire.h. Sizes that depend on options are set before load.
 *
 * Programs of uprobes are preemptible, but stay on their CPU (stack.bpf.h). So what is of a CPU is no more one program's than what is of
 * all of them: `counters` are changed by atomic operations, `scratches` are claimed (those of other CPUs, too), and everything else is shared by all CPUs anyway,
 * written by atomic operations, by the kernel under its locks, or with a check that finds mixtures (file_sets, known_codes). `threads`
 * are each thread's own, and a thread has one event at a time; of requests for them see process.bpf.h.
 *
 * live and traces allocate rows when they are needed: safe in tracing programs from 6.1 on, where hash maps got
 * their own allocator (kernel 34dd3bad1a6f "bpf: Relax the requirement to use preallocated hash maps in tracing").
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * DT_PROCESSES_MAX); /* some share an image: vfork() */
	__type(key, __u32);
	__type(value, __u32);
} processes SEC(".maps");

/* Slots of process_states that no image has. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, DT_PROCESSES_MAX);
	__uint(value_size, sizeof(__u32));
} free_slots SEC(".maps");

/* rows.bpf.h: the first map of live blocks, and those that come when they are needed. */
struct live_table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DT_LIVE_ROWS_FIRST);
	__type(key, struct dt_block_key);
	__type(value, struct dt_block);
} live SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, DT_LIVE_MORE_MAX);
	__type(key, __u32);
	__type(value, __u32);
	__array(values, struct live_table);
} live_more SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct dt_past_key);
	__type(value, struct dt_block);
} past SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct dt_trace_key);
	__type(value, struct dt_trace);
} traces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct dt_trace_key);
	__type(value, struct dt_trace);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct dt_code_key);
	__type(value, __u8);
} codes SEC(".maps");

/* The words of the unwind tables, in chunks that are made when they are needed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, DT_UNWIND_CHUNKS_MAX);
	__type(key, __u32);
	__type(value, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_MMAPABLE);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(struct dt_unwind_chunk));
	});
} unwind_chunks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DT_FILES_MAX);
	__type(key, struct dt_file_key);
	__type(value, struct dt_file_row);
} files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} events SEC(".maps");

/* What is kept of a thread; goes with it. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct dt_thread);
} threads SEC(".maps");

/* Of threads that have come to markers. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct marker_wait);
} marker_waits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DT_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/*
 * Room for one traceback, too large for the stack. Uprobe programs are preemptible, so another thread's program may
 * run on this CPU before one is done: each CPU has several slots, and may take those of others where its own are held. The place
 * of a CPU's slots is its number, and which one is taken is claimed. Userspace says how many rows there are.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DT_SCRATCHES_MIN);
	__type(key, __u32);
	__type(value, struct dt_scratch);
} scratches SEC(".maps");
