// SPDX-License-Identifier: Apache-2.0
/*
 * seccomp.c: from sets of names to filter programs.
 *
 * Theory of operation: a set becomes one bit per system call number, the bits become ranges of numbers with
 * the same verdict, and a binary search over the ranges becomes the program, about one instruction for each
 * range. That is ten times shorter than a comparison per call; what counts here is what the kernel does
 * with a program when it is installed (it checks it, translates it, and runs it once for each number to
 * find those that are always allowed), since a call that is always allowed costs one bit test later.
 *
 * The number has no meaning without the architecture, so that is looked at first: calls of another
 * (32-bit) end the process.
 */
#include "pod/seccomp.h"

#include "base/log.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>

/* Numbers from here on have the verdict of unknown calls; the kernel has fewer than 500. */
#define NUMBERS_MAX 1024
/* Numbers from here on are those of the x32 ABI. */
#define X32_NUMBERS 0x40000000u
/* The first number that no list here was made with. */
#define NUMBERS_KNOWN 463
#define RANGES_MAX    (NUMBERS_MAX + 2)
/* Error numbers have names up to EHWPOISON. */
#define ERROR_NUMBERS_MAX 133

/*
 * The lists are rkt's of version 1.30, less what x86-64 never had. Names that a C library or a language's
 * runtime of today calls, and did not exist then, were added to the default list: a process that is
 * killed for trying a new call never falls back on the old one.
 */
static const char *const default_whitelist[] = {"accept", "accept4", "access", "alarm",
	"arch_prctl", "bind", "brk", "capget", "capset", "chdir", "chmod", "chown", "chroot",
	"clock_getres", "clock_gettime", "clock_nanosleep", "clone", "close", "connect",
	"copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create", "epoll_create1",
	"epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_wait", "epoll_wait_old", "eventfd",
	"eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat", "fadvise64",
	"fallocate", "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchown", "fchownat", "fcntl",
	"fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr",
	"fstat", "fstatfs", "fsync", "ftruncate", "futex", "futimesat", "get_robust_list",
	"get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid", "geteuid",
	"getgid", "getgroups", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
	"getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage",
	"getsid", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getxattr",
	"inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel",
	"io_destroy", "io_getevents", "io_setup", "io_submit", "ioctl", "ioprio_get", "ioprio_set",
	"kill", "lchown", "lgetxattr", "link", "linkat", "listen", "listxattr", "llistxattr",
	"lremovexattr", "lseek", "lsetxattr", "lstat", "madvise", "memfd_create", "mincore",
	"mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall", "mmap", "modify_ldt",
	"mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend",
	"mq_unlink", "mremap", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock",
	"munlockall", "munmap", "nanosleep", "newfstatat", "open", "openat", "pause", "personality",
	"pipe", "pipe2", "poll", "ppoll", "prctl", "pread64", "preadv", "prlimit64", "pselect6",
	"pwrite64", "pwritev", "read", "readahead", "readlink", "readlinkat", "readv", "recvfrom",
	"recvmmsg", "recvmsg", "remap_file_pages", "removexattr", "rename", "renameat", "renameat2",
	"restart_syscall", "rmdir", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
	"rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo",
	"sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
	"sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity",
	"sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "select",
	"semctl", "semget", "semop", "semtimedop", "sendfile", "sendmmsg", "sendmsg", "sendto",
	"set_robust_list", "set_thread_area", "set_tid_address", "setfsgid", "setfsuid", "setgid",
	"setgroups", "setitimer", "setpgid", "setpriority", "setregid", "setresgid", "setresuid",
	"setreuid", "setrlimit", "setsid", "setsockopt", "setuid", "setxattr", "shmat", "shmctl",
	"shmdt", "shmget", "shutdown", "sigaltstack", "signalfd", "signalfd4", "socket",
	"socketpair", "splice", "stat", "statfs", "symlink", "symlinkat", "sync", "sync_file_range",
	"syncfs", "sysinfo", "syslog", "tee", "tgkill", "time", "timer_create", "timer_delete",
	"timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime",
	"timerfd_settime", "times", "tkill", "truncate", "umask", "uname", "unlink", "unlinkat",
	"utime", "utimensat", "utimes", "vfork", "vmsplice", "wait4", "waitid", "write", "writev",
	/* since then */
	"cachestat", "clone3", "close_range", "epoll_pwait2", "faccessat2", "fchmodat2",
	"futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "io_pgetevents",
	"io_uring_enter", "io_uring_register", "io_uring_setup", "landlock_add_rule",
	"landlock_create_ruleset", "landlock_restrict_self", "map_shadow_stack", "membarrier",
	"memfd_secret", "mseal", "openat2", "pidfd_open", "pidfd_send_signal", "pkey_alloc",
	"pkey_free", "pkey_mprotect", "preadv2", "process_madvise", "process_mrelease", "pwritev2",
	"rseq", "statx", NULL};

