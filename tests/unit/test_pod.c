// SPDX-License-Identifier: Apache-2.0
/* test_pod.c: a pod's state follows from where it is and who holds its lock, after crashes too. */
#include "base/file.h"
#include "base/json.h"
#include "pod/pod.h"
#include "pod/record.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define NANOSECONDS 1000000000ll

struct pod_fixture {
	char path[64];
	int dirfd;
	struct pods *pods;
};

static const char first_uuid[] = "11111111-2222-4333-8444-555555555555";
static const char second_uuid[] = "11112222-2222-4333-8444-555555555555";
static const char third_uuid[] = "abcdef01-2222-4333-8444-555555555555";

static int set_up(void **state)
{
	struct pod_fixture *fixture = calloc(1, sizeof(*fixture));
	struct error err;

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-pod-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_true(fixture->dirfd >= 0);
	if (pods_open(fixture->dirfd, &fixture->pods, &err) < 0)
		fail_msg("%s", err.message);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct pod_fixture *fixture = *state;

	pods_close(fixture->pods);
	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

/* A pod's directory as a process left it. Returns its fd. */
static int make_pod(
	struct pod_fixture *fixture, const char *place, const char *uuid, bool with_lock)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "pods/%s/%s", place, uuid);
	assert_int_equal(mkdirat(fixture->dirfd, path, 0750), 0);
	fd = directory_open(fixture->dirfd, path);
	assert_true(fd >= 0);
	if (with_lock)
		assert_int_equal(mknodat(fd, "lock", S_IFREG | 0640, 0), 0);
	return fd;
}

/* Holds its lock as a live process does. */
static int lock_pod(int fd)
{
	int lock = openat(fd, "lock", O_RDWR | O_CLOEXEC);

	assert_true(lock >= 0);
	assert_int_equal(
		fcntl(lock, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}),
		0);
	return lock;
}

static void set_age(int fd, int64_t seconds)
{
	const struct timespec times[2] = {
		{.tv_sec = time(NULL) - seconds},
		{.tv_sec = time(NULL) - seconds},
	};

	assert_int_equal(futimens(fd, times), 0);
}

static void assert_state(struct pod_fixture *fixture, const char *uuid, enum pod_state expected)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct error err;

	if (pod_open(fixture->pods, uuid, &pod, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(pod_state_name(pod.state), pod_state_name(expected));
}

static size_t count_pods(struct pod_fixture *fixture)
{
	char **uuids;
	size_t count;

	assert_int_equal(pods_list(fixture->pods, &uuids, &count, NULL), 0);
	pods_strings_free(uuids, count);
	return count;
}

static size_t collect(struct pod_fixture *fixture, int64_t grace, int64_t expire_prepared)
{
	struct pods_gc_options options = {.grace = grace, .expire_prepared = expire_prepared};
	struct error err;
	size_t removed;

	if (pods_gc(fixture->pods, &options, &removed, &err) < 0)
		fail_msg("%s", err.message);
	return removed;
}

/* ---- states */

static void pod_goes_through_its_states(void **state)
{
	struct pod_fixture *fixture = *state;
	struct pod pod = POD_NONE;
	char uuid[POD_UUID_SIZE], path[128];
	struct error err;
	struct stat st;

	assert_int_equal(pod_create(fixture->pods, &pod, &err), 0);
	assert_int_equal(strlen(pod.uuid), 36);
	strcpy(uuid, pod.uuid);
	assert_int_equal(pod.state, POD_PREPARING);
	assert_state(fixture, uuid, POD_PREPARING);
	assert_int_equal(pod_start(&pod, &err), 0);
	assert_int_equal(pod.state, POD_RUNNING);
	assert_state(fixture, uuid, POD_RUNNING);
	snprintf(path, sizeof(path), "pods/run/%s/lock", uuid);
	assert_int_equal(fstatat(fixture->dirfd, path, &st, 0), 0);
	pod_close(&pod); /* as the end of its process does */
	assert_state(fixture, uuid, POD_EXITED);
	assert_int_equal(count_pods(fixture), 1);
}

static void a_pod_is_paused_for_all_to_see_until_it_goes_on_or_dies(void **state)
{
	struct pod_fixture *fixture = *state;
	struct pod pod = POD_NONE;
	struct error err;

	assert_int_equal(pod_create(fixture->pods, &pod, &err), 0);
	assert_int_equal(pod_start(&pod, &err), 0);
	for (int paused = 0; paused < 4; paused++) {
		_cleanup_pod_ struct pod seen = POD_NONE;

		assert_int_equal(pod_set_paused(&pod, paused % 2), 0);
		assert_int_equal(pod_open(fixture->pods, pod.uuid, &seen, &err), 0);
		assert_int_equal(seen.state, POD_RUNNING);
		assert_int_equal(seen.is_paused, paused % 2);
		assert_string_equal(pod_state_text(&seen), paused % 2 ? "paused" : "running");
	}
	pod_close(&pod);
	{
		_cleanup_pod_ struct pod seen = POD_NONE;

		assert_int_equal(pod_open(fixture->pods, pod.uuid, &seen, &err), 0);
		assert_false(seen.is_paused);
		assert_string_equal(pod_state_text(&seen), "exited");
	}
}

static void preparation_that_dies_is_aborted(void **state)
{
	struct pod_fixture *fixture = *state;
	struct pod pod = POD_NONE;
	struct error err;

	assert_int_equal(pod_create(fixture->pods, &pod, &err), 0);
	pod_close(&pod);
	assert_state(fixture, pod.uuid, POD_ABORTED_PREPARE);
	assert_int_equal(collect(fixture, 1000, 1000), 1);
	assert_int_equal(count_pods(fixture), 0);
}

static void place_and_lock_say_the_state(void **state)
{
	static const struct {
		const char *place;
		enum pod_state locked, unlocked;
		const char *locked_name, *unlocked_name;
	} places[] = {
		{"embryo", POD_EMBRYO, POD_GARBAGE, "embryo", "garbage"},
		{"prepare", POD_PREPARING, POD_ABORTED_PREPARE, "preparing", "aborted prepare"},
		{"prepared", POD_PREPARED, POD_PREPARED, "prepared", "prepared"},
		{"run", POD_RUNNING, POD_EXITED, "running", "exited"},
		{"exited-garbage", POD_EXITED_DELETING, POD_EXITED_GARBAGE, "exited deleting",
			"exited garbage"},
		{"garbage", POD_DELETING, POD_GARBAGE, "deleting", "garbage"},
	};
	struct pod_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_close_ int fd = make_pod(fixture, places[i].place, first_uuid, true);
		_cleanup_close_ int lock = lock_pod(fd);
		char path[128];

		assert_state(fixture, first_uuid, places[i].locked);
		assert_string_equal(pod_state_name(places[i].locked), places[i].locked_name);
		close(TAKE_FD(lock));
		assert_state(fixture, first_uuid, places[i].unlocked);
		assert_string_equal(pod_state_name(places[i].unlocked), places[i].unlocked_name);
		snprintf(path, sizeof(path), "pods/%s/%s", places[i].place, first_uuid);
		assert_int_equal(directory_remove(fixture->dirfd, path), 0);
	}
}

