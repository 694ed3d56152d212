#!/bin/bash
# Static checks: everything that can be said about the sources without running them. Prints TAP, one
# test for each file or run of a tool; runs in the rootfs: lab/lab shell lab/lint.sh.
#
# Whether it builds without a warning is build-check.sh's.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=selftests/tap.sh
. selftests/tap.sh

build=/tmp/build
release=$(basename "$(printf '%s\n' /usr/lib/modules/* | sort -V | tail -n 1)")

sources=(*.h kmod/*.[ch] uapi/*.h uapi/linux/*.h userspace/*.[ch] userspace/test/*.[ch]
	 sched_ext/*.[ch] selftests/*.[ch] bench/*.[ch] lab/*.[ch])

# report_files CHECK OUTPUT FILE...: one test for each file. A complaint begins with the name of its
# file and a colon; lines that begin otherwise belong to the complaint before them.
report_files() {
	local check=$1 output=$2 file='' line name
	local -A said=()
	shift 2

	for name in "$@"; do
		said[$name]=''
	done
	while IFS= read -r line; do
		name=${line%%:*}
		name=${name#"$PWD"/}
		name=${name#./}
		[ -z "$name" ] || [ -z "${said[$name]+listed}" ] || file=$name
		[ -n "$file" ] || file="itself"
		said[$file]+=$line$'\n'
	done < <([ -z "$output" ] || printf '%s\n' "$output")
	for name in "$@"; do
		report "$check $name" "${said[$name]%$'\n'}"
	done
	[ -z "${said[itself]+said}" ] || report "$check" "${said[itself]%$'\n'}"
}

# Files in bash, sh or bats, whether they are run or sourced.
scripts() {
	find . -path ./build -prune -o -path ./.git -prune -o -type f -print | sort |
		while read -r file; do
			case $(head -c 80 "$file" | tr '\0' '?' | head -n 1) in
			'#!/bin/bash'* | '#!/bin/sh'* | '#!/bin/busybox sh'*) echo "${file#./}" ;;
			'#!/usr/bin/env bats'* | '# shellcheck shell='*) echo "${file#./}" ;;
			esac
		done
}

check_scripts() {
	local files

	mapfile -t files < <(scripts)
	report_files shellcheck "$(shellcheck -x -S info -f gcc "${files[@]}" 2>&1 || :)" \
		"${files[@]}"
}

# What checkpatch.pl is not to say, and why.
checkpatch_ignores() {
	case $1 in
	# TRACE_EVENT() has a layout of its own, in the kernel too.
	kmod/trace.h) echo OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT ;;
	# The arguments of IOCTL_OP() are names of constants and types, which have no side effects.
	kmod/chardev.c) echo MACRO_ARG_REUSE ;;
	# One source for several kernels.
	kmod/thread.c | kmod/resched.c) echo LINUX_VERSION_CODE,CONSTANT_COMPARISON ;;
	kmod/* | uapi/*) ;;
	# It takes "u32 f(void) __ksym" for a cast.
	selftests/*.bpf.c) echo SPACING ;;
	# So here, and "struct x __kptr *p" for a product. BPF has neither READ_ONCE(), for a word that
	# another pCPU changes, nor BIT().
	sched_ext/*) echo SPACING,VOLATILE,BIT_MACRO ;;
	*)
		local types=(
			# Only the kernel has u64, ARRAY_SIZE(), BIT(), __printf() and __noreturn.
			PREFER_KERNEL_TYPES ARRAY_SIZE BIT_MACRO PREFER_DEFINED_ATTRIBUTE_MACRO
			# TAP_MAIN() is a table, and defines a whole main().
			OPEN_ENDED_LINE MACRO_WITH_FLOW_CONTROL
			# "\xc2\x9b" "1" is not "\xc2\x9b1".
			STRING_FRAGMENTS
		)
		(IFS=,; echo "${types[*]}") ;;
	esac
}

# One run for all files of which the same is ignored: most of a run is its start. In /tmp, because
# checkpatch.pl leaves a cache where it runs.
check_style() {
	local file ignores said names from=$PWD
	local -A files=()

	for file in "${sources[@]}"; do
		ignores=$(checkpatch_ignores "$file")
		files[${ignores:-NONE}]+=$file' '
	done
	for ignores in "${!files[@]}"; do
		read -ra names <<<"${files[$ignores]}"
		said=$(cd /tmp; perl /opt/upstream/scripts/checkpatch.pl --strict --no-tree --file \
			--max-line-length=100 --terse --show-types --no-summary \
			--ignore "$ignores" "${names[@]/#/$from/}" 2>&1) || :
		report_files checkpatch "$said" "${names[@]}"
	done
}

module() {
	make -sk BUILD="$build" KVER="$release" module "$@" 2>&1 || echo 'make failed'
}

# Headers packages lack the script that tells kbuild whether sparse works, and sparse 0.6.4 does not
# know __typeof_unqual__. Of its findings two kinds are its own: MODULE_LICENSE and its like, and
# kfuncs, which BPF calls by their BTF and no header declares.
check_by_sparse() {
	local valid

	valid=$(realpath "/usr/lib/modules/$release/source")/scripts/checker-valid.sh
	printf '#!/bin/sh\necho 1\n' >"$valid"
	chmod +x "$valid"
	report_files sparse "$(module C=2 CF=-D__typeof_unqual__=__typeof__ |
		grep -vE '(^|/)kmod/main.c:[0-9]+:1: error: bad constant expression$' |
		grep -vE '(^|/)kmod/kfunc.c:.* was not declared. Should it be static\?$' || :)" kmod/*.c
}

# gcc's path-sensitive analysis, and the warnings that a maintainer would ask for.
check_by_gcc() {
	local GLOBIGNORE='*.bpf.c'

	report_files 'gcc -fanalyzer' "$(module BUILD="$build/analyzer" W=1 KCFLAGS=-fanalyzer)" \
		kmod/*.c
	# Every test is a process of its own and leaves its descriptors to its end.
	report_files 'gcc -fanalyzer' "$(make -sk BUILD="$build" \
		CFLAGS='-O2 -g -fanalyzer -Wno-analyzer-fd-leak' tool selftests benches 2>&1 ||
		echo 'make failed')" userspace/*.c selftests/*.c bench/*.c
}

# Of a compiler's arguments, those that say what the source means and what to warn of, one a line.
# The kernel's headers become a system's, of which clang-tidy does not speak.
meaning_of() {
	eval "set -- $1"
	while [ $# -gt 0 ]; do
		case $1 in
		-include) printf '%s\n' "$1" "$2"; shift ;;
		-I/usr/src/*) printf '%s\n' -isystem "${1#-I}" ;;
		-Wp,*) ;;
		-I* | -D* | -W* | -std=* | -nostdinc | -pthread | --target=* | \
			-fms-extensions | -fshort-wchar | -funsigned-char) echo "$1" ;;
		esac
		shift
	done
}

tidy() {
	{
		clang-tidy-19 --quiet "$@" -Wno-unknown-warning-option 2>&1 ||
			echo 'clang-tidy failed'
	} | grep -vE '^[0-9]+ (warning|error)s? (generated|treated as error)' || :
}

# With the flags of the commands that compiled the sources before; kbuild keeps the kernel's. What
# make does not compile by itself takes the tool's. The KUnit suites are left out, because Debian's
# kernels have no KUnit.
check_by_clang() {
	local file command flags
	local -A commands=()

	while read -r command; do
		[[ $command =~ \ ([^ ]+\.c)(\ |$) ]] || continue
		commands[${BASH_REMATCH[1]#"$PWD"/}]=$command
	done < <(
		sed -n 's/^savedcmd_[^ ]* := //p' "$build/$release"/kmod/.*.o.cmd
		make -nB BUILD="$build" tool selftests benches
	)
	local GLOBIGNORE='kmod/*_test.c:kmod/kunit.c:*.bpf.c'

	for file in kmod/*.c userspace/*.c userspace/test/*.c selftests/*.c bench/*.c lab/*.c; do
		command=${commands[$file]-${commands[userspace/kvmgang.c]}}
		mapfile -t flags < <(meaning_of "$command")
		report "clang-tidy $file" "$(tidy "$file" -- "${flags[@]}")"
	done
}

# The header by itself, in every language and ABI that a user may have; the layout is the same.
check_uapi() {
	local compiler language bits

	set -- -pedantic -Wall -Wextra -Wpadded -Werror

	for compiler in gcc clang-19; do
		for language in 'c -std=c89' 'c -std=c11' 'c++ -std=c++17'; do
			for bits in -m64 -m32; do
				# shellcheck disable=SC2086
				report "uapi: $compiler -x $language $bits" \
					"$($compiler -x $language $bits -Iuapi -fsyntax-only "$@" \
						uapi/layout.h 2>&1 || echo 'it does not compile')"
			done
		done
	done
}

# Long lines are wrapped where a sentence ends, not at 80.
check_manual() {
	report_files mandoc "$(mandoc -Tlint docs/man/*.8 | sed 's/^mandoc: //' |
		grep -v 'input text line longer than 80 bytes' || :)" docs/man/*.8
}

check_scripts
check_manual
check_style
check_uapi
check_by_sparse
check_by_gcc
check_by_clang
finish
