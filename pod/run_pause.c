// SPDX-License-Identifier: Apache-2.0
/*
 * run_pause.c: the supervisor's part in a pod that stands still, and in a checkpoint of it.
 *
 * Theory of operation: a machine is told by an order (vmm/machine.h), since its guest is not to know; a container's
 * guest-init by a message. Both are told to go on by a message too, for the sake of the clock.
 *
 * The work of a checkpoint is the client's (pod/checkpoint.c). He sends the files that the machine is saved to, which
 * go on to the machine, and copies what the pod has written as long as it stands still. The pod goes on when he says so
 * or has gone, or ends where it stands. Nothing waits for him: a stop, in the middle of it, has the pod go on first.
 *
 * The machine's report that it is saved, and what its guest had said before, come by different sockets. The guest's words
 * count first: the client copies the records that they end up in, and a pod that has ended is not worth a checkpoint.
 */
#include "pod/run_parts.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "pod/journal.h"
#include "pod/origin.h"
#include "pod/pause.h"

#include <string.h>
#include <sys/socket.h>

/* How long a machine that was saved to end there may still have its last words heard; it stands still, if it is honest. */
#define PARKED_MS 5000

static bool is_of_checkpoint(const struct supervisor *s)
{
	return s->pause >= PAUSE_OPENED;
}

static void client_drop(struct supervisor *s)
{
	cleanup_close(&s->pause_fd);
	s->pause_fd = -1;
}

static void client_answer(struct supervisor *s, const char *type)
{
	_cleanup_json_ json_t *answer = json_pack("{s:s}", "type", type);

	if (s->pause_fd >= 0)
		pod_request_answer(s->pause_fd, answer);
}

/* The pod has this state now: for all to see. */
static void set_paused(struct supervisor *s, bool is_paused)
{
	int r = pod_set_paused(s->pod, is_paused);

	if (r < 0)
		log_warning("cannot show that the pod is %s: %s", is_paused ? "paused" : "running",
			strerror(-r));
	journal_add(pods_data_fd(s->pod->pods), s->pod->uuid,
		is_paused ? JOURNAL_PAUSED : JOURNAL_RESUMED, JOURNAL_NO_DETAILS);
}

static int tell_guest(struct supervisor *s, const char *type)
{
	_cleanup_json_ json_t *message = json_pack("{s:s}", "type", type);

	return message ? supervisor_queue_message(s, message) : -ENOMEM;
}

static int go_on(struct supervisor *s)
{
	int r = s->options->flavour == FLAVOUR_VM
		? flavour_order(&s->process, MACHINE_ORDER_RESUME, NULL)
		: 0;

	s->pause = PAUSE_ENDING;
	return r < 0 ? r : tell_guest(s, "resume");
}

void supervisor_unpause(struct supervisor *s)
{
	if (s->pause == PAUSE_NONE || s->pause == PAUSE_ENDING || s->is_parked)
		return;
	if (s->pause_fd >= 0)
		pod_request_refuse(s->pause_fd, "the pod was told to stop, and goes on for that");
	client_drop(s);
	if (go_on(s) < 0)
		log_warning("cannot have the pod go on");
}

/* ---- requests */

static bool all_apps_started(const struct supervisor *s)
{
	if (s->resolved->is_mutable)
		return s->is_ready;
	for (size_t i = 0; i < s->resolved->app_count; i++)
		if (!s->apps[i].started_at)
			return false;
	return true;
}

/* Why the request cannot be met; NULL: it can. */
static const char *refusal(const struct supervisor *s, enum pod_request request)
{
	if (request == POD_REQUEST_RESUME)
		return s->pause == PAUSE_STANDS ? NULL
			: s->pause == PAUSE_NONE
			? "it is not paused"
			: "it is being paused, resumed or saved by somebody else";
	if (s->pause == PAUSE_STANDS)
		return request == POD_REQUEST_PAUSE ? "it is paused already"
						    : "it is paused: resume it first";
	if (s->pause != PAUSE_NONE)
		return "it is being paused, resumed or saved by somebody else";
	if (s->ended || s->stops > 0)
		return "it is about to end";
	if (!all_apps_started(s))
		return "its apps have not all started yet";
	if (request == POD_REQUEST_PAUSE)
		return NULL;
	if (s->options->flavour != FLAVOUR_VM)
		return "a container cannot be saved, only a virtual machine";
	if (s->resolved->is_mutable)
		return "its apps come and go";
	if (s->options->network.mode != NETWORK_NONE)
		return "it has a network, and who is at the other end of its connections would not wait";
	if (s->resolved->input_app >= 0)
		return "an app has standard input, which would not be there when it goes on";
	return NULL;
}

/* The client asks for no more than what only we know. */
static int open_checkpoint(struct supervisor *s)
{
	const char *hostname = s->options->hostname;
	_cleanup_json_ json_t *answer = NULL;
	char program[POD_PROGRAM_SIZE];
	int r = pod_program_identity(program);

	if (r < 0)
		return r;
	answer = json_pack("{s:s, s:s, s:b, s:i, s:s}", "type", "ok", "program", program, "shared",
		(int)pod_is_shared(s->resolved), "dax", (int)s->options->dax, "hostname",
		hostname ? hostname : "");
	if (!answer)
		return -ENOMEM;
	pod_request_answer(s->pause_fd, answer);
	s->pause = PAUSE_OPENED;
	return 0;
}

