// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 3: every wrong call to /dev/kvmgang has its errno and changes nothing, and who has no
 * permission learns nothing. What the rows mean is the other tests' matter.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define ROOM		64		/* rows, more than there are */
#define NOBODY		65534
#define UNUSED		0x5a		/* what a buffer holds where nothing may be written */

static int device;

static int call(unsigned int cmd, void *arg)
{
	return ioctl(device, cmd, arg) ? errno : 0;
}

/* A longer struct, as a caller of a later ABI would have it. */
struct long_info {
	struct kvmgang_info info;
	__u64 unknown[4];
};

/* The whole argument, to see afterwards that a failed call left it alone. */
static void expect_refused(unsigned int cmd, void *arg, size_t size, int expected)
{
	char before[1024];

	memcpy(before, arg, size);
	EXPECT(call(cmd, arg), ==, expected);
	EXPECT(memcmp(before, arg, size), ==, 0);
}

/* These tests count rows, so what the last one left has to go first. */
static struct vm *open_with_guest(void)
{
	struct kvmgang_info info;
	struct vm *vm;

	await((kvmgang_info(&info), info.out_nr_vms == 0));
	vm = vm_new(2);
	vm_start(vm, guest_halt, 0);
	vm_id_wait(vm);
	await(vm_id_of(vm) && row_read(vm_id_of(vm), 1).tid == vm->vcpus[1].tid);
	device = kvmgang_open();
	return vm;
}

static void test_info(void)
{
	struct kvmgang_info info = { .size = sizeof(info) };

	open_with_guest();
	EXPECT(call(KVMGANG_INFO, &info), ==, 0);
	EXPECT(info.size, ==, sizeof(info));
	EXPECT(info.out_abi, ==, KVMGANG_ABI);
	EXPECT(info.out_kfunc_abi, >, 0);
	EXPECT(info.out_nr_vms, ==, 1);
	EXPECT(info.out_nr_vcpus, ==, 2);
	EXPECT(info.out_vcpu_bytes, >, 0);
	EXPECT(info.out_max_vms, >=, 4096);
	EXPECT(info.out_max_vcpus, >=, 16384);
	EXPECT(info.out_reserved, ==, 0);
	EXPECT(info.out_read_lag_ns, <=, 10 * NSEC_PER_MSEC);
	EXPECT(info.out_refused, ==, 0);
}

