// SPDX-License-Identifier: Apache-2.0
/* The file server behind its virtqueues: inline and queued service, resets, broken drivers. */
#include "base/cleanup.h"
#include "virtio/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ENTRIES      256
#define SLOTS        40
#define SLOT_CHAIN   6          /* descriptors of one slot: each direction in three pieces */
#define SLOT_SIZE    0x20000ull /* guest memory of one request: 64 KiB in, 64 KiB out */
#define SLOT_REPLY   0x10000ull
#define DESCRIPTORS  0x0ull
#define AVAILABLE    0x4000ull
#define USED         0x8000ull
#define HIPRIO       0x10000ull /* the same three for queue 0, at the same distances */
#define SLOTS_START  0x40000ull
#define MEMORY_SIZE  (SLOTS_START + SLOTS * SLOT_SIZE)
#define PAGE         4096ull
#define FILE_SIZE    (SLOTS * PAGE)
#define SPLIT_ODD    7ull
#define LONG_WRITE   32768u
#define CONFIG_CAUSE 2

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct driver {
	char path[64];
	int tree;
	uint8_t *memory;
	struct guest_memory guest;
	struct virtio_fs *fs;
	struct virtio_device *device;
	pthread_mutex_t lock; /* of what follows: the driver's own */
	uint16_t used[2];     /* entries of the used ring that were seen */
	bool done[ENTRIES];   /* by head */
	atomic_uint interrupts, config_interrupts;
	uint32_t features;     /* offered at INIT */
	uint64_t node, handle; /* an open file of FILE_SIZE bytes; handle 0: there is no OPEN */
};

static struct driver *current;

static void interrupt(struct virtio_device *device, uint32_t cause)
{
	(void)device;
	if (cause == CONFIG_CAUSE)
		current->config_interrupts++;
	else
		current->interrupts++;
}

static void queues_start(struct driver *driver)
{
	driver->device->running = true;
	for (unsigned int i = 0; i < 2; i++) {
		struct virtqueue *queue = &driver->device->queues[i];
		uint64_t base = i == 0 ? HIPRIO : 0;

		memset(driver->memory + base, 0, HIPRIO);
		queue->descriptors = base + DESCRIPTORS;
		queue->available = base + AVAILABLE;
		queue->used = base + USED;
		queue->size = ENTRIES;
		assert_int_equal(virtqueue_start(queue), 0);
		driver->used[i] = 0;
	}
	memset(driver->done, 0, sizeof(driver->done));
}

/*
 * Puts a request into slot and the ring, without a notification; both directions are cut into
 * pieces of piece bytes at their start (two of them), as scattered buffers would be. Returns the
 * head.
 */
static uint16_t request_add(struct driver *driver, unsigned int queue, unsigned int slot,
	const struct fuse_in_header *header, const void *arguments, size_t length, size_t room,
	size_t piece)
{
	uint64_t base = queue == 0 ? HIPRIO : 0, in = SLOTS_START + slot * SLOT_SIZE;
	struct descriptor *table = (struct descriptor *)(driver->memory + base + DESCRIPTORS);
	uint16_t *available = (uint16_t *)(driver->memory + base + AVAILABLE);
	struct fuse_in_header copy = *header;
	uint16_t head = (uint16_t)(slot * SLOT_CHAIN), next = head;

	copy.len = (uint32_t)(sizeof(copy) + length);
	memcpy(driver->memory + in, &copy, sizeof(copy));
	if (length)
		memcpy(driver->memory + in + sizeof(copy), arguments, length);
	pthread_mutex_lock(&driver->lock);
	for (int writable = 0; writable < 2; writable++) {
		uint64_t address = in + (writable ? SLOT_REPLY : 0);
		size_t left = writable ? room : copy.len;

		for (int part = 0; left > 0; part++) {
			size_t size = part < 2 && piece && piece < left ? piece : left;

			table[next] = (struct descriptor){
				.address = address,
				.length = (uint32_t)size,
				.flags = (uint16_t)(1 | (writable ? 2 : 0)),
				.next = (uint16_t)(next + 1),
			};
			next++;
			address += size;
			left -= size;
		}
	}
	table[next - 1].flags &= (uint16_t)~1u;
	driver->done[head] = false;
	available[2 + available[1] % ENTRIES] = head;
	__atomic_store_n(&available[1], (uint16_t)(available[1] + 1), __ATOMIC_RELEASE);
	pthread_mutex_unlock(&driver->lock);
	return head;
}

static void notify(struct driver *driver, unsigned int queue)
{
	struct virtio_device *device = driver->device;

	pthread_mutex_lock(&device->lock);
	if (device->running && device->queues[queue].ready)
		device->operations->notify(device, queue);
	pthread_mutex_unlock(&device->lock);
}

/* Looks at the used ring; returns how many requests have come back in all. */
static uint16_t collect(struct driver *driver, unsigned int queue)
{
	const uint16_t *used = (const uint16_t *)(driver->memory + (queue ? 0 : HIPRIO) + USED);
	uint16_t seen;

	pthread_mutex_lock(&driver->lock);
	while (driver->used[queue] != __atomic_load_n(&used[1], __ATOMIC_ACQUIRE)) {
		uint32_t id;

		memcpy(&id, used + 2 + (size_t)(driver->used[queue] % ENTRIES) * 4, sizeof(id));
		assert_true(id < ENTRIES);
		assert_false(driver->done[id]);
		driver->done[id] = true;
		driver->used[queue]++;
	}
	seen = driver->used[queue];
	pthread_mutex_unlock(&driver->lock);
	return seen;
}

