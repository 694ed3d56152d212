/* SPDX-License-Identifier: GPL-2.0 */
/* What every command is given, and the commands that there are. */
#ifndef KVMGANG_COMMAND_H
#define KVMGANG_COMMAND_H

#include <stdbool.h>

/* Exit statuses, as the man page promises them. */
enum {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
};

struct options {
	bool json;
	double interval_s;
	unsigned long count;	/* refreshes of top, 0: until stopped */
	const char *vm;		/* the VM that the command is asked for */
	char **settings;	/* keys, or KEY=VALUE; ends with NULL */
	bool once;		/* run: a scheduler that left does not come back */
	bool verbose;		/* run: what libbpf and the verifier say, too */
};

int command_list(const struct options *options);
int command_show(const struct options *options);
int command_top(const struct options *options);
int command_run(const struct options *options);
int command_status(const struct options *options);
int command_set(const struct options *options);
int command_reset(const struct options *options);
int command_defaults(const struct options *options);

#endif /* KVMGANG_COMMAND_H */
