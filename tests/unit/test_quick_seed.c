// SPDX-License-Identifier: Apache-2.0
/* test_quick_seed.c: what the library that is preloaded to the debug shell's server does to open(3). */
#include "base/cleanup.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef int open_function(const char *path, int flags, ...);

static void each_name_of_open(void (*check)(open_function *function))
{
	static const char *const names[] = {"open", "open64"};
	/* As the unit tests are run: from the top of the sources. */
	void *library = dlopen("build/quick_seed.so", RTLD_NOW | RTLD_LOCAL);

	assert_non_null(library);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		void *symbol = dlsym(library, names[i]);
		open_function *function;

		assert_non_null(symbol);
		memcpy(&function, &symbol, sizeof(function));
		assert_ptr_not_equal(function, open);
		check(function);
	}
	dlclose(library);
}

static void check_proc(open_function *function)
{
	static const char *const paths[] = {
		"/proc/loadavg", "/proc/net/tcp", "/proc/sys/kernel/random/uuid"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(access(paths[i], F_OK), 0);
		errno = 0;
		assert_int_equal(function(paths[i], O_RDONLY), -1);
		assert_int_equal(errno, ENOENT);
	}
}

static void there_is_no_file_of_proc(void **state)
{
	(void)state;
	each_name_of_open(check_proc);
}

static void check_others(open_function *function)
{
	char path[] = "/tmp/quick-seed-XXXXXX", data[8] = "";
	_cleanup_close_ int fd = function("/dev/null", O_WRONLY | O_CLOEXEC), file = -1,
			    unnamed = -1;
	struct stat status;

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_WRONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(function("/no/such/file", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);

	assert_non_null(mkdtemp(path));
	unnamed = function(path, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	assert_true(unnamed >= 0);
	assert_int_equal(fstat(unnamed, &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	assert_int_equal(rmdir(path), 0);

	file = function(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	assert_true(file >= 0);
	assert_int_equal(write(file, "text", 4), 4);
	assert_int_equal(pread(file, data, sizeof(data), 0), 4);
	assert_string_equal(data, "text");
	assert_int_equal(fstat(file, &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0640);
	assert_int_equal(unlink(path), 0);
}

static void other_files_are_opened_as_ever(void **state)
{
	(void)state;
	umask(022);
	each_name_of_open(check_others);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_is_no_file_of_proc),
		cmocka_unit_test(other_files_are_opened_as_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
