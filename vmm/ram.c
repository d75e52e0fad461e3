// SPDX-License-Identifier: Apache-2.0
/*
 * ram.c: guest RAM and its file.
 *
 * Theory of operation: most of a guest's RAM was never touched, and reading such a page to find it zero
 * would make it exist. So the kernel is asked first: /proc/self/pagemap tells which pages this process
 * has, and the holes of the file that the RAM was mapped from tell which of the others can have content.
 * What remains is looked at, and written in runs.
 *
 * #syscalls: mmap madvise newfstatat
 * #syscalls:loop munmap
 * #syscalls:park pread64 pwrite64 lseek(_, _, SEEK_DATA) lseek(_, _, SEEK_HOLE) ftruncate
 */
#include "vmm/ram.h"

#include "vmm/layout.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_SIZE      4096u
#define HUGE_PAGE_SIZE (2ul << 20)
/* Pages looked at in one go. */
#define CHUNK_PAGES 512u

/* Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)

int ram_map(uint64_t size, int fd, struct guest_memory *ret, struct error *err)
{
	uint64_t low = size < LAYOUT_RAM_HOLE ? size : LAYOUT_RAM_HOLE;
	const uint64_t sizes[] = {low, size - low}, starts[] = {0, LAYOUT_RAM_HIGH};
	struct stat st;
	uint64_t offset = 0;

	*ret = (struct guest_memory){0};
	if (fd >= 0 && fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "memory of the parked machine");
	if (fd >= 0 && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size))
		return error_set(err, -EBADMSG,
			"memory of the parked machine: %lld bytes, expected %" PRIu64,
			(long long)st.st_size, size);
	for (size_t i = 0; i < ARRAY_SIZE(sizes) && sizes[i] > 0; i++) {
		/* MAP_NORESERVE: a guest that never uses its memory never costs it. */
		void *host = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0), fd,
			(off_t)offset);

		if (host == MAP_FAILED)
			return error_set_errno(err, -errno,
				"cannot map %" PRIu64 " MiB of guest memory", sizes[i] >> 20);
		madvise(host, sizes[i], MADV_DONTDUMP);
		ret->regions[i] =
			(struct guest_region){.start = starts[i], .size = sizes[i], .host = host};
		ret->count = i + 1;
		offset += sizes[i];
	}
	return 0;
}

int ram_add_window(struct guest_memory *memory, uint64_t size, struct error *err)
{
	const struct guest_region *last = &memory->regions[memory->count - 1];
	uint64_t start = last->start + last->size;
	uint8_t *host;
	size_t before;

	/* Of 2 MiB more what is before and behind the aligned part goes back. */
	host = mmap(NULL, size + HUGE_PAGE_SIZE, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (host == MAP_FAILED)
		return error_set_errno(err, -errno,
			"cannot reserve %" PRIu64 " MiB of addresses for files", size >> 20);
	before = HUGE_PAGE_SIZE - (uintptr_t)host % HUGE_PAGE_SIZE;
	munmap(host, before);
	host += before;
	if (before < HUGE_PAGE_SIZE)
		munmap(host + size, HUGE_PAGE_SIZE - before);
	if (start < LAYOUT_RAM_HIGH)
		start = LAYOUT_RAM_HIGH;
	start += LAYOUT_WINDOW_ALIGNMENT - 1;
	memory->window = (struct guest_region){
		.start = start - start % LAYOUT_WINDOW_ALIGNMENT,
		.size = size,
		.host = host,
	};
	return 0;
}

void ram_unmap(struct guest_memory *memory)
{
	if (memory->window.size > 0)
		munmap(memory->window.host, memory->window.size);
	memory->window = (struct guest_region){0};
	for (size_t i = 0; i < memory->count; i++)
		munmap(memory->regions[i].host, memory->regions[i].size);
	memory->count = 0;
}

/* The extents of the source file, walked upwards. */
struct extents {
	int fd;           /* -1: everything that was not touched is zero */
	off_t data, hole; /* the present extent; data < 0: there is no further one */
};

static bool extents_have(struct extents *extents, off_t offset)
{
	while (extents->fd >= 0 && extents->data >= 0 && offset >= extents->hole) {
		extents->data = lseek(extents->fd, offset, SEEK_DATA);
		if (extents->data < 0 && errno != ENXIO)
			extents->data = offset; /* a file system that cannot tell */
		if (extents->data >= 0)
			extents->hole = lseek(extents->fd, extents->data, SEEK_HOLE);
		if (extents->hole <= offset)
			extents->hole = offset + PAGE_SIZE;
	}
	return extents->fd >= 0 && extents->data >= 0 && offset >= extents->data;
}

static bool page_is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return first == 0 && !memcmp(page, page + sizeof(first), PAGE_SIZE - sizeof(first));
}

static int write_exactly(int fd, const uint8_t *data, size_t length, off_t offset)
{
	while (length > 0) {
		ssize_t n = pwrite(fd, data, length, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		offset += n;
		length -= (size_t)n;
	}
	return 0;
}

/* Writes what is not zero of pages pages at host, whose place in the files is offset. */
static int save_chunk(const uint8_t *host, size_t pages, off_t offset, struct extents *extents,
	int pagemap_fd, int fd)
{
	uint64_t entries[CHUNK_PAGES];
	size_t run = 0; /* pages before the present one that are to be written */
	bool known;

	known = pread(pagemap_fd, entries, pages * sizeof(entries[0]),
			(off_t)((uintptr_t)host / PAGE_SIZE * sizeof(entries[0]))) ==
		(ssize_t)(pages * sizeof(entries[0]));
	for (size_t i = 0; i <= pages; i++) {
		const uint8_t *page = host + i * PAGE_SIZE;
		bool wanted = i < pages &&
			(!known || entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED) ||
				extents_have(extents, offset + (off_t)(i * PAGE_SIZE))) &&
			!page_is_zero(page);
		int r;

		if (wanted) {
			run++;
			continue;
		}
		if (run == 0)
			continue;
		r = write_exactly(fd, page - run * PAGE_SIZE, run * PAGE_SIZE,
			offset + (off_t)((i - run) * PAGE_SIZE));
		if (r < 0)
			return r;
		run = 0;
	}
	return 0;
}

int ram_save(
	const struct guest_memory *memory, int source_fd, int pagemap_fd, int fd, struct error *err)
{
	struct extents extents = {.fd = source_fd};
	off_t start = 0;

	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		for (uint64_t at = 0; at < region->size;) {
			size_t pages = CHUNK_PAGES;
			int r;

			if (pages > (region->size - at) / PAGE_SIZE)
				pages = (region->size - at) / PAGE_SIZE;
			r = save_chunk(region->host + at, pages, start + (off_t)at, &extents,
				pagemap_fd, fd);
			if (r < 0)
				return error_set_errno(err, r, "cannot write the machine's memory");
			at += (uint64_t)pages * PAGE_SIZE;
		}
		start += (off_t)region->size;
	}
	if (ftruncate(fd, start) < 0)
		return error_set_errno(err, -errno, "cannot write the machine's memory");
	return 0;
}
