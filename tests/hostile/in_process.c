// SPDX-License-Identifier: Apache-2.0
/* in_process.c: the cases' machine made of the device model itself. */
#include "tests/hostile/in_process.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/hostile/guest.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/fs/fs.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"
#include "vmm/layout.h"
#include "vmm/message_port.h"
#include "wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

_Static_assert(GUEST_DEVICES == LAYOUT_DEVICES, "layout");
_Static_assert(GUEST_PORT_MESSAGE == WIRE_MESSAGE_PORT &&
		GUEST_PORT_TRANSMIT == WIRE_TRANSMIT_PORT && GUEST_PORT_PHASE == WIRE_PHASE_PORT &&
		GUEST_PORT_CLOCK == WIRE_CLOCK_PORT,
	"ports");
_Static_assert(GUEST_STREAM_CONTROL == WIRE_PORT_CONTROL && GUEST_STREAM_OUTPUT == WIRE_PORT_STREAM,
	"streams");

#define MEMORY_SIZE  (16ull << 20)
#define WINDOW_START (1ull << 32)
#define WINDOW_SIZE  (8ull << 20)
#define PAGE_SIZE    4096u

/* Small, so that the cases meet them. */
#define INODES_MAX  256
#define HANDLES_MAX 64
/* No file of a volume grows beyond. */
#define FILE_MAX (4u << 20)

enum { CONSOLE, FS, RNG, BALLOON, DEVICES };

static struct {
	/* The tree; see in_process_set_up(). */
	char path[64];
	int top, tree;
	struct stat canary, top_status, fixed[4];

	/* The machine. */
	struct guest_memory memory;
	struct virtio_console *console;
	struct virtio_fs *fs;
	struct virtio_rng rng;
	struct virtio_balloon balloon;
	struct virtio_mmio mmio[DEVICES];
	struct message_port messages;
	int ends[CONSOLE_PORTS]; /* the host's ends of the console's sockets */
	bool quiet;
	unsigned int failed;
	void (*hook)(struct in_process_operation *operation);

	pthread_t other;
	void (*task)(void);
} machine;

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* ---- the tree */

static const char *const fixed_names[] = {
	"volumes/ro", "volumes/ro/file", "volumes/ro/directory", "volumes/ro/directory/inner"};

static void make_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(
		machine.tree, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void volume_fill(const char *name)
{
	static const struct {
		const char *name, *target;
	} links[] = {{"to-root", "/"}, {"to-parent", "../../.."}, {"to-magic", "/proc/self/root"},
		{"to-file", "file"}};
	char path[64];

	require(mkdirat(machine.tree, name, 0755) == 0);
	snprintf(path, sizeof(path), "%s/file", name);
	make_file(path, "hello");
	snprintf(path, sizeof(path), "%s/directory", name);
	require(mkdirat(machine.tree, path, 0755) == 0);
	snprintf(path, sizeof(path), "%s/directory/inner", name);
	make_file(path, "inner");
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof(path), "%s/%s", name, links[i].name);
		require(symlinkat(links[i].target, machine.tree, path) == 0);
	}
}

static void look(struct stat *canary, struct stat *top, struct stat fixed[4])
{
	require(fstatat(machine.top, "canary", canary, AT_SYMLINK_NOFOLLOW) == 0 &&
		fstat(machine.top, top) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(fixed_names); i++)
		require(fstatat(machine.tree, fixed_names[i], &fixed[i], AT_SYMLINK_NOFOLLOW) == 0);
}

