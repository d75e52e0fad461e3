/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file from an http or https server, through libcurl, which a child process without privileges
 * loads when there is something to download: no other process of ours ever has it in memory.
 */
#ifndef APPC_STORE_DOWNLOAD_H
#define APPC_STORE_DOWNLOAD_H

#include "store/credentials.h"
#include "store/store.h"

#define DOWNLOAD_ETAG_SIZE 256

struct download_options {
	uint64_t size_max; /* bytes */
	const char *etag;  /* ask whether it has changed since this entity tag; NULL: do not ask */
	bool any_certificate; /* certificates of the server are not verified */
	bool allow_http;      /* an https:// URL may redirect to http:// */
	const struct credentials
		*credentials; /* for the URL's own server, not for those of redirects; NULL: none */
	store_progress_fn *progress; /* may be NULL */
	void *progress_context;
};

struct download_result {
	bool not_modified;             /* nothing was written: etag still names what is there */
	char etag[DOWNLOAD_ETAG_SIZE]; /* the server's entity tag, with its quotes; "": none */
};

/*
 * Writes what the http:// or https:// URL names to fd, an empty file open for writing. Redirects are
 * followed, ten at most, and only to http and https. A server that cannot be reached for 30 s, or from
 * which nothing comes for 60 s, is an error. -ENOENT: the server says there is no such thing; -EFBIG:
 * larger than size_max; -EACCES: its certificate is not trusted, or it asks for a password; another
 * -errno. The proxy variables of the environment (https_proxy ...) are honoured.
 */
int download_url(const char *url, int fd, const struct download_options *options,
	struct download_result *ret, struct error *err);

#endif
