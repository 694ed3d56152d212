# shellcheck shell=bash disable=SC2154
# The kernel's own checkpatch.pl, which no binary package ships: out of the source package of the
# kernel that the lab boots, into the rootfs. The rest of the source is thrown away.

# checkpatch_fetch ROOTFS
checkpatch_fetch() {
	local root=$1 files=(checkpatch.pl spelling.txt const_structs.checkpatch)

	say "fetching checkpatch.pl out of the kernel's source (160 MB)"
	mkdir -p "$root/tmp/source" "$root/opt/checkpatch"
	# apt checks the file against the signed index.
	(cd "$root/tmp/source" && apt_private apt-get download -qq linux-source-7.2)
	# shellcheck disable=SC2016
	chroot "$root" sh -euc '
		dpkg-deb --fsys-tarfile /tmp/source/*.deb |
			tar -xO --wildcards "./usr/src/linux-source-*.tar.xz" |
			tar -xJ -C /opt/checkpatch --strip-components=2 --wildcards "$@"
	' checkpatch "${files[@]/#/linux-source-*/scripts/}"
	rm -rf "$root/tmp/source"
}
