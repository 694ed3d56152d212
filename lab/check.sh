#!/bin/bash
# make check: runs the groups of tests, two at a time, and sums up their TAP.
#
#	lab/check.sh [GROUP]...
#
# A group is a command that prints TAP and exits non-zero when it failed. One that dies, prints no
# plan or fewer results than planned has failed, whatever it printed before. Nothing is retried.
# Each group's output is in build/check/GROUP.log. At the end it says where the time went, that of
# setting up the lab included.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# Name and command, one a line. Long ones first: that fills both CPUs best.
groups=(
	'debug-time       lab/lab run --kernel debug --nodes 2 --cores 2 --memory 2048 --timeout 3600 -- selftests/run.sh --timed'
	'kselftest-7.2    lab/lab run --kernel 7.2 --nodes 2 --cores 4 --timeout 2400 -- selftests/run.sh'
	'kselftest-7.3    lab/lab run --kernel 7.3 --nodes 2 --cores 2 --timeout 2400 -- selftests/run.sh'
	'kselftest-6.12   lab/lab run --kernel 6.12 --nodes 2 --cores 2 --timeout 2400 -- selftests/run.sh'
	'run-7.2          lab/lab run --kernel 7.2 --nodes 2 --cores 1 --wallclock --timeout 2400 -- selftests/run.sh test_run'
	'run-7.3          lab/lab run --kernel 7.3 --cores 2 --wallclock --timeout 2400 -- selftests/run.sh test_run'
	'gang-1-node      lab/lab run --cores 4 --timeout 2400 -- selftests/run.sh test_gang test_costart test_limit test_target test_cgroup test_verifier'
	'gang-2-nodes     lab/lab run --kernel 7.3 --nodes 2 --cores 2 --timeout 2400 -- selftests/run.sh test_gang test_wide'
	'ordinary         lab/lab run --kernel 7.3 --nodes 2 --cores 2 --timeout 2400 -- selftests/run.sh test_ordinary test_cgroup test_verifier'
	'isolate          lab/lab run --kernel 7.3 --cores 2 --threads 2 --timeout 2400 -- selftests/run.sh test_isolate'
	'debug            lab/lab run --kernel debug --nodes 2 --cores 2 --memory 2048 --wallclock --timeout 2400 -- selftests/run.sh --untimed'
	'upstream-kvm     lab/lab run --nodes 2 --cores 2 --timeout 1200 -- selftests/upstream.sh'
	'kunit            lab/lab run --kernel debug --cores 1 --threads 2 --wallclock --timeout 2400 -- selftests/kunit.sh'
	'diag             lab/lab run --nodes 2 --cores 2 --wallclock --timeout 1200 -- selftests/diag.sh'
	'smt              lab/lab run --cores 2 --threads 2 --timeout 1200 -- selftests/run.sh test_counters test_identity'
	'qemu             lab/qemu-check.sh'
	'lint             lab/lab shell lab/lint.sh'
	'tool             lab/lab shell bats --tap userspace/test'
	'build            lab/build-check.sh'
)
# The emulator has one thread, so two groups are what two CPUs can do.
at_a_time=2

logs=build/check

die() {
	echo "check: $*" >&2
	exit 1
}

command_of() {
	local line name command

	for line in "${groups[@]}"; do
		read -r name command <<<"$line"
		[ "$name" != "$1" ] || { echo "$command"; return; }
	done
	die "no group $1; there are: $(printf '%s\n' "${groups[@]}" | awk '{ print $1 }' | paste -sd' ')"
}

run_group() {
	local name=$1 command=$2 started=$SECONDS status=0

	# The commands of the table are words without quotes.
	# shellcheck disable=SC2086
	$command >"$logs/$name.log" 2>&1 </dev/null || status=$?
	echo "$status $((SECONDS - started))" >"$logs/$name.done.new"
	mv "$logs/$name.done.new" "$logs/$name.done"
}

# Prints: passed failed skipped planned. Planned is empty without a plan.
count() {
	awk '
		/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0 }
		/^ok .*# *[Ss][Kk][Ii][Pp]/ { skipped++; next }
		/^ok / { passed++ }
		/^not ok / { failed++ }
		END { print passed + 0, failed + 0, skipped + 0, plan }
	' "$logs/$1.log"
}

