// SPDX-License-Identifier: Apache-2.0
/*
 * test_guest_app.c: how long an app of a container has to end by itself, and that nothing of it is left to who has its place
 * next. To be linked with --wrap=guest_now_ms.
 */
#include "base/file.h"
#include "guest-init/app.h"
#include "guest-init/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PLACE 3

static uint64_t now_ms;

uint64_t __wrap_guest_now_ms(void);
uint64_t __wrap_guest_now_ms(void)
{
	return now_ms;
}

/* ---- time. The apps have no process, so that nobody is killed. */

struct fixture {
	struct guest guest;
	struct guest_app_config config;
	struct guest_app app;
	struct guest_pod pod;
};

static void pod_make(struct fixture *fixture)
{
	*fixture = (struct fixture){
		.guest = {.cgroup_fd = -1},
		.config = {.name = "main"},
		.app = {.config = &fixture->config, .cgroup_fd = -1, .cgroup_events_fd = -1},
		.pod = {.guest = &fixture->guest,
			.config = {.is_mutable = true},
			.apps = &fixture->app,
			.place_count = 1,
			.live_count = 1},
	};
	now_ms = 1000;
}

/* How long from now on until somebody is killed. */
static void expect_left(struct fixture *fixture, int ms)
{
	guest_pod_proceed(&fixture->pod);
	assert_int_equal(guest_pod_timeout_ms(&fixture->pod), ms);
}

static void app_that_is_told_to_stop_again_has_the_rest_of_its_time(void **state)
{
	struct fixture fixture;

	(void)state;
	pod_make(&fixture);
	guest_pod_stop_app(&fixture.pod, "main", WIRE_STOP_GRACE_MS);
	expect_left(&fixture, WIRE_STOP_GRACE_MS);
	now_ms += 4000;
	guest_pod_stop_app(&fixture.pod, "main", WIRE_STOP_GRACE_MS);
	expect_left(&fixture, WIRE_STOP_GRACE_MS - 4000);
	assert_false(fixture.app.is_hurried);
	guest_pod_stop_app(&fixture.pod, "main", 0);
	assert_true(fixture.app.is_hurried);
}

static void time_that_an_app_has_left_does_not_pass_in_a_pause(void **state)
{
	struct fixture fixture;

	(void)state;
	pod_make(&fixture);
	guest_pod_stop_app(&fixture.pod, "main", WIRE_STOP_GRACE_MS);
	for (int left = WIRE_STOP_GRACE_MS; left > 0; left -= 1000) {
		expect_left(&fixture, left);
		guest_pod_pause(&fixture.pod, true);
		expect_left(&fixture, -1);
		now_ms += 2ull * WIRE_STOP_GRACE_MS;
		/* Who is told twice stands still since the first. */
		guest_pod_pause(&fixture.pod, true);
		expect_left(&fixture, -1);
		guest_pod_pause(&fixture.pod, false);
		expect_left(&fixture, left);
		now_ms += 1000;
	}
	/* Now it is killed, and its handler would have as long. */
	expect_left(&fixture, WIRE_STOP_GRACE_MS);
}

static void time_that_a_pod_has_left_does_not_pass_in_a_pause(void **state)
{
	struct fixture fixture;

	(void)state;
	pod_make(&fixture);
	fixture.pod.config.is_mutable = false;
	guest_pod_stop(&fixture.pod, WIRE_STOP_GRACE_MS);
	guest_pod_pause(&fixture.pod, true);
	now_ms += 2ull * WIRE_STOP_GRACE_MS;
	expect_left(&fixture, -1);
	guest_pod_pause(&fixture.pod, false);
	expect_left(&fixture, WIRE_STOP_GRACE_MS);
}

/* ---- cgroups: directories, as elsewhere */

static void cgroup_is_removed_with_what_its_app_made_in_it(void **state)
{
	static const char *const paths[] = {"app-3/x/y/z", "app-3/x/other", "app-3/more"};
	char path[] = "/tmp/appc-guest-XXXXXX", deep[PATH_MAX] = "app-3";
	struct guest guest = {.outbox = {.fd = -1}};
	int cgroup_fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	guest.cgroup_fd = directory_open(AT_FDCWD, path);
	assert_true(guest.cgroup_fd >= 0);
	for (unsigned int round = 0; round < 2; round++) {
		cgroup_fd = guest_cgroup_create(&guest, PLACE);
		assert_true(cgroup_fd >= 0);
		for (size_t i = 0; round == 1 && i < ARRAY_SIZE(paths); i++)
			assert_int_equal(directory_create_path(guest.cgroup_fd, paths[i], 0755), 0);
		for (unsigned int i = 0; round == 1 && i < 60; i++)
			strcat(deep, "/d");
		assert_int_equal(directory_create_path(guest.cgroup_fd, deep, 0755), 0);
		guest_cgroup_destroy(&guest, PLACE, cgroup_fd);
		assert_int_equal(faccessat(guest.cgroup_fd, "app-3", F_OK, 0), -1);
	}
	close(guest.cgroup_fd);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(app_that_is_told_to_stop_again_has_the_rest_of_its_time),
		cmocka_unit_test(time_that_an_app_has_left_does_not_pass_in_a_pause),
		cmocka_unit_test(time_that_a_pod_has_left_does_not_pass_in_a_pause),
		cmocka_unit_test(cgroup_is_removed_with_what_its_app_made_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
