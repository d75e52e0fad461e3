/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the supervisor share, and nobody else: run.c sets a pod up and starts its flavour, run_loop.c
 * waits and serves until the end, run_control.c talks with guest-init, run_record.c writes down and tells
 * what became of the pod, run_apps.c serves those who want something of the apps of a mutable pod.
 */
#ifndef APPC_POD_RUN_PARTS_H
#define APPC_POD_RUN_PARTS_H

#include "pod/app_request.h"
#include "pod/attach.h"
#include "pod/cgroup.h"
#include "pod/input.h"
#include "pod/metadata.h"
#include "pod/mutable.h"
#include "pod/output.h"
#include "pod/request.h"
#include "pod/run.h"
#include "pod/terminal.h"
#include "pod/vmm_log.h"
#include "wire/wire.h"

#include <limits.h>

/* Whether the pod stands still, and is saved while it does. */
enum pause_state {
	PAUSE_NONE,
	PAUSE_BEGUN,  /* it was told to stand still */
	PAUSE_STANDS, /* it does */
	PAUSE_ENDING, /* it was told to go on, and has not said yet that it does */
	/* For a checkpoint: its client hangs up, and the pod goes on. */
	PAUSE_OPENED,  /* the client is about to say where the machine is to be saved */
	PAUSE_ORDERED, /* the machine was told */
	PAUSE_ASKED,   /* guest-init, too */
	PAUSE_TAKEN,   /* the machine is saved; what its guest had said before is heard first */
	PAUSE_SAVED,   /* the client was told */
};

enum app_state {
	APP_WAITING, /* the guest is to start it; or it has, and the app has not said yet that it is ready */
	APP_STARTED,
	APP_EXITED,
	APP_CREATED, /* in a mutable pod: nobody has asked for its start yet */
};

struct app_run {
	enum app_state state;
	bool is_stopping;                /* the guest was told to stop it */
	bool is_leaving;                 /* it is removed when it has ended */
	int64_t created_at;              /* of one that was added; 0: with the pod */
	int64_t started_at, finished_at; /* wall clock, nanoseconds */
	int status;
	bool out_of_memory;
	char *message;
};

/* As far as the guest has told. */
static inline bool app_is_live(const struct app_run *app)
{
	return app->state == APP_WAITING || app->state == APP_STARTED;
}

/* A client that is told when something has become of an app. */
struct app_waiter {
	int fd; /* -1: none */
	enum app_action action;
	char *app;
};
#define APP_WAITERS_MAX 64

/* A client whose app is added when those before it are. */
struct app_addition {
	struct appc_pod_manifest *manifest;
	int fd;
};
#define APP_ADDITIONS_MAX 16

struct supervisor {
	struct pod *pod;
	const struct resolved_pod *resolved;
	const struct pod_run_options *options;
	struct flavour_process process;
	struct vmm_log vmm_log;
	struct flavour_report report;
	bool reported;
	bool jailed;        /* the VMM has told its walls */
	unsigned int walls; /* of the VMM, that stand, as it told before it ran the guest */
	int killed_by;      /* the signal that ended the flavour's process, when it was not ours */
	int signal_fd;
	int64_t marks[MACHINE_EVENTS]; /* as seen from here, for a flavour that does not report */

	struct wire_reader control;
	struct {
		char *data;
		size_t length, sent;
	} outgoing; /* frames for the guest; it may take its time to read them */
	struct pod_metadata metadata;
	size_t answer_end; /* of the metadata answer in outgoing; 0: none is there */
	struct app_run *apps;
	struct pod_mutable mutable;
	struct app_waiter waiters[APP_WAITERS_MAX];
	struct app_addition additions[APP_ADDITIONS_MAX];
	size_t addition_count;
	bool heard;    /* a message of the guest */
	bool is_ready; /* a mutable pod: it has told */
	bool more;     /* messages may have been left for the next turn */
	bool ended, failed;
	int status; /* when ended */
	struct error end_error;

	struct pod_output output;
	struct pod_input input;
	struct pod_attachments attachments;
	struct pod_network network;
	struct terminal terminal; /* ours, while an app of the pod has one */

