/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-fs: the pod's file tree, served to the guest as FUSE requests (virtio 1.2, section 5.11;
 * requests as in linux/fuse.h, protocol 7.31 and later).
 *
 * The device sees one directory, given as an fd, and crosses the mount points inside it; each is
 * announced as a submount (FUSE_SUBMOUNTS), so that inode numbers of different file systems never
 * clash; or, in a tree where mounts come and go, has inode numbers of its own (options.is_flat). Where the guest may write is decided here and by the host's mount flags, never by the
 * guest.
 *
 * Threads: requests are served on the vCPU thread that notified when one is pending. When several
 * are, data requests go to the device's own io_uring, whose completions virtio_fs_complete()
 * delivers from the event loop. The virtqueues are under the device's lock, the tables of inodes
 * and open files under one of their own; no lock is held during a system call on the tree.
 *
 * Where no subtree is shared, the guest opens regular files without asking (OPEN is answered with
 * ENOSYS, where the driver knows FUSE_NO_OPEN_SUPPORT), and the device opens what is read or written.
 *
 * Parking: the device saves the inodes that the guest knows by their paths in the tree, and its open
 * files and directories; a device for a tree of the same shape takes them up again under the same
 * ids. What has no path any more, or is a directory being read just then, makes it fail.
 *
 * The guest's kernel decides who may do what (default_permissions): the server acts with all the
 * capabilities that its jail leaves it (vmm/jail.c), and gives what it makes to the caller's uid and gid. What the guest may never have
 * is decided here:
 * - names are one component; nothing but regular files and directories is ever opened for data;
 * - device nodes are made only in EXCLUSIVE subtrees whose mount has nodev, and never 0:0 (the
 *   whiteout of overlayfs); rename with RENAME_WHITEOUT is refused;
 * - extended attributes: user.* and security.capability pass, but for user.overlay.*, which belongs to
 *   overlayfs, as does trusted.overlay.*. Other trusted.*, which would take CAP_SYS_ADMIN on the host,
 *   labels of host security modules (other security.*) and access control lists (system.*), which
 *   the guest would not enforce, are refused with EOPNOTSUPP and not listed;
 * - no link or rename between subtrees of different policy (EXDEV).
 */
#ifndef APPC_VIRTIO_FS_FS_H
#define APPC_VIRTIO_FS_FS_H

#include "base/error.h"
#include "virtio/device.h"
#include "virtio/fs/throttle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a subtree may be cached by the guest and whether it may be written. */
enum virtio_fs_policy {
	VIRTIO_FS_EXCLUSIVE, /* only this guest changes it: cached without limit */
	VIRTIO_FS_SHARED,    /* others change it too: attributes and data checked at every use */
	VIRTIO_FS_READ_ONLY_SHARED, /* as SHARED, and every change is refused with EROFS */
};

/* A directory or file of the tree whose subtree has another policy than its parent's. */
struct virtio_fs_export {
	const char *path; /* relative to the tree, no links, "volumes/data" */
	enum virtio_fs_policy policy;
};

/* Which files the guest reads and executes in place, through the DAX window (dax.h). */
enum virtio_fs_dax {
	VIRTIO_FS_DAX_AUTO,   /* of EXCLUSIVE subtrees: those that gain by it */
	VIRTIO_FS_DAX_NEVER,  /* there is no window */
	VIRTIO_FS_DAX_ALWAYS, /* of EXCLUSIVE subtrees: all, for measurements */
};

#define VIRTIO_FS_READAHEAD_MAX (1u << 20)

