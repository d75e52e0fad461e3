/* SPDX-License-Identifier: Apache-2.0 */
/* Names and passwords, or tokens, that servers of images ask for: one for each server. */
#ifndef APPC_STORE_CREDENTIALS_H
#define APPC_STORE_CREDENTIALS_H

#include "base/cleanup.h"

#include <stddef.h>

struct credential {
	char *server; /* host name as in a URL, with its port unless that is the scheme's own */
	char *user, *password; /* basic authentication; NULL: the token */
	char *token;           /* an OAuth bearer's */
};

struct credentials {
	struct credential *items;
	size_t count;
};

/* Takes over the texts of credential, in place of what there is for that server. -ENOMEM: nothing was taken. */
int credentials_set(struct credentials *credentials, struct credential *credential);

/* For the server of an http:// or https:// URL, or NULL. credentials may be NULL. */
const struct credential *credentials_find(const struct credentials *credentials, const char *url);

void credential_clear(struct credential *credential);
void credentials_clear(struct credentials *credentials);

#endif
