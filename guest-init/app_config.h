/* SPDX-License-Identifier: Apache-2.0 */
/* One app as the host describes it, in a configure or a start message (wire/wire.h). */
#ifndef APPC_GUEST_INIT_APP_CONFIG_H
#define APPC_GUEST_INIT_APP_CONFIG_H

#include "guest-init/field_reader.h"

#include <linux/filter.h>
#include <stdint.h>
#include <sys/types.h>

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
	bool group_is_users;
	gid_t *supplementary_gids;
	size_t supplementary_gid_count;
	const char *working_directory;
	bool read_only_rootfs, no_new_privileges;
	bool notifies; /* it says itself when it is ready */
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
	uint64_t memory_max, memory_low, cpu_max_millis; /* or GUEST_UNLIMITED */
	unsigned int cpu_weight;                         /* 0: the default */
	bool has_oom_score_adj;
	int oom_score_adj;
	unsigned int etc_files; /* mask of enum wire_etc_file: to be covered */
};

/*
 * Reads an app's object, a field of what parent reads; index names the app in messages until its name is known. Strings
 * are borrowed from the message. The app is zeroed memory, and to be released with guest_app_config_done() in every case.
 */
void guest_app_config_parse(
	json_t *object, size_t index, struct guest_app_config *app, struct field_reader *parent);
void guest_app_config_done(struct guest_app_config *app);

/* Adds one variable, "NAME=VALUE", to the app's environment. It is borrowed. 0 or -ENOMEM. */
int guest_app_config_add_variable(struct guest_app_config *app, const char *variable);

#endif
