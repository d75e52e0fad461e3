/* SPDX-License-Identifier: Apache-2.0 */
/* What pods use (pod/usage.h), as persons and programs read it. */
#ifndef APPC_CLI_USAGE_TEXT_H
#define APPC_CLI_USAGE_TEXT_H

#include "cli/cli.h"
#include "pod/usage.h"

/*
 * A table: of each pod what the host says, then what the guest says of itself and of each of its apps. before is the last
 * look, for the share of CPUs since; without it, or for what is new, that is not known.
 */
int usage_print_table(
	struct cli *cli, const struct pod_usages *before, const struct pod_usages *now);

/*
 * An array of objects: {"uuid", "flavour", "started_at": seconds since 1970, "host": {numbers}, "guest": {"pod":
 * {numbers}, "apps": [{"app", "running", numbers}]}}; host and guest are null where there was no answer. NULL: out of
 * memory.
 */
json_t *usage_json(const struct pod_usages *usages);

/*
 * The text format that Prometheus reads, version 0.0.4: families of metrics, each with HELP and TYPE, and a line for each
 * subject, told apart by the labels uuid and app. 0 or -errno of the file.
 */
int usage_print_metrics(const struct pod_usages *usages, FILE *file);

/* ---- pieces */

#define USAGE_TEXT_SIZE 24

/* "512B", "1.5KiB", "-" where it is not known. text has room for USAGE_TEXT_SIZE. */
void usage_format_bytes(uint64_t bytes, char *text);

/* "1.25s" of microseconds; "-". */
void usage_format_time(uint64_t microseconds, char *text);

/* "12.5" percent of one CPU, of microseconds used in nanoseconds of time; "-". */
void usage_format_share(uint64_t before, uint64_t now, int64_t elapsed, char *text);

/* A label's value between its quotes: backslash, quote and newline escaped. */
void usage_print_label(const char *value, FILE *file);

#endif
