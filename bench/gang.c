// SPDX-License-Identifier: GPL-2.0
/* work: spin barrier lock */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "selftests/host.h"
#include "selftests/snap.h"
#include "selftests/vmm.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	struct vm *vms[64];
	uint64_t from[64], start, end, total = 0;
	int nr_vcpus[64], nr = 0, ms = atoi(argv[2]);

	for (int i = 3; i < argc; i++)
		nr_vcpus[nr++] = atoi(argv[i]);
	for (int i = 0; i < nr; i++) {
		vms[i] = vm_new(nr_vcpus[i]);
		vm_start(vms[i], !strcmp(argv[1], "spin") ? guest_spin : !strcmp(argv[1], "lock") ? guest_lock : guest_barrier, 200);
	}
	sleep_ms(200);
	for (int i = 0; i < nr; i++)
		from[i] = vm_count(vms[i]);
	start = now_ns();
	sleep_ms(ms);
	end = now_ns();
	printf("%-8s", argv[1]);
	for (int i = 0; i < nr; i++) {
		uint64_t n = vm_count(vms[i]) - from[i];

		total += n;
		printf(" %8.0f", n * 1e9 / (end - start));
	}
	printf("  total %.0f/s\n", total * 1e9 / (end - start));
	return 0;
}
