// SPDX-License-Identifier: Apache-2.0
/*
 * machine.c: puts a VM together and runs it to its end.
 *
 * Theory of operation: each vCPU has a thread that loops on KVM_RUN and serves the exits (exits.c). The
 * thread that calls machine_run() is the event loop: it feeds the console ports from their sockets and
 * delivers completed file requests (machine_devices.c). Whoever finds that the machine
 * cannot go on says how it ended (once, machine_end()), and the loop stops; the vCPU threads are then
 * taken out of KVM_RUN by immediate_exit and a signal. A machine that is to be parked ends in the same
 * way, and when no thread but the caller's is left, its state is saved (machine_state.c).
 *
 * No thread runs the guest or serves it before all of them are shut into their filters (filter.h).
 *
 * #syscalls: clone3 gettid
 * #syscalls:loop lseek(_, _, SEEK_SET) close
 */
#include "vmm/boot.h"
#include "vmm/machine_parts.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Of the window for files. Its struct pages cost the guest 1.6 % of it in memory, and time at boot
 * (docs/performance.md).
 */
#define WINDOW_SIZE (64ull << 20)

#define VCPU_KICK_SIGNAL SIGUSR1

int64_t machine_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static int64_t machine_instructions(const struct machine *machine)
{
	int64_t sum = 0;

	if (!machine->vm.emulated)
		return -1;
	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		int64_t count = vcpu_instructions(&machine->vcpus[i].vcpu);

		if (count < 0)
			return -1;
		sum += count;
	}
	return sum;
}

void machine_record(struct machine *machine, enum machine_event event)
{
	struct machine_mark mark = {
		.nanoseconds = machine_now(),
		.instructions = machine_instructions(machine),
	};

	pthread_mutex_lock(&machine->lock);
	if (machine->marks[event].nanoseconds == 0)
		machine->marks[event] = mark;
	pthread_mutex_unlock(&machine->lock);
}

void machine_marks(struct machine *machine, struct machine_mark marks[MACHINE_EVENTS])
{
	pthread_mutex_lock(&machine->lock);
	memcpy(marks, machine->marks, sizeof(machine->marks));
	pthread_mutex_unlock(&machine->lock);
	marks[MACHINE_EVENT_NOW] = (struct machine_mark){
		.nanoseconds = machine_now(),
		.instructions = machine_instructions(machine),
	};
}

static bool is_in_region(const struct guest_region *region, uintptr_t address)
{
	return address >= (uintptr_t)region->host &&
		address - (uintptr_t)region->host < region->size;
}

/* Whether the mapping of a smaps header line is guest RAM, or files that the guest uses in place. */
static bool is_guest_ram(const struct machine *machine, uintptr_t start)
{
	for (size_t i = 0; i < machine->memory.count; i++)
		if (is_in_region(&machine->memory.regions[i], start))
			return true;
	return is_in_region(&machine->memory.window, start);
}

/* "START-END rwxp ...", then lines like "Rss:   12 kB". */
static void resident_add(
	const struct machine *machine, const char *line, bool *is_counted, int64_t *sum)
{
	char *end;
	unsigned long start = strtoul(line, &end, 16);

	if (end > line && *end == '-')
		*is_counted = !is_guest_ram(machine, start);
	else if (*is_counted && !strncmp(line, "Rss:", 4))
		*sum += strtol(line + 4, NULL, 10);
}

/* Piece by piece, since what it takes to read it counts as well. #syscalls:loop read */
int64_t machine_resident_kib(const struct machine *machine)
{
	char text[2 * PATH_MAX + 1]; /* more than a line */
	bool is_counted = false;
	size_t length = 0;
	int64_t sum = 0;
	ssize_t n;

	if (machine->smaps_fd < 0 || lseek(machine->smaps_fd, 0, SEEK_SET) < 0)
		return -1;
	while ((n = read(machine->smaps_fd, text + length, sizeof(text) - 1 - length)) > 0) {
		char *rest = text, *line;

		length += (size_t)n;
		text[length] = '\0';
		while (strchr(rest, '\n') && (line = strsep(&rest, "\n")))
			resident_add(machine, line, &is_counted, &sum);
		length = strlen(rest);
		memmove(text, rest, length);
	}
	return n < 0 ? -1 : sum;
}

