// SPDX-License-Identifier: Apache-2.0
/* mmio.c: the virtio-mmio register file and the driver's initialisation order. */
#include "virtio/mmio.h"

#include "base/checked.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#define MMIO_MAGIC   0x74726976u /* "virt" */
#define MMIO_VERSION 2
#define MMIO_VENDOR  0x43505041u /* "APPC" */

static const uint64_t transport_features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
	VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX);

static uint64_t offered_features(const struct virtio_device *device)
{
	return device->features | transport_features;
}

/* Called under the device's lock. */
static void mmio_interrupt(struct virtio_device *device, uint32_t cause)
{
	struct virtio_mmio *mmio = device->transport;

	if (cause == VIRTIO_INTERRUPT_CONFIG) {
		mmio->generation++;
		if (!device->running)
			mmio->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	}
	mmio->interrupt_status |= cause;
	mmio->raise(mmio->context);
}

void virtio_mmio_attach(struct virtio_mmio *mmio, struct virtio_device *device,
	void (*raise)(void *context), void *context)
{
	*mmio = (struct virtio_mmio){.device = device, .raise = raise, .context = context};
	device->transport = mmio;
	device->interrupt = mmio_interrupt;
}

static void mmio_reset(struct virtio_mmio *mmio)
{
	struct virtio_device *device = mmio->device;

	device->running = false;
	device->operations->reset(device);
	/* It may have let go of the lock, and another vCPU may have set the device up meanwhile. */
	device->running = false;
	for (unsigned int i = 0; i < device->queue_count; i++)
		virtqueue_reset(&device->queues[i]);
	device->driver_features = 0;
	mmio->status = 0;
	mmio->interrupt_status = 0;
	mmio->device_features_select = mmio->driver_features_select = 0;
	mmio->queue_select = mmio->shared_select = 0;
}

static void mmio_set_status(struct virtio_mmio *mmio, uint32_t value)
{
	struct virtio_device *device = mmio->device;
	uint32_t set = value & ~mmio->status;

	if (value == 0) {
		mmio_reset(mmio);
		return;
	}
	/* Section 2.1.1: the driver must not clear bits but by a reset. */
	if (mmio->status & ~value & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	value &= 0xff & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET; /* which is the device's to set */
	if (set & VIRTIO_CONFIG_S_FEATURES_OK) {
		/* Section 3.1.1, step 6: the bit stays clear when the features do not suit us. */
		if (device->driver_features & ~offered_features(device) ||
			!(device->driver_features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1)))
			value &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	}
	if (set & VIRTIO_CONFIG_S_DRIVER_OK) {
		if (!(value & VIRTIO_CONFIG_S_FEATURES_OK))
			return;
		mmio->status |= value;
		device->running = true;
		if (device->operations->start)
			device->operations->start(device);
		return;
	}
	mmio->status |= value;
}

/* The selected queue while the driver may still set it up, else NULL. */
static struct virtqueue *mmio_queue_in_setup(struct virtio_mmio *mmio)
{
	struct virtqueue *queue;

	if (mmio->queue_select >= mmio->device->queue_count)
		return NULL;
	if (!(mmio->status & VIRTIO_CONFIG_S_FEATURES_OK) ||
		mmio->status & VIRTIO_CONFIG_S_DRIVER_OK)
		return NULL;
	queue = &mmio->device->queues[mmio->queue_select];
	return queue->ready ? NULL : queue;
}

static void set_low(uint64_t *value, uint32_t half)
{
	*value = (*value & ~0xffffffffull) | half;
}

static void set_high(uint64_t *value, uint32_t half)
{
	*value = (*value & 0xffffffffull) | (uint64_t)half << 32;
}

static void mmio_write_queue(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct virtqueue *queue = mmio_queue_in_setup(mmio);
	uint64_t features = mmio->device->driver_features;

	if (!queue)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		queue->size = value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&queue->descriptors, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&queue->descriptors, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&queue->available, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&queue->available, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&queue->used, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&queue->used, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (value != 1)
			break;
		queue->event_index = features & VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX);
		queue->indirect = features & VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC);
		/* A queue that cannot be started reads back as not ready; the driver gives up. */
		virtqueue_start(queue);
		break;
	}
}

static void mmio_notify(struct virtio_mmio *mmio, uint32_t index)
{
	struct virtio_device *device = mmio->device;

	if (index < device->queue_count && device->running && device->queues[index].ready)
		device->operations->notify(device, index);
}

