// SPDX-License-Identifier: Apache-2.0
/*
 * dax.c: which files are shown in the window, and what is mapped where.
 *
 * Theory of operation: a file that is read through the window costs the guest one request per 2 MiB
 * and a page fault per page it touches; one that is copied costs it a request per read-ahead and the
 * copy of each page, and later page faults are few because its kernel maps neighbours too. So what is
 * read by read() or of which little is touched belongs into the window when it is large, and static
 * executables do (their start touches a few pages here and there); what many processes map again and
 * again, shared libraries and programs that need them, does not (numbers: docs/performance.md), unless
 * it has the sticky bit: the owner says that it is used now and then only.
 *
 * The memory behind a mapping can vanish: others may cut a file that we took for the guest's own. Nothing
 * in this process touches the window (virtio/guest_memory.h). A vCPU that does stays in KVM_RUN: KVM
 * takes the page for one that is to be read yet, and tries again and again (the guest goes on
 * beside that, but for the program). Nobody tells us: notifications of a file do not come through an overlay. So
 * while something is mapped, the files' sizes are looked at once a second, and what a file has lost is
 * freed in the window. Without access there KVM_RUN fails, and the machine has the guest's program killed
 * (vmm/machine.c).
 *
 * A page that cannot be had is as bad as one that is gone, and in a hole of a file on a full disk there is none: KVM
 * tries for ever. So the window has no holes to write to. A file with holes when the guest finds it is not for the
 * window. What is mapped for writing gets its room first, and ENOSPC is the answer of SETUPMAPPING, where the guest
 * expects it. What a later request of the guest leaves there without room, by a punch, a copy or beyond the old end,
 * gets it before the answer, or the pages that cannot be had are freed in the window as if they had been cut. On a tmpfs
 * a hole takes room to be read, too: what is mapped for reading of a file in which the guest has made holes is read once. A
 * file system that writes nothing in place (btrfs) promises no room to anybody. Room is asked for without the lock: a disk
 * takes its time, and who waits for the lock is the event loop, too. A guest that was parked gets what it had mapped again
 * even on a disk that is full since, but for pages that cannot be had.
 *
 * An overlay shows a file of the lower layer until it is opened for writing, and its copy from then on; what
 * was mapped before stays the lower file. Therefore the first open for writing maps it all anew.
 * Opening for reading happens under the lock, so that no mapping of the lower file can be made
 * after that.
 *
 * #syscalls: timerfd_create
 * #syscalls:vcpu pread64 munmap close mmap(_, _, PROT_READ, MAP_SHARED) lseek(_, _, SEEK_HOLE)
 * #syscalls:vcpu fallocate(_, ~(FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
 */
#include "virtio/fs/dax.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "virtio/fs/operations.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Smaller executables fit into a few requests; smaller files are read at once. */
#define EXECUTABLE_MIN (64u << 10)
#define FILE_MIN       (2u << 20)

#define PAGE_SIZE 4096u

#define WATCH_SECONDS 1

#define PROGRAM_HEADERS_MAX 64
#define DYNAMIC_MAX         128

int fs_dax_init(struct fs_dax *dax, uint8_t *host, size_t size, enum virtio_fs_dax choice)
{
	*dax = (struct fs_dax){.choice = choice, .timer_fd = -1};
	pthread_mutex_init(&dax->lock, NULL);
	if (!host || choice == VIRTIO_FS_DAX_NEVER)
		return 0;
	if (size == 0 || size % FS_DAX_RANGE)
		return -EINVAL;
	dax->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (dax->timer_fd < 0)
		return -errno;
	dax->mappings = calloc(size / FS_DAX_RANGE, sizeof(*dax->mappings));
	if (!dax->mappings)
		return -ENOMEM;
	dax->host = host;
	dax->range_count = size / FS_DAX_RANGE;
	return 0;
}

void fs_dax_free(struct fs_dax *dax)
{
	free(dax->mappings);
	cleanup_close(&dax->timer_fd);
	pthread_mutex_destroy(&dax->lock);
}

/* ---- which files */

static bool read_exactly(int fd, void *data, size_t length, uint64_t offset)
{
	return offset <= INT64_MAX && pread(fd, data, length, (off_t)offset) == (ssize_t)length;
}

