// SPDX-License-Identifier: GPL-2.0
/*
 * Contracts 2 and 3: what is set of a VM is kept and found again with its origin, whichever door it
 * came through; all of it or nothing; by those who may; and it goes with the VM.
 *
 * What a scheduler makes of it is no matter here; what it can ask and tell is test_hold's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define SYSFS		"/sys/kernel/kvmgang/"
#define DEFAULTS	0			/* for a VM's id */
#define ALL_KEYS	((1ULL << KVMGANG_NR_KEYS) - 1)
#define BIT(key)	(1ULL << (key))

static const char * const key_names[KVMGANG_NR_KEYS] = {
	[KVMGANG_KEY_SHARES] = "shares",
	[KVMGANG_KEY_GANG] = "gang",
	[KVMGANG_KEY_COSTOP_US] = "costop_us",
	[KVMGANG_KEY_COSTART_US] = "costart_us",
	[KVMGANG_KEY_HOME_NODES] = "home_nodes",
};

static const __u64 builtin[KVMGANG_NR_KEYS] = {
	[KVMGANG_KEY_SHARES] = 100,
	[KVMGANG_KEY_GANG] = KVMGANG_GANG_AUTO,
	[KVMGANG_KEY_COSTOP_US] = 3000,
	[KVMGANG_KEY_COSTART_US] = 2000,
};

static int device = -1;

static int open_device(int access)
{
	int fd = open(KVMGANG_DEVICE, access | O_CLOEXEC);

	if (fd < 0)
		die(KVMGANG_DEVICE ": %m");
	return fd;
}

static int call(int fd, unsigned int cmd, struct kvmgang_policy *policy)
{
	policy->size = sizeof(*policy);
	return ioctl(fd, cmd, policy) ? errno : 0;
}

static int set(struct kvmgang_policy policy)
{
	return call(device, KVMGANG_SET_POLICY, &policy);
}

static int set_one(uint32_t vm_id, enum kvmgang_key key, __u64 value)
{
	struct kvmgang_policy policy = { .vm_id = vm_id, .set = BIT(key) };

	policy.setting[key].value = value;
	return set(policy);
}

static int set_skew(uint32_t vm_id, __u64 costop_us, __u64 costart_us)
{
	return set((struct kvmgang_policy){
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_COSTOP_US) | BIT(KVMGANG_KEY_COSTART_US),
		.setting = {
			[KVMGANG_KEY_COSTOP_US] = { .value = costop_us },
			[KVMGANG_KEY_COSTART_US] = { .value = costart_us },
		},
	});
}

static int reset(uint32_t vm_id, __u64 keys)
{
	return set((struct kvmgang_policy){ .vm_id = vm_id, .reset = keys });
}

static struct kvmgang_policy get(uint32_t vm_id)
{
	struct kvmgang_policy policy = { .vm_id = vm_id };

	errno = call(device, KVMGANG_GET_POLICY, &policy);
	if (errno)
		die("KVMGANG_GET_POLICY of VM %u: %m", vm_id);
	EXPECT(policy.out_known, ==, ALL_KEYS);
	EXPECT(policy.out_bad, ==, 0);
	EXPECT(policy.out_bad_vm, ==, 0);
	return policy;
}

static void expect_setting(uint32_t vm_id, enum kvmgang_key key, __u64 value,
			   enum kvmgang_origin origin)
{
	struct kvmgang_policy policy = get(vm_id);

	if (!EXPECT(policy.setting[key].value, ==, value) ||
	    !EXPECT(policy.setting[key].out_origin, ==, origin))
		tap_note("that was %s of VM %u", key_names[key], vm_id);
}

static void expect_builtin(uint32_t vm_id)
{
	int key;

	for (key = 0; key < KVMGANG_NR_KEYS; key++)
		expect_setting(vm_id, key, builtin[key], KVMGANG_ORIGIN_DEFAULT);
}

/* Every test begins with the defaults that are built in, whatever the last one left. */
static void begin(void)
{
	device = open_device(O_RDWR);
	REQUIRE(reset(DEFAULTS, ALL_KEYS), ==, 0);
}

static uint32_t start_guest(struct vm **vm)
{
	*vm = vm_new(2);
	vm_start(*vm, guest_halt, 0);
	return vm_id_wait(*vm);
}

static uint32_t begin_with_guest(void)
{
	struct vm *vm;

	begin();
	return start_guest(&vm);
}

static void test_new(void)
{
	uint32_t vm_id = begin_with_guest();

	expect_builtin(DEFAULTS);
	expect_builtin(vm_id);
}

