// SPDX-License-Identifier: Apache-2.0
/* test_sha512.c: SHA-512 against the published vectors. */
#include "base/sha512.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *message;
	size_t repeat;
	const char *digest;
} vectors[] = {
	{"", 1,
		"cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
	{"abc", 1,
		"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
		"204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c335"
		"96fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445"},
	{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
	 "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		1,
		"8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
		"501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"},
	{"a", 1000000,
		"e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
		"de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
};

static void published_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		char text[SHA512_TEXT_SIZE];
		struct sha512 sha;

		sha512_init(&sha);
		for (size_t j = 0; j < vectors[i].repeat; j++)
			sha512_update(&sha, vectors[i].message, strlen(vectors[i].message));
		sha512_final_text(&sha, text);
		assert_string_equal(text, vectors[i].digest);
	}
}

/* Every length around the block and padding limits, in pieces of every size. */
static void pieces_do_not_change_the_digest(void **state)
{
	uint8_t data[3 * SHA512_BLOCK];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + 1);
	for (size_t length = 0; length <= sizeof(data); length++) {
		uint8_t whole[SHA512_SIZE], pieces[SHA512_SIZE];
		size_t piece = length % 131 + 1;
		struct sha512 sha;

		sha512_init(&sha);
		sha512_update(&sha, data, length);
		sha512_final(&sha, whole);
		sha512_init(&sha);
		for (size_t at = 0; at < length; at += piece)
			sha512_update(&sha, data + at, piece < length - at ? piece : length - at);
		sha512_final(&sha, pieces);
		assert_memory_equal(whole, pieces, sizeof(whole));
	}
}

/* The digest of the digests of all lengths 0..300: catches an error at any padding limit. */
static void every_length_is_padded_right(void **state)
{
	uint8_t data[300] = {0}, digest[SHA512_SIZE];
	char text[SHA512_TEXT_SIZE];
	struct sha512 sha, all;

	(void)state;
	sha512_init(&all);
	for (size_t length = 0; length <= sizeof(data); length++) {
		sha512_init(&sha);
		sha512_update(&sha, data, length);
		sha512_final(&sha, digest);
		sha512_update(&all, digest, sizeof(digest));
	}
	sha512_final_text(&all, text);
	assert_string_equal(text,
		"20f117a30fdf9e09d9b68dca42958392256f815864aa587894aea7e35ff524f0"
		"ea18c201cba6e0e6cb69db6687279f3b8d9b3dd87542e14c8ee0faca3f68b45a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(pieces_do_not_change_the_digest),
		cmocka_unit_test(every_length_is_padded_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
