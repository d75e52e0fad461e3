// SPDX-License-Identifier: Apache-2.0
/*
 * vsock.c: the vsock device.
 *
 * Theory of operation: a connection is known by its two ports (the CIDs are always the same) and lives in a
 * slot of a table; the owner's loop knows the slot and nothing else, so an event that comes too late finds a
 * slot that is empty, or an fd from which there is nothing to read, and does no harm.
 *
 * What is to be said to the guest is not composed in advance. A connection that has something to say - a
 * flag is set, or its socket may have data - stands in a queue ("pending"); as long as the guest has
 * buffers, the first of them fills one and stands behind the others again. Resets that belong to no connection
 * are kept as they are.
 *
 * Each direction ends alone. host_ended: the host's program will send no more; write_ended: it takes no more.
 * The guest hears both as flags of one SHUTDOWN, and answers the last with RST, which frees the
 * connection. When the guest says that both its directions have ended, what it sent before still goes to the
 * host's program, and the RST is ours.
 */
#include "virtio/vsock_parts.h"

#include "base/cleanup.h"

#include <endian.h>
#include <string.h>

/* Section 5.10.2. */
enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUE_EVENT, QUEUES };

/* A driver fills the receive queue with buffers at its start, which costs an emulated kernel time. */
#define QUEUE_SIZE 32u
#define TURNS_MAX  VIRTQUEUE_SIZE_MAX /* packets, before others have their turn */

static struct virtio_vsock *vsock_of(struct virtio_device *device)
{
	return (struct virtio_vsock *)device; /* the device is the first member */
}

/* Nobody waits for a device that waits for its driver. */
void vsock_break(struct virtio_vsock *vsock, const char *why)
{
	virtio_device_break(&vsock->device, why);
	vsock_connections_free(vsock);
}

/* ---- the queues */

/*
 * Pops into vsock->chain. 1, or 0 when the driver has no more and will notify, or when it broke the rules and
 * the device with it.
 */
static int vsock_pop(struct virtio_vsock *vsock, unsigned int index)
{
	struct virtqueue *queue = &vsock->device.queues[index];
	int r;

	if (!queue->ready)
		return 0;
	r = virtqueue_pop(queue, &vsock->chain);
	if (r == 0) {
		/* Ask for a notification, then look again: the driver may have added one meanwhile. */
		virtqueue_enable_notification(queue);
		r = virtqueue_pop(queue, &vsock->chain);
	}
	if (r < 0)
		vsock_break(vsock, "malformed vsock queue");
	return r > 0;
}

static void vsock_transmit(struct virtio_vsock *vsock)
{
	unsigned int turns = 0;

	/* Its own packets make the resets: it takes them first. */
	while (vsock->device.running && vsock->reset_count < VSOCK_RESETS_MAX) {
		/* A guest that never stops feeding must not keep the lock for ever. */
		if (turns++ == TURNS_MAX) {
			vsock->options.again(vsock->options.context);
			break;
		}
		if (!vsock_pop(vsock, QUEUE_TRANSMIT))
			break;
		vsock_packet(vsock);
		if (vsock->device.running)
			virtqueue_push(&vsock->device.queues[QUEUE_TRANSMIT], vsock->chain.head, 0);
	}
	if (vsock->device.running)
		virtio_device_signal(&vsock->device, QUEUE_TRANSMIT);
}

void vsock_receive(struct virtio_vsock *vsock)
{
	struct virtqueue *queue = &vsock->device.queues[QUEUE_RECEIVE];
	unsigned int turns = 0;

	while (vsock->device.running && (vsock->reset_count > 0 || !TAILQ_EMPTY(&vsock->pending))) {
		uint32_t length;

		if (turns++ == TURNS_MAX) {
			vsock->options.again(vsock->options.context);
			break;
		}
		if (!vsock_pop(vsock, QUEUE_RECEIVE))
			break;
		if (vsock->chain.readable_count > 0 ||
			vsock->chain.writable_bytes <= VSOCK_HEADER_SIZE) {
			vsock_break(vsock, "a vsock buffer without room");
			return;
		}
		length = vsock_say(vsock);
		if (length > 0)
			virtqueue_push(queue, vsock->chain.head, length);
		else
			virtqueue_unpop(queue);
	}
	if (vsock->device.running)
		virtio_device_signal(&vsock->device, QUEUE_RECEIVE);
}

/* Both directions. Resets that were taken make room for more packets, which have their turn after others'. */
static void vsock_serve(struct virtio_vsock *vsock)
{
	bool is_stalled;

	vsock_transmit(vsock);
	is_stalled = vsock->reset_count == VSOCK_RESETS_MAX;
	vsock_receive(vsock);
	if (is_stalled && vsock->device.running && vsock->reset_count < VSOCK_RESETS_MAX)
		vsock->options.again(vsock->options.context);
}

