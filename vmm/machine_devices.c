// SPDX-License-Identifier: Apache-2.0
/*
 * machine_devices.c: the devices of a machine, their interrupt lines, and what the event loop does for
 * them.
 *
 * #syscalls:loop read
 * #syscalls:vcpu,loop write
 */
#include "base/log.h"
#include "vmm/layout.h"
#include "vmm/machine_parts.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

/*
 * Where each guest kernel instruction is emulated, a page that is read ahead and never used costs as much
 * as one that is.
 */
#define READAHEAD_EMULATED (32u << 10)

/* A guest can have files made shorter that look as if the host had done it: the log must not grow with that. */
#define CUTS_TOLD_MAX 8

static void port_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	unsigned int port = (unsigned int)(source - machine->port_sources);

	/* The end of a stream is no event here: release_ready() hears of it. */
	virtio_console_ready(machine->console, port, events);
}

static void port_arm(void *context, unsigned int port, uint32_t events)
{
	struct machine *machine = context;

	loop_arm(&machine->loop, &machine->port_sources[port], events);
}

static void port_first_output(void *context, unsigned int port)
{
	if (port == WIRE_PORT_STREAM)
		machine_record(context, MACHINE_EVENT_OUTPUT);
}

static void release_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	machine_end(source->context, MACHINE_END_RELEASED, "released");
}

static void file_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	uint64_t count;
	ssize_t n = read(source->fd, &count, sizeof(count));

	(void)n; /* only clears the eventfd */
	(void)events;
	virtio_fs_complete(machine->fs);
	loop_arm(&machine->loop, source, EPOLLIN);
}

static void limit_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;

	(void)events;
	virtio_fs_limit(machine->fs);
	loop_arm(&machine->loop, source, EPOLLIN);
}

static void watch_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;

	(void)events;
	if (virtio_fs_watch(machine->fs) && machine->cuts_told < CUTS_TOLD_MAX) {
		machine->cuts_told++;
		log_warning(
			"a file that the pod uses in place was made shorter on the host: programs "
			"that access what is gone are killed");
	}
	loop_arm(&machine->loop, source, EPOLLIN);
}

static void line_raise(void *context)
{
	uint64_t one = 1;
	ssize_t n = write(*(int *)context, &one, sizeof(one));

	(void)n; /* full means: raised already */
}

int machine_attach(struct machine *machine, unsigned int index, struct virtio_device *device,
	struct error *err)
{
	machine->lines[index] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->lines[index] < 0)
		return error_set_errno(err, -errno, "cannot create an interrupt line");
	virtio_mmio_attach(&machine->mmio[index], device, line_raise, &machine->lines[index]);
	return vm_set_irqfd(&machine->vm, machine->lines[index], LAYOUT_FIRST_LINE + index, err);
}

static void net_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;

	virtio_net_ready(machine->net, events);
}

static void net_arm(void *context, uint32_t events)
{
	struct machine *machine = context;

	loop_arm(&machine->loop, &machine->net_source, events);
}

static void net_due(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;

	(void)events;
	virtio_net_due(machine->net);
	loop_arm(&machine->loop, source, EPOLLIN);
}

