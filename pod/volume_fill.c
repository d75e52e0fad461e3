// SPDX-License-Identifier: Apache-2.0
/*
 * volume_fill.c: see volume_fill.h.
 *
 * Theory of operation: first all directories are opened, which the store and the pod are needed for; then they are
 * copied, by whoever it may be. So the child needs nothing but these and the lock, and keeps nothing else: it must not
 * hold open what others wait for the end of.
 */
#include "pod/volume_fill.h"

#include "base/child.h"
#include "base/file.h"
#include "base/tree_copy.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a volume may take over from its image. */
#define COPY_ENTRIES_MAX (1u << 20)
#define COPY_BYTES_MAX   (64ull << 30)

struct copy {
	const struct resolved_volume *volume;
	int source, target;
};

struct plan {
	struct copy *copies;
	size_t count;
};

static void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		cleanup_close(&plan->copies[i].source);
		cleanup_close(&plan->copies[i].target);
	}
	free(plan->copies);
}

/* A directory of an image, as a process in it would find it. Returns an fd or -errno. */
static int open_image_directory(
	struct store *store, const struct resolved_volume *volume, struct error *err)
{
	_cleanup_close_ int tree = store_open_tree(store, volume->copy_tree_id, err);

	return tree < 0 ? tree
			: file_open_in_root(tree, volume->copy_path, O_RDONLY | O_DIRECTORY, 0);
}

static int cannot_copy(const struct resolved_volume *volume, int r, struct error *err)
{
	return error_set_errno(err, r, "volume \"%s\": cannot copy \"%s\" of the image to it",
		volume->name, volume->copy_path);
}

static int plan_add(struct plan *plan, int volumes, const struct resolved_volume *volume,
	struct store *store, struct error *err)
{
	_cleanup_close_ int source = open_image_directory(store, volume, err);
	int target;

	/* Without one the volume stays empty. */
	if (source == -ENOENT || source == -ENOTDIR)
		return 0;
	if (source < 0)
		return cannot_copy(volume, source, err);
	target = directory_open(volumes, volume->name);
	if (target < 0)
		return cannot_copy(volume, target, err);
	plan->copies[plan->count++] =
		(struct copy){.volume = volume, .source = TAKE_FD(source), .target = target};
	return 0;
}

static int plan_make(struct plan *plan, const struct pod *pod, const struct resolved_pod *resolved,
	struct store *store, struct error *err)
{
	_cleanup_close_ int volumes = directory_open(pod->fd, "volumes");
	int r = 0;

	plan->copies = calloc(resolved->volume_count + 1, sizeof(plan->copies[0]));
	if (!plan->copies || volumes < 0)
		return error_set_errno(err, volumes < 0 ? volumes : -ENOMEM,
			"pod %s: cannot open its volumes", pod->uuid);
	for (size_t i = 0; r == 0 && i < resolved->volume_count; i++)
		if (resolved->volumes[i].copy_path)
			r = plan_add(plan, volumes, &resolved->volumes[i], store, err);
	return r;
}

static int plan_carry_out(const struct plan *plan, struct error *err)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct copy *copy = &plan->copies[i];
		struct tree_copy_limits limits = {
			.entries = COPY_ENTRIES_MAX, .bytes = COPY_BYTES_MAX};
		int r = tree_copy(copy->source, copy->target, &limits);

		if (r < 0)
			return cannot_copy(copy->volume, r, err);
	}
	return 0;
}

bool volume_fill_is_needed(const struct resolved_pod *resolved)
{
	for (size_t i = 0; i < resolved->volume_count; i++)
		if (resolved->volumes[i].copy_path)
			return true;
	return false;
}

int volume_fill(const struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	struct error *err)
{
	_cleanup_(plan_done) struct plan plan = {0};
	int r = plan_make(&plan, pod, resolved, store, err);

	return r < 0 ? r : plan_carry_out(&plan, err);
}

/* ---- in a child */

