// SPDX-License-Identifier: Apache-2.0
/* test_metadata.c: what the host says about a pod, and its signatures. */
#include "pod/metadata.h"

#include "base/base64.h"
#include "base/file.h"
#include "base/hmac.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define UUID  "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
#define OTHER "00000000-7dec-11d0-a765-00a0c91e6bf6"

/* Not as it would be printed again: with blanks and a field that nobody knows. */
#define IMAGE                                                                                      \
	"{ \"acKind\":\"ImageManifest\", \"acVersion\":\"0.8.11\", \"name\":\"a.b/c\", \"x\":1,\n" \
	"\"annotations\":[{\"name\":\"lorem\",\"value\":\"ipsum\"},"                               \
	"{\"name\":\"a.b/greek\",\"value\":\"\xce\xb1\"}]}"
#define BARE_IMAGE "{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"a.b/c\"}"
#define APP(name)                                                          \
	"{\"name\":\"" name "\",\"image\":{\"id\":\"sha512-" DIGITS "\"}," \
	"\"app\":{\"exec\":[\"/x\"],\"user\":\"0\",\"group\":\"0\"}"
#define D16    "0123456789abcdef"
#define DIGITS D16 D16 D16 D16 D16 D16 D16 D16
#define POD                                                                    \
	"{\"acKind\":\"PodManifest\",\"acVersion\":\"0.8.11\",\"apps\":[" APP( \
		"one") ",\"annotations\":[{\"name\":\"lorem\",\"value\":\"over\"},{\"name\":\"new\",\"value\":\"1\"}]}," APP("one-more") "}]%s}"

struct fixture {
	char directory[64];
	struct resolved_pod pod;
	struct resolved_app apps[2];
	struct pod_metadata metadata;
	int64_t now;
};

