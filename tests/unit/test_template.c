// SPDX-License-Identifier: Apache-2.0
/* test_template.c: what a directory of templates promises, to one process and to several. */
#include "vmm/template.h"

#include "base/file.h"
#include "vmm/template_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB         (1024u * 1024u)
#define MEMORY_SIZE (4 * MIB)
#define FLIPS       2000
#define LARGE_STATE 20000

static const char key_a[] = "aaaa567890123456789012345678901234567890123456789012345678901234";
static const char key_b[] = "aaab567890123456789012345678901234567890123456789012345678901234";
static const char key_c[] = "cccc567890123456789012345678901234567890123456789012345678901234";

struct fixture {
	char path[64];
	int fd;
	struct templates *templates;
	struct error err;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->path, "/tmp/test-template-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->fd = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fixture->fd >= 0);
	assert_int_equal(
		templates_open(fixture->fd, "data/templates", &fixture->templates, &fixture->err),
		0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	templates_close(fixture->templates);
	close(fixture->fd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static const struct template_subject subject = {
	.kernel_fd = -1,
	.init_fd = -1,
	.vcpus = 2,
	.memory = 128 * MIB,
	.shared = true,
};

/* A reproducible sequence that looks like anything. */
static uint32_t random_next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void fill(uint8_t *data, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)random_next(&seed);
}

/* Memory with holes: two pages and a piece of one. */
static void write_memory(int fd)
{
	uint8_t page[4096];

	fill(page, sizeof(page), 1);
	assert_int_equal(ftruncate(fd, MEMORY_SIZE), 0);
	assert_int_equal(pwrite(fd, page, sizeof(page), 0), sizeof(page));
	assert_int_equal(pwrite(fd, page, sizeof(page), 2 * MIB), sizeof(page));
	assert_int_equal(pwrite(fd, "end", 3, MEMORY_SIZE - 3), 3);
}

static void build_begin(struct fixture *fixture, const char *key, struct template_builder *builder)
{
	assert_int_equal(template_build_begin(fixture->templates, key, false, NULL, NULL, builder,
				 &fixture->err),
		0);
}

/* The part of the process that has the machine. */
static void build_write(struct template_builder *builder, const void *state, size_t size)
{
	struct error err;

	write_memory(builder->memory_fd);
	assert_int_equal(template_write_state(builder->state_fd, builder->memory_fd, builder->key,
				 state, size, &err),
		0);
}

static void build(struct fixture *fixture, const char *key, const void *state, size_t size)
{
	struct template_builder builder;

	build_begin(fixture, key, &builder);
	build_write(&builder, state, size);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), 0);
}

static void path_of(const struct fixture *fixture, const char *key, const char *file, char *ret)
{
	snprintf(ret, 256, "%s/data/templates/%s/%s", fixture->path, key, file);
}

/* Names in the directory that begin with prefix; NULL: all but the digests. */
static size_t names_left(const struct fixture *fixture, const char *prefix)
{
	char path[256];
	struct dirent *entry;
	size_t count = 0;
	DIR *directory;

	path_of(fixture, "", "", path);
	directory = opendir(path);
	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		const char *name = entry->d_name;

		if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "digests"))
			continue;
		if (!prefix || !strncmp(name, prefix, strlen(prefix)))
			count++;
	}
	closedir(directory);
	return count;
}

