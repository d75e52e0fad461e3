/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boot console: the transmit half of a 16550 UART, where the guest kernel's early console
 * (earlyprintk) writes from its first instruction to its last panic. Nothing is ever received.
 *
 * The last BOOT_CONSOLE_KEEP bytes are kept, so that a pod that dies tells why. Used from vCPU threads
 * under the lock; text comes from the guest and is made printable before anyone sees it.
 */
#ifndef APPC_VMM_BOOT_CONSOLE_H
#define APPC_VMM_BOOT_CONSOLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_CONSOLE_PORT  0x3f8
#define BOOT_CONSOLE_PORTS 8
#define BOOT_CONSOLE_KEEP  8192
/* Bytes that are shown; a guest could go on for ever. */
#define BOOT_CONSOLE_SHOW_MAX (1u << 20)

struct boot_console {
	bool show; /* each line to standard error as it comes, up to a bound; constant */
	pthread_mutex_t lock;
	char kept[BOOT_CONSOLE_KEEP]; /* ring */
	uint64_t written;             /* bytes ever */
	char line[256];
	size_t line_length;
	size_t shown; /* bytes; of BOOT_CONSOLE_SHOW_MAX + 1 it was said that there are more */
};

void boot_console_init(struct boot_console *console, bool show);

uint8_t boot_console_read(struct boot_console *console, uint16_t reg);
void boot_console_write(struct boot_console *console, uint16_t reg, uint8_t value);

/*
 * Why the kernel died, if it said so: the line that starts with "Kernel panic", or "BUG:" and the
 * like, without time stamp. text has room for size bytes; false when there is none.
 */
bool boot_console_reason(struct boot_console *console, char *text, size_t size);

#endif
