// SPDX-License-Identifier: Apache-2.0
/*
 * test_command_line.c: command lines in rkt's grammar, and the pod manifests that they mean.
 */
#include "cli/pod_flags.h"

#include "base/file.h"
#include "base/json.h"
#include "pod/generate.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 64

#define LABELS                                                                            \
	"\"labels\":[{\"name\":\"os\",\"value\":\"linux\"},{\"name\":\"arch\",\"value\":" \
	"\"amd64\"},{\"name\":\"version\",\"value\":\"1.0\"}]"
#define IMAGE(name, more)                                                         \
	"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"" name \
	"\"," LABELS more "}"
#define ISOLATOR(name, value) "{\"name\":\"" name "\",\"value\":" value "}"

/* What is "in the store", by the word that the command lines use for it. */
static const struct {
	const char *word, *manifest;
} known_images[] = {
	{"app",
		IMAGE("example.com/app",
			",\"app\":{\"exec\":[\"/bin/app\",\"--image\"],\"user\":\"7\",\"group\":\"8\","
			"\"supplementaryGIDs\":[9],\"workingDirectory\":\"/srv\",\"environment\":["
			"{\"name\":\"IMAGE\",\"value\":\"image\"},{\"name\":\"BOTH\",\"value\":"
			"\"image\"}],\"userLabels\":{\"from\":\"image\"},\"ports\":[{\"name\":\"www\","
			"\"protocol\":\"tcp\",\"port\":80}]}")},
	{"isolated",
		IMAGE("example.com/isolated",
			",\"app\":{\"exec\":[\"/bin/app\"],\"user\":\"0\",\"group\":\"0\","
			"\"isolators\":[" ISOLATOR("resource/memory",
				"{\"request\":\"1Gi\",\"limit\":\"1Gi\"}") "," ISOLATOR("os/linux/capabilities-remove-set",
				"{\"set\":[\"CAP_KILL\"]}") "," ISOLATOR("os/linux/seccomp-remove-set",
				"{\"set\":[\"mount\"]}") "," ISOLATOR("os/linux/cpu-shares",
				"100") "," ISOLATOR("os/linux/oom-score-adj", "-1") "]}")},
	{"library", IMAGE("example.com/library", "")},
	{"odd",
		IMAGE("example.com/tools/odd_name.v2",
			",\"app\":{\"exec\":[\"/odd\"],\"user\":\"0\",\"group\":\"0\"}")},
	{"dots", IMAGE("a/b~c", ",\"app\":{\"exec\":[\"/odd\"],\"user\":\"0\",\"group\":\"0\"}")},
};

struct line {
	struct cli cli;
	struct cli_command command;
	struct pod_flags flags;
	char *words, *argv[WORDS_MAX];
	char text[1024]; /* the manifest, for messages */
	json_t *manifest;
};

static void line_done(struct line *line)
{
	pod_flags_done(&line->flags);
	json_decref(line->manifest);
	free(line->words);
}

/* The words of the line between blanks; pod_flags_parse()'s result. */
static int parse_line(struct line *line, const char *words)
{
	struct cli_option options[CLI_OPTIONS_MAX];
	size_t count = pod_flags_options(&line->flags, options, 0);
	int argc = 1;
	char *rest;

	line->command = (struct cli_command){.name = "run"};
	line->cli.command = &line->command;
	line->argv[0] = (char *)"run";
	line->words = rest = strdup(words);
	assert_non_null(rest);
	for (char *word; (word = strsep(&rest, " "));) {
		assert_true(argc < WORDS_MAX);
		line->argv[argc++] = word;
	}
	if (!*words)
		argc = 1;
	return pod_flags_parse(&line->cli, &line->flags, options, count, argc, line->argv);
}