/* Plays the event loop until count requests of the request queue have come back. */
static void wait_for(struct driver *driver, uint16_t count)
{
	struct pollfd wait = {.fd = virtio_fs_completion_fd(driver->fs), .events = POLLIN};

	while (collect(driver, 1) < count) {
		assert_true(wait.fd >= 0);
		assert_int_equal(poll(&wait, 1, 60000), 1);
		virtio_fs_complete(driver->fs);
	}
}

static const uint8_t *reply_of(
	const struct driver *driver, unsigned int slot, int *ret_error, size_t *ret_length)
{
	const uint8_t *reply = driver->memory + SLOTS_START + slot * SLOT_SIZE + SLOT_REPLY;
	struct fuse_out_header header;

	memcpy(&header, reply, sizeof(header));
	*ret_error = header.error;
	*ret_length = header.len - sizeof(header);
	return reply + sizeof(header);
}

/* One request alone; returns the error in its reply. */
static int call(struct driver *driver, uint32_t opcode, uint64_t node, const void *arguments,
	size_t length, const uint8_t **ret_payload)
{
	struct fuse_in_header header = {.opcode = opcode, .nodeid = node, .unique = 1};
	size_t reply_length;
	int error;

	request_add(driver, 1, 0, &header, arguments, length, 8192, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(driver->used[1] + 1));
	*ret_payload = reply_of(driver, 0, &error, &reply_length);
	return error;
}

static void session_start(struct driver *driver)
{
	struct fuse_init_in init = {.major = 7, .minor = 41, .flags = driver->features};
	struct fuse_open_in open_in = {.flags = O_RDWR};
	const uint8_t *payload;

	assert_int_equal(call(driver, FUSE_INIT, 0, &init, sizeof(init), &payload), 0);
	assert_int_equal(call(driver, FUSE_LOOKUP, FUSE_ROOT_ID, "file", 5, &payload), 0);
	memcpy(&driver->node, payload, sizeof(driver->node));
	driver->handle = 0;
	if (driver->features & FUSE_NO_OPEN_SUPPORT) {
		assert_int_equal(
			call(driver, FUSE_OPEN, driver->node, &open_in, sizeof(open_in), &payload),
			-ENOSYS);
		return;
	}
	assert_int_equal(
		call(driver, FUSE_OPEN, driver->node, &open_in, sizeof(open_in), &payload), 0);
	memcpy(&driver->handle, payload, sizeof(driver->handle));
}

/* Byte of the file at offset, before anything was written. */
static uint8_t pattern(size_t offset)
{
	return (uint8_t)(offset / PAGE * 31 + offset % 251);
}

static int driver_begin_with(void **state, enum virtio_fs_policy policy, uint32_t features,
	struct fs_throttle_limits limits)
{
	struct driver *driver = calloc(1, sizeof(*driver));
	struct virtio_fs_options options = {
		.tag = "pod",
		.policy = policy,
		.inodes_max = 1024,
		.handles_max = 128,
		.limits = limits,
	};
	_cleanup_free_ uint8_t *content = malloc(FILE_SIZE);
	struct error err;
	int fd;

	strcpy(driver->path, "/tmp/virtio-fs-queue-XXXXXX");
	assert_non_null(mkdtemp(driver->path));
	driver->tree = open(driver->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < FILE_SIZE; i++)
		content[i] = pattern(i);
	fd = openat(driver->tree, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, content, FILE_SIZE), FILE_SIZE);
	close(fd);
	driver->memory =
		mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(driver->memory, MAP_FAILED);
	driver->guest = (struct guest_memory){
		.regions = {{0, MEMORY_SIZE, driver->memory}},
		.count = 1,
	};
	options.tree_fd = dup(driver->tree);
	assert_int_equal(virtio_fs_create(&driver->guest, &options, &driver->fs, &err), 0);
	driver->device = virtio_fs_device(driver->fs);
	driver->device->interrupt = interrupt;
	pthread_mutex_init(&driver->lock, NULL);
	current = driver;
	driver->features = features;
	queues_start(driver);
	session_start(driver);
	*state = driver;
	return 0;
}

static int driver_begin(void **state)
{
	return driver_begin_with(state, VIRTIO_FS_EXCLUSIVE,
		UINT32_MAX & ~(uint32_t)FUSE_NO_OPEN_SUPPORT, (struct fs_throttle_limits){0});
}

/* Files that others change, too: of a volume. */
static int driver_begin_shared(void **state)
{
	return driver_begin_with(state, VIRTIO_FS_SHARED,
		UINT32_MAX & ~(uint32_t)FUSE_NO_OPEN_SUPPORT, (struct fs_throttle_limits){0});
}

/* Nothing but the first few bytes is let through in the time of a test. */
static int driver_begin_limited(void **state)
{
	return driver_begin_with(
		state, VIRTIO_FS_EXCLUSIVE, UINT32_MAX, (struct fs_throttle_limits){.bytes = 1});
}

static int driver_begin_without_open(void **state)
{
	return driver_begin_with(
		state, VIRTIO_FS_EXCLUSIVE, UINT32_MAX, (struct fs_throttle_limits){0});
}

/* On a disk that has room for the file and SMALL_PAGES more. Without one the driver is NULL. */
#define SMALL_PAGES 23

