/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's half of the metadata service (specification, "App Container Metadata Service"): what is known of a
 * pod, and signatures. guest-init speaks HTTP with the apps and asks here for all that it does not know
 * itself (wire/wire.h, "metadata").
 *
 * The requests come from a hostile guest: they are bounded in size by the control stream, in number by
 * POD_METADATA_RATE. Nothing is prepared before the first one.
 *
 * A signature is HMAC-SHA512 over the 16 bytes of the pod's UUID and the content. The key belongs to the data
 * directory, so that pods of one data directory can verify each other's; it never enters a guest.
 */
#ifndef APPC_POD_METADATA_H
#define APPC_POD_METADATA_H

#include "pod/pod.h"
#include "pod/resolve.h"

/* Requests per second, and as many at once. More are answered with status 503. */
#define POD_METADATA_RATE 200

/* The key's file in the data directory: 64 random bytes, mode 0600, made when it is needed first. */
#define POD_METADATA_KEY_NAME "metadata-key"
#define POD_METADATA_KEY_SIZE 64

struct pod_metadata {
	const char *uuid; /* borrowed, as are the next two */
	const struct resolved_pod *resolved;
	int data_fd; /* data directory */
	bool has_key;
	uint8_t key[POD_METADATA_KEY_SIZE];
	int64_t full_at; /* CLOCK_MONOTONIC: when the whole rate may be used at once again */
};

/*
 * The answer to a metadata message: a message for the guest. NULL: there is no memory, or the message is not
 * one that guest-init sends. now is CLOCK_MONOTONIC in nanoseconds.
 */
json_t *pod_metadata_answer(struct pod_metadata *metadata, json_t *request, int64_t now);

/* Forgets the key. */
void pod_metadata_done(struct pod_metadata *metadata);

#endif
