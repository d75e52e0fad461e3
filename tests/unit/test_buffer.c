// SPDX-License-Identifier: Apache-2.0
/* Memory that grows. */
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void it_begins_with_the_least_room_that_is_enough_by_doubling(void **state)
{
	char *buffer = NULL;
	size_t room = 0;

	(void)state;
	assert_int_equal(buffer_reserve(&buffer, &room, 0, 65, 16), 0);
	assert_int_equal(room, 128);
	memset(buffer, 'x', room);
	free(buffer);
}

static void what_is_in_it_stays_and_there_is_room_behind_it(void **state)
{
	char *buffer = NULL;
	size_t room = 0, length = 0;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(buffer_reserve(&buffer, &room, length, sizeof(i), 16), 0);
		memcpy(buffer + length, &i, sizeof(i));
		length += sizeof(i);
	}
	for (size_t i = 0; i < 1000; i++)
		assert_memory_equal(buffer + i * sizeof(i), &i, sizeof(i));
	free(buffer);
}

static void where_there_is_room_nothing_moves(void **state)
{
	char *buffer = NULL, *before;
	size_t room = 0;

	(void)state;
	assert_int_equal(buffer_reserve(&buffer, &room, 0, 16, 16), 0);
	before = buffer;
	assert_int_equal(buffer_reserve(&buffer, &room, 10, 6, 16), 0);
	assert_ptr_equal(buffer, before);
	assert_int_equal(room, 16);
	free(buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_begins_with_the_least_room_that_is_enough_by_doubling),
		cmocka_unit_test(what_is_in_it_stays_and_there_is_room_behind_it),
		cmocka_unit_test(where_there_is_room_nothing_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