static int driver_begin_small(void **state, int (*begin)(void **state))
{
	char options[64];

	*state = NULL;
	snprintf(options, sizeof(options), "size=%llu", FILE_SIZE + SMALL_PAGES * PAGE);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
		mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("small", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return 0;
	return begin(state);
}

static int driver_begin_on_small_disk(void **state)
{
	return driver_begin_small(state, driver_begin);
}

static int driver_begin_shared_on_small_disk(void **state)
{
	return driver_begin_small(state, driver_begin_shared);
}

static int driver_end(void **state)
{
	struct driver *driver = *state;

	virtio_fs_free(driver->fs);
	assert_int_equal(unlinkat(driver->tree, "file", 0), 0);
	close(driver->tree);
	assert_int_equal(rmdir(driver->path), 0);
	munmap(driver->memory, MEMORY_SIZE);
	pthread_mutex_destroy(&driver->lock);
	free(driver);
	return 0;
}

static int driver_end_on_small_disk(void **state)
{
	if (*state)
		driver_end(state);
	umount2("/tmp", MNT_DETACH);
	return 0;
}

static struct virtio_fs_statistics statistics(const struct driver *driver)
{
	struct virtio_fs_statistics result;

	virtio_fs_statistics(driver->fs, &result);
	return result;
}

static void read_add(struct driver *driver, unsigned int slot, uint64_t offset, uint32_t size,
	size_t room, size_t piece)
{
	struct fuse_in_header header = {
		.opcode = FUSE_READ, .nodeid = driver->node, .unique = 100 + slot};
	struct fuse_read_in in = {.fh = driver->handle, .offset = offset, .size = size};

	request_add(driver, 1, slot, &header, &in, sizeof(in), room, piece);
}

static void write_add(struct driver *driver, unsigned int slot, uint64_t offset, uint8_t byte,
	uint32_t size, size_t piece)
{
	struct fuse_in_header header = {
		.opcode = FUSE_WRITE, .nodeid = driver->node, .unique = 100 + slot};
	struct fuse_write_in in = {.fh = driver->handle, .offset = offset, .size = size};
	_cleanup_free_ uint8_t *arguments = malloc(sizeof(in) + size);

	memcpy(arguments, &in, sizeof(in));
	memset(arguments + sizeof(in), byte, size);
	request_add(driver, 1, slot, &header, arguments, sizeof(in) + size, 24, piece);
}

static int setattr_size(struct driver *driver, uint64_t size)
{
	struct fuse_setattr_in in = {.valid = FATTR_SIZE, .size = size};
	const uint8_t *payload;

	return call(driver, FUSE_SETATTR, driver->node, &in, sizeof(in), &payload);
}

static void expect_pattern(
	const struct driver *driver, unsigned int slot, size_t offset, size_t expected)
{
	const uint8_t *payload;
	size_t length;
	int error;

	payload = reply_of(driver, slot, &error, &length);
	assert_int_equal(error, 0);
	assert_int_equal(length, expected);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(payload[i], pattern(offset + i));
}

static void configuration_names_the_file_system(void **state)
{
	struct driver *driver = *state;
	struct virtio_device *device = driver->device;
	uint8_t config[40];

	assert_int_equal(device->id, VIRTIO_ID_FS);
	assert_int_equal(device->config_size, sizeof(config));
	device->operations->read_config(device, 0, config, sizeof(config));
	assert_string_equal((const char *)config, "pod");
	assert_int_equal(config[36], 1);
	assert_int_equal(config[37] | config[38] | config[39], 0);
	device->operations->read_config(device, 1, config, 2);
	assert_memory_equal(config, "od", 2);
}

/* What a READ gives of the file of a request that feeds itself: where the next request is, and from where that one reads. */
struct fed {
	uint16_t index;
	uint64_t offset;
} __attribute__((packed));

/* A request whose answer is the next request, count times: it is written into the ring and into itself. */
static void add_one_that_feeds_itself(struct driver *driver, uint16_t count)
{
	const uint64_t in = SLOTS_START, room = sizeof(struct fuse_out_header) + sizeof(struct fed);
	const struct fuse_in_header header = {
		.opcode = FUSE_READ, .unique = 1, .nodeid = driver->node};
	const struct fuse_read_in arguments = {
		.fh = driver->handle, .size = sizeof(struct fed), .offset = 0};
	struct descriptor *table = (struct descriptor *)(driver->memory + DESCRIPTORS);
	uint16_t *available = (uint16_t *)(driver->memory + AVAILABLE);
	_cleanup_close_ int fd = openat(driver->tree, "file", O_WRONLY | O_CLOEXEC);
	uint16_t first = available[1], head;

	for (uint16_t i = 0; i < count; i++) {
		const struct fed fed = {
			.index = (uint16_t)(first + (i + 1 < count ? i + 2 : count)),
			.offset = (i + 1ull) * sizeof(fed),
		};

		assert_int_equal(
			pwrite(fd, &fed, sizeof(fed), (off_t)(i * sizeof(fed))), sizeof(fed));
	}
	head = request_add(driver, 1, 0, &header, &arguments, sizeof(arguments), room, 0);
	table[head + 1].length = sizeof(struct fuse_out_header);
	table[head + 1].flags |= 1;
	table[head + 2] = (struct descriptor){
		.address = AVAILABLE + 2, .length = 2, .flags = 3, .next = (uint16_t)(head + 3)};
	table[head + 3] = (struct descriptor){
		.address = in + sizeof(header) + offsetof(struct fuse_read_in, offset),
		.length = sizeof(uint64_t),
		.flags = 2};
	for (unsigned int i = 0; i < ENTRIES; i++)
		available[2 + i] = head;
}

static void requests_that_make_requests_are_left_and_gone_on_with(void **state)
{
	const uint16_t count = 3000, turns = 256;
	struct driver *driver = *state;
	const uint16_t *used = (const uint16_t *)(driver->memory + USED) + 1;
	uint16_t before = *used, served;
	unsigned int parts = 0;
	bool is_unfinished;

	add_one_that_feeds_itself(driver, count);
	notify(driver, 1);
	assert_int_equal((uint16_t)(*used - before), turns);
	do {
		served = *used;
		is_unfinished = virtio_fs_go_on(driver->fs);
		assert_in_range((uint16_t)(*used - served), 1, turns);
		parts++;
	} while (is_unfinished);
	assert_int_equal((uint16_t)(*used - before), count);
	assert_int_equal(parts, count / turns);
	assert_false(virtio_fs_go_on(driver->fs));
	driver->used[1] = *used;
}

static void nothing_is_gone_on_with_after_a_reset(void **state)
{
	struct driver *driver = *state;

	add_one_that_feeds_itself(driver, 3000);
	notify(driver, 1);
	pthread_mutex_lock(&driver->device->lock);
	driver->device->operations->reset(driver->device);
	driver->device->running = false;
	for (unsigned int i = 0; i < 2; i++)
		virtqueue_reset(&driver->device->queues[i]);
	pthread_mutex_unlock(&driver->device->lock);
	assert_false(virtio_fs_go_on(driver->fs));
	queues_start(driver);
}

static void one_request_is_served_in_its_notification(void **state)
{
	struct driver *driver = *state;
	uint64_t before = statistics(driver).inline_requests;
	uint16_t used = driver->used[1];
	unsigned int interrupts = driver->interrupts;

	read_add(driver, 1, 4096, 4096, 16 + 4096, 0);
	notify(driver, 1);
	/* No event loop has run. */
	assert_int_equal(collect(driver, 1), used + 1);
	assert_int_equal(statistics(driver).inline_requests, before + 1);
	assert_int_equal(statistics(driver).queued_requests, 0);
	assert_int_equal(driver->interrupts, interrupts + 1);
	expect_pattern(driver, 1, 4096, 4096);
}

static void scattered_buffers_are_put_together(void **state)
{
	struct driver *driver = *state;
	struct fuse_in_header header = {.opcode = FUSE_LOOKUP, .nodeid = FUSE_ROOT_ID};
	size_t length;
	int error;

	for (size_t piece = 1; piece < 120; piece += SPLIT_ODD) {
		read_add(driver, 1, 8192, 3000, 16 + 3000, piece);
		notify(driver, 1);
		collect(driver, 1);
		expect_pattern(driver, 1, 8192, 3000);
		write_add(driver, 2, 0, (uint8_t)piece, 2000, piece);
		notify(driver, 1);
		collect(driver, 1);
		reply_of(driver, 2, &error, &length);
		assert_int_equal(error, 0);
		assert_int_equal(length, sizeof(struct fuse_write_out));
		request_add(driver, 1, 3, &header, "file", 5, 16 + sizeof(struct fuse_entry_out),
			piece);
		notify(driver, 1);
		collect(driver, 1);
		reply_of(driver, 3, &error, &length);
		assert_int_equal(error, 0);
		assert_int_equal(length, sizeof(struct fuse_entry_out));
		/* Room for less than was asked for: what fits. */
		read_add(driver, 4, 0, 4096, 16 + 5, piece);
		notify(driver, 1);
		collect(driver, 1);
		reply_of(driver, 4, &error, &length);
		assert_int_equal(length, 5);
	}
}

static void several_data_requests_go_through_the_ring(void **state)
{
	struct driver *driver = *state;
	struct virtio_fs_statistics before = statistics(driver);
	uint16_t used = driver->used[1];
	uint8_t byte;
	int fd, error;
	size_t length;

	if (virtio_fs_completion_fd(driver->fs) < 0)
		skip(); /* the host has no io_uring */
	/* Reads of the second half, at the end too, and writes to the first. */
	for (unsigned int i = 0; i < 16; i++)
		read_add(driver, i, (24 + i) * PAGE, 4096, 16 + 4096, i * SPLIT_ODD);
	read_add(driver, 16, FILE_SIZE - 10, 4096, 16 + 4096, 0);
	read_add(driver, 17, FILE_SIZE, 4096, 16 + 4096, 0);
	write_add(driver, 18, 0, 18, LONG_WRITE, 18);
	write_add(driver, 19, LONG_WRITE, 19, LONG_WRITE, 19);
	/* A short one is done sooner than it is queued. */
	write_add(driver, 20, 2 * LONG_WRITE, 20, 4096, 20);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(used + 21));
	assert_int_equal(statistics(driver).queued_requests, before.queued_requests + 20);
	assert_int_equal(statistics(driver).inline_requests, before.inline_requests + 1);
	for (unsigned int i = 0; i < 16; i++)
		expect_pattern(driver, i, (24 + i) * PAGE, 4096);
	expect_pattern(driver, 16, FILE_SIZE - 10, 10);
	expect_pattern(driver, 17, FILE_SIZE, 0);
	fd = openat(driver->tree, "file", O_RDONLY | O_CLOEXEC);
	for (unsigned int i = 18; i < 21; i++) {
		const uint8_t *payload = reply_of(driver, i, &error, &length);
		uint32_t size = i < 20 ? LONG_WRITE : 4096;
		struct fuse_write_out out;

		assert_int_equal(error, 0);
		assert_int_equal(length, sizeof(out));
		memcpy(&out, payload, sizeof(out));
		assert_int_equal(out.size, size);
		assert_int_equal(pread(fd, &byte, 1, (i - 18) * LONG_WRITE + size - 1), 1);
		assert_int_equal(byte, i);
	}
	close(fd);
}

