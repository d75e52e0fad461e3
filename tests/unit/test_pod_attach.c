// SPDX-License-Identifier: Apache-2.0
/* test_pod_attach.c: streams of an app through the socket of who runs the pod, and modes of streams. */
#include "base/json.h"
#include "pod/attach.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* "talker" can be attached to wholly, "mute" writes nowhere and reads nothing, "screen" has a terminal. */
static struct resolved_app apps[] = {
	{.name = "talker", .stream_modes = {[WIRE_STREAM_STDIN] = STREAM_MODE_STREAM}},
	{.name = "mute",
		.stream_modes = {[WIRE_STREAM_STDOUT] = STREAM_MODE_NULL,
			[WIRE_STREAM_STDERR] = STREAM_MODE_NULL}},
	{.name = "screen",
		.stream_modes = {[WIRE_STREAM_STDIN] = STREAM_MODE_TTY,
			[WIRE_STREAM_STDOUT] = STREAM_MODE_LOG,
			[WIRE_STREAM_STDERR] = STREAM_MODE_TTY}},
};
static const struct resolved_pod resolved = {.apps = apps, .app_count = ARRAY_SIZE(apps)};

/* Asks with a message and returns the client's end; *ret is the answer. */
static int ask(struct pod_attachments *attachments, const char *message, json_t **ret)
{
	_cleanup_json_ json_t *request = json_loads(message, 0, NULL);
	char text[1024];
	int fds[2];
	ssize_t n;

	assert_non_null(request);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	pod_attachments_add(attachments, &resolved, request, fds[0]);
	n = recv(fds[1], text, sizeof(text), 0);
	assert_true(n > 0);
	assert_int_equal(json_parse(text, (size_t)n, "answer", ret, NULL), 0);
	return fds[1];
}

static void expect_answer(struct pod_attachments *attachments, const char *message,
	const char *type, const char *text)
{
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = ask(attachments, message, &answer);
	char byte;

	assert_string_equal(json_string_value(json_object_get(answer, "type")), type);
	if (!text)
		return;
	assert_string_equal(json_string_value(json_object_get(answer, "message")), text);
	/* One that was refused is let go of. */
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void a_senseless_request_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *message, *reason;
	} cases[] = {
		{"{\"streams\":[\"stdout\"]}",
			"the pod has several apps: --app says which is meant"},
		{"{\"app\":\"x\",\"streams\":[\"stdout\"]}", "the pod has no app \"x\""},
		{"{\"app\":5,\"streams\":[\"stdout\"]}",
			"the pod has several apps: --app says which is meant"},
		{"{\"app\":\"talker\",\"streams\":[\"tea\"]}", "a stream that does not exist"},
		{"{\"app\":\"talker\",\"streams\":[7]}", "a stream that does not exist"},
		{"{\"app\":\"talker\",\"streams\":[\"stdout\",\"stdout\"]}",
			"a stream that does not exist"},
		{"{\"app\":\"mute\",\"streams\":[\"stdin\"]}",
			"app \"mute\" has no stdin to attach to (--stdin=stream or tty when the pod is started)"},
		{"{\"app\":\"mute\",\"streams\":[\"stderr\"]}",
			"app \"mute\" has no stderr to attach to (--stderr=stream or tty when the pod is started)"},
	};
	struct pod_attachments attachments;

	(void)state;
	pod_attachments_init(&attachments);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_answer(&attachments, cases[i].message, "refused", cases[i].reason);
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++)
		assert_int_equal(attachments.items[i].fd, -1);
}

static void streams_are_listed(void **state)
{
	struct pod_attachments attachments;
	_cleanup_json_ json_t *talker = NULL, *mute = NULL, *screen = NULL;
	json_t *names;

	(void)state;
	pod_attachments_init(&attachments);
	close(ask(&attachments, "{\"app\":\"talker\"}", &talker));
	names = json_object_get(talker, "streams");
	assert_int_equal(json_array_size(names), 3);
	close(ask(&attachments, "{\"app\":\"mute\",\"streams\":[]}", &mute));
	assert_int_equal(json_array_size(json_object_get(mute, "streams")), 0);
	assert_int_equal(json_array_size(json_object_get(mute, "terminal")), 0);
	close(ask(&attachments, "{\"app\":\"screen\"}", &screen));
	assert_int_equal(json_array_size(json_object_get(screen, "streams")), 3);
	names = json_object_get(screen, "terminal");
	assert_int_equal(json_array_size(names), 2);
	assert_string_equal(json_string_value(json_array_get(names, 0)), "stderr");
	assert_string_equal(json_string_value(json_array_get(names, 1)), "stdin");
}

