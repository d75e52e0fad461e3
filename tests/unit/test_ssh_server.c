// SPDX-License-Identifier: Apache-2.0
/* test_ssh_server.c: what the library that is preloaded to the debug shell's server does to open(3) and to addresses. */
#include "base/cleanup.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef int open_function(const char *path, int flags, ...);

/* As the unit tests are run: from the top of the sources. */
static void *library_open(void)
{
	void *library = dlopen("build/ssh_server.so", RTLD_NOW | RTLD_LOCAL);

	assert_non_null(library);
	return library;
}

static void each_name_of_open(void (*check)(open_function *function))
{
	static const char *const names[] = {"open", "open64"};
	void *library = library_open();

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
	char path[] = "/tmp/ssh-server-XXXXXX", data[8] = "";
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

typedef int address_function(int fd, struct sockaddr *ret, socklen_t *length);

static address_function *address_of(void *library, const char *name)
{
	void *symbol = dlsym(library, name);
	address_function *function;

	assert_non_null(symbol);
	memcpy(&function, &symbol, sizeof(function));
	return function;
}

static void check_address(address_function *function, address_function *own, int fd, int family)
{
	struct sockaddr_storage address = {0}, expected = {0};
	socklen_t length = sizeof(address), expected_length = sizeof(expected);

	assert_int_equal(function(fd, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(address.ss_family, family);
	if (family == AF_UNIX) {
		assert_int_equal(length, sizeof(sa_family_t));
		return;
	}
	assert_int_equal(own(fd, (struct sockaddr *)&expected, &expected_length), 0);
	assert_int_equal(length, expected_length);
	assert_memory_equal(&address, &expected, length);
}

static void addresses_of_vsock_are_shown_as_those_of_unix(void **state)
{
	struct sockaddr_vm vsock = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY};
	struct sockaddr_in inet = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	_cleanup_close_ int vm = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int ip = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(inet), none = 0;
	void *library = library_open();
	address_function *own_name = address_of(library, "getsockname");
	address_function *peer_name = address_of(library, "getpeername");

	(void)state;
	assert_ptr_not_equal(own_name, getsockname);
	assert_ptr_not_equal(peer_name, getpeername);
	assert_int_equal(bind(listening, (struct sockaddr *)&inet, sizeof(inet)), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&inet, &length), 0);
	assert_int_equal(connect(ip, (struct sockaddr *)&inet, sizeof(inet)), 0);
	check_address(own_name, getsockname, ip, AF_INET);
	check_address(peer_name, getpeername, ip, AF_INET);
	errno = 0;
	assert_int_equal(peer_name(listening, (struct sockaddr *)&inet, &length), -1);
	assert_int_equal(errno, ENOTCONN);
	/* A kernel without vsock has none to show. */
	if (vm >= 0) {
		assert_int_equal(bind(vm, (struct sockaddr *)&vsock, sizeof(vsock)), 0);
		check_address(own_name, getsockname, vm, AF_UNIX);
		assert_int_equal(own_name(vm, (struct sockaddr *)&vsock, &none), 0);
	}
	dlclose(library);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_is_no_file_of_proc),
		cmocka_unit_test(other_files_are_opened_as_ever),
		cmocka_unit_test(addresses_of_vsock_are_shown_as_those_of_unix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
