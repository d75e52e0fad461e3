// SPDX-License-Identifier: Apache-2.0
/*
 * hook.c: what a machine and its devices say to each other, written down.
 *
 * Theory of operation: build/appc-vm-recording is the program from the very objects of the shipped one, and this file, linked so
 * (--wrap) that chains of the guest come through here when a device takes them and when it gives them back, as do the messages
 * that do not go by a queue. A jailed VMM opens no file and its filter lets it call little, so that the record is memory: the file that
 * APPC_RECORD names is mapped before main(), shared, and so by every process that is forked from there. A record has its
 * place by adding its length to the number at the beginning; none is ever changed.
 *
 * The form of the file is known to seeds.py, too.
 */
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "vmm/message_port.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_SIZE (64u << 20)
/* More of one message is not written down, but how long it was. */
#define DATA_MAX    8192u
#define SPANS_MAX   16u
#define DEVICES_MAX 16u

enum kind {
	MESSAGE,  /* to guest-init, by the port of messages */
	TRANSMIT, /* of guest-init, by the port of output; queue: the console's port */
	TAKEN,    /* what the driver wrote into a chain that the device took */
	BACK,     /* the same chain was put back */
	ANSWERED, /* what the device wrote into a chain that it gives back */
};

struct record {
	uint32_t size; /* with this header; 0: the end */
	uint8_t kind, machine, device, queue;
	uint16_t head, reserved;
	uint32_t length,
		room; /* all the bytes there were, and room for so many in a chain that was taken */
};

struct file {
	_Atomic uint32_t used, machines;
	uint8_t records[];
};

/* The writable part of a chain between its two records. */
struct taken {
	const struct guest_region *window;
	size_t count;
	struct iovec spans[SPANS_MAX];
};

struct watched {
	const struct virtio_device *device;
	struct taken taken[VIRTIO_QUEUES_MAX][VIRTQUEUE_SIZE_MAX];
};

static struct file *file;
static uint8_t machine;
static struct watched *watched[DEVICES_MAX];
static size_t watched_count;

__attribute__((constructor)) static void file_map(void)
{
	const char *path = getenv("APPC_RECORD");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	void *memory = MAP_FAILED;

	if (!path)
		return;
	if (fd >= 0 && ftruncate(fd, RECORD_SIZE) == 0)
		memory = mmap(NULL, RECORD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		abort();
	close(fd);
	file = memory;
}

/* Where the data of a new record goes; NULL: nothing is recorded, or no more. */
static void *record_begin(struct record record)
{
	uint32_t at;
	struct record *place;

	if (!file)
		return NULL;
	if (record.length > DATA_MAX)
		record.size = DATA_MAX;
	else
		record.size = record.length;
	record.size = (record.size + (uint32_t)sizeof(record) + 3) / 4 * 4;
	record.machine = machine;
	at = atomic_fetch_add(&file->used, record.size);
	if (at > RECORD_SIZE - sizeof(*file) - record.size)
		return NULL;
	place = (struct record *)(file->records + at);
	*place = record;
	return place + 1;
}

static void record_bytes(struct record record, const void *data, size_t length)
{
	void *place;

	record.length = (uint32_t)length;
	place = record_begin(record);
	if (place)
		memcpy(place, data, length < DATA_MAX ? length : DATA_MAX);
}

/* The device of a queue, where it is one of those that are recorded. */
static struct watched *device_of(const struct virtqueue *queue, struct record *ret)
{
	for (size_t i = 0; i < watched_count; i++) {
		const struct virtio_device *device = watched[i]->device;

		if (queue < device->queues || queue >= device->queues + VIRTIO_QUEUES_MAX)
			continue;
		ret->device = (uint8_t)device->id;
		ret->queue = (uint8_t)(queue - device->queues);
		return watched[i];
	}
	return NULL;
}

void __real_virtio_mmio_attach(struct virtio_mmio *mmio, struct virtio_device *device,
	void (*raise)(void *context), void *context);
void __wrap_virtio_mmio_attach(struct virtio_mmio *mmio, struct virtio_device *device,
	void (*raise)(void *context), void *context);
void __wrap_virtio_mmio_attach(struct virtio_mmio *mmio, struct virtio_device *device,
	void (*raise)(void *context), void *context)
{
	struct watched *entry;

	__real_virtio_mmio_attach(mmio, device, raise, context);
	if (!file || watched_count == DEVICES_MAX)
		return;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		abort();
	entry->device = device;
	watched[watched_count++] = entry;
}

int __real_virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);
int __wrap_virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);
int __wrap_virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain)
{
	int r = __real_virtqueue_pop(queue, chain);
	struct record record = {.kind = TAKEN};
	struct watched *device = r > 0 ? device_of(queue, &record) : NULL;
	struct taken *taken;
	void *place;

	if (!device)
		return r;
	taken = &device->taken[record.queue][chain->head];
	taken->window = chain->window;
	taken->count = chain->writable_count < SPANS_MAX ? chain->writable_count : SPANS_MAX;
	memcpy(taken->spans, chain->spans + chain->readable_count,
		taken->count * sizeof(taken->spans[0]));
	record.head = chain->head;
	record.length = chain->readable_bytes;
	record.room = chain->writable_bytes;
	place = record_begin(record);
	if (place)
		virtqueue_chain_read(chain, 0, place, DATA_MAX);
	return r;
}

