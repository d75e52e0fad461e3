// SPDX-License-Identifier: Apache-2.0
/* vmm_log.c: see vmm_log.h. */
#include "pod/vmm_log.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <string.h>

#define PIPE_READS 16

/* Whether one more line may be passed on. */
static bool line_count(struct vmm_log *log)
{
	if (log->passed > VMM_LOG_MAX)
		return false;
	log->passed += log->length + 1;
	if (log->passed > VMM_LOG_MAX)
		log_warning("the VMM has said more than %u MiB; no more of it is shown",
			VMM_LOG_MAX >> 20);
	return log->passed <= VMM_LOG_MAX;
}

static void line_pass(struct vmm_log *log)
{
	if (log->length == 0)
		return;
	if (!line_count(log)) {
		log->length = 0;
		return;
	}
	log->line[log->length] = '\0';
	/* The text ends at a NUL, which nobody honest writes. */
	log_sanitise(log->line);
	log->length = strlen(log->line);
	log->line[log->length++] = '\n';
	log_line(log->line, log->length);
	log->length = 0;
}

static void text_pass(struct vmm_log *log, const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool is_end = data[i] == '\n';

		if (!is_end)
			log->line[log->length++] = data[i];
		/* Room for the newline and the NUL. */
		if (is_end || log->length == sizeof(log->line) - 2)
			line_pass(log);
	}
}

void vmm_log_pass(struct vmm_log *log)
{
	char data[4096];
	ssize_t n = 0;

	/* As much as a pipe holds: one that is filled as fast as we read must not keep us. */
	for (int i = 0; log->fd >= 0 && i < PIPE_READS; i++) {
		n = read(log->fd, data, sizeof(data));
		if (n <= 0)
			break;
		text_pass(log, data, (size_t)n);
	}
	if (log->fd < 0 || n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	line_pass(log);
	vmm_log_done(log);
}

void vmm_log_done(struct vmm_log *log)
{
	cleanup_close(&log->fd);
	log->fd = -1;
}
