/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of templates for tests, and templates to be in it. Failures end the test. */
#ifndef APPC_TESTS_UNIT_TEMPLATE_DIRECTORY_H
#define APPC_TESTS_UNIT_TEMPLATE_DIRECTORY_H

#include "base/file.h"
#include "vmm/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB         (1024u * 1024u)
#define MEMORY_SIZE (4 * MIB)

static const char key_a[] = "aaaa567890123456789012345678901234567890123456789012345678901234";
static const char key_b[] = "aaab567890123456789012345678901234567890123456789012345678901234";
static const char key_c[] = "cccc567890123456789012345678901234567890123456789012345678901234";

struct fixture {
	char path[64];
	int fd;
	struct templates *templates;
	struct error err;
};

static inline int setup(void **state)
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

static inline int teardown(void **state)
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
static inline uint32_t random_next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static inline void fill(uint8_t *data, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)random_next(&seed);
}

/* Memory with holes: two pages and a piece of one. */
static inline void write_memory(int fd)
{
	uint8_t page[4096];

	fill(page, sizeof(page), 1);
	assert_int_equal(ftruncate(fd, MEMORY_SIZE), 0);
	assert_int_equal(pwrite(fd, page, sizeof(page), 0), sizeof(page));
	assert_int_equal(pwrite(fd, page, sizeof(page), 2 * MIB), sizeof(page));
	assert_int_equal(pwrite(fd, "end", 3, MEMORY_SIZE - 3), 3);
}

static inline void build_begin(
	struct fixture *fixture, const char *key, struct template_builder *builder)
{
	assert_int_equal(template_build_begin(fixture->templates, key, false, NULL, NULL, builder,
				 &fixture->err),
		0);
}

/* The part of the process that has the machine. */
static inline void build_write(struct template_builder *builder, const void *state, size_t size)
{
	struct error err;

	write_memory(builder->memory_fd);
	assert_int_equal(template_write_state(builder->state_fd, builder->memory_fd, builder->key,
				 state, size, &err),
		0);
}

static inline void build(struct fixture *fixture, const char *key, const void *state, size_t size)
{
	struct template_builder builder;

	build_begin(fixture, key, &builder);
	build_write(&builder, state, size);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), 0);
}

static inline void path_of(
	const struct fixture *fixture, const char *key, const char *file, char *ret)
{
	snprintf(ret, 256, "%s/data/templates/%s/%s", fixture->path, key, file);
}

/* Names in the directory that begin with prefix; NULL: all but the digests. */
static inline size_t names_left(const struct fixture *fixture, const char *prefix)
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

static inline void assert_damaged(struct fixture *fixture, const char *key)
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

static inline void assert_opens(struct fixture *fixture, const char *key)
{
	struct template template;

	assert_int_equal(template_open(fixture->templates, key, &template, &fixture->err), 0);
	template_close(&template);
}

static inline void write_state(
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
