// SPDX-License-Identifier: GPL-2.0
/* What the KUnit suites share: see kunit.h. */
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "kunit.h"
#include "vcpu.h"

unsigned long long kunit_seed;
module_param(kunit_seed, ullong, 0400);
MODULE_PARM_DESC(kunit_seed, "of the tests' random numbers; 0: a new one for each test");

struct kvm *fake_vm_key(struct fake_vm *vm)
{
	return (struct kvm *)vm;
}

static struct fake_vm *fake_vm_alloc(u32 nr_vcpus)
{
	struct fake_vm *vm = kvzalloc(struct_size(vm, vcpus, nr_vcpus), GFP_KERNEL);
	u32 i;

	if (!vm)
		return NULL;
	vm->nr_vcpus = nr_vcpus;
	for (i = 0; i < nr_vcpus; i++) {
		vm->vcpus[i].kvm = fake_vm_key(vm);
		vm->vcpus[i].vcpu_id = i;
	}
	return vm;
}

static void fake_vm_free(void *vm)
{
	fake_vm_destroy(vm);
	kvfree(vm);
}

struct fake_vm *fake_vm_new(struct kunit *test, u32 nr_vcpus)
{
	struct fake_vm *vm = fake_vm_alloc(nr_vcpus);

	KUNIT_ASSERT_NOT_NULL(test, vm);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, fake_vm_free, vm), 0);
	return vm;
}

struct kvmgang_vcpu *fake_vm_enter(struct fake_vm *vm, u32 id)
{
	guard(irqsave)();
	return vcpu_get(&vm->vcpus[id]);
}

void fake_vm_destroy(struct fake_vm *vm)
{
	vcpu_destroy_vm(fake_vm_key(vm));
}

bool no_vms(void)
{
	guard(rwsem_read)(&vms_rwsem);
	return list_empty(&vms);
}
