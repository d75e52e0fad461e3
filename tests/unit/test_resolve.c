// SPDX-License-Identifier: Apache-2.0
/* test_resolve.c: what a pod manifest and its images come to: mounts, limits, machine, message. */
#include "tests/unit/aci-builder.h"

#include "base/json.h"
#include "pod/configure.h"
#include "pod/resolve.h"
#include "vmm/machine.h"
#include "wire/wire.h"

#define MIB (1ull << 20)

static const char uuid[] = "11111111-2222-4333-8444-555555555555";

/*
 * Imports an image "example.com/NAME" whose app section has these members after exec, user and
 * group; they begin with a comma, or are "". The image's id.
 */
static const char *make_image(struct fixture *fixture, const char *name, const char *app)
{
	static char id[STORE_IMAGE_ID_SIZE];
	char full_name[64], more[3000];
	struct aci aci;

	snprintf(full_name, sizeof(full_name), "example.com/%s", name);
	snprintf(more, sizeof(more),
		",\"labels\":[{\"name\":\"os\",\"value\":\"linux\"},{\"name\":\"arch\",\"value\":"
		"\"amd64\"}],\"app\":{\"exec\":[\"/bin/work\",\"--hard\"],\"user\":\"0\",\"group\":\"0\"%s}",
		app);
	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, full_name, more);
	aci_directory(&aci, "rootfs", 0755);
	aci_file(&aci, "rootfs/file", 0644, "content");
	import_aci(fixture, &aci, id);
	return id;
}

/* Resolves a manifest of these apps and further members. */
static int try_resolve(struct fixture *fixture, const struct resolve_options *options,
	struct resolved_pod **ret, struct error *err, const char *apps, const char *more)
{
	static const struct resolve_options defaults;
	struct appc_pod_manifest *manifest;
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			    "{\"acVersion\":\"0.8.11\",\"acKind\":\"PodManifest\",\"apps\":[%s]%s}",
			    apps, more) > 0);
	*err = (struct error){0};
	if (appc_pod_manifest_parse(text, strlen(text), &manifest, err) < 0)
		fail_msg("%s", err->message);
	return pod_resolve(fixture->store, manifest, options ? options : &defaults, ret, err);
}

static struct resolved_pod *resolve_with(struct fixture *fixture,
	const struct resolve_options *options, const char *apps, const char *more)
{
	struct resolved_pod *pod = NULL;
	struct error err;

	if (try_resolve(fixture, options, &pod, &err, apps, more) < 0)
		fail_msg("%s", err.message);
	return pod;
}

static struct resolved_pod *resolve(struct fixture *fixture, const char *apps, const char *more)
{
	return resolve_with(fixture, NULL, apps, more);
}

#define APP(name, image, more) \
	"{\"name\":\"" name "\",\"image\":{\"name\":\"example.com/" image "\"}" more "}"

static const struct resolved_mount *find_mount(const struct resolved_app *app, const char *target)
{
	for (size_t i = 0; i < app->mount_count; i++)
		if (!strcmp(app->mounts[i].target, target))
			return &app->mounts[i];
	fail_msg("app %s has no mount at %s", app->name, target);
	return NULL;
}

static const struct resolved_volume *find_volume(const struct resolved_pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->volume_count; i++)
		if (!strcmp(pod->volumes[i].name, name))
			return &pod->volumes[i];
	fail_msg("no volume %s", name);
	return NULL;
}

/* ---- images */

static void app_section_comes_from_the_image_or_the_pod(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	char id[STORE_IMAGE_ID_SIZE];

	strcpy(id, make_image(fixture, "work", ""));
	pod = resolve(fixture,
		APP("image", "work", "") "," APP("pod", "work",
			",\"app\":{\"exec\":[\"/own\"],\"user\":\"7\",\"group\":\"8\"}"),
		"");
	assert_int_equal(pod->app_count, 2);
	assert_string_equal(pod->apps[0].name, "image");
	assert_string_equal(pod->apps[0].image_id, id);
	assert_string_equal(pod->apps[0].app->exec.items[1], "--hard");
	assert_string_equal(pod->apps[1].app->exec.items[0], "/own");
	assert_int_equal(pod->apps[1].app->exec.count, 1);
	assert_string_equal(pod->apps[0].tree_id, pod->apps[1].tree_id);
	assert_string_equal(pod->manifest->apps[0].image_id, id);
	_cleanup_close_ int tree = store_open_tree(fixture->store, pod->apps[0].tree_id, NULL);

	assert_int_equal(faccessat(tree, "file", F_OK, 0), 0);
}

static void errors_name_the_app(void **state)
{
	struct fixture *fixture = *state;
	struct resolved_pod *pod;
	struct error err;
	struct aci aci;
	char id[STORE_IMAGE_ID_SIZE];

	make_image(fixture, "work", "");
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err, APP("lost", "missing", ""), ""), -ENOENT);
	assert_int_equal(strncmp(err.message, "app \"lost\": ", 12), 0);
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err,
			APP("one", "work", ",\"mounts\":[{\"volume\":\"none\",\"path\":\"/a\"}]"),
			""),
		-EINVAL);
	assert_string_equal(err.message, "app \"one\": could not find volume \"none\"");

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/bare",
		",\"labels\":[{\"name\":\"os\",\"value\":\"linux\"},{\"name\":\"arch\",\"value\":"
		"\"amd64\"}]");
	aci_directory(&aci, "rootfs", 0755);
	import_aci(fixture, &aci, id);
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err, APP("bare", "bare", ""), ""), -EINVAL);
	assert_non_null(strstr(err.message, "no app section"));

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/other",
		",\"labels\":[{\"name\":\"os\",\"value\":\"linux\"},{\"name\":\"arch\",\"value\":"
		"\"aarch64\"}]");
	aci_directory(&aci, "rootfs", 0755);
	import_aci(fixture, &aci, id);
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err, APP("other", "other", ""), ""), -ENOEXEC);
	assert_non_null(strstr(err.message, "aarch64"));
	assert_int_equal(try_resolve(fixture, NULL, &pod, &err, "", ""), -EINVAL);
}

static void nothing_is_rendered_by_who_must_not_wait(void **state)
{
	static const struct resolve_options hurried = {.renders_nothing = true};
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *first = NULL, *second = NULL;
	struct resolved_pod *refused = NULL;
	struct error err;

	make_image(fixture, "work", "");
	assert_int_equal(
		try_resolve(fixture, &hurried, &refused, &err, APP("a", "work", ""), ""), -ENOENT);
	assert_non_null(strstr(err.message, "is gone"));
	assert_int_equal(strncmp(err.message, "app \"a\": tree ", 14), 0);
	first = resolve(fixture, APP("a", "work", ""), "");
	second = resolve_with(fixture, &hurried, APP("a", "work", ""), "");
	assert_string_equal(first->apps[0].tree_id, second->apps[0].tree_id);
}

