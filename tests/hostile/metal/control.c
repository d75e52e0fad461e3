// SPDX-License-Identifier: Apache-2.0
/* control.c: groups 17 and 18, what a guest says to the supervisor. Each of them ends the pod. */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"
#include "tests/hostile/metal/metal.h"

#define FRAME_MAX (64u << 10)

static char text[FRAME_MAX];

static size_t put(size_t at, const char *piece)
{
	while (*piece)
		text[at++] = *piece++;
	text[at] = '\0';
	return at;
}

static void send_length(uint32_t length)
{
	metal_send(GUEST_STREAM_CONTROL, &length, sizeof(length));
}

void case_frame_huge(void)
{
	send_length(UINT32_MAX);
	metal_halt();
}

void case_frame_empty(void)
{
	send_length(0);
	metal_halt();
}

void case_frame_garbage(void)
{
	metal_send_frame("{{{{{{{{");
	metal_halt();
}

void case_frame_deep(void)
{
	size_t at = put(0, "{\"type\":\"warning\",\"message\":");

	while (at < 30000)
		text[at++] = '[';
	text[at] = '\0';
	metal_send_frame(text);
	metal_halt();
}

void case_frame_not_utf8(void)
{
	metal_send_frame("{\"type\":\"warning\",\"message\":\"\xff\xfe\xc0\x80\"}");
	metal_halt();
}

void case_frame_partial(void)
{
	metal_print("here\n");
	send_length(1000);
	metal_send(GUEST_STREAM_CONTROL, "{\"type\":", 8);
	metal_halt();
}

void case_message_unknown(void)
{
	metal_send_frame("{\"type\":\"surprise\"}");
	metal_halt();
}

void case_message_escapes(void)
{
	metal_send_frame(
		"{\"type\":\"warning\",\"message\":\"w\\u001b[2J\\nsecond line\\r\\u0007\\u009b31m\"}");
	metal_send_frame(
		"{\"type\":\"failed\",\"message\":\"f\\u001b]0;title\\u0007\\nappc-vm: error: forged\"}");
	metal_halt();
}

void case_app_unknown(void)
{
	metal_send_frame("{\"type\":\"exited\",\"app\":\"another\",\"status\":0}");
	metal_halt();
}

void case_app_twice(void)
{
	for (int i = 0; i < 2; i++)
		metal_send_frame("{\"type\":\"exited\",\"app\":\"app\",\"status\":3}");
	metal_halt();
}

void case_status_range(void)
{
	metal_send_frame("{\"type\":\"exited\",\"app\":\"app\",\"status\":70000}");
	metal_halt();
}

void case_ended_early(void)
{
	metal_send_frame("{\"type\":\"ended\",\"status\":0}");
	metal_halt();
}

/* Many to a page, so that they come faster than one by one. */
static size_t fill_with_warnings(void)
{
	static const char warning[] = "{\"type\":\"warning\",\"message\":\"again\"}";
	const uint32_t length = sizeof(warning) - 1;
	size_t at = 0;

	while (at + sizeof(length) + length < FRAME_MAX / 2) {
		for (unsigned int i = 0; i < sizeof(length); i++)
			text[at++] = (char)(length >> 8 * i);
		for (unsigned int i = 0; i < length; i++)
			text[at++] = warning[i];
	}
	return at;
}

void case_warning_flood(void)
{
	size_t length = fill_with_warnings();

	for (unsigned int i = 0; i < 25; i++)
		metal_send(GUEST_STREAM_CONTROL, text, length);
	metal_send_end(0);
	metal_halt();
}

void case_warnings_for_ever(void)
{
	size_t length = fill_with_warnings();

	metal_print("here\n");
	for (;;)
		metal_send(GUEST_STREAM_CONTROL, text, length);
}

void case_metadata_flood(void)
{
	for (;;)
		metal_send_frame("{\"type\":\"metadata\",\"get\":\"pod/manifest\"}");
}

void case_stream_malformed(void)
{
	static const struct {
		uint32_t length;
		uint16_t app;
		uint8_t stream, reserved;
	} header = {.length = 16, .app = 5, .stream = 1};

	metal_send(GUEST_STREAM_OUTPUT, &header, sizeof(header));
	metal_halt();
}

void case_output_blocked(void)
{
	for (size_t i = 0; i < 8000; i++)
		text[i] = i % 80 == 79 ? '\n' : 'x';
	text[8000] = '\0';
	metal_print("here\n");
	for (;;)
		metal_print(text);
}
