// SPDX-License-Identifier: Apache-2.0
/* app_config.c: what the host says of one app into a struct. */
#include "guest-init/app_config.h"

#include "base/file.h"
#include "base/hex.h"
#include "wire/filter.h"
#include "wire/wire.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX (UINT32_MAX - 1) /* (uid_t)-1 means "no change" to the kernel */

static bool hex_u64_parse(const char *text, uint64_t *ret)
{
	size_t length = strlen(text);

	if (length < 1 || length > 16 || !text_is_made_of(text, "0123456789abcdef"))
		return false;
	*ret = strtoull(text, NULL, 16);
	return true;
}

static void mount_parse(json_t *object, const char *where, struct guest_mount_config *mount,
	struct field_reader *parent)
{
	static const char *const names[] = {"volume", "target", "read_only", NULL};
	struct field_reader reader = {.object = object, .where = where, .err = parent->err};

	if (!json_is_object(object)) {
		reader_fail(parent, "mounts", "an array of objects");
		return;
	}
	mount->volume = reader_string(&reader, "volume", 1, NAME_MAX);
	mount->target = reader_string(&reader, "target", 1, PATH_MAX - 1);
	mount->read_only = reader_boolean(&reader, "read_only");
	if (reader.r == 0 && !file_name_is_safe(mount->volume))
		reader_fail(&reader, "volume", "one path component");
	reader_check_known(&reader, names);
	parent->r = reader.r;
}

static void mounts_parse(struct field_reader *reader, struct guest_app_config *app)
{
	json_t *array = reader_array(reader, "mounts", 0, WIRE_MOUNTS_MAX), *value;
	char where[NAME_MAX + 32];
	size_t i;

	if (!array)
		return;
	app->mounts = reader_allocate(reader, json_array_size(array), sizeof(*app->mounts));
	json_array_foreach (array, i, value) {
		if (reader->r < 0)
			return;
		snprintf(where, sizeof(where), "%s: mount %zu", reader->where, i);
		mount_parse(value, where, &app->mounts[i], reader);
		app->mount_count = i + 1;
	}
}

/* What the instructions do is the kernel's to check. */
static void seccomp_parse(struct field_reader *reader, struct guest_app_config *app)
{
	const size_t digits = 2 * sizeof(*app->seccomp);
	const char *text = reader_text(reader, "seccomp", WIRE_SECCOMP_MAX * digits);
	size_t length = text ? strlen(text) : 0;

	if (!text || reader->r < 0)
		return;
	app->seccomp_is_default = !strcmp(text, WIRE_SECCOMP_DEFAULT);
	if (app->seccomp_is_default) {
		app->seccomp = wire_default_filter;
		app->seccomp_count = wire_default_filter_count;
		return;
	}
	if (length == 0 || length % digits) {
		reader_fail(reader, "seccomp", "a whole number of instructions");
		return;
	}
	app->seccomp_count = length / digits;
	app->seccomp = app->seccomp_own =
		reader_allocate(reader, app->seccomp_count, sizeof(*app->seccomp));
	if (app->seccomp && hex_read(text, (uint8_t *)app->seccomp_own, length / 2) < 0)
		reader_fail(reader, "seccomp", "hexadecimal digits");
}

static void socket_parse(json_t *object, const char *where, struct guest_socket_config *config,
	struct field_reader *parent)
{
	static const char *const names[] = {"name", "protocol", "port", NULL};
	struct field_reader reader = {.object = object, .where = where, .err = parent->err};
	const char *protocol;
	json_int_t port = 0;

	if (!json_is_object(object)) {
		reader_fail(parent, "sockets", "an array of objects");
		return;
	}
	config->name = reader_name(&reader, "name");
	protocol = reader_string(&reader, "protocol", 1, NAME_MAX);
	config->is_udp = !strcmp(protocol, "udp");
	if (reader.r == 0 && !config->is_udp && strcmp(protocol, "tcp"))
		reader_fail(&reader, "protocol", "tcp or udp");
	reader_integer(&reader, "port", FIELD_REQUIRED, 1, UINT16_MAX, &port);
	config->port = (uint16_t)port;
	reader_check_known(&reader, names);
	parent->r = reader.r;
}

static void sockets_parse(struct field_reader *reader, struct guest_app_config *app)
{
	json_t *array = reader_array(reader, "sockets", 0, WIRE_SOCKETS_MAX), *value;
	char where[NAME_MAX + 32];
	size_t i;

	if (!array)
		return;
	app->sockets = reader_allocate(reader, json_array_size(array), sizeof(*app->sockets));
	json_array_foreach (array, i, value) {
		if (reader->r < 0)
			return;
		snprintf(where, sizeof(where), "%s: socket %zu", reader->where, i);
		socket_parse(value, where, &app->sockets[i], reader);
		app->socket_count = i + 1;
	}
}

static void gids_parse(struct field_reader *reader, struct guest_app_config *app)
{
	json_t *array = reader_array(reader, "supplementary_gids", 0, WIRE_GIDS_MAX), *value;
	size_t i;

	if (!array)
		return;
	app->supplementary_gids =
		reader_allocate(reader, json_array_size(array), sizeof(*app->supplementary_gids));
	json_array_foreach (array, i, value) {
		if (reader->r < 0)
			return;
		if (!json_is_integer(value) || json_integer_value(value) < 0 ||
			json_integer_value(value) > ID_MAX) {
			reader_fail(reader, "supplementary_gids", "an array of group numbers");
			return;
		}
		app->supplementary_gids[i] = (gid_t)json_integer_value(value);
		app->supplementary_gid_count = i + 1;
	}
}

