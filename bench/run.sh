#!/bin/bash
# make bench: the measurements, in the lab. Counts and ratios only; absolute times of an emulated
# host mean nothing.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# lab/boot.sh runs the lab host with 2^1 ns of virtual time to an instruction.
ns_per_instruction=2

echo '== What the module adds to a switch, one pCPU'
lab/lab run --nodes 1 --cores 1 -- build/bench/switch_cost "$ns_per_instruction"
echo '== The same with SMT, where the core is shared'
lab/lab run --nodes 1 --cores 1 --threads 2 -- build/bench/switch_cost "$ns_per_instruction"
echo '== What gangs are worth to VMs that coordinate, four pCPUs'
lab/lab run --nodes 1 --cores 4 -- bench/gang.sh
echo '== What the host itself feels of VMs, four pCPUs'
lab/lab run --nodes 1 --cores 4 -- bench/host.sh
