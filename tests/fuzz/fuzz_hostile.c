// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_hostile.c: the cases of tests/hostile, spoilt.
 *
 * An input names a case and lists changes to what its guest does: the first byte is the number of the case, the
 * second its machine, and each eight bytes that follow are one change (struct change): at which operation, and what
 * happens to it. So an input of two bytes is the case as it stands, every input is well formed, and the fuzzer
 * begins deep inside: behind a driver that negotiates, sets up its queues and speaks FUSE. What a case expects is not
 * asked here, since it was promised to an unspoilt one; sanitizers, the bounds on inodes and open files and the
 * host's files decide.
 */
#include "tests/hostile/cases.h"
#include "tests/hostile/guest.h"
#include "tests/hostile/in_process.h"

#include "base/error.h"

#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_MAX 24
#define HEAD_SIZE   2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

struct change {
	uint8_t step_low, step_high; /* counts operations, from 0 */
	uint8_t kind, where;
	uint8_t value[4];
};

enum { SET, INVERT, NOTABLE, DROP, REPEAT, MOVE, OTHER, NOTIFY, KINDS };

static struct change changes[CHANGES_MAX];
static size_t change_count;
static unsigned int step;
static bool in_change;

static const uint64_t notable[] = {0, 1, 2, 7, 8, 0xff, 0x100, 0xfff, 0x1000, 0x7fff, 0xffff,
	0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
	0x8000000000000000, UINT64_MAX, GUEST_SCRATCH, GUEST_SCRATCH_END, 0x1000000, 0xfffff0,
	0xc0000000, GUEST_DEVICES};

static uint32_t change_value(const struct change *change)
{
	uint32_t value;

	memcpy(&value, change->value, sizeof(value));
	return value;
}

/* The bytes of the operation that mean something to the machine. */
static uint8_t *operation_bytes(struct in_process_operation *operation, size_t *ret_length)
{
	*ret_length = operation->kind == OPERATION_STORE ? operation->length
							 : sizeof(operation->value);
	return operation->kind == OPERATION_STORE ? operation->data : (uint8_t *)&operation->value;
}

static void change_apply(const struct change *change, struct in_process_operation *operation)
{
	uint32_t value = change_value(change);
	uint64_t number = notable[value % ARRAY_SIZE(notable)];
	size_t length, at, count;
	uint8_t *bytes = operation_bytes(operation, &length);

	at = length ? change->where % length : 0;
	switch (change->kind % KINDS) {
	case SET:
	case INVERT:
		count = length - at < sizeof(value) ? length - at : sizeof(value);
		for (size_t i = 0; i < count; i++)
			bytes[at + i] = change->value[i] ^
				(change->kind % KINDS == INVERT ? bytes[at + i] : 0);
		break;
	case NOTABLE:
		at -= at % sizeof(number);
		count = 1u << (value >> 8) % 4;
		memcpy(bytes + at, &number, length - at < count ? length - at : count);
		break;
	case DROP:
		operation->times = 0;
		break;
	case REPEAT:
		operation->times = 1 + value % 32;
		break;
	case MOVE:
		operation->address += (uint64_t)(int64_t)(int32_t)value;
		break;
	case OTHER:
		operation->slot = change->where % GUEST_SLOTS;
		operation->width = 1u << value % 4;
		break;
	case NOTIFY:
		guest_register_write(
			change->where % GUEST_SLOTS, VIRTIO_MMIO_QUEUE_NOTIFY, 4, value % 8);
		break;
	}
}

static void spoil(struct in_process_operation *operation)
{
	/* What a change itself does is not changed. */
	if (in_change)
		return;
	in_change = true;
	for (size_t i = 0; i < change_count; i++)
		if ((changes[i].step_low | (unsigned int)changes[i].step_high << 8) == step)
			change_apply(&changes[i], operation);
	in_change = false;
	step++;
}

/* Those that a single thread runs; others end when the threads like. */
static const struct hostile_case *case_choose(uint8_t number)
{
	size_t count = 0;

	for (size_t i = 0; i < hostile_case_count; i++)
		count += !(hostile_cases[i].flags & CASE_RACE);
	if (count == 0)
		return NULL;
	number = (uint8_t)(number % count);
	for (size_t i = 0; i < hostile_case_count; i++)
		if (!(hostile_cases[i].flags & CASE_RACE) && number-- == 0)
			return &hostile_cases[i];
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Answers that are held back come from another thread, which takes its time: not so often. */
	static const enum in_process_kind kinds[] = {IN_PROCESS_PLAIN, IN_PROCESS_WINDOW,
		IN_PROCESS_PLAIN, IN_PROCESS_PLAIN, IN_PROCESS_LIMITED};
	static bool is_set_up;
	const struct hostile_case *hostile;

	if (size < HEAD_SIZE)
		return 0;
	if (!is_set_up) {
		in_process_set_up();
		atexit(in_process_tear_down);
		in_process_set_hook(spoil);
		is_set_up = true;
	}
	hostile = case_choose(data[0]);
	if (!hostile)
		return 0;
	change_count = (size - HEAD_SIZE) / sizeof(changes[0]);
	if (change_count > CHANGES_MAX)
		change_count = CHANGES_MAX;
	memcpy(changes, data + HEAD_SIZE, change_count * sizeof(changes[0]));
	step = 0;
	in_process_run(hostile->run, kinds[data[1] % ARRAY_SIZE(kinds)], true);
	return 0;
}

/* Changes come and go whole; now and then the fuzzer may do with the bytes what it likes. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	size_t count = size > HEAD_SIZE ? (size - HEAD_SIZE) / sizeof(struct change) : 0;
	size_t which = count ? seed / 16 % count : 0;
	uint8_t *change = data + HEAD_SIZE + which * sizeof(struct change);
	const size_t added = HEAD_SIZE + (count + 1) * sizeof(struct change);

	switch (size < HEAD_SIZE ? 15 : seed % 8) {
	case 0:
	case 1:
		if (added > max || count == CHANGES_MAX)
			break;
		change = data + HEAD_SIZE + count * sizeof(struct change);
		for (size_t i = 0; i < sizeof(struct change); i++)
			change[i] = (uint8_t)(seed >> (3 * i + 3) % 24);
		LLVMFuzzerMutate(change, sizeof(struct change), sizeof(struct change));
		/* Most cases have some hundred operations. */
		change[1] %= 4;
		return added;
	case 2:
		if (count == 0)
			break;
		memmove(change, change + sizeof(struct change),
			(count - 1 - which) * sizeof(struct change));
		return HEAD_SIZE + (count - 1) * sizeof(struct change);
	case 3:
		LLVMFuzzerMutate(data, HEAD_SIZE, HEAD_SIZE);
		return size;
	case 4:
	case 5:
	case 6:
		if (count == 0)
			break;
		LLVMFuzzerMutate(change, sizeof(struct change), sizeof(struct change));
		return size;
	}
	return LLVMFuzzerMutate(data, size, max);
}
