// SPDX-License-Identifier: Apache-2.0
/* pod_gc.c: pods that go, and what those that are there still need. */
#include "base/file.h"
#include "base/log.h"
#include "pod/cgroup.h"
#include "pod/journal.h"
#include "pod/pod_parts.h"
#include "pod/record.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define TREES_MAX   (64u << 10)
#define NANOSECONDS 1000000000ll
#define EMBRYO_AGE  60 /* seconds after which an unlocked embryo is dead for sure */

/* ---- removal */

/* gc marks what has ended without the lock: since the pod was opened it may have been moved on. */
static int move_to_garbage(struct pod *pod)
{
	int place = pod_place_of(pod), r;

	if (place == PLACE_GARBAGE)
		return 0;
	r = pod_move(pod, place, PLACE_GARBAGE, true);
	if (r == -ENOENT && place == PLACE_RUN)
		r = pod_move(pod, PLACE_EXITED_GARBAGE, PLACE_GARBAGE, true);
	if (r == -ENOENT && faccessat(pod->pods->fds[PLACE_GARBAGE], pod->uuid, F_OK, 0) == 0)
		r = 0;
	return r;
}

int pod_remove(struct pod *pod, struct error *err)
{
	_cleanup_(pod_run_record_done) struct pod_run_record run = {0};
	int r;

	/* Whoever gets the lock removes it. */
	r = pod_lock(pod, F_WRLCK, err);
	if (r < 0)
		return r;
	r = move_to_garbage(pod);
	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot move it to garbage", pod->uuid);
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
		return pod_place_of(pod) != PLACE_EMBRYO ||
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

/* One pass over all pods; what fails for one is said and does not save the others. result: of the pass before. */
static int gc_pass(struct pods *pods, const struct pods_strings *uuids, bool marking,
	const struct pods_gc_options *options, size_t *removed, int result, struct error *err)
{
	int r;

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
	_cleanup_(pods_strings_done) struct pods_strings uuids = {0};
	int r;

	*ret_removed = 0;
	r = pods_list(pods, &uuids.items, &uuids.count, err);
	if (r < 0)
		return r;
	r = gc_pass(pods, &uuids, true, options, ret_removed, 0, err);
	if (!options->mark_only)
		r = gc_pass(pods, &uuids, false, options, ret_removed, r, err);
	return r;
}

/* ---- what pods use */

/* Adds the lines of a file. */
static int lines_add(int fd, const char *file, struct pods_strings *ids)
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
			r = pods_strings_add(ids, line);
	return r;
}

/* The lines of a file that checkpoints (pod/checkpoint.h) have, and those in the making. */
static int checkpoints_lines(const struct pods *pods, const char *file, struct pods_strings *ids)
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
		r = pod_fd < 0 ? pod_fd : lines_add(pod_fd, file, ids);
		if (r < 0 && r != -ENOENT && r != -ENOTDIR)
			return r;
	}
	return -errno;
}

/* The lines of a file that pods have: all pods, or those that have not ended. */
static int pods_lines(struct pods *pods, const char *file, bool not_ended, struct pods_strings *ids,
	struct error *err)
{
	_cleanup_(pods_strings_done) struct pods_strings uuids = {0};
	int r;

	r = pods_list(pods, &uuids.items, &uuids.count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < uuids.count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;

		r = pod_open(pods, uuids.items[i], &pod, NULL);
		if (r == 0 && not_ended && pod.state > POD_RUNNING)
			continue;
		if (r == 0)
			r = lines_add(pod.fd, file, ids);
		if (r < 0 && r != -ENOENT && r != -ENOTDIR)
			return error_set_errno(
				err, r, "pod %s: cannot read its list of trees", uuids.items[i]);
	}
	return 0;
}

static void strings_give(struct pods_strings *strings, char ***ret, size_t *ret_count)
{
	*ret = TAKE_PTR(strings->items);
	*ret_count = strings->count;
	strings->count = 0;
}

/* A pod may become a checkpoint meanwhile, and a checkpoint a pod: checkpoints are read before the pods and after them. */
static int lines_in_use(struct pods *pods, const char *file, bool not_ended, char ***ret,
	size_t *ret_count, struct error *err)
{
	_cleanup_(pods_strings_done) struct pods_strings lines = {0};
	int r = 0;

	for (int i = 0; r == 0 && i < 2; i++) {
		r = checkpoints_lines(pods, file, &lines);
		if (r < 0)
			return error_set_errno(err, r, "cannot read the trees of checkpoints");
		if (i == 0)
			r = pods_lines(pods, file, not_ended, &lines, err);
	}
	if (r == 0)
		strings_give(&lines, ret, ret_count);
	return r;
}

int pods_trees_in_use(struct pods *pods, char ***ret_ids, size_t *ret_count, struct error *err)
{
	return lines_in_use(pods, POD_TREES, false, ret_ids, ret_count, err);
}

int pods_debug_trees_in_use(
	struct pods *pods, char ***ret_names, size_t *ret_count, struct error *err)
{
	return lines_in_use(pods, POD_DEBUG_TREE, true, ret_names, ret_count, err);
}
