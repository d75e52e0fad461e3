// SPDX-License-Identifier: Apache-2.0
/*
 * check.c: appc-vm check
 *
 * Says in plain words what this host can do. Only what a pod cannot run without makes it fail: a
 * missing vmx or svm flag does not, since a software KVM serves pods too.
 */
#include "cli/cli.h"

#include "pod/cgroup.h"
#include "vmm/jail.h"
#include "vmm/kvm.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

enum verdict { GOOD, WITHOUT, FATAL };

static bool print_fact(enum verdict verdict, const char *what, const char *format, ...)
	_printf_(3, 4);

/* Returns whether pods can run in spite of it. */
static bool print_fact(enum verdict verdict, const char *what, const char *format, ...)
{
	static const char *const words[] = {"yes", "no", "NO"};
	va_list arguments;

	printf("%-4s %-18s ", words[verdict], what);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	return verdict != FATAL;
}

static bool check_kvm(void)
{
	struct kvm_facts facts;
	struct error err = {0};

	if (kvm_probe(&facts, &err) < 0)
		return print_fact(FATAL, "KVM", "%s", err.message);
	if (facts.emulated)
		return print_fact(GOOD, "KVM",
			"software KVM (%s): user code runs natively, guest kernel code is emulated "
			"and slow%s",
			facts.module,
			facts.counts_instructions ? "; --timing counts its instructions" : "");
	return print_fact(GOOD, "KVM", "hardware KVM (%s)", facts.module);
}

static bool check_privileges(void)
{
	if (geteuid() == 0)
		return print_fact(GOOD, "root", "runs as root");
	return print_fact(FATAL, "root",
		"runs as user %u: mounting the pods' root filesystems needs root", geteuid());
}

static bool file_has_word(const char *path, const char *word)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (strstr(line, word))
			return true;
	return false;
}

static bool check_overlay(void)
{
	/* A module may be loaded on the first mount only. */
	if (file_has_word("/proc/filesystems", "overlay") ||
		access("/sys/module/overlay", F_OK) == 0)
		return print_fact(
			GOOD, "overlayfs", "root filesystems share what they have in common");
	return print_fact(geteuid() == 0 ? FATAL : WITHOUT, "overlayfs",
		"not in /proc/filesystems; try \"modprobe overlay\"");
}

static bool check_mount_namespace(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWNS) < 0 ? 1 : 0);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		WEXITSTATUS(status) == 0)
		return print_fact(GOOD, "mount namespaces", "each pod's mounts are its own");
	return print_fact(FATAL, "mount namespaces", "unshare(CLONE_NEWNS) fails");
}

static bool check_openat2(void)
{
	/* A call with a size of 0 is refused with EINVAL by kernels that know it. */
	syscall(SYS_openat2, AT_FDCWD, ".", NULL, 0);
	if (errno == ENOSYS)
		return print_fact(FATAL, "openat2", "this kernel is older than Linux 5.6");
	return print_fact(GOOD, "openat2", "paths are resolved safely");
}

/* Whether a VMM would get a cgroup, by making one. */
static bool check_cgroups(void)
{
	const struct pod_cgroup_limits limits = {.memory = 1ull << 30,
		.cpu_millis = 1000,
		.threads = JAIL_THREADS_MAX,
		.disk_fd = -1};
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	struct error error = {0};
	char name[32];
	int r;

	snprintf(name, sizeof(name), "check-%d", getpid());
	r = pod_cgroup_plan(name, &cgroup);
	if (r == 0 && cgroup.count == 0)
		return print_fact(WITHOUT, "cgroups",
			"none with a controller for memory: the host does not limit VMMs");
	if (r == 0)
		r = pod_cgroup_create(&cgroup, &limits, &error);
	if (r < 0)
		return print_fact(WITHOUT, "cgroups", "the host does not limit VMMs: %s",
			*error.message ? error.message : strerror(-r));
	pod_cgroup_destroy(&cgroup);
	return print_fact(GOOD, "cgroups", "version %d: the host limits each VMM",
		*cgroup.hierarchies[0].controllers ? 1 : 2);
}

/* The namespaces of a VMM's jail. */
static bool check_namespaces(void)
{
	struct clone_args arguments = {
		.flags = CLONE_NEWNS | jail_namespaces(0), .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));

	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return print_fact(FATAL, "namespaces",
			"%s (pods run with --insecure-options=vmm-namespaces)", strerror(errno));
	waitpid(pid, NULL, 0);
	return print_fact(
		GOOD, "namespaces", "each VMM has its own processes, network, IPC and names");
}

static bool check_landlock(void)
{
	int version = jail_landlock_version();

	if (version > 0)
		return print_fact(GOOD, "landlock", "version %d of its interface", version);
	return print_fact(WITHOUT, "landlock", "not in this kernel, or not switched on (lsm=)");
}

static bool check_io_uring(void)
{
	struct io_uring ring;
	int r = io_uring_queue_init(2, &ring, 0);

	if (r < 0)
		return print_fact(WITHOUT, "io_uring", "%s: file requests are served one by one",
			strerror(-r));
	io_uring_queue_exit(&ring);
	return print_fact(GOOD, "io_uring", "file requests are served side by side");
}

static bool check_tun(void)
{
	if (access("/dev/net/tun", R_OK | W_OK) == 0)
		return print_fact(GOOD, "tun", "tap devices can be made");
	return print_fact(WITHOUT, "tun", "/dev/net/tun: %s", strerror(errno));
}

int command_check(struct cli *cli, int argc, char **argv)
{
	static bool (*const checks[])(void) = {check_kvm, check_privileges, check_overlay,
		check_mount_namespace, check_namespaces, check_openat2, check_cgroups,
		check_landlock, check_io_uring, check_tun};
	struct utsname host;
	bool pods_can_run = true;
	int r = cli_parse_flags(cli, NULL, 0, argc, argv);

	if (r < 0)
		return r;
	if (uname(&host) == 0)
		printf("%s %s on %s\n", host.sysname, host.release, host.machine);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		pods_can_run = checks[i]() && pods_can_run;
	printf(pods_can_run ? "Pods can run here.\n"
			    : "Pods cannot run here: see each line with NO.\n");
	return pods_can_run ? 0 : 1;
}