/* Looking at pods takes their lock for an instant; that must not make them look locked. */
static void looking_at_a_pod_leaves_it_unlocked(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "run", first_uuid, true);
	_cleanup_pod_ struct pod first = POD_NONE, second = POD_NONE;

	assert_int_equal(pod_open(fixture->pods, first_uuid, &first, NULL), 0);
	assert_int_equal(pod_open(fixture->pods, first_uuid, &second, NULL), 0);
	assert_int_equal(first.state, POD_EXITED);
	assert_int_equal(second.state, POD_EXITED);
	close(lock_pod(fd));
}

/* ---- lookup */

static void pod_is_found_by_the_beginning_of_its_uuid(void **state)
{
	struct pod_fixture *fixture = *state;
	struct error err;
	struct pod pod;

	close(make_pod(fixture, "run", first_uuid, true));
	close(make_pod(fixture, "prepared", second_uuid, true));
	close(make_pod(fixture, "garbage", third_uuid, true));
	assert_int_equal(pod_open(fixture->pods, "11111", &pod, &err), 0);
	assert_string_equal(pod.uuid, first_uuid);
	pod_close(&pod);
	assert_int_equal(pod_open(fixture->pods, "ABCDEF", &pod, &err), 0);
	assert_string_equal(pod.uuid, third_uuid);
	pod_close(&pod);
	assert_int_equal(pod_open(fixture->pods, second_uuid, &pod, &err), 0);
	assert_string_equal(pod.uuid, second_uuid);
	pod_close(&pod);
	assert_int_equal(pod_open(fixture->pods, "1111", &pod, &err), -ENOTUNIQ);
	assert_non_null(strstr(err.message, first_uuid));
	assert_non_null(strstr(err.message, second_uuid));
	assert_int_equal(pod_open(fixture->pods, "2", &pod, &err), -ENOENT);
	assert_string_equal(err.message, "no matches found for \"2\"");
	assert_int_equal(pod_open(fixture->pods, "", &pod, &err), -EINVAL);
	assert_int_equal(pod_open(fixture->pods, "../run", &pod, &err), -ENOENT);
	assert_int_equal(
		pod_open(fixture->pods, "11111111-2222-4333-8444-555555555555/..", &pod, &err),
		-ENOENT);
}

static void list_is_sorted_and_holds_uuids_only(void **state)
{
	struct pod_fixture *fixture = *state;
	char **uuids;
	size_t count;

	assert_int_equal(count_pods(fixture), 0);
	close(make_pod(fixture, "garbage", third_uuid, true));
	close(make_pod(fixture, "run", second_uuid, true));
	close(make_pod(fixture, "embryo", first_uuid, false));
	close(make_pod(fixture, "run", "lost+found", false));
	close(make_pod(fixture, "run", "ABCDEF01-2222-4333-8444-555555555556", false));
	assert_int_equal(pods_list(fixture->pods, &uuids, &count, NULL), 0);
	assert_int_equal(count, 3);
	assert_string_equal(uuids[0], first_uuid);
	assert_string_equal(uuids[1], second_uuid);
	assert_string_equal(uuids[2], third_uuid);
	pods_strings_free(uuids, count);
}

