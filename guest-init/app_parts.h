/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of an app's life share, and nobody else: app.c has its states, app_setup.c makes what it has of the
 * machine and gives it back, app_process.c starts its processes.
 */
#ifndef APPC_GUEST_INIT_APP_PARTS_H
#define APPC_GUEST_INIT_APP_PARTS_H

#include "guest-init/app.h"

/* A place without an app. */
void guest_app_init(struct guest_app *app, uint32_t index, uint32_t generation);

/*
 * Makes all that needs no knowledge of the app but the capabilities that it may have at most. 0 or -errno with a
 * message.
 */
int guest_app_make_ready(
	struct guest_pod *pod, struct guest_app *app, uint64_t bounding, struct error *err);

/* Makes the second launcher of an app that is ready. Without it the app starts later, and in the same way. */
void guest_app_make_filtered(struct guest_pod *pod, struct guest_app *app);

/* Makes the rest, for the app that the place is for by now. 0 or -errno, with a message in app->error. */
int guest_app_prepare(struct guest_pod *pod, struct guest_app *app);

/* Gives back all that an app that was added had of the machine: a place without an app. It has no process. */
void guest_app_release(struct guest_pod *pod, struct guest_app *app);

/* Whether some of its streams are a terminal. */
bool guest_app_has_terminal(const struct guest_pod *pod, const struct guest_app *app);

/* Starts the main process of an app that is prepared, as app->pid. 0 or -errno, with a message in app->error. */
int guest_app_launch(struct guest_pod *pod, struct guest_app *app);

/* Starts a pre-start or post-stop handler, as app->pid. 0 or -errno with a message. */
int guest_app_launch_handler(const struct guest_pod *pod, struct guest_app *app,
	const char *const *exec, struct error *err);

#endif
