// SPDX-License-Identifier: Apache-2.0
/*
 * test_appc_manifest.c: whole manifests through the functions of appc/manifest.h: what the
 * reference's verdicts (test_appc_vectors.c) do not cover.
 */
#include "appc/manifest.h"
#include "appc/strings.h"
#include "appc/types.h"
#include "base/json.h"

#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define POD(members) "{\"acKind\":\"PodManifest\",\"acVersion\":\"0.8.11\"," members "}"
#define APP(members)                                                                           \
	POD("\"apps\":[{\"name\":\"a\",\"image\":{\"name\":\"x\"},\"app\":{\"exec\":[\"/x\"]," \
	    "\"user\":\"0\",\"group\":\"0\"," members "}}]")
#define IMAGE(members)                                                                               \
	"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"example.com/x\"," members \
	"}"

static struct appc_pod_manifest *parse_pod(const char *text)
{
	struct appc_pod_manifest *manifest = NULL;
	struct error err = {0};

	if (appc_pod_manifest_parse(text, strlen(text), &manifest, &err) < 0)
		fail_msg("%s\n%s", text, err.message);
	return manifest;
}

static void assert_pod_error(const char *text, const char *message)
{
	struct appc_pod_manifest *manifest = NULL;
	struct error err = {0};

	assert_int_equal(appc_pod_manifest_parse(text, strlen(text), &manifest, &err), -EINVAL);
	assert_null(manifest);
	assert_string_equal(err.message, message);
}

