// SPDX-License-Identifier: Apache-2.0
/*
 * template.c: boots a machine to park it.
 *
 * The machine is started like that of a pod, but for the tree, which is empty but for the directories
 * that every pod's has, and the messages: there are none, so it parks at its first chance.
 */
#include "pod/template.h"

#include "base/file.h"
#include "base/log.h"
#include "pod/parking.h"

#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* An emulated kernel on a busy host takes a minute. */
#define BOOT_MS 600000

/* The tree is mounted on this directory of the template in the making. */
#define TREE_NAME "tree"

static int mount_tree(const struct template_builder *builder, int *ret_fd)
{
	_cleanup_close_ int tree = -1;
	char target[64];
	int r;

	snprintf(target, sizeof(target), "/proc/self/fd/%d/" TREE_NAME, builder->directory_fd);
	if (mkdirat(builder->directory_fd, TREE_NAME, 0700) < 0 ||
		mount("pod", target, "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC,
			"mode=0755,size=64k") < 0)
		return -errno;
	tree = directory_open(builder->directory_fd, TREE_NAME);
	if (tree < 0)
		return tree;
	r = directory_create_path(tree, "apps", 0755);
	if (r == 0)
		r = directory_create_path(tree, "volumes", 0755);
	if (r == 0)
		*ret_fd = TAKE_FD(tree);
	return r;
}

/* When the machine is gone: its mount namespace has this directory as a mount point, too. */
static void unmount_tree(const struct template_builder *builder)
{
	char target[64];

	snprintf(target, sizeof(target), "/proc/self/fd/%d/" TREE_NAME, builder->directory_fd);
	umount2(target, MNT_DETACH);
	unlinkat(builder->directory_fd, TREE_NAME, AT_REMOVEDIR);
}

static int boot_and_park(const struct template_builder *builder,
	const struct template_subject *subject, int tree_fd, struct parking *parking,
	struct error *err)
{
	/* Any subtree that others change makes the session of the file system another one. */
	static const struct virtio_fs_export shared = {"volumes", VIRTIO_FS_SHARED};
	const struct flavour_options flavour = {
		.vsock_fd = -1,
		.tree_fd = tree_fd,
		.lock_fd = builder->lock_fd,
		.init_fd = subject->init_fd,
		.kernel_fd = subject->kernel_fd,
		.vcpus = subject->vcpus,
		.memory = subject->memory,
		.park = builder,
		.exports = &shared,
		.export_count = subject->shared ? 1 : 0,
		.dax = subject->dax,
		.net_kind = subject->net_kind,
		.net_fd = -1,
		.kernel_messages = subject->kernel_messages,
		.extra_command_line = subject->extra_command_line,
		.user = jail_user(builder->key),
	};

	return parking_run(parking, &flavour, err);
}

static int build(const struct template_builder *builder, const struct template_subject *subject,
	struct parking *parking, struct error *err)
{
	_cleanup_close_ int tree = -1;
	int r = mount_tree(builder, &tree);

	if (r < 0)
		error_set_errno(err, r, "cannot make its tree");
	else
		r = boot_and_park(builder, subject, tree, parking, err);
	unmount_tree(builder);
	return r;
}

static int begin_and_build(struct templates *templates, const struct template_subject *subject,
	const char *key, struct parking *parking, struct error *err)
{
	struct template_builder builder;
	int r;

	r = template_build_begin(
		templates, key, true, parking_tell_waiting, parking, &builder, err);
	parking_end_line(parking);
	if (r == -EEXIST)
		return 0;
	if (r < 0)
		return r == -ECANCELED ? -EINTR : r;
	r = build(&builder, subject, parking, err);
	if (r == 0)
		r = template_build_commit(&builder, subject, err);
	else
		template_build_abort(&builder);
	if (r == 0)
		log_debug("built template %.12s", key);
	return r < 0 ? error_prefix(err, r, "cannot make a template") : 0;
}

int pod_template_build(
	struct templates *templates, const struct template_subject *subject, struct error *err)
{
	struct parking parking = {.subject = subject, .doing = "booting", .limit_ms = BOOT_MS};
	char key[TEMPLATE_KEY_SIZE];
	int r;

	if (subject->pod)
		return error_set(err, -EINVAL, "a pod is parked from a template, not booted");
	r = template_key(templates, subject, key, err);
	if (r == 0)
		r = parking_begin(&parking, err);
	if (r < 0)
		return r;
	r = begin_and_build(templates, subject, key, &parking, err);
	parking_end(&parking);
	return r;
}

int pod_template_open(
	struct templates *templates, const char *key, struct template *ret, struct error *err)
{
	int r = template_open(templates, key, ret, err), fd;

	if (r < 0)
		return r;
	fd = file_reopen_read_only(ret->memory_fd);
	if (fd < 0) {
		template_close(ret);
		return error_set_errno(
			err, fd, "template %.12s: cannot protect its memory from the VMM", key);
	}
	close(ret->memory_fd);
	ret->memory_fd = fd;
	return 0;
}
