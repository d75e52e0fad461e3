// SPDX-License-Identifier: Apache-2.0
/*
 * data.c: fds for file data, one per inode, the least recently used one closed first.
 *
 * #syscalls:vcpu,loop close
 */
#include "virtio/fs/data.h"

#include "virtio/fs/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void fs_data_table_init(struct fs_data_table *table, size_t max)
{
	*table = (struct fs_data_table){.max = max};
	pthread_mutex_init(&table->lock, NULL);
}

void fs_data_table_free(struct fs_data_table *table)
{
	pthread_mutex_destroy(&table->lock);
}

size_t fs_data_table_count(struct fs_data_table *table)
{
	size_t count;

	pthread_mutex_lock(&table->lock);
	count = table->count;
	pthread_mutex_unlock(&table->lock);
	return count;
}

static void list_unlink(struct fs_data_table *table, struct fs_data *data)
{
	*(data->newer ? &data->newer->older : &table->newest) = data->older;
	*(data->older ? &data->older->newer : &table->oldest) = data->newer;
}

static void list_push(struct fs_data_table *table, struct fs_data *data)
{
	data->newer = NULL;
	data->older = table->newest;
	*(data->older ? &data->older->newer : &table->oldest) = data;
	table->newest = data;
}

/* Under the lock: drops a reference. Returns data when the caller has to free it, else NULL. */
static struct fs_data *data_drop(struct fs_data *data)
{
	return --data->references == 0 ? data : NULL;
}

/* Under the lock: the inode has it no more. As data_drop(). */
static struct fs_data *table_remove(struct fs_data_table *table, struct fs_data *data)
{
	list_unlink(table, data);
	table->count--;
	data->inode->data = NULL;
	data->inode = NULL;
	return data_drop(data);
}

static void data_free(struct fs_data *data)
{
	if (!data)
		return;
	close(data->fd);
	free(data);
}

/* Under the lock. */
static struct fs_data *table_use(
	struct fs_data_table *table, const struct fs_inode *inode, bool writable)
{
	struct fs_data *data = inode->data;

	if (!data || (writable && !data->writable))
		return NULL;
	if (data != table->newest) {
		list_unlink(table, data);
		list_push(table, data);
	}
	data->references++;
	return data;
}

struct fs_data *fs_data_find(struct fs_data_table *table, struct fs_inode *inode, bool writable)
{
	struct fs_data *data;

	pthread_mutex_lock(&table->lock);
	data = table_use(table, inode, writable);
	pthread_mutex_unlock(&table->lock);
	return data;
}

int fs_data_enter(struct fs_data_table *table, struct fs_inode *inode, int fd, bool writable,
	struct fs_data **ret)
{
	struct fs_data *new = malloc(sizeof(*new)), *replaced = NULL, *oldest = NULL;

	if (!new) {
		close(fd);
		return -ENOMEM;
	}
	*new = (struct fs_data){.fd = fd, .writable = writable, .inode = inode, .references = 2};
	pthread_mutex_lock(&table->lock);
	*ret = table_use(table, inode, writable);
	if (!*ret) {
		if (inode->data)
			replaced = table_remove(table, inode->data);
		else if (table->count >= table->max && table->oldest)
			oldest = table_remove(table, table->oldest);
		inode->data = new;
		list_push(table, new);
		table->count++;
		*ret = new;
		new = NULL;
	}
	pthread_mutex_unlock(&table->lock);
	data_free(new);
	data_free(replaced);
	data_free(oldest);
	return 0;
}

void fs_data_put(struct fs_data_table *table, struct fs_data *data)
{
	if (!data)
		return;
	pthread_mutex_lock(&table->lock);
	data = data_drop(data);
	pthread_mutex_unlock(&table->lock);
	data_free(data);
}

void fs_data_forget(struct fs_data_table *table, struct fs_inode *inode)
{
	struct fs_data *data = NULL;

	pthread_mutex_lock(&table->lock);
	if (inode->data)
		data = table_remove(table, inode->data);
	pthread_mutex_unlock(&table->lock);
	data_free(data);
}
