// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_command_line.c: words, one on each line, as the command line of run; where it is accepted, the
 * manifest that it means with an image that has an app, and one that has none.
 */
#include "cli/pod_flags.h"

#include "base/log.h"
#include "pod/generate.h"

#include <string.h>

#define WORDS_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct appc_image_manifest *images[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const texts[] = {
		"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"a/app\",\"app\":{"
		"\"exec\":[\"/a\"],\"user\":\"0\",\"group\":\"0\",\"ports\":[{\"name\":\"www\","
		"\"protocol\":\"tcp\",\"port\":80}],\"isolators\":[{\"name\":"
		"\"os/linux/seccomp-remove-set\",\"value\":{\"set\":[\"mount\"]}}]}}",
		"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"b\"}"};

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < ARRAY_SIZE(images); i++)
		if (appc_image_manifest_parse(texts[i], strlen(texts[i]), &images[i], NULL) < 0)
			abort();
	/* Help and messages are of no interest. */
	log_set_level(LOG_LEVEL_ERROR);
	return freopen("/dev/null", "w", stdout) ? 0 : -1;
}

static void fuzz_manifest(struct pod_flags *flags)
{
	static char *const inherited[] = {(char *)"HOME=/", (char *)"1=bad", NULL};
	struct generate_image found[WORDS_MAX];
	struct error err;

	for (size_t i = 0; i < flags->request.image_count; i++)
		found[i] = (struct generate_image){"sha512-00", images[i % ARRAY_SIZE(images)]};
	if (flags->request.inherited)
		flags->request.inherited = inherited;
	if (pod_generate(&flags->request, found, &flags->manifest, &flags->text, &err) < 0) {
		if (!*err.message)
			abort();
		return;
	}
	/* What a person asked for is in it. */
	if (flags->manifest->app_count != flags->request.image_count ||
		flags->manifest->volume_count != flags->request.volume_count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cli_command command = {.name = "run"};
	struct cli cli = {.command = &command};
	struct cli_option options[CLI_OPTIONS_MAX];
	struct pod_flags flags = {0};
	char *argv[WORDS_MAX + 1] = {(char *)"run"}, *rest;
	_cleanup_free_ char *text = malloc(size + 1);
	size_t count = pod_flags_options(&flags, options, 0);
	int argc = 1, r;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	/* Nothing but values is read from files. */
	if (strstr(text, "set-env-file"))
		return 0;
	rest = text;
	for (char *word; argc < WORDS_MAX && (word = strsep(&rest, "\n"));)
		argv[argc++] = word;
	r = pod_flags_parse(&cli, &flags, options, count, argc, argv);
	if (r == 0 && !flags.manifest_path)
		fuzz_manifest(&flags);
	if (r < 0 && r != -ECANCELED && !*cli.error.message)
		abort();
	pod_flags_done(&flags);
	return 0;
}
