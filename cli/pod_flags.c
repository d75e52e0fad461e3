// SPDX-License-Identifier: Apache-2.0
/* pod_flags.c: a table of flags, each with the function that puts its value into the request. */
#include "cli/pod_flags.h"

#include "base/file.h"
#include "base/log.h"
#include "pod/generate.h"

#include <fcntl.h>
#include <string.h>

/*
 * A flag goes to the image before it, where the first half says how, or to the pod, where the second half
 * does; with both, to the pod before the first image. A function gets the text; a member gets it as it is, or
 * as a pair. Offset 0 is no such member.
 */
struct pod_flag {
	const char *name;
	enum cli_option_kind kind;
	const char *argument, *help;
	int (*set_image)(struct image_blueprint *image, const char *text, struct error *err);
	size_t image_text, image_pairs;
	int (*set_pod)(struct pod_blueprint *request, const char *text, struct error *err);
	size_t pod_text, pod_pairs;
};

#define IN_IMAGE(member) offsetof(struct image_blueprint, member)
#define IN_POD(member)   offsetof(struct pod_blueprint, member)

/* ---- values that need more than a member */

static int set_all_mount(struct pod_blueprint *request, const char *text, struct error *err)
{
	return pod_blueprint_add_mount(request, NULL, text, err);
}

static int set_env(struct pod_blueprint *request, const char *text, struct error *err)
{
	return blueprint_add_pair(&request->environment, text, false, err);
}

static int set_env_file(struct pod_blueprint *request, const char *text, struct error *err)
{
	_cleanup_free_ char *content = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, text, BLUEPRINT_ENVIRONMENT_FILE_MAX, &content, &length);

	if (r < 0)
		return error_set_errno(err, r, "cannot read it");
	return blueprint_add_environment_file(
		&request->file_environment, content, length, text, err);
}

int pod_flags_refuse_stage1(struct pod_blueprint *request, const char *text, struct error *err)
{
	(void)request;
	(void)text;
	return error_set(err, -ENOTSUP,
		"there is no stage1 to choose: what runs a pod's apps is appc-vm's own kernel and init "
		"(--kernel and --init take others)");
}

static int set_mount(struct image_blueprint *image, const char *text, struct error *err)
{
	return pod_blueprint_add_mount(NULL, image, text, err);
}

static int set_retain(struct image_blueprint *image, const char *text, struct error *err)
{
	return image_blueprint_set_capabilities(image, true, text, err);
}

static int set_remove(struct image_blueprint *image, const char *text, struct error *err)
{
	return image_blueprint_set_capabilities(image, false, text, err);
}

static int set_readonly_rootfs(struct image_blueprint *image, const char *text, struct error *err)
{
	(void)err;
	image->read_only_rootfs = !strcmp(text, "true");
	return 0;
}

/* Two programs, or signatures, for one image are a mistake. */
static int set_once(const char **member, const char *text, const char *name, struct error *err)
{
	if (*member)
		return error_set(
			err, -EINVAL, "--%s specified multiple times for the same image", name);
	*member = text;
	return 0;
}

static int set_exec(struct image_blueprint *image, const char *text, struct error *err)
{
	return set_once(&image->exec, text, "exec", err);
}

static int set_signature(struct image_blueprint *image, const char *text, struct error *err)
{
	return set_once(&image->signature, text, "signature", err);
}

static int set_stdin(struct image_blueprint *image, const char *text, struct error *err)
{
	return image_blueprint_set_stream(image, WIRE_STREAM_STDIN, text, err);
}

static int set_stdout(struct image_blueprint *image, const char *text, struct error *err)
{
	return image_blueprint_set_stream(image, WIRE_STREAM_STDOUT, text, err);
}

static int set_stderr(struct image_blueprint *image, const char *text, struct error *err)
{
	return image_blueprint_set_stream(image, WIRE_STREAM_STDERR, text, err);
}

/* ---- the table */