/* A pod that moves while someone lists is in two listings; it is still one pod. */
static void pod_seen_twice_is_listed_once(void **state)
{
	struct pod_fixture *fixture = *state;

	close(make_pod(fixture, "prepare", first_uuid, true));
	close(make_pod(fixture, "run", first_uuid, true));
	assert_int_equal(count_pods(fixture), 1);
}

static void link_in_the_place_of_a_pod_is_not_followed(void **state)
{
	struct pod_fixture *fixture = *state;
	struct pod pod;
	struct error err;
	char path[128];

	assert_int_equal(directory_create_path(fixture->dirfd, "elsewhere", 0755), 0);
	snprintf(path, sizeof(path), "pods/run/%s", first_uuid);
	assert_int_equal(symlinkat("../../elsewhere", fixture->dirfd, path), 0);
	assert_true(pod_open(fixture->pods, first_uuid, &pod, &err) < 0);
}

/* ---- removal */

static void exited_pod_is_removed_with_all_it_has(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "run", first_uuid, true);
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct error err;

	assert_int_equal(directory_create_path(fd, "overlay/app/upper/etc", 0755), 0);
	assert_int_equal(file_write_atomic(fd, "overlay/app/upper/etc/file", "x", 1, 0644), 0);
	assert_int_equal(pod_open(fixture->pods, "1111", &pod, &err), 0);
	assert_int_equal(pod_remove(&pod, &err), 0);
	assert_int_equal(count_pods(fixture), 0);
}

static void pod_that_is_marked_meanwhile_is_removed(void **state)
{
	static const char *const places[] = {"run", "prepare"};
	const struct pods_gc_options options = {.mark_only = true};
	struct pod_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_close_ int fd = make_pod(fixture, places[i], first_uuid, true);
		_cleanup_pod_ struct pod pod = POD_NONE;
		struct error err = {0};
		size_t removed;

		assert_int_equal(pod_open(fixture->pods, "1111", &pod, &err), 0);
		assert_int_equal(pods_gc(fixture->pods, &options, &removed, NULL), 0);
		if (pod_remove(&pod, &err) < 0)
			fail_msg("%s: %s", places[i], err.message);
		assert_int_equal(count_pods(fixture), 0);
	}
}

static void running_pod_is_not_removed(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "run", first_uuid, true);
	_cleanup_close_ int lock = lock_pod(fd);
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct error err;

	assert_int_equal(pod_open(fixture->pods, "1111", &pod, &err), 0);
	assert_int_equal(pod_remove(&pod, &err), -EBUSY);
	assert_non_null(strstr(err.message, "running"));
	assert_state(fixture, first_uuid, POD_RUNNING);
}

static void half_removed_pod_is_removed_by_the_next(void **state)
{
	struct pod_fixture *fixture = *state;

	/* Moved to garbage, part of it gone, the lock file first. */
	close(make_pod(fixture, "garbage", first_uuid, false));
	close(make_pod(fixture, "garbage", second_uuid, true));
	assert_int_equal(collect(fixture, 1000, 1000), 2);
	assert_int_equal(count_pods(fixture), 0);
}

static void pod_is_locked_while_it_is_removed(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "garbage", first_uuid, true);
	_cleanup_close_ int lock = lock_pod(fd);

	assert_state(fixture, first_uuid, POD_DELETING);
	assert_int_equal(collect(fixture, 0, 0), 0);
	assert_int_equal(count_pods(fixture), 1);
}

/* ---- garbage collection */

static int open_pod_at(struct pod_fixture *fixture, const char *place, const char *uuid)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "pods/%s/%s", place, uuid);
	fd = directory_open(fixture->dirfd, path);
	assert_true(fd >= 0);
	return fd;
}

/* However long ago a pod ended: its grace counts from its mark, as in rkt. */
static void exited_pods_are_marked_and_then_kept_for_their_grace(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int marked = -1;

	marked = make_pod(fixture, "run", first_uuid, true);
	set_age(marked, 100000);
	assert_int_equal(collect(fixture, 1000, 0), 0);
	assert_state(fixture, first_uuid, POD_EXITED_GARBAGE);
	assert_int_equal(collect(fixture, 1000, 0), 0);
	close(TAKE_FD(marked));
	marked = open_pod_at(fixture, "exited-garbage", first_uuid);
	set_age(marked, 1001);
	assert_int_equal(collect(fixture, 100000, 0), 0);
	assert_int_equal(collect(fixture, 1000, 0), 1);
	assert_int_equal(count_pods(fixture), 0);
}

static void without_a_grace_one_collection_marks_and_removes(void **state)
{
	struct pod_fixture *fixture = *state;

	close(make_pod(fixture, "run", first_uuid, true));
	assert_int_equal(collect(fixture, 0, 0), 1);
	assert_int_equal(count_pods(fixture), 0);
}

static void count_report(void *context, const char *uuid, enum pods_gc_event event)
{
	unsigned int *counts = context;

	assert_int_equal(strlen(uuid), 36);
	counts[event]++;
}

