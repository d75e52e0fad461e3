// SPDX-License-Identifier: Apache-2.0
/*
 * inode.c: inode ids, lookup counts and fds.
 *
 * #syscalls:vcpu,loop statx(_, _, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) close
 * #syscalls:park openat2 readlinkat
 */
#include "virtio/fs/inode.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* name may be "": fd itself. */
static int file_status(int fd, const char *name, struct statx *ret)
{
	if (statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		    STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, ret) < 0)
		return -errno;
	/* Without mount ids (Linux before 5.8) files of different mounts cannot be told apart. */
	return ret->stx_mask & STATX_MNT_ID ? 0 : -EOPNOTSUPP;
}

int fs_fd_status(int fd, struct statx *ret)
{
	return file_status(fd, "", ret);
}

int fs_inode_status(const struct fs_inode *inode, struct statx *ret)
{
	return file_status(inode->fd, "", ret);
}

int fs_inode_name_status(const struct fs_inode *parent, const char *name, struct statx *ret)
{
	return file_status(parent->fd, name, ret);
}

static struct fs_key status_key(const struct statx *status)
{
	return (struct fs_key){
		.mount = status->stx_mnt_id,
		.inode = status->stx_ino,
		.major = status->stx_dev_major,
		.minor = status->stx_dev_minor,
	};
}

static struct fs_inode **key_bucket(const struct fs_inode_table *table, const struct fs_key *key)
{
	uint64_t hash = key->inode * 0x9e3779b97f4a7c15ull;

	hash ^= (key->mount ^ (uint64_t)key->minor << 20 ^ (uint64_t)key->major << 40) *
		0xc2b2ae3d27d4eb4full;
	return &table->buckets[(hash >> 20) & (table->bucket_count - 1)];
}

static uint64_t slot_id(const struct fs_inode_table *table, uint32_t index)
{
	return (uint64_t)table->slots[index].generation << 32 | index;
}

static int buckets_grow(struct fs_inode_table *table)
{
	size_t old_count = table->bucket_count;
	size_t count = old_count ? old_count * 2 : 64;
	struct fs_inode **old = table->buckets;
	struct fs_inode **buckets = calloc(count, sizeof(struct fs_inode *));

	if (!buckets)
		return -ENOMEM;
	table->buckets = buckets;
	table->bucket_count = count;
	for (size_t i = 0; i < old_count; i++)
		while (old[i]) {
			struct fs_inode *inode = old[i], **bucket;

			old[i] = inode->next;
			bucket = key_bucket(table, &inode->key);
			inode->next = *bucket;
			*bucket = inode;
		}
	free(old);
	return 0;
}

