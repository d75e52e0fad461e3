// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_aci_import.c: any bytes as an image archive. What is refused must leave nothing behind; what
 * is accepted must render, or fail to, without harm, and be removable.
 */
#include "tests/fuzz/store.h"

#include <sys/mman.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_mutate_tar(data, size, max_size, seed, 512);
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
	fuzz_check_empty();
	return 0;
}
