// SPDX-License-Identifier: GPL-2.0
/* Settings of VMs, see policy.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"

#define SYSFS		"/sys/kernel/kvmgang/"

const char * const policy_key_names[KVMGANG_NR_KEYS] = {
	[KVMGANG_KEY_SHARES] = "shares",
	[KVMGANG_KEY_GANG] = "gang",
	[KVMGANG_KEY_COSTOP_US] = "costop_us",
	[KVMGANG_KEY_COSTART_US] = "costart_us",
	[KVMGANG_KEY_HOME_NODES] = "home_nodes",
	[KVMGANG_KEY_LIMIT] = "limit",
	[KVMGANG_KEY_RESERVATION] = "reservation",
	[KVMGANG_KEY_LATENCY] = "latency",
	[KVMGANG_KEY_READY_TARGET] = "ready_target",
	[KVMGANG_KEY_ISOLATION] = "isolation",
};

const __u64 policy_builtin[KVMGANG_NR_KEYS] = {
	[KVMGANG_KEY_SHARES] = 100,
	[KVMGANG_KEY_GANG] = KVMGANG_GANG_AUTO,
	[KVMGANG_KEY_COSTOP_US] = 3000,
	[KVMGANG_KEY_COSTART_US] = 2000,
};

int policy_device = -1;

int policy_open(int access)
{
	int fd = open(KVMGANG_DEVICE, access | O_CLOEXEC);

	if (fd < 0)
		die(KVMGANG_DEVICE ": %m");
	return fd;
}

int policy_call(int fd, unsigned int cmd, struct kvmgang_policy *policy)
{
	policy->size = sizeof(*policy);
	return ioctl(fd, cmd, policy) ? errno : 0;
}

int policy_set(struct kvmgang_policy policy)
{
	return policy_call(policy_device, KVMGANG_SET_POLICY, &policy);
}

int policy_set_one(uint32_t vm_id, enum kvmgang_key key, __u64 value)
{
	struct kvmgang_policy policy = { .vm_id = vm_id, .set = BIT(key) };

	policy.setting[key].value = value;
	return policy_set(policy);
}

int policy_set_skew(uint32_t vm_id, __u64 costop_us, __u64 costart_us)
{
	return policy_set((struct kvmgang_policy){
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_COSTOP_US) | BIT(KVMGANG_KEY_COSTART_US),
		.setting = {
			[KVMGANG_KEY_COSTOP_US] = { .value = costop_us },
			[KVMGANG_KEY_COSTART_US] = { .value = costart_us },
		},
	});
}

int policy_reset(uint32_t vm_id, __u64 keys)
{
	return policy_set((struct kvmgang_policy){ .vm_id = vm_id, .reset = keys });
}

struct kvmgang_policy policy_get(uint32_t vm_id)
{
	struct kvmgang_policy policy = { .vm_id = vm_id };

	errno = policy_call(policy_device, KVMGANG_GET_POLICY, &policy);
	if (errno)
		die("KVMGANG_GET_POLICY of VM %u: %m", vm_id);
	EXPECT(policy.out_known, ==, ALL_KEYS);
	EXPECT(policy.out_bad, ==, 0);
	EXPECT(policy.out_bad_vm, ==, 0);
	return policy;
}

void expect_setting(uint32_t vm_id, enum kvmgang_key key, __u64 value, enum kvmgang_origin origin)
{
	struct kvmgang_policy policy = policy_get(vm_id);

	if (!EXPECT(policy.setting[key].value, ==, value) ||
	    !EXPECT(policy.setting[key].out_origin, ==, origin))
		tap_note("that was %s of VM %u", policy_key_names[key], vm_id);
}

void expect_builtin(uint32_t vm_id)
{
	int key;

	for (key = 0; key < KVMGANG_NR_KEYS; key++)
		expect_setting(vm_id, key, policy_builtin[key], KVMGANG_ORIGIN_DEFAULT);
}

void policy_begin(void)
{
	await_no_vms();
	policy_device = policy_open(O_RDWR);
	REQUIRE(policy_reset(DEFAULTS, ALL_KEYS), ==, 0);
}

uint32_t policy_start_guest(struct vm **vm)
{
	*vm = vm_new(2);
	vm_start(*vm, guest_halt, 0);
	return vm_id_wait(*vm);
}

uint32_t policy_begin_with_guest(void)
{
	struct vm *vm;

	policy_begin();
	return policy_start_guest(&vm);
}

struct policies policy_look(uint32_t vm_id)
{
	return (struct policies){ policy_get(DEFAULTS), policy_get(vm_id) };
}

void expect_unchanged(const struct policies *before, uint32_t vm_id)
{
	struct policies now = policy_look(vm_id);

	/* The generation, too. */
	EXPECT(memcmp(&before->defaults, &now.defaults, sizeof(now.defaults)), ==, 0);
	EXPECT(memcmp(&before->vm, &now.vm, sizeof(now.vm)), ==, 0);
}

void policy_path(char *path, uint32_t vm_id, const char *file)
{
	if (vm_id)
		snprintf(path, PATH_MAX, SYSFS "vms/%u/policy/%s", vm_id, file);
	else
		snprintf(path, PATH_MAX, SYSFS "defaults/%s", file);
}

int policy_write(uint32_t vm_id, const char *file, const char *text)
{
	char path[PATH_MAX];

	policy_path(path, vm_id, file);
	return file_write(path, text);
}

void policy_await_files(uint32_t vm_id)
{
	char path[PATH_MAX], last[64];

	/* They come one by one, in this order. */
	snprintf(last, sizeof(last), "%s_origin", policy_key_names[KVMGANG_NR_KEYS - 1]);
	policy_path(path, vm_id, last);
	await(!access(path, F_OK));
}
