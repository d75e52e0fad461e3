// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_aci_import.c: any bytes as an image archive. What is refused must leave nothing behind; what
 * is accepted must render, or fail to, without harm, and be removable.
 */
#include "base/file.h"
#include "base/log.h"
#include "store/store.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static char fuzz_path[64] = "/tmp/appc-fuzz-XXXXXX";
static int fuzz_dirfd = -1;
static struct store *fuzz_store;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Changes the input and then mends the checksums of tar headers, without which little is reached.
 */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	for (size_t at = 0; seed % 8 && at + 512 <= size; at += 512) {
		uint8_t *header = data + at;
		unsigned int sum = 0;
		char text[8];

		if (memcmp(header + 257, "ustar", 5))
			continue;
		memset(header + 148, ' ', 8);
		for (size_t i = 0; i < 512; i++)
			sum += header[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(header + 148, text, 7);
	}
	return size;
}

static void fuzz_clean(void)
{
	directory_remove(AT_FDCWD, fuzz_path);
}

static void fuzz_check(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void fuzz_start(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	fuzz_check(mkdtemp(fuzz_path) != NULL, "no temporary directory");
	atexit(fuzz_clean);
	fuzz_dirfd = directory_open(AT_FDCWD, fuzz_path);
	fuzz_check(store_open(fuzz_dirfd, &fuzz_store, NULL) == 0, "no store");
}

static bool directory_is_empty(const char *name)
{
	_cleanup_closedir_ DIR *directory = fdopendir(directory_open(fuzz_dirfd, name));
	struct dirent *entry;

	fuzz_check(directory != NULL, "no directory");
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct store_import_options options = {
		.limits = {.archive_bytes = 1 << 20, .entries = 64},
	};
	_cleanup_close_ int fd = memfd_create("aci", MFD_CLOEXEC);
	char id[STORE_IMAGE_ID_SIZE], tree[STORE_TREE_ID_SIZE];
	struct error err = {0};

	if (!fuzz_store)
		fuzz_start();
	fuzz_check(fd >= 0 && file_write_all(fd, data, size) == 0 && lseek(fd, 0, SEEK_SET) == 0,
		"no input");
	if (store_import(fuzz_store, fd, "input", &options, id, &err) == 0) {
		if (store_render(fuzz_store, id, tree, &err) == 0)
			fuzz_check(store_verify_tree(fuzz_store, tree, &err) == 0, err.message);
		else
			fuzz_check(err.message[0] != '\0', "an error without a message");
		fuzz_check(store_remove(fuzz_store, id, &err) == 0, err.message);
		fuzz_check(store_gc(fuzz_store, NULL, 0, NULL, &err) == 0, err.message);
	} else {
		fuzz_check(err.message[0] != '\0', "an error without a message");
	}
	fuzz_check(directory_is_empty("tmp"), "something is left in tmp");
	fuzz_check(directory_is_empty("images"), "something is left in images");
	fuzz_check(directory_is_empty("trees"), "something is left in trees");
	return 0;
}
