// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang: shows where the time of every vCPU on this host goes, sets what each VM is to get, and
 * schedules them. This file is the table of commands and the options that they share; what a
 * command does is in a file of its own. It does not touch the device: a mistake on the command line
 * is reported whether or not the module is loaded.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/kvmgang.h>

#include "command.h"
#include "version.h"

#define MIN_INTERVAL_S		0.1
#define MAX_INTERVAL_S		3600.0
#define DEFAULT_INTERVAL_S	1.0
#define MAX_COUNT		1000000000ul

struct command {
	const char *name;
	int (*fn)(const struct options *options);
	const char *takes;	/* the options' letters below; "V": needs a VM; "S": settings */
	const char *usage;
};

static const struct command commands[] = {
	{ "list", command_list, "ij",
	  "list [-i SECONDS] [--json]              one row per VM (the default)" },
	{ "show", command_show, "ijV",
	  "show VM [-i SECONDS] [--json]           every counter of a VM's vCPUs; VM: id or name" },
	{ "top", command_top, "inj",
	  "top [-i SECONDS] [-n COUNT] [--json]    list, refreshed, most ready time first" },
	{ "status", command_status, "j",
	  "status [--json]                         module, limits and scheduler" },
	{ "run", command_run, "ov",
	  "run [--once] [--verbose]                schedules this host until stopped" },
	{ "set", command_set, "VS",
	  "set VM KEY=VALUE...                     changes what a VM is to get" },
	{ "reset", command_reset, "VS",
	  "reset VM [KEY]...                       has a VM follow the defaults again" },
	{ "defaults", command_defaults, "Sj",
	  "defaults [KEY=VALUE]... [--json]        shows or changes the defaults of all VMs" },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(void)
{
	puts("kvmgang: where the time of every vCPU on this host goes, and gangs of them\n");
	for (size_t i = 0; i < NR_COMMANDS; i++)
		printf("  kvmgang %s\n", commands[i].usage);
	puts("\n"
	     "  -i, --interval SECONDS   time between the two snapshots, 0.1 to 3600 (default 1)\n"
	     "  -n, --count COUNT        number of refreshes (default: until stopped)\n"
	     "      --json               JSON instead of text\n"
	     "      --once               ends when the scheduler leaves, whatever the reason\n"
	     "      --verbose            all that libbpf and the BPF verifier have to say\n"
	     "      --help, --version\n\n"
	     "kvmgang(8) explains every column and every key.");
}

static double parse_interval(const char *arg)
{
	char *end;
	double seconds = strtod(arg, &end);

	/* Written so that NaN fails, too. */
	if (end == arg || *end || !(seconds >= MIN_INTERVAL_S && seconds <= MAX_INTERVAL_S))
		errx(STATUS_USAGE, "interval '%s': must be %g to %g seconds", arg,
		     MIN_INTERVAL_S, MAX_INTERVAL_S);
	return seconds;
}

static unsigned long parse_count(const char *arg)
{
	unsigned long count;
	char *end;

	errno = 0;
	count = strtoul(arg, &end, 10);
	if (errno || end == arg || *end || *arg == '-' || count < 1 || count > MAX_COUNT)
		errx(STATUS_USAGE, "count '%s': must be 1 to %lu", arg, MAX_COUNT);
	return count;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < NR_COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	errx(STATUS_USAGE,
	     "command '%s': must be list, show, top, status, run, set, reset or defaults", name);
}

static void require(const struct command *command, char option, const char *name)
{
	if (!strchr(command->takes, option))
		errx(STATUS_USAGE, "option --%s: not for command %s", name, command->name);
}

/* What is left of the command line when the options are out: a command, its VM and settings. */
static const struct command *parse_operands(char **operands, struct options *options)
{
	const struct command *command = &commands[0];

	if (*operands)
		command = find_command(*operands++);
	if (strchr(command->takes, 'V')) {
		if (!*operands)
			errx(STATUS_USAGE, "command %s: a VM is needed, by id or name",
			     command->name);
		options->vm = *operands++;
	}
	if (strchr(command->takes, 'S'))
		options->settings = operands;
	else if (*operands)
		errx(STATUS_USAGE, "argument '%s': one too many for command %s", *operands,
		     command->name);
	return command;
}

static const struct command *parse(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "once", no_argument, NULL, 'o' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'e' },
		{ 0 }
	};
	const char *interval = NULL, *count = NULL;
	const struct command *command;
	int c;

	while ((c = getopt_long(argc, argv, "i:n:", long_options, NULL)) != -1) {
		switch (c) {
		case 'i':
			interval = optarg;
			break;
		case 'n':
			count = optarg;
			break;
		case 'j':
			options->json = true;
			break;
		case 'o':
			options->once = true;
			break;
		case 'v':
			options->verbose = true;
			break;
		case 'h':
			print_help();
			return NULL;
		case 'e':
			printf("kvmgang %s, ABI %d\n", KVMGANG_VERSION, KVMGANG_ABI);
			return NULL;
		default:
			exit(STATUS_USAGE);
		}
	}

	command = parse_operands(argv + optind, options);
	if (options->json)
		require(command, 'j', "json");
	if (options->once)
		require(command, 'o', "once");
	if (options->verbose)
		require(command, 'v', "verbose");
	if (interval) {
		require(command, 'i', "interval");
		options->interval_s = parse_interval(interval);
	}
	if (count) {
		require(command, 'n', "count");
		options->count = parse_count(count);
	}
	return command;
}

int main(int argc, char **argv)
{
	struct options options = { .interval_s = DEFAULT_INTERVAL_S };
	const struct command *command;
	int status = STATUS_OK;

	if (argc > 0)
		argv[0] = program_invocation_short_name;	/* getopt's messages, as err()'s */
	command = parse(argc, argv, &options);
	if (command)
		status = command->fn(&options);

	/* What could not be written is a failure, not silence. */
	if (fflush(stdout) || ferror(stdout))
		err(STATUS_FAILED, "standard output");
	return status;
}