static void test_set(void)
{
	static const struct {
		enum kvmgang_key key;
		__u64 value;
	} settings[] = {
		{ KVMGANG_KEY_SHARES, KVMGANG_SHARES_MIN },
		{ KVMGANG_KEY_SHARES, KVMGANG_SHARES_MAX },
		/* Set to what it is by default, it is set all the same. */
		{ KVMGANG_KEY_SHARES, 100 },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_OFF },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_RELAXED },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_STRICT },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_AUTO },
		{ KVMGANG_KEY_COSTOP_US, 2000 },
		{ KVMGANG_KEY_COSTOP_US, KVMGANG_SKEW_US_MAX },
		{ KVMGANG_KEY_COSTART_US, KVMGANG_SKEW_US_MIN },
		{ KVMGANG_KEY_COSTART_US, 3000 },
		{ KVMGANG_KEY_HOME_NODES, 1 },
		{ KVMGANG_KEY_HOME_NODES, 0 },
	};
	uint32_t vm_id = begin_with_guest();
	size_t i;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		EXPECT(set_one(vm_id, settings[i].key, settings[i].value), ==, 0);
		expect_setting(vm_id, settings[i].key, settings[i].value, KVMGANG_ORIGIN_USER);
		EXPECT(reset(vm_id, BIT(settings[i].key)), ==, 0);
		expect_builtin(vm_id);
		EXPECT(set_one(DEFAULTS, settings[i].key, settings[i].value), ==, 0);
		expect_setting(DEFAULTS, settings[i].key, settings[i].value, KVMGANG_ORIGIN_USER);
		expect_setting(vm_id, settings[i].key, settings[i].value, KVMGANG_ORIGIN_DEFAULT);
		EXPECT(reset(DEFAULTS, BIT(settings[i].key)), ==, 0);
		expect_builtin(vm_id);
	}
	/* To set some and reset others is one call. */
	EXPECT(set_skew(vm_id, 5000, 4000), ==, 0);
	EXPECT(set((struct kvmgang_policy){
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES),
		.reset = BIT(KVMGANG_KEY_COSTOP_US) | BIT(KVMGANG_KEY_COSTART_US),
		.setting[KVMGANG_KEY_SHARES].value = 7,
	}), ==, 0);
	expect_setting(vm_id, KVMGANG_KEY_SHARES, 7, KVMGANG_ORIGIN_USER);
	expect_setting(vm_id, KVMGANG_KEY_COSTOP_US, 3000, KVMGANG_ORIGIN_DEFAULT);
	expect_setting(vm_id, KVMGANG_KEY_COSTART_US, 2000, KVMGANG_ORIGIN_DEFAULT);
}

static void test_inheritance(void)
{
	uint32_t with = begin_with_guest(), without, later;
	struct vm *vm;

	without = start_guest(&vm);
	EXPECT(set_one(with, KVMGANG_KEY_SHARES, 500), ==, 0);
	EXPECT(set_one(DEFAULTS, KVMGANG_KEY_SHARES, 300), ==, 0);
	later = start_guest(&vm);
	expect_setting(with, KVMGANG_KEY_SHARES, 500, KVMGANG_ORIGIN_USER);
	expect_setting(without, KVMGANG_KEY_SHARES, 300, KVMGANG_ORIGIN_DEFAULT);
	expect_setting(later, KVMGANG_KEY_SHARES, 300, KVMGANG_ORIGIN_DEFAULT);

	EXPECT(reset(with, BIT(KVMGANG_KEY_SHARES)), ==, 0);
	expect_setting(with, KVMGANG_KEY_SHARES, 300, KVMGANG_ORIGIN_DEFAULT);
	EXPECT(reset(DEFAULTS, ALL_KEYS), ==, 0);
	expect_builtin(with);
	expect_builtin(later);
}

/* The defaults and a VM's settings, to see afterwards that nothing has changed. */
struct before {
	struct kvmgang_policy defaults, vm;
};

static struct before look(uint32_t vm_id)
{
	return (struct before){ get(DEFAULTS), get(vm_id) };
}

static void expect_unchanged(const struct before *before, uint32_t vm_id)
{
	struct before now = look(vm_id);

	/* The generation, too. */
	EXPECT(memcmp(&before->defaults, &now.defaults, sizeof(now.defaults)), ==, 0);
	EXPECT(memcmp(&before->vm, &now.vm, sizeof(now.vm)), ==, 0);
}

