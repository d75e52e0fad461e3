/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session begins with (wire/session.h), as structs. Parsing is as strict as that of control.h: it comes from who
 * reaches the pod's sockets on the host.
 */
#ifndef APPC_GUEST_INIT_SESSION_REQUEST_H
#define APPC_GUEST_INIT_SESSION_REQUEST_H

#include "guest-init/terminal.h"

/* What somebody wants to run in an app (wire/session.h, "enter"). exec ends with NULL. */
struct guest_enter_config {
	json_t *message;
	const char *app, *user, *group; /* user, group: NULL: the app's */
	const char **exec;              /* may be empty */
	struct guest_terminal terminal;
};

/*
 * Parses a session's request. config need not be initialised and is to be released with guest_enter_done() in every
 * case. 0, -EBADMSG with a message, or -ENOMEM.
 */
int guest_enter_parse(json_t *message, struct guest_enter_config *config, struct error *err);
void guest_enter_done(struct guest_enter_config *config);

/* A connection for an ssh server (wire/session.h, "ssh"). */
struct guest_ssh_config {
	const char *tree;            /* one safe path component */
	const char *host_key;        /* base 64, as it came: to be decoded */
	const char *authorized_keys; /* lines */
};

/* Parses a session's request, whose strings are borrowed from it. 0 or -EBADMSG with a message. */
int guest_ssh_parse(json_t *message, struct guest_ssh_config *config, struct error *err);

#endif
