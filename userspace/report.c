// SPDX-License-Identifier: GPL-2.0
/*
 * VMs and vCPUs as JSON objects: every counter under its own key, since birth ("total") and of the
 * interval ("interval"), with the percentages and percentiles that follow from them. The keys are
 * an interface, documented in kvmgang(8). It takes no snapshot and prints nothing but the VM table.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "report.h"
#include "table.h"

#define NODES 64	/* a home mask has this many bits */

static const char * const states[KVMGANG_NR_STATES] = {
	[KVMGANG_RUN] = "run",
	[KVMGANG_READY] = "ready",
	[KVMGANG_COSTOP] = "costop",
	[KVMGANG_THROTTLED] = "throttled",
	[KVMGANG_HALTED] = "halted",
	[KVMGANG_BLOCKED] = "blocked",
};

static const char * const displacers[KVMGANG_NR_DISPLACERS] = {
	[KVMGANG_BY_VM] = "displaced_vm_ns",
	[KVMGANG_BY_SIBLING] = "displaced_sibling_ns",
	[KVMGANG_BY_HOST] = "displaced_host_ns",
	[KVMGANG_BY_KTHREAD] = "displaced_kthread_ns",
	[KVMGANG_BY_NOBODY] = "displaced_nobody_ns",
};

static const char * const migrations[KVMGANG_NR_MIGRATIONS] = {
	[KVMGANG_MIGRATED_CPU] = "migrations_cpu",
	[KVMGANG_MIGRATED_LLC] = "migrations_llc",
	[KVMGANG_MIGRATED_NODE] = "migrations_node",
};

static void put_integer(json_t *object, const char *key, __u64 value)
{
	put(object, key, json_integer((json_int_t)value));
}

static void put_string(json_t *object, const char *key, const char *value)
{
	put(object, key, value ? json_string(value) : json_null());
}

/* A time, and how much of the counters' whole time it is. */
static void put_part(json_t *object, const char *name, const struct kvmgang_counters *c, __u64 ns)
{
	char key[32];

	snprintf(key, sizeof(key), "%s_ns", name);
	put_integer(object, key, ns);
	snprintf(key, sizeof(key), "%s_pct", name);
	put(object, key, json_real(counters_percent(c, ns)));
}

static void put_percentile(json_t *object, const char *key, const struct kvmgang_counters *c,
			   unsigned int permille)
{
	__u64 ns = counters_ready_ns(c, permille);

	put(object, key, ns ? json_integer((json_int_t)ns) : json_null());
}

static json_t *report_counters(const struct kvmgang_counters *c)
{
	json_t *object = json_object(), *histogram = json_array();

	put_integer(object, "time_ns", counters_time_ns(c));
	for (int i = 0; i < KVMGANG_NR_STATES; i++)
		put_part(object, states[i], c, c->state_ns[i]);
	put_part(object, "run_remote", c, c->run_remote_ns);
	put_part(object, "run_shared", c, c->run_shared_ns);
	put_integer(object, "switches", c->switches);
	put_integer(object, "preemptions", c->preemptions);
	put_integer(object, "wakeups", c->wakeups);
	for (int i = 0; i < KVMGANG_NR_MIGRATIONS; i++)
		put_integer(object, migrations[i], c->migrations[i]);
	put_integer(object, "yields_asked", c->yields_asked);
	put_integer(object, "yields_honoured", c->yields_honoured);
	for (int i = 0; i < KVMGANG_NR_DISPLACERS; i++)
		put_integer(object, displacers[i], c->displaced_ns[i]);
	put_integer(object, "ready_episodes", counters_episodes(c));
	put_percentile(object, "ready_p50_ns", c, 500);
	put_percentile(object, "ready_p99_ns", c, 990);
	put_percentile(object, "ready_p999_ns", c, 999);
	for (int i = 0; i < KVMGANG_READY_BUCKETS; i++)
		append(histogram, json_integer((json_int_t)c->ready_hist[i]));
	put(object, "ready_hist", histogram);
	return object;
}

json_t *report_nodes(__u64 mask)
{
	json_t *nodes = json_array();

	for (int node = 0; node < NODES; node++) {
		if (mask >> node & 1)
			append(nodes, json_integer(node));
	}
	return nodes;
}

