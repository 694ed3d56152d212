/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A binary heap of VMs, the least key first. Keys are virtual times as they were when the VM was
 * put in, and as virtual time all but only grows, a key is hardly ever too large; a VM that comes
 * out too early is put back with its present one.
 *
 * Pure, and fit for the BPF verifier: each loop ends after HEAP_DEPTH steps and each index is
 * masked. The caller serialises.
 */
#ifndef KVMGANG_HEAP_H
#define KVMGANG_HEAP_H

#define HEAP_DEPTH	12
#define HEAP_SIZE	(1 << HEAP_DEPTH)	/* at[0] is not used */
#define HEAP_MASK	(HEAP_SIZE - 1)

struct heap_entry {
	__u64 key;
	__u64 id;		/* never 0 */
};

struct heap {
	__u64 nr;
	struct heap_entry at[HEAP_SIZE];
};

/* False: full. */
static inline int heap_push(struct heap *h, __u64 id, __u64 key)
{
	__u32 i, step;

	if (h->nr >= HEAP_SIZE - 1)
		return 0;
	i = ++h->nr & HEAP_MASK;
	for (step = 0; step < HEAP_DEPTH && i > 1; step++) {
		__u32 parent = i / 2 & HEAP_MASK;

		if (h->at[parent].key <= key)
			break;
		h->at[i & HEAP_MASK] = h->at[parent];
		i = parent;
	}
	h->at[i & HEAP_MASK].key = key;
	h->at[i & HEAP_MASK].id = id;
	return 1;
}

/*
 * 1 if the key of @a is less than that of @b, to which it is nearer than 2^63, else 0. Computed and
 * not branched to: the verifier would follow each way down the heap, which are 2^HEAP_DEPTH.
 */
static inline __u32 heap_before(const struct heap_entry *a, const struct heap_entry *b)
{
	return (a->key - b->key) >> 63;
}

/* The least entry, out of the heap; id 0: it was empty. */
static inline struct heap_entry heap_pop(struct heap *h)
{
	struct heap_entry top = {}, last;
	__u32 i = 1, step;

	if (!h->nr || h->nr >= HEAP_SIZE)
		return top;
	top = h->at[1];
	last = h->at[h->nr & HEAP_MASK];
	h->nr--;
	for (step = 0; step < HEAP_DEPTH; step++) {
		__u32 child = 2 * i, right = (child + 1) & HEAP_MASK;

		if (child > h->nr)
			break;
		/* Beside the last one is @last, where it was: that ends the way as well. */
		child += heap_before(&h->at[right], &h->at[child & HEAP_MASK]);
		if (h->at[child & HEAP_MASK].key >= last.key)
			break;
		h->at[i & HEAP_MASK] = h->at[child & HEAP_MASK];
		i = child;
	}
	h->at[i & HEAP_MASK] = last;
	return top;
}

#endif /* KVMGANG_HEAP_H */
