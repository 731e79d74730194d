/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF files: this program and its libraries against what the dynamic loader and readelf say; then damaged ones. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "open_elf.h"

/* ---- against the loader -------------------------------------------------------------------------------------- */

struct loaded {
	const char *name;               /* part of the path; "" is the program */
	struct dl_phdr_info info;
	char path[4096];
};

static int look_at(struct dl_phdr_info *info, size_t size, void *context)
{
	struct loaded *loaded = context;

	(void)size;
	if (*loaded->name ? !strstr(info->dlpi_name, loaded->name) : *info->dlpi_name)
		return 0;
	loaded->info = *info;
	snprintf(loaded->path, sizeof(loaded->path), "%s", *info->dlpi_name ? info->dlpi_name : "/proc/self/exe");
	return 1;
}

static struct loaded find_loaded(const char *name)
{
	struct loaded loaded = { .name = name };

	assert_int_equal(dl_iterate_phdr(look_at, &loaded), 1);
	return loaded;
}

static const char *const files[] = { "", "libc.so", "libcmocka", "libelf", "ld-linux" };

static void expect_offset(const struct dt_elf *elf, uint64_t vaddr, uint64_t offset)
{
	uint64_t is;

	assert_int_equal(dt_elf_vaddr_to_offset(elf, vaddr, &is), 0);
	assert_int_equal(is, offset);
	assert_int_equal(dt_elf_offset_to_vaddr(elf, offset, &is), 0);
	assert_int_equal(is, vaddr);
}

static void check_segment(const struct dt_elf *elf, const ElfW(Phdr) *segment, uint64_t base, size_t *text)
{
	const uint8_t *bytes, *memory = (const uint8_t *)(uintptr_t)(base + segment->p_vaddr);
	size_t size, file_size = segment->p_filesz;
	uint64_t vaddr;

	expect_offset(elf, segment->p_vaddr, segment->p_offset);
	expect_offset(elf, segment->p_vaddr + file_size - 1, segment->p_offset + file_size - 1);
	assert_int_equal(dt_elf_bytes(elf, segment->p_vaddr + 1, SIZE_MAX, &bytes, &size), 0);
	assert_int_equal(size, file_size - 1);
	assert_int_equal(dt_elf_bytes(elf, segment->p_vaddr + file_size - 1, 16, &bytes, &size), 0);
	assert_int_equal(size, 1);
	assert_int_equal(dt_elf_bytes(elf, segment->p_vaddr, 7, &bytes, &size), 0);
	assert_int_equal(size, 7);
	if (segment->p_memsz > file_size)
		assert_int_equal(dt_elf_bytes(elf, segment->p_vaddr + file_size, 1, &bytes, &size), -ENXIO);
	if (!(segment->p_flags & PF_X))
		return;
	/* Code is never relocated: what the loader mapped is the file. */
	assert_true(dt_elf_text(elf, (*text)++, &vaddr, &bytes, &size));
	assert_int_equal(vaddr, segment->p_vaddr);
	assert_int_equal(size, file_size);
	assert_memory_equal(bytes, memory, size);
}

static void test_segments_are_those_that_were_loaded(void **state)
{
	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(files); i++) {
		struct loaded loaded = find_loaded(files[i]);
		ELF_OWNED elf = open_elf(loaded.path);
		const char *interpreter = NULL;
		const uint8_t *bytes;
		uint64_t value;
		size_t text = 0, size;

		for (int k = 0; k < loaded.info.dlpi_phnum; k++) {
			const ElfW(Phdr) *segment = &loaded.info.dlpi_phdr[k];

			if (segment->p_type == PT_LOAD)
				check_segment(elf, segment, loaded.info.dlpi_addr, &text);
			if (segment->p_type == PT_INTERP)
				interpreter = (const char *)(uintptr_t)(loaded.info.dlpi_addr + segment->p_vaddr);
		}
		assert_true(text > 0);
		assert_false(dt_elf_text(elf, text, &value, &bytes, &size));
		assert_int_equal(!interpreter, !dt_elf_interpreter(elf));
		if (interpreter)
			assert_string_equal(dt_elf_interpreter(elf), interpreter);
		assert_int_equal(dt_elf_vaddr_to_offset(elf, UINT64_MAX, &value), -ENXIO);
		assert_int_equal(dt_elf_offset_to_vaddr(elf, UINT64_MAX, &value), -ENXIO);
		assert_int_equal(dt_elf_bytes(elf, UINT64_MAX, 1, &bytes, &size), -ENXIO);
	}
}

