// SPDX-License-Identifier: Apache-2.0
/* test_app_request.c: requests about the apps of a mutable pod, and apps that change pods. */
#include "base/file.h"
#include "base/json.h"
#include "pod/app_request.h"
#include "pod/request.h"
#include "pod/resolve.h"
#include "tests/unit/moved_clock.h"

#include <fcntl.h>
#include <string.h>

static int parse(const char *text, struct app_request *ret, struct error *err)
{
	_cleanup_json_ json_t *message = json_loads(text, 0, NULL);

	assert_non_null(message);
	return app_request_parse(message, ret, err);
}

static void app_to_be_added_is_checked_as_in_a_manifest(void **state)
{
	struct app_request request;
	struct error err = {0};

	(void)state;
	assert_int_equal(
		parse("{\"type\":\"app\",\"action\":\"add\",\"app\":{\"name\":\"web\",\"image\":{\"id\":"
		      "\"sha512-01\"},\"mounts\":[{\"volume\":\"data\",\"path\":\"/data\",\"appVolume\":"
		      "{\"name\":\"data\",\"kind\":\"empty\"}}]}}",
			&request, &err),
		0);
	assert_int_equal(request.action, APP_ADD);
	assert_null(request.app);
	assert_int_equal(request.manifest->app_count, 1);
	assert_string_equal(request.manifest->apps[0].name, "web");
	assert_non_null(request.manifest->apps[0].mounts[0].app_volume);
	app_request_clear(&request);
	assert_int_equal(
		parse("{\"type\":\"app\",\"action\":\"add\",\"app\":{\"name\":\"Web\",\"image\":{\"id\":"
		      "\"sha512-01\"}}}",
			&request, &err),
		-EINVAL);
	assert_true(err.message[0] != '\0');
	app_request_clear(&request);
}

static void others_name_an_app(void **state)
{
	static const struct {
		const char *name;
		enum app_action action;
	} actions[] = {{"start", APP_START}, {"stop", APP_STOP}, {"rm", APP_RM}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		_cleanup_json_ json_t *message = json_pack(
			"{s:s, s:s, s:s}", "type", "app", "action", actions[i].name, "app", "web");
		struct app_request request;

		assert_int_equal(app_request_parse(message, &request, NULL), 0);
		assert_int_equal(request.action, actions[i].action);
		assert_string_equal(request.app, "web");
		assert_null(request.manifest);
		app_request_clear(&request);
	}
}

static void what_is_no_request_is_refused_with_a_reason(void **state)
{
	static const char *const bad[] = {"{\"type\":\"app\"}",
		"{\"type\":\"app\",\"action\":\"move\",\"app\":\"web\"}",
		"{\"type\":\"app\",\"action\":1,\"app\":\"web\"}",
		"{\"type\":\"app\",\"action\":\"stop\"}",
		"{\"type\":\"app\",\"action\":\"stop\",\"app\":{}}",
		"{\"type\":\"app\",\"action\":\"add\",\"app\":\"web\"}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct app_request request;
		struct error err = {0};

		assert_int_equal(parse(bad[i], &request, &err), -EINVAL);
		assert_true(err.message[0] != '\0');
		app_request_clear(&request);
	}
}

/* The process that runs the pod takes the request, and waits for its guest. */
static void nobody_waits_for_ever_for_what_a_guest_does_not_say(void **state)
{
	static const enum app_action actions[] = {APP_START, APP_STOP, APP_RM};
	_cleanup_json_ json_t *app = json_string("web");
	char path[] = "/tmp/appc-app-XXXXXX";
	struct pod_requests requests;
	struct pod pod = POD_NONE;
	struct pods *pods;
	struct error err;
	int dirfd;

	(void)state;
	assert_non_null(mkdtemp(path));
	dirfd = directory_open(AT_FDCWD, path);
	assert_int_equal(pods_open(dirfd, &pods, &err), 0);
	assert_int_equal(pod_create(pods, &pod, &err), 0);
	pod_requests_init(&requests);
	assert_int_equal(pod_requests_open(&pod, &requests), 0);
	pod.state = POD_RUNNING;
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		assert_int_equal(app_request_ask(&pod, actions[i], app, &err), -ETIMEDOUT);
	pod_requests_close(&requests);
	pod_close(&pod);
	pods_close(pods);
	close(dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, path), 0);
}

/* ---- apps that change pods */

