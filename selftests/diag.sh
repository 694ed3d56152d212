#!/bin/bash
# Runs each script of diag/ while real vCPUs do what it asks about, and expects its answer. Prints
# TAP; runs inside the lab as root. What the answer says is bpftrace's arithmetic and not tested.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

tests=build/selftests
work=$(mktemp -d)
nr=0 failed=0

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
	"$tests/$1" "${@:2}" >"$work/load" 2>&1 || sed 's/^/# /' "$work/load"
	kill -INT "$tracer"
	wait "$tracer" || true

	nr=$((nr + 1))
	if grep -q "^@${map}\[" "$work/$script"; then
		echo "ok $nr diag/$script.bt fills @$map"
	else
		failed=1
		echo "not ok $nr diag/$script.bt fills @$map"
		sed 's/^/# /' "$work/$script"
	fi
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
echo "1..$nr"
[ "$failed" = 0 ]
