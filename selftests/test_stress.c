// SPDX-License-Identifier: GPL-2.0
/*
 * Churn of every kind, while four readers hold each row against the rules at every read: VMs that
 * come and go, VMMs that are killed inside KVM_RUN, VMs by the dozen, vCPUs that change threads and
 * threads that change vCPUs. Whatever happened, nothing is left of it: no record, no word in the
 * kernel's log.
 *
 * That no memory is left either, run.sh asks kmemleak. The module itself comes and goes in
 * test_module.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define NR_READERS	4
#define MIN_READS	20		/* of each */

struct churn {
	struct reader readers[NR_READERS];
	struct kvmgang_info before;
	int kmsg;
};

static void churn_begin(struct churn *churn)
{
	churn->kmsg = kmsg_open();
	kvmgang_info(&churn->before);
	REQUIRE(churn->before.out_nr_vms, ==, 0);
	readers_start(churn->readers, NR_READERS);
}

static void churn_end(struct churn *churn)
{
	struct kvmgang_info info;

	readers_stop(churn->readers, NR_READERS, MIN_READS);
	await((kvmgang_info(&info), info.out_nr_vms == 0));
	EXPECT(info.out_nr_vcpus, ==, 0);
	EXPECT(info.out_refused, ==, churn->before.out_refused);
	EXPECT(kmsg_bad(churn->kmsg), ==, 0);
	close(churn->kmsg);
}

static void sleep_a_little(struct vcpu *vcpu)
{
	(void)vcpu;
	sleep_ms(500);
}

/* Half of the pCPUs are left to the readers and whoever churns. */
static int crowded_cpu(int n)
{
	int half = (nr_cpus() + 1) / 2;

	return nth_cpu(nr_cpus() - 1 - n % half);
}

/* A VM of its kind, the kinds in turn: most of them sleep, or the host could not keep up. */
static struct vm *start_nth(int n, int nr_vcpus)
{
	struct vm *vm = vm_new(nr_vcpus);
	int i;

	switch (n % 8) {
	case 0:
		for (i = 0; i < nr_vcpus; i++)
			vcpu_pin(&vm->vcpus[i], crowded_cpu(i));
		vm_start(vm, guest_spin, 0);
		break;
	case 1:
	case 2:
	case 3:
		vm_start(vm, guest_halt, 1000 * NSEC_PER_MSEC);
		break;
	case 4:
	case 5:
		for (i = 0; i < nr_vcpus; i++)
			vm->vcpus[i].left = sleep_a_little;
		vm_start(vm, guest_io, 1000);
		break;
	default:
		vm_start(vm, guest_halt, 0);
	}
	return vm;
}

static void come_and_go(int rounds)
{
	uint32_t id, last_id = 0;
	struct vm *vm;
	int i;

	for (i = 0; i < rounds; i++) {
		vm = start_nth(i, 2);
		id = vm_id_wait(vm);
		REQUIRE(id, >, last_id);
		last_id = id;
		vm_free(vm);
	}
}

static void test_vms(void)
{
	struct churn churn;

	churn_begin(&churn);
	come_and_go(effort(40, 1000));
	churn_end(&churn);
}

/* A process whose vCPUs do not leave KVM_RUN; it says when the module knows them, and stays. */
static pid_t start_vmm(const char *program)
{
	uint32_t vm_id = 0;
	int said[2];
	pid_t pid;

	REQUIRE(pipe(said), ==, 0);
	pid = fork();
	REQUIRE(pid, >=, 0);
	if (!pid) {
		struct vm *vm = vm_new(3);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		vm_start(vm, program, 0);
		vm_id = vm_id_wait(vm);
		if (write(said[1], &vm_id, sizeof(vm_id)) != sizeof(vm_id))
			die("pipe: %m");
		for (;;)
			pause();
	}
	close(said[1]);
	REQUIRE(read(said[0], &vm_id, sizeof(vm_id)), ==, sizeof(vm_id));
	close(said[0]);
	EXPECT(vm_exists(vm_id), ==, true);
	return pid;
}

/* Some run in the guest when it happens, some wait for a pCPU, some are asleep. */
static void kill_vmms(int rounds)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < rounds; i++) {
		pid = start_vmm(i % 2 ? guest_halt : guest_spin);
		kill(pid, SIGKILL);
		REQUIRE(waitpid(pid, &status, 0), ==, pid);
		REQUIRE(WIFSIGNALED(status), ==, true);
	}
}

static void test_killed(void)
{
	struct churn churn;

	churn_begin(&churn);
	kill_vmms(effort(20, 200));
	churn_end(&churn);
}

/* test_scale has 64 VMs that stay. These come and go, and a slow kernel cannot do that to many. */
#define CROWD_OWNERS	8		/* threads that make and destroy VMs, each its own */
#define OWNED		effort(2, 8)
#define CROWD_VCPUS	8

struct owner {
	pthread_t thread;
	int kind;			/* of its first VM */
	pthread_barrier_t *all_there;
};

