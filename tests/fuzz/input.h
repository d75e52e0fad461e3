/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input of a fuzz harness that is a sequence of operations with operands, and what every harness checks with.
 *
 * Seeds that were recorded (tests/fuzz/record) are what good drivers and guests say. Where FUZZ_GOOD is set, harnesses count what was
 * taken as such, and the end of the program tells how many of a hundred were; with fewer than FUZZ_GOOD it fails.
 */
#ifndef APPC_TESTS_FUZZ_INPUT_H
#define APPC_TESTS_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *next, *end;
};

static inline void check(bool condition)
{
	if (!condition)
		__builtin_trap();
}

struct answers {
	const char *wanted;
	bool asked;
	unsigned long good, all;
};

static inline struct answers *answers_counted(void)
{
	static struct answers counted;

	return &counted;
}

static inline void answers_tell(void)
{
	const struct answers *counted = answers_counted();
	unsigned long share = counted->all ? 100 * counted->good / counted->all : 0;

	fprintf(stderr, "%lu of %lu were good: %lu of 100\n", counted->good, counted->all, share);
	if (share < strtoul(counted->wanted, NULL, 10))
		_exit(1);
}

/* Whether anybody wants to know. */
static inline bool answers_wanted(void)
{
	struct answers *counted = answers_counted();

	if (!counted->asked) {
		counted->asked = true;
		counted->wanted = getenv("FUZZ_GOOD");
		if (counted->wanted)
			atexit(answers_tell);
	}
	return counted->wanted;
}

static inline void answer_count(bool good)
{
	if (!answers_wanted())
		return;
	answers_counted()->all++;
	answers_counted()->good += good;
}

/* A number of length bytes, 8 at most; zeros at the end of the input. */
static inline uint64_t take(struct input *input, size_t length)
{
	uint64_t value = 0;

	if (length > (size_t)(input->end - input->next))
		length = (size_t)(input->end - input->next);
	memcpy(&value, input->next, length);
	input->next += length;
	return value;
}

/* A length, a byte, and as many bytes, of which there may be fewer. Returns how many. */
static inline size_t take_bytes(struct input *input, const uint8_t **ret)
{
	size_t length = take(input, 1), left = (size_t)(input->end - input->next);

	if (length > left)
		length = left;
	*ret = input->next;
	input->next += length;
	return length;
}

#endif
