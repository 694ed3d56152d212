// SPDX-License-Identifier: GPL-2.0
/*
 * The module when memory runs out: whatever it is doing, each of its allocations is made to fail
 * once, by the kernel's own fault injection. Who asked gets ENOMEM, guests notice nothing, and what
 * was begun is undone so that the next try works. That nothing leaks in between is kmemleak's to
 * say (run.sh), that nothing is used after it was freed KASAN's.
 *
 * A fault hits only allocations that have the module on their stack.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define FAILSLAB	"/sys/kernel/debug/failslab/"

/* Where modules are: Documentation/arch/x86/x86_64/mm.rst, the image below at its smallest. */
#define MODULES_START	0xffffffffa0000000UL
#define MODULES_END	0xffffffffff000000UL

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("%s: %m", path);
	close(fd);
}

static void write_number(const char *path, long long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", number);
	write_text(path, text);
}

/* Where the function @name of @module, "" for the kernel's own, begins, and the next one does. */
static void find_function(const char *name, const char *module, unsigned long *start,
			  unsigned long *end)
{
	char line[512], symbol[256], of[64];
	FILE *file = fopen("/proc/kallsyms", "r");
	unsigned long address;
	int pass;

	*start = 0;
	*end = ULONG_MAX;
	if (!file)
		die("/proc/kallsyms: %m");
	for (pass = 1; pass <= 2; pass++) {
		if (fseek(file, 0, SEEK_SET))
			die("/proc/kallsyms: %m");
		while (fgets(line, sizeof(line), file)) {
			of[0] = '\0';
			if (sscanf(line, "%lx %*c %255s [%63[^]]]", &address, symbol, of) < 2 ||
			    strcmp(of, module) != 0)
				continue;
			if (pass == 1 && !strcmp(symbol, name))
				*start = address;
			if (pass == 2 && address > *start && address < *end)
				*end = address;
		}
	}
	fclose(file);
	if (!*start)
		die("there is no function %s", name);
}

static void write_range(const char *what, unsigned long start, unsigned long end)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), FAILSLAB "%s-start", what);
	snprintf(text, sizeof(text), "%#lx", start);
	write_text(path, text);
	snprintf(path, sizeof(path), FAILSLAB "%s-end", what);
	snprintf(text, sizeof(text), "%#lx", end);
	write_text(path, text);
}

/*
 * Faults hit where a return address of @start to @end is on the stack, but not in vmalloc(), which
 * writes a page about it into the log.
 */
static void confine_faults(unsigned long start, unsigned long end)
{
	unsigned long vmalloc_start, vmalloc_end;

	find_function("__vmalloc_node_range_noprof", "", &vmalloc_start, &vmalloc_end);
	write_range("reject", vmalloc_start, vmalloc_end);
	write_range("require", start, end);
}

/*
 * Faults hit only beneath the module's function @name. It must have callees on the stack when they
 * allocate: no tail call, not inlined.
 */
static void confine_faults_to(const char *name)
{
	unsigned long start, end;

	find_function(name, "kvmgang", &start, &end);
	confine_faults(start, end);
}

static void need_faults(void)
{
	if (access(FAILSLAB "require-start", F_OK))
		tap_skip("the kernel injects no faults: CONFIG_FAILSLAB is off");
	write_text(FAILSLAB "ignore-gfp-wait", "N");
	write_text(FAILSLAB "task-filter", "N");
	write_number(FAILSLAB "verbose", 0);
}

/*
 * The calling thread's @nth allocation within the confines; 0: none. Some are of the kernel's own
 * checks (debug objects), which do without: that a fault happened does not mean that a call fails.
 */
static void fail_nth(int nth)
{
	write_number("/proc/thread-self/fail-nth", nth);
}

/* Did the fault happen? */
static bool failed(void)
{
	bool failed = read_number("/proc/thread-self/fail-nth") == 0;

	fail_nth(0);
	return failed;
}

static void test_load(void)
{
	int kmsg = kmsg_open(), nth = 0, nr_refused = 0, err;
	bool hit;

	need_faults();
	confine_faults(MODULES_START, MODULES_END);
	REQUIRE(module_unload(), ==, 0);
	do {
		fail_nth(++nth);
		err = module_load();
		hit = failed();
		EXPECT(module_loaded(), ==, !err);
		if (err) {
			EXPECT(err, ==, ENOMEM);
			nr_refused++;
		} else if (hit) {
			REQUIRE(module_unload(), ==, 0);
		}
	} while (hit);
	tap_note("%d allocations, %d of them necessary", nth - 1, nr_refused);
	EXPECT(err, ==, 0);
	EXPECT(nr_refused, >, 10);
	EXPECT(kmsg_bad(kmsg), ==, 0);
}

static uint64_t nr_refused(void)
{
	struct kvmgang_info info;

	kvmgang_info(&info);
	return info.out_refused;
}

/* What is refused when this thread, a new one, enters @vcpu for the first time. */
static void *enter_refused(void *vcpu)
{
	struct vcpu *v = vcpu;
	uint64_t refused = nr_refused();

	v->tid = gettid();
	fail_nth(1);
	vcpu_enter(v);
	EXPECT(failed(), ==, true);
	EXPECT(nr_refused(), ==, refused + 1);
	EXPECT(vcpu_count(v), >, 0);
	vcpu_enter(v);
	EXPECT(nr_refused(), ==, refused + 1);
	row_read(vm_id_wait(v->vm), v - v->vm->vcpus);
	v->tid = 0;
	return NULL;
}