static void messages_name_the_path_of_the_field(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{POD("\"apps\":1"), "apps: expected an array, found an integer"},
		{POD("\"apps\":[1]"), "apps[0]: expected an object, found an integer"},
		{POD("\"apps\":[null]"), "apps[0]: expected an object, found null"},
		{POD("\"apps\":[{\"name\":\"a\",\"image\":{\"name\":\"x\"},\"app\":{}}]"),
			"apps[0].app.user: user is required"},
		{APP("\"eventHandlers\":[{\"name\":\"x\"}]"),
			"apps[0].app.eventHandlers[0].name: bad eventHandler \"name\": \"x\""},
		{APP("\"environment\":[{\"name\":\"A\"},{\"name\":\"A\"}]"),
			"apps[0].app.environment[1]: duplicate environment variable of name \"A\""},
		{APP("\"isolators\":[{\"name\":\"resource/memory\",\"value\":{\"limit\":\"1MB\"}}]"),
			"apps[0].app.isolators[0].value.limit: quantities must match the regular "
			"expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
		{APP("\"isolators\":[{\"name\":\"os/unix/sysctl\",\"value\":{\"a.b\":1}}]"),
			"apps[0].app.isolators[0].value.a.b: expected a string, found an integer"},
		{APP("\"ports\":[{\"name\":\"p\",\"port\":80},{\"name\":\"q\",\"port\":0}]"),
			"apps[0].app.ports[1].port: port must be in 1-65535 range"},
		{POD("\"volumes\":[{\"name\":\"v\",\"kind\":\"host\",\"source\":\"x\"}]"),
			"volumes[0].source: source for host volume must be absolute path"},
		{POD("\"volumes\":[{\"name\":\"v\",\"kind\":\"empty\"},"
		     "{\"name\":\"v\",\"kind\":\"empty\"}]"),
			"volumes[1]: duplicate volume name \"v\""},
		{"{\"acKind\":\"ImageManifest\"}",
			"acKind: missing or bad ACKind (must be \"PodManifest\")"},
		{POD("\"userLabels\":{\"a\":1}"),
			"userLabels.a: expected a string, found an integer"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_pod_error(cases[i].text, cases[i].message);
}

static void what_the_specification_requires_must_be_there(void **state)
{
	(void)state;
	assert_pod_error(
		POD("\"apps\":[{\"image\":{\"name\":\"x\"}}]"), "apps[0].name: must be set");
	assert_pod_error(POD("\"apps\":[{\"name\":\"a\"}]"),
		"apps[0].image: no image ID for app \"a\", and no image name");
	assert_pod_error(POD("\"apps\":[{\"name\":\"a\",\"image\":{\"name\":\"x\"},"
			     "\"mounts\":[{\"volume\":\"v\"}]}]"),
		"apps[0].mounts[0].path: must be set");
	assert_pod_error(APP("\"mountPoints\":[{\"name\":\"m\",\"path\":\"\"}]"),
		"apps[0].app.mountPoints[0].path: must be set");
	assert_pod_error(
		APP("\"isolators\":[{\"value\":1}]"), "apps[0].app.isolators[0].name: must be set");
	assert_pod_error(POD("\"ports\":[{\"name\":\"p\"}]"),
		"ports[0].hostPort: hostPort must be in 1-65535 range");
}

static void values_that_no_kernel_takes_are_refused(void **state)
{
	(void)state;
	assert_pod_error(POD("\"volumes\":[{\"name\":\"v\",\"kind\":\"empty\",\"mode\":\"999\"}]"),
		"volumes[0].mode: must be octal digits, at most 7777, got \"999\"");
	assert_pod_error(
		POD("\"volumes\":[{\"name\":\"v\",\"kind\":\"empty\",\"uid\":4294967295}]"),
		"volumes[0].uid: must be between 0 and 4294967294, got 4294967295");
	assert_pod_error(APP("\"supplementaryGIDs\":[-1]"),
		"apps[0].app.supplementaryGIDs[0]: must be between 0 and 4294967294, got -1");
	assert_pod_error(
		APP("\"isolators\":[{\"name\":\"resource/cpu\",\"value\":{\"limit\":\"-1\"}}]"),
		"apps[0].app.isolators[0].value.limit: must not be negative, got \"-1\"");
}

static void hostile_documents_are_refused(void **state)
{
	static const char document[] = POD("\"apps\":[]");
	_cleanup_free_ char *large = malloc(APPC_MANIFEST_SIZE_MAX + 1);
	struct appc_pod_manifest *manifest = NULL;
	struct error err;

	(void)state;
	assert_non_null(large);
	memset(large, ' ', APPC_MANIFEST_SIZE_MAX + 1);
	memcpy(large, document, sizeof(document) - 1);
	assert_int_equal(
		appc_pod_manifest_parse(large, APPC_MANIFEST_SIZE_MAX + 1, &manifest, &err),
		-EINVAL);
	assert_string_equal(err.message, "pod manifest: longer than 4194304 bytes");
	assert_int_equal(
		appc_pod_manifest_parse(large, APPC_MANIFEST_SIZE_MAX, &manifest, &err), 0);
	appc_pod_manifest_free(manifest);

	static const char *const bad[] = {
		POD("\"apps\":[],\"apps\":[]"),
		POD("\"userLabels\":{\"a\":\"\\u0000\"}"),
		POD("\"userLabels\":{\"a\":\"\xff\"}"),
		POD("\"apps\":[]") "x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			appc_pod_manifest_parse(bad[i], strlen(bad[i]), &manifest, &err), -EINVAL);
}

/* A duplicate check that compares each with each would take minutes for this one. */
static void many_elements_take_linear_time(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct appc_image_manifest *manifest = NULL;
	struct error err;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	(void)state;
	fputs("{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"x\",\"labels\":[",
		stream);
	for (int i = 0; i < 150000; i++)
		fprintf(stream, "{\"name\":\"l%d\"},", i);
	fputs("{\"name\":\"l1\"}]}", stream);
	assert_int_equal(fclose(stream), 0);
	assert_true(length < APPC_MANIFEST_SIZE_MAX);
	assert_int_equal(appc_image_manifest_parse(text, length, &manifest, &err), -EINVAL);
	assert_string_equal(err.message, "labels[150000]: duplicate labels of name \"l1\"");
}

static void null_is_the_same_as_absent(void **state)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest =
		parse_pod(POD("\"apps\":null,\"volumes\":null,\"isolators\":null,"
			      "\"annotations\":null,\"ports\":null,\"userLabels\":null"));
	_cleanup_pod_manifest_ struct appc_pod_manifest *app = parse_pod(
		APP("\"eventHandlers\":null,\"supplementaryGIDs\":null,\"workingDirectory\":null,"
		    "\"environment\":null,\"mountPoints\":null,\"ports\":null,\"isolators\":null"));

	(void)state;
	assert_int_equal(manifest->app_count, 0);
	assert_int_equal(manifest->volume_count, 0);
	assert_int_equal(manifest->isolators.count, 0);
	assert_int_equal(manifest->annotations.count, 0);
	assert_int_equal(manifest->port_count, 0);
	assert_null(app->apps[0].app->working_directory);
	assert_int_equal(app->apps[0].app->environment.count, 0);
}

static void both_spellings_of_supplementary_gids_are_read(void **state)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *one =
		parse_pod(APP("\"supplementaryGids\":[400,5]"));
	_cleanup_pod_manifest_ struct appc_pod_manifest *other =
		parse_pod(APP("\"supplementaryGIDs\":[400,5]"));

	(void)state;
	assert_int_equal(one->apps[0].app->supplementary_gid_count, 2);
	assert_int_equal(one->apps[0].app->supplementary_gids[0], 400);
	assert_int_equal(other->apps[0].app->supplementary_gids[1], 5);
	assert_pod_error(APP("\"supplementaryGIDs\":[1],\"supplementaryGids\":[2]"),
		"apps[0].app.supplementaryGids: is another spelling of supplementaryGIDs, which is "
		"also set");
}

static void defaults_are_filled_in(void **state)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = parse_pod(
		"{\"acKind\":\"PodManifest\",\"volumes\":[{\"name\":\"e\",\"kind\":\"empty\"},"
		"{\"name\":\"h\",\"kind\":\"host\",\"source\":\"/s\",\"readOnly\":false,"
		"\"recursive\":false},"
		"{\"name\":\"m\",\"kind\":\"empty\",\"mode\":\"0123\",\"uid\":9991,\"gid\":9992}]}");
	const struct appc_volume *volume = manifest->volumes;

	(void)state;
	assert_string_equal(manifest->ac_version, APPC_VERSION);
	assert_int_equal(volume[0].kind, APPC_VOLUME_EMPTY);
	assert_int_equal(volume[0].read_only, -1);
	assert_true(volume[0].recursive && !volume[0].has_recursive);
	assert_int_equal(volume[0].mode, 0755);
	assert_false(volume[0].has_mode || volume[0].has_uid || volume[0].has_gid);
	assert_int_equal(volume[1].kind, APPC_VOLUME_HOST);
	assert_int_equal(volume[1].read_only, 0);
	assert_true(!volume[1].recursive && volume[1].has_recursive);
	assert_string_equal(volume[1].source, "/s");
	assert_int_equal(volume[2].mode, 0123);
	assert_int_equal(volume[2].uid, 9991);
	assert_int_equal(volume[2].gid, 9992);
}

