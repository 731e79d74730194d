/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/reading.h"

#include "session/session.h"
#include "session/skeleton.h"

uint64_t dt_reading_lost(const struct dt_session *session)
{
	return __atomic_load_n(&session->bpf->bss->reading_lost, __ATOMIC_SEQ_CST);
}

void dt_reading_begin(struct dt_session *session, const struct dt_marker *marker, struct dt_reading *reading)
{
	uint64_t now = marker ? marker->turned_ns : dt_ages_now();
	uint64_t segment = marker ? marker->segment : DT_EPOCH_SEGMENT(__atomic_load_n(&session->bpf->bss->epoch, __ATOMIC_SEQ_CST));
	struct dt_age_step step = { 0 };

	*reading = (struct dt_reading){ .moment = (uint32_t)segment, .ages = session->ages->older_than_ns, .sizes = session->sizes };
	reading->begun = reading->ages || reading->sizes;
	if (!reading->begun)
		return;
	if (reading->ages && dt_ages_find(session->ages, now, &step))
		reading->age_ns = now - step.time_ns;
	reading->born_until = step.segment;
	reading->kept_before = marker ? marker->kept_before : __atomic_load_n(&session->bpf->bss->reading_kept, __ATOMIC_SEQ_CST);
	reading->lost_before = marker ? marker->lost_before : dt_reading_lost(session);
	/* Forks may begin further segments before the turn. */
	__atomic_store_n(&session->bpf->bss->reading, DT_SPAN(reading->sizes ? UINT32_MAX : step.segment, segment), __ATOMIC_SEQ_CST);
}

void dt_reading_turn(struct dt_session *session, const struct dt_reading *reading)
{
	if (reading->begun)
		__atomic_store_n(&session->bpf->bss->reading, DT_SPAN(reading->sizes ? reading->moment : reading->born_until, reading->moment),
				 __ATOMIC_SEQ_CST);
}

int dt_reading_end(struct dt_session *session, struct dt_reading *reading)
{
	int error = 0;

	if (!reading->begun)
		return 0;
	reading->begun = false;
	__atomic_store_n(&session->bpf->bss->reading, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&session->bpf->bss->reading_kept, __ATOMIC_SEQ_CST) != reading->kept_before)
		error = dt_session_sweep_past(session);
	return error;
}
