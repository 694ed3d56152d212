# shellcheck shell=bash disable=SC2154
# The root file system that serves two ends: a chroot to build in, and what the lab host boots from.
# It stays as it was built: enter.sh shows it through an overlay, the lab host mounts it read-only.

rootfs_path() {
	local key
	key=$(cat "$lab_dir/rootfs.sh" "$index"/{packages,versions} 2>/dev/null | sha256sum)
	echo "$cache/rootfs-${key:0:16}"
}

# What is in a kernel image: booting it uncompressed saves the emulated CPU the decompression.
# Offsets are those of the boot protocol's header (Documentation/arch/x86/boot.rst).
extract_vmlinux() {
	local root=$1 image=$2 setup_sectors payload_offset payload_length

	setup_sectors=$(od -An -tu1 -j $((0x1f1)) -N1 "$image")
	payload_offset=$(od -An -tu4 -j $((0x248)) -N4 "$image")
	payload_length=$(od -An -tu4 -j $((0x24c)) -N4 "$image")
	# The last four bytes of the payload are its length and not zstd's.
	dd if="$image" bs=1M iflag=skip_bytes,count_bytes status=none \
		skip=$(((setup_sectors + 1) * 512 + payload_offset)) count=$((payload_length - 4)) |
		chroot "$root" zstd -dcq
}

# What every boot needs of a kernel, ready for use: its modules unpacked and in the order of
# loading.
prepare_kernel() {
	local root=$1 series=$2 release to module path number=10

	release=$(index_kernel "$series")
	to=$root/opt/kernel/$series
	mkdir -p "$to/modules"
	extract_vmlinux "$root" "$(echo "$root/usr/lib/modules/$release"/vmlinuz*)" >"$to/vmlinux"
	for module in 9p 9pnet_virtio kvm_amd; do
		while read -r _ path _; do
			[ -z "$(compgen -G "$to/modules/*-$(basename "$path" .xz)")" ] || continue
			chroot "$root" xz -dc "$path" >"$to/modules/$number-$(basename "$path" .xz)"
			number=$((number + 1))
		done < <(chroot "$root" modprobe -S "$release" --show-depends "$module")
	done
}

rootfs_build() {
	local path partial sources=() started=$SECONDS packages series

	path=$(rootfs_path)
	partial=$path.partial
	mapfile -t sources < <(sources)
	packages=$(paste -sd, "$index/packages")
	say "building the rootfs from $(mirror) (2 minutes)"
	mmdebstrap --quiet --variant=apt --keyring="$keyring" \
		--aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--include="$packages" "$suite" "$partial" "${sources[@]}"
	for series in 7.2 7.3; do
		prepare_kernel "$partial" "$series"
	done
	mkdir -p "$partial"/src "$partial"/opt/qemu
	touch "$partial/.complete"
	mv "$partial" "$path"
	say "rootfs built in $((SECONDS - started)) s"
}
