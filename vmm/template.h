/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates: parked machines on disk (vmm/machine.h), so that nobody boots twice.
 *
 *   TEMPLATES/KEY/memory       RAM, a sparse file that pods map privately
 *   TEMPLATES/KEY/state        header, the sections of base/state.h, and a SHA-512 of it all
 *   TEMPLATES/KEY/info         JSON: what it was made from, and when
 *   TEMPLATES/KEY/pod/         what a parked pod had written to its own tree (pod/park.h)
 *   TEMPLATES/digests/DEV-INO  the content digest of a kernel or guest-init, by the file's identity
 *   TEMPLATES/KEY.lock         locked (flock) while KEY is built; means nothing else
 *   TEMPLATES/.tmp-KEY-*       KEY in the making; nobody's when KEY.lock is not locked
 *   TEMPLATES/.dead-*          being removed
 *
 * A key is a digest of everything that the state depends on. A template appears by rename, whole or
 * not at all, after its files are on disk. It is never changed; removing one does not disturb
 * machines that run from it. It was used last when its directory was modified last. Damage is found
 * when it is opened: the state by its checksum, the memory file by size, inode number and times,
 * which the state records; templates_verify() reads the memory as well.
 *
 * Nothing here is for several threads at once; any number of processes may share a directory.
 */
#ifndef APPC_VMM_TEMPLATE_H
#define APPC_VMM_TEMPLATE_H

#include "base/error.h"
#include "virtio/fs/fs.h"
#include "virtio/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TEMPLATE_KEY_SIZE 65      /* 64 hexadecimal digits and a NUL */
#define TEMPLATE_STATE    "state" /* in its directory: the state, with a checksum */

/* Bounds that each new template keeps, and `gc` by default: the least recently used go first. */
#define TEMPLATES_COUNT_MAX 16
#define TEMPLATES_BYTES_MAX (8ull << 30) /* disk space */

/* What a key is made from, beside the host's CPU and kind of KVM. Borrowed. */
struct template_subject {
	int kernel_fd, init_fd;
	unsigned int vcpus;
	uint64_t memory; /* bytes */
	bool shared;     /* the tree has subtrees that others change too: another FUSE session */
	enum virtio_fs_dax dax;
	enum virtio_net_kind net_kind;
	bool kernel_messages;
	const char *extra_command_line; /* may be NULL */
	const char *pod;                /* digest of the pod whose apps are parked; NULL: none */
	/*
	 * It is never made again from kernel and guest-init, whose fds are not there then: what pod names is in the
	 * machine's memory.
	 */
	bool is_whole;
};

struct templates;

/*
 * Opens or creates the directory. -errno with a message; -EPERM: somebody else owns it or can write
 * it, and could give our pods another kernel.
 */
int templates_open(int dirfd, const char *path, struct templates **ret, struct error *err);
void templates_close(struct templates *templates); /* may be NULL */

/*
 * They are not to be had again: a damaged one stays where it is, and none goes by itself for the sake of the
 * bounds. noun is what messages call them instead of "template", a constant.
 */
void templates_keep(struct templates *templates, const char *noun);

/*
 * Opens /dev/kvm for the CPU's features. The contents of kernel and guest-init are read once only,
 * as long as the files are not changed. -errno with a message.
 */
int template_key(struct templates *templates, const struct template_subject *subject,
	char ret_key[TEMPLATE_KEY_SIZE], struct error *err);

/* clang-format off */
struct template {
	int directory_fd, memory_fd;
	void *state; /* the sections, checked against their checksum */
	size_t state_size;
};
/* clang-format on */
#define TEMPLATE_NONE ((struct template){.directory_fd = -1, .memory_fd = -1})

/*
 * Opens a template and marks it used. -ENOENT: there is none, no message. -EBADMSG, with a message:
 * it was damaged, or of another version, and has been removed, or somebody builds it anew already.
 * Other errors, with a message, say nothing about the template.
 */
int template_open(
	struct templates *templates, const char *key, struct template *ret, struct error *err);
void template_close(struct template *template);

/* A template in the making: a temporary directory that vanishes unless it is committed. */
struct template_builder {
	struct templates *templates;
	char key[TEMPLATE_KEY_SIZE];
	char name[TEMPLATE_KEY_SIZE + 32];              /* of the temporary directory */
	int lock_fd, directory_fd, memory_fd, state_fd; /* memory and state are empty files */
};
#define TEMPLATE_BUILDER_NONE       \
	((struct template_builder){ \
		.lock_fd = -1, .directory_fd = -1, .memory_fd = -1, .state_fd = -1})

/*
 * Begins to build. Only one process builds a key; another one's build is waited for when wait is
 * set, progress being told several times a second by tell(context, seconds), which may return
 * non-zero to give up (-ECANCELED). -EEXIST: there is one, a good one. -EAGAIN: somebody is
 * building it and wait is not set. *ret is set on success only. A process that inherits lock_fd
 * keeps the build alive.
 */
int template_build_begin(struct templates *templates, const char *key, bool wait,
	int (*tell)(void *context, unsigned int seconds), void *context,
	struct template_builder *ret, struct error *err);

/*
 * Writes the state file, after the memory file is complete, and puts both on disk. For the process
 * that has the machine: needs the two fds only, no path. -errno with a message.
 */
int template_write_state(int state_fd, int memory_fd, const char *key, const void *state,
	size_t state_size, struct error *err);

/*
 * The template becomes visible, instead of one of this key that may be there. What the caller put
 * into the directory beside memory and state, and onto disk, goes with it. Keeps the bounds. Ends
 * the builder in any case. -errno with a message; -EBADMSG: template_write_state() was not done, or
 * not on these files.
 */
int template_build_commit(struct template_builder *builder, const struct template_subject *subject,
	struct error *err);
/* The opposite. Also for a builder that has ended, or TEMPLATE_BUILDER_NONE. */
void template_build_abort(struct template_builder *builder);

struct template_info {
	char key[TEMPLATE_KEY_SIZE];
	int64_t created_at, used_at; /* nanoseconds since 1970 */
	uint64_t bytes;              /* on disk */
	unsigned int vcpus;          /* this and the rest are 0 where "info" does not tell */
	uint64_t memory;
	bool shared, is_pod;
};

/* All templates, the most recently used first; the caller frees *ret. */
int templates_list(struct templates *templates, struct template_info **ret, size_t *ret_count,
	struct error *err);
/* key may be a prefix of at least 4 digits. -ENOENT, -EEXIST (ambiguous), with a message. */
int templates_find(struct templates *templates, const char *prefix, char ret_key[TEMPLATE_KEY_SIZE],
	struct error *err);
/* -ENOENT with a message: there is none. */
int templates_remove(struct templates *templates, const char *key, struct error *err);
/*
 * Reads all of a template, memory too. -EBADMSG with a message when it is damaged; it stays where
 * it is. -ENOENT with a message.
 */
int templates_verify(struct templates *templates, const char *key, struct error *err);

/*
 * Removes what killed builders left, and the least recently used templates until both bounds hold.
 * *ret_removed, where it is wanted, counts templates.
 */
int templates_collect(struct templates *templates, size_t count_max, uint64_t bytes_max,
	size_t *ret_removed, struct error *err);

/* An "info" file, not to be trusted: fills created_at, vcpus, memory, shared and is_pod. -EBADMSG. */
int template_info_parse(const char *text, size_t length, struct template_info *ret);

#endif
