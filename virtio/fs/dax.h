/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DAX window: guest physical memory in which ranges of files are mapped (virtio 1.2, section
 * 5.11.6.5), so that the guest reads, writes and executes the host's page cache instead of a copy.
 *
 * The window is cut into ranges of 2 MiB. A range shows nothing, or 2 MiB of one file from a multiple of
 * 2 MiB on; so a guest can make as many mappings as there are ranges, and each is one mmap() over the
 * last one. What is not mapped cannot be accessed. A file is mapped for reading until the guest asks
 * to write, and never for writing where its policy says read-only. What is mapped for writing has no holes.
 *
 * All functions may be called from any thread; each takes the lock of the window itself.
 */
#ifndef APPC_VIRTIO_FS_DAX_H
#define APPC_VIRTIO_FS_DAX_H

#include "base/state.h"
#include "virtio/fs/inode.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FS_DAX_RANGE_SHIFT 21
#define FS_DAX_RANGE       (1ull << FS_DAX_RANGE_SHIFT)

struct virtio_fs;

struct fs_mapping {
	struct fs_inode *inode; /* referenced; NULL: the range is free */
	uint64_t offset;        /* in the file */
	uint64_t end;           /* as offset: how far the file goes, or the range */
	bool writable;
	bool cut; /* since it was mapped a part was freed: the file became shorter, or a hole got no room */
	/* In the range: what the kernel could not free yet. owed_end 0: nothing. */
	uint32_t owed_start, owed_end;
};

struct fs_dax {
	/* Constant. */
	uint8_t *host; /* NULL: there is no window */
	size_t range_count;
	enum virtio_fs_dax choice;
	int timer_fd; /* readable when fs_dax_watch() is due; -1: no window */

	pthread_mutex_t lock; /* protects the mappings, those of memory too */
	struct fs_mapping *mappings;
	size_t used_count;    /* of mappings that show a file, or still have to be freed */
	bool lost;            /* a file was found shorter, which fs_dax_watch() has yet to tell */
	unsigned int changes; /* of files, by the guest, that may have made holes */
};

/*
 * host is size bytes without access, a multiple of FS_DAX_RANGE, and stays the caller's; NULL: no
 * window. -EINVAL, -ENOMEM.
 */
int fs_dax_init(struct fs_dax *dax, uint8_t *host, size_t size, enum virtio_fs_dax choice);
void fs_dax_free(struct fs_dax *dax); /* nothing is mapped any more */

/*
 * Whether the guest is to use the window for a file it looks up, whose size is given. Decided once in the
 * life of an inode, since the guest does the same. Only for files nobody else changes.
 */
bool fs_dax_decide(struct virtio_fs *fs, struct fs_inode *inode, uint64_t size);

/*
 * Maps length bytes of the file into the window; for writing, with room on the disk for all of them. -EINVAL: not
 * whole ranges, outside of the window or the file, where something else is mapped, or not a file of the window.
 * -EROFS. -ENOSPC, -EDQUOT. -errno of open(), or of mmap(), which leaves nothing there.
 */
int fs_dax_map(struct virtio_fs *fs, struct fs_inode *inode, uint64_t offset,
	uint64_t window_offset, uint64_t length, bool writable);

/*
 * Ranges that are free already stay so. -EINVAL: not whole ranges of the window. What the kernel cannot take away
 * fs_dax_watch() tries again; it counts as free.
 */
int fs_dax_check_unmap(const struct fs_dax *dax, uint64_t window_offset, uint64_t length);
int fs_dax_unmap(struct virtio_fs *fs, uint64_t window_offset, uint64_t length);
void fs_dax_clear(struct virtio_fs *fs);

/*
 * The file was opened for writing: the first time that makes another file of it where an overlay copies
 * it, and what is mapped for reading has to be that one. Before anything is written. -errno of
 * mapping it again: the ranges are without access then.
 */
int fs_dax_opened_for_writing(struct virtio_fs *fs, struct fs_inode *inode);

/*
 * Around what may change the file's size because the guest wants it: fs_dax_watch() shall not take it
 * for somebody else's doing, and what the file gains of ranges that are mapped is as after fs_dax_punched(). Cheap
 * for files that are not in the window.
 */
void fs_dax_resize_begin(struct virtio_fs *fs, struct fs_inode *inode);
void fs_dax_resize_end(struct virtio_fs *fs, struct fs_inode *inode);

/*
 * The guest has punched a hole, or copied there, or has blocks behind the end: what is mapped for writing of it has room
 * again, and no page is mapped that cannot be had.
 */
void fs_dax_punched(struct virtio_fs *fs, struct fs_inode *inode, uint64_t offset, uint64_t length);

/* Whether the guest can have made holes in the file, which had none when it was found. */
bool fs_dax_may_have_holes(struct fs_inode *inode);

/* Whether a request that writes to the file can have to do with the window: it needs one of the above. */
bool fs_dax_may_write(struct fs_inode *inode);

/*
 * The file has come under a policy that is stricter: what must not be writable any more is taken out of the window. Who
 * has it mapped gets SIGBUS, as when it was cut.
 */
void fs_dax_restrict(struct virtio_fs *fs, struct fs_inode *inode);

/* How many ranges show a file, or have one that could not be taken away yet. */
size_t fs_dax_count(struct fs_dax *dax);

/*
 * Frees what files have lost of what is mapped, so that an access fails instead of being repeated for
 * ever, and what could not be freed before. True when files have lost something.
 */
bool fs_dax_watch(struct fs_dax *dax);

/* Whether there is a mapping of which a part was freed, or is now: the timer may be due only in a while. */
bool fs_dax_was_cut(struct fs_dax *dax);

/*
 * Parking (saved.c): the mappings, by inode, and how far they had the file. As the functions there. A page that has no
 * room on the disk any more, or that the file has lost meanwhile, is no error: it is as if that happened now.
 */
int fs_dax_save(struct virtio_fs *fs, struct state_writer *writer, struct error *err);
int fs_dax_restore(struct virtio_fs *fs, struct state_reader *reader, struct error *err);

#endif
