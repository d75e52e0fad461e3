// SPDX-License-Identifier: Apache-2.0
/*
 * test_captured.c: what the supervisor, which is root, makes of the words of a VMM that its guest has taken over: reports, and
 * questions for connections to the host.
 */
#include "base/descriptors.h"
#include "base/file.h"
#include "pod/flavour.h"
#include "pod/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

struct captured {
	char path[64];
	struct pod pod;
	int fds[2]; /* the supervisor's end, the VMM's */
};

static int begin(void **state)
{
	struct captured *captured = calloc(1, sizeof(*captured));

	assert_non_null(captured);
	strcpy(captured->path, "/tmp/captured-XXXXXX");
	assert_non_null(mkdtemp(captured->path));
	captured->pod = POD_NONE;
	captured->pod.fd = open(captured->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(captured->pod.fd >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				 captured->fds),
		0);
	*state = captured;
	return 0;
}

static int end(void **state)
{
	struct captured *captured = *state;

	for (size_t i = 0; i < ARRAY_SIZE(captured->fds); i++)
		cleanup_close(&captured->fds[i]);
	close(captured->pod.fd);
	assert_int_equal(directory_remove(AT_FDCWD, captured->path), 0);
	free(captured);
	return 0;
}

static void vmm_says(const struct captured *captured, const void *data, size_t size)
{
	assert_int_equal(send(captured->fds[1], data, size, 0), size);
}

/* ---- reports */

static void expect_report(const struct captured *captured, const struct flavour_report *said, int r)
{
	struct flavour_report heard;

	vmm_says(captured, said, sizeof(*said));
	assert_int_equal(flavour_report_read(captured->fds[0], &heard), r);
	if (r == 0)
		assert_non_null(memchr(heard.message, '\0', sizeof(heard.message)));
}

static const struct flavour_report sound = {
	.event = FLAVOUR_ENDED,
	.end = MACHINE_END_FAILED,
	.started = true,
	.resident_kib = -1,
	.marks[MACHINE_EVENT_RUN] = {.nanoseconds = 1, .instructions = -1},
};

static void report_has_its_size_and_is_no_end_of_file(void **state)
{
	static char large[sizeof(struct flavour_report) + 1];
	struct captured *captured = *state;
	struct flavour_report heard;

	assert_int_equal(flavour_report_read(captured->fds[0], &heard), -EAGAIN);
	expect_report(captured, &sound, 0);
	vmm_says(captured, &sound, sizeof(sound) - 1);
	assert_int_equal(flavour_report_read(captured->fds[0], &heard), -EBADMSG);
	vmm_says(captured, large, sizeof(large));
	assert_int_equal(flavour_report_read(captured->fds[0], &heard), -EBADMSG);
	close(TAKE_FD(captured->fds[1]));
	assert_int_equal(flavour_report_read(captured->fds[0], &heard), -EBADMSG);
}

/* Each byte of it in turn has every value: none is read as what it cannot be. */
static void report_of_any_bytes_is_refused_or_sound(void **state)
{
	struct captured *captured = *state;

	for (size_t i = 0; i < sizeof(sound); i++) {
		/* Text may be anything. */
		if (i == offsetof(struct flavour_report, message) + 1)
			i += sizeof(sound.message) - 2;
		for (unsigned int value = 0; value < 256; value++) {
			struct flavour_report said = sound, heard;

			((unsigned char *)&said)[i] = (unsigned char)value;
			vmm_says(captured, &said, sizeof(said));
			if (flavour_report_read(captured->fds[0], &heard) < 0)
				continue;
			assert_true(
				heard.event <= FLAVOUR_ENDED && heard.end <= MACHINE_END_FAILED);
			assert_true(heard.answer < MACHINE_ANSWERS && heard.resident_kib >= -1);
			for (size_t event = 0; event < MACHINE_EVENTS; event++)
				assert_true(heard.marks[event].nanoseconds >= 0);
			/* The sanitizer looks at what is loaded. */
			assert_in_range(heard.started + heard.is_refused + heard.is_violation +
					heard.counts_instructions,
				0, 4);
			assert_non_null(memchr(heard.message, '\0', sizeof(heard.message)));
		}
	}
}