/* What guest-init would refuse, too (wire/wire.h). */
static void more_than_the_guest_takes_is_refused(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	struct resolved_pod *refused = NULL;
	char app[2000], many[1024];
	_cleanup_free_ char *path = malloc(PATH_MAX + 200), *gids = malloc(200 + 2 * 65537);
	struct error err;

	memset(many, 'a', sizeof(many));
	for (int length = 255; length <= 256; length++) {
		snprintf(app, sizeof(app),
			",\"ports\":[{\"name\":\"%.*s\",\"protocol\":\"tcp\",\"port\":80,\"socketActivated\":true}]",
			length, many);
		make_image(fixture, length == 255 ? "longest" : "longer", app);
	}
	pod = resolve(fixture, APP("a", "longest", ""), "");
	assert_int_equal(pod->apps[0].socket_count, 1);
	assert_int_equal(
		try_resolve(fixture, NULL, &refused, &err, APP("a", "longer", ""), ""), -E2BIG);
	assert_int_equal(strncmp(err.message, "app \"a\": socket-activated port \"aaa", 34), 0);
	assert_non_null(strstr(err.message, "its name is longer than 255 bytes"));

	snprintf(path, PATH_MAX + 200,
		"{\"name\":\"a\",\"image\":{\"name\":\"example.com/longest\"},\"app\":{\"exec\":[\"/x\"],"
		"\"user\":\"0\",\"group\":\"0\",\"workingDirectory\":\"/%0*d\"}}",
		PATH_MAX - 1, 0);
	assert_int_equal(try_resolve(fixture, NULL, &refused, &err, path, ""), -E2BIG);
	assert_non_null(strstr(err.message, "working directory"));

	strcpy(gids,
		"{\"name\":\"a\",\"image\":{\"name\":\"example.com/longest\"},\"app\":{\"exec\":[\"/x\"],"
		"\"user\":\"0\",\"group\":\"0\",\"supplementaryGIDs\":[1");
	for (size_t i = 0, at = strlen(gids); i < WIRE_GIDS_MAX; i++, at += 2)
		strcpy(gids + at, ",1");
	strcat(gids, "]}}");
	assert_int_equal(try_resolve(fixture, NULL, &refused, &err, gids, ""), -E2BIG);
	assert_non_null(strstr(err.message, "supplementary groups"));
}

/* ---- mounts */

static void volume_read_only_beats_the_mount_point(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	const struct resolved_app *app;

	make_image(fixture, "work",
		",\"mountPoints\":["
		"{\"name\":\"rw-says-volume\",\"path\":\"/a\",\"readOnly\":true},"
		"{\"name\":\"ro-says-volume\",\"path\":\"/b\",\"readOnly\":false},"
		"{\"name\":\"silent-ro\",\"path\":\"/c\",\"readOnly\":true},"
		"{\"name\":\"silent-rw\",\"path\":\"/d\"}]");
	pod = resolve(fixture, APP("one", "work", ""),
		",\"volumes\":["
		"{\"name\":\"rw-says-volume\",\"kind\":\"empty\",\"readOnly\":false},"
		"{\"name\":\"ro-says-volume\",\"kind\":\"empty\",\"readOnly\":true},"
		"{\"name\":\"silent-ro\",\"kind\":\"empty\"},"
		"{\"name\":\"silent-rw\",\"kind\":\"empty\"}]");
	app = &pod->apps[0];
	assert_int_equal(app->mount_count, 4);
	assert_false(find_mount(app, "/a")->read_only);
	assert_true(find_mount(app, "/b")->read_only);
	assert_true(find_mount(app, "/c")->read_only);
	assert_false(find_mount(app, "/d")->read_only);
	/* And a volume that nobody may write is read-only for the whole machine. */
	assert_false(find_volume(pod, "rw-says-volume")->read_only);
	assert_true(find_volume(pod, "ro-says-volume")->read_only);
	assert_true(find_volume(pod, "silent-ro")->read_only);
	assert_false(find_volume(pod, "silent-rw")->read_only);
}

static void the_same_precedence_holds_for_listed_mounts(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;

	make_image(fixture, "work",
		",\"mountPoints\":[{\"name\":\"data\",\"path\":\"/data\",\"readOnly\":true}]");
	pod = resolve(fixture,
		APP("one", "work",
			",\"mounts\":[{\"volume\":\"data\",\"path\":\"/data\"},"
			"{\"volume\":\"written\",\"path\":\"/written\"},"
			"{\"volume\":\"fixed\",\"path\":\"/fixed\"}]"),
		",\"volumes\":[{\"name\":\"data\",\"kind\":\"empty\"},"
		"{\"name\":\"written\",\"kind\":\"empty\"},"
		"{\"name\":\"fixed\",\"kind\":\"empty\",\"readOnly\":true}]");
	assert_int_equal(pod->apps[0].mount_count, 3);
	assert_true(find_mount(&pod->apps[0], "/data")->read_only);
	assert_false(find_mount(&pod->apps[0], "/written")->read_only);
	assert_true(find_mount(&pod->apps[0], "/fixed")->read_only);
}

static void one_writer_makes_a_shared_volume_writable(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;

	make_image(fixture, "reader",
		",\"mountPoints\":[{\"name\":\"data\",\"path\":\"/in\",\"readOnly\":true}]");
	make_image(fixture, "writer", ",\"mountPoints\":[{\"name\":\"data\",\"path\":\"/out\"}]");
	pod = resolve(fixture, APP("r", "reader", "") "," APP("w", "writer", ""),
		",\"volumes\":[{\"name\":\"data\",\"kind\":\"empty\"}]");
	assert_int_equal(pod->volume_count, 1);
	assert_true(find_mount(&pod->apps[0], "/in")->read_only);
	assert_false(find_mount(&pod->apps[1], "/out")->read_only);
	assert_string_equal(find_mount(&pod->apps[0], "/in")->volume, "data");
	assert_string_equal(find_mount(&pod->apps[1], "/out")->volume, "data");
	assert_false(pod->volumes[0].read_only);
}

static void mount_points_without_a_volume_get_an_empty_one_each(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	const struct resolved_mount *first, *second;

	make_image(fixture, "work", ",\"mountPoints\":[{\"name\":\"data\",\"path\":\"/data\"}]");
	pod = resolve(fixture, APP("one", "work", "") "," APP("two", "work", ""), "");
	first = find_mount(&pod->apps[0], "/data");
	second = find_mount(&pod->apps[1], "/data");
	assert_string_not_equal(first->volume, second->volume);
	assert_int_equal(find_volume(pod, first->volume)->kind, APPC_VOLUME_EMPTY);
	assert_int_equal(find_volume(pod, first->volume)->mode, 0755);
	assert_int_equal(pod->volume_count, 2);
	assert_true(file_name_is_safe(first->volume));
}

