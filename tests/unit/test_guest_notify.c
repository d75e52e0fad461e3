// SPDX-License-Identifier: Apache-2.0
/* test_guest_notify.c: what an app can say of itself, and what is heard of it. */
#include "base/file.h"
#include "guest-init/notify.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define NAME_PREFIX "NOTIFY_SOCKET=@"

struct fixture {
	int fd, sender;
};

static void open_both(struct fixture *fixture)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char variable[GUEST_NOTIFY_VARIABLE_SIZE];
	size_t length;

	fixture->fd = guest_notify_open(variable);
	assert_true(fixture->fd >= 0);
	assert_memory_equal(variable, NAME_PREFIX, strlen(NAME_PREFIX));
	length = strlen(variable) - strlen(NAME_PREFIX);
	assert_in_range(length, 1, sizeof(name.sun_path) - 1);
	memcpy(name.sun_path + 1, variable + strlen(NAME_PREFIX), length);
	fixture->sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fixture->sender, (struct sockaddr *)&name,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)),
		0);
}

static void close_both(const struct fixture *fixture)
{
	close(fixture->sender);
	close(fixture->fd);
}

static void only_a_line_of_its_own_is_readiness(void **state)
{
	static const struct {
		const char *text;
		bool is_ready;
	} messages[] = {
		{"READY=1", true},
		{"READY=1\n", true},
		{"STATUS=up\nREADY=1\nMAINPID=7", true},
		{"\n\nREADY=1", true},
		{"", false},
		{"\n", false},
		{"READY=0", false},
		{"READY=10", false},
		{"READY=", false},
		{"XREADY=1", false},
		{"STATUS=READY=1", false},
		{"READY=1 ", false},
		{"ready=1", false},
	};
	struct fixture fixture;

	(void)state;
	open_both(&fixture);
	assert_false(guest_notify_read(fixture.fd));
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		assert_int_equal(
			send(fixture.sender, messages[i].text, strlen(messages[i].text), 0),
			strlen(messages[i].text));
		if (guest_notify_read(fixture.fd) != messages[i].is_ready)
			fail_msg("\"%s\"", messages[i].text);
	}
	/* The one behind others is heard, too. */
	assert_int_equal(send(fixture.sender, "STATUS=1", 8, 0), 8);
	assert_int_equal(send(fixture.sender, "READY=1", 7, 0), 7);
	assert_int_equal(send(fixture.sender, "STATUS=2", 8, 0), 8);
	assert_true(guest_notify_read(fixture.fd));
	assert_false(guest_notify_read(fixture.fd));
	close_both(&fixture);
}

static void a_message_that_is_too_long_says_nothing(void **state)
{
	static char text[4097];
	struct fixture fixture;

	(void)state;
	memset(text, '\n', sizeof(text));
	memcpy(text, "READY=1", 7);
	open_both(&fixture);
	assert_int_equal(send(fixture.sender, text, 4096, 0), 4096);
	assert_true(guest_notify_read(fixture.fd));
	assert_int_equal(send(fixture.sender, text, 4097, 0), 4097);
	assert_false(guest_notify_read(fixture.fd));
	close_both(&fixture);
}

static void a_descriptor_that_is_sent_is_closed(void **state)
{
	struct iovec text = {.iov_base = (char *)"BARRIER=1", .iov_len = 9};
	union {
		struct cmsghdr header;
		char data[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
			     .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS}};
	const struct msghdr message = {.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct fixture fixture;
	int ends[2];
	char byte;

	(void)state;
	open_both(&fixture);
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	memcpy(CMSG_DATA(&control.header), &ends[1], sizeof(int));
	assert_int_equal(sendmsg(fixture.sender, &message, 0), 9);
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), -1);
	assert_false(guest_notify_read(fixture.fd));
	/* Nobody has the other end any more. */
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	close_both(&fixture);
}

static void each_socket_has_a_name_of_its_own(void **state)
{
	char first[GUEST_NOTIFY_VARIABLE_SIZE], second[GUEST_NOTIFY_VARIABLE_SIZE];
	int fds[2];

	(void)state;
	fds[0] = guest_notify_open(first);
	fds[1] = guest_notify_open(second);
	assert_true(fds[0] >= 0 && fds[1] >= 0);
	assert_string_not_equal(first, second);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_line_of_its_own_is_readiness),
		cmocka_unit_test(a_message_that_is_too_long_says_nothing),
		cmocka_unit_test(a_descriptor_that_is_sent_is_closed),
		cmocka_unit_test(each_socket_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
