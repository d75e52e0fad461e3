// SPDX-License-Identifier: Apache-2.0
/* http.c: requests and forms. */
#include "base/http.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* A part of the data that is being read. */
struct span {
	const char *text;
	size_t length;
};

const char *http_reason(unsigned int status)
{
	switch (status) {
	case HTTP_OK:
		return "OK";
	case HTTP_BAD_REQUEST:
		return "Bad Request";
	case HTTP_UNAUTHORIZED:
		return "Unauthorized";
	case HTTP_FORBIDDEN:
		return "Forbidden";
	case HTTP_NOT_FOUND:
		return "Not Found";
	case HTTP_METHOD_NOT_ALLOWED:
		return "Method Not Allowed";
	case HTTP_LENGTH_REQUIRED:
		return "Length Required";
	case HTTP_CONTENT_TOO_LARGE:
		return "Content Too Large";
	case HTTP_EXPECTATION_FAILED:
		return "Expectation Failed";
	case HTTP_FIELDS_TOO_LARGE:
		return "Request Header Fields Too Large";
	case HTTP_INTERNAL_ERROR:
		return "Internal Server Error";
	case HTTP_UNAVAILABLE:
		return "Service Unavailable";
	case HTTP_VERSION_NOT_SUPPORTED:
		return "HTTP Version Not Supported";
	default:
		return "Unknown";
	}
}

static bool span_is(struct span span, const char *word)
{
	return span.length == strlen(word) && !strncasecmp(span.text, word, span.length);
}

/* Characters of methods and field names. */
static bool is_token(struct span span)
{
	for (size_t i = 0; i < span.length; i++) {
		char c = span.text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c && strchr("!#$%&'*+-.^_`|~", c))))
			return false;
	}
	return span.length > 0;
}

static struct span trim(struct span span)
{
	while (span.length > 0 && (*span.text == ' ' || *span.text == '\t')) {
		span.text++;
		span.length--;
	}
	while (span.length > 0 &&
		(span.text[span.length - 1] == ' ' || span.text[span.length - 1] == '\t'))
		span.length--;
	return span;
}

/* Takes what is before the first c out of rest, and c itself. All of rest where there is no c. */
static struct span span_take(struct span *rest, char c)
{
	const char *end = memchr(rest->text, c, rest->length);
	struct span taken = {rest->text, end ? (size_t)(end - rest->text) : rest->length};
	size_t used = taken.length + (end ? 1 : 0);

	rest->text += used;
	rest->length -= used;
	return taken;
}

static int fail(enum http_status *ret_status, enum http_status status)
{
	*ret_status = status;
	return -EBADMSG;
}

/* "/path?query", or "http://authority/path" as to a proxy. */
static bool target_parse(struct span target, const char *data, struct http_request *request)
{
	static const char scheme[] = "http://";
	size_t scheme_length = sizeof(scheme) - 1;

	for (size_t i = 0; i < target.length; i++)
		if (target.text[i] < 0x21 || target.text[i] > 0x7e)
			return false;
	if (target.length > scheme_length && !strncasecmp(target.text, scheme, scheme_length)) {
		const char *path =
			memchr(target.text + scheme_length, '/', target.length - scheme_length);

		if (!path)
			return false;
		target.length -= (size_t)(path - target.text);
		target.text = path;
	}
	if (target.length == 0 || target.text[0] != '/')
		return false;
	request->path_offset = (size_t)(target.text - data);
	request->path_length = span_take(&target, '?').length;
	return true;
}

static int request_line_parse(
	struct span line, const char *data, struct http_request *request, enum http_status *status)
{
	struct span method = span_take(&line, ' '), target = span_take(&line, ' ');

	if (!is_token(method) || !target_parse(target, data, request))
		return fail(status, HTTP_BAD_REQUEST);
	if (line.length != 8 || memcmp(line.text, "HTTP/", 5) || line.text[6] != '.' ||
		line.text[5] < '0' || line.text[5] > '9' || line.text[7] < '0' ||
		line.text[7] > '9')
		return fail(status, HTTP_BAD_REQUEST);
	if (line.text[5] != '1')
		return fail(status, HTTP_VERSION_NOT_SUPPORTED);
	request->keep_alive = line.text[7] != '0';
	request->method = HTTP_OTHER_METHOD;
	if (method.length == 3 && !memcmp(method.text, "GET", 3))
		request->method = HTTP_GET;
	else if (method.length == 4 && !memcmp(method.text, "HEAD", 4))
		request->method = HTTP_HEAD;
	else if (method.length == 4 && !memcmp(method.text, "POST", 4))
		request->method = HTTP_POST;
	return 0;
}

/* What the fields said, beside what the request keeps. */
struct head_state {
	unsigned int hosts, lengths;
	bool has_transfer_coding;
	bool too_large;
};

static void connection_parse(struct span value, struct http_request *request)
{
	while (value.length > 0) {
		struct span option = trim(span_take(&value, ','));

		if (span_is(option, "close"))
			request->keep_alive = false;
		else if (span_is(option, "keep-alive"))
			request->keep_alive = true;
	}
}

static int length_parse(struct span value, struct http_request *request, struct head_state *state)
{
	size_t length = 0;

	if (value.length == 0 || state->lengths++ > 0)
		return -EINVAL;
	for (size_t i = 0; i < value.length; i++) {
		if (value.text[i] < '0' || value.text[i] > '9')
			return -EINVAL;
		length = length * 10 + (size_t)(value.text[i] - '0');
		if (length > HTTP_BODY_MAX) {
			state->too_large = true;
			length = HTTP_BODY_MAX;
		}
	}
	request->body_length = length;
	return 0;
}

