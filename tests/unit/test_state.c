// SPDX-License-Identifier: Apache-2.0
/* test_state.c: sections come back as they were put, and damaged ones not at all. */
#include "base/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TAG_FIRST  STATE_TAG('O', 'N', 'E', '.')
#define TAG_SECOND STATE_TAG('T', 'W', 'O', '.')

static void write_two(struct state_writer *writer)
{
	state_begin(writer, TAG_FIRST, 3);
	state_put_u32(writer, 0x01020304);
	state_put_u64(writer, UINT64_MAX);
	state_put_bytes(writer, "text", 4);
	state_end(writer);
	state_begin(writer, TAG_SECOND, 1);
	state_put(writer, "raw", 3);
	state_put_bytes(writer, NULL, 0);
	state_end(writer);
	assert_int_equal(writer->error, 0);
}

/* Reads what write_two() wrote; 0, or the error of the first step that failed. */
static int read_two(const void *data, size_t length, struct error *err)
{
	struct state_reader reader;
	const void *bytes;
	char raw[3];
	size_t size;
	int r;

	state_reader_init(&reader, data, length);
	r = state_open(&reader, TAG_FIRST, 3, err);
	if (r < 0)
		return r;
	if (state_get_u32(&reader) != 0x01020304 || state_get_u64(&reader) != UINT64_MAX)
		return reader.error ? reader.error : -EDOM;
	size = state_get_bytes(&reader, 4, &bytes);
	if (size != 4 || memcmp(bytes, "text", 4))
		return reader.error ? reader.error : -EDOM;
	r = state_close(&reader, err);
	if (r < 0)
		return r;
	r = state_open(&reader, TAG_SECOND, 1, err);
	if (r < 0)
		return r;
	state_get(&reader, raw, sizeof(raw));
	if (memcmp(raw, "raw", 3))
		return reader.error ? reader.error : -EDOM;
	if (state_get_bytes(&reader, 100, &bytes) != 0)
		return -EDOM;
	r = state_close(&reader, err);
	return r == 0 && reader.next != reader.length ? -EDOM : r;
}

static void sections_come_back_as_they_were_put(void **state)
{
	struct state_writer writer = {0};
	struct error err;

	(void)state;
	write_two(&writer);
	assert_int_equal(read_two(writer.data, writer.length, &err), 0);
	state_writer_done(&writer);
}

static void state_grows_as_it_is_needed(void **state)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	struct error err;

	(void)state;
	state_begin(&writer, TAG_FIRST, 1);
	for (uint32_t i = 0; i < 1u << 20; i++)
		state_put_u32(&writer, i);
	state_end(&writer);
	assert_int_equal(writer.error, 0);
	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(state_open(&reader, TAG_FIRST, 1, &err), 0);
	for (uint32_t i = 0; i < 1u << 20; i++)
		if (state_get_u32(&reader) != i)
			fail_msg("number %u", i);
	assert_int_equal(state_close(&reader, &err), 0);
	state_writer_done(&writer);
}

static void state_that_is_too_long_is_an_error_that_stays(void **state)
{
	static const uint8_t block[1u << 20];
	struct state_writer writer = {0};

	(void)state;
	state_begin(&writer, TAG_FIRST, 1);
	for (size_t i = 0; i < STATE_SIZE_MAX / sizeof(block); i++)
		state_put(&writer, block, sizeof(block));
	assert_int_equal(writer.error, -EFBIG);
	state_put_u32(&writer, 1); /* there would be room again for this */
	state_end(&writer);
	assert_int_equal(writer.error, -EFBIG);
	state_writer_done(&writer);

	state_put(&writer, block, SIZE_MAX);
	assert_int_equal(writer.error, -EFBIG);
	state_writer_done(&writer);
}

/* An allocation of that size each time: ASan sees a byte too much. */
static void state_cut_anywhere_is_refused(void **state)
{
	struct state_writer writer = {0};

	(void)state;
	write_two(&writer);
	for (size_t length = 0; length < writer.length; length++) {
		uint8_t *copy = malloc(length ? length : 1);
		struct error err = {0};

		assert_non_null(copy);
		memcpy(copy, writer.data, length);
		assert_int_equal(read_two(copy, length, &err), -EBADMSG);
		assert_true(err.message[0] != '\0');
		free(copy);
	}
	state_writer_done(&writer);
}

static void other_tag_or_version_is_refused_with_both_named(void **state)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	struct error err;

	(void)state;
	write_two(&writer);
	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(state_open(&reader, TAG_SECOND, 3, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "ONE."));
	assert_non_null(strstr(err.message, "TWO."));
	/* The error stays. */
	assert_int_equal(state_open(&reader, TAG_FIRST, 3, &err), -EBADMSG);
	assert_int_equal(state_get_u32(&reader), 0);

	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(state_open(&reader, TAG_FIRST, 4, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "version 3"));

	writer.data[0] = '\033'; /* a tag that is no text does not reach the terminal */
	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(state_open(&reader, TAG_FIRST, 3, &err), -EBADMSG);
	assert_null(strchr(err.message, '\033'));
	state_writer_done(&writer);
}

static void section_must_be_read_to_its_end(void **state)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	struct error err;

	(void)state;
	write_two(&writer);
	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(state_open(&reader, TAG_FIRST, 3, &err), 0);
	state_get_u32(&reader);
	assert_int_equal(state_close(&reader, &err), -EBADMSG);
	state_writer_done(&writer);
}

static void reading_past_a_section_gives_zeros_and_an_error(void **state)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	uint8_t bytes[64];
	struct error err;

	(void)state;
	write_two(&writer);
	state_reader_init(&reader, writer.data, writer.length);
	assert_int_equal(state_open(&reader, TAG_FIRST, 3, &err), 0);
	memset(bytes, 0xee, sizeof(bytes));
	state_get(&reader, bytes, sizeof(bytes)); /* the second section lies behind */
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	assert_int_equal(reader.error, -EBADMSG);
	assert_int_equal(state_get_u32(&reader), 0);
	assert_int_equal(state_close(&reader, &err), -EBADMSG);
	state_writer_done(&writer);
}

static void bytes_longer_than_expected_or_than_the_section_are_refused(void **state)
{
	static const uint64_t lengths[] = {5, 0x100, 1ull << 32, 1ull << 63, UINT64_MAX};
	struct state_writer writer = {0};
	struct state_reader reader;
	const void *bytes = "";
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (size_t max = 4; max; max = max == 4 ? SIZE_MAX : 0) {
			state_begin(&writer, TAG_FIRST, 1);
			state_put_u64(&writer, lengths[i]);
			state_put(&writer, "text", 4);
			state_end(&writer);
			state_reader_init(&reader, writer.data, writer.length);
			assert_int_equal(state_open(&reader, TAG_FIRST, 1, &err), 0);
			assert_int_equal(state_get_bytes(&reader, max, &bytes), 0);
			assert_null(bytes);
			assert_int_equal(reader.error, -EBADMSG);
			state_writer_done(&writer);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_come_back_as_they_were_put),
		cmocka_unit_test(state_grows_as_it_is_needed),
		cmocka_unit_test(state_that_is_too_long_is_an_error_that_stays),
		cmocka_unit_test(state_cut_anywhere_is_refused),
		cmocka_unit_test(other_tag_or_version_is_refused_with_both_named),
		cmocka_unit_test(section_must_be_read_to_its_end),
		cmocka_unit_test(reading_past_a_section_gives_zeros_and_an_error),
		cmocka_unit_test(bytes_longer_than_expected_or_than_the_section_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
