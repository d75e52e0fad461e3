// SPDX-License-Identifier: Apache-2.0
/*
 * queue.c: the split virtqueue, device side.
 *
 * Theory of operation: the three rings are translated to host pointers once, when the queue becomes
 * ready, with the full length that its size asks for; later accesses need no check but an index below
 * the size. Descriptors are copied before use, so that the driver cannot change one between check and
 * use. The walk ends after "size" descriptors at the latest (virtio 1.2, 2.7.5.3: a chain cannot be
 * longer), which also ends loops.
 */
#include "virtio/queue.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

/* Section 2.7.5. */
#define DESCRIPTOR_NEXT     1u
#define DESCRIPTOR_WRITE    2u
#define DESCRIPTOR_INDIRECT 4u

/* Section 2.7.6: the driver does not want interrupts (only without the event index). */
#define AVAILABLE_NO_INTERRUPT 1u

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

/* Layout of the rings in 16-bit words: flags, idx, ring[], then used_event or avail_event. */
static uint16_t *available_word(const struct virtqueue *queue, size_t word)
{
	return (uint16_t *)queue->available_ring + word;
}

static uint16_t *used_word(const struct virtqueue *queue, size_t word)
{
	return (uint16_t *)queue->used_ring + word;
}

static uint16_t *used_event(const struct virtqueue *queue)
{
	return available_word(queue, 2 + (size_t)queue->size);
}

static uint16_t *available_event(const struct virtqueue *queue)
{
	return used_word(queue, 2 + (size_t)queue->size * sizeof(struct virtqueue_used) / 2);
}

int virtqueue_start(struct virtqueue *queue)
{
	uint64_t size = queue->size;

	if (size == 0 || size > VIRTQUEUE_SIZE_MAX || (size & (size - 1)))
		return -EINVAL;
	if (queue->descriptors % 16 || queue->available % 2 || queue->used % 4)
		return -EINVAL;
	queue->descriptor_ring = guest_memory_span(
		queue->memory, queue->descriptors, size * sizeof(struct descriptor));
	queue->available_ring = guest_memory_span(queue->memory, queue->available, 6 + 2 * size);
	queue->used_ring = guest_memory_span(
		queue->memory, queue->used, 6 + size * sizeof(struct virtqueue_used));
	if (!queue->descriptor_ring || !queue->available_ring || !queue->used_ring)
		return -EINVAL;
	queue->next_available = 0;
	queue->next_used = 0;
	queue->signalled_used = 0;
	queue->ready = true;
	return 0;
}

void virtqueue_save(const struct virtqueue *queue, struct state_writer *writer)
{
	state_put_u64(writer, queue->descriptors);
	state_put_u64(writer, queue->available);
	state_put_u64(writer, queue->used);
	state_put_u32(writer, queue->size);
	state_put_u32(writer, queue->ready);
	state_put_u32(writer, queue->next_available);
	state_put_u32(writer, queue->next_used);
	state_put_u32(writer, queue->signalled_used);
}

int virtqueue_restore(struct virtqueue *queue, struct state_reader *reader)
{
	uint32_t ready, next_available, next_used, signalled_used;

	queue->descriptors = state_get_u64(reader);
	queue->available = state_get_u64(reader);
	queue->used = state_get_u64(reader);
	queue->size = state_get_u32(reader);
	ready = state_get_u32(reader);
	next_available = state_get_u32(reader);
	next_used = state_get_u32(reader);
	signalled_used = state_get_u32(reader);
	if (reader->error || ready > 1 || next_available > UINT16_MAX || next_used > UINT16_MAX ||
		signalled_used > UINT16_MAX)
		return -EBADMSG;
	if (!ready)
		return 0;
	if (virtqueue_start(queue) < 0)
		return -EBADMSG;
	/* Any index is as good as another: where it does not fit the ring, popping finds out. */
	queue->next_available = (uint16_t)next_available;
	queue->next_used = (uint16_t)next_used;
	queue->signalled_used = (uint16_t)signalled_used;
	return 0;
}

void virtqueue_reset(struct virtqueue *queue)
{
	*queue = (struct virtqueue){.memory = queue->memory, .window = queue->window};
}

