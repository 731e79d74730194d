/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPython in a file: what detect says against what the interpreter says of itself, and the layout against a running
 * interpreter, whose frames are walked here as the BPF programs do it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "forged_elf.h"
#include "open_elf.h"
#include "target/maps.h"
#include "target/process.h"
#include "target/python.h"
#include "target/python_lines.h"

/*
 * Py_GetVersion of a release candidate, so that this executable looks like a CPython of which the version stands in
 * the code alone. Before the right string come one that only begins like it, and one that is cut off by its end.
 */
__asm__(".pushsection .rodata\n"
	"91: .asciz \"3.9.0 (default)\"\n92: .asciz \"3.9.0rc\"\n93: .asciz \"3.9.0rc2+\"\n.popsection\n"
	".pushsection .text\n.globl Py_GetVersion\n.type Py_GetVersion, @function\n"
	"Py_GetVersion: lea 91b(%rip), %rax\nlea 92b(%rip), %rax\nlea 93b(%rip), %rcx\nret\n"
	".size Py_GetVersion, . - Py_GetVersion\n.popsection\n");

static void test_version_from_the_code(void **state)
{
	ELF_OWNED elf = open_elf("/proc/self/exe");
	struct dt_python python;

	(void)state;
	assert_int_equal(dt_python_detect(elf, &python), 0);
	assert_int_equal(python.version_hex, 0x030900c2);
	assert_string_equal(python.version, "3.9.0rc2");
	assert_string_equal(python.unsupported, "whose frames domtrace does not understand");
	assert_int_equal(python.layout.frame_bytes, 0);
	assert_int_equal(python.thread_current_vaddr, 0);
	assert_int_equal(python.thread_key_vaddr, 0);
}

static const char *libc_path(void)
{
	static Dl_info info;

	assert_true(dladdr(dlsym(RTLD_NEXT, "getppid"), &info));
	return info.dli_fname;
}

static void test_no_python(void **state)
{
	ELF_OWNED elf = open_elf(libc_path());
	struct dt_python python = { .version_hex = 7 };

	(void)state;
	assert_int_equal(dt_python_detect(elf, &python), -ENOENT);
	assert_int_equal(python.version_hex, 7);
}

/* ---- versions that are not here ---------------------------------------------------------------------------------- */

static struct forged forged;

struct forged_python {
	uint64_t runtime, code_type, string_type, code_free, get_version;
};

/* PyMemberDef: name, type, offset; the last one has no name. */
static uint64_t put_members(void)
{
	static const struct { const char *name; uint64_t offset; } members[] = {
		{ "co_argcount", 52 }, { "co_filename", 112 }, { "co_name", 120 }, { "co_qualname", 128 }, { "co_firstlineno", 68 },
		{ "co_linetable", 136 },
	};
	uint64_t names[DT_ARRAY_SIZE(members)], table;

	for (size_t i = 0; i < DT_ARRAY_SIZE(members); i++) {
		names[i] = forged_put(&forged, NULL, 32);
		memcpy(forged_at(&forged, names[i]), members[i].name, strlen(members[i].name));
	}
	table = forged_put(&forged, NULL, 40 * (DT_ARRAY_SIZE(members) + 1));
	for (size_t i = 0; i < DT_ARRAY_SIZE(members); i++) {
		forged_store(&forged, table + 40 * i, names[i], 8);
		forged_store(&forged, table + 40 * i + 16, members[i].offset, 8);
	}
	return table;
}

/* What 3.14 tells of itself at the start of _PyRuntime (Include/internal/pycore_debug_offsets.h, 3.14.0). */
static void put_debug_offsets(uint64_t runtime, uint32_t version)
{
	static const struct { uint16_t at, value; } fields[] = {
		{ 208, 72 }, { 216, 152 }, { 256, 8 }, { 264, 0 }, { 272, 56 }, { 288, 74 }, { 320, 112 }, { 328, 120 }, { 336, 128 },
		{ 344, 136 }, { 352, 68 }, { 384, 208 }, { 600, 16 }, { 608, 32 }, { 616, 64 }, { 624, 32 }, { 632, 16 }, { 640, 40 },
	};

	memcpy(forged_at(&forged, runtime), "xdebugpy", 8);
	forged_store(&forged, runtime + 8, version, 4);
	for (size_t i = 0; i < DT_ARRAY_SIZE(fields); i++)
		forged_store(&forged, runtime + fields[i].at, fields[i].value, 8);
}

