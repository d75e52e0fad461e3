// SPDX-License-Identifier: Apache-2.0
/* test_hmac.c: HMAC-SHA512 against RFC 4231, base 64 against RFC 4648. */
#include "base/base64.h"
#include "base/hmac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A byte repeated, or text where repeat is 0. */
struct input {
	const char *text;
	uint8_t byte;
	size_t repeat;
};

/* RFC 4231, sections 4.2 to 4.8. */
static const struct {
	struct input key, data;
	const char *code;
	size_t length; /* that is compared */
} vectors[] = {
	{{NULL, 0x0b, 20}, {"Hi There", 0, 0},
		"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
		"daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
		SHA512_SIZE},
	{{"Jefe", 0, 0}, {"what do ya want for nothing?", 0, 0},
		"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
		"9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
		SHA512_SIZE},
	{{NULL, 0xaa, 20}, {NULL, 0xdd, 50},
		"fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
		"bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
		SHA512_SIZE},
	{{"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15"
	  "\x16\x17\x18\x19",
		 0, 0},
		{NULL, 0xcd, 50},
		"b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db"
		"a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
		SHA512_SIZE},
	{{NULL, 0x0c, 20}, {"Test With Truncation", 0, 0}, "415fad6271580a531d4179bc891d87a6", 16},
	{{NULL, 0xaa, 131}, {"Test Using Larger Than Block-Size Key - Hash Key First", 0, 0},
		"80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
		"6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
		SHA512_SIZE},
	{{NULL, 0xaa, 131},
		{"This is a test using a larger than block-size key and a larger than block-size data. "
		 "The key needs to be hashed before being used by the HMAC algorithm.",
			0, 0},
		"e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944"
		"b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
		SHA512_SIZE},
};

static size_t input_make(const struct input *input, char data[256])
{
	if (input->repeat == 0)
		return (size_t)snprintf(data, 256, "%s", input->text);
	memset(data, input->byte, input->repeat);
	return input->repeat;
}

static void published_codes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
		char key[256], data[256], text[SHA512_TEXT_SIZE];
		size_t key_length = input_make(&vectors[i].key, key);
		size_t length = input_make(&vectors[i].data, data);
		uint8_t code[SHA512_SIZE];
		struct hmac_sha512 hmac;

		hmac_sha512_init(&hmac, key, key_length);
		hmac_sha512_update(&hmac, data, length / 2);
		hmac_sha512_update(&hmac, data + length / 2, length - length / 2);
		hmac_sha512_final(&hmac, code);
		for (size_t j = 0; j < vectors[i].length; j++)
			snprintf(text + 2 * j, 3, "%02x", code[j]);
		assert_string_equal(text, vectors[i].code);
	}
}

static void nothing_of_the_key_stays_in_memory(void **state)
{
	static const struct hmac_sha512 cleared;
	uint8_t code[SHA512_SIZE];
	struct hmac_sha512 hmac;

	(void)state;
	hmac_sha512_init(&hmac, "key", 3);
	hmac_sha512_final(&hmac, code);
	assert_memory_equal(&hmac, &cleared, sizeof(hmac));
}

static void memory_differs_in_any_byte(void **state)
{
	uint8_t a[64] = {0}, b[64] = {0};

	(void)state;
	assert_true(memory_is_equal(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] = 0x80;
		assert_false(memory_is_equal(a, b, sizeof(a)));
		assert_true(memory_is_equal(a, b, i));
		b[i] = 0;
	}
}

static void base64_of_the_rfc(void **state)
{
	static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
		{"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "+/+/"}};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		size_t length = strlen(pairs[i][0]);
		char text[16], bytes[16];

		base64_encode(pairs[i][0], length, text);
		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(strlen(text), BASE64_LENGTH(length));
		assert_int_equal(base64_decode(text, strlen(text), bytes), length);
		assert_memory_equal(bytes, pairs[i][0], length);
		/* In place. */
		assert_int_equal(base64_decode(text, strlen(text), text), length);
		assert_memory_equal(text, pairs[i][0], length);
	}
}

static void base64_that_is_not_canonical_is_refused(void **state)
{
	static const char *const texts[] = {"A", "AA", "AAA", "AAAAA", "=", "====", "A===", "AA=A",
		"Zg==Zg==", "Zh==", "Zm9=", "Zm9v\n", "Zm 9", "Zm9-", "Zm9_", "\xff\xff\xff\xff"};
	char bytes[16];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (base64_decode(texts[i], strlen(texts[i]), bytes) != -EINVAL)
			fail_msg("\"%s\" was taken", texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_codes),
		cmocka_unit_test(nothing_of_the_key_stays_in_memory),
		cmocka_unit_test(memory_differs_in_any_byte),
		cmocka_unit_test(base64_of_the_rfc),
		cmocka_unit_test(base64_that_is_not_canonical_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
