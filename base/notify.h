/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the service manager that started this process how it fares, as sd_notify(3) does: one datagram to the
 * socket that NOTIFY_SOCKET names.
 */
#ifndef APPC_BASE_NOTIFY_H
#define APPC_BASE_NOTIFY_H

/*
 * state: lines "NAME=value", such as "READY=1". Without a service manager nothing happens; 0 then, too. -errno: it
 * could not be told. Takes 5 s at most.
 */
int notify_manager(const char *state);

#endif
