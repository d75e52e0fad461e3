// SPDX-License-Identifier: Apache-2.0
/* test_pod_json.c: what list and status tell of a pod, whole or damaged. */
#include "base/file.h"
#include "base/json.h"
#include "cli/pod_json.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char uuid[] = "11111111-2222-4333-8444-555555555555";

static const char manifest[] =
	"{\"acVersion\": \"0.8.11\", \"acKind\": \"PodManifest\", \"apps\": ["
	"{\"name\": \"web\", \"image\": {\"name\": \"example.com/web\", \"id\": \"sha512-0123\"},"
	" \"app\": {\"exec\": [\"/web\"], \"user\": \"0\", \"group\": \"0\","
	"  \"userLabels\": {\"tier\": \"front\"}},"
	" \"mounts\": [{\"volume\": \"data\", \"path\": \"/data\"}, {\"volume\": \"own\", \"path\": \"/own\"},"
	"  {\"volume\": \"data\", \"path\": \"/other\", \"appVolume\":"
	"   {\"name\": \"data\", \"kind\": \"host\", \"source\": \"/elsewhere\"}}]},"
	"{\"name\": \"db\", \"image\": {\"id\": \"sha512-4567\"},"
	" \"app\": {\"exec\": [\"/db\"], \"user\": \"0\", \"group\": \"0\"}}],"
	"\"volumes\": [{\"name\": \"data\", \"kind\": \"host\", \"source\": \"/srv\", \"readOnly\": true},"
	" {\"name\": \"own\", \"kind\": \"empty\"}],"
	"\"userAnnotations\": {\"a\": \"b\"}, \"userLabels\": {\"c\": \"d\"}}";

static const char run_record[] =
	"{\"flavour\": \"vm\", \"pid\": 4711, \"started_at\": 1795340138532154504}";
static const char web_record[] = "{\"started_at\": 1795340139000000001, \"finished_at\": null}";
static const char db_record[] =
	"{\"started_at\": 1795340139000000002, \"finished_at\": 1795340140000000003,"
	" \"exit_code\": 3, \"out_of_memory\": true, \"message\": \"no\\nmore\"}";
static const char end_record[] =
	"{\"exit_code\": 254, \"finished_at\": 1795340141000000000, \"reason\": \"killed\\u001b[m\"}";

struct json_fixture {
	char path[64];
	int dirfd, fd; /* of the data, of the pod */
	struct pods *pods;
};

static void put(const struct json_fixture *fixture, const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(fixture->fd, path, text, strlen(text), 0640), 0);
}

static int set_up(void **state)
{
	struct json_fixture *fixture = calloc(1, sizeof(*fixture));
	char path[128];

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-json-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_int_equal(pods_open(fixture->dirfd, &fixture->pods, NULL), 0);
	snprintf(path, sizeof(path), "pods/run/%s", uuid);
	assert_int_equal(mkdirat(fixture->dirfd, path, 0750), 0);
	fixture->fd = directory_open(fixture->dirfd, path);
	assert_int_equal(mknodat(fixture->fd, "lock", S_IFREG | 0640, 0), 0);
	assert_int_equal(mkdirat(fixture->fd, "apps", 0750), 0);
	put(fixture, "pod", manifest);
	put(fixture, "run.json", run_record);
	put(fixture, "apps/web.json", web_record);
	put(fixture, "apps/db.json", db_record);
	put(fixture, "end.json", end_record);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct json_fixture *fixture = *state;

	close(fixture->fd);
	pods_close(fixture->pods);
	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static json_t *describe(const struct json_fixture *fixture)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	json_t *json;

	assert_int_equal(pod_open(fixture->pods, uuid, &pod, NULL), 0);
	json = pod_json(&pod);
	assert_non_null(json);
	return json;
}

/* Takes the two times that the file system gave out of it. */
static void assert_json(json_t *json, const char *expected_text)
{
	_cleanup_json_ json_t *expected = json_loads(expected_text, 0, NULL);
	_cleanup_free_ char *text = NULL;
	json_t *app;
	size_t i;

	assert_non_null(expected);
	json_object_del(json, "created_at");
	json_array_foreach (json_object_get(json, "apps"), i, app)
		json_object_del(app, "created_at");
	text = json_dumps(json, JSON_INDENT(1));
	if (!json_equal(json, expected))
		fail_msg("%s", text);
}

