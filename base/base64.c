// SPDX-License-Identifier: Apache-2.0
/* base64.c: bytes as text. */
#include "base/base64.h"

#include <errno.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t length, char *text)
{
	const uint8_t *bytes = data;

	for (; length > 0; bytes += 3, text += 4) {
		size_t count = length < 3 ? length : 3;
		uint32_t group = (uint32_t)bytes[0] << 16;

		if (count > 1)
			group |= (uint32_t)bytes[1] << 8;
		if (count > 2)
			group |= bytes[2];
		text[0] = digits[group >> 18];
		text[1] = digits[group >> 12 & 63];
		text[2] = '=';
		text[3] = '=';
		if (count > 1)
			text[2] = digits[group >> 6 & 63];
		if (count > 2)
			text[3] = digits[group & 63];
		length -= count;
	}
	*text = '\0';
}

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

ptrdiff_t base64_decode(const char *text, size_t length, void *bytes)
{
	uint8_t *out = bytes;
	size_t padding = 0;

	if (length % 4)
		return -EINVAL;
	while (padding < 2 && length > 0 && text[length - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < length; i += 4) {
		size_t missing = i + 4 == length ? padding : 0;
		uint32_t group = 0;

		for (size_t j = 0; j < 4; j++) {
			int value = j >= 4 - missing ? 0 : digit_value(text[i + j]);

			if (value < 0)
				return -EINVAL;
			group = group << 6 | (uint32_t)value;
		}
		if (group & ((1u << 8 * missing) - 1))
			return -EINVAL;
		for (size_t j = 0; j < 3 - missing; j++)
			*out++ = (uint8_t)(group >> (16 - 8 * j));
	}
	return out - (uint8_t *)bytes;
}
