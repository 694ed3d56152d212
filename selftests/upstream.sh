#!/bin/bash
# Runs Linux' own selftests of KVM, which know nothing of us, while the module accounts their vCPUs
# and somebody reads the figures all the time. They must pass and leave nothing behind. Prints TAP;
# runs inside the lab as root, where lab/upstream.sh put them.
#
#	selftests/upstream.sh [--without-module] [all | TEST...]
#
# Without a name, those that do most to vCPU threads. "all" is for comparing the two, with the module
# and without: several fail on an emulated CPU, whoever is loaded, or find that they cannot run.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=selftests/tap.sh
. selftests/tap.sh

programs=/opt/upstream/kvm
tracing=/sys/kernel/tracing/instances/upstream
figures=/sys/kernel/kvmgang/vms
# Seconds that one test may take. Those of "all" that take longer on an emulated CPU take very long.
limit=300

# In these the module must see a vCPU.
tests=(
	steal_time rseq_test x86/xapic_ipi_test dirty_log_test coalesced_io_test
	x86/xen_shinfo_test x86/kvm_pv_test x86/hyperv_ipi x86/hyperv_tlb_flush
	x86/nested_close_kvm_test x86/svm_nested_shutdown_test
)
others=(kvm_create_max_vcpus kvm_binary_stats_test)

# So that they say more, or take no longer than they have to.
declare -A arguments=(
	[steal_time]='-v'
	[dirty_log_test]='-i 3'
	[memslot_perf_test]='-l 1'
	[mmu_stress_test]='-m 4 -s 1'
	[x86/xapic_ipi_test]='-s 1'
)

# Whoever reads the figures does so on the first pCPU, and these keep to the others. The guest of
# xen_shinfo_test asserts that it has waited for nobody since a moment ago.
reader_cpu=0
declare -A before=(
	[x86/xen_shinfo_test]="taskset -c $((reader_cpu + 1))-$(($(nproc) - 1))"
)

with_module=true
work=$(mktemp -d)

# run TEST [PREFIX]...: the exit status is the test's, its output in $work/output.
run() {
	local test=$1
	shift

	# The arguments are words without quotes.
	# shellcheck disable=SC2086
	timeout --kill-after=5 "$limit" "$@" "$programs/$test" ${arguments[$test]:-} \
		>"$work/output" 2>&1 </dev/null
}

# judge TEST STATUS: what a test says with its exit status.
judge() {
	local test=$1 status=$2

	case $status in
	0) result ok "$test" ;;
	4) result ok "$test # SKIP $(grep -i -m 1 skip "$work/output" | sed 's/.*SKIP[- ]*//')" ;;
	124 | 137) result 'not ok' "$test did not end within $limit s" ;;
	*) report "$test" "exited with $status"$'\n'"$(tail -n 20 "$work/output")" ;;
	esac
}

# What the module says that a vCPU of the only VM has waited, in nanoseconds.
waited() {
	local file sum=0

	for file in "$figures"/*/vcpus/"$1"/{ready,costop,throttled}_ns; do
		sum=$((sum + $(cat "$file")))
	done
	echo "$sum"
}

# The guests of steal_time, run by one thread one after the other, print what time was stolen from
# them. All of it must be in the module's account of the vCPU, which goes on until the thread enters
# the next; and the accounts together in what the scheduler says of the thread. Both hold to the
# nanosecond. Complains on standard error.
judge_steal_time() {
	local vcpu stolen accounted delay sum=0 guests=0

	while read -r vcpu stolen; do
		accounted=$(waited "$vcpu")
		echo "# steal_time: vCPU $vcpu: $stolen ns stolen, $accounted ns accounted"
		[ "$accounted" -ge "$stolen" ] || echo "vCPU $vcpu: less accounted than stolen" >&2
		sum=$((sum + accounted))
		guests=$((guests + 1))
	done < <(sed -n 's/^# VCPU\([0-9]*\): total-stolen-time=\([0-9]*\) .*/\1 \2/p' "$work/output")
	[ "$guests" -gt 0 ] || echo "no guest said what was stolen from it" >&2

	read -r _ delay _ <"/proc/$(cat "$figures"/*/pid)/schedstat"
	echo "# steal_time: the thread waited $delay ns, $sum ns of it accounted"
	[ "$sum" -le "$delay" ] || echo "more accounted than the thread waited" >&2
}