/* Makes the manifest of a line that was parsed, as the command does with images of the store. */
static int generate_line(struct line *line)
{
	const struct pod_blueprint *blueprint = &line->flags.request;
	struct appc_image_manifest *manifests[WORDS_MAX] = {0};
	struct generate_image images[WORDS_MAX];
	static char id[] = "sha512-"
			   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
			   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	int r;

	for (size_t i = 0; i < blueprint->image_count; i++) {
		size_t known = 0;

		while (strcmp(known_images[known].word, blueprint->images[i].image) != 0)
			assert_true(++known < ARRAY_SIZE(known_images));
		if (appc_image_manifest_parse(known_images[known].manifest,
			    strlen(known_images[known].manifest), &manifests[i],
			    &line->cli.error) < 0)
			fail_msg("%s", line->cli.error.message);
		images[i] = (struct generate_image){id, manifests[i]};
	}
	line->flags.request.uid = 1234;
	line->flags.request.gid = 5678;
	r = pod_generate(
		blueprint, images, &line->flags.manifest, &line->flags.text, &line->cli.error);
	for (size_t i = 0; i < blueprint->image_count; i++)
		appc_image_manifest_free(manifests[i]);
	if (r == 0)
		assert_int_equal(json_parse(line->flags.text, strlen(line->flags.text), "manifest",
					 &line->manifest, &line->cli.error),
			0);
	return r;
}

static int try_line(struct line *line, const char *words)
{
	int r = parse_line(line, words);

	return r < 0 ? r : generate_line(line);
}

/* "apps.0.app.exec"; NULL: not there. */
static json_t *find(json_t *json, const char *path)
{
	char *copy = strdup(path), *rest = copy, *key;

	while (json && (key = strsep(&rest, ".")))
		json = json_is_array(json) ? json_array_get(json, strtoul(key, NULL, 10))
					   : json_object_get(json, key);
	free(copy);
	return json;
}

/* ---- manifests */

