// SPDX-License-Identifier: Apache-2.0
/* test_container_import.c: what the configuration of an OCI or docker-save image becomes, and how it is called. */
#include "container_import.h"

#include "store/docker-reference.h"

/* ---- configuration */

static void the_configuration_becomes_the_manifest(void **state)
{
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE], image_id[72], manifest_digest[72];
	_cleanup_json_ json_t *found = NULL, *expected = NULL, *descriptor = NULL;
	_cleanup_free_ char *found_text = NULL, *expected_text = NULL;
	struct container container;

	container_begin(&container);
	json_decref(container.config);
	container.config = json_loads(
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"author\":\"A. Person\","
		"\"created\":\"2026-11-22T10:00:00.5Z\",\"comment\":\"made by hand\","
		"\"config\":{\"User\":\"33:44\",\"WorkingDir\":\"/srv\","
		"\"Env\":[\"PATH=/bin\",\"A=b=c\",\"EMPTY=\",\"A=again\",\"0bad=x\",\"NOVALUE\"],"
		"\"Entrypoint\":[\"/bin/sh\",\"-c\"],\"Cmd\":[\"echo hi\"],"
		"\"Volumes\":{\"/var/lib/data\":{},\"/Data_x\":{},\"/data.x\":{},\"relative\":{}},"
		"\"ExposedPorts\":{\"8080/tcp\":{},\"53/udp\":{},\"443\":{},\"7000-7009/tcp\":{}},"
		"\"Labels\":{\"org.example.b\":\"2\",\"org.example.a\":\"1\"},"
		"\"StopSignal\":\"SIGINT\",\"Healthcheck\":{\"Test\":[\"NONE\"]}}}",
		0, NULL);
	assert_non_null(container.config);
	descriptor = container_config_blob(&container);
	snprintf(image_id, sizeof(image_id), "%s",
		json_string_value(json_object_get(descriptor, "digest")));
	json_decref(descriptor);
	descriptor = container_manifest(&container);
	snprintf(manifest_digest, sizeof(manifest_digest), "%s",
		json_string_value(json_object_get(descriptor, "digest")));
	container_name(&container, "localhost:5000/team/some_app:v1.2");
	must_import(fixture, &container, id);
	container_free(&container);

	found = manifest_json(fixture, id);
	expected = json_pack("{s:s, s:s, s:s,"
			     "s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]}",
		"acKind", "ImageManifest", "acVersion", "0.8.11", "name",
		"localhost_5000/team/some_app", "labels", "name", "os", "value", "linux", "name",
		"arch", "value", "amd64", "name", "version", "value", "v1.2");
	assert_non_null(expected);
	json_object_set_new(expected, "annotations",
		json_pack("[{s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s},"
			  "{s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}, {s:s,s:s}]",
			"name", "authors", "value", "A. Person", "name", "created", "value",
			"2026-11-22T10:00:00.5Z", "name", "docker-comment", "value", "made by hand",
			"name", "appc.io/docker/originalname", "value",
			"localhost:5000/team/some_app:v1.2", "name", "appc.io/docker/registryurl",
			"value", "localhost:5000", "name", "appc.io/docker/repository", "value",
			"team/some_app", "name", "appc.io/docker/tag", "value", "v1.2", "name",
			"appc.io/docker/imageid", "value", image_id, "name",
			"appc.io/docker/manifesthash", "value", manifest_digest, "name",
			"appc.io/docker/entrypoint", "value", "[\"/bin/sh\",\"-c\"]", "name",
			"appc.io/docker/cmd", "value", "[\"echo hi\"]"));
	json_object_set_new(expected, "app",
		json_loads(
			"{\"exec\":[\"/bin/sh\",\"-c\",\"echo hi\"],\"user\":\"33\",\"group\":\"44\","
			"\"workingDirectory\":\"/srv\",\"environment\":["
			"{\"name\":\"PATH\",\"value\":\"/bin\"},{\"name\":\"A\",\"value\":\"again\"},"
			"{\"name\":\"EMPTY\",\"value\":\"\"}],\"mountPoints\":["
			"{\"name\":\"volume-data-x\",\"path\":\"/Data_x\"},"
			"{\"name\":\"volume-data-x-1\",\"path\":\"/data.x\"},"
			"{\"name\":\"volume-var-lib-data\",\"path\":\"/var/lib/data\"},"
			"{\"name\":\"volume-relative\",\"path\":\"/relative\"}],\"ports\":["
			"{\"name\":\"443\",\"protocol\":\"tcp\",\"port\":443,\"count\":1,"
			"\"socketActivated\":false},"
			"{\"name\":\"53-udp\",\"protocol\":\"udp\",\"port\":53,\"count\":1,"
			"\"socketActivated\":false},"
			"{\"name\":\"7000-7009-tcp\",\"protocol\":\"tcp\",\"port\":7000,\"count\":10,"
			"\"socketActivated\":false},"
			"{\"name\":\"8080-tcp\",\"protocol\":\"tcp\",\"port\":8080,\"count\":1,"
			"\"socketActivated\":false}],\"userLabels\":{"
			"\"org.example.b\":\"2\",\"org.example.a\":\"1\"}}",
			0, NULL));
	found_text = json_dumps(found, JSON_SORT_KEYS | JSON_INDENT(1));
	expected_text = json_dumps(expected, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_string_equal(found_text, expected_text);
}