/* An executable at a fixed address that holds a CPython: what detect looks at, and no more. */
static struct forged_python forge_python(uint32_t version)
{
	struct forged_python python;
	uint64_t hex, function;

	forged_init(&forged);
	hex = forged_put(&forged, &(uint64_t){ version }, 8);
	forged_symbol(&forged, "Py_Version", STT_OBJECT, hex, 8);
	python.runtime = forged_put(&forged, NULL, 8192);
	put_debug_offsets(python.runtime, version);
	forged_symbol(&forged, "_PyRuntime", STT_OBJECT, python.runtime, 8192);
	python.code_type = forged_put(&forged, NULL, 416);
	forged_symbol(&forged, "PyCode_Type", STT_OBJECT, python.code_type, 416);
	python.string_type = forged_put(&forged, NULL, 416);
	forged_symbol(&forged, "PyUnicode_Type", STT_OBJECT, python.string_type, 416);
	forged_store(&forged, python.code_type + 32, 208, 8);
	forged_store(&forged, python.string_type + 32, 64, 8);
	forged_store(&forged, python.code_type + 240, put_members(), 8);
	python.code_free = forged_code(&forged, "53 5b c3", NULL);
	forged_store(&forged, python.code_type + 48, python.code_free, 8);
	python.get_version = forged_function(&forged, "Py_GetVersion", "c3", NULL);
	forged_function(&forged, "PyThreadState_GetUnchecked", "64 48 8b 04 25 f0 ff ff ff c3", NULL);
	function = python.runtime + 2400;
	forged_function(&forged, "PyGILState_GetThisThreadState", "bf #0 e9 @1", (const uint64_t[]){ function, python.code_free });
	forged_function(&forged, "_PyEval_EvalFrameDefault", "55 5d c3", NULL);
	return python;
}

static struct dt_python detect_forged(void)
{
	struct dt_elf *elf = forged_open(&forged);
	struct dt_python python;

	assert_non_null(elf);
	assert_int_equal(dt_python_detect(elf, &python), 0);
	dt_elf_close(elf);
	return python;
}

static void test_forged_3_14(void **state)
{
	struct forged_python made = forge_python(0x030e01f0);
	struct dt_python python = detect_forged();
	struct dt_interpreter interpreter = { .tls_first_block = 5, .frees_are_seen = 1 };

	(void)state;
	assert_string_equal(python.version, "3.14.1");
	assert_null(python.unsupported);
	assert_int_equal(python.layout.code_first_traceable, 192);
	assert_int_equal(python.layout.frame_bytes, 80);
	assert_int_equal(python.thread_current_vaddr, 0);
	assert_int_equal(python.thread_key_vaddr, made.runtime + 2400);
	assert_int_equal(python.variable, DT_PYTHON_VARIABLE_OFFSET);
	assert_int_equal(python.eval[0].end - python.eval[0].start, 3);
	assert_int_equal(python.code_free_vaddr, made.code_free);
	dt_python_place(&python, getpid(), 0x10000, &interpreter);
	assert_int_equal(interpreter.present, 1);
	assert_int_equal(interpreter.thread_key, made.runtime + 2400 + 0x10000);
	assert_int_equal(interpreter.thread_current, -16);
	assert_int_equal(interpreter.current_is_local, 1);
	assert_int_equal(interpreter.tls_module, 0);
	assert_int_equal(interpreter.eval[0].start, python.eval[0].start + 0x10000);
	assert_int_equal(interpreter.eval[1].end, 0);
	assert_int_equal(interpreter.tls_first_block, 5);
	assert_int_equal(interpreter.frees_are_seen, 1);
}

static void expect_unsupported(const char *why)
{
	struct dt_python python = detect_forged();
	struct dt_interpreter interpreter = { 0 }, nothing = { 0 };

	assert_string_equal(python.unsupported, why);
	assert_int_equal(python.eval[0].end, 0);
	assert_int_equal(python.code_free_vaddr, 0);
	dt_python_place(&python, getpid(), 0, &interpreter);
	assert_memory_equal(&interpreter, &nothing, sizeof(nothing));
}

