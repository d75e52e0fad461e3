// SPDX-License-Identifier: Apache-2.0
/* child.c: forks processes that may fall into wrong hands. */
#include "base/child.h"

#include "base/file.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NOBODY 65534

/* #syscalls: close_range */
static bool place_fds(const int *fds, size_t count)
{
	int above = CHILD_FIRST_FD + (int)count, copies[CHILD_FDS_MAX], null;

	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, above);
		if (copies[i] < 0)
			return false;
	}
	for (int fd = 0; fd < CHILD_FIRST_FD; fd++)
		if (dup2(null, fd) < 0)
			return false;
	for (size_t i = 0; i < count; i++)
		if (dup2(copies[i], CHILD_FIRST_FD + (int)i) < 0)
			return false;
	return close_range((unsigned int)above, ~0u, 0) == 0;
}

/* What a new identity has kept becomes all that it has, and over execve(). #syscalls: capset */
static bool keep_capability(int capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	struct __user_cap_data_struct *part = &data[CAP_TO_INDEX(capability)];

	part->effective = part->permitted = part->inheritable = CAP_TO_MASK(capability);
	return syscall(SYS_capset, &header, data) == 0 &&
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0;
}

/* #syscalls: setgroups setresgid setresuid */
static bool drop_privileges(pid_t parent, int capability)
{
	bool keeps = capability >= 0 && geteuid() == 0;

	if (keeps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return false;
	if (geteuid() == 0 &&
		(setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
			setresuid(NOBODY, NOBODY, NOBODY) < 0))
		return false;
	if (keeps && !keep_capability(capability))
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return false;
	/* After the change of identity, which would take it back. The parent may be dead by now. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent;
}

pid_t child_fork_unprivileged(const int *fds, size_t count)
{
	return child_fork_with_capability(fds, count, -1);
}

pid_t child_fork_with_capability(const int *fds, size_t count, int capability)
{
	return child_fork_in_cgroup(fds, count, capability, &CHILD_CGROUP_NONE);
}

/* As fork(). */
static pid_t fork_in(const struct child_cgroup *cgroup)
{
	struct clone_args arguments = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};

	if (cgroup->unified_fd < 0)
		return fork();
	arguments.cgroup = (uint64_t)cgroup->unified_fd;
	return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

/* As who may do that. */
static bool join(const struct child_cgroup *cgroup)
{
	return cgroup->join_fd < 0 || write(cgroup->join_fd, "0", 1) == 1;
}

pid_t child_fork_in_cgroup(
	const int *fds, size_t count, int capability, const struct child_cgroup *cgroup)
{
	pid_t parent = getpid(), pid;

	if (count > CHILD_FDS_MAX)
		return -EINVAL;
	pid = fork_in(cgroup);
	if (pid < 0)
		return -errno;
	if (pid == 0 &&
		(!join(cgroup) || !place_fds(fds, count) || !drop_privileges(parent, capability)))
		_exit(127);
	return pid;
}

int child_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static _Noreturn void run_program(
	int dirfd, const char *path, const char *const *argv, int output_fd, pid_t parent)
{
	static const char *const environment[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent && null >= 0 &&
		dup2(null, STDIN_FILENO) >= 0 && dup2(output_fd, STDOUT_FILENO) >= 0 &&
		dup2(output_fd, STDERR_FILENO) >= 0 && (dirfd == AT_FDCWD || fchdir(dirfd) == 0))
		execve(path, (char *const *)argv, (char *const *)environment);
	_exit(127);
}

int child_run(int dirfd, const char *path, const char *const *argv, size_t max, char **ret_output)
{
	_cleanup_close_ int output = memfd_create("output", MFD_CLOEXEC);
	pid_t parent = getpid(), pid;
	int status, r;

	if (output < 0 || access(path, X_OK) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_program(dirfd, path, argv, output, parent);
	status = child_wait(pid);
	if (status < 0)
		return status;
	if (lseek(output, 0, SEEK_SET) < 0)
		return -errno;
	r = file_read_fd(output, max, ret_output, NULL);
	return r < 0 ? r : status;
}