/* How many of the VM's vCPUs run, or ran last, on which node. */
static json_t *report_places(const struct vm_interval *vm)
{
	unsigned int counts[NODES] = { 0 };
	json_t *places = json_array();

	for (__u32 i = 0; i < vm->nr_vcpus; i++) {
		if (vm->vcpus[i].node >= 0 && vm->vcpus[i].node < NODES)
			counts[vm->vcpus[i].node]++;
	}
	for (int node = 0; node < NODES; node++) {
		json_t *place;

		if (!counts[node])
			continue;
		place = json_object();
		put_integer(place, "node", node);
		put_integer(place, "vcpus", counts[node]);
		append(places, place);
	}
	return places;
}

static json_t *report_vm(const struct vm_interval *vm, const struct names *names)
{
	json_t *object = json_object();

	put_integer(object, "id", vm->vm->vm_id);
	put_string(object, "name", names_find(names, vm->vm->vm_id));
	put(object, "pid", json_integer(vm->vm->pid));
	put_integer(object, "nr_vcpus", vm->nr_vcpus);
	put(object, "home_nodes", report_nodes(vm->vm->home_nodes));
	put(object, "runs_on", report_places(vm));
	put_integer(object, "born_ns", vm->vm->born_ns);
	put_integer(object, "forced_idle_ns", vm->vm->sum.forced_idle_ns);
	put(object, "total", report_counters(&vm->vm->sum));
	put(object, "interval", report_counters(&vm->did));
	return object;
}

static int by_time(const void *a, const void *b)
{
	const struct kvmgang_top_displacer *x = a, *y = b;

	return (x->ns < y->ns) - (x->ns > y->ns);
}

static json_t *report_displacers(const struct kvmgang_vcpu_row *vcpu, const struct names *names)
{
	struct kvmgang_top_displacer top[KVMGANG_TOP_DISPLACERS];
	json_t *list = json_array();

	memcpy(top, vcpu->top, sizeof(top));
	qsort(top, KVMGANG_TOP_DISPLACERS, sizeof(top[0]), by_time);
	for (int i = 0; i < KVMGANG_TOP_DISPLACERS; i++) {
		json_t *object;

		if (!top[i].vm_id)
			continue;
		object = json_object();
		put_integer(object, "vm_id", top[i].vm_id);
		put_string(object, "name", names_find(names, top[i].vm_id));
		put_integer(object, "ns", top[i].ns);
		append(list, object);
	}
	return list;
}

static json_t *report_vcpu(const struct sample *sample, const struct kvmgang_vcpu_row *vcpu)
{
	struct kvmgang_counters did;
	json_t *object = json_object();

	interval_of_vcpu(&sample->before, vcpu, &did);
	put_integer(object, "id", vcpu->vcpu_id);
	put(object, "tid", json_integer(vcpu->tid));
	put_string(object, "state", vcpu->state < KVMGANG_NR_STATES ? states[vcpu->state] : NULL);
	put(object, "cpu", json_integer(vcpu->cpu));
	put(object, "node", json_integer(vcpu->node));
	put_integer(object, "born_ns", vcpu->born_ns);
	put_integer(object, "now_ns", vcpu->now_ns);
	put(object, "total", report_counters(&vcpu->count));
	put(object, "interval", report_counters(&did));
	put(object, "top_displacers", report_displacers(vcpu, &sample->names));
	return object;
}

static __u64 run_ns(const struct vm_interval *vm)
{
	return vm->did.state_ns[KVMGANG_RUN];
}

/* The host's row: the busiest VM is the one that kept most pCPUs running, be it wide or narrow. */
static json_t *report_host(const struct sample *sample, const struct vm_interval *vms)
{
	const struct snapshot *now = &sample->now;
	__u64 interval_ns = now->taken_ns - sample->before.taken_ns;
	long pcpus = sysconf(_SC_NPROCESSORS_ONLN);
	const struct vm_interval *busiest = NULL;
	json_t *host = json_object();

	for (__u32 i = 0; i < now->nr_vms; i++) {
		if (!busiest || run_ns(&vms[i]) > run_ns(busiest))
			busiest = &vms[i];
	}
	put_integer(host, "interval_ns", interval_ns);
	put(host, "pcpus", json_integer(pcpus));
	put_integer(host, "vms", now->nr_vms);
	put_integer(host, "vcpus", now->nr_vcpus);
	put(host, "overcommit", json_real((double)now->nr_vcpus / (double)pcpus));
	put(host, "busiest_id", busiest ? json_integer(busiest->vm->vm_id) : json_null());
	put_string(host, "busiest_name",
		   busiest ? names_find(&sample->names, busiest->vm->vm_id) : NULL);
	put(host, "busiest_pcpus", busiest && interval_ns ?
	    json_real((double)run_ns(busiest) / (double)interval_ns) :
	    json_null());
	return host;
}

