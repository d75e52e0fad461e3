// SPDX-License-Identifier: Apache-2.0
/*
 * fs_rate.c: how many file requests a virtio-fs server answers per second of processor time.
 *
 *   fs_rate [--virtiofsd PROGRAM | --vhost-user-socket PATH | --bare] [--directory PATH] [--seconds S]
 *           [--depth N] [--interrupts]
 *
 * Plays the guest's driver: memory, a virtqueue, FUSE requests as Linux lays them out. The server is this
 * program's own device, called as a vCPU would; or another process that speaks vhost-user, PROGRAM (started
 * here, given the directory) or who listens at PATH (and serves the same directory). Both get the same
 * requests, depth of them at a time. Our device is told not to interrupt, as the pods' driver does that
 * waits for its own request, unless --interrupts; the other one has to, or nobody would know. --bare asks
 * no server: one preadv() or pwritev() into the same pages, which is what the data of a request costs alone.
 *
 * One JSON object per operation on standard output: "server", "operation", "depth", "requests", "seconds",
 * "cpu_seconds" (of the server; of this process, with the driver, for our own).
 */
#include "base/file.h"
#include "tests/unit/virtio_driver.h"
#include "virtio/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE        4096u
#define DEPTH_MAX   4
#define QUEUES      2
#define QUEUE_SIZE  256
#define RINGS       0x10000ull  /* of queue 0; those of queue 1 follow */
#define SLOTS       0x100000ull /* guest memory of the requests in flight */
#define SLOT_SIZE   0x80000ull  /* of one: in at its start, the reply in its second half */
#define SLOT_REPLY  0x40000ull
#define MEMORY_SIZE 0x800000ull
#define PAYLOAD_MAX (128u << 10)
#define DESCRIPTORS (4 + PAYLOAD_MAX / PAGE) /* of one request, at most */
#define FILES       1000
#define DATA_SIZE   (16u << 20)
#define CLOCK_EVERY 64

struct server {
	const char *name;
	uint8_t *memory;
	int memory_fd;
	struct driver_ring rings[QUEUES];
	clockid_t processor_time;

	/* Our own. */
	struct guest_memory guest;
	struct virtio_fs *fs;
	struct virtio_mmio mmio;

	/* Another process. */
	int socket_fd, kick_fds[QUEUES], call_fds[QUEUES];
	pid_t child;
};

static struct server server = {.memory_fd = -1, .socket_fd = -1};
static char directory[PATH_MAX];
static int directory_fd = -1;
static bool directory_is_ours;
static uint64_t request_number = 1; /* a server may hold 0 for none */

static _Noreturn void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "fs_rate: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	exit(1);
}

static void cleanup(void)
{
	if (server.child > 0) {
		kill(server.child, SIGTERM);
		waitpid(server.child, NULL, 0);
	}
	if (directory_is_ours)
		directory_remove(AT_FDCWD, directory);
}

/* ---- the directory */

static void directory_fill(void)
{
	static uint8_t block[1 << 16];
	char name[32];
	int fd;

	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory_fd < 0)
		fail("cannot open %s: %s", directory, strerror(errno));
	for (unsigned int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file-%04u", i);
		fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0 || close(fd) < 0)
			fail("cannot make a file in %s: %s", directory, strerror(errno));
	}
	fd = openat(directory_fd, "data", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	memset(block, 0x5a, sizeof(block));
	for (size_t done = 0; done < DATA_SIZE; done += sizeof(block))
		if (fd < 0 || file_write_all(fd, block, sizeof(block)) < 0)
			fail("cannot fill a file in %s: %s", directory, strerror(errno));
	close(fd);
}

/* ---- our own server */

static void raise_line(void *context)
{
	static const uint64_t one = 1;

	/* What telling KVM costs. */
	if (write(*(int *)context, &one, sizeof(one)) < 0)
		fail("eventfd: %s", strerror(errno));
}

