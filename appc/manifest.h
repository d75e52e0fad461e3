/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of the App Container specification 0.8.11: image manifests and pod manifests as C
 * structures. Parsing validates: a structure that a parse function returned obeys every rule of the
 * specification that needs no store and no host.
 *
 * Ownership: a manifest owns everything below it; appc_*_free() releases it. Optional strings are
 * NULL when absent. Arrays are a pointer and a count; null and absent arrays in JSON are count 0.
 * Errors: -EINVAL with a message that names the manifest field (its JSON path, as in
 * "apps[0].app.exec") and the reason, in the reference implementation's words where it has some;
 * -ENOMEM. No function here touches a file or keeps state; all may be called from any thread.
 *
 * Where this differs from the reference implementation: JSON keys are case-sensitive, null is
 * absent, "supplementaryGids" is read too, "1K" is "1k", isolators of unknown names are kept. A pod
 * manifest without acVersion counts as one of APPC_VERSION.
 */
#ifndef APPC_APPC_MANIFEST_H
#define APPC_APPC_MANIFEST_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define APPC_VERSION           "0.8.11"
#define APPC_MANIFEST_SIZE_MAX (4u << 20)

/* One name and value: a label, an annotation, an environment variable, a user label. */
struct appc_pair {
	char *name, *value;
};

struct appc_pairs {
	struct appc_pair *items;
	size_t count;
};

struct appc_strings {
	char **items;
	size_t count;
};

/* Section "Isolators": a kind for each name that the specification or rkt gives a meaning. */
enum appc_isolator_kind {
	APPC_ISOLATOR_UNKNOWN,
	APPC_ISOLATOR_MEMORY,            /* resource/memory, bytes */
	APPC_ISOLATOR_CPU,               /* resource/cpu, thousandths of a CPU */
	APPC_ISOLATOR_BLOCK_BANDWIDTH,   /* resource/block-bandwidth, bytes per second */
	APPC_ISOLATOR_BLOCK_IOPS,        /* resource/block-iops, operations per second */
	APPC_ISOLATOR_NETWORK_BANDWIDTH, /* resource/network-bandwidth, bytes per second */
	APPC_ISOLATOR_CAPABILITIES_RETAIN,
	APPC_ISOLATOR_CAPABILITIES_REMOVE,
	APPC_ISOLATOR_NO_NEW_PRIVILEGES,
	APPC_ISOLATOR_SECCOMP_RETAIN,
	APPC_ISOLATOR_SECCOMP_REMOVE,
	APPC_ISOLATOR_OOM_SCORE_ADJ,
	APPC_ISOLATOR_CPU_SHARES,
	APPC_ISOLATOR_SELINUX_CONTEXT,
	APPC_ISOLATOR_APPARMOR_PROFILE,
	APPC_ISOLATOR_SYSCTL,
};

struct appc_isolator {
	enum appc_isolator_kind kind;
	char *name;
	json_t *value; /* as written; owned reference */
	/* Resource isolators: rounded up to a whole unit; -1 when absent. */
	int64_t request, limit;
	struct appc_strings set; /* capability and system call sets */
	char *error_number;      /* seccomp "errno", as "EPERM", or NULL */
	bool flag;               /* no-new-privileges */
	int64_t number;          /* oom-score-adj, cpu-shares */
	struct appc_pairs sysctls;
};

struct appc_isolators {
	struct appc_isolator *items;
	size_t count;
};

struct appc_mount_point {
	char *name, *path;
	bool read_only;
};

struct appc_port {
	char *name, *protocol;
	uint32_t port, count; /* count is 1 when absent */
	bool socket_activated;
};

struct appc_event_handler {
	char *name; /* "pre-start" or "post-stop" */
	struct appc_strings exec;
};

