// SPDX-License-Identifier: Apache-2.0
/*
 * The file server between two attackers: another process changes the tree under it (exchanges names,
 * replaces files by links, pipes, sockets and devices, moves and mounts directories), while the guest, from
 * several threads, sends every operation along those names.
 *
 * Outside of the tree, on the same file system, are canaries: whoever reads one changes its access time
 * (the mount has strictatime) or shows its text, whoever changes one changes its times or its content.
 * No fd may lead outside, and none may have been opened for data that is no regular file or
 * directory. At the end fds and memory are what they were.
 *
 * RACE_SECONDS=600 for a long run. With the thread sanitizer:
 *   make BUILD=build/tsan SANITIZE=-fsanitize=thread build/tsan/unit/test_virtio_fs_races
 */
#include "allocated.h"
#include "fuse_client.h"

#include <dirent.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#define SECONDS_DEFAULT 2
#define REQUESTS_MIN    20000
#define THREADS         3
#define NAMES           6
#define POOL            24
#define CANARIES        4
#define MARK            "CANARY"
#define GUEST_MARK      "GUEST WAS HERE"
#define FIXED_MODE      0640
#define LENGTH_MAX      (256u << 10)
#define RANGE           (2ull << 20)
#define RANGES          4u
/* What may differ at the end: tables that have grown. */
#define SLACK_BYTES (4u << 20)

static char top[64];

static long race_seconds(void)
{
	const char *text = getenv("RACE_SECONDS");

	return text ? strtol(text, NULL, 10) : SECONDS_DEFAULT;
}

static uint32_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

static uint32_t below(uint64_t *state, uint32_t bound)
{
	return random_next(state) % bound;
}

/* ---- the attacker on the host */

static const char *const bait[] = {"../../../secret", "../../../outside", "..", "/", ".",
	"/proc/self/root", "/proc/self/fd/0", "/proc/self/cwd", "/dev/zero", "n0", "n1/n2"};

static void host_name(uint64_t *random, char name[static 8])
{
	snprintf(name, 8, "%c%u", below(random, 8) ? 'n' : 'g', below(random, NAMES));
}

/* Absolute ones too: they lead to the canaries from everywhere. */
static void host_link(uint64_t *random, int dirfd, const char *name)
{
	char target[128];
	uint32_t choice = below(random, ARRAY_SIZE(bait) + 2);

	if (choice < ARRAY_SIZE(bait))
		snprintf(target, sizeof(target), "%s", bait[choice]);
	else
		snprintf(target, sizeof(target), "%s/%s", top, choice % 2 ? "secret" : "outside");
	(void)!symlinkat(target, dirfd, name);
}

/* Whole from the first moment that it has a name: this process ends at any instruction, and an empty file would look as
 * if the guest had done it. */
static void host_file(int dirfd, const char *name)
{
	char path[32];
	int fd = openat(dirfd, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, FIXED_MODE);

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (write(fd, "of the host", 11) == 11)
		(void)!linkat(AT_FDCWD, path, dirfd, name, AT_SYMLINK_FOLLOW);
	close(fd);
}

