/* SPDX-License-Identifier: Apache-2.0 */
/* Socket activation: sockets that an app finds open when it starts, as sd_listen_fds(3) expects them. */
#ifndef APPC_GUEST_INIT_LISTEN_H
#define APPC_GUEST_INIT_LISTEN_H

#include "base/error.h"
#include "guest-init/app_config.h"

/*
 * Opens the app's sockets on all addresses of the pod, IPv6 and IPv4 alike: those of tcp listen. *ret is an
 * array of app->socket_count fds, which the caller closes and frees (guest_listen_close()). 0 or -errno with
 * a message.
 */
int guest_listen(const struct guest_app_config *app, int **ret, struct error *err);

/* Closes and forgets them; *fds may be NULL. */
void guest_listen_close(int **fds, size_t count);

#endif