static void ended_pod_is_told_whole(void **state)
{
	_cleanup_json_ json_t *json = describe(*state);
	const json_t *web = json_array_get(json_object_get(json, "apps"), 0);
	json_int_t created = json_integer_value(json_object_get(json, "created_at"));

	/* Of the pod in seconds, of apps in nanoseconds. */
	assert_true(created > 1700000000 && created < 1700000000ll * 10);
	assert_int_equal(
		json_integer_value(json_object_get(web, "created_at")) / 1000000000, created);
	assert_json(json,
		"{\"name\": \"11111111-2222-4333-8444-555555555555\", \"state\": \"exited\","
		"\"networks\": [], \"app_names\": [\"web\", \"db\"], \"apps\": ["
		"{\"name\": \"web\", \"state\": \"exited\", \"started_at\": 1795340139000000001,"
		" \"image_id\": \"sha512-0123\", \"image_name\": \"example.com/web\", \"mounts\": ["
		"  {\"name\": \"data\", \"container_path\": \"/data\", \"host_path\": \"/srv\","
		"   \"read_only\": true},"
		"  {\"name\": \"own\", \"container_path\": \"/own\", \"host_path\": \"\","
		"   \"read_only\": false},"
		"  {\"name\": \"data\", \"container_path\": \"/other\","
		"   \"host_path\": \"/elsewhere\", \"read_only\": false}],"
		" \"user_annotations\": {}, \"user_labels\": {\"tier\": \"front\"}},"
		"{\"name\": \"db\", \"state\": \"exited\", \"started_at\": 1795340139000000002,"
		" \"finished_at\": 1795340140000000003, \"exit_code\": 3, \"image_id\": \"sha512-4567\","
		" \"image_name\": \"\", \"mounts\": [], \"user_annotations\": {}, \"user_labels\": {},"
		" \"message\": \"no?more\", \"out_of_memory\": true}],"
		"\"started_at\": 1795340138, \"user_annotations\": {\"a\": \"b\"},"
		"\"user_labels\": {\"c\": \"d\"}, \"finished_at\": 1795340141, \"exit_code\": 254,"
		"\"reason\": \"killed?[m\", \"flavour\": \"vm\", \"pid\": 4711}");
}

static void killed_pod_says_that_it_was(void **state)
{
	struct json_fixture *fixture = *state;
	_cleanup_json_ json_t *json = NULL;

	assert_int_equal(unlinkat(fixture->fd, "end.json", 0), 0);
	json = describe(fixture);
	assert_non_null(strstr(json_string_value(json_object_get(json, "reason")), "killed"));
	assert_null(json_object_get(json, "exit_code"));
	assert_null(json_object_get(json, "errors"));
}

static void app_states_follow_from_the_pods(void **state)
{
	static const struct {
		const char *place;
		bool locked;
		const char *web, *db; /* the former has been started, the latter has ended */
	} cases[] = {
		{"prepare", true, "unknown", "exited"},
		{"prepare", false, "unknown", "exited"},
		{"prepared", false, "created", "exited"},
		{"run", true, "running", "exited"},
		{"run", false, "exited", "exited"},
		{"exited-garbage", false, "exited", "exited"},
		{"garbage", false, "exited", "exited"},
	};
	struct json_fixture *fixture = *state;
	char from[128], to[128];

	snprintf(from, sizeof(from), "pods/run/%s", uuid);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *json = NULL;
		_cleanup_close_ int lock = openat(fixture->fd, "lock", O_RDWR | O_CLOEXEC);
		const struct flock whole = {.l_type = F_WRLCK};
		const json_t *apps;

		snprintf(to, sizeof(to), "pods/%s/%s", cases[i].place, uuid);
		if (strcmp(from, to) != 0)
			assert_int_equal(renameat(fixture->dirfd, from, fixture->dirfd, to), 0);
		if (cases[i].locked)
			assert_int_equal(fcntl(lock, F_OFD_SETLK, &whole), 0);
		json = describe(fixture);
		apps = json_object_get(json, "apps");
		assert_string_equal(
			json_string_value(json_object_get(json_array_get(apps, 0), "state")),
			cases[i].web);
		assert_string_equal(
			json_string_value(json_object_get(json_array_get(apps, 1), "state")),
			cases[i].db);
		strcpy(from, to);
	}
}

/* ---- damage */

