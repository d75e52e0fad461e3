/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests as a server reads them (RFC 9110, RFC 9112), and forms.
 *
 * The client is hostile. Parsing is strict where two readers could disagree: lines end with CRLF, one
 * Host, one Content-Length of digits only, no folded lines, no body of unknown length. Nothing is
 * allocated; what a request points to lies in the caller's buffer.
 */
#ifndef APPC_BASE_HTTP_H
#define APPC_BASE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Longest request line with its header fields, and longest body, bytes. */
#define HTTP_HEAD_MAX 8192u
#define HTTP_BODY_MAX (40u << 10)

enum http_status {
	HTTP_OK = 200,
	HTTP_BAD_REQUEST = 400,
	HTTP_UNAUTHORIZED = 401,
	HTTP_FORBIDDEN = 403,
	HTTP_NOT_FOUND = 404,
	HTTP_METHOD_NOT_ALLOWED = 405,
	HTTP_LENGTH_REQUIRED = 411,
	HTTP_CONTENT_TOO_LARGE = 413,
	HTTP_EXPECTATION_FAILED = 417,
	HTTP_FIELDS_TOO_LARGE = 431,
	HTTP_INTERNAL_ERROR = 500,
	HTTP_UNAVAILABLE = 503,
	HTTP_VERSION_NOT_SUPPORTED = 505,
};

/* The status as a phrase; "Unknown" where there is none. */
const char *http_reason(unsigned int status);

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER_METHOD };

struct http_request {
	enum http_method method;
	size_t path_offset,
		path_length; /* in the data; as sent, without a query; begins with '/' */
	size_t head_length;  /* where the body begins */
	size_t body_length;  /* at most HTTP_BODY_MAX */
	bool is_form;        /* Content-Type: application/x-www-form-urlencoded */
	bool keep_alive;
	bool expects_continue;
};

/*
 * Reads the head of the request at the start of data. 0; -EAGAIN: the head is not whole yet; -EBADMSG: to be
 * answered with *ret_status, and the connection to be closed.
 */
int http_request_parse(
	const char *data, size_t length, struct http_request *ret, enum http_status *ret_status);

/*
 * Decodes %XX of a path into text, which has room for size bytes. 0, or -EINVAL: not well-formed, a NUL
 * or too long.
 */
int http_path_decode(const char *path, size_t length, char *text, size_t size);

/*
 * The first field of that name in a form (application/x-www-form-urlencoded), decoded. value has room for
 * length bytes, and may hold any. Returns its length, -ENOENT, or -EINVAL: the form is not well-formed.
 */
ssize_t http_form_get(const char *form, size_t length, const char *name, char *value);

#endif