/* How many bytes the answer in a slot says were written, or its error. */
static int written_of(const struct driver *driver, unsigned int slot)
{
	struct fuse_write_out out;
	size_t length;
	const uint8_t *payload;
	int error;

	payload = reply_of(driver, slot, &error, &length);
	if (error)
		return error;
	assert_int_equal(length, sizeof(out));
	memcpy(&out, payload, sizeof(out));
	return (int)out.size;
}

/* One request through the ring. */
static int write_queued(struct driver *driver, uint64_t offset)
{
	uint64_t queued = statistics(driver).queued_requests;

	write_add(driver, 0, offset, 7, LONG_WRITE, 0);
	/* One that is alone is served at once. */
	read_add(driver, 1, 0, 10, 8192, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(driver->used[1] + 2));
	assert_int_equal(statistics(driver).queued_requests, queued + 2);
	return written_of(driver, 0);
}

static void writes_to_a_full_disk_tell_how_far_they_came(void **state)
{
	const uint64_t long_pages = LONG_WRITE / PAGE;
	struct driver *driver = *state;
	struct fuse_in_header header = {.opcode = FUSE_FALLOCATE, .unique = 1};
	struct fuse_fallocate_in in = {.offset = FILE_SIZE, .length = 4 * SMALL_PAGES * PAGE};
	uint64_t end = FILE_SIZE;
	struct stat status;
	size_t length;
	int error;

	if (!driver)
		skip(); /* needs root, for a small disk */
	for (; end + LONG_WRITE <= FILE_SIZE + SMALL_PAGES * PAGE; end += LONG_WRITE)
		assert_int_equal(write_queued(driver, end), LONG_WRITE);
	assert_int_equal(write_queued(driver, end), SMALL_PAGES % long_pages * PAGE);
	end = FILE_SIZE + SMALL_PAGES * PAGE;
	assert_int_equal(write_queued(driver, end), -ENOSPC);
	header.nodeid = driver->node;
	in.fh = driver->handle;
	request_add(driver, 1, 0, &header, &in, sizeof(in), 8192, 0);
	read_add(driver, 1, 0, 10, 8192, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(driver->used[1] + 2));
	reply_of(driver, 0, &error, &length);
	assert_int_equal(error, -ENOSPC);
	assert_int_equal(fstatat(driver->tree, "file", &status, 0), 0);
	assert_int_equal(status.st_size, end);
	/* With room again it works again. */
	assert_int_equal(setattr_size(driver, FILE_SIZE), 0);
	assert_int_equal(write_queued(driver, FILE_SIZE), LONG_WRITE);
}