struct exported {
	const struct dt_elf *elf;
	void *handle;
	uint64_t base;
	size_t compared;
};

/* Every exported name must be found where dlsym finds it: both take the default version. */
static int compare_exported(void *context, const struct dt_elf_symbol *symbol)
{
	struct exported *exported = context;
	struct dt_elf_symbol found;
	void *address = symbol->dynamic && symbol->global ? dlsym(exported->handle, symbol->name) : NULL;

	if (!address)
		return 0;
	assert_int_equal(dt_elf_find_symbol(exported->elf, symbol->name, &found), 0);
	/* The loader asks an indirect function which one it is, and so does dlsym. */
	if (found.indirect)
		return 0;
	/* A few names of the loader stand in libc too (__libc_enable_secure …), and what is found depends on the order. */
	if ((uintptr_t)address != exported->base + found.vaddr)
		fail_msg("%s: dlsym says %p, the file 0x%zx", symbol->name, address, (size_t)(exported->base + found.vaddr));
	exported->compared++;
	return 0;
}

static void test_symbols_are_those_that_dlsym_finds(void **state)
{
	struct loaded loaded = find_loaded("libc.so");
	ELF_OWNED elf = open_elf(loaded.path);
	struct exported exported = { .elf = elf, .base = loaded.info.dlpi_addr };
	struct dt_elf_symbol found = { 0 };

	(void)state;
	exported.handle = dlopen(loaded.path, RTLD_NOW | RTLD_NOLOAD);
	assert_non_null(exported.handle);
	assert_int_equal(dt_elf_each_symbol(elf, compare_exported, &exported), 0);
	print_message("%zu names of libc compared\n", exported.compared);
	assert_true(exported.compared > 2000);
	/* In glibc since 2.26 only old programs can bind cfree: it has no default version, and is found all the same. */
	if (dlvsym(exported.handle, "cfree", "GLIBC_2.2.5")) {
		assert_int_equal(dt_elf_find_symbol(elf, "cfree", &found), 0);
		assert_int_equal(found.vaddr + exported.base, (uintptr_t)dlvsym(exported.handle, "cfree", "GLIBC_2.2.5"));
	}
	assert_int_equal(dt_elf_find_symbol(elf, "memcpy", &found), 0);
	assert_true(found.indirect && found.function && found.global && found.dynamic && !found.object);
	assert_int_equal(dt_elf_find_symbol(elf, "environ", &found), 0);
	assert_true(found.object && !found.function && !found.indirect);
	assert_int_equal(dt_elf_find_symbol(elf, "no such symbol", &found), -ENOENT);
	assert_int_equal(dt_elf_find_symbol(elf, "", &found), -ENOENT);
	/* Imported, thread-local, a version's name. */
	assert_int_equal(dt_elf_find_symbol(elf, "__tls_get_addr", &found), -ENOENT);
	assert_int_equal(dt_elf_find_symbol(elf, "errno", &found), -ENOENT);
	assert_int_equal(dt_elf_find_symbol(elf, "GLIBC_2.2.5", &found), -ENOENT);
	dlclose(exported.handle);
}

static int stop_at_third(void *context, const struct dt_elf_symbol *symbol)
{
	(void)symbol;
	return ++*(int *)context == 3 ? 42 : 0;
}

static void test_our_own_static_functions(void **state)
{
	struct loaded loaded = find_loaded("");
	ELF_OWNED elf = open_elf(loaded.path);
	struct dt_elf_symbol found;
	int calls = 0;

	(void)state;
	assert_int_equal(dt_elf_find_symbol(elf, "stop_at_third", &found), 0);
	assert_int_equal(found.vaddr + loaded.info.dlpi_addr, (uintptr_t)stop_at_third);
	assert_true(found.function && !found.global && !found.dynamic && found.size > 0);
	assert_int_equal(dt_elf_each_symbol(elf, stop_at_third, &calls), 42);
	assert_int_equal(calls, 3);
}

