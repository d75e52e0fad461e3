/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signals.h: sets of signals to be blocked and read from a signalfd.
 */
#ifndef APPC_BASE_SIGNALS_H
#define APPC_BASE_SIGNALS_H

#include <signal.h>
#include <stddef.h>

/*
 * Adds those of signals that this process does not ignore: one that is ignored, as after nohup(1), would come all the same
 * once it is blocked.
 */
void signals_add_wanted(sigset_t *set, const int *signals, size_t count);

#endif
