/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a machine until it is parked: what booting a template and parking a pod's apps have in common.
 *
 * While it lasts the stop signals are watched, not taken: one ends the wait, and does what it would have
 * done when parking_end() gives the old mask back and all is cleaned up.
 */
#ifndef APPC_POD_PARKING_H
#define APPC_POD_PARKING_H

#include "pod/flavour.h"
#include "vmm/template.h"

#include <signal.h>

struct parking {
	const struct template_subject *subject; /* whom it is for, to tell of it */
	const char *doing; /* "booting", to be told with "a template for ..." */
	int limit_ms;      /* the machine is parked by then, or will not be */

	/* parking.c's own */
	int signal_fd;
	sigset_t old_signals;
	int old_patience;  /* of messages: log_set_patience() */
	unsigned int told; /* the last second that was told of */
	bool drawn;        /* the last line on the terminal has no end yet */
};

/* 0 or -errno with a message. */
int parking_begin(struct parking *parking, struct error *err);
void parking_end(struct parking *parking);

/* For template_build_begin(), with a struct parking. */
int parking_tell_waiting(void *context, unsigned int seconds);
/* Ends a line of progress on the terminal. */
void parking_end_line(struct parking *parking);

/*
 * Runs the machine of these options, which have a place to park it. What takes longer than a second is told on
 * standard error. 0: it is parked. -EINTR: a stop signal came. -errno with the reason otherwise.
 */
int parking_run(struct parking *parking, const struct flavour_options *options, struct error *err);

#endif
