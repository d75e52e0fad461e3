// SPDX-License-Identifier: Apache-2.0
/* test_cgroup.c: the VMM's cgroup on this host, where it has one to give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "pod/cgroup.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define UUID "0c7d3b64-5d8a-4c5b-9d0e-4a1f5f6a7b80"

static const struct pod_cgroup_limits limits = {
	.memory = 512 << 20, .cpu_millis = 1500, .threads = 99, .disk_fd = -1};

/* Skips where there is no cgroup to be had, as in most containers. */
static void create(struct pod_cgroup *cgroup)
{
	struct error err;

	assert_int_equal(pod_cgroup_plan(UUID, cgroup), 0);
	if (cgroup->count == 0 || geteuid() != 0)
		skip();
	if (pod_cgroup_create(cgroup, &limits, &err) < 0) {
		print_message("%s\n", err.message);
		skip();
	}
}

static bool exists(const struct pod_cgroup_hierarchy *hierarchy)
{
	struct stat st;

	return hierarchy->fd >= 0 && fstat(hierarchy->fd, &st) == 0 && st.st_nlink > 0;
}

/* The number in a file of one of its directories; -1: there is none of that name. */
static long number_in(const struct pod_cgroup *cgroup, const char *name)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		_cleanup_free_ char *text = NULL;

		if (file_read(cgroup->hierarchies[i].fd, name, 4096, &text, NULL) == 0)
			return strtol(text, NULL, 10);
		/* Of version 2: the VMM's own. */
		if (cgroup->unified_fd >= 0 &&
			file_read(cgroup->unified_fd, name, 4096, &text, NULL) == 0)
			return strtol(text, NULL, 10);
	}
	return -1;
}

static void limits_are_those_that_were_given(void **state)
{
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	long memory;

	(void)state;
	create(&cgroup);
	memory = number_in(&cgroup, "memory.limit_in_bytes");
	assert_int_equal(memory >= 0 ? memory : number_in(&cgroup, "memory.max"), limits.memory);
	if (number_in(&cgroup, "pids.max") >= 0)
		assert_int_equal(number_in(&cgroup, "pids.max"), 99);
	if (number_in(&cgroup, "cpu.cfs_quota_us") >= 0)
		assert_int_equal(number_in(&cgroup, "cpu.cfs_quota_us"), 150000);
	if (number_in(&cgroup, "cpu.max") >= 0)
		assert_int_equal(number_in(&cgroup, "cpu.max"), 150000);
	assert_false(pod_cgroup_was_out_of_memory(&cgroup));
	pod_cgroup_destroy(&cgroup);
}

static void a_disk_is_limited_as_a_whole(void **state)
{
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	_cleanup_close_ int file = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct pod_cgroup_limits with_disk = limits;
	_cleanup_free_ char *text = NULL;
	struct error err;

	(void)state;
	with_disk.disk_bytes = 7654321;
	with_disk.disk_fd = file;
	assert_int_equal(pod_cgroup_plan(UUID, &cgroup), 0);
	if (cgroup.count == 0 || geteuid() != 0 || pod_cgroup_create(&cgroup, &with_disk, &err) < 0)
		skip();
	for (size_t i = 0; i < cgroup.count && !text; i++)
		if (file_read(cgroup.hierarchies[i].fd, "blkio.throttle.write_bps_device", 4096,
			    &text, NULL) < 0)
			file_read(cgroup.hierarchies[i].fd, "io.max", 4096, &text, NULL);
	/* Empty where the root is on no disk. */
	if (text && *text)
		assert_non_null(strstr(text, "7654321"));
	pod_cgroup_destroy(&cgroup);
}

static void a_process_is_born_in_it_or_moves_itself(void **state)
{
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	struct clone_args arguments = {.exit_signal = SIGCHLD};
	size_t found = 0;
	int status;
	pid_t pid;

	(void)state;
	create(&cgroup);
	if (cgroup.unified_fd >= 0) {
		arguments.flags = CLONE_INTO_CGROUP;
		arguments.cgroup = (uint64_t)cgroup.unified_fd;
	}
	pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
	assert_true(pid >= 0);
	if (pid == 0) {
		_cleanup_free_ char *text = NULL;

		for (size_t i = 0; i < cgroup.count; i++)
			if (cgroup.hierarchies[i].join_fd >= 0 &&
				write(cgroup.hierarchies[i].join_fd, "0", 1) != 1)
				_exit(100);
		if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0)
			_exit(101);
		for (const char *at = text; (at = strstr(at, "/appc-" UUID)); at++)
			found += at[strlen("/appc-" UUID)] == '\n' ||
				strncmp(at + strlen("/appc-" UUID), "/vmm\n", 5) == 0;
		_exit(found == cgroup.count ? 0 : 102);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pod_cgroup_destroy(&cgroup);
}

