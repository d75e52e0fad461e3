// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_metadata.c: requests to the metadata service as a hostile guest sends them to the host: one JSON
 * object a line. Whatever is answered is a whole message of the protocol.
 */
#include "pod/metadata.h"

#include "base/json.h"
#include "wire/wire.h"

#include <string.h>

#define UUID "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
#define POD                                                                                 \
	"{\"acKind\":\"PodManifest\",\"acVersion\":\"0.8.11\",\"apps\":[{\"name\":\"one\"," \
	"\"image\":{\"name\":\"a.b/c\"},\"annotations\":[{\"name\":\"x\",\"value\":\"1\"}]}]}"
#define IMAGE                                                                        \
	"{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"a.b/c\"," \
	"\"annotations\":[{\"name\":\"y\",\"value\":\"2\"}]}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer_check(json_t *answer)
{
	json_int_t status = json_integer_value(json_object_get(answer, "status"));
	const char *type = json_string_value(json_object_get(answer, "content_type"));
	const char *body = json_string_value(json_object_get(answer, "body"));

	if (strcmp(wire_type(answer), "metadata") || status < 200 || status > 599 || !type || !body)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct resolved_app app = {.name = "one", .image_manifest = (char *)IMAGE};
	static struct resolved_pod pod = {.apps = &app, .app_count = 1};
	struct pod_metadata metadata = {
		.uuid = UUID, .resolved = &pod, .data_fd = -1, .has_key = true};
	const char *text = (const char *)data;
	int64_t now = 1;
	struct error err;

	if (!pod.manifest && appc_pod_manifest_parse(POD, strlen(POD), &pod.manifest, &err) < 0)
		__builtin_trap();
	while (size > 0) {
		_cleanup_json_ json_t *request = NULL, *answer = NULL;
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		if (wire_message_decode(text, length, &request, &err) == 0)
			answer = pod_metadata_answer(&metadata, request, now++);
		if (answer)
			answer_check(answer);
		text += length + (end ? 1 : 0);
		size -= length + (end ? 1 : 0);
	}
	return 0;
}
