#!/bin/bash
# Loads the kvmgang.ko that has the KUnit suites, which runs them, and turns what debugfs says of them
# into TAP. Runs inside the lab, on its debug kernel, as root.
#
#	selftests/kunit.sh [PARAMETER=VALUE]...
#
# Parameters are the module's: kunit_seed=N repeats the random tests that printed that seed.
#
# A file kmod/NAME_test.c promises a suite kvmgang_NAME and all cases that it lists. What did not run
# has failed.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=selftests/tap.sh
. selftests/tap.sh
# shellcheck source=selftests/kmemleak.sh
. selftests/kmemleak.sh

module=build/$(uname -r)/kunit/kvmgang.ko
kunit=/sys/kernel/debug/kunit

# Of a suite's results, the cases and what they said. KUnit says it before the verdict, and TAP's
# readers look for it behind; what makes up a case (parameters) is told only when it failed.
suite_results() {
	local suite=$1 line verdict notes='' details=''

	while IFS= read -r line; do
		case $line in
		'    ok '* | '    not ok '*)
			verdict=${line%%ok *}ok
			verdict=${verdict#    }
			line=${line#*ok * }
			result "$verdict" "$suite: $line"
			[ "$verdict" = ok ] || notes=$details
			printf '%s' "$notes"
			notes='' details=''
			;;
		*)
			details+="# $line"$'\n'
			[[ $line != '    # test_'* ]] || notes+="# $line"$'\n'
			;;
		esac
	done <"$kunit/$suite/results"
}

run_suite() {
	local file=$1 suite before=$tap_nr planned

	suite=kvmgang_$(basename "$file" _test.c)
	planned=$(grep -c '^	KUNIT_CASE' "$file")
	if [ -e "$kunit/$suite/results" ]; then
		suite_results "$suite"
	fi
	[ $((tap_nr - before)) = "$planned" ] ||
		result 'not ok' "$suite: $((tap_nr - before)) of $planned cases ran"
}

# What any module that is not the distribution's own makes the kernel say, and what an emulator does.
expected='loading out-of-tree module taints kernel|module verification failed: signature'
expected+='|Test should be marked slow'

[ "$(id -u)" = 0 ] || die 'this needs root'
[ -e $kmemleak ] || die 'this kernel has no kmemleak'
[ -d $kunit ] || die 'this kernel has no KUnit with debugfs'
[ -e "$module" ] || die "there is no $module: make kunit"
[ ! -e /sys/module/kvmgang ] || die 'kvmgang is loaded, and only one can be'

echo 'TAP version 13'
dmesg --clear
start_kmemleak
insmod "$module" "$@"
for file in kmod/*_test.c; do
	run_suite "$file"
done
report 'no VM is left' "$(ls /sys/kernel/kvmgang/vms)"
rmmod kvmgang
check_kmemleak
report 'the kernel does not complain' "$(dmesg --level emerg,alert,crit,err,warn |
	grep -vE "$expected" || :)"
finish