/* The member at path of the manifest of that command line is this JSON; NULL: it is absent. */
static const struct {
	const char *words, *path, *json;
} manifests[] = {
	/* G1 */
	{"app", "acKind", "\"PodManifest\""},
	{"app", "acVersion", "\"" APPC_VM_VERSION "\""},
	/* G2 */
	{"app", "apps.0.name", "\"app\""},
	{"odd", "apps.0.name", "\"odd-name-v2\""},
	{"dots", "apps.0.name", "\"b-c\""},
	{"app --name=mine", "apps.0.name", "\"mine\""},
	{"app --name mine", "apps.0.name", "\"mine\""},
	{"app --name=one app --name=two", "apps.1.name", "\"two\""},
	/* G4, G5 */
	{"library --exec=/bin/sh", "apps.0.app.user", "\"1234\""},
	{"library --exec=/bin/sh", "apps.0.app.group", "\"5678\""},
	{"library --exec=/bin/sh -- -c true", "apps.0.app.exec", "[\"/bin/sh\",\"-c\",\"true\"]"},
	/* G6, G7 */
	{"app", "apps.0.app.exec", "[\"/bin/app\",\"--image\"]"},
	{"app --exec=/other", "apps.0.app.exec", "[\"/other\"]"},
	{"app -- --more -x", "apps.0.app.exec", "[\"/bin/app\",\"--image\",\"--more\",\"-x\"]"},
	{"app --", "apps.0.app.exec", "[\"/bin/app\",\"--image\"]"},
	{"app --exec=/other -- a -- b --- odd", "apps.0.app.exec",
		"[\"/other\",\"a\",\"--\",\"b\"]"},
	{"app -- a --- odd -- c", "apps.1.app.exec", "[\"/odd\",\"c\"]"},
	{"app -- a --- --exec=/late", "apps.0.app.exec", "[\"/late\",\"a\"]"},
	{"app --- odd", "apps.1.name", "\"odd-name-v2\""},
	{"app -- app.json", "apps.0.app.exec", "[\"/bin/app\",\"--image\",\"app.json\"]"},
	/* G8 */
	{"app", "apps.0.image.name", "\"example.com/app\""},
	{"app", "apps.0.image.labels",
		"[{\"name\":\"os\",\"value\":\"linux\"},{\"name\":\"arch\",\"value\":\"amd64\"},"
		"{\"name\":\"version\",\"value\":\"1.0\"}]"},
	{"app", "apps.0.readOnlyRootFS", NULL},
	{"app --readonly-rootfs", "apps.0.readOnlyRootFS", "true"},
	{"app --readonly-rootfs=T", "apps.0.readOnlyRootFS", "true"},
	{"app --readonly-rootfs odd", "apps.1.readOnlyRootFS", NULL},
	{"app --readonly-rootfs=false", "apps.0.readOnlyRootFS", NULL},
	/* G9 */
	{"--mount=volume=v,target=/all app odd --mount=volume=w,target=/one", "apps.0.mounts",
		"[{\"volume\":\"v\",\"path\":\"/all\"}]"},
	{"--mount=volume=v,target=/all app odd --mount=volume=w,target=/one", "apps.1.mounts",
		"[{\"volume\":\"w\",\"path\":\"/one\"},{\"volume\":\"v\",\"path\":\"/all\"}]"},
	{"--mount=volume=v,target=/mnt/ app --mount=volume=w,target=/mnt", "apps.0.mounts",
		"[{\"volume\":\"w\",\"path\":\"/mnt\"}]"},
	{"app --mount=volume=v,target=/mnt --mount=volume=w,target=//mnt/.", "apps.0.mounts",
		"[{\"volume\":\"v\",\"path\":\"/mnt\"}]"},
	{"app --mount volume=v,target=dir1 --mount volume=w,target=/dir1", "apps.0.mounts",
		"[{\"volume\":\"v\",\"path\":\"dir1\"}]"},
	/* G10 */
	{"app --memory=16M", "apps.0.app.isolators",
		"[" ISOLATOR("resource/memory", "{\"request\":\"16M\",\"limit\":\"16M\"}") "]"},
	{"app --memory=16M --memory=32M", "apps.0.app.isolators",
		"[" ISOLATOR("resource/memory", "{\"request\":\"32M\",\"limit\":\"32M\"}") "]"},
	{"isolated --memory=16M", "apps.0.app.isolators.0",
		ISOLATOR("resource/memory", "{\"request\":\"1Gi\",\"limit\":\"1Gi\"}")},
	{"isolated --memory=16M", "apps.0.app.isolators.5",
		ISOLATOR("resource/memory", "{\"request\":\"16M\",\"limit\":\"16M\"}")},
	{"isolated --memory=16M --cpu=500m", "apps.0.app.isolators.6",
		ISOLATOR("resource/cpu", "{\"request\":\"500m\",\"limit\":\"500m\"}")},
	{"--memory=512M app", "apps.0.app.isolators", NULL},
	{"isolated --cpu-shares=2048", "apps.0.app.isolators.4",
		ISOLATOR("os/linux/cpu-shares", "2048")},
	{"isolated --cpu-shares=2048", "apps.0.app.isolators.5", NULL},
	{"isolated --oom-score-adj=-1000", "apps.0.app.isolators.4",
		ISOLATOR("os/linux/oom-score-adj", "-1000")},
	/* G11 */
	{"isolated --caps-retain=CAP_CHOWN,CAP_KILL", "apps.0.app.isolators.1",
		ISOLATOR("os/linux/seccomp-remove-set", "{\"set\":[\"mount\"]}")},
	{"isolated --caps-retain=CAP_CHOWN,CAP_KILL", "apps.0.app.isolators.4",
		ISOLATOR("os/linux/capabilities-retain-set",
			"{\"set\":[\"CAP_CHOWN\",\"CAP_KILL\"]}")},
	{"isolated --caps-retain=CAP_CHOWN", "apps.0.app.isolators.5", NULL},
	{"isolated --caps-remove=CAP_CHOWN", "apps.0.app.isolators.4",
		ISOLATOR("os/linux/capabilities-remove-set", "{\"set\":[\"CAP_CHOWN\"]}")},
	{"app --caps-remove=CAP_A --caps-remove=CAP_CHOWN", "apps.0.app.isolators",
		"[" ISOLATOR("os/linux/capabilities-remove-set", "{\"set\":[\"CAP_CHOWN\"]}") "]"},
	{"app --seccomp=mode=retain,errno=EPERM,read,write", "apps.0.app.isolators",
		"[" ISOLATOR("os/linux/seccomp-retain-set",
			"{\"set\":[\"read\",\"write\"],\"errno\":\"EPERM\"}") "]"},
	{"app --seccomp read,mode=remove,@rkt/default-blacklist", "apps.0.app.isolators",
		"[" ISOLATOR("os/linux/seccomp-remove-set",
			"{\"set\":[\"read\",\"@rkt/default-blacklist\"]}") "]"},
	{"app --seccomp=mode=retain,read --seccomp=mode=remove,mount", "apps.0.app.isolators",
		"[" ISOLATOR("os/linux/seccomp-remove-set", "{\"set\":[\"mount\"]}") "]"},
	{"isolated --seccomp=mode=retain,read", "apps.0.app.isolators.4",
		ISOLATOR("os/linux/seccomp-retain-set", "{\"set\":[\"read\"]}")},
	{"isolated --seccomp=mode=retain,read", "apps.0.app.isolators.5", NULL},
	/* An empty flag is one that was not given. */
	{"app --exec= -- more", "apps.0.app.exec", "[\"/bin/app\",\"--image\",\"more\"]"},
	{"app --name=", "apps.0.name", "\"app\""},
	/* G12 */
	{"app", "apps.0.app.user", "\"7\""},
	{"app --user=alice --group=50", "apps.0.app.user", "\"alice\""},
	{"app --user=alice --group=50", "apps.0.app.group", "\"50\""},
	{"app --user=", "apps.0.app.user", "\"7\""},
	{"app", "apps.0.app.supplementaryGIDs", "[9]"},
	{"app --supplementary-gids=1,2 --supplementary-gids=3", "apps.0.app.supplementaryGIDs",
		"[1,2,3]"},
	{"app", "apps.0.app.workingDirectory", "\"/srv\""},
	{"app --working-dir=/tmp", "apps.0.app.workingDirectory", "\"/tmp\""},
	/* G14 */
	{"--volume=v,kind=empty app", "volumes",
		"[{\"name\":\"v\",\"kind\":\"empty\",\"mode\":\"0755\",\"uid\":0,\"gid\":0}]"},
	{"app --volume v,kind=host,source=/tmp,readOnly=true,recursive=false", "volumes",
		"[{\"name\":\"v\",\"kind\":\"host\",\"source\":\"/tmp\",\"readOnly\":true,"
		"\"recursive\":false}]"},
	{"app --volume=v,kind=empty,mode=0123,uid=9991,gid=9992", "volumes",
		"[{\"name\":\"v\",\"kind\":\"empty\",\"mode\":\"0123\",\"uid\":9991,\"gid\":9992}]"},
	{"--port=www:8080 app", "ports", "[{\"name\":\"www\",\"hostPort\":8080}]"},
	{"app --port=www:127.0.0.1:8080", "ports",
		"[{\"name\":\"www\",\"hostPort\":8080,\"hostIP\":\"127.0.0.1\"}]"},
	/* G15 */
	{"app", "annotations",
		"[{\"name\":\"coreos.com/rkt/stage1/mutable\",\"value\":\"false\"}]"},
	/* G16 */
	{"--user-annotation=a=pod app --user-annotation=a=app=1", "userAnnotations",
		"{\"a\":\"pod\"}"},
	{"--user-annotation=a=pod app --user-annotation=a=app=1", "apps.0.app.userAnnotations",
		"{\"a\":\"app=1\"}"},
	{"--user-label=l=pod app", "userLabels", "{\"l\":\"pod\"}"},
	{"app", "apps.0.app.userLabels", "{\"from\":\"image\"}"},
	{"app --user-label=l=x --user-label=m=", "apps.0.app.userLabels",
		"{\"l\":\"x\",\"m\":\"\"}"},
	{"app --annotation=created=2020-01-01T00:00:00Z", "apps.0.annotations",
		"[{\"name\":\"created\",\"value\":\"2020-01-01T00:00:00Z\"}]"},
	{"--annotation=a=pod app", "annotations.0", "{\"name\":\"a\",\"value\":\"pod\"}"},
};

