// SPDX-License-Identifier: Apache-2.0
/* test_usage.c: what pods use: read from the kernel, told over the wire, shown to persons and to Prometheus. */
#include "base/counter.h"
#include "base/json.h"
#include "cli/metrics_server.h"
#include "cli/usage_text.h"
#include "guest-init/usage.h"
#include "pod/usage.h"
#include "wire/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define UUID "01234567-89ab-cdef-0123-456789abcdef"

/* ---- the kernel's numbers */

static void numbers_are_found_by_the_key_that_begins_a_line(void **state)
{
	static const char text[] = "usage_usec 12\nuser_usec 7\nxuser_usec 9\nrchar:\t5\nempty\n"
				   "big 18446744073709551615\nnegative -1\n";
	uint64_t value = 99;

	(void)state;
	assert_true(counter_find(text, "usage_usec", &value));
	assert_int_equal(value, 12);
	assert_true(counter_find(text, "user_usec", &value));
	assert_int_equal(value, 7);
	assert_true(counter_find(text, "rchar:", &value));
	assert_int_equal(value, 5);
	assert_false(counter_find(text, "usage", &value));
	assert_false(counter_find(text, "empty", &value));
	assert_false(counter_find(text, "big", &value));
	assert_false(counter_find(text, "negative", &value));
	assert_false(counter_find("", "usage", &value));
	assert_int_equal(value, 5);
}

static void network_interfaces_are_summed_up_without_the_loopback(void **state)
{
	static const char text[] =
		"Inter-|   Receive                    |  Transmit\n"
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n"
		"    lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n"
		"  eth0: 100 2 0 3 0 0 0 0 200 4 0 5 0 0 0 0\n"
		" eth1:1000 20 0 30 0 0 0 0 2000 40 0 50 0 0 0 0\n"
		" torn: 7 7 7\n";
	struct wire_usage usage;

	(void)state;
	wire_usage_init(&usage);
	guest_usage_parse_network(text, &usage);
	assert_int_equal(usage.values[WIRE_USAGE_RECEIVED], 1100);
	assert_int_equal(usage.values[WIRE_USAGE_RECEIVED_PACKETS], 22);
	assert_int_equal(usage.values[WIRE_USAGE_RECEIVED_DROPS], 33);
	assert_int_equal(usage.values[WIRE_USAGE_SENT], 2200);
	assert_int_equal(usage.values[WIRE_USAGE_SENT_PACKETS], 44);
	assert_int_equal(usage.values[WIRE_USAGE_SENT_DROPS], 55);
	/* Without an interface nothing is known, not even that it is nothing. */
	wire_usage_init(&usage);
	guest_usage_parse_network("lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n", &usage);
	assert_true(usage.values[WIRE_USAGE_SENT] == WIRE_USAGE_UNKNOWN);
}

static void time_of_a_process_is_found_behind_any_name(void **state)
{
	struct wire_usage usage;
	uint64_t tick = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);

	(void)state;
	wire_usage_init(&usage);
	pod_usage_parse_stat(
		"12 (a) R 1 (b) S 1 2 3 0 -1 4194560 5 6 7 8 100 50 9 9 20 0 17 0 1 2", &usage);
	assert_int_equal(usage.values[WIRE_USAGE_CPU_USER], 100 * tick);
	assert_int_equal(usage.values[WIRE_USAGE_CPU_SYSTEM], 50 * tick);
	assert_int_equal(usage.values[WIRE_USAGE_CPU], 150 * tick);
	assert_int_equal(usage.values[WIRE_USAGE_TASKS], 17);
	wire_usage_init(&usage);
	pod_usage_parse_stat("12 (a", &usage);
	pod_usage_parse_stat("12 (a)", &usage);
	pod_usage_parse_stat("12 (a) ", &usage);
	pod_usage_parse_stat("12 (a) S 1 2", &usage);
	pod_usage_parse_stat(
		"12 (a) S 1 2 3 0 -1 4 5 6 7 8 9223372036854775807 0 9 9 20 0 17", &usage);
	assert_true(usage.values[WIRE_USAGE_CPU] == WIRE_USAGE_UNKNOWN);
}

