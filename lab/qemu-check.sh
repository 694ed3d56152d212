#!/bin/bash
# Does the lab's QEMU keep what each of its patches promises? Prints TAP; runs on the host, calls
# itself in the lab host and in the rootfs.
#
# Directed yields are for the selftests, whose guests have several vCPUs.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=selftests/tap.sh
. selftests/tap.sh

program=build/qemu-check
kernel=/opt/kernel/7.2

# between NAME VALUE LOW HIGH
between() {
	local complaint=''

	if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		complaint="got $2, expected $3 to $4"
	fi
	report "$1" "$complaint"
}

# pause_exits SUBCOMMAND: how often a guest's 60000 PAUSEs made it exit.
pause_exits() {
	local tracing=/sys/kernel/tracing

	echo >$tracing/trace
	echo 'exit_reason == 0x77' >$tracing/events/kvm/kvm_exit/filter
	echo 1 >$tracing/events/kvm/kvm_exit/enable
	"$program" "$1" 60000
	echo 0 >$tracing/events/kvm/kvm_exit/enable
	grep -c kvm_exit: $tracing/trace || :
}

# pack DIRECTORY PROGRAM: an initramfs of busybox with this init. The kernel parses the numbers in its
# headers, which takes a time that depends on their digits: so no dates, and inodes from 1.
pack() {
	mkdir -p "$1"/{bin,dev,proc,sys}
	cp /bin/busybox "$1/bin/"
	mknod "$1/dev/console" c 5 1
	printf '%s\n' '#!/bin/busybox sh' "$2" >"$1/init"
	chmod +x "$1/init"
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . | sort | cpio --quiet -o -H newc --reproducible)
}

linux_guest() {
	local work status=0

	work=$(mktemp -d)
	# shellcheck disable=SC2016
	pack "$work/initramfs" \
		'echo the guest is up with $(/bin/busybox nproc) vCPUs; /bin/busybox reboot -f' \
		>"$work/initramfs.cpio"
	timeout 300 /opt/qemu/bin/qemu-system-x86_64 -M microvm -accel kvm -cpu host -smp 2 -m 256 \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$kernel/vmlinux" -initrd "$work/initramfs.cpio" \
		-append 'console=ttyS0 quiet panic=-1 mitigations=off' \
		-serial "file:$work/console" >"$work/qemu" 2>&1 || status=$?
	grep -q 'the guest is up with 2 vCPUs' "$work/console" ||
		{ echo "QEMU exited with $status"; tail -n 20 "$work/qemu" "$work/console"; }
}

in_lab_host() {
	local alone together guest

	alone=$("$program" rate 1)
	together=$("$program" rate 4)
	between 'a CPU is as fast while three others idle as while they work (per mille)' \
		$((alone * 1000 / together)) 990 1010
	between 'PAUSE takes the time of about 40 instructions' "$("$program" pause)" 36 44
	report 'KVM uses the pause filter' \
		"$(grep -qx 3000 /sys/module/kvm_amd/parameters/pause_filter_count || echo it does not)"
	# KVM waits for 3000, then 6000, then 12000, and a tick of the host, each 12000 or so, starts
	# the count anew.
	between 'a guest that pauses in a tight loop exits' "$(pause_exits filter)" 2 3
	between 'a guest that pauses now and then does not' "$(pause_exits spread)" 0 0
	for guest in first second; do
		report "a Linux guest boots in the lab host, the $guest" "$(linux_guest)"
	done
	finish
}

# The console of a machine that has nothing from outside: no 9p, no clock, no seed of its own.
in_rootfs() {
	local work

	work=$(mktemp -d)
	mkdir -p "$work/initramfs"
	cp -r "$kernel/modules" "$program" "$work/initramfs/"
	# shellcheck disable=SC2016
	pack "$work/initramfs" '
		/bin/busybox mount -t proc proc /proc
		/bin/busybox mount -t devtmpfs dev /dev
		for module in /modules/*kvm*.ko /modules/*irq*.ko /modules/*ccp.ko /modules/*kvm*.ko; do
			/bin/busybox insmod $module 2>/dev/null
		done
		/qemu-check filter 60000 && echo a guest has run
		/qemu-check race
		/bin/busybox cat /proc/interrupts /proc/schedstat
		/bin/busybox poweroff -f
	' >"$work/initramfs.cpio"
	timeout 300 /opt/qemu/bin/qemu-system-x86_64 -machine q35 -smp 4 -m 512 \
		-cpu EPYC-Milan,+svm,+npt,+pause-filter,+pfthreshold \
		-accel tcg,thread=single -icount shift=1,sleep=off,lockstep=1000 \
		-rtc base=2026-01-01T00:00:00,clock=vm -seed 1 \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$kernel/vmlinux" -initrd "$work/initramfs.cpio" \
		-append 'console=ttyS0 panic=-1 oops=panic mitigations=off tsc=reliable nokaslr' \
		-serial "file:$work/console" 2>/dev/null || :
	cat "$work/console"
}

same_twice() {
	local first second

	first=$(lab/lab shell lab/qemu-check.sh in_rootfs)
	second=$(lab/lab shell lab/qemu-check.sh in_rootfs)
	report 'a machine without input runs its race and its guest' \
		"$(grep -q 'a guest has run' <<<"$first" || tail -n 20 <<<"$first")"
	report 'identical runs give identical figures, to the nanosecond' \
		"$(diff <(echo "$first") <(echo "$second") | head -n 20)"
}

case ${1:-} in
in_lab_host) in_lab_host ;;
in_rootfs) in_rootfs ;;
'')
	lab/lab build "$program" >&2
	status=0
	output=$(mktemp)
	lab/lab run --cores 4 --timeout 900 -- lab/qemu-check.sh in_lab_host | tee "$output" | grep -v '^1\.\.' || status=$?
	tap_nr=$(grep -cE '^(not )?ok ' "$output")
	rm "$output"
	same_twice
	finish && exit "$status"
	;;
esac