/* @bad: the keys that are said to be wrong; 0: the argument comes back as it was. */
static void refuse(struct kvmgang_policy policy, int expected, __u64 bad)
{
	struct kvmgang_policy asked = policy;
	struct before before = look(policy.vm_id);

	EXPECT(call(device, KVMGANG_SET_POLICY, &policy), ==, expected);
	if (!EXPECT(policy.out_bad, ==, bad))
		tap_note("of set %#llx, reset %#llx", asked.set, asked.reset);
	asked.size = policy.size;
	asked.out_bad = policy.out_bad;
	asked.out_bad_vm = policy.out_bad_vm;
	EXPECT(memcmp(&asked, &policy, sizeof(asked)), ==, 0);
	expect_unchanged(&before, policy.vm_id);
}

/* Good settings beside the bad one must not be carried out either. */
static void refuse_value(uint32_t vm_id, enum kvmgang_key key, __u64 value)
{
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES) | BIT(KVMGANG_KEY_GANG) | BIT(key),
		.reset = BIT(KVMGANG_KEY_COSTART_US) & ~BIT(key),
		.setting = {
			[KVMGANG_KEY_SHARES] = { .value = 777 },
			[KVMGANG_KEY_GANG] = { .value = KVMGANG_GANG_OFF },
		},
	};

	policy.setting[key].value = value;
	refuse(policy, ERANGE, BIT(key));
}

static void refuse_values(uint32_t vm_id)
{
	static const __u64 huge = ~0ULL;
	__u64 node;

	refuse_value(vm_id, KVMGANG_KEY_SHARES, KVMGANG_SHARES_MIN - 1);
	refuse_value(vm_id, KVMGANG_KEY_SHARES, KVMGANG_SHARES_MAX + 1);
	refuse_value(vm_id, KVMGANG_KEY_SHARES, (1ULL << 32) + 100);
	refuse_value(vm_id, KVMGANG_KEY_GANG, KVMGANG_NR_GANGS);
	refuse_value(vm_id, KVMGANG_KEY_GANG, huge);
	refuse_value(vm_id, KVMGANG_KEY_COSTOP_US, KVMGANG_SKEW_US_MIN - 1);
	refuse_value(vm_id, KVMGANG_KEY_COSTOP_US, KVMGANG_SKEW_US_MAX + 1);
	refuse_value(vm_id, KVMGANG_KEY_COSTART_US, 0);
	refuse_value(vm_id, KVMGANG_KEY_COSTART_US, huge);
	refuse_value(vm_id, KVMGANG_KEY_HOME_NODES, huge);
	/* No host of this test has a node 63; one good node beside it does not help. */
	for (node = 0; node <= 1; node++)
		refuse_value(vm_id, KVMGANG_KEY_HOME_NODES, 1ULL << 63 | node);
	refuse((struct kvmgang_policy){
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES) | BIT(KVMGANG_KEY_GANG),
		.setting[KVMGANG_KEY_GANG].value = 99,
	}, ERANGE, BIT(KVMGANG_KEY_SHARES) | BIT(KVMGANG_KEY_GANG));
}

static void refuse_requests(uint32_t vm_id)
{
	struct kvmgang_policy policy = { .vm_id = vm_id, .set = BIT(KVMGANG_KEY_SHARES) };

	policy.setting[KVMGANG_KEY_SHARES].value = 777;
	policy.flags = 1;
	refuse(policy, EINVAL, 0);
	policy.flags = 0;
	policy.setting[KVMGANG_KEY_SHARES].reserved = 1;
	refuse(policy, EINVAL, 0);
	policy.setting[KVMGANG_KEY_SHARES].reserved = 0;
	policy.reset = policy.set;
	refuse(policy, EINVAL, policy.set);
	policy.reset = BIT(KVMGANG_NR_KEYS) | BIT(63);
	refuse(policy, EINVAL, policy.reset);
	policy.reset = 0;
	policy.set |= BIT(KVMGANG_NR_KEYS);
	refuse(policy, EINVAL, BIT(KVMGANG_NR_KEYS));
}

static void test_refused(void)
{
	uint32_t vm_id = begin_with_guest();

	EXPECT(set_one(vm_id, KVMGANG_KEY_SHARES, 123), ==, 0);
	EXPECT(set_one(vm_id, KVMGANG_KEY_COSTART_US, 150), ==, 0);
	refuse_values(vm_id);
	refuse_values(DEFAULTS);
	refuse_requests(vm_id);
	refuse_requests(DEFAULTS);
	expect_setting(vm_id, KVMGANG_KEY_SHARES, 123, KVMGANG_ORIGIN_USER);
}

