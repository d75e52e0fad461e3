/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app of the functional tests: a static program that runs the commands it is given, one after
 * the other, and prints what it finds, one line each, so that a test learns much from one boot.
 * The tests run it on the host as well and compare.
 *
 *   probe COMMAND ARGUMENT... COMMAND ARGUMENT... ...
 *
 * Each command has a fixed number of arguments (the tables at the ends of the files). A command that cannot do its
 * work prints the error number's name in its line; only "check" commands end the program.
 */
#include "tests/functional/guest/probe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AWAIT_STEP_MS 50
#define AWAIT_LIMIT_S 600
#define BURN_STEPS    1000000

int number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

static void say(char **args)
{
	puts(args[0]);
}

static void complain(char **args)
{
	fprintf(stderr, "%s\n", args[0]);
}

static void identity(char **args)
{
	(void)args;
	gid_t groups[64];
	int count = getgroups(64, groups);

	printf("identity: uid=%u euid=%u gid=%u egid=%u groups=", getuid(), geteuid(), getgid(),
		getegid());
	for (int i = 0; i < count; i++)
		printf("%s%u", i ? "," : "", groups[i]);
	printf("\n");
}

static void env(char **args)
{
	const char *value = getenv(args[0]);

	printf("env %s: %s\n", args[0], value ? value : "(unset)");
}

static void cwd(char **args)
{
	(void)args;
	char path[PATH_MAX];

	printf("cwd: %s\n", getcwd(path, sizeof(path)) ? path : strerrorname_np(errno));
}

static void host_name(char **args)
{
	(void)args;
	char name[HOST_NAME_MAX + 1] = "";

	gethostname(name, sizeof(name) - 1);
	printf("hostname: %s\n", name);
}

/* COUNT lines, each in three writes: what another app says must not come between. */
static void lines(char **args)
{
	int count = number(args[1]);

	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 0; i < count; i++) {
		printf("%s", args[0]);
		printf("-line-%d-", i);
		printf("%s\n", args[0]);
	}
}

/* So many KiB of numbered lines, in large pieces. */
static void flood(char **args)
{
	static char buffer[64 << 10];
	int count = number(args[0]) * 16;

	fflush(stdout);
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	for (int i = 0; i < count; i++)
		printf("%063d\n", i);
}

static void end(char **args)
{
	exit(number(args[0]));
}

static void crash(char **args)
{
	(void)args;
	raise(SIGSEGV);
}

void await_signal(int signal)
{
	sigset_t set;
	int got = 0;

	sigemptyset(&set);
	sigaddset(&set, signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("ready");
	while (sigwait(&set, &got) || got != signal)
		;
}

/* Says "ready", then "stopping" when SIGTERM comes, and goes on. */
static void until_stopped(char **args)
{
	(void)args;
	await_signal(SIGTERM);
	puts("stopping");
}

/* Opens a file, removes its name, says "ready", and stays until a signal ends it. */
static void nameless(char **args)
{
	int fd = open(args[0], O_RDWR | O_CREAT | O_CLOEXEC, FILE_ACCESS_MODE);

	if (fd < 0 || unlink(args[0]) < 0)
		printf("nameless %s\n", strerrorname_np(errno));
	puts("ready");
	for (;;)
		pause();
}

/* Says "ready" and stays until a signal ends it. */
static void forever(char **args)
{
	(void)args;
	puts("ready");
	for (;;)
		pause();
}

/* Repeats each line of its input on both outputs, until one says "quit". */
static void converse(char **args)
{
	char line[256];

	(void)args;
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		printf("heard: %s\n", line);
		fprintf(stderr, "noted: %s\n", line);
		if (!strcmp(line, "quit"))
			return;
	}
	puts("input has ended");
}

/* Waits for a file to appear: how a test on the host paces the guest. */
void await(char **args)
{
	struct timespec step = {.tv_nsec = AWAIT_STEP_MS * 1000000L};
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (access(args[0], F_OK)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > AWAIT_LIMIT_S) {
			printf("await %s: did not appear\n", args[0]);
			exit(99);
		}
		nanosleep(&step, NULL);
	}
}

