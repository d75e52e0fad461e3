// SPDX-License-Identifier: Apache-2.0
/*
 * download.c: libcurl in a child process.
 *
 * Theory of operation. The child loads libcurl, which costs some milliseconds and twenty libraries that no
 * other command needs, and speaks TLS and HTTP with a stranger. It has no privileges and two files: the one
 * to write to, and a pipe on which it sends records: how far it has come, and at the end what became of it.
 * The parent believes the records no more than it would the server: texts are ended and cleaned, and what
 * was downloaded is a stranger's file as before.
 */
#include "store/download.h"

#include "base/child.h"
#include "base/file.h"
#include "base/log.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <strings.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>

#define LIBRARY           "libcurl.so.4"
#define CONNECT_SECONDS   30L
#define SILENCE_SECONDS   60L
#define REDIRECTS_MAX     10L
#define HTTP_NOT_MODIFIED 304L
#define HTTP_UNAUTHORIZED 401L
#define HTTP_FORBIDDEN    403L
#define HTTP_NOT_FOUND    404L
#define HTTP_GONE         410L
/* A record on the way for each so many bytes. */
#define PROGRESS_BYTES (1u << 20)

/* The child's files. */
enum { FD_OUTPUT = CHILD_FIRST_FD, FD_REPORT };

/* One record. A pipe takes it whole. */
struct report {
	uint64_t done, total;
	int32_t result; /* 1: still at work; else 0 or -errno */
	uint32_t not_modified;
	char etag[DOWNLOAD_ETAG_SIZE];
	char message[512];
};

/* ---- the child */

struct library {
	__typeof__(curl_global_init) *global_init;
	__typeof__(curl_easy_init) *init;
	__typeof__(curl_easy_setopt) *setopt;
	__typeof__(curl_easy_perform) *perform;
	__typeof__(curl_easy_getinfo) *getinfo;
	__typeof__(curl_easy_strerror) *strerror;
	__typeof__(curl_slist_append) *slist_append;
};

struct transfer {
	const struct download_options *options;
	uint64_t written, reported;
	int error; /* -errno of our own */
	char etag[DOWNLOAD_ETAG_SIZE];
};

static bool library_load(struct library *ret)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	const struct {
		const char *name;
		void *function;
	} symbols[] = {
		{"curl_global_init", &ret->global_init},
		{"curl_easy_init", &ret->init},
		{"curl_easy_setopt", &ret->setopt},
		{"curl_easy_perform", &ret->perform},
		{"curl_easy_getinfo", &ret->getinfo},
		{"curl_easy_strerror", &ret->strerror},
		{"curl_slist_append", &ret->slist_append},
	};

	for (size_t i = 0; handle && i < ARRAY_SIZE(symbols); i++) {
		void *address = dlsym(handle, symbols[i].name);

		if (!address)
			return false;
		memcpy(symbols[i].function, &address, sizeof(address));
	}
	return handle;
}

static size_t on_data(char *data, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;
	size_t length = size * count; /* size is 1 */

	if (length > transfer->options->size_max - transfer->written)
		transfer->error = -EFBIG;
	else
		transfer->error = file_write_all(FD_OUTPUT, data, length);
	if (transfer->error < 0)
		return 0;
	transfer->written += length;
	return length;
}

/* The headers of each answer; those of a redirect's count for nothing. */
static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	static const char name[] = "etag:";
	struct transfer *transfer = context;
	size_t length = size * count, rest = length;
	const char *value = data + strlen(name);

	if (length >= 5 && !strncasecmp(data, "HTTP/", 5))
		*transfer->etag = '\0';
	if (length <= strlen(name) || strncasecmp(data, name, strlen(name)))
		return length;
	for (rest -= strlen(name); rest > 0 && (*value == ' ' || *value == '\t'); rest--)
		value++;
	while (rest > 0 && strchr("\r\n \t", value[rest - 1]))
		rest--;
	if (rest < sizeof(transfer->etag))
		snprintf(transfer->etag, sizeof(transfer->etag), "%.*s", (int)rest, value);
	return length;
}