void virtio_vsock_continue(struct virtio_vsock *vsock)
{
	pthread_mutex_lock(&vsock->device.lock);
	vsock_serve(vsock);
	pthread_mutex_unlock(&vsock->device.lock);
}

/* ---- operations */

/* Section 5.10.6.7: the guest's connections are gone. */
static void vsock_tell_reset(struct virtio_vsock *vsock)
{
	const struct virtio_vsock_event event = {.id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)};
	size_t n;

	if (!vsock->was_reset || !vsock_pop(vsock, QUEUE_EVENT))
		return;
	n = virtqueue_chain_write(&vsock->chain, 0, &event, sizeof(event));
	virtqueue_push(&vsock->device.queues[QUEUE_EVENT], vsock->chain.head, (uint32_t)n);
	virtio_device_signal(&vsock->device, QUEUE_EVENT);
	vsock->was_reset = false;
}

static void vsock_notify(struct virtio_device *device, unsigned int queue)
{
	struct virtio_vsock *vsock = vsock_of(device);

	if (queue == QUEUE_EVENT)
		vsock_tell_reset(vsock);
	else
		vsock_serve(vsock);
}

static void vsock_reset(struct virtio_device *device)
{
	struct virtio_vsock *vsock = vsock_of(device);

	vsock_connections_free(vsock);
	vsock->was_reset = false;
}

/*
 * Parking. The sockets are this machine's and stay behind. A guest that had connections is told at once when it
 * goes on; one that had none, as every template, is not disturbed.
 */
static int vsock_save(struct virtio_device *device, struct state_writer *writer, struct error *err)
{
	struct virtio_vsock *vsock = vsock_of(device);

	(void)err;
	state_put_u32(writer,
		vsock->was_reset || vsock->reset_count > 0 ||
			vsock->free_count < VSOCK_CONNECTIONS_MAX);
	return 0;
}

static int vsock_restore(
	struct virtio_device *device, struct state_reader *reader, struct error *err)
{
	struct virtio_vsock *vsock = vsock_of(device);
	uint32_t was_reset = state_get_u32(reader);

	if (reader->error || was_reset > 1)
		return error_set(err, -EBADMSG, "saved state: the vsock device's is damaged");
	vsock->was_reset = was_reset;
	if (device->running)
		vsock_tell_reset(vsock);
	return 0;
}

static void vsock_read_config(
	struct virtio_device *device, size_t offset, void *data, size_t length)
{
	const struct virtio_vsock_config config = {.guest_cid = htole64(VSOCK_CID_GUEST)};

	(void)device;
	memcpy(data, (const uint8_t *)&config + offset, length);
}

static const struct virtio_operations vsock_operations = {
	.notify = vsock_notify,
	.reset = vsock_reset,
	.read_config = vsock_read_config,
	.save = vsock_save,
	.restore = vsock_restore,
};

int virtio_vsock_create(const struct guest_memory *memory,
	const struct virtio_vsock_options *options, struct virtio_vsock **ret)
{
	struct virtio_vsock *vsock = calloc(1, sizeof(*vsock));

	if (!vsock)
		return -ENOMEM;
	virtio_device_init(&vsock->device, memory);
	vsock->device.id = VIRTIO_ID_VSOCK;
	vsock->device.queue_size = QUEUE_SIZE;
	vsock->device.queue_count = QUEUES;
	vsock->device.config_size = sizeof(struct virtio_vsock_config);
	vsock->device.operations = &vsock_operations;
	/* A program may send a file that it has mapped, without a copy. */
	vsock->device.queues[QUEUE_TRANSMIT].window = true;
	vsock->options = *options;
	TAILQ_INIT(&vsock->pending);
	for (unsigned int i = 0; i < VSOCK_BUCKETS; i++)
		LIST_INIT(&vsock->buckets[i]);
	for (unsigned int i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		vsock->free_slots[i] = (uint16_t)(VSOCK_CONNECTIONS_MAX - 1 - i);
	vsock->free_count = VSOCK_CONNECTIONS_MAX;
	vsock->next_host_port = VSOCK_FIRST_HOST_PORT;
	*ret = vsock;
	return 0;
}

void virtio_vsock_free(struct virtio_vsock *vsock)
{
	if (!vsock)
		return;
	vsock_connections_free(vsock);
	cleanup_close(&vsock->options.listen_fd);
	pthread_mutex_destroy(&vsock->device.lock);
	free(vsock);
}

struct virtio_device *virtio_vsock_device(struct virtio_vsock *vsock)
{
	return &vsock->device;
}

unsigned int virtio_vsock_count(struct virtio_vsock *vsock)
{
	unsigned int count;

	pthread_mutex_lock(&vsock->device.lock);
	count = VSOCK_CONNECTIONS_MAX - vsock->free_count;
	pthread_mutex_unlock(&vsock->device.lock);
	return count;
}
