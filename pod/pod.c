// SPDX-License-Identifier: Apache-2.0
/* pod.c: pod directories and their states. */
#include "pod/pod_parts.h"

#include "appc/manifest.h"
#include "base/file.h"
#include "base/json.h"
#include "pod/journal.h"
#include "pod/record.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LOCK_NAME   "lock"
#define RECORD_MAX  (1u << 20)
#define NANOSECONDS 1000000000ll

static const struct {
	const char *name;
	enum pod_state locked, unlocked;
} places[PLACES] = {
	{"embryo", POD_EMBRYO, POD_GARBAGE},
	{"prepare", POD_PREPARING, POD_ABORTED_PREPARE},
	{"prepared", POD_PREPARED, POD_PREPARED},
	{"run", POD_RUNNING, POD_EXITED},
	{"exited-garbage", POD_EXITED_DELETING, POD_EXITED_GARBAGE},
	{"garbage", POD_DELETING, POD_GARBAGE},
};

static const struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

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

struct flock pod_lock_of(short type, enum lock_byte byte)
{
	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
}

int pod_lock_take(int fd, short type, enum lock_byte byte)
{
	const struct flock lock = pod_lock_of(type, byte);

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

bool pod_lock_is_held(int fd, enum lock_byte byte)
{
	struct flock lock = pod_lock_of(F_RDLCK, byte);

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
	for (size_t i = 0; i < PLACES; i++)
		pods->fds[i] = -1;
	pods->data_fd = fcntl(data_dirfd, F_DUPFD_CLOEXEC, 0);
	if (pods->data_fd < 0) {
		int r = -errno;

		pods_close(pods);
		return error_set_errno(err, r, "data directory");
	}
	for (size_t i = 0; i < PLACES; i++) {
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
	for (size_t i = 0; i < PLACES; i++)
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
int pod_move(struct pod *pod, int from, int to, bool lasts)
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
	locked = pod.lock_fd >= 0 && pod_lock_is_held(pod.lock_fd, LOCK_LIFE);
	pod.state = locked ? places[place].locked : places[place].unlocked;
	pod.is_paused = pod.state == POD_RUNNING && !pod_lock_is_held(pod.lock_fd, LOCK_MOVES);
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

void pods_strings_done(struct pods_strings *strings)
{
	pods_strings_free(strings->items, strings->count);
}

int pods_strings_add(struct pods_strings *strings, const char *text)
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
static int pods_list_place(struct pods *pods, size_t place, struct pods_strings *strings)
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
		r = pods_strings_add(strings, uuid);
		if (r < 0)
			return r;
	}
	return 0;
}

int pods_list(struct pods *pods, char ***ret_uuids, size_t *ret_count, struct error *err)
{
	_cleanup_(pods_strings_done) struct pods_strings strings = {0};
	size_t kept = 0;

	for (size_t i = 0; i < PLACES; i++) {
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
	_cleanup_(pods_strings_done) struct pods_strings strings = {0};
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
	for (size_t i = 0; i < PLACES; i++) {
		r = pod_open_at(pods, i, match, ret);
		if (r != -ENOENT)
			return r < 0 ? error_set_errno(err, r, "pod %s", match) : 0;
	}
	return error_set(err, -ENOENT, "no matches found for \"%s\"", uuid);
}

int pod_place_of(const struct pod *pod)
{
	for (size_t i = 0; i < PLACES; i++)
		if (!strcmp(places[i].name, pod->place))
			return (int)i;
	return -1;
}

/* ---- locks, once more */

/* Why the pod cannot be locked, in rkt's words. */
static int pod_busy(const struct pod *pod, struct error *err)
{
	const char *what = "is being read";

	if (pod_lock_is_held(pod->lock_fd, LOCK_LIFE))
		switch (places[pod_place_of(pod)].locked) {
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

int pod_lock(struct pod *pod, short type, struct error *err)
{
	if (pod->lock_fd >= 0 && pod_lock_take(pod->lock_fd, type, LOCK_LIFE) < 0)
		return pod_busy(pod, err);
	return 0;
}

int pod_share(struct pod *pod, struct error *err)
{
	return pod_lock(pod, F_RDLCK, err);
}

int pod_set_ready(const struct pod *pod)
{
	return pod_lock_take(pod->lock_fd, F_UNLCK, LOCK_READY);
}

int pod_set_paused(const struct pod *pod, bool is_paused)
{
	return pod_lock_take(pod->lock_fd, is_paused ? F_UNLCK : F_WRLCK, LOCK_MOVES);
}

/* ---- records */

int pod_write_record(const struct pod *pod, const char *path, json_t *record)
{
	_cleanup_free_ char *text = json_text(record, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (!text)
		return -ENOMEM;
	return file_replace(pod->fd, path, text, strlen(text), 0640);
}

int pod_sync_place(const struct pod *pod)
{
	return fsync(pod->fd) < 0 || fsync(pod->pods->fds[pod_place_of(pod)]) < 0 ? -errno : 0;
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
