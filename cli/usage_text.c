// SPDX-License-Identifier: Apache-2.0
/* usage_text.c: see usage_text.h. */
#include "cli/usage_text.h"

#include "base/json.h"
#include "cli/table.h"

#include <inttypes.h>
#include <string.h>

#define SHORT_UUID 8

/* ---- pieces */

void usage_format_bytes(uint64_t bytes, char *text)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes > INT64_MAX) {
		snprintf(text, USAGE_TEXT_SIZE, "-");
		return;
	}
	/* What would be rounded to 1024 is one of the next. */
	while (value >= (unit ? 1023.95 : 1024) && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(text, USAGE_TEXT_SIZE, "%.*f%s", unit ? 1 : 0, value, units[unit]);
}

void usage_format_time(uint64_t microseconds, char *text)
{
	if (microseconds > INT64_MAX)
		snprintf(text, USAGE_TEXT_SIZE, "-");
	else
		snprintf(text, USAGE_TEXT_SIZE, "%" PRIu64 ".%02us", microseconds / 1000000,
			(unsigned int)(microseconds % 1000000 / 10000));
}

void usage_format_share(uint64_t before, uint64_t now, int64_t elapsed, char *text)
{
	/* Who counts backwards, a guest that lies or a process that is another one, has no share. */
	if (before > INT64_MAX || now > INT64_MAX || now < before || elapsed <= 0)
		snprintf(text, USAGE_TEXT_SIZE, "-");
	else
		snprintf(text, USAGE_TEXT_SIZE, "%.1f",
			(double)(now - before) * 1000 * 100 / (double)elapsed);
}

void usage_print_label(const char *value, FILE *file)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			putc('\\', file);
		if (*value == '\n')
			fputs("\\n", file);
		else
			putc(*value, file);
	}
}

/* ---- the table */

static const char *const titles[] = {"UUID", "APP", "FROM", "CPU%", "CPU", "MEMORY", "LIMIT",
	"TASKS", "READ", "WRITTEN", "RECEIVED", "SENT"};

static const struct pod_usage *find_pod(const struct pod_usages *usages, const char *uuid)
{
	for (size_t i = 0; usages && i < usages->count; i++)
		if (!strcmp(usages->items[i]->uuid, uuid))
			return usages->items[i];
	return NULL;
}

static const struct wire_usage *find_app(const struct pod_usage *usage, const char *name)
{
	for (size_t i = 0; usage && usage->has_guest && i < usage->guest.app_count; i++)
		if (!strcmp(usage->guest.apps[i].name, name))
			return &usage->guest.apps[i].usage;
	return NULL;
}

static void add_bytes(
	struct cli_table *table, const struct wire_usage *usage, enum wire_usage_kind kind)
{
	char text[USAGE_TEXT_SIZE];

	usage_format_bytes(usage->values[kind], text);
	cli_table_add(table, "%s", text);
}

/* What is charged, or where nobody is charged what is resident. */
static enum wire_usage_kind memory_kind(const struct wire_usage *usage)
{
	return usage->values[WIRE_USAGE_MEMORY] == WIRE_USAGE_UNKNOWN ? WIRE_USAGE_RESIDENT
								      : WIRE_USAGE_MEMORY;
}

static void add_numbers(struct cli_table *table, const struct wire_usage *before,
	const struct wire_usage *now, int64_t elapsed)
{
	uint64_t tasks = now->values[WIRE_USAGE_TASKS];
	char text[USAGE_TEXT_SIZE];

	usage_format_share(before ? before->values[WIRE_USAGE_CPU] : WIRE_USAGE_UNKNOWN,
		now->values[WIRE_USAGE_CPU], elapsed, text);
	cli_table_add(table, "%s", text);
	usage_format_time(now->values[WIRE_USAGE_CPU], text);
	cli_table_add(table, "%s", text);
	add_bytes(table, now, memory_kind(now));
	add_bytes(table, now, WIRE_USAGE_MEMORY_LIMIT);
	if (tasks == WIRE_USAGE_UNKNOWN)
		cli_table_add(table, "-");
	else
		cli_table_add(table, "%" PRIu64, tasks);
	add_bytes(table, now, WIRE_USAGE_READ);
	add_bytes(table, now, WIRE_USAGE_WRITTEN);
	add_bytes(table, now, WIRE_USAGE_RECEIVED);
	add_bytes(table, now, WIRE_USAGE_SENT);
}