static void memory_make(void)
{
	server.memory_fd = memfd_create("guest", MFD_CLOEXEC);
	if (server.memory_fd < 0 || ftruncate(server.memory_fd, MEMORY_SIZE) < 0)
		fail("memfd: %s", strerror(errno));
	server.memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		server.memory_fd, 0);
	if (server.memory == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	server.guest = (struct guest_memory){
		.regions = {{0, MEMORY_SIZE, server.memory}},
		.count = 1,
	};
	for (unsigned int i = 0; i < QUEUES; i++)
		server.rings[i] =
			driver_ring_at(&server.guest, RINGS + i * DRIVER_RING_SPACE, QUEUE_SIZE);
}

static void own_start(bool interrupts)
{
	struct virtio_fs_options options = {
		.tag = "rate",
		.tree_fd = fcntl(directory_fd, F_DUPFD_CLOEXEC, 0),
		.policy = VIRTIO_FS_SHARED,
		.inodes_max = 2 * FILES,
		.handles_max = FILES,
	};
	static int line = -1;
	struct error err;

	server.name = "appc-vm";
	server.processor_time = CLOCK_PROCESS_CPUTIME_ID;
	line = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (virtio_fs_create(&server.guest, &options, &server.fs, &err) < 0)
		fail("%s", err.message);
	virtio_mmio_attach(&server.mmio, virtio_fs_device(server.fs), raise_line, &line);
	if (!driver_negotiate(&server.mmio, VIRTIO_FEATURE(VIRTIO_F_VERSION_1)))
		fail("the device does not take the features");
	for (unsigned int i = 0; i < QUEUES; i++) {
		if (!driver_set_up_queue(&server.mmio, i, &server.rings[i]))
			fail("the device does not take queue %u", i);
		/* VRING_AVAIL_F_NO_INTERRUPT */
		driver_word_set(&server.rings[i], server.rings[i].available, interrupts ? 0 : 1);
	}
	driver_run(&server.mmio);
}

/* ---- another server, by vhost-user */

enum {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_SET_VRING_ENABLE = 18,
};

#define VHOST_VERSION             1
#define VHOST_F_PROTOCOL_FEATURES 30

struct vhost_message {
	uint32_t request, flags, size;
	union {
		uint64_t number;
		struct {
			uint32_t index, value;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t descriptors, used, available, log;
		} addresses;
		struct {
			uint32_t count, padding;
			uint64_t guest, size, user, offset;
		} memory;
	};
} __attribute__((packed));

#define VHOST_HEADER 12

static void vhost_send(struct vhost_message *message, uint32_t request, size_t size, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec span = {.iov_base = message, .iov_len = VHOST_HEADER + size};
	struct msghdr header = {.msg_iov = &span, .msg_iovlen = 1};

	message->request = request;
	message->flags = VHOST_VERSION;
	message->size = (uint32_t)size;
	if (fd >= 0) {
		struct cmsghdr *rights = (struct cmsghdr *)control;

		rights->cmsg_len = CMSG_LEN(sizeof(int));
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
	}
	if (sendmsg(server.socket_fd, &header, MSG_NOSIGNAL) != (ssize_t)span.iov_len)
		fail("vhost-user request %u: %s", request, strerror(errno));
}

static void vhost_set(uint32_t request, uint64_t number, int fd)
{
	struct vhost_message message = {.number = number};

	vhost_send(&message, request, sizeof(message.number), fd);
}

static void vhost_set_state(uint32_t request, uint32_t index, uint32_t value)
{
	struct vhost_message message = {.state = {index, value}};

	vhost_send(&message, request, sizeof(message.state), -1);
}

static uint64_t vhost_get(uint32_t request)
{
	struct vhost_message message = {0};

	vhost_send(&message, request, 0, -1);
	if (recv(server.socket_fd, &message, VHOST_HEADER + sizeof(uint64_t), MSG_WAITALL) !=
			(ssize_t)(VHOST_HEADER + sizeof(uint64_t)) ||
		message.request != request)
		fail("no answer to vhost-user request %u", request);
	return message.number;
}

