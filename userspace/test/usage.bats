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
	for command in list show top status run set reset defaults; do
		[[ $output == *"kvmgang $command "* ]]
	done
}

@test "version and ABI" {
	run "$kvmgang" --version
	[ "$status" -eq 0 ]
	[[ $output =~ ^kvmgang\ [0-9.]+,\ ABI\ [0-9]+$ ]]
}

@test "unknown command" {
	refuses "command 'ps': must be list, show, top, status, run, set, reset or defaults" ps
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

@test "settings out of range, of no range, or none at all" {
	local long=99999999999999999999 value

	for value in 0 10001 -1 1.5 1x 0x10 ' 1' '' $long; do
		refuses "shares '$value': must be 1 to 10000" set 1 "shares=$value"
		refuses "shares '$value': must be 1 to 10000" defaults "shares=$value"
	done
	for value in 99 1000001 1ms; do
		refuses "costop_us '$value': must be 100 to 1000000" set 1 "costop_us=$value"
		refuses "costart_us '$value': must be 100 to 1000000" set 1 "costart_us=$value"
	done
	for value in on 3 AUTO ''; do
		refuses "gang '$value': must be off, relaxed, strict or auto" set 1 "gang=$value"
	done
	for value in -1 1024001 1.5 1000m none $long; do
		refuses "limit '$value': must be 0 to 1024000" set 1 "limit=$value"
		refuses "reservation '$value': must be 0 to 1024000" defaults "reservation=$value"
	done
	for value in high 1 Sensitive ''; do
		refuses "latency '$value': must be normal or sensitive" set 1 "latency=$value"
	done
	for value in -1 1001 5% 0.5 none $long; do
		refuses "ready_target '$value': must be 0 to 1000" set 1 "ready_target=$value"
	done
	for value in thread 1 Core ''; do
		refuses "isolation '$value': must be none or core" set 1 "isolation=$value"
	done
	for value in '' ',' '0,' ',0' 1-0 0- -1 64 0-64 a 0:1 $long; do
		refuses "home_nodes '$value': must be auto or a list of nodes such as 0-1,3" \
			set 1 "home_nodes=$value"
	done
}

@test "settings that are none" {
	local keys='shares, gang, costop_us, costart_us, home_nodes, limit, reservation, latency, '

	keys+='ready_target or isolation'
	refuses "key 'share': must be $keys" set 1 share=1
	refuses "key '': must be $keys" set 1 =1
	refuses "key 'Shares': must be $keys" defaults Shares=1
	refuses "key 'shares=1': must be $keys" reset 1 shares=1
	refuses "setting 'shares': must be KEY=VALUE" set 1 shares
	refuses "key 'gang': given twice" set 1 gang=off gang=off
	refuses "key 'gang': given twice" set 1 gang=off gang=default
	refuses "key 'gang': given twice" reset 1 gang gang
	refuses "shares '0': must be 1 to 10000" set 1 gang=off shares=0
}

@test "set and reset need a VM, set needs a setting" {
	refuses "command set: a VM is needed, by id or name" set
	refuses "command reset: a VM is needed, by id or name" reset
	refuses "command set: a setting is needed, as KEY=VALUE" set 1
	refuses "VM id '0': must be 1 to 4294967295" set 0 shares=1
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
	for command in "" list "show 1" top status "--json" "set 1 shares=1" "reset 1" defaults \
		"defaults shares=1"; do
		# shellcheck disable=SC2086 # several arguments
		run "$kvmgang" $command
		[ "$status" -eq 1 ]
		[ "$output" = "kvmgang: /dev/kvmgang: module kvmgang is not loaded (insmod kvmgang.ko)" ]
	done
}
