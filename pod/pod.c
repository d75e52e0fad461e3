// SPDX-License-Identifier: Apache-2.0
/* pod.c: pod directories and their states. */
#include "pod/pod.h"

#include "appc/manifest.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/cgroup.h"
#include "pod/journal.h"
#include "pod/record.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#define LOCK_NAME   "lock"
#define RECORD_MAX  (1u << 20)
#define TREES_MAX   (64u << 10)
#define NANOSECONDS 1000000000ll
#define EMBRYO_AGE  60 /* seconds after which an unlocked embryo is dead for sure */

static const struct {
	const char *name;
	enum pod_state locked, unlocked;
} places[] = {
	{"embryo", POD_EMBRYO, POD_GARBAGE},
	{"prepare", POD_PREPARING, POD_ABORTED_PREPARE},
	{"prepared", POD_PREPARED, POD_PREPARED},
	{"run", POD_RUNNING, POD_EXITED},
	{"exited-garbage", POD_EXITED_DELETING, POD_EXITED_GARBAGE},
	{"garbage", POD_DELETING, POD_GARBAGE},
};

enum {
	PLACE_EMBRYO,
	PLACE_PREPARE,
	PLACE_PREPARED,
	PLACE_RUN,
	PLACE_EXITED_GARBAGE,
	PLACE_GARBAGE
};

/*
 * Bytes of the lock file, see pod.h. Open file description locks live as long as any process that inherited
 * the fd, and, unlike those of flock(2), others can ask for them without taking them.
 */
enum lock_byte { LOCK_LIFE, LOCK_READY, LOCK_END, LOCK_MOVES };
static const struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

/* A waiter whose time is up is woken again and again, lest it missed the first time. */
#define WAKE_AGAIN_US 10000

struct pods {
	int data_fd;
	int fds[ARRAY_SIZE(places)];
};

const char *pod_state_name(enum pod_state state)
{
	static const char *const names[] = {
		[POD_EMBRYO] = "embryo",
		[POD_PREPARING] = "preparing",
		[POD_ABORTED_PREPARE] = "aborted prepare",
		[POD_PREPARED] = "prepared",
		[POD_RUNNING] = "running",
		[POD_EXITED] = "exited",
		[POD_EXITED_DELETING] = "exited deleting",
		[POD_EXITED_GARBAGE] = "exited garbage",
		[POD_DELETING] = "deleting",
		[POD_GARBAGE] = "garbage",
	};

	return names[state];
}

const char *pod_state_text(const struct pod *pod)
{
	return pod->is_paused ? "paused" : pod_state_name(pod->state);
}

bool pod_state_is_final(enum pod_state state)
{
	switch (state) {
	case POD_EMBRYO:
	case POD_PREPARING:
	case POD_PREPARED:
	case POD_RUNNING:
		return false;
	default:
		return true;
	}
}

static struct flock lock_of(short type, enum lock_byte byte)
{
	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
}

/* 0 or -errno; -EAGAIN: someone else has it. */
static int lock_take(int fd, short type, enum lock_byte byte)
{
	const struct flock lock = lock_of(type, byte);

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Whether another open file description holds the byte for writing. */
static bool lock_is_held(int fd, enum lock_byte byte)
{
	struct flock lock = lock_of(F_RDLCK, byte);

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int64_t pod_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * NANOSECONDS + now.tv_nsec;
}

int pods_open(int data_dirfd, struct pods **ret, struct error *err)
{
	struct pods *pods = malloc(sizeof(*pods));

	if (!pods)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		pods->fds[i] = -1;
	pods->data_fd = fcntl(data_dirfd, F_DUPFD_CLOEXEC, 0);
	if (pods->data_fd < 0) {
		int r = -errno;

		pods_close(pods);
		return error_set_errno(err, r, "data directory");
	}
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char path[64];
		int r;

		snprintf(path, sizeof(path), "pods/%s", places[i].name);
		r = directory_create_path(data_dirfd, path, 0750);
		if (r == 0)
			r = pods->fds[i] = directory_open(data_dirfd, path);
		if (r < 0) {
			pods_close(pods);
			return error_set_errno(err, r, "data directory: cannot open %s", path);
		}
	}
	*ret = pods;
	return 0;
}