static void assert_damaged(struct fixture *fixture, const char *key)
{
	struct template template;

	memset(&fixture->err, 0, sizeof(fixture->err));
	assert_int_equal(
		template_open(fixture->templates, key, &template, &fixture->err), -EBADMSG);
	assert_non_null(strstr(fixture->err.message, "aaaa56789012"));
	assert_int_equal(template.directory_fd, -1);
	assert_int_equal(template.memory_fd, -1);
	assert_null(template.state);
	/* It is gone, all of it. */
	assert_int_equal(template_open(fixture->templates, key, &template, &fixture->err), -ENOENT);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void assert_opens(struct fixture *fixture, const char *key)
{
	struct template template;

	assert_int_equal(template_open(fixture->templates, key, &template, &fixture->err), 0);
	template_close(&template);
}

/* ---- what is written is read */

static void a_template_is_opened_as_it_was_built(void **state)
{
	struct fixture *fixture = *state;
	uint8_t sections[1000];
	struct template template;
	uint8_t *memory;

	fill(sections, sizeof(sections), 7);
	assert_int_equal(
		template_open(fixture->templates, key_a, &template, &fixture->err), -ENOENT);
	build(fixture, key_a, sections, sizeof(sections));
	assert_int_equal(names_left(fixture, NULL), 1);
	assert_int_equal(template_open(fixture->templates, key_a, &template, &fixture->err), 0);
	assert_int_equal(template.state_size, sizeof(sections));
	assert_memory_equal(template.state, sections, sizeof(sections));
	assert_true(faccessat(template.directory_fd, "info", F_OK, 0) == 0);

	/* A clone writes its own copy, and the next one finds what the first one found. */
	memory =
		mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, template.memory_fd, 0);
	assert_true(memory != MAP_FAILED);
	assert_memory_equal(memory + MEMORY_SIZE - 3, "end", 3);
	memory[MEMORY_SIZE - 1] = 'x';
	assert_int_equal(munmap(memory, MEMORY_SIZE), 0);
	template_close(&template);
	assert_opens(fixture, key_a);
	assert_int_equal(templates_verify(fixture->templates, key_a, &fixture->err), 0);
}

static void a_template_may_have_no_sections_at_all(void **state)
{
	struct fixture *fixture = *state;

	build(fixture, key_a, "", 0);
	assert_opens(fixture, key_a);
}

static void removing_a_template_does_not_disturb_who_has_it_open(void **state)
{
	struct fixture *fixture = *state;
	struct template template;
	char text[4] = "";

	build(fixture, key_a, "state", 5);
	assert_int_equal(template_open(fixture->templates, key_a, &template, &fixture->err), 0);
	assert_int_equal(templates_remove(fixture->templates, key_a, &fixture->err), 0);
	assert_int_equal(names_left(fixture, NULL), 0);
	assert_int_equal(pread(template.memory_fd, text, 3, MEMORY_SIZE - 3), 3);
	assert_string_equal(text, "end");
	template_close(&template);
	assert_int_equal(templates_remove(fixture->templates, key_a, &fixture->err), -ENOENT);
	assert_int_equal(templates_remove(fixture->templates, "../data", &fixture->err), -ENOENT);
}

/* ---- damage */

static uint8_t *read_state(const struct fixture *fixture, const char *key, size_t *ret_size)
{
	char path[256], *data;

	path_of(fixture, key, "state", path);
	assert_int_equal(file_read(AT_FDCWD, path, MIB, &data, ret_size), 0);
	return (uint8_t *)data;
}

static void write_state(
	const struct fixture *fixture, const char *key, const uint8_t *data, size_t size)
{
	char path[256];
	int fd;

	path_of(fixture, key, "state", path);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data, size), 0);
	close(fd);
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

/* ---- builders */

static void an_aborted_or_unfinished_build_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder;

	build_begin(fixture, key_a, &builder);
	write_memory(builder.memory_fd);
	assert_int_equal(names_left(fixture, ".tmp-"), 1);
	template_build_abort(&builder);
	assert_int_equal(names_left(fixture, NULL), 0);
	template_build_abort(&builder);

	/* The machine's process has written no state. */
	build_begin(fixture, key_a, &builder);
	write_memory(builder.memory_fd);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), -EBADMSG);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void memory_written_after_the_state_is_not_committed(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder;

	build_begin(fixture, key_a, &builder);
	build_write(&builder, "state", 5);
	assert_int_equal(ftruncate(builder.memory_fd, MEMORY_SIZE + 4096), 0);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), -EBADMSG);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void a_good_template_is_not_built_again_a_damaged_one_is(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder = TEMPLATE_BUILDER_NONE;
	uint8_t byte = 0;

	build(fixture, key_a, "state", 5);
	assert_int_equal(template_build_begin(fixture->templates, key_a, true, NULL, NULL, &builder,
				 &fixture->err),
		-EEXIST);
	assert_int_equal(builder.lock_fd, -1);
	write_state(fixture, key_a, &byte, 1);
	build(fixture, key_a, "state", 5);
	assert_opens(fixture, key_a);
	assert_int_equal(names_left(fixture, NULL), 1);
}

