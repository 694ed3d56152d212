#!/bin/bash
# make demo, inside the lab host: three Linux guests want twice the pCPUs that there are; kvmgang
# says which of them waited, for how long, and because of whom.
#
# The guests are real: QEMU with KVM, a Debian kernel, busybox at work inside. It measures nothing to
# be proud of: that is bench/, and the scheduler's business.
set -euo pipefail

kernel=$(uname -r)
series=$(cut -d. -f1,2 <<<"$kernel")
work=$(mktemp -d)
seconds=3

make_initramfs() {
	mkdir -p "$work/initramfs/bin"
	cp /bin/busybox "$work/initramfs/bin/"
	ln -s busybox "$work/initramfs/bin/sh"
	cp lab/demo-guest "$work/initramfs/init"
	(cd "$work/initramfs" && find . | cpio --quiet -o -H newc) >"$work/initramfs.cpio"
}

# start NAME VCPUS LOAD
start() {
	/opt/qemu/bin/qemu-system-x86_64 -name "guest=$1" -M microvm -accel kvm -cpu host \
		-smp "$2" -m 160 -nodefaults -no-user-config -display none -no-reboot \
		-kernel "/opt/kernel/$series/vmlinux" -initrd "$work/initramfs.cpio" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off load=$3" \
		-serial "file:$work/$1.log" -daemonize -pidfile "$work/$1.pid" 2>"$work/$1.err" ||
		{ cat "$work/$1.err" >&2; exit 1; }
}

rounds() {
	grep -ac '^round' "$work/$1.log" || true
}

progress() {
	echo "$(rounds web), $(rounds db), $(rounds batch)"
}

wait_for_work() {
	local name tries

	for name in web db batch; do
		for ((tries = 0; $(rounds "$name") == 0; tries++)); do
			[ "$tries" -lt 600 ] || { echo "$name did not boot:"; cat "$work/$name.log"; exit 1; }
			sleep 1
		done
		echo "  $name works"
	done
}

stop() {
	local pid

	for pid in "$work"/*.pid; do
		kill "$(cat "$pid")"
	done
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
		"\(.name): its \(.nr_vcpus) vCPUs waited \($i.ready_ns | s) s in all, " +
		"\($i.ready_pct | pct) % of their time: " +
		"\($i.displaced_vm_ns | share($by)) % of it other VMs had the pCPU, " +
		"\($i.displaced_sibling_ns | share($by)) % its own vCPUs, " +
		"\($i.displaced_host_ns + $i.displaced_kthread_ns | share($by)) % the host."
	' "$work/list.json"
	jq -r '
		.name as $name | [.vcpus[].top_displacers[]] | group_by(.vm_id) |
		map({ name: .[0].name, ns: (map(.ns) | add) }) | sort_by(-.ns) |
		"Since it started, \($name) waited most for " + (map("\(.name) (\(.ns / 1e9 * 100 |
			round / 100) s)") | join(" and ")) + "."
	' "$work/show.json"
}

echo "== kvmgang on $kernel, $(nproc) pCPUs on $(numactl -H | awk '/^available/ { print $2 }') nodes"
insmod "build/$kernel/kvmgang.ko"
make_initramfs
echo "== Booting three Linux guests with 16 vCPUs in all (two minutes of emulation)"
start web 4 web
start db 4 db
start batch 8 batch
wait_for_work
before=$(progress)

echo "== kvmgang top"
build/kvmgang top -n 2 -i 1

echo "== In words, over the next $seconds s"
build/kvmgang list -i "$seconds" --json >"$work/list.json"
build/kvmgang show web -i 0.1 --json >"$work/show.json"
in_words
echo "Rounds of work done by web, db and batch: $before before, $(progress) after."

stop
rmmod kvmgang
echo "== The module is gone again; the guests ran until we stopped them."