static void marking_removes_nothing(void **state)
{
	struct pod_fixture *fixture = *state;
	unsigned int counts[PODS_GC_KEPT + 1] = {0};
	const struct pods_gc_options options = {
		.mark_only = true, .report = count_report, .context = counts};
	size_t removed = 77;

	close(make_pod(fixture, "run", first_uuid, true));
	close(make_pod(fixture, "prepare", second_uuid, true));
	close(make_pod(fixture, "prepared", third_uuid, true));
	assert_int_equal(pods_gc(fixture->pods, &options, &removed, NULL), 0);
	assert_int_equal(removed, 0);
	assert_state(fixture, first_uuid, POD_EXITED_GARBAGE);
	assert_state(fixture, second_uuid, POD_GARBAGE);
	assert_state(fixture, third_uuid, POD_PREPARED);
	assert_int_equal(counts[PODS_GC_MARKED], 1);
	assert_int_equal(counts[PODS_GC_ABORTED], 1);
	assert_int_equal(
		counts[PODS_GC_EXPIRED] + counts[PODS_GC_REMOVED] + counts[PODS_GC_KEPT], 0);
}

static void collection_tells_what_it_does(void **state)
{
	struct pod_fixture *fixture = *state;
	unsigned int counts[PODS_GC_KEPT + 1] = {0};
	const struct pods_gc_options options = {
		.grace = 1000, .report = count_report, .context = counts};
	size_t removed;

	close(make_pod(fixture, "run", first_uuid, true));
	close(make_pod(fixture, "prepare", second_uuid, true));
	close(make_pod(fixture, "prepared", third_uuid, true));
	assert_int_equal(pods_gc(fixture->pods, &options, &removed, NULL), 0);
	assert_int_equal(removed, 2);
	for (enum pods_gc_event event = PODS_GC_MARKED; event <= PODS_GC_EXPIRED; event++)
		assert_int_equal(counts[event], 1);
	assert_int_equal(counts[PODS_GC_REMOVED], 2);
	assert_int_equal(counts[PODS_GC_KEPT], 1);
}

static void pod_that_is_read_is_not_removed(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_pod_ struct pod reader = POD_NONE, other = POD_NONE;
	struct error err;

	close(make_pod(fixture, "run", first_uuid, true));
	assert_int_equal(pod_open(fixture->pods, first_uuid, &reader, &err), 0);
	assert_int_equal(pod_share(&reader, &err), 0);
	assert_state(fixture, first_uuid, POD_EXITED);
	assert_int_equal(pod_open(fixture->pods, first_uuid, &other, &err), 0);
	assert_int_equal(pod_remove(&other, &err), -EBUSY);
	assert_non_null(strstr(err.message, "is being read"));
	pod_close(&reader);
	assert_int_equal(pod_remove(&other, &err), 0);
}

/* ---- what SIGKILL leaves, wherever it strikes */

/* Steps of a pod's life, by a process that is killed after them. */
static void step_create(struct pod_fixture *fixture, struct pod *pod)
{
	assert_int_equal(pod_create(fixture->pods, pod, NULL), 0);
}

static void step_write(struct pod_fixture *fixture, struct pod *pod)
{
	_cleanup_json_ json_t *record = json_pack("{s:i}", "version", 1);

	step_create(fixture, pod);
	assert_int_equal(pod_write_record(pod, "pod", record), 0);
}

static void step_start(struct pod_fixture *fixture, struct pod *pod)
{
	step_write(fixture, pod);
	assert_int_equal(pod_start(pod, NULL), 0);
}

static void step_ready(struct pod_fixture *fixture, struct pod *pod)
{
	step_start(fixture, pod);
	assert_int_equal(pod_set_ready(pod), 0);
}

/* The VMM, which inherits the lock, lives on for an instant. */
static void step_orphan(struct pod_fixture *fixture, struct pod *pod)
{
	step_start(fixture, pod);
	if (fork() > 0)
		_exit(0);
}

