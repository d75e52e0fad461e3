// SPDX-License-Identifier: Apache-2.0
/* configuration.c: rkt's configuration files. */
#include "cli/configuration.h"

#include "appc/field.h"
#include "base/file.h"
#include "base/json.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_SIZE_MAX (1u << 20)
#define FILES_MAX     1024

#define KIND    "rktKind"
#define VERSION "rktVersion"

void configuration_clear(struct configuration *configuration)
{
	free(configuration->data);
	free(configuration->stage1_images);
	free(configuration->name);
	free(configuration->version);
	free(configuration->location);
	credentials_clear(&configuration->servers);
	credentials_clear(&configuration->registries);
	json_decref(configuration->said);
	*configuration = (struct configuration){0};
}

/* ---- the text of one file */

/* Whether this directory says it for the first time; of a list, what its element is, too. */
static int note(struct configuration *configuration, const struct field *field, const char *what,
	const char *element)
{
	_cleanup_free_ char *name = NULL;
	bool new_one;
	int r;

	if (!configuration->said)
		configuration->said = json_object();
	if (!configuration->said || asprintf(&name, "%s %s", what, element) < 0)
		return -ENOMEM;
	r = field_note_name(configuration->said, name, &new_one);
	if (r < 0 || new_one)
		return r;
	return field_error(field, "%s is already specified in this directory", name);
}

/* A text in place of what an earlier directory said; absent says nothing. */
static int read_text(
	const struct field *root, const char *key, struct configuration *configuration, char **text)
{
	struct field field = field_member(root, key);
	_cleanup_free_ char *value = NULL;
	int r = field_read_string(root, key, &value);

	if (r < 0 || !value || !*value)
		return r;
	r = note(configuration, &field, "text", key);
	if (r < 0)
		return r;
	free(*text);
	*text = TAKE_PTR(value);
	return 0;
}

static int read_path(
	const struct field *root, const char *key, struct configuration *configuration, char **path)
{
	struct field field = field_member(root, key);
	int r = read_text(root, key, configuration, path);

	if (r == 0 && field.value && *path && **path != '/')
		return field_error(&field, "must be an absolute path, not \"%s\"", *path);
	return r;
}

static int parse_paths(const struct field *root, struct configuration *configuration)
{
	int r = read_path(root, "data", configuration, &configuration->data);

	return r < 0
		? r
		: read_path(root, "stage1-images", configuration, &configuration->stage1_images);
}

/* An empty text says nothing. */
static bool says(const struct field *root, const char *key)
{
	const char *text = json_string_value(field_member(root, key).value);

	return text && *text;
}

static int parse_stage1(const struct field *root, struct configuration *configuration)
{
	int r = read_text(root, "name", configuration, &configuration->name);

	if (r == 0)
		r = read_text(root, "version", configuration, &configuration->version);
	if (r == 0 && says(root, "name") != says(root, "version"))
		return field_error(root,
			"\"name\" and \"version\" of a stage1 belong together: one is missing");
	return r < 0 ? r : read_text(root, "location", configuration, &configuration->location);
}

