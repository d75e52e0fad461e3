// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_supervisor.c: a supervisor in the middle of its work, whose guest, machine and clients say what the input says: messages and
 * frames, whole, in parts, out of their turn; reports and questions of a machine that its guest has taken over; steps of
 * a checkpoint; those who attach. It comes back from each turn, to the end of the pod at the latest, and then nothing of it is left.
 *
 * The input is a sequence of operations, a byte each, with their operands.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/pause.h"
#include "pod/run_parts.h"
#include "tests/fuzz/input.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum operation {
	MESSAGE,
	TEXT,
	BYTES,
	FRAME,
	STREAM,
	REPORT,
	QUESTION,
	ASK,
	STEP,
	ATTACH,
	TYPE,
	STOP,
	LISTEN,
	HANG_UP,
	OPERATIONS,
};

#define CLIENTS 4
#define APPS    2

/* The other ends of what the supervisor has open. */
enum end { GUEST, OUTPUT, MACHINE, CONNECT, ENDS };

struct play {
	struct supervisor s;
	struct resolved_app apps[APPS];
	struct resolved_pod resolved;
	struct pod_run_options options;
	int ends[ENDS];
	int clients[CLIENTS]; /* of requests and attachments, the last ones */
	size_t next_client;
};

static char path[] = "/tmp/appc-fuzz-XXXXXX";
static int dirfd_;
static struct pods *pods;
static struct pod pod;

/* What the metadata service tells of. */
static struct appc_pod_manifest *manifest;
static const char manifest_text[] =
	"{\"acVersion\":\"0.8.11\",\"acKind\":\"PodManifest\",\"annotations\":[{\"name\":\"a\",\"value\":\"b\"}],"
	"\"apps\":[{\"name\":\"main\",\"image\":{\"name\":\"example.com/main\"}},"
	"{\"name\":\"other\",\"image\":{\"name\":\"example.com/other\"}}]}";
static char image_manifest_text[] =
	"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"example.com/main\"}";

static void clean(void)
{
	appc_pod_manifest_free(manifest);
	pod_close(&pod);
	pods_close(pods);
	close(dirfd_);
	directory_remove(AT_FDCWD, path);
}

/* One pod for all runs: its records and logs are written again and again. */
static void begin(void)
{
	struct error err;
	int null;

	if (pods)
		return;
	log_set_level(LOG_LEVEL_ERROR);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	check(null >= 0 && dup2(null, STDOUT_FILENO) == STDOUT_FILENO);
	close(null);
	check(mkdtemp(path));
	dirfd_ = directory_open(AT_FDCWD, path);
	check(pods_open(dirfd_, &pods, &err) == 0 && pod_create(pods, &pod, &err) == 0);
	check(directory_create_path(pod.fd, "apps", 0750) == 0);
	check(appc_pod_manifest_parse(manifest_text, strlen(manifest_text), &manifest, &err) == 0);
	atexit(clean);
}

