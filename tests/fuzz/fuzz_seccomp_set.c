// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_seccomp_set.c: sets of system call names, and what the filters made of them do.
 *
 * The input is names, one a line; the first byte chooses whether they are retained or removed. A filter must end
 * for every number, within the kernel's bounds, with one of the verdicts that there are.
 */
#include "pod/seccomp.h"

#include "base/log.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		__builtin_trap();
}

static uint32_t verdict_of(const struct pod_seccomp *seccomp, uint32_t number)
{
	uint32_t accumulator = 0;
	size_t at = 0;

	for (;;) {
		const struct sock_filter *code = &seccomp->program[at++];

		require(at <= seccomp->count);
		switch (code->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			accumulator = code->k == offsetof(struct seccomp_data, nr)
				? number
				: AUDIT_ARCH_X86_64;
			break;
		case BPF_JMP | BPF_JA:
			at += code->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			at += accumulator == code->k ? code->jt : code->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			at += accumulator >= code->k ? code->jt : code->jf;
			break;
		case BPF_RET | BPF_K:
			return code->k;
		default:
			require(false);
		}
	}
}

static void filter_check(const struct pod_seccomp *seccomp)
{
	require(seccomp->count > 0 && seccomp->count <= POD_SECCOMP_MAX);
	for (uint32_t i = 0; i < 1100; i++) {
		uint32_t verdict = verdict_of(seccomp, i);

		require(verdict == SECCOMP_RET_ALLOW || verdict == SECCOMP_RET_KILL_PROCESS ||
			verdict == (SECCOMP_RET_ERRNO | ENOSYS));
	}
	require(verdict_of(seccomp, 0x40000000) == SECCOMP_RET_KILL_PROCESS);
	require(verdict_of(seccomp, UINT32_MAX) == SECCOMP_RET_KILL_PROCESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct appc_isolator isolator = {.name = (char *)"isolator"};
	struct appc_isolators isolators = {.items = &isolator, .count = 1};
	_cleanup_free_ char *text = size > 0 ? calloc(1, size) : NULL;
	struct pod_seccomp seccomp;
	char *line, *lines = text;

	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	log_set_level(LOG_LEVEL_ERROR);
	isolator.kind = data[0] & 1 ? APPC_ISOLATOR_SECCOMP_RETAIN : APPC_ISOLATOR_SECCOMP_REMOVE;
	while ((line = strsep(&lines, "\n")))
		require(appc_strings_append(&isolator.set, line) == 0);
	if (pod_seccomp_resolve(&isolators, "app", &seccomp, NULL) == 0 && seccomp.program)
		filter_check(&seccomp);
	pod_seccomp_done(&seccomp);
	appc_strings_clear(&isolator.set);
	return 0;
}
