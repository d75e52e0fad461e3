/* SPDX-License-Identifier: Apache-2.0 */
/* What all of guest-init shares: which world it runs in and the fds that reach its resources. */
#ifndef APPC_GUEST_INIT_GUEST_H
#define APPC_GUEST_INIT_GUEST_H

#include "base/error.h"
#include "guest-init/outbox.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/*
 * The two worlds: PID 1 of a VM owns the whole machine (clock, random generator, I/O ports, every
 * kernel parameter); PID 1 of a container owns its namespaces and must leave the rest alone.
 */
struct guest {
	bool is_vm;
	bool has_ports; /* port.h */
	int control_fd, stream_fd, epoll_fd;
	struct guest_outbox outbox;
	int devices_fd; /* devtmpfs, VM only */
	int null_fd;    /* /dev/null, standard input of apps that have no other */
	bool has_mqueue;
	int proc_fd;                     /* proc without the mounts that protect it from apps */
	int tree_fd;                     /* O_PATH, WIRE_TREE */
	int random_fd;                   /* /dev/random, VM only */
	int etc_fds[WIRE_ETC_FILES];     /* files that appear in the apps' /etc, to be written */
	char *etc_pages[WIRE_ETC_FILES]; /* their first pages, mapped; NULL: not mapped */
	size_t etc_lengths[WIRE_ETC_FILES];
	const char *hosts_entries; /* of the configure message; NULL: none */
	rlim_t files_max;          /* RLIMIT_NOFILE */
	int cgroup_fd;             /* directory that holds the apps' cgroups; -1: no cgroups here */
	bool cgroup_is_bound;      /* it is one more, which has the limits of the pod */
	unsigned int warned;
};

/* What an epoll event is about; the index of the app or output pipe is in the upper half. */
enum guest_event {
	GUEST_EVENT_CONTROL,
	GUEST_EVENT_STREAM,
	GUEST_EVENT_SIGNAL,
	GUEST_EVENT_PIPE,
	GUEST_EVENT_CGROUP,
	GUEST_EVENT_NOTIFY,
	GUEST_EVENT_METADATA,
	GUEST_EVENT_INPUT,
	GUEST_EVENT_SESSIONS, /* a new one */
	GUEST_EVENT_SESSION,
};

/* Adds fd to the event loop. 0 or -errno. */
int guest_watch(
	const struct guest *guest, int fd, uint32_t events, enum guest_event event, uint32_t index);

/* Takes fd out of it again. */
void guest_unwatch(const struct guest *guest, int fd);

/* Monotonic time in milliseconds. */
uint64_t guest_now_ms(void);

/*
 * Secrets of this pod, derived from its entropy at no cost in the kernel: at most SHA512_SIZE bytes, others
 * for each purpose and index.
 */
void guest_secret_derive(const uint8_t entropy[WIRE_ENTROPY_SIZE], const char *purpose,
	uint32_t index, void *secret, size_t size);

/* Kinds of warning that are sent once per pod, however many apps they concern. */
enum guest_warning {
	GUEST_WARNING_ANY, /* sent each time */
	GUEST_WARNING_CGROUP,
	GUEST_WARNING_MEMORY,
	GUEST_WARNING_CPU,
	GUEST_WARNING_HOSTS,
};

void guest_warn(struct guest *guest, enum guest_warning kind, const char *format, ...)
	_printf_(3, 4);

#endif
