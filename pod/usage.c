// SPDX-License-Identifier: Apache-2.0
/*
 * usage.c: see usage.h.
 *
 * Theory of operation: the process that runs a pod answers at once, so it is asked one pod after the other. Guests may
 * take their time, or never answer: all are asked first, and then one poll waits for all answers until the time is up.
 */
#include "pod/usage.h"

#include "base/clock.h"
#include "base/counter.h"
#include "base/file.h"
#include "base/json.h"
#include "pod/manifest.h"
#include "pod/record.h"
#include "pod/request.h"
#include "pod/session.h"
#include "pod/sockets.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

#define TEXT_MAX (64u << 10)
/* A process that runs a pod and does not answer is stopped, or gone. */
#define HOST_ANSWER_MS 1000

/* ---- by the process that runs the pod */

static char *text_read(int dirfd, const char *path)
{
	char *text;

	return file_read(dirfd, path, TEXT_MAX, &text, NULL) < 0 ? NULL : text;
}

void pod_usage_parse_stat(const char *text, struct wire_usage *usage)
{
	/* proc_pid_stat(5): the name, in parentheses, may hold any; fields are counted behind it, from state = 3. */
	const char *at = strrchr(text, ')');
	const long ticks = sysconf(_SC_CLK_TCK);
	uint64_t fields[21] = {0};

	if (!at || at[1] != ' ' || !at[2])
		return;
	at += 3;
	for (size_t i = 4; i < ARRAY_SIZE(fields); i++) {
		at += strspn(at, " ");
		at += *at == '-';
		if (!counter_take(&at, &fields[i]))
			return;
	}
	for (size_t i = 14; i <= 15; i++)
		if (fields[i] > INT64_MAX / 4000000)
			return;
	usage->values[WIRE_USAGE_CPU_USER] = fields[14] * 1000000 / (uint64_t)ticks;
	usage->values[WIRE_USAGE_CPU_SYSTEM] = fields[15] * 1000000 / (uint64_t)ticks;
	usage->values[WIRE_USAGE_CPU] =
		usage->values[WIRE_USAGE_CPU_USER] + usage->values[WIRE_USAGE_CPU_SYSTEM];
	usage->values[WIRE_USAGE_TASKS] = fields[20];
}

static void read_process(pid_t pid, struct wire_usage *usage)
{
	_cleanup_free_ char *stat = NULL, *io = NULL, *memory = NULL;
	uint64_t total, resident;
	const char *at;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	stat = text_read(AT_FDCWD, path);
	if (stat)
		pod_usage_parse_stat(stat, usage);
	snprintf(path, sizeof(path), "/proc/%d/io", pid);
	io = text_read(AT_FDCWD, path);
	if (io) {
		counter_find(io, "rchar:", &usage->values[WIRE_USAGE_READ]);
		counter_find(io, "wchar:", &usage->values[WIRE_USAGE_WRITTEN]);
	}
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	at = memory = text_read(AT_FDCWD, path);
	if (memory && counter_take(&at, &total) && counter_take(&at, &resident))
		usage->values[WIRE_USAGE_RESIDENT] = resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void pod_usage_of_host(
	pid_t pid, const struct pod_cgroup *cgroup, const char *container, struct wire_usage *ret)
{
	wire_usage_init(ret);
	if (*container) {
		pod_cgroup_read_container(container, ret);
		return;
	}
	read_process(pid, ret);
	pod_cgroup_read(cgroup, ret);
}

void pod_usage_answer(int fd, const struct wire_usage *usage)
{
	_cleanup_json_ json_t *answer =
		json_pack("{s:s, s:o}", "type", "usage", "host", wire_usage_json(usage));

	pod_request_answer(fd, answer);
}

/* ---- who asks */

void pod_usages_done(struct pod_usages *usages)
{
	for (size_t i = 0; i < usages->count; i++) {
		free(usages->items[i]->flavour);
		free(usages->items[i]);
	}
	free(usages->items);
	*usages = POD_USAGES_NONE;
}

/* A guest that has been asked. */
struct question {
	struct pod_session session;
	struct pod_usage *usage;
	struct appc_pod_manifest *manifest; /* NULL: it cannot be read */
};

struct questions {
	struct question *items;
	size_t count;
};

static void questions_done(struct questions *questions)
{
	for (size_t i = 0; i < questions->count; i++) {
		pod_session_close(&questions->items[i].session);
		if (questions->items[i].manifest)
			appc_pod_manifest_free(questions->items[i].manifest);
	}
	free(questions->items);
}

static void ask_host(const struct pod *pod, struct pod_usage *usage)
{
	_cleanup_json_ json_t *question = json_pack("{s:s}", "type", "usage");
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = pod_request_ask(pod, question, HOST_ANSWER_MS, &answer, NULL);

	usage->has_host = fd >= 0 &&
		wire_usage_parse(json_object_get(answer, "host"), &usage->host, NULL) == 0;
}

static void ask_guest(const struct pod *pod, struct question *question)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "type", "usage");

	if (pod_session_open(pod, pod_vsock_try_connect(pod), &question->session, NULL) == 0 &&
		pod_session_ask(&question->session, request) < 0)
		pod_session_close(&question->session);
}

static void read_record(const struct pod *pod, struct pod_usage *usage)
{
	_cleanup_(pod_run_record_done) struct pod_run_record record = {0};

	if (pod_run_record_read(pod, &record) < 0)
		return;
	usage->flavour = TAKE_PTR(record.flavour);
	usage->started_at = record.started_at;
}

