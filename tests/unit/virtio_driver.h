/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a split virtqueue and of the virtio-mmio registers, for tests and fuzzers
 * that play the guest, an honest one or not. Nothing here checks anything: whoever wants a
 * malformed descriptor writes one.
 */
#ifndef APPC_TESTS_UNIT_VIRTIO_DRIVER_H
#define APPC_TESTS_UNIT_VIRTIO_DRIVER_H

#include "virtio/mmio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	DRIVER_NEXT = 1,
	DRIVER_WRITE = 2,
	DRIVER_INDIRECT = 4,
};

struct driver_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* RAM from guest physical address 0; an allocation of its own, so that ASan guards both its ends.
 */
static inline void driver_memory_create(struct guest_memory *memory, uint64_t size)
{
	uint8_t *host = aligned_alloc(4096, size);

	if (!host)
		abort();
	memset(host, 0, size);
	*memory = (struct guest_memory){.regions = {{0, size, host}}, .count = 1};
}

static inline void driver_memory_free(struct guest_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		free(memory->regions[i].host);
	*memory = (struct guest_memory){0};
}

struct driver_ring {
	uint8_t *memory; /* host address of guest physical address 0 */
	uint64_t descriptors, available, used;
	uint16_t size;
	uint16_t next_available, next_used;
};

/* The rings of one queue take DRIVER_RING_SPACE bytes from base on. */
#define DRIVER_RING_SPACE 0x2000u

static inline struct driver_ring driver_ring_at(
	const struct guest_memory *memory, uint64_t base, uint16_t size)
{
	return (struct driver_ring){
		.memory = memory->regions[0].host,
		.descriptors = base,
		.available = base + 0x1000,
		.used = base + 0x1400,
		.size = size,
	};
}

static inline void driver_word_set(struct driver_ring *ring, uint64_t address, uint16_t value)
{
	memcpy(ring->memory + address, &value, sizeof(value));
}

static inline uint16_t driver_word(const struct driver_ring *ring, uint64_t address)
{
	uint16_t value;

	memcpy(&value, ring->memory + address, sizeof(value));
	return value;
}

/* Writes entry index of a descriptor table: the ring's own, or an indirect one. */
static inline void driver_table_set(struct driver_ring *ring, uint64_t table, uint16_t index,
	uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	struct driver_descriptor descriptor = {address, length, flags, next};

	memcpy(ring->memory + table + 16ull * index, &descriptor, sizeof(descriptor));
}

static inline void driver_describe(struct driver_ring *ring, uint16_t index, uint64_t address,
	uint32_t length, uint16_t flags, uint16_t next)
{
	driver_table_set(ring, ring->descriptors, index, address, length, flags, next);
}

/* Puts a head into the available ring. */
static inline void driver_offer(struct driver_ring *ring, uint16_t head)
{
	driver_word_set(
		ring, ring->available + 4 + 2ull * (ring->next_available % ring->size), head);
	ring->next_available++;
	driver_word_set(ring, ring->available + 2, ring->next_available);
}

/* One descriptor, offered at once. */
static inline void driver_offer_buffer(
	struct driver_ring *ring, uint16_t index, uint64_t address, uint32_t length, uint16_t flags)
{
	driver_describe(ring, index, address, length, flags, 0);
	driver_offer(ring, index);
}

/* Takes the next entry of the used ring. */
static inline bool driver_take_used(
	struct driver_ring *ring, uint32_t *ret_id, uint32_t *ret_length)
{
	uint64_t element = ring->used + 4 + 8ull * (ring->next_used % ring->size);

	if (driver_word(ring, ring->used + 2) == ring->next_used)
		return false;
	memcpy(ret_id, ring->memory + element, 4);
	memcpy(ret_length, ring->memory + element + 4, 4);
	ring->next_used++;
	return true;
}

static inline void driver_set_used_event(struct driver_ring *ring, uint16_t value)
{
	driver_word_set(ring, ring->available + 4 + 2ull * ring->size, value);
}

static inline uint16_t driver_available_event(const struct driver_ring *ring)
{
	return driver_word(ring, ring->used + 4 + 8ull * ring->size);
}

/* ---- the queue alone, without a transport */

static inline void driver_queue_init(
	struct virtqueue *queue, const struct guest_memory *memory, const struct driver_ring *ring)
{
	*queue = (struct virtqueue){
		.memory = memory,
		.descriptors = ring->descriptors,
		.available = ring->available,
		.used = ring->used,
		.size = ring->size,
	};
}

/* ---- registers */

static inline uint32_t driver_read(struct virtio_mmio *mmio, uint64_t reg)
{
	uint32_t value = 0;

	virtio_mmio_read(mmio, reg, &value, sizeof(value));
	return value;
}

static inline void driver_write(struct virtio_mmio *mmio, uint64_t reg, uint32_t value)
{
	virtio_mmio_write(mmio, reg, &value, sizeof(value));
}

#define DRIVER_STATUS_DRIVER   (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define DRIVER_STATUS_FEATURES (DRIVER_STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define DRIVER_STATUS_RUNNING  (DRIVER_STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK)

/* Section 3.1.1, steps 1 to 6, with these features. Returns whether FEATURES_OK stuck. */
static inline bool driver_negotiate(struct virtio_mmio *mmio, uint64_t features)
{
	driver_write(mmio, VIRTIO_MMIO_STATUS, 0);
	driver_write(mmio, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_write(mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		driver_write(mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		driver_write(
			mmio, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * half)));
	}
	driver_write(mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_FEATURES);
	return driver_read(mmio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* Step 7 for one queue. Returns whether it became ready. */
static inline bool driver_set_up_queue(
	struct virtio_mmio *mmio, uint32_t index, const struct driver_ring *ring)
{
	driver_write(mmio, VIRTIO_MMIO_QUEUE_SEL, index);
	driver_write(mmio, VIRTIO_MMIO_QUEUE_NUM, ring->size);
	driver_write(mmio, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)ring->descriptors);
	driver_write(mmio, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(ring->descriptors >> 32));
	driver_write(mmio, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)ring->available);
	driver_write(mmio, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(ring->available >> 32));
	driver_write(mmio, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)ring->used);
	driver_write(mmio, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(ring->used >> 32));
	driver_write(mmio, VIRTIO_MMIO_QUEUE_READY, 1);
	return driver_read(mmio, VIRTIO_MMIO_QUEUE_READY) == 1;
}

/* Step 8. */
static inline void driver_run(struct virtio_mmio *mmio)
{
	driver_write(mmio, VIRTIO_MMIO_STATUS, DRIVER_STATUS_RUNNING);
}

static inline void driver_notify(struct virtio_mmio *mmio, uint32_t queue)
{
	driver_write(mmio, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

#endif
