// SPDX-License-Identifier: Apache-2.0
/*
 * A library to preload (LD_PRELOAD) that has a thread of the VMM make a system call which no filter allows:
 * APPC_TEST_FORBIDDEN=vcpu the one that runs a vCPU, =loop the event loop. Both stand in for functions that only
 * these threads call.
 */
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_wanted(const char *thread)
{
	const char *wanted = getenv("APPC_TEST_FORBIDDEN");

	return wanted && !strcmp(wanted, thread);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == KVM_RUN && is_wanted("vcpu"))
		syscall(SYS_ptrace, -1, 0, 0, 0);
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
	if (is_wanted("loop"))
		syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	return (int)syscall(SYS_epoll_wait, fd, events, count, timeout);
}
