/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a fuzz harness that is a sequence of operations with operands, and what every harness checks with. */
#ifndef APPC_TESTS_FUZZ_INPUT_H
#define APPC_TESTS_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *next, *end;
};

static inline void check(bool condition)
{
	if (!condition)
		__builtin_trap();
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