void pods_close(struct pods *pods)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		cleanup_close(&pods->fds[i]);
	cleanup_close(&pods->data_fd);
	free(pods);
}

int pods_data_fd(const struct pods *pods)
{
	return pods->data_fd;
}

void pod_close(struct pod *pod)
{
	cleanup_close(&pod->fd);
	pod->fd = -1;
	cleanup_close(&pod->lock_fd);
	pod->lock_fd = -1;
}

/*
 * A move that lasts is on disk before anything else happens. Of a pod that runs at once nothing is promised before its
 * end (pod_records_sync()), and to wait for the disk would take longer than all else that it needs for a start.
 */
static int pod_move(struct pod *pod, int from, int to, bool lasts)
{
	int old_fd = pod->pods->fds[from], new_fd = pod->pods->fds[to];
	int r;

	if (lasts)
		r = directory_rename_new(old_fd, pod->uuid, new_fd, pod->uuid);
	else
		r = renameat2(old_fd, pod->uuid, new_fd, pod->uuid, RENAME_NOREPLACE) < 0 ? -errno
											  : 0;
	if (r == 0)
		pod->place = places[to].name;
	return r;
}

int pod_create(struct pods *pods, struct pod *ret, struct error *err)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r;

	pod.pods = pods;
	r = appc_uuid_create(pod.uuid);
	if (r < 0)
		return error_set_errno(err, r, "cannot make a UUID");
	if (mkdirat(pods->fds[PLACE_EMBRYO], pod.uuid, 0750) < 0)
		return error_set_errno(
			err, -errno, "cannot create the directory of pod %s", pod.uuid);
	pod.fd = directory_open(pods->fds[PLACE_EMBRYO], pod.uuid);
	if (pod.fd < 0)
		return error_set_errno(err, pod.fd, "pod %s", pod.uuid);
	pod.lock_fd = openat(pod.fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (pod.lock_fd < 0 || fcntl(pod.lock_fd, F_OFD_SETLK, &whole_file) < 0)
		return error_set_errno(err, -errno, "pod %s: cannot lock it", pod.uuid);
	r = pod_move(&pod, PLACE_EMBRYO, PLACE_PREPARE, false);
	if (r < 0)
		return error_set_errno(err, r, "pod %s", pod.uuid);
	pod.state = POD_PREPARING;
	*ret = pod;
	pod = POD_NONE;
	return 0;
}

int pod_start(struct pod *pod, struct error *err)
{
	bool was_prepared = pod->state == POD_PREPARED;
	int r = pod_move(
		pod, was_prepared ? PLACE_PREPARED : PLACE_PREPARE, PLACE_RUN, was_prepared);

	if (r == -ENOENT && was_prepared)
		return error_set(err, r, "pod \"%s\" is not prepared any more", pod->uuid);
	if (r < 0)
		return error_set_errno(err, r, "pod %s", pod->uuid);
	pod->state = POD_RUNNING;
	journal_add(pods_data_fd(pod->pods), pod->uuid, JOURNAL_STARTED, JOURNAL_NO_DETAILS);
	return 0;
}

int pod_finish_prepare(struct pod *pod, struct error *err)
{
	int r;

	/* From now on the pod is a promise: one sync for all of its files. */
	if (syncfs(pod->fd) < 0)
		return error_set_errno(err, -errno, "pod %s: cannot write it to disk", pod->uuid);
	r = pod_move(pod, PLACE_PREPARE, PLACE_PREPARED, true);
	if (r < 0)
		return error_set_errno(err, r, "pod %s", pod->uuid);
	pod->state = POD_PREPARED;
	cleanup_close(&pod->lock_fd);
	pod->lock_fd = -1;
	journal_add(pods_data_fd(pod->pods), pod->uuid, JOURNAL_PREPARED, JOURNAL_NO_DETAILS);
	return 0;
}

