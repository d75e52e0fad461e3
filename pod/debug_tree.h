/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug trees: what a person finds who comes into a pod by ssh. An ssh server, a shell and the tools around it, file
 * transfer and tracing, with the libraries that they need: copies of what Debian's packages have installed on the host.
 *
 *   DATA/debug/sha256-ID   a tree, whose content the name is the digest of; complete, and never changed
 *   DATA/debug/of-ID       symbolic link to the tree that was made of such files of the host, by their names and times
 *
 * DATA/debug is mounted, read-only, in the tree of every pod, where guest-init alone sees it: a tree that is made after
 * the pod was started is there all the same, and nobody has to mount it. Who uses a tree holds a lock on DATA/debug meanwhile or is a running
 * pod, or a checkpoint of one, that has its name written down.
 */
#ifndef APPC_POD_DEBUG_TREE_H
#define APPC_POD_DEBUG_TREE_H

#include "base/error.h"

#include <stddef.h>

/* "sha256-", 64 hexadecimal digits, NUL */
#define DEBUG_TREE_NAME_SIZE 72

/* Opens DATA/debug, making it. The fd or -errno. */
int debug_trees_open(int data_dirfd);

/*
 * The tree of what the host has installed now; it is made where there is none yet. -ENOPKG with a message that
 * names the packages: something is not installed. As long as *ret_lock_fd is open the tree is not collected.
 */
int debug_tree_get(
	int data_dirfd, char name[DEBUG_TREE_NAME_SIZE], int *ret_lock_fd, struct error *err);

/*
 * Writes a tree's name into the list of a pod's directory (POD_DEBUG_TREE), where it is not there yet. The names of earlier
 * connections stay, which may go on, and so do those that others add at the same moment. 0 or -errno.
 */
int debug_tree_note_use(int pod_fd, const char *name);

/*
 * Removes all trees that are not among used, as list() gives them when no tree can come into use any more: names, in
 * an array that is freed with pods_strings_free(). *ret_removed is added to.
 */
int debug_trees_collect(int data_dirfd,
	int (*list)(void *context, char ***ret_names, size_t *ret_count, struct error *err),
	void *context, size_t *ret_removed, struct error *err);

/*
 * The paths of libraries in what the dynamic linker says to --list, one after the other: each begins at *text, is
 * copied to path and moves *text on. 1; 0: there are no more; -ENOENT: one was not found, path is its name; -ENAMETOOLONG.
 */
int debug_tree_next_library(const char **text, char *path, size_t size);

#endif
