/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What run, run-prepared and prepare share: the flags that say what a pod runs on and how it meets the
 * world, and the way from a pod to its end.
 */
#ifndef APPC_CLI_LAUNCH_H
#define APPC_CLI_LAUNCH_H

#include "cli/cli.h"
#include "pod/checkpoint.h"
#include "pod/flavour.h"
#include "pod/name_service.h"
#include "pod/network.h"
#include "pod/origin.h"
#include "pod/prepare.h"
#include "pod/resolve.h"

struct launch_flags {
	/* The machine: all three commands. */
	const char *memory, *cpus, *kernel, *init, *dax_name;
	bool warm, kernel_messages, strict_isolators;
	/* How the pod runs: run and run-prepared. */
	const char *flavour, *hostname, *log_size_text, *timing, *net, *ipc;
	struct name_service_flags names;
	bool no_template, interactive, mds_register;
	/* Of a new pod: where its UUID is written, NULL: nowhere; whether it is printed. */
	const char *uuid_file;
	bool prints_uuid;
	bool exposes_ports;           /* by --port, which means --net where that is not given */
	struct resolved_pod *changed; /* a mutable pod's, for its apps to come and go; borrowed */

	/* After launch_flags_check(). */
	enum flavour flavour_kind;
	enum virtio_fs_dax dax;
	struct network_choice network;
	uint64_t log_size;
	struct name_service name_service;
	struct resolve_options resolve;
	int kernel_fd, init_fd; /* after launch_open(); -1: not needed */
	struct cli_call call;   /* launch.c's own */
};
#define LAUNCH_FLAGS_NONE ((struct launch_flags){.kernel_fd = -1, .init_fd = -1})

void launch_flags_done(struct launch_flags *flags);

/*
 * Add the flags to options, which has room for CLI_OPTIONS_MAX, after count others; return the new count.
 * --memory is not among them: where images can be meant its place matters (cli/pod_flags.h).
 */
size_t launch_machine_options(struct launch_flags *flags, struct cli_option *options, size_t count);
size_t launch_run_options(struct launch_flags *flags, struct cli_option *options, size_t count);

/* After parsing. -errno with the message set. */
int launch_flags_check(struct cli *cli, struct launch_flags *flags);

/* Before launch_flags_check(): --port was given count times, and needs a network. -EINVAL with the message set. */
int launch_add_ports(struct cli *cli, struct launch_flags *flags, size_t count);

/* After it: --port was given when the pod was prepared. -errno with the message set. */
int launch_expose_ports(struct cli *cli, struct launch_flags *flags);

/* What a run has open of the data directory. */
struct launch_stores {
	int data_fd;
	struct store *store;
	struct pods *pods;
	struct templates *templates; /* when the machine may start from one */
	int keep_fd; /* of store_keep_trees(), from launch_resolve() to launch_pod_prepare(); else -1 */
};
#define LAUNCH_STORES_NONE ((struct launch_stores){.data_fd = -1, .keep_fd = -1})

void launch_stores_close(struct launch_stores *stores);

/*
 * Opens them, and the program's files; in a mount namespace of its own, where the flavour can be started.
 * Only the stores, where the pod is not to be run now (with neither machine nor container).
 */
int launch_open(struct cli *cli, struct launch_flags *flags, struct launch_stores *ret);
int launch_open_stores(struct cli *cli, struct launch_stores *ret);

/* pod_resolve(), after which no `gc` removes the images' trees until the pod is written that lists them. */
int launch_resolve(struct cli *cli, const struct launch_flags *flags, struct launch_stores *stores,
	struct appc_pod_manifest *manifest, struct resolved_pod **ret);

/* pod_prepare(), from when on the pod's list does that. prepared as there. */
int launch_pod_prepare(struct cli *cli, struct launch_stores *stores, const struct pod *pod,
	const struct resolved_pod *resolved, const char *text, size_t length,
	const struct pod_prepared *prepared);

/* --interactive, for a pod that was resolved: its one app gets our standard input, and a terminal where that is one. */
int launch_set_interactive(
	struct cli *cli, const struct launch_flags *flags, struct resolved_pod *resolved);

/* Where the machine of a pod starts from; makes it when it is not there. */
void launch_find_origin(const struct launch_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved, struct pod_origin *ret);

/*
 * Starts a pod that is prepared and locked, in whichever state, and runs it to its end. The exit status, or
 * -errno with the message set.
 */
int launch_run(struct cli *cli, const struct launch_flags *flags, struct launch_stores *stores,
	struct pod *pod, const struct resolved_pod *resolved, struct pod_origin *origin);

/* The same for a new one, whose manifest is length bytes of text. */
int launch_new(struct cli *cli, const struct launch_flags *flags, struct launch_stores *stores,
	const struct resolved_pod *resolved, const char *text, size_t length);

/*
 * The same for one that goes on from the checkpoint whose key begins with prefix (pod/checkpoint.h). Opens stores, without
 * the program's files: the kernel and guest-init are in the memory that was saved. Changes what flags say of the machine,
 * which is as it was.
 */
int launch_checkpoint(struct cli *cli, struct launch_flags *flags, struct launch_stores *stores,
	const char *prefix);

/* --dax, whose default depends on flags->warm. A usage error, with the message set. */
int launch_parse_dax(struct cli *cli, struct launch_flags *flags);

/* vCPUs and memory as flags say them (NULL: not), 0 for none. */
int launch_parse_machine(
	struct cli *cli, const char *cpus, const char *memory, struct resolve_options *ret);

#endif