void machine_end(struct machine *machine, enum machine_end end, const char *format, ...)
{
	va_list arguments;

	pthread_mutex_lock(&machine->lock);
	if (!machine->ended ||
		(machine->end == MACHINE_END_PARKED &&
			(end == MACHINE_END_RESET || end == MACHINE_END_FAILED))) {
		machine->ended = true;
		machine->end = end;
		va_start(arguments, format);
		vsnprintf(machine->end_error.message, sizeof(machine->end_error.message), format,
			arguments);
		va_end(arguments);
	}
	pthread_cond_broadcast(&machine->shut);
	pthread_cond_broadcast(&machine->still);
	pthread_mutex_unlock(&machine->lock);
	machine->stopping = true;
	loop_stop(&machine->loop);
}

bool machine_enter_thread(struct machine *machine, enum filter_thread thread)
{
	const int r = machine->filtered ? filter_enter(thread) : 0;
	bool go_on;

	if (r < 0)
		machine_end(machine, MACHINE_END_FAILED,
			"cannot filter the system calls of a thread (%s): %s",
			filter_thread_name(thread), strerror(-r));
	pthread_mutex_lock(&machine->lock);
	/* Those of all vCPUs and this one's caller. */
	if (++machine->threads_shut == machine->vcpu_count + 1)
		pthread_cond_broadcast(&machine->shut);
	while (machine->threads_shut < machine->vcpu_count + 1 && !machine->ended)
		pthread_cond_wait(&machine->shut, &machine->lock);
	go_on = !machine->ended;
	pthread_mutex_unlock(&machine->lock);
	return go_on;
}

/* ---- creation */

static int machine_add_window(struct machine *machine, struct error *err)
{
	const struct guest_region *window = &machine->memory.window;
	int r = ram_add_window(&machine->memory, WINDOW_SIZE, err);

	return r < 0 ? r
		     : vm_add_memory(&machine->vm, window->start, window->size, window->host, err);
}

static int machine_create_memory(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	int r;

	r = ram_map(options->memory, options->memory_fd, &machine->memory, err);
	for (size_t i = 0; r == 0 && i < machine->memory.count; i++) {
		const struct guest_region *region = &machine->memory.regions[i];

		r = vm_add_memory(&machine->vm, region->start, region->size, region->host, err);
	}
	if (r == 0 && options->dax != VIRTIO_FS_DAX_NEVER)
		r = machine_add_window(machine, err);
	return r < 0 ? r : generation_create(&machine->vm, &machine->generation, err);
}

static int machine_boot(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	const struct boot_options boot = {
		.kernel_fd = options->kernel_fd,
		.initramfs_fd = options->initramfs_fd,
		.vcpus = options->vcpus,
		.devices = machine->device_count,
		.emulated = machine->vm.emulated,
		.kernel_messages = options->kernel_messages,
		.extra_command_line = options->extra_command_line,
	};
	uint64_t entry;
	int r;

	r = boot_load(&machine->memory, &boot, &entry, err);
	return r < 0 ? r : boot_set_registers(&machine->vcpus[0].vcpu, entry, err);
}

static int machine_set_up(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	int r;

	r = loop_init(&machine->loop);
	if (r < 0)
		return error_set_errno(err, r, "cannot create the event loop");
	r = vm_create(options->vcpus, &machine->vm, err);
	if (r < 0)
		return r;
	r = machine_create_memory(machine, options, err);
	if (r < 0)
		return r;
	r = vm_create_interrupt_controllers(&machine->vm, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < options->vcpus; i++) {
		machine->vcpus[i].machine = machine;
		r = vcpu_create(&machine->vm, i, &machine->vcpus[i].vcpu, err);
		if (r < 0)
			return r;
		machine->vcpu_count = i + 1;
	}
	r = machine_create_devices(machine, options, err);
	if (r == 0)
		r = machine_watch_orders(machine, options, err);
	if (r < 0)
		return r;
	return machine->memory_fd >= 0
		? machine_restore(machine, options->state, options->state_size, err)
		: machine_boot(machine, options, err);
}

