/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * file: mappings that userspace has not read yet, found in the kernel's own: those of a program in its first milliseconds, and
 * of a library that was loaded a moment ago. What file is mapped there is enough, if its unwind table is there already.
 */

/* Notes what is mapped at an address; nothing if that is no code of a file. */
static long file_note_mapping(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	struct native_state *native = &((const struct walk *)context)->scratch->native;
	const struct file *file = area->vm_file;

	(void)task;
	if (!file || !(area->vm_flags & VM_EXEC) || !kernel_mapped_file(file, &native->file_key))
		return 0;
	native->start = area->vm_start;
	native->bytes = area->vm_end - area->vm_start;
	native->file_offset = (__u64)area->vm_pgoff * DT_UNWIND_PAGE_BYTES;
	return 0;
}

#define FILE_TRIES 256                  /* in one walk: whoever changes mappings, or puts probes into them, has them locked meanwhile */

/*
 * Makes the mapping of the current frame's address the current one; or it is none, and is worth another look. False: its file is not
 * known, or others change the mappings at this moment.
 */
static __always_inline bool file_find_mapping(struct walk *walk)
{
	struct native_state *native = &walk->scratch->native;
	const struct dt_file_row *file = NULL;

	native->bytes = 0;
	if (bpf_find_vma(bpf_get_current_task_btf(), native_address(native), file_note_mapping, walk, 0) == -EBUSY)
		return ++native->tries < FILE_TRIES;
	if (native->bytes && !((native->file_offset + native->bytes) >> DT_FRAME_OFFSET_BITS))
		file = bpf_map_lookup_elem(&files, &native->file_key);
	if (!file) {
		native->bytes = 0;
		return false;
	}
	native->base = native->start - native->file_offset + file->base;
	native->pages = file->pages;
	native->page_count = file->page_count;
	native->file = file->number;
	native->flags = NATIVE_BY_FILE;
	return true;
}

static long file_note_key(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	const struct file *file = area->vm_file;
	struct dt_file_key *key = context;

	(void)task;
	if (!file || !kernel_mapped_file(file, key))
		key->inode = 0;
	return 0;
}

/* May the code at an address be that of an allocator? Not if it is known whose it is, and that this file has none. */
static __noinline bool file_may_allocate(__u64 address)
{
	struct dt_file_key key = { 0 };
	const struct dt_file_row *file = NULL;

	bpf_find_vma(bpf_get_current_task_btf(), address, file_note_key, &key, 0);
	if (key.inode)
		file = bpf_map_lookup_elem(&files, &key);
	return !file || file->flags & DT_MAPPING_ALLOCATOR;
}
