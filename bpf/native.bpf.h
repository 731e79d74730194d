/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * native: one step of the native walk, along the chain of frame pointers.
 *
 * A frame that keeps rbp stores {caller's rbp, return address} at rbp (System V AMD64 ABI 1.0, figure 3.3). Code built
 * without frame pointers leaves anything in rbp: the chain must climb the stack, and userspace later cuts a traceback
 * at the first address that no call instruction precedes.
 */

struct native_walk {
	struct dt_scratch *scratch;
	__u64 frame_pointer;
	__u64 lowest;                   /* the next frame must lie at or above this address */
	__u64 window;                   /* where the words in scratch->stack come from */
	__u32 window_bytes;             /* how many of them are there */
	enum dt_truncation truncation;
};

#define NATIVE_STACK_SPAN_MAX (1ull << 32) /* two frames of one stack are not further apart */

static __always_inline void native_push(struct dt_scratch *scratch, __u64 return_address)
{
	__u32 frames = scratch->traceback.total_frames++;

	if (frames < config.frame_limit && frames < DT_FRAMES_MAX) {
		scratch->traceback.frames[frames] = (struct dt_frame){ .where = return_address };
		scratch->traceback.traceback = hash_mix(scratch->traceback.traceback, return_address);
	}
}

/*
 * The two words of a frame. Most frames are small, so one read of half a KiB, which costs little more than one of a
 * word, serves several; near the end of the stack, where so much is not mapped, the frame alone is read.
 */
static __always_inline bool native_read_frame(struct native_walk *walk, __u64 frame_pointer, __u64 saved[2])
{
	__u64 *stack = walk->scratch->stack, offset = frame_pointer - walk->window;

	if (offset + 16 > walk->window_bytes || frame_pointer < walk->window) {
		walk->window = frame_pointer;
		walk->window_bytes = sizeof(walk->scratch->stack);
		offset = 0;
		if (!read_bytes(stack, sizeof(walk->scratch->stack), frame_pointer)) {
			walk->window_bytes = 16;
			if (!read_bytes(stack, 16, frame_pointer))
				return false;
		}
	}
	saved[0] = stack[(offset / 8) & (STACK_WINDOW_WORDS - 1)];
	saved[1] = stack[(offset / 8 + 1) & (STACK_WINDOW_WORDS - 1)];
	return true;
}

static long native_step(__u32 index, void *context)
{
	struct native_walk *walk = context;
	__u64 frame_pointer = walk->frame_pointer;
	__u64 saved[2];

	(void)index;
	if (!frame_pointer)             /* the ABI's mark of the outermost frame */
		return 1;
	walk->truncation = DT_TRUNCATION_NO_FRAME_POINTER;
	if (frame_pointer < walk->lowest || frame_pointer - walk->lowest > NATIVE_STACK_SPAN_MAX || frame_pointer & 7)
		return 1;
	if (!native_read_frame(walk, frame_pointer, saved) || !saved[1])
		return 1;
	native_push(walk->scratch, saved[1]);
	walk->lowest = frame_pointer + sizeof(saved);
	walk->frame_pointer = saved[0];
	walk->truncation = DT_TRUNCATION_NONE;
	return 0;
}

/* The frames above a call that returns to `return_address`; the stack begins at `stack`. */
static __always_inline void native_walk(struct dt_scratch *scratch, __u64 return_address, __u64 stack, __u64 frame_pointer)
{
	struct native_walk walk = {
		.scratch = scratch,
		.frame_pointer = frame_pointer,
		.lowest = stack,
	};

	native_push(scratch, return_address);
	bpf_loop(DT_FRAMES_WALKED_MAX, native_step, &walk, 0);
	if (!walk.truncation && walk.frame_pointer)
		walk.truncation = DT_TRUNCATION_TOO_DEEP;
	scratch->traceback.truncation = walk.truncation;
}