/* One change, in a directory or one below it. */
static void host_act(uint64_t *random, int dirfd)
{
	_cleanup_close_ int inner = -1;
	char a[8], b[8];

	host_name(random, a);
	host_name(random, b);
	if (below(random, 3) == 0) {
		inner = openat(dirfd, b, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0)
			dirfd = inner;
		host_name(random, b);
	}
	switch (below(random, 12)) {
	case 0:
	case 1:
	case 2:
		renameat2(dirfd, a, dirfd, b, RENAME_EXCHANGE);
		break;
	case 3:
		renameat2(dirfd, a, dirfd, b, 0);
		break;
	case 4:
		if (inner >= 0)
			directory_remove(dirfd, a);
		unlinkat(dirfd, a, AT_REMOVEDIR);
		break;
	case 5:
		unlinkat(dirfd, a, 0);
		mkfifoat(dirfd, a, FIXED_MODE);
		break;
	case 6:
		unlinkat(dirfd, a, 0);
		/* Zeros without end, and what any terminal is. Without nodev, as root. */
		mknodat(dirfd, a, S_IFCHR | FIXED_MODE, makedev(below(random, 2) ? 1 : 5, 5));
		break;
	case 7:
		unlinkat(dirfd, a, 0);
		mknodat(dirfd, a, S_IFSOCK | FIXED_MODE, 0);
		break;
	case 8:
		mkdirat(dirfd, a, 0750);
		break;
	case 9:
		linkat(dirfd, a, dirfd, b, 0);
		break;
	case 10:
		unlinkat(dirfd, a, 0);
		host_file(dirfd, a);
		break;
	default:
		unlinkat(dirfd, a, 0);
		host_link(random, dirfd, a);
		break;
	}
}

