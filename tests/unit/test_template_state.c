// SPDX-License-Identifier: Apache-2.0
/* test_template_state.c: the state file of a template, the memory that belongs to it, and damage to both. */
#include "template_directory.h"
#include "vmm/template_state.h"

#include <sys/stat.h>

#define FLIPS       2000
#define LARGE_STATE 20000

static uint8_t *read_state(const struct fixture *fixture, const char *key, size_t *ret_size)
{
	char path[256], *data;

	path_of(fixture, key, "state", path);
	assert_int_equal(file_read(AT_FDCWD, path, MIB, &data, ret_size), 0);
	return (uint8_t *)data;
}

/* A copy of just that size, so that the sanitizer sees a byte too many. */
static int parse(const uint8_t *data, size_t size, const char *key)
{
	struct template_state parsed;
	struct error err;
	uint8_t *copy = malloc(size ? size : 1);
	int r;

	memcpy(copy, data, size);
	r = template_state_parse(copy, size, key, &parsed, &err);
	free(copy);
	return r;
}

static void each_of_2000_flipped_bytes_of_the_state_is_refused(void **state)
{
	struct fixture *fixture = *state;
	uint8_t sections[LARGE_STATE], *data;
	uint32_t seed = 42;
	size_t size;

	fill(sections, sizeof(sections), 3);
	build(fixture, key_a, sections, sizeof(sections));
	data = read_state(fixture, key_a, &size);
	assert_int_equal(parse(data, size, key_a), 0);
	for (int i = 0; i < FLIPS; i++) {
		/* The header and the checksum all through, then anywhere. */
		size_t at = i < 256 ? (size_t)i
			: i < 320   ? size - 1 - (size_t)(i - 256)
				    : random_next(&seed) % size;
		uint8_t mask = (uint8_t)(random_next(&seed) % 255 + 1);

		data[at] ^= mask;
		assert_int_equal(parse(data, size, key_a), -EBADMSG);
		data[at] ^= mask;
	}
	assert_int_equal(parse(data, size, key_a), 0);
	free(data);
}

static void a_state_that_is_cut_off_or_longer_is_refused(void **state)
{
	struct fixture *fixture = *state;
	uint8_t sections[700], *data, *longer;
	size_t size;

	fill(sections, sizeof(sections), 4);
	build(fixture, key_a, sections, sizeof(sections));
	data = read_state(fixture, key_a, &size);
	for (size_t length = 0; length < size; length++)
		assert_int_equal(parse(data, length, key_a), -EBADMSG);
	longer = calloc(1, size + 100);
	memcpy(longer, data, size);
	for (size_t length = size + 1; length <= size + 100; length++)
		assert_int_equal(parse(longer, length, key_a), -EBADMSG);
	free(longer);
	free(data);
}

static void a_damaged_state_file_is_removed_and_can_be_built_again(void **state)
{
	struct fixture *fixture = *state;
	uint32_t seed = 5;

	for (int i = 0; i < 30; i++) {
		uint8_t *data;
		size_t size;

		build(fixture, key_a, "some sections", 13);
		assert_opens(fixture, key_a);
		data = read_state(fixture, key_a, &size);
		if (i % 2)
			data[random_next(&seed) % size] ^= 0x10;
		else
			size = random_next(&seed) % size;
		write_state(fixture, key_a, data, size);
		free(data);
		assert_damaged(fixture, key_a);
	}
}

static void a_state_of_another_template_is_refused(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *data;
	size_t size;

	build(fixture, key_a, "same", 4);
	build(fixture, key_b, "same", 4);
	data = read_state(fixture, key_b, &size);
	assert_int_equal(templates_remove(fixture->templates, key_b, &fixture->err), 0);
	write_state(fixture, key_a, data, size);
	free(data);
	assert_damaged(fixture, key_a);
}

static void memory_touched(const char *path)
{
	assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
}

static void memory_written_with_its_time_put_back(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pwrite(fd, "E", 1, MEMORY_SIZE - 3), 1);
	assert_int_equal(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
	close(fd);
}

static void memory_truncated(const char *path)
{
	assert_int_equal(truncate(path, MEMORY_SIZE - 1), 0);
}

static void memory_replaced(const char *path)
{
	_cleanup_free_ char *data = NULL;
	char other[300];
	size_t size;

	snprintf(other, sizeof(other), "%s.new", path);
	assert_int_equal(file_read(AT_FDCWD, path, MEMORY_SIZE, &data, &size), 0);
	assert_int_equal(file_write_atomic(AT_FDCWD, other, data, size, 0400), 0);
	assert_int_equal(rename(other, path), 0);
}

static void memory_missing(const char *path)
{
	assert_int_equal(unlink(path), 0);
}

