/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in the texts that the kernel makes, in proc(5) and cgroups(7): decimal, up to INT64_MAX. */
#ifndef APPC_BASE_COUNTER_H
#define APPC_BASE_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

/* The number at *text, after blanks, which moves on behind it. false: there is none. */
bool counter_take(const char **text, uint64_t *ret);

/* The number behind a key that begins a line, and a blank: "usage_usec", "rchar:". false: there is none. */
bool counter_find(const char *text, const char *key, uint64_t *ret);

#endif
