// SPDX-License-Identifier: Apache-2.0
/* control.c: the messages from the host into structs, and the messages to the host. */
#include "guest-init/control.h"

#include "base/base64.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/log.h"
#include "guest-init/port.h"
#include "wire/filter.h"
#include "wire/session.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>

#define STRINGS_MAX       (64u << 10)
#define GIDS_MAX          65536u /* NGROUPS_MAX of the kernel */
#define SYSCTLS_MAX       256u
#define SYSCTL_VALUE_MAX  4096u
#define HOSTNAME_MAX      64u
#define UUID_MAX          64u
#define MACHINE_ID_LENGTH 32u
#define ID_MAX            (UINT32_MAX - 1) /* (uid_t)-1 means "no change" to the kernel */
#define STOP_GRACE_MAX_MS 86400000
#define OUTBOX_ROOM       1024u
#define CONTENT_TYPE_MAX  64u
#define TERMINAL_TYPE_MAX 64u

/*
 * One JSON object being read. where names it in messages; the first error sticks, and the calls
 * after it do nothing, so that a list of fields reads as a list.
 */
struct field_reader {
	json_t *object;
	const char *where;
	struct error *err;
	int r;
};

enum presence { REQUIRED, OPTIONAL };

static void reader_fail(struct field_reader *reader, const char *field, const char *expected)
{
	if (reader->r < 0)
		return;
	reader->r = error_set(reader->err, -EBADMSG, "%s: field \"%s\": %s expected", reader->where,
		field, expected);
}

/* The field, or NULL after an error or where an optional one is absent. */
static json_t *reader_take(struct field_reader *reader, const char *field, enum presence presence,
	json_type type, const char *expected)
{
	json_t *value;

	if (reader->r < 0)
		return NULL;
	value = json_object_get(reader->object, field);
	if (!value && presence == OPTIONAL)
		return NULL;
	if (!value || json_typeof(value) != type) {
		reader_fail(reader, field, expected);
		return NULL;
	}
	return value;
}

static const char *reader_string(
	struct field_reader *reader, const char *field, size_t min, size_t max)
{
	json_t *value = reader_take(reader, field, REQUIRED, JSON_STRING, "a string");

	if (!value)
		return "";
	if (json_string_length(value) < min || json_string_length(value) > max)
		reader_fail(reader, field, "a string of fitting length");
	return json_string_value(value);
}

/* NULL where it is absent. */
static const char *reader_text(struct field_reader *reader, const char *field, size_t max)
{
	json_t *value = reader_take(reader, field, OPTIONAL, JSON_STRING, "a string");

	if (value && json_string_length(value) > max)
		reader_fail(reader, field, "a string of fitting length");
	return json_string_value(value);
}

static bool reader_boolean(struct field_reader *reader, const char *field)
{
	json_t *value;

	if (reader->r < 0)
		return false;
	value = json_object_get(reader->object, field);
	if (!json_is_boolean(value))
		reader_fail(reader, field, "true or false");
	return json_is_true(value);
}

/* Returns whether the field is there and right. */
static bool reader_integer(struct field_reader *reader, const char *field, enum presence presence,
	json_int_t min, json_int_t max, json_int_t *ret)
{
	json_t *value = reader_take(reader, field, presence, JSON_INTEGER, "an integer");

	if (!value)
		return false;
	if (json_integer_value(value) < min || json_integer_value(value) > max) {
		reader_fail(reader, field, "an integer in its range");
		return false;
	}
	*ret = json_integer_value(value);
	return true;
}

static uint64_t reader_limit(struct field_reader *reader, const char *field, json_int_t min)
{
	json_int_t value;

	if (!reader_integer(reader, field, OPTIONAL, min, INT64_MAX, &value))
		return GUEST_UNLIMITED;
	return (uint64_t)value;
}