static void kill_between(struct pod_fixture *fixture, const char *name,
	void (*steps)(struct pod_fixture *, struct pod *), enum pod_state alive,
	enum pod_state dead)
{
	struct pod pod = POD_NONE;
	char uuid[POD_UUID_SIZE] = "";
	int pipes[2];
	pid_t pid;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		steps(fixture, &pod);
		pid = getpid();
		if (write(pipes[1], pod.uuid, sizeof(uuid)) != sizeof(uuid) ||
			write(pipes[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(pipes[0], uuid, sizeof(uuid)), sizeof(uuid));
	assert_int_equal(read(pipes[0], &pid, sizeof(pid)), sizeof(pid));
	close(pipes[1]);
	print_message("%s\n", name);
	assert_state(fixture, uuid, alive);
	assert_int_equal(collect(fixture, 0, 0), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	/* The pipe is closed after the lock, or before: what is waited for is the lock. */
	assert_int_equal(pod_wait(fixture->pods, uuid, POD_EVENT_END, -1, NULL), 0);
	assert_state(fixture, uuid, dead);
	assert_int_equal(collect(fixture, 0, 0), 1);
	assert_int_equal(count_pods(fixture), 0);
	close(pipes[0]);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void killed_process_leaves_a_true_state_that_is_collected(void **state)
{
	static const struct {
		const char *name;
		void (*steps)(struct pod_fixture *, struct pod *);
		enum pod_state alive, dead;
	} cases[] = {
		{"created", step_create, POD_PREPARING, POD_ABORTED_PREPARE},
		{"written", step_write, POD_PREPARING, POD_ABORTED_PREPARE},
		{"started", step_start, POD_RUNNING, POD_EXITED},
		{"ready", step_ready, POD_RUNNING, POD_EXITED},
		{"supervisor gone, VMM not yet", step_orphan, POD_RUNNING, POD_EXITED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		kill_between(*state, cases[i].name, cases[i].steps, cases[i].alive, cases[i].dead);
}

/* What is on disk when the process that moves or removes a pod dies between two system calls. */
static void interrupted_transitions_are_completed_by_the_next_collection(void **state)
{
	static const struct {
		const char *name, *place;
		bool lock, manifest;
		enum pod_state found;
	} cases[] = {
		{"directory made", "embryo", false, false, POD_GARBAGE},
		{"lock file made", "embryo", true, false, POD_GARBAGE},
		{"preparing", "prepare", true, false, POD_ABORTED_PREPARE},
		{"prepared, not run", "prepared", true, true, POD_PREPARED},
		{"run", "run", true, true, POD_EXITED},
		{"run, its lock file lost", "run", false, true, POD_EXITED},
		{"marked", "exited-garbage", true, true, POD_EXITED_GARBAGE},
		{"about to be removed", "garbage", true, true, POD_GARBAGE},
		{"half removed", "garbage", false, true, POD_GARBAGE},
		{"nearly removed", "garbage", false, false, POD_GARBAGE},
	};
	struct pod_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_close_ int fd =
			make_pod(fixture, cases[i].place, first_uuid, cases[i].lock);

		print_message("%s\n", cases[i].name);
		if (cases[i].manifest)
			assert_int_equal(file_write_atomic(fd, "pod", "{}", 2, 0640), 0);
		assert_state(fixture, first_uuid, cases[i].found);
		set_age(fd, 1000);
		assert_int_equal(collect(fixture, 0, 0), 1);
		assert_int_equal(count_pods(fixture), 0);
	}
}

/* ---- waiting */

/* pod_wait() in a process of its own, which must not hold the lock that it inherits. */
static pid_t wait_elsewhere(
	struct pod_fixture *fixture, const char *uuid, enum pod_event event, int inherited)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	if (inherited >= 0)
		close(inherited);
	_exit(-pod_wait(fixture->pods, uuid, event, -1, NULL));
}

static int waited(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void waits_last_until_the_pod_is_ready_and_until_its_end(void **state)
{
	struct pod_fixture *fixture = *state;
	struct pod pod = POD_NONE;
	char uuid[POD_UUID_SIZE];
	pid_t end, ready;

	assert_int_equal(pod_create(fixture->pods, &pod, NULL), 0);
	strcpy(uuid, pod.uuid);
	end = wait_elsewhere(fixture, uuid, POD_EVENT_END, pod.lock_fd);
	ready = wait_elsewhere(fixture, uuid, POD_EVENT_READY, pod.lock_fd);
	assert_int_equal(pod_start(&pod, NULL), 0);
	assert_int_equal(pod_wait(fixture->pods, uuid, POD_EVENT_READY, 1000000, NULL), -ETIMEDOUT);
	assert_int_equal(pod_wait(fixture->pods, uuid, POD_EVENT_END, 0, NULL), -ETIMEDOUT);
	assert_int_equal(waitpid(ready, NULL, WNOHANG), 0);
	assert_int_equal(pod_set_ready(&pod), 0);
	assert_int_equal(waited(ready), 0);
	assert_state(fixture, uuid, POD_RUNNING);
	assert_int_equal(pod_wait(fixture->pods, uuid, POD_EVENT_READY, 0, NULL), 0);
	assert_int_equal(pod_wait(fixture->pods, uuid, POD_EVENT_END, 1000000, NULL), -ETIMEDOUT);
	assert_int_equal(waitpid(end, NULL, WNOHANG), 0);
	pod_close(&pod);
	assert_int_equal(waited(end), 0);
	assert_int_equal(pod_wait(fixture->pods, uuid, POD_EVENT_END, -1, NULL), 0);
	assert_int_equal(pod_wait(fixture->pods, uuid, POD_EVENT_READY, -1, NULL), 0);
}

static void pod_that_dies_before_it_is_ready_ends_both_waits(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "run", first_uuid, true);
	int lock = lock_pod(fd);
	pid_t end = wait_elsewhere(fixture, first_uuid, POD_EVENT_END, lock);
	pid_t ready = wait_elsewhere(fixture, first_uuid, POD_EVENT_READY, lock);

	assert_int_equal(waitpid(end, NULL, WNOHANG), 0);
	assert_int_equal(waitpid(ready, NULL, WNOHANG), 0);
	close(lock);
	assert_int_equal(waited(end), 0);
	assert_int_equal(waited(ready), 0);
}

static void wait_for_a_prepared_pod_goes_on_when_it_runs(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "prepared", first_uuid, true);
	char from[128], to[128];
	pid_t end;

	assert_int_equal(
		pod_wait(fixture->pods, first_uuid, POD_EVENT_END, 1000000, NULL), -ETIMEDOUT);
	end = wait_elsewhere(fixture, first_uuid, POD_EVENT_END, -1);
	snprintf(from, sizeof(from), "pods/prepared/%s", first_uuid);
	snprintf(to, sizeof(to), "pods/run/%s", first_uuid);
	assert_int_equal(renameat(fixture->dirfd, from, fixture->dirfd, to), 0);
	assert_int_equal(waited(end), 0);
}

static void wait_for_a_pod_that_is_removed_says_so(void **state)
{
	struct pod_fixture *fixture = *state;
	char path[128];
	pid_t end;

	close(make_pod(fixture, "prepared", first_uuid, true));
	end = wait_elsewhere(fixture, first_uuid, POD_EVENT_END, -1);
	snprintf(path, sizeof(path), "pods/prepared/%s", first_uuid);
	assert_int_equal(directory_remove(fixture->dirfd, path), 0);
	assert_int_equal(waited(end), ENOENT);
}

/* ---- garbage collection, once more */

static void running_pods_are_never_collected(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int running = make_pod(fixture, "run", first_uuid, true);
	_cleanup_close_ int preparing = make_pod(fixture, "prepare", second_uuid, true);
	_cleanup_close_ int running_lock = lock_pod(running), preparing_lock = lock_pod(preparing);

	set_age(running, 1000000);
	set_age(preparing, 1000000);
	assert_int_equal(collect(fixture, 0, 0), 0);
	assert_int_equal(count_pods(fixture), 2);
}

static void prepared_pods_expire(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "prepared", first_uuid, true);

	set_age(fd, 10000);
	assert_int_equal(collect(fixture, 0, 100000), 0);
	assert_int_equal(collect(fixture, 0, 1000), 1);
}

/* Between its directory and its lock an embryo looks dead: only age tells. */
static void young_embryos_are_left_alone(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int bare = make_pod(fixture, "embryo", first_uuid, false);
	_cleanup_close_ int unlocked = make_pod(fixture, "embryo", second_uuid, true);
	_cleanup_close_ int locked = make_pod(fixture, "embryo", third_uuid, true);
	_cleanup_close_ int lock = lock_pod(locked);

	assert_int_equal(collect(fixture, 0, 0), 0);
	set_age(bare, 1000);
	set_age(unlocked, 1000);
	set_age(locked, 1000);
	assert_int_equal(collect(fixture, 0, 0), 2);
	assert_state(fixture, third_uuid, POD_EMBRYO);
}

static void pod_that_cannot_be_removed_does_not_stop_the_others(void **state)
{
	struct pod_fixture *fixture = *state;
	struct pods_gc_options options = {.grace = 0};
	size_t removed = 0;
	struct error err = {0};

	/* Its place in garbage is taken by something else. */
	close(make_pod(fixture, "exited-garbage", first_uuid, true));
	close(make_pod(fixture, "garbage", first_uuid, true));
	close(make_pod(fixture, "exited-garbage", second_uuid, true));
	assert_true(pods_gc(fixture->pods, &options, &removed, &err) < 0);
	assert_non_null(strstr(err.message, first_uuid));
	assert_int_equal(removed, 1);
}

/* ---- records */

static void records_are_read_back(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_json_ json_t *record =
		json_pack("{s:s, s:i}", "reason", "a \"text\"", "status", 3);
	_cleanup_json_ json_t *again = NULL;
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct error err;

	assert_int_equal(pod_create(fixture->pods, &pod, &err), 0);
	assert_int_equal(pod_read_record(&pod, "end.json", &again), -ENOENT);
	assert_int_equal(pod_write_record(&pod, "end.json", record), 0);
	assert_int_equal(pod_read_record(&pod, "end.json", &again), 0);
	assert_true(json_equal(record, again));
	assert_int_equal(pod_write_record(&pod, "apps/none.json", record), -ENOENT);
}

static void records_of_a_pod_that_ended_are_synced(void **state)
{
	struct pod_fixture *fixture = *state;
	const struct pod_run_record run = {.started_at = 1};
	const struct pod_app_record app = {.started_at = 1, .exit_code = 2};
	/* Guests have a say in the reason. */
	const struct pod_end_record end = {
		.finished_at = 3, .exit_code = 2, .reason = "it said \xff"};
	_cleanup_pod_ struct pod pod = POD_NONE;

	assert_int_equal(pod_create(fixture->pods, &pod, NULL), 0);
	assert_int_equal(pod_start(&pod, NULL), 0);
	assert_int_equal(mkdirat(pod.fd, "apps", 0755), 0);
	assert_int_equal(pod_run_record_write(&pod, &run), 0);
	assert_int_equal(pod_app_record_write(&pod, "app", &app), 0);
	assert_int_equal(pod_records_sync(&pod), -ENOENT);
	assert_int_equal(pod_end_record_write(&pod, &end), 0);
	assert_int_equal(pod_records_sync(&pod), 0);
}

static void broken_records_are_errors(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int fd = make_pod(fixture, "run", first_uuid, true);
	_cleanup_pod_ struct pod pod = POD_NONE;
	json_t *record;

	assert_int_equal(file_write_atomic(fd, "end.json", "{\"a\":", 5, 0644), 0);
	assert_int_equal(file_write_atomic(fd, "run.json", "", 0, 0644), 0);
	assert_int_equal(mkdirat(fd, "apps", 0755), 0);
	assert_int_equal(pod_open(fixture->pods, "1", &pod, NULL), 0);
	assert_int_equal(pod_read_record(&pod, "end.json", &record), -EINVAL);
	assert_int_equal(pod_read_record(&pod, "run.json", &record), -EINVAL);
	assert_int_equal(pod_read_record(&pod, "apps", &record), -EISDIR);
}

static void trees_of_all_pods_are_in_use(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int first = make_pod(fixture, "run", first_uuid, true);
	_cleanup_close_ int second = make_pod(fixture, "prepare", second_uuid, true);
	char **ids;
	size_t count;

	close(make_pod(fixture, "prepare", third_uuid, true)); /* has none yet */
	/* A file where a pod should be. */
	assert_int_equal(file_write_atomic(fixture->dirfd,
				 "pods/run/99999999-2222-4333-8444-555555555555", "x", 1, 0644),
		0);
	assert_int_equal(file_write_atomic(first, "trees", "tree-a\ntree-b\n", 14, 0644), 0);
	assert_int_equal(file_write_atomic(second, "trees", "tree-c", 6, 0644), 0);
	assert_int_equal(pods_trees_in_use(fixture->pods, &ids, &count, NULL), 0);
	assert_int_equal(count, 3);
	assert_string_equal(ids[0], "tree-a");
	assert_string_equal(ids[1], "tree-b");
	assert_string_equal(ids[2], "tree-c");
	pods_strings_free(ids, count);
}

/* A checkpoint's directory, with that of the pod it was. Returns the fd of the latter. */
static int make_checkpoint(struct pod_fixture *fixture, const char *name)
{
	char path[64];
	int fd;

	if (mkdirat(fixture->dirfd, "checkpoints", 0750) < 0)
		assert_int_equal(errno, EEXIST);
	snprintf(path, sizeof(path), "checkpoints/%s", name);
	assert_int_equal(mkdirat(fixture->dirfd, path, 0750), 0);
	snprintf(path, sizeof(path), "checkpoints/%s/pod", name);
	assert_int_equal(mkdirat(fixture->dirfd, path, 0750), 0);
	fd = directory_open(fixture->dirfd, path);
	assert_true(fd >= 0);
	return fd;
}

static void write_lines(int fd, const char *file, const char *lines)
{
	assert_int_equal(file_write_atomic(fd, file, lines, strlen(lines), 0644), 0);
}

static bool has_line(char **lines, size_t count, const char *line)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(lines[i], line) == 0)
			return true;
	return false;
}

