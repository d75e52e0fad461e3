// SPDX-License-Identifier: Apache-2.0
/* test_http.c: requests and forms as servers read them. */
#include "base/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses a copy without a NUL, so that the sanitizer sees what is read too far. */
static int parse(const char *text, struct http_request *request, enum http_status *status)
{
	size_t length = strlen(text);
	char *copy = malloc(length ? length : 1);
	int r;

	memcpy(copy, text, length);
	r = http_request_parse(copy, length, request, status);
	free(copy);
	return r;
}

#define GO_REQUEST                                                            \
	"GET /token/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: 127.0.0.1:1\r\n" \
	"User-Agent: Go-http-client/1.1\r\nMetadata-Flavor: AppContainer\r\n" \
	"Accept-Encoding: gzip\r\n\r\n"

static void request_of_the_validator(void **state)
{
	struct http_request request;
	enum http_status status;

	(void)state;
	assert_int_equal(parse(GO_REQUEST, &request, &status), 0);
	assert_int_equal(request.method, HTTP_GET);
	assert_int_equal(request.path_offset, 4);
	assert_int_equal(request.path_length, strlen("/token/acMetadata/v1/pod/uuid"));
	assert_int_equal(request.head_length, strlen(GO_REQUEST));
	assert_int_equal(request.body_length, 0);
	assert_true(request.keep_alive);
	assert_false(request.expects_continue);
	assert_false(request.is_form);
}

static void request_in_parts_is_waited_for(void **state)
{
	struct http_request request;
	enum http_status status;

	(void)state;
	for (size_t length = 0; length < strlen(GO_REQUEST); length++) {
		char *copy = malloc(length ? length : 1);

		memcpy(copy, GO_REQUEST, length);
		assert_int_equal(http_request_parse(copy, length, &request, &status), -EAGAIN);
		free(copy);
	}
}

static void form_and_what_goes_with_it(void **state)
{
	struct http_request request;
	enum http_status status;

	(void)state;
	assert_int_equal(
		parse("\r\nPOST http://127.0.0.1:18112/a/b?c=d HTTP/1.1\r\nhost:x\r\n"
		      "CONTENT-LENGTH:  7 \r\nExpect: 100-Continue\r\nConnection: x , Close\r\n"
		      "content-type: Application/X-WWW-Form-Urlencoded; charset=utf-8\r\n\r\na=b&c=d",
			&request, &status),
		0);
	assert_int_equal(request.method, HTTP_POST);
	assert_int_equal(request.path_length, strlen("/a/b"));
	assert_int_equal(request.path_offset, strlen("\r\nPOST http://127.0.0.1:18112"));
	assert_int_equal(request.body_length, 7);
	assert_true(request.expects_continue);
	assert_true(request.is_form);
	assert_false(request.keep_alive);
}

static void connections_are_kept_as_versions_have_it(void **state)
{
	static const struct {
		const char *text;
		bool kept;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"GET / HTTP/1.2\r\nHost: a\r\n\r\n", true},
		{"GET / HTTP/1.0\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
	};
	struct http_request request;
	enum http_status status;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(parse(cases[i].text, &request, &status), 0);
		assert_int_equal(request.keep_alive, cases[i].kept);
	}
}

static void methods_are_told_apart_by_case(void **state)
{
	static const struct {
		const char *text;
		enum http_method method;
	} cases[] = {
		{"HEAD / HTTP/1.0\r\n\r\n", HTTP_HEAD},
		{"get / HTTP/1.0\r\n\r\n", HTTP_OTHER_METHOD},
		{"DELETE / HTTP/1.0\r\n\r\n", HTTP_OTHER_METHOD},
		{"POSTS / HTTP/1.0\r\n\r\n", HTTP_OTHER_METHOD},
	};
	struct http_request request;
	enum http_status status;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(parse(cases[i].text, &request, &status), 0);
		assert_int_equal(request.method, cases[i].method);
	}
}

#define FIELDS(fields) "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n\r\n"