/* Takes memory until something ends us. */
static void hog(char **args)
{
	(void)args;
	const size_t step = 1 << 20;

	for (;;) {
		char *block = mmap(
			NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (block == MAP_FAILED)
			break;
		for (size_t i = 0; i < step; i += 4096)
			block[i] = 1;
	}
	puts("hog: memory was refused");
}

/* Sends text to the socket of NOTIFY_SOCKET, as sd_notify(3) does. */
static void notify(char **args)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (length == 0 || length > sizeof(name.sun_path)) {
		printf("notify %s: no socket\n", args[0]);
		return;
	}
	memcpy(name.sun_path, path, length);
	if (path[0] == '@')
		name.sun_path[0] = '\0';
	length += offsetof(struct sockaddr_un, sun_path);
	printf("notify %s: %s\n", args[0],
		sendto(fd, args[0], strlen(args[0]), 0, (struct sockaddr *)&name,
			(socklen_t)length) < 0
			? strerrorname_np(errno)
			: "ok");
	close(fd);
}

int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

/* Computes for so many milliseconds of CPU time, and says how long that took. */
static void burn(char **args)
{
	int64_t start = clock_ms(CLOCK_MONOTONIC),
		end = clock_ms(CLOCK_PROCESS_CPUTIME_ID) + number(args[0]);

	/* To look at the clock takes a kernel that may be slow. */
	while (clock_ms(CLOCK_PROCESS_CPUTIME_ID) < end)
		for (volatile unsigned int i = 0; i < BURN_STEPS; i++)
			;
	printf("burn %s: %lld ms\n", args[0], (long long)(clock_ms(CLOCK_MONOTONIC) - start));
}

/* A TCP connection to ourselves over the loopback. */
static void loopback(char **args)
{
	(void)args;
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int peer = -1;
	char byte = 0;
	bool works = !bind(server, (struct sockaddr *)&address, sizeof(address)) &&
		!listen(server, 1) && !getsockname(server, (struct sockaddr *)&address, &length) &&
		!connect(client, (struct sockaddr *)&address, sizeof(address)) &&
		(peer = accept(server, NULL, NULL)) >= 0 && write(client, "x", 1) == 1 &&
		read(peer, &byte, 1) == 1 && byte == 'x';

	printf("loopback: %s\n", works ? "ok" : strerrorname_np(errno));
	close(server);
	close(client);
	if (peer >= 0)
		close(peer);
}

static void cpus(char **args)
{
	(void)args;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		printf("cpus %s\n", strerrorname_np(errno));
	else
		printf("cpus %d\n", CPU_COUNT(&set));
}

/* Makes process 1 crash, by the right of CAP_SYS_PTRACE. */
static void crash_init(char **args)
{
	(void)args;
	struct user_regs_struct registers;
	int status;

	if (ptrace(PTRACE_ATTACH, 1, NULL, NULL) || waitpid(1, &status, __WALL) != 1 ||
		ptrace(PTRACE_GETREGS, 1, NULL, &registers)) {
		printf("crash-init: %s\n", strerrorname_np(errno));
		return;
	}
	registers.rip = 0;
	registers.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, 1, NULL, &registers) || ptrace(PTRACE_DETACH, 1, NULL, NULL))
		printf("crash-init: %s\n", strerrorname_np(errno));
	for (;;)
		pause();
}

/* A line of /proc/self/status. */
static void process_status(char **args)
{
	char line[512];
	size_t length = strlen(args[0]);
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, args[0], length) && line[length] == ':') {
			char *value = line + length + 1 + strspn(line + length + 1, " \t");

			value[strcspn(value, "\n")] = '\0';
			printf("status %s: %s\n", args[0], value);
		}
	if (file)
		fclose(file);
}

