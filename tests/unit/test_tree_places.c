// SPDX-License-Identifier: Apache-2.0
/*
 * test_tree_places.c: a guest that has links in its pod's tree, where directories were, leads the supervisor nowhere when
 * apps come and go. As root, in a mount namespace of its own.
 */
#include "base/file.h"
#include "pod/tree.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 2000

static bool can_mount;

struct fixture {
	char path[64];
	int dirfd;
	int tree, victim;
	struct pod pod;
	struct pod_tree_places places;
	struct resolved_volume volume;
	struct resolved_app app;
	struct resolved_pod volumes; /* has the volume alone, so that no image is needed */
	struct resolved_pod both;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char path[PATH_MAX];
	struct error err;

	if (!can_mount) {
		free(fixture);
		return 0;
	}
	assert_non_null(fixture);
	snprintf(fixture->path, sizeof(fixture->path), "/tmp/appc-tree-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->dirfd = directory_open(AT_FDCWD, fixture->path);
	assert_int_equal(directory_create_path(fixture->dirfd, "pod/volumes", 0755), 0);
	assert_int_equal(directory_create_path(fixture->dirfd, "tree", 0755), 0);
	assert_int_equal(directory_create_path(fixture->dirfd, "victim/data", 0755), 0);
	assert_int_equal(directory_create_path(fixture->dirfd, "victim/rootfs", 0755), 0);
	snprintf(path, sizeof(path), "%s/tree", fixture->path);
	assert_int_equal(mount("test", path, "tmpfs", 0, NULL), 0);
	fixture->tree = directory_open(fixture->dirfd, "tree");
	fixture->victim = directory_open(fixture->dirfd, "victim");
	assert_int_equal(directory_create_path(fixture->tree, "apps", 0755), 0);
	assert_int_equal(directory_create_path(fixture->tree, "volumes", 0755), 0);
	assert_int_equal(pod_tree_places_open(fixture->tree, &fixture->places), 0);
	fixture->pod = (struct pod){.fd = directory_open(fixture->dirfd, "pod"), .lock_fd = -1};
	fixture->volume = (struct resolved_volume){.name = "data",
		.kind = APPC_VOLUME_EMPTY,
		.mode = 0755,
		.uid = (int64_t)getuid(),
		.gid = (int64_t)getgid()};
	fixture->app.name = "web";
	fixture->volumes.volumes = fixture->both.volumes = &fixture->volume;
	fixture->volumes.volume_count = fixture->both.volume_count = 1;
	fixture->both.apps = &fixture->app;
	fixture->both.app_count = 1;
	if (pod_tree_prepare_app(&fixture->pod, &fixture->volumes, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(file_write_atomic(fixture->pod.fd, "volumes/data/own", "x", 1, 0644), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX];

	if (!can_mount)
		return 0;
	pod_tree_places_close(&fixture->places);
	close(fixture->tree);
	close(fixture->victim);
	close(fixture->pod.fd);
	snprintf(path, sizeof(path), "%s/tree", fixture->path);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	close(fixture->dirfd);
	assert_int_equal(directory_remove(AT_FDCWD, fixture->path), 0);
	free(fixture);
	return 0;
}

static void needs_mounts(void)
{
	if (!can_mount) {
		print_message("skipped: mounts are not possible here\n");
		skip();
	}
}

static bool exists(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_mount(int dirfd, const char *path)
{
	struct statx st;

	assert_int_equal(statx(dirfd, path, AT_SYMLINK_NOFOLLOW, 0, &st), 0);
	return st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* Nothing came into the victim, and nothing went. */
static void victim_is_unharmed(struct fixture *fixture)
{
	assert_false(is_mount(fixture->victim, "data"));
	assert_false(is_mount(fixture->victim, "rootfs"));
	assert_false(exists(fixture->victim, "data/own"));
	assert_false(exists(fixture->victim, "web"));
	assert_int_equal(unlinkat(fixture->victim, "data", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(fixture->victim, "rootfs", AT_REMOVEDIR), 0);
	assert_int_equal(directory_remove(fixture->dirfd, "victim"), 0);
}

static int mount_volume(struct fixture *fixture)
{
	unsigned int etc_files[1];
	struct error err;

	return pod_tree_mount_app(
		&fixture->pod, &fixture->volumes, NULL, false, &fixture->places, etc_files, &err);
}

/* name of the tree is moved aside, and a link to the victim takes its place. */
static void swap(struct fixture *fixture, const char *name)
{
	assert_int_equal(renameat(fixture->tree, name, fixture->tree, "aside"), 0);
	assert_int_equal(symlinkat("../victim", fixture->tree, name), 0);
}

static void a_volume_is_mounted_in_the_directory_that_was_there_before_the_guest(void **state)
{
	struct fixture *fixture = *state;

	needs_mounts();
	swap(fixture, "volumes");
	assert_int_equal(mount_volume(fixture), 0);
	assert_true(is_mount(fixture->tree, "aside/data"));
	assert_true(exists(fixture->tree, "aside/data/own"));
	pod_tree_unmount_app(&fixture->volumes, &fixture->places);
	assert_false(is_mount(fixture->tree, "aside/data"));
	pod_tree_remove_app(&fixture->volumes, &fixture->places);
	assert_false(exists(fixture->tree, "aside/data"));
	victim_is_unharmed(fixture);
}

static void nothing_is_mounted_through_a_link_in_its_place(void **state)
{
	struct fixture *fixture = *state;

	needs_mounts();
	assert_int_equal(symlinkat("../../victim/data", fixture->places.volumes, "data"), 0);
	assert_true(mount_volume(fixture) < 0);
	/* A file takes another way. */
	assert_int_equal(file_write_atomic(fixture->victim, "file", "kept", 4, 0644), 0);
	assert_int_equal(unlinkat(fixture->pod.fd, "volumes/data/own", 0), 0);
	assert_int_equal(unlinkat(fixture->pod.fd, "volumes/data", AT_REMOVEDIR), 0);
	assert_int_equal(file_write_atomic(fixture->pod.fd, "volumes/data", "mine", 4, 0644), 0);
	assert_int_equal(unlinkat(fixture->places.volumes, "data", 0), 0);
	assert_int_equal(symlinkat("../../victim/file", fixture->places.volumes, "data"), 0);
	assert_int_equal(mount_volume(fixture), -EEXIST);
	assert_false(is_mount(fixture->victim, "file"));
	victim_is_unharmed(fixture);
}

static void an_app_goes_and_leaves_what_links_lead_to(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX];

	needs_mounts();
	/* Mounts of somebody else's, as the host has many. */
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/victim/%s", fixture->path, i ? "data" : "rootfs");
		assert_int_equal(mount("test", path, "tmpfs", 0, NULL), 0);
	}
	assert_int_equal(symlinkat("../../victim/data", fixture->places.volumes, "data"), 0);
	assert_int_equal(symlinkat("../../victim", fixture->places.apps, "web"), 0);
	pod_tree_unmount_app(&fixture->both, &fixture->places);
	assert_true(is_mount(fixture->victim, "data"));
	assert_true(is_mount(fixture->victim, "rootfs"));
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/victim/%s", fixture->path, i ? "data" : "rootfs");
		assert_int_equal(umount2(path, 0), 0);
	}
	/* The links themselves are the pod's. */
	pod_tree_remove_app(&fixture->both, &fixture->places);
	assert_false(exists(fixture->tree, "volumes/data"));
	assert_false(exists(fixture->tree, "apps/web"));
	victim_is_unharmed(fixture);
}

static void a_link_in_the_place_of_a_root_file_system_is_the_pods_own(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX];

	needs_mounts();
	snprintf(path, sizeof(path), "%s/victim/rootfs", fixture->path);
	assert_int_equal(mount("test", path, "tmpfs", 0, NULL), 0);
	assert_int_equal(mkdirat(fixture->places.apps, "web", 0755), 0);
	assert_int_equal(
		symlinkat("../../../victim/rootfs", fixture->places.apps, "web/rootfs"), 0);
	pod_tree_unmount_app(&fixture->both, &fixture->places);
	assert_true(is_mount(fixture->victim, "rootfs"));
	assert_int_equal(umount2(path, 0), 0);
	pod_tree_remove_app(&fixture->both, &fixture->places);
	assert_false(exists(fixture->tree, "apps/web"));
	victim_is_unharmed(fixture);
}

static void the_source_of_a_volume_has_no_link_on_its_way(void **state)
{
	struct fixture *fixture = *state;
	char source[PATH_MAX];

	needs_mounts();
	/* As a path was, when the request was checked; then the pod wrote to a volume of its own. */
	assert_int_equal(symlinkat("../victim", fixture->dirfd, "pod/link"), 0);
	snprintf(source, sizeof(source), "%s/pod/link/data", fixture->path);
	fixture->volume.kind = APPC_VOLUME_HOST;
	fixture->volume.source = source;
	assert_int_equal(mount_volume(fixture), -ELOOP);
	assert_false(exists(fixture->tree, "volumes/data"));
	snprintf(source, sizeof(source), "%s/pod/volumes/data", fixture->path);
	assert_int_equal(mount_volume(fixture), 0);
	pod_tree_unmount_app(&fixture->volumes, &fixture->places);
	pod_tree_remove_app(&fixture->volumes, &fixture->places);
	victim_is_unharmed(fixture);
}

struct attacker {
	int tree, volumes, apps;
	atomic_bool is_told_to_end;
	atomic_uint swaps;
};

/* Whatever it does may fail: the supervisor does the same names at the same time. */
static void *attack(void *context)
{
	struct attacker *attacker = context;

	while (!attacker->is_told_to_end) {
		/* The directories of mounts... */
		if (renameat(attacker->tree, "volumes", attacker->tree, "aside") == 0) {
			symlinkat("../victim", attacker->tree, "volumes");
			unlinkat(attacker->tree, "volumes", 0);
			renameat(attacker->tree, "aside", attacker->tree, "volumes");
		}
		/* ... a mount point ... */
		renameat(attacker->volumes, "data", attacker->volumes, "moved");
		attacker->swaps += symlinkat("../../victim/data", attacker->volumes, "data") == 0;
		unlinkat(attacker->volumes, "data", 0);
		renameat(attacker->volumes, "moved", attacker->volumes, "data");
		/* ... and the place of an app. */
		symlinkat("../../victim", attacker->apps, "web");
		unlinkat(attacker->apps, "web", 0);
		mkdirat(attacker->apps, "web", 0755);
		symlinkat("../../../victim/rootfs", attacker->apps, "web/rootfs");
	}
	return NULL;
}

static void a_guest_that_swaps_names_all_the_time_gets_nowhere(void **state)
{
	struct fixture *fixture = *state;
	struct attacker attacker = {fixture->tree, fixture->places.volumes, fixture->places.apps,
		.is_told_to_end = false};
	unsigned int mounted = 0;
	pthread_t thread;

	needs_mounts();
	assert_int_equal(pthread_create(&thread, NULL, attack, &attacker), 0);
	for (unsigned int i = 0;
		i < ROUNDS || attacker.swaps < 100 || (mounted == 0 && i < 1000 * ROUNDS); i++) {
		mounted += mount_volume(fixture) == 0;
		pod_tree_unmount_app(&fixture->both, &fixture->places);
		pod_tree_remove_app(&fixture->both, &fixture->places);
		assert_false(is_mount(fixture->victim, "data"));
	}
	attacker.is_told_to_end = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	/* Both had their turns. */
	assert_true(mounted > 0);
	victim_is_unharmed(fixture);
}

#define TREE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(a_volume_is_mounted_in_the_directory_that_was_there_before_the_guest),
		TREE_TEST(nothing_is_mounted_through_a_link_in_its_place),
		TREE_TEST(an_app_goes_and_leaves_what_links_lead_to),
		TREE_TEST(a_link_in_the_place_of_a_root_file_system_is_the_pods_own),
		TREE_TEST(the_source_of_a_volume_has_no_link_on_its_way),
		TREE_TEST(a_guest_that_swaps_names_all_the_time_gets_nowhere),
	};
	struct error err;

	can_mount = geteuid() == 0 && pod_tree_enter_namespace(&err) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
