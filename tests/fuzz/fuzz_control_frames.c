// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_control_frames.c: bytes of the control stream, as the guest reads them and as the host does.
 *
 * The first byte chooses the direction and where the rest is split, so that frames in parts are
 * met. Where all of it is before the split it is a message without a frame.
 */
#include "tests/fuzz/input.h"

#include "guest-init/control.h"

#include <limits.h>

/* Whether it could be parsed as one of this type; a good one of the type can. */
static bool understood(json_t *message, const char *type, int result)
{
	if (!strcmp(wire_type(message), type))
		answer_count(result == 0);
	return result == 0;
}

static void message_read(json_t *message)
{
	struct guest_metadata_answer answer;
	struct guest_instance instance;
	struct guest_config config;
	struct guest_remove_config removed;
	struct guest_start_config start;
	unsigned int grace_ms;
	const char *app;
	struct error err;

	if (!wire_type(message))
		__builtin_trap();
	if (understood(message, "configure", guest_config_parse(message, &config, &err)))
		for (size_t i = 0; i < config.app_count; i++)
			if (!config.apps[i].exec[0] || config.apps[i].working_directory[0] != '/')
				__builtin_trap();
	guest_config_done(&config);
	if (understood(message, "renew", guest_renew_parse(message, &instance, &err)) &&
		(!instance.hostname[0] || strlen(instance.machine_id) != 32))
		__builtin_trap();
	if (understood(message, "metadata", guest_metadata_parse(message, &answer, &err)) &&
		(answer.status < 200 || strpbrk(answer.content_type, "\r\n") ||
			strlen(answer.body) != answer.body_length))
		__builtin_trap();
	if (understood(message, "stop", guest_stop_parse(message, &grace_ms, &app, &err)) &&
		(grace_ms > 24 * 3600 * 1000 || (app && strlen(app) > NAME_MAX)))
		__builtin_trap();
	if (understood(message, "start", guest_start_parse(message, &start, &err)) &&
		(!start.app.exec[0] || strchr(start.app.name, '/')))
		__builtin_trap();
	guest_start_done(&start);
	if (understood(message, "remove", guest_remove_parse(message, &removed, &err)))
		for (const char **volume = removed.volumes; *volume; volume++)
			if (!**volume || strchr(*volume, '/') || strchr(removed.app, '/'))
				__builtin_trap();
	guest_remove_done(&removed);
}

/* Returns false when the stream is broken. */
static bool frames_read(struct wire_reader *reader, bool is_guest)
{
	struct error err;
	int r;

	do {
		_cleanup_json_ json_t *message = NULL;

		r = wire_reader_next(reader, &message, &err);
		if (r != 0 && !is_guest)
			answer_count(r > 0);
		if (r > 0 && is_guest)
			message_read(message);
	} while (r > 0);
	return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_reader reader;
	size_t split;
	bool is_guest;

	if (size < 1)
		return 0;
	is_guest = data[0] & 1;
	split = data[0] >> 1;
	data++;
	size--;
	if (split > size)
		split = size;
	/* A message as it comes from the port of a VM. */
	if (is_guest && split == size) {
		_cleanup_json_ json_t *message = NULL;
		struct error err;

		if (wire_message_decode((const char *)data, size, &message, &err) == 0)
			message_read(message);
		return 0;
	}
	wire_reader_init(&reader, is_guest ? WIRE_FRAME_MAX_TO_GUEST : WIRE_FRAME_MAX_FROM_GUEST);
	if (wire_reader_add(&reader, data, split) == 0 && frames_read(&reader, is_guest) &&
		wire_reader_add(&reader, data + split, size - split) == 0)
		frames_read(&reader, is_guest);
	wire_reader_done(&reader);
	return 0;
}
