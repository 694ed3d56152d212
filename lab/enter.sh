# shellcheck shell=bash disable=SC2154
# Runs commands in the rootfs, not booted, in a mount namespace of their own: the checkout at /src,
# the lab's QEMU at /opt/qemu, Linux' KVM selftests at /opt/kvm-selftests. All else that they write goes to a tmpfs and is gone with them.
#
# This is no sandbox: the commands are root and share the host's network and processes.

enter() {
	local rootfs qemu upstream

	rootfs=$(rootfs_path)
	qemu=$(qemu_path)
	upstream=$(upstream_path)
	if [ ! -e "$rootfs/.complete" ] || [ ! -e "$qemu/.complete" ]; then
		die "the lab is not set up, or its recipe changed: run lab/lab setup"
	fi
	# shellcheck disable=SC2016
	unshare --mount --propagation private bash -euc '
		rootfs=$1 qemu=$2 upstream=$3 checkout=$4
		shift 4
		mount -t tmpfs -o mode=755 lab /mnt
		mkdir /mnt/upper /mnt/work /mnt/root
		mount -t overlay -o "lowerdir=$rootfs,upperdir=/mnt/upper,workdir=/mnt/work" lab /mnt/root
		mount --rbind /dev /mnt/root/dev
		mount -t proc proc /mnt/root/proc
		mount -t tmpfs -o mode=1777 tmp /mnt/root/tmp
		mkdir -p /mnt/root/opt/kvm-selftests
		mount --bind "$qemu" /mnt/root/opt/qemu
		# They are built in here, so they may not be there yet.
		if [ -e "$upstream" ]; then
			mount --bind "$upstream" /mnt/root/opt/kvm-selftests
		fi
		mount --bind "$checkout" /mnt/root/src
		exec env -i HOME=/root LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			chroot /mnt/root sh -c "cd /src && exec \"\$@\"" sh "$@"
	' enter "$rootfs" "$qemu" "$upstream" "$checkout" "$@"
}
