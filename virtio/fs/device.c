// SPDX-License-Identifier: Apache-2.0
/*
 * device.c: the virtio side of the file server (virtio 1.2, section 5.11).
 *
 * Theory of operation: a notification serves requests until the queue is empty. One that answers can make (they are
 * written where the guest says, be it the queue itself) may never be: so its thread leaves after so many, to see whether
 * it is to stop, and goes on with virtio_fs_go_on(). While one is served
 * the device's lock is free, so that another vCPU can serve its own; the wish for a notification is
 * renewed before that, else the driver would not tell of it. A reset waits for every request that
 * was popped, because a request goes on writing to guest memory until its chain was given back; so
 * does saving.
 *
 * #syscalls: prlimit64 umask openat rt_sigaction
 * #syscalls:loop read close
 */
#include "base/file.h"
#include "base/log.h"
#include "virtio/fs/queued.h"
#include "virtio/fs/saved.h"
#include "virtio/fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define FS_TAG_SIZE sizeof(((struct virtio_fs *)NULL)->tag)

/* Section 5.11.2: queue 0 is for high priority requests, the request queues follow. */
#define FS_REQUEST_QUEUES 1
#define FS_QUEUES         (1 + FS_REQUEST_QUEUES)

/* Section 5.11.4. */
struct fs_config {
	uint8_t tag[36];
	uint32_t num_request_queues; /* little endian */
} __attribute__((packed));

/* Requests that a thread serves before it leaves: each may be of 1 MiB. */
#define FS_TURNS_MAX 256

/* fds beside those of inodes and handles: KVM, queues, sockets, transient ones of each thread. */
#define FS_DESCRIPTORS_RESERVE 512ull

static struct virtio_fs *device_fs(struct virtio_device *device)
{
	return (struct virtio_fs *)((char *)device - offsetof(struct virtio_fs, device));
}

/* Under the device's lock, after a chain was given back. */
static void request_done(struct virtio_fs *fs)
{
	if (--fs->active == 0)
		pthread_cond_broadcast(&fs->idle);
}

/* Sends and, where the host had the data at hand, delivers at once. The device's lock is held. */
static void fs_send_queued(struct virtio_fs *fs, bool *added)
{
	if (!*added)
		return;
	*added = false;
	pthread_mutex_unlock(&fs->device.lock);
	fs_queue_submit(fs->queue);
	fs_queue_reap(fs->queue);
	pthread_mutex_lock(&fs->device.lock);
}

void fs_answer(struct virtio_fs *fs, unsigned int index, uint16_t head, uint32_t written)
{
	pthread_mutex_lock(&fs->device.lock);
	virtqueue_push(&fs->device.queues[index], head, written);
	virtio_device_signal(&fs->device, index);
	request_done(fs);
	pthread_mutex_unlock(&fs->device.lock);
}

static void fs_serve_inline(struct virtio_fs *fs, struct fs_request *request, unsigned int index)
{
	uint32_t written;

	pthread_mutex_unlock(&fs->device.lock);
	written = fs_request_serve(request);
	fs->inline_requests++;
	pthread_mutex_lock(&fs->device.lock);
	if (fs->throttle && fs_throttle_hold(fs->throttle, request, index, written))
		return;
	virtqueue_push(&fs->device.queues[index], request->chain->head, written);
	virtio_device_signal(&fs->device, index);
	request_done(fs);
}

