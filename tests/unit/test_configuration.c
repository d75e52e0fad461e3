// SPDX-License-Identifier: Apache-2.0
/* test_configuration.c: rkt's configuration files, and which server gets which password. */
#include "cli/configuration.h"

#include "base/file.h"
#include "base/json.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BASIC(user, password) \
	"\"credentials\":{\"user\":\"" user "\",\"password\":\"" password "\"}"
#define AUTH(rest)   "{\"rktKind\":\"auth\",\"rktVersion\":\"v1\"," rest "}"
#define DOCKER(rest) "{\"rktKind\":\"dockerAuth\",\"rktVersion\":\"v1\"," rest "}"
#define PATHS(rest)  "{\"rktKind\":\"paths\",\"rktVersion\":\"v1\"," rest "}"
#define STAGE1(rest) "{\"rktKind\":\"stage1\",\"rktVersion\":\"v1\"," rest "}"

struct fixture {
	char path[64], system[PATH_MAX], local[PATH_MAX], user[PATH_MAX];
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	strcpy(fixture->path, "/tmp/test-configuration-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	snprintf(fixture->system, PATH_MAX, "%s/system", fixture->path);
	snprintf(fixture->local, PATH_MAX, "%s/local", fixture->path);
	snprintf(fixture->user, PATH_MAX, "%s/user", fixture->path);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[PATH_MAX + 64], *slash;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(directory_create_path(AT_FDCWD, path, 0755), 0);
	*slash = '/';
	assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static int read_all(const struct fixture *fixture, struct configuration *ret, struct error *err)
{
	const char *const directories[] = {fixture->system, fixture->local, fixture->user};
	int r = 0;

	*ret = (struct configuration){0};
	for (int part = 0; r == 0 && part < CONFIGURATION_PARTS; part++)
		r = configuration_read((enum configuration_part)part, directories, ret, err);
	return r;
}

static void expect(const struct fixture *fixture, const char *expected)
{
	_cleanup_(configuration_clear) struct configuration configuration;
	_cleanup_json_ json_t *json = NULL, *expected_json = NULL;
	struct error err = {0};

	if (read_all(fixture, &configuration, &err) < 0)
		fail_msg("%s", err.message);
	json = configuration_json(&configuration);
	expected_json = json_loads(expected, 0, NULL);
	assert_non_null(expected_json);
	if (!json_equal(json, expected_json)) {
		_cleanup_free_ char *text = json_dumps(json, 0);

		fail_msg("%s is not %s", text, expected);
	}
}

static void what_is_not_there_says_nothing(void **state)
{
	expect(*state, "[]");
}

static void each_server_of_a_file_is_an_entry(void **state)
{
	struct fixture *fixture = *state;

	write_file(fixture->user, "auth.d/basic.json",
		AUTH("\"type\":\"basic\",\"domains\":[\"a.com\",\"b.com\"]," BASIC("u", "p")));
	write_file(fixture->user, "auth.d/docker.json",
		DOCKER("\"registries\":[\"a.com\"]," BASIC("d", "q")));
	expect(fixture,
		"[" AUTH("\"type\":\"basic\",\"domains\":[\"a.com\"]," BASIC(
			"u", "p")) "," AUTH("\"type\":\"basic\",\"domains\":[\"b.com\"]," BASIC("u",
			"p")) "," DOCKER("\"registries\":[\"a.com\"]," BASIC("d", "q")) "]");
}

static void a_later_directory_replaces_what_it_names(void **state)
{
	struct fixture *fixture = *state;

	write_file(fixture->system, "auth.d/basic.json",
		AUTH("\"type\":\"basic\",\"domains\":[\"a.com\",\"b.com\"]," BASIC("u", "p")));
	write_file(fixture->local, "auth.d/other.json",
		AUTH("\"type\":\"oauth\",\"domains\":[\"a.com\"],\"credentials\":{\"token\":\"t\"}"));
	write_file(fixture->system, "paths.d/paths.json",
		PATHS("\"data\":\"/one\",\"stage1-images\":\"/images\""));
	write_file(fixture->user, "paths.d/paths.json", PATHS("\"data\":\"/two\""));
	write_file(fixture->local, "stage1.d/s.json",
		STAGE1("\"name\":\"n\",\"version\":\"1\",\"location\":\"/x\""));
	write_file(fixture->user, "stage1.d/s.json", STAGE1("\"location\":\"/y\""));
	expect(fixture,
		"[" AUTH("\"type\":\"oauth\",\"domains\":[\"a.com\"],\"credentials\":{\"token\":\"t\"}") "," AUTH(
			"\"type\":\"basic\",\"domains\":[\"b.com\"]," BASIC("u",
				"p")) "," PATHS("\"data\":\"/two\",\"stage1-images\":\"/images\"") "," STAGE1("\"name\":\"n\",\"version\":\"1\",\"location\":\"/y\"") "]");
}

static void other_files_and_directories_are_left_alone(void **state)
{
	struct fixture *fixture = *state;

	write_file(fixture->system, "auth.d/README", "what is this");
	write_file(fixture->system, "auth.d/test.notjson", "{");
	write_file(fixture->system, "auth.d/below/test.json", "{");
	write_file(fixture->system, "auth.d/directory.json/test.json", "{");
	write_file(fixture->system, "auth.d/.json", "{");
	write_file(fixture->system, "other.d/test.json", "{");
	expect(fixture, "[]");
}

static void a_bad_file_is_named_with_its_field(void **state)
{
	static const struct {
		const char *name, *text, *message;
	} cases[] = {
		{"paths.d/a.json", "", "paths.d/a.json: line 1"},
		{"paths.d/a.json", "[]", "expected an object, found an array"},
		{"paths.d/a.json", "{\"rktVersion\":\"v1\"}", "rktKind: must be set"},
		{"paths.d/a.json", "{\"rktKind\":\"paths\"}", "rktVersion: must be \"v1\""},
		{"paths.d/a.json", "{\"rktKind\":\"paths\",\"rktVersion\":\"v2\"}",
			"rktVersion: must be \"v1\""},
		{"paths.d/a.json", AUTH("\"type\":\"basic\""),
			"\"auth\" is no kind of file for paths.d"},
		{"auth.d/a.json", PATHS("\"data\":\"/x\""),
			"\"paths\" is no kind of file for auth.d"},
		{"paths.d/a.json", PATHS("\"data\":\"relative\""),
			"data: must be an absolute path, not \"relative\""},
		{"paths.d/a.json", PATHS("\"data\":7"), "data"},
		{"auth.d/a.json", AUTH("\"domains\":[\"a\"]"),
			"type: must be \"basic\" or \"oauth\""},
		{"auth.d/a.json", AUTH("\"type\":\"digest\""),
			"type: must be \"basic\" or \"oauth\""},
		{"auth.d/a.json", AUTH("\"type\":\"basic\",\"domains\":[\"a\"]"), "credentials"},
		{"auth.d/a.json", AUTH("\"type\":\"basic\"," BASIC("u", "p")),
			"domains: must be set"},
		{"auth.d/a.json", AUTH("\"type\":\"basic\",\"domains\":[7]," BASIC("u", "p")),
			"domains[0]: must be the name of a server"},
		{"auth.d/a.json",
			AUTH("\"type\":\"basic\",\"domains\":[\"a\",\"a\"]," BASIC("u", "p")),
			"domains a is already specified"},
		{"auth.d/a.json", AUTH("\"type\":\"basic\",\"domains\":[\"a\"]," BASIC("", "p")),
			"credentials.user: must be set"},
		{"auth.d/a.json", AUTH("\"type\":\"basic\",\"domains\":[\"a\"]," BASIC("u:v", "p")),
			"credentials.user: must not have a colon"},
		{"auth.d/a.json",
			AUTH("\"type\":\"basic\",\"domains\":[\"a\"]," BASIC("u", "p\\r\\nX: y")),
			"credentials.password: must not have control characters"},
		{"auth.d/a.json", AUTH("\"type\":\"oauth\",\"domains\":[\"a\"]," BASIC("u", "p")),
			"credentials.token: must be set"},
		{"stage1.d/a.json", STAGE1("\"name\":\"n\""), "belong together"},
		{"stage1.d/a.json", STAGE1("\"name\":\"n\",\"version\":\"\""), "belong together"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_(configuration_clear) struct configuration configuration;
		struct error err = {0};
		char path[PATH_MAX + 64];

		write_file(fixture->local, cases[i].name, cases[i].text);
		assert_int_equal(read_all(fixture, &configuration, &err), -EINVAL);
		if (!strstr(err.message, cases[i].message) || !strstr(err.message, cases[i].name))
			fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].message);
		snprintf(path, sizeof(path), "%s/%s", fixture->local, cases[i].name);
		assert_int_equal(unlink(path), 0);
	}
}

static void a_directory_says_nothing_twice(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_(configuration_clear) struct configuration configuration;
	struct error err = {0};

	write_file(fixture->local, "paths.d/a.json", PATHS("\"data\":\"/one\""));
	write_file(fixture->local, "paths.d/b.json", PATHS("\"data\":\"/two\""));
	assert_int_equal(read_all(fixture, &configuration, &err), -EINVAL);
	assert_non_null(
		strstr(err.message, "paths.d/b.json: data: text data is already specified"));
}

static void credentials_are_for_exactly_one_server(void **state)
{
	static const struct {
		const char *url;
		int found; /* index, -1: none */
	} cases[] = {
		{"https://a.com/x", 0},
		{"http://A.COM", 0},
		{"https://a.com?x", 0},
		{"https://a.com#x", 0},
		{"https://a.com:8080/x", 1},
		{"https://a.com.evil.com/x", -1},
		{"https://evil.com/a.com", -1},
		{"https://evil.com/?://a.com/", -1},
		{"https://a.com:80/x", -1},
		{"https://a.com@evil.com/x", -1},
		{"https://a.com?@evil.com/x", -1},
		{"https://a.com\\@evil.com/x", -1},
		{"https://user@a.com/x", -1},
		{"https://xa.com/", -1},
		{"a.com", -1},
		{"", -1},
	};
	_cleanup_(credentials_clear) struct credentials credentials = {0};
	struct credential first = {.server = strdup("a.com"), .token = strdup("t")};
	struct credential second = {.server = strdup("a.com:8080"), .token = strdup("u")};

	(void)state;
	assert_int_equal(credentials_set(&credentials, &first), 0);
	assert_int_equal(credentials_set(&credentials, &second), 0);
	assert_null(second.server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct credential *found = credentials_find(&credentials, cases[i].url);

		if (found != (cases[i].found < 0 ? NULL : &credentials.items[cases[i].found]))
			fail_msg("%s: found %s", cases[i].url, found ? found->server : "nothing");
	}
	assert_null(credentials_find(NULL, "https://a.com/x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_not_there_says_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(each_server_of_a_file_is_an_entry, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_later_directory_replaces_what_it_names, setup, teardown),
		cmocka_unit_test_setup_teardown(
			other_files_and_directories_are_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_bad_file_is_named_with_its_field, setup, teardown),
		cmocka_unit_test_setup_teardown(a_directory_says_nothing_twice, setup, teardown),
		cmocka_unit_test(credentials_are_for_exactly_one_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
