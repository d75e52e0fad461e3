// SPDX-License-Identifier: Apache-2.0
/* test_template.c: what a directory of templates promises, to one process and to several. */
#include "template_directory.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- what is written is read */

static void a_template_is_opened_as_it_was_built(void **state)
{
	struct fixture *fixture = *state;
	uint8_t sections[1000];
	struct template template;
	uint8_t *memory;

	fill(sections, sizeof(sections), 7);
	assert_int_equal(
		template_open(fixture->templates, key_a, &template, &fixture->err), -ENOENT);
	build(fixture, key_a, sections, sizeof(sections));
	assert_int_equal(names_left(fixture, NULL), 1);
	assert_int_equal(template_open(fixture->templates, key_a, &template, &fixture->err), 0);
	assert_int_equal(template.state_size, sizeof(sections));
	assert_memory_equal(template.state, sections, sizeof(sections));
	assert_true(faccessat(template.directory_fd, "info", F_OK, 0) == 0);

	/* A clone writes its own copy, and the next one finds what the first one found. */
	memory =
		mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, template.memory_fd, 0);
	assert_true(memory != MAP_FAILED);
	assert_memory_equal(memory + MEMORY_SIZE - 3, "end", 3);
	memory[MEMORY_SIZE - 1] = 'x';
	assert_int_equal(munmap(memory, MEMORY_SIZE), 0);
	template_close(&template);
	assert_opens(fixture, key_a);
	assert_int_equal(templates_verify(fixture->templates, key_a, &fixture->err), 0);
}

static void a_template_may_have_no_sections_at_all(void **state)
{
	struct fixture *fixture = *state;

	build(fixture, key_a, "", 0);
	assert_opens(fixture, key_a);
}

static void removing_a_template_does_not_disturb_who_has_it_open(void **state)
{
	struct fixture *fixture = *state;
	struct template template;
	char text[4] = "";

	build(fixture, key_a, "state", 5);
	assert_int_equal(template_open(fixture->templates, key_a, &template, &fixture->err), 0);
	assert_int_equal(templates_remove(fixture->templates, key_a, &fixture->err), 0);
	assert_int_equal(names_left(fixture, NULL), 0);
	assert_int_equal(pread(template.memory_fd, text, 3, MEMORY_SIZE - 3), 3);
	assert_string_equal(text, "end");
	template_close(&template);
	assert_int_equal(templates_remove(fixture->templates, key_a, &fixture->err), -ENOENT);
	assert_int_equal(templates_remove(fixture->templates, "../data", &fixture->err), -ENOENT);
}

/* ---- builders */

static void an_aborted_or_unfinished_build_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder;

	build_begin(fixture, key_a, &builder);
	write_memory(builder.memory_fd);
	assert_int_equal(names_left(fixture, ".tmp-"), 1);
	template_build_abort(&builder);
	assert_int_equal(names_left(fixture, NULL), 0);
	template_build_abort(&builder);

	/* The machine's process has written no state. */
	build_begin(fixture, key_a, &builder);
	write_memory(builder.memory_fd);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), -EBADMSG);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void memory_written_after_the_state_is_not_committed(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder;

	build_begin(fixture, key_a, &builder);
	build_write(&builder, "state", 5);
	assert_int_equal(ftruncate(builder.memory_fd, MEMORY_SIZE + 4096), 0);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), -EBADMSG);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void a_good_template_is_not_built_again_a_damaged_one_is(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder = TEMPLATE_BUILDER_NONE;
	uint8_t byte = 0;

	build(fixture, key_a, "state", 5);
	assert_int_equal(template_build_begin(fixture->templates, key_a, true, NULL, NULL, &builder,
				 &fixture->err),
		-EEXIST);
	assert_int_equal(builder.lock_fd, -1);
	write_state(fixture, key_a, &byte, 1);
	build(fixture, key_a, "state", 5);
	assert_opens(fixture, key_a);
	assert_int_equal(names_left(fixture, NULL), 1);
}

