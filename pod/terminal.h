/* SPDX-License-Identifier: Apache-2.0 */
/* Our own terminal, while what is typed and shown there belongs to a process of the pod. */
#ifndef APPC_POD_TERMINAL_H
#define APPC_POD_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct terminal {
	int fd; /* borrowed; -1: nothing to put back */
	struct termios saved;
};
#define TERMINAL_NONE ((struct terminal){.fd = -1})

/*
 * Has each key go through as it is: no lines, no echo, no signals. Nothing happens where fd is no terminal.
 * 0 or -errno.
 */
int terminal_make_raw(struct terminal *terminal, int fd);

/* As it was before. May be called again. */
void terminal_restore(struct terminal *terminal);

/* Rows and columns; false where fd is no terminal or does not know. */
bool terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns);

#endif
