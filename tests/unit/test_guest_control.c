// SPDX-License-Identifier: Apache-2.0
/* test_guest_control.c: the guest's reading of configure, renew and stop, field by field. */
#include "guest-init/control.h"
#include "guest-init/outbox.h"
#include "wire/filter.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static const char good_app[] =
	"{\"name\":\"web\",\"exec\":[\"/bin/web\",\"-v\"],\"user\":\"www\",\"group\":\"33\","
	"\"supplementary_gids\":[5,4294967294],\"working_directory\":\"/srv\","
	"\"environment\":[\"PATH=/bin\",\"EMPTY=\"],\"pre_start\":[\"/bin/pre\"],\"post_stop\":[],"
	"\"read_only_rootfs\":true,\"mounts\":[{\"volume\":\"data\",\"target\":\"/srv/data\","
	"\"read_only\":true},{\"volume\":\"log\",\"target\":\"var/log\",\"read_only\":false}],"
	"\"capabilities\":\"a80425fb\",\"no_new_privileges\":false,\"memory_max\":1048576,"
	"\"cpu_max_millis\":1500,\"cpu_weight\":100,\"oom_score_adj\":-5,"
	"\"etc_files\":[\"hostname\",\"hosts\"],"
	"\"seccomp\":\"20000000040000000600000000000080\",\"protect_paths\":true,"
	"\"sockets\":[{\"name\":\"dns\",\"protocol\":\"udp\",\"port\":53}]}";

static json_t *good_configure(void)
{
	json_t *app = json_loads(good_app, 0, NULL);
	json_t *message = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:b, s:[o], s:{s:s, s:s}}",
		"type", "configure", "version", WIRE_VERSION, "uuid",
		"cb1a6b5d-9c4f-4e8f-a7ab-0e0f0d0c0b0a", "hostname", "pod-1", "machine_id",
		"0123456789abcdef0123456789abcdef", "entropy",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "park", 1,
		"apps", app, "sysctls", "net.ipv4.ip_forward", "1",
		"net/ipv4/conf/eth0.1/forwarding", "0");

	assert_non_null(message);
	return message;
}

static void complete_message_is_understood(void **state)
{
	_cleanup_json_ json_t *message = good_configure();
	const struct guest_app_config *app;
	struct guest_config config;
	struct error err = {0};

	(void)state;
	assert_int_equal(guest_config_parse(message, &config, &err), 0);
	assert_string_equal(config.instance.uuid, "cb1a6b5d-9c4f-4e8f-a7ab-0e0f0d0c0b0a");
	assert_string_equal(config.instance.hostname, "pod-1");
	assert_string_equal(config.instance.machine_id, "0123456789abcdef0123456789abcdef");
	assert_int_equal(config.instance.entropy[0], 0);
	assert_int_equal(config.instance.entropy[31], 0x1f);
	assert_true(config.park);
	assert_int_equal(config.memory_max, GUEST_UNLIMITED);
	assert_int_equal(config.cpu_max_millis, GUEST_UNLIMITED);
	assert_int_equal(config.sysctl_count, 2);
	assert_string_equal(config.sysctls[0].path, "net/ipv4/ip_forward");
	assert_string_equal(config.sysctls[0].value, "1");
	assert_string_equal(config.sysctls[1].path, "net/ipv4/conf/eth0.1/forwarding");

	assert_int_equal(config.app_count, 1);
	app = &config.apps[0];
	assert_string_equal(app->name, "web");
	assert_string_equal(app->exec[0], "/bin/web");
	assert_string_equal(app->exec[1], "-v");
	assert_null(app->exec[2]);
	assert_string_equal(app->user, "www");
	assert_string_equal(app->group, "33");
	assert_int_equal(app->supplementary_gid_count, 2);
	assert_int_equal(app->supplementary_gids[1], 4294967294u);
	assert_string_equal(app->working_directory, "/srv");
	assert_string_equal(app->environment[1], "EMPTY=");
	assert_null(app->environment[2]);
	assert_string_equal(app->pre_start[0], "/bin/pre");
	assert_null(app->post_stop[0]);
	assert_true(app->read_only_rootfs);
	assert_int_equal(app->mount_count, 2);
	assert_string_equal(app->mounts[0].volume, "data");
	assert_string_equal(app->mounts[0].target, "/srv/data");
	assert_true(app->mounts[0].read_only);
	assert_false(app->mounts[1].read_only);
	assert_int_equal(app->capabilities, 0xa80425fb);
	assert_false(app->no_new_privileges);
	assert_int_equal(app->memory_max, 1048576);
	assert_int_equal(app->memory_low, GUEST_UNLIMITED);
	assert_int_equal(app->cpu_max_millis, 1500);
	assert_int_equal(app->cpu_weight, 100);
	assert_true(app->has_oom_score_adj);
	assert_int_equal(app->oom_score_adj, -5);
	assert_int_equal(app->seccomp_count, 2);
	assert_false(app->seccomp_is_default);
	assert_int_equal(app->seccomp[0].code, BPF_LD | BPF_W | BPF_ABS);
	assert_int_equal(app->seccomp[0].k, 4);
	assert_int_equal(app->seccomp[1].k, 0x80000000);
	assert_true(app->protect_paths);
	assert_false(app->notifies);
	assert_int_equal(app->socket_count, 1);
	assert_string_equal(app->sockets[0].name, "dns");
	assert_true(app->sockets[0].is_udp);
	assert_int_equal(app->sockets[0].port, 53);
	assert_int_equal(app->etc_files, 1u << WIRE_ETC_HOSTS | 1u << WIRE_ETC_HOSTNAME);
	guest_config_done(&config);
}

