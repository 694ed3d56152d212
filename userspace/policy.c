// SPDX-License-Identifier: GPL-2.0
/*
 * Settings as text: KEY=VALUE becomes a request, and what the module answers a report or a line
 * that says what was wrong. The keys and their ranges are the module's own table; what it alone can
 * know, which nodes there are and what other settings say, it is asked.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "kmod/policy_keys.h"
#include "policy.h"
#include "report.h"
#include "table.h"

#define NODES		64	/* of a mask */
#define DEFAULT		"default"

static const char * const origins[KVMGANG_NR_ORIGINS] = {
	[KVMGANG_ORIGIN_DEFAULT] = "default",
	[KVMGANG_ORIGIN_CGROUP] = "cgroup",
	[KVMGANG_ORIGIN_USER] = "user",
};

/* Writes "a, b or c". */
static void list_words(char *list, size_t size, const char *const words[], size_t nr)
{
	size_t used = 0;

	for (size_t i = 0; i < nr && used < size; i++)
		used += (size_t)snprintf(list + used, size - used, "%s%s",
					 !i ? "" : i + 1 < nr ? ", " : " or ", words[i]);
}

static void __attribute__((noreturn)) fail_key(const char *name, size_t length)
{
	const char *names[KVMGANG_NR_KEYS];
	char list[256];

	for (__u32 key = 0; key < KVMGANG_NR_KEYS; key++)
		names[key] = policy_keys[key].name;
	list_words(list, sizeof(list), names, KVMGANG_NR_KEYS);
	errx(STATUS_USAGE, "key '%.*s': must be %s", (int)length, name, list);
}

/* What a value of @key must be. */
static void describe(__u32 key, char *text, size_t size)
{
	const struct policy_key *k = &policy_keys[key];

	switch (k->type) {
	case POLICY_NUMBER:
		snprintf(text, size, "%llu to %llu", k->min, k->max);
		break;
	case POLICY_WORD:
		list_words(text, size, k->words, (size_t)k->max + 1);
		break;
	case POLICY_NODES:
		snprintf(text, size, POLICY_AUTO " or a list of nodes such as 0-1,3");
		break;
	}
}

static void __attribute__((noreturn)) fail_value(__u32 key, const char *value)
{
	char text[256];

	describe(key, text, sizeof(text));
	errx(STATUS_USAGE, "%s '%s': must be %s", policy_keys[key].name, value, text);
}

/* Reads digits, of which there must be one, up to @end. */
static bool parse_digits(const char *text, const char **end, __u64 *number)
{
	size_t digits = strspn(text, "0123456789");

	errno = 0;
	*number = strtoull(text, NULL, 10);
	*end = text + digits;
	return digits && !errno;
}

static bool parse_nodes(const char *text, __u64 *nodes)
{
	__u64 first, last;

	*nodes = 0;
	if (!strcmp(text, POLICY_AUTO))
		return true;
	for (;; text++) {
		if (!parse_digits(text, &text, &first))
			return false;
		last = first;
		if (*text == '-' && !parse_digits(text + 1, &text, &last))
			return false;
		if (first > last || last >= NODES)
			return false;
		for (; first <= last; first++)
			*nodes |= 1ULL << first;
		if (*text != ',')
			return !*text;
	}
}

static bool parse_value(__u32 key, const char *text, __u64 *value)
{
	const struct policy_key *k = &policy_keys[key];
	const char *end;

	switch (k->type) {
	case POLICY_NUMBER:
		return parse_digits(text, &end, value) && !*end;
	case POLICY_WORD:
		for (*value = 0; *value <= k->max; ++*value) {
			if (!strcmp(text, k->words[*value]))
				return true;
		}
		return false;
	case POLICY_NODES:
		return parse_nodes(text, value);
	}
	return false;
}

/* The key that the first @length bytes of @name are, which must be new to @policy. */
static __u32 parse_key(const char *name, size_t length, const struct kvmgang_policy *policy)
{
	for (__u32 key = 0; key < KVMGANG_NR_KEYS; key++) {
		if (strlen(policy_keys[key].name) != length ||
		    strncmp(policy_keys[key].name, name, length) != 0)
			continue;
		if ((policy->set | policy->reset) & policy_bit(key))
			errx(STATUS_USAGE, "key '%s': given twice", policy_keys[key].name);
		return key;
	}
	fail_key(name, length);
}

