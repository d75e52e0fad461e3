// SPDX-License-Identifier: Apache-2.0
/* signals.c: see signals.h. */
#include "base/signals.h"

void signals_add_wanted(sigset_t *set, const int *signals, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct sigaction action;

		if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(set, signals[i]);
	}
}
