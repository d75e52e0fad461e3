// SPDX-License-Identifier: Apache-2.0
/* guest.c: the clock, the event loop's registration, secrets and warnings, for all modules. */
#include "guest-init/guest.h"

#include "base/sha512.h"

#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

uint64_t guest_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int guest_watch(
	const struct guest *guest, int fd, uint32_t events, enum guest_event event, uint32_t index)
{
	struct epoll_event epoll_event = {
		.events = events,
		.data.u64 = (uint64_t)index << 32 | event,
	};

	return epoll_ctl(guest->epoll_fd, EPOLL_CTL_ADD, fd, &epoll_event) < 0 ? -errno : 0;
}

void guest_unwatch(const struct guest *guest, int fd)
{
	epoll_ctl(guest->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void guest_secret_derive(const uint8_t entropy[WIRE_ENTROPY_SIZE], const char *purpose,
	uint32_t index, void *secret, size_t size)
{
	uint8_t digest[SHA512_SIZE];
	struct sha512 sha;

	sha512_init(&sha);
	sha512_update(&sha, purpose, strlen(purpose) + 1);
	sha512_update(&sha, entropy, WIRE_ENTROPY_SIZE);
	sha512_update(&sha, &index, sizeof(index));
	sha512_final(&sha, digest);
	memcpy(secret, digest, size);
	explicit_bzero(digest, sizeof(digest));
	explicit_bzero(&sha, sizeof(sha));
}

void guest_warn(struct guest *guest, enum guest_warning kind, const char *format, ...)
{
	struct error error;
	va_list arguments;

	if (kind != GUEST_WARNING_ANY && guest->warned >> kind & 1)
		return;
	guest->warned |= 1u << kind;
	va_start(arguments, format);
	vsnprintf(error.message, sizeof(error.message), format, arguments);
	va_end(arguments);
	guest_send_warning(&guest->outbox, error.message);
}
