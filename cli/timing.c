// SPDX-License-Identifier: Apache-2.0
/* timing.c: where the time went, as a table or as JSON. */
#include "cli/timing.h"

#include "base/json.h"

#include <inttypes.h>

static json_t *milliseconds_json(int64_t nanoseconds)
{
	int64_t microseconds = nanoseconds / 1000;

	return nanoseconds < 0 ? json_null() : json_real((double)microseconds / 1000.0);
}

static json_t *count_json(int64_t count)
{
	return count < 0 ? json_null() : json_integer(count);
}

/* The events in their order, as they are called in the output. */
static const struct {
	enum machine_event event;
	const char *name, *title;
} timing_events[] = {
	{MACHINE_EVENT_RUN, "setup", "first guest instruction"},
	{MACHINE_EVENT_INIT, "to_init", "guest-init"},
	{MACHINE_EVENT_READY, "to_ready", "ready for a pod"},
	{MACHINE_EVENT_CONFIGURED, "to_configured", "configured"},
	{MACHINE_EVENT_TREE, "to_tree", "first root filesystem"},
	{MACHINE_EVENT_APP_EXEC, "to_first_app_exec", "first app's exec"},
	{MACHINE_EVENT_OUTPUT, "to_first_output", "first output"},
	{MACHINE_EVENT_NOW, "total", "end"},
};

static json_t *timing_json(const struct pod_timing *timing, const struct pod_origin *origin)
{
	json_t *ms = json_object(), *counts = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(timing_events); i++) {
		enum machine_event event = timing_events[i].event;

		json_object_set_new(
			ms, timing_events[i].name, milliseconds_json(timing->at[event]));
		if (event != MACHINE_EVENT_RUN)
			json_object_set_new(counts, timing_events[i].name,
				count_json(timing->instructions[event]));
	}
	return json_pack("{s:s, s:s*, s:b, s:b, s:i, s:I, s:o, s:o, s:o}", "flavour",
		flavour_name(timing->flavour), "template", *origin->key ? origin->key : NULL,
		"template_built", origin->was_built, "warm", origin->is_warm, "vcpus",
		(int)timing->vcpus, "memory_mib", (json_int_t)(timing->memory >> 20), "ms", ms,
		"guest_kernel_instructions", counts, "vmm_rss_kib",
		count_json(timing->resident_kib));
}

static void print_timing_row(const char *what, int64_t nanoseconds, int64_t instructions)
{
	char ms[32] = "-", count[32] = "-";

	if (nanoseconds >= 0)
		snprintf(ms, sizeof(ms), "%.1f", (double)nanoseconds / 1e6);
	if (instructions >= 0)
		snprintf(count, sizeof(count), "%.1f", (double)instructions / 1e3);
	fprintf(stderr, "  %-24s %10s %14s\n", what, ms, count);
}

void cli_print_timing(
	const struct pod_timing *timing, const struct pod_origin *origin, bool as_json)
{
	if (as_json) {
		_cleanup_json_ json_t *json = timing_json(timing, origin);

		if (json)
			json_dumpf(json, stderr,
				JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
		fputc('\n', stderr);
		return;
	}
	if (timing->flavour == FLAVOUR_VM)
		fprintf(stderr,
			"%u vCPUs, %" PRIu64 " MiB; %s; the VMM itself takes %" PRId64 " KiB\n",
			timing->vcpus, timing->memory >> 20,
			origin->is_warm        ? "from its own parked state"
				: *origin->key ? "from a template"
					       : "booted",
			timing->resident_kib);
	fprintf(stderr, "  %-24s %10s %14s\n", "from the start to", "ms", "k guest kernel");
	fprintf(stderr, "  %-24s %10s %14s\n", "", "", "instructions");
	for (size_t i = 0; i < ARRAY_SIZE(timing_events); i++)
		print_timing_row(timing_events[i].title, timing->at[timing_events[i].event],
			timing_events[i].event == MACHINE_EVENT_RUN
				? -1
				: timing->instructions[timing_events[i].event]);
}