/* "web" and "data-x" must not meet "web-data" and "x", nor the pod's volume "web-data-x". */
static void implicit_volumes_meet_no_other_volume(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	const char *names[3];

	make_image(fixture, "first", ",\"mountPoints\":[{\"name\":\"data-x\",\"path\":\"/v\"}]");
	make_image(fixture, "second", ",\"mountPoints\":[{\"name\":\"x\",\"path\":\"/v\"}]");
	pod = resolve(fixture,
		APP("web", "first", "") "," APP("web-data", "second", "") "," APP("third", "second",
			",\"mounts\":[{\"volume\":\"web-data-x\",\"path\":\"/v\"}]"),
		",\"volumes\":[{\"name\":\"web-data-x\",\"kind\":\"empty\"}]");
	assert_int_equal(pod->volume_count, 3);
	for (size_t i = 0; i < 3; i++)
		names[i] = find_mount(&pod->apps[i], "/v")->volume;
	assert_string_not_equal(names[0], names[1]);
	assert_string_not_equal(names[0], names[2]);
	assert_string_not_equal(names[1], names[2]);
}

/* Nor do they meet the volume of that name that is the app's own: that one is read-only. */
static void mount_points_of_one_name_have_a_volume_each(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	const struct resolved_app *app;

	make_image(fixture, "work",
		",\"mountPoints\":[{\"name\":\"v\",\"path\":\"/a\"},{\"name\":\"v\",\"path\":\"/b\"},"
		"{\"name\":\"v\",\"path\":\"/c\"}]");
	pod = resolve(fixture,
		APP("one", "work",
			",\"mounts\":[{\"volume\":\"v\",\"path\":\"/own\",\"appVolume\":{\"name\":\"v\","
			"\"kind\":\"host\",\"source\":\"/\",\"readOnly\":true}}]"),
		"");
	app = &pod->apps[0];
	assert_int_equal(pod->volume_count, 4);
	assert_string_equal(find_mount(app, "/own")->volume, "one.v");
	assert_true(find_volume(pod, "one.v")->read_only);
	assert_string_equal(find_mount(app, "/a")->volume, "one-v");
	assert_string_equal(find_mount(app, "/b")->volume, "one.v.2");
	assert_string_equal(find_mount(app, "/c")->volume, "one.v.3");
}

#define OWN_TWICE(second)                                                                                    \
	",\"mounts\":[{\"volume\":\"d\",\"path\":\"/a\",\"appVolume\":{\"name\":\"d\",\"kind\":\"empty\"}}," \
	"{\"volume\":\"d\",\"path\":\"/b\",\"appVolume\":{\"name\":\"d\"," second "}}]"

static void volumes_of_an_apps_own_have_names_of_their_own(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *same = NULL;
	struct resolved_pod *pod;
	struct error err;

	make_image(fixture, "work", "");
	same = resolve(fixture, APP("one", "work", OWN_TWICE("\"kind\":\"empty\"")), "");
	assert_int_equal(same->volume_count, 1);
	assert_int_equal(same->apps[0].mount_count, 2);
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err,
			APP("one", "work", OWN_TWICE("\"kind\":\"host\",\"source\":\"/srv\"")), ""),
		-EINVAL);
	assert_string_equal(err.message, "app \"one\": two volumes of its own have the name \"d\"");
}

static void listed_mount_covers_the_mount_point_at_its_path(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;

	make_image(fixture, "work", ",\"mountPoints\":[{\"name\":\"data\",\"path\":\"/data/\"}]");
	pod = resolve(fixture,
		APP("one", "work", ",\"mounts\":[{\"volume\":\"other\",\"path\":\"//data\"}]"),
		",\"volumes\":[{\"name\":\"other\",\"kind\":\"empty\"}]");
	assert_int_equal(pod->apps[0].mount_count, 1);
	assert_string_equal(find_mount(&pod->apps[0], "/data")->volume, "other");
	assert_int_equal(pod->volume_count, 1);
}

static void first_of_two_mounts_at_a_path_is_used(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;

	make_image(fixture, "work", "");
	pod = resolve(fixture,
		APP("one", "work",
			",\"mounts\":[{\"volume\":\"first\",\"path\":\"/data\"},"
			"{\"volume\":\"second\",\"path\":\"/data/.//\"}]"),
		",\"volumes\":[{\"name\":\"first\",\"kind\":\"empty\"},"
		"{\"name\":\"second\",\"kind\":\"empty\"}]");
	assert_int_equal(pod->apps[0].mount_count, 1);
	assert_string_equal(pod->apps[0].mounts[0].volume, "first");
}