/* Reads need no less care: an argument that is refused comes back as it was. */
static void test_struct(void)
{
	struct {
		struct kvmgang_policy policy;
		__u64 unknown[2];
	} longer = { .policy.size = sizeof(longer) };
	struct kvmgang_policy policy = { .set = 1 };

	begin();
	EXPECT(call(device, KVMGANG_GET_POLICY, &policy), ==, EINVAL);
	policy = (struct kvmgang_policy){ .reset = 1 };
	EXPECT(call(device, KVMGANG_GET_POLICY, &policy), ==, EINVAL);
	policy = (struct kvmgang_policy){ .flags = 1 };
	EXPECT(call(device, KVMGANG_GET_POLICY, &policy), ==, EINVAL);
	policy = (struct kvmgang_policy){ .vm_id = 0xffffffff };
	EXPECT(call(device, KVMGANG_GET_POLICY, &policy), ==, ENOENT);
	EXPECT(call(device, KVMGANG_SET_POLICY, &policy), ==, ENOENT);
	policy = (struct kvmgang_policy){ .size = sizeof(policy) - 8 };
	EXPECT(ioctl(device, KVMGANG_GET_POLICY, &policy), ==, -1);
	EXPECT(errno, ==, EINVAL);

	EXPECT(ioctl(device, KVMGANG_GET_POLICY, &longer), ==, 0);
	EXPECT(longer.policy.setting[KVMGANG_KEY_SHARES].value, ==, 100);
	/* A key that this module does not know yet is to be set. */
	longer.policy = (struct kvmgang_policy){ .size = sizeof(longer) };
	longer.unknown[0] = 5;
	EXPECT(ioctl(device, KVMGANG_SET_POLICY, &longer), ==, -1);
	EXPECT(errno, ==, E2BIG);
}

static void test_contradictions(void)
{
	const __u64 costop = BIT(KVMGANG_KEY_COSTOP_US), costart = BIT(KVMGANG_KEY_COSTART_US);
	uint32_t vm_id = begin_with_guest();
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = costart,
		.setting = {
			[KVMGANG_KEY_COSTOP_US] = { .value = 500 },
			[KVMGANG_KEY_COSTART_US] = { .value = 3001 },
		},
	};
	struct before before;

	/* With the default, with each other, with what is set already. */
	refuse(policy, EINVAL, costart);
	policy.set = costop;
	refuse(policy, EINVAL, costop);
	policy.set = costop | costart;
	refuse(policy, EINVAL, costop | costart);
	EXPECT(set_skew(vm_id, 500, 500), ==, 0);
	policy.set = costart;
	policy.setting[KVMGANG_KEY_COSTART_US].value = 501;
	refuse(policy, EINVAL, costart);
	policy.set = 0;
	policy.reset = costart;
	refuse(policy, EINVAL, costart);
	policy.reset = costop | costart;
	EXPECT(set(policy), ==, 0);

	/* The defaults by themselves, and with what is set of a VM. */
	policy = (struct kvmgang_policy){
		.set = costop,
		.setting[KVMGANG_KEY_COSTOP_US].value = 1999,
	};
	refuse(policy, EINVAL, costop);
	EXPECT(set_one(vm_id, KVMGANG_KEY_COSTART_US, 2500), ==, 0);
	policy.setting[KVMGANG_KEY_COSTOP_US].value = 2499;
	refuse(policy, EINVAL, costop);
	before = look(vm_id);
	EXPECT(call(device, KVMGANG_SET_POLICY, &policy), ==, EINVAL);
	EXPECT(policy.out_bad_vm, ==, vm_id);
	expect_unchanged(&before, vm_id);
	policy.setting[KVMGANG_KEY_COSTOP_US].value = 2500;
	EXPECT(set(policy), ==, 0);
	expect_setting(vm_id, KVMGANG_KEY_COSTOP_US, 2500, KVMGANG_ORIGIN_DEFAULT);
}

static void test_generation(void)
{
	uint32_t vm_id = begin_with_guest();
	__u64 generation = get(vm_id).out_generation;

	EXPECT(generation, >, 0);
	EXPECT(get(DEFAULTS).out_generation, ==, generation);
	EXPECT(set_one(vm_id, KVMGANG_KEY_SHARES, 5), ==, 0);
	EXPECT(get(DEFAULTS).out_generation, >, generation);
	generation = get(DEFAULTS).out_generation;
	EXPECT(set_one(DEFAULTS, KVMGANG_KEY_SHARES, 5), ==, 0);
	EXPECT(get(vm_id).out_generation, >, generation);
}

static void drop_cap_sys_nice(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &head, data))
		die("capget: %m");
	REQUIRE(data[0].effective >> CAP_SYS_NICE & 1, ==, 1);
	data[0].effective &= ~(1U << CAP_SYS_NICE);
	if (syscall(SYS_capset, &head, data))
		die("capset: %m");
}

