// SPDX-License-Identifier: Apache-2.0
/* metadata.c: what the metadata service says about a pod, and its signatures. */
#include "pod/metadata.h"

#include "appc/parse.h"
#include "base/base64.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/hmac.h"
#include "base/json.h"
#include "base/log.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define NANOSECONDS 1000000000ll
#define UUID_BYTES  16
#define UUID_DIGITS ((size_t)2 * UUID_BYTES)

#define JSON_TYPE  "application/json"
#define ASCII_TYPE "text/plain; charset=us-ascii"
#define UTF8_TYPE  "text/plain; charset=utf-8"

enum {
	STATUS_OK = 200,
	STATUS_BAD_REQUEST = 400,
	STATUS_FORBIDDEN = 403,
	STATUS_NOT_FOUND = 404,
	STATUS_INTERNAL_ERROR = 500,
	STATUS_UNAVAILABLE = 503,
};

static json_t *answer(int status, const char *content_type, const char *body)
{
	return json_pack("{s:s, s:i, s:s, s:s}", "type", "metadata", "status", status,
		"content_type", content_type, "body", body);
}

static json_t *refuse(int status, const char *why)
{
	return answer(status, ASCII_TYPE, why);
}

/* Takes over the reference. */
static json_t *answer_json(json_t *value)
{
	_cleanup_json_ json_t *owned = value;
	_cleanup_free_ char *text = value ? json_text(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	return text ? answer(STATUS_OK, JSON_TYPE, text) : NULL;
}

static json_t *answer_text(const char *text)
{
	bool is_ascii = true;

	for (const char *c = text; *c; c++)
		is_ascii = is_ascii && (unsigned char)*c < 0x80;
	return answer(STATUS_OK, is_ascii ? ASCII_TYPE : UTF8_TYPE, text);
}

/* ---- what is known of the pod */

/* A list without entries is null, as the reference implementation prints it. */
static json_t *annotations_json(const struct appc_pairs *annotations)
{
	return annotations->count > 0 ? appc_pairs_json(annotations) : json_null();
}

/* The image's annotations, those of the pod manifest's app over them. */
static int annotations_merge(const struct resolved_pod *pod, size_t index, struct appc_pairs *ret)
{
	const struct appc_pairs *over = &pod->manifest->apps[index].annotations;
	_cleanup_image_manifest_ struct appc_image_manifest *image = NULL;
	struct error err = {0};
	int r = appc_image_manifest_parse(pod->apps[index].image_manifest,
		strlen(pod->apps[index].image_manifest), &image, &err);

	if (r == 0)
		r = appc_pairs_copy(ret, &image->annotations);
	for (size_t i = 0; r == 0 && i < over->count; i++)
		r = appc_pairs_set(ret, over->items[i].name, over->items[i].value, true);
	return r;
}

static json_t *app_annotations(const struct resolved_pod *pod, size_t index, const char *name)
{
	struct appc_pairs merged = {0};
	json_t *result = NULL;

	if (annotations_merge(pod, index, &merged) == 0) {
		const char *value = name ? appc_pairs_get(&merged, name) : NULL;

		if (!name)
			result = answer_json(annotations_json(&merged));
		else if (value)
			result = answer_text(value);
		else
			result = refuse(STATUS_NOT_FOUND, "the app has no such annotation\n");
	}
	appc_pairs_clear(&merged);
	return result;
}

static json_t *app_entry(const struct resolved_pod *pod, size_t index, const char *entry)
{
	const struct resolved_app *app = &pod->apps[index];

	if (!strcmp(entry, "annotations"))
		return app_annotations(pod, index, NULL);
	if (!strncmp(entry, "annotations/", strlen("annotations/")))
		return app_annotations(pod, index, entry + strlen("annotations/"));
	if (!strcmp(entry, "image/manifest"))
		return answer(STATUS_OK, JSON_TYPE, app->image_manifest);
	if (!strcmp(entry, "image/id"))
		return answer_text(app->image_id);
	return refuse(STATUS_NOT_FOUND, "there is no such entry\n");
}

static json_t *answer_get(const struct pod_metadata *metadata, const char *path)
{
	const struct resolved_pod *pod = metadata->resolved;

	if (!strcmp(path, "pod/annotations"))
		return answer_json(annotations_json(&pod->manifest->annotations));
	if (!strcmp(path, "pod/manifest"))
		return answer_json(appc_pod_manifest_json(pod->manifest));
	if (strncmp(path, "apps/", strlen("apps/")))
		return refuse(STATUS_NOT_FOUND, "there is no such entry\n");
	path += strlen("apps/");
	for (size_t i = 0; i < pod->app_count; i++) {
		size_t length = strlen(pod->apps[i].name);

		if (!strncmp(path, pod->apps[i].name, length) && path[length] == '/')
			return app_entry(pod, i, path + length + 1);
	}
	return refuse(STATUS_NOT_FOUND, "the pod has no such app\n");
}

/* ---- signatures */

static int key_read(int data_fd, uint8_t key[POD_METADATA_KEY_SIZE])
{
	_cleanup_free_ char *data = NULL;
	size_t length;
	int r = file_read(data_fd, POD_METADATA_KEY_NAME, POD_METADATA_KEY_SIZE, &data, &length);

	if (r == 0 && length != POD_METADATA_KEY_SIZE)
		r = -EBADMSG;
	if (r == 0)
		memcpy(key, data, POD_METADATA_KEY_SIZE);
	if (data)
		explicit_bzero(data, length);
	return r;
}

/* Two that make it at once: the second finds that there is one. */
static int key_make(int data_fd)
{
	uint8_t key[POD_METADATA_KEY_SIZE];
	char name[64];
	int r;

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	r = file_make_unique_name(name, sizeof(name), "." POD_METADATA_KEY_NAME "-");
	if (r == 0)
		r = file_write_atomic(data_fd, name, key, sizeof(key), 0600);
	explicit_bzero(key, sizeof(key));
	if (r < 0)
		return r;
	r = directory_rename_new(data_fd, name, data_fd, POD_METADATA_KEY_NAME);
	if (r < 0)
		unlinkat(data_fd, name, 0);
	return r == -EEXIST ? 0 : r;
}

static int key_load(struct pod_metadata *metadata)
{
	int r = 0;

	if (metadata->has_key)
		return 0;
	r = key_read(metadata->data_fd, metadata->key);
	if (r == -ENOENT) {
		r = key_make(metadata->data_fd);
		if (r == 0)
			r = key_read(metadata->data_fd, metadata->key);
	}
	metadata->has_key = r == 0;
	if (r < 0)
		log_warning("the metadata service cannot sign: data directory: %s: %s",
			POD_METADATA_KEY_NAME, strerror(-r));
	return r;
}

/* The bytes of a UUID, which has its dashes in their places or none at all. */
static int uuid_parse(const char *text, uint8_t bytes[UUID_BYTES])
{
	static const uint8_t dashes[] = {8, 13, 18, 23};
	char digits[UUID_DIGITS + 1];
	size_t length = strlen(text), used = 0, dash = 0;

	if (length != UUID_DIGITS && length != UUID_DIGITS + sizeof(dashes))
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		if (length > UUID_DIGITS && dash < sizeof(dashes) && i == dashes[dash]) {
			if (text[i] != '-')
				return -EINVAL;
			dash++;
			continue;
		}
		digits[used++] = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] | 0x20)
								  : text[i];
	}
	digits[used] = '\0';
	return hex_read(digits, bytes, UUID_BYTES);
}

