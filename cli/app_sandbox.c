// SPDX-License-Identifier: Apache-2.0
/* app_sandbox.c: appc-vm app sandbox */
#include "cli/app.h"
#include "cli/launch.h"
#include "cli/pod_flags.h"

#include "base/log.h"
#include "pod/generate.h"

#include <string.h>

struct sandbox_flags {
	struct launch_flags launch;
	struct pod_blueprint blueprint;
	bool no_overlay;
	struct cli_call call, port_call, stage1_call;

	/* The manifest: without apps. */
	struct appc_pod_manifest *manifest;
	char *text;
};

static void sandbox_flags_done(struct sandbox_flags *flags)
{
	launch_flags_done(&flags->launch);
	pod_blueprint_clear(&flags->blueprint);
	appc_pod_manifest_free(flags->manifest);
	free(flags->text);
}

static int set_pair(struct cli *cli, const char *name, const char *text, void *context)
{
	struct pod_blueprint *blueprint = &((struct sandbox_flags *)context)->blueprint;
	struct appc_pairs *pairs = !strcmp(name, "annotation") ? &blueprint->annotations
		: !strcmp(name, "user-annotation")             ? &blueprint->user_annotations
							       : &blueprint->user_labels;
	int r = blueprint_add_pair(pairs, text, true, &cli->error);

	return r < 0 ? error_prefix(&cli->error, r, "invalid value in --%s flag \"%s\"", name, text)
		     : 0;
}

static int add_port(struct cli *cli, const char *name, const char *text, void *context)
{
	struct pod_blueprint *blueprint = &((struct sandbox_flags *)context)->blueprint;
	int r = pod_blueprint_add_forwarded_port(blueprint, text, &cli->error);

	return r < 0 ? error_prefix(&cli->error, r, "invalid value in --%s flag \"%s\"", name, text)
		     : 0;
}

static int refuse_stage1(struct cli *cli, const char *name, const char *text, void *context)
{
	(void)context;
	return error_prefix(&cli->error, pod_flags_refuse_stage1(NULL, text, &cli->error),
		"invalid value in --%s flag \"%s\"", name, text);
}

static int parse(struct cli *cli, struct sandbox_flags *flags, int argc, char **argv)
{
	struct cli_option options[CLI_OPTIONS_MAX] = {
		{"annotation", CLI_CALL, &flags->call, "NAME=VALUE", "annotation of the pod"},
		{"memory", CLI_STRING, &flags->launch.memory, "SIZE",
			"memory of the pod's machine, for all apps that come (default 128M)"},
		{"no-overlay", CLI_FLAG, &flags->no_overlay, NULL,
			"without effect: root filesystems are overlays here"},
		{"port", CLI_CALL, &flags->port_call, "NAME:PROTOCOL:PODPORT:[HOSTIP:]HOSTPORT",
			"forward a port of the host to one of the pod, whichever app will have it"},
		{"stage1-from-dir", CLI_CALL, &flags->stage1_call, "NAME",
			"refused: there is no stage1"},
		{"stage1-hash", CLI_CALL, &flags->stage1_call, "HASH", "refused"},
		{"stage1-name", CLI_CALL, &flags->stage1_call, "NAME", "refused"},
		{"stage1-path", CLI_CALL, &flags->stage1_call, "PATH", "refused"},
		{"stage1-url", CLI_CALL, &flags->stage1_call, "URL", "refused"},
		{"user-annotation", CLI_CALL, &flags->call, "NAME=VALUE",
			"user annotation of the pod"},
		{"user-label", CLI_CALL, &flags->call, "NAME=VALUE", "user label of the pod"},
		{"uuid-file-save", CLI_STRING, &flags->launch.uuid_file, "FILE",
			"write the pod's UUID to FILE"},
	};
	size_t count = 0;
	int at, r;

	flags->call = (struct cli_call){set_pair, flags};
	flags->port_call = (struct cli_call){add_port, flags};
	flags->stage1_call = (struct cli_call){refuse_stage1, flags};
	while (options[count].name)
		count++;
	count = launch_run_options(&flags->launch, options, count);
	at = cli_parse(cli, options, count, argc, argv);
	if (at < 0)
		return at;
	if (at < argc)
		return cli_usage(cli, "takes no arguments: apps are added by \"appc-vm app add\"");
	if (flags->launch.interactive || flags->launch.warm)
		return cli_usage(cli, "--%s needs an app, and there is none yet",
			flags->launch.warm ? "warm" : "interactive");
	r = launch_add_ports(cli, &flags->launch, flags->blueprint.port_count);
	if (r < 0)
		return r;
	if (flags->no_overlay)
		log_warning("--no-overlay has no effect: root filesystems are overlays of rendered "
			    "images");
	flags->launch.prints_uuid = true;
	flags->launch.resolve.is_mutable = true;
	return launch_flags_check(cli, &flags->launch);
}

static int make_manifest(struct cli *cli, struct sandbox_flags *flags)
{
	if (appc_pairs_set(&flags->blueprint.annotations, POD_ANNOTATION_MUTABLE, "true", true) < 0)
		return error_set(&cli->error, -ENOMEM, "out of memory");
	return pod_generate(&flags->blueprint, NULL, &flags->manifest, &flags->text, &cli->error);
}

int app_sandbox(struct cli *cli, int argc, char **argv)
{
	_cleanup_(sandbox_flags_done) struct sandbox_flags flags = {.launch = LAUNCH_FLAGS_NONE};
	_cleanup_(launch_stores_close) struct launch_stores stores = LAUNCH_STORES_NONE;
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	int r;

	r = parse(cli, &flags, argc, argv);
	if (r == 0)
		r = make_manifest(cli, &flags);
	if (r == 0)
		r = launch_open(cli, &flags.launch, &stores);
	if (r == 0)
		r = launch_resolve(
			cli, &flags.launch, &stores, TAKE_PTR(flags.manifest), &resolved);
	if (r < 0)
		return r;
	flags.launch.changed = resolved;
	return launch_new(cli, &flags.launch, &stores, resolved, flags.text, strlen(flags.text));
}