static int field_parse(struct span line, struct http_request *request, struct head_state *state,
	enum http_status *status)
{
	struct span name = span_take(&line, ':'), value = trim(line);

	if (!is_token(name) || line.text == name.text + name.length)
		return fail(status, HTTP_BAD_REQUEST);
	for (size_t i = 0; i < value.length; i++)
		if (((unsigned char)value.text[i] < ' ' && value.text[i] != '\t') ||
			value.text[i] == 0x7f)
			return fail(status, HTTP_BAD_REQUEST);
	if (span_is(name, "Host")) {
		state->hosts++;
	} else if (span_is(name, "Content-Length")) {
		if (length_parse(value, request, state) < 0)
			return fail(status, HTTP_BAD_REQUEST);
	} else if (span_is(name, "Transfer-Encoding")) {
		state->has_transfer_coding = true;
	} else if (span_is(name, "Connection")) {
		connection_parse(value, request);
	} else if (span_is(name, "Content-Type")) {
		request->is_form =
			span_is(trim(span_take(&value, ';')), "application/x-www-form-urlencoded");
	} else if (span_is(name, "Expect")) {
		if (!span_is(value, "100-continue"))
			return fail(status, HTTP_EXPECTATION_FAILED);
		request->expects_continue = true;
	}
	return 0;
}

/* The next line of the head, without its CRLF. Neither byte stands for itself. */
static bool line_take(struct span *head, struct span *ret)
{
	struct span line = span_take(head, '\n');

	if (line.length == 0 || line.text[line.length - 1] != '\r')
		return false;
	line.length--;
	*ret = line;
	return !memchr(line.text, '\r', line.length);
}

static int head_parse(
	struct span head, const char *data, struct http_request *request, enum http_status *status)
{
	bool is_1_1 = false, is_first = true;
	struct head_state state = {0};
	struct span line;
	int r;

	while (head.length > 0) {
		if (!line_take(&head, &line))
			return fail(status, HTTP_BAD_REQUEST);
		if (is_first) {
			r = request_line_parse(line, data, request, status);
			is_1_1 = r == 0 && request->keep_alive;
			is_first = false;
		} else {
			r = field_parse(line, request, &state, status);
		}
		if (r < 0)
			return r;
	}
	if (is_first || state.hosts > 1 || (is_1_1 && state.hosts != 1) ||
		(state.has_transfer_coding && state.lengths > 0))
		return fail(status, HTTP_BAD_REQUEST);
	if (state.has_transfer_coding)
		return fail(status, HTTP_LENGTH_REQUIRED);
	if (state.too_large)
		return fail(status, HTTP_CONTENT_TOO_LARGE);
	return 0;
}

int http_request_parse(
	const char *data, size_t length, struct http_request *ret, enum http_status *ret_status)
{
	size_t limit = length < HTTP_HEAD_MAX ? length : HTTP_HEAD_MAX, start = 0;
	const char *end;

	*ret = (struct http_request){0};
	/* An empty line before the request line is left over from an earlier body. */
	while (limit - start >= 2 && !memcmp(data + start, "\r\n", 2))
		start += 2;
	end = memmem(data + start, limit - start, "\r\n\r\n", 4);
	if (!end)
		return length < HTTP_HEAD_MAX ? -EAGAIN : fail(ret_status, HTTP_FIELDS_TOO_LARGE);
	ret->head_length = (size_t)(end - data) + 4;
	return head_parse((struct span){data + start, (size_t)(end - data) + 2 - start}, data, ret,
		ret_status);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX, and '+' in forms, into text, which has room for as many. Returns the length or -EINVAL. */
static ssize_t percent_decode(struct span span, bool is_form, char *text)
{
	size_t length = 0;

	for (size_t i = 0; i < span.length; i++) {
		int high, low;

		if (span.text[i] != '%') {
			text[length++] = is_form && span.text[i] == '+' ? ' ' : span.text[i];
			continue;
		}
		if (span.length - i < 3)
			return -EINVAL;
		high = hex_value(span.text[i + 1]);
		low = hex_value(span.text[i + 2]);
		if (high < 0 || low < 0)
			return -EINVAL;
		text[length++] = (char)(high << 4 | low);
		i += 2;
	}
	return (ssize_t)length;
}

int http_path_decode(const char *path, size_t length, char *text, size_t size)
{
	ssize_t decoded;

	if (length >= size)
		return -EINVAL;
	decoded = percent_decode((struct span){path, length}, false, text);
	if (decoded < 0 || memchr(text, '\0', (size_t)decoded))
		return -EINVAL;
	text[decoded] = '\0';
	return 0;
}

ssize_t http_form_get(const char *form, size_t length, const char *name, char *value)
{
	struct span rest = {form, length};

	while (rest.length > 0) {
		struct span field = span_take(&rest, '&'), key = span_take(&field, '=');
		ssize_t key_length = percent_decode(key, true, value);

		if (key_length < 0)
			return -EINVAL;
		if ((size_t)key_length == strlen(name) && !memcmp(value, name, (size_t)key_length))
			return percent_decode(field, true, value);
	}
	return -ENOENT;
}
