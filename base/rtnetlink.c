// SPDX-License-Identifier: Apache-2.0
/* rtnetlink.c: composes requests of rtnetlink(7) and hears the answers. */
#include "base/rtnetlink.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/socket.h>

#define ANSWER_SIZE 8192

/* Room behind what is there, zeroed; where there is none, room that is not sent. */
static void *append(struct rtnetlink_request *request, size_t size)
{
	void *place = request->data + request->length;

	size = NLMSG_ALIGN(size);
	if (size > sizeof(request->data) - request->length) {
		request->is_too_long = true;
		return memset(request->data, 0, sizeof(request->data));
	}
	request->length += size;
	return memset(place, 0, size);
}

static void message_grow(struct rtnetlink_request *request)
{
	if (!request->is_too_long)
		request->message->nlmsg_len =
			(uint32_t)(request->data + request->length - (uint8_t *)request->message);
}

void *rtnetlink_message(struct rtnetlink_request *request, const char *what, uint16_t type,
	uint16_t flags, size_t size)
{
	if (request->count < RTNETLINK_MESSAGES_MAX)
		request->what[request->count] = what;
	request->message = append(request, sizeof(*request->message));
	*request->message = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags),
		.nlmsg_seq = ++request->count,
	};
	return append(request, size);
}

void rtnetlink_add(struct rtnetlink_request *request, uint16_t type, const void *data, size_t size)
{
	rtnetlink_end(request, rtnetlink_begin(request, type, data, size));
}

void rtnetlink_add_text(struct rtnetlink_request *request, uint16_t type, const char *text)
{
	rtnetlink_add(request, type, text, strlen(text) + 1);
}

void rtnetlink_add_number(struct rtnetlink_request *request, uint16_t type, uint32_t number)
{
	rtnetlink_add(request, type, &number, sizeof(number));
}

struct rtattr *rtnetlink_begin(
	struct rtnetlink_request *request, uint16_t type, const void *body, size_t size)
{
	struct rtattr *attribute;

	if (size > RTNETLINK_REQUEST_SIZE - RTA_LENGTH(0)) {
		request->is_too_long = true;
		size = 0;
	}
	attribute = append(request, RTA_LENGTH(size));
	*attribute = (struct rtattr){.rta_len = (uint16_t)RTA_LENGTH(size), .rta_type = type};
	if (size > 0)
		memcpy(RTA_DATA(attribute), body, size);
	return attribute;
}

void rtnetlink_end(struct rtnetlink_request *request, struct rtattr *attribute)
{
	uint8_t *end = request->data + request->length;

	/* One without anything inside has its own length, which need not be aligned. */
	if (!request->is_too_long && end > (uint8_t *)attribute + RTA_ALIGN(attribute->rta_len))
		attribute->rta_len = (uint16_t)(end - (uint8_t *)attribute);
	message_grow(request);
}

static const char *what_of(const struct rtnetlink_request *request, uint32_t sequence)
{
	return sequence - 1 < request->count && sequence - 1 < RTNETLINK_MESSAGES_MAX
		? request->what[sequence - 1]
		: "answer";
}

int rtnetlink_do(int fd, const struct rtnetlink_request *request, struct error *err)
{
	int r = 0;

	if (request->is_too_long || request->count > RTNETLINK_MESSAGES_MAX)
		return error_set_errno(err, -E2BIG, "configure the network");
	/* The kernel has answered each message when send() returns. */
	if (send(fd, request->data, request->length, 0) < 0)
		return error_set_errno(err, -errno, "configure the network");
	/* All answers are taken, or the next request would find them. The first error counts. */
	for (uint32_t answered = 0; answered < request->count;) {
		uint8_t data[ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
		ssize_t n = recv(fd, data, sizeof(data), 0);
		const struct nlmsghdr *message = (const struct nlmsghdr *)data;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, -errno, "configure the network");
		for (size_t left = (size_t)n; NLMSG_OK(message, left);
			message = NLMSG_NEXT(message, left), answered++) {
			const struct nlmsgerr *answer = NLMSG_DATA(message);

			if (message->nlmsg_type == NLMSG_ERROR && answer->error < 0 && r == 0)
				r = error_set_errno(err, answer->error, "configure the network: %s",
					what_of(request, answer->msg.nlmsg_seq));
		}
	}
	return r;
}

int rtnetlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}