static void fs_notify(struct virtio_device *device, unsigned int index)
{
	struct virtio_fs *fs = device_fs(device);
	struct virtqueue *queue = &device->queues[index];
	bool several = virtqueue_pending(queue) > 1 && !fs->throttle;
	struct virtqueue_chain chain;
	struct fs_request request;
	unsigned int turns = 0;
	bool added = false;

	while (device->running && queue->ready && !fs->resetting) {
		int r;

		if (turns++ == FS_TURNS_MAX) {
			fs->unfinished |= 1u << index;
			break;
		}
		r = virtqueue_pop(queue, &chain);
		if (r == 0)
			break;
		/* A driver that waits for its answers cannot have more requests than its rings have places. */
		if (r > 0 && fs->active >= FS_QUEUES * VIRTQUEUE_SIZE_MAX)
			r = -EBADMSG;
		if (r > 0)
			r = fs_request_parse(&request, fs, &chain);
		if (r < 0) {
			virtio_device_break(device, "malformed file system request");
			break;
		}
		virtqueue_enable_notification(queue);
		fs->requests++;
		fs->active++;
		if (several && fs->queue && fs_queue_add(fs->queue, &request, index)) {
			added = true;
			continue;
		}
		/* What waits in the ring runs beside what is served here. */
		fs_send_queued(fs, &added);
		fs_serve_inline(fs, &request, index);
	}
	fs_send_queued(fs, &added);
}

bool virtio_fs_go_on(struct virtio_fs *fs)
{
	unsigned int queues;
	bool is_unfinished;

	if (!fs->unfinished)
		return false;
	pthread_mutex_lock(&fs->device.lock);
	queues = fs->unfinished;
	fs->unfinished = 0;
	/* Another thread may have reset the device meanwhile. */
	for (unsigned int i = 0; i < FS_QUEUES; i++)
		if (queues >> i & 1 && fs->device.running && fs->device.queues[i].ready)
			fs_notify(&fs->device, i);
	is_unfinished = fs->unfinished;
	pthread_mutex_unlock(&fs->device.lock);
	return is_unfinished;
}

/* Until every request that was popped is answered. Under the device's lock, which it drops. */
static void fs_wait_idle(struct virtio_fs *fs)
{
	fs_throttle_flush(fs->throttle, true);
	if (fs->throttle && fs->active > 0) {
		pthread_mutex_unlock(&fs->device.lock);
		fs_throttle_answer(fs->throttle, true);
		pthread_mutex_lock(&fs->device.lock);
	}
	while (fs->active > 0) {
		if (!fs->queue) {
			pthread_cond_wait(&fs->idle, &fs->device.lock);
			continue;
		}
		/* Some may be in the ring, and the event loop may be the one that waits here. */
		pthread_mutex_unlock(&fs->device.lock);
		fs_queue_wait(fs->queue);
		fs_queue_reap(fs->queue);
		pthread_mutex_lock(&fs->device.lock);
	}
	fs_throttle_flush(fs->throttle, false);
}

static void fs_reset(struct virtio_device *device)
{
	struct virtio_fs *fs = device_fs(device);

	fs->resetting++;
	fs_wait_idle(fs);
	fs->resetting--;
	fs_session_reset(fs);
}

static int fs_save(struct virtio_device *device, struct state_writer *writer, struct error *err)
{
	struct virtio_fs *fs = device_fs(device);

	/* The transport saves the queues, where the last answers stand, after this. */
	fs_wait_idle(fs);
	return fs_session_save(fs, writer, err);
}

static int fs_restore(struct virtio_device *device, struct state_reader *reader, struct error *err)
{
	struct virtio_fs *fs = device_fs(device);

	/* What the saved one had not come to, if anything. */
	fs->unfinished = (1u << FS_QUEUES) - 1;
	return fs_session_restore(fs, reader, err);
}

static void fs_read_config(struct virtio_device *device, size_t offset, void *data, size_t length)
{
	const struct virtio_fs *fs = device_fs(device);
	struct fs_config config = {.num_request_queues = FS_REQUEST_QUEUES};

	memcpy(config.tag, fs->tag, sizeof(config.tag));
	memcpy(data, (const uint8_t *)&config + offset, length);
}

static const struct virtio_operations fs_operations = {
	.notify = fs_notify,
	.reset = fs_reset,
	.read_config = fs_read_config,
	.save = fs_save,
	.restore = fs_restore,
};