#define FULL_APP                                                                           \
	"\"eventHandlers\":[{\"name\":\"pre-start\",\"exec\":[\"/p\",\"q\"]}],"            \
	"\"supplementaryGIDs\":[1,2],\"workingDirectory\":\"/w\","                         \
	"\"environment\":[{\"name\":\"A\",\"value\":\"1\"}],"                              \
	"\"mountPoints\":[{\"name\":\"m\",\"path\":\"/m\",\"readOnly\":true}],"            \
	"\"ports\":[{\"name\":\"p\",\"protocol\":\"tcp\",\"port\":80}],"                   \
	"\"isolators\":[{\"name\":\"resource/memory\",\"value\":{\"limit\":\"1Gi\"}},"     \
	"{\"name\":\"os/linux/seccomp-retain-set\",\"value\":{\"set\":[\"@appc.io/all\"]," \
	"\"errno\":\"EPERM\"}},"                                                           \
	"{\"name\":\"os/unix/sysctl\",\"value\":{\"a.b\":\"1\"}},"                         \
	"{\"name\":\"example.com/ponies\",\"value\":[1]}],"                                \
	"\"userAnnotations\":{\"k\":\"v\"},\"userLabels\":{\"l\":\"w\"}"

static void a_copied_app_owns_all_it_holds(void **state)
{
	struct appc_pod_manifest *manifest = parse_pod(APP(FULL_APP));
	struct appc_pod_manifest *again;
	struct appc_app *copy = appc_app_copy(manifest->apps[0].app);
	_cleanup_json_ json_t *expected = appc_pod_manifest_json(manifest), *found = NULL;

	(void)state;
	assert_non_null(copy);
	appc_pod_manifest_free(manifest);

	again = parse_pod(POD("\"apps\":[{\"name\":\"a\",\"image\":{\"name\":\"x\"}}]"));
	again->apps[0].app = copy;
	found = appc_pod_manifest_json(again);
	assert_true(json_equal(found, expected));
	assert_int_equal(
		appc_isolators_find(&copy->isolators, APPC_ISOLATOR_MEMORY)->limit, 1 << 30);
	assert_string_equal(
		appc_isolators_find(&copy->isolators, APPC_ISOLATOR_SECCOMP_RETAIN)->error_number,
		"EPERM");
	assert_string_equal(
		appc_pairs_get(
			&appc_isolators_find(&copy->isolators, APPC_ISOLATOR_SYSCTL)->sysctls,
			"a.b"),
		"1");
	appc_pod_manifest_free(again);
}

static void a_printed_manifest_is_read_again(void **state)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL, *again_json = NULL;
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = parse_pod(
		POD("\"apps\":[{\"name\":\"a\",\"image\":{\"id\":\"sha512-aa\",\"name\":\"x\","
		    "\"labels\":[{\"name\":\"version\",\"value\":\"1\"}]},\"readOnlyRootFS\":true,"
		    "\"mounts\":[{\"volume\":\"v\",\"path\":\"/v\",\"appVolume\":"
		    "{\"name\":\"v\",\"kind\":\"host\",\"source\":\"/s\"}}],"
		    "\"annotations\":[{\"name\":\"n\",\"value\":\"y\"}],"
		    "\"app\":{\"user\":\"0\",\"group\":\"0\"," FULL_APP "}}],"
		    "\"volumes\":[{\"name\":\"v\",\"kind\":\"empty\"}],"
		    "\"isolators\":[{\"name\":\"resource/cpu\",\"value\":{\"limit\":\"2\"}}],"
		    "\"annotations\":[{\"name\":\"created\",\"value\":\"2004-05-14T23:11:14Z\"}],"
		    "\"ports\":[{\"name\":\"p\",\"hostPort\":8080,\"hostIP\":\"127.0.0.1\","
		    "\"podPort\":{\"name\":\"p\",\"protocol\":\"tcp\",\"port\":80}}],"
		    "\"userAnnotations\":{\"k\":\"v\"},\"userLabels\":{\"l\":\"w\"}"));
	_cleanup_pod_manifest_ struct appc_pod_manifest *again = NULL;

	(void)state;
	json = appc_pod_manifest_json(manifest);
	text = json_dumps(json, 0);
	assert_non_null(text);
	again = parse_pod(text);
	again_json = appc_pod_manifest_json(again);
	assert_true(json_equal(json, again_json));
	assert_string_equal(again->apps[0].mounts[0].app_volume->source, "/s");
	assert_int_equal(again->ports[0].pod_port->port, 80);
	assert_true(again->apps[0].read_only_rootfs);
}

static void an_image_manifest_is_read_whole(void **state)
{
	static const char text[] = IMAGE(
		"\"labels\":[{\"name\":\"os\",\"value\":\"linux\"},"
		"{\"name\":\"arch\",\"value\":\"amd64\"}],"
		"\"dependencies\":[{\"imageName\":\"b\",\"imageID\":\"sha512-aa\","
		"\"labels\":[{\"name\":\"version\",\"value\":\"1\"}],\"size\":22017258}],"
		"\"pathWhitelist\":[\"/etc\",\"/lib/\"],"
		"\"annotations\":[{\"name\":\"homepage\",\"value\":\"https://example.com\"}]");
	_cleanup_image_manifest_ struct appc_image_manifest *manifest = NULL;
	_cleanup_json_ json_t *expected = NULL, *found = NULL;
	struct error err;

	(void)state;
	assert_int_equal(appc_image_manifest_parse(text, strlen(text), &manifest, &err), 0);
	assert_null(manifest->app);
	assert_string_equal(appc_pairs_get(&manifest->labels, "arch"), "amd64");
	assert_null(appc_pairs_get(&manifest->labels, "version"));
	assert_int_equal(manifest->dependencies[0].size, 22017258);
	assert_string_equal(manifest->path_whitelist.items[1], "/lib/");
	assert_int_equal(json_parse(text, strlen(text), "text", &expected, &err), 0);
	found = appc_image_manifest_json(manifest);
	assert_true(json_equal(expected, found));
}

