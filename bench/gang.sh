#!/bin/bash
# What gangs are worth, inside the lab host: VMs that share its pCPUs, under EEVDF and under kvmgang in
# turn.
#
#	bench/gang.sh [ROUNDS]
#
# Each figure is what all VMs of one program get done together, in percent of what one of them does
# alone under EEVDF in the same boot. What EEVDF makes of them depends on the phase in which their
# vCPUs happen to run, so there are several rounds, and the lowest and the highest is told.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=bench/in_turn.sh
. bench/in_turn.sh

rounds=${1:-5}
ms=500

# Of every program one VM alone is among them. bench/gang.c says what the programs do.
mixes=(
	barrier:4
	'barrier:4 barrier:4'
	'barrier:4 barrier:4 barrier:4'
	spin:4
	'spin:4 spin:4'
	lock:4
	'lock:4 lock:4'
	ping:4
	'ping:4 ping:4'
	tick:1
	'tick:1 barrier:4 barrier:4'
)

# One line for each VM: scheduler, round, mix, program, count per second; tabs between them.
measure() {
	local mix vms

	for mix in "${mixes[@]}"; do
		read -ra vms <<<"$mix"
		build/bench/gang "$ms" "${vms[@]}" |
			awk -v OFS='\t' -v scheduler="$1" -v round="$2" -v mix="$mix" \
				'{ print scheduler, round, mix, $1, $3 + 0 }'
	done
}

# Prints: mix, program, and of either scheduler the median, the lowest and the highest; in percent.
ratios() {
	jq -rRn "$median"'
		def rates($scheduler; $mix; $program):
			map(select(.scheduler == $scheduler and .mix == $mix and .program == $program)) |
			group_by(.round) | map(map(.rate) | add);
		[inputs / "\t" | { scheduler: .[0], round: .[1], mix: .[2], program: .[3],
			rate: (.[4] | tonumber) }] as $all |
		$ARGS.positional[] as $mix |
		($mix / " " | unique[]) as $vm | ($vm / ":")[0] as $program |
		($all | rates("EEVDF"; $vm; $program) | median) as $alone |
		[$mix, $program, (("EEVDF", "kvmgang") as $scheduler |
			$all | rates($scheduler; $mix; $program) | map(100 * . / $alone) |
			median, min, max)] | @tsv
	' --args "${mixes[@]}"
}

results=$(mktemp)
in_turn "$rounds" >"$results"

echo "In percent of one VM alone under EEVDF: median (lowest to highest) of $rounds times $ms ms."
printf '%-31s%-9s%-23s%s\n' VMS COUNTED EEVDF KVMGANG
ratios <"$results" | while IFS=$'\t' read -r mix program figures; do
	# shellcheck disable=SC2086
	printf '%-31s%-9s%5.1f (%5.1f to %5.1f)  %5.1f (%5.1f to %5.1f)\n' "$mix" "$program" $figures
done