void parse_setting(const char *arg, struct kvmgang_policy *policy)
{
	const char *value = strchr(arg, '=');
	__u32 key;

	if (!value)
		errx(STATUS_USAGE, "setting '%s': must be KEY=VALUE", arg);
	key = parse_key(arg, (size_t)(value - arg), policy);
	value++;
	if (!strcmp(value, DEFAULT)) {
		policy->reset |= policy_bit(key);
		return;
	}
	/* ~0: which of these nodes this host has, the module knows. */
	if (!parse_value(key, value, &policy->setting[key].value) ||
	    !policy_allows(key, policy->setting[key].value, ~0ULL))
		fail_value(key, value);
	policy->set |= policy_bit(key);
}

void parse_reset(const char *arg, struct kvmgang_policy *policy)
{
	policy->reset |= policy_bit(parse_key(arg, strlen(arg), policy));
}

static json_t *report_value(__u32 key, __u64 value)
{
	const struct policy_key *k = &policy_keys[key];

	if (k->type == POLICY_WORD && value <= k->max)
		return json_string(k->words[value]);
	if (k->type == POLICY_NODES)
		return value ? report_nodes(value) : json_string(POLICY_AUTO);
	return json_integer((json_int_t)value);
}

static const char *origin_name(__u32 origin)
{
	return origin < KVMGANG_NR_ORIGINS ? origins[origin] : "unknown";
}

json_t *report_policy(const struct kvmgang_policy *policy)
{
	json_t *object = json_object();

	for (__u32 key = 0; key < KVMGANG_NR_KEYS; key++) {
		const struct kvmgang_setting *setting = &policy->setting[key];
		json_t *row;

		if (!(policy->out_known & policy_bit(key)))
			continue;
		row = json_object();
		put(row, "value", report_value(key, setting->value));
		put(row, "origin", json_string(origin_name(setting->out_origin)));
		put(object, policy_keys[key].name, row);
	}
	return object;
}

static void format_value(const json_t *value, char *cell)
{
	const struct format *format = json_is_array(value) ? &as_nodes :
				      json_is_string(value) ? &as_text : &as_count;

	format->fn(value, cell);
}

static const struct format as_value = { format_value, true };

void print_policy(const json_t *policy)
{
	static const struct column columns[] = {
		{ "KEY", NULL, "key", &as_text },
		{ "VALUE", NULL, "value", &as_value },
		{ "ORIGIN", NULL, "origin", &as_text },
	};
	json_t *rows = json_array();

	for (__u32 key = 0; key < KVMGANG_NR_KEYS; key++) {
		json_t *setting = json_object_get(policy, policy_keys[key].name);
		json_t *row;

		if (!setting)
			continue;
		row = json_copy(setting);
		put(row, "key", json_string(policy_keys[key].name));
		append(rows, row);
	}
	print_table(columns, NR_COLUMNS(columns), rows, ALL_ROWS);
	json_decref(rows);
}

static void format_setting(__u32 key, __u64 value, char *cell)
{
	json_t *json = report_value(key, value);

	format_value(json, cell);
	json_decref(json);
}

/* What @key is or would be, after what @policy asks for; false: that depends on the defaults. */
static bool value_then(const struct kvmgang_policy *asked, __u32 key,
		       const struct kvmgang_policy *now, __u64 *value)
{
	*value = (asked->set & policy_bit(key) ? asked : now)->setting[key].value;
	return !(asked->reset & policy_bit(key));
}

/* @key cannot be what was asked because of another key, of the same VM or of a VM that inherits. */
static void __attribute__((noreturn)) fail_order(const struct kvmgang_policy *asked, __u32 key,
						 const char *value, __u32 bad_vm,
						 const struct kvmgang_policy *now)
{
	char range[256], whose[64] = " by default";

	describe(key, range, sizeof(range));
	for (const struct policy_order *o = policy_orders; o->low != o->high; o++) {
		__u32 other = key == o->low ? o->high : o->low;
		const char *side = key == o->low ? "above" : "below";
		const char *none = key == o->high && o->zero_is_none ? "; or 0, which is none" : "";
		__u64 bound;

		if (key != o->low && key != o->high)
			continue;
		if (bad_vm)
			snprintf(whose, sizeof(whose), " of VM %u", bad_vm);
		else if (value_then(asked, other, now, &bound))
			snprintf(whose, sizeof(whose), ", which is %llu", bound);
		errx(STATUS_FAILED, "%s '%s': must be %s, and not %s %s%s%s",
		     policy_keys[key].name, value, range, side, policy_keys[other].name, whose,
		     none);
	}
	errx(STATUS_FAILED, "%s '%s': the module refuses it", policy_keys[key].name, value);
}

