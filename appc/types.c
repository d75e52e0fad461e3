// SPDX-License-Identifier: Apache-2.0
/* types.c: names, versions, hashes, dates, URLs, platforms and UUIDs of the specification. */
#include "appc/types.h"

#include "appc/manifest.h"

#include <ctype.h>
#include <string.h>
#include <sys/random.h>

#define LOWER_ALNUM "abcdefghijklmnopqrstuvwxyz0123456789"
#define UPPER       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LETTERS     UPPER "abcdefghijklmnopqrstuvwxyz"
#define HEX_DIGITS  "0123456789abcdefABCDEF"

/* AC Name and AC Identifier differ in the punctuation that may stand between letters. */
struct name_type {
	const char *title, *punctuation;
	char replacement;
};

static const struct name_type name_type = {"ACName", "-", '-'};
static const struct name_type identifier_type = {"ACIdentifier", "-._~/", '_'};

static int name_type_check(const struct name_type *type, const char *text, struct error *err)
{
	size_t length = strlen(text);

	if (length == 0)
		return error_set(err, -EINVAL, "%s cannot be empty", type->title);
	for (size_t i = 0; i < length; i++) {
		if (!strchr(LOWER_ALNUM, text[i]) && !strchr(type->punctuation, text[i]))
			return error_set(err, -EINVAL,
				"%s must contain only lower case alphanumeric characters plus \"%s\"",
				type->title, type->punctuation);
	}
	if (strchr(type->punctuation, text[0]) || strchr(type->punctuation, text[length - 1]))
		return error_set(err, -EINVAL,
			"%s must start and end with only lower case alphanumeric characters",
			type->title);
	return 0;
}

int appc_name_check(const char *text, struct error *err)
{
	return name_type_check(&name_type, text, err);
}

int appc_identifier_check(const char *text, struct error *err)
{
	return name_type_check(&identifier_type, text, err);
}

/* Bytes of the UTF-8 character that text starts with; a byte that starts none counts as one. */
static size_t utf8_length(const char *text)
{
	unsigned char lead = (unsigned char)text[0];
	size_t expected = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	size_t n = 1;

	while (n < expected && ((unsigned char)text[n] & 0xc0) == 0x80)
		n++;
	return n;
}

static int name_type_sanitise(
	const struct name_type *type, const char *text, char **ret, struct error *err)
{
	_cleanup_free_ char *name = strdup(text);
	size_t length = 0;

	if (!name)
		return -ENOMEM;
	while (*text) {
		char c = (char)tolower((unsigned char)*text);

		if (!strchr(LOWER_ALNUM, c) && !strchr(type->punctuation, c))
			c = type->replacement;
		text += utf8_length(text);
		/* Punctuation before the first letter or digit cannot stay. */
		if (length > 0 || !strchr(type->punctuation, c))
			name[length++] = c;
	}
	while (length > 0 && strchr(type->punctuation, name[length - 1]))
		length--;
	if (length == 0)
		return error_set(err, -EINVAL, "must contain at least one valid character");
	name[length] = '\0';
	*ret = TAKE_PTR(name);
	return 0;
}

int appc_name_sanitise(const char *text, char **ret, struct error *err)
{
	return name_type_sanitise(&name_type, text, ret, err);
}

int appc_identifier_sanitise(const char *text, char **ret, struct error *err)
{
	return name_type_sanitise(&identifier_type, text, ret, err);
}

bool appc_environment_name_is_valid(const char *name)
{
	if (!*name || !strchr(LETTERS "_", *name))
		return false;
	return name[strspn(name, LETTERS "0123456789_.-")] == '\0';
}

/* A run of digits that fits 63 bits, up to the given end. */
static bool semver_number(const char *text, const char *end, long long *ret)
{
	*ret = 0;
	if (text == end)
		return false;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(*ret, 10, ret) ||
			__builtin_add_overflow(*ret, *text - '0', ret))
			return false;
	}
	return true;
}

int appc_semver_parse(const char *text, char **ret, struct error *err)
{
	/* MAJOR.MINOR.PATCH[-PRE-RELEASE][+METADATA]; the first '+' ends all but the metadata. */
	const char *metadata = strchrnul(text, '+');
	const char *release = memchr(text, '-', (size_t)(metadata - text));
	const char *end = release ? release : metadata;
	long long numbers[3];
	int release_length;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const char *stop = i < 2 ? memchr(text, '.', (size_t)(end - text)) : end;

		if (!stop || !semver_number(text, stop, &numbers[i]))
			return error_set(err, -EINVAL, "SemVer is bad");
		text = stop + 1;
	}
	/* An empty part disappears together with the character that introduces it. */
	release_length = release ? (int)(metadata - release) : 0;
	if (!numbers[0] && !numbers[1] && !numbers[2] && release_length <= 1 &&
		!(metadata[0] && metadata[1]))
		return error_set(err, -EINVAL, "SemVer cannot be zero");
	if (asprintf(ret, "%lld.%lld.%lld%.*s%s", numbers[0], numbers[1], numbers[2],
		    release_length > 1 ? release_length : 0, release ? release : "",
		    metadata[0] && metadata[1] ? metadata : "") < 0)
		return -ENOMEM;
	return 0;
}

