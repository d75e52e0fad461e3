/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person may write where an image is asked for: an image id, a URL, the path of a file, or a
 * name with labels. Which of them a text is, is guessed in rkt's order, the first that applies:
 *   begins with "sha512-"                an image id or the beginning of one
 *   SCHEME://...                         a URL
 *   an absolute path                     a path
 *   names an existing regular file       a path
 *   has a ':'                            a name ("example.com/app:1.0")
 *   has a "./"                           a path
 *   ends with ".aci"                     a path
 *   anything else                        a name
 * (rkt takes "app:1.0" for a URL of scheme "app", which no rkt can fetch; here it is a name.)
 */
#ifndef APPC_STORE_IMAGE_ARGUMENT_H
#define APPC_STORE_IMAGE_ARGUMENT_H

#include "appc/strings.h"
#include "store/store.h"

enum image_argument_kind {
	IMAGE_ARGUMENT_ID,
	IMAGE_ARGUMENT_URL,
	IMAGE_ARGUMENT_PATH,
	IMAGE_ARGUMENT_NAME,
};

/* Paths are relative to the working directory. */
enum image_argument_kind image_argument_guess(const char *text);

/* A name with labels, as appc/strings.h says, with a message that names it. */
int image_reference_parse(const char *text, struct appc_image_reference *ret, struct error *err);

/*
 * The image of the store with that id, beginning of an id, or name with labels (of several the
 * newest import). Errors as those of store_find_id() and store_find_name().
 */
int store_find_image(struct store *store, const char *text, char *ret_id, struct error *err);

#endif
