// SPDX-License-Identifier: Apache-2.0
/* guest_memory.c: checked translation of guest physical addresses. */
#include "virtio/guest_memory.h"

#include "base/checked.h"

#include <errno.h>

static void *region_span(const struct guest_region *region, uint64_t address, uint64_t length)
{
	if (address < region->start ||
		!checked_range(address - region->start, length, region->size))
		return NULL;
	return region->host + (address - region->start);
}

void *guest_memory_span(const struct guest_memory *memory, uint64_t address, uint64_t length)
{
	for (size_t i = 0; i < memory->count; i++) {
		void *span = region_span(&memory->regions[i], address, length);

		if (span)
			return span;
	}
	return NULL;
}

void *guest_memory_payload(
	const struct guest_memory *memory, uint64_t address, uint64_t length, bool *ret_window)
{
	void *span = guest_memory_span(memory, address, length);

	*ret_window = !span && memory->window.size > 0;
	return *ret_window ? region_span(&memory->window, address, length) : span;
}

int guest_memory_read(
	const struct guest_memory *memory, uint64_t address, void *data, size_t length)
{
	const void *span = guest_memory_span(memory, address, length);

	if (!span)
		return -EFAULT;
	guest_bytes_copy(data, span, length);
	return 0;
}

int guest_memory_write(
	const struct guest_memory *memory, uint64_t address, const void *data, size_t length)
{
	void *span = guest_memory_span(memory, address, length);

	if (!span)
		return -EFAULT;
	guest_bytes_copy(span, data, length);
	return 0;
}
