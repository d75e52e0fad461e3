// SPDX-License-Identifier: Apache-2.0
/*
 * timer.c: runs one command and says when it said something and when it ended.
 *
 *   timer [--output FILE] [--errors FILE] [--limit SECONDS] COMMAND [ARGUMENT...]
 *
 * One JSON object on standard output: milliseconds on CLOCK_MONOTONIC from just before the fork to the
 * first byte on the command's standard output (null: none came) and to its exit; its exit status (128 + n
 * for signal n); CPU time and largest resident memory of it and of the children it waited for. What
 * it writes goes to the files, or nowhere. A command that runs into the limit is killed with
 * its process group; "limit" is then true. The status is 0 when there was something to measure.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_SECONDS 600

struct command {
	char **arguments;
	int output_fd, errors_fd;
	long limit; /* seconds */
};

struct result {
	int64_t first_output, exit; /* nanoseconds; first_output -1: none */
	int status;
	bool limit;
	struct rusage usage;
};

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static double milliseconds(const struct timeval *time)
{
	return (double)time->tv_sec * 1e3 + (double)time->tv_usec / 1e3;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "timer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		fail(path);
	return fd;
}

static _Noreturn void execute(const struct command *command, int output)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* a benchmark that is stopped leaves nothing behind */
	if (dup2(output, STDOUT_FILENO) < 0 || dup2(command->errors_fd, STDERR_FILENO) < 0)
		_exit(127);
	execvp(command->arguments[0], command->arguments);
	fprintf(stderr, "timer: %s: %s\n", command->arguments[0], strerror(errno));
	_exit(127);
}

/* What the pipe has now, to the file. false: its end, or nothing more for the moment. */
static bool forward(int from, int to)
{
	char bytes[65536];
	ssize_t n = read(from, bytes, sizeof(bytes));

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		return false;
	for (ssize_t done = 0; done < n;) {
		ssize_t written = write(to, bytes + done, (size_t)(n - done));

		if (written < 0)
			fail("writing the output");
		done += written;
	}
	return true;
}

static void measure(const struct command *command, struct result *ret)
{
	int pipes[2], pidfd, wait_status;
	int64_t start, deadline;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		fail("pipe");
	*ret = (struct result){.first_output = -1};
	start = now();
	deadline = start + command->limit * 1000000000;
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0)
		execute(command, pipes[1]);
	close(pipes[1]);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		fail("pidfd_open");
	for (;;) {
		struct pollfd polls[] = {
			{.fd = pidfd, .events = POLLIN},
			{.fd = pipes[0], .events = POLLIN},
		};
		int64_t left = (deadline - now()) / 1000000;
		int r = poll(polls, 2, left > 0 ? (int)left : 0);

		if (r < 0 && errno != EINTR)
			fail("poll");
		if (r == 0) {
			ret->limit = true;
			kill(-pid, SIGKILL);
			break;
		}
		if (polls[1].revents & POLLIN && ret->first_output < 0)
			ret->first_output = now() - start;
		if (polls[1].revents && !forward(pipes[0], command->output_fd)) {
			close(pipes[0]);
			pipes[0] = -1; /* poll() passes it over */
		}
		if (polls[0].revents)
			break;
	}
	while (wait4(pid, &wait_status, 0, &ret->usage) < 0)
		if (errno != EINTR)
			fail("wait4");
	ret->exit = now() - start;
	ret->status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
					     : 128 + WTERMSIG(wait_status);
	/* What it had written before it ended; processes that it left behind may hold the pipe. */
	if (pipes[0] >= 0 && fcntl(pipes[0], F_SETFL, O_NONBLOCK) == 0)
		while (forward(pipes[0], command->output_fd))
			if (ret->first_output < 0)
				ret->first_output = ret->exit;
	close(pidfd);
}

static void print(const struct result *result)
{
	printf("{\"first_output_ms\": ");
	if (result->first_output < 0)
		printf("null");
	else
		printf("%.3f", (double)result->first_output / 1e6);
	printf(", \"exit_ms\": %.3f, \"status\": %d, \"limit\": %s, \"user_ms\": %.3f, "
	       "\"system_ms\": %.3f, \"max_rss_kib\": %ld}\n",
		(double)result->exit / 1e6, result->status, result->limit ? "true" : "false",
		milliseconds(&result->usage.ru_utime), milliseconds(&result->usage.ru_stime),
		result->usage.ru_maxrss);
}

int main(int argc, char **argv)
{
	struct command command = {.output_fd = -1, .errors_fd = -1, .limit = LIMIT_SECONDS};
	struct result result;
	int i;

	for (i = 1; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
		if (!strcmp(argv[i], "--output"))
			command.output_fd = open_file(argv[i + 1]);
		else if (!strcmp(argv[i], "--errors"))
			command.errors_fd = open_file(argv[i + 1]);
		else if (!strcmp(argv[i], "--limit"))
			command.limit = strtol(argv[i + 1], NULL, 10);
		else
			break;
	}
	if (i >= argc || !strncmp(argv[i], "--", 2) || command.limit <= 0) {
		fprintf(stderr,
			"usage: timer [--output FILE] [--errors FILE] [--limit SECONDS] "
			"COMMAND [ARGUMENT...]\n");
		return 2;
	}
	if (command.output_fd < 0)
		command.output_fd = open_file("/dev/null");
	if (command.errors_fd < 0)
		command.errors_fd = open_file("/dev/null");
	command.arguments = argv + i;
	measure(&command, &result);
	print(&result);
	return 0;
}
