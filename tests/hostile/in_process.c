// SPDX-License-Identifier: Apache-2.0
/* in_process.c: the cases' machine made of the device model itself. */
#include "tests/hostile/in_process.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/hostile/guest.h"
#include "tests/hostile/in_process_host.h"
#include "tests/unit/bare_kvm.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/fs/session.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"
#include "vmm/layout.h"
#include "vmm/message_port.h"
#include "vmm/transmit_port.h"
#include "vmm/xstate_port.h"
#include "wire/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
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
#include <time.h>

_Static_assert(GUEST_DEVICES == LAYOUT_DEVICES, "layout");
_Static_assert(GUEST_PORT_MESSAGE == WIRE_MESSAGE_PORT &&
		GUEST_PORT_TRANSMIT == WIRE_TRANSMIT_PORT && GUEST_PORT_PHASE == WIRE_PHASE_PORT &&
		GUEST_PHASE_OVER == WIRE_PHASE_OVER && GUEST_PORT_CLOCK == WIRE_CLOCK_PORT &&
		GUEST_PORT_XSTATE_SAVE == XSTATE_SAVE_PORT &&
		GUEST_PORT_XSTATE_RESTORE == XSTATE_RESTORE_PORT,
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
/* Per second, where they are limited: most answers wait. */
#define OPERATIONS 1

enum { CONSOLE, FS, RNG, BALLOON, VSOCK, NET, DEVICES };

/* One for each kind, made when it is first needed: to make a ring of the host's takes longer than a case. */
static struct in_process {
	bool is_made;

	/* A directory with a file that is nobody's business, and the tree. */
	char path[64];
	int top, tree, volumes, rw, ro;
	struct stat canary, top_status, fixed[4];

	struct guest_memory memory;
	struct virtio_console *console;
	struct virtio_fs *fs;
	struct virtio_rng rng;
	struct virtio_balloon balloon;
	struct in_process_host host; /* with vsock and net */
	struct virtio_mmio mmio[DEVICES];
	struct message_port messages;
	int ends[CONSOLE_PORTS]; /* the host's ends of the console's sockets */

	bool quiet;
	unsigned int failed;
} machines[IN_PROCESS_KINDS], *machine = machines;

static void (*operation_hook)(struct in_process_operation *operation);

static pthread_t other;
static void (*other_task)(void);

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* ---- the tree */

/* Below volumes/ro. */
static const char *const fixed_names[] = {".", "file", "directory", "directory/inner"};

static void make_file(int dirfd, const char *path, const char *text)
{
	_cleanup_close_ int fd =
		openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static int make_directory(int dirfd, const char *name)
{
	int fd;

	require(mkdirat(dirfd, name, 0755) == 0);
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(fd >= 0);
	return fd;
}

static void volume_fill(int volume)
{
	static const struct {
		const char *name, *target;
	} links[] = {{"to-root", "/"}, {"to-parent", "../../.."}, {"to-magic", "/proc/self/root"},
		{"to-file", "file"}};

	make_file(volume, "file", "hello");
	require(mkdirat(volume, "directory", 0755) == 0);
	make_file(volume, "directory/inner", "inner");
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		require(symlinkat(links[i].target, volume, links[i].name) == 0);
}

static void look(struct stat *canary, struct stat *top, struct stat fixed[4])
{
	require(fstatat(machine->top, "canary", canary, AT_SYMLINK_NOFOLLOW) == 0 &&
		fstat(machine->top, top) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(fixed_names); i++)
		require(fstatat(machine->ro, fixed_names[i], &fixed[i], AT_SYMLINK_NOFOLLOW) == 0);
}

static void tree_make(void)
{
	if (!mkdtemp(strcpy(machine->path, "/dev/shm/hostile-XXXXXX")))
		require(mkdtemp(strcpy(machine->path, "/tmp/hostile-XXXXXX")) != NULL);
	machine->top = open(machine->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(machine->top >= 0);
	make_file(machine->top, "canary", "sings");
	machine->tree = make_directory(machine->top, "tree");
	machine->volumes = make_directory(machine->tree, "volumes");
	machine->rw = make_directory(machine->volumes, "rw");
	machine->ro = make_directory(machine->volumes, "ro");
	volume_fill(machine->rw);
	volume_fill(machine->ro);
	look(&machine->canary, &machine->top_status, machine->fixed);
}

static void tree_remove(void)
{
	const int fds[] = {machine->top, machine->tree, machine->volumes, machine->rw, machine->ro};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	require(directory_remove(AT_FDCWD, machine->path) == 0);
}

/* Removes what is in a directory, but for these two. */
static void directory_empty(int dirfd, const char *keep, const char *keep_too)
{
	DIR *directory = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	const struct dirent *entry;

	require(directory != NULL);
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
			strcmp(entry->d_name, keep) && strcmp(entry->d_name, keep_too))
			require(directory_remove(dirfd, entry->d_name) == 0);
	closedir(directory);
}

static bool is_place_of(int dirfd, const char *name, int fd)
{
	struct stat named, held;

	return fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &held) == 0 &&
		named.st_ino == held.st_ino;
}

/* As it was. False: the guest has moved directories of which the server knows, which are its to move. */
static bool tree_renew(void)
{
	if (!is_place_of(machine->tree, "volumes", machine->volumes) ||
		!is_place_of(machine->volumes, "rw", machine->rw) ||
		!is_place_of(machine->volumes, "ro", machine->ro))
		return false;
	directory_empty(machine->tree, "volumes", "volumes");
	directory_empty(machine->volumes, "rw", "ro");
	directory_empty(machine->rw, ".", ".");
	require(fchmod(machine->rw, 0755) == 0 && fchmod(machine->volumes, 0755) == 0);
	volume_fill(machine->rw);
	return true;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
		a->st_nlink == b->st_nlink && a->st_size == b->st_size &&
		a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Everything that a guest must not reach is as it was: what is beside the tree, and the read-only volume. */
static void check_host(void)
{
	struct stat canary, top, fixed[4];

	look(&canary, &top, fixed);
	require(same(&canary, &machine->canary) && same(&top, &machine->top_status));
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		require(same(&fixed[i], &machine->fixed[i]));
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
	machine->memory = (struct guest_memory){
		.regions = {{0, MEMORY_SIZE, host + PAGE_SIZE}},
		.count = 1,
	};
	if (!window)
		return;
	host = mmap(
		NULL, WINDOW_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	require(host != MAP_FAILED);
	machine->memory.window = (struct guest_region){WINDOW_START, WINDOW_SIZE, host};
}

static void machine_make(enum in_process_kind kind)
{
	static const struct virtio_fs_export exports[] = {
		{"volumes/rw", VIRTIO_FS_SHARED},
		{"volumes/ro", VIRTIO_FS_READ_ONLY_SHARED},
	};
	struct virtio_console_options console = {.fds = {-1, -1, -1}, .arm = arm};
	struct virtio_device *devices[DEVICES];
	struct virtio_fs_options fs = {
		.tag = "pod",
		.exports = exports,
		.export_count = ARRAY_SIZE(exports),
		.inodes_max = INODES_MAX,
		.handles_max = HANDLES_MAX,
		.dax = VIRTIO_FS_DAX_NEVER,
		.limits = {.operations = kind == IN_PROCESS_LIMITED ? OPERATIONS : 0},
	};
	struct error err;

	tree_make();
	fs.tree_fd = fcntl(machine->tree, F_DUPFD_CLOEXEC, 0);
	if (kind == IN_PROCESS_WINDOW) {
		/* It is of files that nobody else changes. */
		fs.exports++;
		fs.export_count--;
		fs.dax = VIRTIO_FS_DAX_ALWAYS;
	}
	memory_create(kind == IN_PROCESS_WINDOW);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		int pair[2];

		require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) ==
			0);
		console.fds[i] = pair[0];
		machine->ends[i] = pair[1];
	}
	require(virtio_console_create(&machine->memory, &console, &machine->console) == 0);
	require(virtio_fs_create(&machine->memory, &fs, &machine->fs, &err) == 0);
	virtio_rng_init(&machine->rng, &machine->memory);
	virtio_balloon_init(&machine->balloon, &machine->memory);
	devices[CONSOLE] = virtio_console_device(machine->console);
	devices[FS] = virtio_fs_device(machine->fs);
	devices[RNG] = &machine->rng.device;
	devices[BALLOON] = &machine->balloon.device;
	in_process_host_create(&machine->host, &machine->memory);
	devices[VSOCK] = virtio_vsock_device(machine->host.vsock);
	devices[NET] = virtio_net_device(machine->host.net);
	for (unsigned int i = 0; i < DEVICES; i++)
		virtio_mmio_attach(&machine->mmio[i], devices[i], raise_line, NULL);
	machine->is_made = true;
}

