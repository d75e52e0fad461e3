/* SPDX-License-Identifier: Apache-2.0 */
/* Declares the function of each case. */
#ifndef APPC_TESTS_HOSTILE_FUNCTIONS_H
#define APPC_TESTS_HOSTILE_FUNCTIONS_H

#include "tests/hostile/cases.h"

#define CASE_FUNCTION(group, function, flags, what) void case_##function(void);
#ifdef HOSTILE_METAL
#define METAL_FUNCTION CASE_FUNCTION
#else
#define METAL_FUNCTION(group, function, flags, what)
#endif

HOSTILE_CASES(CASE_FUNCTION, METAL_FUNCTION)

#endif
