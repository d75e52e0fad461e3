// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_container_import.c: any layers, configuration and documents of an OCI image or a docker-save
 * archive. What digests would keep the fuzzer from, the harness computes: the input is the parts, each
 * with a line in front that says what it is and how long:
 *
 *   "layer N\n" and N bytes of tar, "config N\n", "index N\n", "saved N\n" and N bytes of JSON
 *
 * In the configuration and the documents "$0" to "$9" stand for the digest of the part of that number,
 * "%0" to "%9" for its digits alone, "#0" to "#9" for its size. What is refused must leave nothing; what is accepted must be the same
 * image when it is imported again, and render or fail to without harm.
 */
#include "tests/fuzz/store.h"

#include "base/sha256.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/mman.h>

#define PARTS_MAX 10

/* A layer begins anywhere. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_mutate_tar(data, size, max_size, seed, 1);
}

struct part {
	char name[80], digest[72];
	size_t length;
};

static void part_digest(struct part *part, const void *data, size_t length)
{
	struct sha256 sha;

	sha256_init(&sha);
	sha256_update(&sha, data, length);
	memcpy(part->digest, "sha256:", 7);
	sha256_final_text(&sha, part->digest + 7);
	part->length = length;
}

/* JSON with digests and sizes in place; the caller frees it. */
static char *part_expand(const struct part *parts, size_t count, const char *text, size_t length)
{
	char *expanded = malloc(length * 72 + 1), *to = expanded;

	fuzz_check(expanded != NULL, "no memory");
	for (size_t i = 0; i < length; i++) {
		size_t number = i + 1 < length ? (size_t)(text[i + 1] - '0') : PARTS_MAX;

		if (strchr("$%#", text[i]) && text[i] && number < count) {
			to += text[i] == '#'
				? sprintf(to, "%zu", parts[number].length)
				: sprintf(to, "%s",
					  parts[number].digest + (text[i] == '%' ? 7 : 0));
			i++;
		} else {
			*to++ = text[i];
		}
	}
	*to = '\0';
	return expanded;
}

static void tar_add(struct archive *tar, const char *name, const void *data, size_t length)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, (la_int64_t)length);
	archive_write_header(tar, entry);
	archive_write_data(tar, data, length);
	archive_entry_free(entry);
}

/* "layer 123\n": the kind and the number, and what follows them. */
static bool part_header(const uint8_t **data, size_t *size, char kind[8], size_t *ret_length)
{
	const uint8_t *line_end = memchr(*data, '\n', *size < 32 ? *size : 32);
	char line[33], *space;

	if (!line_end)
		return false;
	snprintf(line, sizeof(line), "%.*s", (int)(line_end - *data), (const char *)*data);
	space = strchr(line, ' ');
	if (!space || space - line > 7)
		return false;
	snprintf(kind, 8, "%.*s", (int)(space - line), line);
	*ret_length = strtoul(space + 1, NULL, 10);
	*size -= (size_t)(line_end + 1 - *data);
	*data = line_end + 1;
	if (*ret_length > *size)
		*ret_length = *size;
	return true;
}

static void build(int fd, const uint8_t *data, size_t size)
{
	struct archive *tar = archive_write_new();
	struct part parts[PARTS_MAX];
	size_t count = 0, length;
	char kind[8];

	archive_write_set_format_ustar(tar);
	archive_write_open_fd(tar, fd);
	tar_add(tar, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
	while (count < PARTS_MAX && part_header(&data, &size, kind, &length)) {
		struct part *part = &parts[count];

		if (!strcmp(kind, "layer")) {
			part_digest(part, data, length);
			snprintf(part->name, sizeof(part->name), "blobs/sha256/%s",
				part->digest + 7);
			tar_add(tar, part->name, data, length);
		} else {
			char *text = part_expand(parts, count, (const char *)data, length);

			part_digest(part, text, strlen(text));
			if (!strcmp(kind, "index"))
				snprintf(part->name, sizeof(part->name), "index.json");
			else if (!strcmp(kind, "saved"))
				snprintf(part->name, sizeof(part->name), "manifest.json");
			else
				snprintf(part->name, sizeof(part->name), "blobs/sha256/%s",
					part->digest + 7);
			tar_add(tar, part->name, text, strlen(text));
			free(text);
		}
		count++;
		data += length;
		size -= length;
	}
	archive_write_close(tar);
	archive_write_free(tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct store_import_options options = {
		.limits = {.archive_bytes = 1 << 20, .entries = 256},
	};
	_cleanup_close_ int fd = memfd_create("container", MFD_CLOEXEC);
	char id[STORE_IMAGE_ID_SIZE], again[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	struct error err = {0};

	if (!fuzz_store)
		fuzz_start();
	fuzz_check(fd >= 0, "no input");
	build(fd, data, size);
	lseek(fd, 0, SEEK_SET);
	if (store_import(fuzz_store, fd, "input", &options, id, &err) == 0) {
		lseek(fd, 0, SEEK_SET);
		fuzz_check(store_import(fuzz_store, fd, "input", &options, again, &err) == 0,
			err.message);
		fuzz_check(!strcmp(id, again), "another id");
		/* The joined archive is whole in itself. */
		fuzz_check(store_render(fuzz_store, id, tree, &err) == 0, err.message);
		fuzz_check(store_verify_tree(fuzz_store, tree, &err) == 0, err.message);
		fuzz_check(store_remove(fuzz_store, id, &err) == 0, err.message);
		fuzz_check(store_gc(fuzz_store, NULL, 0, NULL, &err) == 0, err.message);
	} else {
		fuzz_check(err.message[0] != '\0', "an error without a message");
	}
	fuzz_check_empty();
	return 0;
}