/* ---- against readelf ----------------------------------------------------------------------------------------- */

struct listing {
	char *text;
	size_t size;
	FILE *file;
};

static int list_symbol(void *context, const struct dt_elf_symbol *symbol)
{
	struct listing *listing = context;

	fprintf(listing->file, "%016zx %zu %s %s %s %s\n", (size_t)symbol->vaddr, (size_t)symbol->size,
		symbol->indirect ? "IFUNC" : symbol->function ? "FUNC" : symbol->object ? "OBJECT" : "NOTYPE",
		symbol->global ? "global" : "local", symbol->dynamic ? "dynamic" : "static", symbol->name);
	return 0;
}

/* What a command prints, whole; NULL when it fails. */
static char *run(const char *command)
{
	struct listing listing = { 0 };
	FILE *pipe = popen(command, "r");
	char buffer[4096];
	size_t n;

	assert_non_null(pipe);
	listing.file = open_memstream(&listing.text, &listing.size);
	while ((n = fread(buffer, 1, sizeof(buffer), pipe)))
		fwrite(buffer, 1, n, listing.file);
	fclose(listing.file);
	if (pclose(pipe)) {
		free(listing.text);
		return NULL;
	}
	return listing.text;
}

/* One line of `readelf -sW` as list_symbol writes it, if it is a symbol with an address. */
static void convert_line(char *line, const char **table, FILE *to)
{
	char vaddr[32], size[32], type[32], bind[32], section[32], name[1024], *version;

	if (!strncmp(line, "Symbol table", 12))
		*table = strstr(line, ".dynsym") ? "dynamic" : "static";
	if (sscanf(line, " %*[0-9]: %31s %31s %31s %31s %*s %31s %1023s", vaddr, size, type, bind, section, name) != 6)
		return;
	if (!strcmp(section, "UND") || !strcmp(section, "ABS") || !strcmp(section, "COM"))
		return;
	if (strcmp(type, "NOTYPE") && strcmp(type, "OBJECT") && strcmp(type, "FUNC") && strcmp(type, "IFUNC"))
		return;
	/* readelf shows the version behind a name of .dynsym; in .symtab it belongs to the name. */
	version = strchr(name, '@');
	if (version && !strcmp(*table, "dynamic"))
		*version = '\0';
	fprintf(to, "%s %llu %s %s %s %s\n", vaddr, strtoull(size, NULL, 0), type,
		strcmp(bind, "LOCAL") ? "global" : "local", *table, name);
}

static void compare_with_readelf(const char *path)
{
	struct listing is = { 0 }, expected = { 0 };
	DT_FREE char *command = NULL, *text = NULL;
	const char *table = "";
	ELF_OWNED elf = open_elf(path);

	assert_true(asprintf(&command, "LC_ALL=C readelf -sW '%s'", path) > 0);
	text = run(command);
	assert_non_null(text);
	expected.file = open_memstream(&expected.text, &expected.size);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		convert_line(line, &table, expected.file);
	fclose(expected.file);
	is.file = open_memstream(&is.text, &is.size);
	assert_int_equal(dt_elf_each_symbol(elf, list_symbol, &is), 0);
	fclose(is.file);
	assert_true(is.size > 0);
	assert_string_equal(is.text, expected.text);
	free(is.text);
	free(expected.text);
}

static void test_symbols_are_those_that_readelf_lists(void **state)
{
	char self[4096] = "";

	(void)state;
	if (system("readelf --version >/dev/null 2>&1")) {
		print_message("skipped: no readelf here (package binutils)\n");
		skip();
	}
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	compare_with_readelf(self);
	for (size_t i = 1; i < DT_ARRAY_SIZE(files); i++)
		compare_with_readelf(find_loaded(files[i]).path);
}

