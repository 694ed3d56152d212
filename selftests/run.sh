#!/bin/bash
# Runs the selftests on the kernel that runs, as root, and merges their TAP into one stream.
#
#	selftests/run.sh [--timed | --untimed | PROGRAM...]
#
# Without arguments, all programs of build/selftests but those that attach the scheduler, which have
# groups of their own: most attach a dozen times, for which each of eight emulated CPUs is too slow.
# --untimed: of these, those that measure no time, and may run by the wall clock, which is faster;
# --timed: the others.
# KVMGANG_TEST_LONG=1 in the environment makes them more thorough. The exit status is 0 when nothing
# failed; skipped tests are no failures. It does not build anything, and leaves the module as it
# found it: not loaded, usually.
set -euo pipefail

selftests=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
build=${selftests%/*}/build
module=$build/$(uname -r)/kvmgang.ko
# shellcheck source=selftests/tap.sh
. "$selftests/tap.sh"
# shellcheck source=selftests/kmemleak.sh
. "$selftests/kmemleak.sh"

is_loaded() {
	[ -e /sys/module/kvmgang ]
}

run_program() {
	local name=$1 line verdict text ran=0 planned=0

	# A test of loading and unloading that failed may have left it unloaded.
	is_loaded || insmod "$module"
	while IFS= read -r line; do
		case $line in
		'TAP version '*) ;;
		1..*) planned=${line#1..} ;;
		'ok '* | 'not ok '*)
			verdict=${line%%ok *}ok
			text=${line#"$verdict "}
			ran=$((ran + 1))
			result "$verdict" "$name: ${text#* }"
			;;
		*) echo "$line" ;;
		esac
	done < <("$build/selftests/$name" 2>&1)
	if [ "$planned" = 0 ] || [ "$ran" != "$planned" ]; then
		result 'not ok' "$name: $ran of $planned tests ran"
	fi
}

# Without what sched_ext says of the faults that test_run asks for: who left, why, and a stack.
without_wanted_faults() {
	awk '
		/sched_ext: BPF scheduler "kvmgang" disabled/ { first = $0; next }
		first && /kvmgang: (fault wanted for thread|kvmgang-faulty\[|kfunc ABI of)/ {
			first = ""
			stack = 1
			next
		}
		stack && / [^ ]+\+0x[0-9a-f]+\/0x/ { next }
		first { print first; first = "" }
		{ stack = 0; print }
		END { if (first) print first }
	'
}

# Has a message of ours gone through the kernel's log, so that what came before it is in $log too.
mark_log() {
	local polls=600

	until grep -q "selftests: $1" "$log"; do
		[ $((polls--)) -gt 0 ] || die 'the kernel log cannot be read'
		# Level: warning; facility: user, so that it cannot be taken for the kernel's.
		echo "<12>selftests: $1" >/dev/kmsg
		sleep 0.1
	done
}

start_kernel_log() {
	log=$(mktemp)
	dmesg --decode --follow-new --level emerg,alert,crit,err,warn >"$log" &
	log_reader=$!
	mark_log begin
}

check_kernel_log() {
	mark_log end
	kill "$log_reader"
	wait "$log_reader" 2>/dev/null || true
	report 'kernel log is clean' "$(grep -a '^kern ' "$log" | without_wanted_faults |
		grep -avEf <(grep -vE '^(#|$)' "$selftests/log-allowed") || true)"
	rm "$log"
}

# BPF programs let go of the module some time after the process that loaded them has ended.
remove_module() {
	local polls

	for ((polls = 0; polls < 100; polls++)); do
		[ "$(cat /sys/module/kvmgang/refcnt)" != 0 ] || break
		sleep 0.1
	done
	rmmod kvmgang
}

[ "$(id -u)" = 0 ] || die 'this needs root'
[ -e "$module" ] || die "there is no $module: make module"
[ -e /dev/kvm ] || modprobe -qa kvm_amd kvm_intel || true
[ -e /dev/kvm ] || die 'there is no /dev/kvm'

# Is it one of those that are meant by $1, or by no argument?
is_meant() {
	local attaches='test_@(run|gang|wide|costart|limit|cgroup|ordinary|target|isolate|verifier)'
	local untimed='test_@(faults|ioctl|module|policy*|scale|stress)'

	# shellcheck disable=SC2053
	[[ $2 != $attaches ]] || return
	# shellcheck disable=SC2053
	case $1 in
	--timed) [[ $2 != $untimed ]] ;;
	--untimed) [[ $2 = $untimed ]] ;;
	esac
}

programs=("$@")
case ${1:-} in
'' | --timed | --untimed)
	programs=()
	for program in "$build"/selftests/test_*; do
		[ -f "$program" ] && [ -x "$program" ] && is_meant "${1:-}" "${program##*/}" &&
			programs+=("${program##*/}")
	done
	;;
esac

echo 'TAP version 13'
start_kernel_log
start_kmemleak

was_loaded=$(is_loaded && echo yes || echo no)
for program in "${programs[@]}"; do
	run_program "$program"
done
[ "$was_loaded" = yes ] || remove_module || result 'not ok' 'the module can be removed'
check_kmemleak
check_kernel_log
finish
