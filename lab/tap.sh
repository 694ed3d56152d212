# shellcheck shell=bash
# TAP for the checks of this directory: a test passes when it has nothing to say.

tap_nr=0
tap_failed=0

# report TEST COMPLAINT: the complaint, if any, becomes the explanation.
report() {
	tap_nr=$((tap_nr + 1))
	if [ -z "$2" ]; then
		echo "ok $tap_nr $1"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_nr $1"
		echo "# ${2//$'\n'/$'\n# '}"
	fi
}

# To be called last: prints the plan and returns the verdict.
finish() {
	echo "1..$tap_nr"
	[ "$tap_failed" = 0 ]
}