static void test_builds_that_are_not_supported(void **state)
{
	const char *otherwise = "which is built in another way than its release, so that domtrace does not understand its frames";
	struct forged_python made;

	(void)state;
	made = forge_python(0x030e01f0);
	forged_store(&forged, made.runtime + 16, 1, 8);
	expect_unsupported("built without the global interpreter lock, whose frames are not supported");
	forge_python(0x030f00f0);
	expect_unsupported("whose frames domtrace does not understand");
	forge_python(0x030e00a2);
	expect_unsupported("whose frames domtrace does not understand");
	made = forge_python(0x030e01f0);
	forged_store(&forged, made.code_type + 32, 216, 8);     /* other types than its layout has */
	expect_unsupported(otherwise);
	made = forge_python(0x030e01f0);
	forged_store(&forged, made.string_type + 32, 80, 8);
	expect_unsupported(otherwise);
	made = forge_python(0x030e01f0);
	forged_store(&forged, made.runtime + 320, 96, 8);       /* co_filename */
	expect_unsupported(otherwise);
	made = forge_python(0x030e01f0);
	forged_store(&forged, made.code_type + 240, made.code_type, 8); /* no members */
	expect_unsupported(otherwise);
	made = forge_python(0x030e01f0);
	forged.symbols[2].st_size = 2400;                       /* of _PyRuntime: the key is not in it */
	expect_unsupported(otherwise);
}

/* ---- thread-specific data ------------------------------------------------------------------------------------ */

static void *check_keys(void *argument)
{
	const uint32_t *offsets = argument;
	const uint8_t *thread = (const uint8_t *)pthread_self();
	pthread_key_t keys[100];
	size_t in_first = 0;

	for (size_t i = 0; i < DT_ARRAY_SIZE(keys); i++) {
		const uint8_t *block;
		uint64_t value;

		assert_int_equal(pthread_key_create(&keys[i], NULL), 0);
		assert_int_equal(pthread_setspecific(keys[i], (void *)(0x1234000 + i)), 0);
		/* As the frame walker finds it: by the table for any key, in the thread itself for the first 32. */
		memcpy(&block, thread + offsets[1] + 8 * (keys[i] / 32), sizeof(block));
		memcpy(&value, block + 16 * (keys[i] % 32) + 8, sizeof(value));
		assert_int_equal(value, 0x1234000 + i);
		if (keys[i] >= 32)
			continue;
		memcpy(&value, thread + offsets[0] + 16 * keys[i], sizeof(value));
		assert_int_equal(value, 0x1234000 + i);
		in_first++;
	}
	assert_in_range(in_first, 1, 32);
	for (size_t i = 0; i < DT_ARRAY_SIZE(keys); i++)
		pthread_key_delete(keys[i]);
	return NULL;
}