static int on_progress(void *context, curl_off_t total, curl_off_t done, curl_off_t upload_total,
	curl_off_t upload_done)
{
	struct transfer *transfer = context;
	struct report report = {
		.done = (uint64_t)(done > 0 ? done : 0),
		.total = (uint64_t)(total > 0 ? total : 0),
		.result = 1,
	};

	(void)upload_total;
	(void)upload_done;
	if (report.done - transfer->reported < PROGRESS_BYTES)
		return 0;
	transfer->reported = report.done;
	/* With nobody to read there is nobody to work for. */
	return file_write_all(FD_REPORT, &report, sizeof(report)) < 0;
}

static int result_errno(const struct transfer *transfer, CURLcode code, long status)
{
	if (transfer->error < 0)
		return transfer->error;
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_FILESIZE_EXCEEDED:
		return -EFBIG;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_LOGIN_DENIED:
		return -EACCES;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_UNSUPPORTED_PROTOCOL:
		return -EPROTONOSUPPORT;
	case CURLE_HTTP_RETURNED_ERROR:
		return status == HTTP_NOT_FOUND || status == HTTP_GONE            ? -ENOENT
			: status == HTTP_UNAUTHORIZED || status == HTTP_FORBIDDEN ? -EACCES
										  : -EIO;
	default:
		return -EIO;
	}
}

/* Whether the server's answer is only that nothing has changed. */
static bool set_etag(const struct library *curl, CURL *handle, const char *etag)
{
	char header[sizeof("If-None-Match: ") + DOWNLOAD_ETAG_SIZE];
	struct curl_slist *headers;

	snprintf(header, sizeof(header), "If-None-Match: %s", etag);
	headers = curl->slist_append(NULL, header);
	return headers && curl->setopt(handle, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
}

static bool set_options(const struct library *curl, CURL *handle, const char *url,
	struct transfer *transfer, char *error_text)
{
	const struct download_options *options = transfer->options;
	const struct credential *credential = NULL;
	bool is_https = !strncasecmp(url, "https:", 6), secure = is_https && !options->allow_http;
	long verify = !options->any_certificate;
	bool ok = true;

#define SET(option, value) (ok = ok && curl->setopt(handle, (option), (value)) == CURLE_OK)
	SET(CURLOPT_ERRORBUFFER, error_text);
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 1L);
	SET(CURLOPT_MAXREDIRS, REDIRECTS_MAX);
	SET(CURLOPT_FAILONERROR, 1L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
	SET(CURLOPT_LOW_SPEED_TIME, SILENCE_SECONDS);
	SET(CURLOPT_MAXFILESIZE_LARGE,
		(curl_off_t)(options->size_max < INT64_MAX ? options->size_max : INT64_MAX));
	SET(CURLOPT_SSL_VERIFYPEER, verify);
	SET(CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);
	/* In clear only where a person has said so. */
	if (is_https || options->allow_http)
		credential = credentials_find(options->credentials, url);
	if (credential && credential->token) {
		SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
		SET(CURLOPT_XOAUTH2_BEARER, credential->token);
	} else if (credential) {
		SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		SET(CURLOPT_USERNAME, credential->user);
		SET(CURLOPT_PASSWORD, credential->password);
	}
	SET(CURLOPT_USERAGENT, "appc-vm/" APPC_VM_VERSION);
	SET(CURLOPT_WRITEFUNCTION, on_data);
	SET(CURLOPT_WRITEDATA, transfer);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, transfer);
#undef SET
	return ok && (!options->etag || set_etag(curl, handle, options->etag));
}