static const struct pod_flag pod_flags[] = {
	{"volume", CLI_CALL, "NAME,kind=KIND,...",
		"a volume of the pod: kind=host,source=PATH or kind=empty, with readOnly=, "
		"recursive=, mode=, uid=, gid=",
		.set_pod = pod_blueprint_add_volume},
	{"mount", CLI_CALL, "volume=NAME,target=PATH",
		"mount a volume: in the image before this flag, or in all images when there is none",
		.set_image = set_mount, .set_pod = set_all_mount},
	{"port", CLI_CALL, "NAME:[HOSTIP:]HOSTPORT", "expose a port of the apps on the host",
		.set_pod = pod_blueprint_add_port},
	{"set-env", CLI_CALL, "NAME=VALUE", "environment variable of all apps", .set_pod = set_env},
	{"set-env-file", CLI_CALL, "FILE",
		"file of environment variables for all apps, NAME=VALUE on each line",
		.set_pod = set_env_file},
	{"annotation", CLI_CALL, "NAME=VALUE",
		"annotation of the app, or of the pod before any image",
		.image_pairs = IN_IMAGE(annotations), .pod_pairs = IN_POD(annotations)},
	{"user-annotation", CLI_CALL, "NAME=VALUE",
		"user annotation of the app, or of the pod before any image",
		.image_pairs = IN_IMAGE(user_annotations), .pod_pairs = IN_POD(user_annotations)},
	{"user-label", CLI_CALL, "NAME=VALUE",
		"user label of the app, or of the pod before any image",
		.image_pairs = IN_IMAGE(user_labels), .pod_pairs = IN_POD(user_labels)},
	{"memory", CLI_CALL, "SIZE",
		"memory limit of the app: 16Mi, 50M; before any image, or with a manifest, memory of the "
		"pod's machine (default: from the isolators)",
		.set_image = image_blueprint_set_memory, .pod_text = IN_POD(machine_memory)},
	{"name", CLI_CALL, "NAME", "name of the app (default: from the image's name)",
		.image_text = IN_IMAGE(name)},
	{"exec", CLI_CALL, "PROGRAM", "program to run instead of the image's",
		.set_image = set_exec},
	{"user", CLI_CALL, "USER", "user to run the app as", .image_text = IN_IMAGE(user)},
	{"group", CLI_CALL, "GROUP", "group to run the app as", .image_text = IN_IMAGE(group)},
	{"supplementary-gids", CLI_CALL, "GID,...", "the app's other groups",
		.set_image = image_blueprint_add_gids},
	{"working-dir", CLI_CALL, "DIR", "the app's working directory",
		.image_text = IN_IMAGE(working_directory)},
	{"readonly-rootfs", CLI_CALL_FLAG, NULL, "mount the app's root filesystem read-only",
		.set_image = set_readonly_rootfs},
	{"environment", CLI_CALL, "NAME=VALUE", "environment variable of the app",
		.image_pairs = IN_IMAGE(environment)},
	{"cpu", CLI_CALL, "CPUS", "cpu limit of the app: 500m, 2",
		.set_image = image_blueprint_set_cpu},
	{"cpu-shares", CLI_CALL, "N", "weight of the app on a busy CPU, 2 to 262144",
		.set_image = image_blueprint_set_cpu_shares},
	{"oom-score-adj", CLI_CALL, "N",
		"how soon the app is killed when memory is short, -1000 to 1000",
		.set_image = image_blueprint_set_oom_score_adj},
	{"caps-retain", CLI_CALL, "CAP,...", "capabilities that the app keeps",
		.set_image = set_retain},
	{"caps-remove", CLI_CALL, "CAP,...", "capabilities that the app loses",
		.set_image = set_remove},
	{"cap-retain", CLI_CALL, "CAP,...", "old name of --caps-retain", .set_image = set_retain},
	{"cap-remove", CLI_CALL, "CAP,...", "old name of --caps-remove", .set_image = set_remove},
	{"seccomp", CLI_CALL, "mode=retain|remove[,errno=E...],SYSCALL...",
		"system calls that the app may make, or may not",
		.set_image = image_blueprint_set_seccomp},
	{"stdin", CLI_CALL, "null|stream|tty",
		"what the app reads: nothing, or what those send who attach",
		.set_image = set_stdin},
	{"stdout", CLI_CALL, "null|log|stream|tty",
		"where the app's output goes: nowhere, only to the pod's log, or only to those who attach",
		.set_image = set_stdout},
	{"stderr", CLI_CALL, "null|log|stream|tty", "the same for its error output",
		.set_image = set_stderr},
	{"signature", CLI_CALL, "FILE", "signature of the image before this flag",
		.set_image = set_signature},
	{"stage1-from-dir", CLI_CALL, "NAME", "refused: there is no stage1",
		.set_pod = pod_flags_refuse_stage1},
	{"stage1-hash", CLI_CALL, "HASH", "refused", .set_pod = pod_flags_refuse_stage1},
	{"stage1-name", CLI_CALL, "NAME", "refused", .set_pod = pod_flags_refuse_stage1},
	{"stage1-path", CLI_CALL, "PATH", "refused", .set_pod = pod_flags_refuse_stage1},
	{"stage1-url", CLI_CALL, "URL", "refused", .set_pod = pod_flags_refuse_stage1},
};