static void write_that_ends_at_a_limit_tells_how_far_it_came(void **state)
{
	const rlim_t written = 10000;
	struct driver *driver = *state;
	struct rlimit before, limit;
	uint16_t used = driver->used[1];
	struct fuse_write_out out;
	size_t length;
	int error;

	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = LONG_WRITE + written;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	write_add(driver, 0, LONG_WRITE, 1, LONG_WRITE, 0);
	write_add(driver, 1, LONG_WRITE + written, 2, LONG_WRITE, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(used + 2));
	setrlimit(RLIMIT_FSIZE, &before);
	memcpy(&out, reply_of(driver, 0, &error, &length), sizeof(out));
	assert_int_equal(error, 0);
	assert_int_equal(out.size, written);
	reply_of(driver, 1, &error, &length);
	assert_int_equal(error, -EFBIG);
}

static void what_the_ring_cannot_do_is_served_beside_it(void **state)
{
	struct driver *driver = *state;
	struct virtio_fs_statistics before = statistics(driver);
	uint16_t used = driver->used[1];
	struct fuse_in_header fsync_header = {.opcode = FUSE_FSYNC, .nodeid = driver->node};
	struct fuse_in_header allocate_header = {.opcode = FUSE_FALLOCATE, .nodeid = driver->node};
	struct fuse_in_header lookup_header = {.opcode = FUSE_LOOKUP, .nodeid = FUSE_ROOT_ID};
	struct fuse_fsync_in fsync_in = {.fh = driver->handle};
	struct fuse_fallocate_in allocate_in = {
		.fh = driver->handle, .offset = FILE_SIZE, .length = 4096};
	struct stat st;
	size_t length;
	int error;

	if (virtio_fs_completion_fd(driver->fs) < 0)
		skip(); /* the host has no io_uring */
	request_add(driver, 1, 0, &fsync_header, &fsync_in, sizeof(fsync_in), 16, 0);
	request_add(driver, 1, 1, &lookup_header, "file", 5, 200, 0);
	request_add(driver, 1, 2, &allocate_header, &allocate_in, sizeof(allocate_in), 16, 0);
	/* Wrong ones are answered as if they were alone. */
	fsync_in.fh ^= 1ull << 50;
	request_add(driver, 1, 3, &fsync_header, &fsync_in, sizeof(fsync_in), 16, 0);
	read_add(driver, 4, UINT64_MAX, 100, 200, 0);
	read_add(driver, 5, 0, 100, 200, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(used + 6));
	assert_int_equal(statistics(driver).queued_requests, before.queued_requests + 3);
	assert_int_equal(statistics(driver).inline_requests, before.inline_requests + 3);
	for (unsigned int i = 0; i < 3; i++) {
		reply_of(driver, i, &error, &length);
		assert_int_equal(error, 0);
	}
	reply_of(driver, 3, &error, &length);
	assert_int_equal(error, -EBADF);
	reply_of(driver, 4, &error, &length);
	assert_int_equal(error, -EINVAL);
	expect_pattern(driver, 5, 0, 100);
	assert_int_equal(fstatat(driver->tree, "file", &st, 0), 0);
	assert_int_equal(st.st_size, FILE_SIZE + 4096);
}