/* Whether a dynamic section, which shared libraries and static-pie programs have, is a program's. */
static bool is_position_independent_program(int fd, const Elf64_Phdr *segment)
{
	Elf64_Dyn entries[DYNAMIC_MAX];
	size_t count = segment->p_filesz / sizeof(entries[0]);

	if (count > DYNAMIC_MAX)
		count = DYNAMIC_MAX;
	if (!read_exactly(fd, entries, count * sizeof(entries[0]), segment->p_offset))
		return false;
	for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++)
		if (entries[i].d_tag == DT_FLAGS_1)
			return entries[i].d_un.d_val & DF_1_PIE;
	return false;
}

enum elf_kind { ELF_NONE, ELF_STATIC, ELF_OTHER };

/* The file is whatever somebody put into an image: a wrong answer only costs time. */
static enum elf_kind elf_kind_of(int fd)
{
	Elf64_Phdr segments[PROGRAM_HEADERS_MAX];
	const Elf64_Phdr *dynamic = NULL;
	Elf64_Ehdr header;

	if (!read_exactly(fd, &header, sizeof(header), 0) ||
		memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return ELF_NONE;
	if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
		(header.e_type != ET_EXEC && header.e_type != ET_DYN) ||
		header.e_phentsize != sizeof(segments[0]) || header.e_phnum > PROGRAM_HEADERS_MAX ||
		!read_exactly(fd, segments, header.e_phnum * sizeof(segments[0]), header.e_phoff))
		return ELF_OTHER;
	for (unsigned int i = 0; i < header.e_phnum; i++) {
		if (segments[i].p_type == PT_INTERP)
			return ELF_OTHER;
		if (segments[i].p_type == PT_DYNAMIC)
			dynamic = &segments[i];
	}
	if (header.e_type == ET_EXEC)
		return ELF_STATIC;
	return dynamic && is_position_independent_program(fd, dynamic) ? ELF_STATIC : ELF_OTHER;
}

/* Some file systems cannot map a file for all to see. */
static bool can_be_mapped(int fd)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		return false;
	munmap(page, PAGE_SIZE);
	return true;
}

/* The end of each file counts as a hole, too. */
static bool has_holes(int fd, uint64_t size)
{
	off_t hole = lseek(fd, 0, SEEK_HOLE);

	return hole < 0 || (uint64_t)hole < size;
}

static bool is_worth_it(
	const struct fs_inode *inode, int fd, uint64_t size, enum virtio_fs_dax choice)
{
	struct statx status;

	if (choice == VIRTIO_FS_DAX_ALWAYS)
		return true;
	switch (elf_kind_of(fd)) {
	case ELF_STATIC:
		return true;
	case ELF_NONE:
		return size >= FILE_MIN;
	case ELF_OTHER:
		return fs_inode_status(inode, &status) == 0 && status.stx_mode & S_ISVTX;
	}
	return false;
}

bool fs_dax_decide(struct virtio_fs *fs, struct fs_inode *inode, uint64_t size)
{
	enum virtio_fs_dax choice = fs->dax.choice;
	_cleanup_close_ int fd = -1;
	int decided = atomic_load(&inode->dax), wanted = FS_DAX_NO;

	if (!(fs->features & FUSE_HAS_INODE_DAX))
		return false;
	if (decided != FS_DAX_UNDECIDED)
		return decided == FS_DAX_YES;
	/* What is read in place is not counted. */
	if (!fs->throttle && inode->type == S_IFREG &&
		fs_inode_policy(inode) == VIRTIO_FS_EXCLUSIVE && size > 0 &&
		(choice == VIRTIO_FS_DAX_ALWAYS || size >= EXECUTABLE_MIN)) {
		fd = fs_inode_open(fs, inode, O_RDONLY);
		if (fd >= 0 && is_worth_it(inode, fd, size, choice) && !has_holes(fd, size) &&
			can_be_mapped(fd))
			wanted = FS_DAX_YES;
	}
	/* Whoever was first is right. */
	decided = FS_DAX_UNDECIDED;
	return (atomic_compare_exchange_strong(&inode->dax, &decided, wanted) ? wanted : decided) ==
		FS_DAX_YES;
}

/* ---- mappings */