static void damage_remove(const struct json_fixture *fixture, const char *path)
{
	assert_int_equal(unlinkat(fixture->fd, path, 0), 0);
}

static void damage_cut(const struct json_fixture *fixture, const char *path)
{
	put(fixture, path, "{\"acKind\": \"Pod");
}

static void damage_empty(const struct json_fixture *fixture, const char *path)
{
	put(fixture, path, "");
}

static void damage_array(const struct json_fixture *fixture, const char *path)
{
	put(fixture, path, "[1, 2, 3]");
}

static void damage_noise(const struct json_fixture *fixture, const char *path)
{
	put(fixture, path, "\xff\xfe\x01{}");
}

static void damage_directory(const struct json_fixture *fixture, const char *path)
{
	damage_remove(fixture, path);
	assert_int_equal(mkdirat(fixture->fd, path, 0755), 0);
}

static void damage_fifo(const struct json_fixture *fixture, const char *path)
{
	damage_remove(fixture, path);
	assert_int_equal(mkfifoat(fixture->fd, path, 0644), 0);
}

static void damage_length(const struct json_fixture *fixture, const char *path)
{
	_cleanup_close_ int fd = openat(fixture->fd, path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, 1ll << 40), 0);
}

static void damaged_pod_tells_what_can_be_read(void **state)
{
	static void (*const damages[])(const struct json_fixture *, const char *) = {
		damage_remove,
		damage_cut,
		damage_empty,
		damage_array,
		damage_noise,
		damage_directory,
		damage_fifo,
		damage_length,
	};
	static const char *const files[] = {"pod", "run.json", "apps/web.json", "end.json", "lock"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		for (size_t j = 0; j < ARRAY_SIZE(damages); j++) {
			struct json_fixture *fixture;
			bool lock = !strcmp(files[i], "lock"), manifest_gone = i == 0;
			json_t *json;

			/* What a lock file holds says nothing. */
			if (lock && damages[j] != damage_remove && damages[j] != damage_directory)
				continue;
			set_up((void **)&fixture);
			damages[j](fixture, files[i]);
			json = describe(fixture);
			print_message("%s, damage %zu\n", files[i], j);
			assert_string_equal(json_string_value(json_object_get(json, "name")), uuid);
			assert_string_equal(
				json_string_value(json_object_get(json, "state")), "exited");
			assert_int_equal(json_array_size(json_object_get(json, "apps")),
				manifest_gone ? 0 : 2);
			if (i != 1)
				assert_non_null(json_object_get(json, "started_at"));
			/* A record that is not there may never have been. */
			if (!lock && (manifest_gone || damages[j] != damage_remove))
				assert_int_equal(
					json_array_size(json_object_get(json, "errors")), 1);
			else
				assert_null(json_object_get(json, "errors"));
			json_decref(json);
			tear_down((void **)&fixture);
		}
	(void)state;
}

static void records_of_other_types_read_as_unknown(void **state)
{
	struct json_fixture *fixture = *state;
	_cleanup_json_ json_t *json = NULL;
	const json_t *db;

	put(fixture, "run.json",
		"{\"flavour\": {\"a\": [1]}, \"pid\": \"4711\", \"started_at\": -1, \"x\": 1}");
	put(fixture, "apps/db.json",
		"{\"exit_code\": 3.5, \"started_at\": [], \"finished_at\": {}, \"message\": 7}");
	put(fixture, "end.json", "{\"exit_code\": 256, \"finished_at\": true, \"reason\": []}");
	json = describe(fixture);
	assert_null(json_object_get(json, "started_at"));
	assert_null(json_object_get(json, "flavour"));
	assert_null(json_object_get(json, "pid"));
	assert_null(json_object_get(json, "exit_code"));
	assert_null(json_object_get(json, "finished_at"));
	assert_null(json_object_get(json, "reason"));
	db = json_array_get(json_object_get(json, "apps"), 1);
	assert_null(json_object_get(db, "exit_code"));
	assert_null(json_object_get(db, "started_at"));
	assert_null(json_object_get(db, "finished_at"));
	assert_null(json_object_get(db, "message"));
}

#define JSON_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		JSON_TEST(ended_pod_is_told_whole),
		JSON_TEST(killed_pod_says_that_it_was),
		JSON_TEST(app_states_follow_from_the_pods),
		JSON_TEST(damaged_pod_tells_what_can_be_read),
		JSON_TEST(records_of_other_types_read_as_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
