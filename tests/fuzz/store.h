/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a temporary directory, into which a fuzz harness imports images. */
#ifndef APPC_TESTS_FUZZ_STORE_H
#define APPC_TESTS_FUZZ_STORE_H

#include "base/file.h"
#include "base/log.h"
#include "store/store.h"

#include <fcntl.h>
#include <string.h>

static char fuzz_path[64] = "/tmp/appc-fuzz-XXXXXX";
static int fuzz_dirfd = -1;
static struct store *fuzz_store;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/*
 * Changes the input and then mends the checksums of tar headers, which stand at multiples of step: without that
 * little is reached.
 */
static inline size_t fuzz_mutate_tar(
	uint8_t *data, size_t size, size_t max_size, unsigned int seed, size_t step)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	for (size_t at = 0; seed % 8 && at + 512 <= size; at += step) {
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

static inline void fuzz_clean(void)
{
	directory_remove(AT_FDCWD, fuzz_path);
}

static inline void fuzz_check(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* Before the first import. */
static inline void fuzz_start(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	fuzz_check(mkdtemp(fuzz_path) != NULL, "no temporary directory");
	atexit(fuzz_clean);
	fuzz_dirfd = directory_open(AT_FDCWD, fuzz_path);
	fuzz_check(store_open(fuzz_dirfd, &fuzz_store, NULL) == 0, "no store");
}

static inline bool directory_is_empty(const char *name)
{
	_cleanup_closedir_ DIR *directory = fdopendir(directory_open(fuzz_dirfd, name));
	struct dirent *entry;

	fuzz_check(directory != NULL, "no directory");
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			return false;
	return true;
}

/* After an image was refused, or removed again. */
static inline void fuzz_check_empty(void)
{
	fuzz_check(directory_is_empty("tmp"), "something is left in tmp");
	fuzz_check(directory_is_empty("images"), "something is left in images");
	fuzz_check(directory_is_empty("trees"), "something is left in trees");
}

#endif
