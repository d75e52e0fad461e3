// SPDX-License-Identifier: Apache-2.0
/*
 * net.c: virtio-net over a tap interface or a stream of frames.
 *
 * Theory of operation: whatever the guest sends is copied out of its memory before it is looked at, and
 * what is sent is that copy: a frame that was checked cannot change. Guests with emulated kernels gain much from
 * a checksum that is computed here instead of there. In the other direction bytes of the host are gathered
 * in one buffer until a frame is whole, and a frame goes into as many chains as it needs, which the driver
 * then sees all at once; where there are too few, they are put back, and the frame waits for the
 * driver's next notification. A tap has headers of its own: what the guest says in one is checked here, since
 * it decides what the host's kernel does to a frame.
 *
 * #syscalls: timerfd_create
 * #syscalls:vcpu,loop readv write sendmsg(_, _, MSG_DONTWAIT | MSG_NOSIGNAL)
 */
#include "virtio/net.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/frame_stream.h"
#include "base/handshake.h"
#include "base/inet_checksum.h"
#include "base/tcp_end.h"
#include "virtio/bucket.h"

#include <endian.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define QUEUE_RECEIVE  0
#define QUEUE_TRANSMIT 1

#define ETHERNET_HEADER_SIZE 14u
#define PREFIX_SIZE          FRAME_STREAM_PREFIX_SIZE

/* A frame goes into at most so many chains; 64 KiB in buffers of one Ethernet frame are 43. */
#define CHAINS_MAX 64
/* Frames in one direction before others have their turn. */
#define FRAMES_PER_TURN 64

/* How often drivers may agree to something else than before: the host's tap takes a lock of all its networks each time. */
#define OFFLOAD_CHANGES_MAX 16

/* Bytes that wait for the other side: the next to go is at start. */
struct frame_buffer {
	uint8_t data[PREFIX_SIZE + VIRTIO_NET_HEADER_SIZE + VIRTIO_NET_FRAME_MAX];
	size_t start, length;
};

struct virtio_net {
	struct virtio_device device;
	struct bucket bucket; /* of options.bandwidth */
	uint64_t due;         /* when the next frame may pass */
	int timer_fd;
	struct virtio_net_options options;
	bool is_down; /* the host's end is gone */
	/* What the tap may leave to the guest, once that was said; and how often it was. */
	unsigned int offload, offload_changes;
	uint32_t wanted; /* poll events that the owner is to tell of */
	/* From the host: of a stream what was read, a tap's one frame with its header. */
	struct frame_buffer incoming;
	/* To the host: what the stream had no room for. */
	struct frame_buffer outgoing;
	struct tcp_ends ends; /* of a stream, to passt */
	struct virtqueue_chain chain,
		first; /* first: of those that a frame to the guest goes into */
	struct virtio_net_counters counters;
};

static struct virtio_net *net_of(struct virtio_device *device)
{
	return (struct virtio_net *)device; /* the device is the first member */
}

/* Whether frames can go to the host, and come from there. */
static bool is_joined(const struct virtio_net *net)
{
	return net->options.fd >= 0 && !net->is_down;
}

static void go_down(struct virtio_net *net)
{
	net->is_down = true;
	net->incoming.length = net->outgoing.length = 0;
	if (net->device.running)
		net->device.interrupt(&net->device, VIRTIO_INTERRUPT_CONFIG);
}

/* The owner tells once, of the events that it was asked for last: both directions ask for theirs together. */
static void net_want(struct virtio_net *net, uint32_t events)
{
	net->wanted |= events;
	if (net->wanted)
		net->options.arm(net->options.context, net->wanted);
}

static bool has_feature(const struct virtio_net *net, unsigned int bit)
{
	return net->device.driver_features & VIRTIO_FEATURE(bit);
}

/* ---- the limit */

/* A frame has passed. */
static void limit_take(struct virtio_net *net, size_t length)
{
	if (net->options.bandwidth)
		net->due = bucket_take(
			&net->bucket, net->options.bandwidth, length, (uint64_t)clock_monotonic());
}

/* No frame may pass now: the timer tells when. */
static bool limit_waits(struct virtio_net *net)
{
	if (!net->options.bandwidth || net->due <= (uint64_t)clock_monotonic())
		return false;
	bucket_timer_set(net->timer_fd, net->due);
	return true;
}