static const char *const default_blacklist[] = {"_sysctl", "acct", "add_key", "adjtimex", "bpf",
	"clock_adjtime", "clock_settime", "create_module", "delete_module", "finit_module",
	"get_kernel_syms", "get_mempolicy", "init_module", "ioperm", "iopl", "kcmp",
	"kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mbind", "mount", "move_pages",
	"name_to_handle_at", "nfsservctl", "open_by_handle_at", "perf_event_open", "pivot_root",
	"process_vm_readv", "process_vm_writev", "ptrace", "query_module", "quotactl", "reboot",
	"request_key", "set_mempolicy", "setns", "settimeofday", "swapoff", "swapon", "sysfs",
	"umount2", "unshare", "uselib", "userfaultfd", "ustat",
	/* since then: other doors to the same */
	"fsconfig", "fsmount", "fsopen", "fspick", "mount_setattr", "move_mount", "open_tree",
	"quotactl_fd", "set_mempolicy_home_node", NULL};

/* The groups of systemd 231, the version that rkt's images had, with what came to each since. */
static const char *const systemd_clock[] = {
	"adjtimex", "clock_adjtime", "clock_settime", "settimeofday", NULL};
/* Also what every set that is retained allows in any case, as systemd does. */
static const char *const systemd_default[] = {"clock_getres", "clock_gettime", "clock_nanosleep",
	"execve", "exit", "exit_group", "getrlimit", "gettimeofday", "nanosleep", "pause",
	"rt_sigreturn", "time", NULL};
static const char *const systemd_mount[] = {"chroot", "fsconfig", "fsmount", "fsopen", "fspick",
	"mount", "mount_setattr", "move_mount", "open_tree", "pivot_root", "umount2", NULL};
static const char *const systemd_network_io[] = {"accept", "accept4", "bind", "connect",
	"getpeername", "getsockname", "getsockopt", "listen", "recvfrom", "recvmmsg", "recvmsg",
	"sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socket", "socketpair", NULL};
static const char *const systemd_obsolete[] = {"_sysctl", "afs_syscall", "create_module",
	"get_kernel_syms", "getpmsg", "nfsservctl", "putpmsg", "query_module", "security", "sysfs",
	"tuxcall", "uselib", "ustat", "vserver", NULL};
static const char *const systemd_privileged[] = {"_sysctl", "acct", "adjtimex", "bpf", "capset",
	"chown", "chroot", "clock_adjtime", "clock_settime", "delete_module", "fchown", "fchownat",
	"finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "ioperm", "iopl",
	"kexec_file_load", "kexec_load", "keyctl", "lchown", "mount", "mount_setattr", "move_mount",
	"nfsservctl", "open_by_handle_at", "open_tree", "pivot_root", "quotactl", "quotactl_fd",
	"reboot", "setdomainname", "setfsgid", "setfsuid", "setgroups", "sethostname", "setresgid",
	"setresuid", "setreuid", "setuid", "settimeofday", "swapoff", "swapon", "umount2",
	"vhangup", NULL};
