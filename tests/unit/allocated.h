/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that this process has allocated: of the sanitizer, whose own header not every compiler brings. Without one it is 0:
 * under valgrind, which finds what is lost, but counts nothing for the process.
 */
#ifndef APPC_TESTS_UNIT_ALLOCATED_H
#define APPC_TESTS_UNIT_ALLOCATED_H

#include <stddef.h>

__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

static inline size_t allocated_bytes(void)
{
	return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
						       : 0;
}

#endif