/* Into the member that has an offset, if there is one. */
static int set_member(
	void *object, size_t text_offset, size_t pairs_offset, const char *text, struct error *err)
{
	if (pairs_offset)
		return blueprint_add_pair(
			(struct appc_pairs *)((char *)object + pairs_offset), text, true, err);
	*(const char **)((char *)object + text_offset) = text;
	return 0;
}

static int set_flag(struct cli *cli, const char *name, const char *text, void *context)
{
	struct pod_flags *flags = context;
	struct image_blueprint *image = pod_blueprint_last_image(&flags->request);
	const struct pod_flag *flag = pod_flags;
	bool of_image, of_pod;
	int r;

	while (strcmp(flag->name, name) != 0)
		flag++;
	of_image = flag->set_image || flag->image_text || flag->image_pairs;
	of_pod = flag->set_pod || flag->pod_text || flag->pod_pairs;
	if (!of_pod && !image)
		return cli_usage(cli, "--%s must follow an image", name);
	if (of_image && image)
		r = flag->set_image
			? flag->set_image(image, text, &cli->error)
			: set_member(image, flag->image_text, flag->image_pairs, text, &cli->error);
	else
		r = flag->set_pod ? flag->set_pod(&flags->request, text, &cli->error)
				  : set_member(&flags->request, flag->pod_text, flag->pod_pairs,
					    text, &cli->error);
	return r < 0 ? error_prefix(&cli->error, r, "invalid value in --%s flag \"%s\"", name, text)
		     : 0;
}

/* ---- the command line */

size_t pod_flags_options(struct pod_flags *flags, struct cli_option *options, size_t count)
{
	const struct cli_option own[] = {
		{"pod-manifest", CLI_STRING, &flags->manifest_path, "FILE",
			"the pod manifest, instead of images; - is standard input"},
		{"inherit-env", CLI_FLAG, &flags->inherit_env, NULL,
			"apps get the environment of this command, where they have nothing else"},
		{"pull-policy", CLI_STRING, &flags->pull.policy, "new|update|never",
			"when to fetch an image that is given by URL: when it is not there (default), when it has changed, never"},
		{"store-only", CLI_FLAG, &flags->pull.store_only, NULL,
			"rkt's old name of --pull-policy=never"},
		{"no-store", CLI_FLAG, &flags->pull.no_store, NULL,
			"rkt's old name of --pull-policy=update"},
		{"no-overlay", CLI_FLAG, &flags->no_overlay, NULL,
			"without effect: root filesystems are overlays here"},
		{"private-users", CLI_FLAG, &flags->private_users, NULL,
			"refused: users of a pod are its machine's own"},
	};

	flags->call = (struct cli_call){set_flag, flags};
	for (size_t i = 0; i < ARRAY_SIZE(pod_flags); i++)
		options[count++] = (struct cli_option){
			.name = pod_flags[i].name,
			.kind = pod_flags[i].kind,
			.value = &flags->call,
			.argument = pod_flags[i].argument,
			.help = pod_flags[i].help,
		};
	memcpy(options + count, own, sizeof(own));
	return image_limit_options(&flags->limit_flags, options, count + ARRAY_SIZE(own));
}

