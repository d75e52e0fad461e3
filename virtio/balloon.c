// SPDX-License-Identifier: Apache-2.0
/*
 * balloon.c: memory that the guest does not need goes back to the host.
 *
 * Theory of operation: the driver names pages, as page numbers (inflate queue) or as buffers (reporting
 * queue), and we drop them from our mapping of RAM with MADV_DONTNEED. A page that is touched again is
 * faulted in anew: of zeros where RAM is anonymous, with the bytes of the template's file where RAM is
 * a private mapping of one. So the content of a page given up is lost, and not always zeros come
 * back. This is what the interface promises: page poisoning (VIRTIO_BALLOON_F_PAGE_POISON) is not
 * offered, so a driver must take reported pages for uninitialised memory (section 5.5.6.7), and Linux
 * does not report at all when it wants its free pages zeroed or poisoned (init_on_free=1,
 * page_poison=1). Linux clears pages when it hands them out, reported ones like others.
 *
 * Nor is a page that shows the template's bytes again a leak: the guest was started with just these
 * bytes at just this place. What it loses is what it wrote itself. A template holds no other pod's data
 * (one of a warm pod only that pod's).
 *
 * Where RAM is a template's mapping only the guest's own copies of pages are freed; the clean ones belong
 * to the page cache, which all pods of the template share, and leave just our page tables.
 *
 * Nothing outside RAM can be named: a buffer is a span that guest_memory checked, a page number goes
 * through guest_memory_span() as well. Everything in RAM may be named, also the rings, also pages that
 * a file request is just filling: the mapping stays, so that this harms the guest's data and nothing
 * else. Deflating asks for nothing; the page is there when it is touched.
 *
 * Queues: the driver may leave out queues of features that it was not offered, and number the rest
 * without a gap (Linux does); or go by the specification's numbers. We offer neither statistics nor hints, so
 * that all queues above the first two can be nothing but the reporting queue.
 *
 * #syscalls:vcpu madvise(_, _, MADV_DONTNEED)
 */
#include "virtio/balloon.h"

#include "base/log.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>
#include <sys/mman.h>

#define QUEUE_INFLATE   0
#define QUEUE_DEFLATE   1
#define QUEUE_REPORTING 4 /* the specification's; 2 without the queues that we do not offer */

/* The fields that the features we offer make valid. */
#define CONFIG_SIZE offsetof(struct virtio_balloon_config, free_page_hint_cmd_id)

static struct virtio_balloon *balloon_of(struct virtio_device *device)
{
	return (struct virtio_balloon *)device; /* the device is the first member */
}

static uint64_t ram_pages(const struct guest_memory *memory)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < memory->count; i++)
		bytes += memory->regions[i].size;
	return bytes / VIRTIO_BALLOON_PAGE_SIZE;
}

/* Both page-aligned, inside one region of RAM. */
static void release(struct virtio_balloon *balloon, void *start, size_t length)
{
	if (length == 0)
		return;
	if (madvise(start, length, MADV_DONTNEED) == 0) {
		balloon->released += length;
		return;
	}
	/* Locked memory, say. The guest has lost nothing, and the host gains nothing. */
	if (!balloon->told)
		log_warning("memory that the guest gave up cannot be freed: %s", strerror(errno));
	balloon->told = true;
}

/* Drops count pages from this page number on. false: not all of them are RAM. */
static bool release_run(struct virtio_balloon *balloon, uint64_t pfn, uint64_t count)
{
	size_t length = (size_t)count * VIRTIO_BALLOON_PAGE_SIZE;
	void *start =
		guest_memory_span(balloon->device.memory, pfn * VIRTIO_BALLOON_PAGE_SIZE, length);

	if (!start)
		return false;
	release(balloon, start, length);
	return true;
}

/*
 * The page numbers of one request. Neighbours go to the host together, whether they count up or down:
 * Linux lists what it allocated last first.
 */
static bool inflate(struct virtio_balloon *balloon)
{
	const struct virtqueue_chain *chain = &balloon->chain;
	size_t count = chain->readable_bytes / sizeof(uint32_t);
	uint64_t start = 0, length = 0;

	if (chain->readable_bytes % sizeof(uint32_t) || count > VIRTIO_BALLOON_PFNS_MAX)
		return false;
	virtqueue_chain_read(chain, 0, balloon->pfns, chain->readable_bytes);
	for (size_t i = 0; i < count; i++) {
		uint64_t pfn = le32toh(balloon->pfns[i]);

		if (length > 0 && pfn == start + length) {
			length++;
		} else if (length > 0 && pfn + 1 == start) {
			start--;
			length++;
		} else {
			if (length > 0 && !release_run(balloon, start, length))
				return false;
			start = pfn;
			length = 1;
		}
	}
	return length == 0 || release_run(balloon, start, length);
}