int virtqueue_pending(struct virtqueue *queue)
{
	/* Pairs with the driver's write barrier between the ring entry and avail.idx. */
	uint16_t index = __atomic_load_n(available_word(queue, 1), __ATOMIC_ACQUIRE);
	uint16_t pending = (uint16_t)(index - queue->next_available);

	return pending > queue->size ? -EBADMSG : pending;
}

/* A copy that stays one: without the barrier the compiler may read the driver's bytes twice. */
static void descriptor_copy(struct descriptor *to, const void *from)
{
	guest_bytes_copy(to, from, sizeof(*to));
	__asm__ volatile("" : "+m"(*to));
}

/* Adds one checked span to the chain. */
static int chain_add(const struct virtqueue *queue, struct virtqueue_chain *chain,
	const struct descriptor *descriptor)
{
	bool writable = descriptor->flags & DESCRIPTOR_WRITE;
	size_t count = chain->readable_count + chain->writable_count;
	uint32_t *bytes = writable ? &chain->writable_bytes : &chain->readable_bytes;
	bool in_window;
	void *host;

	if (count == VIRTQUEUE_SPANS_MAX)
		return -EBADMSG;
	/* Section 2.7.4.2: all device-writable descriptors come after the readable ones. */
	if (!writable && chain->writable_count > 0)
		return -EBADMSG;
	if (__builtin_add_overflow(*bytes, descriptor->length, bytes))
		return -EBADMSG;
	host = guest_memory_payload(
		queue->memory, descriptor->address, descriptor->length, &in_window);
	if (!host || (in_window && !queue->window))
		return -EBADMSG;
	if (in_window)
		chain->window = &queue->memory->window;
	chain->spans[count] = (struct iovec){.iov_base = host, .iov_len = descriptor->length};
	if (writable)
		chain->writable_count++;
	else
		chain->readable_count++;
	return 0;
}

/* Walks an indirect table (section 2.7.5.3) that takes the place of one descriptor. */
static int chain_add_indirect(const struct virtqueue *queue, struct virtqueue_chain *chain,
	const struct descriptor *indirect)
{
	size_t entries = indirect->length / sizeof(struct descriptor);
	const uint8_t *table; /* of any alignment */
	size_t index = 0;

	if (!queue->indirect || indirect->flags & DESCRIPTOR_NEXT || entries == 0 ||
		indirect->length % sizeof(struct descriptor))
		return -EBADMSG;
	table = guest_memory_span(queue->memory, indirect->address, indirect->length);
	if (!table)
		return -EBADMSG;
	/* Linux puts more entries into one table than the queue has; what bounds us is the spans. */
	for (size_t left = VIRTQUEUE_SPANS_MAX; left > 0; left--) {
		struct descriptor descriptor;
		int r;

		descriptor_copy(&descriptor, table + index * sizeof(descriptor));
		if (descriptor.flags & DESCRIPTOR_INDIRECT)
			return -EBADMSG;
		r = chain_add(queue, chain, &descriptor);
		if (r < 0)
			return r;
		if (!(descriptor.flags & DESCRIPTOR_NEXT))
			return 0;
		if (descriptor.next >= entries)
			return -EBADMSG;
		index = descriptor.next;
	}
	return -EBADMSG;
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain)
{
	const struct descriptor *table = queue->descriptor_ring;
	int pending = virtqueue_pending(queue);
	uint16_t index;

	if (pending <= 0)
		return pending;
	index = __atomic_load_n(
		available_word(queue, 2 + queue->next_available % queue->size), __ATOMIC_RELAXED);
	chain->head = index;
	chain->readable_count = chain->writable_count = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	chain->window = NULL;
	for (uint32_t left = queue->size; left > 0; left--) {
		struct descriptor descriptor;
		int r;

		if (index >= queue->size)
			return -EBADMSG;
		descriptor_copy(&descriptor, &table[index]);
		if (descriptor.flags & DESCRIPTOR_INDIRECT)
			r = chain_add_indirect(queue, chain, &descriptor);
		else
			r = chain_add(queue, chain, &descriptor);
		if (r < 0)
			return r;
		if (!(descriptor.flags & DESCRIPTOR_NEXT)) {
			queue->next_available++;
			return 1;
		}
		index = descriptor.next;
	}
	return -EBADMSG;
}