static struct vm_interval *intervals(const struct sample *sample)
{
	struct vm_interval *vms = calloc((size_t)sample->now.nr_vms + 1, sizeof(*vms));

	if (!vms)
		err(STATUS_FAILED, "interval of %u VMs", sample->now.nr_vms);
	interval_of_vms(&sample->before, &sample->now, vms);
	return vms;
}

/* The host and all its VMs, by id if no @order is given. */
json_t *report_all(const struct sample *sample, vm_order_fn *order)
{
	struct vm_interval *vms = intervals(sample);
	json_t *object = json_object(), *list = json_array();

	if (order)
		qsort(vms, sample->now.nr_vms, sizeof(*vms), order);
	for (__u32 i = 0; i < sample->now.nr_vms; i++)
		append(list, report_vm(&vms[i], &sample->names));
	put(object, "host", report_host(sample, vms));
	put(object, "vms", list);
	free(vms);
	return object;
}

/* One VM with its vCPUs, or NULL if there is no such VM (any more). */
json_t *report_one(const struct sample *sample, __u32 vm_id)
{
	struct vm_interval *vms = intervals(sample);
	json_t *object = NULL, *vcpus;

	for (__u32 i = 0; i < sample->now.nr_vms; i++) {
		const struct vm_interval *vm = &vms[i];

		if (vm->vm->vm_id != vm_id)
			continue;
		object = report_vm(vm, &sample->names);
		vcpus = json_array();
		for (__u32 j = 0; j < vm->nr_vcpus; j++)
			append(vcpus, report_vcpu(sample, &vm->vcpus[j]));
		put(object, "vcpus", vcpus);
	}
	free(vms);
	return object;
}

/* Nodes as the kernel writes lists: 0-2,5. */
static void format_nodes(const json_t *value, char *cell)
{
	size_t nr = json_array_size(value), used = 0;

	snprintf(cell, CELL_SIZE, "-");
	for (size_t i = 0; i < nr && used < CELL_SIZE; i++) {
		long long first = json_integer_value(json_array_get(value, i)), last = first;

		while (i + 1 < nr && json_integer_value(json_array_get(value, i + 1)) == last + 1) {
			last++;
			i++;
		}
		used += (size_t)snprintf(cell + used, CELL_SIZE - used, "%s%lld",
					 used ? "," : "", first);
		if (last > first && used < CELL_SIZE)
			used += (size_t)snprintf(cell + used, CELL_SIZE - used, "-%lld", last);
	}
}

static void format_places(const json_t *value, char *cell)
{
	size_t nr = json_array_size(value), used = 0;

	snprintf(cell, CELL_SIZE, "-");
	for (size_t i = 0; i < nr && used < CELL_SIZE; i++) {
		const json_t *place = json_array_get(value, i);

		used += (size_t)snprintf(cell + used, CELL_SIZE - used, "%sN%lld:%lld",
					 used ? "," : "",
					 json_integer_value(json_object_get(place, "node")),
					 json_integer_value(json_object_get(place, "vcpus")));
	}
}

const struct format as_nodes = { format_nodes, true };
static const struct format as_places = { format_places, true };

/* The table of list and top, and the first one of show. */
void print_vms(const json_t *vms, size_t max_rows)
{
	static const struct column columns[] = {
		{ "ID", NULL, "id", &as_count },
		{ "NAME", NULL, "name", &as_name },
		{ "PID", NULL, "pid", &as_count },
		{ "VCPUS", NULL, "nr_vcpus", &as_count },
		{ "HOME", NULL, "home_nodes", &as_nodes },
		{ "RUNS-ON", NULL, "runs_on", &as_places },
		{ "RUN%", "interval", "run_pct", &as_decimal },
		{ "READY%", "interval", "ready_pct", &as_decimal },
		{ "COSTP%", "interval", "costop_pct", &as_decimal },
		{ "THROT%", "interval", "throttled_pct", &as_decimal },
		{ "HALT%", "interval", "halted_pct", &as_decimal },
		{ "BLOCK%", "interval", "blocked_pct", &as_decimal },
		{ "READY-P99", "interval", "ready_p99_ns", &as_time },
	};

	print_table(columns, NR_COLUMNS(columns), vms, max_rows);
}