/* ---- to the guest */

/* Reads once; how many bytes came. */
static size_t incoming_read(struct virtio_net *net)
{
	struct frame_buffer *buffer = &net->incoming;
	struct iovec span;
	ssize_t n;

	/* A tap gives one frame at a time. */
	if (net->options.kind == VIRTIO_NET_TAP && buffer->length > 0)
		return 0;
	if (buffer->start > 0)
		memmove(buffer->data, buffer->data + buffer->start, buffer->length);
	buffer->start = 0;
	span = (struct iovec){buffer->data + buffer->length, sizeof(buffer->data) - buffer->length};
	do
		n = readv(net->options.fd, &span, 1);
	while (n < 0 && errno == EINTR);
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		go_down(net);
		return 0;
	}
	if (n < 0)
		return 0;
	buffer->length += (size_t)n;
	return (size_t)n;
}

/* Bytes that are done with. */
static void incoming_drop(struct virtio_net *net, size_t size)
{
	net->incoming.start += size;
	net->incoming.length -= size;
}

/*
 * The next frame that is whole, with its header before it in *ret_header; *ret_size of the buffer's bytes are it. 1, 0:
 * there is none yet; -EBADMSG: it is none, and no other can come.
 */
static int incoming_frame(struct virtio_net *net, struct virtio_net_hdr_mrg_rxbuf *ret_header,
	const uint8_t **ret_frame, size_t *ret_length, size_t *ret_size)
{
	struct frame_buffer *buffer = &net->incoming;
	size_t skip, start = VIRTIO_NET_HEADER_SIZE;
	int r;

	*ret_header = (struct virtio_net_hdr_mrg_rxbuf){0};
	if (net->options.kind == VIRTIO_NET_TAP) {
		if (buffer->length == 0)
			return 0;
		if (buffer->length < VIRTIO_NET_HEADER_SIZE)
			return -EBADMSG;
		memcpy(ret_header, buffer->data, VIRTIO_NET_HEADER_SIZE);
		*ret_length = buffer->length - VIRTIO_NET_HEADER_SIZE;
	} else {
		r = frame_stream_next(buffer->data + buffer->start, buffer->length,
			VIRTIO_NET_FRAME_MAX, &skip, &start, ret_length);
		if (r < 0)
			return r;
		incoming_drop(net, skip);
		net->counters.dropped_frames += skip / PREFIX_SIZE;
		if (r == 0)
			return 0;
		start -= skip;
		if (has_feature(net, VIRTIO_NET_F_GUEST_CSUM))
			ret_header->hdr.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	*ret_frame = buffer->data + buffer->start + start;
	*ret_size = start + *ret_length;
	if (net->options.kind == VIRTIO_NET_STREAM)
		tcp_end_hear(&net->ends, *ret_frame, *ret_length);
	return 1;
}

/* The parts of a frame as one sequence of bytes: writes those from offset on into the chain. */
static size_t chain_fill(const struct virtqueue_chain *chain, size_t offset,
	const struct virtio_net_hdr_mrg_rxbuf *header, const uint8_t *frame, size_t length)
{
	size_t filled = 0;

	if (offset < VIRTIO_NET_HEADER_SIZE)
		filled = virtqueue_chain_write(chain, 0, (const uint8_t *)header + offset,
			VIRTIO_NET_HEADER_SIZE - offset);
	if (offset + filled < VIRTIO_NET_HEADER_SIZE)
		return filled;
	offset += filled - VIRTIO_NET_HEADER_SIZE;
	return filled + virtqueue_chain_write(chain, filled, frame + offset, length - offset);
}

/* Pops a chain that can be written. 1; 0: there is none now; -EBADMSG. */
static int pop_receive(struct virtqueue *queue, struct virtqueue_chain *chain)
{
	int r = virtqueue_pop(queue, chain);

	if (r == 0) {
		virtqueue_enable_notification(queue);
		r = virtqueue_pop(queue, chain);
	}
	return r > 0 && chain->writable_bytes < VIRTIO_NET_HEADER_SIZE ? -EBADMSG : r;
}

/*
 * Puts a frame into chains of the guest. 1: done, or dropped since no buffers of this guest hold it; 0: there are too
 * few now; -EBADMSG: the driver broke the rules.
 */
static int frame_deliver(struct virtio_net *net, struct virtio_net_hdr_mrg_rxbuf *header,
	const uint8_t *frame, size_t length)
{
	size_t most = has_feature(net, VIRTIO_NET_F_MRG_RXBUF) ? CHAINS_MAX : 1;
	struct virtqueue *queue = &net->device.queues[QUEUE_RECEIVE];
	size_t total = VIRTIO_NET_HEADER_SIZE + length, done = 0, count = 0;
	struct virtqueue_used used[CHAINS_MAX];
	struct virtqueue_chain *first = &net->first;
	int r = 1;

	while (done < total && count < most) {
		struct virtqueue_chain *chain = count == 0 ? first : &net->chain;
		size_t n;

		r = pop_receive(queue, chain);
		if (r <= 0)
			break;
		n = chain_fill(chain, done, header, frame, length);
		used[count++] =
			(struct virtqueue_used){.head = chain->head, .written = (uint32_t)n};
		done += n;
	}
	if (done < total) {
		for (size_t i = 0; i < count; i++)
			virtqueue_unpop(queue);
		net->counters.dropped_frames += r > 0;
		return r;
	}
	header->num_buffers = htole16((uint16_t)count);
	virtqueue_chain_write(first, 0, header, VIRTIO_NET_HEADER_SIZE);
	virtqueue_push_all(queue, used, count);
	net->counters.received_frames++;
	net->counters.received_bytes += length;
	return 1;
}

static void net_receive(struct virtio_net *net)
{
	unsigned int turns = 0;

	while (is_joined(net) && net->device.queues[QUEUE_RECEIVE].ready) {
		struct virtio_net_hdr_mrg_rxbuf header;
		const uint8_t *frame = NULL;
		size_t length = 0, size = 0;
		int r = incoming_frame(net, &header, &frame, &length, &size);

		if (r < 0) {
			go_down(net);
			break;
		}
		if (r == 0) {
			if (turns < FRAMES_PER_TURN && incoming_read(net) > 0)
				continue;
			if (is_joined(net))
				net_want(net, POLLIN);
			break;
		}
		/* What has come waits, and what comes next waits in the host. */
		if (limit_waits(net))
			break;
		turns++;
		r = frame_deliver(net, &header, frame, length);
		if (r < 0)
			virtio_device_break(&net->device, "a malformed buffer to receive into");
		/* Without buffers it waits for the driver to notify of some. */
		if (r <= 0)
			break;
		limit_take(net, length);
		incoming_drop(net, size);
	}
	virtio_device_signal(&net->device, QUEUE_RECEIVE);
}

/* ---- from the guest */

/*
 * Fills in the checksum that the guest left to us (section 5.1.6.2): what stands there already is the sum of the
 * pseudo header. False: the place is not in the frame, or in its Ethernet header, which was checked.
 */
static bool checksum_complete(
	uint8_t *frame, size_t length, const struct virtio_net_hdr_mrg_rxbuf *header)
{
	size_t start = le16toh(header->hdr.csum_start);
	size_t place = start + le16toh(header->hdr.csum_offset);

	if (start < ETHERNET_HEADER_SIZE || place + 2 > length)
		return false;
	inet_checksum_put(frame + place, inet_checksum_add(0, frame + start, length - start));
	/* To UDP a sum of zero means that there is none; to TCP both zeros are the same. */
	if (frame[place] == 0 && frame[place + 1] == 0)
		frame[place] = frame[place + 1] = 0xff;
	return true;
}

/* What a stream has no room for waits. False: something waits. */
static bool stream_flush(struct virtio_net *net)
{
	struct frame_buffer *buffer = &net->outgoing;

	while (buffer->length > 0) {
		struct iovec span = {buffer->data + buffer->start, buffer->length};
		const struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};
		ssize_t n = sendmsg(net->options.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && error_is_of_moment(-errno))
			return false;
		if (n < 0) {
			go_down(net);
			return true;
		}
		buffer->start += (size_t)n;
		buffer->length -= (size_t)n;
	}
	return true;
}

