// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_fuse.c: sequences of FUSE requests against the file server.
 *
 * An input is a list of records, each one request: opcode, inode, handle, names and the bytes of
 * the operation's structure. Inodes and handles are mostly those that earlier replies gave. Beside
 * what the sanitizers find, an input fails when a reply is not well formed, or when something
 * changes that a guest must not reach: what lies outside of the tree, and the read-only volume
 * inside.
 * The first byte of an input says whether volumes are shared; without, the guest opens no files.
 */
#include "base/file.h"
#include "tests/fuzz/input.h"
#include "virtio/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define KNOWN_MAX    16
#define REQUESTS_MAX 64
#define ROOM_MAX     8192
#define FILE_MAX     (1u << 20)
#define INODES_MAX   64
#define RANGES       4
#define WINDOW_SIZE  (RANGES * (2ull << 20))
#define HANDLES_MAX  16

/* What one request is made of, as it stands in the input. */
struct record {
	uint8_t opcode, node, handle, caller;
	uint8_t names; /* low half: the first name's number, high half: the second's; 0: none */
	uint8_t flags, length, room;
};

#define RECORD_HANDLE 0x01 /* the structure starts with a handle */
#define RECORD_EXACT  0x02 /* the structure has the operation's size, whatever length says */
#define RECORD_BREAK  0x04 /* the header lies about its length */
#define RECORD_NODE   0x08 /* the structure starts with an inode (LINK, RENAME) */
#define RECORD_LATER  0x10 /* the handle stands behind the first 8 bytes (GETATTR, SETATTR, STATX) */
#define RECORD_COPY   0x20 /* names are none, but inode and handle that COPY_FILE_RANGE copies to */

static const struct {
	uint8_t opcode, size;
} operations[] = {
	{FUSE_LOOKUP, 0},
	{FUSE_FORGET, sizeof(struct fuse_forget_in)},
	{FUSE_GETATTR, sizeof(struct fuse_getattr_in)},
	{FUSE_SETATTR, sizeof(struct fuse_setattr_in)},
	{FUSE_READLINK, 0},
	{FUSE_SYMLINK, 0},
	{FUSE_MKNOD, sizeof(struct fuse_mknod_in)},
	{FUSE_MKDIR, sizeof(struct fuse_mkdir_in)},
	{FUSE_UNLINK, 0},
	{FUSE_RMDIR, 0},
	{FUSE_RENAME, sizeof(struct fuse_rename_in)},
	{FUSE_LINK, sizeof(struct fuse_link_in)},
	{FUSE_OPEN, sizeof(struct fuse_open_in)},
	{FUSE_READ, sizeof(struct fuse_read_in)},
	{FUSE_WRITE, sizeof(struct fuse_write_in)},
	{FUSE_STATFS, 0},
	{FUSE_RELEASE, sizeof(struct fuse_release_in)},
	{FUSE_FSYNC, sizeof(struct fuse_fsync_in)},
	{FUSE_SETXATTR, FUSE_COMPAT_SETXATTR_IN_SIZE},
	{FUSE_GETXATTR, sizeof(struct fuse_getxattr_in)},
	{FUSE_LISTXATTR, sizeof(struct fuse_getxattr_in)},
	{FUSE_REMOVEXATTR, 0},
	{FUSE_FLUSH, sizeof(struct fuse_flush_in)},
	{FUSE_INIT, sizeof(struct fuse_init_in)},
	{FUSE_OPENDIR, sizeof(struct fuse_open_in)},
	{FUSE_READDIR, sizeof(struct fuse_read_in)},
	{FUSE_RELEASEDIR, sizeof(struct fuse_release_in)},
	{FUSE_FSYNCDIR, sizeof(struct fuse_fsync_in)},
	{FUSE_CREATE, sizeof(struct fuse_create_in)},
	{FUSE_DESTROY, 0},
	{FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in)},
	{FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in)},
	{FUSE_READDIRPLUS, sizeof(struct fuse_read_in)},
	{FUSE_RENAME2, sizeof(struct fuse_rename2_in)},
	{FUSE_LSEEK, sizeof(struct fuse_lseek_in)},
	{FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in)},
	{FUSE_SYNCFS, sizeof(struct fuse_syncfs_in)},
	{FUSE_TMPFILE, sizeof(struct fuse_create_in)},
	{FUSE_SETUPMAPPING, sizeof(struct fuse_setupmapping_in)},
	{FUSE_REMOVEMAPPING,
		sizeof(struct fuse_removemapping_in) + sizeof(struct fuse_removemapping_one)},
	{52 /* STATX */, 24},
	{255, 0},
};