static void vhost_queue_start(unsigned int index, bool enable)
{
	const struct driver_ring *ring = &server.rings[index];
	struct vhost_message message = {0};
	uint64_t user = (uintptr_t)server.memory;

	server.kick_fds[index] = eventfd(0, EFD_CLOEXEC);
	server.call_fds[index] = eventfd(0, EFD_CLOEXEC);
	if (server.kick_fds[index] < 0 || server.call_fds[index] < 0)
		fail("eventfd: %s", strerror(errno));
	vhost_set_state(VHOST_SET_VRING_NUM, index, QUEUE_SIZE);
	vhost_set_state(VHOST_SET_VRING_BASE, index, 0);
	message.addresses.index = index;
	message.addresses.descriptors = user + ring->descriptors;
	message.addresses.used = user + ring->used;
	message.addresses.available = user + ring->available;
	vhost_send(&message, VHOST_SET_VRING_ADDR, sizeof(message.addresses), -1);
	vhost_set(VHOST_SET_VRING_CALL, index, server.call_fds[index]);
	vhost_set(VHOST_SET_VRING_KICK, index, server.kick_fds[index]);
	if (enable)
		vhost_set_state(VHOST_SET_VRING_ENABLE, index, 1);
}

static void vhost_start(void)
{
	uint64_t wanted = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
		VIRTIO_FEATURE(VHOST_F_PROTOCOL_FEATURES);
	struct vhost_message message = {0};
	struct vhost_message memory = {
		.memory = {.count = 1, .size = MEMORY_SIZE, .user = (uintptr_t)server.memory}};
	uint64_t features;
	bool protocol;

	server.name = "vhost-user";
	vhost_send(&message, VHOST_SET_OWNER, 0, -1);
	features = vhost_get(VHOST_GET_FEATURES) & wanted;
	protocol = features & VIRTIO_FEATURE(VHOST_F_PROTOCOL_FEATURES);
	if (protocol) {
		vhost_get(VHOST_GET_PROTOCOL_FEATURES);
		vhost_set(VHOST_SET_PROTOCOL_FEATURES, 0, -1);
	}
	vhost_set(VHOST_SET_FEATURES, features, -1);
	vhost_send(&memory, VHOST_SET_MEM_TABLE, sizeof(memory.memory), server.memory_fd);
	for (unsigned int i = 0; i < QUEUES; i++)
		vhost_queue_start(i, protocol);
}

static void vhost_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (strlen(path) >= sizeof(address.sun_path))
		fail("%s: too long for a socket", path);
	strcpy(address.sun_path, path);
	server.socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server.socket_fd < 0 ||
		connect(server.socket_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		getsockopt(server.socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		fail("cannot connect to %s: %s", path, strerror(errno));
	/* Where the socket was made here, the peer is the one it was given to. */
	if (clock_getcpuclockid(
		    server.child > 0 ? server.child : peer.pid, &server.processor_time) != 0)
		fail("cannot read the processor time of the server at %s", path);
	vhost_start();
}

/* Starts PROGRAM with a socket that listens already, so that there is nothing to wait for. */
static void vhost_launch(const char *program)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char source[PATH_MAX + 16], fd_option[32];
	int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/fs_rate-%d", (int)getpid());
	if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listen_fd, 1) < 0)
		fail("cannot listen at %s: %s", address.sun_path, strerror(errno));
	snprintf(source, sizeof(source), "source=%s", directory);
	snprintf(fd_option, sizeof(fd_option), "--fd=%d", listen_fd);
	server.child = fork();
	if (server.child < 0)
		fail("fork: %s", strerror(errno));
	if (server.child == 0) {
		fcntl(listen_fd, F_SETFD, 0);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execl(program, program, fd_option, "-o", source, "-o", "sandbox=chroot", "-o",
			"cache=auto", "-o", "log_level=err", NULL);
		fail("cannot start %s: %s", program, strerror(errno));
	}
	close(listen_fd);
	vhost_connect(address.sun_path);
	unlink(address.sun_path);
}

/* ---- requests */