static void environment_check(struct field_reader *reader, const struct guest_app_config *app)
{
	for (size_t i = 0; reader->r == 0 && app->environment[i]; i++)
		if (app->environment[i][0] == '=' || !strchr(app->environment[i], '='))
			reader_fail(reader, "environment", "an array of NAME=VALUE strings");
}

/* A mask of enum wire_etc_file. */
static unsigned int etc_files_parse(struct field_reader *reader)
{
	json_t *array = reader_array(reader, "etc_files", 0, WIRE_ETC_FILES), *value;
	unsigned int files = 0;
	size_t i;

	if (!array)
		return 0;
	json_array_foreach (array, i, value) {
		const char *name = json_string_value(value);
		unsigned int file = 0;

		while (file < WIRE_ETC_FILES && (!name || strcmp(name, wire_etc_names[file])))
			file++;
		if (file == WIRE_ETC_FILES) {
			reader_fail(reader, "etc_files", "an array of names of files of /etc");
			return 0;
		}
		files |= 1u << file;
	}
	return files;
}

void guest_app_config_parse(
	json_t *object, size_t index, struct guest_app_config *app, struct field_reader *parent)
{
	static const char *const names[] = {"name", "exec", "user", "group", "supplementary_gids",
		"working_directory", "environment", "pre_start", "post_stop", "read_only_rootfs",
		"mounts", "capabilities", "no_new_privileges", "memory_max", "memory_low",
		"cpu_max_millis", "cpu_weight", "oom_score_adj", "etc_files", "seccomp",
		"protect_paths", "sockets", "group_is_users", "notifies", NULL};
	struct field_reader reader = {.object = object, .err = parent->err};
	char where[NAME_MAX + 16];
	json_int_t number;

	if (!json_is_object(object)) {
		reader_fail(parent, "apps", "an array of objects");
		return;
	}
	snprintf(where, sizeof(where), "app %zu", index);
	reader.where = where;
	app->name = reader_name(&reader, "name");
	if (reader.r == 0)
		snprintf(where, sizeof(where), "app %s", app->name);

	app->exec = reader_strings(&reader, "exec", 1);
	app->user = reader_string(&reader, "user", 1, PATH_MAX - 1);
	app->group = reader_string(&reader, "group", 1, PATH_MAX - 1);
	app->group_is_users =
		reader_take(&reader, "group_is_users", FIELD_OPTIONAL, JSON_TRUE, "true") != NULL;
	gids_parse(&reader, app);
	app->working_directory = reader_string(&reader, "working_directory", 1, PATH_MAX - 1);
	if (reader.r == 0 && app->working_directory[0] != '/')
		reader_fail(&reader, "working_directory", "an absolute path");
	app->environment = reader_strings(&reader, "environment", 0);
	if (reader.r == 0)
		environment_check(&reader, app);
	app->pre_start = reader_strings(&reader, "pre_start", 0);
	app->post_stop = reader_strings(&reader, "post_stop", 0);
	app->read_only_rootfs = reader_boolean(&reader, "read_only_rootfs");
	mounts_parse(&reader, app);
	if (!hex_u64_parse(reader_string(&reader, "capabilities", 1, 16), &app->capabilities))
		reader_fail(&reader, "capabilities", "1 to 16 hexadecimal digits");
	app->no_new_privileges = reader_boolean(&reader, "no_new_privileges");
	app->memory_max = reader_limit(&reader, "memory_max", 1);
	app->memory_low = reader_limit(&reader, "memory_low", 0);
	app->cpu_max_millis = reader_limit(&reader, "cpu_max_millis", 1);
	if (reader_integer(&reader, "cpu_weight", FIELD_OPTIONAL, 1, 10000, &number))
		app->cpu_weight = (unsigned int)number;
	if (reader_integer(&reader, "oom_score_adj", FIELD_OPTIONAL, -1000, 1000, &number)) {
		app->has_oom_score_adj = true;
		app->oom_score_adj = (int)number;
	}
	app->notifies = reader_take(&reader, "notifies", FIELD_OPTIONAL, JSON_TRUE, "true") != NULL;
	app->etc_files = etc_files_parse(&reader);
	seccomp_parse(&reader, app);
	app->protect_paths = reader_boolean(&reader, "protect_paths");
	sockets_parse(&reader, app);
	reader_check_known(&reader, names);
	parent->r = reader.r;
}

int guest_app_config_add_variable(struct guest_app_config *app, const char *variable)
{
	const char **environment;
	size_t count = 0;

	while (app->environment[count])
		count++;
	environment = reallocarray(app->environment, count + 2, sizeof(*environment));
	if (!environment)
		return -ENOMEM;
	environment[count] = variable;
	environment[count + 1] = NULL;
	app->environment = environment;
	return 0;
}

void guest_app_config_done(struct guest_app_config *app)
{
	free(app->exec);
	free(app->environment);
	free(app->pre_start);
	free(app->post_stop);
	free(app->supplementary_gids);
	free(app->mounts);
	free(app->seccomp_own);
	free(app->sockets);
}