static void users_are_taken_apart(void **state)
{
	static const struct {
		const char *text, *user, *group;
	} cases[] = {
		{"", "0", "0"},
		{"33:33", "33", "33"},
		{"www-data", "www-data", "www-data"},
		{"1000", "1000", "1000"},
		{"nobody:nogroup", "nobody", "nogroup"},
		{"nobody:", "nobody", "nobody"},
		{":5", "0", "5"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[STORE_IMAGE_ID_SIZE];
		struct container container;
		struct appc_image_manifest *manifest;

		container_begin(&container);
		json_object_set_new(json_object_get(container.config, "config"), "User",
			json_string(cases[i].text));
		container_name(&container, "example.com/user:1");
		must_import(fixture, &container, id);
		container_free(&container);
		assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
		assert_string_equal(manifest->app->user, cases[i].user);
		assert_string_equal(manifest->app->group, cases[i].group);
		assert_int_equal(manifest->app->exec.count, 0);
		/* Only a name can be one that no group has. */
		assert_int_equal(
			appc_pairs_get(&manifest->annotations, "appc.io/docker/group-of") != NULL,
			!strcmp(cases[i].user, cases[i].group) &&
				strspn(cases[i].user, "0123456789") == 0);
		appc_image_manifest_free(manifest);
	}
}

static void architectures_have_the_names_of_the_specification(void **state)
{
	static const struct {
		const char *architecture, *variant, *label;
	} cases[] = {
		{"amd64", "v2", "amd64"},
		{"386", NULL, "i386"},
		{"arm64", "v8", "aarch64"},
		{"arm", "v7", "armv7l"},
		{"arm", "v6", "armv6l"},
		{"ppc64le", NULL, "ppc64le"},
		{"s390x", NULL, "s390x"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[STORE_IMAGE_ID_SIZE];
		struct container container;
		struct appc_image_manifest *manifest;

		container_begin(&container);
		json_object_set_new(
			container.config, "architecture", json_string(cases[i].architecture));
		if (cases[i].variant)
			json_object_set_new(
				container.config, "variant", json_string(cases[i].variant));
		container_name(&container, "example.com/arch:1");
		must_import(fixture, &container, id);
		container_free(&container);
		assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
		assert_string_equal(appc_pairs_get(&manifest->labels, "arch"), cases[i].label);
		appc_image_manifest_free(manifest);
	}
}

static void bad_configurations_are_refused_by_field(void **state)
{
	static const struct {
		const char *config, *words;
	} cases[] = {
		{"[]", "expected an object"},
		{"{\"os\":\"windows\",\"architecture\":\"amd64\"}",
			"os: the image is for \"windows\""},
		{"{\"architecture\":\"amd64\"}", "os: the image is for \"\""},
		{"{\"os\":\"linux\",\"architecture\":\"riscv64\"}",
			"unknown architecture \"riscv64\""},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":[]}",
			"config: expected an object"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":[1]}}",
			"config.Env[0]: expected a string"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Cmd\":\"sh\"}}",
			"config.Cmd: expected an array"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"ExposedPorts\":{\"0/tcp\":{}}}}",
			"config.ExposedPorts: \"0/tcp\" is not a port"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"ExposedPorts\":{\"9-8\":{}}}}",
			"\"9-8\" is not a port"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"ExposedPorts\":{\"65536\":{}}}}",
			"\"65536\" is not a port"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Volumes\":[]}}",
			"config.Volumes: expected an object"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"md5:00\"]}}",
			"rootfs.diff_ids[0]: \"md5:00\" is not a sha256"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"../x\"]}}",
			"is not a sha256"},
		{"{\"os\":\"linux\",\"architecture\":\"amd64\"}", "rootfs: expected an object"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct container container;
		json_t *config;

		container_begin(&container);
		config = container_blob(
			&container, TYPE_CONFIG, cases[i].config, strlen(cases[i].config));
		container_index(&container,
			json_pack("[o]",
				container_json_blob(&container, TYPE_MANIFEST,
					json_pack("{s:i, s:o, s:[]}", "schemaVersion", 2, "config",
						config, "layers"))));
		REFUSE(fixture, &container, NULL, -EINVAL, "dir/some.tar: blobs/sha256/",
			cases[i].words);
		container_free(&container);
	}
}

/* ---- names */

static void references_are_completed_as_docker_does(void **state)
{
	static const struct {
		const char *text, *registry, *repository, *tag;
	} cases[] = {
		{"busybox", DOCKER_HUB, "library/busybox", "latest"},
		{"busybox:1.36", DOCKER_HUB, "library/busybox", "1.36"},
		{"team/app", DOCKER_HUB, "team/app", "latest"},
		{"docker.io/busybox", DOCKER_HUB, "library/busybox", "latest"},
		{"docker.io/library/busybox:1", DOCKER_HUB, "library/busybox", "1"},
		{"index.docker.io/team/app:x", DOCKER_HUB, "team/app", "x"},
		{"localhost/app", "localhost", "app", "latest"},
		{"localhost:5000/a/b/c:d", "localhost:5000", "a/b/c", "d"},
		{"quay.io/app@sha256:0000", "quay.io", "app", "latest"},
		{"quay.io/app:7@sha256:0000", "quay.io", "app", "7"},
	};
	struct docker_reference reference;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(docker_reference_parse(cases[i].text, &reference, NULL), 0);
		assert_string_equal(reference.original, cases[i].text);
		assert_string_equal(reference.registry, cases[i].registry);
		assert_string_equal(reference.repository, cases[i].repository);
		assert_string_equal(reference.tag, cases[i].tag);
		docker_reference_clear(&reference);
	}
	assert_int_equal(docker_reference_parse("", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse(":tag", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse("quay.io/", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse("app:", &reference, NULL), -EINVAL);
	assert_int_equal(docker_reference_parse("@sha256:00", &reference, NULL), -EINVAL);
}

static void an_image_is_called_by_its_reference_its_file_or_as_told(void **state)
{
	struct store_import_options options = {.name = "example.com/told:3,channel=beta"};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct appc_image_manifest *manifest;
	struct container container;
	struct error err;

	container_begin(&container);
	one_layer(&container, "file", "x");
	container_name(&container, "busybox:9");
	must_import(fixture, &container, id);
	assert_name(fixture, id, "registry-1.docker.io/library/busybox", "9");
	container_name(&container, "edge");
	must_import(fixture, &container, id);
	assert_name(fixture, id, "some", "edge");
	container_index(&container, json_pack("[o]", container_manifest(&container)));
	must_import(fixture, &container, id);
	assert_name(fixture, id, "some", "latest");

	assert_int_equal(import_container(fixture, &container, &options, id, &err), 0);
	assert_name(fixture, id, "example.com/told", "3");
	assert_int_equal(store_image_manifest(fixture->store, id, &manifest, NULL), 0);
	assert_string_equal(appc_pairs_get(&manifest->labels, "channel"), "beta");
	assert_string_equal(appc_pairs_get(&manifest->annotations, "appc.io/docker/repository"),
		"example.com/told");
	appc_image_manifest_free(manifest);
	options.name = "Not A Name";
	assert_int_equal(import_container(fixture, &container, &options, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "--name=Not A Name"));
	container_free(&container);
}

static int refuse_by_name(
	void *context, const struct appc_image_manifest *manifest, struct error *err)
{
	(void)context;
	return error_set(err, -EKEYREJECTED, "nobody vouches for %s", manifest->name);
}

static void who_is_asked_for_an_aci_is_asked_for_a_converted_image(void **state)
{
	const struct store_import_options options = {.accept = refuse_by_name};
	struct fixture *fixture = *state;
	struct container container;

	container_begin(&container);
	one_layer(&container, "file", "x");
	container_name(&container, "example.com/signed:1");
	REFUSE(fixture, &container, &options, -EKEYREJECTED,
		"nobody vouches for example.com/signed");
	container_free(&container);
}

static void an_aci_has_its_own_name(void **state)
{
	struct store_import_options options = {.name = "example.com/told"};
	struct fixture *fixture = *state;
	char id[STORE_IMAGE_ID_SIZE];
	struct error err = {0};
	struct aci aci;

	aci_begin(&aci, ARCHIVE_FILTER_NONE);
	aci_manifest(&aci, "example.com/a", "");
	aci_directory(&aci, "rootfs", 0755);
	aci_end(&aci);
	assert_int_equal(
		import_bytes(fixture->store, aci.data, aci.length, &options, id, &err), -EINVAL);
	assert_non_null(strstr(err.message, "--name"));
	aci_free(&aci);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(the_configuration_becomes_the_manifest),
		store_test(users_are_taken_apart),
		store_test(architectures_have_the_names_of_the_specification),
		store_test(bad_configurations_are_refused_by_field),
		store_test(references_are_completed_as_docker_does),
		store_test(an_image_is_called_by_its_reference_its_file_or_as_told),
		store_test(who_is_asked_for_an_aci_is_asked_for_a_converted_image),
		store_test(an_aci_has_its_own_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