/* All that may, so that the next one is refused. */
static void attach_all(struct pod_attachments *attachments, const char *request, int *fds)
{
	pod_attachments_init(attachments);
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++) {
		_cleanup_json_ json_t *answer = NULL;

		fds[i] = ask(attachments, request, &answer);
	}
	expect_answer(attachments, request, "refused", "8 are attached to the pod already");
}

static void so_many_are_attached_and_no_more(void **state)
{
	static const char request[] = "{\"app\":\"talker\",\"streams\":[\"stdout\"]}";
	struct pod_attachments attachments;
	int fds[ATTACHMENTS_MAX];

	(void)state;
	attach_all(&attachments, request, fds);
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++)
		close(fds[i]);
	pod_attachments_close(&attachments);
}

static struct wire_stream_header header_of(uint16_t app, uint8_t stream, size_t length)
{
	return (struct wire_stream_header){
		.length = htole32((uint32_t)length), .app = htole16(app), .stream = stream};
}

static void write_output(struct pod_attachments *attachments, uint16_t app, uint8_t stream,
	const char *text, size_t length)
{
	struct wire_stream_header header = header_of(app, stream, length);

	pod_attachments_write(attachments, &header, text);
}

struct packet {
	struct wire_stream_header header;
	char payload[WIRE_STREAM_MAX];
};

static void output_goes_to_who_asked_for_it(void **state)
{
	struct pod_attachments attachments;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = -1;
	struct packet packet;

	(void)state;
	pod_attachments_init(&attachments);
	fd = ask(&attachments, "{\"app\":\"talker\",\"streams\":[\"stderr\"]}", &answer);
	write_output(&attachments, 0, WIRE_STREAM_STDOUT, "other stream", 12);
	write_output(&attachments, 1, WIRE_STREAM_STDERR, "other app", 9);
	write_output(&attachments, 0, WIRE_STREAM_STDERR, "mine", 4);
	assert_int_equal(recv(fd, &packet, sizeof(packet), 0), sizeof(packet.header) + 4);
	assert_int_equal(packet.header.stream, WIRE_STREAM_STDERR);
	assert_memory_equal(packet.payload, "mine", 4);
	assert_int_equal(recv(fd, &packet, sizeof(packet), MSG_DONTWAIT), -1);
	pod_attachments_close(&attachments);
	assert_int_equal(recv(fd, &packet, sizeof(packet), 0), 0);
}

static void one_who_does_not_keep_up_is_told_what_he_missed(void **state)
{
	static char text[WIRE_STREAM_MAX];
	const size_t total = 1000;
	struct pod_attachments attachments;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = -1;
	struct packet packet;
	uint64_t lost;
	size_t got = 0;

	(void)state;
	pod_attachments_init(&attachments);
	fd = ask(&attachments, "{\"app\":\"talker\",\"streams\":[\"stdout\"]}", &answer);
	for (size_t i = 0; i < total; i++)
		write_output(&attachments, 0, WIRE_STREAM_STDOUT, text, sizeof(text));
	while (recv(fd, &packet, sizeof(packet), MSG_DONTWAIT) > 0)
		got++;
	assert_true(got > 0 && got < total);
	write_output(&attachments, 0, WIRE_STREAM_STDOUT, "again", 5);
	assert_int_equal(
		recv(fd, &packet, sizeof(packet), 0), sizeof(packet.header) + sizeof(lost));
	assert_int_equal(packet.header.stream, 0);
	memcpy(&lost, packet.payload, sizeof(lost));
	assert_int_equal(le64toh(lost), (total - got) * sizeof(text));
	assert_int_equal(recv(fd, &packet, sizeof(packet), 0), sizeof(packet.header) + 5);
	pod_attachments_close(&attachments);
}

