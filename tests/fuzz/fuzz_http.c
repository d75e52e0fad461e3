// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_http.c: a request as a client of the metadata service sends it, and its body as a form.
 *
 * Whatever is taken lies inside the data, and does not depend on how much has come after it.
 */
#include "base/http.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void form_check(const char *form, size_t length)
{
	char *value = malloc(length ? length : 1);
	ssize_t n = value ? http_form_get(form, length, "content", value) : -ENOMEM;

	if (n > (ssize_t)length)
		__builtin_trap();
	free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct http_request request, again;
	enum http_status status;
	char path[64];
	int r = http_request_parse(text, size, &request, &status);

	form_check(text, size);
	if (r == -EAGAIN && size >= HTTP_HEAD_MAX)
		__builtin_trap();
	if (r == -EBADMSG && (status < 400 || !strcmp(http_reason(status), "Unknown")))
		__builtin_trap();
	if (r < 0)
		return 0;
	if (request.head_length > size || request.head_length > HTTP_HEAD_MAX ||
		request.body_length > HTTP_BODY_MAX || request.path_length == 0 ||
		request.path_offset + request.path_length > request.head_length ||
		text[request.path_offset] != '/')
		__builtin_trap();
	if (http_request_parse(text, request.head_length, &again, &status) < 0 ||
		again.head_length != request.head_length ||
		again.body_length != request.body_length || again.method != request.method)
		__builtin_trap();
	if (http_path_decode(text + request.path_offset, request.path_length, path, sizeof(path)) ==
			0 &&
		strlen(path) >= sizeof(path))
		__builtin_trap();
	return 0;
}
