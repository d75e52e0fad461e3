// SPDX-License-Identifier: Apache-2.0
/* ops_dax.c: FUSE operations on the DAX window. */
#include "virtio/fs/operations.h"

#include <errno.h>
#include <string.h>

#define SETUPMAPPING_FLAGS (FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE)

/* The handle (Linux sends -1) adds nothing: the guest's kernel has checked who may do what. */
ssize_t fs_op_setupmapping(struct fs_request *request)
{
	struct fuse_setupmapping_in in;

	if (!request->fs->dax.host)
		return -ENOSYS;
	memcpy(&in, request->arguments, sizeof(in));
	if (in.flags & ~(uint64_t)SETUPMAPPING_FLAGS || request->length != sizeof(in))
		return -EINVAL;
	return fs_dax_map(request->fs, request->inode, in.foffset, in.moffset, in.len,
		in.flags & FUSE_SETUPMAPPING_FLAG_WRITE);
}

ssize_t fs_op_removemapping(struct fs_request *request)
{
	struct fs_dax *dax = &request->fs->dax;
	struct fuse_removemapping_one one;
	const uint8_t *entry = request->arguments + sizeof(struct fuse_removemapping_in);
	struct fuse_removemapping_in in;
	int r = 0;

	if (!dax->host)
		return -ENOSYS;
	memcpy(&in, request->arguments, sizeof(in));
	if (in.count == 0 || in.count > dax->range_count ||
		request->length != sizeof(in) + in.count * sizeof(one))
		return -EINVAL;
	/* All or nothing. */
	for (uint32_t i = 0; r == 0 && i < in.count; i++) {
		memcpy(&one, entry + i * sizeof(one), sizeof(one));
		r = fs_dax_check_unmap(dax, one.moffset, one.len);
	}
	for (uint32_t i = 0; r == 0 && i < in.count; i++) {
		memcpy(&one, entry + i * sizeof(one), sizeof(one));
		r = fs_dax_unmap(request->fs, one.moffset, one.len);
	}
	return r;
}