static const char *const systemd_process[] = {"arch_prctl", "clone", "clone3", "execveat", "fork",
	"kill", "pidfd_send_signal", "prctl", "setns", "tgkill", "tkill", "unshare", "vfork", NULL};
static const char *const systemd_raw_io[] = {"ioperm", "iopl", NULL};

static const struct {
	const char *name;
	const char *const *calls;
} wildcards[] = {
	{"@rkt/default-whitelist", default_whitelist},
	{"@rkt/default-blacklist", default_blacklist},
	{"@docker/default-whitelist", default_whitelist},
	{"@docker/default-blacklist", default_blacklist},
	{"@systemd/clock", systemd_clock},
	{"@systemd/default-whitelist", systemd_default},
	{"@systemd/mount", systemd_mount},
	{"@systemd/network-io", systemd_network_io},
	{"@systemd/obsolete", systemd_obsolete},
	{"@systemd/privileged", systemd_privileged},
	{"@systemd/process", systemd_process},
	{"@systemd/raw-io", systemd_raw_io},
};

/* Calls that are younger than the library that knows the others' numbers. */
static const struct {
	const char *name;
	int number;
} young_calls[] = {
	{"cachestat", 451},
	{"fchmodat2", 452},
	{"map_shadow_stack", 453},
	{"futex_wake", 454},
	{"futex_wait", 455},
	{"futex_requeue", 456},
	{"statmount", 457},
	{"listmount", 458},
	{"lsm_get_self_attr", 459},
	{"lsm_set_self_attr", 460},
	{"lsm_list_modules", 461},
	{"mseal", 462},
};

struct call_set {
	bool has[NUMBERS_MAX];
	bool is_default; /* it has the default list: it knows calls below NUMBERS_KNOWN */
};

/*
 * The number of a call; -1: there is no such call anywhere; below that: this architecture has none.
 */
static int call_number(const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	for (size_t i = 0; number == __NR_SCMP_ERROR && i < ARRAY_SIZE(young_calls); i++)
		if (!strcmp(young_calls[i].name, name))
			return young_calls[i].number;
	return number;
}

void pod_seccomp_call_name(int number, char ret[static POD_SECCOMP_NAME_SIZE])
{
	_cleanup_free_ char *known = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
	const char *name = known;

	for (size_t i = 0; !name && i < ARRAY_SIZE(young_calls); i++)
		if (young_calls[i].number == number)
			name = young_calls[i].name;
	if (name)
		snprintf(ret, POD_SECCOMP_NAME_SIZE, "%s", name);
	else
		snprintf(ret, POD_SECCOMP_NAME_SIZE, "%d", number);
}

static bool set_add_call(struct call_set *set, const char *name)
{
	int number = call_number(name);

	if (number >= 0 && number < NUMBERS_MAX)
		set->has[number] = true;
	return number != __NR_SCMP_ERROR;
}

static void set_add_calls(struct call_set *set, const char *const *names)
{
	if (names == default_whitelist)
		set->is_default = true;
	for (; *names; names++)
		set_add_call(set, *names);
}

/* A name or a wildcard. Returns whether it means anything. */
static bool set_add(struct call_set *set, const char *name)
{
	if (*name != '@')
		return set_add_call(set, name);
	for (size_t i = 0; i < ARRAY_SIZE(wildcards); i++) {
		if (strcmp(wildcards[i].name, name))
			continue;
		set_add_calls(set, wildcards[i].calls);
		return true;
	}
	return false;
}

static bool set_contains(const struct appc_isolator *isolator, const char *name)
{
	for (size_t i = 0; i < isolator->set.count; i++)
		if (!strcmp(isolator->set.items[i], name))
			return true;
	return false;
}

/* ---- the program */

/* Numbers from start on, up to the next range, have this verdict. */
struct range {
	uint32_t start, verdict;
};

struct ranges {
	struct range items[RANGES_MAX + 1];
	size_t count;
};

