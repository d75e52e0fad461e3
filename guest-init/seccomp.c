// SPDX-License-Identifier: Apache-2.0
/* seccomp.c: installs a filter that the host has made. */
#include "guest-init/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* #syscalls: seccomp */
int guest_seccomp_install(const struct sock_filter *program, size_t count)
{
	struct sock_fprog filter = {
		.len = (unsigned short)count,
		.filter = (struct sock_filter *)program,
	};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0 ? -errno : 0;
}

/* A socket that is never used keeps a filter as long as we live. #syscalls: socket setsockopt */
void guest_seccomp_reserve(void)
{
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = {.len = 1, .filter = &code};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
		close(fd);
}
