// SPDX-License-Identifier: Apache-2.0
/*
 * test_pod_seccomp.c: what filters made of isolators say to each system call, run by an interpreter of the few
 * instructions that they consist of.
 */
#include "pod/seccomp.h"

#include "wire/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define ALLOW SECCOMP_RET_ALLOW
#define KILL  SECCOMP_RET_KILL_PROCESS

/* Isolators of one kind with a set of names, ended by NULL. */
static struct appc_isolators isolators_of(const char *name, const char *error, const char **set)
{
	json_t *array = json_array(), *value;
	struct appc_isolators isolators = {0};

	for (; *set; set++)
		json_array_append_new(array, json_string(*set));
	value = json_pack("{s:o, s:s*}", "set", array, "errno", error);
	assert_int_equal(appc_isolators_append(&isolators, name, value, NULL), 0);
	json_decref(value);
	return isolators;
}

static void isolators_release(struct appc_isolators *isolators)
{
	while (isolators->count > 0)
		appc_isolators_remove(isolators, isolators->items[0].kind);
	free(isolators->items);
}

static struct pod_seccomp resolve(const char *name, const char *error, const char **set)
{
	struct appc_isolators isolators = isolators_of(name, error, set);
	struct pod_seccomp seccomp;

	assert_int_equal(pod_seccomp_resolve(&isolators, "app", &seccomp, NULL), 0);
	isolators_release(&isolators);
	return seccomp;
}

#define RETAIN(...) \
	resolve("os/linux/seccomp-retain-set", NULL, (const char *[]){__VA_ARGS__, NULL})
#define REMOVE(...) \
	resolve("os/linux/seccomp-remove-set", NULL, (const char *[]){__VA_ARGS__, NULL})

/* What the filter returns; every jump and read stays inside. */
static uint32_t verdict_of(const struct pod_seccomp *seccomp, uint32_t arch, uint32_t number)
{
	uint32_t accumulator = 0;
	size_t at = 0;

	for (;;) {
		const struct sock_filter *code = &seccomp->program[at++];

		assert_true(at <= seccomp->count);
		switch (code->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(code->k == offsetof(struct seccomp_data, nr) ||
				code->k == offsetof(struct seccomp_data, arch));
			accumulator = code->k == offsetof(struct seccomp_data, nr) ? number : arch;
			break;
		case BPF_JMP | BPF_JA:
			at += code->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			at += accumulator == code->k ? code->jt : code->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			at += accumulator >= code->k ? code->jt : code->jf;
			break;
		case BPF_RET | BPF_K:
			return code->k;
		default:
			fail_msg("instruction %zu is %#x", at - 1, code->code);
		}
	}
}

static uint32_t verdict(const struct pod_seccomp *seccomp, uint32_t number)
{
	return verdict_of(seccomp, AUDIT_ARCH_X86_64, number);
}

static void without_an_isolator_the_filter_is_the_one_that_guest_init_knows(void **state)
{
	static const struct appc_isolators none;
	struct pod_seccomp seccomp;
	bool is_same;

	(void)state;
	assert_int_equal(pod_seccomp_resolve(&none, "app", &seccomp, NULL), 0);
	assert_true(seccomp.is_default);
	is_same = seccomp.count == wire_default_filter_count &&
		!memcmp(seccomp.program, wire_default_filter,
			seccomp.count * sizeof(seccomp.program[0]));
	for (size_t i = 0; !is_same && i < seccomp.count; i++)
		print_message("\t{0x%02x, %u, %u, 0x%08x},\n", seccomp.program[i].code,
			seccomp.program[i].jt, seccomp.program[i].jf, seccomp.program[i].k);
	assert_true(is_same);
	pod_seccomp_done(&seccomp);
}