struct request {
	uint32_t opcode;
	uint64_t node;
	const void *arguments; /* in one piece, as Linux has them */
	size_t size;
	const char *name;   /* NULL, or a piece of its own */
	size_t payload_in;  /* bytes that a WRITE carries, in pages */
	size_t reply;       /* bytes of the fixed reply */
	size_t payload_out; /* bytes that a READ brings, in pages */
};

/* Descriptors of one request, one after the other. */
struct chain {
	struct driver_ring *ring;
	uint16_t next;
	uint64_t address;
};

static void chain_add(struct chain *chain, size_t size, uint16_t flags)
{
	while (size > 0) {
		uint32_t piece = size < PAGE ? (uint32_t)size : PAGE;

		driver_describe(chain->ring, chain->next, chain->address, piece,
			(uint16_t)(flags | DRIVER_NEXT), (uint16_t)(chain->next + 1));
		chain->next++;
		chain->address += piece;
		size -= piece;
	}
}

/* The last one that was added leads nowhere. */
static void chain_end(const struct chain *chain)
{
	struct driver_descriptor *table =
		(struct driver_descriptor *)(chain->ring->memory + chain->ring->descriptors);

	table[chain->next - 1].flags &= (uint16_t)~DRIVER_NEXT;
}

static void request_add(unsigned int slot, const struct request *request)
{
	struct driver_ring *ring = &server.rings[1];
	struct chain chain = {
		.ring = ring,
		.next = (uint16_t)(slot * DESCRIPTORS),
		.address = SLOTS + slot * SLOT_SIZE,
	};
	size_t name_size = request->name ? strlen(request->name) + 1 : 0;
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + request->size + name_size + request->payload_in),
		.opcode = request->opcode,
		.unique = request_number,
		.nodeid = request->node,
	};
	uint8_t *memory = server.memory + chain.address;

	request_number++;
	memcpy(memory, &header, sizeof(header));
	if (request->size)
		memcpy(memory + sizeof(header), request->arguments, request->size);
	if (name_size)
		memcpy(memory + sizeof(header) + request->size, request->name, name_size);
	chain_add(&chain, sizeof(header), 0);
	chain_add(&chain, request->size, 0);
	chain_add(&chain, name_size, 0);
	chain_add(&chain, request->payload_in, 0);
	chain.address = SLOTS + slot * SLOT_SIZE + SLOT_REPLY;
	chain_add(&chain, sizeof(struct fuse_out_header), DRIVER_WRITE);
	chain_add(&chain, request->reply, DRIVER_WRITE);
	chain_add(&chain, request->payload_out, DRIVER_WRITE);
	chain_end(&chain);
	driver_word_set(ring, ring->available + 4 + 2ull * (ring->next_available % ring->size),
		(uint16_t)(slot * DESCRIPTORS));
	ring->next_available++;
	__atomic_store_n((uint16_t *)(ring->memory + ring->available + 2), ring->next_available,
		__ATOMIC_RELEASE);
}

/* Until the other server says that something has come back; it may also end. */
static void call_wait(void)
{
	struct pollfd events[] = {
		{.fd = server.call_fds[1], .events = POLLIN},
		{.fd = server.socket_fd, .events = POLLRDHUP},
	};
	uint64_t value;

	if (poll(events, ARRAY_SIZE(events), -1) < 0 || events[1].revents)
		fail("the server has ended");
	if (read(server.call_fds[1], &value, sizeof(value)) < 0)
		fail("call: %s", strerror(errno));
}

/* Tells the server of what was added, and waits until count requests have come back. */
static void requests_run(unsigned int count)
{
	struct driver_ring *ring = &server.rings[1];
	const uint16_t *used = (const uint16_t *)(ring->memory + ring->used + 2);
	uint16_t wanted = (uint16_t)(ring->next_used + count);
	uint64_t value = 1;

	if (server.fs) {
		driver_notify(&server.mmio, 1);
		while (__atomic_load_n(used, __ATOMIC_ACQUIRE) != wanted) {
			struct pollfd wait = {
				.fd = virtio_fs_completion_fd(server.fs), .events = POLLIN};

			poll(&wait, 1, -1);
			virtio_fs_complete(server.fs);
		}
	} else {
		if (write(server.kick_fds[1], &value, sizeof(value)) < 0)
			fail("kick: %s", strerror(errno));
		while (__atomic_load_n(used, __ATOMIC_ACQUIRE) != wanted)
			call_wait();
	}
	ring->next_used = wanted;
}

