#!/bin/bash
# What the host's own tasks feel of VMs, inside the lab host: under EEVDF and under kvmgang in turn.
#
#	bench/host.sh [ROUNDS]
#
# A task sleeps, and at times has some milliseconds' work. The figures are of how long it takes from
# then until it is done: under kvmgang, as a part of what it takes under EEVDF, of the median and of
# the 99th percentile. Below 1, kvmgang is better. bench/host.c has the tasks, all of which run.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=bench/in_turn.sh
. bench/in_turn.sh

rounds=${1:-3}
ms=2000

mixes=(
	'barrier:4'
	'barrier:4 barrier:4'
	'barrier:4 barrier:4 barrier:4'
	'spin:4 spin:4'
	'spin:8'
)

# One line for each task: scheduler, round, mix, task, ns of the median, and of the percentile.
measure() {
	local mix vms guests

	for mix in "${mixes[@]}"; do
		read -ra vms <<<"$mix"
		build/bench/gang 1000000 "${vms[@]}" &
		guests=$!
		build/bench/host "$ms" | awk -v OFS='\t' -v scheduler="$1" -v round="$2" \
			-v mix="$mix" '{ print scheduler, round, mix, $1, $2, $3 }'
		kill "$guests"
		wait "$guests" || :
	done
}

# Prints: mix, task, and of either figure the ratio of the medians, the lowest and the highest.
ratios() {
	jq -rRn "$median"'
		[inputs / "\t" | { scheduler: .[0], round: .[1], mix: .[2], task: .[3],
			ns: (.[4:] | map(tonumber)) }] as $all |
		$ARGS.positional[] as $mix |
		($all | map(select(.mix == $mix))) as $runs |
		($runs | unique_by(.task) | sort_by(.task / "-" | map(tonumber?)) |
			.[].task) as $task |
		[$mix, $task, ((0, 1) as $n |
			($runs | map(select(.task == $task))) as $runs |
			($runs | map(select(.scheduler == "EEVDF").ns[$n]) | median) as $eevdf |
			$runs | map(select(.scheduler == "kvmgang").ns[$n] / $eevdf) |
			median, min, max)] | @tsv
	' --args "${mixes[@]}"
}

results=$(mktemp)
in_turn "$rounds" >"$results"

echo "As a part of what it takes under EEVDF: median (lowest to highest) of $rounds times $ms ms."
printf '%-31s%-11s%-21s%s\n' VMS 'MS OF WORK' MEDIAN '99TH PERCENTILE'
ratios <"$results" | while IFS=$'\t' read -r mix task figures; do
	# shellcheck disable=SC2086
	printf '%-31s%-11s%4.2f (%4.2f to %4.2f)  %4.2f (%4.2f to %4.2f)\n' "$mix" "$task" $figures
done
