/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the control stream: the messages of wire/wire.h as structs, and back.
 *
 * Parsing is strict: a field that is missing, unknown, of the wrong type or out of its range is an
 * error that names it. Strings are borrowed from the JSON message, which the struct keeps alive.
 */
#ifndef APPC_GUEST_INIT_CONTROL_H
#define APPC_GUEST_INIT_CONTROL_H

#include "base/error.h"
#include "base/json.h"
#include "guest-init/network.h"
#include "guest-init/pty.h"
#include "wire/wire.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A limit that the message leaves out. */
#define GUEST_UNLIMITED UINT64_MAX

struct guest_mount_config {
	const char *volume; /* one safe path component */
	const char *target;
	bool read_only;
};

/* To be listened on before the app starts. */
struct guest_socket_config {
	const char *name;
	bool is_udp;
	uint16_t port;
};

/* Each list of strings ends with NULL and is never NULL itself. */
struct guest_app_config {
	const char *name;
	const char **exec, **environment, **pre_start, **post_stop;
	const char *user, *group;
	gid_t *supplementary_gids;
	size_t supplementary_gid_count;
	const char *working_directory;
	bool read_only_rootfs, no_new_privileges;
	struct guest_mount_config *mounts;
	size_t mount_count;
	uint64_t capabilities;
	const struct sock_filter *seccomp; /* NULL: none */
	size_t seccomp_count;
	bool seccomp_is_default;         /* it is wire_default_filter */
	struct sock_filter *seccomp_own; /* otherwise: the same, owned */
	bool protect_paths;
	struct guest_socket_config *sockets;
	size_t socket_count;
	uint64_t memory_max, memory_low, cpu_max_millis, pids_max; /* or GUEST_UNLIMITED */
	unsigned int cpu_weight;                                   /* 0: the default */
	bool has_oom_score_adj;
	int oom_score_adj;
	unsigned int etc_files; /* mask of enum wire_etc_file: to be covered */
};

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

/* A terminal that a process is to have; type is for TERM, NULL: none. */
struct guest_terminal {
	const char *type;
	struct guest_pty_size size;
	bool streams[WIRE_STREAM_STDIN +
		1]; /* by enum wire_stream: an app's that are the terminal */
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

/* The same as guest_config_add_variable(), of this app. */
int guest_start_add_variable(struct guest_start_config *config, const char *variable);

/* Whose mount points are to be removed. volumes ends with NULL. */
struct guest_remove_config {
	const char *app;
	const char **volumes;
};

/* Parses a remove message, whose strings are borrowed from it. As guest_start_parse(). */
int guest_remove_parse(json_t *message, struct guest_remove_config *config, struct error *err);
void guest_remove_done(struct guest_remove_config *config);

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

/* The answer to a metadata request. body may hold any character but NUL. */
struct guest_metadata_answer {
	unsigned int status; /* HTTP */
	const char *content_type, *body;
	size_t body_length;
};

/* Parses a metadata message, whose strings are borrowed from it. 0 or -EBADMSG with a message. */
int guest_metadata_parse(json_t *message, struct guest_metadata_answer *answer, struct error *err);

/*
 * The messages to the host. They are collected, because each write costs a lot, until
 * guest_outbox_flush(), which PID 1 calls before it waits for anything. What has no memory to be collected
 * in is lost.
 * Text from an image may hold any byte: it is made printable first.
 */
struct guest_outbox {
	int fd;                    /* the control stream, not owned */
	unsigned int console_port; /* the same, see guest_port_transmit() */
	char *frames;
	size_t length, room;
};

void guest_send_started(struct guest_outbox *outbox, const char *app, pid_t pid);
void guest_send_exited(
	struct guest_outbox *outbox, const char *app, int status, bool oom, const char *message);
void guest_send_ready(struct guest_outbox *outbox);
void guest_send_removed(struct guest_outbox *outbox, const char *app);
void guest_send_paused(struct guest_outbox *outbox);
void guest_send_resumed(struct guest_outbox *outbox);
void guest_send_warning(struct guest_outbox *outbox, const char *message);
void guest_send_ended(struct guest_outbox *outbox, int status);
void guest_send_failed(struct guest_outbox *outbox, const char *message);
void guest_send_unparkable(struct guest_outbox *outbox, const char *message);
/* Requests to the metadata service, see wire/wire.h. 0, or -errno: it was not sent. content is any bytes. */
int guest_send_metadata_get(struct guest_outbox *outbox, const char *path);
int guest_send_metadata_sign(struct guest_outbox *outbox, const void *content, size_t length);
int guest_send_metadata_verify(struct guest_outbox *outbox, const void *content, size_t length,
	const char *uuid, const char *signature);

/* Writes what was collected, whole. 0 or -errno; -EPIPE where the host has gone. */
int guest_outbox_flush(struct guest_outbox *outbox);

#endif
