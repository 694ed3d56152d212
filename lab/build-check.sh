#!/bin/bash
# Does everything build from scratch without a warning, on each kernel, and can the uapi header be
# included by itself from every language that a user may have? Prints TAP; runs on the host.
#
# Warnings are errors in our own builds; this also catches those of kbuild and modpost.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=lab/tap.sh
. lab/tap.sh

# build TEST MAKE_ARGUMENT...: into an empty directory, so that all of it is built. Silent make says
# nothing but complaints.
build() {
	local name=$1
	shift
	report "$name" "$(lab/lab shell make -s BUILD=/tmp/build "$@" 2>&1 || echo 'make failed')"
}

# include COMPILER FLAG...
include() {
	report "the uapi header alone: $*" "$(lab/lab shell sh -c \
		"echo '#include <linux/kvmgang.h>' | $* -Iuapi -Wall -Wextra -Werror -fsyntax-only - 2>&1" ||
		echo 'it does not compile')"
}

for release in $(lab/lab shell ls /usr/lib/modules); do
	build "module for Linux $release" KVER="$release" module
done
build 'the tool' tool
build 'the selftests' selftests
include gcc -x c -std=c89 -pedantic
include gcc -x c -std=c11 -pedantic
include g++ -x c++ -std=c++11
include clang-19 -x c -std=gnu11 --target=i686-linux-gnu
finish
