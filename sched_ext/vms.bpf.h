/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMs, by id.
 *
 * Each id has a place in an array, where looking it up takes a tenth of the instructions that it
 * does in a hash; a pCPU that switches from one VM to another looks a dozen times. Ids count up and
 * are not used again, so that two VMs have the same place only if thousands came between them: the
 * later one is in the hash.
 *
 * Who removes a VM sees to it that nobody needs it any more. Who looks it up at that moment may
 * have the record in his hands when it becomes another VM's, as with a hash whose elements are
 * allocated beforehand: what he writes there is a hint that is wrong for once.
 */
#ifndef KVMGANG_VMS_BPF_H
#define KVMGANG_VMS_BPF_H

#include "state.bpf.h"

#define MAX_PLACES	HEAP_SIZE

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PLACES);
	__type(key, u32);
	__type(value, struct vm);
} vms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_VMS);
	__type(key, u32);
	__type(value, struct vm);
} displaced_vms SEC(".maps");

/* Whose each place is: an id, with COMING as long as its record is not filled in. */
#define COMING	(1ULL << 32)
__u64 places[MAX_PLACES];

__u64 nr_placed, nr_displaced;

__u32 lives;

static u64 *place_of(u32 vm_id)
{
	return &places[vm_id % MAX_PLACES];
}

/* NULL for 0 and SOLO, too, which are nobody's ids. */
static struct vm *vm_of(u32 vm_id)
{
	u32 place = vm_id % MAX_PLACES;

	if (vm_id && *(volatile u64 *)place_of(vm_id) == vm_id)
		return bpf_map_lookup_elem(&vms, &place);
	return nr_displaced ? bpf_map_lookup_elem(&displaced_vms, &vm_id) : NULL;
}

/* A record for @vm_id as @fresh. NULL: it has one, or another pCPU is just at it. */
static struct vm *vm_add(u32 vm_id, const struct vm *fresh)
{
	u64 whose = __sync_val_compare_and_swap(place_of(vm_id), 0, COMING | vm_id);
	u32 place = vm_id % MAX_PLACES;
	struct vm *vm;

	if (!whose) {
		bpf_map_update_elem(&vms, &place, fresh, BPF_ANY);
		vm = bpf_map_lookup_elem(&vms, &place);
	} else {
		if ((u32)whose == vm_id ||
		    bpf_map_update_elem(&displaced_vms, &vm_id, fresh, BPF_NOEXIST))
			return NULL;
		__sync_fetch_and_add(&nr_displaced, 1);
		vm = bpf_map_lookup_elem(&displaced_vms, &vm_id);
	}
	if (vm) {
		vm->life = __sync_add_and_fetch(&lives, 1);
		vm->id = vm_id;
	}
	if (!whose) {
		__sync_lock_test_and_set(place_of(vm_id), vm_id);
		__sync_fetch_and_add(&nr_placed, 1);
	}
	return vm;
}

static void vm_remove(u32 vm_id)
{
	if (__sync_val_compare_and_swap(place_of(vm_id), vm_id, 0) == vm_id)
		__sync_fetch_and_sub(&nr_placed, 1);
	else if (!bpf_map_delete_elem(&displaced_vms, &vm_id))
		__sync_fetch_and_sub(&nr_displaced, 1);
}

/*
 * How many there are, to walk over both maps by bpf_for_each_map_elem() with a pointer to that: the
 * callback says whether vm_is_last(), and passes over who is not vm_is_alive().
 */
static u64 nr_vms(void)
{
	return nr_placed + nr_displaced;
}

/* Places have records before their first VMs come, and when their last ones have gone. */
static bool vm_is_alive(const struct vm *vm)
{
	return vm->id && vm->threads;
}

/* One that is alive has been looked at, of @left. Was it the last one? */
static bool vm_is_last(u64 *left)
{
	*left -= *left > 0;
	return !*left;
}

#endif /* KVMGANG_VMS_BPF_H */
