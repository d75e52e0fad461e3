// SPDX-License-Identifier: Apache-2.0
/*
 * queued.c: data requests through io_uring.
 *
 * Theory of operation: a request that is queued owns a copy of its chain and a reference to its
 * fd until its answer was given back, so that neither a RELEASE nor a FORGET in between can
 * take anything away; a reset waits for it (device.c). Requests are FS_QUEUE_DEPTH at most, more
 * are served inline. The completion queue is twice as long, so it cannot overflow.
 *
 * #syscalls: io_uring_setup io_uring_register eventfd2
 * #syscalls:loop munmap close
 */
#include "virtio/fs/queued.h"

#include "virtio/fs/operations.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#define FS_QUEUE_DEPTH 64
/* Writes are for the page cache; the ring hands them to a thread, which takes longer than a short one. */
#define FS_QUEUE_WRITE_MIN (32u << 10)
#define FS_REAP_BATCH      16
#define FS_WAIT_NS         100000000
/* How often the kernel may say that it is short of something just now. */
#define FS_SUBMIT_TRIES 64

struct queued_request {
	struct queued_request *next; /* free, or to be submitted */
	unsigned int queue;
	uint32_t opcode;
	uint64_t unique;
	struct fs_transfer transfer;
	struct virtqueue_chain chain;
	struct iovec spans[VIRTQUEUE_SPANS_MAX];
	size_t span_count;
	size_t done; /* of transfer.length, by rounds of the ring before this one */
	int result;
};

struct fs_queue {
	struct virtio_fs *fs;
	int completion_fd;
	pthread_mutex_t lock; /* protects all below */
	struct io_uring ring;
	bool broken; /* the kernel refused what it had accepted before: not used any more */
	struct queued_request *free, *added;
	struct queued_request requests[FS_QUEUE_DEPTH];
};

/* liburing 2.3 declares functions for the two calls we need, but its library lacks them. */
static int ring_register(
	struct io_uring *ring, unsigned int opcode, const void *argument, unsigned int count)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, opcode, argument, count) < 0 ? -errno
											  : 0;
}

/* The ring may do these four things, from now on for ever. */
static int ring_restrict(struct io_uring *ring)
{
	static const uint8_t opcodes[] = {
		IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};
	struct io_uring_restriction restrictions[ARRAY_SIZE(opcodes)] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
		restrictions[i].sqe_op = opcodes[i];
	}
	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, restrictions, ARRAY_SIZE(opcodes));
}

