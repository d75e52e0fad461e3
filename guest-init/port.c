// SPDX-License-Identifier: Apache-2.0
/*
 * port.c: I/O ports between guest-init and its virtual machine.
 *
 * Theory of operation: an instruction for a port leaves the guest at once, without a system call. It
 * is also an exact place, between two instructions of ours, which is why a machine is parked there. The
 * memory that a message goes to is touched before, so that a machine that goes on takes no page fault.
 */
#include "guest-init/port.h"

#include <string.h>
#include <sys/io.h>

/* Messages up to this length need no memory of their own. */
#define MESSAGE_BUFFER_SIZE (16u << 10)

/* #syscalls: iopl */
int guest_port_open(struct guest *guest)
{
	if (iopl(3) < 0)
		return -errno;
	guest->has_ports = true;
	return 0;
}

int guest_port_renounce(const struct guest *guest)
{
	return guest->has_ports && iopl(0) < 0 ? -errno : 0;
}

void guest_port_mark(const struct guest *guest, enum wire_phase phase)
{
	if (guest->has_ports)
		outb((uint8_t)phase, WIRE_PHASE_PORT);
}

/* As insb(3), which does not tell the compiler that memory changes. */
static void port_read(uint16_t port, void *data, size_t length)
{
	__asm__ volatile("rep insb" : "+D"(data), "+c"(length) : "d"(port) : "memory");
}

uint64_t guest_port_time(void)
{
	uint64_t time = 0;

	port_read(WIRE_CLOCK_PORT, &time, sizeof(time));
	return time;
}

uint64_t guest_port_rest_time(const struct guest *guest)
{
	return guest->has_ports ? (uint64_t)inb(WIRE_PHASE_PORT) * WIRE_PHASE_REST_NS : 0;
}

size_t guest_port_transmit(unsigned int console_port, const void *data, size_t length)
{
	uint32_t taken;

	if (console_port == 0 || length == 0)
		return 0;
	if (length > WIRE_TRANSMIT_MAX)
		length = WIRE_TRANSMIT_MAX;
	__asm__ volatile(
		"inl %w1, %0"
		: "=a"(taken)
		: "d"(WIRE_TRANSMIT_PORT), "D"((uint64_t)console_port), "S"(data), "c"(length)
		: "memory");
	return taken <= length ? taken : 0;
}

int guest_port_park(struct guest *guest, json_t **ret, struct error *err)
{
	static char buffer[MESSAGE_BUFFER_SIZE];
	_cleanup_free_ char *large = NULL;
	char *text = buffer;
	uint32_t length;

	explicit_bzero(buffer, sizeof(buffer));
	guest_port_mark(guest, WIRE_PHASE_PARK);
	length = inl(WIRE_MESSAGE_PORT);
	if (length == 0)
		return error_set(err, -ENOMSG, "the host has no message for this guest");
	if (length > WIRE_FRAME_MAX_TO_GUEST)
		return error_set(err, -EBADMSG, "message of %u bytes; at most %u are allowed",
			length, WIRE_FRAME_MAX_TO_GUEST);
	if (length > sizeof(buffer)) {
		text = large = malloc(length);
		if (!large)
			return -ENOMEM;
		explicit_bzero(large, length);
	}
	port_read(WIRE_MESSAGE_PORT, text, length);
	return wire_message_decode(text, length, ret, err);
}