void __real_virtqueue_unpop(struct virtqueue *queue);
void __wrap_virtqueue_unpop(struct virtqueue *queue);
void __wrap_virtqueue_unpop(struct virtqueue *queue)
{
	struct record record = {.kind = BACK};

	if (device_of(queue, &record))
		record_begin(record);
	__real_virtqueue_unpop(queue);
}

/* Before the driver sees them, which may use them again. */
static void record_answer(struct virtqueue *queue, uint32_t head, uint32_t written)
{
	struct record record = {.kind = ANSWERED, .head = (uint16_t)head, .length = written};
	struct watched *device = device_of(queue, &record);
	struct virtqueue_chain chain = {0};
	const struct taken *taken;
	void *place = device ? record_begin(record) : NULL;

	if (!place)
		return;
	taken = &device->taken[record.queue][head];
	chain.window = taken->window;
	chain.readable_count = taken->count;
	chain.writable_count = 0;
	chain.readable_bytes = written;
	memcpy(chain.spans, taken->spans, taken->count * sizeof(taken->spans[0]));
	virtqueue_chain_read(&chain, 0, place, written < DATA_MAX ? written : DATA_MAX);
}

void __real_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
void __wrap_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
void __wrap_virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	record_answer(queue, head, written);
	__real_virtqueue_push(queue, head, written);
}

void __real_virtqueue_push_all(
	struct virtqueue *queue, const struct virtqueue_used *elements, size_t count);
void __wrap_virtqueue_push_all(
	struct virtqueue *queue, const struct virtqueue_used *elements, size_t count);
void __wrap_virtqueue_push_all(
	struct virtqueue *queue, const struct virtqueue_used *elements, size_t count)
{
	for (size_t i = 0; i < count; i++)
		record_answer(queue, elements[i].head, elements[i].written);
	__real_virtqueue_push_all(queue, elements, count);
}

size_t __real_virtio_console_transmit(
	struct virtio_console *console, unsigned int port, const struct iovec *spans, size_t count);
size_t __wrap_virtio_console_transmit(
	struct virtio_console *console, unsigned int port, const struct iovec *spans, size_t count);
size_t __wrap_virtio_console_transmit(
	struct virtio_console *console, unsigned int port, const struct iovec *spans, size_t count)
{
	size_t taken = __real_virtio_console_transmit(console, port, spans, count), left = taken;

	for (size_t i = 0; i < count && left > 0; i++) {
		size_t length = spans[i].iov_len < left ? spans[i].iov_len : left;

		record_bytes((struct record){.kind = TRANSMIT, .queue = (uint8_t)port},
			spans[i].iov_base, length);
		left -= length;
	}
	return taken;
}

/* The first thing of a new machine. */
void __real_message_port_init(
	struct message_port *port, const struct machine_message *messages, size_t count);
void __wrap_message_port_init(
	struct message_port *port, const struct machine_message *messages, size_t count);
void __wrap_message_port_init(
	struct message_port *port, const struct machine_message *messages, size_t count)
{
	__real_message_port_init(port, messages, count);
	if (!file)
		return;
	machine = (uint8_t)atomic_fetch_add(&file->machines, 1);
	watched_count = 0;
	for (size_t i = 0; i < count; i++)
		record_bytes((struct record){.kind = MESSAGE}, messages[i].data, messages[i].size);
}
