// SPDX-License-Identifier: GPL-2.0
/*
 * What a VM is called: by its VMM's option -name (QEMU) or --name (QEMU, kvmtool), else by the
 * VMM's thread name, else by its pid. KVM itself gives no names. Anyone who may start a VM chooses
 * its name, so a name never reaches a terminal with a control character in it, and is valid UTF-8.
 *
 * A name is looked up once per VM and process. It does not follow a rename, and asks no libvirt.
 */
#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "name.h"

struct name {
	__u32 vm_id;
	char text[NAME_SIZE];	/* empty: the VMM is not visible in this pid namespace */
};

/* Returns the bytes of the UTF-8 character at @s and its code point, or 0 if it is malformed. */
static size_t decode(const unsigned char *s, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len;

	if (*s < 0x80) {
		*code = *s;
		return 1;
	}
	if (*s < 0xc0 || *s >= 0xf8)
		return 0;
	len = *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
	*code = *s & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (s[i] & 0x3f);
	}
	if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return len;
}

/* No C0 or C1 control, no line separator, nothing that changes the direction of writing. */
static bool is_printable(uint32_t code)
{
	return code >= 0x20 && !(code >= 0x7f && code <= 0x9f) && code != 0x61c &&
	       code != 0x200e && code != 0x200f && !(code >= 0x2028 && code <= 0x202e) &&
	       !(code >= 0x2066 && code <= 0x2069);
}

/* Copies @from to a name, with '?' for what must not be printed. */
void name_copy_printable(const char *from, char *name)
{
	const unsigned char *s = (const unsigned char *)from;
	size_t used = 0;

	while (*s) {
		uint32_t code;
		size_t len = decode(s, &code);
		bool good = len && is_printable(code);
		size_t out = good ? len : 1;

		if (used + out >= NAME_SIZE)
			break;
		if (good)
			memcpy(name + used, s, len);
		else
			name[used] = '?';
		used += out;
		s += len ? len : 1;
	}
	name[used] = '\0';
}

/*
 * Takes a value off @rest as QEMU does: it ends at a comma, and two commas are one that belongs to
 * the value. The value replaces its own source.
 */
static char *take_value(char **rest)
{
	char *value = *rest, *to = value, *p = value;

	for (; *p; p++) {
		if (*p == ',') {
			p++;
			if (*p != ',')
				break;
		}
		*to++ = *p;
	}
	*rest = p;
	*to = '\0';
	return value;
}

/* From an argument of -name: "guest=NAME" anywhere in it, or a first part that is no KEY=VALUE. */
static char *guest_name(char *argument)
{
	char *name = NULL, *rest = argument;

	while (*rest) {
		size_t key = strcspn(rest, "=,");
		bool is_guest = rest == argument;

		if (rest[key] == '=') {
			is_guest = key == strlen("guest") && !strncmp(rest, "guest", key);
			rest += key + 1;
		}
		if (is_guest)
			name = take_value(&rest);
		else
			take_value(&rest);
	}
	return name;
}

/* Returns whether the command line, arguments ended by 0 as in /proc, names the VM. */
bool name_from_cmdline(FILE *cmdline, char *name)
{
	bool is_next = false;
	char *arg = NULL;
	size_t size = 0;

	*name = '\0';
	while (getdelim(&arg, &size, '\0', cmdline) > 0) {
		if (is_next) {
			const char *guest = guest_name(arg);

			if (guest)
				name_copy_printable(guest, name);
		}
		is_next = !is_next && (!strcmp(arg, "-name") || !strcmp(arg, "--name"));
	}
	free(arg);
	return *name;
}

static FILE *open_proc(int pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return fopen(path, "re");
}

static bool name_from_comm(FILE *comm, char *name)
{
	char line[64];

	if (!fgets(line, sizeof(line), comm))
		return false;
	line[strcspn(line, "\n")] = '\0';
	name_copy_printable(line, name);
	return *name;
}

static void look_up(int pid, char *name)
{
	static const struct {
		const char *file;
		bool (*read)(FILE *file, char *name);
	} sources[] = {
		{ "cmdline", name_from_cmdline },
		{ "comm", name_from_comm },
	};

	*name = '\0';
	if (pid <= 0)
		return;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		FILE *file = open_proc(pid, sources[i].file);
		bool found = file && sources[i].read(file, name);

		if (file)
			fclose(file);
		if (found)
			return;
	}
	snprintf(name, NAME_SIZE, "%d", pid);
}

static int name_order(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	return (x->vm_id > y->vm_id) - (x->vm_id < y->vm_id);
}

static struct name *find(const struct names *names, __u32 vm_id)
{
	const struct name key = { .vm_id = vm_id };

	if (!names->nr)
		return NULL;
	return bsearch(&key, names->list, names->nr, sizeof(key), name_order);
}

/* Makes @names those of @vms, which is sorted: known ones are kept, others looked up. */
void names_update(struct names *names, const struct kvmgang_vm_row *vms, size_t nr)
{
	struct names fresh = { .nr = nr };

	fresh.list = calloc(nr + 1, sizeof(*fresh.list));
	if (!fresh.list)
		err(STATUS_FAILED, "names of %zu VMs", nr);
	for (size_t i = 0; i < nr; i++) {
		const struct name *known = find(names, vms[i].vm_id);

		fresh.list[i].vm_id = vms[i].vm_id;
		if (known)
			fresh.list[i] = *known;
		else
			look_up(vms[i].pid, fresh.list[i].text);
	}
	names_free(names);
	*names = fresh;
}

/* NULL if the VM is not there any more, or its VMM is not visible. */
const char *names_find(const struct names *names, __u32 vm_id)
{
	const struct name *name = find(names, vm_id);

	return name && *name->text ? name->text : NULL;
}

void names_free(struct names *names)
{
	free(names->list);
}
