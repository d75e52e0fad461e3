// SPDX-License-Identifier: Apache-2.0
/*
 * generation.c: who this instance of a machine is.
 *
 * #syscalls: getrandom mmap
 * #syscalls:loop munmap
 */
#include "vmm/generation.h"

#include "vmm/layout.h"

#include <sys/mman.h>
#include <sys/random.h>

#define PAGE_SIZE 4096
/* The id, and after it the guest's own secret, of which its random generator makes the first key. */
#define GENERATION_SIZE (16 + 64)

int generation_create(struct vm *vm, struct generation *ret, struct error *err)
{
	void *page =
		mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return error_set_errno(err, -errno, "cannot map the machine's generation");
	ret->page = page;
	if (getrandom(page, GENERATION_SIZE, 0) != GENERATION_SIZE)
		return error_set(err, -EIO, "cannot get random bytes");
	return vm_add_memory(vm, LAYOUT_GENERATION, PAGE_SIZE, page, err);
}

int generation_announce(struct vm *vm, unsigned int devices, struct error *err)
{
	return vm_raise_line(vm, LAYOUT_GENERATION_LINE(devices), err);
}

void generation_destroy(struct generation *generation)
{
	if (generation->page)
		munmap(generation->page, PAGE_SIZE);
	generation->page = NULL;
}