/* Makes sure that fds do not run out before the bounds are reached. */
static void fs_bound_descriptors(size_t *inodes_max, size_t *handles_max)
{
	struct rlimit limit;
	size_t wanted = *inodes_max + *handles_max + FS_DESCRIPTORS_RESERVE, usable;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	/* Root may raise the hard limit as well. */
	if (setrlimit(RLIMIT_NOFILE,
		    &(struct rlimit){wanted, limit.rlim_max < wanted ? wanted : limit.rlim_max}) ==
		0)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	usable = limit.rlim_cur > 2 * FS_DESCRIPTORS_RESERVE
		? limit.rlim_cur - FS_DESCRIPTORS_RESERVE
		: limit.rlim_cur / 2;
	log_debug("the limit of open files allows %zu files to be in use by the guest at once "
		  "instead of %zu; raise it (ulimit -Hn) for large trees",
		usable, *inodes_max + *handles_max);
	/* Handles are the fewer; a fifth is for them. */
	if (*handles_max > usable / 5)
		*handles_max = usable / 5;
	*inodes_max = usable - *handles_max;
}

static bool options_shared(const struct virtio_fs_options *options)
{
	bool shared = options->policy != VIRTIO_FS_EXCLUSIVE;

	for (size_t i = 0; i < options->export_count; i++)
		shared |= options->exports[i].policy != VIRTIO_FS_EXCLUSIVE;
	return shared;
}

int virtio_fs_create(const struct guest_memory *memory, const struct virtio_fs_options *options,
	struct virtio_fs **ret, struct error *err)
{
	size_t tag_length = strlen(options->tag);
	size_t inodes_max = options->inodes_max, handles_max = options->handles_max;
	_cleanup_free_ struct virtio_fs *fs = NULL;
	_cleanup_close_ int proc_fd = -1;
	int r;

	if (tag_length == 0 || tag_length > FS_TAG_SIZE)
		return error_set(err, -EINVAL, "the file system tag \"%s\" is not 1 to %zu bytes",
			options->tag, FS_TAG_SIZE);
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return error_set(err, -ENOMEM, "out of memory");
	proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0)
		return error_set_errno(err, -errno, "cannot open /proc/self/fd");
	fs_bound_descriptors(&inodes_max, &handles_max);
	fs->shared = options_shared(options);
	fs->is_flat = options->is_flat;
	r = fs_dax_init(&fs->dax, memory->window.host, memory->window.size, options->dax);
	if (r < 0)
		return error_set_errno(err, r, "cannot use the window for files");
	r = fs_inode_table_init(
		&fs->inodes, options->tree_fd, proc_fd, options, inodes_max, &fs->data, err);
	if (r < 0) {
		fs_dax_free(&fs->dax);
		return r;
	}
	/* Either the guest holds open files, or directories only and the server has the files. */
	fs_data_table_init(&fs->data, (handles_max + 1) / 2);
	fs_handle_table_init(
		&fs->handles, &fs->inodes, fs->shared ? handles_max : (handles_max + 1) / 2);
	/* The guest has applied the umask of the app already. */
	umask(0);
	/* A write beyond the limit on file sizes is the guest's error, and no end of this process. */
	signal(SIGXFSZ, SIG_IGN);
	virtio_device_init(&fs->device, memory);
	fs->device.id = VIRTIO_ID_FS;
	fs->device.queue_count = FS_QUEUES;
	fs->device.config_size = sizeof(struct fs_config);
	fs->device.operations = &fs_operations;
	if (fs->dax.host) {
		fs->device.shared_start = memory->window.start;
		fs->device.shared_size = memory->window.size;
		/* Payload is copied by the kernel, the rest by virtqueue_chain_read() and _write(). */
		for (unsigned int i = 0; i < FS_QUEUES; i++)
			fs->device.queues[i].window = true;
	}
	memcpy(fs->tag, options->tag, tag_length);
	fs->proc_fd = TAKE_FD(proc_fd);
	fs->readahead = options->readahead ? options->readahead : VIRTIO_FS_READAHEAD_MAX;
	pthread_cond_init(&fs->idle, NULL);
	r = fs_queue_create(fs, &fs->queue);
	if (r < 0)
		log_debug("file requests are served one by one: io_uring: %s", strerror(-r));
	r = fs_throttle_create(fs, &options->limits, &fs->throttle);
	if (r < 0) {
		virtio_fs_free(TAKE_PTR(fs));
		return error_set_errno(err, r, "cannot limit file requests");
	}
	*ret = TAKE_PTR(fs);
	return 0;
}

