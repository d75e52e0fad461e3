// SPDX-License-Identifier: Apache-2.0
/*
 * test_run_apps.c: what a supervisor makes of requests about the app of a mutable pod, whose guest and clients a test plays;
 * and what it tells its guest where memory is short. To be linked with --wrap=malloc and --wrap=realloc.
 */
#include "pod/record.h"
#include "tests/unit/supervised.h"

#include <sys/stat.h>

#define NUMBER 7

static const char manifest[] =
	"{\"acVersion\":\"0.8.11\",\"acKind\":\"PodManifest\",\"apps\":[{\"name\":\"main\",\"image\":{\"id\":\"sha512-01\"},"
	"\"app\":{\"exec\":[\"/bin/work\",\"--hard\"],\"user\":\"0\",\"group\":\"0\",\"supplementaryGIDs\":[4,5],"
	"\"environment\":[{\"name\":\"VAR\",\"value\":\"1\"}],\"ports\":[{\"name\":\"web\",\"protocol\":\"tcp\",\"port\":80,"
	"\"socketActivated\":true}],\"eventHandlers\":[{\"name\":\"post-stop\",\"exec\":[\"/bin/after\"]}]}}]}";

/* ---- memory */

static unsigned int until_failure; /* so many allocations from now on one fails; 0: none does */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return until_failure > 0 && --until_failure == 0 ? NULL : __real_malloc(size);
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
	return until_failure > 0 && --until_failure == 0 ? NULL : __real_realloc(memory, size);
}

/* ---- the pod: "main" has ended, with status 3 */

static struct resolved_pod *resolved;

static void add_main(void)
{
	struct appc_runtime_app *app = &resolved->manifest->apps[0];

	resolved->apps[0] = (struct resolved_app){
		.name = app->name,
		.number = NUMBER,
		.app = app->app,
		.memory_max = 1 << 20,
		.memory_low = -1,
		.cpu_millis = 500,
		.mounts = calloc(1, sizeof(struct resolved_mount)),
		.mount_count = 1,
		.sockets = calloc(1, sizeof(struct resolved_socket)),
		.socket_count = 1,
	};
	resolved->apps[0].mounts[0].volume = strdup("main.data");
	resolved->apps[0].mounts[0].target = strdup("/data");
	resolved->apps[0].sockets[0] =
		(struct resolved_socket){.port = &app->app->ports[0], .number = 80};
	resolved->app_count = 1;
	resolved->volumes = calloc(1, sizeof(struct resolved_volume));
	resolved->volumes[0].name = strdup("main.data");
	resolved->volume_count = 1;
}

static int set_up_apps(void **state)
{
	struct pod_app_record record = POD_APP_RECORD_NONE;
	struct fixture *fixture;
	struct supervisor *s;

	set_up(state);
	fixture = *state;
	s = &fixture->s;
	resolved = calloc(1, sizeof(*resolved));
	assert_non_null(resolved);
	assert_int_equal(
		appc_pod_manifest_parse(manifest, strlen(manifest), &resolved->manifest, NULL), 0);
	resolved->is_mutable = true;
	resolved->input_app = -1;
	resolved->apps = calloc(WIRE_APPS_MAX, sizeof(resolved->apps[0]));
	resolved->isolators = json_pack("{s:{}, s:{}}", "pod", "apps");
	add_main();
	s->resolved = s->output.resolved = resolved;
	s->mutable = (struct pod_mutable){
		.pod = &fixture->pod, .resolved = resolved, .places = POD_TREE_PLACES_NONE};
	s->apps = calloc(WIRE_APPS_MAX, sizeof(s->apps[0]));
	s->apps[0] = (struct app_run){.state = APP_EXITED,
		.created_at = 1,
		.started_at = 2,
		.finished_at = 3,
		.status = 3};
	record.created_at = 1;
	record.exit_code = 3;
	assert_int_equal(pod_app_record_write(&fixture->pod, "main", &record), 0);
	assert_int_equal(directory_create_path(fixture->pod.fd, "overlay/main/upper", 0750), 0);
	assert_int_equal(pod_output_init(&s->output), 0);
	return 0;
}

static int tear_down_apps(void **state)
{
	struct fixture *fixture = *state;
	struct supervisor *s = &fixture->s;

	supervisor_apps_done(s);
	pod_output_done(&s->output);
	free(s->apps);
	resolved_pod_free(resolved);
	return tear_down(state);
}

