/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a test does what it does very often. Where that would take minutes, TURNS_DIVISOR says how many times less often:
 * under valgrind (tests/valgrind/run.sh), which looks at what each turn does, not at how many there are.
 */
#ifndef APPC_TESTS_UNIT_TURNS_H
#define APPC_TESTS_UNIT_TURNS_H

#include <stdlib.h>

static inline unsigned int turns_divisor(void)
{
	const char *text = getenv("TURNS_DIVISOR");
	unsigned long divisor = text ? strtoul(text, NULL, 10) : 1;

	return divisor > 0 ? (unsigned int)divisor : 1;
}

static inline unsigned int turns(unsigned int all)
{
	return all / turns_divisor();
}

#endif
