// SPDX-License-Identifier: Apache-2.0
/*
 * checkpoint.c: see checkpoint.h.
 *
 * Theory of operation: this process does the work, not the supervisor (pod/run_pause.c), which only has the pod stand
 * still as long as we are connected. So the order is: memory and state come into files of a template in the making; what
 * the apps had written is copied; then the pod may go on. The rest takes longer, checksums and disks, and needs the pod
 * only when it is to end, which it does after the checkpoint is there.
 *
 * The apps' files are copied from the upper directories of their overlays, which nobody changes meanwhile: the file
 * server has answered all requests, and what the guest has not written yet is in its memory.
 */
#include "pod/checkpoint.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/tree_copy.h"
#include "pod/journal.h"
#include "pod/pause.h"
#include "pod/prepare.h"
#include "pod/record.h"
#include "pod/request.h"
#include "pod/template.h"
#include "vmm/machine.h"
#include "vmm/template_state.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define CHECKPOINTS_NAME "checkpoints"
#define INFO_NAME        "checkpoint"
#define POD_NAME         "pod"

#define INFO_SIZE_MAX 4096u
#define RECORD_MAX    (1u << 20)

/* How long the pod may take to answer, to come to where it can be saved, and to be saved, in milliseconds. */
#define ANSWER_MS 30000
#define SAVE_MS   120000

/* ---- the file that describes it */

/* A string of at most size - 1 bytes. */
static bool get_text(const json_t *object, const char *key, char *ret, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && (size_t)snprintf(ret, size, "%s", text) < size;
}

int pod_checkpoint_parse(const char *text, size_t length, struct pod_checkpoint_info *ret)
{
	_cleanup_json_ json_t *json = NULL;
	json_int_t vcpus, memory, dax;

	*ret = (struct pod_checkpoint_info){0};
	if (length > INFO_SIZE_MAX || json_parse(text, length, INFO_NAME, &json, NULL) < 0)
		return -EBADMSG;
	vcpus = json_integer_value(json_object_get(json, "vcpus"));
	memory = json_integer_value(json_object_get(json, "memory"));
	dax = json_integer_value(json_object_get(json, "dax"));
	if (!get_text(json, "uuid", ret->uuid, sizeof(ret->uuid)) ||
		appc_uuid_parse(ret->uuid, ret->uuid, NULL) < 0 ||
		!get_text(json, "id", ret->id, sizeof(ret->id)) ||
		strspn(ret->id, "0123456789abcdef") != sizeof(ret->id) - 1 ||
		!get_text(json, "hostname", ret->hostname, sizeof(ret->hostname)) || vcpus < 1 ||
		vcpus > MACHINE_VCPUS_MAX || memory < (json_int_t)MACHINE_MEMORY_MIN ||
		memory > (json_int_t)MACHINE_MEMORY_MAX || dax < VIRTIO_FS_DAX_AUTO ||
		dax > VIRTIO_FS_DAX_ALWAYS || !json_is_integer(json_object_get(json, "dax")) ||
		!json_is_boolean(json_object_get(json, "shared")))
		return -EBADMSG;
	log_sanitise(ret->hostname);
	ret->vcpus = (unsigned int)vcpus;
	ret->memory = (uint64_t)memory;
	ret->dax = (enum virtio_fs_dax)dax;
	ret->shared = json_is_true(json_object_get(json, "shared"));
	return 0;
}

static int info_read(int directory_fd, struct pod_checkpoint_info *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(directory_fd, INFO_NAME, INFO_SIZE_MAX, &text, &length);

	return r < 0 ? r : pod_checkpoint_parse(text, length, ret);
}

int pod_checkpoint_read(int data_fd, const char *key, struct pod_checkpoint_info *ret)
{
	_cleanup_close_ int fd = -1;
	char path[sizeof(CHECKPOINTS_NAME) + TEMPLATE_KEY_SIZE + 1];

	snprintf(path, sizeof(path), CHECKPOINTS_NAME "/%s", key);
	fd = directory_open(data_fd, path);
	return fd < 0 ? fd : info_read(fd, ret);
}

