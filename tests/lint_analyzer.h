/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clang 14's analyzer must be told about this project; tests/lint.sh puts it before each source.
 * It does not know that errno is positive after a failure and that error_set() returns its second
 * argument, which is negative, and so follows paths on which a function that failed "succeeded".
 * Nothing that is compiled includes this file.
 */
#ifndef APPC_TESTS_LINT_ANALYZER_H
#define APPC_TESTS_LINT_ANALYZER_H

#include "base/error.h"

#include <errno.h>

static inline int *analyzer_errno(void)
{
	int *value = __errno_location();

	if (*value <= 0)
		__builtin_unreachable();
	return value;
}
#undef errno
#define errno (*analyzer_errno())

static inline int analyzer_negative(int r)
{
	if (r >= 0)
		__builtin_unreachable();
	return r;
}
#define error_set(...)       analyzer_negative(error_set(__VA_ARGS__))
#define error_set_errno(...) analyzer_negative(error_set_errno(__VA_ARGS__))
#define error_prefix(...)    analyzer_negative(error_prefix(__VA_ARGS__))

#endif
