// SPDX-License-Identifier: Apache-2.0
/* terminal.c: see terminal.h. */
#include "pod/terminal.h"

#include "base/cleanup.h"

#include <sys/ioctl.h>

int terminal_make_raw(struct terminal *terminal, int fd)
{
	struct termios raw;

	if (!isatty(fd))
		return 0;
	if (tcgetattr(fd, &terminal->saved) < 0)
		return -errno;
	raw = terminal->saved;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return -errno;
	terminal->fd = fd;
	return 0;
}

void terminal_restore(struct terminal *terminal)
{
	if (terminal->fd >= 0)
		tcsetattr(TAKE_FD(terminal->fd), TCSADRAIN, &terminal->saved);
}

bool terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		return false;
	*ret_rows = size.ws_row;
	*ret_columns = size.ws_col;
	return true;
}