static void test_build_ids_are_those_that_readelf_prints(void **state)
{
	(void)state;
	if (system("readelf --version >/dev/null 2>&1")) {
		print_message("skipped: no readelf here (package binutils)\n");
		skip();
	}
	for (size_t i = 1; i < DT_ARRAY_SIZE(files); i++) {
		struct loaded loaded = find_loaded(files[i]);
		DT_FREE char *command = NULL, *expected = NULL;
		ELF_OWNED elf = open_elf(loaded.path);

		assert_true(asprintf(&command, "readelf -nW '%s' | sed -n 's/.*Build ID: //p' | tr -d '\\n'", loaded.path) > 0);
		expected = run(command);
		assert_non_null(expected);
		assert_int_equal(strlen(expected), 40);
		assert_string_equal(dt_elf_build_id(elf), expected);
	}
}

/* ---- sections, images, entries ------------------------------------------------------------------------------- */

static void test_sections_are_where_the_loader_mapped_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(files); i++) {
		struct loaded loaded = find_loaded(files[i]);
		ELF_OWNED elf = open_elf(loaded.path);
		static const char *const mapped[] = { ".text", ".eh_frame", ".eh_frame_hdr", ".dynstr" };
		const uint8_t *bytes;
		uint64_t vaddr;
		size_t size;

		for (size_t k = 0; k < DT_ARRAY_SIZE(mapped); k++) {
			assert_int_equal(dt_elf_section(elf, mapped[k], &bytes, &size, &vaddr), 0);
			assert_memory_equal(bytes, (void *)(uintptr_t)(loaded.info.dlpi_addr + vaddr), size);
		}
		assert_int_equal(dt_elf_section(elf, ".shstrtab", &bytes, &size, &vaddr), 0);
		assert_int_equal(vaddr, 0);
		assert_int_equal(dt_elf_section(elf, ".bss", &bytes, &size, &vaddr), -ENOENT);
		assert_int_equal(dt_elf_section(elf, "no such section", &bytes, &size, &vaddr), -ENOENT);
	}
}

static void test_compressed_sections_are_what_they_were(void **state)
{
	char path[] = "/tmp/test_elf.XXXXXX";
	DT_FREE char *command = NULL;
	int fd = mkstemp(path), failed;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_true(asprintf(&command, "objcopy --compress-debug-sections=zlib-gabi /proc/%d/exe %s 2>/dev/null",
			     getpid(), path) > 0);
	failed = system(command);
	if (failed) {
		unlink(path);
		print_message("skipped: no objcopy here (package binutils)\n");
		skip();
	}
	{
		static const char *const packed[] = { ".debug_info", ".debug_line", ".debug_info", ".debug_str" };
		ELF_OWNED plain = open_elf("/proc/self/exe");
		ELF_OWNED elf = open_elf(path);

		unlink(path);
		for (size_t i = 0; i < DT_ARRAY_SIZE(packed); i++) {
			const uint8_t *bytes, *expected, *again;
			size_t size, expected_size;
			uint64_t vaddr;

			assert_int_equal(dt_elf_section(plain, packed[i], &expected, &expected_size, &vaddr), 0);
			assert_int_equal(dt_elf_section(elf, packed[i], &bytes, &size, &vaddr), 0);
			assert_int_equal(vaddr, 0);
			assert_int_equal(size, expected_size);
			assert_memory_equal(bytes, expected, size);
			assert_int_equal(dt_elf_section(elf, packed[i], &again, &size, &vaddr), 0);
			assert_ptr_equal(again, bytes);
		}
	}
}

static void test_the_vdso_is_a_file_in_memory(void **state)
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR), *bytes;
	const ElfW(Ehdr) *header = (const void *)image;
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	struct dt_elf_symbol symbol;
	size_t size, i = 0;
	uint64_t vaddr;

	(void)state;
	if (!image) {
		print_message("skipped: this process has no vDSO\n");
		skip();
	}
	size = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
	assert_int_equal(dt_elf_open_image(image, size, &elf), 0);
	assert_int_equal(strlen(dt_elf_build_id(elf)), 40);
	assert_int_equal(dt_elf_find_symbol(elf, "__vdso_clock_gettime", &symbol), 0);
	assert_memory_equal((dt_elf_text(elf, i, &vaddr, &bytes, &size), bytes), image, size);
	assert_int_equal(dt_elf_section(elf, ".eh_frame", &bytes, &size, &vaddr), 0);
	assert_true(bytes < image || bytes > image + vaddr + size);
	assert_memory_equal(bytes, image + vaddr, size);
	dt_elf_close(elf);
	elf = NULL;
	assert_int_equal(dt_elf_open_image(image, 3, &elf), -ENOEXEC);
	assert_int_equal(dt_elf_open_image(image, 63, &elf), -EBADMSG);
	assert_int_equal(dt_elf_open_image("#!/bin/sh", 9, &elf), -ENOEXEC);
	assert_null(elf);
}

