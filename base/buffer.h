/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that grows with what is put into it. */
#ifndef APPC_BASE_BUFFER_H
#define APPC_BASE_BUFFER_H

#include <stddef.h>

/*
 * Makes room for more bytes behind the first length of *buffer, which has room for *room and may be NULL with none. It
 * grows by doubling, from least on, which is not 0. The caller bounds length and more. 0 or -ENOMEM: all is as it was.
 */
int buffer_reserve(char **buffer, size_t *room, size_t length, size_t more, size_t least);

#endif
