/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a run went, for --timing. */
#ifndef APPC_CLI_TIMING_H
#define APPC_CLI_TIMING_H

#include "pod/origin.h"
#include "pod/run.h"

/* To standard error: a table, or one line of JSON (appc-vm-run(1), TIMING). */
void cli_print_timing(
	const struct pod_timing *timing, const struct pod_origin *origin, bool as_json);

#endif