static void add_subject(
	struct cli_table *table, const char *uuid, const char *app, const char *source)
{
	cli_table_add(table, "%.*s", SHORT_UUID, uuid);
	cli_table_add(table, "%s", app);
	cli_table_add(table, "%s", source);
}

static void add_pod(
	struct cli_table *table, const struct pod_usage *before, const struct pod_usage *now)
{
	int64_t elapsed = before ? now->at - before->at : 0;

	if (now->has_host) {
		add_subject(table, now->uuid, "-", "host");
		add_numbers(table, before && before->has_host ? &before->host : NULL, &now->host,
			elapsed);
	}
	if (!now->has_guest)
		return;
	add_subject(table, now->uuid, "-", "guest");
	add_numbers(table, before && before->has_guest ? &before->guest.pod : NULL, &now->guest.pod,
		elapsed);
	for (size_t i = 0; i < now->guest.app_count; i++) {
		const struct wire_app_usage *app = &now->guest.apps[i];

		add_subject(table, now->uuid, app->name, "guest");
		add_numbers(table, find_app(before, app->name), &app->usage, elapsed);
	}
}

int usage_print_table(
	struct cli *cli, const struct pod_usages *before, const struct pod_usages *now)
{
	_cleanup_table_ struct cli_table table = {.columns = ARRAY_SIZE(titles)};

	for (size_t i = 0; i < ARRAY_SIZE(titles); i++)
		cli_table_add(&table, "%s", titles[i]);
	for (size_t i = 0; i < now->count; i++)
		add_pod(&table, find_pod(before, now->items[i]->uuid), now->items[i]);
	return cli_table_print(cli, &table);
}

/* ---- JSON */

static json_t *pod_object(const struct pod_usage *usage)
{
	json_t *object = json_pack("{s:s, s:o, s:o}", "uuid", usage->uuid, "host",
		usage->has_host ? wire_usage_json(&usage->host) : json_null(), "guest",
		usage->has_guest ? wire_pod_usage_json(&usage->guest) : json_null());

	if (usage->flavour)
		json_object_set_new(object, "flavour", json_string(usage->flavour));
	if (usage->started_at > 0)
		json_object_set_new(
			object, "started_at", json_integer(usage->started_at / 1000000000));
	return object;
}

json_t *usage_json(const struct pod_usages *usages)
{
	uint64_t failures = json_failures();
	json_t *array = json_array();

	for (size_t i = 0; i < usages->count; i++)
		json_array_append_new(array, pod_object(usages->items[i]));
	if (json_failures() == failures)
		return array;
	json_decref(array);
	return NULL;
}

/* ---- metrics */

enum unit { UNIT_NUMBER, UNIT_SECONDS };