static int read_required(const struct field *object, const char *key, char **ret)
{
	struct field field = field_member(object, key);
	int r = field_read_string(object, key, ret);

	if (r == 0 && (!*ret || !**ret))
		return field_error(&field, "must be set");
	/* They are lines of a protocol. */
	for (const char *c = *ret; r == 0 && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return field_error(&field, "must not have control characters");
	return r;
}

static int read_credential(const struct field *root, bool is_token, struct credential *credential)
{
	struct field field = field_member(root, "credentials");
	struct field user = field_member(&field, "user");
	int r = field_check_object(&field);

	if (r < 0)
		return r;
	if (is_token)
		return read_required(&field, "token", &credential->token);
	r = read_required(&field, "user", &credential->user);
	if (r == 0 && strchr(credential->user, ':'))
		return field_error(&user, "must not have a colon");
	return r < 0 ? r : read_required(&field, "password", &credential->password);
}

static int add_credential(struct configuration *configuration, struct credentials *credentials,
	const struct field *list, size_t index, const struct credential *from)
{
	_cleanup_(credential_clear) struct credential copy = {0};
	struct field field = field_element(list, index);
	const char *server = json_string_value(field.value);
	int r;

	if (!server || !*server)
		return field_error(&field, "must be the name of a server");
	r = note(configuration, &field, list->key, server);
	if (r < 0)
		return r;
	copy.server = strdup(server);
	copy.user = from->user ? strdup(from->user) : NULL;
	copy.password = from->password ? strdup(from->password) : NULL;
	copy.token = from->token ? strdup(from->token) : NULL;
	if (!copy.server || !copy.user != !from->user || !copy.password != !from->password ||
		!copy.token != !from->token)
		return -ENOMEM;
	return credentials_set(credentials, &copy);
}

static int parse_credentials(const struct field *root, const char *key, bool is_token,
	struct configuration *configuration, struct credentials *credentials)
{
	_cleanup_(credential_clear) struct credential credential = {0};
	struct field list = field_member(root, key);
	size_t count;
	int r;

	r = read_credential(root, is_token, &credential);
	if (r == 0)
		r = field_read_count(&list, &count);
	if (r == 0 && count == 0)
		return field_error(&list, "must be set");
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_credential(configuration, credentials, &list, i, &credential);
	return r;
}

static int parse_auth(const struct field *root, struct configuration *configuration)
{
	struct field field = field_member(root, "type");
	const char *type = json_string_value(field.value);
	bool is_token = type && !strcmp(type, "oauth");

	if (!is_token && (!type || strcmp(type, "basic") != 0))
		return field_error(&field, "must be \"basic\" or \"oauth\"");
	return parse_credentials(root, "domains", is_token, configuration, &configuration->servers);
}

static int parse_docker_auth(const struct field *root, struct configuration *configuration)
{
	return parse_credentials(
		root, "registries", false, configuration, &configuration->registries);
}

static const struct {
	const char *kind;
	enum configuration_part part;
	int (*parse)(const struct field *root, struct configuration *configuration);
} kinds[] = {
	{"paths", CONFIGURATION_PATHS, parse_paths},
	{"auth", CONFIGURATION_AUTH, parse_auth},
	{"dockerAuth", CONFIGURATION_AUTH, parse_docker_auth},
	{"stage1", CONFIGURATION_STAGE1, parse_stage1},
};

static const char *const directory_names[] = {
	[CONFIGURATION_PATHS] = "paths.d",
	[CONFIGURATION_AUTH] = "auth.d",
	[CONFIGURATION_STAGE1] = "stage1.d",
};

static int parse_root(
	enum configuration_part part, const struct field *root, struct configuration *configuration)
{
	struct field kind_field = field_member(root, KIND),
		     version_field = field_member(root, VERSION);
	const char *kind = json_string_value(kind_field.value),
		   *version = json_string_value(version_field.value);
	int r = field_check_object(root);

	if (r < 0)
		return r;
	if (!kind)
		return field_error(&kind_field, "must be set");
	if (!version || strcmp(version, "v1") != 0)
		return field_error(&version_field, "must be \"v1\"");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].part == part && !strcmp(kinds[i].kind, kind))
			return kinds[i].parse(root, configuration);
	return field_error(
		&kind_field, "\"%s\" is no kind of file for %s", kind, directory_names[part]);
}

int configuration_parse(enum configuration_part part, const char *text, size_t length,
	const char *what, struct configuration *configuration, struct error *err)
{
	_cleanup_json_ json_t *json = NULL;
	struct field root;
	int r;

	r = json_parse(text, length, what, &json, err);
	if (r < 0)
		return r;
	root = field_root(json, APPC_COMPLETE, err);
	r = parse_root(part, &root, configuration);
	if (r == -ENOMEM)
		return error_set_errno(err, r, "%s", what);
	return r < 0 ? error_prefix(err, r, "%s", what) : 0;
}

/* ---- directories */

static int is_file_of_ours(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 5 && !strcmp(entry->d_name + length - 5, ".json");
}