static void ranges_add(struct ranges *ranges, uint32_t start, uint32_t verdict)
{
	if (ranges->count > 0 && ranges->items[ranges->count - 1].verdict == verdict)
		return;
	ranges->items[ranges->count++] = (struct range){start, verdict};
}

static void ranges_make(
	const struct call_set *set, bool is_retained, uint32_t denied, struct ranges *ret)
{
	uint32_t unknown = is_retained ? denied : SECCOMP_RET_ALLOW;

	ret->count = 0;
	/* A program that tries what is newer than the list is told so, and can go on without. */
	if (is_retained && set->is_default)
		unknown = SECCOMP_RET_ERRNO | ENOSYS;
	for (uint32_t i = 0; i < NUMBERS_MAX; i++)
		ranges_add(ret, i,
			set->has[i]                  ? (is_retained ? SECCOMP_RET_ALLOW : denied)
				: i >= NUMBERS_KNOWN ? unknown
				: is_retained        ? denied
						     : SECCOMP_RET_ALLOW);
	ranges_add(ret, NUMBERS_MAX, unknown);
	ranges_add(ret, X32_NUMBERS, denied);
}

/* A block of the search, whose jumps all reach its returns. */
#define BLOCK_RANGES 120

/* A jump of an instruction of the block, to the return of a verdict. */
struct exit_jump {
	uint8_t *offset;
	size_t from;
	uint32_t verdict;
};

struct assembler {
	struct sock_filter *program;
	size_t count;
	const struct ranges *ranges;
	struct exit_jump exits[2 * BLOCK_RANGES];
	size_t exit_count;
};

static void put(struct assembler *assembler, struct sock_filter instruction)
{
	assembler->program[assembler->count++] = instruction;
}