static const struct {
	const char *name; /* behind the scope; a counter's ends in _total */
	enum unit unit;
	bool grows;
	const char *help;
} families[WIRE_USAGE_KINDS] = {
	[WIRE_USAGE_CPU] = {"cpu_seconds_total", UNIT_SECONDS, true, "CPU time"},
	[WIRE_USAGE_CPU_USER] = {"cpu_user_seconds_total", UNIT_SECONDS, true,
		"CPU time in user mode"},
	[WIRE_USAGE_CPU_SYSTEM] = {"cpu_system_seconds_total", UNIT_SECONDS, true,
		"CPU time in the kernel"},
	[WIRE_USAGE_THROTTLED] = {"cpu_throttled_seconds_total", UNIT_SECONDS, true,
		"Time in which the CPU limit kept it from running"},
	[WIRE_USAGE_MEMORY] = {"memory_bytes", UNIT_NUMBER, false, "Memory with page cache"},
	[WIRE_USAGE_MEMORY_PEAK] = {"memory_peak_bytes", UNIT_NUMBER, false,
		"The most memory so far"},
	[WIRE_USAGE_MEMORY_ANONYMOUS] = {"memory_anonymous_bytes", UNIT_NUMBER, false,
		"Memory that no file backs"},
	[WIRE_USAGE_MEMORY_LIMIT] = {"memory_limit_bytes", UNIT_NUMBER, false,
		"Memory that it may have"},
	[WIRE_USAGE_RESIDENT] = {"resident_bytes", UNIT_NUMBER, false,
		"Resident memory of its processes"},
	[WIRE_USAGE_OOM_KILLS] = {"oom_kills_total", UNIT_NUMBER, true,
		"Processes that were killed at the memory limit"},
	[WIRE_USAGE_TASKS] = {"tasks", UNIT_NUMBER, false, "Processes and threads"},
	/* No counters: what a process did goes with it, where it was guest-init that waited for it. */
	[WIRE_USAGE_READ] = {"read_bytes", UNIT_NUMBER, false,
		"Bytes that the processes it has now have read, of whatever"},
	[WIRE_USAGE_WRITTEN] = {"written_bytes", UNIT_NUMBER, false,
		"Bytes that the processes it has now have written, to whatever"},
	[WIRE_USAGE_RECEIVED] = {"network_received_bytes_total", UNIT_NUMBER, true,
		"Bytes received by network interfaces"},
	[WIRE_USAGE_RECEIVED_PACKETS] = {"network_received_packets_total", UNIT_NUMBER, true,
		"Packets received by network interfaces"},
	[WIRE_USAGE_RECEIVED_DROPS] = {"network_received_drops_total", UNIT_NUMBER, true,
		"Packets not received by network interfaces"},
	[WIRE_USAGE_SENT] = {"network_sent_bytes_total", UNIT_NUMBER, true,
		"Bytes sent by network interfaces"},
	[WIRE_USAGE_SENT_PACKETS] = {"network_sent_packets_total", UNIT_NUMBER, true,
		"Packets sent by network interfaces"},
	[WIRE_USAGE_SENT_DROPS] = {"network_sent_drops_total", UNIT_NUMBER, true,
		"Packets not sent by network interfaces"},
};

enum scope { SCOPE_HOST, SCOPE_GUEST, SCOPE_APP, SCOPES };

static const struct {
	const char *prefix, *help;
} scopes[SCOPES] = {
	[SCOPE_HOST] = {"appc_vm_host_", " (a pod's VMM or container, as the host counts)"},
	[SCOPE_GUEST] = {"appc_vm_guest_", " (a pod's machine, as its guest says)"},
	[SCOPE_APP] = {"appc_vm_app_", " (an app, as its guest says)"},
};

static void print_head(const char *prefix, const char *name, const char *type, FILE *file,
	const char *help, const char *whose)
{
	fprintf(file, "# HELP %s%s %s%s\n# TYPE %s%s %s\n", prefix, name, help, whose, prefix, name,
		type);
}

static void print_labels(const char *uuid, const char *app, FILE *file)
{
	fputs("{uuid=\"", file);
	usage_print_label(uuid, file);
	if (app) {
		fputs("\",app=\"", file);
		usage_print_label(app, file);
	}
	fputs("\"}", file);
}

/* Whether a line was printed. */
static bool print_sample(enum scope scope, enum wire_usage_kind kind, const char *uuid,
	const char *app, const struct wire_usage *usage, bool is_first, FILE *file)
{
	uint64_t value = usage->values[kind];

	if (value > INT64_MAX)
		return false;
	if (is_first)
		print_head(scopes[scope].prefix, families[kind].name,
			families[kind].grows ? "counter" : "gauge", file, families[kind].help,
			scopes[scope].help);
	fprintf(file, "%s%s", scopes[scope].prefix, families[kind].name);
	print_labels(uuid, app, file);
	if (families[kind].unit == UNIT_SECONDS)
		fprintf(file, " %" PRIu64 ".%06u\n", value / 1000000,
			(unsigned int)(value % 1000000));
	else
		fprintf(file, " %" PRIu64 "\n", value);
	return true;
}