int machine_create(const struct machine_options *options, struct machine **ret, struct error *err)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	int r;

	if (!machine)
		return -ENOMEM;
	machine->vm.kvm_fd = machine->vm.vm_fd = -1;
	machine->loop.epoll_fd = machine->loop.stop_fd = -1;
	machine->release_fd = machine->pagemap_fd = -1;
	machine->vsock_connect_fd = machine->vsock_again_fd = -1;
	machine->place_fd = machine->save_memory_fd = machine->save_state_fd = -1;
	machine->can_save = options->order_fd >= 0 && options->net_kind == VIRTIO_NET_NONE;
	machine->memory_fd = options->memory_fd;
	machine->park_fd = options->park_fd;
	message_port_init(&machine->messages, options->messages, options->message_count);
	machine->device_count = options->net_kind == VIRTIO_NET_NONE ? DEVICE_NET : DEVICES_MAX;
	for (unsigned int i = 0; i < DEVICES_MAX; i++)
		machine->lines[i] = -1;
	pthread_mutex_init(&machine->lock, NULL);
	pthread_cond_init(&machine->shut, NULL);
	pthread_cond_init(&machine->still, NULL);
	machine->filtered = options->violated != NULL;
	if (machine->filtered)
		filter_prepare(options->violated);
	boot_console_init(&machine->boot_console, options->kernel_messages);
	machine->smaps_fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	if (machine->park_fd >= 0 || machine->can_save)
		machine->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	r = machine_set_up(machine, options, err);
	if (r == 0 && (machine->park_fd >= 0 || machine->can_save))
		r = vm_list_msrs(&machine->vm, err);
	if (r < 0) {
		machine_free(machine);
		return r;
	}
	/* More machines can be made through it. */
	vm_close_system(&machine->vm);
	*ret = machine;
	return 0;
}

void machine_free(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->vcpu_count; i++)
		vcpu_destroy(&machine->vcpus[i].vcpu);
	virtio_console_free(machine->console);
	if (machine->fs)
		virtio_fs_free(machine->fs);
	machine_free_vsock(machine);
	machine_free_orders(machine);
	virtio_net_free(machine->net);
	for (unsigned int i = 0; i < DEVICES_MAX; i++)
		cleanup_close(&machine->lines[i]);
	cleanup_close(&machine->release_fd);
	cleanup_close(&machine->smaps_fd);
	cleanup_close(&machine->pagemap_fd);
	loop_done(&machine->loop);
	vm_destroy(&machine->vm);
	generation_destroy(&machine->generation);
	ram_unmap(&machine->memory);
	message_port_done(&machine->messages);
	free(machine->state);
	free(machine);
}

/* ---- running */

static void kick_handler(int signal)
{
	(void)signal; /* its arrival is what counts: KVM_RUN returns */
}

static int machine_start_vcpus(struct machine *machine, struct error *err)
{
	struct sigaction action = {.sa_handler = kick_handler};

	machine->process_id = getpid();
	sigaction(VCPU_KICK_SIGNAL, &action, NULL);
	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		struct machine_vcpu *self = &machine->vcpus[i];
		int r = pthread_create(&self->thread, NULL, vcpu_thread, self);

		if (r != 0)
			return error_set_errno(err, -r, "cannot start the thread of vCPU %u", i);
		self->started = true;
	}
	return 0;
}

/* #syscalls:loop tgkill(self, _, SIGUSR1) */
static void machine_stop_vcpus(struct machine *machine)
{
	machine->stopping = true;
	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		struct machine_vcpu *self = &machine->vcpus[i];
		int thread_id;

		if (!self->started)
			continue;
		/*
		 * A signal just before KVM_RUN would be lost without the flag; a thread that has not told its id yet
		 * will see the flag. pthread_kill() makes system calls beside this one.
		 */
		__atomic_store_n(&self->vcpu.run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		thread_id = self->thread_id;
		if (thread_id != 0)
			syscall(SYS_tgkill, machine->process_id, thread_id, VCPU_KICK_SIGNAL);
	}
	machine_wake_all(machine);
	/* Not before all stand still: one may be serving what another goes on asking for. */
	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		struct machine_vcpu *self = &machine->vcpus[i];

		if (self->started)
			pthread_join(self->thread, NULL);
		self->started = false;
	}
}

enum machine_end machine_run(struct machine *machine, struct error *err)
{
	int r;

	machine_record(machine, MACHINE_EVENT_RUN);
	if (machine->memory_fd >= 0)
		machine_record(machine, MACHINE_EVENT_READY);
	r = machine_start_vcpus(machine, err);
	if (r == 0) {
		machine_enter_thread(machine,
			machine->park_fd >= 0 || machine->can_save ? FILTER_PARK : FILTER_LOOP);
		r = loop_run(&machine->loop);
		if (r < 0)
			machine_end(machine, MACHINE_END_FAILED, "the event loop failed: %s",
				strerror(-r));
	} else {
		machine_end(machine, MACHINE_END_FAILED, "%s", err->message);
	}
	machine_stop_vcpus(machine);
	if (machine->end == MACHINE_END_PARKED && machine_park(machine, err) < 0)
		return MACHINE_END_FAILED;
	*err = machine->end_error;
	return machine->end;
}
