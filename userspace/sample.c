// SPDX-License-Identifier: GPL-2.0
/*
 * Takes the snapshots that list, show and top compare. It keeps two of them and their buffers, and
 * no history: what an interval was before the last one is not known here.
 */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "sample.h"

static void take(struct sample *sample)
{
	device_snapshot(sample->fd, &sample->now);
	names_update(&sample->names, sample->now.vms, sample->now.nr_vms);
}

void sample_start(struct sample *sample)
{
	*sample = (struct sample){ .fd = device_open() };
	sigemptyset(&sample->stop);
	take(sample);
}

/* Returns false if a signal of @stop came first. */
bool sample_next(struct sample *sample, double interval_s)
{
	time_t seconds = (time_t)interval_s;
	const struct timespec wait = {
		.tv_sec = seconds,
		.tv_nsec = (long)((interval_s - (double)seconds) * 1e9),
	};
	struct snapshot reused = sample->before;
	int signal;

	do {
		signal = sigtimedwait(&sample->stop, NULL, &wait);
	} while (signal < 0 && errno == EINTR);
	if (signal > 0)
		return false;

	sample->before = sample->now;
	sample->now = reused;
	take(sample);
	return true;
}

void sample_end(struct sample *sample)
{
	names_free(&sample->names);
	snapshot_free(&sample->before);
	snapshot_free(&sample->now);
	close(sample->fd);
}