static void released_files_stay_open_for_what_is_queued(void **state)
{
	struct driver *driver = *state;
	struct fuse_in_header release_header = {.opcode = FUSE_RELEASE, .nodeid = driver->node};
	struct fuse_in_header forget_header = {.opcode = FUSE_FORGET, .nodeid = driver->node};
	struct fuse_release_in release_in = {.fh = driver->handle};
	struct fuse_forget_in forget_in = {.nlookup = 1};
	uint16_t used = driver->used[1];

	for (unsigned int i = 0; i < 20; i++)
		read_add(driver, i, i * PAGE, 4096, 16 + 4096, 0);
	request_add(driver, 1, 20, &release_header, &release_in, sizeof(release_in), 16, 0);
	request_add(driver, 1, 21, &forget_header, &forget_in, sizeof(forget_in), 0, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(used + 22));
	for (unsigned int i = 0; i < 20; i++)
		expect_pattern(driver, i, i * PAGE, 4096);
	assert_int_equal(statistics(driver).handles, 0);
	assert_int_equal(statistics(driver).inodes, 1);
}

static void forgotten_files_stay_open_for_what_is_queued(void **state)
{
	struct driver *driver = *state;
	struct fuse_in_header forget_header = {.opcode = FUSE_FORGET, .nodeid = driver->node};
	struct fuse_forget_in forget_in = {.nlookup = 1};
	uint16_t used = driver->used[1];
	uint64_t node = driver->node;
	const uint8_t *payload;

	/* The first ones have a file that is open for reading; a write replaces it. */
	for (unsigned int i = 0; i < 20; i++)
		read_add(driver, i, (i + 1) * PAGE, 4096, 16 + 4096, 0);
	write_add(driver, 20, 0, 0xaa, 4096, 0);
	read_add(driver, 21, 2 * PAGE, 4096, 16 + 4096, 0);
	request_add(driver, 1, 22, &forget_header, &forget_in, sizeof(forget_in), 0, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(used + 23));
	for (unsigned int i = 0; i < 20; i++)
		expect_pattern(driver, i, (i + 1) * PAGE, 4096);
	expect_pattern(driver, 21, 2 * PAGE, 4096);
	assert_int_equal(statistics(driver).data, 0);
	assert_int_equal(statistics(driver).inodes, 1);
	assert_int_equal(call(driver, FUSE_LOOKUP, FUSE_ROOT_ID, "file", 5, &payload), 0);
	assert_int_not_equal(memcmp(payload, &node, sizeof(node)), 0);
	memcpy(&driver->node, payload, sizeof(driver->node));
	read_add(driver, 1, 0, 1, 200, 0);
	notify(driver, 1);
	wait_for(driver, (uint16_t)(used + 25));
	assert_int_equal(*reply_of(driver, 1, &(int){0}, &(size_t){0}), 0xaa);
}

static void reset_waits_for_what_is_queued(void **state)
{
	struct driver *driver = *state;
	struct virtio_device *device = driver->device;
	const uint16_t *used = (const uint16_t *)(driver->memory + USED);
	size_t length;
	int error;

	for (unsigned int round = 0; round < 20; round++) {
		uint16_t before = collect(driver, 1);

		for (unsigned int i = 0; i < 20; i++)
			write_add(driver, i, i * PAGE, (uint8_t)round, 4096, 0);
		for (unsigned int i = 20; i < 34; i++)
			read_add(driver, i, i * PAGE, 4096, 16 + 4096, 0);
		/* These always take a while. */
		for (unsigned int i = 34; i < 40; i++) {
			struct fuse_in_header header = {
				.opcode = FUSE_FSYNC, .nodeid = driver->node};
			struct fuse_fsync_in in = {.fh = driver->handle};

			request_add(driver, 1, i, &header, &in, sizeof(in), 16, 0);
		}
		notify(driver, 1);
		pthread_mutex_lock(&device->lock);
		device->running = false;
		device->operations->reset(device);
		/* Nothing is in flight: all was given back, and nothing more will be. */
		assert_int_equal(used[1], (uint16_t)(before + 40));
		virtqueue_reset(&device->queues[0]);
		virtqueue_reset(&device->queues[1]);
		pthread_mutex_unlock(&device->lock);
		assert_int_equal(statistics(driver).handles, 0);
		assert_int_equal(statistics(driver).inodes, 1);
		virtio_fs_complete(driver->fs);
		for (unsigned int i = 0; i < 40; i++) {
			reply_of(driver, i, &error, &length);
			assert_int_equal(error, 0);
		}
		queues_start(driver);
		read_add(driver, 0, 0, 100, 200, 0);
		notify(driver, 1);
		collect(driver, 1);
		reply_of(driver, 0, &error, &length);
		assert_int_equal(error, -EIO); /* the session has ended */
		session_start(driver);
	}
}

static void forgets_come_through_their_own_queue(void **state)
{
	struct driver *driver = *state;
	struct fuse_in_header header = {.opcode = FUSE_FORGET, .nodeid = driver->node};
	struct fuse_forget_in in = {.nlookup = 1};

	request_add(driver, 0, 1, &header, &in, sizeof(in), 0, 0);
	notify(driver, 0);
	assert_int_equal(collect(driver, 0), 1);
	assert_int_equal(statistics(driver).inodes, 1);
	assert_true(driver->device->running);
}

static void broken_requests_break_the_device_until_a_reset(void **state)
{
	struct driver *driver = *state;
	struct virtio_device *device = driver->device;
	struct fuse_in_header header = {.opcode = FUSE_STATFS, .nodeid = FUSE_ROOT_ID};
	uint16_t used = driver->used[1];

	/* A reply without room, then a good one behind it. */
	request_add(driver, 1, 0, &header, NULL, 0, 8, 0);
	read_add(driver, 1, 0, 100, 200, 0);
	notify(driver, 1);
	assert_false(device->running);
	assert_int_equal(driver->config_interrupts, 1);
	assert_int_equal(collect(driver, 1), used);
	notify(driver, 1);
	assert_int_equal(collect(driver, 1), used);
	pthread_mutex_lock(&device->lock);
	device->operations->reset(device);
	virtqueue_reset(&device->queues[0]);
	virtqueue_reset(&device->queues[1]);
	pthread_mutex_unlock(&device->lock);
	queues_start(driver);
	session_start(driver);
	/* A ring that jumps. */
	((uint16_t *)(driver->memory + AVAILABLE))[1] += ENTRIES + 1;
	notify(driver, 1);
	assert_false(device->running);
	assert_int_equal(driver->config_interrupts, 2);
}

