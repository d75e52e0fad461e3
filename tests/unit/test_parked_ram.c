// SPDX-License-Identifier: Apache-2.0
/* test_parked_ram.c: a guest's RAM in a file, and the messages a guest asks for. */
#include "base/file.h"
#include "vmm/message_port.h"
#include "vmm/ram.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MEMORY_SIZE (64ull << 20)
#define PAGE        4096ull

/* A file as templates have it, on a file system with holes. */
static int file_new(void)
{
	char name[] = "/tmp/appc-ram-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(name);
	return fd;
}

static void map(int fd, struct guest_memory *ret)
{
	struct error err;

	if (ram_map(MEMORY_SIZE, fd, ret, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(ret->count, 1);
}

static void save(const struct guest_memory *memory, int source_fd, bool with_pagemap, int fd)
{
	_cleanup_close_ int pagemap_fd =
		with_pagemap ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
	struct error err;

	if (ram_save(memory, source_fd, pagemap_fd, fd, &err) < 0)
		fail_msg("%s", err.message);
}

static uint64_t blocks(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, MEMORY_SIZE);
	return (uint64_t)st.st_blocks * 512;
}

static const uint64_t places[] = {
	0, PAGE, 2 * PAGE, 5 * PAGE, 511 * PAGE, 512 * PAGE, 1024 * PAGE - 1, MEMORY_SIZE - PAGE};

static void fill(const struct guest_memory *memory, uint8_t value)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		memory->regions[0].host[places[i]] = value;
}

static void ram_comes_back_from_its_file(void **state)
{
	(void)state;
	for (int with_pagemap = 0; with_pagemap < 2; with_pagemap++) {
		_cleanup_close_ int fd = file_new();
		struct guest_memory first, second;

		map(-1, &first);
		fill(&first, 7);
		first.regions[0].host[20 * PAGE] = 1; /* touched, and zero again */
		first.regions[0].host[20 * PAGE] = 0;
		save(&first, -1, with_pagemap, fd);
		assert_in_range(blocks(fd), PAGE, 20 * PAGE);
		map(fd, &second);
		assert_memory_equal(first.regions[0].host, second.regions[0].host, MEMORY_SIZE);
		ram_unmap(&first);
		ram_unmap(&second);
		assert_int_equal(second.count, 0);
	}
}

/* What the guest changed, what it left as it was, and what it has cleared. */
static void ram_mapped_from_a_file_is_saved_with_its_changes(void **state)
{
	(void)state;
	for (int with_pagemap = 0; with_pagemap < 2; with_pagemap++) {
		_cleanup_close_ int old = file_new(), new = file_new();
		struct guest_memory memory, again;

		map(-1, &memory);
		fill(&memory, 7);
		save(&memory, -1, true, old);
		ram_unmap(&memory);

		map(old, &memory);
		memory.regions[0].host[PAGE] = 0;
		memory.regions[0].host[3 * PAGE] = 9; /* in a hole */
		memory.regions[0].host[5 * PAGE + 1] = 9;
		save(&memory, old, with_pagemap, new);
		assert_in_range(blocks(new), PAGE, 20 * PAGE);
		map(new, &again);
		assert_memory_equal(memory.regions[0].host, again.regions[0].host, MEMORY_SIZE);
		assert_int_equal(again.regions[0].host[PAGE], 0);
		assert_int_equal(again.regions[0].host[3 * PAGE], 9);
		assert_int_equal(again.regions[0].host[512 * PAGE], 7);
		ram_unmap(&again);
		/* The file that others go on from is what it was. */
		map(old, &again);
		assert_int_equal(again.regions[0].host[PAGE], 7);
		assert_int_equal(again.regions[0].host[3 * PAGE], 0);
		ram_unmap(&again);
		ram_unmap(&memory);
	}
}

static void ram_above_the_hole_comes_after_that_below(void **state)
{
	const uint64_t size = (3ull << 30) + (64ull << 20);
	_cleanup_close_ int fd = file_new();
	_cleanup_close_ int pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct guest_memory first, second;
	struct error err;
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(ram_map(size, -1, &first, &err), 0);
	assert_int_equal(first.count, 2);
	first.regions[0].host[3 * PAGE] = 3;
	first.regions[1].host[4 * PAGE] = 4;
	assert_int_equal(ram_save(&first, -1, pagemap_fd, fd, &err), 0);
	assert_int_equal(pread(fd, &byte, 1, (3ll << 30) + (off_t)(4 * PAGE)), 1);
	assert_int_equal(byte, 4);
	assert_int_equal(ram_map(size, fd, &second, &err), 0);
	assert_int_equal(second.regions[0].host[3 * PAGE], 3);
	assert_int_equal(second.regions[1].host[4 * PAGE], 4);
	assert_int_equal(*(uint8_t *)guest_memory_span(&second, (4ull << 30) + 4 * PAGE, 1), 4);
	ram_unmap(&first);
	ram_unmap(&second);
}