static void strings_outlive_the_callers_reference(void **state)
{
	json_t *message = good_configure();
	struct guest_config config;

	(void)state;
	assert_int_equal(guest_config_parse(message, &config, NULL), 0);
	json_decref(message);
	assert_string_equal(config.apps[0].exec[0], "/bin/web");
	guest_config_done(&config);
}

static void optional_fields_may_be_absent(void **state)
{
	_cleanup_json_ json_t *message = good_configure();
	json_t *app = json_array_get(json_object_get(message, "apps"), 0);
	struct guest_config config;

	(void)state;
	json_object_del(app, "memory_max");
	json_object_del(app, "cpu_max_millis");
	json_object_del(app, "cpu_weight");
	json_object_del(app, "oom_score_adj");
	assert_int_equal(guest_config_parse(message, &config, NULL), 0);
	assert_int_equal(config.apps[0].memory_max, GUEST_UNLIMITED);
	assert_int_equal(config.apps[0].cpu_max_millis, GUEST_UNLIMITED);
	assert_int_equal(config.apps[0].cpu_weight, 0);
	assert_false(config.apps[0].has_oom_score_adj);
	guest_config_done(&config);
}

static void limits_of_the_pod_are_not_its_apps(void **state)
{
	_cleanup_json_ json_t *message = good_configure();
	struct guest_config config;

	(void)state;
	json_object_set_new(message, "memory_max", json_integer(4096));
	json_object_set_new(message, "cpu_max_millis", json_integer(500));
	assert_int_equal(guest_config_parse(message, &config, NULL), 0);
	assert_int_equal(config.memory_max, 4096);
	assert_int_equal(config.cpu_max_millis, 500);
	assert_int_equal(config.apps[0].memory_max, 1048576);
	assert_int_equal(config.apps[0].cpu_max_millis, 1500);
	guest_config_done(&config);
}

/* A value of a field that is refused; value NULL: the field is absent. */
struct bad_field {
	const char *field, *value;
};

static void expect_refused(json_t *message, const char *field, const char *value)
{
	struct guest_config config;
	struct error err = {0};
	char quoted[128];
	int r = guest_config_parse(message, &config, &err);

	guest_config_done(&config);
	snprintf(quoted, sizeof(quoted), "\"%s\"", field);
	if (r != -EBADMSG || !strstr(err.message, quoted))
		fail_msg("%s = %s: %d, \"%s\"", field, value ? value : "(absent)", r, err.message);
}

/* Sets the field in object, which is a part of message. */
static void object_set(json_t *object, const char *field, const char *value)
{
	json_t *json;

	if (!value) {
		assert_int_equal(json_object_del(object, field), 0);
		return;
	}
	json = json_loads(value, JSON_DECODE_ANY, NULL);
	assert_non_null(json);
	assert_int_equal(json_object_set_new(object, field, json), 0);
}

