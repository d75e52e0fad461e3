// SPDX-License-Identifier: Apache-2.0
/* cat_manifest.c: appc-vm cat-manifest */
#include "cli/cli.h"

#include "appc/manifest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/prepare.h"

/* The manifest with all that is in it, whether this version knows it or not. */
static int print_manifest(const struct pod *pod, bool pretty, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	size_t length;
	int r = file_read(pod->fd, POD_MANIFEST_GIVEN, APPC_MANIFEST_SIZE_MAX, &text, &length);

	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot read its manifest", pod->uuid);
	r = json_parse(text, length, "pod manifest", &json, err);
	if (r < 0)
		return error_prefix(err, r, "pod %s", pod->uuid);
	if (json_dumpf(json, stdout,
		    (pretty ? JSON_INDENT(2) : JSON_COMPACT) | JSON_PRESERVE_ORDER) < 0 ||
		putchar('\n') == EOF)
		return error_set(err, -EIO, "cannot write the manifest");
	return 0;
}

static int print_pod(struct pods *pods, const char *uuid, bool pretty, struct error *err)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r = pod_open(pods, uuid, &pod, err);

	return r < 0 ? r : print_manifest(&pod, pretty, err);
}

int command_cat_manifest(struct cli *cli, int argc, char **argv)
{
	const char *uuid_file = NULL;
	bool pretty = true;
	const struct cli_option options[] = {
		{"pretty-print", CLI_FLAG, &pretty, NULL,
			"indent it (default); --pretty-print=false: one line"},
		{"uuid-file", CLI_STRING, &uuid_file, "FILE", "read the UUID from FILE"},
	};
	struct cli_uuids uuids;
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	int at, r, result = 0;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	r = cli_parse_uuids(cli, uuid_file, argc, argv, at, &uuids);
	if (r == 0)
		r = cli_open_pods(cli, &data, &pods);
	for (size_t i = 0; r == 0 && i < uuids.count; i++) {
		struct error err = {0};
		int printed = print_pod(pods, uuids.items[i], pretty, &err);

		if (printed == 0)
			continue;
		log_error("%s", error_text(&err, printed));
		result = CLI_STATUS_ERROR;
	}
	return r < 0 ? r : result;
}
