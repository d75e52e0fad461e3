// SPDX-License-Identifier: Apache-2.0
/*
 * quantity.c: the numbers of resource isolators, like "1.5", "500m", "64Mi" or "2e3".
 *
 * Theory of operation: a quantity is a string of decimal digits with a decimal point somewhere,
 * times a power of 1024 or of ten. The digits stay a string, of whatever length the text has: a
 * power of 1024 is multiplied into it, a power of ten moves the point. Only then is it rounded to
 * 64 bits, so rounding happens once and is exact. The work is linear in the length of the text,
 * whatever the exponent says.
 */
#include "appc/types.h"

#include "appc/manifest.h"

#include <stdlib.h>
#include <string.h>

#define QUANTITY_PATTERN "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"

/* Multiplying by 2^60 makes a number at most this many digits longer. */
#define BINARY_GROWTH 19

/* Exponents beyond this decide the outcome for any text that fits in memory. */
#define EXPONENT_MAX 1000000000ll

static const struct suffix {
	const char *text;
	int decimal, binary; /* powers of ten and of two */
} suffixes[] = {
	{"", 0, 0},
	{"n", -9, 0},
	{"u", -6, 0},
	{"m", -3, 0},
	{"k", 3, 0},
	{"K", 3, 0}, /* in the specification's text, though not in the reference implementation */
	{"M", 6, 0},
	{"G", 9, 0},
	{"T", 12, 0},
	{"P", 15, 0},
	{"E", 18, 0},
	{"Ki", 0, 10},
	{"Mi", 0, 20},
	{"Gi", 0, 30},
	{"Ti", 0, 40},
	{"Pi", 0, 50},
	{"Ei", 0, 60},
};

static int suffix_parse(const char *text, long long *ret_decimal, int *ret_binary)
{
	char *end;

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (strcmp(text, suffixes[i].text) == 0) {
			*ret_decimal = suffixes[i].decimal;
			*ret_binary = suffixes[i].binary;
			return 0;
		}
	}
	/* Not a blank: strtoll() would skip it, but the scan of the quantity let none through. */
	if ((text[0] != 'e' && text[0] != 'E') || !text[1])
		return -EINVAL;
	errno = 0;
	*ret_decimal = strtoll(text + 1, &end, 10);
	if (errno != 0 || end == text + 1 || *end)
		return -EINVAL;
	if (*ret_decimal > EXPONENT_MAX)
		*ret_decimal = EXPONENT_MAX;
	if (*ret_decimal < -EXPONENT_MAX)
		*ret_decimal = -EXPONENT_MAX;
	*ret_binary = 0;
	return 0;
}

/* Multiplies a number of count decimal digit values by 2^power; power is at most 60. */
static void digits_multiply(char *digits, size_t count, int power)
{
	uint64_t carry = 0;

	while (count-- > 0) {
		unsigned __int128 product =
			((unsigned __int128)(unsigned char)digits[count] << power) + carry;

		digits[count] = (char)(product % 10);
		carry = (uint64_t)(product / 10);
	}
}

/*
 * The number digits * 10^(point - count), rounded up: point is the place of the decimal point,
 * counted in digits from the first. False: more than INT64_MAX.
 */
static bool digits_round_up(const char *digits, size_t count, long long point, int64_t *ret)
{
	int64_t value = 0;
	size_t used = 0;

	while (count > 0 && digits[0] == 0) {
		digits++;
		count--;
		point--;
	}
	*ret = 0;
	if (count == 0)
		return true;
	*ret = INT64_MAX;
	if (point > BINARY_GROWTH)
		return false;
	for (long long i = 0; i < point; i++) {
		int digit = used < count ? digits[used++] : 0;

		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, digit, &value))
			return false;
	}
	while (used < count && digits[used] == 0)
		used++;
	if (used < count && __builtin_add_overflow(value, 1, &value))
		return false;
	*ret = value;
	return true;
}

int appc_quantity_read(const char *text, struct appc_quantity *ret, struct error *err)
{
	bool negative = text[0] == '-';
	const char *whole = text + (text[0] == '-' || text[0] == '+');
	size_t whole_length = strspn(whole, "0123456789");
	const char *fraction = whole + whole_length + (whole[whole_length] == '.');
	size_t fraction_length = whole[whole_length] == '.' ? strspn(fraction, "0123456789") : 0;
	const char *suffix = fraction + fraction_length;
	const char *end = suffix + strspn(suffix, "eEinumkKMGTP");
	_cleanup_free_ char *digits = NULL;
	long long exponent, point;
	size_t count;
	int binary;

	end += *end == '-' || *end == '+';
	end += strspn(end, "0123456789");
	if (whole_length + fraction_length == 0 || *end)
		return error_set(err, -EINVAL, "quantities must match the regular expression '%s'",
			QUANTITY_PATTERN);
	if (suffix_parse(suffix, &exponent, &binary) < 0)
		return error_set(err, -EINVAL, "unable to parse quantity's suffix");

	/* Room before the first digit for what the multiplication adds. */
	count = BINARY_GROWTH + whole_length + fraction_length;
	digits = calloc(count, 1);
	if (!digits)
		return -ENOMEM;
	for (size_t i = 0; i < whole_length; i++)
		digits[BINARY_GROWTH + i] = (char)(whole[i] - '0');
	for (size_t i = 0; i < fraction_length; i++)
		digits[BINARY_GROWTH + whole_length + i] = (char)(fraction[i] - '0');
	if (binary > 0)
		digits_multiply(digits, count, binary);

	point = (long long)(BINARY_GROWTH + whole_length) + exponent;
	ret->value_exceeds = !digits_round_up(digits, count, point, &ret->value);
	ret->millivalue_exceeds = !digits_round_up(digits, count, point + 3, &ret->millivalue);
	if (negative) {
		ret->value = -ret->value;
		ret->millivalue = -ret->millivalue;
	}
	return 0;
}

int appc_quantity_parse(
	const char *text, int64_t *ret_value, int64_t *ret_millivalue, struct error *err)
{
	struct appc_quantity quantity;
	int r;

	r = appc_quantity_read(text, &quantity, err);
	if (r < 0)
		return r;
	if ((ret_value && quantity.value_exceeds) ||
		(ret_millivalue && quantity.millivalue_exceeds))
		return error_set(err, -ERANGE, "quantity \"%s\" is too large", text);
	if (ret_value)
		*ret_value = quantity.value;
	if (ret_millivalue)
		*ret_millivalue = quantity.millivalue;
	return 0;
}