static void transfer_perform(
	const char *url, const struct download_options *options, struct report *report)
{
	struct transfer transfer = {.options = options};
	char text[CURL_ERROR_SIZE] = "";
	struct library curl;
	long status = 0;
	CURL *handle;
	CURLcode code;

	if (!library_load(&curl)) {
		report->result = -ELIBACC;
		snprintf(report->message, sizeof(report->message), "%s cannot be loaded", LIBRARY);
		return;
	}
	if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(handle = curl.init()) ||
		!set_options(&curl, handle, url, &transfer, text)) {
		report->result = -EINVAL;
		snprintf(report->message, sizeof(report->message), "%s",
			*text ? text : "libcurl refuses the request");
		return;
	}
	code = curl.perform(handle);
	curl.getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	report->result = result_errno(&transfer, code, status);
	report->not_modified = report->result == 0 && options->etag && status == HTTP_NOT_MODIFIED;
	snprintf(report->etag, sizeof(report->etag), "%s", transfer.etag);
	if (transfer.error == -EFBIG || report->result == -EFBIG)
		snprintf(report->message, sizeof(report->message), "larger than %llu bytes",
			(unsigned long long)options->size_max);
	else if (transfer.error < 0)
		snprintf(report->message, sizeof(report->message), "cannot write: %s",
			strerror(-transfer.error));
	else if (code == CURLE_HTTP_RETURNED_ERROR)
		snprintf(report->message, sizeof(report->message), "bad HTTP status code: %ld",
			status);
	else if (code != CURLE_OK)
		snprintf(report->message, sizeof(report->message), "%s",
			*text ? text : curl.strerror(code));
}

static void child_main(const char *url, const struct download_options *options)
{
	const struct rlimit size = {options->size_max, options->size_max};
	struct report report = {0};

	/* Holds even for what we do not mean to do. */
	if (setrlimit(RLIMIT_FSIZE, &size) < 0)
		_exit(127);
	transfer_perform(url, options, &report);
	_exit(file_write_all(FD_REPORT, &report, sizeof(report)) < 0 ? 1 : 0);
}

/* ---- the parent */

static bool etag_is_sane(const char *etag)
{
	for (const char *c = etag; *c; c++)
		if (*c < 0x21 || *c > 0x7e)
			return false;
	return true;
}

/* The last record. -EPIPE: the child died without one. */
static int read_reports(int fd, const struct download_options *options, struct report *ret)
{
	for (;;) {
		size_t done = 0;

		while (done < sizeof(*ret)) {
			ssize_t n = read(fd, (char *)ret + done, sizeof(*ret) - done);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			if (n == 0)
				return -EPIPE;
			done += (size_t)n;
		}
		if (ret->result <= 0)
			return 0;
		if (options->progress)
			options->progress(options->progress_context, ret->done, ret->total);
	}
}

int download_url(const char *url, int fd, const struct download_options *options,
	struct download_result *ret, struct error *err)
{
	_cleanup_close_ int read_end = -1, write_end = -1;
	struct report report;
	int fds[2], r, status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set_errno(err, -errno, "%s", url);
	read_end = fds[0];
	write_end = fds[1];
	pid = child_fork_unprivileged((const int[]){fd, write_end}, 2);
	if (pid < 0)
		return error_set_errno(err, pid, "%s", url);
	if (pid == 0)
		child_main(url, options);
	close(TAKE_FD(write_end));
	r = read_reports(read_end, options, &report);
	close(TAKE_FD(read_end));
	status = child_wait(pid);
	if (r < 0)
		return error_set(
			err, -EIO, "%s: the download ended unexpectedly (status %d)", url, status);
	report.etag[sizeof(report.etag) - 1] = '\0';
	report.message[sizeof(report.message) - 1] = '\0';
	if (report.result < 0)
		return error_set(err, report.result, "%s: %s", url, log_sanitise(report.message));
	*ret = (struct download_result){.not_modified = options->etag && report.not_modified};
	if (etag_is_sane(report.etag))
		memcpy(ret->etag, report.etag, sizeof(ret->etag));
	return 0;
}