static int info_write(int directory_fd, const struct pod_checkpoint_info *info)
{
	_cleanup_json_ json_t *json = json_pack("{s:s, s:s, s:i, s:I, s:b, s:i, s:s}", "uuid",
		info->uuid, "id", info->id, "vcpus", (int)info->vcpus, "memory",
		(json_int_t)info->memory, "shared", (int)info->shared, "dax", (int)info->dax,
		"hostname", info->hostname);
	_cleanup_free_ char *text = json ? json_text(json, JSON_INDENT(1) | JSON_PRESERVE_ORDER)
					 : NULL;

	return text ? file_write_atomic(directory_fd, INFO_NAME, text, strlen(text), 0600)
		    : -ENOMEM;
}

static struct template_subject subject_of(const struct pod_checkpoint_info *info)
{
	return (struct template_subject){
		.kernel_fd = -1,
		.init_fd = -1,
		.vcpus = info->vcpus,
		.memory = info->memory,
		.shared = info->shared,
		.dax = info->dax,
		.pod = info->id,
		.is_whole = true,
	};
}

int pod_checkpoints_open(int data_fd, struct templates **ret, struct error *err)
{
	int r = templates_open(data_fd, CHECKPOINTS_NAME, ret, err);

	if (r == 0)
		templates_keep(*ret, "checkpoint");
	return r;
}

/* ---- what the apps had written, and what the pod is */

/* The directory of this path in both, made in the target; what is not in the source is none in the target. */
static int copy_directory(int source_fd, int target_fd, const char *path, bool is_missing_ok)
{
	struct tree_copy_limits limits = {
		.entries = UINT64_MAX, .bytes = UINT64_MAX, .devices = true};
	_cleanup_close_ int source = directory_open(source_fd, path), target = -1;
	int r;

	if (source == -ENOENT && is_missing_ok)
		return 0;
	if (source < 0)
		return source;
	r = directory_create_path(target_fd, path, 0700);
	if (r < 0)
		return r;
	target = directory_open(target_fd, path);
	return target < 0 ? target : tree_copy(source, target, &limits);
}

static int copy_file(int source_fd, int target_fd, const char *name, bool is_missing_ok)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(source_fd, name, APPC_MANIFEST_SIZE_MAX, &text, &length);

	if (r == -ENOENT && is_missing_ok)
		return 0;
	return r < 0 ? r : file_write_atomic(target_fd, name, text, length, 0600);
}

/* The upper directory of each overlay there is. */
static int copy_uppers(int source_fd, int target_fd)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(source_fd, "overlay", &directory);

	if (r < 0)
		return r;
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		char path[PATH_MAX];

		if (!file_name_is_safe(entry->d_name))
			continue;
		snprintf(path, sizeof(path), "overlay/%s/upper", entry->d_name);
		r = copy_directory(source_fd, target_fd, path, false);
		if (r < 0)
			return r;
	}
	return -errno;
}

static int save_pod(const struct pod *pod, int directory_fd)
{
	static const char *const files[] = {POD_MANIFEST_GIVEN, "pod", POD_TREES};
	_cleanup_close_ int target = -1;
	int r;

	r = directory_create_path(directory_fd, POD_NAME, 0700);
	if (r == 0)
		r = target = directory_open(directory_fd, POD_NAME);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(files); i++)
		r = copy_file(pod->fd, target, files[i], false);
	/* What guest-init has open of it since the first ssh is opened again. */
	if (r >= 0)
		r = copy_file(pod->fd, target, POD_DEBUG_TREE, true);
	if (r >= 0)
		r = copy_directory(pod->fd, target, "appsinfo", false);
	if (r >= 0)
		r = copy_directory(pod->fd, target, "apps", true);
	if (r >= 0)
		r = copy_uppers(pod->fd, target);
	return r < 0 ? r : copy_directory(pod->fd, target, "volumes", true);
}

/* ---- making one */

struct making {
	const struct pod *pod;
	int fd; /* to the supervisor */
	struct pod_checkpoint_info info;
	struct template_builder builder;
};

static void making_done(struct making *making)
{
	cleanup_close(&making->fd);
	template_build_abort(&making->builder);
}