static void what_is_in_the_way_of_a_commit_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder;
	char path[256];

	build_begin(fixture, key_a, &builder);
	path_of(fixture, key_a, "", path);
	assert_int_equal(mkdir(path, 0700), 0);
	path_of(fixture, key_a, "junk", path);
	assert_int_equal(mkdir(path, 0700), 0);
	build_write(&builder, "state", 5);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), 0);
	assert_opens(fixture, key_a);
	assert_int_equal(names_left(fixture, NULL), 1);
}

/* A child that begins to build, and tells by a byte; it goes on after a byte from us. */
struct other_builder {
	pid_t pid;
	int from, to;
};

static void read_byte(int fd)
{
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
}

static struct other_builder start_other(struct fixture *fixture)
{
	int from[2], to[2];
	struct other_builder other;

	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	other = (struct other_builder){.pid = fork(), .from = from[0], .to = to[1]};
	assert_true(other.pid >= 0);
	if (other.pid == 0) {
		struct template_builder builder;

		close(from[0]);
		close(to[1]);
		build_begin(fixture, key_a, &builder);
		write_memory(builder.memory_fd);
		assert_int_equal(write(from[1], "b", 1), 1);
		read_byte(to[0]);
		build_write(&builder, "theirs", 6);
		_exit(template_build_commit(&builder, &subject, &fixture->err) == 0 ? 0 : 1);
	}
	close(from[1]);
	close(to[0]);
	read_byte(from[0]);
	return other;
}

static void end_other(struct other_builder *other, int expected)
{
	int status;

	assert_int_equal(waitpid(other->pid, &status, 0), other->pid);
	assert_int_equal(status, expected);
	close(other->from);
	close(other->to);
}

/* Lets the other builder go on when we are seen to wait. */
static int tell_and_release(void *context, unsigned int seconds)
{
	struct other_builder *other = context;

	assert_true(seconds < 60);
	if (other->to >= 0)
		assert_int_equal(write(other->to, "g", 1), 1);
	close(other->to);
	other->to = -1;
	return 0;
}

static int tell_and_give_up(void *context, unsigned int seconds)
{
	(void)context;
	(void)seconds;
	return 1;
}

static void of_two_builders_one_waits_for_the_other(void **state)
{
	struct fixture *fixture = *state;
	struct other_builder other = start_other(fixture);
	struct template_builder builder = TEMPLATE_BUILDER_NONE;
	struct template template;

	assert_int_equal(template_build_begin(fixture->templates, key_a, false, NULL, NULL,
				 &builder, &fixture->err),
		-EAGAIN);
	assert_int_equal(template_build_begin(fixture->templates, key_a, true, tell_and_give_up,
				 NULL, &builder, &fixture->err),
		-ECANCELED);
	/* Another key is nobody's business. */
	build(fixture, key_b, "ours", 4);
	assert_int_equal(template_build_begin(fixture->templates, key_a, true, tell_and_release,
				 &other, &builder, &fixture->err),
		-EEXIST);
	end_other(&other, 0);
	assert_int_equal(template_open(fixture->templates, key_a, &template, &fixture->err), 0);
	assert_memory_equal(template.state, "theirs", 6);
	template_close(&template);
	assert_int_equal(names_left(fixture, NULL), 2);
}

