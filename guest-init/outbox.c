// SPDX-License-Identifier: Apache-2.0
/* outbox.c: the messages to the host. */
#include "guest-init/outbox.h"

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "guest-init/port.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 1024u

/*
 * A message as a JSON string. struct error may have cut a character in two, and a path in an image
 * is any bytes: what is not UTF-8 becomes '?'.
 */
static json_t *message_json(const char *message)
{
	char text[sizeof(((struct error *)NULL)->message)];
	json_t *json;

	snprintf(text, sizeof(text), "%s", message);
	log_sanitise(text);
	json = json_string(text);
	if (json)
		return json;
	for (char *c = text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(text);
}

/* Takes over the reference. */
static int message_send(struct guest_outbox *outbox, json_t *message)
{
	_cleanup_json_ json_t *owned = message;
	_cleanup_free_ char *frame = NULL;
	size_t length;
	int r = message ? wire_frame_encode(message, WIRE_FRAME_MAX_FROM_GUEST, &frame, &length)
			: -ENOMEM;

	if (r == 0)
		r = buffer_reserve(
			&outbox->frames, &outbox->room, outbox->length, length, ROOM_MIN);
	if (r < 0)
		return r;
	memcpy(outbox->frames + outbox->length, frame, length);
	outbox->length += length;
	return 0;
}

int guest_outbox_flush(struct guest_outbox *outbox)
{
	size_t length = outbox->length, taken;

	outbox->length = 0;
	taken = guest_port_transmit(outbox->console_port, outbox->frames, length);
	if (taken == length)
		return 0;
	return wire_frames_write(outbox->fd, outbox->frames + taken, length - taken);
}

void guest_send_started(struct guest_outbox *outbox, const char *app, pid_t pid)
{
	message_send(outbox,
		json_pack("{s:s, s:s, s:i}", "type", "started", "app", app, "pid", (int)pid));
}

void guest_send_exited(
	struct guest_outbox *outbox, const char *app, int status, bool oom, const char *message)
{
	json_t *json = json_pack(
		"{s:s, s:s, s:i, s:b}", "type", "exited", "app", app, "status", status, "oom", oom);

	if (json && message)
		json_object_set_new(json, "message", message_json(message));
	message_send(outbox, json);
}

void guest_send_ready(struct guest_outbox *outbox)
{
	message_send(outbox, json_pack("{s:s}", "type", "ready"));
}

void guest_send_removed(struct guest_outbox *outbox, const char *app)
{
	message_send(outbox, json_pack("{s:s, s:s}", "type", "removed", "app", app));
}

static void text_send(struct guest_outbox *outbox, const char *type, const char *message)
{
	message_send(
		outbox, json_pack("{s:s, s:o}", "type", type, "message", message_json(message)));
}

void guest_send_paused(struct guest_outbox *outbox)
{
	message_send(outbox, json_pack("{s:s}", "type", "paused"));
}

void guest_send_resumed(struct guest_outbox *outbox)
{
	message_send(outbox, json_pack("{s:s}", "type", "resumed"));
}

void guest_send_warning(struct guest_outbox *outbox, const char *message)
{
	text_send(outbox, "warning", message);
}

void guest_send_ended(struct guest_outbox *outbox, int status)
{
	message_send(outbox, json_pack("{s:s, s:i}", "type", "ended", "status", status));
}

void guest_send_failed(struct guest_outbox *outbox, const char *message)
{
	text_send(outbox, "failed", message);
}

void guest_send_unparkable(struct guest_outbox *outbox, const char *message)
{
	text_send(outbox, "unparkable", message);
}

int guest_send_metadata_get(struct guest_outbox *outbox, const char *path)
{
	return message_send(outbox, json_pack("{s:s, s:s}", "type", "metadata", "get", path));
}

/* Bytes as a JSON string; NULL: no memory. */
static json_t *bytes_json(const void *bytes, size_t length)
{
	_cleanup_free_ char *text = malloc(BASE64_LENGTH(length) + 1);

	if (!text)
		return NULL;
	base64_encode(bytes, length, text);
	return json_string_nocheck(text);
}

int guest_send_metadata_sign(struct guest_outbox *outbox, const void *content, size_t length)
{
	return message_send(outbox,
		json_pack("{s:s, s:o}", "type", "metadata", "sign", bytes_json(content, length)));
}

int guest_send_metadata_verify(struct guest_outbox *outbox, const void *content, size_t length,
	const char *uuid, const char *signature)
{
	return message_send(outbox,
		json_pack("{s:s, s:o, s:s, s:s}", "type", "metadata", "verify",
			bytes_json(content, length), "uuid", uuid, "signature", signature));
}
