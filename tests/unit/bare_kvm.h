/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test has in the place of KVM: a program that includes this is linked with -Wl,--wrap=ioctl. Other calls of
 * ioctl(2) are made as they are.
 */
#ifndef APPC_TESTS_UNIT_BARE_KVM_H
#define APPC_TESTS_UNIT_BARE_KVM_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>

/* A request to the VM or to a vCPU: what the call returns, or -errno. */
static int (*bare_kvm)(unsigned long request, void *argument);

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;
	int r;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (_IOC_TYPE(request) != KVMIO)
		return __real_ioctl(fd, request, argument);
	r = bare_kvm(request, argument);
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

#endif