static void parents_are_mounted_before_their_children(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	static const char *const expected[] = {"/a", "/a-b", "/a/b", "/a/b/c", "/z"};

	make_image(fixture, "work", "");
	pod = resolve(fixture,
		APP("one", "work",
			",\"mounts\":[{\"volume\":\"v\",\"path\":\"/z\"},{\"volume\":\"v\",\"path\":\"/a/b/c\"},"
			"{\"volume\":\"v\",\"path\":\"/a/b\"},{\"volume\":\"v\",\"path\":\"/a-b\"},"
			"{\"volume\":\"v\",\"path\":\"/a\"}]"),
		",\"volumes\":[{\"name\":\"v\",\"kind\":\"empty\"}]");
	assert_int_equal(pod->apps[0].mount_count, ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_string_equal(pod->apps[0].mounts[i].target, expected[i]);
}

static void host_volume_follows_its_link_once(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	char more[256], expected[128];
	struct resolved_pod *none;
	struct error err;

	make_image(fixture, "work", "");
	assert_int_equal(mkdirat(fixture->dirfd, "source", 0755), 0);
	assert_int_equal(symlinkat("source", fixture->dirfd, "link"), 0);
	snprintf(more, sizeof(more),
		",\"volumes\":[{\"name\":\"host\",\"kind\":\"host\",\"source\":\"%s/link\"}]",
		fixture->path);
	pod = resolve(fixture,
		APP("one", "work", ",\"mounts\":[{\"volume\":\"host\",\"path\":\"/h\"}]"), more);
	snprintf(expected, sizeof(expected), "%s/source", fixture->path);
	assert_string_equal(find_volume(pod, "host")->source, expected);
	assert_true(find_volume(pod, "host")->recursive);
	snprintf(more, sizeof(more),
		",\"volumes\":[{\"name\":\"host\",\"kind\":\"host\",\"source\":\"%s/none\"}]",
		fixture->path);
	assert_int_equal(
		try_resolve(fixture, NULL, &none, &err, APP("one", "work", ""), more), -ENOENT);
	assert_non_null(strstr(err.message, "volume \"host\""));
}

/* Two volumes, of directories of the fixture. */
static int resolve_two_volumes(struct fixture *fixture, const char *data, bool data_read_only,
	const char *other, struct error *err)
{
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	char more[512];

	snprintf(more, sizeof(more),
		",\"volumes\":[{\"name\":\"data\",\"kind\":\"host\",\"source\":\"%s/%s\",\"readOnly\":%s},"
		"{\"name\":\"other\",\"kind\":\"host\",\"source\":\"%s/%s\"}]",
		fixture->path, data, data_read_only ? "true" : "false", fixture->path, other);
	return try_resolve(fixture, NULL, &pod, err,
		APP("one", "work",
			",\"mounts\":[{\"volume\":\"data\",\"path\":\"/d\"},{\"volume\":\"other\",\"path\":\"/o\"}]"),
		more);
}

static void a_source_does_not_lead_through_a_link_that_the_pod_can_make(void **state)
{
	static const struct {
		const char *data, *other;
		bool read_only;
		int expected;
	} cases[] = {
		{"data", "data/good", false, 0},
		{"data", "data/root", false, -ELOOP},
		{"data", "data/root/etc", false, -ELOOP},
		{"data", "data/good/../root", false, -ELOOP},
		/* What the pod only reads it has not made. */
		{"data", "data/safe", true, 0},
		{"data", "data/safe", false, -ELOOP},
		/* The links of who set up the host. */
		{"alias", "alias/good", false, 0},
		{"alias", "data/root", false, -ELOOP},
		{"data", "alias/root", false, -ELOOP},
		{"data", "way", false, -ELOOP},
		{"data/good", "data/safe", false, 0},
		/* A volume that is the whole host has all links in it. */
		{"data/good", "data/root", false, -ELOOP},
	};
	struct fixture *fixture = *state;

	make_image(fixture, "work", "");
	assert_int_equal(mkdirat(fixture->dirfd, "data", 0755), 0);
	assert_int_equal(mkdirat(fixture->dirfd, "data/good", 0755), 0);
	assert_int_equal(mkdirat(fixture->dirfd, "data-2", 0755), 0);
	assert_int_equal(symlinkat("/", fixture->dirfd, "data/root"), 0);
	assert_int_equal(symlinkat("../data-2", fixture->dirfd, "data/safe"), 0);
	assert_int_equal(symlinkat("./data", fixture->dirfd, "alias"), 0);
	assert_int_equal(symlinkat("data-2/../data//root/./etc", fixture->dirfd, "way"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = {0};
		int r = resolve_two_volumes(
			fixture, cases[i].data, cases[i].read_only, cases[i].other, &err);

		if (r != cases[i].expected)
			fail_msg("%s, %s: %d %s", cases[i].data, cases[i].other, r, err.message);
		if (r < 0)
			assert_non_null(
				strstr(err.message, "which the pod can write to as volume"));
	}
}

/* ---- limits and the machine */

#define ISOLATORS(list) ",\"isolators\":[" list "]"
#define MEMORY(limit)   "{\"name\":\"resource/memory\",\"value\":{\"limit\":\"" limit "\"}}"
#define CPU(request, limit)                                                                    \
	"{\"name\":\"resource/cpu\",\"value\":{\"request\":\"" request "\",\"limit\":\"" limit \
	"\"}}"
#define APP_SECTION(more) ",\"app\":{\"exec\":[\"/x\"],\"user\":\"0\",\"group\":\"0\"" more "}"

static uint64_t machine_memory(struct fixture *fixture, const struct resolve_options *options,
	const char *apps, const char *more)
{
	_cleanup_resolved_pod_ struct resolved_pod *pod =
		resolve_with(fixture, options, apps, more);

	assert_int_equal(pod->memory % (2 * MIB), 0);
	return pod->memory / MIB;
}

static void memory_of_the_machine_is_the_sum_of_the_limits_and_more(void **state)
{
	struct fixture *fixture = *state;
	const struct resolve_options fixed = {.memory = 777 * MIB};
	uint64_t overhead;

	make_image(fixture, "work", "");
	overhead = machine_memory(fixture, NULL,
			   APP("a", "work", APP_SECTION(ISOLATORS(MEMORY("1Gi")))), "") -
		1024;
	assert_in_range(overhead, 16, 256);
	assert_int_equal(machine_memory(fixture, NULL,
				 APP("a", "work", APP_SECTION(ISOLATORS(MEMORY("1Gi")))) "," APP(
					 "b", "work", APP_SECTION(ISOLATORS(MEMORY("512Mi")))),
				 ""),
		1536 + overhead);
	/* A limit of the pod takes the place of the sum. */
	assert_int_equal(machine_memory(fixture, NULL,
				 APP("a", "work", APP_SECTION(ISOLATORS(MEMORY("1Gi")))),
				 ISOLATORS(MEMORY("256Mi"))),
		256 + overhead);
	/* There is a floor, and apps without a limit need room as well. */
	assert_int_equal(machine_memory(fixture, NULL,
				 APP("a", "work", APP_SECTION(ISOLATORS(MEMORY("1Mi")))), ""),
		128);
	assert_true(machine_memory(fixture, NULL,
			    APP("a", "work", "") "," APP("b", "work", "") "," APP("c", "work", ""),
			    "") > machine_memory(fixture, NULL, APP("a", "work", ""), ""));
	/* The command line has the last word, in whole grains. */
	assert_int_equal(machine_memory(fixture, &fixed, APP("a", "work", ""), ""), 778);
}

static void memory_that_no_machine_has_is_refused(void **state)
{
	struct fixture *fixture = *state;
	const struct resolve_options small = {.memory = MACHINE_MEMORY_MIN - 2 * MIB};
	const struct resolve_options large = {.memory = MACHINE_MEMORY_MAX + 2 * MIB};
	struct resolved_pod *pod;
	struct error err;

	make_image(fixture, "work", "");
	assert_int_equal(
		try_resolve(fixture, &small, &pod, &err, APP("a", "work", ""), ""), -ERANGE);
	assert_int_equal(
		try_resolve(fixture, &large, &pod, &err, APP("a", "work", ""), ""), -ERANGE);
	/* Sums beyond 64 bits are caught before. */
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err,
			APP("a", "work",
				APP_SECTION(ISOLATORS(MEMORY("9223372036854775807")))) "," APP("b",
				"work",
				APP_SECTION(ISOLATORS(MEMORY("9223372036854775807")))) "," APP("c",
				"work", APP_SECTION(ISOLATORS(MEMORY("9223372036854775807")))),
			""),
		-ERANGE);
	assert_int_equal(try_resolve(fixture, NULL, &pod, &err,
				 APP("a", "work", APP_SECTION(ISOLATORS(MEMORY("100")))), ""),
		-EINVAL);
	assert_non_null(strstr(err.message, "app \"a\": memory limit of 100 bytes too low"));
}

static unsigned int machine_vcpus(struct fixture *fixture, const struct resolve_options *options,
	const char *apps, const char *more)
{
	_cleanup_resolved_pod_ struct resolved_pod *pod =
		resolve_with(fixture, options, apps, more);

	return pod->vcpus;
}

