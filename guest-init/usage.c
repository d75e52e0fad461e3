// SPDX-License-Identifier: Apache-2.0
/*
 * usage.c: see usage.h.
 *
 * Theory of operation: an app's cgroup has the time and the memory. It has no input and output to speak of: a pod's
 * files come from virtio-fs, which is no block device. So those are the sum of what its processes did, as /proc/PID/io
 * says; whom a process has waited for is counted with it.
 */
#include "guest-init/usage.h"

#include "base/counter.h"
#include "base/file.h"

#include <inttypes.h>
#include <string.h>

/* Longest text of the kernel. */
#define TEXT_MAX (64u << 10)
/* Processes of an app that are looked at: the host waits. */
#define PROCESSES_MAX 512

/* NULL: it cannot be read. dirfd may be -1. */
static char *text_read(int dirfd, const char *name)
{
	char *text;

	return file_read(dirfd, name, TEXT_MAX, &text, NULL) < 0 ? NULL : text;
}

static void number_read(int dirfd, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *text = text_read(dirfd, name);
	const char *at = text;

	if (text)
		counter_take(&at, ret);
}

/* Adds, where there is something to add to. */
static void usage_add(struct wire_usage *usage, enum wire_usage_kind kind, uint64_t value)
{
	uint64_t *sum = &usage->values[kind];

	if (*sum == WIRE_USAGE_UNKNOWN)
		*sum = 0;
	*sum = value > INT64_MAX - *sum ? INT64_MAX : *sum + value;
}

void guest_usage_parse_network(const char *text, struct wire_usage *usage)
{
	/* proc_pid_net(5): eight numbers received, eight sent. */
	static const struct {
		unsigned int column;
		enum wire_usage_kind kind;
	} columns[] = {
		{0, WIRE_USAGE_RECEIVED},
		{1, WIRE_USAGE_RECEIVED_PACKETS},
		{3, WIRE_USAGE_RECEIVED_DROPS},
		{8, WIRE_USAGE_SENT},
		{9, WIRE_USAGE_SENT_PACKETS},
		{11, WIRE_USAGE_SENT_DROPS},
	};

	for (const char *line = text; line; line = strchr(line, '\n')) {
		uint64_t values[12];
		const char *at;
		size_t count = 0;

		line += *line == '\n';
		line += strspn(line, " ");
		at = line + strcspn(line, ":\n");
		if (*at != ':' || strncmp(line, "lo:", 3) == 0)
			continue;
		at++;
		while (count < ARRAY_SIZE(values) && counter_take(&at, &values[count]))
			count++;
		for (size_t i = 0; count == ARRAY_SIZE(values) && i < ARRAY_SIZE(columns); i++)
			usage_add(usage, columns[i].kind, values[columns[i].column]);
	}
}

/* ---- apps */

static void process_add(const struct guest *guest, uint64_t pid, struct wire_usage *usage)
{
	_cleanup_free_ char *io = NULL, *memory = NULL;
	uint64_t total, resident, count;
	const char *at;
	char path[64];

	snprintf(path, sizeof(path), "%" PRIu64 "/io", pid);
	io = text_read(guest->proc_fd, path);
	if (io && counter_find(io, "rchar:", &count))
		usage_add(usage, WIRE_USAGE_READ, count);
	if (io && counter_find(io, "wchar:", &count))
		usage_add(usage, WIRE_USAGE_WRITTEN, count);
	snprintf(path, sizeof(path), "%" PRIu64 "/statm", pid);
	at = memory = text_read(guest->proc_fd, path);
	if (memory && counter_take(&at, &total) && counter_take(&at, &resident))
		usage_add(usage, WIRE_USAGE_RESIDENT, resident * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void processes_add(
	const struct guest *guest, const struct guest_app *app, struct wire_usage *usage)
{
	_cleanup_free_ char *list = text_read(app->cgroup_fd, "cgroup.procs");
	const char *at = list;
	uint64_t pid;

	if (!list && app->pid > 0)
		process_add(guest, (uint64_t)app->pid, usage);
	for (unsigned int i = 0; list && i < PROCESSES_MAX && counter_take(&at, &pid); i++) {
		at += strspn(at, "\n");
		process_add(guest, pid, usage);
	}
}

static void app_read(
	const struct guest *guest, const struct guest_app *app, struct wire_app_usage *ret)
{
	_cleanup_free_ char *cpu = text_read(app->cgroup_fd, "cpu.stat");
	_cleanup_free_ char *memory = text_read(app->cgroup_fd, "memory.stat");
	_cleanup_free_ char *events = text_read(app->cgroup_fd, "memory.events");
	struct wire_usage *usage = &ret->usage;
	uint64_t *values = usage->values;

	snprintf(ret->name, sizeof(ret->name), "%s", app->config->name);
	ret->is_running = app->state == GUEST_APP_RUNNING;
	wire_usage_init(usage);
	if (cpu)
		wire_usage_parse_cpu(cpu, usage);
	if (memory)
		counter_find(memory, "anon", &values[WIRE_USAGE_MEMORY_ANONYMOUS]);
	if (events)
		counter_find(events, "oom_kill", &values[WIRE_USAGE_OOM_KILLS]);
	number_read(app->cgroup_fd, "memory.current", &values[WIRE_USAGE_MEMORY]);
	number_read(app->cgroup_fd, "memory.peak", &values[WIRE_USAGE_MEMORY_PEAK]);
	number_read(app->cgroup_fd, "memory.max", &values[WIRE_USAGE_MEMORY_LIMIT]);
	number_read(app->cgroup_fd, "pids.current", &values[WIRE_USAGE_TASKS]);
	processes_add(guest, app, usage);
}

/* ---- the pod */

/* In a container meminfo is the host's. */
static void machine_read(const struct guest *guest, struct wire_usage *usage)
{
	_cleanup_free_ char *text = guest->is_vm ? text_read(guest->proc_fd, "meminfo") : NULL;
	uint64_t total, available;

	if (!text || !counter_find(text, "MemTotal:", &total) ||
		!counter_find(text, "MemAvailable:", &available) || available > total)
		return;
	usage->values[WIRE_USAGE_MEMORY_LIMIT] = total << 10;
	usage->values[WIRE_USAGE_MEMORY] = (total - available) << 10;
}

/* #syscalls: openat read close */
void guest_usage_read(const struct guest_pod *pod, struct wire_pod_usage *ret)
{
	_cleanup_free_ char *network = text_read(pod->guest->proc_fd, "self/net/dev");

	wire_usage_init(&ret->pod);
	machine_read(pod->guest, &ret->pod);
	if (network)
		guest_usage_parse_network(network, &ret->pod);
	ret->app_count = 0;
	for (size_t i = 0; i < pod->place_count; i++)
		if (pod->apps[i].config)
			app_read(pod->guest, &pod->apps[i], &ret->apps[ret->app_count++]);
}
