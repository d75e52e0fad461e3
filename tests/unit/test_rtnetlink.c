// SPDX-License-Identifier: Apache-2.0
/* test_rtnetlink.c: requests as the kernel reads them, and its answers. */
#include "base/rtnetlink.h"

#include "base/cleanup.h"

#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOPBACK 1

static void ask_to_bring_up(struct rtnetlink_request *request, int index)
{
	struct ifinfomsg *link =
		rtnetlink_message(request, "interface", RTM_NEWLINK, 0, sizeof(*link));

	link->ifi_index = index;
}

static void messages_and_nested_attributes_have_their_lengths(void **state)
{
	struct rtnetlink_request request = {.length = 0};
	struct nlmsghdr *message = (struct nlmsghdr *)request.data;
	struct rtattr *outer, *inner;

	(void)state;
	ask_to_bring_up(&request, LOOPBACK);
	rtnetlink_add_text(&request, IFLA_IFNAME, "pod");
	outer = rtnetlink_begin(&request, IFLA_LINKINFO, NULL, 0);
	inner = rtnetlink_begin(&request, IFLA_INFO_KIND, "veth", 5);
	rtnetlink_end(&request, inner);
	rtnetlink_end(&request, outer);
	ask_to_bring_up(&request, LOOPBACK);
	assert_int_equal(inner->rta_len, RTA_LENGTH(5));
	assert_int_equal(outer->rta_len, RTA_LENGTH(RTA_SPACE(5)));
	assert_int_equal(message->nlmsg_len,
		NLMSG_LENGTH(sizeof(struct ifinfomsg)) + RTA_SPACE(4) + RTA_SPACE(RTA_SPACE(5)));
	assert_ptr_equal(request.message, request.data + message->nlmsg_len);
	assert_int_equal(request.message->nlmsg_seq, 2);
}

static void the_kernel_does_what_it_can_and_names_what_it_cannot(void **state)
{
	_cleanup_close_ int fd = rtnetlink_open();
	struct rtnetlink_request good = {.length = 0}, bad = {.length = 0};
	struct error error = {0};

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_true(fd >= 0);
	ask_to_bring_up(&good, LOOPBACK);
	assert_int_equal(rtnetlink_do(fd, &good, &error), 0);
	/* Nobody has as many interfaces. */
	ask_to_bring_up(&bad, 0x7ffffff0);
	assert_true(rtnetlink_do(fd, &bad, &error) < 0);
	assert_non_null(strstr(error.message, "interface"));
	/* Answers to what follows a message that fails are not taken for those of the next request. */
	ask_to_bring_up(&bad, LOOPBACK);
	assert_true(rtnetlink_do(fd, &bad, &error) < 0);
	assert_int_equal(rtnetlink_do(fd, &good, &error), 0);
	bad = (struct rtnetlink_request){.length = 0};
	ask_to_bring_up(&bad, 0x7ffffff0);
	assert_true(rtnetlink_do(fd, &bad, &error) < 0);
}

static void what_does_not_fit_is_not_sent(void **state)
{
	static const char data[RTNETLINK_REQUEST_SIZE + 1];
	struct rtnetlink_request request = {.length = 0};
	struct error error = {0};

	(void)state;
	ask_to_bring_up(&request, LOOPBACK);
	for (unsigned int i = 0; i < 4; i++)
		rtnetlink_add(&request, IFLA_IFALIAS, data, RTNETLINK_REQUEST_SIZE / 3);
	assert_int_equal(rtnetlink_do(-1, &request, &error), -E2BIG);
	request = (struct rtnetlink_request){.length = 0};
	ask_to_bring_up(&request, LOOPBACK);
	rtnetlink_add(&request, IFLA_IFALIAS, data, sizeof(data));
	assert_int_equal(rtnetlink_do(-1, &request, &error), -E2BIG);
	request = (struct rtnetlink_request){.length = 0};
	rtnetlink_begin(&request, IFLA_LINKINFO, data, RTNETLINK_REQUEST_SIZE - 1);
	assert_int_equal(rtnetlink_do(-1, &request, &error), -E2BIG);
	request = (struct rtnetlink_request){.length = 0};
	for (unsigned int i = 0; i <= RTNETLINK_MESSAGES_MAX; i++)
		ask_to_bring_up(&request, LOOPBACK);
	assert_int_equal(rtnetlink_do(-1, &request, &error), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_and_nested_attributes_have_their_lengths),
		cmocka_unit_test(the_kernel_does_what_it_can_and_names_what_it_cannot),
		cmocka_unit_test(what_does_not_fit_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