static void vcpus_are_the_sum_of_the_limits_rounded_up(void **state)
{
	struct fixture *fixture = *state;
	const struct resolve_options fixed = {.vcpus = 5};
	long host = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int most = host > MACHINE_VCPUS_MAX ? MACHINE_VCPUS_MAX : (unsigned int)host;

	make_image(fixture, "work", "");
	assert_int_equal(machine_vcpus(fixture, NULL, APP("a", "work", ""), ""), 1);
	assert_int_equal(
		machine_vcpus(fixture, NULL,
			APP("a", "work", APP_SECTION(ISOLATORS(CPU("100m", "500m")))) "," APP(
				"b", "work", APP_SECTION(ISOLATORS(CPU("100m", "500m")))),
			""),
		1);
	assert_int_equal(
		machine_vcpus(fixture, NULL,
			APP("a", "work", APP_SECTION(ISOLATORS(CPU("100m", "501m")))) "," APP(
				"b", "work", APP_SECTION(ISOLATORS(CPU("100m", "500m")))),
			""),
		most < 2 ? most : 2);
	/* Never more than the host has. */
	assert_int_equal(machine_vcpus(fixture, NULL,
				 APP("a", "work", APP_SECTION(ISOLATORS(CPU("1", "1000")))), ""),
		most);
	assert_int_equal(machine_vcpus(fixture, NULL,
				 APP("a", "work", APP_SECTION(ISOLATORS(CPU("1", "1000")))),
				 ISOLATORS(CPU("1", "1"))),
		1);
	assert_int_equal(machine_vcpus(fixture, &fixed, APP("a", "work", ""), ""), 5);
}

static void an_omitted_request_is_the_limit(void **state)
{
	struct fixture *fixture = *state;
	const char both[] =
		MEMORY("64Mi") ",{\"name\":\"resource/cpu\",\"value\":{\"limit\":\"1500m\"}}";
	char app[1024];
	struct resolved_pod *pod;
	uint64_t memory;

	make_image(fixture, "work", "");
	snprintf(app, sizeof(app), APP("a", "work", APP_SECTION(ISOLATORS("%s"))), both);
	pod = resolve(fixture, app, "");
	assert_int_equal(pod->apps[0].memory_max, 64 * MIB);
	assert_int_equal(pod->apps[0].memory_low, 64 * MIB);
	assert_true(pod->apps[0].has_cpu_weight);
	assert_int_equal(pod->apps[0].cpu_weight, 150);
	memory = pod->memory;
	resolved_pod_free(pod);

	/* As the pod bounds it, and shares are the weight all the same. */
	snprintf(app, sizeof(app),
		APP("a", "work",
			APP_SECTION(
				ISOLATORS("%s,{\"name\":\"os/linux/cpu-shares\",\"value\":2}"))),
		both);
	pod = resolve(fixture, app, ISOLATORS(MEMORY("32Mi")));
	assert_int_equal(pod->apps[0].memory_max, 32 * MIB);
	assert_int_equal(pod->apps[0].memory_low, 32 * MIB);
	assert_int_equal(pod->apps[0].cpu_weight, 1);
	resolved_pod_free(pod);

	/* One that is there is what counts, 0 too, and changes nothing of the machine. */
	pod = resolve(fixture,
		APP("a", "work",
			APP_SECTION(ISOLATORS(
				"{\"name\":\"resource/memory\",\"value\":"
				"{\"request\":\"0\",\"limit\":\"64Mi\"}}," CPU("0", "1500m")))),
		"");
	assert_int_equal(pod->apps[0].memory_low, 0);
	assert_false(pod->apps[0].has_cpu_weight);
	assert_int_equal(pod->memory, memory);
	resolved_pod_free(pod);

	/* Nothing of both is nothing. */
	pod = resolve(fixture,
		APP("a", "work",
			APP_SECTION(ISOLATORS("{\"name\":\"resource/memory\",\"value\":{}},"
					      "{\"name\":\"resource/cpu\",\"value\":{}}"))),
		"");
	assert_int_equal(pod->apps[0].memory_max, -1);
	assert_int_equal(pod->apps[0].memory_low, -1);
	assert_false(pod->apps[0].has_cpu_weight);
	resolved_pod_free(pod);
}

static void isolators_that_cannot_be_enforced_are_errors_when_strict(void **state)
{
	struct fixture *fixture = *state;
	const struct resolve_options strict = {.strict_isolators = true, .is_container = true},
				     machine = {.strict_isolators = true};
	const char app[] = APP("a", "work",
		APP_SECTION(
			ISOLATORS("{\"name\":\"resource/network-bandwidth\",\"value\":{\"default\":"
				  "true,\"limit\":\"1M\"}}")));
	struct resolved_pod *pod = NULL;
	struct error err;

	make_image(fixture, "work", "");
	assert_int_equal(try_resolve(fixture, &strict, &pod, &err, app, ""), -ENOTSUP);
	assert_non_null(strstr(err.message, "resource/network-bandwidth"));
	/* The network device of a machine can. */
	assert_int_equal(try_resolve(fixture, &machine, &pod, &err, app, ""), 0);
	assert_int_equal(pod->network_bandwidth, 1000000);
	resolved_pod_free(pod);
}

static void each_isolator_is_reported_with_its_fate(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	_cleanup_json_ json_t *expected = NULL;

	make_image(fixture, "work", "");
	pod = resolve(fixture,
		APP("a", "work",
			",\"app\":{\"exec\":[\"/x\"],\"user\":\"9\",\"group\":\"0\"" ISOLATORS(CPU(
				"1",
				"2000m") ",{\"name\":\"os/linux/cpu-shares\",\"value\":262144},"
					 "{\"name\":\"os/linux/no-new-privileges\",\"value\":false},"
					 "{\"name\":\"os/linux/seccomp-remove-set\",\"value\":{\"set\":"
					 "[\"stat\",\"no_such_call\"]}},"
					 "{\"name\":\"resource/network-bandwidth\",\"value\":"
					 "{\"default\":true,\"limit\":\"1M\"}},"
					 "{\"name\":\"os/unix/sysctl\",\"value\":{\"a\":\"1\"}},"
					 "{\"name\":\"example.com/other\",\"value\":1},"
					 "{\"name\":\"example.com/other\",\"value\":2}") "}") "," APP("b",
			"work", ""),
		ISOLATORS(CPU("1", "1000m") ",{\"name\":\"example.com/more\",\"value\":1}"));
	expected = json_loads(
		"{\"pod\":{\"enforced\":[\"resource/cpu\"],\"ignored\":[\"example.com/more\"],"
		"\"modified\":[]},\"apps\":{\"a\":{\"enforced\":[\"os/linux/cpu-shares\"],\"ignored\":"
		"[\"resource/network-bandwidth\",\"os/unix/sysctl\",\"example.com/other\"],\"modified\":"
		"[\"resource/cpu\",\"os/linux/no-new-privileges\",\"os/linux/seccomp-remove-set\"]},"
		"\"b\":{\"enforced\":[],\"ignored\":[],\"modified\":[]}}}",
		0, NULL);
	assert_non_null(expected);
	if (!json_equal(pod->isolators, expected))
		fail_msg("%s", json_dumps(pod->isolators, 0));
	/* The pod's limit bounds the app's; shares are the weight, whatever is requested. */
	assert_int_equal(pod->apps[0].cpu_millis, 1000);
	assert_int_equal(pod->apps[0].cpu_weight, 10000);
	assert_true(pod->apps[1].seccomp.is_default);
}

static const char *member(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text)
		fail_msg("no string \"%s\"", key);
	return text;
}

