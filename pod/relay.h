/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's way to passt(1): a process of nobody that carries frames between a tap in the container's network
 * namespace and passt's socket. It has these two fds and nothing else, and ends with us or with passt.
 *
 * pasta, which makes the tap by itself, has to enter the namespace for that and needs a device file that anybody may
 * open; and it cannot listen to ports below 1024 when it has given up its privileges.
 */
#ifndef APPC_POD_RELAY_H
#define APPC_POD_RELAY_H

#include "base/error.h"

#include <sys/types.h>

/* Longest frame of a tap, bytes: an IP packet of 64 KiB behind an Ethernet header. */
#define RELAY_FRAME_MAX (14u + 65535u)

/* 0 or -errno. Both fds are borrowed. */
int relay_start(int tap_fd, int socket_fd, pid_t *ret, struct error *err);

/* What the process does, until the socket's other end is gone or speaks nonsense. Both are non-blocking. */
void relay_run(int tap_fd, int socket_fd);

#endif
