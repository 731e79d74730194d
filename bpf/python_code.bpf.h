/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * python_code: code objects, by numbers that are made of what they hold: their file, name, first line and table of lines.
 *
 * Code objects come and go, those of exec() and eval() within microseconds, and the next one has the same address, mostly
 * also those of its parts. So the address says nothing, and reading all the parts for each frame of each event would
 * cost more than everything else. But none of the parts ever changes while the object lives, and its end is seen: PyCode_Type's
 * tp_dealloc is probed. What was read of a code object is therefore kept, by its address, until it is freed.
 */

static struct python_known_set known_codes[PYTHON_KNOWN_SETS];

static __always_inline struct python_known_set *python_known_set(__u32 image, __u64 code)
{
	return &known_codes[hash_mix(image, code) >> 40 & (PYTHON_KNOWN_SETS - 1)];
}

static __always_inline __u64 python_known_check(__u64 code, __u64 number, __u32 image, __s32 first_traceable)
{
	return code ^ number ^ ((__u64)image << 32 | (__u32)first_traceable);
}

/* True: `python` has got what is known of it. Rows are read as they are written; the check finds mixtures. */
static __always_inline bool python_known_get(const struct python_known *row, __u32 image, __u64 code, struct python_state *python)
{
	const volatile struct python_known *known = row;
	__u64 number;
	__s32 first_traceable;

	if (known->code != code || known->image != image)
		return false;
	number = known->number;
	first_traceable = known->first_traceable;
	if (known->check != python_known_check(code, number, image, first_traceable))
		return false;
	python->number = number;
	python->first_traceable = first_traceable;
	return true;
}

static __always_inline void python_known_put(__u32 image, __u64 code, const struct python_state *python)
{
	struct python_known_set *set = python_known_set(image, code);
	volatile struct python_known *row = &set->ways[0];

	if (set->ways[0].code && set->ways[0].code != code && (!set->ways[1].code || python->number & 1))
		row = &set->ways[1];
	row->code = 0;
	row->number = python->number;
	row->image = image;
	row->first_traceable = python->first_traceable;
	row->check = python_known_check(code, python->number, image, python->first_traceable);
	row->code = code;
}

/* A code object is being freed. */
static __always_inline void python_known_remove(__u32 image, __u64 code)
{
	struct python_known_set *set = python_known_set(image, code);

	for (int i = 0; i < PYTHON_KNOWN_WAYS; i++)
		if (set->ways[i].code == code && set->ways[i].image == image)
			set->ways[i].code = 0;
}

/* ---- its parts --------------------------------------------------------------------------------------------------- */

/*
 * Copies a compact str. PyASCIIObject.state: kind 3 bits, compact 1, ascii 1, behind `interned`, which has 2 bits, or in 3.14
 * 16 (CPython Include/cpython/unicodeobject.h): since it is no more than 3, and the kind not 0, each shows which it is.
 * Characters follow the header, whose size depends on `ascii`.
 */
static __always_inline bool python_read_string(const struct dt_python_layout *layout, __u64 string, struct dt_code_string *to,
					       __u64 *ret_address, __u8 *bytes, __u32 room)
{
	__u64 length, size;
	__u32 state;

	if (!read_u64(string + layout->string_length, &length) ||
	    !read_bytes(&state, sizeof(state), string + layout->string_state))
		return false;
	state >>= state >> 2 & 7 ? 2 : 16;
	if (!(state >> 3 & 1))
		return false;
	to->kind = state & 7;
	to->length = length > ~0u ? ~0u : length;
	*ret_address = string + (state >> 4 & 1 ? layout->string_ascii_data : layout->string_data);
	size = length * to->kind;
	if (length > room || size > room)
		size = room;
	return read_bytes(bytes, size, *ret_address);
}

static __always_inline bool python_read_lines(const struct dt_python_layout *layout, __u64 lines, struct dt_code_event *to)
{
	__u64 size;

	if (!read_u64(lines + layout->bytes_size, &size))
		return false;
	to->lines_address = lines + layout->bytes_data;
	to->lines_size = size > ~0u ? ~0u : size;
	if (size > DT_CODE_LINES_BYTES)
		size = DT_CODE_LINES_BYTES;
	return read_bytes(to->lines, size, to->lines_address);
}

static __always_inline bool python_read_parts(const struct dt_python_layout *layout, __u64 code, struct dt_code_event *event)
{
	__u64 file, name, lines;

	return read_u64(code + layout->code_filename, &file) && read_u64(code + layout->code_name, &name) &&
	       read_u64(code + layout->code_lines, &lines) &&
	       python_read_string(layout, file, &event->file_string, &event->file_address, event->file, DT_CODE_FILE_BYTES) &&
	       python_read_string(layout, name, &event->name_string, &event->name_address, event->name, DT_CODE_NAME_BYTES) &&
	       python_read_lines(layout, lines, event);
}

/* ---- its number -------------------------------------------------------------------------------------------------- */

