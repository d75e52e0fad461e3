// SPDX-License-Identifier: Apache-2.0
/* test_xstate_port.c: whatever a guest has its registers restored from, KVM is given an area that it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/xstate_port.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 512
#define AVX    4u

static uint64_t features_of(const uint8_t *bytes)
{
	uint64_t features;

	memcpy(&features, bytes + HEADER, sizeof(features));
	return features;
}

static void set_features(uint8_t *bytes, uint64_t features)
{
	memset(bytes + HEADER, 0, 64);
	memcpy(bytes + HEADER, &features, sizeof(features));
}

static void a_good_area_stays_as_it_is(void **state)
{
	struct kvm_xsave area;
	uint8_t *bytes = (uint8_t *)area.region, before[sizeof(area)];

	(void)state;
	memset(&area, 0x5a, sizeof(area));
	set_features(bytes, 7);
	memset(bytes + 24, 0, 4); /* MXCSR */
	memcpy(before, &area, sizeof(area));
	xstate_sanitise(&area, XSTATE_FEATURES);
	assert_memory_equal(&area, before, sizeof(area));
}

static void parts_that_are_initial_are_made_so(void **state)
{
	static const uint8_t zeros[256];
	struct kvm_xsave area;
	uint8_t *bytes = (uint8_t *)area.region;

	(void)state;
	memset(&area, 0x5a, sizeof(area));
	set_features(bytes, AVX);
	xstate_sanitise(&area, XSTATE_FEATURES);
	assert_int_equal(features_of(bytes), 7);
	assert_int_equal(bytes[0] | bytes[1] << 8, 0x37f);
	assert_memory_equal(bytes + 2, zeros, 22);
	assert_memory_equal(bytes + 32, zeros, 128);
	assert_memory_equal(bytes + 160, zeros, 256);
	/* MXCSR belongs to no part, and the upper halves are there. */
	assert_int_equal(bytes[24], 0x5a);
	assert_int_equal(bytes[576], 0x5a);
}

static void nothing_that_kvm_refuses_is_left(void **state)
{
	static const uint8_t zeros[56];

	(void)state;
	srandom(1);
	for (int i = 0; i < 2000; i++) {
		struct kvm_xsave area = {0};
		uint8_t *bytes = (uint8_t *)area.region;

		for (size_t j = 0; j < 640; j++)
			bytes[j] = (uint8_t)random();
		xstate_sanitise(&area, 3 | AVX);
		assert_int_equal(features_of(bytes) & ~7ull, 0);
		assert_int_equal(features_of(bytes) & 3, 3);
		assert_memory_equal(bytes + HEADER + 8, zeros, sizeof(zeros));
		assert_int_equal(bytes[26] | bytes[27], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_area_stays_as_it_is),
		cmocka_unit_test(parts_that_are_initial_are_made_so),
		cmocka_unit_test(nothing_that_kvm_refuses_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
