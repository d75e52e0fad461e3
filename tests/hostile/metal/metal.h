/* SPDX-License-Identifier: Apache-2.0 */
/* What only a guest of its own has: instructions, and the protocol that guest-init speaks. */
#ifndef APPC_TESTS_HOSTILE_METAL_H
#define APPC_TESTS_HOSTILE_METAL_H

#include <stddef.h>
#include <stdint.h>

/* entry.S */
extern const char trampoline[], trampoline_end[];
void metal_main(const uint8_t *zero_page);
void metal_other(void);

/* Bytes to a stream of the console, until all were taken. The console is started when it is not running. */
void metal_send(uint64_t stream, const void *data, size_t length);
/* A frame of the control stream. */
void metal_send_frame(const char *text);
/* A piece of output of the first app. */
void metal_print(const char *text);
/* Says what guest-init would when all has gone well, or not. */
void metal_send_end(unsigned int status);

/* Starts the second CPU at metal_other(), from wherever it is; and stops it. */
void metal_start_other(void);
void metal_stop_other(void);

_Noreturn void metal_halt(void);

static inline void port_write8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint32_t memory_read32(uint64_t address)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline void memory_write32(uint64_t address, uint32_t value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

#endif