progress() {
	local line='' name passed failed skipped
	for name in "${!pid[@]}"; do
		read -r passed failed skipped _ < <(count "$name")
		line+="$name: $((passed + skipped)) ok, $failed not ok · "
	done
	[ ! -t 2 ] || printf '\r\033[K%3d s · %s' "$SECONDS" "${line% · }" >&2
}

finish() {
	local name=$1 status seconds passed failed skipped planned

	wait "${pid[$name]}"
	unset "pid[$name]"
	read -r status seconds <"$logs/$name.done"
	read -r passed failed skipped planned < <(count "$name")
	if [ "$status" != 0 ] && [ "$failed" = 0 ]; then
		echo "not ok - $name: exited with $status" >>"$logs/$name.log"
		failed=1
	elif [ -z "$planned" ]; then
		echo "not ok - $name: printed no plan" >>"$logs/$name.log"
		failed=$((failed + 1))
	elif [ $((passed + failed + skipped)) -ne "$planned" ]; then
		echo "not ok - $name: $((passed + failed + skipped)) results, but planned $planned" \
			>>"$logs/$name.log"
		failed=$((failed + 1))
	fi
	table+="$(printf '%-16s %5d s %6d %6d %7d' "$name" "$seconds" "$passed" "$failed" "$skipped")"$'\n'
	all_passed=$((all_passed + passed))
	all_failed=$((all_failed + failed))
	all_skipped=$((all_skipped + skipped))
	[ "$failed" = 0 ] || failures+=("$name")
	[ ! -t 2 ] || printf '\r\033[K' >&2
	echo "$name: $passed passed, $failed failed, $skipped skipped in $seconds s" >&2
}

reap() {
	local name

	for name in "${!pid[@]}"; do
		[ ! -e "$logs/$name.done" ] || finish "$name"
	done
}

stop_all() {
	local name

	for name in "${!pid[@]}"; do
		kill -- "-${pid[$name]}" 2>/dev/null || :
	done
}

show_failures() {
	local name

	for name in "${failures[@]}"; do
		echo
		echo "== $name failed ($logs/$name.log)"
		# What a test has to say of its failure stands before it or after it.
		grep -a -B 6 -A 8 '^not ok' "$logs/$name.log" | head -n 120
		[ "$(grep -ac '^not ok' "$logs/$name.log")" -gt 1 ] || tail -n 30 "$logs/$name.log"
	done
}

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(printf '%s\n' "${groups[@]}" | awk '{ print $1 }')
for name in "${names[@]}"; do
	command_of "$name" >/dev/null
done

mkdir -p "$logs"
export KVMGANG_TIMES=$PWD/$logs/times
: >"$KVMGANG_TIMES"
lab/lab setup
if ! lab/lab build >"$logs/make.log" 2>&1; then
	grep -v '^make\[' "$logs/make.log"
	echo
	echo '0 passed, 1 failed, 0 skipped'
	exit 1
fi

set_up=$SECONDS
declare -A pid=()
table='' failures=() all_passed=0 all_failed=0 all_skipped=0
trap stop_all EXIT
set -m
for name in "${names[@]}"; do
	while [ ${#pid[@]} -ge $at_a_time ]; do
		reap
		progress
		sleep 1
	done
	rm -f "$logs/$name.done"
	: >"$logs/$name.log"
	run_group "$name" "$(command_of "$name")" &
	pid[$name]=$!
done
while [ ${#pid[@]} -gt 0 ]; do
	reap
	progress
	sleep 1
done

show_failures
echo
printf '%-16s %7s\n' set-up time
while read -r name seconds; do
	printf '%-16s %5d s\n' "$name" "$seconds"
done <"$KVMGANG_TIMES"
printf '%-16s %5d s of %d s\n' 'all of it' "$set_up" "$SECONDS"
echo
printf '%-16s %7s %6s %6s %7s\n' group time passed failed skipped
printf '%s' "$table"
echo
echo "$all_passed passed, $all_failed failed, $all_skipped skipped"
[ "$all_failed" = 0 ]