static json_t *reader_array(struct field_reader *reader, const char *field, size_t min, size_t max)
{
	json_t *value = reader_take(reader, field, REQUIRED, JSON_ARRAY, "an array");

	if (value && (json_array_size(value) < min || json_array_size(value) > max)) {
		reader_fail(reader, field, "an array of fitting length");
		return NULL;
	}
	return value;
}

/* Zeroed memory for count things, never NULL without an error. */
static void *reader_allocate(struct field_reader *reader, size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		reader->r = error_set(reader->err, -ENOMEM, "%s: out of memory", reader->where);
	return memory;
}

static const char **reader_strings(struct field_reader *reader, const char *field, size_t min)
{
	json_t *array = reader_array(reader, field, min, STRINGS_MAX), *value;
	const char **strings;
	size_t i;

	if (!array)
		return NULL;
	strings = reader_allocate(reader, json_array_size(array) + 1, sizeof(*strings));
	if (!strings)
		return NULL;
	json_array_foreach (array, i, value) {
		if (!json_is_string(value)) {
			reader_fail(reader, field, "an array of strings");
			break;
		}
		strings[i] = json_string_value(value);
	}
	return strings;
}

/* Every key of the object is one of names. */
static void reader_check_known(struct field_reader *reader, const char *const *names)
{
	const char *key;
	json_t *value;

	if (reader->r < 0)
		return;
	json_object_foreach (reader->object, key, value) {
		const char *const *name = names;

		while (*name && strcmp(*name, key))
			name++;
		if (*name)
			continue;
		reader->r = error_set(reader->err, -EBADMSG, "%s: field \"%.64s\" is unknown",
			reader->where, key);
		return;
	}
}

static bool text_is_made_of(const char *text, const char *characters)
{
	return text[strspn(text, characters)] == '\0';
}

/*
 * An AC name: it becomes a path component and the name of a cgroup, whose own files all have a dot
 * in their names.
 */
