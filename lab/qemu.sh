# shellcheck shell=bash disable=SC2154
# The lab's own QEMU: Debian's source with the patches of qemu-patches/, each of which says why it
# is there. One binary serves twice: outside as the emulator of the lab host, inside as the VMM of
# test guests.
#
# It is built in a chroot of its own that is thrown away; only the binary is kept.

qemu_build_packages=(
	build-essential dpkg-dev meson ninja-build pkgconf python3-venv flex bison
	libglib2.0-dev libfdt-dev libattr1-dev libcap-ng-dev
)

qemu_path() {
	local key
	key=$(cat "$lab_dir/qemu.sh" "$lab_dir"/qemu-patches/* "$index/qemu" 2>/dev/null | sha256sum)
	echo "$cache/qemu-${key:0:16}"
}

qemu_build() {
	local path work started=$SECONDS sources=()

	path=$(qemu_path)
	work=$path.build.partial
	mapfile -t sources < <(sources)
	say "building QEMU $(index_qemu) with the lab's patches (6 minutes on two cores)"
	mmdebstrap --quiet --variant=apt --keyring="$keyring" \
		--aptopt='APT::Install-Recommends "false"' \
		--include="$(IFS=,; echo "${qemu_build_packages[*]}")" "$suite" "$work" "${sources[@]:0:1}"
	mkdir -p "$work/build/patches" "$path.partial/bin"
	# apt checks the files against the signed index.
	(cd "$work/build" && apt_private apt-get source -qq --download-only --only-source \
		"qemu=$(index_qemu)")
	cp "$lab_dir"/qemu-patches/*.patch "$work/build/patches/"
	# shellcheck disable=SC2016
	unshare --mount --propagation private bash -euc '
		mount --rbind /dev "$1/dev"
		mount -t proc proc "$1/proc"
		exec env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			chroot "$1" sh -euc "
				cd /build
				dpkg-source --no-check -x qemu_*.dsc qemu
				cd qemu
				for patch in ../patches/*; do
					patch -p1 --fuzz=0 <\$patch
				done
				mkdir lab
				cd lab
				../configure --target-list=x86_64-softmmu --without-default-features \
					--enable-tcg --enable-kvm --enable-fdt=system \
					--enable-virtfs --enable-attr --enable-cap-ng \
					--disable-docs --disable-tools --disable-guest-agent \
					--disable-install-blobs --disable-download \
					--firmwarepath=/usr/share/qemu:/usr/share/seabios
				ninja qemu-system-x86_64
				strip qemu-system-x86_64
			"
	' build "$work" >"$path.log" 2>&1 || die "QEMU did not build; see $path.log"
	cp "$work/build/qemu/lab/qemu-system-x86_64" "$path.partial/bin/"
	rm -rf "$work" "$path.log"
	touch "$path.partial/.complete"
	mv "$path.partial" "$path"
	say "QEMU built in $((SECONDS - started)) s"
}
