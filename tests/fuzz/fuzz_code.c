/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records of code objects: the programs copy what the process shows. First how many bytes of its line table the record has, then
 * its numbers, then what stands in its file name, its function name and its line table alike.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <unistr.h>

#include "session/code.h"

/* Only as many bytes of the line table as are there: AddressSanitizer sees a read behind them. */
static struct dt_code_event *make_event(struct fuzz_bytes *bytes, size_t lines)
{
	struct dt_code_event *event = calloc(1, offsetof(struct dt_code_event, lines) + lines);

	FUZZ_EXPECT(event);
	event->event.type = DT_EVENT_CODE;
	event->code = 4711;
	event->first_line = (int32_t)fuzz_number(bytes, 4);
	event->lines_size = (uint32_t)fuzz_number(bytes, 4);
	event->file_string.length = (uint32_t)fuzz_number(bytes, 4);
	event->file_string.kind = (uint32_t)fuzz_number(bytes, 1);
	event->name_string.length = (uint32_t)fuzz_number(bytes, 4);
	event->name_string.kind = (uint32_t)fuzz_number(bytes, 1);
	event->lines_format = (uint32_t)(fuzz_number(bytes, 1) % (DT_PYTHON_LOCATIONS + 1));
	event->file_address = fuzz_number(bytes, 1) & 1 ? (uintptr_t)event->file : 0;
	event->name_address = event->file_address ? (uintptr_t)event->name : 0;
	event->lines_address = event->file_address ? (uintptr_t)event->lines : 0;
	memcpy(event->file, bytes->at, bytes->size < sizeof(event->file) ? bytes->size : sizeof(event->file));
	memcpy(event->name, bytes->at, bytes->size < sizeof(event->name) ? bytes->size : sizeof(event->name));
	memcpy(event->lines, bytes->at, bytes->size < lines ? bytes->size : lines);
	return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	size_t lines = fuzz_number(&bytes, 2) % (DT_CODE_LINES_BYTES + 1);
	struct dt_code_event *event = make_event(&bytes, lines);
	bool whole = lines >= event->lines_size || lines == DT_CODE_LINES_BYTES;
	struct dt_code *codes = NULL;
	const struct dt_code *code;

	/* What did not fit is read from this process: no other one is bothered. */
	FUZZ_EXPECT(dt_codes_add(&codes, getpid(), event, offsetof(struct dt_code_event, lines) - 1) == -EBADMSG);
	FUZZ_EXPECT(dt_codes_add(&codes, getpid(), event, offsetof(struct dt_code_event, lines) + lines) == (whole ? 0 : -EBADMSG));
	code = dt_codes_find(codes, event->code);
	FUZZ_EXPECT(!code == !whole);
	if (code) {
		FUZZ_EXPECT(!u8_check((const uint8_t *)code->file, strlen(code->file)));
		FUZZ_EXPECT(!u8_check((const uint8_t *)code->name, strlen(code->name)));
		fuzz_touch(code->lines.bytes, code->lines.size);
		FUZZ_EXPECT(dt_python_line_find(&code->lines, 10) >= 0);
		FUZZ_EXPECT(!dt_codes_add(&codes, getpid(), event, offsetof(struct dt_code_event, lines) + lines));
	}
	dt_codes_clear(&codes);
	free(event);
	return 0;
}
