// SPDX-License-Identifier: BSD-2-Clause
/*
 * Two threads on one CPU: the program of the first one's event waits for a page, and the second has its own event meanwhile.
 *
 * It prints {"pid": …}, waits for a line, lets them meet, prints {"pid": …} again and waits for another line.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <domtrace/domain.h>

#include "truth.h"

#define PAGE 4096

static char *page;                      /* userfaultfd has it */
static char filling[PAGE] __attribute__((aligned(PAGE))) = "came late";

static void stay_on_one_cpu(void)
{
	cpu_set_t all, one;
	int cpu = 0;

	if (sched_getaffinity(0, sizeof(all), &all))
		truth_stop("domains_meet: no CPU\n");
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		truth_stop("domains_meet: cannot stay on a CPU\n");
}

static int open_page(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register part = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	part.range.start = (uintptr_t)page;
	part.range.len = PAGE;
	if (faults < 0 || page == MAP_FAILED || ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &part))
		truth_stop("domains_meet: no page whose faults it sees\n");
	return faults;
}

static void *name_late(void *unused)
{
	(void)unused;
	DT_DOMAIN_NAME(40, page);
	return NULL;
}

static void meet(int faults)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)page, .src = (uintptr_t)filling, .len = PAGE };
	struct uffd_msg fault;
	pthread_t thread;

	if (pthread_create(&thread, NULL, name_late, NULL) || read(faults, &fault, sizeof(fault)) != sizeof(fault))
		truth_stop("domains_meet: no thread that waits for the page\n");
	DT_DOMAIN_NAME(41, "came first");
	if (ioctl(faults, UFFDIO_COPY, &copy) || pthread_join(thread, NULL))
		truth_stop("domains_meet: the page cannot be filled\n");
}

static void tell(void)
{
	char line[16];

	printf("{\"pid\": %d}\n", (int)getpid());
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		truth_stop("domains_meet: nobody listens\n");
}

int main(void)
{
	int faults = open_page();

	stay_on_one_cpu();
	tell();
	DT_DOMAIN_TRACK(40, &filling[0], 1);
	DT_DOMAIN_TRACK(41, &filling[1], 1);
	meet(faults);
	tell();
	return 0;
}
