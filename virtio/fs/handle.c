// SPDX-License-Identifier: Apache-2.0
/*
 * handle.c: ids of open files and directories.
 *
 * #syscalls:vcpu,loop close
 */
#include "virtio/fs/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define SLOTS_FIRST 64

void fs_handle_table_init(struct fs_handle_table *table, struct fs_inode_table *inodes, size_t max)
{
	*table = (struct fs_handle_table){.max = max, .inodes = inodes};
	pthread_mutex_init(&table->lock, NULL);
}

int fs_handle_entries_make(struct fs_handle_table *table, struct fs_handle *handle)
{
	if (handle->entries)
		return 0;
	handle->entries = malloc(FS_DIRECTORY_BUFFER);
	if (!handle->entries)
		return -ENOMEM;
	table->buffers++;
	return 0;
}

void fs_handle_entries_free(struct fs_handle_table *table, struct fs_handle *handle)
{
	if (!handle->entries)
		return;
	free(TAKE_PTR(handle->entries));
	handle->entries_next = handle->entries_end = 0;
	table->buffers--;
}

static void handle_free(struct fs_handle_table *table, struct fs_handle *handle)
{
	close(handle->fd);
	fs_handle_entries_free(table, handle);
	pthread_mutex_destroy(&handle->lock);
	fs_inode_put(table->inodes, handle->inode);
	free(handle);
}

static uint64_t slot_id(const struct fs_handle_table *table, uint32_t index)
{
	return (uint64_t)table->slots[index].generation << 32 | index;
}

