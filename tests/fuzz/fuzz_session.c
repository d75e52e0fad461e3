// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_session.c: bytes of a session, from a client or from a guest, in pieces. What comes out must keep to the
 * limits, requests must be parsed or refused with a message, and memory must not grow with what is announced.
 *
 * The first byte of the input says who sends (bit 0) and how long the pieces are.
 */
#include "tests/fuzz/input.h"

#include "base/json.h"
#include "guest-init/session_request.h"
#include "wire/session.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

static void check_frame(const struct wire_session_frame *frame)
{
	_cleanup_json_ json_t *message = NULL;
	struct guest_enter_config config;
	struct guest_ssh_config ssh;
	struct error error = {0};
	volatile char last;
	int r;

	check(frame->kind >= WIRE_SESSION_REQUEST && frame->kind < WIRE_SESSION_KINDS);
	check(frame->length <= WIRE_SESSION_REQUEST_MAX);
	if (frame->length > 0)
		last = frame->data[frame->length - 1];
	(void)last;
	if (frame->kind != WIRE_SESSION_REQUEST)
		return;
	r = wire_message_decode(frame->data, frame->length, &message, &error);
	check(r == 0 || (r == -EBADMSG && error.message[0]));
	answer_count(r == 0);
	if (r < 0)
		return;
	r = guest_ssh_parse(message, &ssh, &error);
	check(r == 0 || (r == -EBADMSG && error.message[0]));
	if (r == 0) {
		check(ssh.tree[0] && !strchr(ssh.tree, '/'));
		check(strcmp(ssh.tree, ".") && strcmp(ssh.tree, ".."));
		check(ssh.host_key[0] && ssh.authorized_keys[0]);
	}
	r = guest_enter_parse(message, &config, &error);
	check(r == 0 || (r == -EBADMSG && error.message[0]));
	if (!strcmp(wire_type(message), "enter"))
		answer_count(r == 0);
	if (r == 0) {
		check(config.app[0] && strlen(config.app) <= 255);
		check(config.exec);
		check(!config.terminal.type || config.terminal.type[0]);
	}
	guest_enter_done(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_session_reader reader;
	size_t piece, fed = 0;
	int fds[2];

	if (size < 1 || pipe(fds) < 0)
		return 0;
	piece = (size_t)(data[0] >> 1) + 1;
	wire_session_reader_init(&reader, data[0] & 1 ? WIRE_SESSION_GUEST : WIRE_SESSION_CLIENT);
	data++;
	size--;
	while (fed < size) {
		size_t length = size - fed < piece ? size - fed : piece;
		struct wire_session_frame frame;
		int r;

		check(write(fds[1], data + fed, length) == (ssize_t)length);
		fed += length;
		check(wire_session_reader_fill(&reader, fds[0]) == (ssize_t)length);
		while ((r = wire_session_reader_next(&reader, &frame)) > 0)
			check_frame(&frame);
		answer_count(r == 0);
		if (r < 0)
			break;
		check(reader.length <= fed && reader.room <= 2 * fed + 4 * WIRE_SESSION_READ_MIN);
	}
	wire_session_reader_done(&reader);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