static int slots_grow(struct fs_inode_table *table, uint32_t count)
{
	struct fs_slot *slots = realloc(table->slots, count * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	table->slots = slots;
	for (uint32_t i = count; i-- > table->slot_count;) {
		slots[i] = (struct fs_slot){.next_free = table->first_free};
		if (i != 0)
			table->first_free = i;
	}
	table->slot_count = count;
	return 0;
}

/* Makes room for one more inode: a free slot, and buckets that are not crowded. */
static int table_grow(struct fs_inode_table *table)
{
	int r = 0;

	if (table->first_free == 0)
		r = slots_grow(table, table->slot_count ? table->slot_count * 2 : 64);
	if (r == 0 && table->count >= table->bucket_count)
		r = buckets_grow(table);
	return r;
}

static void table_place(struct fs_inode_table *table, struct fs_inode *inode, uint32_t index)
{
	struct fs_inode **bucket = key_bucket(table, &inode->key);

	table->slots[index].inode = inode;
	inode->id = slot_id(table, index);
	inode->next = *bucket;
	*bucket = inode;
	table->count++;
}

/* Under the lock, after table_grow(). */
static void table_insert(struct fs_inode_table *table, struct fs_inode *inode)
{
	uint32_t index = table->first_free;

	table->first_free = table->slots[index].next_free;
	table_place(table, inode, index);
}

/* Under the lock. The table's reference is the caller's to drop. */
static void table_remove(struct fs_inode_table *table, struct fs_inode *inode)
{
	uint32_t index = (uint32_t)inode->id;
	struct fs_slot *slot = &table->slots[index];
	struct fs_inode **link = key_bucket(table, &inode->key);

	while (*link != inode)
		link = &(*link)->next;
	*link = inode->next;
	slot->inode = NULL;
	slot->generation++; /* the id means nothing from now on */
	slot->next_free = table->first_free;
	table->first_free = index;
	table->count--;
}

/* Under the lock: drops a reference; true when it was the last and the caller has to free it. */
static bool inode_drop(struct fs_inode *inode)
{
	return --inode->references == 0;
}

static void inode_free(struct fs_inode_table *table, struct fs_inode *inode)
{
	fs_data_forget(table->data, inode);
	close(inode->fd);
	free(inode);
	table->alive--;
}

static struct fs_inode *table_find_id(const struct fs_inode_table *table, uint64_t id)
{
	uint32_t index = (uint32_t)id;

	if (index == 0 || index >= table->slot_count || slot_id(table, index) != id)
		return NULL;
	return table->slots[index].inode;
}

int fs_path_open(int root_fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root_fd, path[0] ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The kernel's name of an fd's file, as this process sees it. */
static int link_read(int proc_fd, int fd, char ret[static FS_PATH_ROOM])
{
	char name[16];
	ssize_t length;

	snprintf(name, sizeof(name), "%d", fd);
	length = readlinkat(proc_fd, name, ret, FS_PATH_ROOM);
	if (length < 0)
		return -errno;
	if (length == FS_PATH_ROOM)
		return -ENAMETOOLONG;
	ret[length] = '\0';
	return 0;
}

int fs_path_of(int proc_fd, int root_fd, int fd, char ret[static FS_PATH_ROOM])
{
	char root[FS_PATH_ROOM];
	size_t length;
	int r = link_read(proc_fd, root_fd, root);

	if (r < 0)
		return r;
	r = link_read(proc_fd, fd, ret);
	if (r < 0)
		return r;
	/* The root of everything has a slash at its end, any other directory has none. */
	length = strlen(root);
	if (length > 0 && root[length - 1] == '/')
		length--;
	if (strncmp(ret, root, length) != 0 || (ret[length] != '/' && ret[length] != '\0'))
		return -ENOENT;
	if (ret[length] == '/')
		length++;
	memmove(ret, ret + length, strlen(ret + length) + 1);
	return 0;
}

enum virtio_fs_policy fs_path_policy(const struct fs_inode_table *table, const char *path)
{
	enum virtio_fs_policy policy = fs_inode_policy(table->slots[FUSE_ROOT_ID].inode);
	ssize_t longest = -1;

	for (size_t i = 0; i < table->export_count; i++) {
		const struct fs_export *export = &table->exports[i];
		size_t length = strlen(export->path);

		if ((ssize_t)length <= longest || strncmp(path, export->path, length) != 0 ||
			(length > 0 && path[length] != '/' && path[length] != '\0'))
			continue;
		longest = (ssize_t)length;
		policy = export->policy;
	}
	return policy;
}

static int export_resolve(int tree_fd, int proc_fd, const struct virtio_fs_export *export,
	struct fs_export *ret, struct error *err)
{
	_cleanup_close_ int fd = fs_path_open(tree_fd, export->path);
	char path[FS_PATH_ROOM];
	struct statx status;
	int r = fd < 0 ? fd : file_status(fd, "", &status);

	if (r == 0)
		r = fs_path_of(proc_fd, tree_fd, fd, path);
	if (r < 0)
		return error_set_errno(err, r, "cannot export \"%s\" to the guest", export->path);
	*ret = (struct fs_export){
		.key = status_key(&status),
		.path = strdup(path),
		.policy = export->policy,
	};
	return ret->path ? 0 : -ENOMEM;
}

static void exports_free(struct fs_inode_table *table)
{
	for (size_t i = 0; i < table->export_count; i++)
		free(table->exports[i].path);
	free(table->exports);
}

int fs_inode_table_init(struct fs_inode_table *table, int tree_fd, int proc_fd,
	const struct virtio_fs_options *options, size_t max, struct fs_data_table *data,
	struct error *err)
{
	struct fs_inode *root;
	struct statx status;
	int r;

	*table = (struct fs_inode_table){.max = max, .data = data};
	r = file_status(tree_fd, "", &status);
	if (r < 0)
		return error_set_errno(err, r, "cannot read the attributes of the pod's tree");
	if (!S_ISDIR(status.stx_mode))
		return error_set(err, -EINVAL, "the pod's tree is not a directory");
	table->exports = calloc(options->export_count + 1, sizeof(*table->exports));
	root = calloc(1, sizeof(*root));
	r = table->exports && root ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < options->export_count; i++) {
		r = export_resolve(tree_fd, proc_fd, &options->exports[i], &table->exports[i], err);
		table->export_count++;
	}
	if (r == 0)
		r = table_grow(table);
	if (r < 0) {
		free(root);
		exports_free(table);
		free(table->slots);
		free(table->buckets);
		return r == -ENOMEM ? error_set(err, r, "out of memory") : r;
	}
	pthread_mutex_init(&table->lock, NULL);
	*root = (struct fs_inode){
		.key = status_key(&status),
		.fd = tree_fd,
		.type = S_IFDIR,
		.policy = options->policy,
		.references = 1,
	};
	/* The first slot is 1 and its generation 0: FUSE_ROOT_ID. */
	table_insert(table, root);
	table->alive = 1;
	return 0;
}

void fs_inode_table_clear(struct fs_inode_table *table)
{
	struct fs_inode *dead = NULL;

	pthread_mutex_lock(&table->lock);
	for (uint32_t i = FUSE_ROOT_ID + 1; i < table->slot_count; i++) {
		struct fs_inode *inode = table->slots[i].inode;

		if (!inode)
			continue;
		table_remove(table, inode);
		inode->lookups = 0;
		if (inode_drop(inode)) {
			inode->next = dead;
			dead = inode;
		}
	}
	pthread_mutex_unlock(&table->lock);
	while (dead) {
		struct fs_inode *inode = dead;

		dead = inode->next;
		inode_free(table, inode);
	}
}

void fs_inode_table_free(struct fs_inode_table *table)
{
	fs_inode_table_clear(table);
	inode_free(table, table->slots[FUSE_ROOT_ID].inode);
	free(table->slots);
	free(table->buckets);
	exports_free(table);
	pthread_mutex_destroy(&table->lock);
}

size_t fs_inode_table_count(struct fs_inode_table *table)
{
	size_t count;

	pthread_mutex_lock(&table->lock);
	count = table->count;
	pthread_mutex_unlock(&table->lock);
	return count;
}

struct fs_inode *fs_inode_get(struct fs_inode_table *table, uint64_t id)
{
	struct fs_inode *inode;

	pthread_mutex_lock(&table->lock);
	inode = table_find_id(table, id);
	if (inode)
		inode->references++;
	pthread_mutex_unlock(&table->lock);
	return inode;
}

struct fs_inode *fs_inode_reference(struct fs_inode_table *table, struct fs_inode *inode)
{
	pthread_mutex_lock(&table->lock);
	inode->references++;
	pthread_mutex_unlock(&table->lock);
	return inode;
}

void fs_inode_put(struct fs_inode_table *table, struct fs_inode *inode)
{
	bool last;

	if (!inode)
		return;
	pthread_mutex_lock(&table->lock);
	last = inode_drop(inode);
	pthread_mutex_unlock(&table->lock);
	if (last)
		inode_free(table, inode);
}

static enum virtio_fs_policy table_policy(
	const struct fs_inode_table *table, const struct fs_key *key, const struct fs_inode *parent)
{
	for (size_t i = 0; i < table->export_count; i++)
		if (fs_key_equal(&table->exports[i].key, key))
			return table->exports[i].policy;
	return fs_inode_policy(parent);
}

/* Under the lock: the inode known by key, with a lookup and a reference more. */
static struct fs_inode *table_find_key(
	struct fs_inode_table *table, const struct fs_key *key, enum virtio_fs_policy policy)
{
	struct fs_inode *inode = *key_bucket(table, key);

	while (inode && !fs_key_equal(&inode->key, key))
		inode = inode->next;
	if (!inode)
		return NULL;
	/* Hard links of the host can put one file into two subtrees: the stricter policy holds. */
	if ((int)policy > inode->policy)
		inode->policy = policy;
	if (inode->lookups < UINT64_MAX)
		inode->lookups++;
	inode->references++;
	return inode;
}

/* Threads share the line: written only when it changes. */
static void parent_note(struct fs_inode *parent, bool known)
{
	if (atomic_load_explicit(&parent->known, memory_order_relaxed) != known)
		atomic_store_explicit(&parent->known, known, memory_order_relaxed);
}

struct fs_inode *fs_inode_enter_known(
	struct fs_inode_table *table, struct fs_inode *parent, const struct statx *status)
{
	struct fs_key key = status_key(status);
	struct fs_inode *inode;

	pthread_mutex_lock(&table->lock);
	inode = table_find_key(table, &key, table_policy(table, &key, parent));
	pthread_mutex_unlock(&table->lock);
	parent_note(parent, inode != NULL);
	return inode;
}

/* Under the lock. */
static int inode_make(struct fs_inode_table *table, const struct fs_key *key, int fd, mode_t type,
	enum virtio_fs_policy policy, uint64_t lookups, struct fs_inode **ret)
{
	struct fs_inode *inode;

	/* A file that is open, or mapped, keeps its inode though the guest has forgotten it. */
	if (table->alive >= table->max)
		return -ENFILE;
	inode = malloc(sizeof(*inode));
	if (!inode)
		return -ENOMEM;
	*inode = (struct fs_inode){
		.key = *key,
		.fd = fd,
		.type = type,
		.policy = policy,
		.lookups = lookups,
		.references = 1,
	};
	table->alive++;
	*ret = inode;
	return 0;
}

int fs_inode_enter(struct fs_inode_table *table, struct fs_inode *parent, int fd,
	struct fs_inode **ret, struct statx *ret_status)
{
	_cleanup_close_ int owned = fd;
	enum virtio_fs_policy policy;
	struct fs_inode *inode;
	struct fs_key key;
	int r;

	r = file_status(fd, "", ret_status);
	if (r < 0)
		return r;
	key = status_key(ret_status);
	policy = table_policy(table, &key, parent);
	pthread_mutex_lock(&table->lock);
	inode = table_find_key(table, &key, policy);
	parent_note(parent, inode != NULL);
	if (!inode) {
		r = table_grow(table);
		if (r == 0)
			r = inode_make(
				table, &key, fd, ret_status->stx_mode & S_IFMT, policy, 1, &inode);
		if (r == 0) {
			inode->references++; /* the caller's */
			table_insert(table, inode);
			TAKE_FD(owned);
		}
	}
	pthread_mutex_unlock(&table->lock);
	*ret = inode;
	return r;
}

void fs_inode_forget(struct fs_inode_table *table, uint64_t id, uint64_t count)
{
	struct fs_inode *inode;
	bool last = false;

	if (id == FUSE_ROOT_ID)
		return;
	pthread_mutex_lock(&table->lock);
	inode = table_find_id(table, id);
	if (inode) {
		inode->lookups -= count < inode->lookups ? count : inode->lookups;
		if (inode->lookups == 0) {
			table_remove(table, inode);
			last = inode_drop(inode);
		}
	}
	pthread_mutex_unlock(&table->lock);
	if (last)
		inode_free(table, inode);
}

int fs_inode_table_resume(
	struct fs_inode_table *table, const uint32_t *generations, uint32_t slot_count)
{
	int r = 0;

	if (slot_count <= FUSE_ROOT_ID || slot_count > 2 * table->max + table->slot_count ||
		generations[FUSE_ROOT_ID] != 0)
		return -EINVAL;
	pthread_mutex_lock(&table->lock);
	if (slot_count > table->slot_count)
		r = slots_grow(table, slot_count);
	for (uint32_t i = 0; r == 0 && i < slot_count; i++)
		table->slots[i].generation = generations[i];
	pthread_mutex_unlock(&table->lock);
	return r;
}

int fs_inode_resume(struct fs_inode_table *table, uint64_t id, int fd, mode_t type,
	enum virtio_fs_policy policy, uint64_t lookups, int dax, bool punched)
{
	_cleanup_close_ int owned = fd;
	uint32_t index = (uint32_t)id;
	struct fs_inode *inode;
	struct statx status;
	struct fs_key key;
	int r = file_status(fd, "", &status);

	if (r < 0)
		return r;
	key = status_key(&status);
	pthread_mutex_lock(&table->lock);
	inode = *key_bucket(table, &key);
	while (inode && !fs_key_equal(&inode->key, &key))
		inode = inode->next;
	if (inode)
		r = -EEXIST;
	else if (index == 0 || index >= table->slot_count || slot_id(table, index) != id ||
		table->slots[index].inode)
		r = -EINVAL;
	else if (table->count >= table->bucket_count)
		r = buckets_grow(table);
	if (r == 0)
		r = inode_make(table, &key, fd, type, policy, lookups, &inode);
	if (r == 0) {
		inode->dax = dax;
		inode->punched = punched;
		table_place(table, inode, index);
		TAKE_FD(owned);
	}
	pthread_mutex_unlock(&table->lock);
	return r;
}

void fs_inode_table_resumed(struct fs_inode_table *table)
{
	pthread_mutex_lock(&table->lock);
	table->first_free = 0;
	for (uint32_t i = table->slot_count; i-- > FUSE_ROOT_ID;) {
		if (table->slots[i].inode)
			continue;
		table->slots[i].next_free = table->first_free;
		table->first_free = i;
	}
	pthread_mutex_unlock(&table->lock);
}

bool fs_inode_is(const struct fs_inode *inode, int fd)
{
	struct statx status;
	struct fs_key key;

	if (file_status(fd, "", &status) < 0)
		return false;
	key = status_key(&status);
	return fs_key_equal(&key, &inode->key) && (status.stx_mode & S_IFMT) == inode->type;
}