static int request_meet(struct supervisor *s, enum pod_request request)
{
	int r = 0;

	switch (request) {
	case POD_REQUEST_PAUSE:
		r = s->options->flavour == FLAVOUR_VM
			? flavour_order(&s->process, MACHINE_ORDER_PAUSE, NULL)
			: tell_guest(s, "pause");
		if (r == 0)
			s->pause = PAUSE_BEGUN;
		return r;
	case POD_REQUEST_RESUME:
		return go_on(s);
	default:
		return open_checkpoint(s);
	}
}

void supervisor_pause_request(struct supervisor *s, struct pod_request_taken *taken)
{
	const char *why = refusal(s, taken->request);
	_cleanup_close_ int fd = TAKE_FD(taken->fd);
	int r;

	json_decref(TAKE_PTR(taken->message));
	if (why) {
		pod_request_refuse(fd, why);
		return;
	}
	/* Who paused has had his answer. */
	client_drop(s);
	s->pause_fd = TAKE_FD(fd);
	r = request_meet(s, taken->request);
	if (r < 0) {
		pod_request_refuse(s->pause_fd, strerror(-r));
		client_drop(s);
	}
}

/* ---- answers */

int supervisor_pause_told(struct supervisor *s, bool is_paused)
{
	/* It was told to go on before it said so. */
	if (is_paused && s->pause == PAUSE_ENDING)
		return 0;
	if (s->pause != (is_paused ? PAUSE_BEGUN : PAUSE_ENDING))
		return supervisor_protocol_error(
			s, "it was paused or resumed and cannot have been");
	s->pause = is_paused ? PAUSE_STANDS : PAUSE_NONE;
	set_paused(s, is_paused);
	client_answer(s, "ok");
	client_drop(s);
	/* All its apps are there: none starts any more. */
	if (s->options->continues && !is_paused)
		supervisor_check_ready(s);
	return 0;
}

static void save_failed(struct supervisor *s, const char *why)
{
	if (s->pause_fd >= 0)
		pod_request_refuse(s->pause_fd, why);
	client_drop(s);
	go_on(s);
}

void supervisor_pause_answered(struct supervisor *s, const struct flavour_report *report)
{
	switch (report->answer) {
	case MACHINE_PAUSED:
		if (s->pause == PAUSE_BEGUN)
			supervisor_pause_told(s, true);
		break;
	case MACHINE_WILL_SAVE:
		if (s->pause == PAUSE_ORDERED && tell_guest(s, "checkpoint") == 0)
			s->pause = PAUSE_ASKED;
		break;
	case MACHINE_SAVED:
		if (s->pause == PAUSE_ASKED)
			s->pause = PAUSE_TAKEN;
		break;
	case MACHINE_REFUSED:
		if (s->pause == PAUSE_ORDERED || s->pause == PAUSE_ASKED)
			save_failed(s, report->message);
		break;
	default: /* that it goes on guest-init says, too */
		break;
	}
}

void supervisor_pause_settle(struct supervisor *s)
{
	if (s->pause != PAUSE_TAKEN)
		return;
	if (s->ended) {
		save_failed(s, "it has ended");
		return;
	}
	s->pause = PAUSE_SAVED;
	set_paused(s, true);
	client_answer(s, "saved");
}

/* ---- the client of a checkpoint */

int supervisor_pause_source(const struct supervisor *s)
{
	return is_of_checkpoint(s) && !s->is_parked ? s->pause_fd : -1;
}

static void order_save(struct supervisor *s, const int fds[2])
{
	int r = flavour_order(&s->process, MACHINE_ORDER_SAVE, fds);

	if (r < 0)
		save_failed(s, strerror(-r));
	else
		s->pause = PAUSE_ORDERED;
}

void supervisor_pause_source_ready(struct supervisor *s)
{
	enum pod_checkpoint_step step = POD_CHECKPOINT_GO_ON;
	int fds[2] = {-1, -1};
	int r = pod_checkpoint_receive(s->pause_fd, &step, fds);

	if (r == -EAGAIN)
		return;
	if (r == 0 && step == POD_CHECKPOINT_SAVE && s->pause == PAUSE_OPENED) {
		order_save(s, fds);
	} else if (r == 0 && step == POD_CHECKPOINT_END && s->pause == PAUSE_SAVED) {
		s->is_parked = true;
		s->kill_at = clock_monotonic() + PARKED_MS * 1000000ll;
		supervisor_tell_ending(s);
	} else if (r == 0 && step == POD_CHECKPOINT_GO_ON && s->pause == PAUSE_SAVED) {
		/* The answer comes when it does. */
		go_on(s);
	} else {
		client_drop(s);
		go_on(s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cleanup_close(&fds[i]);
}
