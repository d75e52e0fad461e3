// SPDX-License-Identifier: Apache-2.0
/*
 * hook.c: a VMM that its guest has captured.
 *
 * Theory of operation: build/appc-vm-captured is the program from the very objects of the shipped one, and this file,
 * linked so (--wrap) that three of the VMM's functions come through here: the one that serves a device's register, on a
 * vCPU's thread, the one that is the event loop, and the one that starts them all, when the jail stands and there is one
 * thread without a filter. Each runs, once and before anything else, what the environment
 * asks for: APPC_ATTACK, "THREAD NAME" with THREAD vcpu, loop or start, and NAME of an attempt, or "all" of those that another
 * wall than the system call filter stops. What came of it is told on standard error.
 *
 * The file server's ring is for the start alone, since attempts use it as if it were their own; its shape is learned when it
 * is made.
 */
#include "tests/attack/attempts.h"
#include "virtio/mmio.h"
#include "vmm/loop.h"
#include "vmm/machine.h"

#include <liburing.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct attack_targets targets = {.tcp_port = -1, .process = -1, .shared_memory = -1};
static const char *attack;
static struct io_uring_params ring;

static int number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? (int)strtol(text, NULL, 10) : -1;
}

__attribute__((constructor)) static void read_environment(void)
{
	attack = getenv("APPC_ATTACK");
	targets.secret = getenv("APPC_ATTACK_SECRET");
	targets.abstract = getenv("APPC_ATTACK_ABSTRACT");
	targets.tcp_port = number_of("APPC_ATTACK_PORT");
	targets.process = number_of("APPC_ATTACK_PROCESS");
	targets.shared_memory = number_of("APPC_ATTACK_MEMORY");
	targets.host_name = getenv("APPC_ATTACK_HOST");
	targets.read_only = getenv("APPC_ATTACK_READ_ONLY");
}

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One write(2), which every filter allows; not stdio, which looks at the fd first. */
static void tell(const char *format, ...)
{
	char text[256];
	va_list arguments;
	ssize_t n;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	n = write(STDERR_FILENO, text, (size_t)length);
	(void)n;
}

static void attempt_run(const struct attempt *attempt)
{
	int r;

	tell("attack %s: begins\n", attempt->name);
	r = attempt->run(&targets);
	if (r == 0)
		tell("attack %s: SUCCEEDED (%s)\n", attempt->name, attempt->tries);
	else
		tell("attack %s: stopped (%s)\n", attempt->name,
			r > 0 ? "nothing to try" : strerrordesc_np(-r));
}

static void captured(const char *thread)
{
	size_t length = strlen(thread);
	const char *name;

	if (!attack || strncmp(attack, thread, length) != 0 || attack[length] != ' ')
		return;
	name = attack + length + 1;
	for (size_t i = 0; i < attempt_count; i++)
		if (!strcmp(name, attempts[i].name) ||
			(!strcmp(name, "all") && strcmp(attempts[i].wall, "filter") != 0))
			attempt_run(&attempts[i]);
	tell("attack: done on %s\n", thread);
}

int __real_io_uring_queue_init_params(
	unsigned int entries, struct io_uring *new_ring, struct io_uring_params *parameters);
int __wrap_io_uring_queue_init_params(
	unsigned int entries, struct io_uring *new_ring, struct io_uring_params *parameters);
int __wrap_io_uring_queue_init_params(
	unsigned int entries, struct io_uring *new_ring, struct io_uring_params *parameters)
{
	int r = __real_io_uring_queue_init_params(entries, new_ring, parameters);

	if (r == 0) {
		ring = *parameters;
		targets.ring_operations = attack_ring_operations(new_ring->ring_fd);
	}
	return r;
}

enum machine_end __real_machine_run(struct machine *machine, struct error *err);
enum machine_end __wrap_machine_run(struct machine *machine, struct error *err);
enum machine_end __wrap_machine_run(struct machine *machine, struct error *err)
{
	targets.ring = ring.sq_entries ? &ring : NULL;
	captured("start");
	targets.ring = NULL;
	return __real_machine_run(machine, err);
}

int __real_loop_run(struct loop *loop);
int __wrap_loop_run(struct loop *loop);
int __wrap_loop_run(struct loop *loop)
{
	captured("loop");
	return __real_loop_run(loop);
}

void __real_virtio_mmio_write(
	struct virtio_mmio *mmio, uint64_t offset, const void *data, size_t length);
void __wrap_virtio_mmio_write(
	struct virtio_mmio *mmio, uint64_t offset, const void *data, size_t length);
void __wrap_virtio_mmio_write(
	struct virtio_mmio *mmio, uint64_t offset, const void *data, size_t length)
{
	static atomic_flag once = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&once))
		captured("vcpu");
	__real_virtio_mmio_write(mmio, offset, data, length);
}