static bool is_manifest(const char *word)
{
	size_t length = strlen(word);

	return !strcmp(word, "-") || (length > 5 && !strcmp(word + length - 5, ".json"));
}

static int conflict(struct cli *cli)
{
	return error_set(
		&cli->error, -EINVAL, "conflicting flags set with --pod-manifest (see --help)");
}

static int add_operand(struct cli *cli, void *context, const char *text)
{
	struct pod_flags *flags = context;

	if (flags->first_operand && !*flags->first_operand) {
		*flags->first_operand = text;
		return 0;
	}
	if (!is_manifest(text))
		return pod_blueprint_add_image(&flags->request, text);
	if (flags->manifest_path)
		return conflict(cli);
	flags->manifest_path = text;
	return 0;
}

static int set_arguments(struct cli *cli, void *context, char *const *words, size_t count)
{
	struct pod_flags *flags = context;
	struct image_blueprint *image = pod_blueprint_last_image(&flags->request);

	if (!image)
		return cli_usage(cli, "an image is required before any app arguments");
	if (image->has_arguments)
		return cli_usage(cli, "only one set of app arguments allowed per image");
	image->has_arguments = true;
	image->arguments = words;
	image->argument_count = count;
	return 0;
}

/* What goes on has its apps and its machine: no flag but these could say anything of it. */
static const char *const of_saved_pod[] = {
	"from-checkpoint", "uuid-file-save", "flavour", "hostname", "log-size", "timing"};

static void note_given(void *context, const char *name)
{
	struct pod_flags *flags = context;

	for (size_t i = 0; i < ARRAY_SIZE(of_saved_pod); i++)
		if (!strcmp(of_saved_pod[i], name))
			return;
	if (!flags->of_new_pod)
		flags->of_new_pod = name;
}

static int check_saved(struct cli *cli, const struct pod_flags *flags)
{
	if (flags->request.image_count > 0 || flags->manifest_path)
		return cli_usage(cli, "with --from-checkpoint takes no images and no pod manifest");
	if (flags->of_new_pod)
		return cli_usage(cli,
			"--%s has no place with --from-checkpoint: the apps and their machine are as "
			"they were",
			flags->of_new_pod);
	return 0;
}

static int check(struct cli *cli, struct pod_flags *flags)
{
	const struct pod_blueprint *request = &flags->request;
	int r;

	if (flags->checkpoint)
		return check_saved(cli, flags);
	r = cli_parse_pull_policy(cli, &flags->pull, PULL_NEW, &flags->policy);
	if (r == 0)
		r = image_limits_parse(cli, &flags->limit_flags, &flags->limits);
	if (r < 0)
		return r;
	if (flags->private_users)
		return error_set(&cli->error, -ENOTSUP,
			"--private-users: the users of a pod are its own machine's, which share nothing "
			"with the host's; there is nothing to shift");
	if (flags->no_overlay)
		log_warning("--no-overlay has no effect: root filesystems are overlays of rendered "
			    "images");
	if (!flags->manifest_path)
		return request->image_count > 0
			? 0
			: error_set(&cli->error, -EINVAL,
				  "must provide at least one image or specify the pod manifest");
	if (request->image_count > 0 || request->volume_count > 0 || request->mount_count > 0 ||
		request->port_count > 0 || request->environment.count > 0 ||
		request->file_environment.count > 0 || request->annotations.count > 0 ||
		request->user_annotations.count > 0 || request->user_labels.count > 0 ||
		flags->inherit_env || flags->policy != PULL_NEW)
		return conflict(cli);
	return 0;
}