static void mmio_write_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct virtio_device *device = mmio->device;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		mmio->device_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		mmio->driver_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!(mmio->status & VIRTIO_CONFIG_S_DRIVER) ||
			mmio->status & VIRTIO_CONFIG_S_FEATURES_OK)
			break;
		if (mmio->driver_features_select == 0)
			set_low(&device->driver_features, value);
		else if (mmio->driver_features_select == 1)
			set_high(&device->driver_features, value);
		else if (value) /* features we never offered: FEATURES_OK will be refused */
			device->driver_features |= ~offered_features(device);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		mmio->queue_select = value;
		break;
	case VIRTIO_MMIO_SHM_SEL:
		mmio->shared_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		mmio_notify(mmio, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		mmio->interrupt_status &= ~value;
		break;
	case VIRTIO_MMIO_STATUS:
		mmio_set_status(mmio, value);
		break;
	default:
		mmio_write_queue(mmio, offset, value);
		break;
	}
}

static uint32_t mmio_read_shared(const struct virtio_mmio *mmio, uint64_t offset)
{
	const struct virtio_device *device = mmio->device;

	/* A region that is not there has length and base -1 (section 4.2.2). */
	if (mmio->shared_select != 0 || device->shared_size == 0)
		return UINT32_MAX;
	switch (offset) {
	case VIRTIO_MMIO_SHM_LEN_LOW:
		return (uint32_t)device->shared_size;
	case VIRTIO_MMIO_SHM_LEN_HIGH:
		return (uint32_t)(device->shared_size >> 32);
	case VIRTIO_MMIO_SHM_BASE_LOW:
		return (uint32_t)device->shared_start;
	default:
		return (uint32_t)(device->shared_start >> 32);
	}
}

static uint32_t mmio_read_register(struct virtio_mmio *mmio, uint64_t offset)
{
	struct virtio_device *device = mmio->device;
	bool queue_exists = mmio->queue_select < device->queue_count;

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return device->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		if (mmio->device_features_select == 0)
			return (uint32_t)offered_features(device);
		if (mmio->device_features_select == 1)
			return (uint32_t)(offered_features(device) >> 32);
		return 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		if (!queue_exists)
			return 0;
		return device->queue_size ? device->queue_size : VIRTQUEUE_SIZE_MAX;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue_exists && device->queues[mmio->queue_select].ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return mmio->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return mmio->status;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return mmio->generation;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return mmio_read_shared(mmio, offset);
	default:
		return 0;
	}
}

void virtio_mmio_read(struct virtio_mmio *mmio, uint64_t offset, void *data, size_t length)
{
	struct virtio_device *device = mmio->device;
	uint32_t value;

	memset(data, 0, length);
	pthread_mutex_lock(&device->lock);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		offset -= VIRTIO_MMIO_CONFIG;
		if (checked_range(offset, length, device->config_size))
			device->operations->read_config(device, offset, data, length);
	} else if (length == 4 && offset % 4 == 0) {
		value = mmio_read_register(mmio, offset);
		memcpy(data, &value, sizeof(value));
	}
	pthread_mutex_unlock(&device->lock);
}

void virtio_mmio_write(struct virtio_mmio *mmio, uint64_t offset, const void *data, size_t length)
{
	struct virtio_device *device = mmio->device;
	uint32_t value;

	pthread_mutex_lock(&device->lock);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		offset -= VIRTIO_MMIO_CONFIG;
		if (device->operations->write_config &&
			checked_range(offset, length, device->config_size))
			device->operations->write_config(device, offset, data, length);
	} else if (length == 4 && offset % 4 == 0) {
		memcpy(&value, data, sizeof(value));
		mmio_write_register(mmio, offset, value);
	}
	pthread_mutex_unlock(&device->lock);
}

/* ---- parking */

#define MMIO_STATE_TAG     STATE_TAG('V', 'D', 'E', 'V')
#define MMIO_STATE_VERSION 2

