/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests ask of the host: its CPUs, its scheduler's own figures, load, the module, the log.
 *
 * As in vmm.h, what a test cannot do without fails by die().
 */
#ifndef SELFTESTS_HOST_H
#define SELFTESTS_HOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#define NSEC_PER_MSEC	1000000LL
#define NSEC_PER_SEC	1000000000LL

/* Prints a message and ends the test as failed. */
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);

void sleep_ms(int ms);

/* CLOCK_MONOTONIC: for differences. */
uint64_t now_ns(void);

/* The calling thread runs until it has been on a pCPU for @ns more. */
void run_for(uint64_t ns);

/*
 * How much of something a test does: KVMGANG_TEST_LONG in the environment asks for the thorough
 * figure. In the lab a second of four busy CPUs takes five.
 */
int effort(int normal, int thorough);

/*
 * Polls until @condition; a test in which it never comes true has failed. The bound is on the
 * number of sleeps: nothing here takes anything near that long unless it hangs.
 */
#define await(condition)								\
do {											\
	int polls_ = 60000;								\
											\
	while (!(condition)) {								\
		if (!polls_--)								\
			die("%s:%d: waited in vain for %s", __FILE__, __LINE__, #condition); \
		sleep_ms(1);								\
	}										\
} while (0)

/* CPUs that this process may use: how many, and the n-th. */
int nr_cpus(void);
int nth_cpu(int n);

/*
 * Topology; -1: there is none. An LLC goes by its first CPU's number; sibling_of() is another
 * hardware thread of the same core.
 */
int node_of(int cpu);
int llc_of(int cpu);
int sibling_of(int cpu);

/* @tid 0: the calling thread; @cpu -1: wherever it likes. */
void pin_thread(pid_t tid, int cpu);

/* The time slice that EEVDF gives the thread, 0.1 to 100 ms. */
void set_slice(pid_t tid, uint64_t ns);

/* SCHED_DEADLINE; the thread must be pinned nowhere. */
void set_deadline(pid_t tid, uint64_t runtime_ns, uint64_t period_ns);

/* The scheduler's own account of a thread of this process, from /proc. */
struct schedstat {
	uint64_t run_ns;
	uint64_t run_delay_ns;		/* waits that have ended */
	uint64_t arrivals;		/* times it got a pCPU */
};

struct schedstat schedstat_read(pid_t tid);

/* A host thread that spins on @cpu, as pin_thread(); @fifo: in the way of all not real-time. */
struct hog {
	pthread_t thread;
	pid_t tid;
	int cpu;
	bool fifo;
	bool started, stop;
};

void hog_start(struct hog *hog, int cpu, bool fifo);
void hog_stop(struct hog *hog);

/* The kvmgang.ko that was built beside this program, for the kernel that runs. 0 or errno. */
int module_load(void);
int module_unload(void);
bool module_loaded(void);

/* Is sched_ext, which the kernel must have, "enabled", "disabled", or what else it may say? */
bool scheduler_is(const char *state);

/* A module parameter's or other file's content as a number; -1: no such file. */
long long read_number(const char *path);

/* Writes @text to a file that exists. 0 or errno. */
int file_write(const char *path, const char *text);

/*
 * Kernel messages from now on; kmsg_bad() prints those of warning level and above that are not in
 * the list log-allowed, and counts them.
 */
int kmsg_open(void);
int kmsg_bad(int kmsg);

#endif /* SELFTESTS_HOST_H */