static int ask(const struct pod *pod, struct pod_usages *usages, struct questions *questions)
{
	struct pod_usage **items =
		reallocarray(usages->items, usages->count + 1, sizeof(usages->items[0]));
	struct question *more =
		reallocarray(questions->items, questions->count + 1, sizeof(questions->items[0]));
	struct pod_usage *usage = calloc(1, sizeof(*usage));
	struct question *question;

	usages->items = items ? items : usages->items;
	questions->items = more ? more : questions->items;
	if (!items || !more || !usage) {
		free(usage);
		return -ENOMEM;
	}
	usages->items[usages->count++] = usage;
	question = &questions->items[questions->count++];
	*question = (struct question){.session = POD_SESSION_NONE, .usage = usage};
	memcpy(usage->uuid, pod->uuid, sizeof(usage->uuid));
	pod_manifest_read(pod, &question->manifest, NULL);
	read_record(pod, usage);
	ask_host(pod, usage);
	usage->at = clock_monotonic();
	/* One that stands still says nothing. */
	if (!pod->is_paused)
		ask_guest(pod, question);
	return 0;
}

static bool has_app(const struct appc_pod_manifest *manifest, const char *name)
{
	for (size_t i = 0; manifest && i < manifest->app_count; i++)
		if (!strcmp(manifest->apps[i].name, name))
			return true;
	return false;
}

/* A guest may tell of apps that nobody knows, or of one twice. */
static void keep_known_apps(const struct appc_pod_manifest *manifest, struct wire_pod_usage *usage)
{
	size_t kept = 0;

	for (size_t i = 0; i < usage->app_count; i++) {
		bool is_new = has_app(manifest, usage->apps[i].name);

		for (size_t k = 0; k < kept; k++)
			is_new &= strcmp(usage->apps[k].name, usage->apps[i].name) != 0;
		if (is_new && kept != i)
			usage->apps[kept] = usage->apps[i];
		kept += is_new;
	}
	usage->app_count = kept;
}

/* The guest has said something. With its one frame, or its end, the session is over. */
static void hear(struct question *question)
{
	struct pod_usage *usage = question->usage;
	struct wire_session_frame frame = {0};
	int r = pod_session_fill(&question->session, NULL);

	if (r == 0)
		r = pod_session_next(&question->session, &frame, NULL);
	if (r == 0)
		return;
	if (r > 0 && frame.kind == WIRE_SESSION_USAGE &&
		wire_pod_usage_parse(frame.data, frame.length, &usage->guest, NULL) == 0) {
		keep_known_apps(question->manifest, &usage->guest);
		usage->has_guest = true;
		usage->at = clock_monotonic();
	}
	pod_session_close(&question->session);
}

/* Whether there is somebody left to be heard. */
static bool hear_all(struct questions *questions, struct pollfd *fds, int timeout_ms)
{
	size_t waiting = 0;

	for (size_t i = 0; i < questions->count; i++) {
		fds[i] = (struct pollfd){.fd = questions->items[i].session.fd, .events = POLLIN};
		waiting += fds[i].fd >= 0;
	}
	if (waiting == 0 || poll(fds, questions->count, timeout_ms) <= 0)
		return waiting > 0 && errno == EINTR;
	for (size_t i = 0; i < questions->count; i++)
		if (fds[i].fd >= 0 && fds[i].revents)
			hear(&questions->items[i]);
	return true;
}

static int collect(struct questions *questions, int timeout_ms)
{
	int64_t deadline = clock_monotonic() + timeout_ms * 1000000ll, left;
	_cleanup_free_ struct pollfd *fds = calloc(questions->count + 1, sizeof(*fds));

	if (!fds)
		return -ENOMEM;
	do {
		left = (deadline - clock_monotonic()) / 1000000;
		errno = 0;
	} while (left > 0 && hear_all(questions, fds, (int)left));
	return 0;
}

static int ask_one(struct pods *pods, const char *uuid, bool is_named, struct pod_usages *usages,
	struct questions *questions, struct error *err)
{
	_cleanup_pod_ struct pod pod = POD_NONE;
	int r = pod_open(pods, uuid, &pod, is_named ? err : NULL);

	if (r < 0)
		return is_named ? r : 0;
	if (pod.state == POD_RUNNING)
		return ask(&pod, usages, questions);
	return is_named ? error_set(err, -ESRCH, "pod \"%s\" is not running", pod.uuid) : 0;
}

int pod_usages_read(struct pods *pods, char *const *uuids, size_t count, int timeout_ms,
	struct pod_usages *ret, struct error *err)
{
	_cleanup_(pod_usages_done) struct pod_usages usages = POD_USAGES_NONE;
	_cleanup_(questions_done) struct questions questions = {0};
	char **all = NULL;
	size_t all_count = 0;
	int r = 0;

	if (count == 0)
		r = pods_list(pods, &all, &all_count, err);
	for (size_t i = 0; r == 0 && i < (all ? all_count : count); i++)
		r = ask_one(pods, all ? all[i] : uuids[i], !all, &usages, &questions, err);
	pods_strings_free(all, all_count);
	if (r == 0)
		r = collect(&questions, timeout_ms);
	if (r < 0)
		return r;
	*ret = usages;
	usages = POD_USAGES_NONE;
	return 0;
}
