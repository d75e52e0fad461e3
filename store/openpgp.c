// SPDX-License-Identifier: Apache-2.0
/* openpgp.c: armor, packets and fingerprints of public keys. */
#include "store/openpgp.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/sha1.h"

#include <stdbool.h>
#include <string.h>

#define ARMOR_BEGIN "-----BEGIN PGP PUBLIC KEY BLOCK-----"
#define ARMOR_END   "-----END PGP PUBLIC KEY BLOCK-----"
#define CRC24_INIT  0xb704ceu
#define CRC24_POLY  0x1864cfbu

#define USER_IDS_MAX 16
#define USER_ID_SIZE 256

/* Section 4.3. */
enum packet_tag {
	PACKET_SIGNATURE = 2,
	PACKET_PUBLIC_KEY = 6,
	PACKET_TRUST = 12,
	PACKET_USER_ID = 13,
	PACKET_PUBLIC_SUBKEY = 14,
	PACKET_USER_ATTRIBUTE = 17,
};

/* A piece of memory that is read from the beginning to the end. */
struct input {
	const uint8_t *data;
	size_t length;
};

/* ---- armor, section 6 */

static uint32_t crc24(const uint8_t *data, size_t length)
{
	uint32_t crc = CRC24_INIT;

	for (size_t i = 0; i < length; i++) {
		crc ^= (uint32_t)data[i] << 16;
		for (int bit = 0; bit < 8; bit++) {
			crc <<= 1;
			if (crc & 0x1000000u)
				crc ^= CRC24_POLY;
		}
	}
	return crc & 0xffffffu;
}

static int base64_value(uint8_t c)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* The next line without its end and the blanks before it. False: there is none. */
static bool next_line(struct input *input, struct input *ret)
{
	const uint8_t *end;
	size_t length;

	if (input->length == 0)
		return false;
	end = memchr(input->data, '\n', input->length);
	length = end ? (size_t)(end - input->data) : input->length;
	*ret = (struct input){input->data, length};
	input->data += length + (end ? 1 : 0);
	input->length -= length + (end ? 1 : 0);
	while (ret->length > 0 && strchr(" \t\r", ret->data[ret->length - 1]) &&
		ret->data[ret->length - 1])
		ret->length--;
	return true;
}

static bool line_is(const struct input *line, const char *text)
{
	return line->length == strlen(text) && !memcmp(line->data, text, line->length);
}

/* One line of base64 is whole groups of four characters. Its bytes, or -EINVAL. */
static ssize_t base64_decode(const struct input *line, uint8_t *ret)
{
	size_t count = 0;

	if (line->length % 4 != 0)
		return -EINVAL;
	for (size_t i = 0; i < line->length; i += 4) {
		const uint8_t *group = line->data + i;
		bool last = i + 4 == line->length;
		size_t padding = group[3] != '=' ? 0 : group[2] != '=' ? 1 : 2;
		uint32_t bits = 0;

		if (padding > 0 && !last)
			return -EINVAL;
		for (size_t c = 0; c < 4; c++) {
			int value = c < 4 - padding ? base64_value(group[c]) : 0;

			if (value < 0)
				return -EINVAL;
			bits = bits << 6 | (uint32_t)value;
		}
		for (size_t byte = 0; byte < 3 - padding; byte++)
			ret[count++] = (uint8_t)(bits >> (16 - 8 * byte));
	}
	return (ssize_t)count;
}

static bool crc_matches(const struct input *line, const uint8_t *data, size_t length)
{
	struct input text = {line->data + 1, line->length - 1};
	uint8_t bytes[3];

	if (text.length != 4 || base64_decode(&text, bytes) != 3)
		return false;
	return crc24(data, length) ==
		((uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2]);
}

/* ret has room for as many bytes as input has. */
static int armor_decode(
	struct input input, const char *what, uint8_t *ret, size_t *ret_length, struct error *err)
{
	struct input line;
	bool begun = false, ended = false, padded = false, checked = false;
	size_t length = 0;

	while (!begun && next_line(&input, &line))
		begun = line_is(&line, ARMOR_BEGIN);
	if (!begun)
		return error_set(err, -EINVAL, "%s: not an OpenPGP public key", what);
	/* Headers, to the first empty line. */
	while (next_line(&input, &line) && line.length > 0)
		;
	while (!ended && next_line(&input, &line)) {
		ssize_t n;

		ended = line_is(&line, ARMOR_END);
		if (ended || line.length == 0)
			continue;
		if (line.data[0] == '=' && !checked) {
			if (!crc_matches(&line, ret, length))
				return error_set(err, -EINVAL,
					"%s: damaged: its checksum does not match", what);
			checked = true;
			continue;
		}
		n = padded || checked ? -EINVAL : base64_decode(&line, ret + length);
		if (n < 0)
			return error_set(err, -EINVAL, "%s: damaged: not base64", what);
		padded = line.data[line.length - 1] == '=';
		length += (size_t)n;
	}
	if (!ended)
		return error_set(err, -EINVAL, "%s: damaged: it ends early", what);
	while (next_line(&input, &line))
		if (line_is(&line, ARMOR_BEGIN))
			return error_set(err, -EINVAL, "%s: more than one key", what);
	*ret_length = length;
	return 0;
}

