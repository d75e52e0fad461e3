/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of rtnetlink(7): several messages, sent together and answered one by one. Where each instruction of a
 * kernel is emulated, round trips count.
 *
 * A request that is too long for its room is refused when it is sent. One thread.
 */
#ifndef APPC_BASE_RTNETLINK_H
#define APPC_BASE_RTNETLINK_H

#include "base/error.h"

#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTNETLINK_REQUEST_SIZE 1024u
#define RTNETLINK_MESSAGES_MAX 8u

struct rtnetlink_request {
	uint8_t data[RTNETLINK_REQUEST_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	size_t length;
	bool is_too_long;
	struct nlmsghdr *message; /* the last one */
	const char *what[RTNETLINK_MESSAGES_MAX];
	uint32_t count;
};

/*
 * Begins a message with a body of this size, which the caller fills before he adds attributes. what: its subject, for
 * the error ("address"). flags: NLM_F_CREATE and such.
 */
void *rtnetlink_message(struct rtnetlink_request *request, const char *what, uint16_t type,
	uint16_t flags, size_t size);
void rtnetlink_add(struct rtnetlink_request *request, uint16_t type, const void *data, size_t size);
void rtnetlink_add_text(struct rtnetlink_request *request, uint16_t type, const char *text);
void rtnetlink_add_number(struct rtnetlink_request *request, uint16_t type, uint32_t number);

/* What is added between the two is inside this attribute; a body of the given size comes first. */
struct rtattr *rtnetlink_begin(
	struct rtnetlink_request *request, uint16_t type, const void *body, size_t size);
void rtnetlink_end(struct rtnetlink_request *request, struct rtattr *attribute);

/*
 * Sends it, and waits until the kernel has done all of it. 0; or the first -errno, with "configure the network:
 * WHAT: ..." in err.
 */
int rtnetlink_do(int fd, const struct rtnetlink_request *request, struct error *err);

/* A socket for them, or -errno. */
int rtnetlink_open(void);

#endif
