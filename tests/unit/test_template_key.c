// SPDX-License-Identifier: Apache-2.0
/* test_template_key.c: what a key depends on. */
#include "template_directory.h"

#include <sched.h>
#include <sys/stat.h>

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

#define TEST_KVM(name)                                                          \
	{                                                                       \
#name, name##_with_kvm, setup_with_kvm, teardown_with_kvm, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_KVM(a_key_depends_on_each_part_of_its_subject),
		TEST_KVM(the_key_of_what_is_whole_needs_neither_kernel_nor_init),
		TEST_KVM(a_key_is_the_same_on_every_cpu),
		TEST_KVM(a_digest_is_computed_once_and_a_malformed_one_again),
		TEST_KVM(a_file_that_was_just_written_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
