// SPDX-License-Identifier: Apache-2.0
/*
 * test_store_fetch.c: fetching as far as it needs neither a server nor a key; those are in
 * tests/functional/fetch.bats.
 */
#include "aci-builder.h"

#include "base/sha512.h"
#include "store/fetch.h"

#include <sys/stat.h>

static const struct store_fetch_options unsigned_images = {.allow_unsigned = true};

/* An image in a file of the data directory; its path. */
static void write_image(struct fixture *fixture, const char *name, char *ret_path, size_t size)
{
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/app", "");
	aci_directory(&aci, "rootfs", 0755);
	aci_end(&aci);
	assert_int_equal(file_write_atomic(fixture->dirfd, name, aci.data, aci.length, 0600), 0);
	aci_free(&aci);
	snprintf(ret_path, size, "%s/%s", fixture->path, name);
}

static int fetch(struct fixture *fixture, const char *url,
	const struct store_fetch_options *options, struct error *err)
{
	char id[STORE_IMAGE_ID_SIZE];

	return store_fetch_url(fixture->store, url, options, id, err);
}

static void a_file_needs_a_signature_unless_told_otherwise(void **state)
{
	const struct store_fetch_options signed_images = {0};
	struct fixture *fixture = *state;
	char path[128], id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};

	write_image(fixture, "app.aci", path, sizeof(path));
	assert_int_equal(store_fetch_path(fixture->store, path, &signed_images, id, &err), -ENOENT);
	assert_non_null(strstr(err.message, "app.aci.asc"));
	assert_int_equal(file_write_atomic(fixture->dirfd, "app.aci.asc", "x", 1, 0600), 0);
	assert_int_equal(
		store_fetch_path(fixture->store, path, &signed_images, id, &err), -EKEYREJECTED);
	assert_int_equal(fixture_count(fixture, "images"), 0);
	assert_int_equal(fixture_count(fixture, "tmp"), 0);
	assert_int_equal(store_fetch_path(fixture->store, path, &unsigned_images, id, &err), 0);
	assert_int_equal(fixture_count(fixture, "images"), 1);
}

static void the_url_of_a_file_is_its_absolute_path_with_percent_signs(void **state)
{
	static const char *const bad[] = {"file://", "file://relative", "file://host/app.aci",
		"file:///a%2", "file:///a%zz", "file:///a%00b", "file:///%"};
	struct fixture *fixture = *state;
	char path[128], url[256];
	struct error err = {0};

	write_image(fixture, "my app%.aci", path, sizeof(path));
	snprintf(url, sizeof(url), "file://%s/my%%20app%%25.aci", fixture->path);
	assert_int_equal(fetch(fixture, url, &unsigned_images, &err), 0);
	snprintf(url, sizeof(url), "FILE://localhost%s/my%%20app%%25.aci", fixture->path);
	assert_int_equal(fetch(fixture, url, &unsigned_images, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(fetch(fixture, bad[i], &unsigned_images, &err), -EINVAL);
		assert_non_null(strstr(err.message, bad[i]));
	}
}

static void other_schemes_are_refused_by_name(void **state)
{
	static const char *const urls[] = {"docker://busybox", "ftp://example.com/a.aci",
		"gopher://x/", "httpsx://example.com/"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct error err = {0};

		assert_int_equal(fetch(fixture, urls[i], &unsigned_images, &err), -EPROTONOSUPPORT);
		assert_non_null(strstr(err.message, urls[i]));
	}
}

/* A record as a fetch leaves it, of an image that is there or not. */
static void write_record(struct fixture *fixture, const char *url, const char *text)
{
	char digest[SHA512_TEXT_SIZE], path[256];
	struct sha512 sha;

	sha512_init(&sha);
	sha512_update(&sha, url, strlen(url));
	sha512_final_text(&sha, digest);
	snprintf(path, sizeof(path), "remotes/%s", digest);
	assert_int_equal(directory_create_path(fixture->dirfd, "remotes", 0700), 0);
	assert_int_equal(file_write_atomic(fixture->dirfd, path, text, strlen(text), 0600), 0);
}

static void the_policy_never_takes_what_came_from_that_url_before(void **state)
{
	static const char url[] = "https://example.com/app.aci";
#define RECORD(id)                                               \
	"{\"url\": \"https://example.com/app.aci\", \"id\": " id \
	", \"etag\": \"\", \"signed\": true}"
	static const char *const damaged[] = {"", "{}", "[]", RECORD("\"../../etc\""), RECORD("7")};
	const struct store_fetch_options never = {.policy = PULL_NEVER};
	struct fixture *fixture = *state;
	char path[128], id[STORE_IMAGE_ID_SIZE], found[STORE_IMAGE_ID_SIZE], text[512];
	struct error err = {0};

	write_image(fixture, "app.aci", path, sizeof(path));
	assert_int_equal(store_fetch_path(fixture->store, path, &unsigned_images, id, &err), 0);
	assert_int_equal(fetch(fixture, url, &never, &err), -ENOENT);
	assert_non_null(strstr(err.message, url));
	for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
		write_record(fixture, url, damaged[i]);
		assert_int_equal(fetch(fixture, url, &never, &err), -ENOENT);
	}
	/* Of another URL, though its name says otherwise. */
	snprintf(text, sizeof(text),
		"{\"url\": \"https://example.com/other.aci\", \"id\": \"%s\", \"etag\": \"\", "
		"\"signed\": true}",
		id);
	write_record(fixture, url, text);
	assert_int_equal(fetch(fixture, url, &never, &err), -ENOENT);
	snprintf(text, sizeof(text),
		"{\"url\": \"%s\", \"id\": \"%s\", \"etag\": \"\", \"signed\": true}", url, id);
	write_record(fixture, url, text);
	assert_int_equal(store_fetch_url(fixture->store, url, &never, found, &err), 0);
	assert_string_equal(found, id);
	/* With its image the record goes. */
	assert_int_equal(store_fetch_clean(fixture->store, &err), 0);
	assert_int_equal(fixture_count(fixture, "remotes"), 1);
	assert_int_equal(store_remove(fixture->store, id, &err), 0);
	assert_int_equal(fetch(fixture, url, &never, &err), -ENOENT);
	assert_int_equal(store_fetch_clean(fixture->store, &err), 0);
	assert_int_equal(fixture_count(fixture, "remotes"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_file_needs_a_signature_unless_told_otherwise),
		TEST(the_url_of_a_file_is_its_absolute_path_with_percent_signs),
		TEST(other_schemes_are_refused_by_name),
		TEST(the_policy_never_takes_what_came_from_that_url_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
