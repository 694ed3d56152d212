// SPDX-License-Identifier: GPL-2.0
/*
 * Contracts 2 and 3: settings come through the device and through files, which agree in what they
 * take and tell; and only from those who may.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host.h"
#include "policy.h"
#include "tap.h"

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

static void test_privilege(void)
{
	uint32_t vm_id = policy_begin_with_guest();
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES),
		.setting[KVMGANG_KEY_SHARES].value = 9,
	}, unset = { .vm_id = vm_id };
	int read_only = policy_open(O_RDONLY), write_only = policy_open(O_WRONLY);
	struct policies before = policy_look(vm_id);
	char path[PATH_MAX];
	int opened;

	policy_await_files(vm_id);
	EXPECT(policy_call(read_only, KVMGANG_SET_POLICY, &policy), ==, EBADF);
	expect_unchanged(&before, vm_id);
	EXPECT(policy_call(read_only, KVMGANG_GET_POLICY, &unset), ==, 0);
	EXPECT(policy_call(write_only, KVMGANG_GET_POLICY, &unset), ==, EBADF);

	policy_path(path, vm_id, "shares");
	opened = open(path, O_WRONLY | O_CLOEXEC);
	if (opened < 0)
		die("%s: %m", path);
	/* What counts is who calls, and not who opened. */
	drop_cap_sys_nice();
	EXPECT(policy_call(policy_device, KVMGANG_SET_POLICY, &policy), ==, EPERM);
	EXPECT(policy_call(write_only, KVMGANG_SET_POLICY, &policy), ==, EPERM);
	EXPECT(policy_reset(vm_id, ALL_KEYS), ==, EPERM);
	EXPECT(policy_reset(DEFAULTS, ALL_KEYS), ==, EPERM);
	EXPECT(policy_write(vm_id, "shares", "9"), ==, EPERM);
	EXPECT(policy_write(DEFAULTS, "shares", "default"), ==, EPERM);
	EXPECT(write(opened, "9", 1), ==, -1);
	EXPECT(errno, ==, EPERM);
	/* Without it not even what is wrong is told. */
	policy.setting[KVMGANG_KEY_SHARES].value = 0;
	EXPECT(policy_call(policy_device, KVMGANG_SET_POLICY, &policy), ==, EPERM);
	EXPECT(policy.out_bad, ==, 0);
	expect_unchanged(&before, vm_id);
}

static void test_write_only(void)
{
	uint32_t vm_id = policy_begin_with_guest();
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES),
		.setting[KVMGANG_KEY_SHARES].value = 9,
	};
	struct kvmgang_info info = { .size = sizeof(info) };
	int write_only = policy_open(O_WRONLY);

	EXPECT(policy_call(write_only, KVMGANG_SET_POLICY, &policy), ==, 0);
	expect_setting(vm_id, KVMGANG_KEY_SHARES, 9, KVMGANG_ORIGIN_USER);
	EXPECT(ioctl(write_only, KVMGANG_INFO, &info), ==, -1);
	EXPECT(errno, ==, EBADF);
}

static void sysfs_read(uint32_t vm_id, const char *file, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t length = -1;
	int fd;

	policy_path(path, vm_id, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, text, size - 1);
		close(fd);
	}
	if (length < 1 || text[length - 1] != '\n')
		die("%s: %m", path);
	text[length - 1] = '\0';
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
		{ KVMGANG_KEY_LIMIT, "0", 0 },
		{ KVMGANG_KEY_LIMIT, "1024000", KVMGANG_MILLI_PCPU_MAX },
		{ KVMGANG_KEY_RESERVATION, "1000", 1000 },
		{ KVMGANG_KEY_LATENCY, "normal", KVMGANG_LATENCY_NORMAL },
		{ KVMGANG_KEY_LATENCY, "sensitive", KVMGANG_LATENCY_SENSITIVE },
		{ KVMGANG_KEY_READY_TARGET, "50", 50 },
		{ KVMGANG_KEY_ISOLATION, "none", KVMGANG_ISOLATION_NONE },
		{ KVMGANG_KEY_ISOLATION, "core", KVMGANG_ISOLATION_CORE },
	};
	char origin[64], line[64];
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		const char *name = policy_key_names[same[i].key];

		snprintf(origin, sizeof(origin), "%s_origin", name);
		snprintf(line, sizeof(line), "%s\n", same[i].text);
		EXPECT(policy_set_one(vm_id, same[i].key, same[i].value), ==, 0);
		expect_file(vm_id, name, same[i].text);
		expect_file(vm_id, origin, "user");
		/* As echo writes it, and as a program may. */
		EXPECT(policy_write(vm_id, name, "default\n"), ==, 0);
		expect_file(vm_id, origin, "default");
		expect_setting(vm_id, same[i].key, policy_builtin[same[i].key],
			       KVMGANG_ORIGIN_DEFAULT);
		EXPECT(policy_write(vm_id, name, line), ==, 0);
		expect_setting(vm_id, same[i].key, same[i].value, KVMGANG_ORIGIN_USER);
		EXPECT(policy_write(vm_id, name, "default"), ==, 0);
		EXPECT(policy_write(vm_id, name, same[i].text), ==, 0);
		expect_setting(vm_id, same[i].key, same[i].value, KVMGANG_ORIGIN_USER);
		EXPECT(policy_reset(vm_id, ALL_KEYS), ==, 0);
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
		{ "limit", "1024001", ERANGE }, { "limit", "none", EINVAL },
		{ "reservation", "1024001", ERANGE }, { "reservation", "0.5", EINVAL },
		{ "latency", "high", EINVAL }, { "latency", "1", EINVAL },
		{ "ready_target", "1001", ERANGE }, { "ready_target", "5%", EINVAL },
		{ "isolation", "thread", EINVAL }, { "isolation", "1", EINVAL },
		{ "shares_origin", "user", EACCES },
	};
	uint32_t vm_id = policy_begin_with_guest();
	struct policies before;
	size_t i;

	policy_await_files(vm_id);
	check_doors(vm_id);
	check_doors(DEFAULTS);
	before = policy_look(vm_id);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!EXPECT(policy_write(vm_id, bad[i].file, bad[i].text), ==, bad[i].error) ||
		    !EXPECT(policy_write(DEFAULTS, bad[i].file, bad[i].text), ==, bad[i].error))
			tap_note("'%s' to %s", bad[i].text, bad[i].file);
	}
	expect_unchanged(&before, vm_id);
}

TAP_MAIN(
	{ "who may not change anything does not", test_privilege },
	{ "who may only write cannot read", test_write_only },
	{ "files and ioctls agree", test_doors },
)