/* Shows something, or could not be made to show nothing. */
static bool is_used(const struct fs_mapping *mapping)
{
	return mapping->inode || mapping->owed_end > 0;
}

/*
 * Under the lock, after any change: the ranges are looked after while some are used.
 *
 * #syscalls:vcpu,loop timerfd_settime(_, 0)
 */
static void count_used(struct fs_dax *dax)
{
	size_t before = dax->used_count;
	struct itimerspec period = {0};

	dax->used_count = 0;
	for (size_t i = 0; i < dax->range_count; i++)
		dax->used_count += is_used(&dax->mappings[i]);
	if ((before == 0) == (dax->used_count == 0))
		return;
	if (dax->used_count > 0)
		period.it_value.tv_sec = period.it_interval.tv_sec = WATCH_SECONDS;
	timerfd_settime(dax->timer_fd, 0, &period, NULL);
}

/* In one step, in place of what is there: nothing else can get the addresses in between. */
static int memory_replace(
	void *at, size_t length, int protection, int flags, int fd, uint64_t offset)
{
	void *mapped = mmap(at, length, protection, flags | MAP_FIXED, fd, (off_t)offset);

	return mapped == MAP_FAILED ? -errno : 0;
}

/*
 * Under the lock: what is between start and end of a range is without access from now on. What the kernel cannot take
 * away is owed, and tried again whenever the ranges are looked at; of several parts with all that is between them.
 *
 * #syscalls:vcpu,loop mmap(_, _, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED)
 */
