// SPDX-License-Identifier: Apache-2.0
/* test_checkpoint.c: what a checkpoint says of itself, and what its client and the supervisor say to each other. */
#include "pod/checkpoint.h"
#include "pod/pause.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#define UUID "0f746094-3438-42bc-ab37-3cf85f132e60"
#define ID   "00112233445566778899aabbccddeeff"

static int parse(struct pod_checkpoint_info *info, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return pod_checkpoint_parse(text, strlen(text), info);
}

#define FORMAT                                                                                 \
	"{\"uuid\": \"%s\", \"id\": \"%s\", \"vcpus\": %d, \"memory\": %lld, \"shared\": %s, " \
	"\"dax\": %s, \"hostname\": \"%s\"}"

static void what_is_written_is_read(void **state)
{
	struct pod_checkpoint_info info;

	(void)state;
	assert_int_equal(parse(&info, FORMAT, UUID, ID, 2, 128ll << 20, "true", "1", "name"), 0);
	assert_string_equal(info.uuid, UUID);
	assert_string_equal(info.id, ID);
	assert_int_equal(info.vcpus, 2);
	assert_int_equal(info.memory, 128ll << 20);
	assert_true(info.shared);
	assert_int_equal(info.dax, VIRTIO_FS_DAX_NEVER);
	assert_string_equal(info.hostname, "name");
}

static void what_cannot_be_is_refused(void **state)
{
	const char *const long_name =
		"0123456789012345678901234567890123456789012345678901234567890123456789";
	struct pod_checkpoint_info info;

	(void)state;
	assert_int_equal(parse(&info, "%s", ""), -EBADMSG);
	assert_int_equal(parse(&info, "[]"), -EBADMSG);
	assert_int_equal(parse(&info, "{}"), -EBADMSG);
	assert_int_equal(
		parse(&info, FORMAT, "../x", ID, 1, 128ll << 20, "true", "0", ""), -EBADMSG);
	assert_int_equal(
		parse(&info, FORMAT, UUID, "0011", 1, 128ll << 20, "true", "0", ""), -EBADMSG);
	assert_int_equal(parse(&info, FORMAT, UUID, ID, 0, 128ll << 20, "true", "0", ""), -EBADMSG);
	assert_int_equal(parse(&info, FORMAT, UUID, ID, 9, 128ll << 20, "true", "0", ""), -EBADMSG);
	assert_int_equal(parse(&info, FORMAT, UUID, ID, 1, 4096ll, "true", "0", ""), -EBADMSG);
	assert_int_equal(parse(&info, FORMAT, UUID, ID, 1, 128ll << 20, "1", "0", ""), -EBADMSG);
	assert_int_equal(parse(&info, FORMAT, UUID, ID, 1, 128ll << 20, "true", "3", ""), -EBADMSG);
	assert_int_equal(
		parse(&info, FORMAT, UUID, ID, 1, 128ll << 20, "true", "\"0\"", ""), -EBADMSG);
	assert_int_equal(
		parse(&info, FORMAT, UUID, ID, 1, 128ll << 20, "true", "0", long_name), -EBADMSG);
}

/* Two ends, as a client and a supervisor have them. */
static int set_up(void **state)
{
	int *pair = calloc(2, sizeof(int));

	assert_non_null(pair);
	*state = pair;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int tear_down(void **state)
{
	int *pair = *state;

	cleanup_close(&pair[0]);
	cleanup_close(&pair[1]);
	free(pair);
	return 0;
}

static void files_arrive_with_the_step_that_saves(void **state)
{
	const int *pair = *state;
	enum pod_checkpoint_step step;
	struct stat sent, received;
	int fds[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(pod_checkpoint_receive(pair[1], &step, fds), -EAGAIN);
	assert_int_equal(
		pod_checkpoint_send(pair[0], POD_CHECKPOINT_SAVE, (int[]){null, pair[0]}), 0);
	assert_int_equal(pod_checkpoint_receive(pair[1], &step, fds), 0);
	assert_int_equal(step, POD_CHECKPOINT_SAVE);
	assert_int_equal(fstat(null, &sent), 0);
	assert_int_equal(fstat(fds[0], &received), 0);
	assert_int_equal(sent.st_ino, received.st_ino);
	assert_true(fcntl(fds[1], F_GETFD) & FD_CLOEXEC);
	close(fds[0]);
	close(fds[1]);
	close(null);
	for (step = POD_CHECKPOINT_GO_ON; step <= POD_CHECKPOINT_END; step++) {
		enum pod_checkpoint_step got;

		assert_int_equal(pod_checkpoint_send(pair[0], step, NULL), 0);
		assert_int_equal(pod_checkpoint_receive(pair[1], &got, fds), 0);
		assert_int_equal(got, step);
	}
}

static void a_step_that_makes_no_sense_is_refused(void **state)
{
	static const char *const wrong[] = {
		"save", "sav", "saved", "end of a step that is too long", "\n"};
	int *pair = *state;
	enum pod_checkpoint_step step;
	int fds[2];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_true(send(pair[0], wrong[i], strlen(wrong[i]), 0) > 0);
		assert_int_equal(pod_checkpoint_receive(pair[1], &step, fds), -EPIPE);
	}
	/* Files where none belong are closed. */
	assert_int_equal(
		pod_checkpoint_send(pair[0], POD_CHECKPOINT_END, (int[]){pair[0], pair[0]}), 0);
	assert_int_equal(pod_checkpoint_receive(pair[1], &step, fds), -EPIPE);
	assert_int_equal(fds[0], -1);
	cleanup_close(&pair[0]);
	pair[0] = -1;
	assert_int_equal(pod_checkpoint_receive(pair[1], &step, fds), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test_setup_teardown(
			files_arrive_with_the_step_that_saves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_step_that_makes_no_sense_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
