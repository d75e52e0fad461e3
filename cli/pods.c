// SPDX-License-Identifier: Apache-2.0
/* pods.c: what the commands about pods share. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/log.h"

#include <fcntl.h>
#include <string.h>

int cli_open_pods(struct cli *cli, int *ret_data_fd, struct pods **ret)
{
	*ret_data_fd = cli_open_data(cli);
	return *ret_data_fd < 0 ? *ret_data_fd : pods_open(*ret_data_fd, ret, &cli->error);
}

/* The first line, without blanks around it: a person may have written the file. */
static int read_uuid(struct cli *cli, const char *path, char *uuid, size_t size)
{
	static const char blanks[] = " \t\r\n";
	_cleanup_free_ char *text = NULL;
	size_t length;
	char *line;
	int r;

	r = file_read(AT_FDCWD, path, size - 1, &text, NULL);
	if (r < 0)
		return error_set_errno(&cli->error, r, "--uuid-file=%s", path);
	line = text + strspn(text, blanks);
	length = strcspn(line, blanks);
	memcpy(uuid, line, length);
	uuid[length] = '\0';
	return 0;
}

int cli_parse_uuids(
	struct cli *cli, const char *file, int argc, char **argv, int at, struct cli_uuids *ret)
{
	*ret = (struct cli_uuids){0};
	if (!!file == (at < argc))
		return cli_usage(cli, "needs the UUID of a pod, or --uuid-file=FILE");
	if (!file) {
		ret->items = argv + at;
		ret->count = (size_t)(argc - at);
		return 0;
	}
	ret->from_file = ret->text;
	ret->items = &ret->from_file;
	ret->count = 1;
	return read_uuid(cli, file, ret->text, sizeof(ret->text));
}

int cli_parse_uuid(
	struct cli *cli, const char *file, int argc, char **argv, int at, struct cli_uuids *ret)
{
	if (argc - at > 1)
		return cli_usage(cli, "needs the UUID of one pod");
	return cli_parse_uuids(cli, file, argc, argv, at, ret);
}

int cli_parse_pod(
	struct cli *cli, const struct cli_option *options, size_t count, int argc, char **argv)
{
	int at = cli_parse_leading(cli, options, count, argc, argv);

	if (at < 0)
		return at;
	if (at < argc && !strcmp(argv[at], "--"))
		at++;
	return at < argc ? at : cli_usage(cli, "needs the UUID of a pod");
}

static int each_pod(struct cli *cli, const struct cli_uuids *uuids,
	int (*act)(struct pod *pod, void *context, struct error *err), void *context)
{
	_cleanup_pods_ struct pods *pods = NULL;
	_cleanup_close_ int data = -1;
	int result = 0, r;

	r = cli_open_pods(cli, &data, &pods);
	if (r < 0)
		return r;
	for (size_t i = 0; i < uuids->count; i++) {
		_cleanup_pod_ struct pod pod = POD_NONE;

		r = pod_open(pods, uuids->items[i], &pod, &cli->error);
		if (r == 0)
			r = act(&pod, context, &cli->error);
		if (r == 0) {
			printf("%s\n", pod.uuid);
			continue;
		}
		log_error("%s", cli->error.message);
		result = CLI_STATUS_ERROR;
	}
	return result;
}

int cli_act_on_pods(struct cli *cli, const struct cli_option *options, size_t count,
	const char *const *uuid_file, int argc, char **argv,
	int (*act)(struct pod *pod, void *context, struct error *err), void *context)
{
	struct cli_uuids uuids;
	int at = cli_parse(cli, options, count, argc, argv), r;

	if (at < 0)
		return at;
	r = cli_parse_uuids(cli, *uuid_file, argc, argv, at, &uuids);
	return r < 0 ? r : each_pod(cli, &uuids, act, context);
}
