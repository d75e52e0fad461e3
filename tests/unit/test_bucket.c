// SPDX-License-Identifier: Apache-2.0
/* test_bucket.c: when a bucket lets requests through. */
#include "virtio/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS    1000000ull
#define START 5000000000ull

static void what_is_within_the_rate_is_due_at_once(void **state)
{
	struct bucket bucket = {0};

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(
			bucket_take(&bucket, 1000, 10, START + i * 10 * MS), START + i * 10 * MS);
}

static void what_is_over_the_rate_is_due_when_it_is_paid_for(void **state)
{
	struct bucket bucket = {0};

	(void)state;
	/* Ten at once are 100 ms ahead, as far as that goes; from then on each waits 10 ms more. */
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(bucket_take(&bucket, 100, 1, START), START);
	for (uint64_t i = 1; i <= 200; i++)
		assert_int_equal(bucket_take(&bucket, 100, 1, START), START + i * 10 * MS);
}

static void time_without_requests_is_not_saved_up(void **state)
{
	struct bucket bucket = {0};
	const uint64_t later = START + 3600 * 1000 * MS;

	(void)state;
	bucket_take(&bucket, 100, 1, START);
	assert_int_equal(bucket_take(&bucket, 100, 10, later), later);
	assert_int_equal(bucket_take(&bucket, 100, 1, later), later + 10 * MS);
}

static void smallest_rates_wait_for_ever_and_no_less(void **state)
{
	struct bucket bucket = {0};
	uint64_t due = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint64_t next = bucket_take(&bucket, 1, 1u << 20, START);

		assert_true(next >= due);
		due = next;
	}
	assert_int_equal(due, UINT64_MAX - BUCKET_AHEAD);
	assert_int_equal(bucket_take(&bucket, UINT64_MAX, UINT64_MAX, START), due);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_within_the_rate_is_due_at_once),
		cmocka_unit_test(what_is_over_the_rate_is_due_when_it_is_paid_for),
		cmocka_unit_test(time_without_requests_is_not_saved_up),
		cmocka_unit_test(smallest_rates_wait_for_ever_and_no_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
