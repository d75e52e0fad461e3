/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMM says on its standard error: a pipe to the supervisor, who passes it on to ours. So a VMM in the hands of
 * its guest can neither read from the terminal that may be there, nor send it control characters, nor have the supervisor
 * wait for who reads ours (log_set_patience()).
 */
#ifndef APPC_POD_VMM_LOG_H
#define APPC_POD_VMM_LOG_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that are passed on, the rest is dropped: the most that an honest one may have to say of its guest's kernel, and more. */
#define VMM_LOG_MAX (32u << 20)

struct vmm_log {
	int fd;          /* the pipe's, non-blocking; -1: there is none, or its end was seen */
	char line[2048]; /* the beginning of one; a longer one is cut in pieces */
	size_t length;
	size_t passed; /* bytes */
};
#define VMM_LOG_NONE ((struct vmm_log){.fd = -1})

/* Passes on whole lines of what is there, and the rest when the VMM is gone: then it closes the pipe. */
void vmm_log_pass(struct vmm_log *log);

/* Closes the pipe. */
void vmm_log_done(struct vmm_log *log);

#endif
