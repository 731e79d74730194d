/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * domain.h: tells domtrace of memory that only the program itself knows: arenas, pools, caches, memory of a GPU. What
 * PyTraceMalloc_Track() is for Python's extension modules, for any program in C or C++. Nothing to link, nothing else to install.
 *
 *	DT_DOMAIN_TRACK(domain, pointer, bytes)   a block is in use from now on; one at the same address is replaced
 *	DT_DOMAIN_UNTRACK(domain, pointer)        … is in use no longer
 *	DT_DOMAIN_DECLARE(domain, "name")         at file scope, as a definition: the name of a domain that is known when it is compiled
 *	DT_DOMAIN_NAME(domain, name)              the name of one that is known only when the program runs
 *	DT_SNAPSHOT(label)                        a snapshot of the program as it is at this line, labelled "marker:LABEL"
 *
 * A domain is a number of 32 bits that the program chooses; those of different processes have nothing to do with each other. Names are
 * UTF-8, DT_DOMAIN_NAME_BYTES at most. A pointer may also be an integer, as handles of memory on devices are.
 *
 * A thread that comes to a DT_SNAPSHOT while domtrace traces it waits there until the tables have been read, which other threads do not:
 * mostly for milliseconds, and never for ever; a domtrace that has died holds a program up once, for five seconds. Of a label domtrace
 * shows 63 bytes.
 *
 * While nobody traces the program, each of these is one `nop` and the loading of its operands; DT_DOMAIN_DECLARE is no code at all. The
 * probes are notes in the format of <sys/sdt.h> (https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation), of provider
 * "domtrace", so that bpftrace, perf, gdb and `readelf -n` know them, too. Their operands are always in the registers in which a function
 * would get them. C99 or C++11; GCC or Clang; x86_64 and aarch64. Elsewhere arguments are evaluated and nothing else is done.
 */
#ifndef DOMTRACE_DOMAIN_H
#define DOMTRACE_DOMAIN_H

#define DT_DOMAIN_NAME_BYTES 63         /* of a name that is shown, without its NUL; more is cut off */

#if defined(__GNUC__) && defined(__ELF__) && defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__))

/* The word of one byte, always: Linux 6.18 replaces those of five by calls, and writes below the stack pointer then. */
#ifdef __x86_64__
#define DT_PROBE_NOP_ ".byte 0x90\n"
#else
#define DT_PROBE_NOP_ "nop\n"
#endif

/*
 * The note: where the instruction is, where the linker put .stapsdt.base (so that a reader sees by how much the file was moved after
 * that, as by prelink), and no semaphore. The note is of the group of its code ("?"), with which it may be discarded.
 */
#define DT_PROBE_(name, operands) \
	"990:\n" DT_PROBE_NOP_ \
	".pushsection .note.stapsdt, \"?\", %%note\n" \
	".balign 4\n" \
	".4byte 992f - 991f\n" \
	".4byte 994f - 993f\n" \
	".4byte 3\n" \
	"991: .asciz \"stapsdt\"\n" \
	"992: .balign 4\n" \
	"993: .8byte 990b\n" \
	".8byte _.stapsdt.base\n" \
	".8byte 0\n" \
	".asciz \"domtrace\"\n" \
	".asciz \"" name "\"\n" \
	".asciz \"" operands "\"\n" \
	"994: .balign 4\n" \
	".popsection\n" \
	".ifndef _.stapsdt.base\n" \
	".pushsection .stapsdt.base, \"aG\", %%progbits, .stapsdt.base, comdat\n" \
	".weak _.stapsdt.base\n" \
	".hidden _.stapsdt.base\n" \
	"_.stapsdt.base: .space 1\n" \
	".size _.stapsdt.base, 1\n" \
	".popsection\n" \
	".endif\n"

/*
 * Macros, no functions, so that the probe is in the line that says it, which is the first of the traceback. "memory": what the pointer
 * points to is read there. Arguments are evaluated before any register is taken for one of them.
 */
#ifdef __x86_64__
#define DT_PROBE_TRACK_(domain, pointer, bytes) \
	__asm__ __volatile__(DT_PROBE_("track", "4@%%edi 8@%%rsi 8@%%rdx") : : "D"(domain), "S"(pointer), "d"(bytes))
#define DT_PROBE_UNTRACK_(domain, pointer) \
	__asm__ __volatile__(DT_PROBE_("untrack", "4@%%edi 8@%%rsi") : : "D"(domain), "S"(pointer))
#define DT_PROBE_NAME_(domain, name) \
	__asm__ __volatile__(DT_PROBE_("name", "4@%%edi 8@%%rsi") : : "D"(domain), "S"(name) : "memory")
