/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command line asks of a pod: its images, each with what is changed of it, and what holds for all
 * of them (rkt run, rkt prepare). Filled in flag by flag; pod/generate.h makes the manifest.
 *
 * The functions that add take the value of one flag as text. What may be given once replaces what was
 * given before for the same image. Errors: -EINVAL with a message that does not name the flag, which the
 * caller puts in front; -ENOMEM. Plain memory, one thread.
 */
#ifndef APPC_POD_BLUEPRINT_H
#define APPC_POD_BLUEPRINT_H

#include "appc/manifest.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Longest file of environment variables, bytes. */
#define BLUEPRINT_ENVIRONMENT_FILE_MAX (1u << 20)

struct image_blueprint {
	/* Borrowed; NULL: not given. */
	const char *image; /* as written: a name, an id, a path or a URL */
	const char *name, *exec, *user, *group, *working_directory, *signature;
	char *const *arguments; /* borrowed */
	size_t argument_count;
	bool has_arguments; /* even if there are none */
	bool read_only_rootfs;
	int64_t *supplementary_gids;
	size_t supplementary_gid_count;
	struct appc_mount *mounts;
	size_t mount_count;
	struct appc_isolators isolators;
	struct appc_pairs environment, annotations, user_annotations, user_labels;
};

struct pod_blueprint {
	struct image_blueprint *images;
	size_t image_count;
	struct appc_volume *volumes;
	size_t volume_count;
	struct appc_mount *mounts; /* for every image */
	size_t mount_count;
	struct appc_exposed_port *ports;
	size_t port_count;
	struct appc_pairs environment, file_environment;              /* for every image */
	struct appc_pairs annotations, user_annotations, user_labels; /* of the pod */
	const char *machine_memory; /* of the pod's machine, not of the manifest; borrowed */
	/* Who asks: who an app runs as that says nothing of it; what it inherits (NULL: nothing). Borrowed. */
	uid_t uid;
	gid_t gid;
	char *const *inherited;
};

void pod_blueprint_clear(struct pod_blueprint *request);

/* A new image at the end; the last one is what the flags after it are about. */
int pod_blueprint_add_image(struct pod_blueprint *request, const char *image);
struct image_blueprint *pod_blueprint_last_image(struct pod_blueprint *request);

int pod_blueprint_add_volume(struct pod_blueprint *request, const char *text, struct error *err);
int pod_blueprint_add_port(struct pod_blueprint *request, const char *text, struct error *err);
/* "NAME:PROTOCOL:PODPORT:[HOSTIP:]HOSTPORT": for a pod whose apps are not known yet (rkt app sandbox). */
int pod_blueprint_add_forwarded_port(
	struct pod_blueprint *request, const char *text, struct error *err);
/* For the image (request is not looked at then), or for every image when it is NULL. */
int pod_blueprint_add_mount(struct pod_blueprint *request, struct image_blueprint *image,
	const char *text, struct error *err);

/*
 * "name=NAME,kind=KIND,...,target=PATH": a volume and its mount in the image, at once (rkt app add).
 */
int pod_blueprint_add_mounted_volume(struct pod_blueprint *request, struct image_blueprint *image,
	const char *text, struct error *err);

/* NAME=VALUE, once for each name unless again. */
int blueprint_add_pair(struct appc_pairs *pairs, const char *text, bool again, struct error *err);

/*
 * Lines of NAME=VALUE; empty lines and those that begin with '#' or ';' say nothing. length bytes of text;
 * file names them in messages.
 */
int blueprint_add_environment_file(struct appc_pairs *pairs, const char *text, size_t length,
	const char *file, struct error *err);

/* The isolators, in rkt's forms. */
int image_blueprint_set_memory(struct image_blueprint *image, const char *text, struct error *err);
int image_blueprint_set_cpu(struct image_blueprint *image, const char *text, struct error *err);
int image_blueprint_set_cpu_shares(
	struct image_blueprint *image, const char *text, struct error *err);
int image_blueprint_set_oom_score_adj(
	struct image_blueprint *image, const char *text, struct error *err);
/* NAME[,NAME...] */
int image_blueprint_set_capabilities(
	struct image_blueprint *image, bool retain, const char *text, struct error *err);
/* mode=retain|remove[,errno=NAME][,SYSCALL...], in any order */
int image_blueprint_set_seccomp(struct image_blueprint *image, const char *text, struct error *err);

/* Where a standard stream leads (pod/stream_mode.h). */
int image_blueprint_set_stream(struct image_blueprint *image, enum wire_stream stream,
	const char *text, struct error *err);

/* Numbers with commas between them; those of several flags add up. */
int image_blueprint_add_gids(struct image_blueprint *image, const char *text, struct error *err);

/*
 * Which kinds an isolator of a request takes the place of in the image's list; those of the rest are
 * added at its end, where they are the effective ones. Returns their number; kinds has room for 2.
 */
size_t blueprint_isolator_replaces(enum appc_isolator_kind kind, enum appc_isolator_kind *kinds);

#endif