static bool pod_has(const struct fixture *fixture, const char *path)
{
	return faccessat(fixture->pod.fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- the clients */

/* Returns the client's end. failure: which allocation of the supervisor's fails; 0: none. */
static int ask_short(struct fixture *fixture, const char *action, unsigned int failure)
{
	_cleanup_json_ json_t *message =
		json_pack("{s:s, s:s, s:s}", "type", "app", "action", action, "app", "main");
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	until_failure = failure;
	supervisor_app_request(&fixture->s, message, fds[0]);
	until_failure = 0;
	return fds[1];
}

static int ask(struct fixture *fixture, const char *action)
{
	return ask_short(fixture, action, 0);
}

/* answer: "ok", the reason of a refusal, or NULL: there is none yet. The client is gone after the first two. */
static void expect_answer(int client, const char *answer)
{
	_cleanup_json_ json_t *message = NULL;
	const char *heard;
	char text[POD_REQUEST_MAX];
	ssize_t n = recv(client, text, sizeof(text), MSG_DONTWAIT);

	if (!answer) {
		assert_int_equal(n, -1);
		return;
	}
	assert_true(n > 0);
	assert_int_equal(wire_message_decode(text, (size_t)n, &message, NULL), 0);
	heard = json_string_value(json_object_get(message, "message"));
	assert_string_equal(heard ? heard : wire_type(message), answer);
	close(client);
}

/* ---- the guest */

/* The types of the messages that it has got, each with a space behind it; and the number in the last that has one. */
static json_int_t expect_told(struct fixture *fixture, const char *types)
{
	struct wire_reader reader;
	char heard[256] = "";
	json_int_t number = -1;

	wire_reader_init(&reader, WIRE_FRAME_MAX_TO_GUEST);
	while (wire_reader_fill(&reader, fixture->guest) > 0)
		;
	for (;;) {
		_cleanup_json_ json_t *message = NULL;

		if (wire_reader_next(&reader, &message, NULL) <= 0)
			break;
		assert_string_equal(json_string_value(json_object_get(message, "app"))
				? json_string_value(json_object_get(message, "app"))
				: json_string_value(
					  json_object_get(json_object_get(message, "app"), "name")),
			"main");
		snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%s ",
			wire_type(message));
		if (json_object_get(message, "number"))
			number = json_integer_value(json_object_get(message, "number"));
	}
	wire_reader_done(&reader);
	assert_string_equal(heard, types);
	return number;
}

/* With the status where it is not negative. */
static void guest_says_of_main(struct fixture *fixture, const char *type, int status)
{
	json_t *message = json_pack("{s:s, s:s}", "type", type, "app", "main");

	if (status >= 0)
		json_object_set_new(message, "status", json_integer(status));
	guest_says(fixture, message);
	assert_int_equal(supervisor_control_ready(&fixture->s), 0);
}

static void run_main(struct fixture *fixture)
{
	int client = ask(fixture, "start");

	expect_told(fixture, "start ");
	guest_says_of_main(fixture, "started", -1);
	expect_answer(client, "ok");
}

/* ---- requests */

static void who_asks_for_a_stop_again_waits_for_the_end_that_the_first_asked_for(void **state)
{
	struct fixture *fixture = *state;
	int first, second, third;

	for (unsigned int round = 0; round < 2; round++) {
		run_main(fixture);
		first = ask(fixture, "stop");
		expect_told(fixture, "stop ");
		second = ask(fixture, "stop");
		close(first);
		third = ask(fixture, "stop");
		expect_told(fixture, "");
		expect_answer(second, NULL);
		guest_says_of_main(fixture, "exited", 7);
		expect_answer(second, "ok");
		expect_answer(third, "ok");
	}
}

static void app_that_runs_is_removed_when_it_has_ended_whatever_becomes_of_who_asked(void **state)
{
	struct fixture *fixture = *state;
	int second, stopper;

	run_main(fixture);
	close(ask(fixture, "rm"));
	expect_told(fixture, "stop ");
	expect_answer(ask(fixture, "start"), "app \"main\" is being removed");
	second = ask(fixture, "rm");
	stopper = ask(fixture, "stop");
	expect_told(fixture, "");
	guest_says_of_main(fixture, "exited", 0);
	expect_answer(stopper, "ok");
	expect_answer(second, NULL);
	expect_told(fixture, "remove ");
	assert_int_equal(resolved->app_count, 0);
	expect_answer(ask(fixture, "start"), "the pod has no app \"main\"");
	assert_true(pod_has(fixture, "overlay/main"));
	guest_says_of_main(fixture, "removed", -1);
	expect_answer(second, "ok");
	assert_false(pod_has(fixture, "overlay/main"));
	assert_false(pod_has(fixture, "apps/main.json"));
}

static void app_is_removed_after_a_stop_that_another_asked_for(void **state)
{
	struct fixture *fixture = *state;
	int stopper, remover;

	run_main(fixture);
	stopper = ask(fixture, "stop");
	remover = ask(fixture, "rm");
	expect_told(fixture, "stop ");
	guest_says_of_main(fixture, "exited", 7);
	expect_told(fixture, "remove ");
	expect_answer(stopper, "ok");
	guest_says_of_main(fixture, "removed", -1);
	expect_answer(remover, "ok");
}

static void app_that_is_about_to_start_is_recorded_so_and_others_wait_with_the_first(void **state)
{
	struct fixture *fixture = *state;
	struct pod_app_record record = POD_APP_RECORD_NONE;
	int second;

	close(ask(fixture, "start"));
	expect_told(fixture, "start ");
	assert_int_equal(pod_app_record_read(&fixture->pod, "main", &record), 0);
	assert_int_equal(record.exit_code, -1);
	assert_int_equal(record.started_at, 0);
	assert_int_equal(record.created_at, 1);
	pod_app_record_done(&record);
	second = ask(fixture, "start");
	expect_told(fixture, "");
	expect_answer(second, NULL);
	guest_says_of_main(fixture, "started", -1);
	expect_answer(second, "ok");
	expect_answer(ask(fixture, "start"), "app \"main\" is running");
}

static void app_that_is_started_again_has_its_number_still(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned int i = 0; i < 3; i++) {
		int client = ask(fixture, "start");

		assert_int_equal(expect_told(fixture, "start "), NUMBER);
		guest_says_of_main(fixture, "exited", 203);
		expect_answer(client, "app \"main\" did not start: it ended before");
	}
}

