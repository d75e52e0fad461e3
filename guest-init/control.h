/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the control stream: the messages of wire/wire.h to it, as structs. outbox.h has those to the host.
 *
 * Parsing is strict: a field that is missing, unknown, of the wrong type or out of its range is an
 * error that names it. Strings are borrowed from the JSON message, which the struct keeps alive.
 */
#ifndef APPC_GUEST_INIT_CONTROL_H
#define APPC_GUEST_INIT_CONTROL_H

#include "base/error.h"
#include "base/json.h"
#include "guest-init/app_config.h"
#include "guest-init/network.h"
#include "guest-init/terminal.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stdint.h>

struct guest_sysctl {
	char *path; /* below /proc/sys */
	const char *value;
};

/* What makes this pod, or this copy of a parked one, different from all others. */
struct guest_instance {
	const char *uuid, *hostname, *machine_id;
	uint8_t entropy[WIRE_ENTROPY_SIZE];
	struct guest_network network;
};

struct guest_config {
	json_t *message;
	struct guest_instance instance;
	bool park;       /* start the apps up to their first instruction */
	bool is_mutable; /* apps come and go */
	int input_app;   /* index of the app that reads what the stream port carries; -1: none */
	struct guest_terminal terminal; /* that app's streams */
	char *terminal_variable;        /* TERM */
	struct guest_app_config *apps;
	size_t app_count;
	uint64_t memory_max, cpu_max_millis; /* of all apps together, or GUEST_UNLIMITED */
	struct guest_sysctl *sysctls;
	size_t sysctl_count;
	const char *hosts_entries, *resolv_conf; /* NULL: none */
};

/*
 * Parses a configure message. config need not be initialised and is to be released with
 * guest_config_done() in every case. 0, -EBADMSG with a message, or -ENOMEM.
 */
int guest_config_parse(json_t *message, struct guest_config *config, struct error *err);
void guest_config_done(struct guest_config *config);

/* Parses a renew message, whose strings are borrowed from it. 0 or -EBADMSG with a message. */
int guest_renew_parse(json_t *message, struct guest_instance *instance, struct error *err);

/*
 * Adds one variable, "NAME=VALUE", to the environment of every app. It is borrowed. 0 or -ENOMEM.
 */
int guest_config_add_variable(struct guest_config *config, const char *variable);

/*
 * Parses a stop message. *ret_app is the one app that it is about, borrowed from it; NULL: all. 0 or -EBADMSG with a
 * message.
 */
int guest_stop_parse(
	json_t *message, unsigned int *ret_grace_ms, const char **ret_app, struct error *err);

/* An app that is added to a mutable pod. */
struct guest_start_config {
	json_t *message;
	uint16_t number; /* in the stream */
	struct guest_app_config app;
};

/*
 * Parses a start message. config need not be initialised and is to be released with guest_start_done() in every
 * case. 0, -EBADMSG with a message, or -ENOMEM.
 */
int guest_start_parse(json_t *message, struct guest_start_config *config, struct error *err);
void guest_start_done(struct guest_start_config *config);

/* Whose mount points are to be removed. volumes ends with NULL. */
struct guest_remove_config {
	const char *app;
	const char **volumes;
};

/* Parses a remove message, whose strings are borrowed from it. As guest_start_parse(). */
int guest_remove_parse(json_t *message, struct guest_remove_config *config, struct error *err);
void guest_remove_done(struct guest_remove_config *config);

/* The answer to a metadata request. body may hold any character but NUL. */
struct guest_metadata_answer {
	unsigned int status; /* HTTP */
	const char *content_type, *body;
	size_t body_length;
};

/* Parses a metadata message, whose strings are borrowed from it. 0 or -EBADMSG with a message. */
int guest_metadata_parse(json_t *message, struct guest_metadata_answer *answer, struct error *err);

#endif