static void an_image_id_is_always_one_safe_path_component(void **state)
{
	static const char *const bad[] = {
		"sha512-../../etc", "sha512-a/b", "sha512-.", "sha512-a b", "sha512-\xc3\xa9"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(appc_hash_check(bad[i], NULL), -EINVAL);
}

static void the_last_isolator_of_a_kind_is_effective(void **state)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = parse_pod(APP(
		"\"isolators\":[{\"name\":\"resource/memory\",\"value\":{\"limit\":\"1G\"}},"
		"{\"name\":\"resource/memory\",\"value\":{\"request\":\"1.5Ki\",\"limit\":\"2G\"}},"
		"{\"name\":\"resource/cpu\",\"value\":{\"request\":0.25,\"limit\":\"1500m\"}}]"));
	const struct appc_isolators *isolators = &manifest->apps[0].app->isolators;
	const struct appc_isolator *memory = appc_isolators_find(isolators, APPC_ISOLATOR_MEMORY);
	const struct appc_isolator *cpu = appc_isolators_find(isolators, APPC_ISOLATOR_CPU);

	(void)state;
	assert_int_equal(memory->limit, 2000000000);
	assert_int_equal(memory->request, 1536);
	assert_int_equal(cpu->limit, 1500);
	assert_int_equal(cpu->request, 250);
	assert_null(appc_isolators_find(isolators, APPC_ISOLATOR_CPU_SHARES));
}

static void an_absent_limit_is_minus_one(void **state)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = parse_pod(APP(
		"\"isolators\":[{\"name\":\"resource/memory\",\"value\":{\"request\":\"1G\"}}]"));
	const struct appc_isolator *memory =
		appc_isolators_find(&manifest->apps[0].app->isolators, APPC_ISOLATOR_MEMORY);

	(void)state;
	assert_int_equal(memory->limit, -1);
	assert_int_equal(memory->request, 1000000000);
}

static void unknown_isolators_are_kept(void **state)
{
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = parse_pod(
		APP("\"isolators\":[{\"name\":\"resource/network-ponies\",\"value\":{\"n\":3}}]"));
	const struct appc_isolator *isolator = &manifest->apps[0].app->isolators.items[0];

	(void)state;
	assert_int_equal(isolator->kind, APPC_ISOLATOR_UNKNOWN);
	assert_string_equal(isolator->name, "resource/network-ponies");
	assert_int_equal(json_integer_value(json_object_get(isolator->value, "n")), 3);
}

static void conflicting_isolators_of_an_app_are_refused(void **state)
{
#define SET(name)    "{\"name\":\"os/linux/" name "\",\"value\":{\"set\":[\"CAP_KILL\"]}}"
#define NUMBER(name) "{\"name\":\"os/linux/" name "\",\"value\":2}"
	(void)state;
	assert_pod_error(APP("\"isolators\":[" SET("capabilities-remove-set") "," SET(
				 "capabilities-retain-set") "]"),
		"apps[0].app.isolators[1]: cannot have both os/linux/capabilities-retain-set and "
		"os/linux/capabilities-remove-set");
	assert_pod_error(
		APP("\"isolators\":[" SET("seccomp-retain-set") "," SET("seccomp-remove-set") "]"),
		"apps[0].app.isolators[1]: isolators set contains incompatible types");
	assert_pod_error(APP("\"isolators\":[" NUMBER("cpu-shares") "," NUMBER("cpu-shares") "]"),
		"apps[0].app.isolators[1]: isolators set contains too many instances of type "
		"os/linux/cpu-shares");
}

static void isolators_are_added_at_the_end_and_removed_by_kind(void **state)
{
	struct appc_pod_manifest *manifest = parse_pod(
		APP("\"isolators\":[{\"name\":\"resource/memory\",\"value\":{\"limit\":\"1G\"}},"
		    "{\"name\":\"resource/cpu\",\"value\":{\"limit\":\"1\"}},"
		    "{\"name\":\"resource/memory\",\"value\":{\"limit\":\"2G\"}}]"));
	struct appc_isolators *isolators = &manifest->apps[0].app->isolators;
	_cleanup_json_ json_t *value = json_pack("{s:s}", "limit", "3G");
	_cleanup_json_ json_t *bad = json_pack("{s:s}", "limit", "3X");
	struct error err;

	(void)state;
	assert_int_equal(appc_isolators_append(isolators, "resource/memory", value, &err), 0);
	assert_int_equal(isolators->count, 4);
	assert_int_equal(appc_isolators_find(isolators, APPC_ISOLATOR_MEMORY)->limit, 3000000000);
	assert_int_equal(appc_isolators_append(isolators, "resource/memory", bad, &err), -EINVAL);
	assert_non_null(strstr(err.message, "isolator resource/memory: value.limit: "));
	assert_int_equal(isolators->count, 4);
	appc_isolators_remove(isolators, APPC_ISOLATOR_MEMORY);
	assert_int_equal(isolators->count, 1);
	assert_null(appc_isolators_find(isolators, APPC_ISOLATOR_MEMORY));
	assert_int_equal(appc_isolators_find(isolators, APPC_ISOLATOR_CPU)->limit, 1000);
	appc_pod_manifest_free(manifest);
}

