#!/bin/bash
# Does everything build from scratch without a warning, on each kernel? Prints TAP; runs on the host.
#
# Warnings are errors in our own builds; this also catches those of kbuild and modpost.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=selftests/tap.sh
. selftests/tap.sh

# build TEST MAKE_ARGUMENT...: into an empty directory, so that all of it is built. Silent make says
# nothing but complaints.
build() {
	local name=$1
	shift
	report "$name" "$(lab/lab shell make -s BUILD=/tmp/build "$@" 2>&1 || echo 'make failed')"
}

for release in $(lab/lab shell ls /usr/lib/modules); do
	build "module for Linux $release" KVER="$release" module
done
build 'the tool' tool
build 'the selftests' selftests
finish