/* The kernel tells where it started us; libelf and libm have no entry, and no old linker's either. */
static void test_entries(void **state)
{
	struct loaded self = find_loaded("");
	ELF_OWNED program = open_elf(self.path);
	ELF_OWNED loader = open_elf(find_loaded("ld-linux").path);
	ELF_OWNED library = open_elf(find_loaded("libelf").path);
	DT_FREE char *bytes = NULL;
	DT_CLEANUP(close_elf) struct dt_elf *forged = NULL;
	const uint8_t *text;
	uint64_t vaddr;
	size_t size;

	(void)state;
	assert_int_equal(self.info.dlpi_addr + dt_elf_entry(program), getauxval(AT_ENTRY));
	assert_true(dt_elf_entry(loader) != 0);
	assert_int_equal(dt_elf_entry(library), 0);
	assert_int_equal(dt_elf_section(library, ".text", &text, &size, &vaddr), 0);
	assert_int_equal(dt_file_read(find_loaded("libelf").path, &bytes, &size), 0);
	((ElfW(Ehdr) *)bytes)->e_entry = vaddr;
	assert_int_equal(dt_elf_open_image(bytes, size, &forged), 0);
	assert_int_equal(dt_elf_entry(forged), 0);
	dt_elf_close(forged);
	((ElfW(Ehdr) *)bytes)->e_entry = vaddr + 16;
	assert_int_equal(dt_elf_open_image(bytes, size, &forged), 0);
	assert_int_equal(dt_elf_entry(forged), vaddr + 16);
}

/* ---- files that are none, or damaged ------------------------------------------------------------------------- */

static int open_bytes(const void *bytes, size_t size, struct dt_elf **ret_elf)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(dt_file_write_all(fd, bytes, size), 0);
	return dt_elf_open(fd, ret_elf);
}

/* As lld lays files out: segments follow each other closely in the file, and are mapped a page apart. */
static void test_text_that_shares_a_page_with_other_segments(void **state)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segments[3];
		uint8_t rest[0x3000];
	} file = {
		.header = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_DYN,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_ehsize = sizeof(file.header),
			.e_phoff = sizeof(file.header),
			.e_phentsize = sizeof(file.segments[0]),
			.e_phnum = DT_ARRAY_SIZE(file.segments),
		},
		.segments = {
			{ .p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = 0x1234, .p_memsz = 0x1234 },
			{ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = 0x1240, .p_vaddr = 0x2240, .p_filesz = 0xf00, .p_memsz = 0xf00 },
			{ .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = 0x2140, .p_vaddr = 0x4140, .p_filesz = 0x100, .p_memsz = 0x100 },
		},
	};
	ELF_OWNED elf = NULL;
	uint64_t vaddr;

	(void)state;
	assert_int_equal(open_bytes(&file, sizeof(file), &elf), 0);
	assert_int_equal(dt_elf_text_vaddr(elf, 0x1000, &vaddr), 0);    /* mapped from there on, at 0x2000 */
	assert_int_equal(vaddr, 0x2000);
	assert_int_equal(dt_elf_text_vaddr(elf, 0x2000, &vaddr), 0);
	assert_int_equal(vaddr, 0x3000);
	assert_int_equal(dt_elf_offset_to_vaddr(elf, 0x1000, &vaddr), 0); /* the byte of the file is of the segment before */
	assert_int_equal(vaddr, 0x1000);
	assert_int_equal(dt_elf_text_vaddr(elf, 0, &vaddr), -ENXIO);
	assert_int_equal(dt_elf_text_vaddr(elf, 0x3000, &vaddr), -ENXIO);
}