/* ---- the end */

static void what_was_taken_away_is_forgotten_where_the_machine_starts_anew(void **state)
{
	struct fixture *fixture = *state;
	int remover = ask(fixture, "rm");

	expect_answer(remover, NULL);
	assert_true(pod_has(fixture, "overlay/main"));
	fixture->s.starts_anew = true;
	supervisor_apps_done(&fixture->s);
	expect_answer(remover, "ok");
	assert_false(pod_has(fixture, "overlay/main"));
	assert_false(pod_has(fixture, "apps/main.json"));
	supervisor_apps_init(&fixture->s);
}

static void who_waits_hears_why_it_comes_to_nothing(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned int i = 0; i < 2; i++) {
		int client = ask(fixture, "start");

		fixture->s.starts_anew = i == 1;
		supervisor_apps_done(&fixture->s);
		expect_answer(
			client, i == 1 ? "its machine starts anew: try again" : "it has ended");
		supervisor_apps_init(&fixture->s);
	}
	assert_true(pod_has(fixture, "overlay/main"));
}

/* ---- memory */

static void message_that_starts_an_app_is_whole_or_there_is_none(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_free_ char *whole = NULL;
	bool had_failure = true;

	for (unsigned int n = 0; had_failure; n++) {
		_cleanup_json_ json_t *message = NULL;
		_cleanup_free_ char *text = NULL;

		until_failure = n;
		message = pod_mutable_start_message(&fixture->s.mutable, 0);
		had_failure = n == 0 || until_failure == 0;
		until_failure = 0;
		text = message ? json_text(message, JSON_COMPACT) : NULL;
		if (n == 0)
			whole = TAKE_PTR(text);
		else if (text)
			assert_string_equal(text, whole);
		else
			assert_true(had_failure);
	}
	assert_non_null(strstr(whole, "memory_max"));
}

static void app_is_taken_away_and_the_guest_is_told_or_neither(void **state)
{
	struct fixture *fixture = *state;
	unsigned int failures = 0;
	int client;

	for (;;) {
		assert_true(pod_has(fixture, "overlay/main"));
		client = ask_short(fixture, "rm", failures + 1);
		if (resolved->app_count == 0)
			break;
		assert_int_equal(resolved->volume_count, 1);
		expect_told(fixture, "");
		close(client);
		failures++;
	}
	assert_in_range(failures, 5, 1000);
	expect_told(fixture, "remove ");
	guest_says_of_main(fixture, "removed", -1);
	expect_answer(client, "ok");
	assert_false(pod_has(fixture, "overlay/main"));
}

#define APPS_TEST(test) cmocka_unit_test_setup_teardown(test, set_up_apps, tear_down_apps)

int main(void)
{
	const struct CMUnitTest tests[] = {
		APPS_TEST(who_asks_for_a_stop_again_waits_for_the_end_that_the_first_asked_for),
		APPS_TEST(app_that_runs_is_removed_when_it_has_ended_whatever_becomes_of_who_asked),
		APPS_TEST(app_is_removed_after_a_stop_that_another_asked_for),
		APPS_TEST(app_that_is_about_to_start_is_recorded_so_and_others_wait_with_the_first),
		APPS_TEST(app_that_is_started_again_has_its_number_still),
		APPS_TEST(what_was_taken_away_is_forgotten_where_the_machine_starts_anew),
		APPS_TEST(who_waits_hears_why_it_comes_to_nothing),
		APPS_TEST(message_that_starts_an_app_is_whole_or_there_is_none),
		APPS_TEST(app_is_taken_away_and_the_guest_is_told_or_neither),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
