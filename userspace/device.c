// SPDX-License-Identifier: GPL-2.0
/*
 * The door to the module. Whatever goes wrong here ends the command with one line on stderr, for no
 * command has anything to show without the device. It does not interpret what it reads.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "command.h"
#include "device.h"
#include "interval.h"

/*
 * A newer module serves this command by the size rule of the uapi header; an older one may lack
 * what the command shows.
 */
static void check_abi(int fd)
{
	struct kvmgang_info info;

	device_info(fd, &info);
	if (info.out_abi < KVMGANG_ABI)
		errx(STATUS_FAILED, "%s: ABI of the module is %u: must be %u or later",
		     KVMGANG_DEVICE, info.out_abi, KVMGANG_ABI);
}

static int open_to(int access)
{
	int fd = open(KVMGANG_DEVICE, access | O_CLOEXEC);

	if (fd < 0) {
		switch (errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			errx(STATUS_FAILED, "%s: module kvmgang is not loaded (insmod kvmgang.ko)",
			     KVMGANG_DEVICE);
		case EACCES:
		case EPERM:
			errx(STATUS_FAILED, "%s: permission denied (root, or who may %s it)",
			     KVMGANG_DEVICE, access == O_RDONLY ? "read" : "write");
		default:
			err(STATUS_FAILED, "%s", KVMGANG_DEVICE);
		}
	}
	check_abi(fd);
	return fd;
}

int device_open(void)
{
	return open_to(O_RDONLY);
}

int device_open_to_change(void)
{
	return open_to(O_RDWR);
}

void device_info(int fd, struct kvmgang_info *info)
{
	*info = (struct kvmgang_info){ .size = sizeof(*info) };
	if (!ioctl(fd, KVMGANG_INFO, info))
		return;
	if (errno == ENOTTY || errno == EINVAL || errno == E2BIG)
		errx(STATUS_FAILED, "%s: module and command do not fit: ABI must be %u or later",
		     KVMGANG_DEVICE, KVMGANG_ABI);
	err(STATUS_FAILED, "%s: KVMGANG_INFO", KVMGANG_DEVICE);
}

/* Makes room for the needed rows and for an eighth more, that may be born before the next try. */
static void *grow(void *rows, __u32 *room, __u32 needed, size_t row_size)
{
	if (needed <= *room)
		return rows;
	*room = needed + needed / 8 + 1;
	rows = reallocarray(rows, *room, row_size);
	if (!rows)
		err(STATUS_FAILED, "snapshot of %u rows", *room);
	return rows;
}

void device_snapshot(int fd, struct snapshot *snapshot)
{
	for (;;) {
		struct kvmgang_snapshot arg = {
			.size = sizeof(arg),
			.vm_row_size = sizeof(*snapshot->vms),
			.vcpu_row_size = sizeof(*snapshot->vcpus),
			.nr_vms = snapshot->room_vms,
			.nr_vcpus = snapshot->room_vcpus,
			.vms = (uintptr_t)snapshot->vms,
			.vcpus = (uintptr_t)snapshot->vcpus,
		};

		if (!ioctl(fd, KVMGANG_SNAPSHOT, &arg)) {
			snapshot->nr_vms = arg.nr_vms;
			snapshot->nr_vcpus = arg.nr_vcpus;
			snapshot->taken_ns = arg.out_end_ns;
			snapshot_sort(snapshot);
			return;
		}
		if (errno != ENOSPC)
			err(STATUS_FAILED, "%s: KVMGANG_SNAPSHOT", KVMGANG_DEVICE);
		snapshot->vms = grow(snapshot->vms, &snapshot->room_vms, arg.nr_vms,
				     sizeof(*snapshot->vms));
		snapshot->vcpus = grow(snapshot->vcpus, &snapshot->room_vcpus, arg.nr_vcpus,
				       sizeof(*snapshot->vcpus));
	}
}

/* Returns false if there is no such VM. */
bool device_get_policy(int fd, __u32 vm_id, struct kvmgang_policy *policy)
{
	*policy = (struct kvmgang_policy){ .size = sizeof(*policy), .vm_id = vm_id };
	if (!ioctl(fd, KVMGANG_GET_POLICY, policy))
		return true;
	if (errno != ENOENT)
		err(STATUS_FAILED, "%s: KVMGANG_GET_POLICY", KVMGANG_DEVICE);
	return false;
}

/* Returns 0 or an errno; whoever asked for the settings can best say what is wrong with them. */
int device_set_policy(int fd, struct kvmgang_policy *policy)
{
	policy->size = sizeof(*policy);
	return ioctl(fd, KVMGANG_SET_POLICY, policy) ? errno : 0;
}

void snapshot_free(struct snapshot *snapshot)
{
	free(snapshot->vms);
	free(snapshot->vcpus);
}
