// SPDX-License-Identifier: BSD-2-Clause
/* A library that domains.c loads: it has probes of its own, names one domain that nobody else does, and one that the program names, too. */
#include <domtrace/domain.h>

DT_DOMAIN_DECLARE(20, "cache of the library");
DT_DOMAIN_DECLARE(8, "what the library calls it");

void late_track(unsigned domain, unsigned long address, unsigned long bytes);
void late_untrack(unsigned domain, unsigned long address);

__attribute__((noipa, visibility("default"))) void late_track(unsigned domain, unsigned long address, unsigned long bytes)
{
	DT_DOMAIN_TRACK(domain, address, bytes);
}

__attribute__((noipa, visibility("default"))) void late_untrack(unsigned domain, unsigned long address)
{
	DT_DOMAIN_UNTRACK(domain, address);
}
