// SPDX-License-Identifier: Apache-2.0
/* image_cat_manifest.c: appc-vm image cat-manifest */
#include "cli/image.h"

#include "base/json.h"

int image_cat_manifest(struct cli *cli, int argc, char **argv)
{
	bool pretty = true;
	const struct cli_option options[] = {
		{"pretty-print", CLI_FLAG, &pretty, NULL, "with line breaks (default true)"},
	};
	_cleanup_image_store_ struct image_store opened = IMAGE_STORE_NONE;
	_cleanup_image_manifest_ struct appc_image_manifest *manifest = NULL;
	_cleanup_json_ json_t *json = NULL;
	char id[STORE_IMAGE_ID_SIZE];
	int at, r;

	at = cli_parse(cli, options, ARRAY_SIZE(options), argc, argv);
	if (at < 0)
		return at;
	if (argc - at != 1)
		return cli_usage(cli, "needs one image");
	r = image_store_open(cli, &opened);
	if (r == 0)
		r = store_find_image(opened.store, argv[at], id, &cli->error);
	if (r == 0)
		r = store_image_manifest(opened.store, id, &manifest, &cli->error);
	if (r < 0)
		return r;
	json = appc_image_manifest_json(manifest);
	return cli_print_formatted(cli, pretty ? "json-pretty" : "json", json);
}
