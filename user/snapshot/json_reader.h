/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * json_reader: JSON Lines, read value by value, in memory that does not grow with the file.
 *
 * The caller asks for what should come next. The first thing that is not so stops the reader for good: from then on everything
 * answers false and nothing is stored, so that only dt_json_error() needs to be looked at in the end. What JSON is: RFC 8259.
 * Text is valid UTF-8 without NUL; a newline ends the document.
 *
 * Why it is our own: the same interface was also written on yajl (2.1.0-3+deb12u2, on 2026-11-23) and passed test_load and
 * test_out_of_memory as they are. (yajl does not look whether it was given memory: a jump leaves it, and its blocks are freed without
 * it.) It was not taken:
 * - Reading a snapshot of a million traces (138 MB; tests/bench `files`) took 0.9 to 1.0 s of processor time instead of 0.29, medians
 *   of 20: 3.1 and 3.4 times as long in two runs (2.6 ... 3.7 in rounds of five). The limit was 3. Whole commands stayed below it:
 *   "report" by traceback 2.3 times (2.0 ... 3.0 in eight rounds), by line, cumulative, 2.8 times (2.0 ... 3.4). yajl alone, with
 *   callbacks that only count, took 0.4 to 0.5 s.
 * - It was 1,079 lines for 719. yajl makes '?' of half a surrogate pair and another character of a wrong pair, and takes UTF-8 that is
 *   overlong or a surrogate, and vertical tabs and form feeds for space: all that had to be found for it. It pushes, so tokens must
 *   wait; and it tells neither where a token begins nor what should have been in its place.
 * - Its last commit upstream that we know of is of 2015; what was found since (CVE-2017-16516, CVE-2022-24795, CVE-2023-33460) is
 *   mended by distributions.
 */
#ifndef DT_SNAPSHOT_JSON_READER_H
#define DT_SNAPSHOT_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/input.h"

#define DT_JSON_DEPTH_MAX 64            /* of arrays and objects in what is skipped */
#define DT_JSON_TEXT_BYTES_MAX ((size_t)4 << 20) /* an argument of a command has at most 128 KiB, each byte at most 6 of JSON */

struct dt_json;

/* -ENOMEM. The input stays the caller's. */
int dt_json_new(struct dt_input *input, struct dt_json **ret_json);
void dt_json_free(struct dt_json *json);

/* The first error, and where it was: line (1 is the first) and byte of the line (0 is the first). */
int dt_json_error(const struct dt_json *json);
const char *dt_json_reason(const struct dt_json *json, uint64_t *ret_line, uint64_t *ret_byte);
/* Stops with a sentence of the caller's, if nothing stopped it before. Returns false. */
bool dt_json_fail(struct dt_json *json, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* True while there are bytes: another line, whole or not. */
bool dt_json_has_line(struct dt_json *json);
/* Behind a document: its newline. False: the file ends without. */
bool dt_json_end_line(struct dt_json *json);
/*
 * Skips the rest of the line, whatever it is, also after an error. False: there is no newline before the end, or reading failed, or there is
 * none for too long, which dt_json_error() tells.
 */
bool dt_json_skip_line(struct dt_json *json);
/* The reader is to begin again, because its input did. */
void dt_json_restart(struct dt_json *json);

/* An array or object: `for (bool first = dt_json_open(json, '['); dt_json_next(json, ']', &first);)` */
bool dt_json_open(struct dt_json *json, char bracket);
bool dt_json_next(struct dt_json *json, char bracket, bool *first);
/* The key of a member and its colon. The first form takes it only if it is this one; the second gives any, until the next call. */
bool dt_json_take_key(struct dt_json *json, const char *key, size_t size);
bool dt_json_key(struct dt_json *json, const char **ret_key, size_t *ret_size);

/* Takes null if that is next. */
bool dt_json_take_null(struct dt_json *json);
bool dt_json_u64(struct dt_json *json, uint64_t maximum, uint64_t *ret_value);
bool dt_json_i64(struct dt_json *json, int64_t minimum, int64_t maximum, int64_t *ret_value);
bool dt_json_bool(struct dt_json *json, bool *ret_value);
/* NUL-terminated; lives until the next call. */
bool dt_json_text(struct dt_json *json, const char **ret_text, size_t *ret_size);
/*
 * Short cuts for what domtrace writes itself, in its order and without spaces. What stands there otherwise is left to the functions
 * above: nothing was taken then, and nothing is said to be wrong.
 */
/* A member behind another one: `,"key":123`, of which `member` has all but the number. */
bool dt_json_take_member(struct dt_json *json, const char *member, size_t size, uint64_t maximum, uint64_t *ret_value);
/* Elements behind the first, `,123,456`, at most `room` of them. How many these were. */
size_t dt_json_take_elements(struct dt_json *json, uint32_t *values, size_t room);

/* Any value. */
bool dt_json_skip(struct dt_json *json);

#endif
