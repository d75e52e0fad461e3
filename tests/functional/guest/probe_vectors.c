// SPDX-License-Identifier: Apache-2.0
/*
 * probe_vectors.c: whether a process keeps its vector registers while others, and a handler of its own signals, use the
 * same ones. All that the CPU has are used: where guest kernel code is emulated no CPUID could hide them.
 */
#include "probe.h"

#include <cpuid.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 3
#define REGISTERS 16
#define SPINS     100000000ul
#define SIGNAL_US 100000

/* One for each register, of the largest size. */
typedef uint8_t registers[REGISTERS][64] __attribute__((aligned(64)));

enum vectors { SSE, AVX, AVX512 };

static enum vectors vectors;

/* As a careful program finds out: the CPU has them, and the kernel keeps them (XCR0). */
static enum vectors find_vectors(void)
{
	unsigned int a, b, c, d, enabled, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
		return SSE;
	__asm__ volatile("xgetbv" : "=a"(enabled), "=d"(high) : "c"(0));
	if ((enabled & 6) != 6)
		return SSE;
	if ((enabled & 0xe6) == 0xe6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_AVX512F)
		return AVX512;
	return AVX;
}

#define LOW  "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define HIGH "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

/* Loads sixteen registers, spins, and stores them; without a memory access or a call between. */
#define SPIN(move, register, numbers, first)                                                      \
	__asm__ volatile(                                                                         \
		".irp n," numbers "\n\t" move " (\\n-" first                                      \
		")*64(%1), %%" register "\\n\n\t.endr\n"                                          \
					"1:\tdec %0\n\tjnz 1b\n\t"                                \
					".irp n," numbers "\n\t" move                             \
					" %%" register "\\n, (\\n-" first ")*64(%2)\n\t.endr"     \
		: "+r"(spins)                                                                     \
		: "r"(in), "r"(out)                                                               \
		: "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
		"xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static size_t spin(enum vectors kind, const registers in, registers out, unsigned long spins)
{
	switch (kind) {
	case AVX512:
		SPIN("vmovdqu64", "zmm", HIGH, "16");
		return 64;
	case AVX:
		SPIN("vmovdqu", "ymm", LOW, "0");
		return 32;
	default:
		SPIN("movdqu", "xmm", LOW, "0");
		return 16;
	}
}

/* Whether sixteen registers of a kind are afterwards what they were. */
static bool keeps(enum vectors kind, uint8_t pattern, unsigned long spins)
{
	registers in, out;
	size_t size;

	for (size_t i = 0; i < REGISTERS; i++)
		memset(in[i], pattern + (int)i, sizeof(in[i]));
	memset(out, 0, sizeof(out));
	size = spin(kind, in, out, spins);
	for (size_t i = 0; i < REGISTERS; i++)
		if (memcmp(in[i], out[i], size) != 0)
			return false;
	return true;
}

static volatile sig_atomic_t disturbed, handler_lost;

static void disturb(int signal)
{
	(void)signal;
	disturbed = 1;
	for (enum vectors kind = SSE; kind <= vectors; kind++)
		if (!keeps(kind, 0xc0, 1))
			handler_lost = 1;
}

static bool process_keeps(uint8_t pattern)
{
	const struct itimerval timer = {{0, SIGNAL_US}, {0, SIGNAL_US}};
	bool kept = true;

	signal(SIGALRM, disturb);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (int round = 0; round < 3 || (!disturbed && round < 100); round++)
		for (enum vectors kind = SSE; kind <= vectors; kind++)
			kept = keeps(kind, (uint8_t)(pattern + round), SPINS) && kept;
	return kept && disturbed && !handler_lost;
}

void vectors_keep(char **args)
{
	static const char *const names[] = {"SSE", "AVX", "AVX-512"};
	int kept = 0, status;

	(void)args;
	vectors = find_vectors();
	fflush(stdout);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0)
			_exit(process_keeps((uint8_t)(16 * i)) ? 0 : 1);
	for (int i = 0; i < PROCESSES; i++)
		kept += wait(&status) > 0 && status == 0;
	printf("vectors up to %s: kept by %d of %d\n", names[vectors], kept, PROCESSES);
}
