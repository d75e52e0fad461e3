// SPDX-License-Identifier: Apache-2.0
/* credentials.c: which server gets which password. */
#include "store/credentials.h"

#include <string.h>
#include <strings.h>

void credential_clear(struct credential *credential)
{
	char *const secrets[] = {credential->password, credential->token};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		if (secrets[i])
			explicit_bzero(secrets[i], strlen(secrets[i]));
	free(credential->server);
	free(credential->user);
	free(credential->password);
	free(credential->token);
	*credential = (struct credential){0};
}

void credentials_clear(struct credentials *credentials)
{
	for (size_t i = 0; i < credentials->count; i++)
		credential_clear(&credentials->items[i]);
	free(credentials->items);
	*credentials = (struct credentials){0};
}

int credentials_set(struct credentials *credentials, struct credential *credential)
{
	struct credential *items;
	size_t i = 0;

	while (i < credentials->count &&
		strcasecmp(credentials->items[i].server, credential->server) != 0)
		i++;
	if (i < credentials->count) {
		credential_clear(&credentials->items[i]);
	} else {
		items = reallocarray(credentials->items, credentials->count + 1, sizeof(*items));
		if (!items)
			return -ENOMEM;
		credentials->items = items;
		credentials->count++;
	}
	credentials->items[i] = *credential;
	*credential = (struct credential){0};
	return 0;
}

/*
 * What stands between "//" and the path, the query or the fragment. A URL with a user of its own has said enough;
 * and whatever else a URL may hide there is no server's name.
 */
const struct credential *credentials_find(const struct credentials *credentials, const char *url)
{
	const char *start = strstr(url, "://");
	size_t length;

	if (!credentials || !start)
		return NULL;
	start += strlen("://");
	if (memchr(start, '@', strcspn(start, "/")))
		return NULL;
	length = strcspn(start, "/?#");
	for (size_t i = 0; i < credentials->count; i++)
		if (strlen(credentials->items[i].server) == length &&
			!strncasecmp(credentials->items[i].server, start, length))
			return &credentials->items[i];
	return NULL;
}