# The process is held at its end, before its VM goes with it.
run_steal_time() {
	local status=0 pid

	run steal_time strace -f --seccomp-bpf -qq -o /dev/null \
		-e trace=exit_group -e inject=exit_group:delay_enter=20s &
	pid=$!
	until grep -q '^# Totals:' "$work/output" 2>/dev/null || ! kill -0 "$pid" 2>/dev/null; do
		sleep 0.1
	done
	judge_steal_time 2>"$work/complaint" || echo "the figures cannot be read" >>"$work/complaint"
	wait "$pid" || status=$?
	judge steal_time "$status"
	report 'steal_time: what was stolen is accounted' "$(<"$work/complaint")"
}

# run_one TEST [must_see]
run_one() {
	local test=$1 status=0 bound

	if $with_module && [ "$test" = steal_time ]; then
		run_steal_time
	else
		# The command is words without quotes.
		# shellcheck disable=SC2086
		run "$test" ${before[$test]:-} || status=$?
		judge "$test" "$status"
	fi
	$with_module || return 0
	bound=$(grep -c vcpu_bind: "$tracing/trace" || :)
	: >"$tracing/trace"
	echo "# $test: $bound times a thread began to serve a vCPU"
	[ "${2:-}" != must_see ] || [ "$bound" -gt 0 ] ||
		result 'not ok' "$test: the module saw no vCPU"
}

start_module() {
	insmod "build/$(uname -r)/kvmgang.ko"
	mkdir "$tracing"
	echo 1 >"$tracing/events/kvmgang/vcpu_bind/enable"
	taskset -c "$reader_cpu" build/kvmgang top --json --interval 0.1 >/dev/null 2>"$work/reader" &
	reader=$!
}

# KVM destroys a VM a little after its last file is closed.
vms_left() {
	local tries

	for ((tries = 0; tries < 100; tries++)); do
		[ -n "$(ls "$figures")" ] || return 0
		sleep 0.1
	done
	echo "VMs are left: $(ls "$figures")"
}

stop_module() {
	report 'no VM is left over' "$(vms_left)"
	report 'the figures were read all the time' \
		"$(kill "$reader" 2>&1 || cat "$work/reader")"
	wait "$reader" || :
	echo 0 >"$tracing/events/kvmgang/vcpu_bind/enable"
	rmdir "$tracing"
	report 'the module can be removed' "$(rmmod kvmgang 2>&1)"
}

if [ "${1:-}" = --without-module ]; then
	with_module=false
	shift
fi
if [ "${1:-}" = all ]; then
	tests=()
	mapfile -t others < <(cd "$programs" && find . -type f -perm /u+x -printf '%P\n' | sort)
elif [ $# -gt 0 ]; then
	tests=()
	others=("$@")
fi
[ -x "$programs/steal_time" ] || die "there is no $programs: lab/lab setup"

echo 'TAP version 13'
dmesg --kernel --follow-new --level emerg,alert,crit,err,warn >"$work/log" &
log_reader=$!
! $with_module || start_module
for test in "${tests[@]}"; do
	run_one "$test" must_see
done
for test in "${others[@]}"; do
	run_one "$test"
done
! $with_module || stop_module
kill "$log_reader"
wait "$log_reader" || :
report 'kernel log is clean' "$(grep -vE \
	'loading out-of-tree module taints kernel|module verification failed: signature' "$work/log")"
rm -r "$work"
finish