/* A pod as pod_resolve() would make it: with one app, which mounts its one volume; or without. */
static struct resolved_pod *make_pod(const char *app, const char *volume)
{
	struct resolved_pod *pod = calloc(1, sizeof(*pod));

	assert_non_null(pod);
	pod->is_mutable = true;
	pod->manifest = calloc(1, sizeof(*pod->manifest));
	pod->apps = calloc(WIRE_APPS_MAX, sizeof(pod->apps[0]));
	pod->isolators = json_pack("{s:{}, s:{}}", "pod", "apps");
	assert_non_null(pod->manifest);
	assert_non_null(pod->apps);
	if (!app)
		return pod;
	pod->manifest->apps = calloc(1, sizeof(pod->manifest->apps[0]));
	pod->manifest->apps[0].name = strdup(app);
	pod->manifest->app_count = pod->app_count = 1;
	pod->apps[0].name = pod->manifest->apps[0].name;
	pod->apps[0].mounts = calloc(1, sizeof(pod->apps[0].mounts[0]));
	pod->apps[0].mounts[0].volume = strdup(volume);
	pod->apps[0].mounts[0].target = strdup("/data");
	pod->apps[0].mount_count = 1;
	pod->volumes = calloc(1, sizeof(pod->volumes[0]));
	pod->volumes[0].name = strdup(volume);
	pod->volume_count = 1;
	json_object_set_new(json_object_get(pod->isolators, "apps"), app,
		json_pack("{s:[s]}", "enforced", app));
	return pod;
}

static void adopt(struct resolved_pod *pod, const char *app, const char *volume)
{
	_cleanup_resolved_pod_ struct resolved_pod *added = make_pod(app, volume);

	assert_int_equal(resolved_pod_adopt(pod, added), 0);
	assert_int_equal(added->app_count, 0);
	assert_int_equal(added->volume_count, 0);
}

static void expect_apps(const struct resolved_pod *pod, const char *const *names, size_t count)
{
	assert_int_equal(pod->app_count, count);
	assert_int_equal(pod->manifest->app_count, count);
	assert_int_equal(json_object_size(json_object_get(pod->isolators, "apps")), count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(pod->apps[i].name, names[i]);
		assert_ptr_equal(pod->apps[i].name, pod->manifest->apps[i].name);
		assert_non_null(json_object_get(json_object_get(pod->isolators, "apps"), names[i]));
	}
}

static void app_is_adopted_with_its_volumes_and_its_report(void **state)
{
	_cleanup_resolved_pod_ struct resolved_pod *pod = make_pod(NULL, NULL);

	(void)state;
	adopt(pod, "one", "one.data");
	adopt(pod, "two", "two.data");
	expect_apps(pod, (const char *const[]){"one", "two"}, 2);
	assert_int_equal(pod->volume_count, 2);
	assert_string_equal(pod->volumes[1].name, "two.data");
}

static void app_that_is_disowned_takes_its_own_along_and_those_behind_it_move_up(void **state)
{
	_cleanup_resolved_pod_ struct resolved_pod *pod = make_pod(NULL, NULL);
	_cleanup_resolved_pod_ struct resolved_pod *gone = NULL;

	(void)state;
	adopt(pod, "one", "one.data");
	adopt(pod, "two", "two.data");
	adopt(pod, "three", "three.data");
	assert_int_equal(resolved_pod_disown(pod, 1, &gone), 0);
	expect_apps(pod, (const char *const[]){"one", "three"}, 2);
	assert_int_equal(pod->volume_count, 2);
	assert_string_equal(pod->volumes[1].name, "three.data");
	expect_apps(gone, (const char *const[]){"two"}, 1);
	assert_int_equal(gone->volume_count, 1);
	assert_string_equal(gone->volumes[0].name, "two.data");
	assert_int_equal(resolved_pod_adopt(pod, gone), 0);
	expect_apps(pod, (const char *const[]){"one", "three", "two"}, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(app_to_be_added_is_checked_as_in_a_manifest),
		cmocka_unit_test(others_name_an_app),
		cmocka_unit_test(what_is_no_request_is_refused_with_a_reason),
		cmocka_unit_test(nobody_waits_for_ever_for_what_a_guest_does_not_say),
		cmocka_unit_test(app_is_adopted_with_its_volumes_and_its_report),
		cmocka_unit_test(
			app_that_is_disowned_takes_its_own_along_and_those_behind_it_move_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
