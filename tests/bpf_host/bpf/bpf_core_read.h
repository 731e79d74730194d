/* SPDX-License-Identifier: BSD-2-Clause */
/* Stands in for libbpf's header of this name: which fields the kernel has. */
#ifndef HOST_BPF_CORE_READ_H
#define HOST_BPF_CORE_READ_H

static int host_has_fields = 1;         /* those that not every kernel has */

#define bpf_core_field_exists(field) ((void)sizeof(field), host_has_fields)

#endif
