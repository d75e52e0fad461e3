/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the directory of templates share, and nobody else: template.c has its locks and opens what is in it,
 * template_build.c adds to it, template_list.c knows all that is in it. Names are as vmm/template.h says.
 */
#ifndef APPC_VMM_TEMPLATE_PARTS_H
#define APPC_VMM_TEMPLATE_PARTS_H

#include "vmm/template.h"
#include "vmm/template_state.h"

#define LOCK_SUFFIX      ".lock"
#define TEMPORARY_PREFIX ".tmp-"
#define DEAD_PREFIX      ".dead-"

#define KEY_DIGITS (TEMPLATE_KEY_SIZE - 1)

struct templates {
	int fd;
	int digests_fd;
	bool keeps;       /* templates_keep() */
	const char *noun; /* "template" */
};

/* Returns the fd of the key's lock file, which is locked. -EAGAIN: another has it. */
int template_lock_try(const struct templates *templates, const char *key);
void template_lock_release(const struct templates *templates, const char *key, int fd);

/*
 * Opens what is in directory_fd and checks all but the memory's content. -EBADMSG with a message,
 * or an error of our own with a message. ret->directory_fd is not set.
 */
int template_load(int directory_fd, const char *key, struct template *ret,
	uint8_t ret_memory_digest[SHA512_SIZE], struct error *err);

/* The message, and the error, of a file of a template that cannot be read: -EBADMSG unless it is the host's or ours. */
int template_load_failed(struct error *err, const char *key, const char *file, int r);

/* template_open(); locked: the caller holds the key's lock. */
int template_open_and_mark(const struct templates *templates, const char *key, bool locked,
	struct template *ret, struct error *err);

/* Takes a template's name away at once, then what it named. 0 or -errno. */
int template_move_aside(const struct templates *templates, const char *name);

/* What builders of this key left; the caller holds its lock. 0 or -errno. */
int template_remove_temporaries(const struct templates *templates, const char *key);

#endif
