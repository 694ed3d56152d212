#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The command line: what is refused, how it is said, and with which status. Needs no module.

setup() {
	kvmgang=${KVMGANG:-$BATS_TEST_DIRNAME/../../build/kvmgang}
}

# refuses MESSAGE ARGUMENT...: status 2 and one line
refuses() {
	local message=$1

	shift
	run "$kvmgang" "$@"
	echo "kvmgang $*: status $status, output: $output"
	[ "$status" -eq 2 ]
	[ "$output" = "kvmgang: $message" ]
}

@test "help names every command" {
	run "$kvmgang" --help
	[ "$status" -eq 0 ]
	for command in list show top status run; do
		[[ $output == *"kvmgang $command "* ]]
	done
}

@test "version and ABI" {
	run "$kvmgang" --version
	[ "$status" -eq 0 ]
	[[ $output =~ ^kvmgang\ [0-9.]+,\ ABI\ [0-9]+$ ]]
}

@test "unknown command" {
	refuses "command 'ps': must be list, show, top, status or run" ps
}

@test "unknown option" {
	refuses "unrecognized option '--jsno'" list --jsno
}

@test "interval out of range or no number" {
	for interval in 0.09 0 -1 3600.1 nan inf 1x '' ' '; do
		refuses "interval '$interval': must be 0.1 to 3600 seconds" list -i "$interval"
	done
}

@test "count out of range or no number" {
	for count in 0 -1 1000000001 99999999999999999999 1.5 ''; do
		refuses "count '$count': must be 1 to 1000000000" top -n "$count"
	done
}

@test "VM id out of range" {
	for id in 0 4294967296 99999999999999999999; do
		refuses "VM id '$id': must be 1 to 4294967295" show "$id"
	done
}

@test "show needs exactly one VM" {
	refuses "command show: a VM is needed, by id or name" show
	refuses "VM '': must be an id or a name" show ''
	refuses "argument '2': one too many for command show" show 1 2
	refuses "argument '1': one too many for command list" list 1
}

@test "options of other commands" {
	refuses "option --count: not for command list" list -n 1
	refuses "option --interval: not for command status" status -i 1
	refuses "option --json: not for command run" run --json
	refuses "option --once: not for command list" --once
	refuses "option --verbose: not for command status" status --verbose
	refuses "argument 'scx_simple': one too many for command run" run scx_simple
}

@test "errors go to stderr" {
	[ -z "$("$kvmgang" ps 2>/dev/null)" ]
}

@test "a full disk is a failure" {
	[ -w /dev/full ] || skip "no /dev/full"
	run sh -c '"$1" --help >/dev/full' sh "$kvmgang"
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: standard output: No space left on device" ]
}

@test "a fault that does not exist" {
	export KVMGANG_FAULT=hang
	refuses "KVMGANG_FAULT 'hang': must be error, stall or abi" run
}

@test "run: a kernel without sched_ext" {
	[ ! -e /sys/kernel/sched_ext ] || skip "this kernel has it"
	run "$kvmgang" run
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: scheduler: this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT)" ]
}

@test "without the module" {
	[ ! -e /dev/kvmgang ] || skip "the module is loaded"
	for command in "" list "show 1" top status "--json"; do
		# shellcheck disable=SC2086 # several arguments
		run "$kvmgang" $command
		[ "$status" -eq 1 ]
		[ "$output" = "kvmgang: /dev/kvmgang: module kvmgang is not loaded (insmod kvmgang.ko)" ]
	done
}
