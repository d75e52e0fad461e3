// SPDX-License-Identifier: Apache-2.0
/*
 * launch.c: from PID 1 to an app's program.
 *
 * Theory of operation: a launcher carries this out as its last order. It must change nothing of PID 1's
 * but a struct that says what went wrong. Everything that takes thought - the list of paths to try, the
 * message - is done by PID 1, before or after.
 *
 * Once its system calls are filtered a launcher cannot wait for orders any more: the filter is the app's, and
 * may not even let it wake us. Where the program cannot be executed then, the launcher ends, and the kernel
 * wakes us.
 */
#include "guest-init/launch.h"

#include "base/file.h"
#include "guest-init/port.h"
#include "guest-init/seccomp.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FILES_SOFT_MAX  1024 /* the customary limit */
#define ELF_HEADERS_MAX 64

enum child_step {
	CHILD_STEP_NAMESPACE,
	CHILD_STEP_ROOT,
	CHILD_STEP_STREAMS,
	CHILD_STEP_SOCKETS,
	CHILD_STEP_DIRECTORY,
	CHILD_STEP_IDENTITY,
	CHILD_STEP_SECCOMP,
	CHILD_STEP_EXEC,
};

struct child {
	const struct guest *guest;
	const struct guest_launch *launch;
	char *const *candidates;        /* paths to execute, NULL-terminated */
	const char *const *environment; /* see environment_make() */
	enum child_step step;
	int error; /* 0 until the child has failed */
};

static int child_fail(struct child *child, enum child_step step)
{
	child->step = step;
	child->error = errno ? errno : EIO;
	return -1;
}