static json_int_t number(json_t *object, const char *key)
{
	assert_true(json_is_integer(json_object_get(object, key)));
	return json_integer_value(json_object_get(object, key));
}

static void limits_of_a_pod_are_told_to_the_guest_and_requests_hold_nothing(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL, *free_pod = NULL;
	_cleanup_json_ json_t *message = NULL, *other = NULL;
	struct resolved_pod *refused = NULL;
	struct error err;
	json_t *app, *report;

	make_image(fixture, "work", "");
	pod = resolve(fixture,
		APP("a", "work", "") "," APP("b", "work", APP_SECTION(ISOLATORS(CPU("1", "2")))),
		ISOLATORS(MEMORY("16Mi") "," CPU("100m", "500m")));
	message = resolved_pod_configure(pod, NULL, uuid, "host", false);
	assert_int_equal(number(message, "memory_max"), 16 * MIB);
	assert_int_equal(number(message, "cpu_max_millis"), 500);
	app = json_array_get(json_object_get(message, "apps"), 0);
	assert_null(json_object_get(app, "memory_max"));
	assert_null(json_object_get(app, "cpu_max_millis"));
	app = json_array_get(json_object_get(message, "apps"), 1);
	assert_int_equal(number(app, "cpu_max_millis"), 500);
	report = json_object_get(pod->isolators, "pod");
	assert_int_equal(json_array_size(json_object_get(report, "enforced")), 2);

	free_pod = resolve(fixture, APP("a", "work", ""),
		ISOLATORS("{\"name\":\"resource/memory\",\"value\":{\"request\":\"1Gi\"}},"
			  "{\"name\":\"resource/cpu\",\"value\":{\"request\":\"1\"}}"));
	other = resolved_pod_configure(free_pod, NULL, uuid, "host", false);
	assert_null(json_object_get(other, "memory_max"));
	assert_null(json_object_get(other, "cpu_max_millis"));
	report = json_object_get(free_pod->isolators, "pod");
	assert_int_equal(json_array_size(json_object_get(report, "enforced")), 0);
	assert_int_equal(json_array_size(json_object_get(report, "ignored")), 2);

	assert_int_equal(try_resolve(fixture, NULL, &refused, &err, APP("a", "work", ""),
				 ISOLATORS(MEMORY("100"))),
		-EINVAL);
	assert_non_null(strstr(err.message, "the pod's memory limit of 100 bytes is too low"));
}

static void a_kernel_parameter_that_is_no_name_is_an_error_that_quotes_it(void **state)
{
	static const char *const names[] = {"../../etc/x", "a..b", "/a", ".a", "a/../b", ""};
	struct fixture *fixture = *state;

	make_image(fixture, "work", "");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *isolators = NULL, *expected = NULL;
		struct resolved_pod *pod = NULL;
		struct error err;

		assert_true(asprintf(&isolators,
				    ",\"isolators\":[{\"name\":\"os/unix/sysctl\",\"value\":"
				    "{\"kernel.msgmax\":\"1\",\"%s\":\"1\"}}]",
				    names[i]) > 0);
		assert_true(asprintf(&expected,
				    "isolator \"os/unix/sysctl\": \"%s\" is not the name of a "
				    "kernel parameter",
				    names[i]) > 0);
		assert_int_equal(
			try_resolve(fixture, NULL, &pod, &err, APP("a", "work", ""), isolators),
			-EINVAL);
		assert_non_null(strstr(err.message, expected));
	}
}

static void walls_that_are_switched_off_are_not_there(void **state)
{
	struct fixture *fixture = *state;
	const struct resolve_options strict = {.strict_isolators = true},
				     open = {.strict_isolators = true,
					     .insecure_seccomp = true,
					     .insecure_capabilities = true,
					     .insecure_paths = true};
	const char app[] = APP("a", "work",
		APP_SECTION(
			ISOLATORS("{\"name\":\"os/linux/seccomp-retain-set\",\"value\":{\"set\":"
				  "[\"read\"]}},{\"name\":\"os/linux/capabilities-retain-set\","
				  "\"value\":{\"set\":[\"CAP_KILL\"]}}")));
	struct resolved_pod *pod;
	json_t *report;

	make_image(fixture, "work", "");
	pod = resolve_with(fixture, &strict, app, "");
	assert_non_null(pod->apps[0].seccomp.program);
	assert_int_equal(pod->apps[0].capabilities, 1 << 5);
	assert_true(pod->apps[0].protect_paths);
	resolved_pod_free(pod);

	pod = resolve_with(fixture, &open, app, "");
	assert_null(pod->apps[0].seccomp.program);
	assert_int_equal(pod->apps[0].capabilities, UINT64_MAX);
	assert_false(pod->apps[0].protect_paths);
	report = json_object_get(json_object_get(pod->isolators, "apps"), "a");
	assert_int_equal(json_array_size(json_object_get(report, "ignored")), 2);
	resolved_pod_free(pod);
}

static void apparmor_profile_that_is_not_there_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct resolved_pod *pod = NULL;
	struct error err;

	make_image(fixture, "work", "");
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err,
			APP("a", "work",
				APP_SECTION(ISOLATORS("{\"name\":\"os/linux/apparmor-profile\","
						      "\"value\":{\"profile\":\"p\"}}"))),
			""),
		-ENOTSUP);
	assert_non_null(strstr(err.message, "os/linux/apparmor-profile"));
}

/* ---- sockets */

static size_t count_in_environment(json_t *app, const char *text)
{
	json_t *item;
	size_t index, count = 0;

	json_array_foreach (json_object_get(app, "environment"), index, item)
		count += !strncmp(json_string_value(item), text, strlen(text));
	return count;
}

#define NOTIFIES(value)                                                                              \
	"\"annotations\":[{\"name\":\"appc.io/executor/supports-systemd-notify\",\"value\":\"" value \
	"\"}]"

static void readiness_is_the_apps_to_tell_where_an_annotation_says_so(void **state)
{
	static const bool expected[] = {true, false, false, true};
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	_cleanup_json_ json_t *message = NULL;

	make_image(fixture, "plain", "");
	make_image(fixture, "tells", "}," NOTIFIES("true") ",\"more\":{\"x\":1");
	/* What the pod says of the app counts before what its image says. */
	pod = resolve(fixture,
		APP("a", "tells", "") "," APP("b", "plain", "") "," APP(
			"c", "tells", "," NOTIFIES("false")) "," APP("d", "plain",
			"," NOTIFIES("true") APP_SECTION(
				",\"environment\":[{\"name\":\"NOTIFY_SOCKET\",\"value\":\"/x\"}]")),
		"");
	message = resolved_pod_configure(pod, NULL, uuid, "host", false);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		json_t *app = json_array_get(json_object_get(message, "apps"), i);

		assert_int_equal(pod->apps[i].notifies, expected[i]);
		assert_int_equal(json_is_true(json_object_get(app, "notifies")), expected[i]);
		assert_int_equal(count_in_environment(app, "NOTIFY_SOCKET="), 0);
	}
}