static void tree_make(void)
{
	if (machine.tree >= 0)
		close(machine.tree);
	machine.tree = -1;
	directory_remove(machine.top, "tree");
	require(mkdirat(machine.top, "tree", 0755) == 0);
	machine.tree = openat(machine.top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(machine.tree >= 0 && mkdirat(machine.tree, "volumes", 0755) == 0);
	volume_fill("volumes/rw");
	volume_fill("volumes/ro");
	look(&machine.canary, &machine.top_status, machine.fixed);
}

void in_process_set_up(void)
{
	const struct rlimit limit = {FILE_MAX, FILE_MAX};
	int fd;

	if (!mkdtemp(strcpy(machine.path, "/dev/shm/hostile-XXXXXX")))
		require(mkdtemp(strcpy(machine.path, "/tmp/hostile-XXXXXX")) != NULL);
	machine.top = open(machine.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(machine.top >= 0);
	fd = openat(machine.top, "canary", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0 && write(fd, "sings", 5) == 5);
	close(fd);
	machine.tree = -1;
	tree_make();
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	log_set_level(LOG_LEVEL_ERROR);
}

void in_process_tear_down(void)
{
	close(machine.tree);
	close(machine.top);
	require(directory_remove(AT_FDCWD, machine.path) == 0);
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
		a->st_nlink == b->st_nlink && a->st_size == b->st_size &&
		a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void in_process_check_host(void)
{
	struct stat canary, top, fixed[4];

	look(&canary, &top, fixed);
	require(same(&canary, &machine.canary) && same(&top, &machine.top_status));
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		require(same(&fixed[i], &machine.fixed[i]));
}

/* ---- the machine */

static void raise_line(void *context)
{
	(void)context;
}

static void arm(void *context, unsigned int port, uint32_t events)
{
	(void)context;
	(void)events;
	require(port >= 1 && port < CONSOLE_PORTS);
}

static void memory_create(bool window)
{
	/* Beyond its end there is nothing, not even by chance. */
	uint8_t *host = mmap(NULL, MEMORY_SIZE + 2ul * PAGE_SIZE, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	require(host != MAP_FAILED &&
		mprotect(host + PAGE_SIZE, MEMORY_SIZE, PROT_READ | PROT_WRITE) == 0);
	machine.memory = (struct guest_memory){
		.regions = {{0, MEMORY_SIZE, host + PAGE_SIZE}},
		.count = 1,
	};
	if (!window)
		return;
	host = mmap(
		NULL, WINDOW_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	require(host != MAP_FAILED);
	machine.memory.window = (struct guest_region){WINDOW_START, WINDOW_SIZE, host};
}

void in_process_begin(const struct in_process_options *options)
{
	static const struct virtio_fs_export exports[] = {
		{"volumes/rw", VIRTIO_FS_SHARED},
		{"volumes/ro", VIRTIO_FS_READ_ONLY_SHARED},
	};
	static const struct machine_message message = {"{\"type\":\"configure\"}", 20};
	/* A window is of files that nobody else changes. */
	const struct virtio_fs_options fs = {
		.tag = "pod",
		.tree_fd = fcntl(machine.tree, F_DUPFD_CLOEXEC, 0),
		.exports = exports + (options->window ? 1 : 0),
		.export_count = ARRAY_SIZE(exports) - (options->window ? 1 : 0),
		.inodes_max = INODES_MAX,
		.handles_max = HANDLES_MAX,
		.dax = options->window ? VIRTIO_FS_DAX_ALWAYS : VIRTIO_FS_DAX_NEVER,
		.limits = {.operations = options->operations},
	};
	struct virtio_console_options console = {.fds = {-1, -1, -1}, .arm = arm};
	struct virtio_device *devices[DEVICES];
	struct error err;

	memory_create(options->window);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		int pair[2];

		require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) ==
			0);
		console.fds[i] = pair[0];
		machine.ends[i] = pair[1];
	}
	require(virtio_console_create(&machine.memory, &console, &machine.console) == 0);
	require(virtio_fs_create(&machine.memory, &fs, &machine.fs, &err) == 0);
	virtio_rng_init(&machine.rng, &machine.memory);
	virtio_balloon_init(&machine.balloon, &machine.memory);
	message_port_init(&machine.messages, &message, 1);
	devices[CONSOLE] = virtio_console_device(machine.console);
	devices[FS] = virtio_fs_device(machine.fs);
	devices[RNG] = &machine.rng.device;
	devices[BALLOON] = &machine.balloon.device;
	for (unsigned int i = 0; i < DEVICES; i++)
		virtio_mmio_attach(&machine.mmio[i], devices[i], raise_line, NULL);
	machine.quiet = options->quiet;
	machine.failed = 0;
}

void in_process_end(void)
{
	virtio_fs_free(machine.fs);
	virtio_console_free(machine.console);
	pthread_mutex_destroy(&machine.rng.device.lock);
	pthread_mutex_destroy(&machine.balloon.device.lock);
	message_port_done(&machine.messages);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		close(machine.ends[i]);
	if (machine.memory.window.size > 0)
		munmap(machine.memory.window.host, WINDOW_SIZE);
	munmap(machine.memory.regions[0].host - PAGE_SIZE, MEMORY_SIZE + 2ul * PAGE_SIZE);
}

unsigned int in_process_run(
	const struct hostile_case *hostile, const struct in_process_options *options)
{
	struct virtio_fs_statistics statistics;

	in_process_begin(options);
	hostile->run();
	virtio_fs_statistics(machine.fs, &statistics);
	require(statistics.inodes <= INODES_MAX &&
		statistics.handles + statistics.data <= HANDLES_MAX);
	in_process_end();
	in_process_check_host();
	/* What the guest may change is as it was for the next one. */
	tree_make();
	return machine.failed;
}

void in_process_set_hook(void (*hook)(struct in_process_operation *operation))
{
	machine.hook = hook;
}

/* ---- what the cases call */

uint64_t guest_memory_end(void)
{
	return MEMORY_SIZE;
}

/* The guest's own accesses, of which no checker of threads is to know: it may race with anything. */
static void copy(volatile uint8_t *to, const volatile uint8_t *from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		to[i] = from[i];
}

void guest_store(uint64_t address, const void *data, size_t length)
{
	uint8_t bytes[8192];
	struct in_process_operation operation = {.kind = IN_PROCESS_STORE,
		.address = address,
		.data = bytes,
		.length = length,
		.times = 1};
	uint8_t *host;

	require(length <= sizeof(bytes));
	memcpy(bytes, data, length);
	if (machine.hook)
		machine.hook(&operation);
	host = guest_memory_span(&machine.memory, operation.address, operation.length);
	if (host && operation.times > 0)
		copy(host, bytes, operation.length);
}

void guest_load(uint64_t address, void *data, size_t length)
{
	const uint8_t *host = guest_memory_span(&machine.memory, address, length);

	memset(data, 0, length);
	if (host)
		copy(data, host, length);
}

static bool slot_is_there(unsigned int slot, uint64_t offset, unsigned int width)
{
	return slot < DEVICES && offset < VIRTIO_MMIO_SIZE && width <= VIRTIO_MMIO_SIZE - offset;
}

uint64_t guest_register_read(unsigned int slot, uint64_t offset, unsigned int width)
{
	uint64_t value = 0;

	if (!slot_is_there(slot, offset, width))
		return UINT64_MAX >> (64 - 8 * width);
	virtio_mmio_read(&machine.mmio[slot], offset, &value, width);
	return value;
}

void guest_register_write(unsigned int slot, uint64_t offset, unsigned int width, uint64_t value)
{
	struct in_process_operation operation = {.kind = IN_PROCESS_REGISTER,
		.slot = slot,
		.width = width,
		.address = offset,
		.value = value,
		.times = 1};

	if (machine.hook)
		machine.hook(&operation);
	for (; operation.times > 0; operation.times--)
		if (slot_is_there(operation.slot, operation.address, operation.width))
			virtio_mmio_write(&machine.mmio[operation.slot], operation.address,
				&operation.value, operation.width);
}

uint32_t guest_port_read(uint16_t port, unsigned int width)
{
	struct in_process_operation operation = {
		.kind = IN_PROCESS_PORT, .width = width, .address = port, .times = 1};
	uint8_t data[64];
	uint32_t value = UINT32_MAX;

	if (machine.hook)
		machine.hook(&operation);
	if (operation.address == WIRE_MESSAGE_PORT && operation.times <= sizeof(data) / 4) {
		message_port_read(&machine.messages, data, operation.width, operation.times);
		memcpy(&value, data, sizeof(value));
	}
	return width < 4 ? value & ((1u << 8 * width) - 1) : value;
}

void guest_port_write(uint16_t port, unsigned int width, uint32_t value)
{
	(void)port;
	(void)width;
	(void)value; /* all ports that are written to are the machine's */
}

/* As vmm/transmit_port.c has it, where linear addresses are physical ones. */
uint32_t guest_transmit(uint64_t stream, uint64_t address, uint64_t length)
{
	struct iovec spans[WIRE_TRANSMIT_MAX / PAGE_SIZE + 1];
	uint8_t drain[4096];
	size_t count = 0, taken;

	if (stream > UINT32_MAX || length > WIRE_TRANSMIT_MAX)
		return 0;
	while (length > 0) {
		uint64_t left = PAGE_SIZE - address % PAGE_SIZE;
		void *host;

		if (left > length)
			left = length;
		host = guest_memory_span(&machine.memory, address, left);
		if (!host)
			break;
		spans[count++] = (struct iovec){host, left};
		address += left;
		length -= left;
	}
	taken = virtio_console_transmit(machine.console, (unsigned int)stream, spans, count);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		while (recv(machine.ends[i], drain, sizeof(drain), MSG_DONTWAIT) > 0)
			;
	return (uint32_t)taken;
}

/* What the event loop does. */
void guest_pause(void)
{
	struct pollfd ready = {.fd = virtio_fs_completion_fd(machine.fs), .events = POLLIN};

	if (ready.fd >= 0 && poll(&ready, 1, 0) > 0)
		virtio_fs_complete(machine.fs);
	else
		sched_yield();
}

static void *other_main(void *argument)
{
	(void)argument;
	machine.task();
	return NULL;
}

bool guest_fork(void (*task)(void))
{
	machine.task = task;
	return pthread_create(&machine.other, NULL, other_main, NULL) == 0;
}

void guest_join(void)
{
	pthread_join(machine.other, NULL);
}

void guest_fail(const char *what, uint64_t value)
{
	machine.failed++;
	if (!machine.quiet)
		log_error("%s (%#llx)", what, (unsigned long long)value);
}