void virtio_fs_free(struct virtio_fs *fs)
{
	if (!fs)
		return;
	pthread_mutex_lock(&fs->device.lock);
	fs_reset(&fs->device);
	pthread_mutex_unlock(&fs->device.lock);
	fs_throttle_free(fs->throttle);
	fs_queue_free(fs->queue);
	fs_handle_table_free(&fs->handles);
	fs_inode_table_free(&fs->inodes);
	fs_data_table_free(&fs->data);
	fs_dax_free(&fs->dax);
	close(fs->proc_fd);
	pthread_cond_destroy(&fs->idle);
	pthread_mutex_destroy(&fs->device.lock);
	free(fs);
}

struct virtio_device *virtio_fs_device(struct virtio_fs *fs)
{
	return &fs->device;
}

int virtio_fs_completion_fd(const struct virtio_fs *fs)
{
	return fs->queue ? fs_queue_completion_fd(fs->queue) : -1;
}

void virtio_fs_complete(struct virtio_fs *fs)
{
	uint64_t count;

	if (!fs->queue)
		return;
	/* Only empties the counter; what has completed stands in the ring. */
	if (read(fs_queue_completion_fd(fs->queue), &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_debug("file requests: eventfd: %s", strerror(errno));
	fs_queue_reap(fs->queue);
}

int virtio_fs_limit_fd(const struct virtio_fs *fs)
{
	return fs->throttle ? fs_throttle_fd(fs->throttle) : -1;
}

void virtio_fs_limit(struct virtio_fs *fs)
{
	fs_throttle_answer(fs->throttle, false);
}

int virtio_fs_watch_fd(const struct virtio_fs *fs)
{
	return fs->dax.timer_fd;
}

bool virtio_fs_watch(struct virtio_fs *fs)
{
	return fs_dax_watch(&fs->dax);
}

bool virtio_fs_window_was_cut(struct virtio_fs *fs)
{
	return fs_dax_was_cut(&fs->dax);
}

bool virtio_fs_shared_was_read(struct virtio_fs *fs)
{
	return fs->shared_read;
}

void virtio_fs_statistics(struct virtio_fs *fs, struct virtio_fs_statistics *ret)
{
	*ret = (struct virtio_fs_statistics){
		.requests = fs->requests,
		.inline_requests = fs->inline_requests,
		.queued_requests = fs->queued_requests,
		.inodes = fs_inode_table_count(&fs->inodes),
		.handles = fs_handle_table_count(&fs->handles),
		.data = fs_data_table_count(&fs->data),
		.mappings = fs_dax_count(&fs->dax),
	};
}

ssize_t virtio_fs_serve(
	struct virtio_fs *fs, const void *in, size_t in_size, void *out, size_t out_size)
{
	struct virtqueue_chain chain = {
		.readable_count = 1,
		.writable_count = out_size > 0,
		.readable_bytes = (uint32_t)in_size,
		.writable_bytes = (uint32_t)out_size,
		.spans = {{.iov_base = (void *)in, .iov_len = in_size},
			{.iov_base = out, .iov_len = out_size}},
	};
	struct fs_request request;
	int r;

	if (in_size > UINT32_MAX || out_size > UINT32_MAX)
		return -EBADMSG;
	r = fs_request_parse(&request, fs, &chain);
	if (r < 0)
		return r;
	fs->requests++;
	fs->inline_requests++;
	return fs_request_serve(&request);
}