int fs_queue_create(struct virtio_fs *fs, struct fs_queue **ret)
{
	_cleanup_free_ struct fs_queue *queue = calloc(1, sizeof(*queue));
	_cleanup_close_ int completion_fd = -1;
	struct io_uring_params parameters = {.flags = IORING_SETUP_R_DISABLED};
	int r;

	if (!queue)
		return -ENOMEM;
	completion_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (completion_fd < 0)
		return -errno;
	r = io_uring_queue_init_params(FS_QUEUE_DEPTH, &queue->ring, &parameters);
	if (r < 0)
		return r;
	/* fs_queue_wait() needs it (Linux 5.11). */
	if (!(parameters.features & IORING_FEAT_EXT_ARG))
		r = -ENOSYS;
	if (r == 0)
		r = io_uring_register_eventfd(&queue->ring, completion_fd);
	if (r == 0)
		r = ring_restrict(&queue->ring);
	if (r == 0)
		r = ring_register(&queue->ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (r < 0) {
		io_uring_queue_exit(&queue->ring);
		return r;
	}
	queue->fs = fs;
	queue->completion_fd = TAKE_FD(completion_fd);
	pthread_mutex_init(&queue->lock, NULL);
	for (size_t i = FS_QUEUE_DEPTH; i-- > 0;) {
		queue->requests[i].next = queue->free;
		queue->free = &queue->requests[i];
	}
	*ret = TAKE_PTR(queue);
	return 0;
}

void fs_queue_free(struct fs_queue *queue)
{
	if (!queue)
		return;
	io_uring_queue_exit(&queue->ring);
	close(queue->completion_fd);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

int fs_queue_completion_fd(const struct fs_queue *queue)
{
	return queue->completion_fd;
}

static void chain_copy(struct virtqueue_chain *to, const struct virtqueue_chain *from)
{
	to->head = from->head;
	to->readable_count = from->readable_count;
	to->writable_count = from->writable_count;
	to->readable_bytes = from->readable_bytes;
	to->writable_bytes = from->writable_bytes;
	to->window = from->window;
	memcpy(to->spans, from->spans,
		(from->readable_count + from->writable_count) * sizeof(from->spans[0]));
}

static struct queued_request *queue_take(struct fs_queue *queue)
{
	struct queued_request *queued;

	pthread_mutex_lock(&queue->lock);
	queued = queue->broken ? NULL : queue->free;
	if (queued)
		queue->free = queued->next;
	pthread_mutex_unlock(&queue->lock);
	return queued;
}

/* What is left to do of it goes into the ring with the next submission. */
static void queued_put(struct fs_queue *queue, struct queued_request *queued)
{
	bool read = queued->opcode == FUSE_READ;

	queued->span_count = 0;
	if (read || queued->opcode == FUSE_WRITE)
		queued->span_count = virtqueue_chain_slice(&queued->chain, read,
			(read ? FS_READ_PAYLOAD : FS_WRITE_PAYLOAD) + queued->done,
			queued->transfer.length - queued->done, queued->spans);
	pthread_mutex_lock(&queue->lock);
	queued->next = queue->added;
	queue->added = queued;
	pthread_mutex_unlock(&queue->lock);
}

bool fs_queue_add(struct fs_queue *queue, struct fs_request *request, unsigned int index)
{
	uint32_t opcode = request->header.opcode;
	struct queued_request *queued;
	struct fs_transfer transfer;
	bool in_window;
	int r;

	if (opcode != FUSE_READ && opcode != FUSE_WRITE && opcode != FUSE_FSYNC &&
		opcode != FUSE_FALLOCATE)
		return false;
	/* Whatever is wrong with it gets its answer inline. */
	if (fs_request_check(request) < 0)
		return false;
	request->inode = fs_inode_get(&queue->fs->inodes, request->header.nodeid);
	if (!request->inode)
		return false;
	fs_session_reveal(queue->fs, request->inode);
	r = fs_transfer_prepare(request, &transfer);
	in_window = (opcode == FUSE_WRITE || opcode == FUSE_FALLOCATE) &&
		fs_dax_may_write(request->inode);
	fs_inode_put(&queue->fs->inodes, TAKE_PTR(request->inode));
	if (r < 0)
		return false;
	queued = NULL;
	if (!in_window && (opcode != FUSE_WRITE || transfer.length >= FS_QUEUE_WRITE_MIN) &&
		!fs_transfer_kills_bits(request, &transfer))
		queued = queue_take(queue);
	if (!queued) {
		fs_transfer_done(queue->fs, &transfer);
		return false;
	}
	queued->queue = index;
	queued->opcode = opcode;
	queued->unique = request->header.unique;
	queued->transfer = transfer;
	chain_copy(&queued->chain, request->chain);
	queued->done = 0;
	queued_put(queue, queued);
	queue->fs->queued_requests++;
	return true;
}

static void submission_fill(struct io_uring_sqe *entry, struct queued_request *queued)
{
	const struct fs_transfer *transfer = &queued->transfer;
	int fd = transfer->fd;

	switch (queued->opcode) {
	case FUSE_READ:
		io_uring_prep_readv(entry, fd, queued->spans, (unsigned int)queued->span_count,
			(uint64_t)transfer->offset + queued->done);
		break;
	case FUSE_WRITE:
		io_uring_prep_writev2(entry, fd, queued->spans, (unsigned int)queued->span_count,
			(uint64_t)transfer->offset + queued->done, transfer->sync);
		break;
	case FUSE_FSYNC:
		io_uring_prep_fsync(entry, fd,
			transfer->flags & FUSE_FSYNC_FDATASYNC ? IORING_FSYNC_DATASYNC : 0);
		break;
	default:
		io_uring_prep_fallocate(entry, fd, (int)transfer->flags, transfer->offset,
			transfer->allocate_length);
		break;
	}
	io_uring_sqe_set_data(entry, queued);
}

/*
 * Does without the ring what is left to do of a request.
 *
 * #syscalls:vcpu,loop fsync fdatasync
 * #syscalls:vcpu,loop fallocate(_, ~(FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
 */
static ssize_t queued_serve(const struct queued_request *queued, size_t done)
{
	const struct fs_transfer *transfer = &queued->transfer;
	int fd = transfer->fd, r;

	switch (queued->opcode) {
	case FUSE_READ:
		return fs_transfer_read(transfer, &queued->chain, done);
	case FUSE_WRITE:
		return fs_transfer_write(transfer, &queued->chain, done);
	case FUSE_FSYNC:
		r = transfer->flags & FUSE_FSYNC_FDATASYNC ? fdatasync(fd) : fsync(fd);
		break;
	default:
		return fs_transfer_allocate(transfer);
	}
	return r < 0 ? -errno : 0;
}

/*
 * Whether the ring has a part of it to do still. The host's own files are near enough for the thread that looks after
 * the answers to do that part itself; a volume may be on a file system that does not answer.
 */
static bool queued_goes_on(struct fs_queue *queue, struct queued_request *queued)
{
	size_t left = queued->transfer.length - queued->done;
	bool broken;

	if (!queued->transfer.distant || queued->result <= 0 || (size_t)queued->result >= left)
		return false;
	pthread_mutex_lock(&queue->lock);
	broken = queue->broken;
	pthread_mutex_unlock(&queue->lock);
	if (broken)
		return false;
	queued->done += (size_t)queued->result;
	return true;
}

/* What the kernel made of the request; what it left undone is done here. */
static ssize_t queued_result(const struct queued_request *queued)
{
	const struct fs_transfer *transfer = &queued->transfer;
	struct fuse_write_out out = {0};
	size_t done = queued->done;
	ssize_t r = queued->result;

	if (r == -EINTR || r == -EAGAIN)
		r = queued_serve(queued, done);
	else if (r >= 0 && done + (size_t)r < transfer->length && (r > 0 || !transfer->distant))
		r = queued_serve(queued, done + (size_t)r);
	else if (r >= 0)
		r += (ssize_t)done;
	else if (queued->opcode == FUSE_WRITE && done > 0)
		r = (ssize_t)done; /* what was written counts, as with write(2) */
	if (r < 0 || queued->opcode != FUSE_WRITE)
		return r;
	out.size = (uint32_t)r;
	virtqueue_chain_write(&queued->chain, sizeof(struct fuse_out_header), &out, sizeof(out));
	return sizeof(out);
}

/* Answers a request and gives its chain back. No lock is held. */
static void queued_finish(struct fs_queue *queue, struct queued_request *queued)
{
	struct virtio_fs *fs = queue->fs;
	uint32_t written = fs_reply_write(&queued->chain, queued->unique, queued_result(queued));
	unsigned int index = queued->queue;
	uint16_t head = queued->chain.head;

	fs_transfer_done(fs, &queued->transfer);
	pthread_mutex_lock(&queue->lock);
	queued->next = queue->free;
	queue->free = queued;
	pthread_mutex_unlock(&queue->lock);
	pthread_mutex_lock(&fs->device.lock);
	virtqueue_push(&fs->device.queues[index], head, written);
	virtio_device_signal(&fs->device, index);
	if (--fs->active == 0)
		pthread_cond_broadcast(&fs->idle);
	pthread_mutex_unlock(&fs->device.lock);
}

/* Under the queue's lock: takes up to FS_REAP_BATCH completed requests. */
static size_t ring_take(struct fs_queue *queue, struct queued_request **ret)
{
	struct io_uring_cqe *entries[FS_REAP_BATCH];
	unsigned int count = io_uring_peek_batch_cqe(&queue->ring, entries, FS_REAP_BATCH);

	for (unsigned int i = 0; i < count; i++) {
		ret[i] = io_uring_cqe_get_data(entries[i]);
		ret[i]->result = entries[i]->res;
	}
	io_uring_cq_advance(&queue->ring, count);
	return count;
}

/*
 * Under the queue's lock: moves what was added into the ring and enters the kernel. Returns the
 * list of requests that the kernel would not take.
 *
 * #syscalls:vcpu,loop io_uring_enter(_, _, 0, 0)
 */
static struct queued_request *ring_submit(struct fs_queue *queue)
{
	struct queued_request *sent[FS_QUEUE_DEPTH], *refused = NULL;
	unsigned int count = 0, taken = 0;

	/* The ring is empty between two calls and has an entry for each request there is. */
	while (queue->added) {
		struct queued_request *queued = queue->added;

		queue->added = queued->next;
		if (!queue->broken)
			submission_fill(io_uring_get_sqe(&queue->ring), queued);
		sent[count++] = queued;
	}
	for (unsigned int tries = 0; !queue->broken && taken < count && tries < FS_SUBMIT_TRIES;
		tries++) {
		int r = io_uring_submit(&queue->ring);

		if (r > 0)
			taken += (unsigned int)r;
		else if (r != -EINTR && r != -EAGAIN && r != -EBUSY)
			break;
	}
	/* Its entries cannot be taken back: the ring is not entered again. */
	queue->broken = queue->broken || taken < count;
	for (unsigned int i = taken; i < count; i++) {
		sent[i]->result = -EAGAIN;
		sent[i]->next = refused;
		refused = sent[i];
	}
	return refused;
}

void fs_queue_submit(struct fs_queue *queue)
{
	struct queued_request *refused;

	pthread_mutex_lock(&queue->lock);
	refused = ring_submit(queue);
	pthread_mutex_unlock(&queue->lock);
	while (refused) {
		struct queued_request *queued = refused;

		refused = queued->next;
		queued_finish(queue, queued);
	}
}

void fs_queue_reap(struct fs_queue *queue)
{
	struct queued_request *done[FS_REAP_BATCH];
	uint64_t more = 1;
	ssize_t n;

	for (unsigned int turns = 0; turns < FS_QUEUE_DEPTH / FS_REAP_BATCH; turns++) {
		size_t count;

		pthread_mutex_lock(&queue->lock);
		count = ring_take(queue, done);
		pthread_mutex_unlock(&queue->lock);
		for (size_t i = 0; i < count; i++) {
			if (queued_goes_on(queue, done[i]))
				queued_put(queue, done[i]);
			else
				queued_finish(queue, done[i]);
		}
		fs_queue_submit(queue);
		if (count < FS_REAP_BATCH)
			return;
	}
	/* The guest may send as fast as this: what has completed since has its turn after the others'. */
	n = write(queue->completion_fd, &more, sizeof(more));
	(void)n; /* full means: raised already */
}

/*
 * Another thread may take what completes: hence no longer than FS_WAIT_NS.
 *
 * #syscalls:vcpu,loop io_uring_enter(_, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG)
 */
void fs_queue_wait(const struct fs_queue *queue)
{
	struct __kernel_timespec limit = {.tv_nsec = FS_WAIT_NS};
	struct io_uring_getevents_arg argument = {.ts = (uintptr_t)&limit};

	syscall(SYS_io_uring_enter, queue->ring.ring_fd, 0, 1,
		IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof(argument));
}