static void machine_end(void)
{
	virtio_fs_free(machine->fs);
	virtio_console_free(machine->console);
	in_process_host_free(&machine->host);
	pthread_mutex_destroy(&machine->rng.device.lock);
	pthread_mutex_destroy(&machine->balloon.device.lock);
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		close(machine->ends[i]);
	if (machine->memory.window.size > 0)
		munmap(machine->memory.window.host, WINDOW_SIZE);
	munmap(machine->memory.regions[0].host - PAGE_SIZE, MEMORY_SIZE + 2ul * PAGE_SIZE);
	tree_remove();
	machine->is_made = false;
}

/* What the guest said, which nobody wants to hear. */
static void drain_console(void)
{
	uint8_t drain[4096];

	for (unsigned int i = 1; i < CONSOLE_PORTS; i++)
		while (recv(machine->ends[i], drain, sizeof(drain), MSG_DONTWAIT) > 0)
			;
}

/* KVM, whose vCPU has the registers of the guest that sends; its linear addresses are physical ones. */
static _Thread_local struct kvm_regs registers;

static int kvm(unsigned long request, void *argument)
{
	struct kvm_translation *translation = argument;

	switch (request) {
	case KVM_GET_REGS:
		memcpy(argument, &registers, sizeof(registers));
		return 0;
	case KVM_TRANSLATE:
		translation->physical_address = translation->linear_address;
		translation->valid = 1;
		return 0;
	default:
		return -EINVAL;
	}
}

