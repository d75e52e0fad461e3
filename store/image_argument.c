// SPDX-License-Identifier: Apache-2.0
/* image_argument.c: tells ids, URLs, paths and names of images apart. */
#include "store/image_argument.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

#define ACI_SUFFIX      ".aci"
#define NAME_LENGTH_MAX 4096

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

static int add_label(const char *text, struct appc_pairs *labels, const char *name,
	const char *value, struct error *err)
{
	struct error reason;
	int r = appc_identifier_check(name, &reason);

	if (r < 0)
		return error_set(
			err, r, "image name \"%s\": label \"%s\": %s", text, name, reason.message);
	if (!strcmp(name, "name"))
		return error_set(
			err, -EINVAL, "image name \"%s\": a label cannot be called \"name\"", text);
	if (appc_pairs_get(labels, name))
		return error_set(err, -EINVAL, "image name \"%s\": label %s with multiple values",
			text, name);
	r = appc_pairs_set(labels, name, value, false);
	return r < 0 ? error_set_errno(err, r, "image name \"%s\"", text) : 0;
}

/* The labels after the name, which are taken apart in place. */
static int parse_labels(
	const char *text, char *version, char *rest, struct appc_pairs *labels, struct error *err)
{
	int r = version ? add_label(text, labels, "version", version, err) : 0;

	while (r == 0 && rest) {
		char *label = strsep(&rest, ",");
		char *value = strchr(label, '=');

		if (!value)
			return error_set(err, -EINVAL,
				"image name \"%s\": malformed app string - has a label without a value: %s",
				text, label);
		*value++ = '\0';
		r = add_label(text, labels, label, value, err);
	}
	return r;
}

int image_name_parse(
	const char *text, char **ret_name, struct appc_pairs *ret_labels, struct error *err)
{
	_cleanup_free_ char *copy = NULL, *name = NULL;
	char *version, *rest, *head;
	struct appc_pairs labels = {0};
	struct error reason;
	int r;

	if (strlen(text) > NAME_LENGTH_MAX)
		return error_set(err, -EINVAL, "image name: longer than %d bytes", NAME_LENGTH_MAX);
	copy = strdup(text);
	if (!copy)
		return error_set_errno(err, -ENOMEM, "image name \"%s\"", text);
	rest = copy;
	head = strsep(&rest, ",");
	if (rest && strchr(rest, ':') && !strchr(head, ':'))
		return error_set(err, -EINVAL,
			"image name \"%s\": malformed app string - colon must appear only right after the "
			"app name",
			text);
	version = strchr(head, ':');
	if (version)
		*version++ = '\0';
	if (version && (strchr(version, ':') || (rest && strchr(rest, ':'))))
		return error_set(err, -EINVAL,
			"image name \"%s\": malformed app string - colon must appear at most once",
			text);
	r = appc_identifier_check(head, &reason);
	if (r < 0)
		return error_set(err, r, "image name \"%s\": %s", text, reason.message);
	name = strdup(head);
	r = name ? parse_labels(text, version, rest, &labels, err)
		 : error_set_errno(err, -ENOMEM, "image name \"%s\"", text);
	if (r < 0) {
		appc_pairs_clear(&labels);
		return r;
	}
	*ret_name = TAKE_PTR(name);
	*ret_labels = labels;
	return 0;
}

int store_find_image(struct store *store, const char *text, char *ret_id, struct error *err)
{
	_cleanup_free_ char *name = NULL;
	struct appc_pairs labels = {0};
	int r;

	if (image_argument_guess(text) == IMAGE_ARGUMENT_ID)
		return store_find_id(store, text, ret_id, err);
	r = image_name_parse(text, &name, &labels, err);
	if (r < 0)
		return r;
	r = store_find_name(store, name, &labels, ret_id, err);
	appc_pairs_clear(&labels);
	return r;
}
