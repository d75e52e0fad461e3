// SPDX-License-Identifier: Apache-2.0
/*
 * test_prepare.c: a prepared pod has all that its run needs: the same comes out of its directory as went
 * in, whatever has become of the store; and only one process gets to run it.
 */
#include "tests/unit/aci-builder.h"

#include "base/json.h"
#include "pod/configure.h"
#include "pod/prepare.h"

#include <unistd.h>

static const char manifest_text[] =
	"{\"acVersion\":\"0.8.11\",\n\n \"acKind\":\"PodManifest\", \"unknown\":1,\n"
	"\"apps\":[{\"name\":\"one\",\"image\":{\"name\":\"example.com/work\"},\"mounts\":"
	"[{\"volume\":\"link\",\"path\":\"/data\"}]},"
	"{\"name\":\"two\",\"image\":{\"name\":\"example.com/work\"},"
	"\"app\":{\"exec\":[\"/own\"],\"user\":\"7\",\"group\":\"8\"}}],"
	"\"volumes\":[{\"name\":\"link\",\"kind\":\"host\",\"source\":\"%s/link\"},"
	"{\"name\":\"own\",\"kind\":\"empty\",\"mode\":\"0123\"}]}";

struct prepared_pod {
	struct fixture *fixture;
	struct pods *pods;
	struct pod pod;
	char *text;
};

static void make_image(struct fixture *fixture, char *id)
{
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/work",
		",\"labels\":[{\"name\":\"os\",\"value\":\"linux\"},{\"name\":\"arch\",\"value\":"
		"\"amd64\"}],\"app\":{\"exec\":[\"/bin/work\"],\"user\":\"0\",\"group\":\"0\","
		"\"mountPoints\":[{\"name\":\"scratch\",\"path\":\"/scratch\"}]}");
	aci_directory(&aci, "rootfs", 0755);
	aci_file(&aci, "rootfs/file", 0644, "content");
	import_aci(fixture, &aci, id);
}

static struct resolved_pod *resolve_manifest(struct prepared_pod *p)
{
	const struct resolve_options options = {0};
	struct appc_pod_manifest *manifest;
	struct resolved_pod *resolved = NULL;
	struct error err;

	if (appc_pod_manifest_parse(p->text, strlen(p->text), &manifest, &err) < 0 ||
		pod_resolve(p->fixture->store, manifest, &options, &resolved, &err) < 0)
		fail_msg("%s", err.message);
	return resolved;
}

static const struct pod_prepared preparation = {.warm = true,
	.vcpus = 2,
	.memory = 256u << 20,
	.strict_isolators = true,
	.exposes_ports = true};

/* Prepares the pod of manifest_text, whose volume is a link to "first". */
static struct resolved_pod *prepare(struct prepared_pod *p, struct fixture *fixture, char *id)
{
	struct resolved_pod *resolved;
	struct error err;

	p->fixture = fixture;
	make_image(fixture, id);
	assert_int_equal(mkdirat(fixture->dirfd, "first", 0755), 0);
	assert_int_equal(symlinkat("first", fixture->dirfd, "link"), 0);
	assert_true(asprintf(&p->text, manifest_text, fixture->path) > 0);
	resolved = resolve_manifest(p);
	if (pods_open(fixture->dirfd, &p->pods, &err) < 0 ||
		pod_create(p->pods, &p->pod, &err) < 0 ||
		pod_prepare(&p->pod, resolved, p->fixture->store, p->text, strlen(p->text),
			&preparation, &err) < 0 ||
		pod_finish_prepare(&p->pod, &err) < 0)
		fail_msg("%s", err.message);
	return resolved;
}

static void prepared_pod_done(struct prepared_pod *p)
{
	pod_close(&p->pod);
	cleanup_pods(&p->pods);
	free(p->text);
}

static void assert_same_message(const struct resolved_pod *a, const struct resolved_pod *b)
{
	static const char uuid[] = "11111111-2222-4333-8444-555555555555";
	_cleanup_json_ json_t *first = resolved_pod_configure(a, NULL, uuid, "name", false);
	_cleanup_json_ json_t *second = resolved_pod_configure(b, NULL, uuid, "name", false);

	assert_int_equal(json_object_del(first, "entropy"), 0);
	assert_int_equal(json_object_del(second, "entropy"), 0);
	assert_true(json_equal(first, second));
}

