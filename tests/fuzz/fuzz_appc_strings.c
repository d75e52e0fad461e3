// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_appc_strings.c: the forms that are one string: the first byte picks the type, the rest is
 * the text. What has a canonical form is read again in that form.
 */
#include "appc/strings.h"
#include "appc/types.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_reader(const char *text,
	int (*read)(const char *text, char **ret, struct error *err),
	int (*check)(const char *text, struct error *err))
{
	_cleanup_free_ char *canonical = NULL, *again = NULL;
	struct error err;

	if (read(text, &canonical, &err) < 0)
		return;
	if (read(canonical, &again, &err) < 0 || strcmp(canonical, again) != 0)
		abort();
	if (check && check(canonical, &err) < 0)
		abort();
}

static void fuzz_quantity(const char *text)
{
	struct appc_quantity quantity;
	int64_t value;
	struct error err;

	if (appc_quantity_read(text, &quantity, &err) < 0)
		return;
	/* Nothing is rounded towards zero, and thousandths are never fewer than units. */
	if ((quantity.value == 0) != (quantity.millivalue == 0))
		abort();
	if (!quantity.millivalue_exceeds &&
		quantity.value !=
			quantity.millivalue / 1000 + (quantity.millivalue % 1000 > 0) -
				(quantity.millivalue % 1000 < 0))
		abort();
	if ((appc_quantity_parse(text, &value, NULL, &err) < 0) != quantity.value_exceeds)
		abort();
}

static void fuzz_uuid(const char *text)
{
	char uuid[37], again[37];
	struct error err;

	if (appc_uuid_parse(text, uuid, &err) < 0)
		return;
	if (appc_uuid_parse(uuid, again, &err) < 0 || strcmp(uuid, again) != 0)
		abort();
}

static void fuzz_date(const char *text)
{
	char date[APPC_DATE_SIZE], again[APPC_DATE_SIZE];
	struct error err;

	if (appc_date_parse(text, date, &err) < 0)
		return;
	if (appc_date_parse(date, again, &err) < 0 || strcmp(date, again) != 0)
		abort();
}

static void fuzz_parameters(const char *text)
{
	struct appc_image_reference reference;
	struct appc_exposed_port exposed;
	struct appc_mount_point point;
	struct appc_volume volume;
	struct appc_mount mount;
	struct appc_port port;
	struct error err;

	if (appc_volume_from_string(text, APPC_COMPLETE, &volume, &err) == 0)
		appc_volume_clear(&volume);
	if (appc_mount_point_from_string(text, APPC_COMPLETE, &point, &err) == 0)
		appc_mount_point_clear(&point);
	if (appc_port_from_string(text, APPC_COMPLETE, &port, &err) == 0)
		appc_port_clear(&port);
	if (appc_mount_from_string(text, &mount, &err) == 0)
		appc_mount_clear(&mount);
	if (appc_exposed_port_from_string(text, &exposed, &err) == 0)
		appc_exposed_port_clear(&exposed);
	if (appc_forwarded_port_from_string(text, &exposed, &err) == 0)
		appc_exposed_port_clear(&exposed);
	if (appc_image_reference_from_string(text, &reference, &err) == 0)
		appc_image_reference_clear(&reference);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = NULL;
	struct error err;

	if (size == 0)
		return 0;
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0]) {
	case 'q':
		fuzz_quantity(text);
		break;
	case 'u':
		fuzz_uuid(text);
		break;
	case 'd':
		fuzz_date(text);
		break;
	case 'l':
		appc_url_check(text, &err);
		break;
	case 'h':
		if (appc_hash_check(text, &err) == 0 && strchr(text, '/'))
			abort();
		break;
	case 'v':
		fuzz_reader(text, appc_semver_parse, NULL);
		break;
	case 'n':
		fuzz_reader(text, appc_name_sanitise, appc_name_check);
		break;
	case 'i':
		fuzz_reader(text, appc_identifier_sanitise, appc_identifier_check);
		break;
	default:
		fuzz_parameters(text);
	}
	return 0;
}