/* One family has its lines together, of all pods. */
static void print_family(
	enum scope scope, enum wire_usage_kind kind, const struct pod_usages *usages, FILE *file)
{
	bool any = false;

	for (size_t i = 0; i < usages->count; i++) {
		const struct pod_usage *pod = usages->items[i];

		if (scope == SCOPE_HOST && pod->has_host)
			any |= print_sample(scope, kind, pod->uuid, NULL, &pod->host, !any, file);
		if (scope == SCOPE_GUEST && pod->has_guest)
			any |= print_sample(
				scope, kind, pod->uuid, NULL, &pod->guest.pod, !any, file);
		for (size_t k = 0; scope == SCOPE_APP && pod->has_guest && k < pod->guest.app_count;
			k++)
			any |= print_sample(scope, kind, pod->uuid, pod->guest.apps[k].name,
				&pod->guest.apps[k].usage, !any, file);
	}
}

static void print_about_pods(const struct pod_usages *usages, FILE *file)
{
	print_head("appc_vm_", "pods", "gauge", file, "Running pods", "");
	fprintf(file, "appc_vm_pods %zu\n", usages->count);
	if (usages->count == 0)
		return;
	print_head("appc_vm_", "pod_info", "gauge", file, "What a running pod is; always 1", "");
	for (size_t i = 0; i < usages->count; i++) {
		fputs("appc_vm_pod_info{uuid=\"", file);
		usage_print_label(usages->items[i]->uuid, file);
		fputs("\",flavour=\"", file);
		usage_print_label(usages->items[i]->flavour ? usages->items[i]->flavour : "", file);
		fputs("\"} 1\n", file);
	}
	print_head("appc_vm_", "pod_start_time_seconds", "gauge", file,
		"When a pod was started, since 1970", "");
	for (size_t i = 0; i < usages->count; i++) {
		fputs("appc_vm_pod_start_time_seconds", file);
		print_labels(usages->items[i]->uuid, NULL, file);
		fprintf(file, " %" PRId64 "\n", usages->items[i]->started_at / 1000000000);
	}
	print_head("appc_vm_", "pod_guest_up", "gauge", file,
		"Whether the guest of a pod has answered", "");
	for (size_t i = 0; i < usages->count; i++) {
		fputs("appc_vm_pod_guest_up", file);
		print_labels(usages->items[i]->uuid, NULL, file);
		fprintf(file, " %d\n", usages->items[i]->has_guest);
	}
}

static void print_about_apps(const struct pod_usages *usages, FILE *file)
{
	bool any = false;

	for (size_t i = 0; i < usages->count; i++) {
		const struct pod_usage *pod = usages->items[i];

		for (size_t k = 0; pod->has_guest && k < pod->guest.app_count; k++) {
			if (!any)
				print_head("appc_vm_", "app_running", "gauge", file,
					"Whether an app runs, as its guest says", "");
			any = true;
			fputs("appc_vm_app_running", file);
			print_labels(pod->uuid, pod->guest.apps[k].name, file);
			fprintf(file, " %d\n", pod->guest.apps[k].is_running);
		}
	}
}

int usage_print_metrics(const struct pod_usages *usages, FILE *file)
{
	print_about_pods(usages, file);
	print_about_apps(usages, file);
	for (enum scope scope = 0; scope < SCOPES; scope++)
		for (enum wire_usage_kind kind = 0; kind < WIRE_USAGE_KINDS; kind++)
			print_family(scope, kind, usages, file);
	return fflush(file) != 0 || ferror(file) ? -EIO : 0;
}