static void what_is_in_the_way_of_a_commit_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct template_builder builder;
	char path[256];

	build_begin(fixture, key_a, &builder);
	path_of(fixture, key_a, "", path);
	assert_int_equal(mkdir(path, 0700), 0);
	path_of(fixture, key_a, "junk", path);
	assert_int_equal(mkdir(path, 0700), 0);
	build_write(&builder, "state", 5);
	assert_int_equal(template_build_commit(&builder, &subject, &fixture->err), 0);
	assert_opens(fixture, key_a);
	assert_int_equal(names_left(fixture, NULL), 1);
}

/* A child that begins to build, and tells by a byte; it goes on after a byte from us. */
struct other_builder {
	pid_t pid;
	int from, to;
};

static void read_byte(int fd)
{
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
}

static struct other_builder start_other(struct fixture *fixture)
{
	int from[2], to[2];
	struct other_builder other;

	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	other = (struct other_builder){.pid = fork(), .from = from[0], .to = to[1]};
	assert_true(other.pid >= 0);
	if (other.pid == 0) {
		struct template_builder builder;

		close(from[0]);
		close(to[1]);
		build_begin(fixture, key_a, &builder);
		write_memory(builder.memory_fd);
		assert_int_equal(write(from[1], "b", 1), 1);
		read_byte(to[0]);
		build_write(&builder, "theirs", 6);
		_exit(template_build_commit(&builder, &subject, &fixture->err) == 0 ? 0 : 1);
	}
	close(from[1]);
	close(to[0]);
	read_byte(from[0]);
	return other;
}

static void end_other(struct other_builder *other, int expected)
{
	int status;

	assert_int_equal(waitpid(other->pid, &status, 0), other->pid);
	assert_int_equal(status, expected);
	close(other->from);
	close(other->to);
}

/* Lets the other builder go on when we are seen to wait. */
static int tell_and_release(void *context, unsigned int seconds)
{
	struct other_builder *other = context;

	assert_true(seconds < 60);
	if (other->to >= 0)
		assert_int_equal(write(other->to, "g", 1), 1);
	close(other->to);
	other->to = -1;
	return 0;
}

static int tell_and_give_up(void *context, unsigned int seconds)
{
	(void)context;
	(void)seconds;
	return 1;
}

static void of_two_builders_one_waits_for_the_other(void **state)
{
	struct fixture *fixture = *state;
	struct other_builder other = start_other(fixture);
	struct template_builder builder = TEMPLATE_BUILDER_NONE;
	struct template template;

	assert_int_equal(template_build_begin(fixture->templates, key_a, false, NULL, NULL,
				 &builder, &fixture->err),
		-EAGAIN);
	assert_int_equal(template_build_begin(fixture->templates, key_a, true, tell_and_give_up,
				 NULL, &builder, &fixture->err),
		-ECANCELED);
	/* Another key is nobody's business. */
	build(fixture, key_b, "ours", 4);
	assert_int_equal(template_build_begin(fixture->templates, key_a, true, tell_and_release,
				 &other, &builder, &fixture->err),
		-EEXIST);
	end_other(&other, 0);
	assert_int_equal(template_open(fixture->templates, key_a, &template, &fixture->err), 0);
	assert_memory_equal(template.state, "theirs", 6);
	template_close(&template);
	assert_int_equal(names_left(fixture, NULL), 2);
}