static void test_sizes(void)
{
	const size_t least = offsetof(struct kvmgang_info, out_refused) + sizeof(__u64);
	struct long_info info = { .info.size = sizeof(info) };
	size_t huge_size = 1 << 20;
	char *huge;

	device = kvmgang_open();
	EXPECT(call(KVMGANG_INFO, &info), ==, 0);
	EXPECT(info.info.size, ==, sizeof(info));
	EXPECT(info.info.out_abi, ==, KVMGANG_ABI);
	EXPECT(info.unknown[0], ==, 0);

	info.unknown[3] = 1;
	expect_refused(KVMGANG_INFO, &info, sizeof(info), E2BIG);
	info.unknown[3] = 0;
	info.info.size = 0;
	expect_refused(KVMGANG_INFO, &info, sizeof(info), EINVAL);
	/* What ABI 1 began with is enough, and no more is written. */
	info.info.size = least - 1;
	expect_refused(KVMGANG_INFO, &info, sizeof(info), EINVAL);
	info.info.size = least - 8;
	expect_refused(KVMGANG_INFO, &info, sizeof(info), EINVAL);
	info.info.size = least;
	info.info.out_forced_idle_ns = ~0ULL;
	EXPECT(call(KVMGANG_INFO, &info), ==, 0);
	EXPECT(info.info.out_forced_idle_ns, ==, ~0ULL);

	huge = mmap(NULL, huge_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(huge != MAP_FAILED, ==, true);
	*(__u32 *)huge = huge_size;
	huge[huge_size - 1] = 1;
	EXPECT(call(KVMGANG_INFO, huge), ==, E2BIG);
}

static void test_pointers(void)
{
	struct long_info info = { .info.size = sizeof(info.info) };
	struct kvmgang_info *fixed;

	device = kvmgang_open();
	EXPECT(call(KVMGANG_INFO, NULL), ==, EFAULT);
	EXPECT(call(KVMGANG_INFO, (void *)8), ==, EFAULT);
	/* An address of the kernel's half. */
	EXPECT(call(KVMGANG_INFO, (void *)0xffff888000000000UL), ==, EFAULT);
	/* Shifted by 4, so that a size is found there if somebody looks. */
	*(__u32 *)((char *)&info + 4) = sizeof(info.info);
	EXPECT(call(KVMGANG_INFO, (char *)&info + 4), ==, EINVAL);

	fixed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(fixed != MAP_FAILED, ==, true);
	fixed->size = sizeof(*fixed);
	REQUIRE(mprotect(fixed, 4096, PROT_READ), ==, 0);
	expect_refused(KVMGANG_INFO, fixed, sizeof(*fixed), EFAULT);
}

static void test_unknown(void)
{
	struct kvmgang_info info = { .size = sizeof(info), .flags = 1 };
	struct kvmgang_lookup lookup = { .size = sizeof(lookup), .flags = 1u << 31 };
	unsigned int nr;

	device = kvmgang_open();
	expect_refused(KVMGANG_INFO, &info, sizeof(info), EINVAL);
	lookup.tid = getpid();
	expect_refused(KVMGANG_LOOKUP, &lookup, sizeof(lookup), EINVAL);

	info.flags = 0;
	for (nr = 0x80; nr < 0x100; nr++)
		expect_refused(_IO(KVMGANG_IOCTL_TYPE, nr), &info, sizeof(info), ENOTTY);
	/* The number of a known one, of another direction or type. */
	expect_refused(_IOR(KVMGANG_IOCTL_TYPE, 0, struct kvmgang_info), &info, sizeof(info),
		       ENOTTY);
	expect_refused(_IO(KVMGANG_IOCTL_TYPE + 1, 0), &info, sizeof(info), ENOTTY);
}

/* Buffers of the largest rows that these tests ask for. */
static __u64 vm_buffer[ROOM * 256], vcpu_buffer[ROOM * 256];

static struct kvmgang_snapshot snapshot_request(void)
{
	memset(vm_buffer, UNUSED, sizeof(vm_buffer));
	memset(vcpu_buffer, UNUSED, sizeof(vcpu_buffer));
	return (struct kvmgang_snapshot){
		.size = sizeof(struct kvmgang_snapshot),
		.vm_row_size = sizeof(struct kvmgang_vm_row),
		.vcpu_row_size = sizeof(struct kvmgang_vcpu_row),
		.nr_vms = ROOM,
		.nr_vcpus = ROOM,
		.vms = (uintptr_t)vm_buffer,
		.vcpus = (uintptr_t)vcpu_buffer,
	};
}

static bool untouched(const void *buffer, size_t from, size_t to)
{
	const char *bytes = buffer;

	for (; from < to; from++) {
		if (bytes[from] != UNUSED)
			return false;
	}
	return true;
}

static void expect_rows_untouched(void)
{
	EXPECT(untouched(vm_buffer, 0, sizeof(vm_buffer)), ==, true);
	EXPECT(untouched(vcpu_buffer, 0, sizeof(vcpu_buffer)), ==, true);
}

static void refuse_snapshot(struct kvmgang_snapshot *request, int expected)
{
	expect_refused(KVMGANG_SNAPSHOT, request, sizeof(*request), expected);
	expect_rows_untouched();
	*request = snapshot_request();
}

static void test_bad_snapshots(void)
{
	struct kvmgang_snapshot request;

	open_with_guest();
	request = snapshot_request();
	request.flags = 1;
	refuse_snapshot(&request, EINVAL);
	request.reserved = 1;
	refuse_snapshot(&request, EINVAL);
	request.vm_row_size = 0;
	refuse_snapshot(&request, EINVAL);
	request.vcpu_row_size = 0;
	refuse_snapshot(&request, EINVAL);
	request.vm_row_size -= 4;
	refuse_snapshot(&request, EINVAL);
	request.vcpu_row_size += 1;
	refuse_snapshot(&request, EINVAL);
	request.vms += 4;
	refuse_snapshot(&request, EINVAL);
	request.vcpus += 1;
	refuse_snapshot(&request, EINVAL);
	request.vm_id = 0xffffffff;
	refuse_snapshot(&request, ENOENT);
	request.size -= 8;
	refuse_snapshot(&request, EINVAL);

	request.vms = 0;
	expect_refused(KVMGANG_SNAPSHOT, &request, sizeof(request), EFAULT);
	request = snapshot_request();
	request.vcpus = 0xffff888000000000UL;
	expect_refused(KVMGANG_SNAPSHOT, &request, sizeof(request), EFAULT);
}

static void test_small_buffers(void)
{
	struct kvmgang_snapshot request;
	int missing;

	open_with_guest();
	for (missing = 1; missing <= 3; missing++) {
		request = snapshot_request();
		request.nr_vms = missing & 1 ? 0 : 1;
		request.nr_vcpus = missing & 2 ? 1 : 2;
		EXPECT(call(KVMGANG_SNAPSHOT, &request), ==, ENOSPC);
		EXPECT(request.nr_vms, ==, 1);
		EXPECT(request.nr_vcpus, ==, 2);
		expect_rows_untouched();
	}
	/* To ask how much is needed takes no buffer. */
	request = snapshot_request();
	request.nr_vms = 0;
	request.nr_vcpus = 0;
	request.vms = 0;
	request.vcpus = 0;
	EXPECT(call(KVMGANG_SNAPSHOT, &request), ==, ENOSPC);
	EXPECT(request.nr_vms, ==, 1);
	EXPECT(request.nr_vcpus, ==, 2);
	/* And what was said is enough. */
	request.vms = (uintptr_t)vm_buffer;
	request.vcpus = (uintptr_t)vcpu_buffer;
	EXPECT(call(KVMGANG_SNAPSHOT, &request), ==, 0);
	EXPECT(untouched(vcpu_buffer, 2 * sizeof(struct kvmgang_vcpu_row), sizeof(vcpu_buffer)), ==,
	       true);
}

/*
 * Rows of an older caller are cut, a newer one's filled up, and no byte beyond is written. Which
 * vCPU comes first is which first entered the guest.
 */
static void test_row_sizes(void)
{
	struct kvmgang_snapshot request;
	const size_t more = sizeof(struct kvmgang_vcpu_row) + 64, less = 24;
	const struct kvmgang_vcpu_row *row;
	const unsigned char *bytes = (unsigned char *)vcpu_buffer;
	uint32_t vm_id, vcpu_ids[2];
	size_t i, j;

	vm_id = vm_id_of(open_with_guest());
	request = snapshot_request();
	request.vcpu_row_size = more;
	request.vm_row_size = sizeof(struct kvmgang_vm_row) + 8;
	EXPECT(call(KVMGANG_SNAPSHOT, &request), ==, 0);
	for (i = 0; i < 2; i++) {
		row = (void *)(bytes + i * more);
		EXPECT(row->vm_id, ==, vm_id);
		vcpu_ids[i] = row->vcpu_id;
		row_check(row);
		for (j = sizeof(*row); j < more; j++)
			EXPECT(bytes[i * more + j], ==, 0);
	}
	EXPECT(vcpu_ids[0], <=, 1);
	EXPECT(vcpu_ids[1], ==, !vcpu_ids[0]);
	EXPECT(vm_buffer[request.vm_row_size / 8 - 1], ==, 0);
	EXPECT(untouched(vcpu_buffer, 2 * more, sizeof(vcpu_buffer)), ==, true);

	request = snapshot_request();
	request.vcpu_row_size = less;
	request.vm_row_size = 8;
	EXPECT(call(KVMGANG_SNAPSHOT, &request), ==, 0);
	for (i = 0; i < 2; i++) {
		row = (void *)(bytes + i * less);
		EXPECT(row->vm_id, ==, vm_id);
		EXPECT(row->vcpu_id, ==, vcpu_ids[i]);
	}
	EXPECT(untouched(vcpu_buffer, 2 * less, sizeof(vcpu_buffer)), ==, true);
	EXPECT(untouched(vm_buffer, 8, sizeof(vm_buffer)), ==, true);
}

static void test_lookup(void)
{
	struct kvmgang_lookup lookup = { .size = sizeof(lookup) };
	struct vm *vm = open_with_guest();
	int i;

	for (i = 0; i < 2; i++) {
		lookup.tid = vm->vcpus[i].tid;
		EXPECT(call(KVMGANG_LOOKUP, &lookup), ==, 0);
		EXPECT(lookup.out_vm_id, ==, vm_id_of(vm));
		EXPECT(lookup.out_vcpu_id, ==, i);
	}
	lookup = (struct kvmgang_lookup){ .size = sizeof(lookup), .tid = getpid() };
	expect_refused(KVMGANG_LOOKUP, &lookup, sizeof(lookup), ENOENT);
	lookup.tid = 0;
	expect_refused(KVMGANG_LOOKUP, &lookup, sizeof(lookup), ENOENT);
	lookup.tid = -1;
	expect_refused(KVMGANG_LOOKUP, &lookup, sizeof(lookup), ENOENT);
	lookup.tid = 0x7fffffff;
	expect_refused(KVMGANG_LOOKUP, &lookup, sizeof(lookup), ENOENT);
}

static int nr_files;

static int expect_unreadable(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	int fd;

	(void)stat;
	(void)ftw;
	if (type != FTW_F)
		return 0;
	nr_files++;
	fd = open(path, O_RDONLY);
	if (fd >= 0)
		tap_note("nobody may read %s", path);
	EXPECT(fd < 0 ? errno : 0, ==, EACCES);
	return 0;
}

static void become_nobody(void)
{
	REQUIRE(setgroups(0, NULL), ==, 0);
	REQUIRE(setresgid(NOBODY, NOBODY, NOBODY), ==, 0);
	REQUIRE(setresuid(NOBODY, NOBODY, NOBODY), ==, 0);
}

static void test_device_of_nobody(void)
{
	open_with_guest();
	become_nobody();
	EXPECT(open(KVMGANG_DEVICE, O_RDONLY), ==, -1);
	EXPECT(errno, ==, EACCES);
	EXPECT(open(KVMGANG_DEVICE, O_RDWR), ==, -1);
	EXPECT(errno, ==, EACCES);
}

static void test_sysfs_of_nobody(void)
{
	open_with_guest();
	if (access("/sys/kernel/kvmgang", F_OK))
		tap_skip("the module has no directory in sysfs");
	become_nobody();
	REQUIRE(nftw("/sys/kernel/kvmgang", expect_unreadable, 16, FTW_PHYS), ==, 0);
	tap_note("%d files", nr_files);
}

TAP_MAIN(
	{ "INFO tells what there is", test_info },
	{ "structs of other sizes", test_sizes },
	{ "bad pointers", test_pointers },
	{ "unknown flags and ioctls", test_unknown },
	{ "bad snapshot requests", test_bad_snapshots },
	{ "too small buffers", test_small_buffers },
	{ "rows of other sizes", test_row_sizes },
	{ "LOOKUP finds vCPU threads and no others", test_lookup },
	{ "nobody may not open the device", test_device_of_nobody },
	{ "nobody may not read sysfs", test_sysfs_of_nobody },
)
