/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile guest can do to its machine, and the cases of what it does (cases.h).
 *
 * A case is a function that plays a guest which breaks the rules, and says what the machine must do
 * about it. It reaches the machine by nothing but the functions below, which exist twice: metal/main.c
 * is a real guest in ring 0, started by the real program; in_process.c joins them to the device model
 * in the same process, for the sanitizers, for threads and for the fuzzer. The cases are freestanding C.
 */
#ifndef APPC_TESTS_HOSTILE_GUEST_H
#define APPC_TESTS_HOSTILE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that is the cases' to use, guest physical. */
#define GUEST_SCRATCH     0x400000ull
#define GUEST_SCRATCH_END 0x800000ull

/* Places for devices, one page each from GUEST_DEVICES on; what is not there reads as all ones. */
#define GUEST_DEVICES 0xd0000000ull
#define GUEST_SLOTS   8u

/* Ports of the machine (wire/wire.h). */
#define GUEST_PORT_PHASE    0xf1
#define GUEST_PHASE_OVER    6
#define GUEST_PORT_MESSAGE  0xf4
#define GUEST_PORT_CLOCK    0xf8
#define GUEST_PORT_TRANSMIT 0xfc
#define GUEST_PORT_SERIAL   0x3f8
/* Where ring 0 is emulated only (vmm/xstate_port.h). */
#define GUEST_PORT_XSTATE_SAVE    0xe0
#define GUEST_PORT_XSTATE_RESTORE 0xe4

/*
 * Ports of the host: a program that sends back what it gets, and one that reads nothing. At others there is nobody.
 */
#define GUEST_HOST_ECHO 7
#define GUEST_HOST_DEAF 9

/* Streams of the console. */
#define GUEST_STREAM_CONTROL 1
#define GUEST_STREAM_OUTPUT  2

/* The end of RAM below the hole: where its last byte was is nothing. */
uint64_t guest_memory_end(void);

void guest_store(uint64_t address, const void *data, size_t length);
void guest_load(uint64_t address, void *data, size_t length);

/* Registers of the device in a slot; width is 1, 2, 4 or 8 bytes. */
uint64_t guest_register_read(unsigned int slot, uint64_t offset, unsigned int width);
void guest_register_write(unsigned int slot, uint64_t offset, unsigned int width, uint64_t value);

/* One input or output instruction of 1, 2 or 4 bytes. */
uint32_t guest_port_read(uint16_t port, unsigned int width);
void guest_port_write(uint16_t port, unsigned int width, uint32_t value);

/* The transmit port: bytes of memory to a stream of the console; how many were taken. */
uint32_t guest_transmit(uint64_t stream, uint64_t address, uint64_t length);

/* Time passes: what the machine does on threads of its own goes on. False: it has nothing to do any more. */
bool guest_pause(void);

/* A clock of the host's. */
uint64_t guest_seconds(void);

/*
 * Runs task on another CPU; guest_join() waits until it has returned. False: there is no other, and nothing
 * was done.
 */
bool guest_fork(void (*task)(void));
void guest_join(void);

/* The machine did what it must not. The case goes on. */
void guest_fail(const char *what, uint64_t value);

#endif
