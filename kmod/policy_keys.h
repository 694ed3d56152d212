/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The table of what can be set of a VM, and what follows from it: which values are allowed, which
 * go together, and which one counts when several were given. A new key is a row of policy_keys[]
 * and its number in enum kvmgang_key.
 *
 * Pure: no lock, no VM, no host, no text. The module, its tests and the command use the same.
 */
#ifndef KVMGANG_POLICY_KEYS_H
#define KVMGANG_POLICY_KEYS_H

#include <linux/kvmgang.h>

enum policy_type {
	POLICY_NUMBER,
	POLICY_WORD,			/* a number that is written as one of words[] */
	POLICY_NODES,			/* bit n: NUMA node n; 0, which is no list: auto */
};

#define POLICY_AUTO		"auto"
#define POLICY_MAX_WORDS	4

struct policy_key {
	const char *name;
	__u64 min, max, builtin;
	const char *words[POLICY_MAX_WORDS];
	enum policy_type type;
	int of_cgroup;			/* a VM's cgroup may give it */
};

static const struct policy_key policy_keys[KVMGANG_NR_KEYS] = {
	[KVMGANG_KEY_SHARES] = {
		.name = "shares",
		.min = KVMGANG_SHARES_MIN, .max = KVMGANG_SHARES_MAX, .builtin = 100,
		.of_cgroup = 1,
	},
	[KVMGANG_KEY_GANG] = {
		.name = "gang", .type = POLICY_WORD,
		.words = { "off", "relaxed", "strict", "auto" },
		.max = KVMGANG_NR_GANGS - 1, .builtin = KVMGANG_GANG_AUTO,
	},
	[KVMGANG_KEY_COSTOP_US] = {
		.name = "costop_us",
		.min = KVMGANG_SKEW_US_MIN, .max = KVMGANG_SKEW_US_MAX, .builtin = 3000,
	},
	[KVMGANG_KEY_COSTART_US] = {
		.name = "costart_us",
		.min = KVMGANG_SKEW_US_MIN, .max = KVMGANG_SKEW_US_MAX, .builtin = 2000,
	},
	[KVMGANG_KEY_HOME_NODES] = {
		.name = "home_nodes", .type = POLICY_NODES,
		.max = ~0ULL,
	},
	[KVMGANG_KEY_LIMIT] = {
		.name = "limit",
		.max = KVMGANG_MILLI_PCPU_MAX,
		.of_cgroup = 1,
	},
	[KVMGANG_KEY_RESERVATION] = {
		.name = "reservation",
		.max = KVMGANG_MILLI_PCPU_MAX,
	},
	[KVMGANG_KEY_LATENCY] = {
		.name = "latency", .type = POLICY_WORD,
		.words = { "normal", "sensitive" },
		.max = KVMGANG_NR_LATENCIES - 1, .builtin = KVMGANG_LATENCY_NORMAL,
	},
	[KVMGANG_KEY_READY_TARGET] = {
		.name = "ready_target",
		.max = KVMGANG_READY_TARGET_MAX,
	},
	[KVMGANG_KEY_ISOLATION] = {
		.name = "isolation", .type = POLICY_WORD,
		.words = { "none", "core" },
		.max = KVMGANG_NR_ISOLATIONS - 1, .builtin = KVMGANG_ISOLATION_NONE,
	},
};

/* Keys of which the first may not be above the second. */
static const struct policy_order {
	enum kvmgang_key low, high;
	int zero_is_none;		/* of the second, which is then above everything */
} policy_orders[] = {
	{ KVMGANG_KEY_COSTART_US, KVMGANG_KEY_COSTOP_US, 0 },
	{ KVMGANG_KEY_RESERVATION, KVMGANG_KEY_LIMIT, 1 },
	{ 0, 0, 0 }
};

/* What somebody gave: value[n] counts if bit n of @given is set. */
struct policy_settings {
	__u64 given;
	__u64 value[KVMGANG_NR_KEYS];
};

static inline __u64 policy_bit(__u32 key)
{
	return 1ULL << key;
}

static inline __u64 policy_known(void)
{
	return policy_bit(KVMGANG_NR_KEYS) - 1;
}

/* Is @value one that @key can have, on a host whose nodes are @nodes? */
static inline int policy_allows(__u32 key, __u64 value, __u64 nodes)
{
	const struct policy_key *k = &policy_keys[key];

	if (value < k->min || value > k->max)
		return 0;
	return k->type != POLICY_NODES || !(value & ~nodes);
}

/* The keys of @asked whose values are not allowed. */
static inline __u64 policy_refused(const struct policy_settings *asked, __u64 nodes)
{
	__u64 bad = 0;
	__u32 key;

	for (key = 0; key < KVMGANG_NR_KEYS; key++)
		if (asked->given & policy_bit(key) && !policy_allows(key, asked->value[key], nodes))
			bad |= policy_bit(key);
	return bad;
}

/* @to with what @asked gives, and without what @reset names. */
static inline void policy_apply(struct policy_settings *to, const struct policy_settings *asked,
				__u64 reset)
{
	__u32 key;

	to->given = (to->given & ~reset) | asked->given;
	for (key = 0; key < KVMGANG_NR_KEYS; key++)
		if (asked->given & policy_bit(key))
			to->value[key] = asked->value[key];
}

/*
 * The value of @key for a VM of which the user gave @own and its cgroup @cgroup, with @defaults,
 * and where it comes from. For the defaults themselves @own is them and @defaults is NULL.
 */
static inline __u64 policy_value(const struct policy_settings *own,
				 const struct policy_settings *cgroup,
				 const struct policy_settings *defaults, __u32 key, __u32 *origin)
{
	*origin = KVMGANG_ORIGIN_USER;
	if (own->given & policy_bit(key))
		return own->value[key];
	*origin = KVMGANG_ORIGIN_CGROUP;
	if (cgroup && cgroup->given & policy_bit(key))
		return cgroup->value[key];
	*origin = KVMGANG_ORIGIN_DEFAULT;
	if (defaults && defaults->given & policy_bit(key))
		return defaults->value[key];
	return policy_keys[key].builtin;
}

/* The keys that contradict each other in what results for such a VM. */
static inline __u64 policy_contradictions(const struct policy_settings *own,
					  const struct policy_settings *cgroup,
					  const struct policy_settings *defaults)
{
	const struct policy_order *o;
	__u64 bad = 0, low, high;
	__u32 origin;

	for (o = policy_orders; o->low != o->high; o++) {
		low = policy_value(own, cgroup, defaults, o->low, &origin);
		high = policy_value(own, cgroup, defaults, o->high, &origin);
		if (low > high && (high || !o->zero_is_none))
			bad |= policy_bit(o->low) | policy_bit(o->high);
	}
	return bad;
}

#endif /* KVMGANG_POLICY_KEYS_H */
