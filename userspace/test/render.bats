#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What is printed for known counters, which fake_device.c makes up. Needs a compiler, no module.
# Each test is a process of its own.
# shellcheck disable=SC2030,SC2031

setup_file() {
	command -v "${CC:-cc}" || skip "no C compiler"
	export FAKE=$BATS_FILE_TMPDIR/fake_device.so
	"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -shared -fPIC \
		-I"$BATS_TEST_DIRNAME/../.." -I"$BATS_TEST_DIRNAME/../../uapi" \
		-o "$FAKE" "$BATS_TEST_DIRNAME/fake_device.c"
}

setup() {
	kvmgang=${KVMGANG:-$BATS_TEST_DIRNAME/../../build/kvmgang}
	command -v jq || skip "no jq"
	vmms=()
	mkfifo "$BATS_TEST_TMPDIR/never"
}

teardown() {
	[ ${#vmms[@]} -eq 0 ] || kill "${vmms[@]}"
}

# vmm ARGUMENT...: a process with these arguments, which serves as the VMM of one more VM.
# Until it has started, /proc shows this shell's arguments in their place.
vmm() {
	sh -c 'read -r _' vmm "$@" <>"$BATS_TEST_TMPDIR/never" >/dev/null 3>&- &
	vmms+=($!)
	until grep -aq 'read -r _' "/proc/$!/cmdline"; do
		sleep 0.01
	done
	export FAKE_PIDS="${vmms[*]}"
}

# fake ARGUMENT...: kvmgang on the fake device, whose seconds pass in 0.1 s
fake() {
	LD_PRELOAD=$FAKE run "$kvmgang" "$@"
	echo "kvmgang $*: status $status, output:"
	echo "$output"
}

# json PATH EXPECTED: a value of the output
json() {
	echo "$1: expected $2, got $(jq -c "$1" <<<"$output")"
	jq -e "($1) == $2" <<<"$output"
}

# asks REQUEST ARGUMENT...: silent, and the module is asked this
asks() {
	local expected=$1

	shift
	export FAKE_ASKED=$BATS_TEST_TMPDIR/asked
	rm -f "$FAKE_ASKED"
	LD_PRELOAD=$FAKE run "$kvmgang" "$@"
	echo "kvmgang $*: status $status, output: $output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	echo "expected $expected, got $(<"$FAKE_ASKED")"
	[ "$(<"$FAKE_ASKED")" = "$expected" ]
}

# says MESSAGE VARIABLES ARGUMENT...: status 1 and one line, of a module that answers so
says() {
	local message=$1 variables=$2

	shift 2
	read -ra variables <<<"$variables"
	LD_PRELOAD=$FAKE run env "${variables[@]}" "$kvmgang" "$@"
	echo "kvmgang $*: status $status, output: $output"
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: $message" ]
}

three_vms() {
	vmm -name guest=web,debug-threads=on
	vmm -name gone
	vmm -m 1G --name db
}

# sched_ext STATE [SCHEDULER]: what the kernel says of it
sched_ext() {
	export FAKE_SCHED_EXT=$BATS_TEST_TMPDIR/sched_ext
	mkdir -p "$FAKE_SCHED_EXT/root"
	echo "$1" >"$FAKE_SCHED_EXT/state"
	[ -z "${2-}" ] || echo "$2" >"$FAKE_SCHED_EXT/root/ops"
}

# refuses MESSAGE: run does nothing, and says why in one line
refuses() {
	fake run
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: $1" ]
}

@test "list: per vCPU averages, a vCPU and a VM that are new, a VM that is gone" {
	three_vms
	fake list -i 0.1
	[ "$status" -eq 0 ]
	[ ${#lines[@]} -eq 3 ]
	[[ ${lines[0]} =~ ^\ *ID\ NAME\ +PID\ VCPUS\ HOME\ RUNS-ON\ +RUN%\ READY%\ COSTP%\ THROT%\ HALT%\ BLOCK%\ READY-P99$ ]]
	read -ra web <<<"${lines[1]}"
	[ "${web[*]}" = "1 web ${vmms[0]} 3 0-1 N0:2,N1:1 40.0 10.0 0.0 0.0 50.0 0.0 1.02us" ]
	read -ra db <<<"${lines[2]}"
	[ "${db[*]}" = "3 db ${vmms[2]} 1 - N0:1 0.0 0.0 0.0 0.0 0.0 100.0 -" ]
}

@test "list is the default" {
	three_vms
	fake list -i 0.1
	local list=$output
	fake -i 0.1
	[ "$output" = "$list" ]
}

@test "list --json: the same figures, raw" {
	three_vms
	fake --json -i 0.1
	[ "$status" -eq 0 ]
	json '.host.vms' 2
	json '.host.vcpus' 4
	json '.host.interval_ns' 1000000000
	json '.host.busiest_id' 1
	json '.host.busiest_pcpus' 1
	json '[.vms[].id]' '[1,3]'
	json '.vms[0].name' '"web"'
	json '.vms[0].home_nodes' '[0,1]'
	json '.vms[0].runs_on' '[{"node":0,"vcpus":2},{"node":1,"vcpus":1}]'
	json '.vms[0].interval.time_ns' 2500000000
	json '.vms[0].interval.run_ns' 1000000000
	json '.vms[0].interval.ready_pct' 10.0
	json '.vms[0].interval.ready_episodes' 100
	json '.vms[0].interval.ready_p99_ns' 1024
	json '.vms[0].interval.ready_p999_ns' 1048576
	json '.vms[1].interval.ready_p99_ns' null
	json '.vms[0].total.ready_hist | length' 32
	json '[.vms[].interval | .time_ns == .run_ns + .ready_ns + .costop_ns + .throttled_ns +
		.halted_ns + .blocked_ns] | all' true
}

@test "show: by id and by name" {
	three_vms
	fake show 1 -i 0.1
	[ "$status" -eq 0 ]
	local by_id=$output
	[[ $output == *"db(3) 5.00ms"* ]]
	[[ $output == *"gone(2) 2.50s, db(3)"* ]]
	for line in "${lines[@]}"; do
		[ ${#line} -le 100 ]
	done
	fake show web -i 0.1
	[ "$output" = "$by_id" ]
}

@test "show --json: every vCPU" {
	three_vms
	fake show web -i 0.1 --json
	[ "$status" -eq 0 ]
	json '[.vcpus[].id]' '[0,1,2]'
	json '.vcpus[0].state' '"run"'
	json '.vcpus[0].interval.ready_pct' 25.0
	json '.vcpus[1].interval.halted_pct' 100.0
	json '.vcpus[2].interval.time_ns' 500000000
	json '.vcpus[0].interval.displaced_vm_ns' 250000000
	json '.vcpus[0].top_displacers' \
		'[{"vm_id":2,"name":null,"ns":2500000000},{"vm_id":3,"name":"db","ns":5000000}]'
}

@test "show: no such VM, and a VM that ends meanwhile" {
	three_vms
	fake show 7
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: VM id '7': no VM has this id (kvmgang list shows all)" ]
	fake show nobody
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: VM 'nobody': no VM has this name (kvmgang list shows all)" ]
	fake show gone -i 0.1
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: VM 'gone': ended during the interval" ]
}

@test "show: two VMs of one name" {
	vmm -name twin
	vmm -name guest=twin
	fake show twin
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: VM 'twin': several VMs have this name, use one of the ids 1 2" ]
}

@test "names: thread name without -name, none if not visible" {
	vmm -m 1G
	fake list -i 0.1 --json
	json '.vms[0].name' '"sh"'
	json '.vms[1].name' null
	json '.vms[1].pid' 0
}

@test "names: no control character reaches the terminal" {
	vmm -name $'a\033[31mb\377'
	fake list -i 0.1
	[[ ${lines[1]} == *" a?[31mb? "* ]]
	fake list -i 0.1 --json
	json '.vms[0].name' '"a?[31mb?"'
}

@test "top: most ready first, one block or one JSON line per refresh" {
	three_vms
	fake top -i 0.1 -n 2
	[ "$status" -eq 0 ]
	[ "$(grep -c '^PCPUS ' <<<"$output")" -eq 2 ]
	[[ $output != *$'\033'* ]]
	fake top -i 0.1 -n 3 --json
	[ ${#lines[@]} -eq 3 ]
	[ "$(jq -c '[.vms[].id]' <<<"$output" | sort -u)" = "[1,3]" ]
}

@test "top: a signal ends it with status 0" {
	three_vms
	for signal in INT TERM; do
		LD_PRELOAD=$FAKE run timeout --preserve-status -s "$signal" 1 "$kvmgang" top -i 0.2
		echo "$signal: status $status"
		[ "$status" -eq 0 ]
	done
}

@test "status" {
	fake status
	[ "$status" -eq 0 ]
	[[ $output =~ "bytes per vCPU "+1234 ]]
	[[ $output =~ "forced idle "+1.50s ]]
	fake status --json
	json .abi 1
	json .max_vcpus 16384
	json .vcpu_bytes 1234
	json .refused 7
	json .forced_idle_ns 1500000000
	json .kernel "\"$(uname -r)\""
}

@test "status: schedulers" {
	sched_ext disabled
	fake status --json
	json .sched_ext false
	json .sched_ext_state '"disabled"'
	json .scheduler '"EEVDF (no sched_ext)"'
	json .scheduler_age_ns null
	json .nodes null
	sched_ext enabled scx_other
	fake status --json
	json .sched_ext true
	json .scheduler '"scx_other"'
	json .nodes null
	fake status
	[[ $output =~ "scheduler's age "+- ]]
}

@test "run: refused before anything happens" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	sched_ext disabled
	FAKE_KFUNC_ABI=99 refuses "scheduler: kfunc ABI of the module is 99: must be 6"
	FAKE_ERRNO=2 refuses "/dev/kvmgang: module kvmgang is not loaded (insmod kvmgang.ko)"
	sched_ext enabled scx_other
	refuses "scheduler: 'scx_other' is attached, and only one can be"
	sched_ext enabling
	refuses "scheduler: another one is just being attached"
}

@test "run: not without privilege" {
	command -v setpriv || skip "no setpriv"
	[ "$(id -u)" = 0 ] || skip "needs root"
	sched_ext disabled
	LD_PRELOAD=$FAKE run setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$kvmgang" run
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: scheduler: permission denied (root, or CAP_SYS_ADMIN)" ]
}

@test "run: a signal while another scheduler is being detached" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	sched_ext disabling scx_other
	for signal in INT TERM HUP; do
		LD_PRELOAD=$FAKE run timeout --preserve-status -s "$signal" 1 "$kvmgang" run
		echo "$signal: status $status, $output"
		[ "$status" -eq 0 ]
	done
}

@test "show: settings and where they come from" {
	three_vms
	fake show web -i 0.1
	[ "$status" -eq 0 ]
	[[ $output == *$'\nPolicy\nKEY          VALUE     ORIGIN\nshares       250       cgroup\n'* ]]
	[[ $output == *$'\ncostop_us    3000      default\n'* ]]
	[[ $output == *$'\nhome_nodes   0-1,3     user\n'* ]]
	[[ $output == *$'\nlimit        0         default\nreservation  700       user\n'* ]]
	[[ $output == *$'\nlatency      sensitive user\n'* ]]
	[[ $output == *$'\nready_target 50        user\nisolation    core      user\n'* ]]
	[[ $output =~ "forced idle "+250 ]]
	fake show web -i 0.1 --json
	json .policy.shares '{"value":250,"origin":"cgroup"}'
	json .policy.gang '{"value":"auto","origin":"default"}'
	json .policy.home_nodes '{"value":[0,1,3],"origin":"user"}'
	json .policy.limit '{"value":0,"origin":"default"}'
	json .policy.reservation '{"value":700,"origin":"user"}'
	json .policy.latency '{"value":"sensitive","origin":"user"}'
	json .policy.ready_target '{"value":50,"origin":"user"}'
	json .policy.isolation '{"value":"core","origin":"user"}'
	json '.policy | keys | length' 10
	json .forced_idle_ns 250000000
}

@test "defaults" {
	fake defaults
	[ "$status" -eq 0 ]
	[ "${lines[5]}" = "home_nodes   auto   default" ]
	[ "${lines[8]}" = "latency      normal default" ]
	[ "${lines[9]}" = "ready_target 0      default" ]
	[ "${lines[10]}" = "isolation    none   default" ]
	fake defaults --json
	json .home_nodes.value '"auto"'
	json .costart_us '{"value":2000,"origin":"default"}'
}

@test "set, reset and defaults ask for all at once" {
	three_vms
	asks "vm 1 set 0x1 reset 0: 10000 0 0 0 0 0 0 0 0 0" set web shares=10000
	asks "vm 1 set 0x3ff reset 0: 1 2 1000000 100 35 2500 1024000 1 1000 1" \
		set 1 gang=strict shares=1 costart_us=100 home_nodes=0-1,5 costop_us=1000000 \
		latency=sensitive reservation=1024000 limit=2500 ready_target=1000 isolation=core
	asks "vm 1 set 0x10 reset 0x1: 0 0 0 0 0 0 0 0 0 0" set web home_nodes=auto shares=default
	asks "vm 1 set 0x10 reset 0: 0 0 0 0 9223372036854775808 0 0 0 0 0" set 1 home_nodes=63
	asks "vm 1 set 0x3e0 reset 0: 0 0 0 0 0 0 0 0 0 0" \
		set 1 limit=0 reservation=0 latency=normal ready_target=0 isolation=none
	asks "vm 1 set 0 reset 0x3ff: 0 0 0 0 0 0 0 0 0 0" reset web
	asks "vm 1 set 0 reset 0xa: 0 0 0 0 0 0 0 0 0 0" reset 1 gang costart_us
	asks "vm 1 set 0 reset 0x60: 0 0 0 0 0 0 0 0 0 0" reset 1 reservation limit
	asks "vm 0 set 0x2 reset 0x4: 0 0 0 0 0 0 0 0 0 0" defaults gang=off costop_us=default
	asks "vm 0 set 0x40 reset 0x80: 0 0 0 0 0 0 250 0 0 0" defaults reservation=250 latency=default
}

@test "what the module refuses is one line and status 1" {
	three_vms
	says "home_nodes '8-9': must be auto or a list of nodes such as 0-1,3, which have CPUs or memory" \
		"FAKE_SET_ERRNO=34 FAKE_BAD=0x10" set web shares=7 home_nodes=8-9
	says "costart_us '3001': must be 100 to 1000000, and not above costop_us, which is 3000" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0x8" set web costart_us=3001
	says "costop_us '200': must be 100 to 1000000, and not below costart_us, which is 300" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0xc" set web costart_us=300 costop_us=200
	says "costop_us '200': must be 100 to 1000000, and not below costart_us of VM 7" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0x4 FAKE_BAD_VM=7" defaults costop_us=200
	says "costop_us 'default': must be 100 to 1000000, and not below costart_us, which is 2000" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0x4" reset web costop_us
	says "/dev/kvmgang: to change something needs CAP_SYS_NICE" FAKE_SET_ERRNO=1 set web shares=7
	says "VM id '1': no VM has this id (any more)" FAKE_SET_ERRNO=2 set web shares=7
	says "VM 'nobody': no VM has this name (kvmgang list shows all)" FAKE_BAD=0 \
		set nobody shares=7
	says "/dev/kvmgang: permission denied (root, or who may write it)" FAKE_ERRNO=13 \
		defaults shares=7
}

@test "a reservation and a limit that contradict" {
	three_vms
	says "limit '600': must be 0 to 1024000, and not below reservation, which is 700; or 0, which is none" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0x20" set web limit=600
	says "limit '800': must be 0 to 1024000, and not below reservation, which is 900; or 0, which is none" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0x60" set web limit=800 reservation=900
	says "reservation '900': must be 0 to 1024000, and not above limit by default" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0x40" set web limit=default reservation=900
	says "limit '600': must be 0 to 1024000, and not below reservation of VM 7; or 0, which is none" \
		"FAKE_SET_ERRNO=22 FAKE_BAD=0x20 FAKE_BAD_VM=7" defaults limit=600
}

@test "reservations for which there are no pCPUs" {
	three_vms
	says "reservation '3000': must be at most 1500: other VMs reserve 2500 of the host's 4000 milli-pCPU" \
		"FAKE_SET_ERRNO=28 FAKE_BAD=0x40 FAKE_FULL=5500/4000" set web reservation=3000 shares=7
	says "reservation '3000': must be at most 0: other VMs reserve 2000 of the 2000 milli-pCPU of nodes 0" \
		"FAKE_SET_ERRNO=28 FAKE_BAD=0x50 FAKE_FULL=5000/2000 FAKE_FULL_NODES=1" \
		set web reservation=3000 home_nodes=0
	# The module was asked for more while others had too much.
	says "reservation '800': must be at most 700: other VMs reserve 5000 of the host's 4000 milli-pCPU" \
		"FAKE_SET_ERRNO=28 FAKE_BAD=0x40 FAKE_FULL=5800/4000" set web reservation=800
	says "home_nodes '0-1': 4001 of the 4000 milli-pCPU of nodes 0-1 would be reserved" \
		"FAKE_SET_ERRNO=28 FAKE_BAD=0x10 FAKE_FULL=4001/4000 FAKE_FULL_NODES=3" \
		set web home_nodes=0-1
	says "reservation 'default': 4500 of the host's 4000 milli-pCPU would be reserved" \
		"FAKE_SET_ERRNO=28 FAKE_BAD=0x40 FAKE_FULL=4500/4000" reset web
	says "reservation '250': 4500 of the host's 4000 milli-pCPU would be reserved" \
		"FAKE_SET_ERRNO=28 FAKE_BAD=0x40 FAKE_FULL=4500/4000" defaults reservation=250
}

@test "an older ABI is refused, a newer one is not" {
	FAKE_ABI=0 fake list
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: /dev/kvmgang: ABI of the module is 0: must be 1 or later" ]
	FAKE_ABI=2 fake status
	[ "$status" -eq 0 ]
}

@test "permission denied" {
	FAKE_ERRNO=13 fake list
	[ "$status" -eq 1 ]
	[ "$output" = "kvmgang: /dev/kvmgang: permission denied (root, or who may read it)" ]
}