static int sign(struct pod_metadata *metadata, const char *uuid, const json_t *content,
	uint8_t signature[SHA512_SIZE])
{
	size_t length = json_string_length(content);
	_cleanup_free_ uint8_t *bytes = malloc(length / 4 * 3 + 1);
	uint8_t uuid_bytes[UUID_BYTES];
	struct hmac_sha512 hmac;
	ptrdiff_t decoded;
	int r;

	if (!bytes)
		return -ENOMEM;
	decoded = base64_decode(json_string_value(content), length, bytes);
	if (decoded < 0 || uuid_parse(uuid, uuid_bytes) < 0)
		return -EINVAL;
	r = key_load(metadata);
	if (r < 0)
		return -EIO;
	hmac_sha512_init(&hmac, metadata->key, sizeof(metadata->key));
	hmac_sha512_update(&hmac, uuid_bytes, sizeof(uuid_bytes));
	hmac_sha512_update(&hmac, bytes, (size_t)decoded);
	hmac_sha512_final(&hmac, signature);
	return 0;
}

static json_t *refuse_signature(int r)
{
	if (r == -EINVAL)
		return refuse(STATUS_BAD_REQUEST, "the content or the UUID is not well-formed\n");
	return r == -ENOMEM ? NULL : refuse(STATUS_INTERNAL_ERROR, "there is no key\n");
}