struct appc_app {
	struct appc_strings exec;
	char *user, *group;
	int64_t *supplementary_gids;
	size_t supplementary_gid_count;
	struct appc_event_handler *event_handlers;
	size_t event_handler_count;
	char *working_directory; /* NULL when absent */
	struct appc_pairs environment;
	struct appc_mount_point *mount_points;
	size_t mount_point_count;
	struct appc_port *ports;
	size_t port_count;
	struct appc_isolators isolators;
	struct appc_pairs user_annotations, user_labels;
};

struct appc_dependency {
	char *image_name;
	char *image_id; /* "sha512-...", or NULL */
	struct appc_pairs labels;
	uint64_t size; /* 0 when absent */
};

struct appc_image_manifest {
	char *ac_version, *name;
	struct appc_pairs labels, annotations;
	struct appc_app *app; /* NULL when absent */
	struct appc_dependency *dependencies;
	size_t dependency_count;
	struct appc_strings path_whitelist;
};

enum appc_volume_kind { APPC_VOLUME_EMPTY, APPC_VOLUME_HOST };

struct appc_volume {
	char *name;
	enum appc_volume_kind kind;
	char *source;   /* host volumes: absolute path */
	int read_only;  /* -1 absent, 0, 1: absent and false differ (mount precedence) */
	bool recursive; /* true when absent */
	bool has_recursive;
	uint32_t mode;    /* empty volumes: 0755 when absent */
	char *mode_text;  /* as written; NULL when absent */
	int64_t uid, gid; /* empty volumes: 0 when absent */
	bool has_mode, has_uid, has_gid;
};

struct appc_mount {
	char *volume, *path;
	struct appc_volume *app_volume; /* NULL when absent */
};

struct appc_runtime_app {
	char *name;
	char *image_id, *image_name; /* each NULL when absent, at least one present */
	struct appc_pairs image_labels;
	struct appc_app *app; /* NULL: the image's */
	bool read_only_rootfs;
	struct appc_mount *mounts;
	size_t mount_count;
	struct appc_pairs annotations;
};

struct appc_exposed_port {
	char *name;
	uint32_t host_port;
	char *host_ip;              /* NULL when absent */
	struct appc_port *pod_port; /* NULL when absent */
};

struct appc_pod_manifest {
	char *ac_version;
	struct appc_runtime_app *apps;
	size_t app_count;
	struct appc_volume *volumes;
	size_t volume_count;
	struct appc_isolators isolators;
	struct appc_pairs annotations;
	struct appc_exposed_port *ports;
	size_t port_count;
	struct appc_pairs user_annotations, user_labels;
};

/* Parse and validate. data need not end with NUL. */
int appc_image_manifest_parse(
	const char *data, size_t length, struct appc_image_manifest **ret, struct error *err);
int appc_pod_manifest_parse(
	const char *data, size_t length, struct appc_pod_manifest **ret, struct error *err);

/*
 * Back to JSON: the canonical form, absent optional fields left out. NULL: out of memory, or a
 * string that the caller put in is not UTF-8.
 */
json_t *appc_image_manifest_json(const struct appc_image_manifest *manifest);
json_t *appc_pod_manifest_json(const struct appc_pod_manifest *manifest);

void appc_image_manifest_free(struct appc_image_manifest *manifest);
void appc_pod_manifest_free(struct appc_pod_manifest *manifest);
void appc_app_free(struct appc_app *app);

/* A deep copy, for an app that takes over its image's app section. NULL: out of memory. */
struct appc_app *appc_app_copy(const struct appc_app *app);

static inline void cleanup_appc_image_manifest(struct appc_image_manifest **manifest)
{
	if (*manifest)
		appc_image_manifest_free(*manifest);
}
static inline void cleanup_appc_pod_manifest(struct appc_pod_manifest **manifest)
{
	if (*manifest)
		appc_pod_manifest_free(*manifest);
}
#define _cleanup_image_manifest_ _cleanup_(cleanup_appc_image_manifest)
#define _cleanup_pod_manifest_   _cleanup_(cleanup_appc_pod_manifest)

