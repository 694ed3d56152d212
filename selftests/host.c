// SPDX-License-Identifier: GPL-2.0
/* What tests ask of the host, see host.h. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <regex.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

#include "host.h"
#include "tap.h"

#define KERN_FACILITY_SHIFT	3
#define KERN_WARNING		4

void die(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tap_note("%s", text);
	tap_abort();
}

void sleep_ms(int ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NSEC_PER_MSEC };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void run_for(uint64_t ns)
{
	uint64_t until = clock_ns(CLOCK_THREAD_CPUTIME_ID) + ns;

	while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < until)
		;
}

int effort(int normal, int thorough)
{
	return getenv("KVMGANG_TEST_LONG") ? thorough : normal;
}

/* What the program may use when it starts, before any thread pins itself. */
static cpu_set_t allowed_cpus;

__attribute__((constructor)) static void read_allowed_cpus(void)
{
	sched_getaffinity(0, sizeof(allowed_cpus), &allowed_cpus);
}

int nr_cpus(void)
{
	return CPU_COUNT(&allowed_cpus);
}

int nth_cpu(int n)
{
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &allowed_cpus) && !n--)
			return cpu;
	}
	die("this needs more CPUs than there are");
}

int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

long long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	long long number = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%lld", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

int node_of(int cpu)
{
	char path[PATH_MAX];
	int node;

	for (node = 0; node < 1024; node++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/node%d", cpu, node);
		if (!access(path, F_OK))
			return node;
	}
	return -1;
}

/* Lists of CPUs begin with their first one, which names a cache or a core well enough. */
static int first_cpu(int cpu, const char *list)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/%s", cpu, list);
	return (int)read_number(path);
}

int llc_of(int cpu)
{
	int llc = -1, first, index;
	char list[64];

	for (index = 0;; index++) {
		snprintf(list, sizeof(list), "cache/index%d/shared_cpu_list", index);
		first = first_cpu(cpu, list);
		if (first < 0)
			return llc;
		llc = first;
	}
}

int sibling_of(int cpu)
{
	static const char list[] = "topology/core_cpus_list";
	int core = first_cpu(cpu, list), other, n;

	for (n = 0; n < nr_cpus(); n++) {
		other = nth_cpu(n);
		if (other != cpu && first_cpu(other, list) == core)
			return other;
	}
	return -1;
}

void pin_thread(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (cpu >= 0)
		CPU_SET(cpu, &set);
	if (sched_setaffinity(tid, sizeof(set), cpu >= 0 ? &set : &allowed_cpus))
		die("sched_setaffinity to CPU %d: %m", cpu);
}

/* Of the first version, which every C library's headers can do without. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static void set_attributes(pid_t tid, struct attributes attr)
{
	attr.size = sizeof(attr);
	if (syscall(SYS_sched_setattr, tid, &attr, 0))
		die("sched_setattr: %m");
}

void set_slice(pid_t tid, uint64_t ns)
{
	set_attributes(tid, (struct attributes){ .policy = SCHED_OTHER, .runtime = ns });
}

void set_deadline(pid_t tid, uint64_t runtime_ns, uint64_t period_ns)
{
	set_attributes(tid, (struct attributes){
		.policy = SCHED_DEADLINE,
		.runtime = runtime_ns,
		.deadline = period_ns,
		.period = period_ns,
	});
}

struct schedstat schedstat_read(pid_t tid)
{
	struct schedstat stat;
	char path[64], text[128];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid ?: gettid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %m", path);
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		die("%s: %m", path);
	text[length] = '\0';
	if (sscanf(text, "%lu %lu %lu", &stat.run_ns, &stat.run_delay_ns, &stat.arrivals) != 3)
		die("%s: %s", path, text);
	return stat;
}

static void *hog_thread(void *arg)
{
	struct sched_param param = { .sched_priority = 1 };
	struct hog *hog = arg;

	hog->tid = gettid();
	pin_thread(0, hog->cpu);
	if (hog->fifo && pthread_setschedparam(pthread_self(), SCHED_FIFO, &param))
		die("SCHED_FIFO: %m");
	__atomic_store_n(&hog->started, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&hog->stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

void hog_start(struct hog *hog, int cpu, bool fifo)
{
	*hog = (struct hog){ .cpu = cpu, .fifo = fifo };
	if (pthread_create(&hog->thread, NULL, hog_thread, hog))
		die("pthread_create");
	await(__atomic_load_n(&hog->started, __ATOMIC_ACQUIRE));
}

void hog_stop(struct hog *hog)
{
	__atomic_store_n(&hog->stop, true, __ATOMIC_RELAXED);
	pthread_join(hog->thread, NULL);
}

/* What runs is build/selftests/test_x; the name of @file, which begins in build/. */
static void path_from_build(char *path, size_t size, const char *file)
{
	char self[PATH_MAX] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		die("where am I: %m");
	snprintf(path, size, "%s/%s", dirname(dirname(self)), file);
}

int module_load(void)
{
	char file[128], path[PATH_MAX + sizeof(file)];
	struct utsname uts;
	int fd, err;

	if (uname(&uts))
		die("uname: %m");
	snprintf(file, sizeof(file), "%s/kvmgang.ko", uts.release);
	path_from_build(path, sizeof(path), file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("%s: %m", path);
	err = syscall(SYS_finit_module, fd, "", 0) ? errno : 0;
	close(fd);
	return err;
}

int module_unload(void)
{
	return syscall(SYS_delete_module, "kvmgang", O_NONBLOCK) ? errno : 0;
}

bool module_loaded(void)
{
	return !access("/sys/module/kvmgang/initstate", F_OK);
}

bool scheduler_is(const char *state)
{
	FILE *file = fopen("/sys/kernel/sched_ext/state", "r");
	char line[32] = "";

	if (!file || !fgets(line, sizeof(line), file))
		die("/sys/kernel/sched_ext/state");
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return !strcmp(line, state);
}

int kmsg_open(void)
{
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		die("/dev/kmsg: %m");
	return kmsg;
}

/* log-allowed as one expression. */
static void read_allowed(regex_t *allowed)
{
	char path[PATH_MAX], line[256], all[4096] = "";
	size_t length = 0;
	FILE *file;

	path_from_build(path, sizeof(path), "../selftests/log-allowed");
	file = fopen(path, "r");
	if (!file)
		die("%s: %m", path);
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '#' && line[0])
			length += snprintf(all + length, sizeof(all) - length, "%s(%s)",
					   length ? "|" : "", line);
		if (length >= sizeof(all))
			die("%s is too long", path);
	}
	fclose(file);
	if (regcomp(allowed, all, REG_EXTENDED | REG_NOSUB))
		die("%s: %s", path, all);
}

int kmsg_bad(int kmsg)
{
	char record[8192];
	regex_t allowed;
	ssize_t length;
	int bad = 0;

	read_allowed(&allowed);
	while ((length = read(kmsg, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		char *text;
		int level;

		if (length < 0)
			continue;	/* overwritten before we could read it; go on after it */
		record[length] = '\0';
		level = atoi(record);
		text = strchr(record, ';');
		/* Above the level is the facility: 0 is the kernel, others are user programs. */
		if (!text || level > KERN_WARNING || level >> KERN_FACILITY_SHIFT)
			continue;
		strtok(text, "\n");
		if (!regexec(&allowed, text, 0, NULL, 0))
			continue;
		tap_note("kernel: %s", text + 1);
		bad++;
	}
	regfree(&allowed);
	return bad;
}