static int resolve_capabilities(const char *name, const char *set, uint64_t *ret, struct error *err)
{
	struct appc_isolators isolators = {0};
	_cleanup_json_ json_t *value = json_loads(set, 0, NULL);
	int r;

	if (name)
		assert_int_equal(appc_isolators_append(&isolators, name, value, err), 0);
	r = appc_capabilities_resolve(&isolators, ret, err);
	while (isolators.count > 0)
		appc_isolators_remove(&isolators, isolators.items[0].kind);
	free(isolators.items);
	return r;
}

static void capability_sets_become_a_bounding_set(void **state)
{
	uint64_t mask, all_default;
	struct error err;

	(void)state;
	assert_int_equal(resolve_capabilities(NULL, "{}", &all_default, &err), 0);
	assert_int_equal(__builtin_popcountll(all_default), 14);
	assert_true(all_default & 1ull << CAP_SYS_CHROOT);
	assert_false(all_default & 1ull << CAP_SYS_ADMIN);

	assert_int_equal(
		resolve_capabilities("os/linux/capabilities-retain-set",
			"{\"set\":[\"CAP_SYS_ADMIN\",\"CAP_CHECKPOINT_RESTORE\"]}", &mask, &err),
		0);
	assert_true(mask == (1ull << CAP_SYS_ADMIN | 1ull << CAP_CHECKPOINT_RESTORE));
	assert_int_equal(resolve_capabilities("os/linux/capabilities-remove-set",
				 "{\"set\":[\"CAP_KILL\",\"CAP_SYS_ADMIN\"]}", &mask, &err),
		0);
	assert_true(mask == (all_default & ~(1ull << CAP_KILL)));
	/* A name that no capability has takes nothing and gives nothing. */
	assert_int_equal(resolve_capabilities("os/linux/capabilities-retain-set",
				 "{\"set\":[\"CAP_PONIES\",\"CAP_KILL\"]}", &mask, &err),
		0);
	assert_true(mask == 1ull << CAP_KILL);
	assert_int_equal(resolve_capabilities("os/linux/capabilities-retain-set",
				 "{\"set\":[\"CAP_PONIES\"]}", &mask, &err),
		0);
	assert_true(mask == 0);
	assert_int_equal(resolve_capabilities("os/linux/capabilities-remove-set",
				 "{\"set\":[\"CAP_PONIES\"]}", &mask, &err),
		0);
	assert_true(mask == all_default);
	assert_int_equal(appc_capability_number("CAP_KILL"), CAP_KILL);
	assert_int_equal(appc_capability_number("cap_kill"), -1);
}

static void capability_names_are_the_kernels(void **state)
{
	static const struct {
		const char *set;
		int number;
	} cases[] = {
		{"{\"set\":[\"CAP_CHOWN\"]}", 0},
		{"{\"set\":[\"CAP_SETPCAP\"]}", 8},
		{"{\"set\":[\"CAP_SYS_TTY_CONFIG\"]}", 26},
		{"{\"set\":[\"CAP_SETFCAP\"]}", 31},
		{"{\"set\":[\"CAP_CHECKPOINT_RESTORE\"]}", 40},
	};
	struct error err;
	uint64_t mask;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(resolve_capabilities("os/linux/capabilities-retain-set",
					 cases[i].set, &mask, &err),
			0);
		assert_true(mask == 1ull << cases[i].number);
	}
}

static void pairs_are_set_with_and_without_overwriting(void **state)
{
	struct appc_pairs pairs = {0};

	(void)state;
	assert_int_equal(appc_pairs_set(&pairs, "PATH", "/bin", false), 0);
	assert_int_equal(appc_pairs_set(&pairs, "HOME", "/root", false), 0);
	assert_int_equal(appc_pairs_set(&pairs, "PATH", "/sbin", false), 0);
	assert_string_equal(appc_pairs_get(&pairs, "PATH"), "/bin");
	assert_int_equal(appc_pairs_set(&pairs, "PATH", "/sbin", true), 0);
	assert_string_equal(appc_pairs_get(&pairs, "PATH"), "/sbin");
	assert_int_equal(pairs.count, 2);
	appc_pairs_clear(&pairs);
	assert_null(appc_pairs_get(&pairs, "PATH"));
}

static void strings_are_appended(void **state)
{
	struct appc_strings strings = {0};

	(void)state;
	assert_int_equal(appc_strings_append(&strings, "/bin/sh"), 0);
	assert_int_equal(appc_strings_append(&strings, "-c"), 0);
	assert_int_equal(strings.count, 2);
	assert_string_equal(strings.items[1], "-c");
	appc_strings_clear(&strings);
	assert_int_equal(strings.count, 0);
}

static void quantities_of_any_length_are_exact(void **state)
{
	static const struct {
		const char *text;
		int64_t value, millivalue;
	} cases[] = {
		{"1K", 1000, 1000000},
		{".5", 1, 500},
		{"1.", 1, 1000},
		{"0.00000000000000000000000000000000000000000000000001", 1, 1},
		{"1.00000000000000000000000000000000000000000000000000", 1, 1000},
		{"1.00000000000000000000000000000000000000000000000001", 2, 1001},
		{"000000000000000000000000000000000000000000000000007", 7, 7000},
		{"0.0009765625Ki", 1, 1000},
		{"0.00097656250000000000000000000000000000000000001Ki", 2, 1001},
		{"0.000000000000000000867361737988403547205962240695953369140625Ei", 1, 1000},
		{"0e999999999999", 0, 0},
		{"1e-999999999999", 1, 1},
		{"-1.5", -2, -1500},
	};
	int64_t value, millivalue;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(appc_quantity_parse(cases[i].text, &value, &millivalue, &err), 0);
		assert_true(value == cases[i].value);
		assert_true(millivalue == cases[i].millivalue);
	}
}