/* A file of /proc/self, its first line. */
static void process_file(char **args)
{
	char path[PATH_MAX], line[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/%s", args[0]);
	file = fopen(path, "re");
	if (file && fgets(line, sizeof(line), file))
		line[strcspn(line, "\n")] = '\0';
	printf("self %s: %s\n", args[0], file ? line : strerrorname_np(errno));
	if (file)
		fclose(file);
}

/* The namespaces that we are in, as the host's "readlink" shows them. */
static void namespace(char **args)
{
	char path[64], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/ns/%s", args[0]);
	if (readlink(path, target, sizeof(target) - 1) < 0)
		snprintf(target, sizeof(target), "%s", strerrorname_np(errno));
	printf("namespace %s\n", target);
}

/* What a listener for events of devices hears when the file has one made, here and in a network namespace of its own. */
static void uevent(char **args)
{
	const struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1};
	const struct timeval limit = {.tv_sec = AWAIT_LIMIT_S};

	for (int i = 0; i < 2; i++) {
		char text[4096] = "";
		int file = open(args[0], O_WRONLY | O_CLOEXEC), fd;

		if (i && unshare(CLONE_NEWNET))
			perror("unshare");
		fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
		if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
			bind(fd, (const struct sockaddr *)&group, sizeof(group)) ||
			write(file, "change", 6) != 6 || recv(fd, text, sizeof(text) - 1, 0) < 0)
			snprintf(text, sizeof(text), "%s", strerrorname_np(errno));
		printf("uevent: %s\n", text);
		close(fd);
		close(file);
	}
}

/* How a mount point is mounted: "ro" or "rw", or "none" where nothing is. */
static void mounted(char **args)
{
	char line[4096], point[1024], options[256];
	const char *found = "none";
	FILE *file = fopen("/proc/self/mountinfo", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*s %*s %*s %*s %1023s %255s", point, options) == 2 &&
			!strcmp(point, args[0]))
			found = !strncmp(options, "ro", 2) ? "ro" : "rw";
	if (file)
		fclose(file);
	printf("mounted %s: %s\n", args[0], found);
}

/* Fds that are open beside the one that looks. */
static void fds(char **args)
{
	(void)args;
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	printf("fds:");
	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && number(entry->d_name) != dirfd(directory))
			printf(" %s", entry->d_name);
	printf("\n");
	if (directory)
		closedir(directory);
}

/* What becomes of a child that makes this system call, with arguments that do no harm. */
static void try_call(char **args)
{
	static const struct {
		const char *name;
		long call;
	} calls[] = {
		{"mount", SYS_mount},
		{"reboot", SYS_reboot},
		{"unshare", SYS_unshare},
		{"getppid", SYS_getppid},
		{"stat", SYS_stat},
		{"socket", SYS_socket},
		{"newer", 2000},
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		int status;
		pid_t pid;

		if (strcmp(args[0], calls[i].name))
			continue;
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			_exit(syscall(calls[i].call, 0L, 0L, 0L, 0L, 0L) < 0 ? errno : 0);
		waitpid(pid, &status, 0);
		if (WIFSIGNALED(status))
			printf("call %s: SIG%s\n", args[0], sigabbrev_np(WTERMSIG(status)));
		else
			printf("call %s: %s\n", args[0],
				WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "ok");
	}
}

/* The sockets that were handed over, each greeted through the loopback by ourselves. */
static void listening(char **args)
{
	const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID"),
		   *names = getenv("LISTEN_FDNAMES");
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	(void)args;
	printf("listening: %s %s %s\n", count ? count : "-", names ? names : "-",
		pid && number(pid) == getpid() ? "mine" : "not mine");
	for (int i = 0; count && i < number(count); i++) {
		struct sockaddr_in6 bound = {0};
		socklen_t length = sizeof(bound), type_length = sizeof(int);
		int fd = 3 + i, type = 0, client;

		getsockname(fd, (struct sockaddr *)&bound, &length);
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length);
		to.sin_port = bound.sin6_port;
		client = socket(AF_INET, type | SOCK_CLOEXEC, 0);
		printf("socket %d: %s port %u, %s\n", i, type == SOCK_STREAM ? "tcp" : "udp",
			ntohs(bound.sin6_port),
			connect(client, (struct sockaddr *)&to, sizeof(to)) ? strerrorname_np(errno)
									    : "reached");
		close(client);
	}
}

/* What standard input is: a terminal, whether it is the session's own, and its window. */
static void terminal(char **args)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct winsize size = {0};

	(void)args;
	if (!isatty(STDIN_FILENO)) {
		puts("stdin is not a terminal");
	} else {
		ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
		/* cppcheck-suppress ttynameCalled */
		printf("stdin is a terminal: %s, %s, %ux%u\n", ttyname(STDIN_FILENO),
			fd >= 0 ? "its own" : strerrorname_np(errno), size.ws_row, size.ws_col);
	}
	if (fd >= 0)
		close(fd);
}