struct processor {
	struct driver *driver;
	unsigned int slot;
};

/* A vCPU: adds a request, notifies, and waits until someone has seen it come back. */
static void *processor_run(void *context)
{
	struct processor *processor = context;
	struct driver *driver = processor->driver;
	struct pollfd wait = {.fd = virtio_fs_completion_fd(driver->fs), .events = POLLIN};
	unsigned int slot = processor->slot;

	for (unsigned int i = 0; i < 300; i++) {
		struct fuse_in_header header = {.opcode = FUSE_READ, .nodeid = driver->node};
		struct fuse_read_in in = {
			.fh = driver->handle, .offset = i % SLOTS * PAGE, .size = 4096};
		uint16_t head =
			request_add(driver, 1, slot, &header, &in, sizeof(in), 16 + 4096, 0);
		bool done = false;
		const uint8_t *payload;
		size_t length;
		int error;

		notify(driver, 1);
		while (!done) {
			collect(driver, 1);
			pthread_mutex_lock(&driver->lock);
			done = driver->done[head];
			pthread_mutex_unlock(&driver->lock);
			if (!done && poll(&wait, 1, 1) > 0)
				virtio_fs_complete(driver->fs);
		}
		payload = reply_of(driver, slot, &error, &length);
		if (error || length != 4096 || payload[9] != pattern(in.offset + 9))
			return context;
	}
	return NULL;
}

static void processors_are_served_at_once(void **state)
{
	struct driver *driver = *state;
	struct processor processors[8];
	pthread_t threads[8];
	void *result;

	for (unsigned int i = 0; i < 8; i++) {
		processors[i] = (struct processor){driver, i};
		assert_int_equal(
			pthread_create(&threads[i], NULL, processor_run, &processors[i]), 0);
	}
	for (unsigned int i = 0; i < 8; i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
}

/* From here on this process has no io_uring; so this is the last test. */
static int driver_begin_without_ring(void **state)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	assert_non_null(filter);
	assert_int_equal(
		seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0), 0);
	r = seccomp_load(filter);
	seccomp_release(filter);
	assert_int_equal(r, 0);
	return driver_begin(state);
}

static void without_a_ring_everything_is_served_at_once(void **state)
{
	struct driver *driver = *state;
	uint16_t used = driver->used[1];

	assert_int_equal(virtio_fs_completion_fd(driver->fs), -1);
	virtio_fs_complete(driver->fs);
	for (unsigned int i = 0; i < 20; i++)
		read_add(driver, i, i * PAGE, PAGE, 16 + PAGE, 0);
	notify(driver, 1);
	assert_int_equal(collect(driver, 1), (uint16_t)(used + 20));
	assert_int_equal(statistics(driver).queued_requests, 0);
	for (unsigned int i = 0; i < 20; i++)
		expect_pattern(driver, i, i * PAGE, PAGE);
	pthread_mutex_lock(&driver->device->lock);
	driver->device->operations->reset(driver->device);
	pthread_mutex_unlock(&driver->device->lock);
	assert_int_equal(statistics(driver).handles, 0);
}

static void answers_over_the_limit_are_held_back_until_a_reset(void **state)
{
	struct driver *driver = *state;
	struct fuse_getattr_in in = {0};
	uint16_t used = driver->used[1];
	const uint8_t *payload;

	for (unsigned int i = 1; i <= 3; i++)
		read_add(driver, i, i * PAGE, PAGE, 16 + PAGE, 0);
	notify(driver, 1);
	assert_int_equal(collect(driver, 1), used);
	assert_int_equal(statistics(driver).queued_requests, 0);
	/* What moves no data does not wait for what does. */
	assert_int_equal(call(driver, FUSE_GETATTR, driver->node, &in, sizeof(in), &payload), 0);
	assert_int_equal(collect(driver, 1), (uint16_t)(used + 1));
	pthread_mutex_lock(&driver->device->lock);
	driver->device->operations->reset(driver->device);
	pthread_mutex_unlock(&driver->device->lock);
	assert_int_equal(collect(driver, 1), (uint16_t)(used + 4));
	for (unsigned int i = 1; i <= 3; i++)
		expect_pattern(driver, i, i * PAGE, PAGE);
}

static int driver_begin_one_operation(void **state)
{
	return driver_begin_with(state, VIRTIO_FS_EXCLUSIVE, UINT32_MAX,
		(struct fs_throttle_limits){.operations = 1});
}

/* Whether the answer to a request is held back; then a reset lets it go. */
static bool is_held(struct driver *driver, uint32_t opcode, const void *arguments, size_t length)
{
	struct fuse_in_header header = {.opcode = opcode, .nodeid = driver->node, .unique = 1};
	uint16_t used = driver->used[1];
	bool held;

	request_add(driver, 1, 1, &header, arguments, length, 8192, 0);
	notify(driver, 1);
	held = collect(driver, 1) == used;
	pthread_mutex_lock(&driver->device->lock);
	driver->device->operations->reset(driver->device);
	pthread_mutex_unlock(&driver->device->lock);
	assert_int_equal(collect(driver, 1), (uint16_t)(used + 1));
	return held;
}

