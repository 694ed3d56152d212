# shellcheck shell=bash disable=SC2154
# Boots the lab host: our QEMU, run in the chroot, emulates an AMD machine with SVM; its root file
# system is the chroot itself over 9p, read-only.
#
# No network, no disk, no firmware screen, no service manager: what is not there needs no time and
# cannot differ between runs. See init for what the lab host does once its kernel is up.

# An instruction takes 2^icount_shift ns of virtual time, and in each round every CPU is charged
# icount_lockstep of them: 500 million instructions per second, shared evenly by all CPUs.
icount_shift=1
icount_lockstep=1000

run_options() {
	kernel=7.2 nodes=1 cores=4 threads=1 memory=4096 wallclock=false timeout=1800 append='' console=''
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		[ "$1" = --wallclock ] || [ $# -gt 1 ] || die "run: $1 needs a value"
		case $1 in
		--kernel) kernel=$2; shift ;;
		--nodes) nodes=$2; shift ;;
		--cores) cores=$2; shift ;;
		--threads) threads=$2; shift ;;
		--memory) memory=$2; shift ;;
		--timeout) timeout=$2; shift ;;
		--append) append=$2; shift ;;
		--console) console=$2; shift ;;
		--wallclock) wallclock=true ;;
		*) die "run: unknown option $1" ;;
		esac
		shift
	done
	[ $# -gt 1 ] || die "run: which command? It comes after --"
	shift
	command=("$@")
	available="7.2 7.3 $(kernels_built | paste -sd' ')"
	[[ " $available " = *" $kernel "* ]] ||
		die "run: there is no kernel $kernel but $available; lab/lab setup builds the lab's own"
	# Each node has the same share.
	memory=$((memory / nodes * nodes))
}

machine_arguments() {
	local node per_node=$((cores * threads)) cpu=EPYC-Milan,+svm,+npt,+pause-filter,+pfthreshold

	[ "$threads" = 1 ] || cpu+=,+topoext
	machine=(
		-machine q35 -cpu "$cpu" -accel "tcg,thread=single,tb-size=512"
		-smp "$((nodes * per_node)),sockets=$nodes,cores=$cores,threads=$threads"
		-m "$memory"
	)
	for ((node = 0; node < nodes; node++)); do
		machine+=(
			-object "memory-backend-ram,id=node$node,size=$((memory / nodes))M"
			-numa "node,nodeid=$node,memdev=node$node,cpus=$((node * per_node))-$(((node + 1) * per_node - 1))"
		)
	done
	$wallclock || machine+=(
		-icount "shift=$icount_shift,sleep=off,lockstep=$icount_lockstep" -rtc clock=vm
	)
}

run() {
	local kernel nodes cores threads memory wallclock timeout append console command machine available
	local out status=125

	run_options "$@"
	machine_arguments
	mkdir -p "$checkout/build"
	out=$(mktemp -d "$checkout/build/run.XXXXXX")
	printf '%s\n' "${command[@]@Q}" | paste -sd' ' >"$out/command"
	# QEMU opens its output by name, which works for a pipe whatever ours is.
	enter timeout --foreground --kill-after=5 "$timeout" lab/boot-inside "/src/build/${out##*/}" "$kernel" \
		"$append" "${machine[@]}" | cat && status=0 || status=$?
	[ -z "$console" ] || cp "$out/console" "$console"
	if [ "$status" = 124 ] || [ "$status" = 137 ]; then
		say "the lab host did not finish within $timeout s; the end of its console:"
		tail -n 25 "$out/console" >&2 || :
		status=124
	elif [ -s "$out/status" ]; then
		status=$(cat "$out/status")
	else
		say "the lab host died (QEMU exited with $status); QEMU's last words:"
		grep -v "warning: TCG doesn't support" "$out/qemu" | tail -n 5 >&2 || :
		say "the end of its console:"
		tail -n 60 "$out/console" >&2 || :
		status=125
	fi
	rm -rf "$out"
	return "$status"
}
