// SPDX-License-Identifier: Apache-2.0
/*
 * machine_order.c: a machine that stands still on request, and is saved while it does.
 *
 * Theory of operation: a vCPU that is to stand still is taken out of KVM_RUN as at the machine's end (immediate_exit
 * and a signal), which completes the exit it was in, and waits in its thread. The event loop, which takes the orders, waits
 * until all do. It goes on serving: what comes for the guest from outside stands in its queues, and interrupts wait
 * for it. The clock that the guest sees is put back to where it stood before any vCPU goes on.
 *
 * A machine is saved where its init says so, as for a template: that vCPU has the others stand still with it. All
 * that the order needs comes with it; there is no path to open.
 *
 * #syscalls:loop recvmsg(_, _, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) close read tgkill(self, _, SIGUSR1)
 * #syscalls:vcpu write
 */
#include "base/descriptors.h"
#include "vmm/machine_parts.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ORDER_FDS 2

/* ---- vCPU threads */

void machine_stand_still(struct machine_vcpu *self)
{
	struct machine *machine = self->machine;

	pthread_mutex_lock(&machine->lock);
	machine->vcpus_still++;
	pthread_cond_broadcast(&machine->still);
	while (machine->pausing && !machine->stopping)
		pthread_cond_wait(&machine->still, &machine->lock);
	machine->vcpus_still--;
	pthread_mutex_unlock(&machine->lock);
	/* Before the flags are looked at again. */
	__atomic_store_n(&self->vcpu.run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

void machine_vcpu_over(struct machine_vcpu *self)
{
	struct machine *machine = self->machine;

	pthread_mutex_lock(&machine->lock);
	machine->vcpus_still++;
	pthread_cond_broadcast(&machine->still);
	pthread_mutex_unlock(&machine->lock);
}

static bool is_to_save(struct machine *machine)
{
	bool answer;

	pthread_mutex_lock(&machine->lock);
	answer = machine->is_to_save;
	pthread_mutex_unlock(&machine->lock);
	return answer;
}

bool machine_at_place(struct machine *machine, const struct vcpu *vcpu)
{
	const uint64_t one = 1;
	struct clock_moment moment;
	bool is_saved;
	ssize_t n;

	/* Most often it is not, and the clock need not be asked. */
	if (!is_to_save(machine) || clock_moment_take(&machine->vm, vcpu, &moment) < 0)
		return false;
	pthread_mutex_lock(&machine->lock);
	is_saved = machine->is_to_save;
	if (is_saved) {
		machine->is_to_save = false;
		machine->paused_at = moment;
		machine->pausing = true;
		machine->is_early = true;
	}
	pthread_mutex_unlock(&machine->lock);
	if (is_saved) {
		n = write(machine->place_fd, &one, sizeof(one));
		(void)n; /* full means: told already */
	}
	return is_saved;
}

/* ---- the event loop */

void machine_wake_all(struct machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	pthread_cond_broadcast(&machine->still);
	pthread_mutex_unlock(&machine->lock);
}

/* Returns whether all stand still; else the machine ends. */
static bool wait_still(struct machine *machine)
{
	bool is_still, is_early;

	for (unsigned int i = 0; i < machine->vcpu_count; i++) {
		struct machine_vcpu *self = &machine->vcpus[i];

		/* The flag for the thread that is about to enter the guest, the signal for the one that is there. */
		__atomic_store_n(&self->vcpu.run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		syscall(SYS_tgkill, machine->process_id, self->thread_id, SIGUSR1);
	}
	pthread_mutex_lock(&machine->lock);
	while (machine->vcpus_still < machine->vcpu_count && !machine->ended)
		pthread_cond_wait(&machine->still, &machine->lock);
	is_still = machine->vcpus_still == machine->vcpu_count;
	is_early = is_still && machine->is_early;
	machine->is_early &= !is_still;
	pthread_mutex_unlock(&machine->lock);
	/* No vCPU is to see the time go back. */
	if (is_early &&
		clock_moment_take(&machine->vm, &machine->vcpus[0].vcpu, &machine->paused_at) < 0) {
		machine_end(machine, MACHINE_END_FAILED, "cannot read the guest's clock");
		return false;
	}
	return is_still;
}

static void set_pausing(struct machine *machine, bool pausing)
{
	pthread_mutex_lock(&machine->lock);
	machine->pausing = pausing;
	pthread_cond_broadcast(&machine->still);
	pthread_mutex_unlock(&machine->lock);
}

static void order_pause(struct machine *machine)
{
	const bool was_paused = machine->pausing;

	set_pausing(machine, true);
	if (!wait_still(machine))
		return;
	if (!was_paused &&
		clock_moment_take(&machine->vm, &machine->vcpus[0].vcpu, &machine->paused_at) < 0)
		machine_end(machine, MACHINE_END_FAILED, "cannot read the guest's clock");
	else
		machine->answered(MACHINE_PAUSED, "");
}

static void drop_save(struct machine *machine)
{
	cleanup_close(&machine->save_memory_fd);
	cleanup_close(&machine->save_state_fd);
	machine->save_memory_fd = machine->save_state_fd = -1;
}

static void order_resume(struct machine *machine)
{
	int r = 0;

	drop_save(machine);
	pthread_mutex_lock(&machine->lock);
	machine->is_to_save = false;
	pthread_mutex_unlock(&machine->lock);
	if (machine->pausing) {
		if (!wait_still(machine))
			return;
		r = clock_moment_return(&machine->vm, &machine->paused_at);
		for (unsigned int i = 0; r == 0 && i < machine->vcpu_count; i++)
			r = vcpu_moment_return(
				&machine->vm, &machine->vcpus[i].vcpu, &machine->paused_at);
	}
	if (r < 0) {
		machine_end(machine, MACHINE_END_FAILED, "cannot set the guest's clock: %s",
			strerror(-r));
		return;
	}
	set_pausing(machine, false);
	machine->answered(MACHINE_RESUMED, "");
}

/* Takes the fds. */
static void order_save(struct machine *machine, const int fds[ORDER_FDS])
{
	drop_save(machine);
	machine->save_memory_fd = fds[0];
	machine->save_state_fd = fds[1];
	if (!machine->can_save || fds[1] < 0 || machine->pausing) {
		drop_save(machine);
		machine->answered(MACHINE_REFUSED, "a machine like this cannot be saved");
		return;
	}
	pthread_mutex_lock(&machine->lock);
	machine->is_to_save = true;
	pthread_mutex_unlock(&machine->lock);
	machine->answered(MACHINE_WILL_SAVE, "");
}

/* The guest has come to the place. */
static void place_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	struct error error = {0};
	uint64_t count;
	ssize_t n = read(source->fd, &count, sizeof(count));
	int r;

	(void)n; /* only clears the eventfd */
	(void)events;
	loop_arm(&machine->loop, source, EPOLLIN);
	/* It was told to go on meanwhile. */
	if (machine->save_memory_fd < 0 || !machine->pausing || !wait_still(machine))
		return;
	r = machine_save(machine, &error);
	drop_save(machine);
	machine->answered(r < 0 ? MACHINE_REFUSED : MACHINE_SAVED, error_text(&error, r));
}

/* 1 and the order with its fds (-1: not there); 0: none now; -EPIPE: none any more. */
static int order_take(int order_fd, int32_t *ret, int fds[ORDER_FDS])
{
	ssize_t n = descriptors_receive(order_fd, ret, sizeof(*ret), fds, ORDER_FDS);

	if (n < 0)
		return n == -EAGAIN || n == -EINTR ? 0 : -EPIPE;
	return n == sizeof(*ret) ? 1 : -EPIPE;
}

static void order_ready(struct loop_source *source, uint32_t events)
{
	struct machine *machine = source->context;
	int fds[ORDER_FDS] = {-1, -1};
	int32_t order = MACHINE_ORDERS;
	int r = order_take(source->fd, &order, fds);

	(void)events;
	if (r < 0)
		return;
	if (r > 0 && order == MACHINE_ORDER_SAVE) {
		order_save(machine, fds);
		fds[0] = fds[1] = -1;
	} else if (r > 0 && order == MACHINE_ORDER_PAUSE) {
		order_pause(machine);
	} else if (r > 0 && order == MACHINE_ORDER_RESUME) {
		order_resume(machine);
	}
	for (size_t i = 0; i < ORDER_FDS; i++)
		cleanup_close(&fds[i]);
	loop_arm(&machine->loop, source, EPOLLIN);
}

int machine_watch_orders(
	struct machine *machine, const struct machine_options *options, struct error *err)
{
	int r;

	if (options->order_fd < 0)
		return 0;
	machine->answered = options->answered;
	machine->place_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = machine->place_fd < 0 ? -errno : 0;
	if (r == 0)
		r = machine_watch(machine, &machine->place_source, machine->place_fd, place_ready);
	if (r == 0)
		r = machine_watch(machine, &machine->order_source, options->order_fd, order_ready);
	return r < 0 ? error_set_errno(err, r, "cannot watch for orders") : 0;
}

void machine_free_orders(struct machine *machine)
{
	drop_save(machine);
	cleanup_close(&machine->place_fd);
}