static void child_set_oom_score(const struct child *child)
{
	char text[16];
	int fd = openat(child->guest->proc_fd, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	snprintf(text, sizeof(text), "%d", child->launch->oom_score_adj);
	/* Less than before takes a right that a container may lack: it keeps its value then. */
	if (write(fd, text, strlen(text)) < 0)
		errno = 0;
	close(fd);
}

/* Tries each path as execvp() would, and returns only when none worked. */
static void child_execute(struct child *child)
{
	const struct guest_launch *launch = child->launch;
	bool was_denied = false;

	for (char *const *path = child->candidates; *path; path++) {
		execve(*path, (char *const *)launch->exec, (char *const *)child->environment);
		if (errno == EACCES)
			was_denied = true;
		else if (errno != ENOENT && errno != ENOTDIR)
			return;
	}
	if (was_denied)
		errno = EACCES;
}

/*
 * Sockets get the first fds after the standard ones. A number in that range may be another socket's: so each
 * is moved out of the way first.
 */
static int child_set_sockets(const struct child *child)
{
	const struct guest_launch *launch = child->launch;
	const int first = STDERR_FILENO + 1, end = first + (int)launch->socket_count;
	int fds[WIRE_SOCKETS_MAX];

	for (size_t i = 0; i < launch->socket_count; i++) {
		fds[i] = fcntl(launch->socket_fds[i], F_DUPFD_CLOEXEC, end);
		if (fds[i] < 0)
			return -1;
	}
	for (size_t i = 0; i < launch->socket_count; i++)
		if (dup3(fds[i], first + (int)i, 0) < 0)
			return -1;
	return 0;
}

/* The launcher's end, in which no system call need be allowed. */
static _Noreturn void child_exit(void)
{
	for (;;) {
		syscall(SYS_exit, EXIT_FAILURE);
		__builtin_trap();
	}
}

/* That of its standard streams which is a terminal becomes the session's own. */
static int terminal_take(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (ioctl(fd, TIOCSCTTY, 0) == 0)
			return 0;
	return -errno;
}

/* #syscalls: close_range fchdir chroot dup3 setns setsid ioctl chdir prlimit64 rt_sigprocmask execve */
static int child_main(void *argument)
{
	struct child *child = argument;
	const struct guest_launch *launch = child->launch;
	const struct guest *guest = child->guest;
	struct rlimit files = {.rlim_cur = FILES_SOFT_MAX, .rlim_max = guest->files_max};
	int stdin_fd = launch->stdin_fd > 0 ? launch->stdin_fd : guest->null_fd;
	sigset_t none;

	if (launch->has_oom_score_adj)
		child_set_oom_score(child);
	if (launch->namespace_fd >= 0 && setns(launch->namespace_fd, CLONE_NEWNS) < 0)
		return child_fail(child, CHILD_STEP_NAMESPACE);
	if (launch->is_filtered && (fchdir(launch->root_fd) < 0 || chroot(".") < 0))
		return child_fail(child, CHILD_STEP_ROOT);
	/*
	 * From here on our fds are not PID 1's any more. Nothing is closed; this is what unshare(2) would do, which
	 * the default filter forbids.
	 */
	if (close_range(UINT_MAX, UINT_MAX, CLOSE_RANGE_UNSHARE) < 0 ||
		dup3(stdin_fd, STDIN_FILENO, 0) < 0 ||
		dup3(launch->stdout_fd, STDOUT_FILENO, 0) < 0 ||
		dup3(launch->stderr_fd, STDERR_FILENO, 0) < 0)
		return child_fail(child, CHILD_STEP_STREAMS);
	if ((launch->new_session && setsid() < 0) || (launch->has_terminal && terminal_take() < 0))
		return child_fail(child, CHILD_STEP_STREAMS);
	if (launch->socket_count > 0 && child_set_sockets(child) < 0)
		return child_fail(child, CHILD_STEP_SOCKETS);
	if (chdir(launch->working_directory) < 0)
		return child_fail(child, CHILD_STEP_DIRECTORY);
	umask(022);
	if (files.rlim_cur > files.rlim_max)
		files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return child_fail(child, CHILD_STEP_IDENTITY);
	errno = -guest_identity_assume(&launch->identity);
	if (errno)
		return child_fail(child, CHILD_STEP_IDENTITY);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (launch->mark_phase)
		guest_port_mark(guest, WIRE_PHASE_APP_EXEC);
	/* An app that could write to I/O ports would own the machine. */
	errno = launch->is_filtered ? 0 : -guest_port_renounce(guest);
	if (errno)
		return child_fail(child, CHILD_STEP_IDENTITY);
	if (launch->trace && ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
		return child_fail(child, CHILD_STEP_EXEC);
	if (!launch->seccomp) {
		child_execute(child);
		return child_fail(child, CHILD_STEP_EXEC);
	}
	errno = -guest_seccomp_install(launch->seccomp, launch->seccomp_count);
	if (errno)
		return child_fail(child, CHILD_STEP_SECCOMP);
	child_execute(child);
	child_fail(child, CHILD_STEP_EXEC);
	child_exit();
}

static const char *environment_find(const char *const *environment, const char *name)
{
	size_t length = strlen(name);

	for (; *environment; environment++)
		if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
			return *environment + length + 1;
	return NULL;
}

static void strings_free(char **strings)
{
	for (size_t i = 0; strings && strings[i]; i++)
		free(strings[i]);
	free(strings);
}

static void cleanup_strings(char ***strings)
{
	strings_free(*strings);
}
#define _cleanup_strings_ _cleanup_(cleanup_strings)

/* The paths at which the program may be: itself when it has a slash, else below each of PATH. */
static int candidates_make(const struct guest_launch *launch, char ***ret)
{
	const char *program = launch->exec[0];
	const char *search = environment_find(launch->environment, "PATH");
	_cleanup_strings_ char **candidates = NULL;
	size_t count = 1, used = 0;

	if (!search)
		search = ".:/bin:/usr/bin";
	for (const char *c = search; *c; c++)
		count += *c == ':';
	candidates = calloc(count + 1, sizeof(*candidates));
	if (!candidates)
		return -ENOMEM;
	if (strchr(program, '/')) {
		candidates[0] = strdup(program);
		if (!candidates[0])
			return -ENOMEM;
		*ret = TAKE_PTR(candidates);
		return 0;
	}
	for (;;) {
		int length = (int)strcspn(search, ":");

		/* An empty entry is the working directory. */
		if (asprintf(&candidates[used], "%.*s%s%s", length, search, length ? "/" : "./",
			    program) < 0) {
			candidates[used] = NULL;
			return -ENOMEM;
		}
		used++;
		search += length;
		if (!*search)
			break;
		search++;
	}
	*ret = TAKE_PTR(candidates);
	return 0;
}

/*
 * The environment with what sd_listen_fds(3) and sd_notify(3) look for. *ret ends with NULL; only the array and its last
 * elements, from *ret_own on, are the caller's to free.
 */
static int environment_make(
	const struct guest_launch *launch, pid_t pid, char ***ret, size_t *ret_own)
{
	_cleanup_free_ char *names = NULL, **environment = NULL;
	size_t count = 0, length = 1;
	char *end;

	while (launch->environment[count])
		count++;
	*ret_own = count;
	environment = calloc(count + 5, sizeof(*environment));
	for (size_t i = 0; i < launch->socket_count; i++)
		length += strlen(launch->sockets[i].name) + 1;
	names = malloc(length);
	if (!environment || !names)
		return -ENOMEM;
	memcpy(environment, launch->environment, count * sizeof(*environment));
	if (launch->notify_variable) {
		environment[count] = strdup(launch->notify_variable);
		if (!environment[count++])
			return -ENOMEM;
	}
	if (launch->socket_count > 0) {
		end = names;
		for (size_t i = 0; i < launch->socket_count; i++)
			end += sprintf(end, "%s%s", i ? ":" : "", launch->sockets[i].name);
		if (asprintf(&environment[count], "LISTEN_FDS=%zu", launch->socket_count) < 0 ||
			asprintf(&environment[count + 1], "LISTEN_PID=%d", (int)pid) < 0 ||
			asprintf(&environment[count + 2], "LISTEN_FDNAMES=%s", names) < 0)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(environment);
	return 0;
}

/* rkt's words: scripts look for them. */
#define UNABLE_TO_OPEN "Error: Unable to open \"%s\""

static int interpreter_check(
	int root_fd, const char *path, const char *interpreter, struct error *err)
{
	_cleanup_close_ int fd = file_open_in_root(root_fd, interpreter, O_PATH, 0);

	if (fd >= 0)
		return 0;
	return error_set(err, fd, UNABLE_TO_OPEN ": %s (the interpreter of \"%s\")", interpreter,
		strerror(-fd), path);
}

/* The interpreter in the first line, "#! /bin/sh -e". text is terminated. */
static int script_explain(int root_fd, const char *path, char *text, struct error *err)
{
	char *interpreter = text + strlen("#!");

	interpreter += strspn(interpreter, " \t");
	interpreter[strcspn(interpreter, " \t\n")] = '\0';
	if (!*interpreter)
		return error_set(err, -ENOEXEC,
			"Unable to execute \"%s\": its first line names no interpreter", path);
	return interpreter_check(root_fd, path, interpreter, err);
}

static int elf_explain(
	int root_fd, int fd, const char *path, const Elf64_Ehdr *header, struct error *err)
{
	Elf64_Phdr segments[ELF_HEADERS_MAX];
	char interpreter[PATH_MAX];
	ssize_t n;

	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
		return error_set(err, -ENOEXEC,
			"Unable to execute \"%s\": it is not a program for 64-bit x86 (ELF machine %u)",
			path, header->e_machine);
	if (header->e_phentsize != sizeof(segments[0]) || header->e_phnum > ELF_HEADERS_MAX ||
		header->e_phoff > INT64_MAX)
		return 0;
	n = pread(fd, segments, header->e_phnum * sizeof(segments[0]), (off_t)header->e_phoff);
	if (n != (ssize_t)(header->e_phnum * sizeof(segments[0])))
		return error_set(
			err, -ENOEXEC, "Unable to execute \"%s\": its ELF file is cut short", path);
	for (unsigned int i = 0; i < header->e_phnum; i++) {
		if (segments[i].p_type != PT_INTERP)
			continue;
		if (segments[i].p_filesz < 2 || segments[i].p_filesz >= sizeof(interpreter) ||
			segments[i].p_offset > INT64_MAX)
			return 0;
		n = pread(fd, interpreter, segments[i].p_filesz, (off_t)segments[i].p_offset);
		if (n != (ssize_t)segments[i].p_filesz)
			return 0;
		interpreter[n] = '\0';
		return interpreter_check(root_fd, path, interpreter, err);
	}
	return 0;
}

int guest_program_explain(int root_fd, const char *path, struct error *err)
{
	_cleanup_close_ int fd = -1;
	union {
		Elf64_Ehdr elf;
		char text[256];
	} start = {0};
	struct stat st;

	fd = file_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return error_set_errno(err, fd, UNABLE_TO_OPEN, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(
			err, -EACCES, "Unable to execute \"%s\": it is not a regular file", path);
	if (pread(fd, start.text, sizeof(start.text) - 1, 0) < 0)
		return error_set_errno(err, -errno, "Unable to read \"%s\"", path);
	if (!memcmp(start.text, "#!", 2))
		return script_explain(root_fd, path, start.text, err);
	if (!memcmp(start.elf.e_ident, ELFMAG, SELFMAG))
		return elf_explain(root_fd, fd, path, &start.elf, err);
	return error_set(err, -ENOEXEC, "Unable to execute \"%s\": it is not a program", path);
}

/* The path as seen from the root directory. */
static int candidate_join(
	const struct guest_launch *launch, const char *candidate, char *path, size_t size)
{
	int n = candidate[0] == '/'
		? snprintf(path, size, "%s", candidate)
		: snprintf(path, size, "%s/%s", launch->working_directory, candidate);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int exec_explain(
	const struct guest_launch *launch, char *const *candidates, int r, struct error *err)
{
	const char *program = launch->exec[0];
	char path[PATH_MAX];

	for (; *candidates; candidates++) {
		_cleanup_close_ int fd = -1;

		if (candidate_join(launch, *candidates, path, sizeof(path)) < 0)
			continue;
		fd = file_open_in_root(launch->root_fd, path, O_PATH, 0);
		if (fd < 0)
			continue;
		if (guest_program_explain(launch->root_fd, path, err) < 0)
			return r;
		return error_set_errno(err, r, "Unable to execute \"%s\"", path);
	}
	if (strchr(program, '/'))
		return error_set_errno(err, r, UNABLE_TO_OPEN, program);
	return error_set_errno(err, r, UNABLE_TO_OPEN " in any directory of PATH", program);
}

static int child_explain(const struct child *child, struct error *err)
{
	int r = -child->error;

	switch (child->step) {
	case CHILD_STEP_NAMESPACE:
		return error_set_errno(err, r, "Unable to enter the app's mount namespace");
	case CHILD_STEP_ROOT:
		return error_set_errno(err, r, "Unable to change the root directory");
	case CHILD_STEP_STREAMS:
		return error_set_errno(err, r, "Unable to set up standard input and output");
	case CHILD_STEP_SOCKETS:
		return error_set_errno(err, r, "Unable to hand over its sockets");
	case CHILD_STEP_DIRECTORY:
		return error_set_errno(err, r, "Unable to enter the working directory \"%s\"",
			child->launch->working_directory);
	case CHILD_STEP_IDENTITY:
		return error_set_errno(err, r, "Unable to drop privileges");
	case CHILD_STEP_SECCOMP:
		return error_set_errno(err, r, "Unable to filter its system calls");
	case CHILD_STEP_EXEC:
		break;
	}
	return exec_explain(child->launch, child->candidates, r, err);
}

static void environment_free(char **environment, size_t own)
{
	for (size_t i = own; environment && environment[i]; i++)
		free(environment[i]);
	free(environment);
}

int guest_launch(const struct guest *guest, const struct guest_launch *launch,
	struct guest_launcher *launcher, pid_t *ret_pid, struct error *err)
{
	_cleanup_strings_ char **candidates = NULL;
	struct child child = {.guest = guest, .launch = launch, .environment = launch->environment};
	char **environment = NULL;
	pid_t pid = launcher->pid;
	int r = pid > 0 ? candidates_make(launch, &candidates) : -ESRCH, result = 0;
	size_t own = 0;
	bool is_gone;

	if (r == 0 && (launch->socket_count > 0 || launch->notify_variable))
		r = environment_make(launch, pid, &environment, &own);
	if (r < 0) {
		guest_launcher_stop(launcher);
		return error_set_errno(err, r, "start \"%s\"", launch->exec[0]);
	}
	child.candidates = candidates;
	if (environment)
		child.environment = (const char *const *)environment;
	is_gone = guest_launcher_run(launcher, child_main, &child, &result) > 0;
	environment_free(environment, own);
	if (is_gone && !child.error) {
		*ret_pid = pid;
		return 0;
	}
	if (is_gone)
		waitpid(pid, NULL, 0);
	else
		guest_launcher_stop(launcher);
	return child_explain(&child, err);
}
