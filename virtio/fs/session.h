/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE session: negotiation, and one request from its chain to its reply.
 *
 * Everything a request says is copied out of guest memory once, before it is looked at; only the
 * payload of READ and WRITE stays there and goes between the guest's spans and the file.
 */
#ifndef APPC_VIRTIO_FS_SESSION_H
#define APPC_VIRTIO_FS_SESSION_H

#include "virtio/fs/dax.h"
#include "virtio/fs/fs.h"
#include "virtio/fs/handle.h"
#include "virtio/fs/inode.h"
#include "virtio/fs/throttle.h"

#include <linux/fuse.h>
#include <stdatomic.h>

struct fs_queue;

struct virtio_fs {
	struct virtio_device device;
	uint8_t tag[36];
	int proc_fd;        /* /proc/self/fd of this process, to reopen O_PATH fds */
	bool shared;        /* some subtree is changed by others too */
	bool is_flat;       /* see struct virtio_fs_options */
	uint32_t readahead; /* most bytes */

	struct fs_inode_table inodes;
	struct fs_handle_table handles;
	struct fs_data_table data;
	struct fs_dax dax;

	atomic_bool initialised;        /* FUSE_INIT was answered */
	atomic_uint_least64_t features; /* FUSE_INIT flags in force */
	atomic_bool shared_read;        /* the guest saw what is in a subtree that others change */
	atomic_uint_least64_t requests, inline_requests, queued_requests;
	atomic_uint unfinished; /* bits: queues for virtio_fs_go_on(); set under the lock */

	/* Under the device's lock. */
	unsigned int active;    /* requests popped and not yet pushed */
	unsigned int resetting; /* resets that wait for active to become 0 */
	pthread_cond_t idle;    /* active became 0 */

	struct fs_queue *queue;       /* NULL: no io_uring */
	struct fs_throttle *throttle; /* NULL: nothing is limited */
};

/* Gives the answer to a request that fs_throttle_hold() kept back. No lock is held. device.c */
void fs_answer(struct virtio_fs *fs, unsigned int index, uint16_t head, uint32_t written);

/*
 * Whether the guest opens files without asking, in this session: the server keeps what it needs for
 * READ and WRITE by inode (data.h), and hears of no RELEASE, also not of a file that CREATE
 * opened. Where others change files each open looks at them anew, and it is not so.
 */
static inline bool fs_session_opens_nothing(const struct virtio_fs *fs)
{
	return fs->features & FUSE_NO_OPEN_SUPPORT;
}

/* The reply tells names in the directory, or contents of the file. */
static inline void fs_session_reveal(struct virtio_fs *fs, const struct fs_inode *inode)
{
	if (inode->policy != VIRTIO_FS_EXCLUSIVE && !fs->shared_read)
		fs->shared_read = true;
}

/* Which features the device offers to a driver, and those out of them that go together. */
uint64_t fs_session_features(const struct virtio_fs *fs, uint64_t offered);

/* Longest name a driver sends (FUSE_NAME_MAX of Linux) with its terminator. */
#define FS_NAME_ROOM 1025
/* Copied of each request: the largest structure, a name, and a link target or second name. */
#define FS_ARGUMENTS_MAX (128 + FS_NAME_ROOM + 4096)
/* Most bytes of one READ or WRITE, as announced at negotiation. */
#define FS_DATA_MAX (1u << 20)

struct fs_request {
	struct virtio_fs *fs;
	const struct virtqueue_chain *chain;
	struct fuse_in_header header;
	size_t argument_bytes;  /* in the chain, after the header */
	size_t length;          /* of them in arguments */
	size_t room;            /* bytes the reply has after its header */
	struct fs_inode *inode; /* of header.nodeid; NULL for operations without one */
	uint64_t copied;        /* bytes that COPY_FILE_RANGE has moved */
	_Alignas(8) uint8_t arguments[FS_ARGUMENTS_MAX];
};

/*
 * Copies header and arguments. -EBADMSG: no driver would send this (header short, or its length not
 * that of the chain; no room for a reply's header).
 */
int fs_request_parse(
	struct fs_request *request, struct virtio_fs *fs, const struct virtqueue_chain *chain);

/* Serves a parsed request and writes the reply. Returns the number of bytes written. */
uint32_t fs_request_serve(struct fs_request *request);

/* Whether the request may be served now: after INIT, sizes in order. 0 or the errno of the reply.
 */
int fs_request_check(const struct fs_request *request);

/* Writes a reply: result is the number of payload bytes already in place, or -errno. */
uint32_t fs_reply_write(const struct virtqueue_chain *chain, uint64_t unique, ssize_t result);

/* Puts a reply's payload in place; for the handlers. Returns length, for fs_reply_write(). */
ssize_t fs_request_reply(const struct fs_request *request, const void *payload, size_t length);

/*
 * The string at *offset of the arguments, which must end inside them; *offset moves behind it.
 * -EINVAL where it does not end.
 */
int fs_request_string(const struct fs_request *request, size_t *offset, const char **ret);

/* The same for a name: one component. -EINVAL, -ENAMETOOLONG. */
int fs_request_name(const struct fs_request *request, size_t *offset, const char **ret);

/*
 * A name that is all of the arguments from offset on.
 */
int fs_request_last_name(const struct fs_request *request, size_t offset, const char **ret);

/* Forgets all inodes and handles; the driver has to negotiate again. */
void fs_session_reset(struct virtio_fs *fs);

#endif