static void file_of_another_size_is_refused(void **state)
{
	_cleanup_close_ int fd = file_new(), directory = directory_open(AT_FDCWD, "/");
	static const off_t sizes[] = {0, 1, MEMORY_SIZE - 1, MEMORY_SIZE + 1};
	struct guest_memory memory;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(ftruncate(fd, sizes[i]), 0);
		assert_int_equal(ram_map(MEMORY_SIZE, fd, &memory, &err), -EBADMSG);
		assert_int_equal(memory.count, 0);
	}
	assert_int_equal(ram_map(MEMORY_SIZE, directory, &memory, &err), -EBADMSG);
}

static void ram_that_cannot_be_written_is_an_error(void **state)
{
	_cleanup_close_ int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct guest_memory memory;
	struct error err;

	(void)state;
	map(-1, &memory);
	fill(&memory, 1);
	assert_int_equal(ram_save(&memory, -1, -1, fd, &err), -ENOSPC);
	assert_non_null(strstr(err.message, "memory"));
	ram_unmap(&memory);
}

/* ---- messages */

static uint32_t ask(struct message_port *port)
{
	uint32_t length;

	message_port_read(port, &length, sizeof(length), 1);
	return length;
}

static void messages_are_taken_one_after_the_other(void **state)
{
	const struct machine_message messages[] = {{"configure", 9}, {"", 0}, {"renew", 5}};
	struct message_port port;
	char text[16];

	(void)state;
	message_port_init(&port, messages, ARRAY_SIZE(messages));
	assert_false(message_port_is_empty(&port));
	assert_int_equal(ask(&port), 9);
	message_port_read(&port, text, 1, 4);
	message_port_read(&port, text + 4, 1, 5);
	assert_memory_equal(text, "configure", 9);
	assert_int_equal(ask(&port), 0);
	assert_false(message_port_is_empty(&port));
	assert_int_equal(ask(&port), 5);
	message_port_read(&port, text, 1, 4);
	assert_false(message_port_is_empty(&port)); /* a byte is left */
	message_port_read(&port, text, 1, 1);
	assert_true(message_port_is_empty(&port));
	assert_int_equal(ask(&port), 0);
	message_port_done(&port);
}

static void bytes_that_were_not_announced_are_ones(void **state)
{
	const struct machine_message messages[] = {{"ab", 2}, {"c", 1}};
	struct message_port port;
	uint8_t bytes[8];

	(void)state;
	message_port_init(&port, messages, ARRAY_SIZE(messages));
	message_port_read(&port, bytes, 1, 2);
	assert_memory_equal(bytes, "\xff\xff", 2);
	ask(&port);
	message_port_read(&port, bytes, 1, sizeof(bytes));
	assert_memory_equal(bytes, "ab\xff\xff\xff\xff\xff\xff", 8);
	message_port_read(&port, bytes, 2, 4); /* no such width */
	assert_memory_equal(bytes, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	/* The next one given up unread, with the question after it. */
	assert_int_equal(ask(&port), 1);
	assert_int_equal(ask(&port), 0);
	message_port_read(&port, bytes, 1, 1);
	assert_int_equal(bytes[0], 0xff);
	assert_true(message_port_is_empty(&port));
	message_port_done(&port);
}

static void port_without_messages_is_empty(void **state)
{
	struct message_port port;

	(void)state;
	message_port_init(&port, NULL, 0);
	assert_true(message_port_is_empty(&port));
	assert_int_equal(ask(&port), 0);
	message_port_done(&port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_comes_back_from_its_file),
		cmocka_unit_test(ram_mapped_from_a_file_is_saved_with_its_changes),
		cmocka_unit_test(ram_above_the_hole_comes_after_that_below),
		cmocka_unit_test(file_of_another_size_is_refused),
		cmocka_unit_test(ram_that_cannot_be_written_is_an_error),
		cmocka_unit_test(messages_are_taken_one_after_the_other),
		cmocka_unit_test(bytes_that_were_not_announced_are_ones),
		cmocka_unit_test(port_without_messages_is_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
