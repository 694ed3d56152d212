/* SPDX-License-Identifier: GPL-2.0 */
/* VMs and vCPUs as the objects that are printed. */
#ifndef KVMGANG_REPORT_H
#define KVMGANG_REPORT_H

#include <jansson.h>

#include "interval.h"
#include "sample.h"
#include "table.h"

/* Compares two struct vm_interval, for qsort(). */
typedef int vm_order_fn(const void *a, const void *b);

json_t *report_all(const struct sample *sample, vm_order_fn *order);
json_t *report_one(const struct sample *sample, __u32 vm_id);
json_t *report_nodes(__u64 mask);
extern const struct format as_nodes;
void print_vms(const json_t *vms, size_t max_rows);

#endif /* KVMGANG_REPORT_H */
