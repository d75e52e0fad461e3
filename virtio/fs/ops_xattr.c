// SPDX-License-Identifier: Apache-2.0
/*
 * ops_xattr.c: FUSE operations on extended attributes; fs.h says which ones the guest may have.
 *
 * Theory of operation: neither the f*xattr() calls nor AT_EMPTY_PATH take O_PATH fds here. So regular
 * files and directories are opened again for the moment, and other files have no attributes: the kernel has
 * none of those that a guest may have for them (xattr(7)). Linux 6.13 has calls that could do without; they would
 * come on top of these in the filter, for the sake of older kernels.
 *
 * #syscalls:vcpu fsetxattr fgetxattr flistxattr fremovexattr close
 */
#include "virtio/fs/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* 0, -EPERM for what belongs to overlayfs, -EOPNOTSUPP for what the guest cannot have. */
static int name_check(const char *name)
{
	if (strlen(name) > XATTR_NAME_MAX)
		return -ERANGE;
	if (has_prefix(name, "trusted.overlay.") || has_prefix(name, "user.overlay."))
		return -EPERM;
	if (has_prefix(name, "user.") || !strcmp(name, "security.capability"))
		return 0;
	return -EOPNOTSUPP;
}

/* The inode opened for the moment; -EOPNOTSUPP where it cannot be opened for data. */
static int attribute_open(const struct fs_request *request)
{
	struct fs_inode *inode = request->inode;

	if (inode->type != S_IFREG && inode->type != S_IFDIR)
		return -EOPNOTSUPP;
	return fs_inode_open(request->fs, inode, O_RDONLY);
}

static ssize_t attribute_get(
	const struct fs_request *request, const char *name, void *value, size_t size)
{
	_cleanup_close_ int fd = attribute_open(request);
	ssize_t r;

	if (fd < 0)
		return fd;
	r = fgetxattr(fd, name, value, size);
	return r < 0 ? -errno : r;
}

static ssize_t attribute_list(const struct fs_request *request, char *list, size_t size)
{
	_cleanup_close_ int fd = attribute_open(request);
	ssize_t r;

	if (fd < 0)
		return fd;
	r = flistxattr(fd, list, size);
	return r < 0 ? -errno : r;
}

static int attribute_set(const struct fs_request *request, const char *name, const void *value,
	size_t size, uint32_t flags)
{
	_cleanup_close_ int fd = attribute_open(request);

	if (fd < 0)
		return fd;
	return fsetxattr(fd, name, value, size, (int)flags) < 0 ? -errno : 0;
}

static int attribute_remove(const struct fs_request *request, const char *name)
{
	_cleanup_close_ int fd = attribute_open(request);

	if (fd < 0)
		return fd;
	return fremovexattr(fd, name) < 0 ? -errno : 0;
}

/* An attribute name at *offset; unlike a file's it may contain anything. */
static int request_attribute(const struct fs_request *request, size_t *offset, const char **ret)
{
	int r = fs_request_string(request, offset, ret);

	return r < 0 ? r : name_check(*ret);
}

ssize_t fs_op_setxattr(struct fs_request *request)
{
	_cleanup_free_ void *value = NULL;
	struct fuse_setxattr_in in = {0};
	size_t offset = FUSE_COMPAT_SETXATTR_IN_SIZE;
	const char *name;
	int r;

	/* FUSE_SETXATTR_EXT is not negotiated: the short structure. */
	memcpy(&in, request->arguments, FUSE_COMPAT_SETXATTR_IN_SIZE);
	r = request_attribute(request, &offset, &name);
	if (r == 0)
		r = fs_inode_writable(request->inode);
	if (r < 0)
		return r;
	if (in.size > XATTR_SIZE_MAX)
		return -E2BIG;
	if (in.flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE) ||
		request->argument_bytes - offset != in.size)
		return -EINVAL;
	value = malloc(in.size ? in.size : 1);
	if (!value)
		return -ENOMEM;
	if (virtqueue_chain_read(request->chain, sizeof(struct fuse_in_header) + offset, value,
		    in.size) != in.size)
		return -EINVAL;
	return attribute_set(request, name, value, in.size, in.flags);
}

/* Replies with a value or list of length bytes, or with its length when the driver asks for that.
 */
static ssize_t reply_sized(
	struct fs_request *request, uint32_t size, const void *value, size_t length)
{
	struct fuse_getxattr_out out = {.size = (uint32_t)length};

	if (size == 0)
		return request->room < sizeof(out) ? -EINVAL
						   : fs_request_reply(request, &out, sizeof(out));
	if (length > size || length > request->room)
		return -ERANGE;
	return fs_request_reply(request, value, length);
}

ssize_t fs_op_getxattr(struct fs_request *request)
{
	_cleanup_free_ char *value = NULL;
	struct fuse_getxattr_in in;
	size_t offset = sizeof(in), size;
	const char *name;
	ssize_t r;

	memcpy(&in, request->arguments, sizeof(in));
	r = request_attribute(request, &offset, &name);
	/* To a reader, overlayfs's attributes are not there. */
	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	size = in.size < XATTR_SIZE_MAX ? in.size : XATTR_SIZE_MAX;
	if (size > 0) {
		value = malloc(size);
		if (!value)
			return -ENOMEM;
	}
	r = attribute_get(request, name, value, size);
	return r < 0 ? r : reply_sized(request, in.size, value, (size_t)r);
}

/* Drops the names that the guest cannot have from a list of length bytes; returns the new length.
 */
static size_t list_filter(char *list, size_t length)
{
	size_t kept = 0;

	for (size_t next = 0; next < length;) {
		size_t size = strnlen(list + next, length - next) + 1;

		if (size > length - next)
			break;
		if (name_check(list + next) == 0) {
			memmove(list + kept, list + next, size);
			kept += size;
		}
		next += size;
	}
	return kept;
}

ssize_t fs_op_listxattr(struct fs_request *request)
{
	_cleanup_free_ char *list = NULL;
	struct fuse_getxattr_in in;
	ssize_t r;

	memcpy(&in, request->arguments, sizeof(in));
	/* The length that the guest sees is that of the filtered list: always read all of it. */
	r = attribute_list(request, NULL, 0);
	if (r > 0) {
		size_t size = (size_t)r;

		list = malloc(size);
		if (!list)
			return -ENOMEM;
		r = attribute_list(request, list, size);
	}
	/* Files that cannot have attributes have none. */
	if (r == -EOPNOTSUPP)
		r = 0;
	if (r < 0)
		return r;
	return reply_sized(request, in.size, list, r > 0 ? list_filter(list, (size_t)r) : 0);
}

ssize_t fs_op_removexattr(struct fs_request *request)
{
	const char *name;
	size_t offset = 0;
	int r = request_attribute(request, &offset, &name);

	if (r == 0 && offset != request->length)
		r = -EINVAL;
	if (r == 0)
		r = fs_inode_writable(request->inode);
	return r < 0 ? r : attribute_remove(request, name);
}
