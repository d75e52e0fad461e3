/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DAX window for tests of the file server: what a driver asks for there, and what an access finds. One
 * world at a time. Failures end the test.
 */
#ifndef APPC_TESTS_UNIT_FUSE_WINDOW_H
#define APPC_TESTS_UNIT_FUSE_WINDOW_H

#include "fuse_client.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RANGE (2ull << 20)
#define READ  FUSE_SETUPMAPPING_FLAG_READ
#define WRITE (READ | FUSE_SETUPMAPPING_FLAG_WRITE)

static struct guest_memory memory;

/* Before the world is served. */
static inline void window_make(struct world *world, size_t size)
{
	void *host =
		mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(host != MAP_FAILED);
	memory = (struct guest_memory){
		.window = {.start = 4ull << 30, .size = size, .host = host},
	};
	world->memory = &memory;
}

/* After the world's end. */
static inline void window_free(void)
{
	munmap(memory.window.host, memory.window.size);
}

static inline uint8_t *window(uint64_t offset)
{
	return memory.window.host + offset;
}

/* A session that knows the window. */
static inline int init_with_window(struct virtio_fs *fs)
{
	struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 41,
		.flags = UINT32_MAX,
		.flags2 = UINT32_MAX,
	};

	return call(fs, FUSE_INIT, 0, PART(in), NOTHING, NOTHING);
}

static inline int map_length(struct virtio_fs *fs, uint64_t node, uint64_t offset, uint64_t at,
	uint64_t length, uint64_t flags)
{
	struct fuse_setupmapping_in in = {
		.fh = UINT64_MAX,
		.foffset = offset,
		.len = length,
		.flags = flags,
		.moffset = at,
	};

	return call(fs, FUSE_SETUPMAPPING, node, PART(in), NOTHING, NOTHING);
}

static inline int map(
	struct virtio_fs *fs, uint64_t node, uint64_t offset, uint64_t at, uint64_t flags)
{
	return map_length(fs, node, offset, at, RANGE, flags);
}

/* The signal that ends a process which has to do with a byte of the window, or 0. */
static inline int access_signal(volatile uint8_t *byte, bool write)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		/* The sanitizer would report what is asked for here. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		if (write)
			*byte = 1;
		else
			(void)*byte;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#endif
