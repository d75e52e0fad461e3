/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of the process that runs a mutable pod about its apps, through its socket (pod/request.h):
 *
 *   {"type": "app", "action": "add", "app": {...}}   the app as in a pod manifest ("RuntimeApp"). Its volumes are in
 *                                                    its mounts ("appVolume"), its image is in the store
 *   {"type": "app", "action": "start", "app": NAME}  answered when it has been executed, and has said that it
 *                                                    is ready where it does; who asks before waits with the first
 *   {"type": "app", "action": "stop", "app": NAME}   SIGTERM, then SIGKILL; answered when it has ended. To ask again
 *                                                    hastens nothing
 *   {"type": "app", "action": "rm", "app": NAME}     the same first, where it runs; from then on it cannot be started.
 *                                                    Answered when nothing is left of it
 *
 * The answer is "ok", or "refused" with the reason. Each is done whole or not at all, whatever becomes of who asked.
 *
 * Functions return 0 or -errno with a message.
 */
#ifndef APPC_POD_APP_REQUEST_H
#define APPC_POD_APP_REQUEST_H

#include "appc/manifest.h"
#include "pod/pod.h"

enum app_action { APP_ADD, APP_START, APP_STOP, APP_RM };
#define APP_ACTIONS 4

struct app_request {
	enum app_action action;
	const char *app;                    /* borrowed of the message; NULL: see manifest */
	struct appc_pod_manifest *manifest; /* of APP_ADD: has this one app; owned */
};

/*
 * Reads a request. -EINVAL: it is none. *ret is to be cleared in every case.
 */
int app_request_parse(json_t *message, struct app_request *ret, struct error *err);
void app_request_clear(struct app_request *request);

/* Asks, and waits until it is done. With APP_ADD app is the JSON of one, else a string; borrowed. */
int app_request_ask(const struct pod *pod, enum app_action action, json_t *app, struct error *err);

#endif
