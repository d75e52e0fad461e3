// SPDX-License-Identifier: Apache-2.0
/* render-extract.c: writes what the plan gave to each layer. */
#include "store/render-parts.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* ---- directories of the tree */

static int node_failure(struct render *render, uint32_t node, int r, const char *what)
{
	char path[ACI_PATH_SIZE];

	if (name_tree_path(&render->names, node, path, sizeof(path)) < 0)
		snprintf(path, sizeof(path), "an entry");
	return error_set_errno(render->err, r, "cannot %s \"%s\" of image %s", what, path,
		render->layers.items[0].id);
}

/* Opens a directory of the tree. Returns a new fd. */
static int node_open_directory(struct render *render, uint32_t node, int flags)
{
	char path[ACI_PATH_SIZE];
	int r = name_tree_path(&render->names, node, path, sizeof(path));

	if (r < 0)
		return r;
	return file_open_beneath_without_links(render->rootfs,
		path[strlen("rootfs")] ? path + strlen("rootfs/") : ".", flags | O_DIRECTORY);
}

/* Makes the node a directory with all above it, unless it is there. */
static int node_make_directory(struct render *render, uint32_t node)
{
	while (!(node_at(render, node)->flags & NODE_EXTRACTED)) {
		_cleanup_close_ int parent = -1;
		uint32_t top = node;

		while (!(node_at(render, node_at(render, top)->parent)->flags & NODE_EXTRACTED))
			top = node_at(render, top)->parent;
		parent = node_open_directory(render, node_at(render, top)->parent, O_PATH);
		if (parent < 0)
			return node_failure(render, top, parent, "create");
		if (mkdirat(parent, name_tree_name(&render->names, top), 0700) < 0)
			return node_failure(render, top, -errno, "create");
		node_at(render, top)->flags |= NODE_EXTRACTED;
		node_at(render, top)->mode = S_IFDIR | RENDER_IMPLICIT_DIRECTORY_MODE;
	}
	return 0;
}

/* The directory to make a node in, as an fd that stays the render's. */
static int node_parent_fd(struct render *render, uint32_t node, int *ret)
{
	uint32_t parent = node_at(render, node)->parent;
	int r;

	if (render->directory_fd < 0 || render->directory_node != parent) {
		r = node_make_directory(render, parent);
		if (r < 0)
			return r;
		cleanup_close(&render->directory_fd);
		render->directory_fd = node_open_directory(render, parent, O_PATH);
		if (render->directory_fd < 0)
			return node_failure(render, node, render->directory_fd, "create");
		render->directory_node = parent;
	}
	*ret = render->directory_fd;
	return 0;
}

/* ---- extraction */

/* Sets the entry's attributes on fd, or if that is -1 on the path file itself. */
static int extract_xattrs(
	struct render *render, struct aci_reader *reader, int fd, const char *file)
{
	const char *name;
	const void *value;
	size_t size;

	while (aci_reader_xattr(reader, &name, &value, &size)) {
		int r = fd >= 0 ? fsetxattr(fd, name, value, size, 0)
				: lsetxattr(file, name, value, size, 0);

		if (r == 0)
			continue;
		/*
		 * The file system has no such attributes, this type of file cannot have user ones,
		 * or we may not set them.
		 */
		if (errno == ENOTSUP || (errno == EPERM && (!render->privileged || fd < 0)))
			render->skipped_xattrs++;
		else
			return -errno;
	}
	return 0;
}

static int extract_content(
	struct render *render, struct aci_reader *reader, const struct aci_entry *entry, int fd)
{
	uint64_t offset, end = 0;
	const void *data;
	size_t length;
	int r;

	while ((r = aci_reader_data(reader, &data, &length, &offset, render->err)) > 0) {
		const char *next = data;

		if (!checked_range(offset, length, entry->size))
			return error_set(render->err, -EBADMSG,
				"image entry \"%s\" has content beyond its size", entry->path);
		while (length > 0) {
			ssize_t n = pwrite(fd, next, length, (off_t)offset);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return error_set_errno(
					render->err, -errno, "cannot write \"%s\"", entry->path);
			next += n;
			length -= (size_t)n;
			offset += (uint64_t)n;
		}
		if (offset > end)
			end = offset;
	}
	if (r < 0)
		return r;
	if (end < entry->size && ftruncate(fd, (off_t)entry->size) < 0)
		return error_set_errno(render->err, -errno, "cannot write \"%s\"", entry->path);
	return 0;
}