static _Noreturn void host_main(
	const char *const *directories, size_t count, bool mounts, pid_t parent)
{
	uint64_t random = 0x9e3779b97f4a7c15ull;
	int fds[4];
	char path[128];

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	umask(0);
	snprintf(path, sizeof(path), "%s/tree/volumes/shared/mnt", top);
	for (size_t i = 0; i < count; i++) {
		char directory[128];

		snprintf(directory, sizeof(directory), "%s/tree/%s", top, directories[i]);
		fds[i] = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fds[i] < 0)
			_exit(1);
	}
	for (uint64_t i = 0;; i++) {
		host_act(&random, fds[below(&random, (uint32_t)count)]);
		/* A mount and its end cost more than all the rest. */
		if (mounts && i % 256 == 0 &&
			mount("race", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m") < 0)
			_exit(1);
		if (mounts && i % 256 == 128 && umount2(path, MNT_DETACH) < 0)
			_exit(1);
	}
}

/* ---- the attacker in the guest */

struct open_file {
	uint64_t node, handle;
	bool directory;
};

struct guest {
	struct virtio_fs *fs;
	uint64_t random;
	uint64_t nodes[POOL], roots[4];
	unsigned int root_count;
	struct open_file open[POOL];
	uint64_t requests, answers;
	atomic_bool *stop;
	pthread_rwlock_t *pause;
	_Alignas(8) uint8_t in[sizeof(struct fuse_in_header) + 512 + sizeof(GUEST_MARK)];
	_Alignas(8) uint8_t out[16384];
	size_t in_length, out_length;
};

static void put(struct guest *guest, const void *data, size_t length)
{
	memcpy(guest->in + guest->in_length, data, length);
	guest->in_length += length;
}

static void put_name(struct guest *guest)
{
	char name[8];

	/* Its own names and those of the host. */
	snprintf(name, sizeof(name), "%c%u", below(&guest->random, 2) ? 'n' : 'g',
		below(&guest->random, NAMES));
	put(guest, name, strlen(name) + 1);
}

/* Sends what was put; the error of the reply, its payload in out. */
static int guest_send(struct guest *guest, uint32_t opcode, uint64_t node)
{
	struct fuse_in_header header = {
		.len = (uint32_t)guest->in_length,
		.opcode = opcode,
		.unique = ++guest->requests,
		.nodeid = node,
		/* Root, and somebody who is not. */
		.uid = geteuid() == 0 && guest->requests % 4 == 0 ? 1000 : geteuid(),
		.gid = getegid(),
	};
	struct fuse_out_header out;
	ssize_t length;

	memcpy(guest->in, &header, sizeof(header));
	length = virtio_fs_serve(
		guest->fs, guest->in, guest->in_length, guest->out, sizeof(guest->out));
	guest->in_length = sizeof(header);
	guest->out_length = 0;
	if (length == 0)
		return 0;
	if (length < (ssize_t)sizeof(out))
		abort();
	memcpy(&out, guest->out, sizeof(out));
	guest->out_length = (size_t)length - sizeof(out);
	guest->answers += out.error == 0;
	/* Nothing of what is outside comes in: no text, no name. */
	if (memmem(guest->out + sizeof(out), guest->out_length, MARK, strlen(MARK)))
		abort();
	return out.error;
}

static const void *payload(const struct guest *guest)
{
	return guest->out + sizeof(struct fuse_out_header);
}

static uint64_t *some_node(struct guest *guest)
{
	return &guest->nodes[below(&guest->random, POOL)];
}

static uint64_t some_directory(struct guest *guest)
{
	return below(&guest->random, 3) ? guest->roots[below(&guest->random, guest->root_count)]
					: *some_node(guest);
}

static void node_forget(struct guest *guest, uint64_t node, uint64_t count)
{
	struct fuse_forget_in forget_in = {.nlookup = count};

	for (unsigned int i = 0; i < guest->root_count; i++)
		if (guest->roots[i] == node)
			return;
	put(guest, &forget_in, sizeof(forget_in));
	guest_send(guest, FUSE_FORGET, node);
}

/* The reply had an entry of this node: it takes a place, and who was there is forgotten. */
static void node_keep(struct guest *guest, uint64_t node)
{
	uint64_t *place = some_node(guest), before = *place;

	if (!node)
		return;
	*place = node;
	node_forget(guest, before, 1);
}

/* Each entry of a READDIRPLUS is a lookup. */
static void entries_forget(struct guest *guest)
{
	uint64_t nodes[128];
	size_t count = 0;

	for (size_t next = 0; next < guest->out_length && count < ARRAY_SIZE(nodes);) {
		const struct fuse_direntplus *entry =
			(const void *)((const uint8_t *)payload(guest) + next);

		if (entry->entry_out.nodeid)
			nodes[count++] = entry->entry_out.nodeid;
		next += FUSE_DIRENTPLUS_SIZE(entry);
	}
	while (count-- > 0)
		node_forget(guest, nodes[count], 1);
}

static void file_close(struct guest *guest, struct open_file *file)
{
	struct fuse_release_in in = {.fh = file->handle};

	if (!file->handle)
		return;
	put(guest, &in, sizeof(in));
	guest_send(guest, file->directory ? FUSE_RELEASEDIR : FUSE_RELEASE, file->node);
	file->handle = 0;
}

static void handle_keep(struct guest *guest, uint64_t node, size_t offset, bool directory)
{
	struct open_file *file = &guest->open[below(&guest->random, POOL)];
	struct fuse_open_out out;

	memcpy(&out, (const uint8_t *)payload(guest) + offset, sizeof(out));
	file_close(guest, file);
	*file = (struct open_file){node, out.fh, directory};
}

static const uint32_t opcodes[] = {FUSE_LOOKUP, FUSE_LOOKUP, FUSE_LOOKUP, FUSE_LOOKUP, FUSE_FORGET,
	FUSE_GETATTR, FUSE_SETATTR, FUSE_SETATTR, FUSE_READLINK, FUSE_SYMLINK, FUSE_MKNOD,
	FUSE_MKDIR, FUSE_UNLINK, FUSE_RMDIR, FUSE_RENAME, FUSE_RENAME2, FUSE_LINK, FUSE_OPEN,
	FUSE_OPEN, FUSE_OPEN, FUSE_READ, FUSE_READ, FUSE_WRITE, FUSE_WRITE, FUSE_STATFS,
	FUSE_RELEASE, FUSE_FSYNC, FUSE_SETXATTR, FUSE_GETXATTR, FUSE_LISTXATTR, FUSE_REMOVEXATTR,
	FUSE_FLUSH, FUSE_OPENDIR, FUSE_READDIR, FUSE_READDIRPLUS, FUSE_RELEASEDIR, FUSE_FSYNCDIR,
	FUSE_ACCESS, FUSE_CREATE, FUSE_CREATE, FUSE_TMPFILE, FUSE_SETUPMAPPING, FUSE_SETUPMAPPING,
	FUSE_REMOVEMAPPING, FUSE_FALLOCATE, FUSE_LSEEK, FUSE_COPY_FILE_RANGE, FUSE_SYNCFS,
	OPCODE_STATX};

/* Arguments of operations on names and attributes. False: it is none of those. */
static bool put_for_node(struct guest *guest, uint32_t opcode)
{
	uint64_t *random = &guest->random;

	switch (opcode) {
	case FUSE_LOOKUP:
		/* The mount's too. */
		if (below(random, 16) == 0) {
			put(guest, "mnt", 4);
			return true;
		}
		/* fallthrough */
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		put_name(guest);
		return true;
	case FUSE_READLINK:
	case FUSE_STATFS:
		return true;
	case FUSE_GETATTR:
		put(guest, &(struct fuse_getattr_in){0}, sizeof(struct fuse_getattr_in));
		return true;
	case OPCODE_STATX:
		put(guest, (uint8_t[24]){0}, 24);
		return true;
	case FUSE_SYNCFS:
		put(guest, &(struct fuse_syncfs_in){0}, sizeof(struct fuse_syncfs_in));
		return true;
	case FUSE_ACCESS:
		put(guest, &(struct fuse_access_in){.mask = below(random, 8)},
			sizeof(struct fuse_access_in));
		return true;
	case FUSE_SETATTR:
		put(guest,
			&(struct fuse_setattr_in){
				.valid = 1u << below(random, 11),
				.mode = below(random, 010000),
				.uid = below(random, 2000),
				.gid = below(random, 2000),
				.size = below(random, LENGTH_MAX),
				.atime = 1,
				.mtime = 2,
				.fh = guest->open[0].handle,
			},
			sizeof(struct fuse_setattr_in));
		return true;
	case FUSE_SYMLINK:
		put_name(guest);
		put(guest, "../../../secret", 16);
		return true;
	case FUSE_MKNOD:
		put(guest,
			&(struct fuse_mknod_in){.mode = (below(random, 16) << 12) | 0666,
				.rdev = below(random, 0x300)},
			sizeof(struct fuse_mknod_in));
		put_name(guest);
		return true;
	case FUSE_MKDIR:
		put(guest, &(struct fuse_mkdir_in){.mode = 0777}, sizeof(struct fuse_mkdir_in));
		put_name(guest);
		return true;
	case FUSE_RENAME:
		put(guest, &(struct fuse_rename_in){.newdir = some_directory(guest)},
			sizeof(struct fuse_rename_in));
		put_name(guest);
		put_name(guest);
		return true;
	case FUSE_RENAME2:
		put(guest,
			&(struct fuse_rename2_in){
				.newdir = some_directory(guest), .flags = below(random, 8)},
			sizeof(struct fuse_rename2_in));
		put_name(guest);
		put_name(guest);
		return true;
	case FUSE_LINK:
		put(guest, &(struct fuse_link_in){.oldnodeid = *some_node(guest)},
			sizeof(struct fuse_link_in));
		put_name(guest);
		return true;
	case FUSE_SETXATTR:
		put(guest, (uint32_t[2]){5, 0}, 8);
		put(guest, "user.race", 10);
		put(guest, "value", 5);
		return true;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		put(guest, &(struct fuse_getxattr_in){.size = 1000},
			sizeof(struct fuse_getxattr_in));
		if (opcode == FUSE_GETXATTR)
			put(guest, "user.race", 10);
		return true;
	case FUSE_REMOVEXATTR:
		put(guest, "user.race", 10);
		return true;
	case FUSE_SETUPMAPPING:
		put(guest,
			&(struct fuse_setupmapping_in){
				.len = RANGE,
				.flags = FUSE_SETUPMAPPING_FLAG_READ | below(random, 2),
				.moffset = below(random, RANGES) * RANGE,
			},
			sizeof(struct fuse_setupmapping_in));
		return true;
	case FUSE_REMOVEMAPPING:
		put(guest, &(struct fuse_removemapping_in){.count = 1},
			sizeof(struct fuse_removemapping_in));
		put(guest,
			&(struct fuse_removemapping_one){
				.moffset = below(random, RANGES) * RANGE, .len = RANGE},
			sizeof(struct fuse_removemapping_one));
		return true;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		put(guest,
			&(struct fuse_open_in){
				.flags = random_next(random),
				.open_flags = below(random, 2) * FUSE_OPEN_KILL_SUIDGID,
			},
			sizeof(struct fuse_open_in));
		return true;
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		put(guest, &(struct fuse_create_in){.flags = random_next(random), .mode = 0666},
			sizeof(struct fuse_create_in));
		put_name(guest);
		return true;
	default:
		return false;
	}
}

/* Those on open files. */
static void put_for_file(struct guest *guest, uint32_t opcode, const struct open_file *file)
{
	uint64_t *random = &guest->random;
	uint32_t offset = below(random, LENGTH_MAX / 2), length = below(random, LENGTH_MAX / 2);
	const struct open_file *other = &guest->open[below(random, POOL)];

	switch (opcode) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		put(guest,
			&(struct fuse_read_in){
				.fh = file->handle,
				.offset = opcode == FUSE_READ ? offset : 0,
				.size = 8192,
			},
			sizeof(struct fuse_read_in));
		break;
	case FUSE_WRITE:
		put(guest,
			&(struct fuse_write_in){
				.fh = file->handle,
				.offset = offset,
				.size = strlen(GUEST_MARK),
				.write_flags = below(random, 2) * FUSE_WRITE_KILL_SUIDGID,
			},
			sizeof(struct fuse_write_in));
		put(guest, GUEST_MARK, strlen(GUEST_MARK));
		break;
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
		put(guest, &(struct fuse_fsync_in){.fh = file->handle},
			sizeof(struct fuse_fsync_in));
		break;
	case FUSE_FLUSH:
		put(guest, &(struct fuse_flush_in){.fh = file->handle},
			sizeof(struct fuse_flush_in));
		break;
	case FUSE_FALLOCATE:
		put(guest,
			&(struct fuse_fallocate_in){
				.fh = file->handle,
				.offset = offset,
				.length = length,
				.mode = below(random, 4),
			},
			sizeof(struct fuse_fallocate_in));
		break;
	case FUSE_LSEEK:
		put(guest, &(struct fuse_lseek_in){.fh = file->handle, .whence = SEEK_DATA},
			sizeof(struct fuse_lseek_in));
		break;
	default:
		put(guest,
			&(struct fuse_copy_file_range_in){
				.fh_in = file->handle,
				.off_in = offset,
				.nodeid_out = other->node,
				.fh_out = other->handle,
				.len = length,
			},
			sizeof(struct fuse_copy_file_range_in));
		break;
	}
}