/*
 * At a guest's first entry records of the VM, the vCPU and the thread are made. The guest goes on
 * without, and is found when memory is there again. It is always the first allocation that fails,
 * of which there are more when the ones before were known: how many others the kernel's own checks
 * make in between differs from time to time.
 */
static void test_entry(void)
{
	static const struct {
		const char *record;
		unsigned int vcpu;
	} entries[] = { { "VM", 0 }, { "vCPU", 1 }, { "thread", 0 } };
	int kmsg = kmsg_open();
	pthread_t thread;
	struct vm *vm;

	need_faults();
	confine_faults_to("discover");
	vm = vm_new(2);
	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		struct vcpu *vcpu = &vm->vcpus[entries[i].vcpu];

		tap_note("no record of the %s", entries[i].record);
		vcpu_load(vcpu, guest_io, 1000);
		if (pthread_create(&thread, NULL, enter_refused, vcpu))
			die("pthread_create");
		pthread_join(thread, NULL);
	}
	vm_free(vm);
	EXPECT(kmsg_bad(kmsg), ==, 0);
	/* Other tests expect that none was refused. */
	REQUIRE(module_unload(), ==, 0);
	REQUIRE(module_load(), ==, 0);
}

/* errno of a snapshot of @vm into @nr_vms rows of VMs, whose @nth allocation fails; if *@hit. */
static int snapshot_failing(int device, const struct vm *vm, uint32_t nr_vms, int nth, bool *hit)
{
	struct kvmgang_vcpu_row vcpus[2] = {};
	struct kvmgang_vm_row vms[1] = {};
	struct kvmgang_snapshot request = {
		.size = sizeof(request), .vm_id = vm_id_of(vm),
		.vm_row_size = sizeof(*vms), .vcpu_row_size = sizeof(*vcpus),
		.nr_vms = nr_vms, .nr_vcpus = 2,
		.vms = (uintptr_t)vms, .vcpus = (uintptr_t)vcpus,
	};
	int err;

	fail_nth(nth);
	err = ioctl(device, KVMGANG_SNAPSHOT, &request) ? errno : 0;
	*hit = failed();
	EXPECT(vms[0].vm_id, ==, err ? 0 : request.vm_id);
	EXPECT(vcpus[0].vm_id, ==, err ? 0 : request.vm_id);
	return err;
}

/*
 * There are an array for rows of VMs and one for those of vCPUs. Each is the first allocation if
 * there is no room for what is before it; see test_entry().
 */
static void test_snapshot(void)
{
	int kmsg = kmsg_open(), device = kvmgang_open(), nth = 0, nr_refused = 0, err;
	struct vm *vm;
	bool hit;

	need_faults();
	vm = vm_new(2);
	vm_start(vm, guest_halt, 0);
	vm_id_wait(vm);
	confine_faults_to("kvmgang_ioctl");
	do {
		err = snapshot_failing(device, vm, 1, ++nth, &hit);
		if (err) {
			EXPECT(err, ==, ENOMEM);
			nr_refused++;
		}
	} while (hit);
	tap_note("%d allocations, %d of them necessary", nth - 1, nr_refused);
	EXPECT(err, ==, 0);
	EXPECT(snapshot_failing(device, vm, 1, 1, &hit), ==, ENOMEM);
	EXPECT(snapshot_failing(device, vm, 0, 1, &hit), ==, ENOMEM);
	EXPECT(kmsg_bad(kmsg), ==, 0);
}

/*
 * Directories in sysfs are made by a kernel thread, whose allocations cannot be counted from here:
 * the fault is the first one after so many bytes. A VM that gets no directory is accounted all the
 * same, and goes like any other. The module and the kernel say that there is no directory, which is
 * all that may be in the log (log-allowed).
 */
static void test_sysfs(void)
{
	int kmsg = kmsg_open(), space, nr_hit = 0;
	struct vm *vm;
	uint32_t vm_id;

	need_faults();
	confine_faults_to("reconcile");
	write_number(FAILSLAB "probability", 100);
	for (space = 0; space < 4096; space += 256) {
		write_number(FAILSLAB "space", space);
		write_number(FAILSLAB "times", 1);
		vm = vm_new(2);
		vm_start(vm, guest_halt, 0);
		vm_id = vm_id_wait(vm);
		row_read(vm_id, 0);
		vm_free(vm);
		await(!vm_exists(vm_id));
		nr_hit += read_number(FAILSLAB "times") == 0;
	}
	write_number(FAILSLAB "probability", 0);
	tap_note("%d faults", nr_hit);
	EXPECT(nr_hit, >, 0);
	EXPECT(kmsg_bad(kmsg), ==, 0);
}

TAP_MAIN(
	{ "a module that cannot be loaded leaves nothing", test_load },
	{ "a guest whose record cannot be made runs on, and is found later", test_entry },
	{ "a snapshot that cannot be made is none", test_snapshot },
	{ "a VM without directories is accounted", test_sysfs },
)