static int extract_file(struct render *render, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t node, int parent)
{
	const struct timespec times[2] = {entry->mtime, entry->mtime};
	_cleanup_close_ int fd = -1;
	int r;

	fd = openat(parent, name_tree_name(&render->names, node),
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return node_failure(render, node, -errno, "create");
	r = extract_content(render, reader, entry, fd);
	if (r < 0)
		return r;
	/* In this order: chown takes set-user-ID bits and file capabilities away. */
	if (render->privileged && fchown(fd, entry->uid, entry->gid) < 0)
		return node_failure(render, node, -errno, "set the owner of");
	if (fchmod(fd, entry->mode) < 0)
		return node_failure(render, node, -errno, "set the mode of");
	r = extract_xattrs(render, reader, fd, NULL);
	if (r < 0)
		return node_failure(render, node, r, "set an attribute of");
	if (futimens(fd, times) < 0)
		return node_failure(render, node, -errno, "set the time of");
	return 0;
}

static int extract_special(struct render *render, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t node, int parent)
{
	const struct timespec times[2] = {entry->mtime, entry->mtime};
	const char *name = name_tree_name(&render->names, node);
	char file[64 + 256];
	mode_t type = 0;
	int r;

	if (entry->type == ACI_SYMLINK) {
		r = symlinkat(entry->target, parent, name);
	} else {
		type = entry->type == ACI_FIFO                ? S_IFIFO
			: entry->type == ACI_CHARACTER_DEVICE ? S_IFCHR
							      : S_IFBLK;
		r = mknodat(parent, name, type | 0600, entry->device);
	}
	if (r < 0)
		return node_failure(render, node, -errno, "create");
	if (render->privileged &&
		fchownat(parent, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return node_failure(render, node, -errno, "set the owner of");
	if (entry->type != ACI_SYMLINK && fchmodat(parent, name, entry->mode, 0) < 0)
		return node_failure(render, node, -errno, "set the mode of");
	snprintf(file, sizeof(file), "/proc/self/fd/%d/%s", parent, name);
	r = extract_xattrs(render, reader, -1, file);
	if (r < 0)
		return node_failure(render, node, r, "set an attribute of");
	if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return node_failure(render, node, -errno, "set the time of");
	return 0;
}

static int extract_directory(struct render *render, struct aci_reader *reader,
	const struct aci_entry *entry, uint32_t node)
{
	_cleanup_close_ int fd = -1;
	int r = node_make_directory(render, node);

	if (r < 0)
		return r;
	node_at(render, node)->mode = S_IFDIR | entry->mode;
	node_at(render, node)->mtime = entry->mtime;
	fd = node_open_directory(render, node, O_RDONLY);
	if (fd < 0)
		return node_failure(render, node, fd, "open");
	if (render->privileged && fchown(fd, entry->uid, entry->gid) < 0)
		return node_failure(render, node, -errno, "set the owner of");
	r = extract_xattrs(render, reader, fd, NULL);
	return r < 0 ? node_failure(render, node, r, "set an attribute of") : 0;
}

static int extract_link(
	struct render *render, const struct aci_entry *entry, uint32_t node, int parent)
{
	uint32_t source = name_tree_find(&render->names, entry->target, strlen(entry->target));
	uint32_t flags = source == NAME_TREE_NONE ? 0 : node_at(render, source)->flags;
	_cleanup_close_ int source_parent = -1;

	if (flags & NODE_SKIPPED) {
		node_at(render, node)->flags |= NODE_SKIPPED;
		return 0;
	}
	if (!(flags & NODE_EXTRACTED))
		return error_set(render->err, -ENOENT,
			"image entry \"%s\": hard link to \"%s\", which neither its image nor one "
			"above it has put into the tree before it",
			entry->path, entry->target);
	source_parent = node_open_directory(render, node_at(render, source)->parent, O_PATH);
	if (source_parent < 0)
		return node_failure(render, node, source_parent, "link");
	if (linkat(source_parent, name_tree_name(&render->names, source), parent,
		    name_tree_name(&render->names, node), 0) < 0)
		return node_failure(render, node, -errno, "link");
	node_at(render, node)->flags |= NODE_EXTRACTED;
	return 0;
}

static int extract_entry(struct render *render, uint32_t layer, struct aci_reader *reader,
	const struct aci_entry *entry, void *context)
{
	uint32_t node = name_tree_find(&render->names, entry->path, strlen(entry->path));
	int parent = -1, r;

	(void)context;
	if (node == NAME_TREE_NONE)
		return error_set(render->err, -EBADMSG, "image %s changed while it was read",
			render->layers.items[layer].id);
	if (node_at(render, node)->owner != layer + 1)
		return 0;
	if (entry->type == ACI_DIRECTORY)
		return extract_directory(render, reader, entry, node);
	if (!render->privileged &&
		(entry->type == ACI_CHARACTER_DEVICE || entry->type == ACI_BLOCK_DEVICE)) {
		node_at(render, node)->flags |= NODE_SKIPPED;
		render->skipped_devices++;
		return 0;
	}
	r = node_parent_fd(render, node, &parent);
	if (r < 0)
		return r;
	if (entry->type == ACI_HARDLINK)
		return extract_link(render, entry, node, parent);
	r = entry->type == ACI_FILE ? extract_file(render, reader, entry, node, parent)
				    : extract_special(render, reader, entry, node, parent);
	if (r == 0)
		node_at(render, node)->flags |= NODE_EXTRACTED;
	return r;
}

int render_extract_layer(struct render *render, uint32_t layer)
{
	return render->plans[layer].accepted > 0
		? render_layer_read(render, layer, extract_entry, NULL)
		: 0;
}

/* Children have greater numbers than their parents. */
int render_finish_directories(struct render *render)
{
	for (size_t i = render->names.count; i-- > 1;) {
		uint32_t node = (uint32_t)i;
		const struct name_node *self = node_at(render, node);
		const struct timespec times[2] = {self->mtime, self->mtime};
		_cleanup_close_ int fd = -1;

		if (!(self->flags & NODE_EXTRACTED) || !S_ISDIR(self->mode))
			continue;
		fd = node_open_directory(render, node, O_RDONLY);
		if (fd < 0)
			return node_failure(render, node, fd, "open");
		if (fchmod(fd, self->mode & 07777) < 0 || futimens(fd, times) < 0)
			return node_failure(render, node, -errno, "set the mode and time of");
	}
	return 0;
}
