/* SPDX-License-Identifier: GPL-2.0 */
/* Two snapshots an interval apart, which is what every percentage is made of. */
#ifndef KVMGANG_SAMPLE_H
#define KVMGANG_SAMPLE_H

#include <signal.h>
#include <stdbool.h>

#include "device.h"
#include "name.h"

struct sample {
	int fd;
	sigset_t stop;		/* blocked signals that end the wait; none at first */
	struct snapshot before;
	struct snapshot now;
	struct names names;	/* of the VMs in @now */
};

void sample_start(struct sample *sample);
bool sample_next(struct sample *sample, double interval_s);
void sample_end(struct sample *sample);

#endif /* KVMGANG_SAMPLE_H */
