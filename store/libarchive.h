/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive, loaded when it is first needed. Its own headers declare what it does; a function that the store
 * uses has a line in libarchive.c.
 */
#ifndef APPC_STORE_LIBARCHIVE_H
#define APPC_STORE_LIBARCHIVE_H

#include "base/error.h"

/*
 * Loads it. What makes an object (archive_read_new() and the like) does that by itself and returns NULL where it
 * fails; who calls this before can tell why. Cheap but for the first time; from any thread. -ELIBACC: it is not there.
 */
int libarchive_load(struct error *err);

#endif
