// SPDX-License-Identifier: Apache-2.0
/* fuzz_checkpoint.c: the file that says what a checkpoint is of: refused, or all of it within bounds. */
#include "pod/checkpoint.h"
#include "vmm/machine.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pod_checkpoint_info info;

	if (pod_checkpoint_parse((const char *)data, size, &info) < 0)
		return 0;
	require(strlen(info.uuid) == POD_UUID_SIZE - 1);
	require(strspn(info.id, "0123456789abcdef") == sizeof(info.id) - 1);
	require(memchr(info.hostname, '\0', sizeof(info.hostname)));
	require(info.vcpus >= 1 && info.vcpus <= MACHINE_VCPUS_MAX);
	require(info.memory >= MACHINE_MEMORY_MIN && info.memory <= MACHINE_MEMORY_MAX);
	require((unsigned int)info.dax <= VIRTIO_FS_DAX_ALWAYS);
	return 0;
}
