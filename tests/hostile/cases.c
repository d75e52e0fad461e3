// SPDX-License-Identifier: Apache-2.0
/* cases.c: the table of all cases. */
#include "tests/hostile/cases.h"

#include "tests/hostile/functions.h"

#define CASE_ENTRY(group, function, flags, what) {group, #function, case_##function, flags, what},
#ifdef HOSTILE_METAL
#define METAL_ENTRY CASE_ENTRY
#else
#define METAL_ENTRY(group, function, flags, what)
#endif

const struct hostile_case hostile_cases[] = {HOSTILE_CASES(CASE_ENTRY, METAL_ENTRY)};
const size_t hostile_case_count = sizeof(hostile_cases) / sizeof(hostile_cases[0]);