static void test_other_files_are_refused(void **state)
{
	struct dt_elf *elf = (void *)0x1;
	DT_FREE char *bytes = NULL;
	size_t size;
	int before = dup(0), after;

	(void)state;
	close(before);
	assert_int_equal(dt_file_read("/proc/self/exe", &bytes, &size), 0);
	assert_int_equal(open_bytes("", 0, &elf), -ENOEXEC);
	assert_int_equal(open_bytes("#!/bin/sh\n", 10, &elf), -ENOEXEC);
	assert_int_equal(open_bytes("\x7f" "EL", 3, &elf), -ENOEXEC);
	assert_int_equal(dt_elf_open(open("/dev/null", O_RDONLY), &elf), -ENOEXEC);
	assert_int_equal(dt_elf_open(open("/", O_RDONLY), &elf), -ENOEXEC);
	for (size_t i = 4; i < 64; i++)
		assert_int_equal(open_bytes(bytes, i, &elf), -EBADMSG);
	bytes[EI_CLASS] = ELFCLASS32;
	assert_int_equal(open_bytes(bytes, size, &elf), -ENOEXEC);
	bytes[EI_CLASS] = ELFCLASS64;
	((ElfW(Ehdr) *)bytes)->e_machine = EM_AARCH64;
	assert_int_equal(open_bytes(bytes, size, &elf), -ENOEXEC);
	((ElfW(Ehdr) *)bytes)->e_machine = EM_X86_64;
	((ElfW(Ehdr) *)bytes)->e_type = ET_REL;
	assert_int_equal(open_bytes(bytes, size, &elf), -ENOEXEC);
	assert_ptr_equal(elf, (void *)0x1);
	dt_elf_close(NULL);
	/* Each descriptor was taken over and closed. */
	after = dup(0);
	assert_int_equal(after, before);
	close(after);
}

static int touch_symbol(void *context, const struct dt_elf_symbol *symbol)
{
	*(size_t *)context += strlen(symbol->name);
	return 0;
}

/* Uses everything of a file that could be opened: a read outside of it would crash here. */
static size_t touch_all(struct dt_elf *elf)
{
	static const char *const sections[] = { ".eh_frame", ".debug_frame", ".debug_info", ".shstrtab", ".text" };
	struct dt_elf_symbol symbol;
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t sum = 0, size;

	if (dt_elf_build_id(elf))
		sum += strlen(dt_elf_build_id(elf));
	if (dt_elf_interpreter(elf))
		sum += strlen(dt_elf_interpreter(elf));
	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size) && i < 100; i++)
		for (size_t at = 0; at < size; at += 512)
			sum += bytes[at];
	for (size_t i = 0; i < DT_ARRAY_SIZE(sections); i++)
		if (!dt_elf_section(elf, sections[i], &bytes, &size, &vaddr))
			sum += size ? bytes[0] + bytes[size - 1] : 0;
	sum += dt_elf_entry(elf);
	if (!dt_elf_find_symbol(elf, "__cxa_finalize", &symbol))
		sum++;
	if (dt_elf_each_symbol(elf, touch_symbol, &sum))
		sum++;
	return sum;
}

static void test_no_beginning_of_a_file_is_taken_for_a_file(void **state)
{
	DT_FREE char *bytes = NULL;
	size_t size;

	(void)state;
	assert_int_equal(dt_file_read("/bin/true", &bytes, &size), 0);
	for (size_t length = size - 1; length >= 64; length -= length > 4096 ? 37 : 1) {
		struct dt_elf *elf;

		assert_int_equal(open_bytes(bytes, length, &elf), -EBADMSG);
	}
}

