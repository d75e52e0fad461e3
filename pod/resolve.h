/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a pod manifest and the store to what a run needs: every app with its image, its mounts, its
 * environment and limits, and the size of the machine (specification, "Pod Manifest" and
 * "Isolators"; rkt's rules where it leaves room). Nothing here touches the pod or the guest.
 */
#ifndef APPC_POD_RESOLVE_H
#define APPC_POD_RESOLVE_H

#include "appc/manifest.h"
#include "pod/seccomp.h"
#include "pod/stream_mode.h"
#include "store/store.h"
#include "virtio/fs/throttle.h"
#include "wire/wire.h"

struct resolved_mount {
	char *volume; /* index name below /volumes in the tree */
	char *target; /* absolute path in the app's root filesystem */
	bool read_only;
};

/* A port whose socket the app finds open (socket activation). */
struct resolved_socket {
	const struct appc_port *port; /* of the app */
	uint32_t number;              /* where it listens */
};

struct resolved_app {
	const char *name; /* of the manifest */
	uint16_t number;  /* in the stream (wire/wire.h) */
	char image_id[STORE_IMAGE_ID_SIZE];
	char tree_id[STORE_TREE_ID_SIZE];
	char *image_manifest; /* as it was imported: the image may be removed before the pod ends */
	const struct appc_app *app;                  /* the manifest's */
	enum stream_mode stream_modes[STREAM_MODES]; /* of its annotations */
	bool is_from_docker; /* its volumes begin with what the image has there */
	bool notifies;       /* it says itself when it is ready (sd_notify(3)) */
	bool read_only_rootfs;
	bool group_is_users; /* where its group has no name in the root filesystem: its user's there */
	struct resolved_mount *mounts; /* parents before children */
	size_t mount_count;
	struct resolved_socket *sockets;
	size_t socket_count;
	uint64_t capabilities;
	struct pod_seccomp seccomp;
	bool no_new_privileges;
	bool protect_paths;
	int64_t memory_max, memory_low;    /* bytes; -1: none */
	int64_t cpu_millis;                /* -1: none */
	int64_t cpu_weight, oom_score_adj; /* valid when the flag is set */
	bool has_cpu_weight, has_oom_score_adj;
};

struct resolved_volume {
	char *name;
	enum appc_volume_kind kind;
	char *source;   /* host volumes: the path with its links followed */
	bool read_only; /* no app may write it */
	bool recursive;
	uint32_t mode;
	int64_t uid, gid;
	/*
	 * Implicit volumes of apps from Docker images: the directory of the image whose content, mode and owner
	 * it begins with. NULL: it begins empty.
	 */
	char *copy_path;
	char copy_tree_id[STORE_TREE_ID_SIZE];
};

struct resolved_pod {
	struct appc_pod_manifest *manifest; /* owned; every app has its app section and image id */
	bool is_mutable;                    /* apps come and go: with room for WIRE_APPS_MAX */
	struct resolved_app *apps;
	size_t app_count;
	struct resolved_volume *volumes;
	size_t volume_count;
	unsigned int vcpus;
	uint64_t memory;                /* bytes of the machine */
	int64_t memory_max, cpu_millis; /* of all apps together, as of one */
	int input_app;        /* index of the app that has input, or a terminal; -1: none */
	bool interactive;     /* it is our standard input */
	const char *terminal; /* that app has one, of this type; borrowed; NULL: none */
	bool terminal_streams[STREAM_MODES];      /* the app's streams that are there */
	uint16_t terminal_rows, terminal_columns; /* 0: unknown */
	struct fs_throttle_limits file_limits;    /* of the machine's file device */
	uint64_t network_bandwidth; /* of its network device, bytes per second; 0: no limit */
	char *hosts_entries, *resolv_conf; /* see struct resolve_options; NULL: none */
	/*
	 * The report on isolators: {"pod": REPORT, "apps": {NAME: REPORT}}, each REPORT {"enforced": [NAME...],
	 * "ignored": [...], "modified": [...]}.
	 */
	json_t *isolators;
};

/* What was decided when the pod was prepared (pod/prepare.h); the store is not asked again. */
struct resolve_prepared {
	int pod_fd;
	char *const *tree_ids; /* of the apps, in their order */
	size_t tree_count;
};

struct resolve_options {
	const struct resolve_prepared *prepared; /* NULL: a new pod */
	unsigned int vcpus;                      /* 0: from the isolators */
	uint64_t memory;                         /* 0: from the isolators */
	bool strict_isolators;
	bool is_mutable;      /* a pod whose apps come and go (pod/mutable.h), or one of them */
	bool is_container;    /* the flavour */
	bool renders_nothing; /* by who must not wait: a tree that is not there is -ENOENT */
	/* --insecure-options: walls that are left out. */
	bool insecure_seccomp, insecure_capabilities, insecure_paths;
	/*
	 * Lines for the pod's /etc/hosts, each ended by a newline, and its whole /etc/resolv.conf. Where they are
	 * given they cover what the images have. NULL: none. Borrowed.
	 */
	const char *hosts_entries, *resolv_conf;
};

/*
 * Takes the manifest (also on failure), and writes into it what it finds: image ids and names, app sections,
 * sources of volumes with their links followed. Warnings go to the log. Renders the images' trees, unless it must not.
 * Errors name the app and the field.
 */
int pod_resolve(struct store *store, struct appc_pod_manifest *manifest,
	const struct resolve_options *options, struct resolved_pod **ret, struct error *err);
void resolved_pod_free(struct resolved_pod *pod);

/*
 * In a mutable pod: the only app of another, with its volumes and its part of the report, becomes its last; and an
 * app becomes a pod of its own again, and those behind it move up. There is room. 0 or -ENOMEM, where nothing has
 * changed.
 */
int resolved_pod_adopt(struct resolved_pod *pod, struct resolved_pod *added);
int resolved_pod_disown(struct resolved_pod *pod, size_t index, struct resolved_pod **ret);

/* Whether it has this volume, by its name in the tree; in a mutable pod no other app has it. */
bool resolved_app_mounts(const struct resolved_app *app, const char *volume);

/*
 * The machine of a pod with one app and no isolators, which `appc-vm template build` makes ready for.
 * -ERANGE with a message.
 */
int resolve_default_machine(const struct resolve_options *options, unsigned int *ret_vcpus,
	uint64_t *ret_memory, struct error *err);

static inline void cleanup_resolved_pod(struct resolved_pod **pod)
{
	if (*pod)
		resolved_pod_free(*pod);
}
#define _cleanup_resolved_pod_ _cleanup_(cleanup_resolved_pod)

/* For how many apps there is to be room. */
static inline size_t resolved_pod_room(const struct resolved_pod *pod)
{
	return pod->is_mutable ? WIRE_APPS_MAX : pod->app_count;
}

#endif