static bool name_is_valid(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length <= NAME_MAX && name[0] != '-' && name[length - 1] != '-' &&
		text_is_made_of(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
}

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
	config->name = reader_string(&reader, "name", 1, NAME_MAX);
	if (reader.r == 0 && !name_is_valid(config->name))
		reader_fail(&reader, "name", "lower-case letters, digits and dashes");
	protocol = reader_string(&reader, "protocol", 1, NAME_MAX);
	config->is_udp = !strcmp(protocol, "udp");
	if (reader.r == 0 && !config->is_udp && strcmp(protocol, "tcp"))
		reader_fail(&reader, "protocol", "tcp or udp");
	reader_integer(&reader, "port", REQUIRED, 1, UINT16_MAX, &port);
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
	json_t *array = reader_array(reader, "supplementary_gids", 0, GIDS_MAX), *value;
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

/* index is for messages, until the app's name is known. */
static void app_parse(
	json_t *object, size_t index, struct guest_app_config *app, struct field_reader *parent)
{
	static const char *const names[] = {"name", "exec", "user", "group", "supplementary_gids",
		"working_directory", "environment", "pre_start", "post_stop", "read_only_rootfs",
		"mounts", "capabilities", "no_new_privileges", "memory_max", "memory_low",
		"cpu_max_millis", "cpu_weight", "pids_max", "oom_score_adj", "etc_files", "seccomp",
		"protect_paths", "sockets", NULL};
	struct field_reader reader = {.object = object, .err = parent->err};
	char where[NAME_MAX + 16];
	json_int_t number;

	if (!json_is_object(object)) {
		reader_fail(parent, "apps", "an array of objects");
		return;
	}
	snprintf(where, sizeof(where), "app %zu", index);
	reader.where = where;
	app->name = reader_string(&reader, "name", 1, NAME_MAX);
	if (reader.r == 0 && !name_is_valid(app->name))
		reader_fail(&reader, "name", "lower-case letters, digits and dashes");
	if (reader.r == 0)
		snprintf(where, sizeof(where), "app %s", app->name);

	app->exec = reader_strings(&reader, "exec", 1);
	app->user = reader_string(&reader, "user", 1, PATH_MAX - 1);
	app->group = reader_string(&reader, "group", 1, PATH_MAX - 1);
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
	app->pids_max = reader_limit(&reader, "pids_max", 1);
	if (reader_integer(&reader, "cpu_weight", OPTIONAL, 1, 10000, &number))
		app->cpu_weight = (unsigned int)number;
	if (reader_integer(&reader, "oom_score_adj", OPTIONAL, -1000, 1000, &number)) {
		app->has_oom_score_adj = true;
		app->oom_score_adj = (int)number;
	}
	app->etc_files = etc_files_parse(&reader);
	seccomp_parse(&reader, app);
	app->protect_paths = reader_boolean(&reader, "protect_paths");
	sockets_parse(&reader, app);
	reader_check_known(&reader, names);
	parent->r = reader.r;
}

static void apps_parse(struct field_reader *reader, struct guest_config *config)
{
	json_t *array = reader_array(reader, "apps", 0, WIRE_APPS_MAX), *value;
	size_t i;

	if (!array)
		return;
	config->apps = reader_allocate(reader, json_array_size(array), sizeof(*config->apps));
	json_array_foreach (array, i, value) {
		if (reader->r < 0)
			return;
		config->app_count = i + 1;
		app_parse(value, i, &config->apps[i], reader);
		for (size_t j = 0; reader->r == 0 && j < i; j++)
			if (!strcmp(config->apps[j].name, config->apps[i].name))
				reader_fail(reader, "apps", "different app names");
	}
}

/*
 * "net.ipv4.ip_forward" into "net/ipv4/ip_forward". As in sysctl(8), a name whose first separator
 * is a slash is a path already ("net/ipv4/conf/eth0.1/forwarding").
 */
static char *sysctl_path(const char *name)
{
	size_t first = strcspn(name, "./");
	char *path = strdup(name);

	if (!path)
		return NULL;
	for (char *c = path; *c && name[first] == '.'; c++)
		if (*c == '.' || *c == '/')
			*c = *c == '.' ? '/' : '.';
	return path;
}

/* Every component is a name, so that the path stays below /proc/sys. */
static bool sysctl_path_is_valid(const char *path)
{
	for (const char *c = path;; c++) {
		size_t length = strcspn(c, "/");

		if (length == 0 || length > NAME_MAX || (length == 1 && c[0] == '.') ||
			(length == 2 && c[0] == '.' && c[1] == '.'))
			return false;
		c += length;
		if (!*c)
			return true;
	}
}

static void sysctls_parse(struct field_reader *reader, struct guest_config *config)
{
	json_t *object = reader_take(reader, "sysctls", REQUIRED, JSON_OBJECT, "an object"), *value;
	const char *key;

	if (!object)
		return;
	if (json_object_size(object) > SYSCTLS_MAX) {
		reader_fail(reader, "sysctls", "a smaller object");
		return;
	}
	config->sysctls =
		reader_allocate(reader, json_object_size(object), sizeof(*config->sysctls));
	json_object_foreach (object, key, value) {
		struct guest_sysctl *sysctl;

		if (reader->r < 0)
			return;
		if (!json_is_string(value) || json_string_length(value) > SYSCTL_VALUE_MAX) {
			reader_fail(reader, "sysctls", "an object of strings");
			return;
		}
		sysctl = &config->sysctls[config->sysctl_count++];
		sysctl->value = json_string_value(value);
		sysctl->path = sysctl_path(key);
		if (!sysctl->path)
			reader->r = error_set(reader->err, -ENOMEM, "out of memory");
		else if (!sysctl_path_is_valid(sysctl->path))
			reader_fail(reader, "sysctls", "names of kernel parameters");
	}
}

static void network_parse_ipv6(struct field_reader *reader, struct guest_network *network)
{
	const char *address = reader_text(reader, "address6", INET6_ADDRSTRLEN - 1),
		   *gateway = reader_text(reader, "gateway6", INET6_ADDRSTRLEN - 1);
	json_int_t prefix = 0;

	if (address) {
		reader_integer(reader, "prefix6", REQUIRED, 1, 128, &prefix);
		if (inet_pton(AF_INET6, address, &network->address6) != 1)
			reader_fail(reader, "address6", "an IPv6 address");
	}
	network->prefix6 = (uint8_t)prefix;
	network->has_gateway6 = gateway;
	if (gateway && (!address || inet_pton(AF_INET6, gateway, &network->gateway6) != 1))
		reader_fail(reader, "gateway6", "an IPv6 address beside that of the interface");
}

/* "network": what the one interface is to be. */
static void network_parse(struct field_reader *parent, struct guest_network *network)
{
	static const char *const names[] = {"interface", "mac", "mtu", "address", "prefix",
		"gateway", "address6", "prefix6", "gateway6", NULL};
	json_t *object = reader_take(parent, "network", OPTIONAL, JSON_OBJECT, "an object");
	struct field_reader reader = {.object = object, .where = "network", .err = parent->err};
	json_int_t mtu = 0, prefix = 0;

	*network = (struct guest_network){.prefix = 0};
	if (!object)
		return;
	snprintf(network->interface, sizeof(network->interface), "%s",
		reader_string(&reader, "interface", 1, IFNAMSIZ - 1));
	if (guest_mac_parse(reader_string(&reader, "mac", 1, 64), network->mac) < 0)
		reader_fail(&reader, "mac", "an address of an Ethernet interface");
	reader_integer(&reader, "mtu", REQUIRED, 68, 65535, &mtu);
	reader_integer(&reader, "prefix", REQUIRED, 1, 32, &prefix);
	if (inet_pton(AF_INET, reader_string(&reader, "address", 1, INET_ADDRSTRLEN),
		    &network->address) != 1)
		reader_fail(&reader, "address", "an IPv4 address");
	if (inet_pton(AF_INET, reader_string(&reader, "gateway", 1, INET_ADDRSTRLEN),
		    &network->gateway) != 1)
		reader_fail(&reader, "gateway", "an IPv4 address");
	network->mtu = (uint32_t)mtu;
	network->prefix = (uint8_t)prefix;
	network_parse_ipv6(&reader, network);
	reader_check_known(&reader, names);
	parent->r = reader.r;
}

static void instance_parse(struct field_reader *reader, struct guest_instance *instance)
{
	instance->uuid = reader_string(reader, "uuid", 1, UUID_MAX);
	if (!text_is_made_of(instance->uuid, "0123456789abcdefABCDEF-"))
		reader_fail(reader, "uuid", "a UUID");
	instance->hostname = reader_string(reader, "hostname", 1, HOSTNAME_MAX);
	instance->machine_id =
		reader_string(reader, "machine_id", MACHINE_ID_LENGTH, MACHINE_ID_LENGTH);
	if (!text_is_made_of(instance->machine_id, "0123456789abcdef"))
		reader_fail(reader, "machine_id", "32 hexadecimal digits");
	if (hex_read(reader_string(reader, "entropy", 0, (size_t)2 * WIRE_ENTROPY_SIZE),
		    instance->entropy, WIRE_ENTROPY_SIZE) < 0)
		reader_fail(reader, "entropy", "32 bytes in hexadecimal digits");
	network_parse(reader, &instance->network);
}

static int app_add_variable(struct guest_app_config *app, const char *variable)
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

static bool environment_has(const char *const *environment, const char *prefix)
{
	for (; *environment; environment++)
		if (!strncmp(*environment, prefix, strlen(prefix)))
			return true;
	return false;
}

static void terminal_streams_parse(struct field_reader *reader, struct guest_terminal *terminal)
{
	static const char *const names[] = {[WIRE_STREAM_STDOUT] = "stdout",
		[WIRE_STREAM_STDERR] = "stderr",
		[WIRE_STREAM_STDIN] = "stdin"};
	json_t *array = reader_take(reader, "streams", REQUIRED, JSON_ARRAY, "an array"), *value;
	size_t i;

	json_array_foreach (array, i, value) {
		const char *name = json_string_value(value);
		size_t stream = WIRE_STREAM_STDOUT;

		while (name && stream < ARRAY_SIZE(names) && strcmp(name, names[stream]) != 0)
			stream++;
		if (!name || stream == ARRAY_SIZE(names)) {
			reader_fail(reader, "streams", "names of standard streams");
			return;
		}
		terminal->streams[stream] = true;
	}
	if (!terminal->streams[WIRE_STREAM_STDOUT] && !terminal->streams[WIRE_STREAM_STDERR])
		reader_fail(reader, "streams", "\"stdout\" or \"stderr\"");
}

/* An app's terminal has some of its streams, that of who enters has all. */
static void terminal_parse(struct field_reader *parent, const char *where, bool has_streams,
	struct guest_terminal *terminal)
{
	static const char *const all_names[] = {"type", "rows", "columns", "streams", NULL};
	static const char *const names[] = {"type", "rows", "columns", NULL};
	struct field_reader reader = {.where = where, .err = parent->err};
	json_int_t rows = 0, columns = 0;

	reader.object = reader_take(parent, "terminal", OPTIONAL, JSON_OBJECT, "an object");
	if (!reader.object)
		return;
	terminal->type = reader_string(&reader, "type", 1, TERMINAL_TYPE_MAX);
	reader_integer(&reader, "rows", REQUIRED, 0, UINT16_MAX, &rows);
	reader_integer(&reader, "columns", REQUIRED, 0, UINT16_MAX, &columns);
	terminal->size.rows = (uint16_t)rows;
	terminal->size.columns = (uint16_t)columns;
	if (has_streams)
		terminal_streams_parse(&reader, terminal);
	reader_check_known(&reader, has_streams ? all_names : names);
	parent->r = reader.r;
}

/* The app that has input hears of its terminal in TERM, unless it has an opinion of its own. */
static void terminal_announce(struct field_reader *reader, struct guest_config *config)
{
	struct guest_app_config *app;

	if (reader->r < 0 || !config->terminal.type)
		return;
	if (config->input_app < 0) {
		reader_fail(reader, "input", "an integer, with a terminal,");
		return;
	}
	app = &config->apps[config->input_app];
	if (environment_has(app->environment, "TERM="))
		return;
	if (asprintf(&config->terminal_variable, "TERM=%s", config->terminal.type) < 0) {
		config->terminal_variable = NULL;
		reader->r = -ENOMEM;
	} else {
		reader->r = app_add_variable(app, config->terminal_variable);
	}
}

int guest_config_parse(json_t *message, struct guest_config *config, struct error *err)
{
	static const char *const names[] = {"type", "version", "uuid", "hostname", "machine_id",
		"entropy", "park", "mutable", "apps", "sysctls", "input", "terminal",
		"hosts_entries", "resolv_conf", "network", NULL};
	struct field_reader reader = {.object = message, .where = "configure", .err = err};
	json_int_t version, number;

	*config = (struct guest_config){.message = json_incref(message)};
	reader_integer(&reader, "version", REQUIRED, WIRE_VERSION, WIRE_VERSION, &version);
	instance_parse(&reader, &config->instance);
	config->park = reader_boolean(&reader, "park");
	if (json_object_get(message, "mutable"))
		config->is_mutable = reader_boolean(&reader, "mutable");
	if (config->park && config->is_mutable)
		reader_fail(&reader, "park", "false, in a mutable pod,");
	apps_parse(&reader, config);
	sysctls_parse(&reader, config);
	config->input_app = -1;
	if (reader_integer(&reader, "input", OPTIONAL, 0, WIRE_APPS_MAX - 1, &number))
		config->input_app = (int)number;
	if (config->input_app >= (int)config->app_count)
		reader_fail(&reader, "input", "the number of an app");
	terminal_parse(&reader, "configure: terminal", true, &config->terminal);
	terminal_announce(&reader, config);
	config->hosts_entries = reader_text(&reader, "hosts_entries", WIRE_ETC_TEXT_MAX);
	config->resolv_conf = reader_text(&reader, "resolv_conf", WIRE_ETC_TEXT_MAX);
	reader_check_known(&reader, names);
	return reader.r;
}

int guest_renew_parse(json_t *message, struct guest_instance *instance, struct error *err)
{
	static const char *const names[] = {
		"type", "uuid", "hostname", "machine_id", "entropy", "network", NULL};
	struct field_reader reader = {.object = message, .where = "renew", .err = err};

	instance_parse(&reader, instance);
	reader_check_known(&reader, names);
	return reader.r;
}

static void app_config_done(struct guest_app_config *app)
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

void guest_config_done(struct guest_config *config)
{
	for (size_t i = 0; i < config->app_count; i++)
		app_config_done(&config->apps[i]);
	free(config->apps);
	for (size_t i = 0; i < config->sysctl_count; i++)
		free(config->sysctls[i].path);
	free(config->sysctls);
	free(config->terminal_variable);
	json_decref(config->message);
	*config = (struct guest_config){0};
}

int guest_stop_parse(
	json_t *message, unsigned int *ret_grace_ms, const char **ret_app, struct error *err)
{
	static const char *const names[] = {"type", "grace_ms", "app", NULL};
	struct field_reader reader = {.object = message, .where = "stop", .err = err};
	json_int_t grace_ms = 0;

	reader_integer(&reader, "grace_ms", REQUIRED, 0, STOP_GRACE_MAX_MS, &grace_ms);
	*ret_app = reader_text(&reader, "app", NAME_MAX);
	reader_check_known(&reader, names);
	*ret_grace_ms = (unsigned int)grace_ms;
	return reader.r;
}

int guest_start_parse(json_t *message, struct guest_start_config *config, struct error *err)
{
	static const char *const names[] = {"type", "number", "app", NULL};
	struct field_reader reader = {.object = message, .where = "start", .err = err};
	json_int_t number = 0;
	json_t *app;

	*config = (struct guest_start_config){.message = json_incref(message)};
	reader_integer(&reader, "number", REQUIRED, 0, UINT16_MAX, &number);
	config->number = (uint16_t)number;
	app = reader_take(&reader, "app", REQUIRED, JSON_OBJECT, "an object");
	if (app)
		app_parse(app, config->number, &config->app, &reader);
	reader_check_known(&reader, names);
	return reader.r;
}

int guest_start_add_variable(struct guest_start_config *config, const char *variable)
{
	return app_add_variable(&config->app, variable);
}

void guest_start_done(struct guest_start_config *config)
{
	app_config_done(&config->app);
	json_decref(config->message);
	*config = (struct guest_start_config){0};
}

int guest_remove_parse(json_t *message, struct guest_remove_config *config, struct error *err)
{
	static const char *const names[] = {"type", "app", "volumes", NULL};
	struct field_reader reader = {.object = message, .where = "remove", .err = err};

	*config = (struct guest_remove_config){0};
	config->app = reader_string(&reader, "app", 1, NAME_MAX);
	if (reader.r == 0 && !name_is_valid(config->app))
		reader_fail(&reader, "app", "lower-case letters, digits and dashes");
	config->volumes = reader_strings(&reader, "volumes", 0);
	for (size_t i = 0; reader.r == 0 && config->volumes[i]; i++)
		if (!file_name_is_safe(config->volumes[i]))
			reader_fail(&reader, "volumes", "names of one path component each");
	reader_check_known(&reader, names);
	return reader.r;
}

void guest_remove_done(struct guest_remove_config *config)
{
	free(config->volumes);
	*config = (struct guest_remove_config){0};
}

int guest_enter_parse(json_t *message, struct guest_enter_config *config, struct error *err)
{
	static const char *const names[] = {
		"type", "app", "exec", "user", "group", "terminal", NULL};
	struct field_reader reader = {.object = message, .where = "enter", .err = err};

	*config = (struct guest_enter_config){.message = json_incref(message)};
	if (strcmp(wire_type(message), "enter") != 0)
		return error_set(
			err, -EBADMSG, "session of unknown type \"%.64s\"", wire_type(message));
	config->app = reader_string(&reader, "app", 1, NAME_MAX);
	config->exec = reader_strings(&reader, "exec", 0);
	config->user = reader_text(&reader, "user", PATH_MAX - 1);
	config->group = reader_text(&reader, "group", PATH_MAX - 1);
	terminal_parse(&reader, "enter: terminal", false, &config->terminal);
	reader_check_known(&reader, names);
	return reader.r;
}

void guest_enter_done(struct guest_enter_config *config)
{
	free(config->exec);
	json_decref(config->message);
	*config = (struct guest_enter_config){0};
}

int guest_ssh_parse(json_t *message, struct guest_ssh_config *config, struct error *err)
{
	static const char *const names[] = {"type", "tree", "host_key", "authorized_keys", NULL};
	struct field_reader reader = {.object = message, .where = "ssh", .err = err};

	config->tree = reader_string(&reader, "tree", 1, NAME_MAX);
	config->host_key =
		reader_string(&reader, "host_key", 1, BASE64_LENGTH(WIRE_SESSION_HOST_KEY_MAX));
	config->authorized_keys =
		reader_string(&reader, "authorized_keys", 1, WIRE_SESSION_AUTHORIZED_MAX);
	if (!file_name_is_safe(config->tree))
		reader_fail(&reader, "tree", "a file name");
	reader_check_known(&reader, names);
	return reader.r;
}

int guest_config_add_variable(struct guest_config *config, const char *variable)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->app_count; i++)
		r = app_add_variable(&config->apps[i], variable);
	return r;
}