/* The lines of a process's cgroups that name this one, in "of", and how many they are. */
static size_t own_lines(const char *text, const char **of)
{
	size_t found = 0;

	for (const char *at = text; (at = strstr(at, "/appc-" UUID)); at++, found++)
		for (*of = at; *of > text && (*of)[-1] != '\n';)
			--*of;
	return found;
}

static void who_carries_the_network_shares_cpu_time_and_no_memory(void **state)
{
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	struct child_cgroup network = pod_cgroup_of_network(NULL);
	pid_t pid;

	(void)state;
	assert_true(network.unified_fd < 0 && network.join_fd < 0);
	create(&cgroup);
	network = pod_cgroup_of_network(&cgroup);
	if (number_in(&cgroup, "cpu.cfs_quota_us") < 0 && number_in(&cgroup, "cpu.max") < 0)
		assert_int_equal(network.join_fd, -1);
	pid = child_fork_in_cgroup(NULL, 0, -1, &network);
	assert_true(pid >= 0);
	if (pid == 0) {
		_cleanup_free_ char *text = NULL;
		const char *line = "";

		if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL) < 0 ||
			own_lines(text, &line) !=
				(network.join_fd >= 0 || network.unified_fd >= 0 ? 1 : 0))
			_exit(100);
		if (network.unified_fd >= 0)
			_exit(strstr(line, "/appc-" UUID "/network\n") ? 0 : 101);
		/* "NUMBER:cpu,cpuacct:/PATH" */
		line = strstr(line, ":cpu");
		_exit(network.join_fd < 0 || (line && strchr(":,", line[4])) ? 0 : 102);
	}
	assert_int_equal(child_wait(pid), 0);
	pod_cgroup_destroy(&cgroup);
}

static void what_a_record_names_is_removed(void **state)
{
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	_cleanup_json_ json_t *record = NULL;

	(void)state;
	create(&cgroup);
	record = pod_cgroup_json(&cgroup);
	assert_int_equal(json_array_size(record), cgroup.count);
	/* Another process, after SIGKILL of the first. */
	pod_cgroup_remove_recorded(record);
	for (size_t i = 0; i < cgroup.count; i++)
		assert_int_equal(number_in(&cgroup, "cgroup.procs"), -1);
	/* There is nothing left to remove. */
	pod_cgroup_remove_recorded(record);
	pod_cgroup_destroy(&cgroup);
}

static void a_damaged_record_removes_nothing_else(void **state)
{
	_cleanup_(pod_cgroup_done) struct pod_cgroup cgroup = POD_CGROUP_NONE;
	_cleanup_json_ json_t *record = json_array();

	(void)state;
	create(&cgroup);
	for (size_t i = 0; i < cgroup.count; i++) {
		const struct pod_cgroup_hierarchy *hierarchy = &cgroup.hierarchies[i];
		const char *controllers = hierarchy->controllers, *path = hierarchy->path;
		static const char *const wrong[] = {("%s:%s/../appc-" UUID), "%s:/..%s", "%s:%s/",
			"%s%s", "%s:x%s", "nonsense,%s:%s"};

		for (size_t j = 0; j < ARRAY_SIZE(wrong); j++) {
			_cleanup_json_ json_t *one = json_array();

			json_array_append_new(one, json_sprintf(wrong[j], controllers, path));
			json_array_append_new(one, json_integer(7));
			pod_cgroup_remove_recorded(one);
			assert_true(exists(hierarchy));
		}
	}
	pod_cgroup_remove_recorded(record);
	pod_cgroup_remove_recorded(NULL);
	pod_cgroup_destroy(&cgroup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_those_that_were_given),
		cmocka_unit_test(a_disk_is_limited_as_a_whole),
		cmocka_unit_test(a_process_is_born_in_it_or_moves_itself),
		cmocka_unit_test(who_carries_the_network_shares_cpu_time_and_no_memory),
		cmocka_unit_test(what_a_record_names_is_removed),
		cmocka_unit_test(a_damaged_record_removes_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