static void each_bad_field_of_the_pod_is_named(void **state)
{
	static const struct bad_field bad[] = {
		{"uuid", NULL},
		{"uuid", "1"},
		{"uuid", "\"\""},
		{"uuid", "\"../x\""},
		{"hostname", NULL},
		{"hostname", "[]"},
		{"hostname", "\"\""},
		{"hostname",
			"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
		{"machine_id", NULL},
		{"machine_id", "\"0123\""},
		{"machine_id", "\"0123456789ABCDEF0123456789ABCDEF\""},
		{"entropy", NULL},
		{"entropy", "\"00\""},
		{"entropy", "\"zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\""},
		{"version", NULL},
		{"version", "1"},
		{"version", "\"2\""},
		{"park", NULL},
		{"park", "1"},
		{"park", "null"},
		{"apps", NULL},
		{"apps", "{}"},
		{"apps", "[1]"},
		{"sysctls", NULL},
		{"sysctls", "[]"},
		{"sysctls", "{\"a\":1}"},
		{"sysctls", "{\"\":\"1\"}"},
		{"sysctls", "{\"a..b\":\"1\"}"},
		{"sysctls", "{\"a/../b\":\"1\"}"},
		{"sysctls", "{\"/a\":\"1\"}"},
		{"sysctls", "{\".a\":\"1\"}"},
		{"memory_max", "0"},
		{"memory_max", "\"1\""},
		{"cpu_max_millis", "0"},
		{"cpu_max_millis", "-1"},
		{"hosts_entries", "[]"},
		{"resolv_conf", "null"},
		{"input", "1"},
		{"input", "-1"},
		{"input", "true"},
		{"network", "[]"},
		{"unknown", "1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *message = good_configure();

		object_set(message, bad[i].field, bad[i].value);
		expect_refused(message, bad[i].field, bad[i].value);
	}
}

static const char *variable(const struct guest_config *config, const char *prefix)
{
	for (const char *const *item = config->apps[0].environment; *item; item++)
		if (!strncmp(*item, prefix, strlen(prefix)))
			return *item;
	return NULL;
}

static void a_terminal_names_its_type_to_an_app_that_says_nothing_of_it(void **state)
{
	static const char terminal[] = "{\"type\":\"xterm\",\"rows\":24,\"columns\":80,"
				       "\"streams\":[\"stdin\",\"stderr\"]}";
	_cleanup_json_ json_t *message = good_configure(), *own = good_configure();
	struct guest_config config;
	struct error error = {0};

	(void)state;
	object_set(message, "input", "0");
	object_set(message, "terminal", terminal);
	assert_int_equal(guest_config_parse(message, &config, &error), 0);
	assert_string_equal(config.terminal.type, "xterm");
	assert_int_equal(config.terminal.size.rows, 24);
	assert_int_equal(config.terminal.size.columns, 80);
	assert_true(config.terminal.streams[WIRE_STREAM_STDIN]);
	assert_false(config.terminal.streams[WIRE_STREAM_STDOUT]);
	assert_true(config.terminal.streams[WIRE_STREAM_STDERR]);
	assert_string_equal(variable(&config, "TERM="), "TERM=xterm");
	guest_config_done(&config);

	object_set(own, "input", "0");
	object_set(own, "terminal", terminal);
	object_set(
		json_array_get(json_object_get(own, "apps"), 0), "environment", "[\"TERM=mine\"]");
	assert_int_equal(guest_config_parse(own, &config, &error), 0);
	assert_string_equal(variable(&config, "TERM="), "TERM=mine");
	guest_config_done(&config);
}

static void a_bad_terminal_is_refused(void **state)
{
	static const struct bad_field bad[] = {
		{"terminal", "1"},
		{"terminal", "[]"},
		{"type", "{}"},
		{"type", "{\"type\":\"\",\"rows\":1,\"columns\":1}"},
		{"rows", "{\"type\":\"x\",\"rows\":-1,\"columns\":1}"},
		{"columns", "{\"type\":\"x\",\"rows\":1,\"columns\":65536}"},
		{"columns", "{\"type\":\"x\",\"rows\":1}"},
		{"streams", "{\"type\":\"x\",\"rows\":1,\"columns\":1}"},
		{"streams", "{\"type\":\"x\",\"rows\":1,\"columns\":1,\"streams\":\"stdout\"}"},
		{"streams", "{\"type\":\"x\",\"rows\":1,\"columns\":1,\"streams\":[]}"},
		{"streams", "{\"type\":\"x\",\"rows\":1,\"columns\":1,\"streams\":[\"stdin\"]}"},
		{"streams", "{\"type\":\"x\",\"rows\":1,\"columns\":1,\"streams\":[\"stdout\",7]}"},
		{"streams",
			"{\"type\":\"x\",\"rows\":1,\"columns\":1,\"streams\":[\"stdout\",\"tea\"]}"},
		{"more",
			"{\"type\":\"x\",\"rows\":1,\"columns\":1,\"streams\":[\"stdout\"],\"more\":1}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *message = good_configure();

		object_set(message, "input", "0");
		object_set(message, "terminal", bad[i].value);
		expect_refused(message, bad[i].field, bad[i].value);
	}
}

static void a_terminal_without_input_is_refused(void **state)
{
	_cleanup_json_ json_t *message = good_configure();

	(void)state;
	object_set(message, "terminal",
		"{\"type\":\"x\",\"rows\":1,\"columns\":1,\"streams\":[\"stdout\"]}");
	expect_refused(message, "input", "absent");
}

static void each_bad_field_of_an_app_is_named(void **state)
{
	static const struct bad_field bad[] = {
		{"name", NULL},
		{"name", "1"},
		{"name", "\"\""},
		{"name", "\"..\""},
		{"name", "\"a/b\""},
		{"name", "\"cgroup.procs\""},
		{"name", "\"-a\""},
		{"name", "\"Web\""},
		{"exec", NULL},
		{"exec", "[]"},
		{"exec", "\"x\""},
		{"exec", "[1]"},
		{"user", NULL},
		{"user", "0"},
		{"user", "\"\""},
		{"group", NULL},
		{"group", "0"},
		{"group", "\"\""},
		{"supplementary_gids", NULL},
		{"supplementary_gids", "[-1]"},
		{"supplementary_gids", "[4294967295]"},
		{"supplementary_gids", "[\"5\"]"},
		{"supplementary_gids", "[1.0]"},
		{"working_directory", NULL},
		{"working_directory", "\"srv\""},
		{"working_directory", "\"\""},
		{"environment", NULL},
		{"environment", "[\"A\"]"},
		{"environment", "[\"=A\"]"},
		{"environment", "{}"},
		{"environment", "[null]"},
		{"pre_start", NULL},
		{"pre_start", "[1]"},
		{"pre_start", "null"},
		{"post_stop", NULL},
		{"post_stop", "\"x\""},
		{"read_only_rootfs", NULL},
		{"read_only_rootfs", "0"},
		{"mounts", NULL},
		{"mounts", "{}"},
		{"mounts", "[1]"},
		{"capabilities", NULL},
		{"capabilities", "\"\""},
		{"capabilities", "\"0x1\""},
		{"capabilities", "\"10000000000000000\""},
		{"capabilities", "1"},
		{"no_new_privileges", NULL},
		{"no_new_privileges", "\"true\""},
		{"memory_max", "0"},
		{"memory_max", "-1"},
		{"memory_max", "\"1\""},
		{"memory_max", "1.5"},
		{"memory_max", "null"},
		{"memory_low", "-1"},
		{"memory_low", "true"},
		{"cpu_max_millis", "0"},
		{"cpu_max_millis", "[]"},
		{"cpu_weight", "0"},
		{"cpu_weight", "10001"},
		{"cpu_weight", "\"1\""},
		{"oom_score_adj", "-1001"},
		{"oom_score_adj", "1001"},
		{"oom_score_adj", "\"0\""},
		{"seccomp", "\"\""},
		{"seccomp", "\"0600000000000\""},
		{"seccomp", "\"060000000000ff7F\""},
		{"seccomp", "\"defaults\""},
		{"seccomp", "[6]"},
		{"protect_paths", NULL},
		{"protect_paths", "\"no\""},
		{"notifies", "1"},
		{"notifies", "false"},
		{"sockets", NULL},
		{"sockets", "{}"},
		{"sockets", "[1]"},
		{"unknown", "[]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *message = good_configure();

		object_set(json_array_get(json_object_get(message, "apps"), 0), bad[i].field,
			bad[i].value);
		expect_refused(message, bad[i].field, bad[i].value);
	}
}

static json_t *good_network(void)
{
	json_t *network = json_pack("{s:s, s:s, s:i, s:s, s:i, s:s}", "interface", "eth0", "mac",
		"02:0a:00:00:fe:01", "mtu", 65520, "address", "10.0.2.15", "prefix", 24, "gateway",
		"10.0.2.2");

	assert_non_null(network);
	return network;
}

static void network_is_understood_in_both_messages(void **state)
{
	static const uint8_t mac[] = {2, 0x0a, 0, 0, 0xfe, 1};

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		_cleanup_json_ json_t *message = good_configure();
		struct guest_config config = {0};
		struct guest_network *network = &config.instance.network;

		json_object_set_new(message, "network", good_network());
		if (i == 0) {
			assert_int_equal(guest_config_parse(message, &config, NULL), 0);
		} else {
			static const char *const others[] = {"version", "park", "apps", "sysctls"};

			for (size_t j = 0; j < ARRAY_SIZE(others); j++)
				json_object_del(message, others[j]);
			assert_int_equal(guest_renew_parse(message, &config.instance, NULL), 0);
		}
		assert_string_equal(network->interface, "eth0");
		assert_memory_equal(network->mac, mac, sizeof(mac));
		assert_int_equal(network->mtu, 65520);
		assert_int_equal(ntohl(network->address.s_addr), 0x0a00020f);
		assert_int_equal(ntohl(network->gateway.s_addr), 0x0a000202);
		assert_int_equal(network->prefix, 24);
		guest_config_done(&config);
	}
}

static void a_network_may_have_ipv6_and_may_have_it_for_the_link_alone(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		_cleanup_json_ json_t *message = good_configure();
		json_t *object = good_network();
		struct guest_config config = {0};
		struct guest_network *network = &config.instance.network;
		struct in6_addr address, gateway;

		json_object_set_new(object, "address6", json_string("fd00::15"));
		json_object_set_new(object, "prefix6", json_integer(64));
		if (i == 1)
			json_object_set_new(object, "gateway6", json_string("fe80::2"));
		json_object_set_new(message, "network", object);
		assert_int_equal(guest_config_parse(message, &config, NULL), 0);
		assert_int_equal(inet_pton(AF_INET6, "fd00::15", &address), 1);
		assert_int_equal(inet_pton(AF_INET6, "fe80::2", &gateway), 1);
		assert_memory_equal(&network->address6, &address, sizeof(address));
		assert_int_equal(network->prefix6, 64);
		assert_int_equal(network->has_gateway6, i == 1);
		if (i == 1)
			assert_memory_equal(&network->gateway6, &gateway, sizeof(gateway));
		guest_config_done(&config);
	}
}

static void each_bad_field_of_a_network_is_named(void **state)
{
	static const struct bad_field bad[] = {
		{"interface", NULL},
		{"interface", "\"\""},
		{"interface", "\"sixteen-letters-\""},
		{"mac", NULL},
		{"mac", "\"02:00:00:00:00\""},
		{"mac", "\"02:00:00:00:00:0g\""},
		{"mac", "\"02-00-00-00-00-01\""},
		{"mac", "\"02:00:00:00:00:01:\""},
		{"mac", "\"03:00:00:00:00:01\""},
		{"mtu", "67"},
		{"mtu", "65536"},
		{"address", "\"10.0.2\""},
		{"address", "\"::1\""},
		{"prefix", "0"},
		{"prefix", "33"},
		{"gateway", NULL},
		{"gateway", "\"nowhere\""},
		{"address6", "\"10.0.0.1\""},
		{"prefix6", NULL},
		{"prefix6", "0"},
		{"prefix6", "129"},
		{"gateway6", "\"10.0.0.1\""},
		{"gateway6", "\"\""},
		{"unknown", "1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *message = good_configure();
		json_t *network = good_network();

		json_object_set_new(network, "address6", json_string("fd00::15"));
		json_object_set_new(network, "prefix6", json_integer(64));
		object_set(network, bad[i].field, bad[i].value);
		json_object_set_new(message, "network", network);
		expect_refused(message, bad[i].field, bad[i].value);
	}
}

static void each_bad_field_of_a_mount_is_named(void **state)
{
	static const struct bad_field bad[] = {
		{"volume", NULL},
		{"volume", "1"},
		{"volume", "\"\""},
		{"volume", "\"a/b\""},
		{"volume", "\"..\""},
		{"target", NULL},
		{"target", "1"},
		{"target", "\"\""},
		{"read_only", NULL},
		{"read_only", "\"no\""},
		{"unknown", "1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *message = good_configure();
		json_t *app = json_array_get(json_object_get(message, "apps"), 0);

		object_set(json_array_get(json_object_get(app, "mounts"), 1), bad[i].field,
			bad[i].value);
		expect_refused(message, bad[i].field, bad[i].value);
	}
}

static void each_bad_field_of_a_socket_is_named(void **state)
{
	static const struct bad_field bad[] = {
		{"name", NULL},
		{"name", "\"a:b\""},
		{"protocol", NULL},
		{"protocol", "\"sctp\""},
		{"port", NULL},
		{"port", "0"},
		{"port", "65536"},
		{"port", "\"53\""},
		{"unknown", "1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *message = good_configure();
		json_t *app = json_array_get(json_object_get(message, "apps"), 0);

		object_set(json_array_get(json_object_get(app, "sockets"), 0), bad[i].field,
			bad[i].value);
		expect_refused(message, bad[i].field, bad[i].value);
	}
}

static void filter_is_the_default_one_by_name_or_of_the_longest_length_at_most(void **state)
{
	const size_t longest = (size_t)16 * WIRE_SECCOMP_MAX;
	_cleanup_json_ json_t *message = good_configure();
	json_t *app = json_array_get(json_object_get(message, "apps"), 0);
	_cleanup_free_ char *text = malloc(longest + 16 + 1);
	struct guest_config config;

	(void)state;
	json_object_set_new(app, "seccomp", json_string(WIRE_SECCOMP_DEFAULT));
	assert_int_equal(guest_config_parse(message, &config, NULL), 0);
	assert_true(config.apps[0].seccomp_is_default);
	assert_ptr_equal(config.apps[0].seccomp, wire_default_filter);
	guest_config_done(&config);

	memset(text, '0', longest + 16);
	text[longest + 16] = '\0';
	json_object_set_new(app, "seccomp", json_string(text));
	expect_refused(message, "seccomp", "one instruction too many");
	text[longest] = '\0';
	json_object_set_new(app, "seccomp", json_string(text));
	assert_int_equal(guest_config_parse(message, &config, NULL), 0);
	assert_int_equal(config.apps[0].seccomp_count, WIRE_SECCOMP_MAX);
	guest_config_done(&config);

	json_object_del(app, "seccomp");
	assert_int_equal(guest_config_parse(message, &config, NULL), 0);
	assert_null(config.apps[0].seccomp);
	guest_config_done(&config);
}

static void apps_of_one_name_and_too_many_apps_are_refused(void **state)
{
	_cleanup_json_ json_t *message = good_configure();
	json_t *apps = json_object_get(message, "apps");
	struct guest_config config;
	char name[32];

	(void)state;
	json_array_append_new(apps, json_deep_copy(json_array_get(apps, 0)));
	expect_refused(message, "apps", "two of one name");
	while (json_array_size(apps) < WIRE_APPS_MAX)
		json_array_append_new(apps, json_deep_copy(json_array_get(apps, 0)));
	for (size_t i = 0; i < json_array_size(apps); i++) {
		snprintf(name, sizeof(name), "app-%zu", i);
		json_object_set_new(json_array_get(apps, i), "name", json_string(name));
	}
	assert_int_equal(guest_config_parse(message, &config, NULL), 0);
	assert_int_equal(config.app_count, WIRE_APPS_MAX);
	guest_config_done(&config);
	json_array_append_new(apps, json_loads(good_app, 0, NULL));
	expect_refused(message, "apps", "65 apps");
}

static json_t *good_renew(void)
{
	json_t *message = good_configure();

	json_object_set_new(message, "type", json_string("renew"));
	json_object_del(message, "version");
	json_object_del(message, "park");
	json_object_del(message, "apps");
	json_object_del(message, "sysctls");
	return message;
}

static void renew_says_who_this_copy_is_and_nothing_else(void **state)
{
	static const char *const fields[] = {"uuid", "hostname", "machine_id", "entropy"};
	struct guest_instance instance;
	struct error err = {0};
	json_t *message = good_renew();

	(void)state;
	assert_int_equal(guest_renew_parse(message, &instance, &err), 0);
	assert_string_equal(instance.hostname, "pod-1");
	assert_int_equal(instance.entropy[31], 0x1f);
	json_object_set_new(message, "apps", json_array());
	assert_int_equal(guest_renew_parse(message, &instance, &err), -EBADMSG);
	json_decref(message);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		message = good_renew();
		json_object_del(message, fields[i]);
		assert_int_equal(guest_renew_parse(message, &instance, &err), -EBADMSG);
		assert_non_null(strstr(err.message, fields[i]));
		json_decref(message);
	}
}

static void stop_takes_a_grace_time_and_perhaps_an_app(void **state)
{
	static const char *const bad[] = {"{\"type\":\"stop\"}",
		"{\"type\":\"stop\",\"grace_ms\":-1}", "{\"type\":\"stop\",\"grace_ms\":\"1\"}",
		"{\"type\":\"stop\",\"grace_ms\":1e3}",
		"{\"type\":\"stop\",\"grace_ms\":9999999999}",
		"{\"type\":\"stop\",\"grace_ms\":1,\"x\":1}",
		"{\"type\":\"stop\",\"grace_ms\":1,\"app\":1}"};
	unsigned int grace_ms;
	const char *app;
	json_t *message = json_loads("{\"type\":\"stop\",\"grace_ms\":10000}", 0, NULL);

	(void)state;
	assert_int_equal(guest_stop_parse(message, &grace_ms, &app, NULL), 0);
	assert_int_equal(grace_ms, 10000);
	assert_null(app);
	json_object_set_new(message, "app", json_string("web"));
	assert_int_equal(guest_stop_parse(message, &grace_ms, &app, NULL), 0);
	assert_string_equal(app, "web");
	json_decref(message);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {0};

		message = json_loads(bad[i], 0, NULL);
		assert_non_null(message);
		assert_int_equal(guest_stop_parse(message, &grace_ms, &app, &err), -EBADMSG);
		assert_true(err.message[0] != '\0');
		json_decref(message);
	}
}

static void start_is_one_app_with_its_number(void **state)
{
	json_t *message = json_pack("{s:s, s:i, s:o}", "type", "start", "number", 65535, "app",
		json_loads(good_app, 0, NULL));
	struct guest_start_config config;
	struct error err = {0};

	(void)state;
	assert_int_equal(guest_start_parse(message, &config, &err), 0);
	assert_int_equal(config.number, 65535);
	assert_string_equal(config.app.name, "web");
	assert_int_equal(guest_app_config_add_variable(&config.app, "MORE=1"), 0);
	assert_string_equal(config.app.environment[2], "MORE=1");
	assert_null(config.app.environment[3]);
	guest_start_done(&config);
	json_object_set_new(message, "number", json_integer(65536));
	assert_int_equal(guest_start_parse(message, &config, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "\"number\""));
	guest_start_done(&config);
	json_object_set_new(message, "number", json_integer(0));
	json_object_del(json_object_get(message, "app"), "exec");
	assert_int_equal(guest_start_parse(message, &config, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "app web: field \"exec\""));
	guest_start_done(&config);
	json_object_set_new(message, "app", json_array());
	assert_int_equal(guest_start_parse(message, &config, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "start: field \"app\""));
	guest_start_done(&config);
	json_decref(message);
}

static void remove_names_an_app_and_volumes_below_the_tree(void **state)
{
	static const char *const bad[] = {"{\"type\":\"remove\",\"app\":\"web\"}",
		"{\"type\":\"remove\",\"app\":\"../web\",\"volumes\":[]}",
		"{\"type\":\"remove\",\"volumes\":[]}",
		"{\"type\":\"remove\",\"app\":\"web\",\"volumes\":[\"..\"]}",
		"{\"type\":\"remove\",\"app\":\"web\",\"volumes\":[\"a/b\"]}",
		"{\"type\":\"remove\",\"app\":\"web\",\"volumes\":[1]}",
		"{\"type\":\"remove\",\"app\":\"web\",\"volumes\":[],\"x\":1}"};
	json_t *message = json_loads(
		"{\"type\":\"remove\",\"app\":\"web\",\"volumes\":[\"web.data\",\"web-log\"]}", 0,
		NULL);
	struct guest_remove_config config;

	(void)state;
	assert_int_equal(guest_remove_parse(message, &config, NULL), 0);
	assert_string_equal(config.app, "web");
	assert_string_equal(config.volumes[1], "web-log");
	assert_null(config.volumes[2]);
	guest_remove_done(&config);
	json_decref(message);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {0};

		message = json_loads(bad[i], 0, NULL);
		assert_non_null(message);
		assert_int_equal(guest_remove_parse(message, &config, &err), -EBADMSG);
		assert_true(err.message[0] != '\0');
		guest_remove_done(&config);
		json_decref(message);
	}
}

static void mutable_pod_is_not_parked(void **state)
{
	_cleanup_json_ json_t *message = good_configure();
	struct guest_config config;
	struct error err = {0};

	(void)state;
	json_object_set_new(message, "mutable", json_true());
	assert_int_equal(guest_config_parse(message, &config, &err), -EBADMSG);
	guest_config_done(&config);
	json_object_set_new(message, "park", json_false());
	json_object_set_new(message, "apps", json_array());
	assert_int_equal(guest_config_parse(message, &config, &err), 0);
	assert_true(config.is_mutable);
	assert_int_equal(config.app_count, 0);
	guest_config_done(&config);
}

static json_t *receive(int fd)
{
	struct wire_reader reader;
	json_t *message = NULL;

	wire_reader_init(&reader, WIRE_FRAME_MAX_FROM_GUEST);
	assert_true(wire_reader_fill(&reader, fd) > 0);
	assert_int_equal(wire_reader_next(&reader, &message, NULL), 1);
	wire_reader_done(&reader);
	return message;
}

static void message_with_any_bytes_reaches_the_host_as_text(void **state)
{
	struct guest_outbox outbox = {0};
	json_t *message;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	outbox.fd = fds[0];
	guest_send_exited(&outbox, "web", 203, false, "no \"\xff\x1b[2J\xc3\"");
	assert_int_equal(guest_outbox_flush(&outbox), 0);
	message = receive(fds[1]);
	assert_string_equal(wire_type(message), "exited");
	assert_int_equal(json_integer_value(json_object_get(message, "status")), 203);
	assert_true(json_is_false(json_object_get(message, "oom")));
	assert_string_equal(
		json_string_value(json_object_get(message, "message")), "no \"??[2J?\"");
	json_decref(message);

	guest_send_exited(&outbox, "web", 0, true, NULL);
	assert_int_equal(guest_outbox_flush(&outbox), 0);
	message = receive(fds[1]);
	assert_null(json_object_get(message, "message"));
	assert_true(json_is_true(json_object_get(message, "oom")));
	json_decref(message);
	free(outbox.frames);
	close(fds[0]);
	close(fds[1]);
}

static void messages_are_collected_and_arrive_in_order(void **state)
{
	struct guest_outbox outbox = {0};
	struct wire_reader reader;
	json_t *message;
	int fds[2], count = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	outbox.fd = fds[0];
	for (int i = 0; i < 100; i++)
		guest_send_started(&outbox, "web", i);
	assert_int_equal(recv(fds[1], &count, sizeof(count), MSG_DONTWAIT), -1);
	assert_int_equal(guest_outbox_flush(&outbox), 0);
	assert_int_equal(guest_outbox_flush(&outbox), 0);
	close(fds[0]);
	wire_reader_init(&reader, WIRE_FRAME_MAX_FROM_GUEST);
	while (wire_reader_fill(&reader, fds[1]) > 0)
		while (wire_reader_next(&reader, &message, NULL) > 0) {
			assert_int_equal(
				json_integer_value(json_object_get(message, "pid")), count++);
			json_decref(message);
		}
	assert_int_equal(count, 100);
	wire_reader_done(&reader);
	free(outbox.frames);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complete_message_is_understood),
		cmocka_unit_test(strings_outlive_the_callers_reference),
		cmocka_unit_test(optional_fields_may_be_absent),
		cmocka_unit_test(limits_of_the_pod_are_not_its_apps),
		cmocka_unit_test(each_bad_field_of_the_pod_is_named),
		cmocka_unit_test(a_terminal_names_its_type_to_an_app_that_says_nothing_of_it),
		cmocka_unit_test(a_bad_terminal_is_refused),
		cmocka_unit_test(a_terminal_without_input_is_refused),
		cmocka_unit_test(each_bad_field_of_an_app_is_named),
		cmocka_unit_test(each_bad_field_of_a_mount_is_named),
		cmocka_unit_test(each_bad_field_of_a_socket_is_named),
		cmocka_unit_test(
			filter_is_the_default_one_by_name_or_of_the_longest_length_at_most),
		cmocka_unit_test(network_is_understood_in_both_messages),
		cmocka_unit_test(a_network_may_have_ipv6_and_may_have_it_for_the_link_alone),
		cmocka_unit_test(each_bad_field_of_a_network_is_named),
		cmocka_unit_test(apps_of_one_name_and_too_many_apps_are_refused),
		cmocka_unit_test(renew_says_who_this_copy_is_and_nothing_else),
		cmocka_unit_test(stop_takes_a_grace_time_and_perhaps_an_app),
		cmocka_unit_test(start_is_one_app_with_its_number),
		cmocka_unit_test(remove_names_an_app_and_volumes_below_the_tree),
		cmocka_unit_test(mutable_pod_is_not_parked),
		cmocka_unit_test(message_with_any_bytes_reaches_the_host_as_text),
		cmocka_unit_test(messages_are_collected_and_arrive_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