struct python_hash {
	const struct python_state *python;
	__u64 hash;
	__u32 first;                    /* word of the event */
	__u32 bytes;
};

#define EVENT_WORDS (sizeof(struct dt_code_event) / 8)

static long python_hash_step(__u32 index, void *context)
{
	struct python_hash *hash = context;
	__u32 word = hash->first + index, rest = hash->bytes - 8 * index;
	__u64 value;

	if (word >= EVENT_WORDS)
		return 1;
	value = hash->python->event_words[word];
	if (rest < 8)
		value &= (1ull << 8 * (rest & 7)) - 1;
	hash->hash = hash_mix(hash->hash, value);
	return 0;
}

/* Mixes in a part; of one that was cut off also where it is: that is not proof, but all there is. */
static __always_inline void python_hash_part(struct python_hash *hash, __u32 offset, __u64 size, __u32 room, __u64 address)
{
	hash->hash = hash_mix(hash->hash, size);
	if (size > room) {
		hash->hash = hash_mix(hash->hash, address);
		size = room;
	}
	hash->first = offset / 8;
	hash->bytes = size;
	bpf_loop(((__u32)size + 7) / 8, python_hash_step, hash, 0);
}

static __always_inline __u64 python_code_number(const struct python_state *python)
{
	const struct dt_code_event *event = &python->event;
	struct python_hash hash = { .python = python, .hash = hash_mix(config.hash_seed, (__u32)event->first_line) };

	hash.hash = hash_mix(hash.hash, event->file_string.kind << 4 | event->name_string.kind);
	python_hash_part(&hash, offsetof(struct dt_code_event, file), (__u64)event->file_string.length * event->file_string.kind,
			 DT_CODE_FILE_BYTES, event->file_address);
	python_hash_part(&hash, offsetof(struct dt_code_event, name), (__u64)event->name_string.length * event->name_string.kind,
			 DT_CODE_NAME_BYTES, event->name_address);
	python_hash_part(&hash, offsetof(struct dt_code_event, lines), event->lines_size, DT_CODE_LINES_BYTES, event->lines_address);
	return hash.hash;
}

/* ---- the whole of it --------------------------------------------------------------------------------------------- */

/* Sends what was read, unless it was sent before. False: the ring buffer is full. */
static __always_inline bool python_code_send(struct python_state *python, __u32 slot, __u32 image)
{
	struct dt_code_key key = { .code = python->number, .image = image };
	struct dt_code_event *event = &python->event;
	__u32 lines = event->lines_size;
	__u8 sent = 1;

	if (bpf_map_lookup_elem(&codes, &key))
		return true;
	if (lines > DT_CODE_LINES_BYTES)
		lines = DT_CODE_LINES_BYTES;
	event->event.type = DT_EVENT_CODE;
	event->event.slot = slot;
	event->code = python->number;
	event->reserved = 0;
	if (bpf_ringbuf_output(&events, event, offsetof(struct dt_code_event, lines) + lines, 0)) {
		count_add(DT_COUNTER_code_lost);
		return false;
	}
	bpf_map_update_elem(&codes, &key, &sent, BPF_ANY);
	return true;
}

/*
 * Reads a code object and sends it. What was sent is kept, unless the object is being freed: it is in no frame then, but in
 * one that is taken down (before CPython 3.11.1, gh-99729).
 */
static __always_inline bool python_code_learn(const struct dt_process *process, struct dt_scratch *scratch, __u64 code)
{
	const struct dt_interpreter *interpreter = &process->python;
	const struct dt_python_layout *layout = &interpreter->layout;
	struct python_state *python = &scratch->python;
	__u64 references;

	python->first_traceable = -0x40000000; /* all instructions are */
	if (layout->code_first_traceable &&
	    !read_bytes(&python->first_traceable, sizeof(python->first_traceable), code + layout->code_first_traceable))
		return false;
	if (!read_u64(code, &references) ||
	    !read_bytes(&python->event.first_line, sizeof(python->event.first_line), code + layout->code_first_line))
		return false;
	python->event.lines_format = layout->lines_format;
	if (!python_read_parts(layout, code, &python->event)) {
		count_add(DT_COUNTER_code_unreadable);
		python->number = hash_mix(config.hash_seed, code);
		return true;
	}
	python->number = python_code_number(python);
	if (python_code_send(python, scratch->traceback.event.slot, scratch->image) && interpreter->frees_are_seen && references)
		python_known_put(scratch->image, code, python);
	return true;
}

/* The number of a code object, and its first traceable instruction, into scratch->python. False: it cannot be read. */
static __always_inline bool python_code_find(const struct dt_process *process, struct dt_scratch *scratch, __u64 code)
{
	const struct python_known_set *set = python_known_set(scratch->image, code);

	for (int i = 0; i < PYTHON_KNOWN_WAYS && process->python.frees_are_seen; i++)
		if (python_known_get(&set->ways[i], scratch->image, code, &scratch->python))
			return true;
	return python_code_learn(process, scratch, code);
}
