#!/bin/bash
# Shell scripts by shellcheck, the module by sparse. Prints TAP; runs on the host.
#
# It has no opinion on layout.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=lab/tap.sh
. lab/tap.sh

# Files in bash or sh, whether they are run or sourced.
scripts() {
	find . -path ./build -prune -o -path ./.git -prune -o -type f -print | sort |
		while read -r file; do
			case $(head -c 80 "$file" | tr '\0' '?' | head -n 1) in
			'#!/bin/bash'* | '#!/bin/sh'* | '#!/bin/busybox sh'* | '# shellcheck shell='*) echo "$file" ;;
			esac
		done
}

mapfile -t scripts < <(scripts)
for script in "${scripts[@]}"; do
	report "shellcheck $script" "$(lab/lab shell shellcheck -x -S info "$script" 2>&1 || :)"
done

# Headers packages lack the script that tells kbuild whether sparse works, and sparse 0.6.4 does not
# know __typeof_unqual__. Of its findings two kinds are its own: MODULE_LICENSE and its like, and
# kfuncs, which BPF calls by their BTF and no header declares.
sparse() {
	# shellcheck disable=SC2016
	lab/lab shell bash -euc '
		valid=$(realpath "/usr/lib/modules/$1/source")/scripts/checker-valid.sh
		printf "#!/bin/sh\necho 1\n" >"$valid"
		chmod +x "$valid"
		make -s BUILD=/tmp/build KVER="$1" C=2 CF=-D__typeof_unqual__=__typeof__ module
	' sparse "$1" 2>&1 |
		grep -vE '^/src/kmod/main.c:[0-9]+:1: error: bad constant expression$' |
		grep -vE '^/src/kmod/kfunc.c:.* was not declared. Should it be static\?$' || :
}

release=$(lab/lab shell ls /usr/lib/modules | tail -n 1)
report "sparse, with the headers of $release" "$(sparse "$release")"
finish
