// SPDX-License-Identifier: Apache-2.0
/* test_notify.c: what a service manager hears. */
#include "base/notify.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

/* A manager that listens to a name, as NOTIFY_SOCKET has it. */
static int listen_to(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, name);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(
		bind(fd, (struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
		0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void hears(int fd, const char *text)
{
	char buffer[64] = "";

	assert_int_equal(recv(fd, buffer, sizeof(buffer) - 1, 0), strlen(text));
	assert_string_equal(buffer, text);
}

static void without_a_manager_nobody_is_told(void **state)
{
	(void)state;
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	assert_int_equal(notify_manager("READY=1"), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
	assert_int_equal(notify_manager("READY=1"), 0);
}

static void a_socket_with_a_path_is_told(void **state)
{
	char directory[] = "/tmp/test-notify-XXXXXX", path[64];
	_cleanup_close_ int fd = -1;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/socket", directory);
	fd = listen_to(path);
	assert_int_equal(notify_manager("READY=1\nSTATUS=well"), 0);
	hears(fd, "READY=1\nSTATUS=well");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(notify_manager("STOPPING=1"), -ENOENT);
	assert_int_equal(rmdir(directory), 0);
}

static void a_socket_with_an_abstract_name_is_told(void **state)
{
	_cleanup_close_ int fd = -1;
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "@appc-vm-test-notify-%d", getpid());
	fd = listen_to(name);
	assert_int_equal(notify_manager("STOPPING=1"), 0);
	hears(fd, "STOPPING=1");
}

static void other_addresses_are_errors(void **state)
{
	char name[256];

	(void)state;
	assert_int_equal(setenv("NOTIFY_SOCKET", "vsock:2:1234", 1), 0);
	assert_int_equal(notify_manager("READY=1"), -EAFNOSUPPORT);
	memset(name, 'x', sizeof(name));
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	assert_int_equal(notify_manager("READY=1"), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_manager_nobody_is_told),
		cmocka_unit_test(a_socket_with_a_path_is_told),
		cmocka_unit_test(a_socket_with_an_abstract_name_is_told),
		cmocka_unit_test(other_addresses_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
