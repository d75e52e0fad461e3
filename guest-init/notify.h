/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness that an app tells of itself, as sd_notify(3) does: datagrams to the socket that its NOTIFY_SOCKET names. All
 * that is listened for is READY=1. Every process of the pod can send it, and does no more harm with it than that.
 */
#ifndef APPC_GUEST_INIT_NOTIFY_H
#define APPC_GUEST_INIT_NOTIFY_H

#include <stdbool.h>

#define GUEST_NOTIFY_VARIABLE_SIZE 128

/* Opens a socket that has a name of its own in the pod. Returns its fd, and "NOTIFY_SOCKET=...", or -errno. */
int guest_notify_open(char ret_variable[GUEST_NOTIFY_VARIABLE_SIZE]);

/*
 * Takes messages that have come: a few at a time, so that who sends without end does not keep PID 1. Returns whether one
 * of them said that the app is ready.
 */
bool guest_notify_read(int fd);

#endif
