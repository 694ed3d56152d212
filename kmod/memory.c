// SPDX-License-Identifier: GPL-2.0
/*
 * Where a VM's memory is: of some pages, chosen at random from all that the VMM gave to KVM, the
 * nodes. First touch says little of a VM that was restored, migrated, or given its memory by
 * another thread than those that run it.
 *
 * It is looked from a vCPU's own thread, as only there are the VM and its address space sure to
 * stay, and without faulting anything in: what has never been touched is nowhere. So are pages that
 * KVM got in another way than by an address of the VMM's, as guest_memfd's.
 *
 * Not here: when it is looked (thread.c), and what follows from it (sched_ext/home.bpf.h).
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/srcu.h>

#include "memory.h"

/*
 * Pages that are looked at. If half of the memory were on each of two nodes, three quarters of 64
 * would be found on one of them by chance once in 13 000 times (binomial, both tails).
 */
#define SAMPLES		64

/* The node of the page at @address goes to @nid. Returns how many pages there are, 0 or 1. */
static u32 sample(unsigned long address, s16 *nid)
{
	struct page *page;
	bool shared;

	if (!get_user_page_fast_only(address, 0, &page))
		return 0;
	/* What was read but never written: one page for everybody. */
	shared = is_zero_page(page);
	*nid = page_to_nid(page);
	put_page(page);
	return !shared;
}

int memory_node(struct kvm *kvm)
{
	unsigned long stride, at;
	struct kvm_memory_slot *slot;
	s16 nid[SAMPLES];
	u32 nr = 0;
	int bkt;

	guard(srcu)(&kvm->srcu);
	/* It may be changing: then they are not spread evenly. */
	stride = READ_ONCE(kvm->nr_memslot_pages) / SAMPLES + 1;
	at = get_random_u32_below(min(stride, U32_MAX));
	kvm_for_each_memslot(slot, bkt, kvm_memslots(kvm)) {
		for (; at < slot->npages && nr < SAMPLES; at += stride)
			nr += sample(slot->userspace_addr + at * PAGE_SIZE, &nid[nr]);
		if (nr == SAMPLES)
			break;
		at -= slot->npages;
	}
	return memory_majority(nid, nr);
}