int pod_take_prepared(struct pod *pod, struct error *err)
{
	if (pod->state != POD_PREPARED)
		return error_set(err, -EINVAL, "pod \"%s\" is not prepared, it is %s", pod->uuid,
			pod_state_name(pod->state));
	/* One that has moved on meanwhile fails to start. */
	if (pod->lock_fd < 0 || fcntl(pod->lock_fd, F_OFD_SETLK, &whole_file) < 0)
		return error_set(err, -EBUSY, "pod \"%s\" is in use by another process", pod->uuid);
	return 0;
}

/* Opens uuid in one of the places. -ENOENT: not there. */
static int pod_open_at(struct pods *pods, size_t place, const char *uuid, struct pod *ret)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	bool locked;

	pod.pods = pods;
	pod.place = places[place].name;
	snprintf(pod.uuid, sizeof(pod.uuid), "%s", uuid);
	pod.fd = directory_open(pods->fds[place], uuid);
	if (pod.fd < 0)
		return pod.fd;
	pod.lock_fd = openat(pod.fd, LOCK_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	/* No lock file: its creator died at once, or is about to create it. */
	locked = pod.lock_fd >= 0 && lock_is_held(pod.lock_fd, LOCK_LIFE);
	pod.state = locked ? places[place].locked : places[place].unlocked;
	pod.is_paused = pod.state == POD_RUNNING && !lock_is_held(pod.lock_fd, LOCK_MOVES);
	*ret = pod;
	pod = POD_NONE;
	return 0;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void pods_strings_free(char **strings, size_t count)
{
	for (size_t i = 0; strings && i < count; i++)
		free(strings[i]);
	free(strings);
}

struct strings {
	char **items;
	size_t count;
};

static void strings_done(struct strings *strings)
{
	pods_strings_free(strings->items, strings->count);
}

static int strings_add(struct strings *strings, const char *text)
{
	char **items = realloc(strings->items, (strings->count + 1) * sizeof(char *));

	if (!items)
		return -ENOMEM;
	strings->items = items;
	items[strings->count] = strdup(text);
	if (!items[strings->count])
		return -ENOMEM;
	strings->count++;
	return 0;
}

/* Adds the names in one place to the list. */
static int pods_list_place(struct pods *pods, size_t place, struct strings *strings)
{
	_cleanup_closedir_ DIR *directory = NULL;
	char uuid[POD_UUID_SIZE];
	struct dirent *entry;
	int r = directory_open_stream(pods->fds[place], ".", &directory);

	if (r < 0)
		return r;
	while ((entry = readdir(directory))) {
		if (appc_uuid_parse(entry->d_name, uuid, NULL) < 0 || strcmp(uuid, entry->d_name))
			continue;
		r = strings_add(strings, uuid);
		if (r < 0)
			return r;
	}
	return 0;
}

int pods_list(struct pods *pods, char ***ret_uuids, size_t *ret_count, struct error *err)
{
	_cleanup_(strings_done) struct strings strings = {0};
	size_t kept = 0;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int r = pods_list_place(pods, i, &strings);

		if (r < 0)
			return error_set_errno(err, r, "cannot list pods");
	}
	if (strings.count > 0)
		qsort(strings.items, strings.count, sizeof(char *), compare_strings);
	/* A pod that moved while we looked may have been seen in two places. */
	for (size_t i = 0; i < strings.count; i++) {
		if (kept > 0 && !strcmp(strings.items[kept - 1], strings.items[i]))
			free(strings.items[i]);
		else
			strings.items[kept++] = strings.items[i];
	}
	*ret_uuids = TAKE_PTR(strings.items);
	*ret_count = kept;
	strings.count = 0;
	return 0;
}