/* The buffers of one report are the free pages themselves. */
static bool report(struct virtio_balloon *balloon)
{
	const struct virtqueue_chain *chain = &balloon->chain;

	if (chain->readable_count > 0)
		return false;
	for (size_t i = 0; i < chain->writable_count; i++)
		if ((uintptr_t)chain->spans[i].iov_base % VIRTIO_BALLOON_PAGE_SIZE ||
			chain->spans[i].iov_len % VIRTIO_BALLOON_PAGE_SIZE)
			return false;
	for (size_t i = 0; i < chain->writable_count; i++)
		release(balloon, chain->spans[i].iov_base, chain->spans[i].iov_len);
	return true;
}

static const char *serve(struct virtio_balloon *balloon, unsigned int index)
{
	switch (index) {
	case QUEUE_INFLATE:
		return inflate(balloon) ? NULL : "bad page numbers in the balloon's inflate queue";
	case QUEUE_DEFLATE:
		return NULL;
	default:
		return report(balloon) ? NULL : "free pages reported that are no pages";
	}
}

static void balloon_notify(struct virtio_device *device, unsigned int index)
{
	struct virtio_balloon *balloon = balloon_of(device);
	unsigned int served = 0;

	while (virtio_device_next(device, index, &balloon->chain, &served)) {
		const char *why = serve(balloon, index);

		if (why) {
			virtio_device_break(device, why);
			break;
		}
		virtqueue_push(&device->queues[index], balloon->chain.head, 0);
	}
	virtio_device_signal(device, index);
}

static void balloon_reset(struct virtio_device *device)
{
	/* The balloon belongs to the driver that is gone; how large it should be is the owner's wish. */
	balloon_of(device)->actual = 0;
}

static void balloon_read_config(
	struct virtio_device *device, size_t offset, void *data, size_t length)
{
	const struct virtio_balloon *balloon = balloon_of(device);
	const struct virtio_balloon_config config = {
		.num_pages = htole32(balloon->target),
		.actual = htole32(balloon->actual),
	};

	memcpy(data, (const uint8_t *)&config + offset, length);
}

static void balloon_write_config(
	struct virtio_device *device, size_t offset, const void *data, size_t length)
{
	struct virtio_balloon *balloon = balloon_of(device);
	uint8_t config[CONFIG_SIZE];
	uint32_t actual;

	balloon_read_config(device, 0, config, sizeof(config));
	memcpy(config + offset, data, length);
	/* The driver may write this field only; what it puts into the other is forgotten. */
	memcpy(&actual, config + offsetof(struct virtio_balloon_config, actual), sizeof(actual));
	balloon->actual = le32toh(actual);
}

static int balloon_save(
	struct virtio_device *device, struct state_writer *writer, struct error *err)
{
	const struct virtio_balloon *balloon = balloon_of(device);

	(void)err;
	state_put_u32(writer, balloon->target);
	state_put_u32(writer, balloon->actual);
	return 0;
}

static int balloon_restore(
	struct virtio_device *device, struct state_reader *reader, struct error *err)
{
	struct virtio_balloon *balloon = balloon_of(device);
	uint32_t target = state_get_u32(reader), actual = state_get_u32(reader);

	if (reader->error)
		return error_set(err, -EBADMSG, "saved balloon: its state is cut short");
	if (target > ram_pages(device->memory))
		return error_set(err, -EBADMSG,
			"saved balloon: a target of %u pages, more than the machine has", target);
	balloon->target = target;
	balloon->actual = actual; /* the driver's word before and after */
	return 0;
}

static const struct virtio_operations balloon_operations = {
	.notify = balloon_notify,
	.reset = balloon_reset,
	.read_config = balloon_read_config,
	.write_config = balloon_write_config,
	.save = balloon_save,
	.restore = balloon_restore,
};

void virtio_balloon_init(struct virtio_balloon *balloon, const struct guest_memory *memory)
{
	*balloon = (struct virtio_balloon){0};
	virtio_device_init(&balloon->device, memory);
	balloon->device.id = VIRTIO_ID_BALLOON;
	balloon->device.features = VIRTIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
		VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING);
	balloon->device.queue_count = QUEUE_REPORTING + 1;
	balloon->device.config_size = CONFIG_SIZE;
	balloon->device.operations = &balloon_operations;
}

int virtio_balloon_set_target(struct virtio_balloon *balloon, uint32_t pages)
{
	struct virtio_device *device = &balloon->device;

	if (pages > ram_pages(device->memory))
		return -ERANGE;
	pthread_mutex_lock(&device->lock);
	if (balloon->target != pages) {
		balloon->target = pages;
		/* A driver that starts later reads the target by itself. */
		if (device->running)
			device->interrupt(device, VIRTIO_INTERRUPT_CONFIG);
	}
	pthread_mutex_unlock(&device->lock);
	return 0;
}

uint32_t virtio_balloon_actual(struct virtio_balloon *balloon)
{
	uint32_t actual;

	pthread_mutex_lock(&balloon->device.lock);
	actual = balloon->actual;
	pthread_mutex_unlock(&balloon->device.lock);
	return actual;
}

uint64_t virtio_balloon_released(struct virtio_balloon *balloon)
{
	uint64_t released;

	pthread_mutex_lock(&balloon->device.lock);
	released = balloon->released;
	pthread_mutex_unlock(&balloon->device.lock);
	return released;
}
