/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Work that may sleep, or takes longer than whoever finds that it has to be done can wait with a
 * run queue locked. Each worker does one thing, which is not done twice at a time.
 */
#ifndef KVMGANG_WORKER_BPF_H
#define KVMGANG_WORKER_BPF_H

enum { QUEUE_WORKER, REVIEW_WORKER, TARGET_WORKER, POLICY_WORKER, NR_WORKERS };

struct sched_worker {
	struct bpf_wq wq;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NR_WORKERS);
	__type(key, u32);
	__type(value, struct sched_worker);
} workers SEC(".maps");

/* Before the scheduler is attached. Inline, because the verifier must see which function it is. */
static __always_inline int worker_init(u32 id, int (*work)(void *map, int *key, void *value))
{
	struct sched_worker *worker = bpf_map_lookup_elem(&workers, &id);

	if (!worker)
		return -ENOENT;
	return bpf_wq_init(&worker->wq, &workers, 0) ?: bpf_wq_set_callback(&worker->wq, work, 0);
}

/* From anywhere. If the work is under way it is done once more. */
static void worker_start(u32 id)
{
	struct sched_worker *worker = bpf_map_lookup_elem(&workers, &id);

	if (worker)
		bpf_wq_start(&worker->wq, 0);
}

#endif /* KVMGANG_WORKER_BPF_H */