void virtqueue_unpop(struct virtqueue *queue)
{
	queue->next_available--;
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	const struct virtqueue_used element = {.head = head, .written = written};

	virtqueue_push_all(queue, &element, 1);
}

void virtqueue_push_all(
	struct virtqueue *queue, const struct virtqueue_used *elements, size_t count)
{
	struct virtqueue_used *ring = (struct virtqueue_used *)used_word(queue, 2);

	for (size_t i = 0; i < count; i++, queue->next_used++)
		guest_bytes_copy(
			&ring[queue->next_used % queue->size], &elements[i], sizeof(elements[i]));
	/* Pairs with the driver's read barrier after it has seen used.idx: the elements come first. */
	__atomic_store_n(used_word(queue, 1), queue->next_used, __ATOMIC_RELEASE);
}

bool virtqueue_needs_interrupt(struct virtqueue *queue)
{
	uint16_t old = queue->signalled_used, new = queue->next_used, event;

	if (old == new)
		return false;
	/* Full barrier between used.idx and the driver's wish; the driver has its own in between too. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	queue->signalled_used = new;
	if (!queue->event_index)
		return !(__atomic_load_n(available_word(queue, 0), __ATOMIC_RELAXED) &
			AVAILABLE_NO_INTERRUPT);
	/* Section 2.7.7.2: interrupt if used_event was passed by this batch. */
	event = __atomic_load_n(used_event(queue), __ATOMIC_RELAXED);
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void virtqueue_enable_notification(struct virtqueue *queue)
{
	if (!queue->event_index)
		return;
	__atomic_store_n(available_event(queue), queue->next_available, __ATOMIC_RELAXED);
	/* Pairs with the driver's barrier between avail.idx and its look at avail_event. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

size_t virtqueue_chain_slice(const struct virtqueue_chain *chain, bool writable, size_t offset,
	size_t length, struct iovec *ret_spans)
{
	size_t first = writable ? chain->readable_count : 0;
	size_t count = writable ? chain->writable_count : chain->readable_count;
	size_t made = 0;

	for (size_t i = first; i < first + count && length > 0; i++) {
		struct iovec span = chain->spans[i];

		if (offset >= span.iov_len) {
			offset -= span.iov_len;
			continue;
		}
		span.iov_base = (uint8_t *)span.iov_base + offset;
		span.iov_len -= offset;
		offset = 0;
		if (span.iov_len > length)
			span.iov_len = length;
		length -= span.iov_len;
		ret_spans[made++] = span;
	}
	return made;
}

/* The window's pages may be missing. */
static bool span_is_in_window(const struct virtqueue_chain *chain, const struct iovec *span)
{
	const uint8_t *start = span->iov_base;

	return chain->window && start >= chain->window->host &&
		(size_t)(start - chain->window->host) < chain->window->size;
}

size_t virtqueue_chain_read(
	const struct virtqueue_chain *chain, size_t offset, void *data, size_t length)
{
	size_t done = 0;

	for (size_t i = 0; i < chain->readable_count && done < length; i++) {
		const struct iovec *span = &chain->spans[i];
		size_t n;

		if (offset >= span->iov_len) {
			offset -= span->iov_len;
			continue;
		}
		n = span->iov_len - offset;
		if (n > length - done)
			n = length - done;
		if (span_is_in_window(chain, span))
			break;
		guest_bytes_copy((uint8_t *)data + done, (uint8_t *)span->iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t virtqueue_chain_write(
	const struct virtqueue_chain *chain, size_t offset, const void *data, size_t length)
{
	size_t done = 0;

	for (size_t i = 0; i < chain->writable_count && done < length; i++) {
		const struct iovec *span = &chain->spans[chain->readable_count + i];
		size_t n;

		if (offset >= span->iov_len) {
			offset -= span->iov_len;
			continue;
		}
		n = span->iov_len - offset;
		if (n > length - done)
			n = length - done;
		if (span_is_in_window(chain, span))
			break;
		guest_bytes_copy(
			(uint8_t *)span->iov_base + offset, (const uint8_t *)data + done, n);
		done += n;
		offset = 0;
	}
	return done;
}
