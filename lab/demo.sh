#!/bin/bash
# make demo, inside the lab host: three Linux guests want over twice the pCPUs there are. kvmgang
# says which of them waited, for how long, and because of whom; then it schedules them, and what
# they get done stands beside what they did under EEVDF.
#
# The guests are real: QEMU with KVM, a Debian kernel that knows that it is a guest, and
# demo-guest.c at work inside. They are booted once, and work on whatever happens around them.
set -euo pipefail
# shellcheck source=lab/attach.sh
. lab/attach.sh

kernel=$(uname -r)
series=$(cut -d. -f1,2 <<<"$kernel")
work=$(mktemp -d)
seconds=2

guests=(solver batch web)
declare -A vcpus=([solver]=4 [batch]=4 [web]=1)

make_initramfs() {
	mkdir "$work/initramfs"
	cp build/demo-guest "$work/initramfs/init"
	(cd "$work/initramfs" && find . | cpio --quiet -o -H newc) >"$work/initramfs.cpio"
}

start() {
	/opt/qemu/bin/qemu-system-x86_64 -name "guest=$1" -M microvm -accel kvm -cpu host \
		-smp "${vcpus[$1]}" -m 160 -nodefaults -no-user-config -display none -no-reboot \
		-kernel "/opt/kernel/$series/vmlinux" -initrd "$work/initramfs.cpio" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off -- $1" \
		-serial "file:$work/$1.log" -daemonize -pidfile "$work/$1.pid" 2>"$work/$1.err" ||
		{ cat "$work/$1.err" >&2; exit 1; }
}

# Prints the guest's latest complete report: pieces of work done, and when, by its own clock.
progress() {
	sed -n 's/^done \([0-9]*\) at \([0-9]*\) ns\r$/\1 \2/p' "$work/$1.log" | tail -n 1
}

wait_for_work() {
	local name tries

	for name in "${guests[@]}"; do
		for ((tries = 0; tries < 600; tries++)); do
			[ -z "$(progress "$name")" ] || break
			sleep 1
		done
		[ "$tries" -lt 600 ] || { echo "$name did not boot:"; cat "$work/$name.log"; exit 1; }
		echo "  $name works"
	done
}

# A kernel goes on booting behind its first process. The load of web is known: it mostly sleeps.
wait_for_quiet() {
	local tries

	for ((tries = 0; tries < 60; tries++)); do
		build/kvmgang list -i 1 --json |
			jq -e '.vms[] | select(.name == "web").interval.halted_pct > 60' >/dev/null &&
			return
	done
	echo "the kernel of web does not come to rest"
	exit 1
}

# measure NAME: leaves in NAME.json what list --json says, and at which rate each VM worked.
measure() {
	local name done_before done_after ns_before ns_after rates=''
	local -A before=()

	for name in "${guests[@]}"; do
		before[$name]=$(progress "$name")
	done
	build/kvmgang list -i "$seconds" --json >"$work/list.json"
	for name in "${guests[@]}"; do
		read -r done_before ns_before <<<"${before[$name]}"
		read -r done_after ns_after <<<"$(progress "$name")"
		rates+=",\"$name\":$(((done_after - done_before) * 1000000000 /
			(ns_after - ns_before)))"
	done
	jq --argjson rates "{${rates#,}}" '.vms[] |= . + { rate: $rates[.name] }' \
		"$work/list.json" >"$work/$1.json"
}

# What list --json says, as a person would say it.
in_words() {
	jq -r '
		def s: . / 1e9 * 100 | round / 100;
		def pct: . * 10 | round / 10;
		def share($all): if $all > 0 then 100 * . / $all | round else 0 end;
		.vms | sort_by(-.interval.ready_pct)[] | .interval as $i |
		($i | .displaced_vm_ns + .displaced_sibling_ns + .displaced_host_ns +
			.displaced_kthread_ns + .displaced_nobody_ns) as $by |
		"\(.name): its vCPUs (\(.nr_vcpus)) waited \($i.ready_ns | s) s in all, " +
		"\($i.ready_pct | pct) % of their time: " +
		"\($i.displaced_vm_ns | share($by)) % of it other VMs had the pCPU, " +
		"\($i.displaced_sibling_ns | share($by)) % its own vCPUs, " +
		"\($i.displaced_host_ns + $i.displaced_kthread_ns | share($by)) % the host."
	' "$work/eevdf.json"
	jq -r '
		.name as $name | [.vcpus[].top_displacers[]] | group_by(.vm_id) |
		map({ name: .[0].name, ns: (map(.ns) | add) }) | sort_by(-.ns) |
		"Since it started, \($name) waited most for " + (map("\(.name) (\(.ns / 1e9 * 100 |
			round / 100) s)") | join(" and ")) + "."
	' "$work/show.json"
}

# One line per guest: its rate under EEVDF, under kvmgang and under EEVDF again, and how it waited.
side_by_side() {
	local format='%-7s %5s  %9s %6s %7s  %9s %6s %7s  %9s\n'

	# shellcheck disable=SC2059
	printf "$format" '' '' EEVDF '' '' kvmgang '' '' EEVDF
	# shellcheck disable=SC2059
	printf "$format" GUEST VCPUS DONE/S READY% COSTOP% DONE/S READY% COSTOP% DONE/S
	jq -rn '
		def pct: . * 10 | round / 10;
		[inputs.vms | map({ key: .name, value: . }) | from_entries] as $runs |
		$ARGS.positional[] as $name | [$runs[][$name]] as [$eevdf, $kvmgang, $again] |
		[$name, $eevdf.nr_vcpus,
			(($eevdf, $kvmgang) | .rate, (.interval.ready_pct, .interval.costop_pct | pct)),
			$again.rate] | @tsv
	' "$work"/{eevdf,kvmgang,again}.json --args "${guests[@]}" |
		while read -ra figures; do
			# shellcheck disable=SC2059
			printf "$format" "${figures[@]}"
		done
	echo
	jq -rn '
		[inputs.vms | map({ key: .name, value: .rate }) | from_entries] as
			[$eevdf, $kvmgang, $again] |
		"Under kvmgang, against the mean of before and after, " + ([$ARGS.positional[] |
			"\(.) did \(200 * $kvmgang[.] / ($eevdf[.] + $again[.]) | round) %"] |
			join(", ")) + ".\n" +
		"The threads of solver wait for each other: it gets on only while all its vCPUs run."
	' "$work"/{eevdf,kvmgang,again}.json --args "${guests[@]}"
}

stop() {
	local pid

	for pid in "$work"/*.pid; do
		kill "$(cat "$pid")"
	done
}

echo "== kvmgang on $kernel, $(nproc) pCPUs"
insmod "build/$kernel/kvmgang.ko"
make_initramfs
echo "== Booting three Linux guests with 9 vCPUs in all (a minute or two of emulation)"
for name in "${guests[@]}"; do
	start "$name"
done
wait_for_work
wait_for_quiet

echo "== kvmgang top, under Linux' own scheduler, EEVDF"
build/kvmgang top -n 2 -i 1

echo "== In words, over the next $seconds s"
measure eevdf
build/kvmgang show solver -i 0.1 --json >"$work/show.json"
in_words

echo "== kvmgang run, while the guests work (the kernel verifies it first, which takes a while)"
attach
sleep 1
measure kvmgang
detach
sleep 1
measure again

echo "== What they got done: $seconds s under EEVDF, under kvmgang, and under EEVDF again"
side_by_side

stop
rmmod kvmgang
echo "== The module is gone again; the guests ran until we stopped them."