static void trees_of_checkpoints_are_in_use(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int pod = make_pod(fixture, "run", first_uuid, true);
	_cleanup_close_ int first = make_checkpoint(fixture, "first");
	_cleanup_close_ int second = make_checkpoint(fixture, "second");
	char **ids;
	size_t count;

	close(make_checkpoint(fixture, "third")); /* has none */
	write_lines(fixture->dirfd, "checkpoints/a-file", "x");
	assert_int_equal(mkdirat(fixture->dirfd, "checkpoints/in-the-making", 0750), 0);
	write_lines(pod, "trees", "of-the-pod\n");
	write_lines(first, "trees", "a\nb\n");
	write_lines(second, "trees", "c\n");
	assert_int_equal(pods_trees_in_use(fixture->pods, &ids, &count, NULL), 0);
	assert_true(has_line(ids, count, "a") && has_line(ids, count, "b"));
	assert_true(has_line(ids, count, "c") && has_line(ids, count, "of-the-pod"));
	pods_strings_free(ids, count);
}

/* Those of a pod that has ended are for nobody, but those of its apps are there to be looked at. */
static void debug_trees_are_in_use_until_the_pod_ends(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int running = make_pod(fixture, "run", first_uuid, true);
	_cleanup_close_ int ended = make_pod(fixture, "run", second_uuid, true);
	_cleanup_close_ int prepared = make_pod(fixture, "prepared", third_uuid, true);
	_cleanup_close_ int lock = lock_pod(running);
	_cleanup_close_ int checkpoint = make_checkpoint(fixture, "checkpoint");
	char **names;
	size_t count;

	write_lines(running, "debug", "of-running\n");
	write_lines(ended, "debug", "of-ended\n");
	write_lines(prepared, "debug", "of-prepared\n");
	write_lines(checkpoint, "debug", "of-checkpoint\n");
	write_lines(running, "trees", "another-list\n");
	write_lines(ended, "trees", "of-ended\n");
	assert_int_equal(pods_debug_trees_in_use(fixture->pods, &names, &count, NULL), 0);
	assert_true(has_line(names, count, "of-running"));
	assert_true(has_line(names, count, "of-prepared"));
	assert_true(has_line(names, count, "of-checkpoint"));
	assert_false(has_line(names, count, "of-ended"));
	assert_false(has_line(names, count, "another-list"));
	pods_strings_free(names, count);
	assert_int_equal(pods_trees_in_use(fixture->pods, &names, &count, NULL), 0);
	assert_true(has_line(names, count, "of-ended"));
	pods_strings_free(names, count);
}

