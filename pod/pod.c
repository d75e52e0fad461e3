// SPDX-License-Identifier: Apache-2.0
/* pod.c: pod directories and their states. */
#include "pod/pod.h"

#include "appc/manifest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/cgroup.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
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
 * An open file description lock: it lives as long as any process that inherited the fd, and, unlike
 * flock(2), others can ask for it without taking it.
 */
static const struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

struct pods {
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
	free(pods);
}

void pod_close(struct pod *pod)
{
	cleanup_close(&pod->fd);
	pod->fd = -1;
	cleanup_close(&pod->lock_fd);
	pod->lock_fd = -1;
}

static int pod_move(struct pod *pod, int from, int to)
{
	int r = directory_rename_new(
		pod->pods->fds[from], pod->uuid, pod->pods->fds[to], pod->uuid);

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
	r = pod_move(&pod, PLACE_EMBRYO, PLACE_PREPARE);
	if (r < 0)
		return error_set_errno(err, r, "pod %s", pod.uuid);
	pod.state = POD_PREPARING;
	*ret = pod;
	pod = POD_NONE;
	return 0;
}

int pod_start(struct pod *pod, struct error *err)
{
	int r;

	/* Every file of the preparation is on disk already: file_write_atomic(). */
	r = pod_move(pod, PLACE_PREPARE, PLACE_RUN);
	if (r < 0)
		return error_set_errno(err, r, "pod %s", pod->uuid);
	pod->state = POD_RUNNING;
	return 0;
}

/* Opens uuid in one of the places. -ENOENT: not there. */
static int pod_open_at(struct pods *pods, size_t place, const char *uuid, struct pod *ret)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	struct flock holder = whole_file;
	bool locked;

	pod.pods = pods;
	pod.place = places[place].name;
	snprintf(pod.uuid, sizeof(pod.uuid), "%s", uuid);
	pod.fd = directory_open(pods->fds[place], uuid);
	if (pod.fd < 0)
		return pod.fd;
	pod.lock_fd = openat(pod.fd, LOCK_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	/* No lock file: its creator died at once, or is about to create it. */
	locked = pod.lock_fd >= 0 && fcntl(pod.lock_fd, F_OFD_GETLK, &holder) == 0 &&
		holder.l_type != F_UNLCK;
	pod.state = locked ? places[place].locked : places[place].unlocked;
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
	/* A fresh description: a duplicate would share the reading position with other listings. */
	int fd = openat(pods->fds[place], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		cleanup_close(&fd);
		return -errno;
	}
	while ((entry = readdir(directory))) {
		int r;

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

int pod_remove(struct pod *pod, struct error *err)
{
	_cleanup_json_ json_t *run = NULL;
	int place = place_of(pod), r;

	/* Whoever gets the lock removes it; a pod without a lock file died before it had one. */
	if (pod->lock_fd >= 0 && fcntl(pod->lock_fd, F_OFD_SETLK, &whole_file) < 0)
		return error_set(err, -EBUSY, "pod %s is %s", pod->uuid,
			pod_state_name(places[place].locked));
	if (place != PLACE_GARBAGE) {
		r = pod_move(pod, place, PLACE_GARBAGE);
		if (r < 0)
			return error_set_errno(
				err, r, "pod %s: cannot move it to garbage", pod->uuid);
	}
	if (pod_read_record(pod, "run.json", &run) == 0) {
		const char *cgroup = json_string_value(json_object_get(run, "cgroup"));

		if (cgroup)
			pod_cgroup_remove(cgroup);
	}
	r = directory_remove(pod->pods->fds[PLACE_GARBAGE], pod->uuid);
	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot remove it", pod->uuid);
	return 0;
}

/* When the pod ended, as well as we know: its record, or the last change of its directory. */
static int64_t pod_end_time(const struct pod *pod)
{
	_cleanup_json_ json_t *record = NULL;
	struct stat st;

	if (pod_read_record(pod, "end.json", &record) == 0)
		return json_integer_value(json_object_get(record, "finished_at"));
	return fstat(pod->fd, &st) < 0 ? 0 : st.st_mtim.tv_sec * NANOSECONDS;
}

static bool pod_is_garbage(const struct pod *pod, const struct pods_gc_options *options)
{
	int64_t now = pod_now();

	/* Its creator may be just about to lock it. */
	if (!strcmp(pod->place, places[PLACE_EMBRYO].name) &&
		now - pod_end_time(pod) < EMBRYO_AGE * NANOSECONDS)
		return false;
	switch (pod->state) {
	case POD_ABORTED_PREPARE:
	case POD_EXITED_GARBAGE:
	case POD_GARBAGE:
		return true;
	case POD_PREPARED:
		return now - pod_end_time(pod) >= options->expire_prepared * NANOSECONDS;
	case POD_EXITED:
		return now - pod_end_time(pod) >= options->grace * NANOSECONDS;
	default:
		return false;
	}
}

int pods_gc(struct pods *pods, const struct pods_gc_options *options, size_t *ret_removed,
	struct error *err)
{
	_cleanup_(strings_done) struct strings strings = {0};
	int result = 0, r;

	*ret_removed = 0;
	r = pods_list(pods, &strings.items, &strings.count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < strings.count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;
		struct error error;

		/* Another gc may have been quicker. */
		if (pod_open(pods, strings.items[i], &pod, NULL) < 0 ||
			!pod_is_garbage(&pod, options))
			continue;
		r = pod_remove(&pod, &error);
		if (r == 0)
			(*ret_removed)++;
		else if (r != -EBUSY) {
			log_warning("%s", error.message);
			result = error_set(err, r, "%s", error.message);
		}
	}
	return result;
}

int pods_trees_in_use(struct pods *pods, char ***ret_ids, size_t *ret_count, struct error *err)
{
	_cleanup_(strings_done) struct strings uuids = {0}, ids = {0};
	int r;

	r = pods_list(pods, &uuids.items, &uuids.count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < uuids.count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;
		_cleanup_free_ char *text = NULL;
		char *rest;

		/* One that has gone, or is only being made, uses none. */
		r = pod_open(pods, uuids.items[i], &pod, NULL);
		if (r == 0)
			r = file_read(pod.fd, "trees", TREES_MAX, &text, NULL);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return error_set_errno(
				err, r, "pod %s: cannot read its list of trees", uuids.items[i]);
		rest = text;
		for (char *line; (line = strsep(&rest, "\n"));) {
			if (!*line)
				continue;
			r = strings_add(&ids, line);
			if (r < 0)
				return error_set_errno(err, r, "cannot list trees");
		}
	}
	*ret_ids = TAKE_PTR(ids.items);
	*ret_count = ids.count;
	ids.count = 0;
	return 0;
}

int pod_write_record(const struct pod *pod, const char *path, json_t *record)
{
	_cleanup_free_ char *text = json_dumps(record, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	if (!text)
		return -ENOMEM;
	return file_write_atomic(pod->fd, path, text, strlen(text), 0640);
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
