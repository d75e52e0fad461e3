// SPDX-License-Identifier: Apache-2.0
/*
 * test_keyring.c: keys, fingerprints, who may sign what, and gpgv's verdicts. The key was made for this
 * test by gpg 2.2 (ed25519, never expires), and its secret half was thrown away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/sha1.h"
#include "store/keyring.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define FINGERPRINT "e03b141e376a486d9c755cbc3c01d2162c3f3f5c"
#define SIGNED_TEXT "hello\n"

static const char key_text[] = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
			       "\n"
			       "mDMEZZIAgBYJKwYBBAHaRw8BAQdAoDME9fIUq+bOL95Fllxbz6MJi9obhazREEoe\n"
			       "LAMleZu0G1Rlc3RlciA8dGVzdGVyQGV4YW1wbGUuY29tPoiQBBMWCAA4FiEE4DsU\n"
			       "HjdqSG2cdVy8PAHSFiw/P1wFAmWSAIACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgEC\n"
			       "F4AACgkQPAHSFiw/P1wioAD+Ktc0xlWrppwHLec1RzgADxPrzdiy42l9jG7l4WJM\n"
			       "hMcA/2qsdSSdXOLpAW9InG1RLD82HKErLJmmyZCFyTBrd8kJ\n"
			       "=fgiP\n"
			       "-----END PGP PUBLIC KEY BLOCK-----\n";

static const char signature_text[] =
	"-----BEGIN PGP SIGNATURE-----\n"
	"\n"
	"iIkEABYIADEWIQTgOxQeN2pIbZx1XLw8AdIWLD8/XAUCZZNSABMcdGVzdGVyQGV4\n"
	"YW1wbGUuY29tAAoJEDwB0hYsPz9cNcwBAI9U9zxCLLwJ9W8JJ+T0lKWAcIrPkcBJ\n"
	"dDQ8QLZNFmFCAP4j40xPzbTbJDxNUFk/6SsBFEZhH7CebKyoXcDgj/h4BA==\n"
	"=P06P\n"
	"-----END PGP SIGNATURE-----\n";

/* ---- SHA-1 */

