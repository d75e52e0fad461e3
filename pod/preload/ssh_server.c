// SPDX-License-Identifier: Apache-2.0
/*
 * ssh_server.c: a library that is preloaded to the debug shell's server, and to nothing else.
 *
 * Theory of operation: dropbear has a server for each connection, and each seeds its random generator with 32 bytes of
 * getrandom(2) and, for kernels that have no randomness of their own, with the text of nine files of /proc. To write those
 * takes a guest kernel 870,000 instructions, a fifth of all that a connection takes where it is emulated
 * (docs/performance.md). The guest's kernel has its host's randomness, so here there are no files of /proc. The server gives its
 * sessions an environment without LD_PRELOAD, so they see /proc as it is.
 *
 * And it wants its connection's two addresses as text. Those of vsock(7) have none in its C library, and without it ends; so
 * they are shown as those of unix(7), without a name.
 */
#undef _FILE_OFFSET_BITS /* both names are defined here, with the same meaning on 64 bits */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list rest;

	if (__OPEN_NEEDS_MODE(flags)) {
		va_start(rest, flags);
		mode = va_arg(rest, mode_t);
		va_end(rest);
	}
	if (!strncmp(path, "/proc/", strlen("/proc/"))) {
		errno = ENOENT;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) __attribute__((alias("open64")));

static int address(long call, int fd, struct sockaddr *ret, socklen_t *length)
{
	const socklen_t room = *length;
	long r = syscall(call, fd, ret, length);

	if (r == 0 && room >= sizeof(ret->sa_family) && ret->sa_family == AF_VSOCK) {
		ret->sa_family = AF_UNIX;
		*length = sizeof(ret->sa_family);
	}
	return (int)r;
}

int getsockname(int fd, struct sockaddr *ret, socklen_t *length)
{
	return address(SYS_getsockname, fd, ret, length);
}

int getpeername(int fd, struct sockaddr *ret, socklen_t *length)
{
	return address(SYS_getpeername, fd, ret, length);
}