void in_process_set_up(void)
{
	const struct rlimit limit = {FILE_MAX, FILE_MAX};

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	log_set_level(LOG_LEVEL_ERROR);
	bare_kvm = kvm;
}

void in_process_tear_down(void)
{
	for (machine = machines; machine < machines + IN_PROCESS_KINDS; machine++)
		if (machine->is_made)
			machine_end();
	machine = machines;
}

unsigned int in_process_run(void (*run)(void), enum in_process_kind kind, bool quiet)
{
	static const struct machine_message message = {"{\"type\":\"configure\"}", 20};
	struct virtio_fs_statistics statistics;
	uint32_t reset = 0;

	machine = &machines[kind];
	if (!machine->is_made)
		machine_make(kind);
	machine->quiet = quiet;
	machine->failed = 0;
	message_port_init(&machine->messages, &message, 1);
	/* Each begins with the same memory. */
	madvise(machine->memory.regions[0].host, MEMORY_SIZE, MADV_DONTNEED);
	run();
	virtio_fs_statistics(machine->fs, &statistics);
	require(statistics.inodes <= INODES_MAX &&
		statistics.handles + statistics.data <= HANDLES_MAX);
	for (unsigned int i = 0; i < DEVICES; i++)
		virtio_mmio_write(&machine->mmio[i], VIRTIO_MMIO_STATUS, &reset, sizeof(reset));
	virtio_fs_statistics(machine->fs, &statistics);
	require(statistics.inodes == 1 && statistics.handles + statistics.data == 0);
	in_process_host_settle(&machine->host);
	message_port_done(&machine->messages);
	drain_console();
	check_host();
	if (!tree_renew())
		machine_end();
	return machine->failed;
}

