// SPDX-License-Identifier: GPL-2.0
/* TAP output, see tap.h. */
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "tap.h"

enum { PASSED = 0, FAILED = 1, SKIPPED = 4 };

/* A test that hangs is killed; the slowest, on a kernel that checks itself, takes half of this. */
#define TIMEOUT_S	effort(600, 1200)

/* A property that is checked in a loop can fail a million times; the first ones tell all. */
#define MAX_UNEXPECTED	20

/* Why the test is skipped, from its process to the first one. */
static char *reason;
#define REASON_SIZE	256

static atomic_int nr_unexpected;

void tap_note(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* In one write, because threads and processes share the output. */
	dprintf(STDOUT_FILENO, "# %s\n", line);
}

void tap_unexpected(const char *file, int line, const char *what, const char *op,
		    const char *expected_what, long long got, long long expected)
{
	if (atomic_fetch_add(&nr_unexpected, 1) >= MAX_UNEXPECTED)
		return;
	tap_note("%s:%d: expected %s %s %s (%lld), got %lld", file, line, what, op, expected_what,
		 expected, got);
}

void tap_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reason, REASON_SIZE, format, args);
	va_end(args);
	_exit(SKIPPED);
}

void tap_abort(void)
{
	_exit(FAILED);
}

static int run_one(const struct tap_test *test)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		alarm(TIMEOUT_S);
		test->run();
		_exit(nr_unexpected ? FAILED : PASSED);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return FAILED;
	if (WIFSIGNALED(status)) {
		tap_note("%s", WTERMSIG(status) == SIGALRM ? "did not end" :
			 strsignal(WTERMSIG(status)));
		return FAILED;
	}
	return WEXITSTATUS(status);
}

/* Leaves the tests whose names contain @text. */
static int choose(struct tap_test *tests, int nr, const char *text)
{
	int chosen = 0, i;

	for (i = 0; i < nr; i++) {
		if (strstr(tests[i].name, text))
			tests[chosen++] = tests[i];
	}
	return chosen;
}

int tap_main(int argc, char **argv, struct tap_test *tests, int nr)
{
	int nr_failed = 0, nr_skipped = 0, i;

	if (argc > 1)
		nr = choose(tests, nr, argv[1]);

	reason = mmap(NULL, REASON_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reason == MAP_FAILED)
		return FAILED;

	dprintf(STDOUT_FILENO, "TAP version 13\n1..%d\n", nr);
	for (i = 0; i < nr; i++) {
		int result = run_one(&tests[i]);

		nr_failed += result != PASSED && result != SKIPPED;
		nr_skipped += result == SKIPPED;
		dprintf(STDOUT_FILENO, "%s %d %s%s%s\n",
			result == PASSED || result == SKIPPED ? "ok" : "not ok", i + 1,
			tests[i].name, result == SKIPPED ? " # SKIP " : "",
			result == SKIPPED ? reason : "");
	}
	if (nr_failed)
		return FAILED;
	return nr_skipped == nr ? SKIPPED : PASSED;
}
