// SPDX-License-Identifier: Apache-2.0
/*
 * inside.c: what the benchmark runs in a pod beside fsbench.
 *
 *   inside idle                             says "ready" and waits for ever
 *   inside time NAME COUNT COMMAND...       runs a command COUNT times, one after the other
 *
 * The second prints a line of JSON as fsbench does: {"operation":NAME,"count":COUNT,"seconds":1.23}. It
 * drops what the command says, and ends with 1 when the command failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Whether it ended with 0. */
static int run(char **command)
{
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		execvp(command[0], command);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		WEXITSTATUS(status) == 0;
}

static int time_command(const char *name, long count, char **command)
{
	int output = dup(STDOUT_FILENO), null_fd = open("/dev/null", O_RDWR);
	double start;

	/* A root filesystem may lack the devices; then the command's output is ours. */
	if (output < 0 || (null_fd >= 0 && dup2(null_fd, STDOUT_FILENO) < 0))
		return 1;
	start = now();
	for (long i = 0; i < count; i++) {
		if (!run(command)) {
			fprintf(stderr, "inside: %s failed\n", command[0]);
			return 1;
		}
	}
	dprintf(output, "{\"operation\":\"%s\",\"count\":%ld,\"seconds\":%.9f}\n", name, count,
		now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	long count;

	if (argc == 2 && !strcmp(argv[1], "idle")) {
		if (write(STDOUT_FILENO, "ready\n", 6) != 6)
			return 1;
		for (;;)
			pause();
	}
	if (argc > 4 && !strcmp(argv[1], "time")) {
		count = strtol(argv[3], NULL, 10);
		if (count > 0)
			return time_command(argv[2], count, argv + 4);
	}
	fputs("usage: inside idle | inside time NAME COUNT COMMAND...\n", stderr);
	return 2;
}
