/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files as rkt has them: *.json in paths.d, auth.d and stage1.d below three directories, of which
 * the later ones win: the system's, this host's and the user's. Each file is an object with "rktKind",
 * "rktVersion": "v1" and
 *
 *   paths.d   kind paths: "data", the data directory; "stage1-images", of no use here
 *   auth.d    kind auth: "domains", "type" basic or oauth, "credentials": {"user", "password"} or {"token"};
 *             kind dockerAuth: "registries", "credentials": {"user", "password"}: of no use here
 *   stage1.d  kind stage1: "name" and "version", "location": of no use here
 *
 * What is of no use is checked and printed by `config`. Within one directory nothing may be said twice.
 */
#ifndef APPC_CLI_CONFIGURATION_H
#define APPC_CLI_CONFIGURATION_H

#include "base/error.h"
#include "store/credentials.h"

#include <jansson.h>
#include <stdbool.h>

/* Where they are when the command line does not say. The user's have no place of their own, as in rkt. */
#define CONFIGURATION_SYSTEM "/usr/lib/appc-vm"
#define CONFIGURATION_LOCAL  "/etc/appc-vm"

enum configuration_part {
	CONFIGURATION_PATHS,
	CONFIGURATION_AUTH,
	CONFIGURATION_STAGE1,
	CONFIGURATION_PARTS,
};

struct configuration {
	char *data, *stage1_images;      /* NULL: not said */
	char *name, *version, *location; /* of a stage1 */
	struct credentials servers, registries;
	json_t *said; /* configuration.c's own: what this directory has said already */
};

/*
 * Reads one part from three directories, each NULL for none; a directory that is not there is none. -errno with a
 * message that names the file. On errors too, the caller clears *configuration.
 */
int configuration_read(enum configuration_part part, const char *const directories[3],
	struct configuration *configuration, struct error *err);

/* One file's text, which may be hostile. what names it in messages. */
int configuration_parse(enum configuration_part part, const char *text, size_t length,
	const char *what, struct configuration *configuration, struct error *err);

/* Entries as in rkt's `config`, one for each server, in an array. NULL: out of memory. */
json_t *configuration_json(const struct configuration *configuration);

void configuration_clear(struct configuration *configuration);

#endif