/* Asks for a line. */
static void read_line(char **args)
{
	char line[256] = "";

	(void)args;
	printf("Enter text:\n");
	if (fgets(line, sizeof(line), stdin))
		line[strcspn(line, "\n")] = '\0';
	printf("Received text: %s\n", line);
}

static volatile sig_atomic_t window_changes;

static void on_window(int signal)
{
	(void)signal;
	window_changes++;
}

/* Waits until the window has another size. */
static void await_window(char **args)
{
	const struct sigaction action = {.sa_handler = on_window};
	struct winsize size;
	sigset_t set, old;

	(void)args;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, &old);
	sigaction(SIGWINCH, &action, NULL);
	puts("Change the window");
	while (!window_changes)
		sigsuspend(&old);
	ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	printf("window: %ux%u\n", size.ws_row, size.ws_col);
}

/* The terminal that is our standard input, and whether it is our own. */
static void show_tty(char **args)
{
	struct winsize size = {0};
	/* cppcheck-suppress ttynameCalled */
	const char *name = ttyname(STDIN_FILENO);

	(void)args;
	ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	printf("tty: %s %u %u %s\n", name ? name : strerrorname_np(errno), size.ws_row, size.ws_col,
		tcgetpgrp(STDIN_FILENO) == getpgrp() ? "own" : "not own");
}

/* Until the terminal's window has this many columns. */
static void columns(char **args)
{
	struct winsize size = {0};
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("ready");
	while (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != number(args[0]))
		sigwait(&set, &got);
	printf("columns: %u\n", size.ws_col);
}

/* Whether a process of this name is to be seen. */
static void sees(char **args)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	while (directory && (entry = readdir(directory))) {
		char path[PATH_MAX], text[4096] = "";
		int fd;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
			number(entry->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
			for (size_t i = 0; i < sizeof(text) - 1; i += strlen(text + i) + 1)
				found |= !strcmp(text + i, args[0]);
		if (fd >= 0)
			close(fd);
	}
	if (directory)
		closedir(directory);
	printf("sees %s: %s\n", args[0], found ? "yes" : "no");
}

static const struct command process_commands[] = {
	{"say", 1, say},
	{"complain", 1, complain},
	{"identity", 0, identity},
	{"env", 1, env},
	{"cwd", 0, cwd},
	{"hostname", 0, host_name},
	{"lines", 2, lines},
	{"exit", 1, end},
	{"crash", 0, crash},
	{"until-stopped", 0, until_stopped},
	{"forever", 0, forever},
	{"nameless", 1, nameless},
	{"await", 1, await},
	{"hog", 0, hog},
	{"notify", 1, notify},
	{"burn", 1, burn},
	{"loopback", 0, loopback},
	{"cpus", 0, cpus},
	{"crash-init", 0, crash_init},
	{"status", 1, process_status},
	{"self", 1, process_file},
	{"namespace", 1, namespace},
	{"uevent", 1, uevent},
	{"mounted", 1, mounted},
	{"fds", 0, fds},
	{"call", 1, try_call},
	{"listening", 0, listening},
	{"converse", 0, converse},
	{"flood", 1, flood},
	{"terminal", 0, terminal},
	{"line", 0, read_line},
	{"await-window", 0, await_window},
	{"sees", 1, sees},
	{"tty", 0, show_tty},
	{"columns", 1, columns},
	{"vectors", 0, vectors_keep},
	{NULL, 0, NULL},
};

static const struct command *find_command(const char *name)
{
	static const struct command *const tables[] = {
		process_commands, file_commands, parked_commands, vsock_commands};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct command *command = tables[i]; command->name; command++)
			if (!strcmp(name, command->name))
				return command;
	return NULL;
}

int main(int argc, char **argv)
{
	/* What was said before a crash must have been said. */
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	for (int i = 1; i < argc;) {
		const struct command *command = find_command(argv[i]);

		if (!command || i + command->arguments >= argc) {
			fprintf(stderr, "probe: %s: no such command, or too few arguments\n",
				argv[i]);
			return 97;
		}
		command->run(&argv[i + 1]);
		i += 1 + command->arguments;
	}
	return 0;
}