static json_t *answer_sign(struct pod_metadata *metadata, const json_t *content)
{
	char text[BASE64_LENGTH(SHA512_SIZE) + 1];
	uint8_t signature[SHA512_SIZE];
	int r = sign(metadata, metadata->uuid, content, signature);

	if (r < 0)
		return refuse_signature(r);
	base64_encode(signature, sizeof(signature), text);
	return answer(STATUS_OK, ASCII_TYPE, text);
}

static json_t *answer_verify(struct pod_metadata *metadata, const json_t *content, const char *uuid,
	const json_t *signature)
{
	uint8_t expected[SHA512_SIZE], claimed[BASE64_LENGTH(SHA512_SIZE)];
	size_t length = json_string_length(signature);
	bool is_right;
	int r = sign(metadata, uuid, content, expected);

	if (r < 0)
		return refuse_signature(r);
	is_right = length == BASE64_LENGTH(SHA512_SIZE) &&
		base64_decode(json_string_value(signature), length, claimed) == SHA512_SIZE &&
		memory_is_equal(claimed, expected, sizeof(expected));
	/* It is a valid signature until somebody changes the key. */
	explicit_bzero(expected, sizeof(expected));
	return is_right ? answer(STATUS_OK, ASCII_TYPE, "")
			: refuse(STATUS_FORBIDDEN, "the signature is not that pod's\n");
}

/* ---- requests */

/* Each request moves full_at on by its share of a second, and it may be one second ahead. */
static bool rate_take(struct pod_metadata *metadata, int64_t now)
{
	if (metadata->full_at < now)
		metadata->full_at = now;
	if (metadata->full_at - now > NANOSECONDS - NANOSECONDS / POD_METADATA_RATE)
		return false;
	metadata->full_at += NANOSECONDS / POD_METADATA_RATE;
	return true;
}

static json_t *request_answer(struct pod_metadata *metadata, json_t *request, int64_t now)
{
	const json_t *path = json_object_get(request, "get");
	const json_t *content = json_object_get(request, "sign");
	const json_t *verified = json_object_get(request, "verify");
	const json_t *uuid = json_object_get(request, "uuid");
	const json_t *signature = json_object_get(request, "signature");
	bool is_verify = json_is_string(verified) && json_is_string(uuid) &&
		json_is_string(signature) && json_object_size(request) == 4;

	if (!is_verify &&
		(json_object_size(request) != 2 ||
			!(json_is_string(path) || json_is_string(content))))
		return NULL;
	if (!rate_take(metadata, now))
		return refuse(STATUS_UNAVAILABLE, "too many requests\n");
	if (is_verify)
		return answer_verify(metadata, verified, json_string_value(uuid), signature);
	return content ? answer_sign(metadata, content)
		       : answer_get(metadata, json_string_value(path));
}

json_t *pod_metadata_answer(struct pod_metadata *metadata, json_t *request, int64_t now)
{
	_cleanup_json_ json_t *answered = request_answer(metadata, request, now);

	/* A manifest of quotation marks is twice as long on its way. */
	if (answered && json_dumpb(answered, NULL, 0, JSON_COMPACT) > WIRE_FRAME_MAX_TO_GUEST)
		return refuse(STATUS_INTERNAL_ERROR, "the answer is too long\n");
	return TAKE_PTR(answered);
}

void pod_metadata_done(struct pod_metadata *metadata)
{
	explicit_bzero(metadata->key, sizeof(metadata->key));
	metadata->has_key = false;
}