static void a_command_line_means_a_manifest(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(manifests); i++) {
		_cleanup_(line_done) struct line line = {0};
		_cleanup_json_ json_t *expected = NULL;
		json_t *found;

		if (try_line(&line, manifests[i].words) < 0)
			fail_msg("%s\n%s", manifests[i].words, line.cli.error.message);
		found = find(line.manifest, manifests[i].path);
		if (manifests[i].json) {
			expected = json_loads(manifests[i].json, JSON_DECODE_ANY, NULL);
			assert_non_null(expected);
		}
		if (!expected != !found || (expected && !json_equal(expected, found)))
			fail_msg("%s\n%s: expected %s\n%s", manifests[i].words, manifests[i].path,
				manifests[i].json ? manifests[i].json : "nothing", line.flags.text);
	}
}

/* ---- refusals */

static const struct {
	const char *words, *message;
} refusals[] = {
	{"", "must provide at least one image or specify the pod manifest"},
	{"--volume=v,kind=empty", "must provide at least one image or specify the pod manifest"},
	/* The grammar. */
	{"--frobnicate app", "run: unknown flag --frobnicate (see \"appc-vm run --help\")"},
	{"-n app", "run: unknown flag -n (see \"appc-vm run --help\")"},
	{"app --exec", "run: --exec needs a value (see \"appc-vm run --help\")"},
	{"-- app",
		"run: an image is required before any app arguments (see \"appc-vm run --help\")"},
	{"app -- a --- -- b",
		"run: only one set of app arguments allowed per image (see \"appc-vm run --help\")"},
	{"app --readonly-rootfs=maybe",
		"run: --readonly-rootfs is true or false, not \"maybe\" (see \"appc-vm run --help\")"},
	{"app --exec=/a --exec=/b",
		"invalid value in --exec flag \"/b\": --exec specified multiple times for the same "
		"image"},
	{"app --signature=a --signature=b",
		"invalid value in --signature flag \"b\": --signature specified multiple times for the "
		"same image"},
	/* A manifest and anything that makes one. */
	{"pod.json --volume=v,kind=empty",
		"conflicting flags set with --pod-manifest (see --help)"},
	{"pod.json --mount=volume=v,target=/a",
		"conflicting flags set with --pod-manifest (see --help)"},
	{"--pod-manifest=x app", "conflicting flags set with --pod-manifest (see --help)"},
	{"--pod-manifest=x pod.json", "conflicting flags set with --pod-manifest (see --help)"},
	{"--pod-manifest=x --port=www:80",
		"conflicting flags set with --pod-manifest (see --help)"},
	{"--pod-manifest=x --inherit-env",
		"conflicting flags set with --pod-manifest (see --help)"},
	{"--pod-manifest=x --set-env=A=1",
		"conflicting flags set with --pod-manifest (see --help)"},
	{"--pod-manifest=x --pull-policy=never",
		"conflicting flags set with --pod-manifest (see --help)"},
	{"- --user-label=a=b", "conflicting flags set with --pod-manifest (see --help)"},
	{"a.json b.json", "conflicting flags set with --pod-manifest (see --help)"},
	/* Names. */
	{"app --name=Not_A_Name",
		"image example.com/app: invalid app name format \"Not_A_Name\": ACName must contain "
		"only lower case alphanumeric characters plus \"-\""},
	{"app app", "error: multiple apps with name example.com/app"},
	{"app odd --name=app", "error: multiple apps with name app"},
	{"library",
		"error: image example.com/library has no app section and --exec argument is not "
		"provided"},
	{"library --exec= -- a",
		"error: image example.com/library has no app section and --exec argument is not "
		"provided"},
	{"app app --name=", "error: multiple apps with name example.com/app"},
	{"library --user=0 -- a",
		"error: image example.com/library has no app section and --exec argument is not "
		"provided"},
	/* Isolators. */
	{"app --memory=16m",
		"invalid value in --memory flag \"16m\": memory limit of 1 bytes too low. Try a "
		"reasonable value, such as --memory=16M"},
	{"app --memory=4095",
		"invalid value in --memory flag \"4095\": memory limit of 4095 bytes too low. Try a "
		"reasonable value, such as --memory=16M"},
	{"app --memory=lots", NULL},
	{"app --cpu=-1", NULL},
	{"app --cpu-shares=1", NULL},
	{"app --cpu-shares=x",
		"invalid value in --cpu-shares flag \"x\": \"x\" is not a whole number"},
	{"app --oom-score-adj=1001", NULL},
	{"app --oom-score-adj=--1", NULL},
	{"app --caps-retain=CAP_KILL --caps-remove=CAP_CHOWN",
		"image example.com/app: error: cannot use both --cap-retain and --cap-remove on the "
		"same image"},
	{"app --caps-retain=",
		"invalid value in --caps-retain flag \"\": \"\" has an empty or malformed name"},
	{"app --seccomp=read",
		"invalid value in --seccomp flag \"read\": invalid seccomp mode \"\": mode= is retain "
		"or remove"},
	{"app --seccomp=mode=maybe,read",
		"invalid value in --seccomp flag \"mode=maybe,read\": invalid seccomp mode \"maybe\": "
		"mode= is retain or remove"},
	{"app --seccomp=mode=retain", NULL},
	{"app --seccomp=mode=retain,mode=remove,read",
		"invalid value in --seccomp flag \"mode=retain,mode=remove,read\": "
		"\"mode=retain,mode=remove,read\" says more than one mode"},
	{"app --seccomp=mode=retain,errno=perm,read", NULL},
	{"app --seccomp=mode=retain,read,",
		"invalid value in --seccomp flag \"mode=retain,read,\": \"\" is not a system call, "
		"mode= or errno="},
	/* Values that the manifest's own rules refuse. */
	{"app --supplementary-gids=1,-2",
		"invalid value in --supplementary-gids flag \"1,-2\": must be integers of at most "
		"4294967294, not \"-2\""},
	{"app --working-dir=relative", NULL},
	{"app --environment=A-VALUE",
		"invalid value in --environment flag \"A-VALUE\": must be specified as key=value, not "
		"\"A-VALUE\""},
	{"app --environment=1A=x", NULL},
	{"app --set-env=A=1 --set-env=A=2",
		"invalid value in --set-env flag \"A=2\": key \"A\" already set"},
	{"app --set-env-file=/nonexistent/file", NULL},
	{"app --annotation=Not-An-Identifier=x", NULL},
	{"app --user-label=novalue", NULL},
	{"app --volume=v,kind=floppy", NULL},
	{"app --volume=v,kind=host", NULL},
	{"app --volume=v,kind=empty --volume=v,kind=empty", NULL},
	{"app --mount=volume=v", NULL},
	{"app --mount=volume=v,target=/a,mode=1", NULL},
	{"app --port=www", NULL},
	{"app --port=www:70000", NULL},
	{"app --port=absent:80", "port name \"absent\" could not be found in any apps"},
	{"app app --name=two --port=www:80", "port name \"www\" defined multiple apps"},
	{"app --port=www:80 --port=www:80", "port tcp-0.0.0.0:80 already mapped to pod port 80"},
	/* What has no meaning here. */
	{"--private-users app", NULL},
	{"--stage1-name=coreos.com/rkt/stage1-kvm app", NULL},
	{"app --stage1-path=/s", NULL},
	{"--pull-policy=sometimes app",
		"run: --pull-policy is new, update or never, not \"sometimes\" (see \"appc-vm run "
		"--help\")"},
};

