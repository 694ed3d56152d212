/* SPDX-License-Identifier: GPL-2.0 */
/* Settings as text, on the command line and in reports. */
#ifndef KVMGANG_POLICY_H
#define KVMGANG_POLICY_H

#include <jansson.h>

#include <linux/kvmgang.h>

/* Adds to @policy that KEY=VALUE is to be set, or reset with the value "default". */
void parse_setting(const char *arg, struct kvmgang_policy *policy);

/* Adds to @policy that KEY is to be reset. */
void parse_reset(const char *arg, struct kvmgang_policy *policy);

/* The object by which --json shows settings, and the same as text. */
json_t *report_policy(const struct kvmgang_policy *policy);
void print_policy(const json_t *policy);

/*
 * Ends the command: the module refused @asked with @error and changed it to @answer, and @now is
 * what was there; NULL: there is no such VM.
 */
void __attribute__((noreturn)) fail_policy(const struct kvmgang_policy *asked, int error,
					   const struct kvmgang_policy *answer,
					   const struct kvmgang_policy *now);

#endif /* KVMGANG_POLICY_H */