int pod_flags_parse(struct cli *cli, struct pod_flags *flags, const struct cli_option *options,
	size_t count, int argc, char **argv)
{
	const struct cli_sequence sequence = {note_given, add_operand, set_arguments, flags};
	int r = cli_parse_sequence(cli, options, count, &sequence, argc, argv);

	if (r < 0)
		return r;
	flags->request.uid = getuid();
	flags->request.gid = getgid();
	flags->request.inherited = flags->inherit_env ? environ : NULL;
	return check(cli, flags);
}

void pod_flags_done(struct pod_flags *flags)
{
	pod_blueprint_clear(&flags->request);
	appc_pod_manifest_free(flags->manifest);
	free(flags->text);
}

/* ---- the manifest */

int pod_flags_read(struct cli *cli, struct pod_flags *flags)
{
	const char *path = flags->manifest_path;
	int r;

	if (!path)
		return 0;
	if (!strcmp(path, "-"))
		r = file_read_fd(
			STDIN_FILENO, APPC_MANIFEST_SIZE_MAX, &flags->text, &flags->length);
	else
		r = file_read(AT_FDCWD, path, APPC_MANIFEST_SIZE_MAX, &flags->text, &flags->length);
	if (r == -EFBIG)
		return error_set(&cli->error, r,
			"error reading pod manifest \"%s\": longer than %u bytes", path,
			APPC_MANIFEST_SIZE_MAX);
	if (r < 0)
		return error_set_errno(&cli->error, r, "error reading pod manifest \"%s\"", path);
	r = appc_pod_manifest_parse(flags->text, flags->length, &flags->manifest, &cli->error);
	return r < 0 ? error_prefix(&cli->error, r, "error unmarshaling pod manifest \"%s\"", path)
		     : 0;
}

/* What the store has of the images of a request, in their order. */
struct found_images {
	size_t count;
	char (*ids)[STORE_IMAGE_ID_SIZE];
	struct appc_image_manifest **manifests;
	struct generate_image *images;
};

static void found_images_done(struct found_images *found)
{
	for (size_t i = 0; found->manifests && i < found->count; i++)
		appc_image_manifest_free(found->manifests[i]);
	free(found->manifests);
	free(found->ids);
	free(found->images);
}

static int find_images(struct cli *cli, const struct pod_flags *flags, struct store *store,
	struct found_images *ret)
{
	const struct pod_blueprint *request = &flags->request;

	ret->count = request->image_count;
	ret->ids = calloc(ret->count, sizeof(*ret->ids));
	ret->manifests = calloc(ret->count, sizeof(struct appc_image_manifest *));
	ret->images = calloc(ret->count, sizeof(*ret->images));
	if (!ret->ids || !ret->manifests || !ret->images)
		return -ENOMEM;
	for (size_t i = 0; i < ret->count; i++) {
		const struct image_argument_options options = {
			.pull_policy = flags->policy,
			.limits = flags->limits,
			.signature = request->images[i].signature,
		};
		int r = cli_find_image(cli, store, request->images[i].image, &options, ret->ids[i]);

		if (r == 0)
			r = store_image_manifest(
				store, ret->ids[i], &ret->manifests[i], &cli->error);
		if (r < 0)
			return r;
		ret->images[i] = (struct generate_image){ret->ids[i], ret->manifests[i]};
	}
	return 0;
}

int pod_flags_generate(struct cli *cli, struct pod_flags *flags, struct store *store)
{
	_cleanup_(found_images_done) struct found_images found = {0};
	int r;

	if (flags->manifest_path)
		return 0;
	r = find_images(cli, flags, store, &found);
	if (r == 0)
		r = pod_generate(
			&flags->request, found.images, &flags->manifest, &flags->text, &cli->error);
	if (r == 0)
		flags->length = strlen(flags->text);
	return r;
}