static void default_filter_ends_what_concerns_the_machine_and_allows_what_programs_do(void **state)
{
	static const uint32_t allowed[] = {SYS_read, SYS_execve, SYS_clone, SYS_clone3, SYS_futex,
		SYS_openat, SYS_statx, SYS_rseq, SYS_chroot, SYS_seccomp, SYS_close_range, SYS_fork,
		SYS_rt_sigreturn, SYS_io_uring_setup, 462};
	static const uint32_t denied[] = {SYS_ptrace, SYS_mount, SYS_umount2, SYS_reboot,
		SYS_kexec_load, SYS_init_module, SYS_setns, SYS_unshare, SYS_bpf, SYS_keyctl,
		SYS_open_by_handle_at, SYS_iopl, SYS_ioperm, SYS_pivot_root, SYS_move_mount, 461};
	static const struct appc_isolators none;
	struct pod_seccomp seccomp;

	(void)state;
	assert_int_equal(pod_seccomp_resolve(&none, "app", &seccomp, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		assert_int_equal(verdict(&seccomp, allowed[i]), ALLOW);
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
		assert_int_equal(verdict(&seccomp, denied[i]), KILL);
	/* Calls that nobody has heard of yet do not exist; those of other ABIs end the process. */
	assert_int_equal(verdict(&seccomp, 463), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(verdict(&seccomp, 100000), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(verdict(&seccomp, 0x40000000), KILL);
	assert_int_equal(verdict(&seccomp, UINT32_MAX), KILL);
	assert_int_equal(verdict_of(&seccomp, AUDIT_ARCH_I386, 3), KILL);
	pod_seccomp_done(&seccomp);
}

static void retained_set_allows_itself_and_what_no_program_can_do_without(void **state)
{
	struct pod_seccomp seccomp = RETAIN("read", "write");

	(void)state;
	assert_false(seccomp.is_default);
	assert_int_equal(verdict(&seccomp, SYS_read), ALLOW);
	assert_int_equal(verdict(&seccomp, SYS_write), ALLOW);
	assert_int_equal(verdict(&seccomp, SYS_execve), ALLOW);
	assert_int_equal(verdict(&seccomp, SYS_exit_group), ALLOW);
	assert_int_equal(verdict(&seccomp, SYS_open), KILL);
	assert_int_equal(verdict(&seccomp, 463), KILL);
	pod_seccomp_done(&seccomp);
}

static void removed_set_denies_itself_alone(void **state)
{
	struct pod_seccomp seccomp = REMOVE("reboot", "mseal", "chown32");

	(void)state;
	assert_false(seccomp.is_partial);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(verdict(&seccomp, i), i == SYS_reboot || i == 462 ? KILL : ALLOW);
	/* Another ABI's number would be a way round it. */
	assert_int_equal(verdict(&seccomp, 0x40000000 + SYS_reboot), KILL);
	assert_int_equal(verdict_of(&seccomp, AUDIT_ARCH_I386, 3), KILL);
	pod_seccomp_done(&seccomp);
}

static void errno_takes_the_place_of_the_signal(void **state)
{
	static const struct {
		const char *name;
		int number;
	} errors[] = {{"EPERM", EPERM}, {"EXFULL", EXFULL}, {"EWOULDBLOCK", EAGAIN},
		{"ENOTSUP", ENOTSUP}, {"EHWPOISON", EHWPOISON}};
	const char *set[] = {"stat", NULL}, *empty[] = {"@appc.io/empty", NULL};
	struct pod_seccomp seccomp;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		seccomp = resolve("os/linux/seccomp-remove-set", errors[i].name, set);
		assert_int_equal(verdict(&seccomp, SYS_stat),
			SECCOMP_RET_ERRNO | (uint32_t)errors[i].number);
		assert_int_equal(verdict_of(&seccomp, AUDIT_ARCH_I386, SYS_stat), KILL);
		pod_seccomp_done(&seccomp);
	}
	/* The default set with an errno is not the filter that guest-init knows. */
	seccomp = resolve("os/linux/seccomp-remove-set", "EPERM", empty);
	assert_false(seccomp.is_default);
	assert_int_equal(verdict(&seccomp, SYS_mount), SECCOMP_RET_ERRNO | EPERM);
	pod_seccomp_done(&seccomp);
}

static void errno_of_no_name_is_an_error(void **state)
{
	const char *set[] = {"stat", NULL};
	struct appc_isolators isolators =
		isolators_of("os/linux/seccomp-remove-set", "ENOSUCHTHING", set);
	struct pod_seccomp seccomp;
	struct error err;

	(void)state;
	assert_int_equal(pod_seccomp_resolve(&isolators, "app", &seccomp, &err), -EINVAL);
	assert_non_null(strstr(err.message, "ENOSUCHTHING"));
	assert_null(seccomp.program);
	isolators_release(&isolators);
}

static void wildcards_all_and_empty_mean_no_filter_and_the_default_one(void **state)
{
	struct pod_seccomp all = RETAIN("read", "@appc.io/all");
	struct pod_seccomp defaults[] = {
		REMOVE("@appc.io/empty"), REMOVE("@appc.io/all"), RETAIN("@appc.io/empty")};

	(void)state;
	assert_null(all.program);
	assert_int_equal(all.count, 0);
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		assert_true(defaults[i].is_default);
		pod_seccomp_done(&defaults[i]);
	}
}

static void each_wildcard_stands_for_its_calls(void **state)
{
	static const struct {
		const char *name;
		uint32_t has, lacks;
	} sets[] = {
		{"@rkt/default-whitelist", SYS_openat, SYS_mount},
		{"@rkt/default-blacklist", SYS_mount, SYS_openat},
		{"@docker/default-whitelist", SYS_chroot, SYS_ptrace},
		{"@docker/default-blacklist", SYS_ptrace, SYS_chroot},
		{"@systemd/clock", SYS_clock_settime, SYS_read},
		{"@systemd/default-whitelist", SYS_clock_gettime, SYS_read},
		{"@systemd/mount", SYS_mount, SYS_read},
		{"@systemd/network-io", SYS_connect, SYS_read},
		{"@systemd/obsolete", SYS_uselib, SYS_read},
		{"@systemd/privileged", SYS_setuid, SYS_read},
		{"@systemd/process", SYS_kill, SYS_read},
		{"@systemd/raw-io", SYS_ioperm, SYS_read},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct pod_seccomp retained = RETAIN(sets[i].name), removed = REMOVE(sets[i].name);

		assert_false(retained.is_partial);
		assert_int_equal(verdict(&retained, sets[i].has), ALLOW);
		assert_int_equal(verdict(&retained, sets[i].lacks), KILL);
		assert_int_equal(verdict(&removed, sets[i].has), KILL);
		assert_int_equal(verdict(&removed, sets[i].lacks), ALLOW);
		pod_seccomp_done(&retained);
		pod_seccomp_done(&removed);
	}
}

static void names_that_mean_nothing_are_left_out_and_said_to_be(void **state)
{
	struct pod_seccomp seccomp = RETAIN("read", "no_such_call", "@systemd/no-such-set");

	(void)state;
	assert_true(seccomp.is_partial);
	assert_int_equal(verdict(&seccomp, SYS_read), ALLOW);
	assert_int_equal(verdict(&seccomp, SYS_write), KILL);
	pod_seccomp_done(&seccomp);
}

/* Every second call: more ranges than a short jump spans. */
static void set_with_most_ranges_is_searched_right(void **state)
{
	static const char *const names[] = {"read", "open", "stat", "lstat", "lseek", "mprotect",
		"brk", "rt_sigprocmask", "ioctl", "pwrite64", "writev", "pipe", "sched_yield",
		"msync", "madvise", "shmat", "dup", "pause", "getitimer", "setitimer", "sendfile",
		"connect", "sendto", "sendmsg", "shutdown", "listen", "getpeername", "setsockopt",
		"clone", "vfork", "exit", "kill", "semget", "semctl", "msgget", "msgrcv", "fcntl",
		"fsync", "truncate", "getdents", "chdir", "rename", "rmdir", "link", "symlink",
		"chmod", "chown", "lchown", "gettimeofday", "getrusage", "times", "getuid",
		"getgid", "setgid", "getegid", "getppid", "setsid", "setregid", "setgroups",
		"getresuid", "getresgid", "setfsuid", "getsid", "capset", "rt_sigtimedwait",
		"rt_sigsuspend", "utime", "uselib", "ustat", "fstatfs", "getpriority",
		"sched_setparam", "sched_setscheduler", "sched_get_priority_max",
		"sched_rr_get_interval", "munlock", "munlockall", "modify_ldt", "_sysctl",
		"arch_prctl", "setrlimit", "sync", "settimeofday", "umount2", "swapoff",
		"sethostname", "iopl", "create_module", "delete_module", "query_module",
		"nfsservctl", "putpmsg", "tuxcall", "gettid", "setxattr", "fsetxattr", "lgetxattr",
		"listxattr", "flistxattr", "lremovexattr", "tkill", "futex", "sched_getaffinity",
		"io_setup", "io_getevents", "io_cancel", "lookup_dcookie", "epoll_ctl_old",
		"remap_file_pages", "set_tid_address", "semtimedop", "timer_create",
		"timer_gettime", "timer_delete", "clock_gettime", "clock_nanosleep", "epoll_wait",
		"tgkill", "vserver", "set_mempolicy", "mq_open", "mq_timedsend", "mq_notify",
		"kexec_load", "add_key", "keyctl", "ioprio_get", "inotify_add_watch",
		"migrate_pages", "mkdirat", "fchownat", "newfstatat", "renameat", "symlinkat",
		"fchmodat", "pselect6", "unshare", "get_robust_list", "tee", "vmsplice",
		"utimensat", "signalfd", "eventfd", "timerfd_settime", "accept4", "eventfd2",
		"dup3", "inotify_init1", "pwritev", "perf_event_open", "fanotify_init", "prlimit64",
		"open_by_handle_at", "syncfs", "setns", "process_vm_readv", "kcmp", "sched_setattr",
		"renameat2", "getrandom", "kexec_file_load", "execveat", "membarrier",
		"copy_file_range", "pwritev2", "pkey_alloc", "statx", NULL};
	struct pod_seccomp seccomp =
		resolve("os/linux/seccomp-remove-set", "EIO", (const char **)names);
	size_t denied = 0;

	(void)state;
	assert_false(seccomp.is_partial);
	assert_true(seccomp.count <= POD_SECCOMP_MAX);
	assert_true(seccomp.count > 260);
	for (uint32_t i = 0; i < 1024; i++) {
		uint32_t found = verdict(&seccomp, i);

		assert_true(found == ALLOW || found == (SECCOMP_RET_ERRNO | EIO));
		denied += found != ALLOW;
	}
	assert_int_equal(denied, ARRAY_SIZE(names) - 1);
	assert_int_equal(verdict(&seccomp, SYS_read), SECCOMP_RET_ERRNO | EIO);
	assert_int_equal(verdict(&seccomp, SYS_write), ALLOW);
	assert_int_equal(verdict(&seccomp, SYS_statx), SECCOMP_RET_ERRNO | EIO);
	pod_seccomp_done(&seccomp);
}

static void numbers_have_names(void **state)
{
	char name[POD_SECCOMP_NAME_SIZE];

	(void)state;
	pod_seccomp_call_name(SYS_ptrace, name);
	assert_string_equal(name, "ptrace");
	/* Younger than the library that knows the others. */
	pod_seccomp_call_name(452, name);
	assert_string_equal(name, "fchmodat2");
	pod_seccomp_call_name(100000, name);
	assert_string_equal(name, "100000");
	pod_seccomp_call_name(-1, name);
	assert_string_equal(name, "-1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_names),
		cmocka_unit_test(without_an_isolator_the_filter_is_the_one_that_guest_init_knows),
		cmocka_unit_test(
			default_filter_ends_what_concerns_the_machine_and_allows_what_programs_do),
		cmocka_unit_test(retained_set_allows_itself_and_what_no_program_can_do_without),
		cmocka_unit_test(removed_set_denies_itself_alone),
		cmocka_unit_test(errno_takes_the_place_of_the_signal),
		cmocka_unit_test(errno_of_no_name_is_an_error),
		cmocka_unit_test(wildcards_all_and_empty_mean_no_filter_and_the_default_one),
		cmocka_unit_test(each_wildcard_stands_for_its_calls),
		cmocka_unit_test(names_that_mean_nothing_are_left_out_and_said_to_be),
		cmocka_unit_test(set_with_most_ranges_is_searched_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
