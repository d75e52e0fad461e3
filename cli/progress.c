// SPDX-License-Identifier: Apache-2.0
/* progress.c: the line that shows how far an import or a fetch has come. */
#include "cli/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

#define PROGRESS_AFTER_NS 1000000000ll

void cli_progress_begin(struct cli_progress *progress, const char *verb, const char *source)
{
	*progress = (struct cli_progress){
		.verb = verb,
		.source = source,
		.start = clock_monotonic(),
		.visible = isatty(STDERR_FILENO),
	};
}

void cli_progress_show(void *context, uint64_t done, uint64_t total)
{
	struct cli_progress *progress = context;
	int64_t now = clock_monotonic();

	if (!progress->visible || now - progress->start < PROGRESS_AFTER_NS ||
		now - progress->last < PROGRESS_AFTER_NS / 5)
		return;
	progress->last = now;
	progress->shown = true;
	if (total > 0)
		fprintf(stderr, "\r%s %s: %3u%%", progress->verb, progress->source,
			(unsigned int)((double)done / (double)total * 100));
	else
		fprintf(stderr, "\r%s %s: %llu MiB", progress->verb, progress->source,
			(unsigned long long)(done >> 20));
}

void cli_progress_end(struct cli_progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
