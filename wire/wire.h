/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between the host and guest-init, the same for every flavour.
 *
 * Two byte streams join them. In a VM each is a port of the virtio console, in the container
 * flavour a socket pair. The guest of a VM takes its first messages another way, see
 * WIRE_MESSAGE_PORT: a machine can be parked between them, and they cost its kernel nothing.
 *
 * The control stream (port WIRE_PORT_CONTROL) carries frames: a 4-byte little-endian length, then
 * that many bytes, a JSON object whose "type" names the message. The stream port
 * (WIRE_PORT_STREAM) carries the apps' output, and towards the guest the input of an app that has it:
 * struct wire_stream_header, then its payload.
 * Both ends treat the other as hostile: a length over the limit, a JSON error, a message of unknown
 * type or one that the state does not allow ends the pod.
 *
 * Host to guest
 *   configure   once, first. See "The configure message" below.
 *   renew       to a guest that was parked with its apps: who this copy of it is. uuid, hostname,
 *               machine_id, entropy, network, as in configure. VM only.
 *   metadata    the answer to a metadata message: "status" (HTTP's), "content_type", "body" (strings).
 *   stop        end every app: SIGTERM, after "grace_ms" SIGKILL, now when it is 0. Changes nothing else of a pod that
 *               is stopping, unless it is 0. With "app" (name): the same of that one only, if it runs.
 *   start       to a mutable pod: start one more app, WIRE_APPS_MAX at a time. "number": the app's in the stream, the
 *               same at each of its starts and no other app's, so that what is still on its way stays its own; "app":
 *               as in configure. When it has exited guest-init has forgotten it.
 *   remove      to a mutable pod: "app" (name) does not run, and its root filesystem and "volumes" (array of
 *               names) are not mounted in the tree any more: remove their mount points.
 *   pause       stop every process of the apps where it is, until "resume"; in a container only: a machine is
 *               paused without being told.
 *   resume      the pod goes on after a pause, or is not to be saved. In a VM the clock is set.
 *   checkpoint  come to WIRE_PHASE_PARK as soon as no message of either side is under way. The machine is saved
 *               there; a copy of it, which goes on some time later, finds a "renew" message. VM only.
 *
 * Guest to host
 *   started     "app" (name), "pid". Its main process has been executed; and has said that it is ready, where the
 *               app does ("notifies").
 *   exited      "app", "status" (0-255; 128 + n for signal n; 203 where it could not be executed),
 *               "oom" (true where its memory limit or the pod's killed a process), "message" (optional string:
 *               why it could not be executed).
 *   metadata    a request to the metadata service that guest-init cannot answer itself; the next one only
 *               when this one has been answered. Either "get": path below $AC_METADATA_URL/acMetadata/v1/;
 *               or "sign": content in base 64; or "verify": the same, "uuid", "signature" in base 64.
 *   ready       a mutable pod's first: it is configured.
 *   removed     "app": the answer to remove.
 *   warning     "message": something a person should know.
 *   ended       once, last: every app has exited and all file data is written. "status": the exit
 *               status of the first app that failed, 0 when none did; 0 of a mutable pod, which ends when it is
 *               told to stop.
 *   failed      once, last, instead of ended: "message": guest-init itself could not go on.
 *   paused, resumed   the answers to pause and resume; resumed also to a renew after a checkpoint.
 *   unparkable  "message": why the apps of this pod cannot be parked. Then "ended".
 *
 * The configure message: everything is resolved by the host; the guest has no defaults of its own.
 *   version      WIRE_VERSION
 *   uuid, hostname, machine_id   strings
 *   entropy      WIRE_ENTROPY_SIZE bytes as hexadecimal digits, credited to the random generator
 *   park         true: start the apps up to the first instruction of their programs and be parked there
 *                (WIRE_PHASE_PARK); they go on after "renew". VM only.
 *   mutable      true: apps come and go (start, remove), and the end of one is not the end of the pod; absent for
 *                a pod whose apps are all here. Not to be parked.
 *   The tree is mounted at WIRE_TREE: in a VM by guest-init before it asks for this message, from the
 *   virtio-fs device with tag WIRE_SHARE_TAG.
 *   apps         array, at most WIRE_APPS_MAX, started together:
 *     name               string, unique; its root filesystem is WIRE_TREE/apps/NAME/rootfs
 *     exec               array of strings, at least one
 *     user, group        strings: name, number, or absolute path of a file in the rootfs
 *     group_is_users     true, or absent: where the rootfs has no group of that name, it is the one that its
 *                        /etc/passwd gives the user, or the user's own number
 *     supplementary_gids array of integers
 *     working_directory  absolute path
 *     environment        array of "NAME=VALUE" strings, complete but for AC_METADATA_URL: its token is
 *                        derived from the entropy
 *     pre_start, post_stop   arrays of strings (an exec line), empty when there is none
 *     read_only_rootfs   boolean
 *     mounts             array, parents before children: {"volume": NAME, "target": path inside the
 *                        rootfs, "read_only": boolean}. The source is WIRE_TREE/volumes/VOLUME
 *     capabilities       bounding set, hexadecimal digits of the 64-bit mask
 *     no_new_privileges  boolean
 *     seccomp            the program of its system call filter: the bytes of an array of struct
 *                        sock_filter as hexadecimal digits, or "default" (filter.h); absent for none. A user other than root
 *                        gets no new privileges with it
 *     protect_paths      boolean: parts of /proc and /sys are read-only or hidden
 *     sockets            array of {"name": string, "protocol": "tcp" or "udp", "port": 1-65535}: bound
 *                        and listened on by guest-init, handed over as fds 3 and following (sd_listen_fds(3))
 *     memory_max, memory_low   bytes, absent when unlimited
 *     cpu_max_millis     thousandths of a CPU, absent when unlimited
 *     cpu_weight         1-10000, absent for the default
 *     notifies           true, or absent: it says READY=1 to the datagram socket that guest-init names in NOTIFY_SOCKET
 *                        (sd_notify(3)); its environment has no other
 *     etc_files          array of "hosts", "hostname", "machine-id", "resolv.conf": regular files of its /etc that
 *                        guest-init covers by the pod's own. /proc, /sys, /dev exist where the host
 *                        could make them
 *     oom_score_adj      -1000 to 1000, absent for the default
 *   memory_max, cpu_max_millis   as of an app, for all apps together; absent when unlimited
 *   sysctls      object of strings, may be empty
 *   input        number of the app (its index) that reads what the stream carries; absent, and for all
 *                others: input is empty
 *   terminal     of that app: {"type": for TERM, "rows", "columns": 0 unknown, "streams": which of "stdin",
 *                "stdout", "stderr" are a terminal of its own}: at least one of the last two, whose first is the
 *                stream that the terminal's output is told as. Where "stdin" is not, input is empty
 *   hosts_entries   lines for the pod's /etc/hosts, each ended by a newline; absent for none
 *   resolv_conf  the pod's resolv.conf(5); absent for none
 *   network      also in renew; absent for none: {"interface": the name of the pod's network
 *                interface, "mac": "02:00:00:00:00:01", "mtu": bytes, "address", "gateway": IPv4 addresses,
 *                "prefix": bits of the address that are its network's; with IPv6 "address6", "prefix6", and
 *                "gateway6" where more than the interface's own network is reached}
 */
#ifndef APPC_WIRE_WIRE_H
#define APPC_WIRE_WIRE_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 6

/* Numbers of the console ports: /dev/vport0pN in the guest. */
#define WIRE_PORT_CONTROL 1
#define WIRE_PORT_STREAM  2

#define WIRE_SHARE_TAG "pod"
/* Where the pod's tree is mounted in the guest (design: "A pod is one tree"). */
#define WIRE_TREE "/run/pod"
/* The directory in it of trees that no app sees (wire/session.h, "ssh"). */
#define WIRE_DEBUG "debug"
/* In such a tree: what its server is started with (pod/preload/ssh_server.c). */
#define WIRE_DEBUG_PRELOAD "lib/ssh_server.so"
/* Of guest-init's cgroup, the one with the limits of all apps together, where there are such. */
#define WIRE_CGROUP_APPS "apps"

#define WIRE_ENTROPY_SIZE 32
#define WIRE_APPS_MAX     64

/* Longest filter that a kernel takes (BPF_MAXINSNS); sockets of an app; text of a file of /etc. */
#define WIRE_SECCOMP_MAX     4096
#define WIRE_SECCOMP_DEFAULT "default"
#define WIRE_SOCKETS_MAX     64
#define WIRE_MOUNTS_MAX      1024  /* of an app */
#define WIRE_STRINGS_MAX     65536 /* of an array of strings */
#define WIRE_GIDS_MAX        65536 /* NGROUPS_MAX of the kernel */
#define WIRE_ETC_TEXT_MAX    (64u << 10)

/* Bytes of a frame before its JSON text. */
#define WIRE_FRAME_HEADER_SIZE 4

/* Longest frame, in bytes without the length. To the guest: a whole manifest with its environment. */
#define WIRE_FRAME_MAX_TO_GUEST   (8u << 20)
#define WIRE_FRAME_MAX_FROM_GUEST (64u << 10)

/* Time between SIGTERM and SIGKILL when a pod is stopped. */
#define WIRE_STOP_GRACE_MS 10000

#define WIRE_STATUS_EXEC_FAILED    203
#define WIRE_STATUS_SIGNAL(signal) (128 + (signal))

/*
 * VM only. guest-init marks how far it is by writing one byte to this I/O port; the device records
 * the time and the count of guest kernel instructions at that exact instruction.
 */
#define WIRE_PHASE_PORT 0xf1
/*
 * A byte read from it: 0, the machine goes on at the next WIRE_PHASE_PARK; otherwise it is parked there, and
 * before that guest-init rests for so many times this long, in which the kernel finishes what it put off.
 */
#define WIRE_PHASE_REST_NS 25000000
enum wire_phase {
	WIRE_PHASE_INIT = 1,     /* first thing guest-init does */
	WIRE_PHASE_APP_EXEC = 2, /* just before the first app's execve() */
	WIRE_PHASE_PARK = 3,     /* the machine may be parked here; a message is asked for next */
	WIRE_PHASE_CONFIGURED =
		4,           /* the message is understood; clock, names and parameters are set */
	WIRE_PHASE_TREE = 5, /* the first app's root filesystem stands */
	WIRE_PHASE_OVER = 6, /* the last message has gone: this vCPU has nothing more to execute */
};

/*
 * VM only. After WIRE_PHASE_PARK guest-init reads 4 bytes from this I/O port (little-endian): the length
 * of the next message, 0 where there is none; then so many single bytes: the JSON text. Bytes
 * that were not announced read as 0xff.
 */
#define WIRE_MESSAGE_PORT 0xf4

/*
 * VM only. A string of 8 single bytes read from this I/O port by one instruction is the host's wall clock
 * at that instruction: nanoseconds since 1970, little-endian.
 */
#define WIRE_CLOCK_PORT 0xf8

/*
 * VM only. A 4-byte read from this I/O port hands bytes to a stream of the console (RDI: WIRE_PORT_CONTROL or
 * WIRE_PORT_STREAM) from the caller's memory (RSI: linear address, RCX: how many, at most
 * WIRE_TRANSMIT_MAX) and gives the number that was taken, from the beginning. It costs the guest no
 * queue, no interrupt and no instruction of its kernel. What is not taken, since the host does not keep up or the
 * memory is not mapped, goes through the console, which waits; it is never overtaken.
 */
#define WIRE_TRANSMIT_PORT 0xfc
#define WIRE_TRANSMIT_MAX  (64u << 10)

/*
 * Where the metadata service listens, on 127.0.0.1 of the pod. It is below the ports that the kernel gives to
 * clients, and no well-known service has it but rkt's metadata service.
 */
#define WIRE_METADATA_PORT 18112

/* Files of an app's /etc that belong to the pod ("etc_files"), and their names. */
enum wire_etc_file {
	WIRE_ETC_HOSTS,
	WIRE_ETC_HOSTNAME,
	WIRE_ETC_MACHINE_ID,
	WIRE_ETC_RESOLV_CONF,
	WIRE_ETC_FILES
};
extern const char *const wire_etc_names[WIRE_ETC_FILES];

enum wire_stream {
	WIRE_STREAM_STDOUT = 1,
	WIRE_STREAM_STDERR = 2,
	WIRE_STREAM_STDIN = 3,
	WIRE_STREAM_WINDOW = 4, /* to the guest: struct wire_window, of an app with a terminal */
};

/* The size of a terminal's window. */
struct wire_window {
	uint16_t rows, columns; /* little-endian */
};

/*
 * Followed by length bytes of output of app number app (its index in the configure message, or of start). A
 * header of zeros ends the stream: guest-init writes it when all output has been forwarded, before
 * it sends "ended"; the host when its input has ended.
 */
struct wire_stream_header {
	uint32_t length;  /* little-endian, at most WIRE_STREAM_MAX */
	uint16_t app;     /* little-endian */
	uint8_t stream;   /* enum wire_stream */
	uint8_t reserved; /* 0 */
};
#define WIRE_STREAM_MAX (16u << 10)

/*
 * A frame reader: bytes of the control stream go in as they come, whole frames come out as JSON.
 * Memory grows with the bytes received, never with the length announced.
 */
struct wire_reader {
	char *buffer;
	size_t length, room;
	uint32_t frame_max;
};

void wire_reader_init(struct wire_reader *reader, uint32_t frame_max);
void wire_reader_done(struct wire_reader *reader);

/*
 * Reads what fd has, once. Returns the number of bytes, 0 at its end, -errno (-EAGAIN: nothing now).
 * Call wire_reader_next() until it returns 0 after each.
 */
ssize_t wire_reader_fill(struct wire_reader *reader, int fd);

/* Adds bytes that came by another way. 0 or -ENOMEM. */
int wire_reader_add(struct wire_reader *reader, const void *data, size_t length);

/*
 * Takes the next whole frame out: 1 and a new reference to an object with a string "type"; 0 when no
 * whole frame is there yet; -EBADMSG with a message when the other end broke the rules.
 */
int wire_reader_next(struct wire_reader *reader, json_t **ret, struct error *err);

/*
 * The message in length bytes of JSON text that came without a frame: a new reference to an object
 * with a string "type". -EBADMSG with a message, or -ENOMEM.
 */
int wire_message_decode(const char *text, size_t length, json_t **ret, struct error *err);

/*
 * Makes the bytes of one frame; the caller frees them. -EMSGSIZE: longer than frame_max.
 */
int wire_frame_encode(json_t *message, uint32_t frame_max, char **ret, size_t *ret_length);

/* Writes frames to fd, over short writes; the fd may be non-blocking (waits with poll). 0 or -errno. */
int wire_frames_write(int fd, const char *frames, size_t length);

/* The "type" of a message that wire_reader_next() returned. */
const char *wire_type(json_t *message);

#endif