static void a_prepared_pod_needs_no_image_any_more(void **state)
{
	_cleanup_(prepared_pod_done) struct prepared_pod p = {.pod = POD_NONE};
	_cleanup_resolved_pod_ struct resolved_pod *before = NULL, *after = NULL;
	const struct resolve_options options = {0};
	struct pod_prepared again;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err;

	before = prepare(&p, *state, id);
	assert_int_equal(store_remove(p.fixture->store, id, &err), 0);
	if (pod_prepared_resolve(&p.pod, p.fixture->store, &options, &after, &err) < 0)
		fail_msg("%s", err.message);
	assert_same_message(before, after);
	for (size_t i = 0; i < before->app_count; i++) {
		assert_string_equal(after->apps[i].tree_id, before->apps[i].tree_id);
		assert_string_equal(after->apps[i].image_id, before->apps[i].image_id);
	}
	assert_int_equal(after->volume_count, before->volume_count);
	for (size_t i = 0; i < before->volume_count; i++)
		assert_string_equal(after->volumes[i].name, before->volumes[i].name);

	assert_int_equal(pod_prepared_read(&p.pod, &again, &err), 0);
	assert_true(again.warm);
	assert_true(again.strict_isolators);
	assert_true(again.exposes_ports);
	assert_int_equal(again.vcpus, 2);
	assert_int_equal(again.memory, 256u << 20);
}

