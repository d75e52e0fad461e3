/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about a pod's life, in files of its directory: JSON objects, replaced as a whole, so that who
 * looks finds the last one, also when the writer was killed. On disk for good they are after pod_records_sync().
 *
 *   run.json        by who runs the pod, when it begins to
 *   apps/APP.json   about an app, when it starts and again when it exits; in a mutable pod also when it is added, and
 *                   when its start is asked for
 *   end.json        when the pod has ended; absent when nobody was left to write it
 *
 * Who reads them is not who wrote them, and a directory may be damaged: what a record lacks, or has of
 * another type or out of range, reads as unknown, and texts are safe to show on a terminal. Times are
 * nanoseconds since 1970; 0: unknown. Strings are owned by the record, see pod_*_record_done().
 * Functions return 0 or -errno; to read: -ENOENT: there is no such record; -EBADMSG: it is not a JSON
 * object. pod_*_record_json() returns NULL when memory is out, or a text is not UTF-8.
 */
#ifndef APPC_POD_RECORD_H
#define APPC_POD_RECORD_H

#include "pod/pod.h"

#include <sys/types.h>

struct pod_run_record {
	char *flavour; /* NULL: unknown */
	char *cgroup;  /* a container's, below the root of the hierarchy; NULL: none */
	pid_t pid;     /* of who runs the pod; 0: unknown */
	int64_t started_at;
	int64_t vcpus, memory; /* of the machine, bytes; 0: unknown */
	json_t *cgroups;       /* the VMM's: see pod_cgroup_json(); NULL: none */
	json_t *walls; /* the VMM's: an object of booleans by name; NULL: unknown, or a container */
	json_t *networks;  /* as rkt tells of them; NULL: unknown */
	json_t *isolators; /* the report of pod/resolve.h; NULL: none */
};

struct pod_app_record {
	int64_t created_at; /* of an app that was added to a running pod; 0: with the pod */
	int64_t started_at, finished_at;
	int exit_code; /* 0 to 255; -1: it has not exited, or nobody knows */
	bool out_of_memory;
	char *message; /* why it could not be executed; NULL: none */
};
#define POD_APP_RECORD_NONE ((struct pod_app_record){.exit_code = -1})

struct pod_end_record {
	int64_t finished_at;
	int exit_code; /* 0 to 255; -1: unknown */
	char *reason;  /* why it ended, when it did not by itself; NULL: none */
};
#define POD_END_RECORD_NONE ((struct pod_end_record){.exit_code = -1})

int pod_run_record_write(const struct pod *pod, const struct pod_run_record *record);
int pod_run_record_read(const struct pod *pod, struct pod_run_record *ret);
/* The same without a file. */
json_t *pod_run_record_json(const struct pod_run_record *record);
int pod_run_record_parse(const char *text, size_t length, struct pod_run_record *ret);
void pod_run_record_done(struct pod_run_record *record);

int pod_app_record_write(
	const struct pod *pod, const char *app, const struct pod_app_record *record);
int pod_app_record_read(const struct pod *pod, const char *app, struct pod_app_record *ret);
json_t *pod_app_record_json(const struct pod_app_record *record);
int pod_app_record_parse(const char *text, size_t length, struct pod_app_record *ret);
void pod_app_record_done(struct pod_app_record *record);

/* Waits until all of them outlast a loss of power. */
int pod_records_sync(const struct pod *pod);

int pod_end_record_write(const struct pod *pod, const struct pod_end_record *record);
int pod_end_record_read(const struct pod *pod, struct pod_end_record *ret);
json_t *pod_end_record_json(const struct pod_end_record *record);
int pod_end_record_parse(const char *text, size_t length, struct pod_end_record *ret);
void pod_end_record_done(struct pod_end_record *record);

#endif
