/* SPDX-License-Identifier: BSD-2-Clause */
/* Markers: who turns the epoch, what userspace is told of it, and when a thread goes on. */
#include "books.h"

#define LABEL_ADDRESS 0x555500010000

static unsigned int turns;
static __u64 begun_ns;

/* The current thread comes to a marker. */
static void come(__u64 place, __u64 label)
{
	__u64 stack = HOST_STACK((__u64)(host_current - host_threads)) + 1024;
	struct pt_regs registers = { .rsp = stack, .rip = stack, .rdi = label }; /* readable, and whose code it is nobody asks */

	turns = 0;
	begun_ns = host_time_ns;
	host_cookie = place;
	marker_enter(&registers);
}

/* Userspace has read the tables of the last marker, on the third turn. */
static long read_at_third(void)
{
	if (++turns == 3) {
		assert_int_equal(turn, DT_TURN_MARKER);
		turn = DT_TURN_FREE;
		markers_read = marker.number;
	}
	return 0;
}

static long count_turns(void)
{
	turns++;
	host_time_ns += 1000000;
	return 0;
}

#define VDSO_ADDRESS 0x7fff00001000

/* The thread goes on at once where the vDSO is not there to be read, whatever else is. */
static void waits_on_the_vdso(void **state)
{
	static const char image[] = "\177ELF";
	struct mm_struct memory = { .context.vdso = (void *)VDSO_ADDRESS };

	(void)state;
	host_current->task.mm = &memory;
	host_wait = count_turns;
	come(DT_MARKER_DECLARED, 0);
	assert_int_equal(turns, 1);
	assert_int_equal(host_counter(DT_COUNTER_markers_late), 1);
	turn = DT_TURN_FREE;
	host_memory(VDSO_ADDRESS, image, sizeof(image));
	host_wait = read_at_third;
	come(DT_MARKER_DECLARED, 0);
	assert_int_equal(turns, 3);
	assert_int_equal(host_counter(DT_COUNTER_markers_late), 1);
	host_current->task.mm = NULL;
}

static void turns_and_waits(void **state)
{
	static const char label[] = "after loading";
	__u64 before = epoch;

	(void)state;
	host_memory(LABEL_ADDRESS, label, sizeof(label));
	host_wait = read_at_third;
	come(DT_MARKER_DECLARED, LABEL_ADDRESS);
	assert_int_equal(turns, 3);
	assert_int_equal(DT_EPOCH_HALF(epoch), !DT_EPOCH_HALF(before));
	assert_int_equal(DT_EPOCH_SEGMENT(epoch), DT_EPOCH_SEGMENT(before) + 1);
	assert_int_equal(marker.number, 1);
	assert_int_equal(marker.segment, DT_EPOCH_SEGMENT(before));
	assert_int_equal(marker.slot, *(__u32 *)bpf_map_lookup_elem(&processes, &(__u32){ HOST_TGID }));
	assert_int_equal(marker.turned_ns, host_time_ns);
	assert_int_equal(marker.place, DT_MARKER_DECLARED);
	assert_string_equal(marker.label, label);
	assert_non_null(host_event(DT_EVENT_MARKER, 0));
	assert_null(host_event(DT_EVENT_MARKER, 1));
	assert_int_equal(host_counter(DT_COUNTER_markers_late), 0);
	assert_int_equal(host_counter(DT_COUNTER_markers_missed), 0);
	/* The next one is another, in the other half. */
	come(7, 0);
	assert_int_equal(marker.number, 2);
	assert_int_equal(marker.place, 7);
	assert_string_equal(marker.label, "");
	assert_int_equal(DT_EPOCH_HALF(epoch), DT_EPOCH_HALF(before));
}

static void cuts_and_reads_labels(void **state)
{
	char label[100];

	(void)state;
	memset(label, 'x', sizeof(label));
	host_memory(LABEL_ADDRESS, label, sizeof(label));
	host_wait = read_at_third;
	come(DT_MARKER_DECLARED, LABEL_ADDRESS);
	assert_int_equal(strlen(marker.label), DT_MARKER_LABEL_BYTES - 1);
	come(DT_MARKER_DECLARED, 8);            /* no memory */
	assert_string_equal(marker.label, "");
	come(DT_MARKER_DECLARED, LABEL_ADDRESS + 90);   /* ends with its memory, without a NUL */
	assert_string_equal(marker.label, "");
	assert_int_equal(marker.number, 3);
}

/* Userspace takes a snapshot of its own meanwhile, and is dead afterwards. */
static long free_at_fifth(void)
{
	count_turns();
	if (turns == 5)
		turn = DT_TURN_FREE;
	return 0;
}