static void a_command_line_that_means_nothing_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		_cleanup_(line_done) struct line line = {0};
		const char *said = line.cli.error.message;

		if (try_line(&line, refusals[i].words) >= 0)
			fail_msg("%s: was taken", refusals[i].words);
		if (refusals[i].message ? strcmp(said, refusals[i].message) != 0 : !*said)
			fail_msg("%s\n%s", refusals[i].words, said);
	}
}

/* Each flag that is about an image. */
static void a_flag_of_an_image_must_follow_one(void **state)
{
	static const char *const flags[] = {"name", "exec", "user", "group", "supplementary-gids",
		"working-dir", "environment", "cpu", "cpu-shares", "oom-score-adj", "caps-retain",
		"caps-remove", "seccomp", "signature"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		_cleanup_(line_done) struct line line = {0};
		char words[64], message[128];

		snprintf(words, sizeof(words), "--%s=x app", flags[i]);
		snprintf(message, sizeof(message),
			"run: --%s must follow an image (see \"appc-vm run --help\")", flags[i]);
		assert_int_equal(parse_line(&line, words), -EINVAL);
		assert_string_equal(line.cli.error.message, message);
	}
}

static void memory_before_any_image_is_the_machines(void **state)
{
	_cleanup_(line_done) struct line before = {0}, manifest = {0}, after = {0};

	(void)state;
	assert_int_equal(parse_line(&before, "--memory=512M app --memory=16M"), 0);
	assert_string_equal(before.flags.request.machine_memory, "512M");
	assert_int_equal(before.flags.request.images[0].isolators.count, 1);
	assert_int_equal(parse_line(&manifest, "pod.json --memory=512M"), 0);
	assert_string_equal(manifest.flags.request.machine_memory, "512M");
	assert_string_equal(manifest.flags.manifest_path, "pod.json");
	assert_int_equal(parse_line(&after, "app --memory=16M"), 0);
	assert_null(after.flags.request.machine_memory);
}