static void sysfs_path(char *path, uint32_t vm_id, const char *file)
{
	if (vm_id)
		snprintf(path, PATH_MAX, SYSFS "vms/%u/policy/%s", vm_id, file);
	else
		snprintf(path, PATH_MAX, SYSFS "defaults/%s", file);
}

/* 0 or errno. */
static int sysfs_write(uint32_t vm_id, const char *file, const char *text)
{
	char path[PATH_MAX];
	int fd, error = 0;

	sysfs_path(path, vm_id, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

static void sysfs_read(uint32_t vm_id, const char *file, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t length = -1;
	int fd;

	sysfs_path(path, vm_id, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, text, size - 1);
		close(fd);
	}
	if (length < 1 || text[length - 1] != '\n')
		die("%s: %m", path);
	text[length - 1] = '\0';
}

static void await_sysfs(uint32_t vm_id)
{
	char path[PATH_MAX];

	sysfs_path(path, vm_id, "shares");
	await(!access(path, F_OK));
}

static void test_privilege(void)
{
	uint32_t vm_id = begin_with_guest();
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES),
		.setting[KVMGANG_KEY_SHARES].value = 9,
	}, unset = { .vm_id = vm_id };
	int read_only = open_device(O_RDONLY), write_only = open_device(O_WRONLY);
	struct before before = look(vm_id);
	char path[PATH_MAX];
	int opened;

	await_sysfs(vm_id);
	EXPECT(call(read_only, KVMGANG_SET_POLICY, &policy), ==, EBADF);
	expect_unchanged(&before, vm_id);
	EXPECT(call(read_only, KVMGANG_GET_POLICY, &unset), ==, 0);
	EXPECT(call(write_only, KVMGANG_GET_POLICY, &unset), ==, EBADF);

	sysfs_path(path, vm_id, "shares");
	opened = open(path, O_WRONLY | O_CLOEXEC);
	REQUIRE(opened, >=, 0);
	/* What counts is who calls, and not who opened. */
	drop_cap_sys_nice();
	EXPECT(call(device, KVMGANG_SET_POLICY, &policy), ==, EPERM);
	EXPECT(call(write_only, KVMGANG_SET_POLICY, &policy), ==, EPERM);
	EXPECT(reset(vm_id, ALL_KEYS), ==, EPERM);
	EXPECT(reset(DEFAULTS, ALL_KEYS), ==, EPERM);
	EXPECT(sysfs_write(vm_id, "shares", "9"), ==, EPERM);
	EXPECT(sysfs_write(DEFAULTS, "shares", "default"), ==, EPERM);
	EXPECT(write(opened, "9", 1), ==, -1);
	EXPECT(errno, ==, EPERM);
	/* Without it not even what is wrong is told. */
	policy.setting[KVMGANG_KEY_SHARES].value = 0;
	EXPECT(call(device, KVMGANG_SET_POLICY, &policy), ==, EPERM);
	EXPECT(policy.out_bad, ==, 0);
	expect_unchanged(&before, vm_id);
}

static void test_write_only(void)
{
	uint32_t vm_id = begin_with_guest();
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES),
		.setting[KVMGANG_KEY_SHARES].value = 9,
	};
	struct kvmgang_info info = { .size = sizeof(info) };
	int write_only = open_device(O_WRONLY);

	EXPECT(call(write_only, KVMGANG_SET_POLICY, &policy), ==, 0);
	expect_setting(vm_id, KVMGANG_KEY_SHARES, 9, KVMGANG_ORIGIN_USER);
	EXPECT(ioctl(write_only, KVMGANG_INFO, &info), ==, -1);
	EXPECT(errno, ==, EBADF);
}

static void test_death(void)
{
	struct kvmgang_policy policy = {};
	uint32_t first, second;
	char path[PATH_MAX];
	struct vm *vm;

	begin();
	first = start_guest(&vm);
	await_sysfs(first);
	EXPECT(set_one(first, KVMGANG_KEY_SHARES, 4321), ==, 0);
	EXPECT(set_one(first, KVMGANG_KEY_HOME_NODES, 1), ==, 0);
	vm_free(vm);
	policy.vm_id = first;
	EXPECT(call(device, KVMGANG_GET_POLICY, &policy), ==, ENOENT);
	EXPECT(set_one(first, KVMGANG_KEY_SHARES, 1), ==, ENOENT);
	sysfs_path(path, first, "shares");
	await(access(path, F_OK));

	second = start_guest(&vm);
	EXPECT(second, >, first);
	expect_builtin(second);
}

static void expect_file(uint32_t vm_id, const char *file, const char *expected)
{
	char text[256];

	sysfs_read(vm_id, file, text, sizeof(text));
	if (!EXPECT(strcmp(text, expected), ==, 0))
		tap_note("%s of VM %u: expected '%s', got '%s'", file, vm_id, expected, text);
}