void in_process_set_hook(void (*hook)(struct in_process_operation *operation))
{
	operation_hook = hook;
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
	struct in_process_operation operation = {.kind = OPERATION_STORE,
		.address = address,
		.data = bytes,
		.length = length,
		.times = 1};
	uint8_t *host;

	require(length <= sizeof(bytes));
	memcpy(bytes, data, length);
	if (operation_hook)
		operation_hook(&operation);
	host = guest_memory_span(&machine->memory, operation.address, operation.length);
	if (host && operation.times > 0)
		copy(host, bytes, operation.length);
}

void guest_load(uint64_t address, void *data, size_t length)
{
	const uint8_t *host = guest_memory_span(&machine->memory, address, length);

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
	virtio_mmio_read(&machine->mmio[slot], offset, &value, width);
	return value;
}

void guest_register_write(unsigned int slot, uint64_t offset, unsigned int width, uint64_t value)
{
	struct in_process_operation operation = {.kind = OPERATION_REGISTER,
		.slot = slot,
		.width = width,
		.address = offset,
		.value = value,
		.times = 1};

	if (operation_hook)
		operation_hook(&operation);
	for (; operation.times > 0; operation.times--)
		if (slot_is_there(operation.slot, operation.address, operation.width))
			virtio_mmio_write(&machine->mmio[operation.slot], operation.address,
				&operation.value, operation.width);
}

uint32_t guest_port_read(uint16_t port, unsigned int width)
{
	struct in_process_operation operation = {
		.kind = OPERATION_PORT, .width = width, .address = port, .times = 1};
	uint8_t data[64];
	uint32_t value = UINT32_MAX;

	if (operation_hook)
		operation_hook(&operation);
	if (operation.address == WIRE_MESSAGE_PORT && operation.times <= sizeof(data) / 4) {
		message_port_read(&machine->messages, data, operation.width, operation.times);
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

uint32_t guest_transmit(uint64_t stream, uint64_t address, uint64_t length)
{
	const struct vcpu vcpu = {.fd = -1};
	uint32_t taken;

	registers = (struct kvm_regs){.rdi = stream, .rsi = address, .rcx = length};
	taken = transmit_port_read(&vcpu, &machine->memory, machine->console);
	drain_console();
	return taken;
}

/* What the event loop does. */
bool guest_pause(void)
{
	bool busy = in_process_host_turn(&machine->host);
	struct pollfd ready = {.fd = virtio_fs_completion_fd(machine->fs), .events = POLLIN};

	if (ready.fd >= 0 && poll(&ready, 1, 0) > 0)
		virtio_fs_complete(machine->fs);
	else if (!busy)
		sched_yield();
	pthread_mutex_lock(&machine->fs->device.lock);
	/* What a limit holds back comes in its own time. */
	busy |= machine->fs->active > 0 && machine != &machines[IN_PROCESS_LIMITED];
	pthread_mutex_unlock(&machine->fs->device.lock);
	return busy;
}

uint64_t guest_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

static void *other_main(void *argument)
{
	(void)argument;
	other_task();
	return NULL;
}

bool guest_fork(void (*task)(void))
{
	other_task = task;
	return pthread_create(&other, NULL, other_main, NULL) == 0;
}

void guest_join(void)
{
	pthread_join(other, NULL);
}

void guest_fail(const char *what, uint64_t value)
{
	machine->failed++;
	if (!machine->quiet)
		log_error("%s (%#llx)", what, (unsigned long long)value);
}