/* Just before a directory below the pods' (or the checkpoints') is read, once: what becomes of what. */
static struct {
	int dirfd;
	const char *read; /* the end of the directory's path */
	int skip;         /* so many times before */
	const char *from, *to;
} move;

/* Stands before libc's. */
DIR *fdopendir(int fd)
{
	char link[32], path[128];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length > 0 ? length : 0] = '\0';
	if (move.read && length >= (ssize_t)strlen(move.read) &&
		strcmp(path + length - strlen(move.read), move.read) == 0 && move.skip-- == 0) {
		move.read = NULL;
		assert_int_equal(renameat(move.dirfd, move.from, move.dirfd, move.to), 0);
	}
	return ((__typeof__(&fdopendir))dlsym(RTLD_NEXT, "fdopendir"))(fd);
}

static void what_becomes_a_checkpoint_or_a_pod_meanwhile_is_in_use(void **state)
{
	static const char pod_path[] = "pods/run/11111111-2222-4333-8444-555555555555";
	static const char checkpoint_path[] = "checkpoints/name/pod";
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int pod = make_pod(fixture, "run", first_uuid, true);
	char **ids;
	size_t count;

	close(make_checkpoint(fixture, "name"));
	assert_int_equal(unlinkat(fixture->dirfd, checkpoint_path, AT_REMOVEDIR), 0);
	write_lines(pod, "trees", "tree\n");
	/* Between the first look at checkpoints and that at pods. */
	move = (__typeof__(move)){fixture->dirfd, "/pods/run", 0, pod_path, checkpoint_path};
	assert_int_equal(pods_trees_in_use(fixture->pods, &ids, &count, NULL), 0);
	assert_null(move.read);
	assert_true(has_line(ids, count, "tree"));
	pods_strings_free(ids, count);
	/* Between that at pods and the last one at checkpoints. */
	move = (__typeof__(move)){fixture->dirfd, "/checkpoints", 1, checkpoint_path, pod_path};
	assert_int_equal(pods_trees_in_use(fixture->pods, &ids, &count, NULL), 0);
	assert_null(move.read);
	assert_true(has_line(ids, count, "tree"));
	pods_strings_free(ids, count);
}

