// SPDX-License-Identifier: GPL-2.0
/* The command as a service, see service.h. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "service.h"
#include "tap.h"

static int listen_for(struct sockaddr_un *name, socklen_t *length)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	static int nr;

	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*length = offsetof(struct sockaddr_un, sun_path) + 1 +
		  snprintf(name->sun_path + 1, sizeof(name->sun_path) - 1, "kvmgang-%d-%d",
			   getpid(), nr++);
	if (fd < 0 || bind(fd, (struct sockaddr *)name, *length))
		die("socket: %m");
	return fd;
}

static void execute(const char *fault, const char *argument1, const char *argument2)
{
	char self[PATH_MAX] = "", path[PATH_MAX + 16];

	/* build/selftests/test_x -> build/kvmgang */
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		die("where am I: %m");
	snprintf(path, sizeof(path), "%s/kvmgang", dirname(dirname(self)));
	if (fault)
		setenv("KVMGANG_FAULT", fault, 1);
	execl(path, "kvmgang", argument1, argument2, NULL);
	die("%s: %m", path);
}

struct service command_start(const char *fault, const char *argument1, const char *argument2)
{
	struct service service = { 0 };
	struct sockaddr_un name;
	socklen_t length;
	int output[2];

	service.socket = listen_for(&name, &length);
	if (pipe2(output, O_CLOEXEC))
		die("pipe: %m");
	service.pid = fork();
	if (service.pid < 0)
		die("fork: %m");
	if (!service.pid) {
		name.sun_path[0] = '@';
		setenv("NOTIFY_SOCKET", name.sun_path, 1);
		dup2(output[1], STDOUT_FILENO);
		dup2(output[1], STDERR_FILENO);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execute(fault, argument1, argument2);
	}
	close(output[1]);
	service.output = output[0];
	return service;
}

void service_await(const struct service *service, const char *what)
{
	char text[2048];
	ssize_t length;

	do {
		length = recv(service->socket, text, sizeof(text) - 1, 0);
		if (length < 0)
			die("recv: %m");
		text[length] = '\0';
		if (!strncmp(text, "STOPPING=1", 10) && strncmp(what, "STOPPING=1", 10) != 0)
			die("it stops: %s", text);
	} while (strncmp(text, what, strlen(what)) != 0);
}

struct service service_start(const char *fault, const char *option)
{
	struct service service = command_start(fault, "run", option);

	service_await(&service, "READY=1");
	EXPECT(scheduler_is("enabled"), ==, true);
	return service;
}

void service_listen(struct service *service)
{
	size_t got = 0;
	ssize_t length;

	while ((length = read(service->output, service->said + got,
			      sizeof(service->said) - 1 - got)) > 0)
		got += length;
	service->said[got] = '\0';
}

int service_wait(struct service *service)
{
	int status;

	service_listen(service);
	if (waitpid(service->pid, &status, 0) != service->pid)
		die("waitpid: %m");
	close(service->output);
	close(service->socket);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int service_end(struct service *service, int signal)
{
	kill(service->pid, signal);
	return service_wait(service);
}

void expect_said(const struct service *service, const char *text)
{
	if (!EXPECT(!!strstr(service->said, text), ==, true))
		tap_note("wanted '%s' in: %s", text, service->said);
}
