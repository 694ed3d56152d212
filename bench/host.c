// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks of the host that sleep, and at times have something to do: how long from when it is time
 * until it is done.
 *
 *	host MS
 *
 * One line per task: what it does, and the median and the 99th percentile of that in ns. They run
 * all together, beside whatever else the host does; it does not choose the scheduler.
 */
#include <stdlib.h>

#include "selftests/host.h"
#include "selftests/tap.h"

#define MAX_RUNS	10000
#define WARM_UP_MS	300

/* None wants more of a pCPU than its part of four is beside two dozen vCPUs. */
static struct task {
	const char *name;
	uint64_t work_ns, period_ns;
	pthread_t thread;
	int nr;
	uint64_t took_ns[MAX_RUNS];
} tasks[] = {
	{ .name = "0.2-in-2", .work_ns = 200000, .period_ns = 2000000 },
	{ .name = "1-in-10", .work_ns = 1000000, .period_ns = 10000000 },
	{ .name = "3-in-20", .work_ns = 3000000, .period_ns = 20000000 },
	{ .name = "15-in-100", .work_ns = 15000000, .period_ns = 100000000 },
};

#define NR_TASKS	((int)(sizeof(tasks) / sizeof(*tasks)))

static bool stop;

static void sleep_until(uint64_t ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(ns / NSEC_PER_SEC),
		.tv_nsec = (long)(ns % NSEC_PER_SEC),
	};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* What should have begun before the last one was done is left out. */
static void *run_task(void *arg)
{
	uint64_t began = now_ns(), due = began;
	struct task *task = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		while (due <= now_ns())
			due += task->period_ns;
		sleep_until(due);
		run_for(task->work_ns);
		if (due > began + WARM_UP_MS * NSEC_PER_MSEC && task->nr < MAX_RUNS)
			task->took_ns[task->nr++] = now_ns() - due;
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int ms = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0, i;

	if (ms <= 0)
		die("usage: host MS");
	for (i = 0; i < NR_TASKS; i++)
		if (pthread_create(&tasks[i].thread, NULL, run_task, &tasks[i]))
			die("pthread_create");
	sleep_ms(WARM_UP_MS + ms);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < NR_TASKS; i++) {
		struct task *task = &tasks[i];

		pthread_join(task->thread, NULL);
		if (!task->nr)
			die("%s: not once in %d ms", task->name, ms);
		qsort(task->took_ns, task->nr, sizeof(*task->took_ns), compare);
		printf("%s %lu %lu\n", task->name, task->took_ns[task->nr / 2],
		       task->took_ns[task->nr * 99 / 100]);
	}
	return 0;
}