/* ---- over the wire */

static struct wire_pod_usage *example(void)
{
	struct wire_pod_usage *usage = calloc(1, sizeof(*usage));

	assert_non_null(usage);
	wire_usage_init(&usage->pod);
	usage->pod.values[WIRE_USAGE_SENT] = 5;
	usage->app_count = 2;
	for (size_t i = 0; i < 2; i++) {
		snprintf(usage->apps[i].name, WIRE_APP_NAME_SIZE, "app-%zu", i);
		usage->apps[i].is_running = i == 0;
		wire_usage_init(&usage->apps[i].usage);
		usage->apps[i].usage.values[WIRE_USAGE_CPU] = 1500000 + i;
	}
	return usage;
}

static void what_is_told_is_what_is_heard(void **state)
{
	_cleanup_free_ struct wire_pod_usage *told = example(), *heard = calloc(1, sizeof(*heard));
	_cleanup_json_ json_t *object = wire_pod_usage_json(told);
	_cleanup_free_ char *text = json_text(object, JSON_COMPACT);
	struct error error;

	(void)state;
	assert_non_null(heard);
	assert_int_equal(wire_pod_usage_parse(text, strlen(text), heard, &error), 0);
	assert_int_equal(heard->app_count, 2);
	assert_memory_equal(&heard->pod, &told->pod, sizeof(told->pod));
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(heard->apps[i].name, told->apps[i].name);
		assert_int_equal(heard->apps[i].is_running, told->apps[i].is_running);
		assert_memory_equal(
			&heard->apps[i].usage, &told->apps[i].usage, sizeof(struct wire_usage));
	}
}

static void usage_of_a_full_pod_fits_into_its_frame(void **state)
{
	_cleanup_free_ struct wire_pod_usage *usage = calloc(1, sizeof(*usage));
	_cleanup_json_ json_t *object = NULL;
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_non_null(usage);
	memset(&usage->pod, 0x11, sizeof(usage->pod));
	usage->app_count = WIRE_APPS_MAX;
	for (size_t i = 0; i < WIRE_APPS_MAX; i++) {
		/* The longest name that a pod can have; numbers that a machine of this world can have. */
		memset(usage->apps[i].name, 'x', 200);
		for (size_t k = 0; k < WIRE_USAGE_RECEIVED; k++)
			usage->apps[i].usage.values[k] = 999999999999999;
		for (size_t k = WIRE_USAGE_RECEIVED; k < WIRE_USAGE_KINDS; k++)
			usage->apps[i].usage.values[k] = WIRE_USAGE_UNKNOWN;
	}
	object = wire_pod_usage_json(usage);
	text = json_text(object, JSON_COMPACT);
	assert_non_null(text);
	assert_in_range(strlen(text), 1, WIRE_SESSION_USAGE_MAX);
}

static void lies_that_are_out_of_form_are_refused(void **state)
{
	static const char *const texts[] = {"", "[]", "{}", "{\"pod\":{}}", "{\"apps\":[]}",
		"{\"pod\":{},\"apps\":{}}", "{\"pod\":[],\"apps\":[]}",
		"{\"pod\":{\"cpu_us\":-1},\"apps\":[]}", "{\"pod\":{\"cpu_us\":\"1\"},\"apps\":[]}",
		"{\"pod\":{\"cpu_us\":1.5},\"apps\":[]}",
		"{\"pod\":{\"cpu_us\":9223372036854775808},\"apps\":[]}",
		"{\"pod\":{},\"apps\":[{}]}", "{\"pod\":{},\"apps\":[1]}",
		"{\"pod\":{},\"apps\":[{\"app\":\"\"}]}",
		"{\"pod\":{},\"apps\":[{\"app\":\"a\\\"b\"}]}",
		"{\"pod\":{},\"apps\":[{\"app\":\"a\\nb\"}]}",
		"{\"pod\":{},\"apps\":[{\"app\":\"a\",\"tasks\":-5}]}"};
	_cleanup_free_ struct wire_pod_usage *usage = calloc(1, sizeof(*usage));
	struct error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		error.message[0] = '\0';
		assert_int_equal(
			wire_pod_usage_parse(texts[i], strlen(texts[i]), usage, &error), -EBADMSG);
		assert_true(error.message[0]);
	}
}