/* Writes more than fits: returns how much. */
static uint64_t write_too_much(struct pod_attachments *attachments)
{
	static char text[WIRE_STREAM_MAX];
	const size_t total = 200;

	for (size_t i = 0; i < total; i++)
		write_output(attachments, 0, WIRE_STREAM_STDOUT, text, sizeof(text));
	return total * sizeof(text);
}

/* Reads the output that is there: returns how much. */
static uint64_t read_output(int fd)
{
	struct packet packet;
	uint64_t length = 0;

	while (recv(fd, &packet, sizeof(packet), MSG_DONTWAIT | MSG_PEEK) > 0 &&
		packet.header.stream == WIRE_STREAM_STDOUT) {
		assert_true(recv(fd, &packet, sizeof(packet), MSG_DONTWAIT) > 0);
		length += sizeof(packet.payload);
	}
	return length;
}

static void expect_lost(int fd, uint64_t expected)
{
	struct packet packet;
	uint64_t lost;

	assert_int_equal(recv(fd, &packet, sizeof(packet), MSG_DONTWAIT),
		sizeof(packet.header) + sizeof(lost));
	assert_int_equal(packet.header.stream, 0);
	memcpy(&lost, packet.payload, sizeof(lost));
	assert_int_equal(le64toh(lost), expected);
}

static void one_who_missed_something_is_told_without_more_output(void **state)
{
	struct pod_attachments attachments;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = -1;
	struct attachment *attachment;
	uint64_t missed;

	(void)state;
	pod_attachments_init(&attachments);
	fd = ask(&attachments, "{\"app\":\"talker\",\"streams\":[\"stdout\"]}", &answer);
	for (attachment = attachments.items; attachment->fd < 0; attachment++)
		;
	missed = write_too_much(&attachments);
	missed -= read_output(fd);
	assert_int_equal(attachment->lost, missed);
	pod_attachment_tell_lost(attachment);
	assert_int_equal(attachment->lost, 0);
	expect_lost(fd, missed);
	pod_attachments_close(&attachments);
	assert_int_equal(recv(fd, &missed, sizeof(missed), MSG_DONTWAIT), 0);
}

static void last_word_to_a_slow_one_is_what_he_missed(void **state)
{
	struct pod_attachments attachments;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = -1;
	struct packet packet;
	uint64_t missed;

	(void)state;
	pod_attachments_init(&attachments);
	fd = ask(&attachments, "{\"app\":\"talker\",\"streams\":[\"stdout\"]}", &answer);
	missed = write_too_much(&attachments);
	pod_attachments_close(&attachments);
	missed -= read_output(fd);
	assert_true(missed > 0);
	expect_lost(fd, missed);
	assert_int_equal(recv(fd, &packet, sizeof(packet), MSG_DONTWAIT), 0);
}

/* What the kernel says first of one who went with output unread. */
static void input_of_one_who_has_gone_is_read_to_its_end(void **state)
{
	static const char request[] = "{\"app\":\"talker\",\"streams\":[\"stdin\",\"stdout\"]}";
	const struct packet input = {.header = {.length = htole32(4), .stream = WIRE_STREAM_STDIN}};
	struct pod_attachments attachments;
	_cleanup_json_ json_t *answer = NULL;
	struct attachment *attachment;
	char buffer[WIRE_STREAM_MAX];
	size_t length, heard = 0;
	int fd;

	(void)state;
	pod_attachments_init(&attachments);
	fd = ask(&attachments, request, &answer);
	for (attachment = attachments.items; attachment->fd < 0; attachment++)
		;
	write_output(&attachments, 0, WIRE_STREAM_STDOUT, "unread", 6);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(
			send(fd, &input, sizeof(input.header) + 4, 0), sizeof(input.header) + 4);
	close(fd);
	while (attachment->fd >= 0)
		if (pod_attachment_read(attachment, buffer, &length) == WIRE_STREAM_STDIN)
			heard += length;
	assert_int_equal(heard, 5 * 4);
	pod_attachments_close(&attachments);
}