static void waits_for_the_turn(void **state)
{
	__u64 before = epoch;

	(void)state;
	turn = DT_TURN_SESSION;
	host_wait = free_at_fifth;
	come(1, 0);
	assert_int_equal(epoch, before + DT_EPOCH_TURN(before));
	assert_int_equal(marker.number, 1);
	/* A time for each: the second begins with the turn. */
	assert_int_equal(host_time_ns, begun_ns + 5000000 + MARKER_LIFE_NS + 1000000);
	assert_int_equal(host_counter(DT_COUNTER_markers_late), 1);
	assert_int_equal(host_counter(DT_COUNTER_markers_missed), 0);
	assert_int_equal(turn, DT_TURN_MARKER);
	/* The right is not to be had: nobody turns. */
	host_wait = count_turns;
	come(1, 0);
	assert_int_equal(marker.number, 1);
	assert_int_equal(host_time_ns, begun_ns + MARKER_LIFE_NS + 1000000);
	assert_int_equal(host_counter(DT_COUNTER_markers_missed), 1);
	assert_int_equal(epoch, before + DT_EPOCH_TURN(before));
}

static long show_life_at_each_thousandth(void)
{
	count_turns();
	if (turns % 1000 == 0)
		markers_life_ns = host_time_ns;
	return 0;
}

static void waits_while_there_is_life(void **state)
{
	(void)state;
	turn = DT_TURN_SESSION;
	markers_life_ns = 5;
	host_wait = show_life_at_each_thousandth;
	come(1, 0);                             /* but not for ever */
	assert_int_equal(host_time_ns, begun_ns + MARKER_WAIT_NS + 1000000);
	assert_int_equal(host_counter(DT_COUNTER_markers_missed), 1);
	host_wait = count_turns;
	come(1, 0);                             /* and another one not at all, … */
	assert_int_equal(turns, 0);
	markers_life_ns++;
	come(1, 0);                             /* … before there is life again */
	assert_int_equal(host_time_ns, begun_ns + MARKER_LIFE_NS + 1000000);
	assert_int_equal(host_counter(DT_COUNTER_markers_missed), 3);
	markers_life_ns++;
	turn = DT_TURN_FREE;
	host_wait = read_at_third;
	come(1, 0);
	assert_int_equal(marker.number, 1);
	assert_int_equal(host_counter(DT_COUNTER_markers_missed), 3);
	assert_int_equal(host_counter(DT_COUNTER_markers_late), 0);
}

static long kill_at_second(void)
{
	return ++turns == 2 ? -EFAULT : 0;
}

static long close_at_second(void)
{
	markers_closed = ++turns == 2;
	return 0;
}

static long withdraw_at_second(void)
{
	if (++turns == 2)
		host_image(HOST_TGID)->row = 0;
	return 0;
}

static void goes_on(long (*when)(void))
{
	host_wait = when;
	come(1, 0);
	assert_int_equal(turns, 2);
	assert_int_equal(marker.number, 1);
	assert_int_equal(turn, DT_TURN_MARKER);
}

static void goes_on_when_killed(void **state)
{
	(void)state;
	goes_on(kill_at_second);
}

static void goes_on_when_the_session_ends(void **state)
{
	(void)state;
	goes_on(close_at_second);
}

static void goes_on_when_not_traced(void **state)
{
	(void)state;
	goes_on(withdraw_at_second);
	come(1, 0);                             /* and is nothing from then on */
	assert_int_equal(turns, 0);
	assert_int_equal(marker.number, 1);
}

static void keeps_old_blocks(void **state)
{
	(void)state;
	host_config()->blocks_are_read = 1;
	reading_kept = 5;
	reading_lost = 6;
	epoch = 8 * DT_EPOCH_STEP;
	host_wait = read_at_third;
	come(1, 0);
	assert_int_equal(marker.kept_before, 5);
	assert_int_equal(marker.lost_before, 6);
	assert_int_equal(reading, DT_SPAN(~0u, 8));
	host_config()->blocks_are_read = 0;
	reading = 0;
	come(1, 0);
	assert_int_equal(reading, 0);
}

/* The record is only a knock. */
static void does_without_room_in_the_ring(void **state)
{
	(void)state;
	host_ring_is_full = true;
	host_wait = read_at_third;
	come(1, 0);
	assert_int_equal(marker.number, 1);
	assert_int_equal(turns, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		host_test(waits_on_the_vdso),
		host_test(turns_and_waits),
		host_test(cuts_and_reads_labels),
		host_test(waits_for_the_turn),
		host_test(waits_while_there_is_life),
		host_test(goes_on_when_killed),
		host_test(goes_on_when_the_session_ends),
		host_test(goes_on_when_not_traced),
		host_test(keeps_old_blocks),
		host_test(does_without_room_in_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