static void text_without_an_end_gets_one(void **state)
{
	struct flavour_report said = sound;

	memset(said.message, 'x', sizeof(said.message));
	expect_report(*state, &said, 0);
	said.is_violation = true;
	said.violation = (struct filter_violation){
		.thread = (enum filter_thread)77, .architecture = AUDIT_ARCH_I386, .number = -5};
	expect_report(*state, &said, 0);
}

/* ---- questions */

static void listen_at(const struct captured *captured, const char *name, int *ret)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", captured->path, name);
	*ret = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(*ret >= 0);
	assert_int_equal(bind(*ret, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(*ret, 1), 0);
}

/* Returns the error of the answer; 0: it came with a connection. */
static int32_t take_answer(const struct captured *captured, uint64_t id)
{
	struct machine_vsock_answer answer;
	int fds[1] = {-1};
	ssize_t n = descriptors_receive(captured->fds[1], &answer, sizeof(answer), fds, 1);

	assert_int_equal(n, sizeof(answer));
	assert_int_equal(answer.id, id);
	assert_int_equal(fds[0] >= 0, answer.error == 0);
	if (fds[0] >= 0)
		close(fds[0]);
	return answer.error;
}

static void question_is_answered_with_a_connection_of_the_pod_or_an_error(void **state)
{
	static const struct machine_vsock_question here = {.id = 7, .port = 4294967295},
						   nowhere = {.id = UINT64_MAX, .port = 1};
	struct captured *captured = *state;
	int listener;

	listen_at(captured, "vsock_4294967295", &listener);
	vmm_says(captured, &here, sizeof(here));
	vmm_says(captured, &nowhere, sizeof(nowhere));
	assert_int_equal(pod_vsock_answer(&captured->pod, captured->fds[0]), 0);
	assert_int_equal(take_answer(captured, here.id), 0);
	assert_int_equal(take_answer(captured, nowhere.id), -ENOENT);
	close(listener);
}

static void question_of_another_size_is_the_last(void **state)
{
	static const char large[sizeof(struct machine_vsock_question) + 1];
	struct captured *captured = *state;

	assert_int_equal(pod_vsock_answer(&captured->pod, captured->fds[0]), 0);
	vmm_says(captured, large, sizeof(struct machine_vsock_question) - 1);
	assert_int_equal(pod_vsock_answer(&captured->pod, captured->fds[0]), -EPIPE);
	vmm_says(captured, large, sizeof(large));
	assert_int_equal(pod_vsock_answer(&captured->pod, captured->fds[0]), -EPIPE);
	close(TAKE_FD(captured->fds[1]));
	assert_int_equal(pod_vsock_answer(&captured->pod, captured->fds[0]), -EPIPE);
}

/* It asks for ever and reads no answer: each call comes back, and no fd stays. */
static void one_who_only_asks_holds_nobody_up(void **state)
{
	static const struct machine_vsock_question question = {.port = 5};
	struct captured *captured = *state;
	int listener, before, after;

	listen_at(captured, "vsock_5", &listener);
	before = dup(listener);
	close(before);
	for (unsigned int i = 0; i < 1000; i++) {
		while (send(captured->fds[1], &question, sizeof(question), 0) > 0)
			;
		if (pod_vsock_answer(&captured->pod, captured->fds[0]) < 0)
			break;
	}
	after = dup(listener);
	close(after);
	assert_int_equal(after, before);
	close(listener);
}

#define CAPTURED_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAPTURED_TEST(report_has_its_size_and_is_no_end_of_file),
		CAPTURED_TEST(report_of_any_bytes_is_refused_or_sound),
		CAPTURED_TEST(text_without_an_end_gets_one),
		CAPTURED_TEST(question_is_answered_with_a_connection_of_the_pod_or_an_error),
		CAPTURED_TEST(question_of_another_size_is_the_last),
		CAPTURED_TEST(one_who_only_asks_holds_nobody_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
