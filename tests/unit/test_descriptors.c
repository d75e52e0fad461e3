// SPDX-License-Identifier: Apache-2.0
/* Descriptors that go with a message. */
#include "base/cleanup.h"
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static void make_pair(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void close_pair(int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

static void assert_same_file(int one, int other)
{
	struct stat a, b;

	assert_int_equal(fstat(one, &a), 0);
	assert_int_equal(fstat(other, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
}

/* How many the process has open. */
static size_t count_open(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void both_arrive_in_order_and_close_on_exec(void **state)
{
	int pair[2], sent[2], fds[2];
	char text[8] = "";

	(void)state;
	make_pair(pair);
	make_pair(sent);
	assert_int_equal(descriptors_send(pair[0], "save", 4, sent, 2, 0), 0);
	assert_int_equal(descriptors_receive(pair[1], text, sizeof(text), fds, 2), 4);
	assert_string_equal(text, "save");
	for (size_t i = 0; i < 2; i++) {
		assert_same_file(fds[i], sent[i]);
		assert_int_equal(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(fds[i]);
	}
	close_pair(sent);
	close_pair(pair);
}

static void a_message_without_any_leaves_none(void **state)
{
	int pair[2], fds[2] = {7, 7};
	char text[8];

	(void)state;
	make_pair(pair);
	assert_int_equal(descriptors_send(pair[0], "word", 4, NULL, 0, 0), 0);
	assert_int_equal(descriptors_receive(pair[1], text, sizeof(text), fds, 2), 4);
	assert_int_equal(fds[0], -1);
	assert_int_equal(fds[1], -1);
	close_pair(pair);
}

static void more_than_were_asked_for_are_closed(void **state)
{
	int pair[2], fd = -1;
	size_t before;
	char text[8];

	(void)state;
	make_pair(pair);
	assert_int_equal(descriptors_send(pair[0], "word", 4, pair, 2, 0), 0);
	before = count_open();
	assert_int_equal(descriptors_receive(pair[1], text, sizeof(text), &fd, 1), 4);
	assert_same_file(fd, pair[0]);
	assert_int_equal(count_open(), before + 1);
	close(fd);
	close_pair(pair);
}

static void nothing_is_waited_for(void **state)
{
	int pair[2], fds[2];
	char text[8];

	(void)state;
	make_pair(pair);
	assert_int_equal(descriptors_receive(pair[1], text, sizeof(text), fds, 2), -EAGAIN);
	assert_int_equal(fds[0], -1);
	close_pair(pair);
}

static void nobody_at_the_other_end_is_an_error_and_no_signal(void **state)
{
	int pair[2];

	(void)state;
	make_pair(pair);
	close(pair[1]);
	assert_int_equal(descriptors_send(pair[0], "word", 4, NULL, 0, 0), -EPIPE);
	close(pair[0]);
}

static void three_are_too_many(void **state)
{
	int pair[2], fds[3] = {0, 0, 0};
	char text[8];

	(void)state;
	make_pair(pair);
	assert_int_equal(descriptors_send(pair[0], "word", 4, fds, 3, 0), -EINVAL);
	assert_int_equal(descriptors_receive(pair[1], text, sizeof(text), fds, 3), -EINVAL);
	close_pair(pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_arrive_in_order_and_close_on_exec),
		cmocka_unit_test(a_message_without_any_leaves_none),
		cmocka_unit_test(more_than_were_asked_for_are_closed),
		cmocka_unit_test(nothing_is_waited_for),
		cmocka_unit_test(nobody_at_the_other_end_is_an_error_and_no_signal),
		cmocka_unit_test(three_are_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
