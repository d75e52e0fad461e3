// SPDX-License-Identifier: Apache-2.0
/* test_run_pause.c: in which order a supervisor takes what a machine that is saved, its guest and its client say. */
#include "pod/pause.h"
#include "pod/record.h"
#include "tests/unit/moved_clock.h"
#include "tests/unit/supervised.h"

/* As many as are taken in one turn, and more. */
#define MANY_MESSAGES 70

static void guest_says_exited(struct fixture *fixture)
{
	guest_says(fixture,
		json_pack("{s:s, s:s, s:i}", "type", "exited", "app", "main", "status", 3));
}

/* The order that came to the machine; -1: none. */
static int order(struct fixture *fixture)
{
	int32_t number;

	return recv(fixture->machine, &number, sizeof(number), MSG_DONTWAIT) == sizeof(number)
		? (int)number
		: -1;
}

/* Whether the client has heard an answer of this type; NULL: none. */
static bool client_heard(struct fixture *fixture, const char *type)
{
	_cleanup_json_ json_t *answer = NULL;
	char text[POD_REQUEST_MAX];
	ssize_t n = recv(fixture->client, text, sizeof(text), MSG_DONTWAIT);

	if (n < 0)
		return !type;
	return type && n > 0 && wire_message_decode(text, (size_t)n, &answer, NULL) == 0 &&
		!strcmp(wire_type(answer), type);
}

static void what_a_guest_said_is_recorded_before_the_client_hears_that_it_is_saved(void **state)
{
	struct fixture *fixture = *state;
	struct pod_app_record record = POD_APP_RECORD_NONE;

	fixture->s.pause = PAUSE_ASKED;
	for (int i = 0; i < MANY_MESSAGES; i++)
		guest_says(fixture,
			json_pack("{s:s, s:s}", "type", "warning", "message", "of little"));
	guest_says_exited(fixture);
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	/* There is more to hear first. */
	assert_true(fixture->s.more);
	assert_true(client_heard(fixture, NULL));
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_int_equal(fixture->run.state, APP_EXITED);
	assert_int_equal(pod_app_record_read(&fixture->pod, "main", &record), 0);
	assert_int_equal(record.exit_code, 3);
	pod_app_record_done(&record);
	assert_true(client_heard(fixture, "saved"));
	assert_int_equal(fixture->s.pause, PAUSE_SAVED);
	assert_int_equal(order(fixture), -1);
}

static void a_pod_that_had_ended_is_not_saved_and_goes_on_to_its_end(void **state)
{
	struct fixture *fixture = *state;

	fixture->s.pause = PAUSE_ASKED;
	guest_says_exited(fixture);
	guest_says(fixture, json_pack("{s:s, s:i}", "type", "ended", "status", 3));
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_true(fixture->s.ended);
	assert_int_equal(fixture->s.status, 3);
	assert_true(client_heard(fixture, "refused"));
	assert_false(fixture->s.is_parked);
	assert_int_equal(order(fixture), MACHINE_ORDER_RESUME);
	assert_int_equal(fixture->s.pause, PAUSE_ENDING);
}

static void all_reports_are_taken_before_the_end_of_the_guests_messages_is(void **state)
{
	struct fixture *fixture = *state;

	fixture->s.pause = PAUSE_ORDERED;
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_WILL_SAVE);
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_REFUSED);
	machine_reports(fixture, FLAVOUR_ENDED, 0);
	cleanup_close(&fixture->guest);
	fixture->guest = -1;
	assert_int_equal(supervisor_turn(&fixture->s), -EPIPE);
	assert_true(fixture->s.reported);
	assert_true(client_heard(fixture, "refused"));
}

static void reports_of_a_machine_that_never_stops_keep_nobody(void **state)
{
	struct fixture *fixture = *state;
	struct flavour_report report = {.event = FLAVOUR_ANSWERED, .answer = MACHINE_RESUMED};

	fixture->s.pause = PAUSE_ASKED;
	for (int i = 0; i < 20; i++)
		if (send(fixture->machine, &report, sizeof(report), MSG_NOSIGNAL) < 0)
			fail();
	guest_says_exited(fixture);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_int_equal(fixture->run.state, APP_EXITED);
	/* Some are left. */
	assert_true(recv(fixture->s.process.report_fd, &report, sizeof(report), MSG_PEEK) > 0);
}

