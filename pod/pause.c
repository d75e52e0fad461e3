// SPDX-License-Identifier: Apache-2.0
/* pause.c: see pause.h. */
#include "pod/pause.h"

#include "base/json.h"
#include "pod/request.h"

#include <string.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* A guest whose kernel is emulated takes its time. */
#define ANSWER_MS 30000

static const char *const steps[] = {
	[POD_CHECKPOINT_SAVE] = "save",
	[POD_CHECKPOINT_GO_ON] = "go on",
	[POD_CHECKPOINT_END] = "end",
};

#define STEP_MAX 16

static int ask(const struct pod *pod, const char *type, struct error *err)
{
	_cleanup_json_ json_t *message = json_pack("{s:s}", "type", type), *answer = NULL;
	_cleanup_close_ int fd = pod_request_ask(pod, message, ANSWER_MS, &answer, err);

	return fd < 0 ? fd : 0;
}

int pod_pause(const struct pod *pod, struct error *err)
{
	return ask(pod, "pause", err);
}

int pod_resume(const struct pod *pod, struct error *err)
{
	return ask(pod, "resume", err);
}

int pod_program_identity(char ret[POD_PROGRAM_SIZE])
{
	struct stat st;

	if (stat("/proc/self/exe", &st) < 0)
		return -errno;
	snprintf(ret, POD_PROGRAM_SIZE, "%jx-%jx-%jx-%jx.%lx", (uintmax_t)st.st_dev,
		(uintmax_t)st.st_ino, (uintmax_t)st.st_size, (uintmax_t)st.st_mtim.tv_sec,
		(unsigned long)st.st_mtim.tv_nsec);
	return 0;
}

union fds_control {
	struct cmsghdr header;
	char space[CMSG_SPACE(2 * sizeof(int))];
};

int pod_checkpoint_send(int fd, enum pod_checkpoint_step step, const int fds[2])
{
	union fds_control control = {0};
	struct iovec span = {.iov_base = (char *)steps[step], .iov_len = strlen(steps[step])};
	struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};

	if (fds) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(2 * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, 2 * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int pod_checkpoint_receive(int fd, enum pod_checkpoint_step *ret, int fds[2])
{
	union fds_control control;
	char text[STEP_MAX] = {0};
	struct iovec span = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr message = {
		.msg_iov = &span,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header;

	fds[0] = fds[1] = -1;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
		header->cmsg_len <= CMSG_LEN(2 * sizeof(int)))
		memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if ((size_t)n == strlen(steps[i]) && !memcmp(text, steps[i], (size_t)n) &&
			(i == POD_CHECKPOINT_SAVE) == (fds[1] >= 0)) {
			*ret = (enum pod_checkpoint_step)i;
			return 0;
		}
	for (size_t i = 0; i < 2; i++)
		cleanup_close(&fds[i]);
	fds[0] = fds[1] = -1;
	return -EPIPE;
}
