# shellcheck shell=bash disable=SC2154
# Which packages the lab is made of: asks the mirror's signed index, so that no version is written
# down here. Works on an apt state of its own in the cache; the host's is neither read nor changed.
#
# The answers are kept in files beside it. Only setup asks the mirror; all else reads the files.

index=$cache/index
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suite=trixie
# Whose source the lab builds from.
source_series=(7.2 6.12)

rootfs_packages=(
	# building the module, the tool and the selftests
	make gcc gcc-14 g++ libc6-dev pahole kmod libjansson-dev libelf-dev pkgconf
	clang-19 libbpf-dev bpftool linux-bpf-dev
	# building the lab's own kernels
	bc bison flex
	# checking them
	bats shellcheck sparse clang-tidy-19 perl mandoc jq python3 strace
	# running them
	bpftrace iproute2 procps numactl mount util-linux busybox-static cpio zstd xz-utils
	# the firmware of the lab's QEMU and the libraries that it links
	seabios qemu-system-data libglib2.0-0t64 libfdt1 libattr1 libcap-ng0
)

mirror() {
	local mirror=${KVMGANG_MIRROR:-}

	if [ -z "$mirror" ]; then
		# shellcheck disable=SC2016
		mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' |
			awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
	fi
	[ -n "$mirror" ] || die "apt knows no Debian mirror; set KVMGANG_MIRROR"
	echo "${mirror%/}"
}

sources() {
	local mirror
	mirror=$(mirror)
	echo "deb $mirror $suite main"
	echo "deb $mirror $suite-backports main"
}

apt_private() {
	local command=$1
	shift
	"$command" -o Dir="$index" -o Dir::State::status="$index/status" \
		-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root \
		-o APT::Install-Recommends=false -o APT::Get::List-Cleanup=false "$@"
}

# The newest kernel of a series. Signed and unsigned images are the same code; the lab takes the
# signed one where both exist.
newest_kernel_package() {
	local series=$1

	apt_private apt-cache pkgnames linux-binary- |
		awk -v series="$series" '
			match($0, /^linux-binary-(unsigned-)?[0-9]+\.[0-9]+\.[0-9]+[^-]*-amd64$/) {
				release = $0
				signed = !sub(/^linux-binary-unsigned-/, "", release)
				sub(/^linux-binary-/, "", release)
				if (index(release, series ".") == 1)
					print release, signed, $0
			}' | sort -k1,1V -k2,2n | tail -n 1
}

index_resolve() {
	local series release signed package packages=()

	mkdir -p "$index.new"
	for series in 7.2 7.3; do
		read -r release signed package < <(newest_kernel_package "$series") ||
			die "the mirror has no kernel $series"
		: "$signed"
		echo "$release" >"$index.new/kernel-$series"
		packages+=("$package" "linux-modules-$release" "linux-headers-$release")
	done
	packages+=("${rootfs_packages[@]}")
	printf '%s\n' "${packages[@]}" >"$index.new/packages"
	# With an empty status file this is the whole list of what a rootfs will contain.
	apt_private apt-get install --simulate -qq '?essential' apt "${packages[@]}" |
		awk '$1 == "Inst" { print $2, $3 }' | sort >"$index.new/versions"
	[ -s "$index.new/versions" ] || die "the packages of the rootfs cannot be resolved"
	apt_private apt-cache showsrc --only-source qemu |
		awk '$1 == "Version:" { print $2 }' | sort -V | tail -n 1 >"$index.new/qemu"
	for series in "${source_series[@]}"; do
		apt_private apt-cache show --no-all-versions "linux-source-$series" |
			awk '$1 == "Version:" { print $2 }' >"$index.new/source-$series"
		[ -s "$index.new/source-$series" ] || die "the mirror has no linux-source-$series"
	done
	mv "$index.new"/* "$index/"
	rmdir "$index.new"
}

index_refresh() {
	say "asking the mirror which versions are current (10 s)"
	mkdir -p "$index"/etc/apt/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} \
		"$index"/var/lib/apt/lists/partial "$index"/var/cache/apt/archives/partial
	: >"$index/status"
	{ sources; echo "deb-src $(mirror) $suite main"; } |
		sed "s|^\\(deb[-src]*\\) |\\1 [signed-by=$keyring] |" >"$index/etc/apt/sources.list"
	if apt_private apt-get update -qq; then
		index_resolve
	elif [ -e "$index/versions" ]; then
		say "no answer from the mirror: going on with what it said last time"
	else
		die "no answer from the mirror, and no earlier one is kept"
	fi
}

index_kernel() {
	cat "$index/kernel-$1" 2>/dev/null || die "the lab is not set up: run lab/lab setup"
}

index_source() {
	cat "$index/source-$1" 2>/dev/null || die "the lab is not set up: run lab/lab setup"
}

index_qemu() {
	cat "$index/qemu" 2>/dev/null || die "the lab is not set up: run lab/lab setup"
}
