// SPDX-License-Identifier: Apache-2.0
/* test_image_argument.c: what a text stands for where an image is asked for, and which image that is. */
#include "aci-builder.h"

#include "store/image_argument.h"

static void arguments_are_taken_as_rkt_takes_them(void **state)
{
	static const struct {
		const char *text;
		enum image_argument_kind kind;
	} cases[] = {
		{"sha512-e2", IMAGE_ARGUMENT_ID},
		{"sha512-not-hexadecimal", IMAGE_ARGUMENT_ID},
		{"https://example.com/app.aci", IMAGE_ARGUMENT_URL},
		{"file:///srv/app.aci", IMAGE_ARGUMENT_URL},
		{"docker://busybox", IMAGE_ARGUMENT_URL},
		{"git+ssh://example.com/app", IMAGE_ARGUMENT_URL},
		{"/srv/app", IMAGE_ARGUMENT_PATH},
		{"/srv/app:1.0", IMAGE_ARGUMENT_PATH},
		{"example.com/app:1.0", IMAGE_ARGUMENT_NAME},
		{"busybox:latest", IMAGE_ARGUMENT_NAME},
		{"./app:1.0", IMAGE_ARGUMENT_NAME},
		{"./app", IMAGE_ARGUMENT_PATH},
		{"../app", IMAGE_ARGUMENT_PATH},
		{"images/app.aci", IMAGE_ARGUMENT_PATH},
		{".aci", IMAGE_ARGUMENT_PATH},
		{"aci", IMAGE_ARGUMENT_NAME},
		{"example.com/app", IMAGE_ARGUMENT_NAME},
		{"example.com/app,version=1.0,os=linux", IMAGE_ARGUMENT_NAME},
		{"1://x", IMAGE_ARGUMENT_NAME},
		{"", IMAGE_ARGUMENT_NAME},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (image_argument_guess(cases[i].text) != cases[i].kind)
			fail_msg("%s: %d", cases[i].text, (int)image_argument_guess(cases[i].text));
}

static void the_name_of_a_file_that_exists_is_a_path(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_close_ int before = directory_open(AT_FDCWD, ".");
	enum image_argument_kind file, colon, directory;

	assert_int_equal(file_write_atomic(fixture->dirfd, "app", "", 0, 0600), 0);
	assert_int_equal(file_write_atomic(fixture->dirfd, "app:1.0", "", 0, 0600), 0);
	assert_int_equal(fchdir(fixture->dirfd), 0);
	file = image_argument_guess("app");
	colon = image_argument_guess("app:1.0");
	directory = image_argument_guess("images");
	assert_int_equal(fchdir(before), 0);
	assert_int_equal(file, IMAGE_ARGUMENT_PATH);
	assert_int_equal(colon, IMAGE_ARGUMENT_PATH);
	assert_int_equal(directory, IMAGE_ARGUMENT_NAME);
}

static void import_version(struct fixture *fixture, const char *version, char *ret_id)
{
	char labels[128];
	struct aci aci;

	snprintf(labels, sizeof(labels),
		", \"labels\": [{\"name\": \"version\", \"value\": \"%s\"}, {\"name\": \"os\", "
		"\"value\": \"linux\"}]",
		version);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/app", labels);
	aci_directory(&aci, "rootfs", 0755);
	import_aci(fixture, &aci, ret_id);
}

static void assert_found(struct fixture *fixture, const char *text, const char *id)
{
	char found[STORE_IMAGE_ID_SIZE];
	struct error err = {0};

	if (store_find_image(fixture->store, text, found, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(found, id);
}

static int not_found(struct fixture *fixture, const char *text)
{
	char found[STORE_IMAGE_ID_SIZE];
	struct error err = {0};
	int r = store_find_image(fixture->store, text, found, &err);

	if (r < 0 && !strstr(err.message, text))
		fail_msg("\"%s\" does not name %s", err.message, text);
	return r;
}

static void an_image_is_found_by_name_labels_or_the_beginning_of_its_id(void **state)
{
	struct fixture *fixture = *state;
	char one[STORE_IMAGE_ID_SIZE], two[STORE_IMAGE_ID_SIZE], prefix[20];

	import_version(fixture, "1", one);
	import_version(fixture, "2", two);
	snprintf(prefix, sizeof(prefix), "%.19s", one);
	assert_found(fixture, prefix, one);
	assert_found(fixture, one, one);
	assert_found(fixture, "example.com/app:1", one);
	assert_found(fixture, "example.com/app,version=1,os=linux", one);
	assert_found(fixture, "example.com/app", two);
	assert_int_equal(not_found(fixture, "example.com/ap"), -ENOENT);
	assert_int_equal(not_found(fixture, "sha512-0000"), -ENOENT);
	assert_int_equal(not_found(fixture, "sha512-0"), -EINVAL);
	assert_int_equal(not_found(fixture, "sha512-xy"), -EINVAL);
	assert_int_equal(not_found(fixture, "example.com/app:1:2"), -EINVAL);
	assert_int_equal(not_found(fixture, "example.com/app,version"), -EINVAL);
	assert_int_equal(not_found(fixture, "Not An Identifier"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_are_taken_as_rkt_takes_them),
		cmocka_unit_test_setup_teardown(the_name_of_a_file_that_exists_is_a_path,
			fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(
			an_image_is_found_by_name_labels_or_the_beginning_of_its_id, fixture_set_up,
			fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