static void what_a_killed_builder_left_is_collected(void **state)
{
	struct fixture *fixture = *state;
	struct other_builder other = start_other(fixture);
	size_t removed;

	/* While it lives, it is left alone. */
	assert_int_equal(
		templates_collect(fixture->templates, 10, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(names_left(fixture, ".tmp-"), 1);
	assert_int_equal(names_left(fixture, key_a), 1);

	assert_int_equal(kill(other.pid, SIGKILL), 0);
	end_other(&other, SIGKILL);
	assert_int_equal(names_left(fixture, ".tmp-"), 1);
	assert_int_equal(
		templates_collect(fixture->templates, 10, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void after_a_killed_builder_the_next_one_builds(void **state)
{
	struct fixture *fixture = *state;
	struct other_builder other = start_other(fixture);

	assert_int_equal(kill(other.pid, SIGKILL), 0);
	end_other(&other, SIGKILL);
	build(fixture, key_a, "ours", 4);
	assert_opens(fixture, key_a);
	assert_int_equal(names_left(fixture, NULL), 1);
}

/* ---- all of them */

/* Used at that second. */
static void set_used(const struct fixture *fixture, const char *key, time_t second)
{
	struct timespec times[2] = {{.tv_sec = second}, {.tv_sec = second}};
	char path[256];

	path_of(fixture, key, "", path);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void build_three(struct fixture *fixture)
{
	build(fixture, key_a, "a", 1);
	build(fixture, key_b, "b", 1);
	build(fixture, key_c, "c", 1);
	set_used(fixture, key_a, 2000);
	set_used(fixture, key_b, 3000);
	set_used(fixture, key_c, 1000);
}

static void the_list_begins_with_what_was_used_last(void **state)
{
	struct fixture *fixture = *state;
	struct template_info *list;
	size_t count;

	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 0);
	free(list);
	build_three(fixture);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 3);
	assert_string_equal(list[0].key, key_b);
	assert_string_equal(list[1].key, key_a);
	assert_string_equal(list[2].key, key_c);
	assert_int_equal(list[2].used_at, 1000 * 1000000000ll);
	assert_true(list[0].created_at > 3000 * 1000000000ll);
	assert_int_equal(list[0].vcpus, 2);
	assert_int_equal(list[0].memory, 128 * MIB);
	assert_true(list[0].shared);
	assert_false(list[0].is_pod);
	/* On disk it is as large as what was written, not as the machine. */
	assert_in_range(list[0].bytes, 3 * 4096, MEMORY_SIZE / 2);
	free(list);

	/* Being used makes it the first. */
	assert_opens(fixture, key_c);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_string_equal(list[0].key, key_c);
	free(list);
}

static void a_template_whose_info_is_damaged_is_listed_all_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct template_info *list;
	char path[256];
	size_t count;

	build(fixture, key_a, "a", 1);
	path_of(fixture, key_a, "info", path);
	assert_int_equal(file_write_atomic(AT_FDCWD, path, "{\"vcpus\": 99}", 13, 0600), 0);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].vcpus, 0);
	assert_int_equal(list[0].created_at, 0);
	assert_true(list[0].bytes > 0);
	free(list);
}

static void a_template_is_found_by_the_first_digits_of_its_key(void **state)
{
	struct fixture *fixture = *state;
	char key[TEMPLATE_KEY_SIZE];

	build_three(fixture);
	assert_int_equal(templates_find(fixture->templates, "cccc", key, &fixture->err), 0);
	assert_string_equal(key, key_c);
	assert_int_equal(templates_find(fixture->templates, key_b, key, &fixture->err), 0);
	assert_string_equal(key, key_b);
	assert_int_equal(templates_find(fixture->templates, "aaa", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_find(fixture->templates, "aaaa5", key, &fixture->err), 0);
	assert_string_equal(key, key_a);
	assert_int_equal(templates_find(fixture->templates, "dddd", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_find(fixture->templates, "../..", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_remove(fixture->templates, key_c, &fixture->err), 0);
	assert_int_equal(templates_find(fixture->templates, "cccc", key, &fixture->err), -ENOENT);
}

static void an_ambiguous_prefix_is_refused(void **state)
{
	static const char other[] =
		"aaaa567890123456789012345678901234567890123456789012345678901235";
	struct fixture *fixture = *state;
	char key[TEMPLATE_KEY_SIZE];

	build(fixture, key_a, "a", 1);
	build(fixture, other, "b", 1);
	assert_int_equal(templates_find(fixture->templates, "aaaa56", key, &fixture->err), -EEXIST);
	assert_int_equal(templates_find(fixture->templates, other, key, &fixture->err), 0);
}

static void collection_keeps_the_most_recently_used(void **state)
{
	struct fixture *fixture = *state;
	struct template_info *list;
	size_t removed, count;
	uint64_t bytes;

	build_three(fixture);
	assert_int_equal(
		templates_collect(fixture->templates, 3, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(
		templates_collect(fixture->templates, 2, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].key, key_b);
	assert_string_equal(list[1].key, key_a);
	bytes = list[0].bytes + list[1].bytes;
	free(list);

	assert_int_equal(
		templates_collect(fixture->templates, 3, bytes, &removed, &fixture->err), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(
		templates_collect(fixture->templates, 3, bytes - 1, &removed, &fixture->err), 0);
	assert_int_equal(removed, 1);
	assert_opens(fixture, key_b);
	assert_int_equal(templates_collect(fixture->templates, 0, 0, &removed, &fixture->err), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void a_new_template_takes_the_place_of_the_least_recently_used(void **state)
{
	struct fixture *fixture = *state;
	char key[TEMPLATE_KEY_SIZE];
	struct template_info *list;
	size_t count;

	memcpy(key, key_a, sizeof(key));
	for (int i = 0; i <= TEMPLATES_COUNT_MAX; i++) {
		key[0] = "0123456789abcdef"[i % 16];
		key[1] = "0123456789abcdef"[i / 16];
		build(fixture, key, "state", 5);
		set_used(fixture, key, i == 3 ? 1 : 1000 + i);
	}
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, TEMPLATES_COUNT_MAX);
	free(list);
	assert_int_equal(templates_find(fixture->templates, "30aa", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_find(fixture->templates, "00aa", key, &fixture->err), 0);
}

static void those_that_are_kept_stay_when_damaged_or_many(void **state)
{
	struct fixture *fixture = *state;
	struct template template;
	char path[256], key[TEMPLATE_KEY_SIZE];
	struct template_info *list;
	size_t count;

	templates_keep(fixture->templates, "thing");
	for (unsigned int i = 0; i <= TEMPLATES_COUNT_MAX; i++) {
		snprintf(key, sizeof(key), "%04x%s", i, key_c + 4);
		build(fixture, key, "", 0);
	}
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, TEMPLATES_COUNT_MAX + 1);
	free(list);
	path_of(fixture, key, "state", path);
	assert_int_equal(truncate(path, 100), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			template_open(fixture->templates, key, &template, &fixture->err), -EBADMSG);
	assert_int_equal(templates_find(fixture->templates, "abcd", key, &fixture->err), -ENOENT);
	assert_string_equal(fixture->err.message, "there is no thing \"abcd\"");
}

static void a_directory_that_others_can_write_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct templates *templates;

	assert_int_equal(mkdirat(fixture->fd, "open", 0700), 0);
	assert_int_equal(fchmodat(fixture->fd, "open", 0777, 0), 0);
	assert_int_equal(templates_open(fixture->fd, "open", &templates, &fixture->err), -EPERM);
}

/* ---- keys */

static void key_of(struct fixture *fixture, const struct template_subject *of, char *ret)
{
	assert_int_equal(template_key(fixture->templates, of, ret, &fixture->err), 0);
	assert_int_equal(strlen(ret), TEMPLATE_KEY_SIZE - 1);
}

/* Two files that are there for long, so that their digests are kept. */
static struct template_subject old_files(void)
{
	struct template_subject of = subject;

	of.kernel_fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
	of.init_fd = open("/bin/cat", O_RDONLY | O_CLOEXEC);
	assert_true(of.kernel_fd >= 0 && of.init_fd >= 0);
	return of;
}

static void a_key_depends_on_each_part_of_its_subject(void **state)
{
	struct fixture *fixture = *state;
	struct template_subject of = old_files(), others[9];
	char keys[ARRAY_SIZE(others)][TEMPLATE_KEY_SIZE], again[TEMPLATE_KEY_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		others[i] = of;
	others[1].kernel_fd = of.init_fd;
	others[2].init_fd = of.kernel_fd;
	others[3].vcpus++;
	others[4].memory += 2 * MIB;
	others[5].shared = !of.shared;
	others[6].kernel_messages = true;
	others[7].extra_command_line = "debug";
	others[8].pod = "debug";
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		key_of(fixture, &others[i], keys[i]);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(keys[i], keys[j]);
	}
	key_of(fixture, &of, again);
	assert_string_equal(keys[0], again);
	close(of.kernel_fd);
	close(of.init_fd);
}

static void the_key_of_what_is_whole_needs_neither_kernel_nor_init(void **state)
{
	struct fixture *fixture = *state;
	struct template_subject whole = subject, other;
	char key[TEMPLATE_KEY_SIZE], again[TEMPLATE_KEY_SIZE];

	whole.is_whole = true;
	whole.pod = "one";
	other = whole;
	key_of(fixture, &whole, key);
	key_of(fixture, &other, again);
	assert_string_equal(key, again);
	other.pod = "two";
	key_of(fixture, &other, again);
	assert_string_not_equal(key, again);
}

static void a_key_is_the_same_on_every_cpu(void **state)
{
	struct fixture *fixture = *state;
	struct template_subject of = old_files();
	char first[TEMPLATE_KEY_SIZE] = "", key[TEMPLATE_KEY_SIZE];
	cpu_set_t all, one;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
		key_of(fixture, &of, key);
		if (!*first)
			strcpy(first, key);
		assert_string_equal(first, key);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	close(of.kernel_fd);
	close(of.init_fd);
}

/* The cache's file for the kernel of the subject. */
static void digest_path(const struct fixture *fixture, int fd, char *ret)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	snprintf(ret, 256, "%s/data/templates/digests/%llx-%llx", fixture->path,
		(unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}

static void a_digest_is_computed_once_and_a_malformed_one_again(void **state)
{
	static const char *const malformed[] = {"", "x", "1 2 3\n", "1 2 3 abc\n"};
	struct fixture *fixture = *state;
	struct template_subject of = old_files();
	char key[TEMPLATE_KEY_SIZE], other[TEMPLATE_KEY_SIZE], path[256];
	_cleanup_free_ char *entry = NULL;
	size_t length;

	key_of(fixture, &of, key);
	digest_path(fixture, of.kernel_fd, path);
	assert_int_equal(file_read(AT_FDCWD, path, 1000, &entry, &length), 0);
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		_cleanup_free_ char *now = NULL;

		assert_int_equal(
			file_write_atomic(AT_FDCWD, path, malformed[i], strlen(malformed[i]), 0600),
			0);
		key_of(fixture, &of, other);
		assert_string_equal(key, other);
		assert_int_equal(file_read(AT_FDCWD, path, 1000, &now, NULL), 0);
		assert_string_equal(entry, now);
	}
	/* One for the file as it is now is believed. */
	entry[length - 2] = entry[length - 2] == '0' ? '1' : '0';
	assert_int_equal(file_write_atomic(AT_FDCWD, path, entry, length, 0600), 0);
	key_of(fixture, &of, other);
	assert_string_not_equal(key, other);
	/* One for the file as it was before is not. */
	entry[0] = entry[0] == '9' ? '8' : '9';
	assert_int_equal(file_write_atomic(AT_FDCWD, path, entry, length, 0600), 0);
	key_of(fixture, &of, other);
	assert_string_equal(key, other);
	close(of.kernel_fd);
	close(of.init_fd);
}

static void a_file_that_was_just_written_is_read_again(void **state)
{
	struct fixture *fixture = *state;
	struct template_subject of = old_files();
	char key[TEMPLATE_KEY_SIZE], other[TEMPLATE_KEY_SIZE], path[256];
	int fd = openat(fixture->fd, "kernel", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "one", 3), 3);
	close(of.kernel_fd);
	of.kernel_fd = fd;
	key_of(fixture, &of, key);
	digest_path(fixture, fd, path);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(pwrite(fd, "two", 3, 0), 3);
	key_of(fixture, &of, other);
	assert_string_not_equal(key, other);
	close(fd);
	close(of.init_fd);
}

static int setup_with_kvm(void **state)
{
	*state = NULL;
	return access("/dev/kvm", R_OK | W_OK) == 0 ? setup(state) : 0;
}

static int teardown_with_kvm(void **state)
{
	return *state ? teardown(state) : 0;
}

/* A key says what CPU a guest sees, which only /dev/kvm knows. */
#define KEY_TEST(name)                            \
	static void name##_with_kvm(void **state) \
	{                                         \
		if (!*state)                      \
			skip();                   \
		name(state);                      \
	}
KEY_TEST(a_key_depends_on_each_part_of_its_subject)
KEY_TEST(the_key_of_what_is_whole_needs_neither_kernel_nor_init)
KEY_TEST(a_key_is_the_same_on_every_cpu)
KEY_TEST(a_digest_is_computed_once_and_a_malformed_one_again)
KEY_TEST(a_file_that_was_just_written_is_read_again)

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_KVM(name)                                                          \
	{                                                                       \
#name, name##_with_kvm, setup_with_kvm, teardown_with_kvm, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_template_is_opened_as_it_was_built),
		TEST(a_template_may_have_no_sections_at_all),
		TEST(removing_a_template_does_not_disturb_who_has_it_open),
		TEST(each_of_2000_flipped_bytes_of_the_state_is_refused),
		TEST(a_state_that_is_cut_off_or_longer_is_refused),
		TEST(a_damaged_state_file_is_removed_and_can_be_built_again),
		TEST(a_state_of_another_template_is_refused),
		TEST(a_memory_file_that_was_changed_or_replaced_is_refused),
		TEST(a_file_in_the_place_of_a_template_is_refused),
		TEST(verify_reads_the_memory_which_open_does_not),
		TEST(the_digest_of_memory_does_not_depend_on_holes_but_on_places),
		TEST(an_aborted_or_unfinished_build_leaves_nothing),
		TEST(memory_written_after_the_state_is_not_committed),
		TEST(a_good_template_is_not_built_again_a_damaged_one_is),
		TEST(what_is_in_the_way_of_a_commit_is_replaced),
		TEST(of_two_builders_one_waits_for_the_other),
		TEST(what_a_killed_builder_left_is_collected),
		TEST(after_a_killed_builder_the_next_one_builds),
		TEST(the_list_begins_with_what_was_used_last),
		TEST(a_template_whose_info_is_damaged_is_listed_all_the_same),
		TEST(a_template_is_found_by_the_first_digits_of_its_key),
		TEST(an_ambiguous_prefix_is_refused),
		TEST(collection_keeps_the_most_recently_used),
		TEST(a_new_template_takes_the_place_of_the_least_recently_used),
		TEST(those_that_are_kept_stay_when_damaged_or_many),
		TEST(a_directory_that_others_can_write_is_refused),
		TEST_KVM(a_key_depends_on_each_part_of_its_subject),
		TEST_KVM(the_key_of_what_is_whole_needs_neither_kernel_nor_init),
		TEST_KVM(a_key_is_the_same_on_every_cpu),
		TEST_KVM(a_digest_is_computed_once_and_a_malformed_one_again),
		TEST_KVM(a_file_that_was_just_written_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
