// SPDX-License-Identifier: Apache-2.0
/*
 * pty.c: pseudo-terminals.
 *
 * Theory of operation: all apps' /dev/pts are mounts of one devpts, PID 1's. A terminal's name is that of the mount
 * by which its master was opened, so the app's own is used: in it ttyname(3) finds what it looks for. An app may
 * have put something else there. Then PID 1's mount serves, and the terminal has no name in the app.
 */
#include "guest-init/pty.h"

#include "base/file.h"
#include "guest-init/boot.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#define MULTIPLEXER GUEST_STAGING "/pts/ptmx"

/* The master of a new terminal, or -errno. */
static int multiplexer_open(int root_fd)
{
	const int flags = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
	_cleanup_close_ int fd = -1;
	struct stat own, st;
	int master;

	if (stat(MULTIPLEXER, &own) < 0)
		return -errno;
	/* O_PATH first: to open what is not ours may have effects. */
	fd = file_open_in_root(root_fd, "/dev/pts/ptmx", O_PATH | O_NOFOLLOW, 0);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == own.st_dev && st.st_ino == own.st_ino) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		master = open(path, flags);
		if (master >= 0)
			return master;
	}
	master = open(MULTIPLEXER, flags);
	return master < 0 ? -errno : master;
}

/* #syscalls: ioctl fchown */
int guest_pty_open(int root_fd, uid_t uid, struct guest_pty_size size, int *ret_master,
	int *ret_terminal, struct error *err)
{
	_cleanup_close_ int master = multiplexer_open(root_fd), terminal = -1;
	int unlock = 0;

	if (master < 0)
		return error_set_errno(err, master, "make a terminal");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return error_set_errno(err, -errno, "unlock a terminal");
	terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0)
		return error_set_errno(err, -errno, "open a terminal");
	/* The group, tty, comes from the mount. */
	if (uid != 0 && fchown(terminal, uid, (gid_t)-1) < 0)
		return error_set_errno(err, -errno, "give a terminal to its user");
	guest_pty_resize(master, size);
	*ret_master = TAKE_FD(master);
	*ret_terminal = TAKE_FD(terminal);
	return 0;
}

void guest_pty_resize(int master, struct guest_pty_size size)
{
	const struct winsize window = {.ws_row = size.rows, .ws_col = size.columns};

	if (size.rows > 0 && size.columns > 0 && ioctl(master, TIOCSWINSZ, &window) < 0)
		errno = 0;
}

int guest_pty_end_character(int master)
{
	struct termios settings;

	/* Of a master these are the terminal's. A program that reads keys by itself takes the same one for the end. */
	if (tcgetattr(master, &settings) < 0 || settings.c_cc[VEOF] == _POSIX_VDISABLE)
		return -1;
	return settings.c_cc[VEOF];
}