static int compare_fds(const void *a, const void *b)
{
	const int *first = a, *second = b;

	return (*first > *second) - (*first < *second);
}

/* All but standard streams and these. */
static int close_others(int *fds, size_t count)
{
	unsigned int next = CHILD_FIRST_FD;

	qsort(fds, count, sizeof(*fds), compare_fds);
	for (size_t i = 0; i < count; i++) {
		unsigned int fd = (unsigned int)fds[i];

		if (fd > next && syscall(SYS_close_range, next, fd - 1, 0) < 0)
			return -errno;
		next = fd + 1 > next ? fd + 1 : next;
	}
	return syscall(SYS_close_range, next, ~0u, 0) < 0 ? -errno : 0;
}

static int child_prepare(const struct plan *plan, const struct pod *pod, int message_fd)
{
	_cleanup_free_ int *fds = calloc(2 * plan->count + 2, sizeof(*fds));
	size_t count = 0;

	if (!fds)
		return -ENOMEM;
	for (size_t i = 0; i < plan->count; i++) {
		fds[count++] = plan->copies[i].source;
		fds[count++] = plan->copies[i].target;
	}
	fds[count++] = message_fd;
	if (pod->lock_fd >= 0)
		fds[count++] = pod->lock_fd;
	return close_others(fds, count);
}

static void __attribute__((noreturn))
child_run_plan(const struct plan *plan, const struct pod *pod, pid_t parent, int message_fd)
{
	struct error err = {0};
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	r = child_prepare(plan, pod, message_fd);
	if (r < 0)
		error_set_errno(&err, r, "cannot copy volumes");
	else
		r = plan_carry_out(plan, &err);
	if (r < 0)
		file_write_all(message_fd, err.message, strlen(err.message));
	_exit(r < 0 ? 1 : 0);
}

int volume_fill_begin(const struct pod *pod, const struct resolved_pod *resolved,
	struct store *store, struct volume_fill *ret, struct error *err)
{
	_cleanup_(plan_done) struct plan plan = {0};
	_cleanup_close_ int reader = -1, writer = -1;
	const pid_t parent = getpid();
	int r = plan_make(&plan, pod, resolved, store, err), ends[2];
	pid_t pid;

	*ret = VOLUME_FILL_NONE;
	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "cannot copy volumes");
	reader = ends[0];
	writer = ends[1];
	pid = fork();
	if (pid < 0)
		return error_set_errno(err, -errno, "cannot copy volumes");
	if (pid == 0)
		child_run_plan(&plan, pod, parent, writer);
	ret->pid = pid;
	ret->message_fd = TAKE_FD(reader);
	ret->pid_fd = pidfd_open(pid, 0);
	if (ret->pid_fd < 0) {
		r = error_set_errno(err, -errno, "cannot copy volumes");
		kill(pid, SIGKILL);
		child_wait(pid);
		cleanup_close(&ret->message_fd);
		*ret = VOLUME_FILL_NONE;
		return r;
	}
	return 0;
}

static void fill_close(struct volume_fill *fill)
{
	cleanup_close(&fill->pid_fd);
	cleanup_close(&fill->message_fd);
	*fill = VOLUME_FILL_NONE;
}

int volume_fill_end(struct volume_fill *fill, struct error *err)
{
	_cleanup_free_ char *message = NULL;
	int r = child_wait(fill->pid);

	if (r > 0) {
		if (file_read_fd(fill->message_fd, sizeof(err->message), &message, NULL) < 0 ||
			!*message)
			r = error_set(err, -EIO,
				"who copied the volumes' content ended with status %d", r);
		else
			r = error_set(err, -EIO, "%s", message);
	} else if (r < 0) {
		error_set_errno(err, r, "cannot copy volumes");
	}
	fill_close(fill);
	return r;
}

void volume_fill_abort(struct volume_fill *fill)
{
	if (fill->pid_fd < 0)
		return;
	kill(fill->pid, SIGKILL);
	child_wait(fill->pid);
	fill_close(fill);
}
