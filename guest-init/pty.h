/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo-terminals for the pod's processes. */
#ifndef APPC_GUEST_INIT_PTY_H
#define APPC_GUEST_INIT_PTY_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct guest_pty_size {
	uint16_t rows, columns; /* 0: unknown */
};

/*
 * A new terminal of the pod that belongs to uid and is known as /dev/pts/N below root_fd, an app's root directory.
 * Two fds, close-on-exec: the master is non-blocking. Whoever is to have the terminal as its own makes a session
 * (setsid()) and then TIOCSCTTY. 0 or -errno with a message.
 */
int guest_pty_open(int root_fd, uid_t uid, struct guest_pty_size size, int *ret_master,
	int *ret_terminal, struct error *err);

/* The window at the other end has another size; its foreground processes get SIGWINCH. */
void guest_pty_resize(int master, struct guest_pty_size size);

/* The character that ends its input when it is typed at the beginning of a line; -1: it has none. */
int guest_pty_end_character(int master);

#endif
