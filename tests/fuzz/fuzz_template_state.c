// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_template_state.c: the files of a template, and of the cache of digests.
 *
 * The first byte chooses the file. A state file comes as it is, or with its checksum put right, so
 * that what lies behind that is reached.
 */
#include "vmm/machine.h"
#include "vmm/template_key.h"
#include "vmm/template_state.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void require(bool condition)
{
	if (!condition)
		__builtin_trap();
}

static void read_state(const uint8_t *data, size_t size)
{
	struct template_state state;
	struct error err;
	int r = template_state_parse(data, size, key, &state, &err);
	const uint8_t *sections = state.sections;

	require(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	require(sections > data && state.sections_size + SHA512_SIZE < size &&
		sections + state.sections_size + SHA512_SIZE == data + size);
}

static void read_state_with_checksum(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + SHA512_SIZE);
	struct sha512 sha;

	if (size)
		memcpy(copy, data, size);
	sha512_init(&sha);
	sha512_update(&sha, copy, size);
	sha512_final(&sha, copy + size);
	read_state(copy, size + SHA512_SIZE);
	free(copy);
}

static void read_info(const uint8_t *data, size_t size)
{
	struct template_info info = {0};
	int r = template_info_parse((const char *)data, size, &info);

	require(r == 0 || r == -EBADMSG);
	require(info.vcpus <= MACHINE_VCPUS_MAX && info.memory <= MACHINE_MEMORY_MAX &&
		info.created_at >= 0);
	require((r == 0) == (info.vcpus > 0));
}

static void read_digest(const uint8_t *data, size_t size)
{
	static const struct template_file_identity identity = {123, 456, 789};
	char digest[SHA512_TEXT_SIZE] = "";
	int r = template_digest_parse((const char *)data, size, &identity, digest);

	require(r == 0 || r == -EBADMSG || r == -ESTALE);
	require(strlen(digest) == (r == 0 ? SHA512_TEXT_SIZE - 1 : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(const uint8_t *data, size_t size) = {
		read_state, read_state_with_checksum, read_info, read_digest};

	if (size > 0)
		readers[data[0] % ARRAY_SIZE(readers)](data + 1, size - 1);
	return 0;
}