int guest_metadata_parse(json_t *message, struct guest_metadata_answer *answer, struct error *err)
{
	static const char *const names[] = {"type", "status", "content_type", "body", NULL};
	struct field_reader reader = {.object = message, .where = "metadata", .err = err};
	json_int_t status = 0;

	reader_integer(&reader, "status", REQUIRED, 200, 599, &status);
	answer->status = (unsigned int)status;
	answer->content_type = reader_string(&reader, "content_type", 1, CONTENT_TYPE_MAX);
	for (const char *c = answer->content_type; *c; c++)
		if (*c < ' ' || *c > '~')
			reader_fail(&reader, "content_type", "printable characters");
	answer->body = reader_string(&reader, "body", 0, WIRE_FRAME_MAX_TO_GUEST);
	answer->body_length = reader.r < 0 ? 0 : strlen(answer->body);
	reader_check_known(&reader, names);
	return reader.r;
}

/*
 * A message as a JSON string. struct error may have cut a character in two, and a path in an image
 * is any bytes: what is not UTF-8 becomes '?'.
 */
static json_t *message_json(const char *message)
{
	char text[sizeof(((struct error *)NULL)->message)];
	json_t *json;

	snprintf(text, sizeof(text), "%s", message);
	log_sanitise(text);
	json = json_string(text);
	if (json)
		return json;
	for (char *c = text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(text);
}

static int outbox_reserve(struct guest_outbox *outbox, size_t length)
{
	size_t room = outbox->room ? outbox->room : OUTBOX_ROOM;
	char *frames;

	while (room - outbox->length < length)
		room *= 2;
	if (room == outbox->room)
		return 0;
	frames = realloc(outbox->frames, room);
	if (!frames)
		return -ENOMEM;
	outbox->frames = frames;
	outbox->room = room;
	return 0;
}

/* Takes over the reference. */
static int message_send(struct guest_outbox *outbox, json_t *message)
{
	_cleanup_json_ json_t *owned = message;
	_cleanup_free_ char *frame = NULL;
	size_t length;
	int r = message ? wire_frame_encode(message, WIRE_FRAME_MAX_FROM_GUEST, &frame, &length)
			: -ENOMEM;

	if (r == 0)
		r = outbox_reserve(outbox, length);
	if (r < 0)
		return r;
	memcpy(outbox->frames + outbox->length, frame, length);
	outbox->length += length;
	return 0;
}

int guest_outbox_flush(struct guest_outbox *outbox)
{
	size_t length = outbox->length, taken;

	outbox->length = 0;
	taken = guest_port_transmit(outbox->console_port, outbox->frames, length);
	if (taken == length)
		return 0;
	return wire_frames_write(outbox->fd, outbox->frames + taken, length - taken);
}

void guest_send_started(struct guest_outbox *outbox, const char *app, pid_t pid)
{
	message_send(outbox,
		json_pack("{s:s, s:s, s:i}", "type", "started", "app", app, "pid", (int)pid));
}

void guest_send_exited(
	struct guest_outbox *outbox, const char *app, int status, bool oom, const char *message)
{
	json_t *json = json_pack(
		"{s:s, s:s, s:i, s:b}", "type", "exited", "app", app, "status", status, "oom", oom);

	if (json && message)
		json_object_set_new(json, "message", message_json(message));
	message_send(outbox, json);
}

void guest_send_ready(struct guest_outbox *outbox)
{
	message_send(outbox, json_pack("{s:s}", "type", "ready"));
}

void guest_send_removed(struct guest_outbox *outbox, const char *app)
{
	message_send(outbox, json_pack("{s:s, s:s}", "type", "removed", "app", app));
}

static void text_send(struct guest_outbox *outbox, const char *type, const char *message)
{
	message_send(
		outbox, json_pack("{s:s, s:o}", "type", type, "message", message_json(message)));
}

void guest_send_paused(struct guest_outbox *outbox)
{
	message_send(outbox, json_pack("{s:s}", "type", "paused"));
}

void guest_send_resumed(struct guest_outbox *outbox)
{
	message_send(outbox, json_pack("{s:s}", "type", "resumed"));
}

void guest_send_warning(struct guest_outbox *outbox, const char *message)
{
	text_send(outbox, "warning", message);
}

void guest_send_ended(struct guest_outbox *outbox, int status)
{
	message_send(outbox, json_pack("{s:s, s:i}", "type", "ended", "status", status));
}

void guest_send_failed(struct guest_outbox *outbox, const char *message)
{
	text_send(outbox, "failed", message);
}

void guest_send_unparkable(struct guest_outbox *outbox, const char *message)
{
	text_send(outbox, "unparkable", message);
}

int guest_send_metadata_get(struct guest_outbox *outbox, const char *path)
{
	return message_send(outbox, json_pack("{s:s, s:s}", "type", "metadata", "get", path));
}

/* Bytes as a JSON string; NULL: no memory. */
static json_t *bytes_json(const void *bytes, size_t length)
{
	_cleanup_free_ char *text = malloc(BASE64_LENGTH(length) + 1);

	if (!text)
		return NULL;
	base64_encode(bytes, length, text);
	return json_string_nocheck(text);
}

int guest_send_metadata_sign(struct guest_outbox *outbox, const void *content, size_t length)
{
	return message_send(outbox,
		json_pack("{s:s, s:o}", "type", "metadata", "sign", bytes_json(content, length)));
}

int guest_send_metadata_verify(struct guest_outbox *outbox, const void *content, size_t length,
	const char *uuid, const char *signature)
{
	return message_send(outbox,
		json_pack("{s:s, s:o, s:s, s:s}", "type", "metadata", "verify",
			bytes_json(content, length), "uuid", uuid, "signature", signature));
}
