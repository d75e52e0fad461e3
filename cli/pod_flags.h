/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flags of run and prepare that say what the pod is: images and what is changed of each, or a manifest.
 *
 * A flag is about the image before it; before the first image, --mount, --annotation, --user-annotation and
 * --user-label are about the pod as a whole. A word that ends in ".json", or "-", is a manifest, as
 * --pod-manifest is.
 */
#ifndef APPC_CLI_POD_FLAGS_H
#define APPC_CLI_POD_FLAGS_H

#include "cli/cli.h"
#include "cli/image_argument.h"
#include "pod/blueprint.h"

struct pod_flags {
	struct pod_blueprint request;
	const char *manifest_path; /* NULL: made from the images */
	const char *checkpoint;    /* the pod goes on from this one; NULL: it is new */
	const char *of_new_pod;    /* the first flag given that has no place with it */
	struct pull_flags pull;
	enum pull_policy policy;
	struct image_limit_flags limit_flags;
	struct store_limits limits;
	bool inherit_env, no_overlay, private_users;
	const char **
		first_operand; /* where the first word goes that is no flag; NULL: it is an image */

	/* After pod_flags_read() or pod_flags_generate(). */
	struct appc_pod_manifest *manifest; /* owned until it is taken */
	char *text;                         /* its bytes */
	size_t length;

	struct cli_call call; /* pod_flags.c's own */
};

/* What any --stage1 flag comes to: -ENOTSUP with the message set. request and text do not matter. */
int pod_flags_refuse_stage1(struct pod_blueprint *request, const char *text, struct error *err);

void pod_flags_done(struct pod_flags *flags);

/* Adds them to options, which has room for CLI_OPTIONS_MAX, after count others. Returns the new count. */
size_t pod_flags_options(struct pod_flags *flags, struct cli_option *options, size_t count);

/*
 * Parses the whole command line; 0, or as cli_parse_sequence(). Conflicts between these flags are found, and any of
 * options that say what a new pod or its machine is, beside flags->checkpoint.
 */
int pod_flags_parse(struct cli *cli, struct pod_flags *flags, const struct cli_option *options,
	size_t count, int argc, char **argv);

/* Reads the manifest, when it is given by one. -errno with the message set. */
int pod_flags_read(struct cli *cli, struct pod_flags *flags);

/* Finds the images and makes the manifest, when it is not given. -errno with the message set. */
int pod_flags_generate(struct cli *cli, struct pod_flags *flags, struct store *store);

#endif
