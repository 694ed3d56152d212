# shellcheck shell=bash disable=SC2154
# Linux' source, from Debian's package of it.

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
