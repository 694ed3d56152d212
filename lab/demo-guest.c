// SPDX-License-Identifier: GPL-2.0
/*
 * The first and only process of a guest of make demo: works on every vCPU for good, and says on the
 * console how much it got done, and in what time of its own clock.
 *
 *	solver	a piece of work on each vCPU, then all wait for the slowest, as a parallel program
 *		with an OpenMP loop does: spinning, each on its vCPU. Counts pieces that all did.
 *	batch	works on all vCPUs, none of which waits for another. Counts pieces.
 *	web	sleeps until a request comes, and answers it by a piece of work. Counts requests.
 */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_SEC	1000000000ULL

/* About 50 us of an emulated CPU. */
#define PIECE_LOOPS	3000

/* From an answer to the next request. */
#define REQUEST_NS	2000000

#define REPORT_NS	50000000

static int nr_vcpus;
static atomic_ullong done;
static atomic_ullong arrivals;

static void piece(void)
{
	for (int i = 0; i < PIECE_LOOPS; i++)
		__asm__ volatile("");
}

static void nap(long ns)
{
	struct timespec ts = { .tv_nsec = ns };

	nanosleep(&ts, NULL);
}

static void *solver(void *unused)
{
	for (unsigned long long all = nr_vcpus;; all += nr_vcpus) {
		piece();
		if (atomic_fetch_add(&arrivals, 1) + 1 == all)
			done++;
		while (arrivals < all)
			__builtin_ia32_pause();
	}
	return unused;
}

static void *batch(void *unused)
{
	for (;;) {
		piece();
		done++;
	}
	return unused;
}

static void *web(void *unused)
{
	for (;;) {
		nap(REQUEST_NS);
		piece();
		done++;
	}
	return unused;
}

static const struct load {
	const char *name;
	void *(*run)(void *unused);
} loads[] = {
	{ "solver", solver },
	{ "batch", batch },
	{ "web", web },
};

static const struct load *find_load(const char *name)
{
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++) {
		if (!strcmp(loads[i].name, name))
			return &loads[i];
	}
	errx(1, "no such load: %s", name);
}

static void start(const struct load *load, int cpu)
{
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (pthread_create(&thread, &attr, load->run, NULL))
		errx(1, "no thread for vCPU %d", cpu);
}

static unsigned long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	const struct load *load = find_load(argc > 1 ? argv[1] : "");
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	nr_vcpus = CPU_COUNT(&set);
	for (int cpu = 0; cpu < nr_vcpus; cpu++)
		start(load, cpu);
	for (;;) {
		printf("done %llu at %llu ns\n", done, now_ns());
		fflush(stdout);
		nap(REPORT_NS);
	}
}