static void socket_activated_ports_listen_where_the_pod_exposes_them(void **state)
{
	struct fixture *fixture = *state;
	const char ports[] =
		",\"ports\":[{\"name\":\"web\",\"protocol\":\"tcp\",\"port\":80,\"socketActivated\":true},"
		"{\"name\":\"plain\",\"protocol\":\"tcp\",\"port\":81},"
		"{\"name\":\"dns\",\"protocol\":\"udp\",\"port\":53,\"socketActivated\":true}]";
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	_cleanup_json_ json_t *message = NULL;
	struct resolved_pod *refused = NULL;
	struct error err;
	json_t *sockets;

	make_image(fixture, "work", ports);
	pod = resolve(
		fixture, APP("a", "work", ""), ",\"ports\":[{\"name\":\"web\",\"hostPort\":8080}]");
	message = resolved_pod_configure(pod, NULL, uuid, "host", false);
	sockets = json_object_get(json_array_get(json_object_get(message, "apps"), 0), "sockets");
	assert_int_equal(json_array_size(sockets), 2);
	assert_string_equal(member(json_array_get(sockets, 0), "name"), "web");
	assert_int_equal(number(json_array_get(sockets, 0), "port"), 8080);
	assert_string_equal(member(json_array_get(sockets, 1), "protocol"), "udp");
	assert_int_equal(number(json_array_get(sockets, 1), "port"), 53);

	make_image(fixture, "odd",
		",\"ports\":[{\"name\":\"p\",\"protocol\":\"sctp\",\"port\":80,\"socketActivated\":true}]");
	assert_int_equal(
		try_resolve(fixture, NULL, &refused, &err, APP("a", "odd", ""), ""), -EINVAL);
	assert_non_null(strstr(err.message, "unrecognized protocol: sctp"));
}

static void each_port_of_a_socket_activated_range_has_a_socket(void **state)
{
	struct fixture *fixture = *state;
	const char ports[] = ",\"ports\":[{\"name\":\"range\",\"protocol\":\"tcp\",\"port\":80,"
			     "\"count\":3,\"socketActivated\":true}]";
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	_cleanup_json_ json_t *message = NULL;
	struct resolved_pod *refused = NULL;
	struct error err;
	json_t *sockets;

	make_image(fixture, "range", ports);
	pod = resolve(fixture, APP("a", "range", ""),
		",\"ports\":[{\"name\":\"range\",\"hostPort\":65533}]");
	message = resolved_pod_configure(pod, NULL, uuid, "host", false);
	sockets = json_object_get(json_array_get(json_object_get(message, "apps"), 0), "sockets");
	assert_int_equal(json_array_size(sockets), 3);
	for (size_t i = 0; i < 3; i++) {
		json_t *socket = json_array_get(sockets, i);

		assert_string_equal(member(socket, "name"), "range");
		assert_int_equal(number(socket, "port"), 65533 + (json_int_t)i);
	}

	assert_int_equal(try_resolve(fixture, NULL, &refused, &err, APP("a", "range", ""),
				 ",\"ports\":[{\"name\":\"range\",\"hostPort\":65534}]"),
		-ERANGE);
	assert_non_null(strstr(err.message, "port \"range\": 3 ports from 65534 on"));

	make_image(fixture, "many",
		",\"ports\":[{\"name\":\"p\",\"protocol\":\"udp\",\"port\":1000,\"count\":65,"
		"\"socketActivated\":true}]");
	assert_int_equal(
		try_resolve(fixture, NULL, &refused, &err, APP("a", "many", ""), ""), -E2BIG);
	assert_non_null(strstr(err.message, "port \"p\": more than 64"));
}

static void texts_of_the_pods_own_etc_files_travel_with_it(void **state)
{
	struct fixture *fixture = *state;
	const struct resolve_options options = {
		.hosts_entries = "10.0.0.1 other\n", .resolv_conf = "nameserver 10.0.0.2\n"};
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	_cleanup_json_ json_t *message = NULL;

	make_image(fixture, "work", "");
	pod = resolve_with(fixture, &options, APP("a", "work", ""), "");
	message = resolved_pod_configure(pod, NULL, uuid, "host", false);
	assert_string_equal(member(message, "hosts_entries"), options.hosts_entries);
	assert_string_equal(member(message, "resolv_conf"), options.resolv_conf);
}

static void volume_from_a_device_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct resolved_pod *pod = NULL;
	struct error err;

	make_image(fixture, "work", "");
	assert_int_equal(
		try_resolve(fixture, NULL, &pod, &err, APP("a", "work", ""),
			",\"volumes\":[{\"name\":\"v\",\"kind\":\"host\",\"source\":\"/dev/zero\"}]"),
		-ENODEV);
	assert_non_null(strstr(err.message, "/dev/zero"));
}

/* ---- the configure message */