int appc_hash_check(const char *text, struct error *err)
{
	const char *dash = strchr(text, '-');
	const char *value;

	if (!dash || strchr(dash + 1, '-'))
		return error_set(err, -EINVAL, "badly formatted hash string");
	if (dash == text)
		return error_set(err, -EINVAL, "unexpected empty hash type");
	if (dash - text != 6 || memcmp(text, "sha512", 6) != 0)
		return error_set(err, -EINVAL, "unrecognized hash type: %.*s",
			dash - text > 64 ? 64 : (int)(dash - text), text);
	value = dash + 1;
	if (!*value)
		return error_set(err, -EINVAL, "unexpected empty hash value");
	if (value[strspn(value, LETTERS "0123456789")])
		return error_set(err, -EINVAL, "badly formatted hash string");
	return 0;
}

/* Exactly count digits; advances *text. */
static bool date_number(const char **text, int count, int minimum, int maximum, int *ret)
{
	*ret = 0;
	for (int i = 0; i < count; i++) {
		char c = (*text)[i];

		if (c < '0' || c > '9')
			return false;
		*ret = *ret * 10 + (c - '0');
	}
	*text += count;
	return *ret >= minimum && *ret <= maximum;
}

static bool date_literal(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

static bool date_is_valid(const char *text, char *ret)
{
	int year, month, day, hour, minute, second, zone_hour = 0, zone_minute = 0;
	char sign;

	if (!date_number(&text, 4, 0, 9999, &year) || !date_literal(&text, '-') ||
		!date_number(&text, 2, 1, 12, &month) || !date_literal(&text, '-') ||
		!date_number(&text, 2, 1, days_in_month(year, month), &day) ||
		!date_literal(&text, 'T') || !date_number(&text, 2, 0, 23, &hour) ||
		!date_literal(&text, ':') || !date_number(&text, 2, 0, 59, &minute) ||
		!date_literal(&text, ':') || !date_number(&text, 2, 0, 59, &second))
		return false;
	if (*text == '.') {
		size_t digits = strspn(text + 1, "0123456789");

		if (digits == 0)
			return false;
		text += 1 + digits;
	}
	sign = *text;
	if (sign == 'Z') {
		text++;
	} else {
		if (sign != '+' && sign != '-')
			return false;
		text++;
		if (!date_number(&text, 2, 0, 23, &zone_hour) || !date_literal(&text, ':') ||
			!date_number(&text, 2, 0, 59, &zone_minute))
			return false;
	}
	if (*text)
		return false;
	if (zone_hour == 0 && zone_minute == 0)
		snprintf(ret, APPC_DATE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day,
			hour, minute, second);
	else
		snprintf(ret, APPC_DATE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", year,
			month, day, hour, minute, second, sign, zone_hour, zone_minute);
	return true;
}

int appc_date_parse(const char *text, char *ret, struct error *err)
{
	if (!date_is_valid(text, ret))
		return error_set(err, -EINVAL,
			"bad Date: \"%s\" is not of the form \"2006-01-02T15:04:05Z07:00\"", text);
	return 0;
}

/* Every '%' of a URL's part is followed by two hexadecimal digits. */
static bool url_escapes_are_valid(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] != '%')
			continue;
		if (length - i < 3 || !strchr(HEX_DIGITS, text[i + 1]) ||
			!strchr(HEX_DIGITS, text[i + 2]))
			return false;
		i += 2;
	}
	return true;
}

static bool url_characters_are(const char *text, size_t length, const char *punctuation)
{
	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr(punctuation, text[i]))
			return false;
	}
	return true;
}

/* [USER[:PASSWORD]@]HOST[:PORT] */
static bool url_authority_is_valid(const char *text, size_t length)
{
	const char *end = text + length;
	const char *at = memrchr(text, '@', length);
	const char *host, *port;

	if (at &&
		(!url_characters_are(text, (size_t)(at - text), "-._:~!$&'()*+,;=%@") ||
			!url_escapes_are_valid(text, (size_t)(at - text))))
		return false;
	host = at ? at + 1 : text;
	if (host < end && *host == '[') {
		const char *bracket = memchr(host, ']', (size_t)(end - host));

		if (!bracket)
			return false;
		port = bracket + 1;
		if (port < end && *port != ':')
			return false;
		if (!url_characters_are(host + 1, (size_t)(bracket - host - 1), "-._~:%"))
			return false;
	} else {
		port = memrchr(host, ':', (size_t)(end - host));
		if (!port)
			port = end;
		for (const char *c = host; c < port; c++) {
			/* A host is letters, digits, what RFC 3986 calls sub-delims, or UTF-8. */
			if ((unsigned char)*c < 0x80 && !isalnum((unsigned char)*c) &&
				!strchr("-_.~!$&'()*+,;=:[]<>\"", *c))
				return false;
		}
	}
	return port == end || strspn(port + 1, "0123456789") >= (size_t)(end - port - 1);
}