static void guest_act(struct guest *guest)
{
	uint32_t opcode = opcodes[below(&guest->random, ARRAY_SIZE(opcodes))];
	struct open_file *file = &guest->open[below(&guest->random, POOL)];
	uint64_t node;

	if (opcode == FUSE_FORGET) {
		node_forget(guest, *some_node(guest), 1 + below(&guest->random, 3));
		return;
	}
	if (opcode == FUSE_RELEASE || opcode == FUSE_RELEASEDIR) {
		file_close(guest, file);
		return;
	}
	node = opcode == FUSE_OPEN || opcode == FUSE_SETUPMAPPING ? *some_node(guest)
								  : some_directory(guest);
	if (!put_for_node(guest, opcode)) {
		node = file->node;
		put_for_file(guest, opcode, file);
	}
	if (guest_send(guest, opcode, node) < 0 || guest->out_length == 0)
		return;
	switch (opcode) {
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		handle_keep(guest, node, 0, opcode == FUSE_OPENDIR);
		break;
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		memcpy(&node, payload(guest), sizeof(node));
		handle_keep(guest, node, sizeof(struct fuse_entry_out), false);
		node_keep(guest, node);
		break;
	case FUSE_READDIRPLUS:
		entries_forget(guest);
		break;
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
		memcpy(&node, payload(guest), sizeof(node));
		node_keep(guest, node);
		break;
	default:
		break;
	}
}

