/* SPDX-License-Identifier: Apache-2.0 */
/* probe_parked.c: what differs between machines that were parked once: identities, random numbers, clocks. */
#include "tests/functional/guest/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say_bytes(const char *name, const void *data, size_t length)
{
	printf("%s ", name);
	for (size_t i = 0; i < length; i++)
		printf("%02x", ((const uint8_t *)data)[i]);
	putchar('\n');
}

static void say_file(const char *name, const char *path)
{
	char text[128] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		snprintf(text, sizeof(text), "%s", strerrorname_np(errno));
	if (fd >= 0)
		close(fd);
	text[strcspn(text, "\n")] = '\0';
	printf("%s %s\n", name, text);
}

/* What no two copies of a machine may have in common. */
static void unique(char **args)
{
	static char name[] = "/tmp/unique-XXXXXX";
	struct timespec now;
	struct utsname system;
	uint8_t bytes[32];
	unsigned long address;
	const void *at_random;
	uintptr_t canary;
	int fd;

	(void)args;
	if (getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes))
		say_bytes("getrandom", bytes, sizeof(bytes));
	fd = open("/dev/urandom", O_RDONLY);
	if (fd >= 0) {
		if (read(fd, bytes, sizeof(bytes)) == sizeof(bytes))
			say_bytes("urandom", bytes, sizeof(bytes));
		close(fd);
	}
	address = getauxval(AT_RANDOM);
	memcpy(&at_random, &address, sizeof(at_random));
	say_bytes("at-random", at_random, 16);
	__asm__("mov %%fs:0x28, %0" : "=r"(canary));
	say_bytes("canary", &canary, sizeof(canary));
	say_file("boot-id", "/proc/sys/kernel/random/boot_id");
	say_file("random-uuid", "/proc/sys/kernel/random/uuid");
	say_file("machine-id", "/etc/machine-id");
	say_file("hostname-file", "/etc/hostname");
	uname(&system);
	printf("nodename %s\n", system.nodename);
	fd = mkstemp(name);
	printf("temporary %s\n", fd < 0 ? strerrorname_np(errno) : name);
	clock_gettime(CLOCK_REALTIME, &now);
	printf("time %lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
	fflush(stdout);
}

static int64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/*
 * How far our clock is from the host's: a file made in a directory of the host carries the host's time,
 * which lies between our own readings. "clock-error NANOSECONDS": 0 when it does.
 */
static void clock_against(char **args)
{
	static unsigned int count;
	char path[PATH_MAX];
	struct stat st = {0};
	int64_t before, after, there;
	int fd;

	snprintf(path, sizeof(path), "%s/clock-%u", args[0], count++);
	before = clock_now(CLOCK_REALTIME);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	after = clock_now(CLOCK_REALTIME);
	if (fd < 0 || fstat(fd, &st) < 0) {
		printf("clock-error %s\n", strerrorname_np(errno));
		return;
	}
	there = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
	printf("clock-error %lld\n",
		(long long)(there < before      ? before - there
				: there > after ? there - after
						: 0));
	close(fd);
}

#define COUNT_PAUSE_NS 20000000
#define COUNT_MEMORY   (1u << 20)

static volatile sig_atomic_t count_is_over;

static void count_end(int signal)
{
	(void)signal;
	count_is_over = 1;
}

static _Noreturn void count_send(int pipe_fd)
{
	const struct timespec pause = {.tv_nsec = COUNT_PAUSE_NS};

	do
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	while (write(pipe_fd, "", 1) == 1);
	_exit(0);
}

/* Whether the file has the numbers from 1 to last, a line each. */
static bool count_is_whole(int fd, unsigned int last)
{
	FILE *file = fdopen(fd, "r");
	unsigned int next = 0;
	char line[32];

	rewind(file);
	while (fgets(line, sizeof(line), file))
		if ((unsigned int)number(line) != ++next)
			return false;
	return next == last;
}

/*
 * A program in the middle of things: counts the bytes that another process sends it every 20 ms, and appends each number
 * to a file that it keeps open. Says "ready"; after SIGTERM, whether file and memory are whole, and how long the longest
 * step took by the monotonic clock.
 */
static void count(char **args)
{
	int fd = open(args[0], O_CREAT | O_EXCL | O_RDWR | O_APPEND | O_CLOEXEC, FILE_ACCESS_MODE);
	const struct sigaction action = {.sa_handler = count_end};
	int64_t last = clock_now(CLOCK_MONOTONIC), jump = 0, now;
	unsigned char *memory = malloc(COUNT_MEMORY);
	unsigned int counted = 0, damaged = 0;
	int pipe_fds[2];
	pid_t sender;
	char byte;

	if (fd < 0 || !memory || pipe(pipe_fds) < 0 || (sender = fork()) < 0) {
		printf("count %s\n", strerrorname_np(errno));
		return;
	}
	if (sender == 0)
		count_send(pipe_fds[1]);
	for (unsigned int i = 0; i < COUNT_MEMORY; i++)
		memory[i] = (unsigned char)(i * 31 + i / 4096);
	sigaction(SIGTERM, &action, NULL);
	puts("ready");
	while (!count_is_over && (read(pipe_fds[0], &byte, 1) == 1 || errno == EINTR)) {
		dprintf(fd, "%u\n", ++counted);
		now = clock_now(CLOCK_MONOTONIC);
		jump = now - last > jump ? now - last : jump;
		last = now;
	}
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
	for (unsigned int i = 0; i < COUNT_MEMORY; i++)
		damaged += memory[i] != (unsigned char)(i * 31 + i / 4096);
	printf("counted: %s\n", count_is_whole(fd, counted) ? "whole" : "damaged");
	printf("memory: %u bytes damaged\n", damaged);
	printf("longest step: %lld ms\n", (long long)(jump / 1000000));
	printf("pid: %d\n", (int)getpid());
}

/* Both clocks, read without pause for so many milliseconds, and how often one of them went back. */
static void clocks_monotonic(char **args)
{
	int64_t end = clock_now(CLOCK_MONOTONIC) + number(args[0]) * 1000000ll;
	int64_t monotonic = 0, real = 0;
	unsigned int back = 0;

	do {
		int64_t now = clock_now(CLOCK_MONOTONIC), wall = clock_now(CLOCK_REALTIME);

		back += now < monotonic;
		back += wall < real;
		monotonic = now;
		real = wall;
	} while (monotonic < end);
	printf("clocks went back %u times\n", back);
}

const struct command parked_commands[] = {
	{"count", 1, count},
	{"unique", 0, unique},
	{"clock-against", 1, clock_against},
	{"clocks-monotonic", 1, clocks_monotonic},
	{NULL, 0, NULL},
};