static void a_manifest_is_a_word_that_looks_like_one(void **state)
{
	static const struct {
		const char *words, *path;
	} cases[] = {{"pod.json", "pod.json"}, {"-", "-"}, {"./a/b.json", "./a/b.json"},
		{"--pod-manifest=whatever", "whatever"}, {"--pod-manifest -", "-"}, {"json", NULL},
		{".json", NULL}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(line_done) struct line line = {0};

		assert_int_equal(parse_line(&line, cases[i].words), 0);
		if (cases[i].path)
			assert_string_equal(line.flags.manifest_path, cases[i].path);
		else
			assert_null(line.flags.manifest_path);
	}
}

/* ---- environment */

static const char *variable(const struct line *line, size_t app, const char *name)
{
	return appc_pairs_get(&line->flags.manifest->apps[app].app->environment, name);
}

/* A file of the test, whose name fits into a command line. */
static void write_file(char *path, const char *text, size_t length)
{
	int fd;

	strcpy(path, "/tmp/appc-line-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, length), 0);
	close(fd);
}

static void environment_ranks_from_the_host_to_the_app(void **state)
{
	static char *const inherited[] = {(char *)"HOST=host", (char *)"IMAGE=host",
		(char *)"FILE=host", (char *)"SET=host", (char *)"BASH_FUNC_x%%=() { :; }",
		(char *)"LATIN=\xe9", (char *)"NOVALUE", NULL};
	static const char file[] = "# a comment\n; another\n\nFILE=file\r\nBOTH=file\nSET=file\n";
	_cleanup_(line_done) struct line line = {0};
	char path[32], words[256];
	int r;

	(void)state;
	write_file(path, file, strlen(file));
	snprintf(words, sizeof(words),
		"--set-env-file=%s --set-env=SET=set --set-env=APP=set app --environment=APP=app "
		"odd",
		path);
	r = parse_line(&line, words);
	unlink(path);
	assert_int_equal(r, 0);
	line.flags.request.inherited = inherited;
	if (generate_line(&line) < 0)
		fail_msg("%s", line.cli.error.message);
	/* Inherited never replaces the image's. */
	assert_string_equal(variable(&line, 0, "HOST"), "host");
	assert_string_equal(variable(&line, 0, "IMAGE"), "image");
	assert_string_equal(variable(&line, 0, "BOTH"), "file");
	assert_string_equal(variable(&line, 0, "FILE"), "file");
	assert_string_equal(variable(&line, 0, "SET"), "set");
	assert_string_equal(variable(&line, 0, "APP"), "app");
	assert_string_equal(variable(&line, 1, "APP"), "set");
	assert_string_equal(variable(&line, 1, "IMAGE"), "host");
	/* What a manifest cannot hold stays behind. */
	assert_null(variable(&line, 0, "BASH_FUNC_x%%"));
	assert_null(variable(&line, 0, "LATIN"));
	assert_null(variable(&line, 0, "NOVALUE"));
}

static void only_inherit_env_inherits(void **state)
{
	_cleanup_(line_done) struct line with = {0}, without = {0};

	(void)state;
	assert_int_equal(parse_line(&with, "--inherit-env app"), 0);
	assert_ptr_equal(with.flags.request.inherited, environ);
	assert_int_equal(parse_line(&without, "app"), 0);
	assert_null(without.flags.request.inherited);
}

static void a_malformed_environment_file_is_named_with_its_line(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		const char *message;
	} cases[] = {
		{"A=1\nB\n", 6,
			"environment variable must be specified as name=value (file \"f\", line 2)"},
		{"=1", 2,
			"environment variable must be specified as name=value (file \"f\", line 1)"},
		{"A=1\n\nA=2", 8, "environment variable \"A\" already set (file \"f\", line 3)"},
		{"A=\0", 3, "file \"f\" has a NUL character"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct appc_pairs pairs = {0};
		struct error err;

		assert_int_equal(blueprint_add_environment_file(
					 &pairs, cases[i].text, cases[i].length, "f", &err),
			-EINVAL);
		assert_string_equal(err.message, cases[i].message);
		appc_pairs_clear(&pairs);
	}
}

static void words_that_are_not_utf8_are_refused(void **state)
{
	static const char *const cases[] = {"app -- \xff", "app --exec=\xff",
		"app --environment=A=\xff", "app --caps-retain=\xff", "app --memory=\xff",
		"app --user=\xff", "app --seccomp=mode=retain,\xff",
		"--volume=\xff,kind=empty app"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(line_done) struct line line = {0};

		assert_true(try_line(&line, cases[i]) < 0);
		assert_true(*line.cli.error.message);
	}
}

/* ---- flags of any command */

static void flags_of_other_commands_stand_anywhere(void **state)
{
	const char *text = NULL, *optional = NULL;
	bool flag = true;
	const struct cli_option options[] = {
		{"text", CLI_STRING, &text, "TEXT", ""},
		{"optional", CLI_OPTIONAL, &optional, "TEXT", ""},
		{"flag", CLI_FLAG, &flag, NULL, ""},
	};
	const struct cli_command command = {.name = "test"};
	struct cli cli = {.command = &command};
	char *argv[] = {(char *)"test", (char *)"one", (char *)"--text", (char *)"--odd",
		(char *)"-", (char *)"--flag=0", (char *)"--optional", (char *)"two", (char *)"--",
		(char *)"--three", NULL};
	int at = cli_parse(&cli, options, ARRAY_SIZE(options), ARRAY_SIZE(argv) - 1, argv);

	(void)state;
	assert_int_equal(at, 6);
	assert_string_equal(argv[6], "one");
	assert_string_equal(argv[7], "-");
	assert_string_equal(argv[8], "two");
	assert_string_equal(argv[9], "--three");
	assert_string_equal(text, "--odd");
	assert_string_equal(optional, "");
	assert_false(flag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_line_means_a_manifest),
		cmocka_unit_test(a_command_line_that_means_nothing_is_refused),
		cmocka_unit_test(a_flag_of_an_image_must_follow_one),
		cmocka_unit_test(memory_before_any_image_is_the_machines),
		cmocka_unit_test(a_manifest_is_a_word_that_looks_like_one),
		cmocka_unit_test(environment_ranks_from_the_host_to_the_app),
		cmocka_unit_test(only_inherit_env_inherits),
		cmocka_unit_test(a_malformed_environment_file_is_named_with_its_line),
		cmocka_unit_test(words_that_are_not_utf8_are_refused),
		cmocka_unit_test(flags_of_other_commands_stand_anywhere),
	};

	return cmocka_run_group_tests_name("command line", tests, NULL, NULL);
}
