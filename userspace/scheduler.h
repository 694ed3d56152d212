/* SPDX-License-Identifier: GPL-2.0 */
/* The sched_ext scheduler of this host, as any process can see it. */
#ifndef KVMGANG_SCHEDULER_H
#define KVMGANG_SCHEDULER_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "sched_ext/interface.h"

struct scheduler {
	char state[32];		/* disabled, enabling, enabled, disabling; "": no sched_ext */
	char name[128];		/* "": none is attached */
};

void scheduler_read(struct scheduler *scheduler);

/* What our scheduler, which is attached, has counted. */
struct scheduler_stats {
	__u64 age_ns;		/* since it was loaded */
	struct sched_stats node[MAX_NODES];
	struct target_report targets[MAX_NODES];
};

/* False: it is not there (any more), or the caller may not look. */
bool scheduler_stats_read(struct scheduler_stats *stats);

/* The first line of a file, as of sysfs; false: there is none. */
bool read_line(const char *path, char *line, size_t size);

#endif /* KVMGANG_SCHEDULER_H */