/* The answer to a step: 0 when it is of this type. */
static int answer_await(struct making *making, const char *type, int timeout_ms, struct error *err)
{
	struct pollfd fd = {.fd = making->fd, .events = POLLIN};
	_cleanup_json_ json_t *answer = NULL;
	char text[POD_REQUEST_MAX];
	const char *why;
	ssize_t n;
	int r;

	do
		r = poll(&fd, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	n = r > 0 ? recv(making->fd, text, sizeof(text), 0) : -1;
	if (r == 0)
		return error_set(err, -ETIMEDOUT,
			"pod %s: it did not come to where it can be saved within %d s",
			making->pod->uuid, timeout_ms / 1000);
	if (n <= 0 || wire_message_decode(text, (size_t)n, &answer, NULL) < 0)
		return error_set(err, -EPIPE, "pod %s: it has ended", making->pod->uuid);
	if (!strcmp(wire_type(answer), type))
		return 0;
	why = json_string_value(json_object_get(answer, "message"));
	return error_set(err, -ENOTCONN, "pod %s cannot be saved: %s", making->pod->uuid,
		why ? why : "no reason given");
}

static int random_id(char id[33])
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* Asks the supervisor, who tells what the machine is like. */
static int request(struct making *making, struct error *err)
{
	_cleanup_json_ json_t *message = json_pack("{s:s}", "type", "checkpoint"), *answer = NULL;
	_cleanup_(pod_run_record_done) struct pod_run_record run = {0};
	struct pod_checkpoint_info *info = &making->info;
	char program[POD_PROGRAM_SIZE], theirs[POD_PROGRAM_SIZE];
	int r = pod_run_record_read(making->pod, &run);

	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot read run.json", making->pod->uuid);
	making->fd = pod_request_ask(making->pod, message, ANSWER_MS, &answer, err);
	if (making->fd < 0)
		return making->fd;
	/* The state is of its devices: nobody else could say what it means. */
	if (pod_program_identity(program) < 0 ||
		!get_text(answer, "program", theirs, sizeof(theirs)) ||
		strcmp(program, theirs) != 0)
		return error_set(err, -EBADMSG,
			"pod %s is run by another version of this program than this one",
			making->pod->uuid);
	memcpy(info->uuid, making->pod->uuid, sizeof(info->uuid));
	info->vcpus = (unsigned int)run.vcpus;
	info->memory = (uint64_t)run.memory;
	info->shared = json_is_true(json_object_get(answer, "shared"));
	info->dax = (enum virtio_fs_dax)json_integer_value(json_object_get(answer, "dax"));
	if (!get_text(answer, "hostname", info->hostname, sizeof(info->hostname)))
		*info->hostname = '\0';
	r = random_id(info->id);
	return r < 0 ? error_set_errno(err, r, "cannot get random bytes") : 0;
}

/* Ends the builder's files as a template's are; the machine has written them. */
static int finish_state(struct making *making, struct error *err)
{
	struct template_builder *builder = &making->builder;
	_cleanup_free_ char *state = NULL;
	size_t size = 0;
	int r = lseek(builder->state_fd, 0, SEEK_SET) < 0
		? -errno
		: file_read_fd(builder->state_fd, STATE_SIZE_MAX, &state, &size);

	if (r < 0)
		return error_set_errno(
			err, r, "cannot read the state of pod %s", making->pod->uuid);
	/* The machine may still have the file that it wrote: what counts is in another. */
	close(TAKE_FD(builder->state_fd));
	if (unlinkat(builder->directory_fd, TEMPLATE_STATE, 0) == 0)
		builder->state_fd = openat(builder->directory_fd, TEMPLATE_STATE,
			O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (builder->state_fd < 0)
		return error_set_errno(err, -errno, "cannot write the checkpoint");
	r = template_write_state(
		builder->state_fd, builder->memory_fd, builder->key, state, size, err);
	if (r < 0)
		return r;
	r = info_write(builder->directory_fd, &making->info);
	if (r == 0 && syncfs(builder->directory_fd) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "cannot write the checkpoint") : 0;
}

static int make(struct making *making, struct templates *checkpoints, bool keep_running,
	char ret_key[TEMPLATE_KEY_SIZE], struct error *err)
{
	struct template_subject subject;
	int r = request(making, err);

	if (r < 0)
		return r;
	subject = subject_of(&making->info);
	r = template_key(checkpoints, &subject, ret_key, err);
	if (r == 0)
		r = template_build_begin(
			checkpoints, ret_key, false, NULL, NULL, &making->builder, err);
	if (r < 0)
		return r;
	r = pod_checkpoint_send(making->fd, POD_CHECKPOINT_SAVE,
		(int[]){making->builder.memory_fd, making->builder.state_fd});
	if (r < 0)
		return error_set(err, r, "pod %s: it has ended", making->pod->uuid);
	r = answer_await(making, "saved", SAVE_MS, err);
	if (r < 0)
		return r;
	r = save_pod(making->pod, making->builder.directory_fd);
	if (r < 0)
		return error_set_errno(err, r, "cannot copy what the apps of pod %s had written",
			making->pod->uuid);
	/* Who asked hears nothing while the pod stands still: else what was copied may be of another moment. */
	if (poll(&(struct pollfd){.fd = making->fd, .events = POLLIN}, 1, 0) != 0)
		return error_set(err, -ENOTCONN, "pod %s went on or ended while it was saved",
			making->pod->uuid);
	if (keep_running) {
		pod_checkpoint_send(making->fd, POD_CHECKPOINT_GO_ON, NULL);
		r = answer_await(making, "ok", ANSWER_MS, err);
		/* That it ended meanwhile, or goes on for somebody else, changes nothing of what was saved. */
		if (r == -ETIMEDOUT)
			log_warning("pod %s was saved, and has not gone on within %d s",
				making->pod->uuid, ANSWER_MS / 1000);
	}
	r = finish_state(making, err);
	if (r == 0)
		r = template_build_commit(&making->builder, &subject, err);
	if (r == 0)
		journal_add(pods_data_fd(making->pod->pods), making->pod->uuid, JOURNAL_SAVED,
			&(struct journal_details){.exit_code = -1, .message = ret_key});
	return r;
}

static int check_room(struct templates *checkpoints, struct error *err)
{
	_cleanup_free_ struct template_info *list = NULL;
	size_t count;
	int r = templates_list(checkpoints, &list, &count, err);

	if (r < 0)
		return r;
	return count < CHECKPOINTS_MAX
		? 0
		: error_set(err, -ENOSPC,
			  "there are %zu checkpoints already, as many as there may be: see "
			  "appc-vm checkpoint rm",
			  count);
}

int pod_checkpoint_make(const struct pod *pod, struct templates *checkpoints, bool keep_running,
	char ret_key[TEMPLATE_KEY_SIZE], struct error *err)
{
	_cleanup_(making_done) struct making making = {
		.pod = pod, .fd = -1, .builder = TEMPLATE_BUILDER_NONE};
	int r = check_room(checkpoints, err);

	if (r == 0)
		r = make(&making, checkpoints, keep_running, ret_key, err);
	if (r < 0 || keep_running)
		return r;
	pod_checkpoint_send(making.fd, POD_CHECKPOINT_END, NULL);
	r = pod_wait(pod->pods, pod->uuid, POD_EVENT_END, SAVE_MS * INT64_C(1000000), err);
	return r == -ENOENT ? 0 : r;
}

/* ---- going on from one */

void pod_checkpoint_done(struct pod_checkpoint *checkpoint)
{
	template_close(&checkpoint->template);
	pod_close(&checkpoint->saved);
	*checkpoint = POD_CHECKPOINT_NONE;
}

/* The key is a digest of all that the state depends on: it is made again from what is here now. */
static int check_key(
	struct templates *checkpoints, const struct pod_checkpoint *checkpoint, struct error *err)
{
	const struct template_subject subject = subject_of(&checkpoint->info);
	char key[TEMPLATE_KEY_SIZE];
	int r = template_key(checkpoints, &subject, key, err);

	if (r < 0)
		return r;
	return !strcmp(key, checkpoint->key)
		? 0
		: error_set(err, -EBADMSG,
			  "it was made by another version of this program, or on a host with another "
			  "CPU or kernel");
}

int pod_checkpoint_open(struct pods *pods, struct templates *checkpoints, const char *prefix,
	struct pod_checkpoint *ret, struct error *err)
{
	_cleanup_(pod_checkpoint_done) struct pod_checkpoint checkpoint = POD_CHECKPOINT_NONE;
	int r = templates_find(checkpoints, prefix, checkpoint.key, err);

	if (r < 0)
		return r;
	r = pod_template_open(checkpoints, checkpoint.key, &checkpoint.template, err);
	if (r == 0) {
		r = info_read(checkpoint.template.directory_fd, &checkpoint.info);
		if (r < 0)
			error_set(err, r, "it is damaged: it does not say what it is of");
	}
	if (r == 0)
		r = check_key(checkpoints, &checkpoint, err);
	if (r == 0) {
		r = directory_open(checkpoint.template.directory_fd, POD_NAME);
		if (r < 0)
			error_set_errno(
				err, r, "it is damaged: cannot open what its apps had written");
	}
	if (r < 0)
		return error_prefix(err, r, "checkpoint %.12s", checkpoint.key);
	checkpoint.saved.fd = r;
	checkpoint.saved.pods = pods;
	memcpy(checkpoint.saved.uuid, checkpoint.info.uuid, sizeof(checkpoint.saved.uuid));
	*ret = checkpoint;
	checkpoint = POD_CHECKPOINT_NONE;
	return 0;
}

static bool is_in_place(const struct pod_checkpoint *checkpoint, const struct pods *pods)
{
	struct stat mine, there;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), CHECKPOINTS_NAME "/%s", checkpoint->key);
	return fstat(checkpoint->template.directory_fd, &mine) == 0 &&
		fstatat(pods_data_fd(pods), path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

int pod_checkpoint_restore_tree(const struct pod_checkpoint *checkpoint, const struct pod *pod,
	const struct resolved_pod *resolved, struct error *err)
{
	int saved = checkpoint->saved.fd, r = copy_directory(saved, pod->fd, "apps", true);
	char path[PATH_MAX];

	for (size_t i = 0; r == 0 && i < resolved->app_count; i++) {
		snprintf(path, sizeof(path), "overlay/%s/upper", resolved->apps[i].name);
		r = copy_directory(saved, pod->fd, path, false);
	}
	for (size_t i = 0; r == 0 && i < resolved->volume_count; i++) {
		_cleanup_close_ int volumes = -1;

		if (resolved->volumes[i].kind != APPC_VOLUME_EMPTY)
			continue;
		/* It may have begun with what an image has. */
		volumes = directory_open(pod->fd, "volumes");
		r = volumes < 0 ? volumes : directory_remove(volumes, resolved->volumes[i].name);
		snprintf(path, sizeof(path), "volumes/%s", resolved->volumes[i].name);
		if (r == 0)
			r = copy_directory(saved, pod->fd, path, false);
	}
	if (r == 0)
		r = copy_file(saved, pod->fd, POD_DEBUG_TREE, true);
	/* Removing renames first: had it begun, not all may have been there to copy. */
	if (r == 0 && !is_in_place(checkpoint, pod->pods))
		r = -ESTALE;
	return r < 0
		? error_set_errno(err, r, "checkpoint %.12s: cannot copy what its apps had written",
			  checkpoint->key)
		: 0;
}

/* ---- removal */

int pod_checkpoints_collect(
	struct templates *checkpoints, int64_t age_max, size_t *ret_removed, struct error *err)
{
	_cleanup_free_ struct template_info *list = NULL;
	int64_t now = pod_now();
	size_t count = 0;
	int r = templates_collect(checkpoints, SIZE_MAX, UINT64_MAX, NULL, err);

	*ret_removed = 0;
	if (r == 0)
		r = templates_list(checkpoints, &list, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (now - list[i].used_at < age_max)
			continue;
		r = templates_remove(checkpoints, list[i].key, err);
		if (r == 0)
			(*ret_removed)++;
		else if (r == -ENOENT) /* somebody else was faster */
			r = 0;
	}
	return r;
}
