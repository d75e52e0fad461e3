// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_virtqueue.c: the walk through descriptor chains. The input is what the driver left in
 * memory.
 *
 * Byte 0: the queue's size is 2 to the power of its low four bits; bit 4: event index, bit 5:
 * indirect descriptors, bit 6: the ring addresses follow (3 * 8 bytes), else the rings are at the
 * start of memory, one behind the other. Byte 1: indexes that the device starts with. Then the
 * image of memory.
 */
#include "tests/fuzz/input.h"
#include "tests/unit/virtio_driver.h"

#define LOW_SIZE   0x4000ull
#define HIGH_START 0x100000ull
#define HIGH_SIZE  0x1000ull
#define POPS_MAX   1024

static bool span_is_in_ram(const struct guest_memory *memory, const struct iovec *span)
{
	for (size_t i = 0; i < memory->count; i++) {
		const uint8_t *start = memory->regions[i].host, *at = span->iov_base;

		if (at >= start && at <= start + memory->regions[i].size &&
			span->iov_len <= (size_t)(start + memory->regions[i].size - at))
			return true;
	}
	return false;
}

static void check_chain(const struct virtqueue *queue, const struct virtqueue_chain *chain)
{
	static uint8_t bytes[LOW_SIZE];
	static struct iovec spans[VIRTQUEUE_SPANS_MAX];
	uint64_t sums[2] = {0};
	size_t n;

	check(chain->head < queue->size);
	check(chain->readable_count + chain->writable_count >= 1);
	check(chain->readable_count + chain->writable_count <= VIRTQUEUE_SPANS_MAX);
	for (size_t i = 0; i < chain->readable_count + chain->writable_count; i++) {
		check(span_is_in_ram(queue->memory, &chain->spans[i]));
		sums[i >= chain->readable_count] += chain->spans[i].iov_len;
	}
	check(sums[0] == chain->readable_bytes && sums[1] == chain->writable_bytes);

	n = virtqueue_chain_read(chain, 1, bytes, sizeof(bytes));
	check(n == (sums[0] < 1 ? 0 : sums[0] - 1 < sizeof(bytes) ? sums[0] - 1 : sizeof(bytes)));
	check(virtqueue_chain_slice(chain, true, 3, 100, spans) <= chain->writable_count);
	check(virtqueue_chain_slice(chain, false, 0, SIZE_MAX, spans) <= chain->readable_count);
	/* May well write into the rings. */
	n = virtqueue_chain_write(chain, 1, bytes, 24);
	check(n == (sums[1] < 1 ? 0 : sums[1] - 1 < 24 ? sums[1] - 1 : 24));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct virtqueue_chain chain;
	struct guest_memory memory;
	struct virtqueue queue;
	uint8_t *high;

	if (size < 2 + 24)
		return 0;
	driver_memory_create(&memory, LOW_SIZE);
	high = aligned_alloc(4096, HIGH_SIZE);
	if (!high)
		abort();
	memset(high, 0, HIGH_SIZE);
	memory.regions[1] = (struct guest_region){HIGH_START, HIGH_SIZE, high};
	memory.count = 2;

	queue = (struct virtqueue){
		.memory = &memory,
		.size = 1u << (data[0] & 15),
		.event_index = data[0] & 16,
		.indirect = data[0] & 32,
	};
	queue.available = 16ull * queue.size;
	queue.used = (queue.available + 6 + 2ull * queue.size + 3) / 4 * 4;
	if (data[0] & 64) {
		memcpy(&queue.descriptors, data + 2, 8);
		memcpy(&queue.available, data + 10, 8);
		memcpy(&queue.used, data + 18, 8);
		size -= 24;
		memcpy(memory.regions[0].host, data + 26,
			size - 2 < LOW_SIZE ? size - 2 : LOW_SIZE);
	} else {
		memcpy(memory.regions[0].host, data + 2, size - 2 < LOW_SIZE ? size - 2 : LOW_SIZE);
	}

	if (virtqueue_start(&queue) == 0) {
		queue.next_available = queue.next_used = queue.signalled_used =
			(uint16_t)(data[1] << 8);
		for (int i = 0; i < POPS_MAX; i++) {
			int pending = virtqueue_pending(&queue);
			int r = virtqueue_pop(&queue, &chain);

			check(pending <= (int)queue.size);
			check(r < 0 || r == (pending > 0));
			if (r <= 0)
				break;
			check_chain(&queue, &chain);
			virtqueue_push(&queue, chain.head, chain.writable_bytes);
			if (i % 3 == 0)
				virtqueue_needs_interrupt(&queue);
			if (i % 5 == 0)
				virtqueue_enable_notification(&queue);
		}
	}
	driver_memory_free(&memory);
	return 0;
}
