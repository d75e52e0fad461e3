/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images from files and URLs that are not trusted by themselves: their detached signatures are verified
 * before anything of them is parsed, and the signer must be trusted for the image's name before the
 * image appears in the store.
 *
 * What is verified and what is imported are the same bytes: a private copy in the store's tmp/, of a
 * download or of the file.
 * Of each http(s) URL the store remembers the image and the server's entity tag (remotes/), so that
 * fetching it again asks only whether it has changed.
 * Each function may take as long as the network does; a struct store belongs to one thread.
 */
#ifndef APPC_STORE_FETCH_H
#define APPC_STORE_FETCH_H

#include "store/store.h"

enum pull_policy {
	PULL_NEW,    /* fetched unless the store has an image from that URL: rkt's default of run */
	PULL_UPDATE, /* fetched unless the server says that it has not changed: rkt's of fetch */
	PULL_NEVER,  /* only what the store has */
};

struct store_fetch_options {
	enum pull_policy policy; /* of http(s) URLs; a file is always read */
	/* A path or an http(s):// URL; NULL: beside the image, ".aci.asc" in place of ".aci". */
	const char *signature;
	bool allow_unsigned;        /* signatures are neither looked for nor verified */
	bool any_certificate;       /* certificates of servers are not verified */
	bool allow_http;            /* https:// may redirect to http:// */
	struct store_limits limits; /* of the image; that of a file's size holds for the file too */
	const struct credentials *credentials; /* for servers; NULL: none */
	store_progress_fn *progress;           /* may be NULL */
	void *progress_context;
};

/* From a file. */
int store_fetch_path(struct store *store, const char *path,
	const struct store_fetch_options *options, char *ret_id, struct error *err);

/*
 * From a URL: file://, http:// or https://; another scheme is -EPROTONOSUPPORT. -ENOENT: the policy
 * is PULL_NEVER and there is no image from that URL.
 */
int store_fetch_url(struct store *store, const char *url, const struct store_fetch_options *options,
	char *ret_id, struct error *err);

/* Forgets the URLs of images that are gone. */
int store_fetch_clean(struct store *store, struct error *err);

/*
 * A public key from a file or an http(s) URL, as it is there: hostile. http:// needs allow_http. The
 * caller frees *ret_data.
 */
int store_fetch_key(const char *place, bool any_certificate, bool allow_http, char **ret_data,
	size_t *ret_length, struct error *err);

#endif