static int pair(int type, int *ret_other)
{
	int fds[2];

	check(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	*ret_other = fds[1];
	return fds[0];
}

static void attached(void *context, const struct wire_stream_header *header, const char *payload)
{
	struct supervisor *s = context;

	pod_attachments_write(&s->attachments, header, payload);
}

static void set_up(struct play *play, struct input *input)
{
	static const enum stream_mode modes[APPS][STREAM_MODES] = {
		{0, STREAM_MODE_LOG, STREAM_MODE_STREAM, STREAM_MODE_STREAM},
		{0, STREAM_MODE_NONE, STREAM_MODE_TTY, STREAM_MODE_NULL},
	};
	static const char *const names[APPS] = {"main", "other"};
	struct supervisor *s = &play->s;
	uint64_t choices = take(input, 1);

	for (size_t i = 0; i < APPS; i++) {
		play->apps[i].name = names[i];
		play->apps[i].number = (uint16_t)(i * 7);
		memcpy(play->apps[i].stream_modes, modes[i], sizeof(modes[i]));
		strcpy(play->apps[i].image_id, "sha512-0123");
		play->apps[i].image_manifest = image_manifest_text;
	}
	play->resolved = (struct resolved_pod){
		.manifest = manifest,
		.apps = play->apps,
		.app_count = APPS,
		.input_app = choices & 1 ? 0 : -1,
		.is_mutable = false,
	};
	play->options.flavour = choices & 2 ? FLAVOUR_CONTAINER : FLAVOUR_VM;
	*s = (struct supervisor){
		.pod = &pod,
		.resolved = &play->resolved,
		.options = &play->options,
		.process = FLAVOUR_PROCESS_NONE,
		.vmm_log = VMM_LOG_NONE,
		.apps = calloc(APPS, sizeof(struct app_run)),
		.signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.vsock_fd = -1,
		.pause_fd = -1,
		.vmm_cgroup = POD_CGROUP_NONE,
		.network = POD_NETWORK_NONE,
		.terminal = TERMINAL_NONE,
		.input.is_open = choices & 1,
		.output =
			{
				.pod = &pod,
				.resolved = &play->resolved,
				.log_size = 16384,
				.attached = attached,
				.context = s,
			},
		.metadata = {.uuid = pod.uuid, .resolved = &play->resolved, .data_fd = dirfd_},
	};
	check(s->apps && s->signal_fd >= 0 && pod_output_init(&s->output) == 0);
	s->process.control_fd = pair(SOCK_STREAM, &play->ends[GUEST]);
	s->process.stream_fd = pair(SOCK_STREAM, &play->ends[OUTPUT]);
	s->process.report_fd = pair(SOCK_SEQPACKET, &play->ends[MACHINE]);
	s->process.connect_fd = pair(SOCK_SEQPACKET, &play->ends[CONNECT]);
	pod_attachments_init(&s->attachments);
	pod_requests_init(&s->requests);
	wire_reader_init(&s->control, WIRE_FRAME_MAX_FROM_GUEST);
	supervisor_apps_init(s);
	for (size_t i = 0; i < CLIENTS; i++)
		play->clients[i] = -1;
}

static void tear_down(struct play *play)
{
	struct supervisor *s = &play->s;

	for (size_t i = 0; i < APPS; i++)
		free(s->apps[i].message);
	free(s->apps);
	wire_reader_done(&s->control);
	pod_output_done(&s->output);
	pod_attachments_close(&s->attachments);
	pod_metadata_done(&s->metadata);
	free(s->outgoing.data);
	cleanup_close(&s->process.control_fd);
	cleanup_close(&s->process.stream_fd);
	cleanup_close(&s->process.report_fd);
	cleanup_close(&s->process.connect_fd);
	cleanup_close(&s->signal_fd);
	cleanup_close(&s->pause_fd);
	supervisor_apps_done(s);
	for (size_t i = 0; i < ENDS; i++)
		cleanup_close(&play->ends[i]);
	for (size_t i = 0; i < CLIENTS; i++)
		cleanup_close(&play->clients[i]);
}

/* The oldest of the clients leaves. */
static int client(struct play *play)
{
	int *place = &play->clients[play->next_client++ % CLIENTS], fd;

	cleanup_close(place);
	fd = pair(SOCK_SEQPACKET, place);
	return fd;
}

static void says(int fd, const void *data, size_t size)
{
	if (fd >= 0 && size > 0)
		(void)!send(fd, data, size, MSG_NOSIGNAL);
}

/* ---- what the guest says */

static void message_says(struct play *play, struct input *input)
{
	static const char *const types[] = {"started", "exited", "ended", "ready", "removed",
		"paused", "resumed", "warning", "failed", "metadata", "configure", ""};
	static const char *const names[] = {"main", "other", "none", ""};
	static const char *const paths[] = {
		"pod/manifest", "apps/main/annotations", "apps/other/image/id", ""};
	const char *type = types[take(input, 1) % ARRAY_SIZE(types)];
	uint64_t choices = take(input, 1);
	_cleanup_json_ json_t *message = json_pack("{s:s, s:s, s:i, s:b, s:s, s:s}", "type", type,
		"app", names[choices % ARRAY_SIZE(names)], "status", (int)(int8_t)take(input, 1),
		"oom", (int)(choices & 8), choices & 16 ? "get" : "sign",
		choices & 16 ? paths[choices / 32 % ARRAY_SIZE(paths)] : "aGVsbG8=", "message",
		"a\x1b[31mb");
	_cleanup_free_ char *frame = NULL;
	size_t length;

	check(message);
	/* An app's last words are shown. */
	if (strcmp(type, "warning") != 0 && strcmp(type, "failed") != 0)
		json_object_del(message, "message");
	/* Some have no app, and no status. */
	if (choices & 64)
		json_object_del(message, "app");
	if (choices & 128)
		json_object_del(message, "status");
	check(wire_frame_encode(message, WIRE_FRAME_MAX_FROM_GUEST, &frame, &length) == 0);
	says(play->ends[GUEST], frame, length);
}

static void text_says(struct play *play, struct input *input)
{
	const uint8_t *text;
	size_t length = take_bytes(input, &text);
	uint32_t header = htole32((uint32_t)length);

	says(play->ends[GUEST], &header, sizeof(header));
	says(play->ends[GUEST], text, length);
}

static void frame_says(struct play *play, struct input *input)
{
	static const char payload[WIRE_STREAM_MAX] = "a line\n";
	uint64_t choices = take(input, 1);
	const struct wire_stream_header header = {
		.length = htole32((uint32_t)(take(input, 2) % (WIRE_STREAM_MAX + 2))),
		.app = htole16((uint16_t)((choices & 3) * 7)),
		.stream = (uint8_t)(choices >> 2 & 7),
		.reserved = choices == 255,
	};
	size_t length = le32toh(header.length);

	says(play->ends[OUTPUT], &header, sizeof(header));
	says(play->ends[OUTPUT], payload, length < sizeof(payload) ? length : sizeof(payload));
}

static void bytes_say(int fd, struct input *input)
{
	const uint8_t *bytes;
	size_t length = take_bytes(input, &bytes);

	says(fd, bytes, length);
}

/* ---- what the machine says */

static void machine_reports(struct play *play, struct input *input)
{
	struct flavour_report report = {
		.event = (enum flavour_event)(take(input, 1) % 4),
		.answer = (enum machine_answer)(take(input, 1) % (MACHINE_ANSWERS + 1)),
		.end = MACHINE_END_FAILED,
		.resident_kib = -1,
	};
	const uint8_t *bytes;
	size_t at = take(input, 2) % sizeof(report), length = take_bytes(input, &bytes);

	if (length > sizeof(report) - at)
		length = sizeof(report) - at;
	memcpy((char *)&report + at, bytes, length);
	says(play->ends[MACHINE], &report, sizeof(report));
}

/* ---- what clients want */

static void client_asks(struct play *play, struct input *input)
{
	static const enum pod_request requests[] = {
		POD_REQUEST_PAUSE, POD_REQUEST_RESUME, POD_REQUEST_CHECKPOINT};
	struct pod_request_taken taken = {
		.request = requests[take(input, 1) % ARRAY_SIZE(requests)],
		.message = json_object(),
		.fd = client(play),
	};

	check(taken.message);
	supervisor_pause_request(&play->s, &taken);
}

static int last_client(const struct play *play)
{
	return play->clients[(play->next_client + CLIENTS - 1) % CLIENTS];
}

static void client_steps(struct play *play, struct input *input)
{
	uint64_t step = take(input, 1);
	int fds[2] = {dirfd_, dirfd_}, fd = last_client(play);

	if (fd < 0)
		return;
	if (step < 3)
		pod_checkpoint_send(fd, (enum pod_checkpoint_step)step,
			step == POD_CHECKPOINT_SAVE ? fds : NULL);
	else
		bytes_say(fd, input);
}

static void client_attaches(struct play *play, struct input *input)
{
	static const char *const names[] = {"main", "other", "none"};
	uint64_t choices = take(input, 1);
	_cleanup_json_ json_t *message = json_pack("{s:s, s:[s, s]}", "app",
		names[choices % ARRAY_SIZE(names)], "streams", choices & 4 ? "stdout" : "stdin",
		choices & 8 ? "stderr" : "stdin");

	check(message);
	if (choices & 16)
		json_object_del(message, "streams");
	pod_attachments_add(&play->s.attachments, &play->resolved, message, client(play));
}

/* ---- */

static void drain(int fd)
{
	char buffer[4096];

	while (fd >= 0 && recv(fd, buffer, sizeof(buffer), 0) > 0)
		;
}

static void hang_up(struct play *play, struct input *input)
{
	uint64_t which = take(input, 1) % (ENDS + CLIENTS);
	int *fd = which < ENDS ? &play->ends[which] : &play->clients[which - ENDS];

	cleanup_close(fd);
	*fd = -1;
}

static void operate(struct play *play, struct input *input)
{
	switch (take(input, 1) % OPERATIONS) {
	case MESSAGE:
		return message_says(play, input);
	case TEXT:
		return text_says(play, input);
	case BYTES:
		return bytes_say(play->ends[GUEST], input);
	case FRAME:
		return frame_says(play, input);
	case STREAM:
		return bytes_say(play->ends[OUTPUT], input);
	case REPORT:
		return machine_reports(play, input);
	case QUESTION:
		return bytes_say(play->ends[CONNECT], input);
	case ASK:
		return client_asks(play, input);
	case STEP:
		return client_steps(play, input);
	case ATTACH:
		return client_attaches(play, input);
	case TYPE:
		return bytes_say(last_client(play), input);
	case STOP:
		return supervisor_unpause(&play->s);
	case LISTEN:
		for (size_t i = 0; i < ENDS; i++)
			drain(play->ends[i]);
		for (size_t i = 0; i < CLIENTS; i++)
			drain(play->clients[i]);
		return;
	case HANG_UP:
		return hang_up(play, input);
	}
}

static void check_state(const struct play *play)
{
	const struct supervisor *s = &play->s;

	check(s->pause <= PAUSE_SAVED);
	check(s->outgoing.sent <= s->outgoing.length && s->outgoing.length < 1u << 20);
	check(s->output.payload_written <= s->output.payload_length &&
		s->output.payload_length <= WIRE_STREAM_MAX);
	for (size_t i = 0; i < APPS; i++) {
		check(s->apps[i].state <= APP_CREATED);
		check(s->apps[i].status >= 0 && s->apps[i].status <= 255);
		check(!s->ended || !app_is_live(&s->apps[i]));
	}
	check(s->status >= 0 && s->status <= 255);
}

/* What is always readable has a turn that nothing else happens in come back. */
static bool turn(struct play *play)
{
	static const uint64_t one = 1;

	check(write(play->s.signal_fd, &one, sizeof(one)) == sizeof(one));
	return supervisor_turn(&play->s) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.next = data, .end = data + size};
	struct play *play = calloc(1, sizeof(*play));
	int first, last;
	bool goes_on = true;

	begin();
	check(play);
	first = dup(STDERR_FILENO);
	close(first);
	set_up(play, &input);
	while (goes_on && input.next < input.end) {
		operate(play, &input);
		goes_on = turn(play);
		check_state(play);
	}
	/* A guest that is good has said all when its pod ends. */
	answer_count(input.end - input.next <= 1);
	tear_down(play);
	free(play);
	last = dup(STDERR_FILENO);
	close(last);
	check(first == last);
	return 0;
}
