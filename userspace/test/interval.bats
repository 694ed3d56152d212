#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Runs test_interval.c: interval arithmetic, percentiles and names. Needs a compiler, no module.

@test "intervals, percentiles, names" {
	source=$BATS_TEST_DIRNAME/..
	command -v "${CC:-cc}" || skip "no C compiler"
	"${CC:-cc}" -std=gnu11 -g -Wall -Wextra -Werror -I"$source/../uapi" \
		-o "$BATS_TEST_TMPDIR/test_interval" \
		"$source/test/test_interval.c" "$source/interval.c" "$source/name.c"
	"$BATS_TEST_TMPDIR/test_interval"
}