static void access_take(struct fs_dax *dax, size_t index, uint64_t start, uint64_t end)
{
	struct fs_mapping *mapping = &dax->mappings[index];

	if (mapping->owed_end > 0 && mapping->owed_start < start)
		start = mapping->owed_start;
	if (mapping->owed_end > end)
		end = mapping->owed_end;
	mapping->owed_start = start;
	mapping->owed_end = end;
	if (memory_replace(dax->host + index * FS_DAX_RANGE + start, end - start, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == 0)
		mapping->owed_end = 0;
}

/* The same with a part of what the guest has asked for. */
static void mapping_cut(struct fs_dax *dax, size_t index, uint64_t start, uint64_t end)
{
	access_take(dax, index, start, end);
	dax->mappings[index].cut = true;
}

/*
 * Under the lock. When it fails nothing is left there: the kernel may have taken away what was mapped, and then what
 * this process maps next could come to be in the window.
 *
 * #syscalls:vcpu mmap(_, _, PROT_READ, MAP_SHARED | MAP_FIXED)
 * #syscalls:vcpu mmap(_, _, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED)
 */
static int memory_map(
	struct fs_dax *dax, size_t first, size_t count, int fd, uint64_t offset, bool writable)
{
	int r = memory_replace(dax->host + first * FS_DAX_RANGE, count * FS_DAX_RANGE,
		writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, offset);

	for (size_t i = first; i < first + count; i++) {
		struct fs_mapping *mapping = &dax->mappings[i];

		if (r == 0)
			mapping->owed_end = 0;
		else if (mapping->inode)
			mapping_cut(dax, i, 0, FS_DAX_RANGE);
		else
			access_take(dax, i, 0, FS_DAX_RANGE);
	}
	return r;
}

int fs_dax_check_unmap(const struct fs_dax *dax, uint64_t window_offset, uint64_t length)
{
	return length == 0 || window_offset % FS_DAX_RANGE || length % FS_DAX_RANGE ||
			!checked_range(window_offset, length, dax->range_count * FS_DAX_RANGE)
		? -EINVAL
		: 0;
}

static void range_free(struct virtio_fs *fs, size_t index)
{
	struct fs_dax *dax = &fs->dax;
	struct fs_inode *inode;

	pthread_mutex_lock(&dax->lock);
	inode = dax->mappings[index].inode;
	if (inode) {
		dax->mappings[index] = (struct fs_mapping){0};
		access_take(dax, index, 0, FS_DAX_RANGE);
		count_used(dax);
	}
	pthread_mutex_unlock(&dax->lock);
	fs_inode_put(&fs->inodes, inode);
}

int fs_dax_unmap(struct virtio_fs *fs, uint64_t window_offset, uint64_t length)
{
	size_t first = window_offset / FS_DAX_RANGE;
	int r = fs_dax_check_unmap(&fs->dax, window_offset, length);

	for (size_t i = 0; r == 0 && i < length / FS_DAX_RANGE; i++)
		range_free(fs, first + i);
	return r;
}

void fs_dax_clear(struct virtio_fs *fs)
{
	for (size_t i = 0; i < fs->dax.range_count; i++)
		range_free(fs, i);
}

/* How far the range that begins at offset has a file of this size. */
static uint64_t mapping_end(uint64_t offset, uint64_t size)
{
	return size < offset + FS_DAX_RANGE ? size : offset + FS_DAX_RANGE;
}

/* Under the lock: whether the ranges are free, or show this part of the file already. */
static bool ranges_are_for(const struct fs_dax *dax, size_t first, size_t count,
	const struct fs_inode *inode, uint64_t offset)
{
	for (size_t i = 0; i < count; i++) {
		const struct fs_mapping *mapping = &dax->mappings[first + i];

		if (mapping->inode &&
			(mapping->inode != inode || mapping->offset != offset + i * FS_DAX_RANGE))
			return false;
	}
	return true;
}

static int room_give(int fd, int mode, uint64_t start, uint64_t end)
{
	int r;

	if (start == end)
		return 0;
	/* A tmpfs gives up at any signal, and one comes when the machine is paused. */
	do
		r = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(end - start));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/*
 * What shares its blocks with another file has no room of its own to be written, and looks like any data: on XFS the
 * overlay's copy is a clone. A file system that can do no such thing shares none. One call fills all holes, since to look
 * for them takes as long as the whole file is. Where the file system cannot promise any room there may be none when it
 * is needed.
 */
static int room_have(int fd, uint64_t start, uint64_t end)
{
	int r = room_give(fd, FALLOC_FL_UNSHARE_RANGE, start, end);

	if (r == -EOPNOTSUPP)
		r = room_give(fd, 0, start, end);
	return r == -EOPNOTSUPP ? 0 : r;
}

/* Not under the lock, since a disk takes its time. *ret_changes tells whether it is to be done again. */
static int room_prepare(
	struct fs_dax *dax, int fd, uint64_t offset, uint64_t length, unsigned int *ret_changes)
{
	struct statx status;
	uint64_t end = offset + length;
	int r;

	pthread_mutex_lock(&dax->lock);
	*ret_changes = dax->changes;
	pthread_mutex_unlock(&dax->lock);
	r = fs_fd_status(fd, &status);
	if (r < 0)
		return r;
	if (end > status.stx_size)
		end = status.stx_size;
	return offset < end ? room_have(fd, offset, end) : 0;
}

/* What is to be mapped. */
struct wanted {
	struct fs_inode *inode;
	uint64_t offset;
	size_t first, count; /* ranges */
	bool writable;
	/* The guest had it before it was parked, and saw the file up to the end: what cannot be had is settled later. */
	bool is_back;
	uint64_t end;
};

/*
 * Under the lock. changes: when there was room, if it was asked for. References that ranges had before are counted, for
 * the caller to give back.
 */
static int ranges_map(struct virtio_fs *fs, const struct wanted *wanted, int fd,
	unsigned int changes, size_t *ret_spare)
{
	uint64_t offset = wanted->offset;
	size_t first = wanted->first, count = wanted->count;
	struct fs_dax *dax = &fs->dax;
	struct statx status;
	uint64_t size;
	int r;

	*ret_spare = 0;
	r = fs_fd_status(fd, &status);
	if (r < 0)
		return r;
	size = status.stx_size;
	/*
	 * The last range may reach beyond the end of the file, but none may lie there, unless the guest has made the file shorter
	 * since it was mapped.
	 */
	if ((!wanted->is_back && offset + (count - 1) * FS_DAX_RANGE >= size) ||
		!ranges_are_for(dax, first, count, wanted->inode, offset))
		return -EINVAL;
	/* Another request of the guest's may have made holes since there was room. */
	if (wanted->writable && !wanted->is_back && changes != dax->changes)
		r = room_have(fd, offset, mapping_end(offset + (count - 1) * FS_DAX_RANGE, size));
	if (r < 0)
		return r;
	r = memory_map(dax, first, count, fd, offset, wanted->writable);
	for (size_t i = 0; r == 0 && i < count; i++) {
		uint64_t start = offset + i * FS_DAX_RANGE;

		if (dax->mappings[first + i].inode)
			(*ret_spare)++;
		dax->mappings[first + i] = (struct fs_mapping){
			.inode = fs_inode_reference(&fs->inodes, wanted->inode),
			.offset = start,
			/* What the file has lost meanwhile is for fs_dax_watch() to find. */
			.end = mapping_end(start, size < wanted->end ? wanted->end : size),
			.writable = wanted->writable,
		};
	}
	count_used(dax);
	return r;
}

/* Of the same file: the guest may have forgotten it since, and found it again under another number. */
static bool shows_file(const struct fs_mapping *mapping, const struct fs_inode *inode)
{
	return mapping->inode && fs_key_equal(&mapping->inode->key, &inode->key);
}

/* What is between two places of the file in a range that shows it. */
struct part {
	size_t index;
	uint64_t offset; /* of the range in the file */
	uint64_t start, end;
	bool writable;
};

/* Under the lock: whether the range shows something of the file between two places. */
static bool part_find(const struct fs_dax *dax, size_t index, const struct fs_inode *inode,
	uint64_t start, uint64_t end, struct part *ret)
{
	const struct fs_mapping *mapping = &dax->mappings[index];

	if (!shows_file(mapping, inode))
		return false;
	*ret = (struct part){
		.index = index,
		.offset = mapping->offset,
		.start = start < mapping->offset ? mapping->offset : start,
		.end = end > mapping->end ? mapping->end : end,
		.writable = mapping->writable,
	};
	return ret->start < ret->end;
}

/*
 * Whether the pages of a range between two places can be had: the call fails where an access would be tried for ever. Before
 * Linux 5.14 nobody knows.
 *
 * #syscalls:vcpu madvise(_, _, MADV_POPULATE_READ) madvise(_, _, MADV_POPULATE_WRITE)
 */
static bool pages_exist(
	const struct fs_dax *dax, size_t index, uint64_t start, uint64_t end, bool writable)
{
	uint8_t *at = dax->host + index * FS_DAX_RANGE + start;
	int r;

	do
		r = madvise(at, end - start, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	while (r < 0 && errno == EINTR);
	return r == 0 || (!writable && errno == EINVAL);
}

/* A page that could not be had: it is without access from now on, where it is still so and the file still has it. */
static void page_settle(
	struct fs_dax *dax, const struct fs_inode *inode, const struct part *part, uint64_t start)
{
	const struct fs_mapping *mapping = &dax->mappings[part->index];
	uint64_t end = start + PAGE_SIZE;
	struct statx status;

	pthread_mutex_lock(&dax->lock);
	if (shows_file(mapping, inode) && mapping->writable == part->writable &&
		mapping->offset == part->offset && fs_inode_status(inode, &status) == 0 &&
		part->offset + start < status.stx_size &&
		!pages_exist(dax, part->index, start, end, part->writable))
		mapping_cut(dax, part->index, start, end);
	pthread_mutex_unlock(&dax->lock);
}

/* Not under the lock. */
static void part_settle(struct fs_dax *dax, const struct fs_inode *inode, const struct part *part)
{
	uint64_t start = (part->start - part->offset) / PAGE_SIZE * PAGE_SIZE;
	uint64_t end = part->end - part->offset;

	/* All in one, where a page that is there stays as it is. */
	if (!part->writable && pages_exist(dax, part->index, start, end, false))
		return;
	for (uint64_t at = start; at < end; at += PAGE_SIZE)
		if (!pages_exist(dax, part->index, at, at + PAGE_SIZE, part->writable))
			page_settle(dax, inode, part, at);
}

/* Blocks behind the end of the file count like any other, hence the mark. */
bool fs_dax_may_have_holes(struct fs_inode *inode)
{
	struct statx status;

	if (atomic_load(&inode->dax) != FS_DAX_YES)
		return false;
	return atomic_load(&inode->punched) ||
		(atomic_load(&inode->written) &&
			(fs_inode_status(inode, &status) < 0 ||
				status.stx_blocks * 512 < status.stx_size));
}

/*
 * The guest may have made holes between two places of the file: where it is mapped for writing they get room, and a page
 * that cannot be had is without access from now on, until it is mapped again. Not under the lock but for such pages.
 */
static void holes_settle(struct virtio_fs *fs, struct fs_inode *inode, uint64_t start, uint64_t end)
{
	struct fs_dax *dax = &fs->dax;
	bool is_sparse = fs_dax_may_have_holes(inode);
	_cleanup_close_ int fd = -1;
	struct statx status;

	/* Behind the end no page is missing, and room there would be the guest's own affair. */
	if (fs_inode_status(inode, &status) == 0 && end > status.stx_size)
		end = status.stx_size;
	for (size_t i = 0; i < dax->range_count; i++) {
		struct part part;
		bool found;

		pthread_mutex_lock(&dax->lock);
		found = part_find(dax, i, inode, start, end, &part);
		pthread_mutex_unlock(&dax->lock);
		if (!found || (!part.writable && !is_sparse))
			continue;
		if (part.writable && fd < 0)
			fd = fs_inode_open(fs, inode, O_RDWR);
		if (!part.writable || fd < 0 || room_have(fd, part.start, part.end) < 0)
			part_settle(dax, inode, &part);
	}
}

/* Maps what the fd (-1: opened here, for reading) has open. */
static int map_open(struct virtio_fs *fs, const struct wanted *wanted, int fd)
{
	_cleanup_close_ int own_fd = -1;
	unsigned int changes = 0;
	size_t spare = 0;
	int r = 0;

	if (wanted->writable && !wanted->is_back)
		r = room_prepare(
			&fs->dax, fd, wanted->offset, wanted->count * FS_DAX_RANGE, &changes);
	if (r < 0)
		return r;
	pthread_mutex_lock(&fs->dax.lock);
	if (fd < 0)
		fd = own_fd = fs_inode_open(fs, wanted->inode, O_RDONLY);
	r = fd < 0 ? fd : ranges_map(fs, wanted, fd, changes, &spare);
	pthread_mutex_unlock(&fs->dax.lock);
	while (spare-- > 0)
		fs_inode_put(&fs->inodes, wanted->inode);
	return r;
}

static int map_writable(struct virtio_fs *fs, const struct wanted *wanted)
{
	struct fs_inode *inode = wanted->inode;
	struct fs_data *data;
	int fd, r = fs_inode_writable(inode);

	if (r < 0)
		return r;
	/* In a session without OPEN the inode's fd is to be that of the file written to. */
	if (fs_session_opens_nothing(fs)) {
		r = fs_inode_data(fs, inode, true, &data);
		if (r == 0) {
			r = map_open(fs, wanted, data->fd);
			fs_data_put(&fs->data, data);
		}
	} else {
		fd = fs_inode_open(fs, inode, O_RDWR);
		if (fd < 0)
			return fd;
		r = map_open(fs, wanted, fd);
		close(fd);
	}
	/* Its policy may have changed meanwhile. */
	if (r == 0 && fs_inode_writable(inode) < 0) {
		fs_dax_restrict(fs, inode);
		r = -EROFS;
	}
	return r;
}

static int map_wanted(struct virtio_fs *fs, const struct wanted *wanted)
{
	uint64_t end = wanted->offset + wanted->count * FS_DAX_RANGE;
	int r = wanted->writable ? map_writable(fs, wanted) : map_open(fs, wanted, -1);

	if (r == 0 &&
		(wanted->is_back || (!wanted->writable && fs_dax_may_have_holes(wanted->inode))))
		holes_settle(fs, wanted->inode, wanted->offset, end);
	return r;
}

/* Whether such a request can be good. */
static bool is_sound(const struct fs_dax *dax, const struct fs_inode *inode, uint64_t offset,
	uint64_t window_offset, uint64_t length)
{
	return fs_dax_check_unmap(dax, window_offset, length) == 0 && offset % FS_DAX_RANGE == 0 &&
		checked_range(offset, length, INT64_MAX) && atomic_load(&inode->dax) == FS_DAX_YES;
}

int fs_dax_map(struct virtio_fs *fs, struct fs_inode *inode, uint64_t offset,
	uint64_t window_offset, uint64_t length, bool writable)
{
	struct wanted wanted = {
		.inode = inode,
		.offset = offset,
		.first = window_offset / FS_DAX_RANGE,
		.count = length / FS_DAX_RANGE,
		.writable = writable,
	};

	return is_sound(&fs->dax, inode, offset, window_offset, length) ? map_wanted(fs, &wanted)
									: -EINVAL;
}

int fs_dax_opened_for_writing(struct virtio_fs *fs, struct fs_inode *inode)
{
	struct fs_dax *dax = &fs->dax;
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (atomic_load(&inode->dax) != FS_DAX_YES || atomic_exchange(&inode->written, true))
		return 0;
	pthread_mutex_lock(&dax->lock);
	for (size_t i = 0; i < dax->range_count; i++) {
		const struct fs_mapping *mapping = &dax->mappings[i];
		int mapped;

		if (mapping->inode != inode || mapping->writable)
			continue;
		if (fd < 0)
			fd = fs_inode_open(fs, inode, O_RDONLY);
		mapped = memory_map(dax, i, 1, fd, mapping->offset, false);
		if (mapped < 0)
			r = fd < 0 ? fd : mapped;
	}
	pthread_mutex_unlock(&dax->lock);
	return r;
}

void fs_dax_resize_begin(struct virtio_fs *fs, struct fs_inode *inode)
{
	if (atomic_load(&inode->dax) != FS_DAX_YES)
		return;
	pthread_mutex_lock(&fs->dax.lock);
	inode->resizes++;
	pthread_mutex_unlock(&fs->dax.lock);
}

void fs_dax_resize_end(struct virtio_fs *fs, struct fs_inode *inode)
{
	struct fs_dax *dax = &fs->dax;
	uint64_t grown_from = UINT64_MAX;
	struct statx status;
	bool known;

	if (atomic_load(&inode->dax) != FS_DAX_YES)
		return;
	pthread_mutex_lock(&dax->lock);
	inode->resizes--;
	dax->changes++;
	known = fs_inode_status(inode, &status) == 0;
	for (size_t i = 0; known && i < dax->range_count; i++) {
		struct fs_mapping *mapping = &dax->mappings[i];
		uint64_t before = mapping->end;

		if (!shows_file(mapping, inode))
			continue;
		mapping->end = mapping_end(mapping->offset, status.stx_size);
		if (before < mapping->end && before < grown_from)
			grown_from = before;
	}
	pthread_mutex_unlock(&dax->lock);
	if (grown_from != UINT64_MAX)
		holes_settle(fs, inode, grown_from, status.stx_size);
}

void fs_dax_punched(struct virtio_fs *fs, struct fs_inode *inode, uint64_t offset, uint64_t length)
{
	struct fs_dax *dax = &fs->dax;

	if (atomic_load(&inode->dax) != FS_DAX_YES)
		return;
	pthread_mutex_lock(&dax->lock);
	dax->changes++;
	atomic_store(&inode->punched, true);
	pthread_mutex_unlock(&dax->lock);
	holes_settle(fs, inode, offset, offset + length);
}

bool fs_dax_may_write(struct fs_inode *inode)
{
	return atomic_load(&inode->dax) == FS_DAX_YES && atomic_load(&inode->written);
}

void fs_dax_restrict(struct virtio_fs *fs, struct fs_inode *inode)
{
	struct fs_dax *dax = &fs->dax;

	if (fs_inode_writable(inode) == 0)
		return;
	pthread_mutex_lock(&dax->lock);
	for (size_t i = 0; i < dax->range_count; i++) {
		struct fs_mapping *mapping = &dax->mappings[i];

		if (mapping->inode != inode || !mapping->writable)
			continue;
		mapping->writable = false;
		mapping_cut(dax, i, 0, FS_DAX_RANGE);
	}
	pthread_mutex_unlock(&dax->lock);
}

size_t fs_dax_count(struct fs_dax *dax)
{
	size_t count;

	pthread_mutex_lock(&dax->lock);
	count = dax->used_count;
	pthread_mutex_unlock(&dax->lock);
	return count;
}

/* Under the lock. */
static bool range_watch(struct fs_dax *dax, size_t index)
{
	struct fs_mapping *mapping = &dax->mappings[index];
	struct statx status;
	uint64_t left;

	if (!mapping->inode || mapping->inode->resizes > 0 ||
		fs_inode_status(mapping->inode, &status) < 0)
		return false;
	if (status.stx_size >= mapping->end) {
		mapping->end = mapping_end(mapping->offset, status.stx_size);
		return false;
	}
	left = status.stx_size > mapping->offset ? status.stx_size - mapping->offset : 0;
	left = (left + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	mapping->end = status.stx_size;
	/* A file that ends in the same page as before has lost no page. */
	if (left < FS_DAX_RANGE)
		mapping_cut(dax, index, left, FS_DAX_RANGE);
	return left < FS_DAX_RANGE;
}

/* Under the lock. */
static void ranges_watch(struct fs_dax *dax)
{
	for (size_t i = 0; i < dax->range_count && dax->used_count > 0; i++) {
		dax->lost |= range_watch(dax, i);
		if (dax->mappings[i].owed_end > 0)
			access_take(dax, i, dax->mappings[i].owed_start, dax->mappings[i].owed_end);
	}
	count_used(dax);
}

/* #syscalls:loop read */
bool fs_dax_watch(struct fs_dax *dax)
{
	uint64_t expirations;
	bool lost;

	/* Only clears it. */
	if (read(dax->timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return false;
	pthread_mutex_lock(&dax->lock);
	ranges_watch(dax);
	lost = dax->lost;
	dax->lost = false;
	pthread_mutex_unlock(&dax->lock);
	return lost;
}

bool fs_dax_was_cut(struct fs_dax *dax)
{
	bool cut = false;

	pthread_mutex_lock(&dax->lock);
	ranges_watch(dax);
	for (size_t i = 0; i < dax->range_count && !cut; i++)
		cut = dax->mappings[i].cut;
	pthread_mutex_unlock(&dax->lock);
	return cut;
}

/* ---- parking */

int fs_dax_save(struct virtio_fs *fs, struct state_writer *writer, struct error *err)
{
	const struct fs_dax *dax = &fs->dax;
	uint32_t count = 0;

	for (size_t i = 0; i < dax->range_count; i++)
		count += dax->mappings[i].inode != NULL;
	state_put_u32(writer, (uint32_t)dax->range_count);
	state_put_u32(writer, count);
	for (size_t i = 0; i < dax->range_count; i++) {
		const struct fs_mapping *mapping = &dax->mappings[i];

		if (!mapping->inode)
			continue;
		if (fs->inodes.slots[(uint32_t)mapping->inode->id].inode != mapping->inode)
			return error_set(err, -EBUSY,
				"the guest has a file mapped that it does not know any more");
		state_put_u32(writer, (uint32_t)i);
		state_put_u32(writer, mapping->writable);
		state_put_u64(writer, mapping->inode->id);
		state_put_u64(writer, mapping->offset);
		state_put_u64(writer, mapping->end);
	}
	return 0;
}

int fs_dax_restore(struct virtio_fs *fs, struct state_reader *reader, struct error *err)
{
	uint32_t range_count = state_get_u32(reader), count = state_get_u32(reader);
	int r = 0;

	if (reader->error || range_count != fs->dax.range_count || count > range_count)
		return error_set(err, -EBADMSG, "saved state: its window for files is another one");
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		uint32_t range = state_get_u32(reader), writable = state_get_u32(reader);
		uint64_t inode_id = state_get_u64(reader), offset = state_get_u64(reader);
		uint64_t end = state_get_u64(reader);
		struct wanted wanted = {
			.inode = fs_inode_get(&fs->inodes, inode_id),
			.offset = offset,
			.first = range,
			.count = 1,
			.writable = writable,
			.is_back = true,
			.end = end,
		};

		r = !reader->error && writable <= 1 && wanted.inode &&
				wanted.end <= offset + FS_DAX_RANGE &&
				is_sound(&fs->dax, wanted.inode, offset, range * FS_DAX_RANGE,
					FS_DAX_RANGE)
			? map_wanted(fs, &wanted)
			: -EINVAL;
		fs_inode_put(&fs->inodes, wanted.inode);
	}
	return r < 0 ? error_set_errno(err, r, "cannot map a file that the parked guest has mapped")
		     : 0;
}