static void *guest_main(void *context)
{
	struct guest *guest = context;

	guest->in_length = sizeof(struct fuse_in_header);
	while (!*guest->stop) {
		pthread_rwlock_rdlock(guest->pause);
		for (unsigned int i = 0; i < 50; i++)
			guest_act(guest);
		pthread_rwlock_unlock(guest->pause);
	}
	return NULL;
}

/* ---- what must not happen */

static struct stat canaries[CANARIES];
static const char *const canary_names[CANARIES] = {
	"secret", "outside", "outside/" MARK "-file", "outside/inner"};

static void canaries_make(int top_fd)
{
	char name[64];

	write_file(top_fd, "secret", MARK " content");
	assert_int_equal(mkdirat(top_fd, "outside", 0751), 0);
	write_file(top_fd, "outside/" MARK "-file", MARK " content");
	assert_int_equal(mkdirat(top_fd, "outside/inner", 0700), 0);
	/* Names that both attackers use: what goes astray hits one. */
	for (unsigned int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "outside/n%u", i);
		write_file(top_fd, name, MARK " content");
	}
	for (size_t i = 0; i < CANARIES; i++)
		assert_int_equal(fstatat(top_fd, canary_names[i], &canaries[i], 0), 0);
}

static void canaries_check(int top_fd)
{
	for (size_t i = 0; i < CANARIES; i++) {
		const struct stat *before = &canaries[i];
		struct stat now;

		assert_int_equal(fstatat(top_fd, canary_names[i], &now, 0), 0);
		assert_int_equal(now.st_ino, before->st_ino);
		assert_int_equal(now.st_mode, before->st_mode);
		assert_int_equal(now.st_uid, before->st_uid);
		assert_int_equal(now.st_nlink, before->st_nlink);
		assert_int_equal(now.st_size, before->st_size);
		assert_memory_equal(&now.st_mtim, &before->st_mtim, sizeof(now.st_mtim));
		assert_memory_equal(&now.st_ctim, &before->st_ctim, sizeof(now.st_ctim));
		/* Not even read: the mount notes every access. */
		assert_memory_equal(&now.st_atim, &before->st_atim, sizeof(now.st_atim));
	}
}