static void mmio_put(
	const struct virtio_mmio *mmio, const struct state_writer *own, struct state_writer *writer)
{
	const struct virtio_device *device = mmio->device;

	state_begin(writer, MMIO_STATE_TAG, MMIO_STATE_VERSION);
	state_put_u32(writer, device->id);
	state_put_u32(writer, device->queue_count);
	state_put_u32(writer, mmio->status);
	state_put_u32(writer, mmio->interrupt_status);
	state_put_u32(writer, mmio->generation);
	state_put_u32(writer, mmio->device_features_select);
	state_put_u32(writer, mmio->driver_features_select);
	state_put_u32(writer, mmio->queue_select);
	state_put_u32(writer, mmio->shared_select);
	state_put_u64(writer, device->driver_features);
	for (unsigned int i = 0; i < device->queue_count; i++)
		virtqueue_save(&device->queues[i], writer);
	state_put(writer, own->data, own->length);
	state_end(writer);
}

int virtio_mmio_save(struct virtio_mmio *mmio, struct state_writer *writer, struct error *err)
{
	struct virtio_device *device = mmio->device;
	struct state_writer own = {0};
	int r = 0;

	/*
	 * The device first, put aside: it may complete requests that were in flight, which shows in
	 * registers and queues. These come first in the section, since they must stand before it.
	 */
	pthread_mutex_lock(&device->lock);
	if (device->operations->save)
		r = device->operations->save(device, &own, err);
	if (r == 0 && own.error)
		r = error_set_errno(err, own.error, "cannot save virtio device %u", device->id);
	if (r == 0)
		mmio_put(mmio, &own, writer);
	pthread_mutex_unlock(&device->lock);
	state_writer_done(&own);
	return r;
}

/* Registers that a driver's initialisation cannot lead to are refused (section 3.1.1). */
static bool mmio_registers_are_possible(const struct virtio_mmio *mmio)
{
	const struct virtio_device *device = mmio->device;

	if (mmio->status > 0xff ||
		mmio->interrupt_status &
			~(uint32_t)(VIRTIO_INTERRUPT_QUEUE | VIRTIO_INTERRUPT_CONFIG))
		return false;
	if (!(mmio->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return !(mmio->status & VIRTIO_CONFIG_S_DRIVER_OK);
	return !(device->driver_features & ~offered_features(device)) &&
		device->driver_features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
}

static int mmio_get_queues(struct virtio_mmio *mmio, struct state_reader *reader)
{
	struct virtio_device *device = mmio->device;
	int r = 0;

	for (unsigned int i = 0; i < device->queue_count && r == 0; i++) {
		struct virtqueue *queue = &device->queues[i];

		queue->event_index = device->driver_features & VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX);
		queue->indirect = device->driver_features & VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC);
		r = virtqueue_restore(queue, reader);
		if (queue->ready && !(mmio->status & VIRTIO_CONFIG_S_FEATURES_OK))
			r = -EBADMSG;
	}
	return r;
}

static int mmio_get(struct virtio_mmio *mmio, struct state_reader *reader, struct error *err)
{
	struct virtio_device *device = mmio->device;
	uint32_t id = state_get_u32(reader), queue_count = state_get_u32(reader);
	int r = 0;

	if (id != device->id || queue_count != device->queue_count)
		return error_set(err, -EBADMSG,
			"saved state: virtio device %u with %u queues where device %u with %u is "
			"expected",
			id, queue_count, device->id, device->queue_count);
	mmio->status = state_get_u32(reader);
	mmio->interrupt_status = state_get_u32(reader);
	mmio->generation = state_get_u32(reader);
	mmio->device_features_select = state_get_u32(reader);
	mmio->driver_features_select = state_get_u32(reader);
	mmio->queue_select = state_get_u32(reader);
	mmio->shared_select = state_get_u32(reader);
	device->driver_features = state_get_u64(reader);
	if (!mmio_registers_are_possible(mmio) || mmio_get_queues(mmio, reader) < 0)
		return error_set(err, -EBADMSG,
			"saved state: virtio device %u has registers or queues that cannot be",
			device->id);
	device->running = mmio->status & VIRTIO_CONFIG_S_DRIVER_OK &&
		!(mmio->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (device->operations->restore)
		r = device->operations->restore(device, reader, err);
	return r;
}

int virtio_mmio_restore(struct virtio_mmio *mmio, struct state_reader *reader, struct error *err)
{
	int r;

	r = state_open(reader, MMIO_STATE_TAG, MMIO_STATE_VERSION, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&mmio->device->lock);
	r = mmio_get(mmio, reader, err);
	if (r < 0)
		mmio_reset(mmio);
	pthread_mutex_unlock(&mmio->device->lock);
	return r < 0 ? r : state_close(reader, err);
}
