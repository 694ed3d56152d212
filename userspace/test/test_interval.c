// SPDX-License-Identifier: GPL-2.0
/*
 * The arithmetic of intervals and the reading of names, on the real code without the device.
 * Prints TAP. What is printed for these values is render.bats' business.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../interval.h"
#include "../name.h"

static int tests, failures;

static void ok(bool passed, const char *what)
{
	printf("%sok %d - %s\n", passed ? "" : "not ", ++tests, what);
	failures += !passed;
}

static void same_number(__u64 got, __u64 expected, const char *what)
{
	ok(got == expected, what);
	if (got != expected)
		printf("# expected %llu, got %llu\n", expected, got);
}

static void same_text(const char *got, const char *expected, const char *what)
{
	ok(strcmp(got, expected) == 0, what);
	if (strcmp(got, expected) != 0)
		printf("# expected '%s', got '%s'\n", expected, got);
}

static void test_percentiles(void)
{
	struct kvmgang_counters c = { 0 };

	same_number(counters_ready_ns(&c, 990), 0, "no episode, no percentile");
	c.ready_hist[0] = 1;
	same_number(counters_ready_ns(&c, 500), 1 << 10, "upper bound of the first bucket");
	c.ready_hist[0] = 99;
	c.ready_hist[10] = 1;
	same_number(counters_ready_ns(&c, 990), 1 << 10, "p99 of 100 is the 99th");
	same_number(counters_ready_ns(&c, 999), 1 << 20, "p99.9 of 100 is the 100th");
	c.ready_hist[31] = 1000000;
	same_number(counters_ready_ns(&c, 500), 1ULL << 40, "last bucket: its lower bound");
	same_number(counters_episodes(&c), 1000100, "episodes are counted over all buckets");
}

static struct kvmgang_vcpu_row vcpu(__u32 vm_id, __u32 vcpu_id, __u64 born, __u64 run, __u64 ready)
{
	return (struct kvmgang_vcpu_row){
		.vm_id = vm_id, .vcpu_id = vcpu_id, .born_ns = born,
		.count.state_ns = { [KVMGANG_RUN] = run, [KVMGANG_READY] = ready },
	};
}

static void test_intervals(void)
{
	struct kvmgang_vcpu_row old[] = {
		vcpu(2, 1, 5, 100, 0), vcpu(2, 0, 5, 100, 100), vcpu(1, 7, 5, 9, 9),
	};
	struct kvmgang_vcpu_row new[] = {
		vcpu(3, 0, 50, 10, 30), vcpu(2, 2, 60, 50, 0), vcpu(2, 1, 55, 60, 0),
		vcpu(2, 0, 5, 150, 150),
	};
	struct kvmgang_vm_row new_vms[] = { { .vm_id = 3 }, { .vm_id = 2 } };
	struct snapshot before = { .vcpus = old, .nr_vcpus = 3 };
	struct snapshot now = { .vms = new_vms, .nr_vms = 2, .vcpus = new, .nr_vcpus = 4 };
	const struct snapshot nothing = { 0 };
	struct vm_interval vms[2];
	struct kvmgang_counters did;

	snapshot_sort(&before);
	snapshot_sort(&now);
	interval_of_vms(&before, &now, vms);
	same_number(vms[0].vm->vm_id, 2, "VMs are in ascending order");
	same_number(vms[0].nr_vcpus, 3, "a VM has its own vCPUs");
	same_number(vms[0].did.state_ns[KVMGANG_RUN], 50 + 60 + 50,
		    "a vCPU that is new, or born again, counts from its birth");
	same_number(vms[0].did.state_ns[KVMGANG_READY], 50, "a vCPU that stayed: the difference");
	same_number(counters_time_ns(&vms[0].did), 210, "time is the sum of the states");
	same_number(vms[1].did.state_ns[KVMGANG_READY], 30, "a VM that is new");
	ok(counters_percent(&vms[1].did, 30) == 75.0, "a percentage is of the vCPUs' time");
	ok(counters_percent(&(struct kvmgang_counters){ 0 }, 0) == 0.0, "no time, no percentage");

	interval_of_vcpu(&nothing, &new[0], &did);
	same_number(did.state_ns[KVMGANG_RUN], new[0].count.state_ns[KVMGANG_RUN],
		    "an empty snapshot before");
	interval_of_vms(&before, &nothing, vms);
	ok(true, "an empty snapshot after");
}

static void same_name(const char *cmdline, size_t size, const char *expected)
{
	FILE *file = fmemopen((void *)cmdline, size, "r");
	char name[NAME_SIZE];

	name_from_cmdline(file, name);
	same_text(name, expected, expected);
	fclose(file);
}

/* A command line as a string literal with \0 between the arguments. */
#define NAME_OF(cmdline, expected) same_name(cmdline, sizeof(cmdline), expected)

static void test_names(void)
{
	char longest[2 * NAME_SIZE], name[NAME_SIZE];

	NAME_OF("qemu\0-name\0guest=web,debug-threads=on", "web");
	NAME_OF("qemu\0-m\0" "1G\0-name\0db", "db");
	NAME_OF("qemu\0--name\0debug-threads=on,guest=mail", "mail");
	NAME_OF("qemu\0-name\0first,process=qemu", "first");
	NAME_OF("qemu\0-name\0guest=a,,b,debug-threads=on", "a,b");
	NAME_OF("qemu\0-name\0old\0-name\0guest=new", "new");
	NAME_OF("qemu\0-append\0\0-name\0after an empty argument", "after an empty argument");
	NAME_OF("qemu\0-name\0debug-threads=on", "");
	NAME_OF("qemu\0-name", "");
	NAME_OF("qemu\0-name\0guest=", "");
	NAME_OF("qemu\0-named\0no", "");

	name_copy_printable("a\033[2Jb\nc\177", name);
	same_text(name, "a?[2Jb?c?", "control characters are replaced");
	name_copy_printable("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\xa7", name);
	same_text(name, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\xa7", "UTF-8 is kept");
	/* NOLINTNEXTLINE(misc-misleading-bidirectional): that is what the test is about. */
	name_copy_printable("\xc2\x9b" "1\xe2\x80\xae" "2\xef\xbb", name);
	same_text(name, "?1?2??", "C1, right-to-left and a torn character are replaced");
	name_copy_printable("\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xff", name);
	same_text(name, "??????????", "overlong, surrogate, too large and no UTF-8 are replaced");
	memset(longest, 'x', sizeof(longest));
	memcpy(longest + NAME_SIZE - 2, "\xc3\xbc", 3);
	name_copy_printable(longest, name);
	same_number(strlen(name), NAME_SIZE - 2, "a name is cut between characters");
}

int main(void)
{
	test_percentiles();
	test_intervals();
	test_names();
	printf("1..%d\n", tests);
	return failures != 0;
}