static bool device_is_of(dev_t device, const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && status.st_dev == device;
}

/* Where the fd leads, and for what it is open. The tree's own file system has nothing else. */
static void fd_check(int fd, const char *target, dev_t tree_device)
{
	char tree[80];
	int flags = fcntl(fd, F_GETFL);
	struct stat status;

	assert_true(flags >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	if (!(flags & O_PATH) && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
		fail_msg("%s is open for data", target);
	snprintf(tree, sizeof(tree), "%s/tree", top);
	if (status.st_dev == tree_device) {
		if (strncmp(target, tree, strlen(tree)) != 0)
			fail_msg("%s is held", target);
		return;
	}
	/* Else it is of a mount that came and went. */
	if (device_is_of(status.st_dev, "/") || device_is_of(status.st_dev, "/proc") ||
		device_is_of(status.st_dev, "/dev") || device_is_of(status.st_dev, "/sys"))
		fail_msg("%s is held", target);
}

/* Every fd but those that were there before; ret_seen (or NULL) notes them. Returns how many there are. */
static size_t fds_check(const fd_set *before, fd_set *ret_seen, dev_t tree_device)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		int fd = (int)strtol(entry->d_name, NULL, 10);
		char target[PATH_MAX];
		ssize_t length;

		if (entry->d_name[0] == '.' || fd == dirfd(directory))
			continue;
		if (ret_seen) {
			assert_true(fd < FD_SETSIZE);
			FD_SET(fd, ret_seen);
			continue;
		}
		if (fd < FD_SETSIZE && FD_ISSET(fd, before))
			continue;
		length = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		assert_true(length > 0);
		target[length] = '\0';
		fd_check(fd, target, tree_device);
		count++;
	}
	closedir(directory);
	return count;
}