static void a_client_that_hangs_up_first_has_the_pod_go_on(void **state)
{
	struct fixture *fixture = *state;

	fixture->s.pause = PAUSE_ASKED;
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	cleanup_close(&fixture->client);
	fixture->client = -1;
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_int_equal(fixture->s.pause, PAUSE_ENDING);
	assert_int_equal(order(fixture), MACHINE_ORDER_RESUME);
	/* It says so, and only then is it as before. */
	guest_says(fixture, json_pack("{s:s}", "type", "resumed"));
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_int_equal(fixture->s.pause, PAUSE_NONE);
}

static void nobody_ends_a_pod_in_a_checkpoint_before_he_heard_that_it_is_saved(void **state)
{
	struct fixture *fixture = *state;

	fixture->s.pause = PAUSE_ASKED;
	assert_int_equal(pod_checkpoint_send(fixture->client, POD_CHECKPOINT_END, NULL), 0);
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_false(fixture->s.is_parked);
	assert_int_equal(fixture->s.pause, PAUSE_ENDING);
}

static void a_machine_that_goes_before_it_is_let_go_has_been_saved_all_the_same(void **state)
{
	struct fixture *fixture = *state;

	fixture->s.pause = PAUSE_ASKED;
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_true(client_heard(fixture, "saved"));
	assert_int_equal(pod_checkpoint_send(fixture->client, POD_CHECKPOINT_END, NULL), 0);
	cleanup_close(&fixture->guest);
	cleanup_close(&fixture->machine);
	fixture->guest = fixture->machine = -1;
	assert_int_equal(supervisor_turn(&fixture->s), 1);
	assert_true(fixture->s.is_parked);
}

static void a_machine_that_talks_on_after_it_was_saved_ends_there_all_the_same(void **state)
{
	struct fixture *fixture = *state;
	int r = 0;

	fixture->s.pause = PAUSE_ASKED;
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_int_equal(pod_checkpoint_send(fixture->client, POD_CHECKPOINT_END, NULL), 0);
	/* A second passes in each turn. */
	for (unsigned int turns = 0; r == 0; turns++) {
		guest_says(fixture, json_pack("{s:s, s:s}", "type", "warning", "message", "on"));
		assert_in_range(turns, 0, 10);
		r = supervisor_turn(&fixture->s);
		now += SECOND;
	}
	assert_int_equal(r, 1);
	assert_true(fixture->s.is_parked);
}

static void a_client_that_hangs_up_after_the_end_has_nobody_go_on(void **state)
{
	struct fixture *fixture = *state;

	fixture->s.pause = PAUSE_ASKED;
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_int_equal(pod_checkpoint_send(fixture->client, POD_CHECKPOINT_END, NULL), 0);
	assert_int_equal(supervisor_turn(&fixture->s), 0);
	assert_true(fixture->s.is_parked);
	cleanup_close(&fixture->client);
	fixture->client = -1;
	guest_says(fixture, json_pack("{s:s, s:s}", "type", "warning", "message", "on"));
	assert_in_range(supervisor_turn(&fixture->s), 0, 1);
	assert_int_equal(order(fixture), -1);
	assert_int_equal(fixture->s.pause, PAUSE_SAVED);
}

static void a_machine_that_goes_before_the_client_is_through_ends_the_pod(void **state)
{
	struct fixture *fixture = *state;

	fixture->s.pause = PAUSE_ASKED;
	machine_reports(fixture, FLAVOUR_ANSWERED, MACHINE_SAVED);
	cleanup_close(&fixture->guest);
	fixture->guest = -1;
	assert_int_equal(supervisor_turn(&fixture->s), -EPIPE);
	assert_false(fixture->s.is_parked);
	assert_true(client_heard(fixture, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_TEST(what_a_guest_said_is_recorded_before_the_client_hears_that_it_is_saved),
		RUN_TEST(a_pod_that_had_ended_is_not_saved_and_goes_on_to_its_end),
		RUN_TEST(all_reports_are_taken_before_the_end_of_the_guests_messages_is),
		RUN_TEST(reports_of_a_machine_that_never_stops_keep_nobody),
		RUN_TEST(a_client_that_hangs_up_first_has_the_pod_go_on),
		RUN_TEST(nobody_ends_a_pod_in_a_checkpoint_before_he_heard_that_it_is_saved),
		RUN_TEST(a_machine_that_goes_before_it_is_let_go_has_been_saved_all_the_same),
		RUN_TEST(a_machine_that_talks_on_after_it_was_saved_ends_there_all_the_same),
		RUN_TEST(a_client_that_hangs_up_after_the_end_has_nobody_go_on),
		RUN_TEST(a_machine_that_goes_before_the_client_is_through_ends_the_pod),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