int pod_open(struct pods *pods, const char *uuid, struct pod *ret, struct error *err)
{
	_cleanup_(strings_done) struct strings strings = {0};
	const char *match = NULL;
	int r;

	if (!*uuid)
		return error_set(err, -EINVAL, "UUID cannot be empty");
	r = pods_list(pods, &strings.items, &strings.count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < strings.count; i++) {
		if (strncasecmp(strings.items[i], uuid, strlen(uuid)))
			continue;
		if (match)
			return error_set(err, -ENOTUNIQ, "ambiguous UUID %s: matches %s and %s",
				uuid, match, strings.items[i]);
		match = strings.items[i];
	}
	if (!match)
		return error_set(err, -ENOENT, "no matches found for \"%s\"", uuid);
	/* States only go forward, so that a pod that moves on is found in a later place. */
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		r = pod_open_at(pods, i, match, ret);
		if (r != -ENOENT)
			return r < 0 ? error_set_errno(err, r, "pod %s", match) : 0;
	}
	return error_set(err, -ENOENT, "no matches found for \"%s\"", uuid);
}

static int place_of(const struct pod *pod)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (!strcmp(places[i].name, pod->place))
			return (int)i;
	return -1;
}

/* ---- locks, once more */

/* Why the pod cannot be locked, in rkt's words. */
static int pod_busy(const struct pod *pod, struct error *err)
{
	const char *what = "is being read";

	if (lock_is_held(pod->lock_fd, LOCK_LIFE))
		switch (places[place_of(pod)].locked) {
		case POD_EMBRYO:
		case POD_PREPARING:
			what = "is currently being prepared";
			break;
		case POD_PREPARED:
		case POD_RUNNING:
			what = "is currently running";
			break;
		default:
			what = "is currently being deleted";
		}
	return error_set(err, -EBUSY, "pod \"%s\" %s", pod->uuid, what);
}

/* A pod without a lock file died before it had one: nobody contends for it. */
static int pod_lock(struct pod *pod, short type, struct error *err)
{
	if (pod->lock_fd >= 0 && lock_take(pod->lock_fd, type, LOCK_LIFE) < 0)
		return pod_busy(pod, err);
	return 0;
}

int pod_share(struct pod *pod, struct error *err)
{
	return pod_lock(pod, F_RDLCK, err);
}

int pod_set_ready(const struct pod *pod)
{
	return lock_take(pod->lock_fd, F_UNLCK, LOCK_READY);
}

int pod_set_paused(const struct pod *pod, bool is_paused)
{
	return lock_take(pod->lock_fd, is_paused ? F_UNLCK : F_WRLCK, LOCK_MOVES);
}

/* ---- waiting */

static void wake(int signal)
{
	(void)signal;
}