/* What the window shows is of the tree. Returns how many ranges show something. */
static size_t window_check(const struct guest_memory *memory)
{
	uintptr_t window = (uintptr_t)memory->window.host;
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[PATH_MAX + 128], tree[80];
	size_t count = 0;

	assert_non_null(maps);
	snprintf(tree, sizeof(tree), "%s/tree/", top);
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t start = strtoull(line, NULL, 16);
		const char *file = strchr(line, '/');

		if (start < window || start >= window + memory->window.size || !file)
			continue;
		if (strncmp(file, tree, strlen(tree)) != 0)
			fail_msg("%s is in the window", file);
		count++;
	}
	fclose(maps);
	return count;
}

/* A volume that is read-only to the guest has only what the host has put there. */
static void fixed_check(int dirfd)
{
	DIR *directory = fdopendir(dirfd);
	struct dirent *entry;

	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		struct stat status;
		char data[64] = "";
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(fstatat(dirfd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(status.st_uid, geteuid());
		if (S_ISDIR(status.st_mode)) {
			assert_int_equal(status.st_mode & 07777,
				strcmp(entry->d_name, "inner") ? 0750 : 0755);
			fixed_check(openat(dirfd, entry->d_name,
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
		} else if (!S_ISLNK(status.st_mode)) {
			assert_int_equal(status.st_mode & 07777,
				strcmp(entry->d_name, "file") ? FIXED_MODE : 0644);
		}
		if (!S_ISREG(status.st_mode))
			continue;
		fd = openat(dirfd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		assert_true(fd >= 0 && read(fd, data, sizeof(data) - 1) >= 0);
		close(fd);
		assert_string_equal(data, strcmp(entry->d_name, "file") ? "of the host" : "fixed");
	}
	closedir(directory);
}

/* ---- the race */

/* As world_make(), with the tree and what is outside of it on a tmpfs that only this process sees. */
static struct world *race_world(bool alone)
{
	struct world *world;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
		mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip(); /* needs root, for a mount that notes every access */
	assert_int_equal(
		mount("race", "/tmp", "tmpfs", MS_NOSUID | MS_STRICTATIME, "size=256m"), 0);
	world = calloc(1, sizeof(*world));
	world_make(world);
	world->alone = alone;
	return world;
}

static void race_run(bool alone)
{
	static const char *const both[] = {"volumes/shared", "volumes/fixed"};
	static const char *const own[] = {"directory"};
	struct world *world = race_world(alone);
	struct guest *guests = calloc(THREADS, sizeof(*guests));
	pthread_rwlock_t pause = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
	const char *const *directories = alone ? own : both;
	size_t directory_count = alone ? ARRAY_SIZE(own) : ARRAY_SIZE(both);
	atomic_bool stop = false;
	pthread_t threads[THREADS];
	uint64_t requests = 0, answers = 0, node;
	size_t bytes_before, fds_most = 0, mapped = 0;
	struct guest_memory memory = {.window = {.start = 4ull << 30, .size = RANGES * RANGE}};
	struct fuse_init_in init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 41,
		.flags = UINT32_MAX,
		.flags2 = UINT32_MAX,
	};
	struct timespec end, now;
	struct stat tree_status;
	fd_set before;
	int status;
	pid_t host, self = getpid();

	snprintf(top, sizeof(top), "%s", world->path);
	canaries_make(world->top);
	assert_int_equal(mkdirat(world->tree, "volumes/shared/mnt", 0755), 0);
	assert_int_equal(fstat(world->tree, &tree_status), 0);
	host = fork();
	assert_true(host >= 0);
	if (host == 0)
		host_main(directories, directory_count, !alone, self);

	/* With a window, which is for trees that nobody else changes. */
	if (alone) {
		memory.window.host = mmap(NULL, memory.window.size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		assert_true(memory.window.host != MAP_FAILED);
		world->memory = &memory;
		world->dax = VIRTIO_FS_DAX_ALWAYS;
	}
	world_serve(world, 4096, 1024);
	assert_int_equal(call(world->fs, FUSE_INIT, 0, PART(init), NOTHING, NOTHING), 0);
	bytes_before = allocated_bytes();
	FD_ZERO(&before);
	fds_check(NULL, &before, 0);
	for (size_t i = 0; i < THREADS; i++) {
		guests[i].fs = world->fs;
		guests[i].random = 88172645463325252ull + i;
		guests[i].stop = &stop;
		guests[i].pause = &pause;
		guests[i].root_count = (unsigned int)directory_count;
		for (size_t j = 0; j < directory_count; j++)
			guests[i].roots[j] = node_of(world->fs, directories[j]);
		assert_int_equal(pthread_create(&threads[i], NULL, guest_main, &guests[i]), 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += race_seconds();
	do {
		size_t count;

		poll(NULL, 0, 100);
		pthread_rwlock_wrlock(&pause);
		count = fds_check(&before, NULL, tree_status.st_dev);
		fds_most = count > fds_most ? count : fds_most;
		if (alone) {
			mapped += window_check(&memory);
			virtio_fs_watch(world->fs);
		}
		canaries_check(world->top);
		requests = 0;
		for (size_t i = 0; i < THREADS; i++)
			requests += guests[i].requests;
		pthread_rwlock_unlock(&pause);
		clock_gettime(CLOCK_MONOTONIC, &now);
		/* A busy machine takes longer for as much. */
	} while (now.tv_sec < end.tv_sec || requests < REQUESTS_MIN || (alone && mapped == 0));
	requests = 0;
	stop = true;
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		requests += guests[i].requests;
		answers += guests[i].answers;
	}
	/* The attacker was at work to the last, and so was the server. */
	assert_int_equal(waitpid(host, &status, WNOHANG), 0);
	assert_int_equal(kill(host, SIGKILL), 0);
	assert_int_equal(waitpid(host, &status, 0), host);
	assert_true(answers > requests / 50);
	print_message("%llu requests, %llu of them served, %zu fds at most\n",
		(unsigned long long)requests, (unsigned long long)answers, fds_most);

	canaries_check(world->top);
	if (!alone)
		fixed_check(openat(world->tree, "volumes/fixed",
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	/* It goes on serving. */
	node = node_of(world->fs, "file");
	if (alone)
		assert_int_equal(read_node(world->fs, node, 0, 0, 10), 0);
	else
		expect_content(world->fs, node, "hello");
	assert_int_equal(call(world->fs, FUSE_DESTROY, 0, NOTHING, NOTHING, NOTHING), 0);
	assert_int_equal(fds_check(&before, NULL, tree_status.st_dev), 0);
	assert_true(allocated_bytes() < bytes_before + SLACK_BYTES);
	virtio_fs_free(world->fs);
	if (alone) {
		assert_int_equal(window_check(&memory), 0);
		munmap(memory.window.host, memory.window.size);
	}
	close(world->tree);
	close(world->top);
	assert_int_equal(umount2("/tmp", MNT_DETACH), 0);
	free(world);
	free(guests);
}

static void shared_volumes_are_changed_from_both_sides(void **state)
{
	(void)state;
	race_run(false);
}

/* Where the server was told that nobody else changes anything, in a session without OPEN. */
static void a_tree_of_its_own_is_changed_all_the_same(void **state)
{
	(void)state;
	race_run(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_volumes_are_changed_from_both_sides),
		cmocka_unit_test(a_tree_of_its_own_is_changed_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
