// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_fs_state.c: the saved state of the file server, taken up by a new device.
 *
 * The first byte of an input says whether volumes are shared; the rest is the state's section. Beside
 * what the sanitizers find, an input fails when a device that took it up exceeds its bounds, lets the
 * guest change the read-only volume, or cannot be saved and taken up once more.
 */
#include "base/file.h"
#include "virtio/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TAG         STATE_TAG('f', 'u', 'z', 'z')
#define INODES_MAX  16
#define RANGES      4
#define WINDOW_SIZE (RANGES * (2ull << 20))
#define HANDLES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top_path[64];
static int top_fd = -1, tree_fd = -1;

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void make_file(const char *path)
{
	int fd = openat(tree_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	require(fd >= 0 && write(fd, "content", 7) == 7);
	close(fd);
}

static void cleanup(void)
{
	close(tree_fd);
	directory_remove(top_fd, "tree");
	close(top_fd);
	rmdir(top_path);
}

static void setup(void)
{
	if (!mkdtemp(strcpy(top_path, "/dev/shm/fuzz-fs-state-XXXXXX")))
		require(mkdtemp(strcpy(top_path, "/tmp/fuzz-fs-state-XXXXXX")) != NULL);
	top_fd = open(top_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(top_fd >= 0 && mkdirat(top_fd, "tree", 0755) == 0);
	tree_fd = openat(top_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(tree_fd >= 0 && mkdirat(tree_fd, "volumes", 0755) == 0 &&
		mkdirat(tree_fd, "volumes/shared", 0755) == 0 &&
		mkdirat(tree_fd, "volumes/fixed", 0755) == 0 &&
		symlinkat("..", tree_fd, "link") == 0 && mkfifoat(tree_fd, "fifo", 0644) == 0);
	make_file("file");
	make_file("volumes/shared/file");
	make_file("volumes/fixed/file");
	atexit(cleanup);
}

/* A window of its own, which nobody may touch. */
static const struct guest_memory *memory_with_window(void)
{
	static struct guest_memory memory;

	if (!memory.window.host) {
		void *host = mmap(NULL, WINDOW_SIZE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		require(host != MAP_FAILED);
		memory.window = (struct guest_region){1ull << 32, WINDOW_SIZE, host};
	}
	return &memory;
}

static struct virtio_fs *serve(bool alone)
{
	static const struct virtio_fs_export exports[] = {
		{"volumes/shared", VIRTIO_FS_SHARED},
		{"volumes/fixed", VIRTIO_FS_READ_ONLY_SHARED},
	};
	struct virtio_fs_options options = {
		.tag = "fuzz",
		.tree_fd = fcntl(tree_fd, F_DUPFD_CLOEXEC, 0),
		.exports = exports,
		.export_count = alone ? 0 : ARRAY_SIZE(exports),
		.inodes_max = INODES_MAX,
		.handles_max = HANDLES_MAX,
		.dax = VIRTIO_FS_DAX_ALWAYS,
	};
	struct virtio_fs *fs;

	require(virtio_fs_create(memory_with_window(), &options, &fs, NULL) == 0);
	return fs;
}

static int restore(struct virtio_fs *fs, const void *data, size_t length)
{
	struct virtio_device *device = virtio_fs_device(fs);
	struct state_reader reader;
	struct error err = {0};
	int r;

	state_reader_init(&reader, data, length);
	require(state_open(&reader, TAG, 1, &err) == 0);
	pthread_mutex_lock(&device->lock);
	r = device->operations->restore(device, &reader, &err);
	pthread_mutex_unlock(&device->lock);
	if (r == 0)
		r = state_close(&reader, &err);
	require(r == 0 || err.message[0] != '\0');
	return r;
}

static void save(struct virtio_fs *fs, struct state_writer *writer)
{
	struct virtio_device *device = virtio_fs_device(fs);

	state_begin(writer, TAG, 1);
	pthread_mutex_lock(&device->lock);
	require(device->operations->save(device, writer, NULL) == 0);
	pthread_mutex_unlock(&device->lock);
	state_end(writer);
	require(writer->error == 0);
}

/* Opens for writing, and writes, whatever the guest may know. */
static void use(struct virtio_fs *fs)
{
	struct {
		struct fuse_in_header header;
		union {
			struct fuse_open_in open;
			struct {
				struct fuse_write_in write;
				char byte;
			};
		};
	} in;
	uint8_t out[256];

	for (uint64_t i = 0; i < 64; i++) {
		memset(&in, 0, sizeof(in));
		in.header.nodeid = i % 16;
		if (i < 16) {
			in.header.opcode = FUSE_OPEN;
			in.header.len = sizeof(in.header) + sizeof(in.open);
			in.open.flags = O_RDWR;
		} else {
			in.header.opcode = FUSE_WRITE;
			in.header.len = sizeof(in.header) + sizeof(in.write) + 1;
			in.write.size = 1;
			in.write.fh = i / 16 - 1;
			in.byte = 'x';
		}
		virtio_fs_serve(fs, &in, in.header.len, out, sizeof(out));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_fs_statistics statistics;
	struct state_writer writer = {0};
	struct stat before, after;
	struct virtio_fs *fs;
	bool alone;

	if (top_fd < 0)
		setup();
	if (size == 0)
		return 0;
	alone = *data & 1;
	require(fstatat(tree_fd, "volumes/fixed/file", &before, 0) == 0);
	fs = serve(alone);
	state_begin(&writer, TAG, 1);
	state_put(&writer, data + 1, size - 1);
	state_end(&writer);
	if (restore(fs, writer.data, writer.length) == 0) {
		virtio_fs_statistics(fs, &statistics);
		require(statistics.inodes <= INODES_MAX && statistics.handles <= HANDLES_MAX &&
			statistics.mappings <= RANGES);
		state_writer_done(&writer);
		save(fs, &writer);
		virtio_fs_free(fs);
		fs = serve(alone);
		require(restore(fs, writer.data, writer.length) == 0);
		use(fs);
	}
	state_writer_done(&writer);
	virtio_fs_free(fs);
	require(fstatat(tree_fd, "volumes/fixed/file", &after, 0) == 0);
	require(alone ||
		(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
			before.st_mtim.tv_nsec == after.st_mtim.tv_nsec));
	return 0;
}