/* By each door, what was set through the other. */
static void check_doors(uint32_t vm_id)
{
	static const struct {
		enum kvmgang_key key;
		const char *text;
		__u64 value;
	} same[] = {
		{ KVMGANG_KEY_SHARES, "1", 1 },
		{ KVMGANG_KEY_SHARES, "10000", 10000 },
		{ KVMGANG_KEY_GANG, "off", KVMGANG_GANG_OFF },
		{ KVMGANG_KEY_GANG, "relaxed", KVMGANG_GANG_RELAXED },
		{ KVMGANG_KEY_GANG, "strict", KVMGANG_GANG_STRICT },
		{ KVMGANG_KEY_GANG, "auto", KVMGANG_GANG_AUTO },
		{ KVMGANG_KEY_COSTOP_US, "1000000", 1000000 },
		{ KVMGANG_KEY_COSTART_US, "100", 100 },
		{ KVMGANG_KEY_HOME_NODES, "0", 1 },
		{ KVMGANG_KEY_HOME_NODES, "auto", 0 },
	};
	char origin[64], line[64];
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		const char *name = key_names[same[i].key];

		snprintf(origin, sizeof(origin), "%s_origin", name);
		snprintf(line, sizeof(line), "%s\n", same[i].text);
		EXPECT(set_one(vm_id, same[i].key, same[i].value), ==, 0);
		expect_file(vm_id, name, same[i].text);
		expect_file(vm_id, origin, "user");
		/* As echo writes it, and as a program may. */
		EXPECT(sysfs_write(vm_id, name, "default\n"), ==, 0);
		expect_file(vm_id, origin, "default");
		expect_setting(vm_id, same[i].key, builtin[same[i].key], KVMGANG_ORIGIN_DEFAULT);
		EXPECT(sysfs_write(vm_id, name, line), ==, 0);
		expect_setting(vm_id, same[i].key, same[i].value, KVMGANG_ORIGIN_USER);
		EXPECT(sysfs_write(vm_id, name, "default"), ==, 0);
		EXPECT(sysfs_write(vm_id, name, same[i].text), ==, 0);
		expect_setting(vm_id, same[i].key, same[i].value, KVMGANG_ORIGIN_USER);
		EXPECT(reset(vm_id, ALL_KEYS), ==, 0);
	}
}

static void test_doors(void)
{
	static const struct {
		const char *file, *text;
		int error;
	} bad[] = {
		{ "shares", "0", ERANGE }, { "shares", "10001\n", ERANGE },
		{ "shares", "-1", EINVAL }, { "shares", "0x10", EINVAL },
		{ "shares", "1 2", EINVAL }, { "shares", "many", EINVAL },
		{ "shares", "18446744073709551616", ERANGE }, { "shares", "\n", EINVAL },
		{ "gang", "on", EINVAL }, { "gang", "1", EINVAL }, { "gang", "autos", EINVAL },
		{ "costop_us", "99", ERANGE }, { "costart_us", "1000001", ERANGE },
		{ "costart_us", "3001", EINVAL }, { "costop_us", "1999", EINVAL },
		{ "home_nodes", "63", ERANGE }, { "home_nodes", "0,63", ERANGE },
		{ "home_nodes", "64", ERANGE }, { "home_nodes", "x", EINVAL },
		{ "home_nodes", "\n", EINVAL }, { "home_nodes", "1-0", EINVAL },
		{ "shares_origin", "user", EACCES },
	};
	uint32_t vm_id = begin_with_guest();
	struct before before;
	size_t i;

	await_sysfs(vm_id);
	check_doors(vm_id);
	check_doors(DEFAULTS);
	before = look(vm_id);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!EXPECT(sysfs_write(vm_id, bad[i].file, bad[i].text), ==, bad[i].error) ||
		    !EXPECT(sysfs_write(DEFAULTS, bad[i].file, bad[i].text), ==, bad[i].error))
			tap_note("'%s' to %s", bad[i].text, bad[i].file);
	}
	expect_unchanged(&before, vm_id);
}

static __u64 home_of(uint32_t vm_id)
{
	struct snap snap = {};
	__u64 home;

	REQUIRE(snap_read(&snap, vm_id), ==, true);
	home = snap.vms[0].home_nodes;
	snap_free(&snap);
	return home;
}