/*
 * There are too few pCPUs. @answer has the figures with what was asked; what one VM could be given
 * follows from them.
 */
static void __attribute__((noreturn)) fail_full(const struct kvmgang_policy *asked, __u32 key,
						const char *value,
						const struct kvmgang_policy *answer,
						const struct kvmgang_policy *now)
{
	__u64 nodes = answer->setting[KVMGANG_KEY_HOME_NODES].value;
	__u64 capacity = answer->setting[KVMGANG_KEY_LIMIT].value;
	__u64 reserved = answer->setting[KVMGANG_KEY_RESERVATION].value;
	char list[CELL_SIZE], pcpus[CELL_SIZE + 64];
	__u64 others, most;

	snprintf(pcpus, sizeof(pcpus), "the host's %llu milli-pCPU", capacity);
	if (nodes) {
		format_setting(KVMGANG_KEY_HOME_NODES, nodes, list);
		snprintf(pcpus, sizeof(pcpus), "the %llu milli-pCPU of nodes %s", capacity, list);
	}
	if (!asked->vm_id || !(asked->set & policy_bit(KVMGANG_KEY_RESERVATION)))
		errx(STATUS_FAILED, "%s '%s': %llu of %s would be reserved", policy_keys[key].name,
		     value, reserved, pcpus);
	others = reserved - asked->setting[KVMGANG_KEY_RESERVATION].value;
	most = others < capacity ? capacity - others : 0;
	/* What it has it may keep, also when others have too much. */
	if (!((asked->set | asked->reset) & policy_bit(KVMGANG_KEY_HOME_NODES)) &&
	    most < now->setting[KVMGANG_KEY_RESERVATION].value)
		most = now->setting[KVMGANG_KEY_RESERVATION].value;
	errx(STATUS_FAILED, "%s '%s': must be at most %llu: other VMs reserve %llu of %s",
	     policy_keys[key].name, value, most, others, pcpus);
}

/* Of several keys the first is named; the others would be, too, when that is mended. */
static void __attribute__((noreturn)) fail_refused(const struct kvmgang_policy *asked, int error,
						   const struct kvmgang_policy *answer,
						   const struct kvmgang_policy *now)
{
	__u32 key = (__u32)__builtin_ctzll(answer->out_bad);
	char value[CELL_SIZE] = DEFAULT;
	char range[256];

	/* A reservation can be made to fit; home nodes are the other way to do it. */
	if (error == ENOSPC && answer->out_bad & policy_bit(KVMGANG_KEY_RESERVATION))
		key = KVMGANG_KEY_RESERVATION;
	if (asked->set & policy_bit(key))
		format_setting(key, asked->setting[key].value, value);
	if (!(now->out_known & policy_bit(key)))
		errx(STATUS_FAILED, "key '%s': the module does not know it",
		     policy_keys[key].name);
	if (error == ENOSPC)
		fail_full(asked, key, value, answer, now);
	if (error != ERANGE)
		fail_order(asked, key, value, answer->out_bad_vm, now);
	describe(key, range, sizeof(range));
	if (policy_keys[key].type == POLICY_NODES)
		errx(STATUS_FAILED, "%s '%s': must be %s, which have CPUs or memory",
		     policy_keys[key].name, value, range);
	errx(STATUS_FAILED, "%s '%s': the module's range is not %s", policy_keys[key].name, value,
	     range);
}

void fail_policy(const struct kvmgang_policy *asked, int error,
		 const struct kvmgang_policy *answer, const struct kvmgang_policy *now)
{
	if (error == ENOENT || !now)
		errx(STATUS_FAILED, "VM id '%u': no VM has this id (any more)", asked->vm_id);
	if (error == EPERM)
		errx(STATUS_FAILED, "%s: to change something needs CAP_SYS_NICE", KVMGANG_DEVICE);
	if ((error == EINVAL || error == ERANGE || error == ENOSPC) && answer->out_bad)
		fail_refused(asked, error, answer, now);
	errno = error;
	err(STATUS_FAILED, "%s: KVMGANG_SET_POLICY", KVMGANG_DEVICE);
}