/* ---- packets, section 4.2 */

static bool take(struct input *input, size_t count, struct input *ret)
{
	if (count > input->length)
		return false;
	*ret = (struct input){input->data, count};
	input->data += count;
	input->length -= count;
	return true;
}

static bool take_number(struct input *input, size_t bytes, uint32_t *ret)
{
	struct input number;

	if (!take(input, bytes, &number))
		return false;
	*ret = 0;
	for (size_t i = 0; i < bytes; i++)
		*ret = *ret << 8 | number.data[i];
	return true;
}

/* Lengths that are not known beforehand do not occur in keys. */
static bool take_length(struct input *input, uint8_t header, uint32_t *ret)
{
	uint32_t first, second;

	if (!(header & 0x40))
		return (header & 3) != 3 && take_number(input, (size_t)1 << (header & 3), ret);
	if (!take_number(input, 1, &first))
		return false;
	if (first < 192) {
		*ret = first;
		return true;
	}
	if (first < 224) {
		if (!take_number(input, 1, &second))
			return false;
		*ret = ((first - 192) << 8) + second + 192;
		return true;
	}
	return first == 255 && take_number(input, 4, ret);
}

static bool take_packet(struct input *input, unsigned int *ret_tag, struct input *ret_body)
{
	uint32_t header, length;

	if (!take_number(input, 1, &header) || !(header & 0x80) ||
		!take_length(input, (uint8_t)header, &length))
		return false;
	*ret_tag = header & 0x40 ? header & 0x3f : header >> 2 & 0xf;
	return take(input, length, ret_body);
}

/* Section 12.2. */
static void fingerprint(const struct input *body, char ret[OPENPGP_FINGERPRINT_SIZE])
{
	const uint8_t head[] = {0x99, (uint8_t)(body->length >> 8), (uint8_t)body->length};
	uint8_t digest[SHA1_SIZE];
	struct sha1 sha;

	sha1_init(&sha);
	sha1_update(&sha, head, sizeof(head));
	sha1_update(&sha, body->data, body->length);
	sha1_final(&sha, digest);
	for (size_t i = 0; i < SHA1_SIZE; i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

static int add_user_id(struct openpgp_key *key, const struct input *body)
{
	char text[USER_ID_SIZE];

	if (key->user_ids.count == USER_IDS_MAX)
		return 0;
	snprintf(text, sizeof(text), "%.*s",
		(int)(body->length < sizeof(text) ? body->length : sizeof(text)),
		(const char *)body->data);
	return appc_strings_append(&key->user_ids, log_sanitise(text));
}

static int read_packets(struct openpgp_key *key, const char *what, struct error *err)
{
	struct input input = {key->data, key->length}, body;
	unsigned int tag;

	for (bool first = true; input.length > 0; first = false) {
		if (!take_packet(&input, &tag, &body))
			return error_set(
				err, -EINVAL, "%s: not an OpenPGP public key, or damaged", what);
		if (first != (tag == PACKET_PUBLIC_KEY))
			return error_set(err, -EINVAL,
				first ? "%s: does not begin with a public key"
				      : "%s: more than one key",
				what);
		switch (tag) {
		case PACKET_PUBLIC_KEY:
			if (body.length == 0 || body.length > UINT16_MAX || body.data[0] != 4)
				return error_set(
					err, -EINVAL, "%s: not a public key of version 4", what);
			fingerprint(&body, key->fingerprint);
			break;
		case PACKET_USER_ID:
			if (add_user_id(key, &body) < 0)
				return error_set_errno(err, -ENOMEM, "%s", what);
			break;
		case PACKET_SIGNATURE:
		case PACKET_TRUST:
		case PACKET_PUBLIC_SUBKEY:
		case PACKET_USER_ATTRIBUTE:
			break;
		default:
			return error_set(err, -EINVAL,
				"%s: has a packet of type %u, which public keys do not have", what,
				tag);
		}
	}
	if (!*key->fingerprint)
		return error_set(err, -EINVAL, "%s: empty", what);
	return 0;
}

int openpgp_key_parse(const void *data, size_t length, const char *what, struct openpgp_key *ret,
	struct error *err)
{
	_cleanup_openpgp_key_ struct openpgp_key key = {0};
	struct input input = {data, length};
	int r = 0;

	if (length > OPENPGP_KEY_SIZE_MAX)
		return error_set(
			err, -EINVAL, "%s: longer than %u bytes", what, OPENPGP_KEY_SIZE_MAX);
	key.data = malloc(length + 1);
	if (!key.data)
		return error_set_errno(err, -ENOMEM, "%s", what);
	if (length > 0 && input.data[0] & 0x80) {
		memcpy(key.data, data, length);
		key.length = length;
	} else {
		r = armor_decode(input, what, key.data, &key.length, err);
	}
	if (r == 0)
		r = read_packets(&key, what, err);
	if (r < 0)
		return r;
	*ret = key;
	key = (struct openpgp_key){0};
	return 0;
}

void openpgp_key_clear(struct openpgp_key *key)
{
	free(key->data);
	appc_strings_clear(&key->user_ids);
	*key = (struct openpgp_key){0};
}