/* The vCPU spins alone on its pCPU: it need not leave it to be remote, or no more. */
static void expect_remote(uint32_t vm_id, bool remote)
{
	struct kvmgang_counters did;
	uint64_t elapsed;

	did = row_watch(vm_id, 0, 20, &elapsed);
	EXPECT(did.state_ns[KVMGANG_RUN], >, 0);
	EXPECT(did.run_remote_ns, ==, remote ? did.state_ns[KVMGANG_RUN] : 0);
}

static void test_home(void)
{
	int cpu = nth_cpu(nr_cpus() - 1), here = node_of(cpu), there = node_of(nth_cpu(0));
	struct vm *vm = vm_new(1), *later;
	uint32_t vm_id;

	if (here == there)
		tap_skip("needs two NUMA nodes");
	begin();
	pin_thread(0, nth_cpu(0));
	vm_pin(vm, cpu);
	vm_start(vm, guest_spin, 0);
	vm_id = vm_id_wait(vm);
	EXPECT(home_of(vm_id), ==, BIT(here));
	expect_remote(vm_id, false);

	EXPECT(set_one(vm_id, KVMGANG_KEY_HOME_NODES, BIT(there)), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(there));
	expect_remote(vm_id, true);
	EXPECT(set_one(vm_id, KVMGANG_KEY_HOME_NODES, BIT(here) | BIT(there)), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(here) | BIT(there));
	expect_remote(vm_id, false);

	/* By default, for old and new VMs; auto is a setting like any other. */
	EXPECT(reset(vm_id, ALL_KEYS), ==, 0);
	EXPECT(set_one(DEFAULTS, KVMGANG_KEY_HOME_NODES, BIT(there)), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(there));
	expect_remote(vm_id, true);
	later = vm_new(1);
	vm_pin(later, cpu);
	vm_start(later, guest_halt, 0);
	EXPECT(home_of(vm_id_wait(later)), ==, BIT(there));
	EXPECT(set_one(vm_id, KVMGANG_KEY_HOME_NODES, 0), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(here));
	expect_remote(vm_id, false);
	EXPECT(reset(DEFAULTS, ALL_KEYS), ==, 0);
	EXPECT(home_of(vm_id_wait(later)), ==, BIT(here));
}

/* Threads that go on until told to stop, and what they have met. */
struct racer {
	pthread_t thread;
	uint32_t vm_id;			/* that the thread is to look at; changes */
	int error;			/* the first that must not be */
	unsigned long rounds;
	bool stop;
};

static void racer_start(struct racer *racer, void *(*run)(void *racer))
{
	if (pthread_create(&racer->thread, NULL, run, racer))
		die("pthread_create");
	await(__atomic_load_n(&racer->rounds, __ATOMIC_RELAXED));
}

static void racer_stop(struct racer *racer)
{
	__atomic_store_n(&racer->stop, true, __ATOMIC_RELAXED);
	pthread_join(racer->thread, NULL);
	EXPECT(racer->rounds, >, 0);
	EXPECT(racer->error, ==, 0);
}

static bool racer_goes_on(struct racer *racer)
{
	__atomic_fetch_add(&racer->rounds, 1, __ATOMIC_RELAXED);
	return !__atomic_load_n(&racer->stop, __ATOMIC_RELAXED);
}

static void *set_pairs(void *arg)
{
	struct racer *racer = arg;
	bool high = false;

	while (racer_goes_on(racer)) {
		high = !high;
		racer->error = racer->error ?: set_skew(racer->vm_id, high ? 900000 : 300,
							high ? 900000 : 300);
	}
	return NULL;
}

static void test_all_at_once(void)
{
	uint32_t vm_id = begin_with_guest();
	struct racer by_default = { .vm_id = DEFAULTS }, by_vm = { .vm_id = vm_id };
	struct kvmgang_policy policy;
	int round, low = 0, high = 0;

	racer_start(&by_default, set_pairs);
	for (round = 0; round < effort(2000, 20000); round++) {
		/* First the VM has what the defaults have, then its own. */
		if (round == effort(1000, 10000))
			racer_start(&by_vm, set_pairs);
		policy = get(vm_id);
		EXPECT(policy.setting[KVMGANG_KEY_COSTOP_US].value, ==,
		       policy.setting[KVMGANG_KEY_COSTART_US].value);
		if (policy.setting[KVMGANG_KEY_COSTOP_US].value == 300)
			low++;
		else
			high++;
	}
	tap_note("%d reads of one, %d of the other pair", low, high);
	EXPECT(low, >, 0);
	EXPECT(high, >, 0);
	racer_stop(&by_default);
	racer_stop(&by_vm);
}