static void copies_inside_of_the_host_count_as_bytes(void **state)
{
	struct driver *driver = *state;
	struct fuse_copy_file_range_in in = {
		.nodeid_out = driver->node, .off_out = 2 * PAGE, .len = PAGE};

	assert_true(is_held(driver, FUSE_COPY_FILE_RANGE, &in, sizeof(in)));
}

static void copies_of_nothing_cost_nothing(void **state)
{
	struct driver *driver = *state;
	struct fuse_copy_file_range_in in = {
		.off_in = FILE_SIZE, .nodeid_out = driver->node, .len = PAGE};

	assert_false(is_held(driver, FUSE_COPY_FILE_RANGE, &in, sizeof(in)));
}

static void syncing_a_file_system_is_an_operation(void **state)
{
	struct fuse_syncfs_in in = {0};

	assert_true(is_held(*state, FUSE_SYNCFS, &in, sizeof(in)));
}

static int driver_begin_slowed(void **state)
{
	return driver_begin_with(state, VIRTIO_FS_EXCLUSIVE, UINT32_MAX,
		(struct fs_throttle_limits){.operations = 50});
}

static void answers_over_the_limit_are_given_when_the_timer_says_so(void **state)
{
	struct driver *driver = *state;
	struct pollfd wait = {.fd = virtio_fs_limit_fd(driver->fs), .events = POLLIN};
	uint16_t used = driver->used[1];

	for (unsigned int i = 1; i <= 8; i++)
		read_add(driver, i, i * PAGE, PAGE, 16 + PAGE, 0);
	notify(driver, 1);
	assert_true(collect(driver, 1) < (uint16_t)(used + 8));
	while (collect(driver, 1) != (uint16_t)(used + 8)) {
		assert_int_equal(poll(&wait, 1, 60000), 1);
		virtio_fs_limit(driver->fs);
	}
	/* Nothing waits any more. */
	assert_int_equal(poll(&wait, 1, 0), 0);
	for (unsigned int i = 1; i <= 8; i++)
		expect_pattern(driver, i, i * PAGE, PAGE);
}

#define DRIVER_TEST(name) cmocka_unit_test_setup_teardown(name, driver_begin, driver_end)
#define TEST_WITHOUT_OPEN(name)                                                          \
	{                                                                                \
#name "_without_open", name, driver_begin_without_open, driver_end, NULL \
	}

#define TEST_OF_VOLUME(name)                                                      \
	{                                                                         \
#name "_of_a_volume", name, driver_begin_shared, driver_end, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DRIVER_TEST(configuration_names_the_file_system),
		DRIVER_TEST(one_request_is_served_in_its_notification),
		DRIVER_TEST(requests_that_make_requests_are_left_and_gone_on_with),
		DRIVER_TEST(nothing_is_gone_on_with_after_a_reset),
		DRIVER_TEST(scattered_buffers_are_put_together),
		DRIVER_TEST(several_data_requests_go_through_the_ring),
		DRIVER_TEST(what_the_ring_cannot_do_is_served_beside_it),
		DRIVER_TEST(released_files_stay_open_for_what_is_queued),
		DRIVER_TEST(reset_waits_for_what_is_queued),
		DRIVER_TEST(forgets_come_through_their_own_queue),
		DRIVER_TEST(broken_requests_break_the_device_until_a_reset),
		DRIVER_TEST(processors_are_served_at_once),
		DRIVER_TEST(write_that_ends_at_a_limit_tells_how_far_it_came),
		cmocka_unit_test_setup_teardown(writes_to_a_full_disk_tell_how_far_they_came,
			driver_begin_on_small_disk, driver_end_on_small_disk),
		cmocka_unit_test_setup_teardown(writes_to_a_full_disk_tell_how_far_they_came,
			driver_begin_shared_on_small_disk, driver_end_on_small_disk),
		TEST_OF_VOLUME(several_data_requests_go_through_the_ring),
		TEST_OF_VOLUME(write_that_ends_at_a_limit_tells_how_far_it_came),
		TEST_OF_VOLUME(what_the_ring_cannot_do_is_served_beside_it),
		TEST_OF_VOLUME(reset_waits_for_what_is_queued),
		TEST_WITHOUT_OPEN(one_request_is_served_in_its_notification),
		TEST_WITHOUT_OPEN(scattered_buffers_are_put_together),
		TEST_WITHOUT_OPEN(several_data_requests_go_through_the_ring),
		TEST_WITHOUT_OPEN(what_the_ring_cannot_do_is_served_beside_it),
		TEST_WITHOUT_OPEN(forgotten_files_stay_open_for_what_is_queued),
		TEST_WITHOUT_OPEN(reset_waits_for_what_is_queued),
		TEST_WITHOUT_OPEN(processors_are_served_at_once),
		cmocka_unit_test_setup_teardown(
			copies_inside_of_the_host_count_as_bytes, driver_begin_limited, driver_end),
		cmocka_unit_test_setup_teardown(
			copies_of_nothing_cost_nothing, driver_begin_limited, driver_end),
		cmocka_unit_test_setup_teardown(syncing_a_file_system_is_an_operation,
			driver_begin_one_operation, driver_end),
		cmocka_unit_test_setup_teardown(answers_over_the_limit_are_held_back_until_a_reset,
			driver_begin_limited, driver_end),
		cmocka_unit_test_setup_teardown(
			answers_over_the_limit_are_given_when_the_timer_says_so,
			driver_begin_slowed, driver_end),
		cmocka_unit_test_setup_teardown(without_a_ring_everything_is_served_at_once,
			driver_begin_without_ring, driver_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