struct virtio_fs_options {
	const char *tag; /* at most 36 bytes (VIRTIO_FS_TAG) */
	int tree_fd;     /* directory; the device takes ownership when creation succeeds */
	enum virtio_fs_policy policy;           /* of the tree outside the exports */
	const struct virtio_fs_export *exports; /* copied */
	size_t export_count;
	/*
	 * All is one file system for the guest. Linux (6.12) forgets neither the files of a submount that it unmounts
	 * nor their mappings in the window: where mounts go again, there must be no submounts.
	 */
	bool is_flat;
	size_t inodes_max;  /* bound on inodes (and fds) the guest can hold; further lookups get
			       ENFILE */
	size_t handles_max; /* bound on open files and directories */
	/* Bytes the guest reads ahead at most; 0: VIRTIO_FS_READAHEAD_MAX. Less where its kernel is
	   emulated. */
	uint32_t readahead;
	/* The window is that of the guest's memory, mapped without access; without one it is NEVER. */
	enum virtio_fs_dax dax;
	/* What the guest reads and writes; requests that are limited do not go through io_uring. */
	struct fs_throttle_limits limits;
};

struct virtio_fs;

/*
 * Creates the device. Beside memory it costs one fd per inode and handle the guest holds; the limit
 * on fds is raised for them, and where the host does not allow that the bounds are lowered. Sets
 * the process's umask to 0, since the guest applies the app's, and ignores SIGXFSZ. To be called in the process that
 * serves (not before a fork), while /proc is there; afterwards the process may leave it behind.
 * -EINVAL: tag too long, tree or export not usable; other errors as opening an export gave them.
 */
int virtio_fs_create(const struct guest_memory *memory, const struct virtio_fs_options *options,
	struct virtio_fs **ret, struct error *err);
/* Waits for queued requests, then closes everything. fs may be NULL. */
void virtio_fs_free(struct virtio_fs *fs);

struct virtio_device *virtio_fs_device(struct virtio_fs *fs);

/*
 * What a notification left of its queue because there was no end of it: some of that. Whether there may be more still,
 * before which whoever serves looks whether he is to stop. To be asked by the threads whose notifications they are,
 * before they enter the guest, which hears no more of it otherwise.
 */
bool virtio_fs_go_on(struct virtio_fs *fs);

/* An eventfd, readable when queued requests have completed; -1 when io_uring is not available. */
int virtio_fs_completion_fd(const struct virtio_fs *fs);
void virtio_fs_complete(struct virtio_fs *fs);

/*
 * A timerfd, readable when answers that options.limits have held back are due; -1: nothing is limited.
 * virtio_fs_limit() gives them.
 */
int virtio_fs_limit_fd(const struct virtio_fs *fs);
void virtio_fs_limit(struct virtio_fs *fs);

/*
 * Whether the guest has seen names or contents below the root of a subtree that others change
 * too: what its caches hold of them would be old when it is parked and continued.
 */
bool virtio_fs_shared_was_read(struct virtio_fs *fs);

/*
 * A timerfd, readable when it is time to look whether files in the window have become shorter; -1: there
 * is no window. virtio_fs_watch() is true when one has: an access to what it lost makes KVM_RUN
 * fail from then on, and virtio_fs_window_was_cut(), which looks as well, tells that this can be so.
 */
int virtio_fs_watch_fd(const struct virtio_fs *fs);
bool virtio_fs_watch(struct virtio_fs *fs);
bool virtio_fs_window_was_cut(struct virtio_fs *fs);

/* Counters for tests, statistics and bounds. */
struct virtio_fs_statistics {
	uint64_t requests, inline_requests, queued_requests;
	size_t inodes, handles; /* now */
	size_t data;            /* files that are open without a handle, now */
	size_t mappings;        /* ranges of the window that show a file, now */
};
void virtio_fs_statistics(struct virtio_fs *fs, struct virtio_fs_statistics *ret);

/*
 * One FUSE request without a virtqueue, for tests and fuzzing: in is the request as the driver
 * would write it, out has room for out_size bytes. Returns the length of the reply (0: none, as for
 * FORGET) or -EBADMSG where a driver's device would break.
 */
ssize_t virtio_fs_serve(
	struct virtio_fs *fs, const void *in, size_t in_size, void *out, size_t out_size);

#endif
