/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of a directory tree: names, types, modes, owners, modification times, device numbers,
 * link targets, hard links, the extended attributes that images may have, and content. Equal trees
 * have equal hashes on every file system; the order of directories, inode numbers, and where holes
 * lie do not count. For a person who is not root, what its owner may not read is left out.
 */
#ifndef APPC_STORE_TREE_HASH_H
#define APPC_STORE_TREE_HASH_H

#include "base/error.h"

#define TREE_HASH_SIZE (7 + 128 + 1)

/* ret_text gets "sha512-" and 128 digits. Follows no symbolic link, crosses no mount point. */
int tree_hash(int root_dirfd, char ret_text[TREE_HASH_SIZE], struct error *err);

#endif
