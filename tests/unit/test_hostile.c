// SPDX-License-Identifier: Apache-2.0
/*
 * test_hostile.c: every case of tests/hostile against the device model, under sanitizers. The same cases
 * run in a real machine in tests/functional/hostile.bats.
 */
#include "tests/hostile/cases.h"
#include "tests/hostile/driver.h"
#include "tests/hostile/in_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
	(void)state;
	in_process_set_up();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	in_process_tear_down();
	return 0;
}

static void run_case(void **state)
{
	const struct hostile_case *hostile = *state;

	assert_int_equal(
		in_process_run(hostile->run,
			hostile->flags & CASE_WINDOW ? IN_PROCESS_WINDOW : IN_PROCESS_PLAIN, false),
		0);
}

/* In the very machine in which all of them ran. */
static void a_good_driver_is_served_as_if_nothing_had_happened(void **state)
{
	(void)state;
	assert_int_equal(in_process_run(expect_alive, IN_PROCESS_PLAIN, false), 0);
}

static void answers_that_are_held_back_are_bounded(void **state)
{
	(void)state;
	for (size_t i = 0; i < hostile_case_count; i++)
		if (hostile_cases[i].group == 15)
			assert_int_equal(
				in_process_run(hostile_cases[i].run, IN_PROCESS_LIMITED, false), 0);
}

int main(void)
{
	struct CMUnitTest *tests = calloc(hostile_case_count + 2, sizeof(*tests));
	int r;

	for (size_t i = 0; i < hostile_case_count; i++)
		tests[i] = (struct CMUnitTest){.name = hostile_cases[i].name,
			.test_func = run_case,
			.initial_state = (void *)&hostile_cases[i]};
	tests[hostile_case_count] = (struct CMUnitTest)cmocka_unit_test(
		a_good_driver_is_served_as_if_nothing_had_happened);
	tests[hostile_case_count + 1] =
		(struct CMUnitTest)cmocka_unit_test(answers_that_are_held_back_are_bounded);
	r = _cmocka_run_group_tests("hostile", tests, hostile_case_count + 2, set_up, tear_down);
	free(tests);
	return r;
}
