/* SPDX-License-Identifier: BSD-2-Clause */
/* blocks: tells its pid; after a line ten blocks of 1,000 bytes come and seven go; then tells an address in one that stays. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *blocks[10];

/* Without a stream, which would allocate. */
static void tell(const char *name, unsigned long value)
{
	char line[64];
	int size = snprintf(line, sizeof(line), "{\"%s\": %lu}\n", name, value);

	if (write(1, line, (size_t)size) != size)
		_exit(1);
}

static __attribute__((noinline)) void work(void)
{
	for (int i = 0; i < 10; i++)
		blocks[i] = malloc(1000);
	for (int i = 3; i < 10; i++)
		free(blocks[i]);
}

int main(void)
{
	char go[8];

	tell("pid", (unsigned long)getpid());
	if (read(0, go, sizeof(go)) <= 0)
		return 1;
	work();
	tell("address", (unsigned long)(blocks[1] + 999));
	return read(0, go, sizeof(go)) < 0;
}
