/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The command, run as a service would be: with a socket for sd_notify(3). It goes when the test
 * does. As in vmm.h, what a test cannot do without fails by die().
 */
#ifndef SELFTESTS_SERVICE_H
#define SELFTESTS_SERVICE_H

#include <sys/types.h>

struct service {
	pid_t pid;
	int socket;
	int output;
	char said[8192];	/* on stdout and stderr, when it has ended */
};

/* Any command of kvmgang; @fault: for KVMGANG_FAULT, may be NULL, as may the second argument. */
struct service command_start(const char *fault, const char *argument1, const char *argument2);

/* kvmgang run, until the scheduler is attached. */
struct service service_start(const char *fault, const char *option);

/*
 * Waits until the service says something that begins with @what. Who does not wait does not read:
 * with a watchdog the socket is soon full, and what is said then is lost.
 */
void service_await(const struct service *service, const char *what);

/* Waits until it has no more to say. */
void service_listen(struct service *service);

/* Waits for its end; its exit status, or minus the signal that it died of. */
int service_wait(struct service *service);
int service_end(struct service *service, int signal);

void expect_said(const struct service *service, const char *text);

#endif /* SELFTESTS_SERVICE_H */