static void put_return(struct assembler *assembler, uint32_t verdict)
{
	put(assembler, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

static void put_exit(struct assembler *assembler, uint8_t *offset, size_t from, uint32_t verdict)
{
	assembler->exits[assembler->exit_count++] = (struct exit_jump){offset, from, verdict};
}

/* The search among at least two ranges, [first, end), with the number in the accumulator. */
static void put_nodes(struct assembler *assembler, size_t first, size_t end)
{
	const struct range *ranges = assembler->ranges->items;
	size_t middle = first + (end - first) / 2, at = assembler->count;
	struct sock_filter *node = &assembler->program[at];

	put(assembler,
		(struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JGE | BPF_K, ranges[middle].start, 0, 0));
	if (middle - first == 1)
		put_exit(assembler, &node->jf, at, ranges[first].verdict);
	else
		put_nodes(assembler, first, middle);
	if (end - middle == 1) {
		put_exit(assembler, &node->jt, at, ranges[middle].verdict);
	} else {
		node->jt = (uint8_t)(assembler->count - at - 1);
		put_nodes(assembler, middle, end);
	}
}

/* One return for each verdict. */
static void put_block(struct assembler *assembler, size_t first, size_t end)
{
	assembler->exit_count = 0;
	put_nodes(assembler, first, end);
	for (size_t i = 0; i < assembler->exit_count; i++) {
		const struct exit_jump *leaf = &assembler->exits[i];
		size_t target = assembler->count;

		for (size_t j = 0; j < i; j++)
			if (assembler->exits[j].verdict == leaf->verdict)
				target = assembler->exits[j].from + 1 + *assembler->exits[j].offset;
		*leaf->offset = (uint8_t)(target - leaf->from - 1);
		if (target == assembler->count)
			put_return(assembler, leaf->verdict);
	}
}

static void put_search(struct assembler *assembler, size_t first, size_t end)
{
	const struct range *ranges = assembler->ranges->items;
	size_t middle = first + (end - first) / 2, jump;

	if (end - first == 1) {
		put_return(assembler, ranges[first].verdict);
		return;
	}
	if (end - first <= BLOCK_RANGES) {
		put_block(assembler, first, end);
		return;
	}
	/* Only an unconditional jump goes far enough. */
	put(assembler,
		(struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JGE | BPF_K, ranges[middle].start, 0, 1));
	jump = assembler->count;
	put(assembler, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
	put_search(assembler, first, middle);
	assembler->program[jump].k = (uint32_t)(assembler->count - jump - 1);
	put_search(assembler, middle, end);
}

static int program_make(const struct ranges *ranges, struct pod_seccomp *ret)
{
	struct assembler assembler = {.ranges = ranges};

	/* For each range a node and a return; a few blocks with two jumps to them. */
	assembler.program = calloc(3 * ranges->count + 8, sizeof(*assembler.program));
	if (!assembler.program)
		return -ENOMEM;
	put(&assembler,
		(struct sock_filter)BPF_STMT(
			BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	put(&assembler,
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	put_return(&assembler, SECCOMP_RET_KILL_PROCESS);
	put(&assembler,
		(struct sock_filter)BPF_STMT(
			BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	put_search(&assembler, 0, ranges->count);
	ret->program = assembler.program;
	ret->count = assembler.count;
	return 0;
}

/* ---- the isolators */

/* The number of an error by its name; -EINVAL. */
static int error_number(const char *name, uint32_t *ret)
{
	static const struct {
		const char *name;
		int number;
	} aliases[] = {
		{"EWOULDBLOCK", EWOULDBLOCK}, {"EDEADLOCK", EDEADLOCK}, {"ENOTSUP", ENOTSUP}};

	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (!strcmp(aliases[i].name, name)) {
			*ret = (uint32_t)aliases[i].number;
			return 0;
		}
	for (int i = 1; i <= ERROR_NUMBERS_MAX; i++) {
		const char *known = strerrorname_np(i);

		if (known && !strcmp(known, name)) {
			*ret = (uint32_t)i;
			return 0;
		}
	}
	return -EINVAL;
}

static void set_add_isolator(struct call_set *set, const struct appc_isolator *isolator,
	const char *who, struct pod_seccomp *ret)
{
	for (size_t i = 0; i < isolator->set.count; i++) {
		const char *name = isolator->set.items[i];

		if (set_add(set, name))
			continue;
		log_warning("%s: isolator \"%s\": there is no system call \"%s\"", who,
			isolator->name, name);
		ret->is_partial = true;
	}
}

int pod_seccomp_resolve(const struct appc_isolators *isolators, const char *who,
	struct pod_seccomp *ret, struct error *err)
{
	const struct appc_isolator *retain =
		appc_isolators_find(isolators, APPC_ISOLATOR_SECCOMP_RETAIN);
	const struct appc_isolator *isolator =
		retain ? retain : appc_isolators_find(isolators, APPC_ISOLATOR_SECCOMP_REMOVE);
	uint32_t denied = SECCOMP_RET_KILL_PROCESS, number;
	struct call_set set = {0};
	bool is_retained = true;
	struct ranges ranges;

	*ret = (struct pod_seccomp){0};
	if (retain && set_contains(retain, "@appc.io/all"))
		return 0;
	if (isolator && isolator->error_number) {
		if (error_number(isolator->error_number, &number) < 0)
			return error_set(err, -EINVAL, "isolator \"%s\": there is no errno \"%s\"",
				isolator->name, isolator->error_number);
		denied = SECCOMP_RET_ERRNO | number;
	}
	if (!isolator || set_contains(isolator, "@appc.io/all") ||
		set_contains(isolator, "@appc.io/empty")) {
		ret->is_default = denied == SECCOMP_RET_KILL_PROCESS;
		set_add_calls(&set, default_whitelist);
	} else {
		is_retained = isolator == retain;
		set_add_isolator(&set, isolator, who, ret);
		if (is_retained)
			set_add_calls(&set, systemd_default);
	}
	ranges_make(&set, is_retained, denied, &ranges);
	return program_make(&ranges, ret);
}

void pod_seccomp_done(struct pod_seccomp *seccomp)
{
	free(seccomp->program);
	*seccomp = (struct pod_seccomp){0};
}
