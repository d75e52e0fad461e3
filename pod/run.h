/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: runs a prepared pod in a flavour and keeps its records.
 *
 * It speaks the control protocol with guest-init, whatever wall is between them, copies the apps'
 * output to our standard output and error, passes requests to stop on, and writes down what became
 * of each app and of the pod before it lets go of the flavour's process.
 */
#ifndef APPC_POD_RUN_H
#define APPC_POD_RUN_H

#include "pod/flavour.h"
#include "pod/network.h"
#include "pod/pod.h"
#include "pod/resolve.h"

/* Exit status of run when it is not an app's. */
#define POD_STATUS_ERROR 254

struct pod_run_options {
	enum flavour flavour;
	const char *hostname; /* NULL: appc-UUID */
	uint64_t log_size;    /* bytes of each app's log (pod/app_log.h); 0: none is kept */
	int kernel_fd; /* virtual machines only; -1: as init_fd, of what goes on from a checkpoint */
	int init_fd;
	/* Where the machine starts from; NULL: it boots. Borrowed. */
	const struct template *template;
	bool apps_are_parked; /* in the template: this pod's */
	bool continues; /* they are in the middle of something, as the pod's records say (pod/checkpoint.h) */
	/* Of a mutable pod: the resolved pod once more, to be changed, and how its apps are resolved. Borrowed. */
	struct resolved_pod *changed;
	const struct resolve_options *resolve;
	enum virtio_fs_dax dax;
	struct network_choice network;
	bool kernel_messages;
	const char *extra_command_line;
	unsigned int omitted_walls; /* of the VMM's jail (vmm/jail.h) */
	int64_t process_start;      /* CLOCK_MONOTONIC when this command began, for the timing */
};

/* Where the time went; -1: did not happen, or cannot be counted. */
struct pod_timing {
	enum flavour flavour;
	unsigned int vcpus;
	uint64_t memory;
	int64_t at
		[MACHINE_EVENTS]; /* nanoseconds since process_start; MACHINE_EVENT_NOW: the end */
	int64_t instructions[MACHINE_EVENTS];
	int64_t resident_kib;
};

/* Of a pod without one of its own; name has room for POD_HOSTNAME_SIZE. */
#define POD_HOSTNAME_SIZE 64
void pod_default_hostname(const struct pod *pod, char *name);

/*
 * Runs the pod to its end. *ret_status is the status that the pod ends with: the first failed app's, or
 * 0. A negative return: the pod did not end by itself; the message says how it did. The pod must be
 * running (pod_start()) and this process in a mount namespace of its own
 * (pod_tree_enter_namespace()). Where the machine could not start from the template, nothing has happened
 * yet, and this is to be called again without one, -ESTALE: the template is of no use; -EHOSTDOWN: the host failed.
 */
int pod_run(struct pod *pod, const struct resolved_pod *resolved, struct store *store,
	const struct pod_run_options *options, int *ret_status, struct pod_timing *ret_timing,
	struct error *err);

#endif
