/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to guest memory.
 *
 * Guest physical addresses become host pointers here and nowhere else, and only together with a
 * length that is checked to lie inside one region of RAM. The guest can change the bytes behind a span
 * at any time: whoever decides on a value copies it out first (guest_memory_read()) and never reads
 * it from the guest again.
 * The region table is written before the first vCPU runs and constant afterwards: any thread.
 *
 * The window is no RAM: a range of guest physical addresses where a device shows files of the host
 * (virtio/fs/dax.h). Its pages can be missing at any time, which would end whoever touches them here
 * (SIGBUS, SIGSEGV), and a system call that is to copy them fails with EFAULT. Programs of the guest
 * may all the same have it as a buffer: guest_memory_payload().
 */
#ifndef APPC_VIRTIO_GUEST_MEMORY_H
#define APPC_VIRTIO_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct guest_region {
	uint64_t start, size; /* guest physical, bytes */
	uint8_t *host;
};

struct guest_memory {
	struct guest_region regions[2]; /* below and above the hole under 4 GiB */
	size_t count;
	struct guest_region window; /* size 0: there is none */
};

/* The host address of [address, address + length), or NULL when not all of it is in one region. */
void *guest_memory_span(const struct guest_memory *memory, uint64_t address, uint64_t length);

/*
 * As guest_memory_span(), but the range may be in the window instead: then *ret_window is true, and the
 * span is for system calls to copy from or to.
 */
void *guest_memory_payload(
	const struct guest_memory *memory, uint64_t address, uint64_t length, bool *ret_window);

/*
 * Copies to or from a span. The guest, or another request of the guest's that names the same bytes, may write
 * there meanwhile: what comes of it is the guest's own, and no race that the thread sanitizer should tell of.
 */
static inline void guest_bytes_copy(void *to, const void *from, size_t length)
{
#ifdef __SANITIZE_THREAD__
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
#else
	memcpy(to, from, length);
#endif
}

/* Copies between guest and host memory. 0, or -EFAULT when the range is not RAM. */
int guest_memory_read(
	const struct guest_memory *memory, uint64_t address, void *data, size_t length);
int guest_memory_write(
	const struct guest_memory *memory, uint64_t address, const void *data, size_t length);

#endif
