/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * file: mappings that userspace has not read yet, found in the kernel's own: those of a program in its first milliseconds, and
 * of a library that was loaded a moment ago. What file is mapped there is enough, if its unwind table is there already.
 *
 * The kernel's mappings are locked while another thread changes them, or while probes are put into them; who holds the lock may not even
 * run. So what was found once is kept for its image, and where the program's own code lies is known without a lock.
 */

static struct file_set file_sets[FILE_SETS];

static __always_inline struct file_set *file_set(__u32 slot)
{
	return &file_sets[slot & (FILE_SETS - 1)];
}

static __always_inline __u64 file_mapping_check(const struct file_mapping *mapping, __u32 image)
{
	return mapping->start ^ mapping->bytes ^ mapping->file_offset ^ mapping->file_key.inode ^
	       ((__u64)image << 32 | mapping->file_key.device);
}

/* The mapping of an address that was found before. False: it was not. Rows are read as they are written; the check finds mixtures. */
static __always_inline bool file_recall(__u32 slot, __u32 image, __u64 address, struct file_mapping *mapping)
{
	const struct file_set *set = file_set(slot);

	for (__u32 i = 0; i < FILE_WAYS; i++) {
		const volatile struct file_mapping *way = &set->ways[i];

		mapping->start = way->start;
		mapping->bytes = way->bytes;
		if (way->image != image || address - mapping->start >= mapping->bytes)
			continue;
		mapping->file_offset = way->file_offset;
		mapping->file_key.inode = way->file_key.inode;
		mapping->file_key.device = way->file_key.device;
		mapping->file_key.reserved = 0;
		return way->check == file_mapping_check(mapping, image);
	}
	return false;
}

static __always_inline void file_keep(__u32 slot, __u32 image, const struct file_mapping *mapping)
{
	struct file_set *set = file_set(slot);
	volatile struct file_mapping *way = &set->ways[atomic_fetch_and_add(&set->next, 1) & (FILE_WAYS - 1)];

	way->image = 0;
	way->start = mapping->start;
	way->bytes = mapping->bytes;
	way->file_offset = mapping->file_offset;
	way->file_key.inode = mapping->file_key.inode;
	way->file_key.device = mapping->file_key.device;
	way->check = file_mapping_check(mapping, image);
	way->image = image;
}

/* What is mapped; nothing if that is no code of a file. */
static __always_inline void file_note(const struct vm_area_struct *area, struct file_mapping *mapping)
{
	const struct file *file = area->vm_file;

	if (!file || !(area->vm_flags & VM_EXEC) || !kernel_mapped_file(file, &mapping->file_key))
		return;
	mapping->start = area->vm_start;
	mapping->bytes = area->vm_end - area->vm_start;
	mapping->file_offset = (__u64)area->vm_pgoff * DT_UNWIND_PAGE_BYTES;
}

static long file_note_walked(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	(void)task;
	file_note(area, &((const struct walk *)context)->scratch->native.mapping);
	return 0;
}

/*
 * The program's own code: where it begins in memory the kernel notes when it begins it, and where in its file the file itself tells
 * (fs/binfmt_elf.c, load_elf_binary(): start_code, of the first segment with PF_X). Programs that put other code into that place
 * (packers) have no table in their file. NULL: the address is not there, or too little is known.
 */
static __always_inline const struct dt_file_row *file_of_program(__u64 address, struct file_mapping *mapping)
{
	const struct mm_struct *memory = bpf_get_current_task_btf()->mm;
	const struct dt_file_row *file;
	const struct file *program;

	mapping->bytes = 0;
	if (!memory || address - memory->start_code >= memory->end_code - memory->start_code)
		return NULL;
	program = memory->exe_file;
	if (!program || !kernel_mapped_file(program, &mapping->file_key))
		return NULL;
	file = bpf_map_lookup_elem(&files, &mapping->file_key);
	if (!file || !file->page_count)
		return NULL;
	mapping->start = memory->start_code;
	mapping->bytes = memory->end_code - mapping->start;
	mapping->file_offset = file->code_offset;
	return file;
}

#define FILE_TRIES 256                  /* in one walk: whoever changes mappings, or puts probes into them, has them locked meanwhile */

/*
 * Makes the mapping of the current frame's address the current one; or it is none, and is worth another look. False: its file is not
 * known, or others change the mappings at this moment.
 */
static __always_inline bool file_find_mapping(struct walk *walk)
{
	struct dt_scratch *scratch = walk->scratch;
	struct native_state *native = &scratch->native;
	struct file_mapping *mapping = &native->mapping;
	__u32 slot = scratch->traceback.event.slot;
	__u64 address = native_address(native);
	const struct dt_file_row *file = NULL;
	bool is_new = false;

	native->bytes = 0;
	if (native_has_removed(scratch) || !file_recall(slot, scratch->image, address, mapping)) {
		mapping->bytes = 0;
		is_new = bpf_find_vma(bpf_get_current_task_btf(), address, file_note_walked, walk, 0) != -EBUSY;
		if (!is_new && !file_of_program(address, mapping))
			return ++native->tries < FILE_TRIES;
	}
	if (mapping->bytes && !((mapping->file_offset + mapping->bytes) >> DT_FRAME_OFFSET_BITS))
		file = bpf_map_lookup_elem(&files, &mapping->file_key);
	if (!file)
		return false;
	if (is_new)
		file_keep(slot, scratch->image, mapping);
	native->start = mapping->start;
	native->bytes = mapping->bytes;
	native->base = mapping->start - mapping->file_offset + file->base;
	native->pages = file->pages;
	native->page_count = file->page_count;
	native->file = file->number;
	native->flags = NATIVE_BY_FILE;
	return true;
}

/* Looks for the mapping of an address whose code has called an allocator. */
struct file_look {
	__u64 address;
	struct file_mapping mapping;
};

static long file_note_caller(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	(void)task;
	file_note(area, &((struct file_look *)context)->mapping);
	return 0;
}

static long file_look_step(__u32 index, void *context)
{
	struct file_look *look = context;

	(void)index;
	return bpf_find_vma(bpf_get_current_task_btf(), look->address, file_note_caller, look, 0) != -EBUSY;
}

/* The flags of the file whose code an address is in. False: that is not known. */
static __noinline bool file_flags(__u64 address, __u32 *flags)
{
	struct file_look look = { .address = address };
	const struct dt_thread *thread = thread_find();
	const struct dt_file_row *file = NULL;
	bool is_new = false;

	if (!thread)
		return false;
	if (image_state(thread->slot)->removals || !file_recall(thread->slot, thread->image, address, &look.mapping)) {
		look.mapping.bytes = 0;
		is_new = !file_of_program(address, &look.mapping);
		if (is_new)
			bpf_loop(FILE_TRIES, file_look_step, &look, 0);
	}
	if (look.mapping.bytes)
		file = bpf_map_lookup_elem(&files, &look.mapping.file_key);
	if (!file)
		return false;
	if (is_new)
		file_keep(thread->slot, thread->image, &look.mapping);
	*flags = file->flags;
	return true;
}
