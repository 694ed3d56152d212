# shellcheck shell=bash disable=SC2154
# Judges that are not ours, unmodified, from the source of the lab's kernel 7.2: Linux' selftests of
# KVM (tools/testing/selftests/kvm), which selftests/upstream.sh runs, in kvm/, and checkpatch.pl,
# which no binary package ships, in scripts/.
#
# Of the selftests only the programs are kept. Of that source nothing else is built.

upstream_path() {
	local key
	key=$(cat "$lab_dir/upstream.sh" "$index/source-7.2" 2>/dev/null | sha256sum)
	echo "$cache/upstream-${key:0:16}"
}

# Reads the archive of the source, prints an archive of the programs. In between is a directory that
# goes with the command. Those of arch/ and usr/ are what the kernel's exported headers are made of.
upstream_compile() {
	# shellcheck disable=SC2016
	enter sh -euc '
		exec 3>&1 >&2
		mkdir /tmp/build
		cd /tmp/build
		xz -dc | tar -x --strip-components=1 --wildcards \
			"*/Makefile" "*/scripts" "*/include" "*/arch/x86" "*/usr" "*/tools"
		make -s -j2 headers
		cd tools/testing/selftests/kvm
		make -s -j2
		find . -type f -perm /u+x ! -name "*.sh" >/tmp/programs
		xargs strip -g </tmp/programs
		tar -c --transform "s|^[.]|kvm|" -T /tmp/programs \
			-C /tmp/build scripts/checkpatch.pl scripts/spelling.txt scripts/const_structs.checkpatch \
			>&3
	'
}

upstream_build() {
	local path version release started=$SECONDS

	path=$(upstream_path)
	version=$(index_source 7.2)
	release=$(index_kernel 7.2)
	[ "${version%%-*}" = "${release%%[-+]*}" ] ||
		die "the mirror has Linux $release, but the source of $version: try again later"
	say "building the KVM selftests of Linux $version (1 minute)"
	mkdir -p "$path.partial"
	upstream_compile <"$(kernel_source 7.2)" 2>"$path.log" | tar -x -C "$path.partial" ||
		die "the KVM selftests did not build; see $path.log"
	rm "$path.log"
	touch "$path.partial/.complete"
	mv "$path.partial" "$path"
	say "KVM selftests built in $((SECONDS - started)) s"
}
