// SPDX-License-Identifier: Apache-2.0
/*
 * rate.c: runs a command again and again, some at once, and says how long that took.
 *
 *   rate RUNS AT_ONCE COMMAND [ARGUMENT...]
 *
 * "{}" in an argument becomes the number of the run. What the command writes is dropped; a run that does
 * not end with 0 has failed. One JSON object on standard output: "runs", "failed", "seconds".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "rate: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* In the child, which is about to be replaced: what it allocates needs no owner. */
static char *numbered(const char *argument, long run)
{
	const char *place = strstr(argument, "{}");
	char *text;

	if (!place)
		return (char *)argument;
	if (asprintf(&text, "%.*s%ld%s", (int)(place - argument), argument, run, place + 2) < 0)
		_exit(127);
	return text;
}

static void start(char **arguments, long run, int null_fd)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid > 0)
		return;
	for (int fd = 0; fd < 3; fd++)
		dup2(null_fd, fd);
	for (char **argument = arguments; *argument; argument++)
		*argument = numbered(*argument, run);
	execvp(arguments[0], arguments);
	_exit(127);
}

/* Waits for one run; whether it ended with 0. */
static int finish(void)
{
	int status;

	while (wait(&status) < 0)
		if (errno != EINTR)
			fail("wait");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
	long runs = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
	long at_once = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
	long failed = 0, running = 0;
	int null_fd;
	int64_t begin;

	if (runs <= 0 || at_once <= 0) {
		fputs("usage: rate RUNS AT_ONCE COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		fail("/dev/null");
	begin = now();
	for (long run = 0; run < runs; run++) {
		if (running == at_once) {
			failed += !finish();
			running--;
		}
		start(argv + 3, run, null_fd);
		running++;
	}
	for (; running > 0; running--)
		failed += !finish();
	printf("{\"runs\": %ld, \"failed\": %ld, \"seconds\": %.6f}\n", runs, failed,
		(double)(now() - begin) / 1e9);
	return 0;
}
