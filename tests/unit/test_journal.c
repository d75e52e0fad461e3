// SPDX-License-Identifier: Apache-2.0
/* test_journal.c: events of pods, written by many, read by anybody, bounded, and whole after a crash. */
#include "base/file.h"
#include "pod/journal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define UUID "01234567-89ab-cdef-0123-456789abcdef"

struct fixture {
	char path[64];
	int fd;
	struct journal_reader *reader;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-journal-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->fd = directory_open(AT_FDCWD, fixture->path);
	assert_int_equal(journal_reader_open(fixture->fd, &fixture->reader), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	journal_reader_free(fixture->reader);
	close(fixture->fd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static void add_exit(struct fixture *fixture, int status)
{
	journal_add(fixture->fd, UUID, JOURNAL_APP_EXITED,
		&(struct journal_details){.app = "web", .exit_code = status});
}

/* Bytes as a crash or an enemy may leave them. */
static void put(struct fixture *fixture, const char *text)
{
	_cleanup_close_ int directory = directory_open(fixture->fd, JOURNAL_DIRECTORY);
	_cleanup_close_ int fd =
		openat(directory, JOURNAL_CURRENT, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static off_t size_of(struct fixture *fixture, const char *name)
{
	_cleanup_close_ int directory = directory_open(fixture->fd, JOURNAL_DIRECTORY);
	struct stat st;

	return fstatat(directory, name, &st, 0) < 0 ? -1 : st.st_size;
}

/* The exit status in the next record; -1: there is none. */
static int next_status(struct journal_reader *reader)
{
	static const char key[] = "\"exit_code\":";
	struct journal_record record;
	_cleanup_free_ char *line = NULL;
	int r = journal_read(reader, &record);

	assert_true(r >= 0);
	if (r == 0)
		return -1;
	line = strndup(record.line, record.length);
	assert_non_null(strstr(line, key));
	return (int)strtol(strstr(line, key) + strlen(key), NULL, 10);
}

static void what_happens_is_told_in_order(void **state)
{
	struct fixture *fixture = *state;
	struct journal_record record;
	int64_t before = pod_now();

	assert_int_equal(journal_read(fixture->reader, &record), 0);
	journal_add(fixture->fd, UUID, JOURNAL_STARTED, JOURNAL_NO_DETAILS);
	add_exit(fixture, 7);
	journal_add(fixture->fd, UUID, JOURNAL_EXITED,
		&(struct journal_details){.exit_code = 254,
			.message = "a \"reason\"\nof \xff\xc2\x9b"
				   "2J"});
	assert_int_equal(journal_read(fixture->reader, &record), 1);
	assert_int_equal(record.event, JOURNAL_STARTED);
	assert_string_equal(record.uuid, UUID);
	assert_in_range(record.time, before, pod_now());
	assert_null(memchr(record.line, '\n', record.length));
	assert_int_equal(next_status(fixture->reader), 7);
	assert_int_equal(journal_read(fixture->reader, &record), 1);
	assert_int_equal(record.event, JOURNAL_EXITED);
	assert_non_null(memmem(record.line, record.length, "a \\\"reason\\\"?of ", 15));
	assert_non_null(memmem(record.line, record.length, "??2J\"", 5));
	assert_int_equal(journal_read(fixture->reader, &record), 0);
}

static void a_message_of_any_length_fits_into_a_line(void **state)
{
	struct fixture *fixture = *state;
	struct journal_record record;
	char message[20000];

	memset(message, '"', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	journal_add(fixture->fd, UUID, JOURNAL_EXITED,
		&(struct journal_details){.exit_code = 1, .message = message});
	assert_int_equal(journal_read(fixture->reader, &record), 1);
	assert_in_range(record.length, 1000, JOURNAL_LINE_MAX);
}

static void what_a_crash_left_is_passed_over(void **state)
{
	struct fixture *fixture = *state;

	add_exit(fixture, 1);
	put(fixture, "{\"time\":\"2026-");
	add_exit(fixture, 2);
	put(fixture, "\n\n[]\nnonsense\n{\"event\":\"started\"}\n");
	put(fixture,
		"{\"time\":\"2026-11-22T12:00:00Z\",\"event\":\"unknown\",\"uuid\":\"" UUID
		"\"}\n");
	put(fixture, "{\"time\":\"yesterday\",\"event\":\"started\",\"uuid\":\"" UUID "\"}\n");
	put(fixture, "{\"time\":\"2026-11-22T12:00:00Z\",\"event\":\"started\",\"uuid\":\"x\"}\n");
	for (unsigned int i = 0; i < 3 * JOURNAL_LINE_MAX / 10; i++)
		put(fixture, "0123456789");
	add_exit(fixture, 3);
	for (int i = 1; i <= 3; i++)
		assert_int_equal(next_status(fixture->reader), i);
	assert_int_equal(next_status(fixture->reader), -1);
}

static void the_journal_is_bounded_and_a_reader_who_keeps_up_misses_nothing(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_journal_reader_ struct journal_reader *late = NULL;
	int total = 3 * JOURNAL_SIZE_MAX / 100, first;

	for (int i = 0; i < total; i++) {
		add_exit(fixture, i);
		/* Behind the writer, sometimes more than at other times. */
		if (i % 1000 == 999)
			for (int k = i - 999; k <= i; k++)
				assert_int_equal(next_status(fixture->reader), k);
	}
	assert_in_range(size_of(fixture, JOURNAL_CURRENT), 1, JOURNAL_SIZE_MAX / 2);
	assert_in_range(size_of(fixture, JOURNAL_OLD), JOURNAL_SIZE_MAX / 4, JOURNAL_SIZE_MAX / 2);
	/* Who comes late finds the newest, all of them in order. */
	assert_int_equal(journal_reader_open(fixture->fd, &late), 0);
	first = next_status(late);
	assert_in_range(first, 1, total - JOURNAL_SIZE_MAX / 2 / 200);
	for (int i = first + 1; i < total; i++)
		assert_int_equal(next_status(late), i);
	assert_int_equal(next_status(late), -1);
}

static void lines_of_many_writers_do_not_mix(void **state)
{
	enum { WRITERS = 4, EVENTS = 3000 };
	struct fixture *fixture = *state;
	unsigned int count = 0;
	int status, last[WRITERS] = {0};

	for (int i = 0; i < WRITERS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid > 0)
			continue;
		for (int k = 1; k <= EVENTS; k++)
			add_exit(fixture, i * EVENTS + k);
		_exit(0);
	}
	for (int i = 0; i < WRITERS; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	while ((status = next_status(fixture->reader)) >= 0) {
		int writer = (status - 1) / EVENTS;

		assert_int_equal((status - 1) % EVENTS, last[writer]);
		last[writer]++;
		count++;
	}
	assert_int_equal(count, WRITERS * EVENTS);
}

#define JOURNAL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		JOURNAL_TEST(what_happens_is_told_in_order),
		JOURNAL_TEST(a_message_of_any_length_fits_into_a_line),
		JOURNAL_TEST(what_a_crash_left_is_passed_over),
		JOURNAL_TEST(the_journal_is_bounded_and_a_reader_who_keeps_up_misses_nothing),
		JOURNAL_TEST(lines_of_many_writers_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
