# shellcheck shell=bash
# For the benchmarks that compare the schedulers inside the lab host: the module, and measuring under
# EEVDF and under kvmgang in turn in one boot.
# shellcheck source=lab/attach.sh
. lab/attach.sh

# For the jq of who sources this.
# shellcheck disable=SC2034
median='def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;'

# Prints what "measure SCHEDULER ROUND" does in $1 rounds. Attaching takes as long as ten
# measurements, so a round is all that there is to measure under one, then under the other.
in_turn() {
	local round

	insmod "build/$(uname -r)/kvmgang.ko"
	for ((round = 1; round <= $1; round++)); do
		measure EEVDF "$round"
		attach
		measure kvmgang "$round"
		detach
	done
}