/* Each: whether the frame, which is in outgoing behind its header, is sent or waits to be. */
static bool stream_send(
	struct virtio_net *net, const struct virtio_net_hdr_mrg_rxbuf *header, size_t length)
{
	struct frame_buffer *buffer = &net->outgoing;
	uint8_t *frame = buffer->data + PREFIX_SIZE + VIRTIO_NET_HEADER_SIZE;

	if (header->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE ||
		(header->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
			!checksum_complete(frame, length, header)))
		return false;
	length = tcp_end_carry(&net->ends, frame, length, VIRTIO_NET_FRAME_MAX);
	/* The prefix takes the place of the end of the header. */
	buffer->start = VIRTIO_NET_HEADER_SIZE;
	buffer->length = PREFIX_SIZE + length;
	frame_stream_put_length(buffer->data + buffer->start, length);
	stream_flush(net);
	return true;
}

/* Whether the driver may leave this segmentation to us, which is the host's then. */
static bool can_segment(const struct virtio_net *net, uint8_t type)
{
	switch (type) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return has_feature(net, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return has_feature(net, VIRTIO_NET_F_HOST_TSO6);
	default:
		return false;
	}
}

/*
 * Section 5.1.6.2: what a header asks for was negotiated, and is in the frame. All that the host need not know is
 * taken out: that the guest has verified a checksum is nothing that others should rely on.
 */
