// SPDX-License-Identifier: Apache-2.0
/* test_sha256.c: SHA-256 against the published vectors, and its two implementations against each other. */
#include "base/sha256.c" // NOLINT(bugprone-suspicious-include): for what is static in it

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static const struct {
	const char *message;
	size_t repeat;
	const char *digest;
} vectors[] = {
	{"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	{"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void published_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		char text[SHA256_TEXT_SIZE];
		struct sha256 sha;

		sha256_init(&sha);
		for (size_t j = 0; j < vectors[i].repeat; j++)
			sha256_update(&sha, vectors[i].message, strlen(vectors[i].message));
		sha256_final_text(&sha, text);
		assert_string_equal(text, vectors[i].digest);
	}
}

/* Every length around the block and padding limits, in pieces of every size. */
static void pieces_do_not_change_the_digest(void **state)
{
	uint8_t data[3 * SHA256_BLOCK];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + 1);
	for (size_t length = 0; length <= sizeof(data); length++) {
		uint8_t whole[SHA256_SIZE], pieces[SHA256_SIZE];
		struct sha256 sha;

		sha256_init(&sha);
		sha256_update(&sha, data, length);
		sha256_final(&sha, whole);
		for (size_t piece = 1; piece <= length; piece++) {
			sha256_init(&sha);
			for (size_t at = 0; at < length; at += piece)
				sha256_update(
					&sha, data + at, piece < length - at ? piece : length - at);
			sha256_final(&sha, pieces);
			assert_memory_equal(whole, pieces, sizeof(whole));
		}
	}
}

static void the_instructions_compute_what_the_specification_says(void **state)
{
	uint8_t data[5 * SHA256_BLOCK];

	(void)state;
	if (!has_instructions())
		skip();
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i + 3 * i);
	for (size_t blocks = 0; blocks <= 5; blocks++)
		for (uint32_t seed = 0; seed < 100; seed++) {
			uint32_t portable[8], instructions[8];

			for (uint32_t i = 0; i < 8; i++)
				portable[i] = instructions[i] = (seed + 1) * 0x9e3779b9u * (i + 1);
			sha256_blocks_portable(portable, data, blocks);
			sha256_blocks_instructions(instructions, data, blocks);
			assert_memory_equal(portable, instructions, sizeof(portable));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(pieces_do_not_change_the_digest),
		cmocka_unit_test(the_instructions_compute_what_the_specification_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
