# shellcheck shell=bash disable=SC2154
# Runs commands in the rootfs, not booted, in a mount namespace of their own: the checkout at /src,
# the lab's QEMU at /opt/qemu, the lab's own kernels beside Debian's, what it uses of Linux' source at
# /opt/upstream. All else that they write goes to a tmpfs and is gone with them.
#
# This is no sandbox: the commands are root and share the host's network and processes.

# enter_with [DIRECTORY:MOUNT_POINT]... -- COMMAND...: beginning in /src. What is mounted can be
# written to. $layers: directories that lie over the rootfs, each with a colon after it.
enter_with() {
	# shellcheck disable=SC2016
	unshare --mount --propagation private bash -euc '
		lower=$1
		shift
		mount -t tmpfs -o mode=755 lab /mnt
		mkdir /mnt/upper /mnt/work /mnt/root
		mount -t overlay -o "lowerdir=$lower,upperdir=/mnt/upper,workdir=/mnt/work" lab /mnt/root
		mount --rbind /dev /mnt/root/dev
		mount -t proc proc /mnt/root/proc
		mount -t tmpfs -o mode=1777 tmp /mnt/root/tmp
		while [ "$1" != -- ]; do
			mkdir -p "/mnt/root${1##*:}"
			mount --bind "${1%:*}" "/mnt/root${1##*:}"
			shift
		done
		shift
		exec env -i HOME=/root LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			chroot /mnt/root sh -c "cd /src && exec \"\$@\"" sh "$@"
	' enter "${layers:-}$(rootfs_path)" "$@"
}

enter() {
	local layers='' name path mounts

	for path in "$(rootfs_path)" "$(qemu_path)"; do
		[ -e "$path/.complete" ] || die "the lab is not set up, or its recipe changed: run lab/lab setup"
	done
	for name in $(kernels_built); do
		layers+=$(kernel_path "$name"):
	done
	mounts=("$(qemu_path):/opt/qemu" "$checkout:/src")
	# They are built in here, so they may not be there yet.
	path=$(upstream_path)
	[ ! -e "$path" ] || mounts+=("$path:/opt/upstream")
	enter_with "${mounts[@]}" -- "$@"
}