static void one_who_has_gone_makes_room_though_the_app_reads_nothing(void **state)
{
	static const char request[] = "{\"app\":\"talker\",\"streams\":[\"stdin\",\"stdout\"]}";
	const struct packet input = {.header = {.length = htole32(4), .stream = WIRE_STREAM_STDIN}};
	struct pod_attachments attachments;
	int fds[ATTACHMENTS_MAX];

	(void)state;
	attach_all(&attachments, request, fds);
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++)
		assert_int_equal(send(fds[i], &input, sizeof(input.header) + 4, 0),
			sizeof(input.header) + 4);
	close(fds[0]);
	/* Nor is he written to, or anything counted that he could miss. */
	write_too_much(&attachments);
	for (size_t i = 0; i < ATTACHMENTS_MAX; i++)
		assert_int_equal(attachments.items[i].lost == 0, attachments.items[i].has_gone);
	expect_answer(&attachments, request, "attached", NULL);
	for (size_t i = 1; i < ATTACHMENTS_MAX; i++)
		close(fds[i]);
	pod_attachments_close(&attachments);
}

static void input_is_taken_and_anything_else_ends_the_connection(void **state)
{
	static const char talker[] = "{\"app\":\"talker\",\"streams\":[\"stdin\"]}";
	static const char log[] = "{\"app\":\"screen\",\"streams\":[\"stdout\"]}";
	static const char shown[] = "{\"app\":\"screen\",\"streams\":[\"stderr\"]}";
	static const char screen[] = "{\"app\":\"screen\",\"streams\":[\"stdin\",\"stderr\"]}";
	static const struct {
		const char *request;
		uint8_t stream;
		size_t length, announced;
		bool is_input;
	} cases[] = {
		{talker, WIRE_STREAM_STDIN, 5, 5, true},
		{talker, WIRE_STREAM_STDIN, WIRE_STREAM_MAX, WIRE_STREAM_MAX, true},
		{talker, WIRE_STREAM_STDIN, 0, 0, false},
		{talker, WIRE_STREAM_STDIN, 5, 6, false},
		{talker, WIRE_STREAM_STDIN, 5, UINT32_MAX, false},
		{talker, WIRE_STREAM_STDOUT, 5, 5, false},
		{talker, WIRE_STREAM_WINDOW, 4, 4, false},
		{talker, 0, 5, 5, false},
		{screen, WIRE_STREAM_STDIN, 5, 5, true},
		{screen, WIRE_STREAM_WINDOW, 4, 4, true},
		{screen, WIRE_STREAM_WINDOW, 3, 3, false},
		{screen, WIRE_STREAM_WINDOW, 5, 5, false},
		{shown, WIRE_STREAM_WINDOW, 4, 4, true},
		{shown, WIRE_STREAM_STDIN, 5, 5, false},
		{log, WIRE_STREAM_WINDOW, 4, 4, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pod_attachments attachments;
		_cleanup_json_ json_t *answer = NULL;
		struct attachment *attachment = NULL;
		struct packet packet = {
			.header = header_of(0, cases[i].stream, cases[i].announced)};
		char buffer[WIRE_STREAM_MAX];
		size_t length;
		int fd;

		pod_attachments_init(&attachments);
		fd = ask(&attachments, cases[i].request, &answer);
		for (size_t j = 0; j < ATTACHMENTS_MAX; j++)
			if (attachments.items[j].fd >= 0)
				attachment = &attachments.items[j];
		assert_non_null(attachment);
		assert_int_equal(pod_attachment_read(attachment, buffer, &length), 0);
		assert_true(attachment->fd >= 0);
		memset(packet.payload, 'i', sizeof(packet.payload));
		assert_true(send(fd, &packet, sizeof(packet.header) + cases[i].length, 0) > 0);
		assert_int_equal(pod_attachment_read(attachment, buffer, &length),
			cases[i].is_input ? cases[i].stream : 0);
		if (cases[i].is_input)
			assert_int_equal(length, cases[i].length);
		assert_int_equal(attachment->fd >= 0, cases[i].is_input);
		close(fd);
		if (attachment->fd >= 0)
			assert_int_equal(pod_attachment_read(attachment, buffer, &length), 0);
		assert_int_equal(attachment->fd, -1);
	}
}

static void modes_that_go_together_have_a_terminal_or_none(void **state)
{
	static const struct {
		enum stream_mode in, out, errors;
		bool is_good, has_terminal;
	} cases[] = {
		{STREAM_MODE_NONE, STREAM_MODE_NONE, STREAM_MODE_NONE, true, false},
		{STREAM_MODE_STREAM, STREAM_MODE_LOG, STREAM_MODE_STREAM, true, false},
		{STREAM_MODE_TTY, STREAM_MODE_TTY, STREAM_MODE_TTY, true, true},
		{STREAM_MODE_TTY, STREAM_MODE_LOG, STREAM_MODE_TTY, true, true},
		{STREAM_MODE_NULL, STREAM_MODE_TTY, STREAM_MODE_NULL, true, true},
		{STREAM_MODE_TTY, STREAM_MODE_LOG, STREAM_MODE_NULL, false, false},
		{STREAM_MODE_STREAM, STREAM_MODE_TTY, STREAM_MODE_NULL, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const enum stream_mode modes[STREAM_MODES] = {
			[WIRE_STREAM_STDIN] = cases[i].in,
			[WIRE_STREAM_STDOUT] = cases[i].out,
			[WIRE_STREAM_STDERR] = cases[i].errors,
		};
		bool has_terminal = false;
		struct error error = {0};
		int r = stream_modes_check(modes, &has_terminal, &error);

		assert_int_equal(r, cases[i].is_good ? 0 : -EINVAL);
		assert_int_equal(has_terminal, cases[i].has_terminal);
		assert_int_equal(error.message[0] != '\0', !cases[i].is_good);
	}
}

static void modes_are_read_from_annotations(void **state)
{
	enum stream_mode modes[STREAM_MODES];
	struct appc_pairs annotations = {0};
	struct error err;

	(void)state;
	assert_int_equal(stream_modes_read(&annotations, modes, &err), 0);
	for (enum wire_stream stream = WIRE_STREAM_STDOUT; stream < STREAM_MODES; stream++)
		assert_int_equal(modes[stream], STREAM_MODE_NONE);
	assert_int_equal(stream_mode_annotate(&annotations, WIRE_STREAM_STDIN, "stream"), 0);
	assert_int_equal(stream_mode_annotate(&annotations, WIRE_STREAM_STDOUT, "log"), 0);
	assert_int_equal(stream_mode_annotate(&annotations, WIRE_STREAM_STDERR, "null"), 0);
	assert_int_equal(stream_modes_read(&annotations, modes, &err), 0);
	assert_int_equal(modes[WIRE_STREAM_STDIN], STREAM_MODE_STREAM);
	assert_int_equal(modes[WIRE_STREAM_STDOUT], STREAM_MODE_LOG);
	assert_int_equal(modes[WIRE_STREAM_STDERR], STREAM_MODE_NULL);
	assert_string_equal(annotations.items[0].name, "coreos.com/rkt/stage2/stdin");

	/* rkt's --interactive leaves this. */
	assert_int_equal(stream_mode_annotate(&annotations, WIRE_STREAM_STDIN, "interactive"), 0);
	assert_int_equal(stream_modes_read(&annotations, modes, &err), 0);
	assert_int_equal(modes[WIRE_STREAM_STDIN], STREAM_MODE_NONE);
	/* A log is for output. */
	assert_int_equal(stream_mode_annotate(&annotations, WIRE_STREAM_STDIN, "log"), 0);
	assert_int_equal(stream_modes_read(&annotations, modes, &err), -EINVAL);
	assert_string_equal(err.message,
		"annotation coreos.com/rkt/stage2/stdin: \"log\" is no mode of stdin: null, stream, tty");
	appc_pairs_clear(&annotations);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_senseless_request_is_refused_with_a_reason),
		cmocka_unit_test(streams_are_listed),
		cmocka_unit_test(so_many_are_attached_and_no_more),
		cmocka_unit_test(output_goes_to_who_asked_for_it),
		cmocka_unit_test(one_who_does_not_keep_up_is_told_what_he_missed),
		cmocka_unit_test(one_who_missed_something_is_told_without_more_output),
		cmocka_unit_test(last_word_to_a_slow_one_is_what_he_missed),
		cmocka_unit_test(input_of_one_who_has_gone_is_read_to_its_end),
		cmocka_unit_test(one_who_has_gone_makes_room_though_the_app_reads_nothing),
		cmocka_unit_test(input_is_taken_and_anything_else_ends_the_connection),
		cmocka_unit_test(modes_that_go_together_have_a_terminal_or_none),
		cmocka_unit_test(modes_are_read_from_annotations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
