/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/images.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "session/skeleton.h"

int dt_images_start(struct domtrace_bpf *bpf)
{
	int fd = bpf_map__fd(bpf->maps.free_slots);

	/* A stack: the lowest are given out first, so that looking through those in use is quick. */
	for (uint32_t slot = DT_PROCESSES_MAX; slot--;)
		if (bpf_map_update_elem(fd, NULL, &slot, BPF_ANY))
			return -errno;
	return 0;
}

struct dt_process_state *dt_images_state(struct domtrace_bpf *bpf, uint32_t slot)
{
	return &bpf->bss->process_states[slot & (DT_PROCESSES_MAX - 1)];
}

int dt_images_take(struct domtrace_bpf *bpf, pid_t pid, const char *comm, pid_t ppid, uint32_t *ret_slot)
{
	struct dt_process_state *state;
	uint32_t slot;

	if (bpf_map_lookup_and_delete_elem(bpf_map__fd(bpf->maps.free_slots), NULL, &slot))
		return errno == ENOENT ? -ENOSPC : -errno;
	state = dt_images_state(bpf, slot);
	*state = (struct dt_process_state){
		.tgid = (uint32_t)pid,
		.ppid = (uint32_t)ppid,
		.generation = 1,
		.phase = DT_IMAGE_RUNS,
	};
	strncpy(state->comm, comm ? comm : "", sizeof(state->comm) - 1);
	__atomic_store_n(&state->image, __atomic_add_fetch(&bpf->bss->image_count, 1, __ATOMIC_SEQ_CST), __ATOMIC_RELEASE);
	*ret_slot = slot;
	return 0;
}

int dt_images_give(struct domtrace_bpf *bpf, uint32_t slot)
{
	*dt_images_state(bpf, slot) = (struct dt_process_state){ 0 };
	return bpf_map_update_elem(bpf_map__fd(bpf->maps.free_slots), NULL, &slot, BPF_ANY) ? -errno : 0;
}

int dt_images_enter(struct domtrace_bpf *bpf, uint32_t slot)
{
	const uint32_t tgid = dt_images_state(bpf, slot)->tgid;

	return bpf_map_update_elem(bpf_map__fd(bpf->maps.processes), &tgid, &slot, BPF_NOEXIST) ? -errno : 0;
}

void dt_images_end(struct domtrace_bpf *bpf, uint32_t slot)
{
	struct dt_process_state *state = dt_images_state(bpf, slot);
	uint32_t tgid = state->tgid, found;
	int fd = bpf_map__fd(bpf->maps.processes);

	__atomic_store_n(&state->row, 0, __ATOMIC_RELEASE);
	if (!bpf_map_lookup_elem(fd, &tgid, &found) && found == slot)
		bpf_map_delete_elem(fd, &tgid);
	if (state->phase == DT_IMAGE_RUNS)
		state->phase = DT_IMAGE_ENDED;
}

uint32_t dt_images_clear(struct domtrace_bpf *bpf, uint32_t slot)
{
	struct dt_process_state *state = dt_images_state(bpf, slot);
	__u64 *epoch = (__u64 *)&bpf->bss->epoch, now = __atomic_load_n(epoch, __ATOMIC_SEQ_CST);

	do {                            /* a child may be forked off meanwhile, anywhere */
		uint32_t before = DT_EPOCH_SEGMENT(now) ? DT_EPOCH_SEGMENT(now) : 1;

		__atomic_store_n(&state->generation, before + 1, __ATOMIC_SEQ_CST);
	} while (!__atomic_compare_exchange_n(epoch, &now, now + DT_EPOCH_STEP, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	return state->generation;
}