static void memory_a_link(const char *path)
{
	char other[300];

	snprintf(other, sizeof(other), "%s.new", path);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink("memory.new", path), 0);
}

static void memory_a_fifo(const char *path)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void a_memory_file_that_was_changed_or_replaced_is_refused(void **state)
{
	static void (*const changes[])(const char *path) = {memory_touched,
		memory_written_with_its_time_put_back, memory_truncated, memory_replaced,
		memory_missing, memory_a_link, memory_a_fifo};
	struct fixture *fixture = *state;
	char path[256];

	path_of(fixture, key_a, "memory", path);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		build(fixture, key_a, "state", 5);
		assert_opens(fixture, key_a);
		changes[i](path);
		assert_int_equal(
			templates_verify(fixture->templates, key_a, &fixture->err), -EBADMSG);
		assert_damaged(fixture, key_a);
	}
}

static void a_file_in_the_place_of_a_template_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	path_of(fixture, key_a, "", path);
	path[strlen(path) - 1] = '\0';
	assert_int_equal(file_write_atomic(AT_FDCWD, path, "x", 1, 0600), 0);
	assert_damaged(fixture, key_a);
}

/* Where the digest of the memory stands: the last thing in the header, whose size is at 12. */
static void state_change_memory_digest(uint8_t *data, size_t size)
{
	struct sha512 sha;
	uint32_t header_size;

	memcpy(&header_size, data + 12, sizeof(header_size));
	data[header_size - 1] ^= 1;
	sha512_init(&sha);
	sha512_update(&sha, data, size - SHA512_SIZE);
	sha512_final(&sha, data + size - SHA512_SIZE);
}

static void verify_reads_the_memory_which_open_does_not(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *data;
	size_t size;

	build(fixture, key_a, "state", 5);
	assert_int_equal(templates_verify(fixture->templates, key_a, &fixture->err), 0);
	data = read_state(fixture, key_a, &size);
	state_change_memory_digest(data, size);
	write_state(fixture, key_a, data, size);
	free(data);
	assert_opens(fixture, key_a);
	assert_int_equal(templates_verify(fixture->templates, key_a, &fixture->err), -EBADMSG);
	assert_non_null(strstr(fixture->err.message, "memory"));
	assert_int_equal(templates_verify(fixture->templates, key_b, &fixture->err), -ENOENT);
}

/* The digest in the state file of a memory file. */
static void memory_digest(const struct fixture *fixture, int memory_fd, uint8_t *ret)
{
	_cleanup_free_ char *data = NULL;
	struct template_state parsed;
	struct error err;
	size_t size;
	int fd = openat(fixture->fd, "state", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(template_write_state(fd, memory_fd, key_a, "", 0, &err), 0);
	close(fd);
	assert_int_equal(file_read(fixture->fd, "state", MIB, &data, &size), 0);
	assert_int_equal(template_state_parse(data, size, key_a, &parsed, &err), 0);
	memcpy(ret, parsed.memory_digest, SHA512_SIZE);
}

static void the_digest_of_memory_does_not_depend_on_holes_but_on_places(void **state)
{
	struct fixture *fixture = *state;
	uint8_t sparse[SHA512_SIZE], dense[SHA512_SIZE], moved[SHA512_SIZE];
	_cleanup_free_ char *zeros = calloc(1, MEMORY_SIZE);
	int fd = openat(fixture->fd, "memory", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	write_memory(fd);
	memory_digest(fixture, fd, sparse);
	assert_int_equal(pwrite(fd, zeros, MEMORY_SIZE, 0), MEMORY_SIZE);
	write_memory(fd);
	memory_digest(fixture, fd, dense);
	assert_memory_equal(sparse, dense, sizeof(sparse));
	/* The last piece a page earlier. */
	assert_int_equal(pwrite(fd, "end", 3, MEMORY_SIZE - 3 - 4096), 3);
	assert_int_equal(pwrite(fd, zeros, 3, MEMORY_SIZE - 3), 3);
	memory_digest(fixture, fd, moved);
	assert_memory_not_equal(sparse, moved, sizeof(sparse));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_of_2000_flipped_bytes_of_the_state_is_refused),
		TEST(a_state_that_is_cut_off_or_longer_is_refused),
		TEST(a_damaged_state_file_is_removed_and_can_be_built_again),
		TEST(a_state_of_another_template_is_refused),
		TEST(a_memory_file_that_was_changed_or_replaced_is_refused),
		TEST(a_file_in_the_place_of_a_template_is_refused),
		TEST(verify_reads_the_memory_which_open_does_not),
		TEST(the_digest_of_memory_does_not_depend_on_holes_but_on_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
