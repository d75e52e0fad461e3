// SPDX-License-Identifier: Apache-2.0
/* run_record.c: what the supervisor writes down of its pod's life, and tells the service manager and its caller. */
#include "pod/run_parts.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/notify.h"
#include "pod/journal.h"
#include "pod/record.h"

#include <string.h>

/* ---- records */

void supervisor_record_app(struct supervisor *s, size_t index)
{
	const struct app_run *app = &s->apps[index];
	const struct pod_app_record record = {
		.created_at = app->created_at,
		.started_at = app->started_at,
		.finished_at = app->finished_at,
		.exit_code = app->state == APP_EXITED ? app->status : -1,
		.out_of_memory = app->out_of_memory,
		.message = app->message,
	};
	const char *name = s->resolved->apps[index].name;
	int r = pod_app_record_write(s->pod, name, &record);

	if (r < 0)
		log_warning("cannot record the state of app %s: %s", name, strerror(-r));
	if (app->state == APP_WAITING)
		return;
	journal_add(pods_data_fd(s->pod->pods), s->pod->uuid,
		app->state == APP_EXITED ? JOURNAL_APP_EXITED : JOURNAL_APP_STARTED,
		&(struct journal_details){.app = name,
			.exit_code = record.exit_code,
			.message = app->message      ? app->message
				: app->out_of_memory ? "it ran out of memory"
						     : NULL});
}

/* An object of all walls, {"tree": true, ...}. */
static json_t *walls_json(unsigned int walls)
{
	json_t *object = json_object();

	for (int i = 0; i < JAIL_WALLS; i++)
		json_object_set_new(
			object, jail_wall_name((enum jail_wall)i), json_boolean(walls & 1u << i));
	return object;
}

void supervisor_record_run(struct supervisor *s)
{
	bool is_vm = s->options->flavour == FLAVOUR_VM;
	_cleanup_json_ json_t *cgroups = is_vm ? pod_cgroup_json(&s->vmm_cgroup) : NULL;
	_cleanup_json_ json_t *walls = s->jailed ? walls_json(s->walls) : NULL;
	_cleanup_json_ json_t *networks = pod_network_describe(&s->network);
	const struct pod_run_record record = {
		.flavour = (char *)flavour_name(s->options->flavour),
		.cgroup = *s->cgroup ? s->cgroup : NULL,
		.cgroups = cgroups,
		.walls = walls,
		.pid = getpid(),
		.started_at = s->started_at,
		.vcpus = s->resolved->vcpus,
		.memory = (int64_t)s->resolved->memory,
		.networks = networks,
		.isolators = s->resolved->isolators,
	};
	int r = pod_run_record_write(s->pod, &record);

	if (r < 0)
		log_warning("cannot record the start of pod %s: %s", s->pod->uuid, strerror(-r));
}

void supervisor_record_end(struct supervisor *s, int status, const char *reason)
{
	const struct pod_end_record record = {
		.finished_at = pod_now(), .exit_code = status, .reason = (char *)reason};
	int r = pod_end_record_write(s->pod, &record);

	if (r < 0)
		log_warning("cannot record the end of pod %s: %s", s->pod->uuid, strerror(-r));
	journal_add(pods_data_fd(s->pod->pods), s->pod->uuid, JOURNAL_EXITED,
		&(struct journal_details){.exit_code = status, .message = reason});
}

void supervisor_sync_records(struct supervisor *s)
{
	int r = pod_records_sync(s->pod);

	if (r < 0)
		log_warning("cannot write the records of pod %s to disk: %s", s->pod->uuid,
			strerror(-r));
}

/* ---- who waits for the pod */

/* What a service manager hears of us. */
static void manager_tell(const char *state)
{
	int r = notify_manager(state);

	if (r < 0)
		log_warning("cannot tell the service manager: NOTIFY_SOCKET=%s: %s",
			getenv("NOTIFY_SOCKET"), strerror(-r));
}

static void manager_tell_ready(const struct supervisor *s)
{
	char state[128];

	snprintf(state, sizeof(state), "READY=1\nMAINPID=%d\nSTATUS=pod %s is running",
		(int)getpid(), s->pod->uuid);
	manager_tell(state);
}

void supervisor_tell_ending(struct supervisor *s)
{
	if (!s->is_ending)
		manager_tell("STOPPING=1");
	s->is_ending = true;
}

void supervisor_check_ready(struct supervisor *s)
{
	int r;

	for (size_t i = 0; i < s->resolved->app_count && !s->resolved->is_mutable; i++)
		if (!s->apps[i].started_at)
			return;
	r = pod_set_ready(s->pod);
	if (r < 0)
		log_warning("cannot tell that the pod is ready: %s", strerror(-r));
	journal_add(pods_data_fd(s->pod->pods), s->pod->uuid, JOURNAL_READY, JOURNAL_NO_DETAILS);
	manager_tell_ready(s);
}

/* ---- timing */

void supervisor_mark(struct supervisor *s, enum machine_event event)
{
	if (s->marks[event] == 0)
		s->marks[event] = clock_monotonic();
}

static int64_t since(int64_t start, int64_t event)
{
	return event ? event - start : -1;
}

void supervisor_fill_timing(const struct supervisor *s, struct pod_timing *timing)
{
	int64_t start = s->options->process_start;

	*timing = (struct pod_timing){
		.flavour = s->options->flavour,
		.vcpus = s->resolved->vcpus,
		.memory = s->resolved->memory,
		.resident_kib = s->reported ? s->report.resident_kib : -1,
	};
	for (int i = 0; i < MACHINE_EVENTS; i++) {
		const struct machine_mark *mark = &s->report.marks[i];

		timing->at[i] = since(start, s->reported ? mark->nanoseconds : s->marks[i]);
		timing->instructions[i] = s->report.counts_instructions && mark->nanoseconds
			? mark->instructions
			: -1;
	}
	timing->at[MACHINE_EVENT_NOW] = clock_monotonic() - start;
}
