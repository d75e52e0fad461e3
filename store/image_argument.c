// SPDX-License-Identifier: Apache-2.0
/* image_argument.c: tells ids, URLs, paths and names of images apart. */
#include "store/image_argument.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

#define ACI_SUFFIX ".aci"

static bool has_scheme(const char *text)
{
	size_t length = 0;

	if (!isalpha((unsigned char)text[0]))
		return false;
	while (isalnum((unsigned char)text[length]) ||
		(text[length] && strchr("+-.", text[length])))
		length++;
	return !strncmp(text + length, "://", 3);
}

static bool is_regular_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool ends_with(const char *text, const char *suffix)
{
	size_t length = strlen(text), tail = strlen(suffix);

	return length >= tail && !strcmp(text + length - tail, suffix);
}

enum image_argument_kind image_argument_guess(const char *text)
{
	if (!strncmp(text, "sha512-", 7))
		return IMAGE_ARGUMENT_ID;
	if (has_scheme(text))
		return IMAGE_ARGUMENT_URL;
	if (text[0] == '/' || is_regular_file(text))
		return IMAGE_ARGUMENT_PATH;
	if (strchr(text, ':'))
		return IMAGE_ARGUMENT_NAME;
	return strstr(text, "./") || ends_with(text, ACI_SUFFIX) ? IMAGE_ARGUMENT_PATH
								 : IMAGE_ARGUMENT_NAME;
}

int image_reference_parse(const char *text, struct appc_image_reference *ret, struct error *err)
{
	int r = appc_image_reference_from_string(text, ret, err);

	return r < 0 ? error_prefix(err, r, "image name \"%s\"", text) : 0;
}

int store_find_image(struct store *store, const char *text, char *ret_id, struct error *err)
{
	struct appc_image_reference reference;
	int r;

	if (image_argument_guess(text) == IMAGE_ARGUMENT_ID)
		return store_find_id(store, text, ret_id, err);
	r = image_reference_parse(text, &reference, err);
	if (r < 0)
		return r;
	r = store_find_name(store, reference.name, &reference.labels, ret_id, err);
	appc_image_reference_clear(&reference);
	return r;
}