static bool header_check(
	const struct virtio_net *net, struct virtio_net_hdr_mrg_rxbuf *header, size_t length)
{
	size_t start = le16toh(header->hdr.csum_start);
	bool is_segmented = header->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE;

	if (!can_segment(net, header->hdr.gso_type))
		return false;
	header->num_buffers = 0;
	header->hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (!header->hdr.flags) {
		header->hdr = (struct virtio_net_hdr){.flags = 0};
		return !is_segmented;
	}
	if (start < ETHERNET_HEADER_SIZE ||
		start + le16toh(header->hdr.csum_offset) + sizeof(uint16_t) > length)
		return false;
	if (!is_segmented)
		header->hdr.gso_size = header->hdr.hdr_len = 0;
	return !is_segmented ||
		(header->hdr.gso_size != 0 && le16toh(header->hdr.hdr_len) <= length);
}

static bool tap_send(struct virtio_net *net, struct virtio_net_hdr_mrg_rxbuf *header, size_t length)
{
	uint8_t *data = net->outgoing.data + PREFIX_SIZE;
	ssize_t n;

	if (!header_check(net, header, length))
		return false;
	memcpy(data, header, sizeof(*header));
	do
		n = write(net->options.fd, data, VIRTIO_NET_HEADER_SIZE + length);
	while (n < 0 && errno == EINTR);
	/* A full queue, or a header that makes no sense to the host's kernel: as on any link. */
	return n >= 0;
}

/* Sends the frame in net->chain, or drops it: then *ret_length is 0. False: the driver broke the rules. */
static bool frame_send(struct virtio_net *net, size_t *ret_length)
{
	struct frame_buffer *buffer = &net->outgoing;
	struct virtio_net_hdr_mrg_rxbuf header;
	uint8_t *frame = buffer->data + PREFIX_SIZE + VIRTIO_NET_HEADER_SIZE;
	size_t total = net->chain.readable_bytes, length = total - VIRTIO_NET_HEADER_SIZE;

	*ret_length = 0;
	if (total < VIRTIO_NET_HEADER_SIZE || total > VIRTIO_NET_HEADER_SIZE + VIRTIO_NET_FRAME_MAX)
		return false;
	if (virtqueue_chain_read(&net->chain, 0, buffer->data + PREFIX_SIZE, total) != total)
		return false;
	memcpy(&header, buffer->data + PREFIX_SIZE, sizeof(header));
	if (!is_joined(net) || length < ETHERNET_HEADER_SIZE ||
		memcmp(frame + VIRTIO_NET_MAC_SIZE, net->options.mac, VIRTIO_NET_MAC_SIZE) != 0) {
		net->counters.dropped_frames++;
		return true;
	}
	if (net->options.kind == VIRTIO_NET_TAP ? !tap_send(net, &header, length)
						: !stream_send(net, &header, length)) {
		net->counters.dropped_frames++;
		return true;
	}
	net->counters.sent_frames++;
	net->counters.sent_bytes += length;
	*ret_length = length;
	return true;
}