static void test_tls_layout(void **state)
{
	ELF_OWNED libc = open_elf(libc_path());
	ELF_OWNED self = open_elf("/proc/self/exe");
	uint32_t offsets[2] = { 7, 7 };
	pthread_t thread;

	(void)state;
	assert_int_equal(dt_python_read_tls_layout(self, &offsets[0], &offsets[1]), -ENOENT);
	assert_int_equal(offsets[0], 7);
	assert_int_equal(dt_python_read_tls_layout(libc, &offsets[0], &offsets[1]), 0);
	check_keys(offsets);
	assert_int_equal(pthread_create(&thread, NULL, check_keys, offsets), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- a running interpreter ----------------------------------------------------------------------------------- */

/*
 * Prints its version, then the thread state, the thread's number and every frame (line, first traceable instruction,
 * name, file) of some functions, the innermost of which then runs for ever. The names have characters of one, two and
 * four bytes. CPython takes the first RESUME for the first traceable instruction.
 */
static const char script[] =
	"import ctypes, dis, sys, threading\n"
	"print(sys.hexversion, '%d.%d.%d' % sys.version_info[:3], flush=True)\n"
	"get = ctypes.pythonapi.PyThreadState_Get\n"
	"get.restype = ctypes.c_void_p\n"
	"def show(frame):\n"
	"    print(get(), threading.get_ident())\n"
	"    while frame:\n"
	"        code = frame.f_code\n"
	"        units = list(code.co_code[::2])\n"
	"        resume = units.index(dis.opmap['RESUME']) if 'RESUME' in dis.opmap else 0\n"
	"        name = getattr(code, 'co_qualname', code.co_name)\n"
	"        print(code.co_firstlineno, frame.f_lineno, resume, name, code.co_filename)\n"
	"        frame = frame.f_back\n"
	"    print('end', flush=True)\n"
	"class K:\n"
	"    def plain(self):\n"
	"        def \u00e9t\u00e9():\n"
	"            def \u0144():\n"
	"                show(sys._getframe());\n"
	"                while True: pass\n"   /* LOOP_LINE */
	"            return [\u0144() for _ in '1']\n"
	"        return sorted([1], key=lambda _: \u00e9t\u00e9())\n"
	"exec(compile('K().plain()', '<\U0001f40d>', 'exec'))\n";

#define LOOP_LINE 20

struct child {
	pid_t pid;
	FILE *out;
};

static struct child start_python(const char *path)
{
	struct child child = { 0 };
	int out[2];

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (!child.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		execl(path, path, "-I", "-X", "utf8", "-c", script, NULL);
		_exit(127);
	}
	close(out[1]);
	child.out = fdopen(out[0], "r");
	assert_non_null(child.out);
	return child;
}

static void end_python(struct child *child)
{
	kill(child->pid, SIGKILL);
	assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
	fclose(child->out);
}

/* What has to be added to an address in the file to have it in the process. */
static uint64_t find_bias(pid_t pid, const struct dt_elf *elf, const char *file)
{
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };
	DT_FREE char *real = realpath(file, NULL);
	uint64_t vaddr;

	assert_non_null(real);
	assert_int_equal(dt_maps_read(pid, &maps), 0);
	for (size_t i = 0; i < maps.count; i++) {
		const struct dt_mapping *mapping = &maps.mappings[i];

		if (mapping->offset || !mapping->path || strcmp(mapping->path, real))
			continue;
		assert_int_equal(dt_elf_offset_to_vaddr(elf, 0, &vaddr), 0);
		return mapping->start - vaddr;
	}
	fail_msg("%s is not mapped", real);
	return 0;
}

static uint64_t peek(pid_t pid, uint64_t address, size_t size)
{
	uint64_t value = 0;

	assert_int_equal(dt_process_read_memory(pid, address, &value, size), 0);
	return value;
}

/* A str object as UTF-8. */
static void read_string(pid_t pid, const struct dt_python_layout *layout, uint64_t string, char *to, size_t room)
{
	uint64_t length = peek(pid, string + layout->string_length, 8), state = peek(pid, string + layout->string_state, 4);
	unsigned int kind = state >> 2 & 7, ascii = state >> 6 & 1;

	assert_true(state >> 5 & 1);
	string += ascii ? layout->string_ascii_data : layout->string_data;
	for (uint64_t i = 0; i < length && room > 5; i++) {
		uint32_t c = (uint32_t)peek(pid, string + i * kind, kind);
		int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

		for (int k = n - 1; k > 0; k--, c >>= 6)
			to[k] = (char)(0x80 | (c & 0x3f));
		to[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
		to += n;
		room -= (size_t)n;
	}
	*to = '\0';
}

static uint32_t read_instruction(pid_t pid, const struct dt_python_layout *layout, uint64_t frame, uint64_t code)
{
	if (layout->instruction_unit)
		return (uint32_t)peek(pid, frame + layout->frame_instruction, 4) * layout->instruction_unit;
	return (uint32_t)(peek(pid, frame + layout->frame_instruction, 8) - (code + layout->code_bytecode));
}

static int read_line_number(pid_t pid, const struct dt_python_layout *layout, uint64_t code, uint64_t frame)
{
	uint64_t lines = peek(pid, code + layout->code_lines, 8), size = peek(pid, lines + layout->bytes_size, 8);
	DT_FREE uint8_t *bytes = malloc(size);
	struct dt_python_line_table table = {
		bytes, size, (int)peek(pid, code + layout->code_first_line, 4), (enum dt_python_lines)layout->lines_format,
	};

	assert_int_equal(dt_process_read_memory(pid, lines + layout->bytes_data, bytes, size), 0);
	return dt_python_line_find(&table, read_instruction(pid, layout, frame, code));
}

static uint64_t read_code(pid_t pid, const struct dt_python_layout *layout, uint64_t frame)
{
	return peek(pid, frame + layout->frame_code, 8) & ~7ull;
}

static uint8_t read_owner(pid_t pid, const struct dt_python_layout *layout, uint64_t frame)
{
	return layout->frame_owner ? (uint8_t)peek(pid, frame + layout->frame_owner, 1) : 0;
}

/* The frame itself, or the next one outwards that is no mark of a call of the eval loop. */
static uint64_t skip_marks(pid_t pid, const struct dt_python_layout *layout, uint64_t frame)
{
	while (frame && read_owner(pid, layout, frame) >= 3) {
		assert_true(peek(pid, frame + layout->frame_entry, 1) >= layout->entry_least);
		frame = peek(pid, frame + layout->frame_previous, 8);
	}
	return frame;
}

/* The state of the thread whose thread pointer is `self`: the same by every way. */
static void check_thread(pid_t pid, const struct dt_interpreter *interpreter, uint64_t thread, uint64_t self)
{
	uint64_t key;

	if (interpreter->thread_current)
		assert_int_equal(peek(pid, interpreter->thread_current + (interpreter->current_is_local ? self : 0), 8), thread);
	assert_int_equal(peek(pid, interpreter->thread_key, 4), 1);
	key = peek(pid, interpreter->thread_key + 4, 4);
	assert_in_range(key, 0, 31);
	assert_int_equal(peek(pid, self + interpreter->tls_first_block + 16 * key, 8), thread);
	if (interpreter->tls_module) {
		uint64_t vector = peek(pid, self + 8, 8), block = peek(pid, vector + 16 * interpreter->tls_module, 8);

		assert_int_equal(peek(pid, block + interpreter->thread_variable, 8), thread);
	}
	assert_true(interpreter->thread_current || interpreter->tls_module);
	assert_int_equal(peek(pid, thread + interpreter->layout.thread_thread_id, 8), self);
}

static uint64_t top_frame(pid_t pid, const struct dt_python_layout *layout, uint64_t thread)
{
	uint64_t frame = peek(pid, thread + layout->thread_frame, 8);

	return layout->cframe_frame == DT_PYTHON_NO_CFRAME ? frame : peek(pid, frame + layout->cframe_frame, 8);
}

/* Printing gives the GIL away, and show() has to return: waits until the thread is in the endless loop on this line. */
static void wait_for_loop(pid_t pid, const struct dt_python_layout *layout, uint64_t thread, int line)
{
	for (int i = 0; i < 10000; i++) {
		uint64_t frame = top_frame(pid, layout, thread), code;

		if (read_owner(pid, layout, frame) < 3) {
			code = read_code(pid, layout, frame);
			if (read_line_number(pid, layout, code, frame) == line)
				return;
		}
		usleep(1000);
	}
	fail_msg("python did not get to line %d", line);
}

/* Compares one frame of the process with the line that it printed. `loops`: it has gone on from there to the loop on the next one. */
static void compare_frame(pid_t pid, const struct dt_python_layout *layout, uint64_t frame, bool loops, const char *line)
{
	uint64_t code = read_code(pid, layout, frame);
	int first_traceable = 0, number = read_line_number(pid, layout, code, frame) - loops;
	char is[512], name[200], file[200];

	if (layout->code_first_traceable)
		first_traceable = (int)peek(pid, code + layout->code_first_traceable, 4);
	read_string(pid, layout, peek(pid, code + layout->code_name, 8), name, sizeof(name));
	read_string(pid, layout, peek(pid, code + layout->code_filename, 8), file, sizeof(file));
	snprintf(is, sizeof(is), "%d %d %d %s %s\n", (int)peek(pid, code + layout->code_first_line, 4), number, first_traceable, name, file);
	assert_string_equal(is, line);
	/* These all have begun, and belong to the thread, not to a generator. */
	assert_int_equal(read_owner(pid, layout, frame), 0);
	assert_true((int64_t)read_instruction(pid, layout, frame, code) >= 2 * first_traceable);
}

static void compare_frames(struct child *child, const struct dt_python *python, uint64_t bias)
{
	const struct dt_python_layout *layout = &python->layout;
	struct dt_interpreter interpreter = { 0 };
	ELF_OWNED libc = open_elf(libc_path());
	unsigned long long thread, self;
	char line[512];
	uint64_t frame;
	int frames = 0;

	assert_non_null(fgets(line, sizeof(line), child->out));
	assert_int_equal(sscanf(line, "%llu %llu", &thread, &self), 2);
	assert_int_equal(dt_python_read_tls_layout(libc, &interpreter.tls_first_block, &interpreter.tls_blocks), 0);
	dt_python_place(python, child->pid, bias, &interpreter);
	assert_int_equal(interpreter.present, 1);
	wait_for_loop(child->pid, layout, thread, LOOP_LINE);
	check_thread(child->pid, &interpreter, thread, self);
	frame = top_frame(child->pid, layout, thread);
	while (fgets(line, sizeof(line), child->out) && strcmp(line, "end\n")) {
		frame = skip_marks(child->pid, layout, frame);
		assert_true(frame);
		compare_frame(child->pid, layout, frame, !frames++, line);
		frame = peek(child->pid, frame + layout->frame_previous, 8);
	}
	assert_int_equal(skip_marks(child->pid, layout, frame), 0);
	/* n, its comprehension (inlined since 3.12), ete, the lambda, plain, the exec'd module, the module. */
	assert_int_equal(frames, python->version_hex < 0x030c0000 ? 7 : 6);
}

/* `file` holds the interpreter that the program `path` runs. */
static void check_python(const char *path, const char *file)
{
	struct child child = start_python(path);
	ELF_OWNED elf = open_elf(file);
	struct dt_python python;
	char line[128], is[128];

	assert_int_equal(dt_python_detect(elf, &python), 0);
	assert_non_null(fgets(line, sizeof(line), child.out));
	snprintf(is, sizeof(is), "%u %s\n", python.version_hex, python.version);
	assert_string_equal(is, line);
	assert_int_equal(!!python.unsupported, python.version_hex < 0x03070000);
	if (!python.unsupported) {
		assert_int_not_equal(python.code_free_vaddr, 0);
		assert_int_not_equal(python.eval[0].end, 0);
		compare_frames(&child, &python, find_bias(child.pid, elf, file));
	}
	print_message("%s: %s, %s\n", file, python.version, python.unsupported ? python.unsupported : "frames compared");
	end_python(&child);
}

static void test_debian_python(void **state)
{
	(void)state;
	if (access("/usr/bin/python3.11", X_OK)) {
		print_message("skipped: there is no /usr/bin/python3.11\n");
		skip();
	}
	check_python("/usr/bin/python3.11", "/usr/bin/python3.11");
}

static void test_pyenv_pythons(void **state)
{
	const char *root = getenv("PYENV_ROOT");
	DT_FREE char *pattern = NULL;
	glob_t found = { 0 };

	(void)state;
	assert_true(asprintf(&pattern, "%s/versions/*/lib/libpython3.*.so.1.0", root ? root : "~/.pyenv") > 0);
	if (glob(pattern, GLOB_TILDE, NULL, &found)) {
		print_message("skipped: there is no %s\n", pattern);
		skip();
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *library = found.gl_pathv[i], *folder = strstr(library, "/lib/libpython3.");
		DT_FREE char *program = NULL;
		struct dt_python python;

		assert_true(asprintf(&program, "%.*s/bin/python3", (int)(folder - library), library) > 0);
		ELF_OWNED elf = open_elf(program);
		/* The program itself only links with the library. */
		assert_int_equal(dt_python_detect(elf, &python), -ENOENT);
		check_python(program, library);
	}
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_from_the_code),
		cmocka_unit_test(test_no_python),
		cmocka_unit_test(test_forged_3_14),
		cmocka_unit_test(test_builds_that_are_not_supported),
		cmocka_unit_test(test_tls_layout),
		cmocka_unit_test(test_debian_python),
		cmocka_unit_test(test_pyenv_pythons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