static const char *const names[16] = {NULL, "file", "directory", "link", "volumes", "shared",
	"fixed", "new", "other", "..", "../secret", "/", "", ".", "user.a",
	"trusted.overlay.opaque"};

/* What the input has got hold of. */
static uint64_t known_nodes[KNOWN_MAX], known_handles[KNOWN_MAX];
static size_t node_count, handle_count;

static char top_path[64];
static int top_fd = -1, tree_fd = -1, fixed_fd = -1;
static struct virtio_fs *fs;
static bool alone; /* no volume is shared: the guest may change all of the tree */

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void make_file(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void tree_fill(void)
{
	require(mkdirat(tree_fd, "directory", 0755) == 0 || errno == EEXIST);
	require(symlinkat("../../secret", tree_fd, "link") == 0 || errno == EEXIST);
	make_file(tree_fd, "file", "content");
	make_file(tree_fd, "directory/file", "content");
}

/* Removes what the last input made, but not the volumes, whose inodes the server knows. */
static void tree_reset(void)
{
	static const char *const own[] = {"file", "directory", "link", "new", "other", "shared",
		"fixed", "user.a", "trusted.overlay.opaque"};
	int fd = openat(tree_fd, "volumes/shared", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	require(fd >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		directory_remove(tree_fd, own[i]);
		directory_remove(fd, own[i]);
	}
	directory_remove(fd, "volumes");
	close(fd);
	tree_fill();
}

static void world_remove(void)
{
	virtio_fs_free(fs);
	fs = NULL;
	close(fixed_fd);
	close(tree_fd);
	directory_remove(top_fd, "tree");
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

static void world_make(void)
{
	static const struct virtio_fs_export exports[] = {
		{"volumes/shared", VIRTIO_FS_SHARED},
		{"volumes/fixed", VIRTIO_FS_READ_ONLY_SHARED},
	};
	struct virtio_fs_options options = {
		.tag = "fuzz",
		.exports = exports,
		.export_count = alone ? 0 : ARRAY_SIZE(exports),
		.inodes_max = INODES_MAX,
		.handles_max = HANDLES_MAX,
		.dax = VIRTIO_FS_DAX_ALWAYS,
	};

	require(mkdirat(top_fd, "tree", 0755) == 0);
	tree_fd = openat(top_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(mkdirat(tree_fd, "volumes", 0755) == 0 &&
		mkdirat(tree_fd, "volumes/shared", 0755) == 0 &&
		mkdirat(tree_fd, "volumes/fixed", 0755) == 0 &&
		mkdirat(tree_fd, "volumes/fixed/directory", 0755) == 0);
	make_file(tree_fd, "volumes/fixed/file", "fixed");
	fixed_fd = openat(tree_fd, "volumes/fixed", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tree_fill();
	options.tree_fd = fcntl(tree_fd, F_DUPFD_CLOEXEC, 0);
	require(virtio_fs_create(memory_with_window(), &options, &fs, NULL) == 0);
}

/* Whether the volumes are where they were: what holds the mount points is the guest's to rename. */
static bool world_intact(void)
{
	struct stat found, fixed;
	struct stat shared;

	return fstat(fixed_fd, &fixed) == 0 &&
		fstatat(tree_fd, "volumes/fixed", &found, AT_SYMLINK_NOFOLLOW) == 0 &&
		found.st_ino == fixed.st_ino &&
		fstatat(tree_fd, "volumes/shared", &shared, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISDIR(shared.st_mode);
}

static void cleanup(void)
{
	world_remove();
	directory_remove(top_fd, "secret");
	close(top_fd);
	rmdir(top_path);
}

static void setup(void)
{
	struct rlimit limit = {FILE_MAX, FILE_MAX};

	if (!mkdtemp(strcpy(top_path, "/dev/shm/fuzz-fuse-XXXXXX")))
		require(mkdtemp(strcpy(top_path, "/tmp/fuzz-fuse-XXXXXX")) != NULL);
	top_fd = open(top_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(top_fd >= 0);
	make_file(top_fd, "secret", "outside");
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	world_make();
	atexit(cleanup);
}

static void remember(uint64_t *known, size_t *count, uint64_t id)
{
	if (id)
		known[(*count)++ % KNOWN_MAX] = id;
}

static uint64_t choose(const uint64_t *known, size_t count, uint8_t number)
{
	size_t usable = count < KNOWN_MAX ? count : KNOWN_MAX;

	if (number >= 0xf0) /* an invented one */
		return (uint64_t)number << 32 | number;
	return usable ? known[number % usable] : 0;
}

/* Takes inodes and handles out of a good reply, and checks its form. */
static void reply_learn(uint32_t opcode, const uint8_t *payload, size_t length)
{
	struct fuse_entry_out entry;
	struct fuse_open_out open_out;

	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
		require(length == sizeof(entry));
		memcpy(&entry, payload, sizeof(entry));
		remember(known_nodes, &node_count, entry.nodeid);
		break;
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		require(length == sizeof(entry) + sizeof(open_out));
		memcpy(&entry, payload, sizeof(entry));
		memcpy(&open_out, payload + sizeof(entry), sizeof(open_out));
		remember(known_nodes, &node_count, entry.nodeid);
		remember(known_handles, &handle_count, open_out.fh);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		require(length == sizeof(open_out));
		memcpy(&open_out, payload, sizeof(open_out));
		remember(known_handles, &handle_count, open_out.fh);
		break;
	case FUSE_READDIRPLUS:
		for (size_t next = 0; next < length;) {
			struct fuse_direntplus plus;

			require(length - next >= sizeof(plus));
			memcpy(&plus, payload + next, sizeof(plus));
			require(plus.dirent.namelen > 0 &&
				FUSE_DIRENTPLUS_SIZE(&plus) <= length - next);
			remember(known_nodes, &node_count, plus.entry_out.nodeid);
			next += FUSE_DIRENTPLUS_SIZE(&plus);
		}
		break;
	}
}

/*
 * A driver may be told that there is no such file, but not that what it says makes no sense; and Linux knows what is a
 * directory.
 */
static bool is_good(int32_t error)
{
	return error != -EINVAL && error != -EBADF && error != -ESTALE && error != -EIO &&
		error != -EISDIR && error != -ENOTDIR;
}

/* Without an open file where the driver has none: 15. */
static void copy_aim(void *arguments, uint8_t names)
{
	struct fuse_copy_file_range_in in;

	memcpy(&in, arguments, sizeof(in));
	in.nodeid_out = choose(known_nodes, node_count, names & 15);
	in.fh_out = names >> 4 == 15 ? 0 : choose(known_handles, handle_count, names >> 4);
	memcpy(arguments, &in, sizeof(in));
}

static void request_serve(const struct record *record, const uint8_t *bytes)
{
	size_t operation = record->opcode % ARRAY_SIZE(operations);
	size_t size = record->flags & RECORD_EXACT ? operations[operation].size : record->length;
	uint8_t in[sizeof(struct fuse_in_header) + 256 + 64] = {0}, *out;
	uint8_t *arguments = in + sizeof(struct fuse_in_header), *next = arguments + size;
	struct fuse_in_header header = {
		.opcode = operations[operation].opcode,
		.unique = record->opcode,
		.nodeid = record->node == 0 ? FUSE_ROOT_ID
					    : choose(known_nodes, node_count, record->node),
		.uid = record->caller & 1        ? 1000
			: record->caller == 0xff ? UINT32_MAX
						 : 0,
		.gid = record->caller & 2 ? 1000 : 0,
	};
	uint64_t id = record->flags & RECORD_NODE
		? choose(known_nodes, node_count, record->handle)
		: choose(known_handles, handle_count, record->handle);
	size_t room = record->room == 0xff ? ROOM_MAX : record->room * 8u;
	struct fuse_out_header reply;
	ssize_t length;

	if (size)
		memcpy(arguments, bytes, size < record->length ? size : record->length);
	if (record->flags & (RECORD_HANDLE | RECORD_NODE) && size >= sizeof(id))
		memcpy(arguments, &id, sizeof(id));
	if (record->flags & RECORD_LATER && size >= 2 * sizeof(id))
		memcpy(arguments + sizeof(id), &id, sizeof(id));
	if (record->flags & RECORD_COPY && size >= sizeof(struct fuse_copy_file_range_in))
		copy_aim(arguments, record->names);
	for (int i = 0; i < 2 && !(record->flags & RECORD_COPY); i++) {
		const char *name = names[i == 0 ? record->names & 15 : record->names >> 4];

		if (name)
			next = (uint8_t *)stpcpy((char *)next, name) + 1;
	}
	header.len = (uint32_t)(next - in) + (record->flags & RECORD_BREAK ? record->length : 0);
	memcpy(in, &header, sizeof(header));
	/* Of just the size that is promised, so that the sanitizer sees one byte more. */
	out = malloc(room);
	length = virtio_fs_serve(fs, in, (size_t)(next - in), out, room);
	require(length <= (ssize_t)room);
	if (length > 0) {
		require(length >= (ssize_t)sizeof(reply));
		memcpy(&reply, out, sizeof(reply));
		require(reply.len == length && reply.unique == header.unique && reply.error <= 0);
		require(reply.error == 0 || length == sizeof(reply));
		if (reply.error == 0)
			reply_learn(
				header.opcode, out + sizeof(reply), (size_t)length - sizeof(reply));
		answer_count(is_good(reply.error));
	} else {
		require(length == 0 || length == -EBADMSG);
		answer_count(length == 0);
	}
	free(out);
}

/* What a guest must never change. */
struct untouchable {
	struct stat secret, top, fixed, file, directory;
};

static void untouchable_look(struct untouchable *ret)
{
	memset(ret, 0, sizeof(*ret));
	require(fstatat(top_fd, "secret", &ret->secret, 0) == 0 && fstat(top_fd, &ret->top) == 0);
	if (alone)
		return;
	require(fstat(fixed_fd, &ret->fixed) == 0 &&
		fstatat(fixed_fd, "file", &ret->file, 0) == 0 &&
		fstatat(fixed_fd, "directory", &ret->directory, 0) == 0);
	/* A rename of the volume's own name, which is not in it, shows in its change time. */
	ret->fixed.st_ctim = ret->fixed.st_mtim;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
		a->st_nlink == b->st_nlink && a->st_size == b->st_size &&
		a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct {
		struct fuse_in_header header;
		struct fuse_init_in init;
	} init = {
		.header = {.len = sizeof(init), .opcode = FUSE_INIT},
		.init = {.major = 7, .minor = 41, .flags = UINT32_MAX, .flags2 = UINT32_MAX},
	};
	struct untouchable before, after;
	struct virtio_fs_statistics statistics;
	bool alone_before = alone;
	uint8_t out[256];

	if (size == 0)
		return 0;
	alone = *data++ & 1;
	size--;
	if (!fs)
		setup();
	else if (alone || alone_before || !world_intact()) {
		world_remove();
		world_make();
	}
	tree_reset();
	untouchable_look(&before);
	node_count = handle_count = 0;
	require(virtio_fs_serve(fs, &init, sizeof(init), out, sizeof(out)) > 0);
	for (unsigned int i = 0; i < REQUESTS_MAX && size >= sizeof(struct record); i++) {
		struct record record;
		uint8_t bytes[255] = {0};
		size_t length;

		memcpy(&record, data, sizeof(record));
		data += sizeof(record);
		size -= sizeof(record);
		length = record.length < size ? record.length : size;
		memcpy(bytes, data, length);
		data += length;
		size -= length;
		request_serve(&record, bytes);
	}
	virtio_fs_statistics(fs, &statistics);
	require(statistics.inodes <= INODES_MAX &&
		statistics.handles + statistics.data <= HANDLES_MAX &&
		statistics.mappings <= RANGES);
	/* Nobody but the guest cuts files here. */
	require(!virtio_fs_watch(fs));
	untouchable_look(&after);
	require(same(&before.secret, &after.secret) && same(&before.top, &after.top) &&
		same(&before.fixed, &after.fixed) && same(&before.file, &after.file) &&
		same(&before.directory, &after.directory));
	return 0;
}
