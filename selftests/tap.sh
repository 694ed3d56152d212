# shellcheck shell=bash
# TAP for the scripts of this directory and for the checks of lab/: a test passes when it has
# nothing to say. A complaint follows its test, where readers of TAP look for it.

tap_nr=0
tap_failed=0

die() {
	echo "Bail out! $*"
	exit 1
}

# result VERDICT TEST: VERDICT is ok or 'not ok'.
result() {
	tap_nr=$((tap_nr + 1))
	[ "$1" = ok ] || tap_failed=$((tap_failed + 1))
	echo "$1 $tap_nr $2"
}

# report TEST COMPLAINT: the complaint, if any, becomes the explanation.
report() {
	if [ -z "$2" ]; then
		result ok "$1"
	else
		result 'not ok' "$1"
		echo "# ${2//$'\n'/$'\n# '}"
	fi
}

# To be called last: prints the plan and returns the verdict.
finish() {
	echo "1..$tap_nr"
	[ "$tap_failed" = 0 ]
}
