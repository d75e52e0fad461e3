// SPDX-License-Identifier: Apache-2.0
/*
 * machine_state.c: parks a machine that stands still, and makes another go on from there.
 */
#include "base/file.h"
#include "base/log.h"
#include "vmm/layout.h"
#include "vmm/machine_parts.h"

#include <inttypes.h>
#include <string.h>

#define MACHINE_TAG     STATE_TAG('M', 'A', 'C', 'H')
#define MACHINE_VERSION 3

/*
 * What two machines must have in common for one to go on from the other's state. Of one width, so that
 * there is no padding and shapes can be compared as bytes.
 */
struct machine_shape {
	uint64_t memory, window_start, window_size, vcpus, emulated, devices;
	uint64_t device_ids[DEVICES_MAX];
	uint8_t cpuid_digest[SHA512_SIZE];
};

static void machine_get_shape(const struct machine *machine, struct machine_shape *ret)
{
	*ret = (struct machine_shape){0};
	ret->vcpus = machine->vcpu_count;
	ret->emulated = machine->vm.emulated;
	ret->devices = machine->device_count;
	for (size_t i = 0; i < machine->memory.count; i++)
		ret->memory += machine->memory.regions[i].size;
	ret->window_start = machine->memory.window.start;
	ret->window_size = machine->memory.window.size;
	for (unsigned int i = 0; i < machine->device_count; i++)
		ret->device_ids[i] = machine->mmio[i].device->id;
	memcpy(ret->cpuid_digest, machine->vm.cpuid_digest, sizeof(ret->cpuid_digest));
}

/* The devices' interrupts are on their way to the controllers; when the lines are parted they have come there. */
static int machine_part_lines(struct machine *machine, struct error *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < machine->device_count; i++)
		r = vm_clear_irqfd(&machine->vm, machine->lines[i], LAYOUT_FIRST_LINE + i, err);
	return r;
}

static int machine_join_lines(struct machine *machine, struct error *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < machine->device_count; i++)
		r = vm_set_irqfd(&machine->vm, machine->lines[i], LAYOUT_FIRST_LINE + i, err);
	return r;
}

static int machine_save_devices(
	struct machine *machine, struct state_writer *writer, struct error *err)
{
	struct machine_shape shape;
	int r = 0;

	machine_get_shape(machine, &shape);
	state_begin(writer, MACHINE_TAG, MACHINE_VERSION);
	state_put(writer, &shape, sizeof(shape));
	state_end(writer);
	for (unsigned int i = 0; r == 0 && i < machine->device_count; i++)
		r = virtio_mmio_save(&machine->mmio[i], writer, err);
	return r;
}

static int machine_save_cpus(struct machine *machine, const struct clock_moment *moment,
	struct state_writer *writer, struct error *err)
{
	int r = interrupt_state_save(&machine->vm, writer, err);

	for (unsigned int i = 0; r == 0 && i < machine->vcpu_count; i++)
		r = vcpu_state_save(&machine->vm, &machine->vcpus[i].vcpu, moment, writer, err);
	if (r == 0)
		clock_state_save(moment, writer);
	return r < 0 ? r : writer->error;
}

int machine_park(struct machine *machine, struct error *err)
{
	struct state_writer writer = {0};
	int64_t start = machine_now(), saved;
	int r;

	if (virtio_fs_shared_was_read(machine->fs))
		return error_set(err, -EBUSY,
			"names or contents of a host's volume were read, and may be others when the machine goes on");
	r = machine_save_devices(machine, &writer, err);
	if (r == 0)
		r = machine_part_lines(machine, err);
	if (r == 0)
		r = machine_save_cpus(machine, &machine->parked_at, &writer, err);
	if (r < 0 && r == writer.error)
		error_set_errno(err, r, "cannot save the machine's state");
	saved = machine_now();
	if (r == 0)
		r = ram_save(&machine->memory, machine->memory_fd, machine->pagemap_fd,
			machine->park_fd, err);
	if (r < 0) {
		state_writer_done(&writer);
		return r;
	}
	log_debug("parked: %zu bytes of state in %" PRId64 " us, memory in %" PRId64 " us",
		writer.length, (saved - start) / 1000, (machine_now() - saved) / 1000);
	machine->state = writer.data;
	machine->state_size = writer.length;
	return 0;
}

static int machine_save_all(struct machine *machine, struct state_writer *writer, struct error *err)
{
	struct error ignored;
	int r;

	if (virtio_vsock_count(machine->vsock) > 0)
		return error_set(err, -EBUSY,
			"somebody is connected to it through vsock, as a live enter is");
	r = machine_save_devices(machine, writer, err);
	if (r < 0)
		return r;
	r = machine_part_lines(machine, err);
	if (r == 0)
		r = machine_save_cpus(machine, &machine->paused_at, writer, err);
	/* What an eventfd was told meanwhile waits in it. */
	if (machine_join_lines(machine, r < 0 ? &ignored : err) < 0 && r == 0)
		r = -EIO;
	return r < 0 ? r
		     : ram_save(&machine->memory, machine->memory_fd, machine->pagemap_fd,
			       machine->save_memory_fd, err);
}

/* #syscalls:park write */
int machine_save(struct machine *machine, struct error *err)
{
	struct state_writer writer = {0};
	int r = machine_save_all(machine, &writer, err);

	if (r == 0) {
		r = file_write_all(machine->save_state_fd, writer.data, writer.length);
		if (r < 0)
			error_set_errno(err, r, "cannot write the machine's state");
	} else if (r == writer.error) {
		error_set_errno(err, r, "cannot save the machine's state");
	}
	state_writer_done(&writer);
	return r;
}

void machine_take_state(struct machine *machine, void **ret, size_t *ret_size)
{
	*ret = TAKE_PTR(machine->state);
	*ret_size = machine->state_size;
	machine->state_size = 0;
}

static int machine_restore_sections(
	struct machine *machine, struct state_reader *reader, struct error *err)
{
	struct machine_shape shape, saved;
	int r;

	r = state_open(reader, MACHINE_TAG, MACHINE_VERSION, err);
	if (r < 0)
		return r;
	state_get(reader, &saved, sizeof(saved));
	r = state_close(reader, err);
	if (r < 0)
		return r;
	machine_get_shape(machine, &shape);
	if (memcmp(&saved, &shape, sizeof(shape)))
		return error_set(err, -EBADMSG,
			"saved state: of another machine (%" PRIu64 " vCPUs, %" PRIu64
			" bytes of memory, %" PRIu64 " devices), or of another host",
			saved.vcpus, saved.memory, saved.devices);
	for (unsigned int i = 0; i < machine->device_count; i++) {
		r = virtio_mmio_restore(&machine->mmio[i], reader, err);
		if (r < 0)
			return r;
	}
	r = interrupt_state_restore(&machine->vm, reader, err);
	for (unsigned int i = 0; r == 0 && i < machine->vcpu_count; i++)
		r = vcpu_state_restore(&machine->vm, &machine->vcpus[i].vcpu, reader, err);
	return r < 0 ? r : clock_state_restore(&machine->vm, reader, err);
}

int machine_restore(struct machine *machine, const void *state, size_t size, struct error *err)
{
	struct state_reader reader;
	int r;

	state_reader_init(&reader, state, size);
	r = machine_restore_sections(machine, &reader, err);
	if (r < 0)
		return r;
	if (reader.next != reader.length)
		return error_set(err, -EBADMSG, "saved state: %zu bytes after its end",
			reader.length - reader.next);
	return generation_announce(&machine->vm, machine->device_count, err);
}
