/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams and the network of the in-process machine, and the host at their other ends: the programs at
 * its ports (guest.h), and a link on which somebody answers ARP requests. Aborts where something comes out of the
 * devices that never may: a frame that is none or has another's address, sockets that are kept.
 */
#ifndef APPC_TESTS_HOSTILE_IN_PROCESS_HOST_H
#define APPC_TESTS_HOSTILE_IN_PROCESS_HOST_H

#include "virtio/net.h"
#include "virtio/vsock.h"
#include "vmm/loop.h"

struct in_process_host {
	struct virtio_vsock *vsock;
	struct virtio_net *net;
	/* Private. */
	struct loop loop;
	struct loop_source net_source, connections[VSOCK_CONNECTIONS_MAX];
	unsigned int watched; /* under the vsock device's lock */
	int asked[2];
	pthread_mutex_t lock; /* protects all below: the event loop is one thread */
	struct in_process_program {
		int fd; /* -1: none */
		bool echoes;
	} programs[64];
	int net_fd;
	uint8_t frame[4 + VIRTIO_NET_FRAME_MAX];
	size_t frame_length;
};

void in_process_host_create(struct in_process_host *host, const struct guest_memory *memory);
void in_process_host_free(struct in_process_host *host);

/* What event loop, programs and network do once. Any thread. Whether there was anything to do. */
bool in_process_host_turn(struct in_process_host *host);

/* After the devices were reset: nothing of what the guest had is left. */
void in_process_host_settle(struct in_process_host *host);

#endif