/*
 * passt leaves the last part of a handshake out (base/handshake.h). Where the guest has no buffers for it now it says
 * its own part again. False: the driver broke the rules.
 */
static bool complete_handshake(struct virtio_net *net, size_t length)
{
	const uint8_t *frame = net->outgoing.data + PREFIX_SIZE + VIRTIO_NET_HEADER_SIZE;
	struct virtio_net_hdr_mrg_rxbuf header = {.num_buffers = 0};
	uint8_t answer[HANDSHAKE_FRAME_MAX];
	size_t answer_length;
	int r;

	if (net->options.kind != VIRTIO_NET_STREAM || !net->device.queues[QUEUE_RECEIVE].ready)
		return true;
	answer_length = handshake_answer(frame, length, answer);
	if (answer_length == 0)
		return true;
	r = frame_deliver(net, &header, answer, answer_length);
	virtio_device_signal(&net->device, QUEUE_RECEIVE);
	return r >= 0;
}

static void net_transmit(struct virtio_net *net)
{
	struct virtqueue *queue = &net->device.queues[QUEUE_TRANSMIT];
	unsigned int turns = 0;

	while (queue->ready) {
		size_t length;
		int r;

		if (!is_joined(net)) {
			/* Nobody takes frames, and no event of the host's end goes on with them: all that are there go now. */
			if (++turns > queue->size) {
				virtqueue_enable_notification(queue);
				break;
			}
		} else if (!stream_flush(net) || ++turns > FRAMES_PER_TURN) {
			/* Either is gone on with on the owner's loop: others have their turn in between. */
			net_want(net, POLLOUT);
			break;
		} else if (limit_waits(net)) {
			break;
		}
		r = virtqueue_pop(queue, &net->chain);
		if (r == 0) {
			/* Ask for a notification, then look again: the driver may have added one. */
			virtqueue_enable_notification(queue);
			r = virtqueue_pop(queue, &net->chain);
		}
		if (r == 0)
			break;
		if (r < 0 || !frame_send(net, &length)) {
			virtio_device_break(&net->device, "a malformed frame to send");
			break;
		}
		virtqueue_push(queue, net->chain.head, 0);
		limit_take(net, length);
		if (length > 0 && !complete_handshake(net, length)) {
			virtio_device_break(&net->device, "a malformed buffer to receive into");
			break;
		}
	}
	virtio_device_signal(&net->device, QUEUE_TRANSMIT);
}

void virtio_net_ready(struct virtio_net *net, uint32_t events)
{
	pthread_mutex_lock(&net->device.lock);
	net->wanted &= ~events;
	if (net->device.running && is_joined(net)) {
		if (events & (POLLOUT | POLLERR | POLLHUP))
			net_transmit(net);
		if (events & (POLLIN | POLLERR | POLLHUP))
			net_receive(net);
		if (is_joined(net))
			net_want(net, 0);
		else
			net_transmit(net); /* what waited for the host's end waits in vain */
	}
	pthread_mutex_unlock(&net->device.lock);
}

int virtio_net_timer_fd(const struct virtio_net *net)
{
	return net->timer_fd;
}

void virtio_net_due(struct virtio_net *net)
{
	pthread_mutex_lock(&net->device.lock);
	bucket_timer_set(net->timer_fd, 0);
	if (net->device.running) {
		net_transmit(net);
		net_receive(net);
	}
	pthread_mutex_unlock(&net->device.lock);
}

/* ---- the device */

static void net_notify(struct virtio_device *device, unsigned int queue)
{
	if (queue == QUEUE_TRANSMIT)
		net_transmit(net_of(device));
	else
		net_receive(net_of(device));
}

/* What a tap may leave to the guest is what the driver has agreed to. -EBUSY: drivers change their mind for ever. */
static int offer_offload(struct virtio_net *net)
{
	unsigned int offload = 0;
	int r;

	if (has_feature(net, VIRTIO_NET_F_GUEST_CSUM))
		offload |= VIRTIO_NET_OFFLOAD_CHECKSUM;
	if (has_feature(net, VIRTIO_NET_F_GUEST_TSO4))
		offload |= VIRTIO_NET_OFFLOAD_TCP4;
	if (has_feature(net, VIRTIO_NET_F_GUEST_TSO6))
		offload |= VIRTIO_NET_OFFLOAD_TCP6;
	if (net->offload_changes > 0 && offload == net->offload)
		return 0;
	if (net->offload_changes == OFFLOAD_CHANGES_MAX)
		return -EBUSY;
	r = net->options.offload(net->options.context, offload);
	if (r < 0)
		return r;
	net->offload = offload;
	net->offload_changes++;
	return 0;
}

