/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records of code objects: the programs copy what the process shows. First how much the record lacks at its end, then its numbers,
 * then what stands in its file name, its function name and its line table alike.
 */
#include "fuzz.h"

#include <errno.h>
#include <unistr.h>

#include "session/code.h"

static void fill(struct dt_code_event *event, struct fuzz_bytes *bytes)
{
	event->event.type = DT_EVENT_CODE;
	event->event.tgid = (uint32_t)getpid(); /* what did not fit is read from this process: no other one is bothered */
	event->code = 4711;
	event->first_line = (int32_t)fuzz_number(bytes, 4);
	event->lines_size = (uint32_t)fuzz_number(bytes, 4);
	event->file_string.length = (uint32_t)fuzz_number(bytes, 4);
	event->file_string.kind = (uint32_t)fuzz_number(bytes, 1);
	event->name_string.length = (uint32_t)fuzz_number(bytes, 4);
	event->name_string.kind = (uint32_t)fuzz_number(bytes, 1);
	event->unreadable = fuzz_number(bytes, 1) == 1;
	event->lines_address = fuzz_number(bytes, 1) & 1 ? (uintptr_t)event->lines : 0;
	memcpy(event->file, bytes->at, bytes->size < sizeof(event->file) ? bytes->size : sizeof(event->file));
	memcpy(event->name, bytes->at, bytes->size < sizeof(event->name) ? bytes->size : sizeof(event->name));
	memcpy(event->lines, bytes->at, bytes->size < sizeof(event->lines) ? bytes->size : sizeof(event->lines));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dt_code_event *event = calloc(1, sizeof(*event));
	struct fuzz_bytes bytes = { data, size };
	size_t lacks = fuzz_number(&bytes, 1);
	struct dt_code *codes = NULL;
	const struct dt_code *code;
	int error;

	FUZZ_EXPECT(event);
	fill(event, &bytes);
	error = dt_codes_add(&codes, event, sizeof(*event) - lacks);
	FUZZ_EXPECT(error == (lacks ? -EBADMSG : 0));
	FUZZ_EXPECT(!dt_codes_add(&codes, event, sizeof(*event)));
	code = dt_codes_find(codes, getpid(), event->code);
	FUZZ_EXPECT(code && !code->file == !code->name && !code->file == !!event->unreadable);
	if (code->file) {
		FUZZ_EXPECT(!u8_check((const uint8_t *)code->file, strlen(code->file)));
		FUZZ_EXPECT(!u8_check((const uint8_t *)code->name, strlen(code->name)));
		fuzz_touch(code->lines, code->lines_size);
	}
	dt_codes_clear(&codes);
	free(event);
	return 0;
}