/* #syscalls:vcpu ioctl(_, TUNSETOFFLOAD) */
static int net_offload(void *context, unsigned int offload)
{
	const struct machine *machine = context;
	unsigned long flags = 0;

	if (offload & VIRTIO_NET_OFFLOAD_CHECKSUM)
		flags |= TUN_F_CSUM;
	if (offload & VIRTIO_NET_OFFLOAD_TCP4)
		flags |= TUN_F_TSO4;
	if (offload & VIRTIO_NET_OFFLOAD_TCP6)
		flags |= TUN_F_TSO6;
	return ioctl(machine->net_source.fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int machine_create_net(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	struct virtio_net_options net = {
		.kind = options->net_kind,
		.fd = options->net_fd,
		.arm = net_arm,
		.offload = net_offload,
		.bandwidth = options->net_bandwidth,
		.context = machine,
	};
	int r;

	if (options->net_kind == VIRTIO_NET_NONE)
		return 0;
	memcpy(net.mac, options->net_mac, sizeof(net.mac));
	r = virtio_net_create(&machine->memory, &net, &machine->net);
	if (r < 0)
		return error_set_errno(err, r, "cannot create the network device");
	machine->net_source =
		(struct loop_source){.fd = options->net_fd, .ready = net_ready, .context = machine};
	r = options->net_fd < 0 ? 0 : loop_add(&machine->loop, &machine->net_source, 0);
	if (r == 0)
		r = machine_watch(machine, &machine->net_timer_source,
			virtio_net_timer_fd(machine->net), net_due);
	if (r < 0)
		return error_set_errno(err, r, "cannot watch the network");
	return machine_attach(machine, DEVICE_NET, virtio_net_device(machine->net), err);
}

int machine_watch(struct machine *machine, struct loop_source *source, int fd,
	void (*ready)(struct loop_source *source, uint32_t events))
{
	*source = (struct loop_source){.fd = fd, .ready = ready, .context = machine};
	return fd < 0 ? 0 : loop_add(&machine->loop, source, EPOLLIN);
}

int machine_create_devices(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	struct virtio_console_options console = {
		.fds = {-1, -1, -1},
		.arm = port_arm,
		.first_output = port_first_output,
		.context = machine,
	};
	struct virtio_fs_options fs = {
		.tag = WIRE_SHARE_TAG,
		.tree_fd = options->tree_fd,
		.policy = VIRTIO_FS_EXCLUSIVE,
		.exports = options->exports,
		.export_count = options->export_count,
		.is_flat = options->has_flat_tree,
		.limits = options->file_limits,
		.inodes_max = MACHINE_INODES_MAX,
		.handles_max = MACHINE_HANDLES_MAX,
		.readahead = machine->vm.emulated ? READAHEAD_EMULATED : 0,
		.dax = options->dax,
	};
	int fds[CONSOLE_PORTS] = {
		[WIRE_PORT_CONTROL] = options->control_fd,
		[WIRE_PORT_STREAM] = options->stream_fd,
	};
	int r;

	machine->release_fd = fcntl(options->control_fd, F_DUPFD_CLOEXEC, 0);
	if (machine->release_fd < 0)
		return error_set_errno(err, -errno, "cannot duplicate the control socket");
	memcpy(console.fds, fds, sizeof(fds));
	r = virtio_console_create(&machine->memory, &console, &machine->console);
	if (r < 0)
		return error_set_errno(err, r, "cannot create the console");
	for (unsigned int i = 1; i < CONSOLE_PORTS; i++) {
		machine->port_sources[i] =
			(struct loop_source){.fd = fds[i], .ready = port_ready, .context = machine};
		r = loop_add(&machine->loop, &machine->port_sources[i], 0);
		if (r < 0)
			return error_set_errno(err, r, "cannot watch a console port");
	}
	machine->release_source = (struct loop_source){
		.fd = machine->release_fd, .ready = release_ready, .context = machine};
	r = loop_add(&machine->loop, &machine->release_source, EPOLLRDHUP);
	if (r < 0)
		return error_set_errno(err, r, "cannot watch the control socket");
	r = machine_attach(machine, DEVICE_CONSOLE, virtio_console_device(machine->console), err);
	if (r < 0)
		return r;

	r = virtio_fs_create(&machine->memory, &fs, &machine->fs, err);
	if (r < 0)
		return r;
	r = machine_watch(
		machine, &machine->file_source, virtio_fs_completion_fd(machine->fs), file_ready);
	if (r == 0)
		r = machine_watch(machine, &machine->limit_source, virtio_fs_limit_fd(machine->fs),
			limit_ready);
	if (r == 0)
		r = machine_watch(machine, &machine->watch_source, virtio_fs_watch_fd(machine->fs),
			watch_ready);
	if (r < 0)
		return error_set_errno(err, r, "cannot watch file requests");
	r = machine_attach(machine, DEVICE_FS, virtio_fs_device(machine->fs), err);
	if (r < 0)
		return r;

	virtio_rng_init(&machine->rng, &machine->memory);
	r = machine_attach(machine, DEVICE_RNG, &machine->rng.device, err);
	if (r < 0)
		return r;
	virtio_balloon_init(&machine->balloon, &machine->memory);
	r = machine_attach(machine, DEVICE_BALLOON, &machine->balloon.device, err);
	if (r == 0)
		r = machine_create_vsock(machine, options, err);
	return r < 0 ? r : machine_create_net(machine, options, err);
}
