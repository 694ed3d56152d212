// SPDX-License-Identifier: GPL-2.0
/*
 * The protocol of sd_notify(3), which is a datagram and stable; its manual page recommends this
 * over the library to those who need no more of it. Sockets of other families than AF_UNIX, as a VM
 * may be given, are not served.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"

void notify(const char *format, ...)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;
	char text[1024];
	va_list args;
	int fd;

	if (!length || length >= sizeof(to.sun_path) || (*path != '/' && *path != '@'))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(to.sun_path, path, length);
	if (*path == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/*
	 * Whoever listens and does not read must not hold up the one who holds the scheduler. What
	 * does not get through is lost; there is nobody else to tell.
	 */
	sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
}

/* A positive number, or -1. */
static long long env_number(const char *name)
{
	const char *text = getenv(name);
	long long number;
	char *end;

	if (!text)
		return -1;
	errno = 0;
	number = strtoll(text, &end, 10);
	return errno || end == text || *end || number <= 0 ? -1 : number;
}

int notify_watchdog_ms(void)
{
	long long usec = env_number("WATCHDOG_USEC"), pid = env_number("WATCHDOG_PID");
	long long ms;

	if (usec < 0 || (pid > 0 && pid != getpid()))
		return -1;
	/* Half of the time after which we count as dead, as sd_watchdog_enabled(3) wants it. */
	ms = usec / 2 / 1000;
	return ms < 1 ? 1 : ms > 3600000 ? 3600000 : (int)ms;
}