/* The reply in a slot, which must be a good one with size bytes at least. */
static const uint8_t *reply_of(unsigned int slot, uint32_t opcode, size_t size)
{
	const uint8_t *reply = server.memory + SLOTS + slot * SLOT_SIZE + SLOT_REPLY;
	struct fuse_out_header header;

	memcpy(&header, reply, sizeof(header));
	if (header.error || header.len < sizeof(header) + size)
		fail("request %u failed: %s (%u bytes)", opcode, strerror(-header.error),
			header.len);
	return reply + sizeof(header);
}

static const uint8_t *call(const struct request *request)
{
	request_add(0, request);
	requests_run(1);
	return reply_of(0, request->opcode, request->reply);
}

/* ---- operations */

static uint64_t node, handle;

static uint64_t node_find(const char *name)
{
	struct fuse_entry_out entry;

	memcpy(&entry,
		call(&(struct request){.opcode = FUSE_LOOKUP,
			.node = FUSE_ROOT_ID,
			.name = name,
			.reply = sizeof(entry)}),
		sizeof(entry));
	return entry.nodeid;
}

static uint64_t file_open(void)
{
	struct fuse_open_in in = {.flags = O_RDWR};
	struct fuse_open_out out;

	memcpy(&out,
		call(&(struct request){.opcode = FUSE_OPEN,
			.node = node,
			.arguments = &in,
			.size = sizeof(in),
			.reply = sizeof(out)}),
		sizeof(out));
	return out.fh;
}

static void session_start(void)
{
	struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 36,
		.max_readahead = 131072,
		.flags = FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_DO_READDIRPLUS |
			FUSE_ATOMIC_O_TRUNC | FUSE_PARALLEL_DIROPS | FUSE_AUTO_INVAL_DATA |
			FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_INIT_EXT,
	};

	call(&(struct request){.opcode = FUSE_INIT,
		.arguments = &in,
		.size = sizeof(in),
		.reply = sizeof(struct fuse_init_out)});
	node = node_find("data");
	handle = file_open();
}

/*
 * Does an operation depth times at once; returns how many requests that were. number counts the
 * operations before.
 */
typedef unsigned int operation(unsigned int depth, uint64_t number);

static unsigned int all_run(unsigned int depth, const struct request *request, size_t expected)
{
	requests_run(depth);
	for (unsigned int slot = 0; slot < depth; slot++)
		reply_of(slot, request->opcode, expected);
	return depth;
}

static unsigned int op_lookup(unsigned int depth, uint64_t number)
{
	struct request request = {.opcode = FUSE_LOOKUP,
		.node = FUSE_ROOT_ID,
		.reply = sizeof(struct fuse_entry_out)};
	char name[32];

	for (unsigned int slot = 0; slot < depth; slot++) {
		snprintf(name, sizeof(name), "file-%04u", (unsigned int)((number + slot) % FILES));
		request.name = name;
		request_add(slot, &request);
	}
	return all_run(depth, &request, request.reply);
}

/* Names that the guest does not know yet; it forgets them afterwards. */
static unsigned int op_lookup_forget(unsigned int depth, uint64_t number)
{
	struct fuse_forget_in in = {.nlookup = 1};
	struct request request = {
		.opcode = FUSE_FORGET,
		.arguments = &in,
		.size = sizeof(in),
	};
	uint64_t nodes[DEPTH_MAX];

	op_lookup(depth, number);
	for (unsigned int slot = 0; slot < depth; slot++)
		memcpy(&nodes[slot], reply_of(slot, FUSE_LOOKUP, 0), sizeof(nodes[slot]));
	for (unsigned int slot = 0; slot < depth; slot++) {
		request.node = nodes[slot];
		request_add(slot, &request);
	}
	requests_run(depth);
	return 2 * depth;
}