static void quantities_without_digits_are_refused(void **state)
{
	static const char *const bad[] = {"", "+", "-", ".", "k", "K", "Ki", "e3", "1e", "1e+",
		"1E-", "1ee3", "1 k", "0x10", "1KI", "1ki", "1e99999999999999999999", "-3.01e-",
		"--1", "1..2", "inf", "nan"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(appc_quantity_parse(bad[i], NULL, NULL, NULL), -EINVAL);
}

static void a_quantity_too_large_is_an_error_or_the_limit(void **state)
{
	static const char *const large[] = {"8Ei", "9223372036854775808", "1e1000000000000", "10E"};
	struct appc_quantity quantity;
	int64_t value, millivalue;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		assert_int_equal(appc_quantity_parse(large[i], &value, NULL, NULL), -ERANGE);
		assert_int_equal(appc_quantity_read(large[i], &quantity, NULL), 0);
		assert_true(quantity.value_exceeds && quantity.value == INT64_MAX);
		assert_true(quantity.millivalue_exceeds && quantity.millivalue == INT64_MAX);
	}
	assert_int_equal(appc_quantity_parse("9223372036854775807", &value, NULL, NULL), 0);
	assert_true(value == INT64_MAX);
	assert_int_equal(
		appc_quantity_parse("9223372036854775807", NULL, &millivalue, NULL), -ERANGE);
}

static void created_uuids_are_random_and_well_formed(void **state)
{
	char one[37], other[37], parsed[37];

	(void)state;
	assert_int_equal(appc_uuid_create(one), 0);
	assert_int_equal(appc_uuid_create(other), 0);
	assert_string_not_equal(one, other);
	assert_int_equal(strlen(one), 36);
	assert_int_equal(one[14], '4');
	assert_non_null(strchr("89ab", one[19]));
	assert_int_equal(appc_uuid_parse(one, parsed, NULL), 0);
	assert_string_equal(one, parsed);
}

static void dates_and_urls_at_the_edges(void **state)
{
	static const struct {
		const char *text;
		bool date, url;
	} cases[] = {
		{"2000-02-29T23:59:59.123456789+05:30", true, false},
		{"1900-02-29T00:00:00Z", false, false},
		{"2001-02-03T04:05:60Z", false, false},
		{"2001-02-03T24:05:06Z", false, false},
		{"2001-02-03T04:05:06.Z", false, false},
		{"2001-02-03T04:05:06", false, false},
		{"2001-02-03T04:05:06Zx", false, false},
		{"2001-02-03t04:05:06z", false, false},
		{"", false, false},
		{"HTTPS://user:pw@example.com:8080/a%20b?c=%zz#d", false, true},
		{"http://[::1]:80/", false, true},
		{"http://exa mple.com/", false, false},
		{"http://example.com:port/", false, false},
		{"http://example.com/%zz", false, false},
		{"http://example.com/%4", false, false},
		{"http://[::1/", false, false},
		{"http://example.com/\n", false, false},
		{"httpx://example.com/", false, false},
		{"http", false, false},
	};
	char date[APPC_DATE_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if ((appc_date_parse(cases[i].text, date, NULL) == 0) != cases[i].date ||
			(appc_url_check(cases[i].text, NULL) == 0) != cases[i].url)
			fail_msg("%s", cases[i].text);
	}
	assert_int_equal(appc_date_parse(cases[0].text, date, NULL), 0);
	assert_string_equal(date, "2000-02-29T23:59:59+05:30");
}

static void one_character_becomes_one_dash(void **state)
{
	_cleanup_free_ char *name = NULL, *broken = NULL;

	(void)state;
	assert_int_equal(appc_name_sanitise("a\xc3\xa9z", &name, NULL), 0);
	assert_string_equal(name, "a-z");
	assert_int_equal(appc_name_sanitise("a\xe2\x82", &broken, NULL), 0);
	assert_string_equal(broken, "a");
}

