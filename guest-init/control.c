// SPDX-License-Identifier: Apache-2.0
/* control.c: the messages from the host into structs. */
#include "guest-init/control.h"

#include "base/file.h"
#include "base/hex.h"
#include "base/sysctl.h"

#include <arpa/inet.h>
#include <string.h>

#define SYSCTLS_MAX       256u
#define SYSCTL_VALUE_MAX  4096u
#define HOSTNAME_MAX      64u
#define UUID_MAX          64u
#define MACHINE_ID_LENGTH 32u
#define STOP_GRACE_MAX_MS 86400000
#define CONTENT_TYPE_MAX  64u

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
		guest_app_config_parse(value, i, &config->apps[i], reader);
		for (size_t j = 0; reader->r == 0 && j < i; j++)
			if (!strcmp(config->apps[j].name, config->apps[i].name))
				reader_fail(reader, "apps", "different app names");
	}
}

static void sysctls_parse(struct field_reader *reader, struct guest_config *config)
{
	json_t *object = reader_take(reader, "sysctls", FIELD_REQUIRED, JSON_OBJECT, "an object"),
	       *value;
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
		switch (sysctl_path(key, &sysctl->path)) {
		case 0:
			break;
		case -ENOMEM:
			reader->r = error_set(reader->err, -ENOMEM, "out of memory");
			break;
		default:
			reader_fail(reader, "sysctls", "names of kernel parameters");
		}
	}
}

static void network_parse_ipv6(struct field_reader *reader, struct guest_network *network)
{
	const char *address = reader_text(reader, "address6", INET6_ADDRSTRLEN - 1),
		   *gateway = reader_text(reader, "gateway6", INET6_ADDRSTRLEN - 1);
	json_int_t prefix = 0;

	if (address) {
		reader_integer(reader, "prefix6", FIELD_REQUIRED, 1, 128, &prefix);
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
	json_t *object = reader_take(parent, "network", FIELD_OPTIONAL, JSON_OBJECT, "an object");
	struct field_reader reader = {.object = object, .where = "network", .err = parent->err};
	json_int_t mtu = 0, prefix = 0;

	*network = (struct guest_network){.prefix = 0};
	if (!object)
		return;
	snprintf(network->interface, sizeof(network->interface), "%s",
		reader_string(&reader, "interface", 1, IFNAMSIZ - 1));
	if (guest_mac_parse(reader_string(&reader, "mac", 1, 64), network->mac) < 0)
		reader_fail(&reader, "mac", "an address of an Ethernet interface");
	reader_integer(&reader, "mtu", FIELD_REQUIRED, 68, 65535, &mtu);
	reader_integer(&reader, "prefix", FIELD_REQUIRED, 1, 32, &prefix);
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

static bool environment_has(const char *const *environment, const char *prefix)
{
	for (; *environment; environment++)
		if (!strncmp(*environment, prefix, strlen(prefix)))
			return true;
	return false;
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
		reader->r = guest_app_config_add_variable(app, config->terminal_variable);
	}
}

int guest_config_parse(json_t *message, struct guest_config *config, struct error *err)
{
	static const char *const names[] = {"type", "version", "uuid", "hostname", "machine_id",
		"entropy", "park", "mutable", "apps", "sysctls", "input", "terminal",
		"hosts_entries", "resolv_conf", "network", "memory_max", "cpu_max_millis", NULL};
	struct field_reader reader = {.object = message, .where = "configure", .err = err};
	json_int_t version, number;

	*config = (struct guest_config){.message = json_incref(message)};
	reader_integer(&reader, "version", FIELD_REQUIRED, WIRE_VERSION, WIRE_VERSION, &version);
	instance_parse(&reader, &config->instance);
	config->park = reader_boolean(&reader, "park");
	if (json_object_get(message, "mutable"))
		config->is_mutable = reader_boolean(&reader, "mutable");
	if (config->park && config->is_mutable)
		reader_fail(&reader, "park", "false, in a mutable pod,");
	apps_parse(&reader, config);
	config->memory_max = reader_limit(&reader, "memory_max", 1);
	config->cpu_max_millis = reader_limit(&reader, "cpu_max_millis", 1);
	sysctls_parse(&reader, config);
	config->input_app = -1;
	if (reader_integer(&reader, "input", FIELD_OPTIONAL, 0, WIRE_APPS_MAX - 1, &number))
		config->input_app = (int)number;
	if (config->input_app >= (int)config->app_count)
		reader_fail(&reader, "input", "the number of an app");
	guest_terminal_parse(&reader, "configure: terminal", true, &config->terminal);
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

void guest_config_done(struct guest_config *config)
{
	for (size_t i = 0; i < config->app_count; i++)
		guest_app_config_done(&config->apps[i]);
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

	reader_integer(&reader, "grace_ms", FIELD_REQUIRED, 0, STOP_GRACE_MAX_MS, &grace_ms);
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
	reader_integer(&reader, "number", FIELD_REQUIRED, 0, UINT16_MAX, &number);
	config->number = (uint16_t)number;
	app = reader_take(&reader, "app", FIELD_REQUIRED, JSON_OBJECT, "an object");
	if (app)
		guest_app_config_parse(app, config->number, &config->app, &reader);
	reader_check_known(&reader, names);
	return reader.r;
}

void guest_start_done(struct guest_start_config *config)
{
	guest_app_config_done(&config->app);
	json_decref(config->message);
	*config = (struct guest_start_config){0};
}

int guest_remove_parse(json_t *message, struct guest_remove_config *config, struct error *err)
{
	static const char *const names[] = {"type", "app", "volumes", NULL};
	struct field_reader reader = {.object = message, .where = "remove", .err = err};

	*config = (struct guest_remove_config){0};
	config->app = reader_name(&reader, "app");
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

int guest_config_add_variable(struct guest_config *config, const char *variable)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->app_count; i++)
		r = guest_app_config_add_variable(&config->apps[i], variable);
	return r;
}

int guest_metadata_parse(json_t *message, struct guest_metadata_answer *answer, struct error *err)
{
	static const char *const names[] = {"type", "status", "content_type", "body", NULL};
	struct field_reader reader = {.object = message, .where = "metadata", .err = err};
	json_int_t status = 0;

	reader_integer(&reader, "status", FIELD_REQUIRED, 200, 599, &status);
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
