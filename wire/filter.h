/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call filter of an app that asks for no other: what pod/seccomp.c makes of no isolator at all. It is
 * written down here so that guest-init has it before it hears of an app.
 */
#ifndef APPC_WIRE_FILTER_H
#define APPC_WIRE_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

extern const struct sock_filter wire_default_filter[];
extern const size_t wire_default_filter_count;

#endif
