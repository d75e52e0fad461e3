/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys by which one leaves a terminal without ending what runs there: some keys one after the other. They are held
 * back while they may become the whole sequence, and passed on when they do not.
 */
#ifndef APPC_CLI_DETACH_KEYS_H
#define APPC_CLI_DETACH_KEYS_H

#include "base/error.h"

#include <stddef.h>

#define DETACH_KEYS_MAX 8

struct detach_keys {
	char keys[DETACH_KEYS_MAX];
	size_t count;   /* 0: there are none */
	size_t matched; /* of them, that were typed last and are held back */
};

/*
 * "ctrl-p,ctrl-q": each a character, or ctrl- and one of a letter, @ [ \ ] ^ _; "": none. -EINVAL with a message.
 */
int detach_keys_parse(const char *text, struct detach_keys *ret, struct error *err);

/*
 * What of length typed bytes goes on: into out, which has room for length + DETACH_KEYS_MAX. Whether the sequence is
 * complete: then what was typed after it is dropped.
 */
bool detach_keys_filter(
	struct detach_keys *keys, const char *typed, size_t length, char *out, size_t *ret_length);

#endif