static void what_a_killed_builder_left_is_collected(void **state)
{
	struct fixture *fixture = *state;
	struct other_builder other = start_other(fixture);
	size_t removed;

	/* While it lives, it is left alone. */
	assert_int_equal(
		templates_collect(fixture->templates, 10, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(names_left(fixture, ".tmp-"), 1);
	assert_int_equal(names_left(fixture, key_a), 1);

	assert_int_equal(kill(other.pid, SIGKILL), 0);
	end_other(&other, SIGKILL);
	assert_int_equal(names_left(fixture, ".tmp-"), 1);
	assert_int_equal(
		templates_collect(fixture->templates, 10, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void after_a_killed_builder_the_next_one_builds(void **state)
{
	struct fixture *fixture = *state;
	struct other_builder other = start_other(fixture);

	assert_int_equal(kill(other.pid, SIGKILL), 0);
	end_other(&other, SIGKILL);
	build(fixture, key_a, "ours", 4);
	assert_opens(fixture, key_a);
	assert_int_equal(names_left(fixture, NULL), 1);
}

/* ---- all of them */

/* Used at that second. */
static void set_used(const struct fixture *fixture, const char *key, time_t second)
{
	struct timespec times[2] = {{.tv_sec = second}, {.tv_sec = second}};
	char path[256];

	path_of(fixture, key, "", path);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void build_three(struct fixture *fixture)
{
	build(fixture, key_a, "a", 1);
	build(fixture, key_b, "b", 1);
	build(fixture, key_c, "c", 1);
	set_used(fixture, key_a, 2000);
	set_used(fixture, key_b, 3000);
	set_used(fixture, key_c, 1000);
}

static void the_list_begins_with_what_was_used_last(void **state)
{
	struct fixture *fixture = *state;
	struct template_info *list;
	size_t count;

	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 0);
	free(list);
	build_three(fixture);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 3);
	assert_string_equal(list[0].key, key_b);
	assert_string_equal(list[1].key, key_a);
	assert_string_equal(list[2].key, key_c);
	assert_int_equal(list[2].used_at, 1000 * 1000000000ll);
	assert_true(list[0].created_at > 3000 * 1000000000ll);
	assert_int_equal(list[0].vcpus, 2);
	assert_int_equal(list[0].memory, 128 * MIB);
	assert_true(list[0].shared);
	assert_false(list[0].is_pod);
	/* On disk it is as large as what was written, not as the machine. */
	assert_in_range(list[0].bytes, 3 * 4096, MEMORY_SIZE / 2);
	free(list);

	/* Being used makes it the first. */
	assert_opens(fixture, key_c);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_string_equal(list[0].key, key_c);
	free(list);
}

static void a_template_whose_info_is_damaged_is_listed_all_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct template_info *list;
	char path[256];
	size_t count;

	build(fixture, key_a, "a", 1);
	path_of(fixture, key_a, "info", path);
	assert_int_equal(file_write_atomic(AT_FDCWD, path, "{\"vcpus\": 99}", 13, 0600), 0);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].vcpus, 0);
	assert_int_equal(list[0].created_at, 0);
	assert_true(list[0].bytes > 0);
	free(list);
}

static void a_template_is_found_by_the_first_digits_of_its_key(void **state)
{
	struct fixture *fixture = *state;
	char key[TEMPLATE_KEY_SIZE];

	build_three(fixture);
	assert_int_equal(templates_find(fixture->templates, "cccc", key, &fixture->err), 0);
	assert_string_equal(key, key_c);
	assert_int_equal(templates_find(fixture->templates, key_b, key, &fixture->err), 0);
	assert_string_equal(key, key_b);
	assert_int_equal(templates_find(fixture->templates, "aaa", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_find(fixture->templates, "aaaa5", key, &fixture->err), 0);
	assert_string_equal(key, key_a);
	assert_int_equal(templates_find(fixture->templates, "dddd", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_find(fixture->templates, "../..", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_remove(fixture->templates, key_c, &fixture->err), 0);
	assert_int_equal(templates_find(fixture->templates, "cccc", key, &fixture->err), -ENOENT);
}

static void an_ambiguous_prefix_is_refused(void **state)
{
	static const char other[] =
		"aaaa567890123456789012345678901234567890123456789012345678901235";
	struct fixture *fixture = *state;
	char key[TEMPLATE_KEY_SIZE];

	build(fixture, key_a, "a", 1);
	build(fixture, other, "b", 1);
	assert_int_equal(templates_find(fixture->templates, "aaaa56", key, &fixture->err), -EEXIST);
	assert_int_equal(templates_find(fixture->templates, other, key, &fixture->err), 0);
}

static void collection_keeps_the_most_recently_used(void **state)
{
	struct fixture *fixture = *state;
	struct template_info *list;
	size_t removed, count;
	uint64_t bytes;

	build_three(fixture);
	assert_int_equal(
		templates_collect(fixture->templates, 3, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(
		templates_collect(fixture->templates, 2, UINT64_MAX, &removed, &fixture->err), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].key, key_b);
	assert_string_equal(list[1].key, key_a);
	bytes = list[0].bytes + list[1].bytes;
	free(list);

	assert_int_equal(
		templates_collect(fixture->templates, 3, bytes, &removed, &fixture->err), 0);
	assert_int_equal(removed, 0);
	assert_int_equal(
		templates_collect(fixture->templates, 3, bytes - 1, &removed, &fixture->err), 0);
	assert_int_equal(removed, 1);
	assert_opens(fixture, key_b);
	assert_int_equal(templates_collect(fixture->templates, 0, 0, &removed, &fixture->err), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(names_left(fixture, NULL), 0);
}

static void a_new_template_takes_the_place_of_the_least_recently_used(void **state)
{
	struct fixture *fixture = *state;
	char key[TEMPLATE_KEY_SIZE];
	struct template_info *list;
	size_t count;

	memcpy(key, key_a, sizeof(key));
	for (int i = 0; i <= TEMPLATES_COUNT_MAX; i++) {
		key[0] = "0123456789abcdef"[i % 16];
		key[1] = "0123456789abcdef"[i / 16];
		build(fixture, key, "state", 5);
		set_used(fixture, key, i == 3 ? 1 : 1000 + i);
	}
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, TEMPLATES_COUNT_MAX);
	free(list);
	assert_int_equal(templates_find(fixture->templates, "30aa", key, &fixture->err), -ENOENT);
	assert_int_equal(templates_find(fixture->templates, "00aa", key, &fixture->err), 0);
}

static void those_that_are_kept_stay_when_damaged_or_many(void **state)
{
	struct fixture *fixture = *state;
	struct template template;
	char path[256], key[TEMPLATE_KEY_SIZE];
	struct template_info *list;
	size_t count;

	templates_keep(fixture->templates, "thing");
	for (unsigned int i = 0; i <= TEMPLATES_COUNT_MAX; i++) {
		snprintf(key, sizeof(key), "%04x%s", i, key_c + 4);
		build(fixture, key, "", 0);
	}
	assert_int_equal(templates_list(fixture->templates, &list, &count, &fixture->err), 0);
	assert_int_equal(count, TEMPLATES_COUNT_MAX + 1);
	free(list);
	path_of(fixture, key, "state", path);
	assert_int_equal(truncate(path, 100), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			template_open(fixture->templates, key, &template, &fixture->err), -EBADMSG);
	assert_int_equal(templates_find(fixture->templates, "abcd", key, &fixture->err), -ENOENT);
	assert_string_equal(fixture->err.message, "there is no thing \"abcd\"");
}

static void a_directory_that_others_can_write_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct templates *templates;

	assert_int_equal(mkdirat(fixture->fd, "open", 0700), 0);
	assert_int_equal(fchmodat(fixture->fd, "open", 0777, 0), 0);
	assert_int_equal(templates_open(fixture->fd, "open", &templates, &fixture->err), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_template_is_opened_as_it_was_built),
		TEST(a_template_may_have_no_sections_at_all),
		TEST(removing_a_template_does_not_disturb_who_has_it_open),
		TEST(an_aborted_or_unfinished_build_leaves_nothing),
		TEST(memory_written_after_the_state_is_not_committed),
		TEST(a_good_template_is_not_built_again_a_damaged_one_is),
		TEST(what_is_in_the_way_of_a_commit_is_replaced),
		TEST(of_two_builders_one_waits_for_the_other),
		TEST(what_a_killed_builder_left_is_collected),
		TEST(after_a_killed_builder_the_next_one_builds),
		TEST(the_list_begins_with_what_was_used_last),
		TEST(a_template_whose_info_is_damaged_is_listed_all_the_same),
		TEST(a_template_is_found_by_the_first_digits_of_its_key),
		TEST(an_ambiguous_prefix_is_refused),
		TEST(collection_keeps_the_most_recently_used),
		TEST(a_new_template_takes_the_place_of_the_least_recently_used),
		TEST(those_that_are_kept_stay_when_damaged_or_many),
		TEST(a_directory_that_others_can_write_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