/* ---- shown */

static void expect_bytes(uint64_t bytes, const char *expected)
{
	char text[USAGE_TEXT_SIZE];

	usage_format_bytes(bytes, text);
	assert_string_equal(text, expected);
}

static void numbers_are_short_for_persons(void **state)
{
	char text[USAGE_TEXT_SIZE];

	(void)state;
	expect_bytes(0, "0B");
	expect_bytes(1023, "1023B");
	expect_bytes(1024, "1.0KiB");
	expect_bytes(1536, "1.5KiB");
	expect_bytes((1 << 20) - 1, "1.0MiB");
	expect_bytes(INT64_MAX, "8.0EiB");
	expect_bytes(WIRE_USAGE_UNKNOWN, "-");
	usage_format_time(1259999, text);
	assert_string_equal(text, "1.25s");
	usage_format_time(WIRE_USAGE_UNKNOWN, text);
	assert_string_equal(text, "-");
	/* Half a second in a second; two CPUs at once. */
	usage_format_share(1000, 501000, 1000000000, text);
	assert_string_equal(text, "50.0");
	usage_format_share(0, 2000000, 1000000000, text);
	assert_string_equal(text, "200.0");
	usage_format_share(WIRE_USAGE_UNKNOWN, 5, 1000000000, text);
	assert_string_equal(text, "-");
	usage_format_share(6, 5, 1000000000, text);
	assert_string_equal(text, "-");
	usage_format_share(5, 5, 0, text);
	assert_string_equal(text, "-");
	usage_format_share(0, INT64_MAX, 1, text);
	assert_in_range(strlen(text), 1, USAGE_TEXT_SIZE - 1);
}

/* The metrics of one pod, which the caller frees. */
static char *metrics(struct pod_usage *usage)
{
	const struct pod_usages usages = {.items = &usage, .count = usage ? 1 : 0};
	char *text = NULL;
	size_t length;
	FILE *file = open_memstream(&text, &length);

	assert_non_null(file);
	assert_int_equal(usage_print_metrics(&usages, file), 0);
	fclose(file);
	return text;
}

static void metrics_are_in_the_format_of_prometheus(void **state)
{
	_cleanup_free_ struct wire_pod_usage *guest = example();
	_cleanup_free_ struct pod_usage *usage = calloc(1, sizeof(*usage));
	_cleanup_free_ char *text = NULL;
	char *line, *rest;

	(void)state;
	assert_non_null(usage);
	memcpy(usage->uuid, UUID, sizeof(UUID));
	usage->flavour = (char *)"a\"b\\c\nd";
	usage->started_at = 1700000000000000000;
	usage->has_host = usage->has_guest = true;
	wire_usage_init(&usage->host);
	usage->host.values[WIRE_USAGE_MEMORY] = 4096;
	usage->host.values[WIRE_USAGE_READ] = 77;
	usage->guest = *guest;
	text = metrics(usage);
	assert_non_null(strstr(
		text, "\nappc_vm_pod_info{uuid=\"" UUID "\",flavour=\"a\\\"b\\\\c\\nd\"} 1\n"));
	assert_non_null(
		strstr(text, "\nappc_vm_pod_start_time_seconds{uuid=\"" UUID "\"} 1700000000\n"));
	assert_non_null(strstr(text, "\nappc_vm_host_memory_bytes{uuid=\"" UUID "\"} 4096\n"));
	assert_non_null(strstr(text,
		"\n# TYPE appc_vm_app_cpu_seconds_total counter\n"
		"appc_vm_app_cpu_seconds_total{uuid=\"" UUID "\",app=\"app-0\"} 1.500000\n"
		"appc_vm_app_cpu_seconds_total{uuid=\"" UUID "\",app=\"app-1\"} 1.500001\n"));
	/* What may become less is no counter. */
	assert_non_null(strstr(text,
		"\n# TYPE appc_vm_host_read_bytes gauge\n"
		"appc_vm_host_read_bytes{uuid=\"" UUID "\"} 77\n"));
	assert_null(strstr(text, "appc_vm_host_cpu_seconds_total"));
	/* Each line is a comment, or a sample of the family that the last comment named. */
	rest = text;
	for (const char *family = ""; (line = strsep(&rest, "\n")) && rest;) {
		if (!strncmp(line, "# TYPE ", 7)) {
			family = line + 7;
			*strchr(line + 7, ' ') = '\0';
		} else if (*line != '#') {
			assert_int_equal(strncmp(line, family, strlen(family)), 0);
			assert_true(line[strlen(family)] == '{' || line[strlen(family)] == ' ');
		} else {
			assert_int_equal(strncmp(line, "# HELP appc_vm_", 15), 0);
		}
	}
}