static void pod_make(struct fixture *fixture, const char *annotations)
{
	char text[4096];
	struct error error;

	if (fixture->pod.manifest)
		appc_pod_manifest_free(fixture->pod.manifest);
	snprintf(text, sizeof(text), POD, annotations);
	if (appc_pod_manifest_parse(text, strlen(text), &fixture->pod.manifest, &error) < 0)
		fail_msg("%s", error.message);
	fixture->pod.apps = fixture->apps;
	fixture->pod.app_count = 2;
	for (size_t i = 0; i < 2; i++) {
		fixture->apps[i].name = fixture->pod.manifest->apps[i].name;
		snprintf(fixture->apps[i].image_id, sizeof(fixture->apps[i].image_id), "sha512-%zu",
			i);
		fixture->apps[i].image_manifest = (char *)(i == 0 ? IMAGE : BARE_IMAGE);
	}
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->directory, "/tmp/test-metadata-XXXXXX");
	if (!mkdtemp(fixture->directory))
		return -1;
	pod_make(fixture, "");
	fixture->now = 1000000000000;
	fixture->metadata = (struct pod_metadata){
		.uuid = UUID,
		.resolved = &fixture->pod,
		.data_fd = open(fixture->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	pod_metadata_done(&fixture->metadata);
	close(fixture->metadata.data_fd);
	directory_remove(AT_FDCWD, fixture->directory);
	appc_pod_manifest_free(fixture->pod.manifest);
	free(fixture);
	return 0;
}

/* Takes over the request. A second passes before each. */
static json_t *ask(struct fixture *fixture, json_t *request)
{
	json_t *message = pod_metadata_answer(&fixture->metadata, request, fixture->now);

	fixture->now += 1000000000;
	json_decref(request);
	return message;
}

static json_t *get(struct fixture *fixture, const char *path)
{
	return ask(fixture, json_pack("{s:s, s:s}", "type", "metadata", "get", path));
}

static void expect(json_t *message, int status, const char *content_type, const char *body)
{
	assert_non_null(message);
	assert_string_equal(json_string_value(json_object_get(message, "type")), "metadata");
	assert_int_equal(json_integer_value(json_object_get(message, "status")), status);
	assert_string_equal(
		json_string_value(json_object_get(message, "content_type")), content_type);
	if (body)
		assert_string_equal(json_string_value(json_object_get(message, "body")), body);
	json_decref(message);
}

#define JSON_TYPE  "application/json"
#define ASCII_TYPE "text/plain; charset=us-ascii"

static void annotations_of_a_pod_without_any_are_null(void **state)
{
	struct fixture *fixture = *state;

	expect(get(fixture, "pod/annotations"), 200, JSON_TYPE, "null");
	pod_make(fixture, ",\"annotations\":[]");
	expect(get(fixture, "pod/annotations"), 200, JSON_TYPE, "null");
	pod_make(fixture, ",\"annotations\":[{\"name\":\"ip\",\"value\":\"1\"}]");
	expect(get(fixture, "pod/annotations"), 200, JSON_TYPE,
		"[{\"name\":\"ip\",\"value\":\"1\"}]");
}

static void manifest_is_the_resolved_one(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_json_ json_t *message = get(fixture, "pod/manifest"), *manifest = NULL;
	const char *body = json_string_value(json_object_get(message, "body"));
	struct error error;

	assert_int_equal(json_parse(body, strlen(body), "it", &manifest, &error), 0);
	assert_int_equal(json_array_size(json_object_get(manifest, "apps")), 2);
}

static void annotations_of_an_app_are_those_of_the_pod_over_those_of_the_image(void **state)
{
	struct fixture *fixture = *state;

	expect(get(fixture, "apps/one/annotations"), 200, JSON_TYPE,
		"[{\"name\":\"lorem\",\"value\":\"over\"},"
		"{\"name\":\"a.b/greek\",\"value\":\"\xce\xb1\"},{\"name\":\"new\",\"value\":\"1\"}]");
	expect(get(fixture, "apps/one-more/annotations"), 200, JSON_TYPE, "null");
	expect(get(fixture, "apps/one/annotations/lorem"), 200, ASCII_TYPE, "over");
	expect(get(fixture, "apps/one/annotations/a.b/greek"), 200, "text/plain; charset=utf-8",
		"\xce\xb1");
	expect(get(fixture, "apps/one/annotations/none"), 404, ASCII_TYPE, NULL);
}

static void image_manifest_is_the_one_that_was_imported(void **state)
{
	struct fixture *fixture = *state;

	expect(get(fixture, "apps/one/image/manifest"), 200, JSON_TYPE, IMAGE);
	expect(get(fixture, "apps/one-more/image/manifest"), 200, JSON_TYPE, BARE_IMAGE);
	expect(get(fixture, "apps/one-more/image/id"), 200, ASCII_TYPE, "sha512-1");
}

static void what_is_not_there_is_404(void **state)
{
	static const char *const paths[] = {"", "pod", "pod/uuid", "apps", "apps/", "apps/one",
		"apps/one/", "apps/two/image/id", "apps/one/image", "apps/on/image/id",
		"apps/one-mor/image/id", "apps//image/id"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		expect(get(fixture, paths[i]), 404, ASCII_TYPE, NULL);
}

static json_t *sign(struct fixture *fixture, const char *content)
{
	return ask(fixture, json_pack("{s:s, s:s}", "type", "metadata", "sign", content));
}

static json_t *verify(
	struct fixture *fixture, const char *content, const char *uuid, const char *signature)
{
	return ask(fixture,
		json_pack("{s:s, s:s, s:s, s:s}", "type", "metadata", "verify", content, "uuid",
			uuid, "signature", signature));
}

static void signature_is_over_the_uuid_and_the_content(void **state)
{
	static const uint8_t uuid[] = {0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x11, 0xd0, 0xa7, 0x65,
		0x00, 0xa0, 0xc9, 0x1e, 0x6b, 0xf6};
	struct fixture *fixture = *state;
	uint8_t key[64], code[SHA512_SIZE];
	char text[BASE64_LENGTH(SHA512_SIZE) + 1];
	struct hmac_sha512 hmac;
	int fd;

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	fd = openat(fixture->metadata.data_fd, POD_METADATA_KEY_NAME, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, key, sizeof(key)), sizeof(key));
	close(fd);
	hmac_sha512_init(&hmac, key, sizeof(key));
	hmac_sha512_update(&hmac, uuid, sizeof(uuid));
	hmac_sha512_update(&hmac, "foobar", 6);
	hmac_sha512_final(&hmac, code);
	base64_encode(code, sizeof(code), text);
	expect(sign(fixture, "Zm9vYmFy"), 200, ASCII_TYPE, text);
}

static void signature_is_right_for_its_pod_and_content_alone(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_json_ json_t *message = sign(fixture, "Zm9v");
	char text[128];

	snprintf(text, sizeof(text), "%s", json_string_value(json_object_get(message, "body")));
	expect(verify(fixture, "Zm9v", UUID, text), 200, ASCII_TYPE, "");
	expect(verify(fixture, "Zm9v", "F81D4FAE7DEC11D0A76500A0C91E6BF6", text), 200, ASCII_TYPE,
		"");
	expect(verify(fixture, "Zm9v", OTHER, text), 403, ASCII_TYPE, NULL);
	expect(verify(fixture, "Zm9w", UUID, text), 403, ASCII_TYPE, NULL);
	expect(verify(fixture, "", UUID, text), 403, ASCII_TYPE, NULL);
	expect(verify(fixture, "Zm9v", UUID, ""), 403, ASCII_TYPE, NULL);
	expect(verify(fixture, "Zm9v", UUID, "Zm9v"), 403, ASCII_TYPE, NULL);
	text[0] = text[0] == 'A' ? 'B' : 'A';
	expect(verify(fixture, "Zm9v", UUID, text), 403, ASCII_TYPE, NULL);
}

static void pods_of_one_data_directory_verify_each_other(void **state)
{
	struct fixture *fixture = *state;
	struct pod_metadata first = fixture->metadata;
	_cleanup_json_ json_t *message = sign(fixture, "Zm9v");
	const char *text = json_string_value(json_object_get(message, "body"));

	/* Another process, another pod, the same data directory. */
	first.uuid = OTHER;
	fixture->metadata = first;
	expect(verify(fixture, "Zm9v", UUID, text), 200, ASCII_TYPE, "");
	/* Another data directory's key is another. */
	unlinkat(first.data_fd, POD_METADATA_KEY_NAME, 0);
	fixture->metadata = first;
	expect(verify(fixture, "Zm9v", UUID, text), 403, ASCII_TYPE, NULL);
}

static void key_is_made_once_and_is_nobody_elses(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;

	expect(get(fixture, "pod/manifest"), 200, JSON_TYPE, NULL);
	assert_int_equal(fstatat(fixture->metadata.data_fd, POD_METADATA_KEY_NAME, &st, 0), -1);
	expect(sign(fixture, ""), 200, ASCII_TYPE, NULL);
	assert_int_equal(fstatat(fixture->metadata.data_fd, POD_METADATA_KEY_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, POD_METADATA_KEY_SIZE);
}

static void damaged_key_is_not_used(void **state)
{
	struct fixture *fixture = *state;
	int fd = openat(fixture->metadata.data_fd, POD_METADATA_KEY_NAME, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "short", 5), 5);
	close(fd);
	expect(sign(fixture, ""), 500, ASCII_TYPE, NULL);
	expect(verify(fixture, "", UUID, ""), 500, ASCII_TYPE, NULL);
}

static void malformed_values_are_bad_requests(void **state)
{
	static const char *const uuids[] = {"", "1", "f81d4fae-7dec-11d0-a765-00a0c91e6bf",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bfg", "f81d4fae07dec-11d0-a765-00a0c91e6bf6",
		"f81d4fae-7dec-11d0-a765000a0c91e6bf6", "f81d4fae-7dec-11d0-a765-00a0c91e6bf67",
		"--------------------------------", "------------------------------------"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(uuids) / sizeof(*uuids); i++)
		expect(verify(fixture, "", uuids[i], ""), 400, ASCII_TYPE, NULL);
	expect(sign(fixture, "not base 64"), 400, ASCII_TYPE, NULL);
}

static void messages_that_guest_init_does_not_send_break_the_protocol(void **state)
{
	struct fixture *fixture = *state;

	assert_null(ask(fixture, json_pack("{s:s}", "type", "metadata")));
	assert_null(ask(fixture, json_pack("{s:s, s:i}", "type", "metadata", "get", 1)));
	assert_null(ask(fixture, json_pack("{s:s, s:n}", "type", "metadata", "sign")));
	assert_null(ask(
		fixture, json_pack("{s:s, s:s, s:s}", "type", "metadata", "get", "", "sign", "")));
	assert_null(ask(fixture,
		json_pack("{s:s, s:s, s:s}", "type", "metadata", "verify", "", "uuid", UUID)));
}

static void guest_that_asks_too_often_is_put_off(void **state)
{
	struct fixture *fixture = *state;
	int64_t now = fixture->now;

	for (int i = 0; i < POD_METADATA_RATE; i++) {
		fixture->now = now;
		expect(get(fixture, "pod/annotations"), 200, JSON_TYPE, "null");
	}
	fixture->now = now;
	expect(get(fixture, "pod/annotations"), 503, ASCII_TYPE, NULL);
	/* Each share of a second brings one more. */
	fixture->now = now + 1000000000 / POD_METADATA_RATE;
	expect(get(fixture, "pod/annotations"), 200, JSON_TYPE, "null");
	fixture->now = now + 1000000000 / POD_METADATA_RATE;
	expect(get(fixture, "pod/annotations"), 503, ASCII_TYPE, NULL);
}

#define METADATA_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		METADATA_TEST(annotations_of_a_pod_without_any_are_null),
		METADATA_TEST(manifest_is_the_resolved_one),
		METADATA_TEST(annotations_of_an_app_are_those_of_the_pod_over_those_of_the_image),
		METADATA_TEST(image_manifest_is_the_one_that_was_imported),
		METADATA_TEST(what_is_not_there_is_404),
		METADATA_TEST(signature_is_over_the_uuid_and_the_content),
		METADATA_TEST(signature_is_right_for_its_pod_and_content_alone),
		METADATA_TEST(pods_of_one_data_directory_verify_each_other),
		METADATA_TEST(key_is_made_once_and_is_nobody_elses),
		METADATA_TEST(damaged_key_is_not_used),
		METADATA_TEST(malformed_values_are_bad_requests),
		METADATA_TEST(messages_that_guest_init_does_not_send_break_the_protocol),
		METADATA_TEST(guest_that_asks_too_often_is_put_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
