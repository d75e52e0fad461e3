// SPDX-License-Identifier: Apache-2.0
/* guest_memory.c: checked translation of guest physical addresses. */
#include "virtio/guest_memory.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

void *guest_memory_span(const struct guest_memory *memory, uint64_t address, uint64_t length)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		if (address >= region->start &&
			checked_range(address - region->start, length, region->size))
			return region->host + (address - region->start);
	}
	return NULL;
}

int guest_memory_read(
	const struct guest_memory *memory, uint64_t address, void *data, size_t length)
{
	const void *span = guest_memory_span(memory, address, length);

	if (!span)
		return -EFAULT;
	memcpy(data, span, length);
	return 0;
}

int guest_memory_write(
	const struct guest_memory *memory, uint64_t address, const void *data, size_t length)
{
	void *span = guest_memory_span(memory, address, length);

	if (!span)
		return -EFAULT;
	memcpy(span, data, length);
	return 0;
}
