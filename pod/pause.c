// SPDX-License-Identifier: Apache-2.0
/* pause.c: see pause.h. */
#include "pod/pause.h"

#include "base/descriptors.h"
#include "base/file.h"
#include "base/json.h"
#include "pod/request.h"

#include <string.h>
#include <stdint.h>
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

int pod_checkpoint_send(int fd, enum pod_checkpoint_step step, const int fds[2])
{
	return descriptors_send(fd, steps[step], strlen(steps[step]), fds, fds ? 2 : 0, 0);
}

int pod_checkpoint_receive(int fd, enum pod_checkpoint_step *ret, int fds[2])
{
	char text[STEP_MAX] = {0};
	ssize_t n = descriptors_receive(fd, text, sizeof(text), fds, 2);

	if (n < 0)
		return n == -EAGAIN || n == -EINTR ? -EAGAIN : -EPIPE;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if ((size_t)n == strlen(steps[i]) && !memcmp(text, steps[i], (size_t)n) &&
			(i == POD_CHECKPOINT_SAVE) == (fds[1] >= 0)) {
			*ret = (enum pod_checkpoint_step)i;
			return 0;
		}
	for (size_t i = 0; i < 2; i++)
		fd_close(&fds[i]);
	return -EPIPE;
}