#define DT_PROBE_SNAPSHOT_(label) \
	__asm__ __volatile__(DT_PROBE_("snapshot", "8@%%rdi") : : "D"(label) : "memory")
#else
#define DT_PROBE_TRACK_(domain, pointer, bytes) \
	register unsigned int dt_x0_ __asm__("x0") = (domain); \
	register unsigned long dt_x1_ __asm__("x1") = (pointer); \
	register unsigned long dt_x2_ __asm__("x2") = (bytes); \
	__asm__ __volatile__(DT_PROBE_("track", "4@x0 8@x1 8@x2") : : "r"(dt_x0_), "r"(dt_x1_), "r"(dt_x2_))
#define DT_PROBE_UNTRACK_(domain, pointer) \
	register unsigned int dt_x0_ __asm__("x0") = (domain); \
	register unsigned long dt_x1_ __asm__("x1") = (pointer); \
	__asm__ __volatile__(DT_PROBE_("untrack", "4@x0 8@x1") : : "r"(dt_x0_), "r"(dt_x1_))
#define DT_PROBE_NAME_(domain, name) \
	register unsigned int dt_x0_ __asm__("x0") = (domain); \
	register const char *dt_x1_ __asm__("x1") = (name); \
	__asm__ __volatile__(DT_PROBE_("name", "4@x0 8@x1") : : "r"(dt_x0_), "r"(dt_x1_) : "memory")
#define DT_PROBE_SNAPSHOT_(label) \
	register const char *dt_x0_ __asm__("x0") = (label); \
	__asm__ __volatile__(DT_PROBE_("snapshot", "8@x0") : : "r"(dt_x0_) : "memory")
#endif

#define DT_DOMAIN_TRACK(domain, pointer, bytes) \
	do { \
		const unsigned int dt_domain_ = (domain); \
		const unsigned long dt_pointer_ = (unsigned long)(pointer), dt_bytes_ = (unsigned long)(bytes); \
		DT_PROBE_TRACK_(dt_domain_, dt_pointer_, dt_bytes_); \
	} while (0)
#define DT_DOMAIN_UNTRACK(domain, pointer) \
	do { \
		const unsigned int dt_domain_ = (domain); \
		const unsigned long dt_pointer_ = (unsigned long)(pointer); \
		DT_PROBE_UNTRACK_(dt_domain_, dt_pointer_); \
	} while (0)
#define DT_DOMAIN_NAME(domain, name) \
	do { \
		const unsigned int dt_domain_ = (domain); \
		const char *const dt_name_ = (name); \
		DT_PROBE_NAME_(dt_domain_, dt_name_); \
	} while (0)
#define DT_SNAPSHOT(label) \
	do { \
		const char *const dt_label_ = (label); \
		DT_PROBE_SNAPSHOT_(dt_label_); \
	} while (0)

/*
 * A note of owner "domtrace", type 1: the domain, and its name with its NUL. The alignment is said, or compilers would leave gaps
 * between one note and the next. A name that is too long does not compile.
 */
#define DT_DOMAIN_DECLARE(domain, name) DT_DOMAIN_DECLARE_(domain, name, __COUNTER__)
#define DT_DOMAIN_DECLARE_(domain, name, unique) DT_DOMAIN_DECLARE_AS_(domain, name, unique)
#define DT_DOMAIN_DECLARE_AS_(domain, name, unique) \
	static const struct { \
		unsigned int owner_bytes, described_bytes, type; \
		char owner[12]; \
		unsigned int id; \
		char text[(sizeof(name) <= DT_DOMAIN_NAME_BYTES + 1 ? 1 : -1) * (int)sizeof(name)]; \
	} dt_domain_note_##unique##_ __attribute__((section(DT_DOMAIN_SECTION_), used, aligned(4))) = \
		{ 9, (unsigned int)(4 + sizeof(name)), 1, "domtrace", (domain), name }

#define DT_DOMAIN_SECTION_ ".note.domtrace"

#else

#define DT_DOMAIN_TRACK(domain, pointer, bytes) do { (void)(domain); (void)(pointer); (void)(bytes); } while (0)
#define DT_DOMAIN_UNTRACK(domain, pointer) do { (void)(domain); (void)(pointer); } while (0)
#define DT_DOMAIN_NAME(domain, name) do { (void)(domain); (void)(name); } while (0)
#define DT_SNAPSHOT(label) do { (void)(label); } while (0)
#define DT_DOMAIN_DECLARE(domain, name) struct dt_domain_declared_

#endif

#endif
