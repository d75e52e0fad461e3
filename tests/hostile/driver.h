/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for the cases: rings, chains, and FUSE requests. It checks nothing of what it is told to write.
 */
#ifndef APPC_TESTS_HOSTILE_DRIVER_H
#define APPC_TESTS_HOSTILE_DRIVER_H

#include "tests/hostile/guest.h"

#include <errno.h>
#include <linux/fuse.h>
#include <linux/virtio_mmio.h>

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Device types. */
#define ID_NET     1u
#define ID_CONSOLE 3u
#define ID_RNG     4u
#define ID_BALLOON 5u
#define ID_VSOCK   19u
#define ID_FS      26u

#define STATUS_ACKNOWLEDGE 0x01u
#define STATUS_DRIVER      0x02u
#define STATUS_RUNNING     0x04u /* DRIVER_OK */
#define STATUS_FEATURES    0x08u /* FEATURES_OK */
#define STATUS_NEEDS_RESET 0x40u
#define STATUS_ALL         0x0fu

#define FEATURE_INDIRECT    (1ull << 28)
#define FEATURE_EVENT_INDEX (1ull << 29)
#define FEATURE_VERSION_1   (1ull << 32)

#define NEXT     1u
#define WRITE    2u
#define INDIRECT 4u

#define QUEUES_MAX 8u
#define RING_SIZE  8u

/* Queues of the devices that the cases know. */
#define CONSOLE_CONTROL_RECEIVE  2u
#define CONSOLE_CONTROL_TRANSMIT 3u
#define CONSOLE_RECEIVE(port)    (2u * (port) + 2u)
#define CONSOLE_TRANSMIT(port)   (2u * (port) + 3u)
#define VSOCK_RECEIVE            0u
#define VSOCK_TRANSMIT           1u
#define NET_RECEIVE              0u
#define NET_TRANSMIT             1u
#define FS_URGENT                0u
#define FS_REQUESTS              1u
#define BALLOON_INFLATE          0u
#define BALLOON_REPORTING        4u

/* Rings take the beginning of scratch memory, what they point to the rest. */
#define DATA     (GUEST_SCRATCH + 0x100000ull)
#define DATA_END GUEST_SCRATCH_END

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct ring {
	unsigned int slot, queue;
	uint16_t size;
	uint64_t descriptors, available, used;
	uint16_t next_available; /* avail.idx as we wrote it */
};

/* ---- devices */

uint32_t device_register(unsigned int slot, uint64_t offset);
void device_set(unsigned int slot, uint64_t offset, uint32_t value);
uint32_t device_id(unsigned int slot); /* 0: none */
unsigned int device_queues(unsigned int slot);
/* The slot of a device; GUEST_SLOTS where there is none, which has failed the case. */
unsigned int device_find(uint32_t id);

void device_reset(unsigned int slot);
/* From reset to FEATURES_OK; whether that stuck. */
bool device_negotiate(unsigned int slot, uint64_t features);
/* Reset, features, every queue with RING_SIZE entries, DRIVER_OK. */
void device_start(unsigned int slot, uint64_t features);
/* The same with one queue only. */
void device_start_queue(unsigned int slot, unsigned int queue, uint64_t features, uint16_t size);
bool device_is_broken(unsigned int slot);

/* Whether chains of this queue are looked at when it is notified, in a device just started. */
bool queue_is_served(unsigned int slot, unsigned int queue);
/* Writes the registers of a queue; whether it is ready then. */
bool queue_set_up(const struct ring *ring);

/* ---- rings */

/* A fresh ring in the place that belongs to the queue. */
struct ring ring_place(unsigned int slot, unsigned int queue, uint16_t size);
/* The one that device_start() made. */
struct ring *ring_of(unsigned int slot, unsigned int queue);

void table_set(uint64_t table, uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
	uint16_t next);
void ring_describe(const struct ring *ring, uint16_t index, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next);
/* Puts a head into the available ring, and shows it. */
void ring_offer(struct ring *ring, uint16_t head);
void ring_show(struct ring *ring, uint16_t index); /* writes avail.idx */
void ring_notify(const struct ring *ring);
uint16_t ring_used(const struct ring *ring); /* used.idx */
/* Waits until so many were served, or the device is broken; whether they were. */
bool ring_wait(const struct ring *ring, uint16_t count);
/* Waits until not just so many were served any more, or the device is broken; whether more were. */
bool ring_wait_more(const struct ring *ring, uint16_t count);

/* ---- what the cases expect */

void expect_broken(unsigned int slot, const char *what, uint64_t value);
void expect_running(unsigned int slot, const char *what, uint64_t value);
void expect(bool condition, const char *what, uint64_t value);

/* After a reset every device works again, as a good driver would use it. */
void expect_alive(void);

/* ---- FUSE */

#define FUSE_BROKEN   1 /* instead of an -errno: the device needs a reset */
#define FUSE_NO_REPLY 2

/* A file server with a session; 0 slot-wise: see device_find(). Whether it is there. */
bool fuse_begin(void);
bool fuse_begin_without_session(void);
/* A request of one readable and one writable descriptor. 0, -errno, or one of the above. */
int fuse_call(uint32_t opcode, uint64_t node, const void *a, size_t a_length, const void *b,
	size_t b_length);
/* The same with a header as it stands and room for the reply as it is told. */
int fuse_call_raw(
	const struct fuse_in_header *header, const void *arguments, size_t length, uint32_t room);
/* What the last reply had, as far as it fits. */
extern _Alignas(8) uint8_t fuse_reply[4096];
extern size_t fuse_reply_length;

/* A name that ends with its zero byte. */
int fuse_call_name(
	uint32_t opcode, uint64_t node, const void *arguments, size_t length, const char *name);
/* The node of a path, 0 where it is not. */
uint64_t fuse_walk(const char *path);
int fuse_open(uint32_t opcode, uint64_t node, uint32_t flags, uint64_t *ret_handle);

size_t text_length(const char *text);

#endif