int appc_url_check(const char *text, struct error *err)
{
	size_t scheme = strspn(text, LETTERS "0123456789+-.");
	const char *rest, *fragment, *query;

	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return error_set(err, -EINVAL, "invalid control character in URL");
	}
	if (text[scheme] != ':' ||
		!((scheme == 4 && strncasecmp(text, "http", 4) == 0) ||
			(scheme == 5 && strncasecmp(text, "https", 5) == 0)))
		return error_set(err, -EINVAL, "bad URL scheme, must be http/https");
	rest = text + scheme + 1;
	fragment = strchrnul(rest, '#');
	if (!url_escapes_are_valid(fragment, strlen(fragment)))
		return error_set(err, -EINVAL, "invalid URL escape");
	query = memchr(rest, '?', (size_t)(fragment - rest));
	if (!query)
		query = fragment;
	if (query - rest >= 2 && rest[0] == '/' && rest[1] == '/') {
		const char *authority = rest + 2;

		rest = memchr(authority, '/', (size_t)(query - authority));
		if (!rest)
			rest = query;
		if (!url_authority_is_valid(authority, (size_t)(rest - authority)))
			return error_set(err, -EINVAL, "invalid host name in URL");
	}
	if (!url_escapes_are_valid(rest, (size_t)(query - rest)))
		return error_set(err, -EINVAL, "invalid URL escape");
	return 0;
}

int appc_platform_check(const char *os, const char *arch, struct error *err)
{
	static const struct {
		const char *os, *archs;
	} platforms[] = {
		{"darwin", "x86_64 i386"},
		{"freebsd", "amd64 i386 arm"},
		{"linux", "amd64 i386 aarch64 aarch64_be armv6l armv7l armv7b ppc64 ppc64le s390x"},
	};

	if (!os)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(platforms); i++) {
		const char *known = platforms[i].archs;

		if (strcmp(os, platforms[i].os) != 0)
			continue;
		if (!arch)
			return 0;
		while (*known) {
			size_t length = strcspn(known, " ");

			if (strlen(arch) == length && memcmp(arch, known, length) == 0)
				return 0;
			known += length + (known[length] == ' ');
		}
		return error_set(err, -EINVAL, "bad arch \"%s\" for %s (must be one of: [%s])",
			arch, os, platforms[i].archs);
	}
	return error_set(
		err, -EINVAL, "bad os \"%s\" (must be one of: [darwin freebsd linux])", os);
}

static void uuid_format(const unsigned char bytes[16], char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*ret++ = '-';
		*ret++ = digits[bytes[i] >> 4];
		*ret++ = digits[bytes[i] & 15];
	}
	*ret = '\0';
}

int appc_uuid_parse(const char *text, char *ret, struct error *err)
{
	unsigned char bytes[16] = {0};
	size_t count = 0;

	/* Dashes are ignored wherever they stand. */
	for (const char *c = text; *c; c++)
		count += *c != '-';
	if (count != 32)
		return error_set(err, -EINVAL, "bad UUID length != 32");
	count = 0;
	for (const char *c = text; *c; c++) {
		unsigned value;

		if (*c == '-')
			continue;
		if (!isxdigit((unsigned char)*c))
			return error_set(
				err, -EINVAL, "bad UUID: '%c' is not a hexadecimal digit", *c);
		value = isdigit((unsigned char)*c) ? (unsigned)(*c - '0')
						   : (unsigned)(tolower(*c) - 'a' + 10);
		bytes[count / 2] |= (unsigned char)(count % 2 == 0 ? value << 4 : value);
		count++;
	}
	uuid_format(bytes, ret);
	return 0;
}

/* #syscalls: getrandom */
int appc_uuid_create(char *ret)
{
	unsigned char bytes[16];
	ssize_t n;

	do
		n = getrandom(bytes, sizeof(bytes), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != sizeof(bytes))
		return -EIO;
	/* RFC 9562: version 4, variant 10. */
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	uuid_format(bytes, ret);
	return 0;
}

int appc_bool_parse(const char *text, bool *ret, struct error *err)
{
	static const char *const words[2][6] = {
		{"0", "f", "F", "false", "False", "FALSE"},
		{"1", "t", "T", "true", "True", "TRUE"},
	};

	for (size_t i = 0; i < 2; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(words[i]); j++) {
			if (strcmp(text, words[i][j]) == 0) {
				*ret = i == 1;
				return 0;
			}
		}
	}
	return error_set(err, -EINVAL, "\"%s\" is not a boolean (true or false)", text);
}