static void assert_sha1(const char *text, size_t repeat, const char *expected)
{
	char digits[2 * SHA1_SIZE + 1];
	uint8_t digest[SHA1_SIZE];
	struct sha1 sha;

	sha1_init(&sha);
	for (size_t i = 0; i < repeat; i++)
		sha1_update(&sha, text, strlen(text));
	sha1_final(&sha, digest);
	for (size_t i = 0; i < SHA1_SIZE; i++)
		snprintf(digits + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(digits, expected);
}

static void sha1_has_the_digests_of_the_standard(void **state)
{
	(void)state;
	assert_sha1("", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	assert_sha1("abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d");
	assert_sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
		"84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	assert_sha1("aaaaaaaaaa", 100000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

/* ---- keys */

static void parse_key(const void *data, size_t length, struct openpgp_key *ret)
{
	struct error err = {0};

	if (openpgp_key_parse(data, length, "key", ret, &err) < 0)
		fail_msg("%s", err.message);
}

static void assert_refused(const void *data, size_t length, const char *reason)
{
	struct openpgp_key key;
	struct error err = {0};

	assert_int_equal(openpgp_key_parse(data, length, "key.asc", &key, &err), -EINVAL);
	if (!strstr(err.message, reason) || !strstr(err.message, "key.asc"))
		fail_msg("\"%s\" instead of \"%s\"", err.message, reason);
}

static void a_key_has_its_fingerprint_and_user_armored_or_binary(void **state)
{
	_cleanup_openpgp_key_ struct openpgp_key armored = {0}, binary = {0};

	(void)state;
	parse_key(key_text, strlen(key_text), &armored);
	assert_string_equal(armored.fingerprint, FINGERPRINT);
	assert_int_equal(armored.user_ids.count, 1);
	assert_string_equal(armored.user_ids.items[0], "Tester <tester@example.com>");
	parse_key(armored.data, armored.length, &binary);
	assert_string_equal(binary.fingerprint, FINGERPRINT);
	assert_int_equal(binary.length, armored.length);
	assert_memory_equal(binary.data, armored.data, armored.length);
}

static void lines_around_the_armor_and_carriage_returns_do_not_matter(void **state)
{
	_cleanup_openpgp_key_ struct openpgp_key key = {0};
	char text[2 * sizeof(key_text) + 64] = "Our key:\r\n";
	size_t length = strlen(text);

	(void)state;
	for (const char *c = key_text; *c; c++) {
		if (*c == '\n')
			text[length++] = '\r';
		text[length++] = *c;
	}
	text[length] = '\0';
	strcat(text, "-- \nbye\n");
	parse_key(text, strlen(text), &key);
	assert_string_equal(key.fingerprint, FINGERPRINT);
}

static void damaged_armor_is_refused(void **state)
{
	char text[sizeof(key_text)];

	(void)state;
	assert_refused("", 0, "not an OpenPGP public key");
	assert_refused("hello\n", 6, "not an OpenPGP public key");
	assert_refused(signature_text, strlen(signature_text), "not an OpenPGP public key");
	assert_refused(key_text, (size_t)(strstr(key_text, "-----END") - key_text), "ends early");
	/* One letter of the content, one of the checksum. */
	memcpy(text, key_text, sizeof(text));
	text[60] = text[60] == 'A' ? 'B' : 'A';
	assert_refused(text, strlen(text), "checksum");
	memcpy(text, key_text, sizeof(text));
	strstr(text, "=fgiP")[1] = 'A';
	assert_refused(text, strlen(text), "checksum");
	memcpy(text, key_text, sizeof(text));
	text[60] = '!';
	assert_refused(text, strlen(text), "base64");
}

static void a_file_has_exactly_one_public_key(void **state)
{
	/* An empty secret key packet, a marker packet, a version 3 key, an old-format indeterminate length. */
	static const uint8_t secret[] = {0x95, 0x00, 0x01, 0x04},
			     marker[] = {0xca, 0x03, 'P', 'G', 'P'},
			     version3[] = {0x99, 0x00, 0x02, 0x03, 0x00},
			     endless[] = {0x9b, 0x04, 0x00};
	_cleanup_openpgp_key_ struct openpgp_key key = {0};
	char armored[2 * sizeof(key_text)];
	_cleanup_free_ uint8_t *twice = NULL;

	(void)state;
	parse_key(key_text, strlen(key_text), &key);
	twice = malloc(2 * key.length);
	assert_non_null(twice);
	memcpy(twice, key.data, key.length);
	memcpy(twice + key.length, key.data, key.length);
	assert_refused(twice, 2 * key.length, "more than one key");
	snprintf(armored, sizeof(armored), "%s%s", key_text, key_text);
	assert_refused(armored, strlen(armored), "more than one key");
	for (size_t length = 1; length < 40; length++)
		assert_refused(key.data, length, "damaged");
	assert_refused(secret, sizeof(secret), "does not begin with a public key");
	assert_refused(version3, sizeof(version3), "version 4");
	assert_refused(endless, sizeof(endless), "damaged");
	memcpy(twice + key.length, marker, sizeof(marker));
	assert_refused(twice, key.length + sizeof(marker), "packet of type 10");
}

/* ---- whom to trust for what */

struct fixture {
	char path[64];
	int dirfd;
	struct openpgp_key key;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-keys-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_true(fixture->dirfd >= 0);
	parse_key(key_text, strlen(key_text), &fixture->key);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	openpgp_key_clear(&fixture->key);
	free(fixture);
	return 0;
}

static void trust(struct fixture *fixture, const char *prefix)
{
	_cleanup_free_ char *path = NULL;
	struct error err = {0};

	if (keyring_add(fixture->dirfd, prefix, &fixture->key, &path, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(faccessat(fixture->dirfd, path, F_OK, 0), 0);
}

static int may_sign(struct fixture *fixture, const char *name)
{
	struct error err = {0};
	int r = keyring_check_name(fixture->dirfd, FINGERPRINT, name, &err);

	if (r < 0) {
		assert_non_null(strstr(err.message, name));
		assert_non_null(strstr(err.message, FINGERPRINT));
	}
	return r;
}

static void a_prefix_covers_whole_components_of_a_name(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(may_sign(fixture, "example.com/app"), -EKEYREJECTED);
	trust(fixture, "example.com/app");
	assert_int_equal(may_sign(fixture, "example.com/app"), 0);
	assert_int_equal(may_sign(fixture, "example.com/app/db"), 0);
	assert_int_equal(may_sign(fixture, "example.com/app/db/large"), 0);
	assert_int_equal(may_sign(fixture, "example.com"), -EKEYREJECTED);
	assert_int_equal(may_sign(fixture, "example.com/application"), -EKEYREJECTED);
	assert_int_equal(may_sign(fixture, "example.com/ap"), -EKEYREJECTED);
	assert_int_equal(may_sign(fixture, "other.org/example.com/app"), -EKEYREJECTED);
}

static void a_root_key_may_sign_every_image(void **state)
{
	struct fixture *fixture = *state;

	trust(fixture, NULL);
	assert_int_equal(may_sign(fixture, "example.com/app"), 0);
	assert_int_equal(may_sign(fixture, "a"), 0);
}

static void a_prefix_is_an_identifier_and_leads_nowhere_else(void **state)
{
	static const char *const prefixes[] = {"", "..", "../../etc", "/etc", "A", "a,b", "a/"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		_cleanup_free_ char *path = NULL;
		struct error err = {0};

		assert_int_equal(
			keyring_add(fixture->dirfd, prefixes[i], &fixture->key, &path, &err),
			-EINVAL);
	}
}

static void the_dots_of_a_prefix_are_only_text(void **state)
{
	struct fixture *fixture = *state;

	trust(fixture, "a/../b");
	assert_int_equal(faccessat(fixture->dirfd, "trusted-keys/prefix.d/a,..,b", F_OK, 0), 0);
	assert_int_equal(may_sign(fixture, "a/../b/c"), 0);
	assert_int_equal(may_sign(fixture, "b"), -EKEYREJECTED);
	assert_int_equal(may_sign(fixture, "a"), -EKEYREJECTED);
}

/* ---- gpgv */

static int text_file(const char *text)
{
	int fd = memfd_create("text", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	return fd;
}

static int verify(struct fixture *fixture, const char *text, const char *signature, char *ret)
{
	_cleanup_close_ int file = text_file(text), signature_file = text_file(signature);
	struct error err = {0};
	int r = keyring_verify(fixture->dirfd, file, signature_file, "image.aci", ret, &err);

	if (r < 0)
		assert_non_null(strstr(err.message, "image.aci"));
	return r;
}

static void gpgv_accepts_a_good_signature_of_a_trusted_key_only(void **state)
{
	struct fixture *fixture = *state;
	char fingerprint[OPENPGP_FINGERPRINT_SIZE] = "";

	assert_int_equal(verify(fixture, SIGNED_TEXT, signature_text, fingerprint), -EKEYREJECTED);
	trust(fixture, "example.com");
	assert_int_equal(verify(fixture, SIGNED_TEXT, signature_text, fingerprint), 0);
	assert_string_equal(fingerprint, FINGERPRINT);
	assert_int_equal(verify(fixture, "hello!\n", signature_text, fingerprint), -EKEYREJECTED);
	assert_int_equal(verify(fixture, SIGNED_TEXT, "", fingerprint), -EKEYREJECTED);
	assert_int_equal(verify(fixture, SIGNED_TEXT, "nonsense\n", fingerprint), -EKEYREJECTED);
	assert_int_equal(verify(fixture, SIGNED_TEXT, key_text, fingerprint), -EKEYREJECTED);
}

#define LINE(text) "[GNUPG:] " text "\n"
#define GOOD_LINES                                                                                    \
	LINE("NEWSIG")                                                                                \
	LINE("KEY_CONSIDERED E03B141E376A486D9C755CBC3C01D2162C3F3F5C 0")                             \
	LINE("SIG_ID aaaa 2024-01-02 1704153600")                                                     \
	LINE("GOODSIG 3C01D2162C3F3F5C Tester <tester@example.com>")                                  \
	LINE("VALIDSIG 0123456789012345678901234567890123456789 2024-01-02 1704153600 0 4 0 22 8 00 " \
	     "E03B141E376A486D9C755CBC3C01D2162C3F3F5C")

static int parse_status(const char *text)
{
	char fingerprint[OPENPGP_FINGERPRINT_SIZE] = "";
	struct error err = {0};
	int r = keyring_parse_status(text, strlen(text), fingerprint, &err);

	if (r == 0)
		assert_string_equal(fingerprint, FINGERPRINT);
	else
		assert_true(*err.message);
	return r;
}

static void the_signer_is_the_primary_key_of_the_one_good_signature(void **state)
{
	(void)state;
	assert_int_equal(parse_status(GOOD_LINES), 0);
	assert_int_equal(parse_status(GOOD_LINES LINE("SOMETHING_NEW of a later gpgv")), 0);
}

static void a_status_with_anything_wrong_is_no_good_signature(void **state)
{
	static const char *const bad[] = {
		"",
		LINE("NEWSIG"),
		LINE("NEWSIG") LINE("GOODSIG 3C01D2162C3F3F5C Tester"),
		GOOD_LINES GOOD_LINES,
		GOOD_LINES LINE("NEWSIG"),
		GOOD_LINES LINE("BADSIG 3C01D2162C3F3F5C Tester"),
		GOOD_LINES LINE("ERRSIG 3C01D2162C3F3F5C 22 8 00 1704153600 9 -"),
		GOOD_LINES LINE("EXPSIG 3C01D2162C3F3F5C Tester"),
		GOOD_LINES LINE("EXPKEYSIG 3C01D2162C3F3F5C Tester"),
		GOOD_LINES LINE("REVKEYSIG 3C01D2162C3F3F5C Tester"),
		GOOD_LINES LINE("NODATA 4"),
		GOOD_LINES LINE("FAILURE gpg-exit 33554433"),
		GOOD_LINES "gpgv: something else\n",
		GOOD_LINES "[GNUPG:] NOTATION_DATA cut off",
		LINE("NEWSIG") LINE("GOODSIG a b") LINE("VALIDSIG"),
		/* A fingerprint too short, one field too few and too many, not a signature of a file. */
		LINE("NEWSIG") LINE("GOODSIG a b")
			LINE("VALIDSIG 0 0 0 0 4 0 22 8 00 E03B141E376A486D"),
		LINE("NEWSIG") LINE("GOODSIG a b")
			LINE("VALIDSIG 0 0 0 0 4 0 22 00 E03B141E376A486D9C755CBC3C01D2162C3F3F5C"),
		LINE("NEWSIG") LINE("GOODSIG a b") LINE(
			"VALIDSIG 0 0 0 0 4 0 22 8 00 E03B141E376A486D9C755CBC3C01D2162C3F3F5C x"),
		LINE("NEWSIG") LINE("GOODSIG a b") LINE(
			"VALIDSIG 0 0 0 0 4 0 22 8 10 E03B141E376A486D9C755CBC3C01D2162C3F3F5C"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_status(bad[i]) != -EKEYREJECTED)
			fail_msg("accepted: %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha1_has_the_digests_of_the_standard),
		cmocka_unit_test(a_key_has_its_fingerprint_and_user_armored_or_binary),
		cmocka_unit_test(lines_around_the_armor_and_carriage_returns_do_not_matter),
		cmocka_unit_test(damaged_armor_is_refused),
		cmocka_unit_test(a_file_has_exactly_one_public_key),
		cmocka_unit_test_setup_teardown(
			a_prefix_covers_whole_components_of_a_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_root_key_may_sign_every_image, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_prefix_is_an_identifier_and_leads_nowhere_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_dots_of_a_prefix_are_only_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			gpgv_accepts_a_good_signature_of_a_trusted_key_only, set_up, tear_down),
		cmocka_unit_test(the_signer_is_the_primary_key_of_the_one_good_signature),
		cmocka_unit_test(a_status_with_anything_wrong_is_no_good_signature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