static void a_prepared_pods_tree_comes_back_from_its_image(void **state)
{
	_cleanup_(prepared_pod_done) struct prepared_pod p = {.pod = POD_NONE};
	_cleanup_resolved_pod_ struct resolved_pod *before = NULL, *after = NULL;
	const struct resolve_options options = {0};
	struct resolved_pod *none = NULL;
	char id[STORE_IMAGE_ID_SIZE], path[128];
	struct error err = {0};

	before = prepare(&p, *state, id);
	snprintf(path, sizeof(path), "trees/%s", before->apps[0].tree_id);
	assert_int_equal(directory_remove(p.fixture->dirfd, path), 0);
	if (pod_prepared_resolve(&p.pod, p.fixture->store, &options, &after, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(after->apps[0].tree_id, before->apps[0].tree_id);
	assert_int_equal(store_verify_tree(p.fixture->store, before->apps[0].tree_id, &err), 0);

	assert_int_equal(directory_remove(p.fixture->dirfd, path), 0);
	assert_int_equal(store_remove(p.fixture->store, id, &err), 0);
	assert_int_equal(
		pod_prepared_resolve(&p.pod, p.fixture->store, &options, &none, &err), -ENOENT);
	assert_non_null(strstr(err.message, before->apps[0].tree_id));
}

static void the_manifest_is_kept_byte_by_byte(void **state)
{
	_cleanup_(prepared_pod_done) struct prepared_pod p = {.pod = POD_NONE};
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	_cleanup_free_ char *text = NULL;
	char id[STORE_IMAGE_ID_SIZE];
	struct stat st;

	resolved = prepare(&p, *state, id);
	assert_int_equal(file_read(p.pod.fd, "manifest", 1 << 20, &text, NULL), 0);
	assert_string_equal(text, p.text);
	assert_int_equal(fstatat(p.pod.fd, "manifest", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(fstatat(p.pod.fd, "appsinfo/one/manifest", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(fstatat(p.pod.fd, "appsinfo/two", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
}

static void a_volumes_link_is_followed_once(void **state)
{
	_cleanup_(prepared_pod_done) struct prepared_pod p = {.pod = POD_NONE};
	_cleanup_resolved_pod_ struct resolved_pod *before = NULL, *after = NULL;
	const struct resolve_options options = {0};
	char id[STORE_IMAGE_ID_SIZE];
	struct resolved_pod *none;
	struct error err;
	int dirfd;

	before = prepare(&p, *state, id);
	dirfd = p.fixture->dirfd;
	assert_string_equal(strrchr(before->volumes[0].source, '/'), "/first");
	/* What the link is now is of no concern. */
	assert_int_equal(mkdirat(dirfd, "second", 0755), 0);
	assert_int_equal(unlinkat(dirfd, "link", 0), 0);
	assert_int_equal(symlinkat("second", dirfd, "link"), 0);
	if (pod_prepared_resolve(&p.pod, p.fixture->store, &options, &after, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(after->volumes[0].source, before->volumes[0].source);
	/* What it led to must still be what it was. */
	assert_int_equal(unlinkat(dirfd, "first", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("second", dirfd, "first"), 0);
	assert_int_equal(
		pod_prepared_resolve(&p.pod, p.fixture->store, &options, &none, &err), -ESTALE);
	assert_non_null(strstr(err.message, "has become a link"));
}

static void only_one_gets_to_run_it(void **state)
{
	_cleanup_(prepared_pod_done) struct prepared_pod p = {.pod = POD_NONE};
	_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
	_cleanup_pod_ struct pod first = POD_NONE, second = POD_NONE, late = POD_NONE;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err;

	resolved = prepare(&p, *state, id);
	assert_int_equal(pod_open(p.pods, p.pod.uuid, &first, &err), 0);
	assert_int_equal(pod_open(p.pods, p.pod.uuid, &second, &err), 0);
	assert_int_equal(first.state, POD_PREPARED);
	assert_int_equal(pod_take_prepared(&first, &err), 0);
	assert_int_equal(pod_take_prepared(&second, &err), -EBUSY);
	/* Taken, it is not removed either. */
	assert_int_equal(pod_remove(&second, &err), -EBUSY);
	assert_int_equal(pod_start(&first, &err), 0);
	assert_int_equal(pod_open(p.pods, p.pod.uuid, &late, &err), 0);
	assert_int_equal(late.state, POD_RUNNING);
	assert_int_equal(pod_take_prepared(&late, &err), -EINVAL);
	/* It is over before the second one has looked again. */
	pod_close(&first);
	assert_int_equal(pod_take_prepared(&second, &err), 0);
	assert_int_equal(pod_start(&second, &err), -ENOENT);
	assert_non_null(strstr(err.message, "is not prepared any more"));
}

static void a_damaged_preparation_is_an_error(void **state)
{
	static const struct {
		const char *name, *text;
	} cases[] = {
		{"trees", ""},
		{"trees", "deps-sha512-0\n"},
		{"pod", "{"},
		{"pod",
			"{\"acVersion\":\"0.8.11\",\"acKind\":\"PodManifest\",\"apps\":[{\"name\":"
			"\"one\",\"image\":{\"name\":\"a/b\"}}]}"},
		{"appsinfo/one/manifest", "[]"},
		{"prepared.json", "{\"vcpus\":-1}"},
		{"prepared.json", "{\"memory\":-1}"},
		{"prepared.json", "x"},
	};
	const struct resolve_options options = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(prepared_pod_done) struct prepared_pod p = {.pod = POD_NONE};
		_cleanup_resolved_pod_ struct resolved_pod *resolved = NULL;
		struct fixture *fixture = *state;
		struct resolved_pod *again = NULL;
		struct pod_prepared prepared;
		char id[STORE_IMAGE_ID_SIZE];
		struct error err = {0};
		int r;

		unlinkat(fixture->dirfd, "link", 0);
		unlinkat(fixture->dirfd, "first", AT_REMOVEDIR);
		resolved = prepare(&p, fixture, id);
		assert_int_equal(file_write_atomic(p.pod.fd, cases[i].name, cases[i].text,
					 strlen(cases[i].text), 0640),
			0);
		r = pod_prepared_read(&p.pod, &prepared, &err);
		if (r == 0)
			r = pod_prepared_resolve(&p.pod, fixture->store, &options, &again, &err);
		cleanup_resolved_pod(&again);
		if (r >= 0 || !*err.message)
			fail_msg("%s: %s: %s", cases[i].name, cases[i].text, err.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_prepared_pod_needs_no_image_any_more, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(a_prepared_pods_tree_comes_back_from_its_image,
			fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(
			the_manifest_is_kept_byte_by_byte, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(
			a_volumes_link_is_followed_once, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(
			only_one_gets_to_run_it, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(
			a_damaged_preparation_is_an_error, fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests_name("prepare", tests, NULL, NULL);
}
