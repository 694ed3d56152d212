#!/bin/bash
# Shell scripts by shellcheck, the module by sparse. Prints TAP; runs on the host.
#
# It has no opinion on layout, and of sparse's findings it takes those in our own files only.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=lab/tap.sh
. lab/tap.sh

# Files in bash or sh, whether they are run or sourced.
scripts() {
	find . -path ./build -prune -o -path ./.git -prune -o -type f -print | sort |
		while read -r file; do
			case $(head -c 80 "$file" | tr '\0' '?' | head -n 1) in
			'#!/bin/bash'* | '#!/bin/sh'* | '# shellcheck shell='*) echo "$file" ;;
			esac
		done
}

mapfile -t scripts < <(scripts)
for script in "${scripts[@]}"; do
	report "shellcheck $script" "$(lab/lab shell shellcheck -x "$script" 2>&1 || :)"
done
release=$(lab/lab shell ls /usr/lib/modules | tail -n 1)
report "sparse, with the headers of $release" "$(
	lab/lab shell make -s build=/tmp/build KVER="$release" C=2 module 2>&1 |
		grep -E '^(/src/|\.\./)*kmod/.*(warning|error)' || :)"
finish
