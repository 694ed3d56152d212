// SPDX-License-Identifier: GPL-2.0
/*
 * kvmgang set, reset and defaults: what VMs are to get. All keys of one command line are changed in
 * one call, so that a mistake in one leaves all as they were. It remembers nothing: settings last
 * as long as the VM, and defaults as long as the module.
 */
#include <err.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "device.h"
#include "find.h"
#include "kmod/policy_keys.h"
#include "policy.h"
#include "table.h"

static void change(const struct kvmgang_policy *asked)
{
	struct kvmgang_policy answer = *asked, now;
	int fd = device_open_to_change();
	int error = device_set_policy(fd, &answer);
	bool exists;

	if (error) {
		exists = device_get_policy(fd, asked->vm_id, &now);
		fail_policy(asked, error, &answer, exists ? &now : NULL);
	}
	close(fd);
}

/* Ids are not used again, so the VM is still the one that was meant, or gone. */
static __u32 resolve(const char *vm, __u32 id)
{
	struct sample sample;

	sample_start(&sample);
	id = find_vm(&sample, vm, id);
	sample_end(&sample);
	return id;
}

int command_set(const struct options *options)
{
	struct kvmgang_policy asked = {};
	__u32 id = parse_vm(options->vm);

	if (!*options->settings)
		errx(STATUS_USAGE, "command set: a setting is needed, as KEY=VALUE");
	for (char **arg = options->settings; *arg; arg++)
		parse_setting(*arg, &asked);
	asked.vm_id = resolve(options->vm, id);
	change(&asked);
	return STATUS_OK;
}

int command_reset(const struct options *options)
{
	struct kvmgang_policy asked = {};
	__u32 id = parse_vm(options->vm);

	for (char **arg = options->settings; *arg; arg++)
		parse_reset(*arg, &asked);
	if (!asked.reset)
		asked.reset = policy_known();
	asked.vm_id = resolve(options->vm, id);
	change(&asked);
	return STATUS_OK;
}

static void show_defaults(const struct options *options)
{
	struct kvmgang_policy now;
	int fd = device_open();
	json_t *policy;

	/* Defaults exist as long as the module does. */
	(void)device_get_policy(fd, 0, &now);
	close(fd);
	policy = report_policy(&now);
	if (options->json)
		print_json(policy);
	else
		print_policy(policy);
	json_decref(policy);
}

int command_defaults(const struct options *options)
{
	struct kvmgang_policy asked = {};

	for (char **arg = options->settings; *arg; arg++)
		parse_setting(*arg, &asked);
	if (asked.set | asked.reset)
		change(&asked);
	else
		show_defaults(options);
	return STATUS_OK;
}