static int read_file(enum configuration_part part, int directory, const char *path,
	const char *name, struct configuration *configuration, struct error *err)
{
	_cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	char what[PATH_MAX + NAME_MAX + 2];
	struct stat st;
	size_t length;
	int r;

	snprintf(what, sizeof(what), "%s/%s", path, name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "cannot read configuration file \"%s\"", what);
	/* As in rkt, directories below are left alone. */
	if (!S_ISREG(st.st_mode))
		return 0;
	r = file_read_fd(fd, FILE_SIZE_MAX, &text, &length);
	if (r < 0)
		return error_set_errno(err, r, "cannot read configuration file \"%s\"", what);
	return configuration_parse(part, text, length, what, configuration, err);
}

/* In the order of their names, so that what is said twice is always found in the same file. */
static int read_directory(enum configuration_part part, const char *parent,
	struct configuration *configuration, struct error *err)
{
	_cleanup_close_ int directory = -1;
	struct dirent **entries = NULL;
	char path[PATH_MAX];
	int count, r = 0;

	if (snprintf(path, sizeof(path), "%s/%s", parent, directory_names[part]) >=
		(int)sizeof(path))
		return error_set_errno(
			err, -ENAMETOOLONG, "cannot read configuration directory \"%s\"", parent);
	directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 && errno == ENOENT)
		return 0;
	count = directory < 0 ? -1
			      : scandirat(directory, ".", &entries, is_file_of_ours, alphasort);
	if (count < 0)
		return error_set_errno(
			err, -errno, "cannot read configuration directory \"%s\"", path);
	if (count > FILES_MAX)
		r = error_set(err, -E2BIG, "configuration directory \"%s\": more than %d files",
			path, FILES_MAX);
	for (int i = 0; i < count; i++) {
		if (r == 0)
			r = read_file(
				part, directory, path, entries[i]->d_name, configuration, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int configuration_read(enum configuration_part part, const char *const directories[3],
	struct configuration *configuration, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < 3; i++) {
		json_decref(configuration->said);
		configuration->said = NULL;
		if (directories[i])
			r = read_directory(part, directories[i], configuration, err);
	}
	return r;
}

/* ---- as JSON */

static json_t *entry_json(const char *kind, bool *ok)
{
	json_t *entry = json_object();

	json_put(entry, VERSION, json_string("v1"), ok);
	json_put(entry, KIND, json_string(kind), ok);
	return entry;
}

static void put_text(json_t *entry, const char *key, const char *text, bool *ok)
{
	if (text)
		json_put(entry, key, json_string(text), ok);
}

static void append_credentials(json_t *array, const struct credentials *credentials,
	const char *kind, const char *list, bool *ok)
{
	for (size_t i = 0; i < credentials->count; i++) {
		const struct credential *item = &credentials->items[i];
		json_t *entry = entry_json(kind, ok), *secrets = json_object();

		if (!strcmp(kind, "auth"))
			put_text(entry, "type", item->token ? "oauth" : "basic", ok);
		json_put(entry, list, json_pack("[s]", item->server), ok);
		put_text(secrets, "user", item->user, ok);
		put_text(secrets, "password", item->password, ok);
		put_text(secrets, "token", item->token, ok);
		json_put(entry, "credentials", secrets, ok);
		json_append(array, entry, ok);
	}
}

json_t *configuration_json(const struct configuration *configuration)
{
	json_t *array = json_array(), *entry;
	bool ok = true;

	append_credentials(array, &configuration->servers, "auth", "domains", &ok);
	append_credentials(array, &configuration->registries, "dockerAuth", "registries", &ok);
	if (configuration->data || configuration->stage1_images) {
		entry = entry_json("paths", &ok);
		put_text(entry, "data", configuration->data, &ok);
		put_text(entry, "stage1-images", configuration->stage1_images, &ok);
		json_append(array, entry, &ok);
	}
	if (configuration->name || configuration->location) {
		entry = entry_json("stage1", &ok);
		put_text(entry, "name", configuration->name, &ok);
		put_text(entry, "version", configuration->version, &ok);
		put_text(entry, "location", configuration->location, &ok);
		json_append(array, entry, &ok);
	}
	return json_finish(array, ok);
}
