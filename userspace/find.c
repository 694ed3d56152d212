// SPDX-License-Identifier: GPL-2.0
/*
 * The VM that is meant on the command line, by id or by name. What consists of digits only is an
 * id; a name that several VMs have is refused, not guessed.
 */
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "find.h"

/* Returns the id if @arg is a number, else 0: then it is a name. */
__u32 parse_vm(const char *arg)
{
	unsigned long id;

	if (!*arg)
		errx(STATUS_USAGE, "VM '': must be an id or a name");
	if (arg[strspn(arg, "0123456789")])
		return 0;
	errno = 0;
	id = strtoul(arg, NULL, 10);
	if (errno || id < 1 || id > UINT32_MAX)
		errx(STATUS_USAGE, "VM id '%s': must be 1 to %u", arg, UINT32_MAX);
	return (__u32)id;
}

static void __attribute__((noreturn)) fail_ambiguous(const struct sample *sample, const char *name)
{
	fprintf(stderr, "kvmgang: VM '%s': several VMs have this name, use one of the ids", name);
	for (__u32 i = 0; i < sample->now.nr_vms; i++) {
		__u32 id = sample->now.vms[i].vm_id;
		const char *other = names_find(&sample->names, id);

		if (other && strcmp(other, name) == 0)
			fprintf(stderr, " %u", id);
	}
	fputc('\n', stderr);
	exit(STATUS_FAILED);
}

static __u32 find_name(const struct sample *sample, const char *name)
{
	__u32 found = 0;

	for (__u32 i = 0; i < sample->now.nr_vms; i++) {
		__u32 id = sample->now.vms[i].vm_id;
		const char *other = names_find(&sample->names, id);

		if (!other || strcmp(other, name) != 0)
			continue;
		if (found)
			fail_ambiguous(sample, name);
		found = id;
	}
	if (!found)
		errx(STATUS_FAILED, "VM '%s': no VM has this name (kvmgang list shows all)", name);
	return found;
}

static void check_id(const struct sample *sample, __u32 id)
{
	for (__u32 i = 0; i < sample->now.nr_vms; i++) {
		if (sample->now.vms[i].vm_id == id)
			return;
	}
	errx(STATUS_FAILED, "VM id '%u': no VM has this id (kvmgang list shows all)", id);
}

__u32 find_vm(const struct sample *sample, const char *arg, __u32 id)
{
	if (!id)
		return find_name(sample, arg);
	check_id(sample, id);
	return id;
}