/* A name at the very end of its table must not run on into whatever follows. */
static void test_names_must_end(void **state)
{
	DT_FREE char *bytes = NULL;
	const ElfW(Ehdr) *header;
	const ElfW(Shdr) *sections, *names;
	struct dt_elf *elf = NULL;
	size_t size, changed = 0;

	(void)state;
	assert_int_equal(dt_file_read("/bin/true", &bytes, &size), 0);
	header = (void *)bytes;
	sections = (void *)(bytes + header->e_shoff);
	for (size_t i = 0; i < header->e_shnum; i++) {
		if (sections[i].sh_type != SHT_DYNSYM)
			continue;
		names = &sections[sections[i].sh_link];
		bytes[names->sh_offset + names->sh_size - 1] = 'x';
		changed++;
	}
	assert_int_equal(changed, 1);
	assert_int_equal(open_bytes(bytes, size, &elf), -EBADMSG);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

/* Damages headers, section headers and tables; whatever opens must be usable without a crash. */
static void test_damaged_files_do_no_harm(void **state)
{
	static const uint64_t odd[] = { 0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX, 0x1000, 64 };
	DT_FREE char *bytes = NULL, *copy = NULL;
	uint64_t seed = 88172645463325252u;
	size_t size, opened = 0;

	(void)state;
	assert_int_equal(dt_file_read("/bin/true", &bytes, &size), 0);
	copy = malloc(size);
	assert_non_null(copy);
	for (int round = 0; round < 6000; round++) {
		DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
		size_t sections = ((ElfW(Ehdr) *)bytes)->e_shoff;

		memcpy(copy, bytes, size);
		for (uint64_t k = next_random(&seed) % 3 + 1; k; k--) {
			size_t width = 1u << next_random(&seed) % 4, at;
			uint64_t value = odd[next_random(&seed) % DT_ARRAY_SIZE(odd)];

			switch (next_random(&seed) % 3) {
			case 0: at = next_random(&seed) % 0x400; break;
			case 1: at = sections + next_random(&seed) % (size - sections - 8); break;
			default: at = next_random(&seed) % 0x2000; break;
			}
			memcpy(copy + at, &value, width);
		}
		if (!open_bytes(copy, size, &elf)) {
			opened++;
			touch_all(elf);
		}
	}
	print_message("%zu of 6000 damaged files could be opened\n", opened);
	assert_in_range(opened, 600, 5999);
}

/* ---- files that change under us ------------------------------------------------------------------------------ */

/* What was read of a file before it lost its end. */
enum stage { OPENED, SYMBOLS_READ, ALL_READ, TRIMMED, STAGES };

static int hold_name(void *context, const struct dt_elf_symbol *symbol)
{
	*(const char **)context = symbol->name;
	return 0;
}

/* A copy of libelf that is open, and whose end is cut off at a stage; nothing but an error may come of it. */
static void truncate_at(const char *bytes, size_t size, size_t left, enum stage stage)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	DT_FD int fd = memfd_create("elf", MFD_CLOEXEC);
	const char *name = NULL, *build_id;
	DT_FREE char *before = NULL;
	struct dt_elf_symbol symbol;
	uint64_t vaddr, start, end;
	const uint8_t *text;
	uint8_t few[8];
	size_t have;

	assert_int_equal(dt_file_write_all(fd, bytes, size), 0);
	assert_int_equal(dt_elf_open(fcntl(fd, F_DUPFD_CLOEXEC, 0), &elf), 0);
	build_id = dt_elf_build_id(elf);
	if (stage >= SYMBOLS_READ)
		assert_int_equal(dt_elf_each_symbol(elf, hold_name, &name), 0);
	before = strdup(name ? name : "");
	if (stage >= ALL_READ)
		touch_all(elf);
	if (stage == TRIMMED)
		dt_elf_trim(elf);
	assert_int_equal(ftruncate(fd, (off_t)left), 0);
	touch_all(elf);
	dt_elf_trim(elf);
	if (left == 0) {
		assert_int_equal(dt_elf_find_symbol(elf, "elf_begin", &symbol), -EBADMSG);
		assert_true(dt_elf_text_range(elf, 0, &start, &end) && start < end);
		assert_int_equal(dt_elf_read(elf, start, few, sizeof(few)), -EBADMSG);
		assert_int_equal(dt_elf_bytes(elf, start, 8, &text, &have), -EBADMSG);
		assert_true(dt_elf_text(elf, 0, &vaddr, &text, &have));
		assert_int_equal(have, 0);
		assert_int_equal(dt_elf_section(elf, ".eh_frame", &text, &have, &vaddr), -ENOENT);
	}
	assert_int_equal(strlen(build_id), 40);
	if (name)
		assert_string_equal(name, before);
	/* What comes back is read again. */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(dt_file_write_all(fd, bytes, size), 0);
	assert_int_equal(dt_elf_find_symbol(elf, "elf_begin", &symbol), 0);
}

