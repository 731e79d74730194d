/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for libbpf's header of this name when BPF programs are compiled for the host: the same words, and the helpers
 * of the kernel as functions that host.h defines. What they promise is in bpf-helpers(7).
 */
#ifndef TEST_BPF_HELPERS_H
#define TEST_BPF_HELPERS_H

#define SEC(name)
#define __uint(name, value) int (*name)[value]
#define __type(name, value) __typeof__(value) *name
#define __array(name, value) __typeof__(value) *name[1]
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define preserve_access_index
#define __ksym
#undef __weak
#define __weak __attribute__((weak))

/* What the definition of a map says about it. */
struct host_definition {
	const void *map;
	size_t type, rows, key_bytes, value_bytes;
};

/* An inner map, which programs know as a pointer without a type: a chunk of unwind tables. */
struct host_inner_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dt_unwind_chunk);
};

#define HOST_TYPED(map) \
	((__typeof__(__builtin_choose_expr(__builtin_types_compatible_p(__typeof__(map), void *), \
					   (struct host_inner_map *)0, (map))))(map))

#define HOST_MAP(map) \
	(&(struct host_definition){ (map), sizeof(*HOST_TYPED(map)->type) / sizeof(int), \
				    sizeof(*HOST_TYPED(map)->max_entries) / sizeof(int), \
				    sizeof(*HOST_TYPED(map)->key), sizeof(*HOST_TYPED(map)->value) })

static void *host_lookup(const struct host_definition *map, const void *key);
static long host_update(const struct host_definition *map, const void *key, const void *value, __u64 flags);
static long host_delete(const struct host_definition *map, const void *key);
static void *host_task_storage(const void *map, __u64 flags);

#define bpf_map_lookup_elem(map, key) host_lookup(HOST_MAP(map), key)
#define bpf_map_update_elem(map, key, value, flags) host_update(HOST_MAP(map), key, value, flags)
#define bpf_map_delete_elem(map, key) host_delete(HOST_MAP(map), key)
#define bpf_tail_call(context, map, index) ((void)(context))
#define bpf_task_storage_get(map, task, value, flags) ((void)(task), host_task_storage(map, flags))

struct task_struct;
struct vm_area_struct;
struct pt_regs;

static long bpf_ringbuf_output(void *map, const void *data, __u64 size, __u64 flags);
static void *bpf_ringbuf_reserve(void *map, __u64 size, __u64 flags);
static void bpf_ringbuf_submit(void *data, __u64 flags);
static long bpf_loop(__u32 count, long (*step)(__u32 index, void *context), void *context, __u64 flags);
static long bpf_probe_read_user(void *to, __u32 size, const void *address);
static long bpf_probe_read_user_str(void *to, __u32 size, const void *address);
static long bpf_copy_from_user(void *to, __u32 size, const void *address);
static long bpf_copy_from_user_task(void *to, __u32 size, const void *address, struct task_struct *task, __u64 flags);
static __u64 bpf_get_current_pid_tgid(void);
static __u32 bpf_get_smp_processor_id(void);
static long bpf_get_ns_current_pid_tgid(__u64 device, __u64 inode, struct bpf_pidns_info *info, __u32 size);
static struct task_struct *bpf_get_current_task_btf(void);
static long bpf_find_vma(struct task_struct *task, __u64 address, long (*note)(struct task_struct *, struct vm_area_struct *, void *),
			 void *context, __u64 flags);
static __u64 bpf_get_attach_cookie(struct pt_regs *ctx);
static __u64 bpf_get_func_ip(struct pt_regs *ctx);
static long bpf_send_signal_thread(__u32 signal);
static __u64 bpf_ktime_get_ns(void);
static long bpf_map_pop_elem(const void *map, void *value);
static long bpf_probe_read_kernel(void *to, __u32 size, const void *address);
static long bpf_get_current_comm(void *to, __u32 size);
static __u64 bpf_get_current_uid_gid(void);
static __u64 bpf_get_current_ancestor_cgroup_id(int level);

#endif
