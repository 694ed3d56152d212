# shellcheck shell=bash
# Asks the kernel, where it has kmemleak, whether memory leaked. Its user has sourced tap.sh.

kmemleak=/sys/kernel/debug/kmemleak

# What leaked before us is not ours.
start_kmemleak() {
	[ ! -e $kmemleak ] || echo clear >$kmemleak
}

# An object counts as leaked in the second scan that does not find it, and when it is 5 s old.
check_kmemleak() {
	[ -e $kmemleak ] || return 0
	echo scan >$kmemleak
	sleep 6
	echo scan >$kmemleak
	report 'no memory leaked' "$(cat $kmemleak)"
}
