/* SPDX-License-Identifier: GPL-2.0 */
/* The names of VMs. */
#ifndef KVMGANG_NAME_H
#define KVMGANG_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <linux/kvmgang.h>

#define NAME_SIZE 128	/* bytes with the final 0; what is longer is cut */

/* Names of the VMs of one snapshot, in ascending order of vm_id. */
struct names {
	struct name *list;
	size_t nr;
};

void names_update(struct names *names, const struct kvmgang_vm_row *vms, size_t nr);
const char *names_find(const struct names *names, __u32 vm_id);
void names_free(struct names *names);

/* For the test alone: the steps that names_update() is made of. */
bool name_from_cmdline(FILE *cmdline, char *name);
void name_copy_printable(const char *from, char *name);

#endif /* KVMGANG_NAME_H */