static void the_command_line_says_what_a_manifest_says(void **state)
{
	struct appc_mount mount;
	struct appc_exposed_port port;
	struct error err;

	(void)state;
	assert_int_equal(appc_mount_from_string("volume=data,target=/var/lib", &mount, &err), 0);
	assert_string_equal(mount.volume, "data");
	assert_string_equal(mount.path, "/var/lib");
	appc_mount_clear(&mount);
	assert_int_equal(appc_mount_from_string("volume=data", &mount, &err), -EINVAL);
	assert_int_equal(appc_mount_from_string("target=/x", &mount, &err), -EINVAL);
	assert_int_equal(appc_mount_from_string("", &mount, &err), -EINVAL);

	assert_int_equal(appc_exposed_port_from_string("http:8080", &port, &err), 0);
	assert_string_equal(port.name, "http");
	assert_int_equal(port.host_port, 8080);
	assert_null(port.host_ip);
	appc_exposed_port_clear(&port);
	assert_int_equal(appc_exposed_port_from_string("http:127.0.0.1:8080", &port, &err), 0);
	assert_string_equal(port.host_ip, "127.0.0.1");
	appc_exposed_port_clear(&port);
	assert_int_equal(appc_exposed_port_from_string("http:[::1]:8080", &port, &err), 0);
	assert_string_equal(port.host_ip, "::1");
	appc_exposed_port_clear(&port);

	static const char *const bad[] = {"http", "http:", "http:0", "http:65536", "http:x", ":80",
		"http::80", "http:1.2.3:80", "HTTP:80", "http: 80", "http:+80", "http:[]:80"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(appc_exposed_port_from_string(bad[i], &port, &err), -EINVAL);
}

static void a_forwarded_port_says_both_sides_of_it(void **state)
{
	static const struct {
		const char *text, *protocol, *host_ip;
		unsigned int port, host_port;
	} good[] = {
		{"http:tcp:80:8080", "tcp", NULL, 80, 8080},
		{"http:udp:65535:127.0.0.1:1", "udp", "127.0.0.1", 65535, 1},
		{"http:tcp:80:[::1]:8080", "tcp", "::1", 80, 8080},
		{"http:tcp:80:fd00::1:8080", "tcp", "fd00::1", 80, 8080},
	};
	static const char *const bad[] = {"", "http", "http:80", "http:tcp:80",
		"http:tcp:80:", "http:tcp::80", ":tcp:80:80", "http:sctp:80:80", "http::80:80",
		"http:TCP:80:80", "http:tcp:0:80", "http:tcp:65536:80", "http:tcp:80:0",
		"http:tcp:80:65536", "http:tcp:+80:80", "http:tcp:80::80", "http:tcp:80:1.2.3:80",
		"HTTP:tcp:80:80", "http:tcp:80:[]:80",
		"http:tcp:80:1.2.3.4:", "http:tcp:\xff:80:80", "\xff:tcp:80:80"};
	struct appc_exposed_port port;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(appc_forwarded_port_from_string(good[i].text, &port, &err), 0);
		assert_string_equal(port.name, "http");
		assert_non_null(port.pod_port);
		assert_string_equal(port.pod_port->name, "http");
		assert_string_equal(port.pod_port->protocol, good[i].protocol);
		assert_int_equal(port.pod_port->port, good[i].port);
		assert_int_equal(port.pod_port->count, 1);
		assert_int_equal(port.host_port, good[i].host_port);
		if (good[i].host_ip)
			assert_string_equal(port.host_ip, good[i].host_ip);
		else
			assert_null(port.host_ip);
		appc_exposed_port_clear(&port);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(appc_forwarded_port_from_string(bad[i], &port, &err), -EINVAL);
}

static void a_volume_string_is_held_to_the_rules_of_a_run(void **state)
{
	struct appc_volume volume;
	struct error err;

	(void)state;
	assert_int_equal(
		appc_volume_from_string("v,kind=empty,mode=999", APPC_COMPLETE, &volume, &err),
		-EINVAL);
	assert_string_equal(err.message, "mode: must be octal digits, at most 7777, got \"999\"");
	assert_int_equal(
		appc_volume_from_string("v,kind=empty,kind=host", APPC_COMPLETE, &volume, &err),
		-EINVAL);
	assert_string_equal(err.message, "label kind with multiple values [\"empty\" \"host\"]");
	assert_int_equal(appc_volume_from_string("v,kind=host,source=/a=b,readOnly=t",
				 APPC_COMPLETE, &volume, &err),
		0);
	assert_string_equal(volume.source, "/a=b");
	assert_int_equal(volume.read_only, 1);
	appc_volume_clear(&volume);
}

static int check_ports(const char *app_ports, const char *pod_ports, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_pod_manifest_ struct appc_pod_manifest *manifest = NULL;

	assert_true(asprintf(&text,
			    POD("\"apps\":[{\"name\":\"a\",\"image\":{\"name\":\"x\"},\"app\":"
				"{\"user\":\"0\",\"group\":\"0\",\"ports\":[%s]}},"
				"{\"name\":\"b\",\"image\":{\"name\":\"x\"},\"app\":"
				"{\"user\":\"0\",\"group\":\"0\",\"ports\":["
				"{\"name\":\"b\",\"protocol\":\"tcp\",\"port\":9}]}}],"
				"\"ports\":[%s]"),
			    app_ports, pod_ports) > 0);
	manifest = parse_pod(text);
	return appc_pod_ports_check(manifest, err);
}

static void exposed_ports_lead_to_one_port_each(void **state)
{
#define PORT(name)          "{\"name\":\"" name "\",\"protocol\":\"tcp\",\"port\":80}"
#define EXPOSED(name, host) "{\"name\":\"" name "\",\"hostPort\":" host "}"
	struct error err;

	(void)state;
	assert_int_equal(
		check_ports(PORT("http"), EXPOSED("http", "80") "," EXPOSED("b", "81"), &err), 0);
	assert_int_equal(check_ports("", EXPOSED("http", "80"), &err), -EINVAL);
	assert_string_equal(err.message, "port name \"http\" could not be found in any apps");
	assert_int_equal(check_ports(PORT("b"), EXPOSED("b", "80"), &err), -EINVAL);
	assert_string_equal(err.message, "port name \"b\" defined multiple apps");
	assert_int_equal(
		check_ports(PORT("http"), EXPOSED("http", "80") "," EXPOSED("b", "80"), &err),
		-EINVAL);
	assert_string_equal(err.message, "port tcp-0.0.0.0:80 already mapped to pod port 80");
	assert_int_equal(
		check_ports("", "{\"name\":\"x\",\"hostPort\":1,\"podPort\":" PORT("x") "}", &err),
		0);
}

static void exposed_ranges_and_addresses_do_not_meet(void **state)
{
#define RANGE(name, first, count) \
	"{\"name\":\"" name "\",\"protocol\":\"tcp\",\"port\":" first ",\"count\":" count "}"
#define AT(name, ip, host) "{\"name\":\"" name "\",\"hostPort\":" host ",\"hostIP\":\"" ip "\"}"
	static const struct {
		const char *app_ports, *pod_ports, *message;
	} cases[] = {
		{RANGE("r", "7000", "10"), EXPOSED("r", "8000") "," EXPOSED("b", "8010"), NULL},
		{RANGE("r", "7000", "10"), EXPOSED("r", "8000") "," EXPOSED("b", "7999"), NULL},
		{RANGE("r", "7000", "10"), EXPOSED("r", "8000") "," EXPOSED("b", "8009"),
			"port tcp-0.0.0.0:8009 already mapped to pod port 7009"},
		{RANGE("r", "7000", "10"), EXPOSED("b", "8003") "," EXPOSED("r", "8000"),
			"port tcp-0.0.0.0:8003 already mapped to pod port 9"},
		{RANGE("r", "7000", "10"), EXPOSED("r", "65526"), NULL},
		{RANGE("r", "7000", "10"), EXPOSED("r", "65527"),
			"port \"r\": 10 ports from 65527 on go beyond 65535"},
		{RANGE("r", "7000", "512"), EXPOSED("r", "8000"), NULL},
		{RANGE("r", "7000", "512"), EXPOSED("r", "8000") "," EXPOSED("b", "1"),
			"port \"b\": a pod has at most 512 ports of the host"},
		{RANGE("r", "1", "65535"), EXPOSED("r", "1"),
			"port \"r\": a pod has at most 512 ports of the host"},
		/* All addresses of a family, in either order; others are each their own. */
		{PORT("h"), AT("h", "127.0.0.1", "81") "," EXPOSED("b", "81"),
			"port tcp-0.0.0.0:81 already mapped to pod port 80"},
		{PORT("h"), EXPOSED("b", "81") "," AT("h", "127.0.0.1", "81"),
			"port tcp-127.0.0.1:81 already mapped to pod port 9"},
		{PORT("h"), AT("h", "::1", "81") "," AT("b", "::", "81"),
			"port tcp-:::81 already mapped to pod port 80"},
		{PORT("h"), AT("h", "::1", "81") "," AT("b", "0:0::1", "81"),
			"port tcp-0:0::1:81 already mapped to pod port 80"},
		{PORT("h"), AT("h", "127.0.0.1", "81") "," AT("b", "127.0.0.2", "81"), NULL},
		{PORT("h"), AT("h", "::", "81") "," EXPOSED("b", "81"), NULL},
		{"{\"name\":\"h\",\"protocol\":\"udp\",\"port\":80}",
			EXPOSED("h", "81") "," EXPOSED("b", "81"), NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = {0};
		int r = check_ports(cases[i].app_ports, cases[i].pod_ports, &err);

		if ((r < 0) != (cases[i].message != NULL) ||
			(r < 0 && strcmp(err.message, cases[i].message) != 0))
			fail_msg("case %zu: %d %s", i, r, err.message);
	}
}

static void no_number_of_exposed_ports_is_too_much_for_the_check(void **state)
{
	_cleanup_free_ char *ports = NULL;
	struct error err;
	size_t size;
	FILE *out = open_memstream(&ports, &size);

	(void)state;
	assert_non_null(out);
	for (unsigned int i = 1; i <= 513; i++)
		fprintf(out, "%s{\"name\":\"b\",\"hostPort\":%u}", i > 1 ? "," : "", i);
	fclose(out);
	assert_int_equal(check_ports("", ports, &err), -E2BIG);
	assert_string_equal(err.message, "a pod has at most 512 ports of the host");
	/* The last one cut off: as many as there may be. */
	strrchr(ports, '{')[-1] = '\0';
	assert_int_equal(check_ports("", ports, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_name_the_path_of_the_field),
		cmocka_unit_test(what_the_specification_requires_must_be_there),
		cmocka_unit_test(values_that_no_kernel_takes_are_refused),
		cmocka_unit_test(hostile_documents_are_refused),
		cmocka_unit_test(many_elements_take_linear_time),
		cmocka_unit_test(null_is_the_same_as_absent),
		cmocka_unit_test(both_spellings_of_supplementary_gids_are_read),
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(a_copied_app_owns_all_it_holds),
		cmocka_unit_test(a_printed_manifest_is_read_again),
		cmocka_unit_test(an_image_manifest_is_read_whole),
		cmocka_unit_test(an_image_id_is_always_one_safe_path_component),
		cmocka_unit_test(the_last_isolator_of_a_kind_is_effective),
		cmocka_unit_test(an_absent_limit_is_minus_one),
		cmocka_unit_test(unknown_isolators_are_kept),
		cmocka_unit_test(conflicting_isolators_of_an_app_are_refused),
		cmocka_unit_test(isolators_are_added_at_the_end_and_removed_by_kind),
		cmocka_unit_test(capability_sets_become_a_bounding_set),
		cmocka_unit_test(capability_names_are_the_kernels),
		cmocka_unit_test(pairs_are_set_with_and_without_overwriting),
		cmocka_unit_test(strings_are_appended),
		cmocka_unit_test(quantities_of_any_length_are_exact),
		cmocka_unit_test(quantities_without_digits_are_refused),
		cmocka_unit_test(a_quantity_too_large_is_an_error_or_the_limit),
		cmocka_unit_test(created_uuids_are_random_and_well_formed),
		cmocka_unit_test(dates_and_urls_at_the_edges),
		cmocka_unit_test(one_character_becomes_one_dash),
		cmocka_unit_test(the_command_line_says_what_a_manifest_says),
		cmocka_unit_test(a_forwarded_port_says_both_sides_of_it),
		cmocka_unit_test(a_volume_string_is_held_to_the_rules_of_a_run),
		cmocka_unit_test(exposed_ports_lead_to_one_port_each),
		cmocka_unit_test(exposed_ranges_and_addresses_do_not_meet),
		cmocka_unit_test(no_number_of_exposed_ports_is_too_much_for_the_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