static void *own_vms(void *arg)
{
	struct owner *owner = arg;
	const int owned = OWNED;
	struct vm *vms[owned];
	int i;

	for (i = 0; i < owned; i++)
		vms[i] = start_nth(owner->kind + i, CROWD_VCPUS);
	pthread_barrier_wait(owner->all_there);
	/* The first thread has looked. */
	pthread_barrier_wait(owner->all_there);
	for (i = 0; i < effort(1, 8) * owned; i++) {
		vm_free(vms[i % owned]);
		vms[i % owned] = start_nth(owner->kind + i, CROWD_VCPUS);
	}
	for (i = 0; i < owned; i++)
		vm_free(vms[i]);
	return NULL;
}

static void test_crowd(void)
{
	const int nr_vms = CROWD_OWNERS * OWNED, nr_vcpus = nr_vms * CROWD_VCPUS;
	struct owner owners[CROWD_OWNERS];
	pthread_barrier_t all_there;
	struct kvmgang_info info;
	struct churn churn;
	int i;

	churn_begin(&churn);
	/* Makes what all VMs share. */
	vm_free(vm_new(1));
	pthread_barrier_init(&all_there, NULL, CROWD_OWNERS + 1);
	for (i = 0; i < CROWD_OWNERS; i++) {
		owners[i].all_there = &all_there;
		owners[i].kind = i * OWNED;
		if (pthread_create(&owners[i].thread, NULL, own_vms, &owners[i]))
			die("pthread_create");
	}
	pthread_barrier_wait(&all_there);
	kvmgang_info(&info);
	EXPECT(info.out_nr_vms, ==, nr_vms);
	EXPECT(info.out_nr_vcpus, ==, nr_vcpus);
	pthread_barrier_wait(&all_there);
	for (i = 0; i < CROWD_OWNERS; i++)
		pthread_join(owners[i].thread, NULL);
	churn_end(&churn);
}

/* Of two VMs that do not stop: in one vCPUs spin, in the other they wake each other up. */
static void replace_threads(int rounds)
{
	struct vm *spin = vm_new(4), *ping = vm_new(4);
	struct vcpu *vcpu;
	int i;

	vm_start(spin, guest_spin, 0);
	vm_start(ping, guest_ping, 0);
	for (i = 0; i < rounds; i++) {
		vcpu = &(i & 4 ? ping : spin)->vcpus[i % 4];
		vcpu_stop(vcpu);
		vcpu_start(vcpu);
	}
	vm_wait_progress(spin);
	vm_wait_progress(ping);
	vm_free(spin);
	vm_free(ping);
}

static void test_threads(void)
{
	struct churn churn;

	churn_begin(&churn);
	replace_threads(effort(100, 2000));
	churn_end(&churn);
}

/* Fewer threads than vCPUs: each enters the next vCPU that no other thread is in. */
#define POOL_THREADS	3
#define POOL_VCPUS	5

struct pool {
	struct vm *vm;
	pthread_mutex_t entered[POOL_VCPUS];
	uint64_t entries[POOL_VCPUS];
	bool stop;
};

static void *serve_all(void *arg)
{
	struct pool *pool = arg;
	int i;

	for (i = 0; !__atomic_load_n(&pool->stop, __ATOMIC_RELAXED); i = (i + 1) % POOL_VCPUS) {
		if (pthread_mutex_trylock(&pool->entered[i]))
			continue;
		vcpu_enter(&pool->vm->vcpus[i]);
		__atomic_fetch_add(&pool->entries[i], 1, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&pool->entered[i]);
	}
	return NULL;
}

static void share_threads(uint64_t entries)
{
	struct pool pool = { .vm = vm_new(POOL_VCPUS) };
	pthread_t threads[POOL_THREADS];
	int i;

	for (i = 0; i < POOL_VCPUS; i++) {
		pthread_mutex_init(&pool.entered[i], NULL);
		vcpu_load(&pool.vm->vcpus[i], guest_io, 1000);
	}
	for (i = 0; i < POOL_THREADS; i++)
		pthread_create(&threads[i], NULL, serve_all, &pool);
	for (i = 0; i < POOL_VCPUS; i++)
		await(__atomic_load_n(&pool.entries[i], __ATOMIC_RELAXED) >= entries);
	__atomic_store_n(&pool.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < POOL_THREADS; i++)
		pthread_join(threads[i], NULL);
	vm_free(pool.vm);
}

static void test_pool(void)
{
	struct churn churn;

	churn_begin(&churn);
	share_threads(effort(200, 5000));
	churn_end(&churn);
}

TAP_MAIN(
	{ "VMs come and go", test_vms },
	{ "VMMs are killed inside KVM_RUN", test_killed },
	{ "many VMs with 8 vCPUs each, replaced one by one", test_crowd },
	{ "vCPUs change threads while their siblings run", test_threads },
	{ "threads change vCPUs at every entry", test_pool },
)
