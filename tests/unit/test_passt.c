// SPDX-License-Identifier: Apache-2.0
/* test_passt.c: what passt is given, by a program of the tests that has its name. */
#include "pod/passt.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A length, an Ethernet header and ARP for IPv4. */
#define ANNOUNCEMENT_SIZE (4 + 14 + 28)

static void put_program(const char *directory, const char *text)
{
	char path[64];
	_cleanup_close_ int fd = -1;

	/* It runs as nobody. */
	assert_int_equal(chmod(directory, 0755), 0);
	snprintf(path, sizeof(path), "%s/passt", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, 0755), 0);
}

static void test_passt_knows_the_pod_before_the_pod_has_said_anything(void **state)
{
	static const uint8_t mac[ETH_ALEN] = {0x02, 1, 2, 3, 4, 5};
	static const char expected[ANNOUNCEMENT_SIZE + 1] =
		"\0\0\0\x2a"
		"\xff\xff\xff\xff\xff\xff" /* to all */
		"\x02\1\2\3\4\5"
		"\x08\x06"
		"\0\1\x08\0\6\4\0\1"
		"\x02\1\2\3\4\5\x0a\0\2\x0f" /* of it, from it */
		"\0\0\0\0\0\0\x0a\0\2\x0f";
	const struct child_cgroup cgroup = CHILD_CGROUP_NONE;
	const struct appc_pod_manifest manifest = {.port_count = 0};
	char directory[] = "/tmp/test-passt-XXXXXX", path[64];
	uint8_t got[2 * ANNOUNCEMENT_SIZE];
	struct passt passt;
	struct error error = {0};
	char *old = strdup(getenv("PATH"));

	(void)state;
	assert_non_null(mkdtemp(directory));
	put_program(directory, "#!/bin/sh\nPATH=/usr/bin:/bin\ntimeout 10 head -c 46 <&3 >&2\n");
	assert_int_equal(setenv("PATH", directory, 1), 0);
	assert_int_equal(passt_start(&manifest, mac, &cgroup, &passt, &error), 0);
	assert_int_equal(setenv("PATH", old, 1), 0);
	/* Its end. */
	assert_int_equal(read(passt.ready_fd, got, 1), 0);
	assert_int_equal(pread(passt.errors_fd, got, sizeof(got), 0), ANNOUNCEMENT_SIZE);
	assert_memory_equal(got, expected, ANNOUNCEMENT_SIZE);
	passt_stop(&passt);
	snprintf(path, sizeof(path), "%s/passt", directory);
	unlink(path);
	rmdir(directory);
	free(old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passt_knows_the_pod_before_the_pod_has_said_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
