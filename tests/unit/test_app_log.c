// SPDX-License-Identifier: Apache-2.0
/* test_app_log.c: what apps write is kept, bounded, in order, and found again by readers. */
#include "base/file.h"
#include "base/timestamp.h"
#include "pod/app_log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

struct log_fixture {
	char path[64];
	struct pod pod; /* only its directory */
};

static int set_up(void **state)
{
	struct log_fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-log-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->pod = POD_NONE;
	fixture->pod.fd = directory_open(AT_FDCWD, fixture->path);
	assert_true(fixture->pod.fd >= 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct log_fixture *fixture = *state;

	close(fixture->pod.fd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static struct app_log open_log(const struct log_fixture *fixture, const char *app)
{
	struct app_log log;

	assert_int_equal(app_log_open(&fixture->pod, app, APP_LOG_SIZE_MIN, &log), 0);
	return log;
}

static void say(struct app_log *log, const char *text)
{
	app_log_write(log, WIRE_STREAM_STDOUT, text, strlen(text));
}

static struct app_log_reader *open_reader(const struct log_fixture *fixture, const char *app)
{
	struct app_log_reader *reader;

	assert_int_equal(app_log_reader_open(&fixture->pod, app, &reader), 0);
	return reader;
}

static void expect(struct app_log_reader *reader, const char *app, enum wire_stream stream,
	const char *text, bool is_partial)
{
	struct app_log_record record;

	assert_int_equal(app_log_read(reader, &record), 1);
	assert_string_equal(record.app, app);
	assert_int_equal(record.stream, stream);
	assert_int_equal(record.length, strlen(text));
	assert_memory_equal(record.text, text, record.length);
	assert_int_equal(record.is_partial, is_partial);
	assert_true(record.time > 0 && record.time <= pod_now());
}

static void expect_end(struct app_log_reader *reader)
{
	struct app_log_record record;

	assert_int_equal(app_log_read(reader, &record), 0);
}

static void lines_and_their_beginnings_are_records(void **state)
{
	struct app_log log = open_log(*state, "one");
	struct app_log_reader *reader;

	say(&log, "first\nsecond\n\nbegun");
	say(&log, " and ended\n");
	app_log_write(&log, WIRE_STREAM_STDERR, "bad\n", 4);
	reader = open_reader(*state, NULL);
	expect(reader, "one", WIRE_STREAM_STDOUT, "first", false);
	expect(reader, "one", WIRE_STREAM_STDOUT, "second", false);
	expect(reader, "one", WIRE_STREAM_STDOUT, "", false);
	expect(reader, "one", WIRE_STREAM_STDOUT, "begun", true);
	expect(reader, "one", WIRE_STREAM_STDOUT, " and ended", false);
	expect(reader, "one", WIRE_STREAM_STDERR, "bad", false);
	expect_end(reader);
	app_log_reader_free(reader);
	app_log_close(&log);
}

static void apps_are_merged_in_the_order_of_time(void **state)
{
	struct app_log one = open_log(*state, "one"), two = open_log(*state, "two");
	struct app_log_reader *all, *only;

	for (unsigned int i = 0; i < 3; i++) {
		say(&one, "ping\n");
		say(&two, "pong\n");
	}
	all = open_reader(*state, NULL);
	only = open_reader(*state, "two");
	for (unsigned int i = 0; i < 3; i++) {
		expect(all, "one", WIRE_STREAM_STDOUT, "ping", false);
		expect(all, "two", WIRE_STREAM_STDOUT, "pong", false);
		expect(only, "two", WIRE_STREAM_STDOUT, "pong", false);
	}
	expect_end(all);
	expect_end(only);
	app_log_reader_free(all);
	app_log_reader_free(only);
	app_log_close(&one);
	app_log_close(&two);
}

static void log_keeps_the_last_lines_within_its_bound(void **state)
{
	struct log_fixture *fixture = *state;
	struct app_log log = open_log(fixture, "one");
	struct app_log_record record;
	struct app_log_reader *reader;
	unsigned int number = 0, last = 0;
	struct stat st;
	int64_t size = 0;
	char line[32];

	for (unsigned int i = 1; i <= 100000; i++) {
		snprintf(line, sizeof(line), "%u\n", i);
		say(&log, line);
	}
	assert_int_equal(fstatat(fixture->pod.fd, "logs/one/0.log", &st, 0), 0);
	size += st.st_size;
	assert_int_equal(fstatat(fixture->pod.fd, "logs/one/1.log", &st, 0), 0);
	size += st.st_size;
	assert_true(size <= (int64_t)APP_LOG_SIZE_MIN);
	assert_true(size >= (int64_t)APP_LOG_SIZE_MIN / 2);

	/* What is there has no gap, and goes to the end. */
	reader = open_reader(fixture, NULL);
	while (app_log_read(reader, &record) > 0) {
		number = (unsigned int)strtoul(record.text, NULL, 10);
		assert_true(last == 0 || number == last + 1);
		last = number;
	}
	assert_int_equal(last, 100000);
	app_log_reader_free(reader);
	app_log_close(&log);
}

static void reader_that_keeps_up_follows_over_rotations(void **state)
{
	struct app_log log = open_log(*state, "one");
	struct app_log_reader *reader = open_reader(*state, NULL);
	char line[1001];

	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	assert_int_equal(app_log_wait(reader, 0), 0);
	for (unsigned int i = 0; i < 3000; i++) {
		snprintf(line, 8, "%07u", i);
		line[7] = 'x';
		say(&log, line);
		if (i % 100 != 99)
			continue;
		assert_int_equal(app_log_wait(reader, 10000), 0);
		for (unsigned int j = i - 99; j <= i; j++) {
			struct app_log_record record;

			assert_int_equal(app_log_read(reader, &record), 1);
			assert_int_equal(strtoul(record.text, NULL, 10), j);
		}
		expect_end(reader);
	}
	app_log_reader_free(reader);
	app_log_close(&log);
}

static void app_that_comes_later_is_found(void **state)
{
	struct app_log_reader *reader = open_reader(*state, NULL);
	struct app_log log;

	expect_end(reader);
	assert_int_equal(app_log_wait(reader, 0), 0);
	log = open_log(*state, "late");
	say(&log, "here\n");
	assert_int_equal(app_log_wait(reader, 10000), 0);
	assert_int_equal(app_log_wait(reader, 0), 0);
	expect(reader, "late", WIRE_STREAM_STDOUT, "here", false);
	app_log_reader_free(reader);
	app_log_close(&log);
}

/* The first one's last line is there to be read, and then the other's, in whatever directory they are by then. */
static void app_of_the_same_name_is_followed_when_the_first_is_gone(void **state)
{
	struct log_fixture *fixture = *state;
	struct app_log_reader *reader = open_reader(fixture, "twice");
	struct app_log log;

	assert_int_equal(app_log_wait(reader, 0), 0);
	for (unsigned int i = 0; i < 3; i++) {
		log = open_log(fixture, "twice");
		say(&log, "first\n");
		assert_int_equal(app_log_wait(reader, 10000), 0);
		expect(reader, "twice", WIRE_STREAM_STDOUT, "first", false);
		say(&log, "last\n");
		app_log_close(&log);
		assert_int_equal(
			renameat(fixture->pod.fd, "logs/twice", fixture->pod.fd, "gone"), 0);
		log = open_log(fixture, "twice");
		say(&log, "another\n");
		assert_int_equal(app_log_wait(reader, 10000), 0);
		expect(reader, "twice", WIRE_STREAM_STDOUT, "last", false);
		expect(reader, "twice", WIRE_STREAM_STDOUT, "another", false);
		expect_end(reader);
		app_log_close(&log);
		assert_int_equal(directory_remove(fixture->pod.fd, "gone"), 0);
		assert_int_equal(directory_remove(fixture->pod.fd, "logs/twice"), 0);
	}
	app_log_reader_free(reader);
}

static void damage_is_passed_over(void **state)
{
	struct log_fixture *fixture = *state;
	struct app_log log = open_log(fixture, "one");
	_cleanup_close_ int fd = openat(fixture->pod.fd, "logs/one/0.log", O_WRONLY | O_APPEND);
	struct app_log_reader *reader;
	char junk[100000];

	memset(junk, 'j', sizeof(junk));
	say(&log, "before\n");
	assert_int_equal(file_write_all(fd, "2026-11-22 nonsense\n\n", 21), 0);
	say(&log, "between\n");
	assert_int_equal(file_write_all(fd, junk, sizeof(junk)), 0);
	say(&log, "the line that the junk swallows\n");
	say(&log, "after\n");
	assert_int_equal(file_write_all(fd, "2026-11-22T12:00:00.0000", 24), 0);
	reader = open_reader(fixture, NULL);
	expect(reader, "one", WIRE_STREAM_STDOUT, "before", false);
	expect(reader, "one", WIRE_STREAM_STDOUT, "between", false);
	expect(reader, "one", WIRE_STREAM_STDOUT, "after", false);
	expect_end(reader);
	app_log_reader_free(reader);
	app_log_close(&log);
}

/* A file that must not grow stands for a full disk. */
static void full_disk_leaves_whole_records(void **state)
{
	struct log_fixture *fixture = *state;
	struct app_log log = open_log(fixture, "one");
	struct rlimit limit, old;
	struct app_log_reader *reader;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){.rlim_cur = 100, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	say(&log, "fits\n");
	say(&log, "this one is too long to fit into what is left of the file, and is left out\n");
	say(&log, "as is this, whose beginning would have had room for itself in the same file\n");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(log.is_broken);
	say(&log, "there is room again\n");
	reader = open_reader(fixture, NULL);
	expect(reader, "one", WIRE_STREAM_STDOUT, "fits", false);
	expect(reader, "one", WIRE_STREAM_STDOUT, "there is room again", false);
	expect_end(reader);
	app_log_reader_free(reader);
	app_log_close(&log);
}

static void log_of_an_app_goes_on_where_it_ended(void **state)
{
	struct app_log log = open_log(*state, "one");
	struct app_log_reader *reader;

	say(&log, "first\n");
	app_log_close(&log);
	log = open_log(*state, "one");
	say(&log, "second\n");
	app_log_close(&log);
	reader = open_reader(*state, NULL);
	expect(reader, "one", WIRE_STREAM_STDOUT, "first", false);
	expect(reader, "one", WIRE_STREAM_STDOUT, "second", false);
	app_log_reader_free(reader);
}

#define LOG_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(lines_and_their_beginnings_are_records),
		LOG_TEST(apps_are_merged_in_the_order_of_time),
		LOG_TEST(log_keeps_the_last_lines_within_its_bound),
		LOG_TEST(reader_that_keeps_up_follows_over_rotations),
		LOG_TEST(app_that_comes_later_is_found),
		LOG_TEST(app_of_the_same_name_is_followed_when_the_first_is_gone),
		LOG_TEST(damage_is_passed_over),
		LOG_TEST(full_disk_leaves_whole_records),
		LOG_TEST(log_of_an_app_goes_on_where_it_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