/* Release what one element owns, and zero it; the element itself stays the caller's. */
void appc_volume_clear(struct appc_volume *volume);
void appc_mount_clear(struct appc_mount *mount);
void appc_mount_point_clear(struct appc_mount_point *point);
void appc_port_clear(struct appc_port *port);
void appc_exposed_port_clear(struct appc_exposed_port *port);
void appc_pairs_clear(struct appc_pairs *pairs);
void appc_strings_clear(struct appc_strings *strings);

/* The value of name, or NULL. */
const char *appc_pairs_get(const struct appc_pairs *pairs, const char *name);

/* Adds name, or replaces its value if overwrite. -ENOMEM: nothing changed. */
int appc_pairs_set(struct appc_pairs *pairs, const char *name, const char *value, bool overwrite);

/* Adds a copy of text to the end. -ENOMEM: nothing changed. */
int appc_strings_append(struct appc_strings *strings, const char *text);

/* Types of section "Types". Each returns 0 or -EINVAL with the reference's reason. */
int appc_name_check(const char *text, struct error *err);       /* AC Name */
int appc_identifier_check(const char *text, struct error *err); /* AC Identifier */

/* The nearest valid AC Name: lower case, other characters to '-'. -EINVAL: nothing is left. */
int appc_name_sanitise(const char *text, char **ret, struct error *err);

/*
 * "Quantity" (resource isolators): the value times 1000, and the value rounded up to a whole unit.
 * Either result may be NULL; -ERANGE when one that is asked for does not fit 64 bits.
 */
int appc_quantity_parse(
	const char *text, int64_t *ret_value, int64_t *ret_millivalue, struct error *err);

/* Lower-case canonical form of a UUID with or without dashes; text has room for 37 bytes. */
int appc_uuid_parse(const char *text, char *ret, struct error *err);

/* A new random UUID (version 4); text has room for 37 bytes. */
int appc_uuid_create(char *ret);

/*
 * The dispositions of the isolators that a run knows: the effective isolator of a kind is the last
 * of its kind in the list; NULL when there is none.
 */
const struct appc_isolator *appc_isolators_find(
	const struct appc_isolators *isolators, enum appc_isolator_kind kind);

/*
 * For the command line: validates and adds an isolator at the end, where it is the effective one,
 * or takes away all of a kind. value stays the caller's. Conflicts with other isolators of the list
 * show when the manifest is parsed again.
 */
int appc_isolators_append(
	struct appc_isolators *isolators, const char *name, json_t *value, struct error *err);
void appc_isolators_remove(struct appc_isolators *isolators, enum appc_isolator_kind kind);

/* Each port of a range counts: a count in a manifest costs its writer nothing, and the host a socket each. */
#define APPC_EXPOSED_PORTS_MAX 512

/*
 * The pod's exposed ports against the apps' ports, for a pod whose apps all have their app section:
 * each port without podPort is named by exactly one app, and none is mapped twice. A port with a count is that many of
 * the host from hostPort on; 0.0.0.0, which no hostIP means, and :: are all addresses of their families. -EINVAL,
 * -ERANGE for a range that goes beyond the last port, -E2BIG for more than APPC_EXPOSED_PORTS_MAX.
 */
int appc_pod_ports_check(const struct appc_pod_manifest *manifest, struct error *err);

/* The port of an app that an exposed port of such a pod stands for. -EINVAL with a message. */
int appc_exposed_port_find(const struct appc_pod_manifest *manifest,
	const struct appc_exposed_port *exposed, const struct appc_port **ret, struct error *err);

/* The number of a capability by its name, "CAP_KILL"; -1: there is none of that name. */
int appc_capability_number(const char *name);

/*
 * The capability bounding set that the isolators ask for, as a bit mask over CAP_* numbers: the
 * default set of rkt without any, else the retain set, or the default set less the remove set.
 * Names that no capability has are left out. -EINVAL: there are both sets.
 */
int appc_capabilities_resolve(
	const struct appc_isolators *isolators, uint64_t *ret_mask, struct error *err);

#endif