static void a_list_that_cannot_be_read_is_an_error(void **state)
{
	struct pod_fixture *fixture = *state;
	_cleanup_close_ int checkpoint = make_checkpoint(fixture, "checkpoint");
	struct error err;
	char **ids;
	size_t count;

	assert_int_equal(mkdirat(checkpoint, "trees", 0750), 0);
	assert_int_equal(pods_trees_in_use(fixture->pods, &ids, &count, &err), -EISDIR);
	assert_non_null(strstr(err.message, "checkpoints"));
}

static void clock_is_the_wall_clock(void **state)
{
	int64_t now = pod_now() / NANOSECONDS;

	(void)state;
	assert_in_range(now, time(NULL) - 10, time(NULL) + 10);
}

#define POD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POD_TEST(pod_goes_through_its_states),
		POD_TEST(a_pod_is_paused_for_all_to_see_until_it_goes_on_or_dies),
		POD_TEST(preparation_that_dies_is_aborted),
		POD_TEST(place_and_lock_say_the_state),
		POD_TEST(looking_at_a_pod_leaves_it_unlocked),
		POD_TEST(pod_is_found_by_the_beginning_of_its_uuid),
		POD_TEST(list_is_sorted_and_holds_uuids_only),
		POD_TEST(pod_seen_twice_is_listed_once),
		POD_TEST(link_in_the_place_of_a_pod_is_not_followed),
		POD_TEST(exited_pod_is_removed_with_all_it_has),
		POD_TEST(pod_that_is_marked_meanwhile_is_removed),
		POD_TEST(running_pod_is_not_removed),
		POD_TEST(half_removed_pod_is_removed_by_the_next),
		POD_TEST(pod_is_locked_while_it_is_removed),
		POD_TEST(exited_pods_are_marked_and_then_kept_for_their_grace),
		POD_TEST(without_a_grace_one_collection_marks_and_removes),
		POD_TEST(marking_removes_nothing),
		POD_TEST(collection_tells_what_it_does),
		POD_TEST(pod_that_is_read_is_not_removed),
		POD_TEST(killed_process_leaves_a_true_state_that_is_collected),
		POD_TEST(interrupted_transitions_are_completed_by_the_next_collection),
		POD_TEST(waits_last_until_the_pod_is_ready_and_until_its_end),
		POD_TEST(pod_that_dies_before_it_is_ready_ends_both_waits),
		POD_TEST(wait_for_a_prepared_pod_goes_on_when_it_runs),
		POD_TEST(wait_for_a_pod_that_is_removed_says_so),
		POD_TEST(running_pods_are_never_collected),
		POD_TEST(prepared_pods_expire),
		POD_TEST(young_embryos_are_left_alone),
		POD_TEST(pod_that_cannot_be_removed_does_not_stop_the_others),
		POD_TEST(records_are_read_back),
		POD_TEST(records_of_a_pod_that_ended_are_synced),
		POD_TEST(broken_records_are_errors),
		POD_TEST(trees_of_all_pods_are_in_use),
		POD_TEST(trees_of_checkpoints_are_in_use),
		POD_TEST(debug_trees_are_in_use_until_the_pod_ends),
		POD_TEST(what_becomes_a_checkpoint_or_a_pod_meanwhile_is_in_use),
		POD_TEST(a_list_that_cannot_be_read_is_an_error),
		POD_TEST(clock_is_the_wall_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
