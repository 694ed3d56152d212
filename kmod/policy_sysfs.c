// SPDX-License-Identifier: GPL-2.0
/*
 * Settings as files, one for each row of policy_keys[]:
 *
 *	defaults/{shares,gang,...}, defaults/{shares,gang,...}_origin
 *	vms/ID/policy/{shares,gang,...}, vms/ID/policy/{shares,gang,...}_origin
 *
 * This turns values into text and back. What may be written, and by whom, is policy_change()'s
 * affair, as it is when an ioctl asks.
 *
 * A directory knows its VM by the id alone, so it may outlive it.
 */
#include <linux/bitmap.h>
#include <linux/kobject.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "policy.h"
#include "policy_sysfs.h"
#include "vcpu.h"

#define MAX_NAME	32

struct policy_dir {
	struct kobject kobj;
	u32 vm_id;		/* 0: the defaults */
};

static struct kobj_attribute values[KVMGANG_NR_KEYS], origins[KVMGANG_NR_KEYS];
static char origin_files[KVMGANG_NR_KEYS][MAX_NAME];
static struct attribute *attrs[2 * KVMGANG_NR_KEYS + 1];
static const struct attribute_group group = { .attrs = attrs };
static const struct attribute_group *groups[] = { &group, NULL };
static struct kobject *defaults_dir;

static const char * const origin_names[KVMGANG_NR_ORIGINS] = {
	[KVMGANG_ORIGIN_DEFAULT] = "default",
	[KVMGANG_ORIGIN_CGROUP] = "cgroup",
	[KVMGANG_ORIGIN_USER] = "user",
};

static u32 vm_id_of(struct kobject *kobj)
{
	return container_of(kobj, struct policy_dir, kobj)->vm_id;
}

static ssize_t show_value(char *buf, const struct policy_key *key, u64 value)
{
	DECLARE_BITMAP(nodes, 64);

	switch (key->type) {
	case POLICY_WORD:
		return sysfs_emit(buf, "%s\n", key->words[value]);
	case POLICY_NODES:
		if (!value)
			return sysfs_emit(buf, "%s\n", POLICY_AUTO);
		bitmap_from_u64(nodes, value);
		return sysfs_emit(buf, "%*pbl\n", 64, nodes);
	default:
		return sysfs_emit(buf, "%llu\n", value);
	}
}

static ssize_t value_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	u32 key = attr - values;
	struct policy_view view;

	if (policy_read(vm_id_of(kobj), &view))
		return -ENODEV;
	return show_value(buf, &policy_keys[key], view.value[key]);
}

static ssize_t origin_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct policy_view view;

	if (policy_read(vm_id_of(kobj), &view))
		return -ENODEV;
	return sysfs_emit(buf, "%s\n", origin_names[view.origin[attr - origins]]);
}

static int parse_word(const struct policy_key *key, const char *text, u64 *value)
{
	int word;

	for (word = 0; word < POLICY_MAX_WORDS && key->words[word]; word++) {
		if (sysfs_streq(text, key->words[word])) {
			*value = word;
			return 0;
		}
	}
	return -EINVAL;
}

/* An empty list would be the same as auto. */
static int parse_nodes(const char *text, u64 *value)
{
	DECLARE_BITMAP(nodes, 64);
	int err;

	*value = 0;
	if (sysfs_streq(text, POLICY_AUTO))
		return 0;
	err = bitmap_parselist(text, nodes, 64);
	if (err)
		return err;
	bitmap_to_arr64(value, nodes, 64);
	return *value ? 0 : -EINVAL;
}

static int parse_value(const struct policy_key *key, const char *text, u64 *value)
{
	switch (key->type) {
	case POLICY_WORD:
		return parse_word(key, text, value);
	case POLICY_NODES:
		return parse_nodes(text, value);
	default:
		return kstrtou64(text, 10, value);
	}
}

static ssize_t value_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			   size_t count)
{
	struct policy_request request = { .vm_id = vm_id_of(kobj) };
	u32 key = attr - values;
	int err = 0;

	if (sysfs_streq(buf, "default")) {
		request.reset = policy_bit(key);
	} else {
		request.set.given = policy_bit(key);
		err = parse_value(&policy_keys[key], buf, &request.set.value[key]);
	}
	if (!err)
		err = policy_change(&request);
	if (err == -ENOENT)
		err = -ENODEV;
	return err ?: count;
}

static void policy_dir_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct policy_dir, kobj));
}

static const struct kobj_type policy_type = {
	.release = policy_dir_release,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = groups,
};

static struct kobject *make_dir(u32 vm_id, struct kobject *parent, const char *name)
{
	struct policy_dir *dir = kzalloc(sizeof(*dir), GFP_KERNEL);

	if (!dir)
		return NULL;
	dir->vm_id = vm_id;
	if (kobject_init_and_add(&dir->kobj, &policy_type, parent, "%s", name)) {
		kobject_put(&dir->kobj);
		return NULL;
	}
	return &dir->kobj;
}

struct kobject *policy_sysfs_add(const struct kvmgang_vm *vm)
{
	return make_dir(vm->id, vm->dir, "policy");
}

int policy_sysfs_init(struct kobject *root)
{
	struct attribute **next = attrs;
	u32 key;

	for (key = 0; key < KVMGANG_NR_KEYS; key++) {
		snprintf(origin_files[key], MAX_NAME, "%s_origin", policy_keys[key].name);
		values[key] = (struct kobj_attribute){
			.attr = { .name = policy_keys[key].name, .mode = 0600 },
			.show = value_show,
			.store = value_store,
		};
		origins[key] = (struct kobj_attribute){
			.attr = { .name = origin_files[key], .mode = 0400 },
			.show = origin_show,
		};
		*next++ = &values[key].attr;
		*next++ = &origins[key].attr;
	}
	defaults_dir = make_dir(0, root, "defaults");
	return defaults_dir ? 0 : -ENOMEM;
}

void policy_sysfs_exit(void)
{
	kobject_del(defaults_dir);
	kobject_put(defaults_dir);
}
