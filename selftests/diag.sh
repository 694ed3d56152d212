#!/bin/bash
# Runs each script of diag/ while real vCPUs do what it asks about, and expects its answer. Prints
# TAP; runs inside the lab as root. What the answer says is bpftrace's arithmetic and not tested.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=selftests/tap.sh
. selftests/tap.sh

tests=build/selftests
work=$(mktemp -d)

# answers SCRIPT MAP PROGRAM [TEST]: while PROGRAM runs, SCRIPT fills MAP.
answers() {
	local script=$1 map=$2 tracer polls
	shift 2

	bpftrace "diag/$script.bt" >"$work/$script" 2>&1 &
	tracer=$!
	# What it says of attaching it says before. All scripts attach to this tracepoint last.
	for ((polls = 0; polls < 600; polls++)); do
		! bpftool perf show | grep -q 'tracepoint *vcpu_arrive' || break
		sleep 0.1
	done
	"$tests/$1" "${@:2}" >"$work/load" 2>&1 || :
	kill -INT "$tracer"
	wait "$tracer" || true

	report "diag/$script.bt fills @$map" "$(grep -q "^@${map}\[" "$work/$script" ||
		tail -n +1 "$work/$script" "$work/load")"
}

[ -e /sys/module/kvmgang ] || insmod "build/$(uname -r)/kvmgang.ko"
echo 'TAP version 13'
answers ready ready_us test_run_delay
answers displacers vm_us test_counters 'because of another VM'
answers displacers host_us test_counters 'because of a host thread'
answers node-moves moves test_counters 'a moved vCPU'
answers asleep halted_us test_states 'sleeps is halted'
answers asleep blocked_us test_states 'VMM sleeps is blocked'
rmmod kvmgang
rm -r "$work"
finish