/* Goes on with the rest of a frame that another driver has sent: the stream's other end waits for it. */
static void net_start(struct virtio_device *device)
{
	struct virtio_net *net = net_of(device);

	if (!is_joined(net))
		return;
	if (net->options.kind == VIRTIO_NET_TAP && offer_offload(net) < 0)
		go_down(net);
	else
		net_want(net, net->outgoing.length > 0 ? POLLIN | POLLOUT : POLLIN);
}

/*
 * Frames on the way are lost, but not their boundaries in a stream: of one that has partly gone or come the rest still
 * goes or comes.
 */
static void net_reset(struct virtio_device *device)
{
	struct virtio_net *net = net_of(device);
	struct virtio_net_hdr_mrg_rxbuf header;
	const uint8_t *frame;
	size_t length, size;

	net->wanted = 0;
	if (net->options.kind == VIRTIO_NET_TAP)
		net->incoming.length = 0;
	while (incoming_frame(net, &header, &frame, &length, &size) > 0)
		incoming_drop(net, size);
}

static void net_read_config(struct virtio_device *device, size_t offset, void *data, size_t length)
{
	struct virtio_net *net = net_of(device);
	struct virtio_net_config config = {
		.status = net->is_down ? 0 : htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16(1),
	};

	memcpy(config.mac, net->options.mac, VIRTIO_NET_MAC_SIZE);
	memcpy(data, (const uint8_t *)&config + offset, length);
}

/*
 * There is no state to save: frames in flight belong to no other machine. But a driver that waits for room to send
 * notifies of nothing more.
 */
static int net_restore(struct virtio_device *device, struct state_reader *reader, struct error *err)
{
	struct virtio_net *net = net_of(device);

	(void)reader;
	(void)err;
	if (!device->running)
		return 0;
	net_start(device);
	if (is_joined(net) && device->queues[QUEUE_TRANSMIT].ready &&
		virtqueue_pending(&device->queues[QUEUE_TRANSMIT]) != 0)
		net_want(net, POLLOUT);
	return 0;
}

static const struct virtio_operations net_operations = {
	.notify = net_notify,
	.start = net_start,
	.reset = net_reset,
	.read_config = net_read_config,
	.restore = net_restore,
};

int virtio_net_create(const struct guest_memory *memory, const struct virtio_net_options *options,
	struct virtio_net **ret)
{
	struct virtio_net *net = calloc(1, sizeof(*net));
	int r;

	if (!net)
		return -ENOMEM;
	net->timer_fd = -1;
	if (options->bandwidth) {
		net->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (net->timer_fd < 0) {
			r = -errno;
			free(net);
			return r;
		}
	}
	virtio_device_init(&net->device, memory);
	net->device.id = VIRTIO_ID_NET;
	net->device.features = VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) |
		VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_MAC) |
		VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_FEATURE(VIRTIO_NET_F_STATUS);
	if (options->kind == VIRTIO_NET_TAP)
		net->device.features |= VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
			VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) |
			VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
			VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO6);
	net->device.queue_count = 2;
	net->device.config_size = offsetof(struct virtio_net_config, mtu);
	net->device.operations = &net_operations;
	net->options = *options;
	*ret = net;
	return 0;
}

void virtio_net_free(struct virtio_net *net)
{
	if (!net)
		return;
	cleanup_close(&net->options.fd);
	cleanup_close(&net->timer_fd);
	pthread_mutex_destroy(&net->device.lock);
	free(net);
}

struct virtio_device *virtio_net_device(struct virtio_net *net)
{
	return &net->device;
}

void virtio_net_count(struct virtio_net *net, struct virtio_net_counters *ret)
{
	pthread_mutex_lock(&net->device.lock);
	*ret = net->counters;
	pthread_mutex_unlock(&net->device.lock);
}
