/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tests that report in TAP 13 with the exit status of kselftest (0 passed, 1 failed, 4 skipped).
 *
 * The kernel has kselftest_harness.h for this, but no package ships it. What we keep of it: every
 * test runs in a process of its own, so that a test that fails half way leaves no guest behind and
 * needs no clean-up path. Fixtures and variants are left out.
 *
 * A program's argument, if any, chooses the tests whose names contain it.
 *
 *	static void test_sum(void)
 *	{
 *		EXPECT(1 + 1, ==, 2);
 *	}
 *
 *	TAP_MAIN({ "adding works", test_sum })
 */
#ifndef SELFTESTS_TAP_H
#define SELFTESTS_TAP_H

#include <stdbool.h>

struct tap_test {
	const char *name;
	void (*run)(void);
};

int tap_main(int argc, char **argv, struct tap_test *tests, int nr);

#define TAP_MAIN(...)								\
int main(int argc, char **argv)							\
{										\
	struct tap_test tests[] = { __VA_ARGS__ };				\
										\
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));	\
}

/*
 * A failed expectation is printed with what was got and what was expected, and fails the test; it
 * goes on after EXPECT() and ends after REQUIRE(). Any thread may use them.
 */
#define EXPECT(got, op, expected)						\
({										\
	long long got_ = (got), expected_ = (expected);				\
	bool ok_ = got_ op expected_;						\
										\
	if (!ok_)								\
		tap_unexpected(__FILE__, __LINE__, #got, #op, #expected, got_, expected_); \
	ok_;									\
})

#define REQUIRE(got, op, expected)						\
do {										\
	if (!EXPECT(got, op, expected))						\
		tap_abort();							\
} while (0)

void tap_unexpected(const char *file, int line, const char *what, const char *op,
		    const char *expected_what, long long got, long long expected);

/* Prints a comment line. */
__attribute__((format(printf, 1, 2))) void tap_note(const char *format, ...);

/* Ends the test: it cannot be done here, for the reason given. */
__attribute__((format(printf, 1, 2), noreturn)) void tap_skip(const char *format, ...);

/* Ends the test as failed. */
__attribute__((noreturn)) void tap_abort(void);

#endif /* SELFTESTS_TAP_H */
