/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies a directory with all that is in it: types, contents, owners, modes, times, extended attributes.
 *
 * Follows no symbolic link, crosses no mount point, gives up at the first error. Device nodes are made
 * as 0:0, the whiteout of overlayfs, and others where that is asked for. Names of one file stay that, holes stay holes, and contents are shared with
 * the source where the file system can.
 */
#ifndef APPC_BASE_TREE_COPY_H
#define APPC_BASE_TREE_COPY_H

#include <stdbool.h>
#include <stdint.h>

struct tree_copy_limits {
	uint64_t entries, bytes; /* what may be copied at most, of files' contents */
	bool devices;            /* nodes of devices are copied, too */
};

/*
 * Copies what is in source_fd into the directory target_fd, and source_fd's own attributes onto it. What
 * exists in the target is an error. limits counts down. 0, -errno; -E2BIG: over a limit; -EXDEV: there is a
 * mount point; -ENODEV: a device node; -ELOOP: nested deeper than 64 directories.
 */
int tree_copy(int source_fd, int target_fd, struct tree_copy_limits *limits);

#endif