	int vsock_fd; /* listening, for the guest's process */
	struct pod_requests requests;
	bool is_killed;     /* on request */
	bool is_ending;     /* the service manager was told */
	bool out_of_memory; /* the VMM's cgroup was, and something was killed */
	unsigned int stops, warnings;
	char cgroup[PATH_MAX]; /* of a container; empty: none */
	struct pod_cgroup vmm_cgroup;
	int64_t started_at;
	int64_t kill_at; /* CLOCK_MONOTONIC; 0: no deadline */

	enum pause_state pause;
	int pause_fd;     /* who asked, and waits for an answer; -1: nobody */
	int adding_fd;    /* whose app is being added; while mutable.adding is set */
	bool is_parked;   /* the pod has ended in a checkpoint */
	bool starts_anew; /* it has not begun: the caller starts it in another way */
};

/* ---- run_loop.c */

/* From the flavour's start to the pod's end, records and all. As pod_run(). */
int supervisor_run(struct supervisor *s, int *ret_status, struct error *err);

/* One turn of the loop. 0: go on; 1: the pod has ended; -errno: it broke, see s->end_error. */
int supervisor_turn(struct supervisor *s);

/* From now on keys are the app's, if they were not. Until then they are ours, to stop a pod that does not start. */
void supervisor_take_terminal(struct supervisor *s);

/* ---- run_control.c */

/* Queues a message; the loop sends it when the guest takes it. 0 or -errno. */
int supervisor_queue_message(struct supervisor *s, json_t *message);

/* Sends of what is queued what the socket takes. */
void supervisor_control_writable(struct supervisor *s);

/* Returns 0, or -errno when the conversation is over with s->end_error. */
int supervisor_control_ready(struct supervisor *s);

/* Sets s->end_error. -EBADMSG. */
int supervisor_protocol_error(struct supervisor *s, const char *what);

/* ---- run_pause.c */

/* A request to pause or resume the pod, or for a checkpoint. Takes what it has. */
void supervisor_pause_request(struct supervisor *s, struct pod_request_taken *taken);

/* The fd of a client that says more than one thing; -1: there is none. */
int supervisor_pause_source(const struct supervisor *s);
void supervisor_pause_source_ready(struct supervisor *s);

/* What the machine answers to an order. */
void supervisor_pause_answered(struct supervisor *s, const struct flavour_report *report);

/* All that the guest had said is heard: a client whose machine is saved is told so, or that there is nothing to save. */
void supervisor_pause_settle(struct supervisor *s);

/* The guest's message "paused" or "resumed". 0 or -errno with s->end_error. */
int supervisor_pause_told(struct supervisor *s, bool is_paused);

/* The pod goes on, since it is to end, say; nothing happens where it does. */
void supervisor_unpause(struct supervisor *s);

/* ---- run_apps.c */

void supervisor_apps_init(struct supervisor *s);
void supervisor_apps_done(struct supervisor *s);

/* A request of pod/app_request.h. Takes fd. */
void supervisor_app_request(struct supervisor *s, json_t *message, int fd);

/* Readable when an app that is being added can be added; -1: none is. */
int supervisor_adding_source(const struct supervisor *s);
void supervisor_adding_ready(struct supervisor *s);

/* What has become of an app, whose place may be another's afterwards. */
void supervisor_app_started(struct supervisor *s, size_t index);
void supervisor_app_exited(struct supervisor *s, size_t index);
/* name may be NULL. -EBADMSG with s->end_error. */
int supervisor_app_removed(struct supervisor *s, const char *name);

/* ---- run_record.c: what cannot be written or told is a warning */

/* When the pod is about to start; and again when the VMM's walls are known. */
void supervisor_record_run(struct supervisor *s);
/* When it has started, and has exited, which are events, too; and when one that was added is about to start. */
void supervisor_record_app(struct supervisor *s, size_t index);
/* reason: NULL, when it ended by itself. */
void supervisor_record_end(struct supervisor *s, int status, const char *reason);
/* Waits until the records are on disk. */
void supervisor_sync_records(struct supervisor *s);

/* Tells once that the pod is ready, which it is when each of its apps has started. */
void supervisor_check_ready(struct supervisor *s);
/* Tells the service manager, once, that the pod is about to end. */
void supervisor_tell_ending(struct supervisor *s);

/* Notes when the event was, the first time. */
void supervisor_mark(struct supervisor *s, enum machine_event event);
void supervisor_fill_timing(const struct supervisor *s, struct pod_timing *timing);

#endif