static void without_a_pod_there_is_the_number_of_pods(void **state)
{
	_cleanup_free_ char *text = metrics(NULL);

	(void)state;
	assert_string_equal(text,
		"# HELP appc_vm_pods Running pods\n# TYPE appc_vm_pods gauge\nappc_vm_pods 0\n");
}

/* ---- served */

static int source(void *context, char **ret_text, size_t *ret_length, struct error *err)
{
	const char *text = context;

	if (!text)
		return error_set(err, -EIO, "no metrics");
	*ret_text = strdup(text);
	*ret_length = strlen(text);
	return *ret_text ? 0 : -ENOMEM;
}

static void expect_answer(
	const char *request, const char *text, const char *status, const char *body)
{
	int fds[2];
	char answer[4096];
	size_t length = 0;
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(send(fds[0], request, strlen(request), 0), strlen(request));
	assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
	metrics_answer(fds[1], source, (void *)text);
	close(fds[1]);
	while ((n = read(fds[0], answer + length, sizeof(answer) - 1 - length)) > 0)
		length += (size_t)n;
	answer[length] = '\0';
	close(fds[0]);
	if (!status) {
		assert_int_equal(length, 0);
		return;
	}
	assert_int_equal(strncmp(answer, status, strlen(status)), 0);
	assert_non_null(strstr(answer, "\r\n\r\n"));
	assert_string_equal(strstr(answer, "\r\n\r\n") + 4, body);
}

static void metrics_are_served_to_who_asks_right(void **state)
{
	(void)state;
	expect_answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "m 1\n", "HTTP/1.1 200 OK\r\n",
		"m 1\n");
	expect_answer("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "m 1\n", "HTTP/1.1 200 ", "m 1\n");
	expect_answer("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "m 1\n", "HTTP/1.1 200 ", "");
	expect_answer("GET /else HTTP/1.1\r\nHost: x\r\n\r\n", "m 1\n", "HTTP/1.1 404 ", "");
	expect_answer("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "m 1\n",
		"HTTP/1.1 405 ", "");
	expect_answer("nonsense\r\n\r\n", "m 1\n", "HTTP/1.1 400 ", "");
	expect_answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", NULL, "HTTP/1.1 500 ", "");
	expect_answer("GET /metrics HT", "m 1\n", NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_found_by_the_key_that_begins_a_line),
		cmocka_unit_test(network_interfaces_are_summed_up_without_the_loopback),
		cmocka_unit_test(time_of_a_process_is_found_behind_any_name),
		cmocka_unit_test(what_is_told_is_what_is_heard),
		cmocka_unit_test(usage_of_a_full_pod_fits_into_its_frame),
		cmocka_unit_test(lies_that_are_out_of_form_are_refused),
		cmocka_unit_test(numbers_are_short_for_persons),
		cmocka_unit_test(metrics_are_in_the_format_of_prometheus),
		cmocka_unit_test(without_a_pod_there_is_the_number_of_pods),
		cmocka_unit_test(metrics_are_served_to_who_asks_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