static void *set_by_ioctl(void *arg)
{
	struct racer *racer = arg;
	int error;

	while (racer_goes_on(racer)) {
		uint32_t vm_id = __atomic_load_n(&racer->vm_id, __ATOMIC_RELAXED);

		error = set_skew(vm_id, 5000, 4000);
		if (error && error != ENOENT)
			racer->error = racer->error ?: error;
		error = set_one(DEFAULTS, KVMGANG_KEY_HOME_NODES, racer->rounds & 1);
		racer->error = racer->error ?: error;
	}
	return NULL;
}

static void *set_by_file(void *arg)
{
	struct racer *racer = arg;
	int error;

	while (racer_goes_on(racer)) {
		error = sysfs_write(__atomic_load_n(&racer->vm_id, __ATOMIC_RELAXED), "home_nodes",
				    racer->rounds & 1 ? "0" : "default");
		if (error && error != ENOENT && error != ENODEV)
			racer->error = racer->error ?: error;
	}
	return NULL;
}

/* VMs die under the hands of those who set something of them. */
static void test_races(void)
{
	struct racer by_ioctl = { .vm_id = 1 }, by_file = { .vm_id = 1 };
	uint32_t vm_id;
	struct vm *vm;
	int round;

	begin();
	racer_start(&by_ioctl, set_by_ioctl);
	racer_start(&by_file, set_by_file);
	for (round = 0; round < effort(20, 200); round++) {
		vm_id = start_guest(&vm);
		__atomic_store_n(&by_ioctl.vm_id, vm_id, __ATOMIC_RELAXED);
		__atomic_store_n(&by_file.vm_id, vm_id, __ATOMIC_RELAXED);
		await(get(vm_id).setting[KVMGANG_KEY_COSTOP_US].out_origin == KVMGANG_ORIGIN_USER);
		vm_free(vm);
	}
	racer_stop(&by_ioctl);
	racer_stop(&by_file);
	REQUIRE(reset(DEFAULTS, ALL_KEYS), ==, 0);
	expect_builtin(start_guest(&vm));
}

static void *set_default_home(void *arg)
{
	struct racer *racer = arg;
	bool first = false;

	while (racer_goes_on(racer)) {
		first = !first;
		racer->error = racer->error ?:
			       set_one(DEFAULTS, KVMGANG_KEY_HOME_NODES,
				       BIT(node_of(nth_cpu(first ? 0 : nr_cpus() - 1))));
	}
	return NULL;
}

/* A default that changes while VMs are born is missed by none of them. */
static void test_births(void)
{
	struct racer racer = {};
	uint32_t vm_ids[16];
	struct vm *vm;
	__u64 home;
	int i;

	if (node_of(nth_cpu(0)) == node_of(nth_cpu(nr_cpus() - 1)))
		tap_skip("needs two NUMA nodes");
	begin();
	racer_start(&racer, set_default_home);
	for (i = 0; i < 16; i++)
		vm_ids[i] = start_guest(&vm);
	racer_stop(&racer);
	home = get(DEFAULTS).setting[KVMGANG_KEY_HOME_NODES].value;
	for (i = 0; i < 16; i++)
		EXPECT(home_of(vm_ids[i]), ==, home);
	tap_note("%lu changes", racer.rounds);
}

/* The VM is another one for the module that comes next. */
static void test_reload(void)
{
	uint32_t vm_id;
	struct vm *vm;

	begin();
	vm = vm_new(1);
	vm_start(vm, guest_halt, 2 * NSEC_PER_MSEC);
	vm_id = vm_id_wait(vm);
	EXPECT(set_one(DEFAULTS, KVMGANG_KEY_SHARES, 17), ==, 0);
	EXPECT(set_one(vm_id, KVMGANG_KEY_COSTOP_US, 4000), ==, 0);
	close(device);
	REQUIRE(module_unload(), ==, 0);
	REQUIRE(module_load(), ==, 0);
	device = open_device(O_RDWR);
	expect_builtin(DEFAULTS);
	expect_builtin(vm_id_wait(vm));
}

TAP_MAIN(
	{ "a new VM has the defaults", test_new },
	{ "set and reset, of a VM and of the defaults", test_set },
	{ "defaults are for VMs that have no setting of their own", test_inheritance },
	{ "what is refused changes nothing", test_refused },
	{ "bad arguments", test_struct },
	{ "co-start is never above co-stop", test_contradictions },
	{ "the generation grows with every change", test_generation },
	{ "who may not change anything does not", test_privilege },
	{ "who may only write cannot read", test_write_only },
	{ "settings go with the VM", test_death },
	{ "files and ioctls agree", test_doors },
	{ "home nodes count at once", test_home },
	{ "several keys change at once", test_all_at_once },
	{ "VMs die while they are set", test_races },
	{ "VMs are born while defaults change", test_births },
	{ "settings go with the module", test_reload },
)