/* Interrupts system calls with SIGALRM from the deadline on. */
static void alarm_set(int64_t deadline)
{
	int64_t left = deadline - clock_monotonic();
	struct itimerval timer = {.it_interval.tv_usec = WAKE_AGAIN_US};

	if (left < 1000)
		left = 1000;
	timer.it_value.tv_sec = left / NANOSECONDS;
	timer.it_value.tv_usec = left % NANOSECONDS / 1000;
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Waits until nobody holds the byte for writing. deadline: of CLOCK_MONOTONIC; 0: none. */
static int lock_wait(int fd, enum lock_byte byte, int64_t deadline)
{
	static const struct itimerval off = {0};
	const struct sigaction action = {.sa_handler = wake};
	const struct flock lock = lock_of(F_RDLCK, byte);
	struct sigaction old;
	int r;

	if (deadline) {
		sigaction(SIGALRM, &action, &old);
		alarm_set(deadline);
	}
	do
		r = fcntl(fd, F_OFD_SETLKW, &lock) < 0 ? -errno : 0;
	while (r == -EINTR && !(deadline && clock_monotonic() >= deadline));
	if (deadline) {
		setitimer(ITIMER_REAL, &off, NULL);
		sigaction(SIGALRM, &old, NULL);
	}
	if (r == 0)
		lock_take(fd, F_UNLCK, byte);
	return r == -EINTR ? -ETIMEDOUT : r;
}

/* Nobody holds the lock of a prepared pod: it is its move to another place that shows. */
static int move_wait(int inotify_fd, int64_t deadline)
{
	struct pollfd fd = {.fd = inotify_fd, .events = POLLIN};
	struct timespec left = {0};
	int64_t time = deadline - clock_monotonic();
	int n;

	if (time > 0)
		left = (struct timespec){time / NANOSECONDS, time % NANOSECONDS};
	n = ppoll(&fd, 1, deadline ? &left : NULL, NULL);
	if (n < 0 && errno != EINTR)
		return -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

static int watch_prepared(struct pods *pods)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", pods->fds[PLACE_PREPARED]);
	if (fd < 0 || inotify_add_watch(fd, path, IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Waits for whatever changes the pod next. 0; 1: what was waited for is there; -errno. */
static int wait_once(struct pods *pods, const char *uuid, enum pod_event event, int64_t deadline,
	struct error *err)
{
	enum lock_byte byte = event == POD_EVENT_READY ? LOCK_READY : LOCK_END;
	_cleanup_pod_ struct pod pod = POD_NONE;
	_cleanup_close_ int prepared = watch_prepared(pods);
	int r;

	if (prepared < 0)
		return error_set_errno(err, prepared, "cannot watch pods");
	r = pod_open(pods, uuid, &pod, err);
	if (r < 0)
		return r;
	if (pod_state_is_final(pod.state))
		return 1;
	if (pod.state == POD_PREPARED && !lock_is_held(pod.lock_fd, LOCK_LIFE))
		r = move_wait(prepared, deadline);
	else if (pod.state == POD_RUNNING && event == POD_EVENT_READY &&
		!lock_is_held(pod.lock_fd, LOCK_READY))
		return 1;
	else
		r = lock_wait(pod.lock_fd, byte, deadline);
	return r < 0 ? error_set_errno(err, r, "pod %s", uuid) : 0;
}

int pod_wait(struct pods *pods, const char *uuid, enum pod_event event, int64_t timeout,
	struct error *err)
{
	int64_t now = clock_monotonic();
	/* What 64 bits do not hold is as good as for ever. */
	int64_t deadline = timeout < 0 || timeout > INT64_MAX - now ? 0 : now + timeout;
	int r;

	do
		r = wait_once(pods, uuid, event, deadline, err);
	while (r == 0);
	return r < 0 ? r : 0;
}

/* ---- removal */

int pod_remove(struct pod *pod, struct error *err)
{
	_cleanup_(pod_run_record_done) struct pod_run_record run = {0};
	int place = place_of(pod), r;

	/* Whoever gets the lock removes it. */
	r = pod_lock(pod, F_WRLCK, err);
	if (r < 0)
		return r;
	if (place != PLACE_GARBAGE) {
		r = pod_move(pod, place, PLACE_GARBAGE, true);
		if (r < 0)
			return error_set_errno(
				err, r, "pod %s: cannot move it to garbage", pod->uuid);
	}
	if (pod_run_record_read(pod, &run) == 0) {
		if (run.cgroup)
			pod_cgroup_remove(run.cgroup);
		pod_cgroup_remove_recorded(run.cgroups);
	}
	r = directory_remove(pod->pods->fds[PLACE_GARBAGE], pod->uuid);
	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot remove it", pod->uuid);
	journal_add(pods_data_fd(pod->pods), pod->uuid, JOURNAL_REMOVED, JOURNAL_NO_DETAILS);
	return 0;
}

/* ---- garbage collection */

/* Nanoseconds since the pod's directory last changed. */
static int64_t pod_age(const struct pod *pod)
{
	struct stat st;

	if (fstat(pod->fd, &st) < 0)
		return 0;
	return pod_now() - (st.st_mtim.tv_sec * NANOSECONDS + st.st_mtim.tv_nsec);
}

static void gc_report(
	const struct pods_gc_options *options, const struct pod *pod, enum pods_gc_event event)
{
	if (options->report)
		options->report(options->context, pod->uuid, event);
}

/* The pod's age counts from now on; killed between the two steps we have done no harm. */
static int pod_mark(struct pod *pod)
{
	if (futimens(pod->fd, NULL) < 0)
		return -errno;
	return pod_move(pod, PLACE_RUN, PLACE_EXITED_GARBAGE, true);
}

/* The first pass. 0 or -errno; -ENOENT: another was quicker. */
static int gc_mark(struct pod *pod, const struct pods_gc_options *options, struct error *err)
{
	enum pods_gc_event event;
	int r;

	switch (pod->state) {
	case POD_EXITED:
		event = PODS_GC_MARKED;
		r = pod_mark(pod);
		break;
	case POD_ABORTED_PREPARE:
		event = PODS_GC_ABORTED;
		r = pod_move(pod, PLACE_PREPARE, PLACE_GARBAGE, true);
		break;
	case POD_PREPARED:
		if (options->mark_only || pod_age(pod) < options->expire_prepared * NANOSECONDS ||
			pod_lock(pod, F_WRLCK, NULL) < 0)
			return 0;
		event = PODS_GC_EXPIRED;
		r = pod_move(pod, PLACE_PREPARED, PLACE_GARBAGE, true);
		break;
	default:
		return 0;
	}
	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot mark it as garbage", pod->uuid);
	journal_add(pods_data_fd(pod->pods), pod->uuid, JOURNAL_GARBAGE, JOURNAL_NO_DETAILS);
	gc_report(options, pod, event);
	return 0;
}

static bool pod_is_garbage(const struct pod *pod, const struct pods_gc_options *options)
{
	switch (pod->state) {
	case POD_GARBAGE:
		/* The creator of an embryo may be just about to lock it. */
		return strcmp(pod->place, places[PLACE_EMBRYO].name) != 0 ||
			pod_age(pod) >= EMBRYO_AGE * NANOSECONDS;
	case POD_EXITED_GARBAGE:
		return pod_age(pod) >= options->grace * NANOSECONDS;
	default:
		return false;
	}
}

/* The second pass; -EBUSY: another is at it. */
static int gc_remove(
	struct pod *pod, const struct pods_gc_options *options, size_t *removed, struct error *err)
{
	int r;

	if (!pod_is_garbage(pod, options)) {
		if (pod->state == POD_EXITED_GARBAGE)
			gc_report(options, pod, PODS_GC_KEPT);
		return 0;
	}
	r = pod_remove(pod, err);
	if (r == 0) {
		(*removed)++;
		gc_report(options, pod, PODS_GC_REMOVED);
	}
	return r;
}

/* One pass over all pods; what fails for one is said and does not save the others. */
static int gc_pass(struct pods *pods, const struct strings *uuids, bool marking,
	const struct pods_gc_options *options, size_t *removed, struct error *err)
{
	int result = 0, r;

	for (size_t i = 0; i < uuids->count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;
		struct error error = {0};

		/* Another gc may have been quicker. */
		if (pod_open(pods, uuids->items[i], &pod, NULL) < 0)
			continue;
		r = marking ? gc_mark(&pod, options, &error)
			    : gc_remove(&pod, options, removed, &error);
		if (r == 0 || r == -ENOENT || r == -EBUSY)
			continue;
		/* The first is the command's own; it is told last. */
		if (result < 0)
			log_warning("%s", error_text(&error, r));
		else
			result = error_set(err, r, "%s", error_text(&error, r));
	}
	return result;
}

int pods_gc(struct pods *pods, const struct pods_gc_options *options, size_t *ret_removed,
	struct error *err)
{
	_cleanup_(strings_done) struct strings uuids = {0};
	int marked, removed = 0, r;

	*ret_removed = 0;
	r = pods_list(pods, &uuids.items, &uuids.count, err);
	if (r < 0)
		return r;
	marked = gc_pass(pods, &uuids, true, options, ret_removed, err);
	if (!options->mark_only)
		removed = gc_pass(pods, &uuids, false, options, ret_removed, err);
	return marked < 0 ? marked : removed;
}

/* Adds the lines of a file. */
static int lines_add(int fd, const char *file, struct strings *ids)
{
	_cleanup_free_ char *text = NULL;
	char *rest;
	int r = file_read(fd, file, TREES_MAX, &text, NULL);

	/* One that has gone, is only being made, or is no directory at all uses none. */
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	rest = text;
	for (char *line; r >= 0 && (line = strsep(&rest, "\n"));)
		if (*line)
			r = strings_add(ids, line);
	return r;
}

/* Those of checkpoints (pod/checkpoint.h), and of those in the making. */
static int checkpoints_trees_add(const struct pods *pods, struct strings *ids)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(pods->data_fd, "checkpoints", &directory);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		_cleanup_close_ int pod_fd = -1;
		char path[NAME_MAX + 8];

		snprintf(path, sizeof(path), "%s/pod", entry->d_name);
		pod_fd = directory_open(dirfd(directory), path);
		r = pod_fd < 0 ? pod_fd : lines_add(pod_fd, POD_TREES, ids);
		if (r < 0 && r != -ENOENT && r != -ENOTDIR)
			return r;
	}
	return -errno;
}

/* The lines of a file that pods have: all pods, or those that run. */
static int pods_lines(struct pods *pods, const char *file, bool running_only, struct strings *ids,
	struct error *err)
{
	_cleanup_(strings_done) struct strings uuids = {0};
	int r;

	r = pods_list(pods, &uuids.items, &uuids.count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < uuids.count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;

		r = pod_open(pods, uuids.items[i], &pod, NULL);
		if (r == 0 && running_only && pod.state != POD_RUNNING)
			continue;
		if (r == 0)
			r = lines_add(pod.fd, file, ids);
		if (r < 0 && r != -ENOENT && r != -ENOTDIR)
			return error_set_errno(
				err, r, "pod %s: cannot read its list of trees", uuids.items[i]);
	}
	return 0;
}

static void strings_give(struct strings *strings, char ***ret, size_t *ret_count)
{
	*ret = TAKE_PTR(strings->items);
	*ret_count = strings->count;
	strings->count = 0;
}

int pods_trees_in_use(struct pods *pods, char ***ret_ids, size_t *ret_count, struct error *err)
{
	_cleanup_(strings_done) struct strings ids = {0};
	int r = pods_lines(pods, POD_TREES, false, &ids, err);

	if (r < 0)
		return r;
	r = checkpoints_trees_add(pods, &ids);
	if (r < 0)
		return error_set_errno(err, r, "cannot read the trees of checkpoints");
	strings_give(&ids, ret_ids, ret_count);
	return 0;
}

int pods_debug_trees_in_use(
	struct pods *pods, char ***ret_names, size_t *ret_count, struct error *err)
{
	_cleanup_(strings_done) struct strings names = {0};
	int r = pods_lines(pods, POD_DEBUG_TREE, true, &names, err);

	if (r < 0)
		return r;
	strings_give(&names, ret_names, ret_count);
	return 0;
}

int pod_write_record(const struct pod *pod, const char *path, json_t *record)
{
	_cleanup_free_ char *text = json_text(record, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (!text)
		return -ENOMEM;
	return file_replace(pod->fd, path, text, strlen(text), 0640);
}

int pod_sync_place(const struct pod *pod)
{
	return fsync(pod->fd) < 0 || fsync(pod->pods->fds[place_of(pod)]) < 0 ? -errno : 0;
}

int pod_read_record(const struct pod *pod, const char *path, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(pod->fd, path, RECORD_MAX, &text, &length);

	if (r < 0)
		return r;
	return json_parse(text, length, path, ret, NULL);
}
