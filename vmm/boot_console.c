// SPDX-License-Identifier: Apache-2.0
/* boot_console.c: what the guest kernel prints while it has no other console. */
#include "vmm/boot_console.h"

#include "base/log.h"

#include <string.h>

/* Registers of the UART, by offset. */
#define UART_DATA         0
#define UART_LINE_STATUS  5
#define LINE_STATUS_EMPTY 0x60 /* transmitter and its holding register empty */

void boot_console_init(struct boot_console *console, bool show)
{
	*console = (struct boot_console){.show = show};
	pthread_mutex_init(&console->lock, NULL);
}

uint8_t boot_console_read(struct boot_console *console, uint16_t reg)
{
	(void)console;
	return reg == UART_LINE_STATUS ? LINE_STATUS_EMPTY : 0;
}

static void boot_console_show_line(struct boot_console *console)
{
	if (console->shown > BOOT_CONSOLE_SHOW_MAX)
		return;
	console->shown += console->line_length;
	if (console->shown <= BOOT_CONSOLE_SHOW_MAX) {
		log_info("kernel: %s", console->line);
		return;
	}
	console->shown = BOOT_CONSOLE_SHOW_MAX + 1;
	log_warning("the guest's kernel has printed more than %u KiB; no more of it is shown",
		BOOT_CONSOLE_SHOW_MAX >> 10);
}

static void boot_console_end_line(struct boot_console *console)
{
	console->line[console->line_length] = '\0';
	if (console->show && console->line_length > 0)
		boot_console_show_line(console);
	console->line_length = 0;
}

void boot_console_write(struct boot_console *console, uint16_t reg, uint8_t value)
{
	/*
	 * The kernel sets the speed through the data register, with bytes of the divisor: 1 and 0 at
	 * 115200. They are no text, and neither are other control characters.
	 */
	if (reg != UART_DATA || (value < 0x20 && value != '\n') || value >= 0x7f)
		return;
	pthread_mutex_lock(&console->lock);
	console->kept[console->written++ % BOOT_CONSOLE_KEEP] = (char)value;
	if (value == '\n' || console->line_length == sizeof(console->line) - 1)
		boot_console_end_line(console);
	if (value != '\n')
		console->line[console->line_length++] = (char)value;
	pthread_mutex_unlock(&console->lock);
}

bool boot_console_reason(struct boot_console *console, char *text, size_t size)
{
	static const char *const signs[] = {"Kernel panic", "BUG:", "Oops:", "general protection"};
	char kept[BOOT_CONSOLE_KEEP + 1];
	size_t length;

	pthread_mutex_lock(&console->lock);
	length = console->written < BOOT_CONSOLE_KEEP ? console->written : BOOT_CONSOLE_KEEP;
	for (size_t i = 0; i < length; i++)
		kept[i] = console->kept[(console->written - length + i) % BOOT_CONSOLE_KEEP];
	pthread_mutex_unlock(&console->lock);
	kept[length] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
		const char *found = strstr(kept, signs[i]);

		if (found) {
			size_t line = strcspn(found, "\n");

			snprintf(text, size, "%.*s", (int)line, found);
			return true;
		}
	}
	return false;
}
