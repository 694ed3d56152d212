# shellcheck shell=bash disable=SC2154
# Kernels that the lab builds itself from Debian's source, because no package has them: one that
# looks for mistakes, and an older one with the sched_ext that Debian left off.
#
# They are built in the rootfs, so with the compiler and pahole that build the module, and kept as a
# layer that enter.sh puts over the rootfs: boot image, modules, and the tree that an out-of-tree
# module is built in. Each is small: "make allnoconfig", kernel.config and kernel-NAME.config.

own_kernels=(6.12 debug)
# The series whose source each is built from.
declare -A source_of=([6.12]=6.12 [debug]=7.2)

# The archive with the source of a series. 160 MB; kept, as it is what several things are made from.
kernel_source() {
	local series=$1 version archive

	version=$(index_source "$series")
	archive=$cache/linux-source-$version.tar.xz
	if [ ! -e "$archive" ]; then
		mkdir "$archive.partial"
		# apt checks the file against the signed index.
		(cd "$archive.partial" && apt_private apt-get download -qq "linux-source-$series=$version")
		dpkg-deb --fsys-tarfile "$archive.partial"/*.deb |
			tar -xO "./usr/src/linux-source-$series.tar.xz" >"$archive.partial/archive"
		mv "$archive.partial/archive" "$archive"
		rm -r "$archive.partial"
	fi
	echo "$archive"
}

kernel_path() {
	local name=$1 series=${source_of[$1]} key

	key=$({
		declare -f kernel_build
		cat "$lab_dir/kernel.config" "$lab_dir/kernel-$name.config" "$index/source-$series"
		grep -E '^(binutils|gcc-14|pahole) ' "$index/versions"
	} 2>/dev/null | sha256sum)
	echo "$cache/kernel-$name-${key:0:16}"
}

# The own kernels that setup has built.
kernels_built() {
	local name

	for name in "${own_kernels[@]}"; do
		[ ! -e "$(kernel_path "$name")/.complete" ] || echo "$name"
	done
}

# The release of any kernel of the lab, by the name that --kernel takes.
kernel_release() {
	local name=$1

	case $name in
	7.2 | 7.3) index_kernel "$name" ;;
	*) cat "$(kernel_path "$name")/.release" ;;
	esac
}

# kernel_differs CONFIG FRAGMENT: which lines of the fragment the config does not have. Kconfig drops
# in silence what depends on something that is off.
kernel_differs() {
	local config=$1 line

	while read -r line; do
		case $line in
		CONFIG_*=n) ! grep -q "^${line%n}" "$config" || echo "$line" ;;
		CONFIG_*) grep -qxF "$line" "$config" || echo "$line" ;;
		esac
	done <"$2"
}

kernel_build() {
	local name=$1 series=${source_of[$1]} path work started=$SECONDS differs

	path=$(kernel_path "$name")
	work=$path.build.partial
	mkdir -p "$work/layer"
	say "building the kernel $name from linux-source $(index_source "$series")"
	tar -xf "$(kernel_source "$series")" -C "$work"
	mv "$work"/linux-source-* "$work/linux"
	cat "$lab_dir/kernel.config" "$lab_dir/kernel-$name.config" >"$work/fragment"
	enter_with "$work:/src" -- make -s -C linux KCONFIG_ALLCONFIG=/src/fragment allnoconfig \
		>"$path.log" 2>&1 || die "the kernel $name was not configured; see $path.log"
	differs=$(kernel_differs "$work/linux/.config" "$work/fragment")
	[ -z "$differs" ] || die "the kernel $name would not have:"$'\n'"$differs"
	# A layer has what "make M=" needs and nothing of the build but that. The image keeps its
	# symbols and BTF and loses the DWARF that BTF was made from.
	#
	# The way in from PVH (enlighten.c) must call no function that KASAN instruments, as there is
	# no shadow map yet, but gcc 14 calls memcmp() unless it is told to inline it.
	# shellcheck disable=SC2016
	enter_with "$work:/src" -- bash -euc '
		cd linux
		export KBUILD_BUILD_USER=kvmgang KBUILD_BUILD_HOST=lab
		make -s -j "$(nproc)" CFLAGS_enlighten.o=-minline-all-stringops vmlinux modules
		release=$(make -s kernelrelease)
		make -s modules_install INSTALL_MOD_PATH=/src/layer/usr INSTALL_MOD_STRIP=1
		tree=/src/layer/usr/src/linux-$release
		make -s run-command KBUILD_RUN_COMMAND="\$(srctree)/scripts/package/install-extmod-build $tree"
		cp .config "$tree/"
		strip --strip-debug -o "$tree/vmlinux" vmlinux
		modules=/src/layer/usr/lib/modules/$release
		rm -f "$modules/build" "$modules/source"
		ln -s "/usr/src/linux-$release" "$modules/build"
		ln -s "/usr/src/linux-$release" "$modules/source"
		boot=/src/layer/opt/kernel/$0
		mkdir -p "$boot/modules"
		ln -s "/usr/src/linux-$release/vmlinux" "$boot/vmlinux"
		number=10
		modprobe -d /src/layer/usr -S "$release" --show-depends kvm_amd | while read -r _ module _; do
			cp "$module" "$boot/modules/$number-${module##*/}"
			number=$((number + 1))
		done
		echo "$release" >/src/layer/.release
	' "$name" >>"$path.log" 2>&1 || die "the kernel $name did not build; see $path.log"
	touch "$work/layer/.complete"
	mv "$work/layer" "$path"
	rm -rf "$work" "$path.log"
	say "kernel $name built in $((SECONDS - started)) s"
}