static unsigned int op_getattr(unsigned int depth, uint64_t number)
{
	struct fuse_getattr_in in = {0};
	struct request request = {.opcode = FUSE_GETATTR,
		.node = node,
		.arguments = &in,
		.size = sizeof(in),
		.reply = sizeof(struct fuse_attr_out)};

	(void)number;
	for (unsigned int slot = 0; slot < depth; slot++)
		request_add(slot, &request);
	return all_run(depth, &request, request.reply);
}

static unsigned int op_open_release(unsigned int depth, uint64_t number)
{
	struct fuse_open_in in = {.flags = O_RDONLY};
	struct fuse_release_in release_in = {0};
	struct request request = {.opcode = FUSE_OPEN,
		.node = node,
		.arguments = &in,
		.size = sizeof(in),
		.reply = sizeof(struct fuse_open_out)};
	uint64_t handles[DEPTH_MAX];

	(void)number;
	for (unsigned int slot = 0; slot < depth; slot++)
		request_add(slot, &request);
	all_run(depth, &request, request.reply);
	for (unsigned int slot = 0; slot < depth; slot++)
		memcpy(&handles[slot], reply_of(slot, FUSE_OPEN, 0), sizeof(handles[slot]));
	request = (struct request){.opcode = FUSE_RELEASE,
		.node = node,
		.arguments = &release_in,
		.size = sizeof(release_in)};
	for (unsigned int slot = 0; slot < depth; slot++) {
		release_in.fh = handles[slot];
		request_add(slot, &request);
	}
	all_run(depth, &request, 0);
	return 2 * depth;
}

static unsigned int read_some(unsigned int depth, uint64_t number, uint32_t size)
{
	struct fuse_read_in in = {.fh = handle, .size = size};
	struct request request = {.opcode = FUSE_READ,
		.node = node,
		.arguments = &in,
		.size = sizeof(in),
		.payload_out = size};

	for (unsigned int slot = 0; slot < depth; slot++) {
		in.offset = (number + slot) * size % DATA_SIZE;
		request_add(slot, &request);
	}
	return all_run(depth, &request, size);
}

static unsigned int op_read_4k(unsigned int depth, uint64_t number)
{
	return read_some(depth, number, PAGE);
}

static unsigned int op_read_128k(unsigned int depth, uint64_t number)
{
	return read_some(depth, number, PAYLOAD_MAX);
}

static unsigned int op_write_4k(unsigned int depth, uint64_t number)
{
	struct fuse_write_in in = {.fh = handle, .size = PAGE};
	struct request request = {.opcode = FUSE_WRITE,
		.node = node,
		.arguments = &in,
		.size = sizeof(in),
		.payload_in = PAGE,
		.reply = sizeof(struct fuse_write_out)};

	for (unsigned int slot = 0; slot < depth; slot++) {
		in.offset = (number + slot) * PAGE % DATA_SIZE;
		request_add(slot, &request);
	}
	return all_run(depth, &request, request.reply);
}

/* The payload of a request, without the request. */
static unsigned int bare_run(unsigned int depth, uint64_t number, uint32_t size, bool write)
{
	static int fd = -1;

	if (fd < 0)
		fd = openat(directory_fd, "data", O_RDWR | O_CLOEXEC);
	for (unsigned int slot = 0; slot < depth; slot++) {
		uint8_t *memory = server.memory + SLOTS + slot * SLOT_SIZE + SLOT_REPLY;
		off_t offset = (off_t)((number + slot) * size % DATA_SIZE);
		struct iovec spans[PAYLOAD_MAX / PAGE];
		int count = (int)(size / PAGE);

		for (int i = 0; i < count; i++)
			spans[i] = (struct iovec){memory + (size_t)i * PAGE, PAGE};
		if ((write ? pwritev(fd, spans, count, offset)
			   : preadv(fd, spans, count, offset)) != size)
			fail("cannot read or write the file: %s", strerror(errno));
	}
	return depth;
}

static unsigned int bare_read_4k(unsigned int depth, uint64_t number)
{
	return bare_run(depth, number, PAGE, false);
}

