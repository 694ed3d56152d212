/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites (*_test.c) share: random numbers that can be had again, and fake VMs.
 *
 * The module knows a VM by the addresses of KVM's structs and by three members of struct kvm_vcpu,
 * and asks for no more. Hence a fake is enough to fill the registry, and thousands of them cost
 * little. No test that needs a vCPU to run is here: that is for the selftests.
 */
#ifndef KVMGANG_KUNIT_H
#define KVMGANG_KUNIT_H

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/kvm_host.h>
#include <linux/prandom.h>
#include <linux/random.h>

extern unsigned long long kunit_seed;

/* Prints the seed: insmod kvmgang.ko kunit_seed=SEED does the same again. */
static inline void seed_random(struct kunit *test, struct rnd_state *rnd)
{
	u64 seed = kunit_seed ?: get_random_u64();

	kunit_info(test, "kunit_seed=%llu\n", seed);
	prandom_seed_state(rnd, seed);
}

static inline u32 random_below(struct rnd_state *rnd, u32 limit)
{
	return prandom_u32_state(rnd) % limit;
}

struct kvmgang_vcpu;

struct fake_vm {
	u32 nr_vcpus;
	struct kvm_vcpu vcpus[];
};

/* A VM of @nr_vcpus that have not entered the guest yet; it ends with the test if not before. */
struct fake_vm *fake_vm_new(struct kunit *test, u32 nr_vcpus);

/* The address of its struct kvm, where there is none. */
struct kvm *fake_vm_key(struct fake_vm *vm);

/* vCPU @id enters the guest: its record, NULL if it was refused. Any context. */
struct kvmgang_vcpu *fake_vm_enter(struct fake_vm *vm, u32 id);

/* KVM destroys it. Afterwards it may enter the guest again, which is then another VM. */
void fake_vm_destroy(struct fake_vm *vm);

/*
 * Waits until @condition holds. False after two minutes, when it never will: an assertion that
 * fails is a better end than KUnit's, which would wait for the thread of the test.
 */
#define await(condition)						\
({									\
	int polls_left_ = 120000;					\
									\
	while (!(condition) && --polls_left_)				\
		usleep_range(1000, 1100);				\
	polls_left_ > 0;						\
})

/* Has the last record of any VM been removed? */
bool no_vms(void);

#endif /* KVMGANG_KUNIT_H */