static int slots_grow(struct fs_handle_table *table, uint32_t count)
{
	struct fs_handle_slot *slots = realloc(table->slots, count * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	table->slots = slots;
	for (uint32_t i = count; i-- > table->slot_count;) {
		slots[i] = (struct fs_handle_slot){.next_free = table->first_free};
		if (i != 0)
			table->first_free = i;
	}
	table->slot_count = count;
	return 0;
}

static int table_grow(struct fs_handle_table *table)
{
	if (table->first_free != 0)
		return 0;
	return slots_grow(table, table->slot_count ? table->slot_count * 2 : SLOTS_FIRST);
}

/* Under the lock. The table's reference is the caller's to drop. */
static void table_remove(struct fs_handle_table *table, const struct fs_handle *handle)
{
	uint32_t index = (uint32_t)handle->id;
	struct fs_handle_slot *slot = &table->slots[index];

	slot->handle = NULL;
	slot->generation++;
	slot->next_free = table->first_free;
	table->first_free = index;
	table->count--;
}

void fs_handle_table_clear(struct fs_handle_table *table)
{
	pthread_mutex_lock(&table->lock);
	for (uint32_t i = 1; i < table->slot_count; i++) {
		struct fs_handle *handle = table->slots[i].handle;

		if (!handle)
			continue;
		table_remove(table, handle);
		if (--handle->references > 0)
			continue;
		pthread_mutex_unlock(&table->lock);
		handle_free(table, handle);
		pthread_mutex_lock(&table->lock);
	}
	pthread_mutex_unlock(&table->lock);
}

void fs_handle_table_free(struct fs_handle_table *table)
{
	fs_handle_table_clear(table);
	free(table->slots);
	pthread_mutex_destroy(&table->lock);
}

size_t fs_handle_table_count(struct fs_handle_table *table)
{
	size_t count;

	pthread_mutex_lock(&table->lock);
	count = table->count;
	pthread_mutex_unlock(&table->lock);
	return count;
}

/* Takes over fd in any case. */
static struct fs_handle *handle_make(struct fs_handle_table *table, enum fs_handle_kind kind,
	int fd, int flags, struct fs_inode *inode)
{
	struct fs_handle *handle = malloc(sizeof(*handle));

	if (!handle) {
		close(fd);
		return NULL;
	}
	*handle = (struct fs_handle){
		.kind = kind,
		.fd = fd,
		.flags = flags,
		.readable = (flags & O_ACCMODE) != O_WRONLY,
		.writable = (flags & O_ACCMODE) != O_RDONLY,
		.appends = flags & O_APPEND,
		.inode = fs_inode_reference(table->inodes, inode),
		.references = 1,
	};
	pthread_mutex_init(&handle->lock, NULL);
	return handle;
}

int fs_handle_enter(struct fs_handle_table *table, enum fs_handle_kind kind, int fd, int flags,
	struct fs_inode *inode, uint64_t *ret_id)
{
	struct fs_handle *handle = handle_make(table, kind, fd, flags, inode);
	int r;

	if (!handle)
		return -ENOMEM;
	pthread_mutex_lock(&table->lock);
	r = table->count >= table->max ? -ENFILE : table_grow(table);
	if (r == 0) {
		uint32_t index = table->first_free;

		table->first_free = table->slots[index].next_free;
		table->slots[index].handle = handle;
		*ret_id = handle->id = slot_id(table, index);
		table->count++;
	}
	pthread_mutex_unlock(&table->lock);
	if (r < 0)
		handle_free(table, handle);
	return r;
}

int fs_handle_table_resume(
	struct fs_handle_table *table, const uint32_t *generations, uint32_t slot_count)
{
	int r;

	if (slot_count > 2 * table->max + SLOTS_FIRST)
		return -EINVAL;
	pthread_mutex_lock(&table->lock);
	r = slot_count > table->slot_count ? slots_grow(table, slot_count) : 0;
	for (uint32_t i = 0; r == 0 && i < slot_count; i++)
		table->slots[i].generation = generations[i];
	pthread_mutex_unlock(&table->lock);
	return r;
}

int fs_handle_resume(struct fs_handle_table *table, uint64_t id, enum fs_handle_kind kind, int fd,
	int flags, struct fs_inode *inode)
{
	struct fs_handle *handle = handle_make(table, kind, fd, flags, inode);
	uint32_t index = (uint32_t)id;
	int r = 0;

	if (!handle)
		return -ENOMEM;
	pthread_mutex_lock(&table->lock);
	if (index == 0 || index >= table->slot_count || slot_id(table, index) != id ||
		table->slots[index].handle)
		r = -EINVAL;
	else if (table->count >= table->max)
		r = -ENFILE;
	if (r == 0) {
		handle->id = id;
		table->slots[index].handle = handle;
		table->count++;
	}
	pthread_mutex_unlock(&table->lock);
	if (r < 0)
		handle_free(table, handle);
	return r;
}

void fs_handle_table_resumed(struct fs_handle_table *table)
{
	pthread_mutex_lock(&table->lock);
	table->first_free = 0;
	for (uint32_t i = table->slot_count; i-- > 1;) {
		if (table->slots[i].handle)
			continue;
		table->slots[i].next_free = table->first_free;
		table->first_free = i;
	}
	pthread_mutex_unlock(&table->lock);
}

/* Under the lock. */
static struct fs_handle *table_find(const struct fs_handle_table *table, uint64_t id,
	enum fs_handle_kind kind, uint64_t inode_id)
{
	uint32_t index = (uint32_t)id;
	struct fs_handle *handle;

	if (index == 0 || index >= table->slot_count || slot_id(table, index) != id)
		return NULL;
	handle = table->slots[index].handle;
	return handle && handle->kind == kind && handle->inode->id == inode_id ? handle : NULL;
}

struct fs_handle *fs_handle_get(
	struct fs_handle_table *table, uint64_t id, enum fs_handle_kind kind, uint64_t inode_id)
{
	struct fs_handle *handle;

	pthread_mutex_lock(&table->lock);
	handle = table_find(table, id, kind, inode_id);
	if (handle)
		handle->references++;
	pthread_mutex_unlock(&table->lock);
	return handle;
}

static void handle_drop(struct fs_handle_table *table, struct fs_handle *handle)
{
	bool last;

	pthread_mutex_lock(&table->lock);
	last = --handle->references == 0;
	pthread_mutex_unlock(&table->lock);
	if (last)
		handle_free(table, handle);
}

void fs_handle_put(struct fs_handle_table *table, struct fs_handle *handle)
{
	if (handle)
		handle_drop(table, handle);
}

int fs_handle_release(
	struct fs_handle_table *table, uint64_t id, enum fs_handle_kind kind, uint64_t inode_id)
{
	struct fs_handle *handle;

	pthread_mutex_lock(&table->lock);
	handle = table_find(table, id, kind, inode_id);
	if (handle)
		table_remove(table, handle);
	pthread_mutex_unlock(&table->lock);
	if (!handle)
		return -EBADF;
	handle_drop(table, handle);
	return 0;
}