static unsigned int bare_read_128k(unsigned int depth, uint64_t number)
{
	return bare_run(depth, number, PAYLOAD_MAX, false);
}

static unsigned int bare_write_4k(unsigned int depth, uint64_t number)
{
	return bare_run(depth, number, PAGE, true);
}

static double seconds_of(clockid_t clock)
{
	struct timespec time;

	if (clock_gettime(clock, &time) < 0)
		fail("the server has ended");
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void measure(const char *name, operation *run, unsigned int depth, double seconds)
{
	double start, processor_start, end;
	uint64_t requests = 0, number = 0;

	/* What is done once is done before. */
	for (unsigned int i = 0; i < FILES; i++, number += depth)
		run(depth, number);
	start = seconds_of(CLOCK_MONOTONIC);
	processor_start = seconds_of(server.processor_time);
	do {
		for (unsigned int i = 0; i < CLOCK_EVERY; i++, number += depth)
			requests += run(depth, number);
		end = seconds_of(CLOCK_MONOTONIC);
	} while (end - start < seconds);
	printf("{\"server\": \"%s\", \"operation\": \"%s\", \"depth\": %u, \"requests\": %" PRIu64
	       ", \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n",
		server.name, name, depth, requests, end - start,
		seconds_of(server.processor_time) - processor_start);
	fflush(stdout);
}

struct measured {
	const char *name;
	operation *run;
};

static const struct measured operations[] = {
	/* First: nothing knows the names yet. */
	{"lookup-forget", op_lookup_forget},
	{"lookup", op_lookup},
	{"getattr", op_getattr},
	{"open-release", op_open_release},
	{"read-4k", op_read_4k},
	{"read-128k", op_read_128k},
	{"write-4k", op_write_4k},
};

static const struct measured bare_operations[] = {
	{"read-4k", bare_read_4k},
	{"read-128k", bare_read_128k},
	{"write-4k", bare_write_4k},
};

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"virtiofsd", required_argument, NULL, 'v'},
		{"vhost-user-socket", required_argument, NULL, 'u'},
		{"directory", required_argument, NULL, 'd'},
		{"seconds", required_argument, NULL, 's'},
		{"depth", required_argument, NULL, 'n'},
		{"interrupts", no_argument, NULL, 'i'},
		{"bare", no_argument, NULL, 'b'},
		{0},
	};
	const char *program = NULL, *path = NULL, *given = NULL;
	unsigned int depth = 1;
	bool interrupts = false, bare = false;
	const struct measured *measured = operations;
	size_t count = ARRAY_SIZE(operations);
	double seconds = 1;

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
		switch (option) {
		case 'v':
			program = optarg;
			break;
		case 'u':
			path = optarg;
			break;
		case 'd':
			given = optarg;
			break;
		case 's':
			seconds = strtod(optarg, NULL);
			break;
		case 'n':
			depth = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'i':
			interrupts = true;
			break;
		case 'b':
			bare = true;
			break;
		default:
			return 2;
		}
	if (depth < 1 || depth > DEPTH_MAX || !!program + !!path + bare > 1 || optind != argc)
		fail("see the head of tests/bench/fs_rate.c for its use");
	signal(SIGPIPE, SIG_IGN);
	atexit(cleanup);
	snprintf(directory, sizeof(directory), "%s", given ? given : "/tmp/fs-rate-XXXXXX");
	if (!given && !mkdtemp(directory))
		fail("cannot make a directory: %s", strerror(errno));
	directory_is_ours = !given;
	directory_fill();
	memory_make();
	if (bare) {
		measured = bare_operations;
		count = ARRAY_SIZE(bare_operations);
		server.name = "none";
		server.processor_time = CLOCK_PROCESS_CPUTIME_ID;
	} else if (program) {
		vhost_launch(program);
	} else if (path) {
		vhost_connect(path);
	} else {
		own_start(interrupts);
	}
	if (!bare)
		session_start();
	for (size_t i = 0; i < count; i++)
		measure(measured[i].name, measured[i].run, depth, seconds);
	virtio_fs_free(server.fs);
	return 0;
}
