/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of a session (wire/session.h). One that enters an app makes a process beside those of the app, with our
 * standard streams for its own.
 */
#ifndef APPC_POD_ENTER_H
#define APPC_POD_ENTER_H

#include "pod/pod.h"

struct pod_enter_options {
	const char *app;          /* NULL: the pod's only one */
	char *const *exec;        /* NULL-terminated; empty: a shell */
	const char *user, *group; /* NULL: the app's */
	bool has_terminal; /* it gets one of its own; ours, if it is one, passes each key on */
};

/*
 * Runs it to its end. *ret_status is its exit status, 128 + n for signal n. Signals that we get are passed on to its
 * process group; when we are killed, or it writes what nobody reads any more, it is killed. So is one that has not ended
 * 15 s after SIGHUP, SIGTERM or the end of our standard output's reader: then *ret_status is 128 + that signal, or
 * 128 + SIGPIPE. -errno with a message where it has no status: it could not be made, or its app has ended; -ETIMEDOUT:
 * the pod did not let us in within 30 s.
 */
int pod_enter(struct pod *pod, const struct pod_enter_options *options, int *ret_status,
	struct error *err);

#endif