static void test_files_that_become_shorter(void **state)
{
	static const size_t parts[] = { 0, 1, 64, 4095, 4096, 8192 };
	DT_FREE char *bytes = NULL;
	size_t size;

	(void)state;
	assert_int_equal(dt_file_read(find_loaded("libelf").path, &bytes, &size), 0);
	for (enum stage stage = OPENED; stage < STAGES; stage++) {
		for (size_t i = 0; i < DT_ARRAY_SIZE(parts); i++)
			truncate_at(bytes, size, parts[i], stage);
		for (size_t left = 0; left < size; left += size / 16)
			truncate_at(bytes, size, left, stage);
	}
}

/* Segments that hold the whole file again and again, and sections larger than any memory. */
static void test_forged_sizes_are_refused(void **state)
{
	const ElfW(Ehdr) *header;
	DT_FREE char *bytes = NULL;
	struct dt_elf *elf = NULL;
	ElfW(Phdr) *segments;
	const uint8_t *found;
	ElfW(Shdr) *sections;
	uint64_t vaddr;
	size_t size;
	int fd;

	(void)state;
	assert_int_equal(dt_file_read(find_loaded("libelf").path, &bytes, &size), 0);
	header = (void *)bytes;
	segments = (void *)(bytes + header->e_phoff);
	sections = (void *)(bytes + header->e_shoff);
	fd = memfd_create("elf", MFD_CLOEXEC);
	for (size_t i = 0; i < header->e_shnum; i++)
		if (sections[i].sh_type == SHT_PROGBITS && sections[i].sh_flags & SHF_EXECINSTR)
			sections[i] = (ElfW(Shdr)){ .sh_type = SHT_PROGBITS, .sh_name = sections[i].sh_name, .sh_size = 1ull << 40 };
	assert_int_equal(dt_file_write_all(fd, bytes, size), 0);
	assert_int_equal(ftruncate(fd, 2ll << 40), 0);
	assert_int_equal(dt_elf_open(fd, &elf), 0);
	assert_int_equal(dt_elf_section(elf, ".text", &found, &size, &vaddr), -EFBIG);
	dt_elf_close(elf);
	free(DT_TAKE(bytes));
	assert_int_equal(dt_file_read("/usr/bin/python3", &bytes, &size), 0);
	header = (void *)bytes;
	segments = (void *)(bytes + header->e_phoff);
	for (size_t i = 0; i < header->e_phnum; i++)
		segments[i] = (ElfW(Phdr)){ .p_type = PT_LOAD, .p_flags = PF_X, .p_filesz = size };
	assert_int_equal(open_bytes(bytes, size, &elf), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments_are_those_that_were_loaded),
		cmocka_unit_test(test_symbols_are_those_that_dlsym_finds),
		cmocka_unit_test(test_our_own_static_functions),
		cmocka_unit_test(test_symbols_are_those_that_readelf_lists),
		cmocka_unit_test(test_build_ids_are_those_that_readelf_prints),
		cmocka_unit_test(test_sections_are_where_the_loader_mapped_them),
		cmocka_unit_test(test_compressed_sections_are_what_they_were),
		cmocka_unit_test(test_the_vdso_is_a_file_in_memory),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_text_that_shares_a_page_with_other_segments),
		cmocka_unit_test(test_other_files_are_refused),
		cmocka_unit_test(test_no_beginning_of_a_file_is_taken_for_a_file),
		cmocka_unit_test(test_names_must_end),
		cmocka_unit_test(test_damaged_files_do_no_harm),
		cmocka_unit_test(test_files_that_become_shorter),
		cmocka_unit_test(test_forged_sizes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