static void configure_message_holds_everything_resolved(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_resolved_pod_ struct resolved_pod *pod = NULL;
	_cleanup_json_ json_t *message = NULL, *other = NULL, *renew = NULL;
	const unsigned int etc_files[] = {1u << WIRE_ETC_HOSTS | 1u << WIRE_ETC_MACHINE_ID, 0};
	json_t *app, *mount;

	make_image(fixture, "work", "");
	pod = resolve(fixture,
		APP("one", "work",
			",\"readOnlyRootFS\":true,\"mounts\":[{\"volume\":\"v\",\"path\":\"/v\"}],"
			"\"app\":{\"exec\":[\"/bin/one\",\"-x\"],\"user\":\"7\",\"group\":\"/etc/group\","
			"\"supplementaryGIDs\":[4,5],\"workingDirectory\":\"/work\","
			"\"environment\":[{\"name\":\"PATH\",\"value\":\"/own\"},"
			"{\"name\":\"AC_APP_NAME\",\"value\":\"liar\"}],"
			"\"eventHandlers\":[{\"name\":\"pre-start\",\"exec\":[\"/pre\"]},"
			"{\"name\":\"post-stop\",\"exec\":[\"/post\",\"1\"]}],"
			"\"isolators\":["
			"{\"name\":\"resource/memory\",\"value\":{\"request\":\"16Mi\",\"limit\":\"32Mi\"}}," CPU(
				"500m",
				"1500m") ","
					 "{\"name\":\"os/linux/oom-score-adj\",\"value\":-5},"
					 "{\"name\":\"os/linux/no-new-privileges\",\"value\":true},"
					 "{\"name\":\"os/linux/capabilities-retain-set\",\"value\":{\"set\":[\"CAP_KILL\"]}}]}") "," APP("two",
			"work", ""),
		",\"volumes\":[{\"name\":\"v\",\"kind\":\"empty\",\"readOnly\":true}],"
		"\"isolators\":[{\"name\":\"os/unix/sysctl\",\"value\":{\"kernel.msgmax\":\"4096\"}}]");
	message = resolved_pod_configure(pod, etc_files, uuid, "a-host", true);
	assert_non_null(message);
	assert_string_equal(wire_type(message), "configure");
	assert_string_equal(member(message, "uuid"), uuid);
	assert_string_equal(member(message, "hostname"), "a-host");
	assert_string_equal(member(message, "machine_id"), "11111111222243338444555555555555");
	assert_int_equal(strlen(member(message, "entropy")), 2 * WIRE_ENTROPY_SIZE);
	assert_true(json_is_true(json_object_get(message, "park")));
	assert_int_equal(number(message, "version"), WIRE_VERSION);
	assert_string_equal(member(json_object_get(message, "sysctls"), "kernel.msgmax"), "4096");
	assert_int_equal(json_array_size(json_object_get(message, "apps")), 2);

	app = json_array_get(json_object_get(message, "apps"), 0);
	assert_string_equal(member(app, "name"), "one");
	assert_int_equal(json_array_size(json_object_get(app, "exec")), 2);
	assert_string_equal(member(app, "user"), "7");
	assert_string_equal(member(app, "group"), "/etc/group");
	assert_int_equal(
		json_integer_value(json_array_get(json_object_get(app, "supplementary_gids"), 1)),
		5);
	assert_string_equal(member(app, "working_directory"), "/work");
	assert_int_equal(count_in_environment(app, "PATH="), 1);
	assert_int_equal(count_in_environment(app, "PATH=/own"), 1);
	assert_int_equal(count_in_environment(app, "AC_APP_NAME="), 1);
	assert_int_equal(count_in_environment(app, "AC_APP_NAME=one"), 1);
	assert_int_equal(json_array_size(json_object_get(app, "pre_start")), 1);
	assert_int_equal(json_array_size(json_object_get(app, "post_stop")), 2);
	assert_true(json_is_true(json_object_get(app, "read_only_rootfs")));
	assert_true(json_is_true(json_object_get(app, "no_new_privileges")));
	assert_int_equal(strtoull(member(app, "capabilities"), NULL, 16), 1ull << 5); /* CAP_KILL */
	assert_int_equal(number(app, "memory_max"), 32 * MIB);
	assert_int_equal(number(app, "memory_low"), 16 * MIB);
	assert_int_equal(number(app, "cpu_max_millis"), 1500);
	assert_int_equal(number(app, "cpu_weight"), 50);
	assert_int_equal(number(app, "oom_score_adj"), -5);
	assert_int_equal(json_array_size(json_object_get(app, "etc_files")), 2);
	assert_string_equal(json_string_value(json_array_get(json_object_get(app, "etc_files"), 1)),
		"machine-id");
	mount = json_array_get(json_object_get(app, "mounts"), 0);
	assert_string_equal(member(mount, "volume"), "v");
	assert_string_equal(member(mount, "target"), "/v");
	assert_true(json_is_true(json_object_get(mount, "read_only")));

	/* What is absent is absent, and has no default of the guest's. */
	app = json_array_get(json_object_get(message, "apps"), 1);
	assert_string_equal(member(app, "working_directory"), "/");
	assert_int_equal(json_array_size(json_object_get(app, "etc_files")), 0);
	assert_null(json_object_get(app, "memory_max"));
	assert_null(json_object_get(app, "memory_low"));
	assert_null(json_object_get(app, "cpu_max_millis"));
	assert_null(json_object_get(app, "cpu_weight"));
	assert_null(json_object_get(app, "oom_score_adj"));
	assert_int_equal(json_array_size(json_object_get(app, "mounts")), 0);
	assert_int_equal(count_in_environment(app, "PATH=/usr/local/sbin:"), 1);

	other = resolved_pod_configure(pod, NULL, uuid, "a-host", false);
	assert_non_null(other);
	assert_true(json_is_false(json_object_get(other, "park")));
	assert_string_not_equal(member(message, "entropy"), member(other, "entropy"));

	assert_null(json_object_get(message, "hosts_entries"));
	assert_string_equal(member(app, "seccomp"), WIRE_SECCOMP_DEFAULT);
	assert_true(json_is_true(json_object_get(app, "protect_paths")));

	renew = resolved_pod_renew(uuid, "b-host");
	assert_non_null(renew);
	assert_string_equal(wire_type(renew), "renew");
	assert_string_equal(member(renew, "hostname"), "b-host");
	assert_string_equal(member(renew, "machine_id"), "11111111222243338444555555555555");
	assert_string_not_equal(member(message, "entropy"), member(renew, "entropy"));
	assert_null(json_object_get(renew, "apps"));
}

#define RESOLVE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RESOLVE_TEST(app_section_comes_from_the_image_or_the_pod),
		RESOLVE_TEST(errors_name_the_app),
		RESOLVE_TEST(nothing_is_rendered_by_who_must_not_wait),
		RESOLVE_TEST(more_than_the_guest_takes_is_refused),
		RESOLVE_TEST(volume_read_only_beats_the_mount_point),
		RESOLVE_TEST(the_same_precedence_holds_for_listed_mounts),
		RESOLVE_TEST(one_writer_makes_a_shared_volume_writable),
		RESOLVE_TEST(mount_points_without_a_volume_get_an_empty_one_each),
		RESOLVE_TEST(implicit_volumes_meet_no_other_volume),
		RESOLVE_TEST(mount_points_of_one_name_have_a_volume_each),
		RESOLVE_TEST(volumes_of_an_apps_own_have_names_of_their_own),
		RESOLVE_TEST(listed_mount_covers_the_mount_point_at_its_path),
		RESOLVE_TEST(first_of_two_mounts_at_a_path_is_used),
		RESOLVE_TEST(parents_are_mounted_before_their_children),
		RESOLVE_TEST(host_volume_follows_its_link_once),
		RESOLVE_TEST(a_source_does_not_lead_through_a_link_that_the_pod_can_make),
		RESOLVE_TEST(memory_of_the_machine_is_the_sum_of_the_limits_and_more),
		RESOLVE_TEST(memory_that_no_machine_has_is_refused),
		RESOLVE_TEST(vcpus_are_the_sum_of_the_limits_rounded_up),
		RESOLVE_TEST(an_omitted_request_is_the_limit),
		RESOLVE_TEST(isolators_that_cannot_be_enforced_are_errors_when_strict),
		RESOLVE_TEST(each_isolator_is_reported_with_its_fate),
		RESOLVE_TEST(limits_of_a_pod_are_told_to_the_guest_and_requests_hold_nothing),
		RESOLVE_TEST(a_kernel_parameter_that_is_no_name_is_an_error_that_quotes_it),
		RESOLVE_TEST(walls_that_are_switched_off_are_not_there),
		RESOLVE_TEST(apparmor_profile_that_is_not_there_is_an_error),
		RESOLVE_TEST(readiness_is_the_apps_to_tell_where_an_annotation_says_so),
		RESOLVE_TEST(socket_activated_ports_listen_where_the_pod_exposes_them),
		RESOLVE_TEST(each_port_of_a_socket_activated_range_has_a_socket),
		RESOLVE_TEST(texts_of_the_pods_own_etc_files_travel_with_it),
		RESOLVE_TEST(volume_from_a_device_is_refused),
		RESOLVE_TEST(configure_message_holds_everything_resolved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