static void what_could_be_read_in_two_ways_is_refused(void **state)
{
	static const struct {
		const char *text;
		enum http_status status;
	} cases[] = {
		{"GET\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET /\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{" GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET / http/1.1\r\nHost: a\r\n\r\n", HTTP_BAD_REQUEST},
		{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", HTTP_VERSION_NOT_SUPPORTED},
		{"GET / HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST},
		{FIELDS("Host: b"), HTTP_BAD_REQUEST},
		{FIELDS("A : b"), HTTP_BAD_REQUEST},
		{FIELDS("no colon"), HTTP_BAD_REQUEST},
		{FIELDS(": nothing"), HTTP_BAD_REQUEST},
		{FIELDS("A: b\r\n folded"), HTTP_BAD_REQUEST},
		{FIELDS("A: b\nC: d"), HTTP_BAD_REQUEST},
		{FIELDS("A: b\rC: d"), HTTP_BAD_REQUEST},
		{FIELDS("A: \x01"), HTTP_BAD_REQUEST},
		{FIELDS("Content-Length:"), HTTP_BAD_REQUEST},
		{FIELDS("Content-Length: -1"), HTTP_BAD_REQUEST},
		{FIELDS("Content-Length: +1"), HTTP_BAD_REQUEST},
		{FIELDS("Content-Length: 0x1"), HTTP_BAD_REQUEST},
		{FIELDS("Content-Length: 1, 1"), HTTP_BAD_REQUEST},
		{FIELDS("Content-Length: 1\r\nContent-Length: 1"), HTTP_BAD_REQUEST},
		{FIELDS("Content-Length: 40961"), HTTP_CONTENT_TOO_LARGE},
		{FIELDS("Content-Length: 18446744073709551617"), HTTP_CONTENT_TOO_LARGE},
		{FIELDS("Transfer-Encoding: chunked"), HTTP_LENGTH_REQUIRED},
		{FIELDS("Transfer-Encoding: chunked\r\nContent-Length: 1"), HTTP_BAD_REQUEST},
		{FIELDS("Expect: miracles"), HTTP_EXPECTATION_FAILED},
	};
	struct http_request request;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		enum http_status status = 0;

		if (parse(cases[i].text, &request, &status) != -EBADMSG ||
			status != cases[i].status)
			fail_msg("status %d for \"%s\"", (int)status, cases[i].text);
	}
}

static void nul_in_a_request_is_refused(void **state)
{
	static const char text[] = "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n";
	struct http_request request;
	enum http_status status;

	(void)state;
	assert_int_equal(http_request_parse(text, sizeof(text) - 1, &request, &status), -EBADMSG);
	assert_int_equal(status, HTTP_BAD_REQUEST);
}

static void head_without_end_is_refused_at_the_limit(void **state)
{
	char *data = malloc(HTTP_HEAD_MAX);
	struct http_request request;
	enum http_status status;

	(void)state;
	memset(data, 'a', HTTP_HEAD_MAX);
	assert_int_equal(http_request_parse(data, HTTP_HEAD_MAX - 1, &request, &status), -EAGAIN);
	assert_int_equal(http_request_parse(data, HTTP_HEAD_MAX, &request, &status), -EBADMSG);
	assert_int_equal(status, HTTP_FIELDS_TOO_LARGE);
	free(data);
}

static void paths_are_decoded(void **state)
{
	char text[8];

	(void)state;
	assert_int_equal(http_path_decode("/a%2Fb+", 7, text, sizeof(text)), 0);
	assert_string_equal(text, "/a/b+");
	assert_int_equal(http_path_decode("/%00", 4, text, sizeof(text)), -EINVAL);
	assert_int_equal(http_path_decode("/%4", 3, text, sizeof(text)), -EINVAL);
	assert_int_equal(http_path_decode("/%g1", 4, text, sizeof(text)), -EINVAL);
	assert_int_equal(http_path_decode("/1234567", 8, text, sizeof(text)), -EINVAL);
}

static ssize_t form_get(const char *form, const char *name, char value[64])
{
	size_t length = strlen(form);
	char *copy = malloc(length ? length : 1), *room = malloc(length ? length : 1);
	ssize_t n;

	memcpy(copy, form, length);
	n = http_form_get(copy, length, name, room);
	if (n > 0)
		memcpy(value, room, (size_t)n);
	if (n >= 0)
		value[n] = '\0';
	free(copy);
	free(room);
	return n;
}

static void forms_are_decoded(void **state)
{
	char value[64];

	(void)state;
	assert_int_equal(form_get("content=Old+MacDonald%21&uuid=1", "content", value), 14);
	assert_string_equal(value, "Old MacDonald!");
	assert_int_equal(form_get("a=1&c%6fntent=x%00y&content=z", "content", value), 3);
	assert_memory_equal(value, "x\0y", 3);
	assert_int_equal(form_get("content", "content", value), 0);
	assert_int_equal(form_get("content=", "content", value), 0);
	assert_int_equal(form_get("=x&&content=a=b", "content", value), 3);
	assert_string_equal(value, "a=b");
	assert_int_equal(form_get("", "content", value), -ENOENT);
	assert_int_equal(form_get("contents=1&conten=2", "content", value), -ENOENT);
	assert_int_equal(form_get("content=%", "content", value), -EINVAL);
	assert_int_equal(form_get("%zz=1&content=1", "content", value), -EINVAL);
}

static void every_status_has_its_phrase(void **state)
{
	(void)state;
	assert_string_equal(http_reason(HTTP_OK), "OK");
	assert_string_equal(http_reason(HTTP_FORBIDDEN), "Forbidden");
	assert_string_equal(http_reason(HTTP_UNAVAILABLE), "Service Unavailable");
	assert_string_equal(http_reason(299), "Unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_of_the_validator),
		cmocka_unit_test(request_in_parts_is_waited_for),
		cmocka_unit_test(form_and_what_goes_with_it),
		cmocka_unit_test(connections_are_kept_as_versions_have_it),
		cmocka_unit_test(methods_are_told_apart_by_case),
		cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
		cmocka_unit_test(nul_in_a_request_is_refused),
		cmocka_unit_test(head_without_end_is_refused_at_the_limit),
		cmocka_unit_test(paths_are_decoded),
		cmocka_unit_test(forms_are_decoded),
		cmocka_unit_test(every_status_has_its_phrase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
