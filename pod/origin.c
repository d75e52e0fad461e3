// SPDX-License-Identifier: Apache-2.0
/* origin.c: see origin.h. */
#include "pod/origin.h"

#include "base/json.h"
#include "base/log.h"
#include "base/sha512.h"
#include "pod/configure.h"
#include "pod/park.h"
#include "pod/template.h"

#include <string.h>

#define POD_DIGEST_SIZE SHA512_TEXT_SIZE

/* Apps that are not at their first instruction by then will not be. */
#define PARK_MS 120000

bool pod_is_shared(const struct resolved_pod *resolved)
{
	for (size_t i = 0; i < resolved->volume_count; i++)
		if (resolved->volumes[i].kind != APPC_VOLUME_EMPTY)
			return true;
	/* Volumes may come. */
	return resolved->is_mutable;
}

static void digest_text(struct sha512 *sha, const char *text)
{
	/* With its NUL, so that no two lists run together to the same text. */
	sha512_update(sha, text, strlen(text) + 1);
}

/*
 * Of all that makes the parked state of two runs of a pod the same: what guest-init is told, the trees
 * of the apps, the shape of the volumes. Who the pod is (UUID, hostname) is renewed.
 */
static int pod_digest(const struct resolved_pod *resolved, char ret[POD_DIGEST_SIZE])
{
	static const char *const renewed[] = {"uuid", "hostname", "machine_id", "entropy", NULL};
	_cleanup_json_ json_t *message = resolved_pod_configure(resolved, NULL, "", "", true);
	_cleanup_free_ char *text = NULL;
	struct sha512 sha;

	if (!message)
		return -ENOMEM;
	for (size_t i = 0; renewed[i]; i++)
		json_object_del(message, renewed[i]);
	text = json_text(message, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		return -ENOMEM;
	sha512_init(&sha);
	digest_text(&sha, text);
	for (size_t i = 0; i < resolved->app_count; i++)
		digest_text(&sha, resolved->apps[i].tree_id);
	for (size_t i = 0; i < resolved->volume_count; i++) {
		const struct resolved_volume *volume = &resolved->volumes[i];
		char shape[128];

		digest_text(&sha, volume->name);
		digest_text(&sha, volume->source ? volume->source : "");
		snprintf(shape, sizeof(shape), "%d %d %d %o %lld %lld", (int)volume->kind,
			volume->read_only, volume->recursive, volume->mode, (long long)volume->uid,
			(long long)volume->gid);
		digest_text(&sha, shape);
	}
	sha512_final_text(&sha, ret);
	return 0;
}

static struct template_subject subject_of(
	const struct pod_origin_options *options, const struct resolved_pod *resolved)
{
	return (struct template_subject){
		.kernel_fd = options->kernel_fd,
		.init_fd = options->init_fd,
		.vcpus = resolved->vcpus,
		.memory = resolved->memory,
		.shared = pod_is_shared(resolved),
		.dax = options->dax,
		.net_kind = options->net_kind,
		.kernel_messages = options->kernel_messages,
		.extra_command_line = options->extra_command_line,
	};
}

/* Opens the template of a key; one that is damaged is as good as none, but that is said. */
static int open_template(struct templates *templates, const char *key, struct template *ret)
{
	struct error err = {0};
	int r = pod_template_open(templates, key, ret, &err);

	if (r < 0 && r != -ENOENT)
		log_warning("%s", error_text(&err, r));
	return r;
}

static int find_plain(const struct pod_origin_options *options,
	const struct template_subject *subject, struct pod_origin *ret, struct error *err)
{
	int r = template_key(options->templates, subject, ret->key, err);

	if (r < 0)
		return r;
	if (open_template(options->templates, ret->key, &ret->template) == 0)
		return 0;
	r = pod_template_build(options->templates, subject, err);
	if (r < 0)
		return r;
	ret->was_built = true;
	return pod_template_open(options->templates, ret->key, &ret->template, err);
}

/* Builds the template with the pod's parked apps, unless somebody else does. */
static int build_warm(const struct pod_origin_options *options, struct pods *pods,
	const struct resolved_pod *resolved, struct store *store,
	const struct template_subject *subject, const char *key, const struct template *plain,
	struct parking *parking, struct error *err)
{
	struct template_builder builder;
	const struct pod_park_options park = {
		.init_fd = options->init_fd,
		.kernel_fd = options->kernel_fd,
		.template = plain,
		.dax = options->dax,
		.net_kind = options->net_kind,
		.builder = &builder,
		.parking = parking,
	};
	int r;

	r = template_build_begin(
		options->templates, key, true, parking_tell_waiting, parking, &builder, err);
	parking_end_line(parking);
	if (r == -EEXIST)
		return 0;
	if (r < 0)
		return r;
	r = pod_park(pods, resolved, store, &park, err);
	if (r == 0)
		return template_build_commit(&builder, subject, err);
	template_build_abort(&builder);
	return r;
}

/* Parks the pod's apps, starting from the plain template in *origin, which the result replaces. */
static int park_apps(const struct pod_origin_options *options, struct pods *pods,
	const struct resolved_pod *resolved, struct store *store,
	const struct template_subject *subject, const char *key, struct pod_origin *origin,
	struct error *err)
{
	struct parking parking = {
		.subject = subject, .doing = "parking the apps of a pod in", .limit_ms = PARK_MS};
	struct template parked = TEMPLATE_NONE;
	int r;

	r = parking_begin(&parking, err);
	if (r < 0)
		return r;
	r = build_warm(
		options, pods, resolved, store, subject, key, &origin->template, &parking, err);
	parking_end(&parking);
	if (r == 0)
		r = pod_template_open(options->templates, key, &parked, err);
	if (r < 0)
		return r;
	template_close(&origin->template);
	origin->template = parked;
	origin->was_built = true;
	return 0;
}

/* The pod's own parked apps. A negative return: there are none, and *ret is as it was. */
static int find_warm(const struct pod_origin_options *options, struct pods *pods,
	const struct resolved_pod *resolved, struct store *store, struct pod_origin *ret,
	struct error *err)
{
	struct template_subject subject = subject_of(options, resolved);
	char digest[POD_DIGEST_SIZE], key[TEMPLATE_KEY_SIZE];
	int r;

	r = pod_digest(resolved, digest);
	if (r < 0)
		return error_set_errno(err, r, "cannot tell this pod from others");
	subject.pod = digest;
	r = template_key(options->templates, &subject, key, err);
	if (r < 0)
		return r;
	if (open_template(options->templates, key, &ret->template) < 0) {
		struct template_subject plain = subject_of(options, resolved);

		r = find_plain(options, &plain, ret, err);
		if (r == 0)
			r = park_apps(options, pods, resolved, store, &subject, key, ret, err);
		if (r < 0)
			return r;
	}
	memcpy(ret->key, key, sizeof(key));
	ret->is_warm = true;
	return 0;
}

static void find_plain_or_boot(const struct pod_origin_options *options,
	const struct resolved_pod *resolved, struct pod_origin *ret)
{
	struct template_subject subject = subject_of(options, resolved);
	struct error err = {0};

	if (find_plain(options, &subject, ret, &err) == 0)
		return;
	log_warning("the machine boots, since there is no template: %s", err.message);
	template_close(&ret->template);
	*ret = POD_ORIGIN_NONE;
}

void pod_origin_find(const struct pod_origin_options *options, struct pods *pods,
	const struct resolved_pod *resolved, struct store *store, struct pod_origin *ret)
{
	struct error err = {0};
	int r;

	*ret = POD_ORIGIN_NONE;
	if (options->warm) {
		r = find_warm(options, pods, resolved, store, ret, &err);
		if (r == 0)
			return;
		log_warning("the pod does not start warm: %s", err.message);
		/* What find_warm() found on its way will do. */
		if (ret->template.memory_fd >= 0)
			return;
	}
	find_plain_or_boot(options, resolved, ret);
}

void pod_origin_fall_back(const struct pod_origin_options *options,
	const struct resolved_pod *resolved, struct pod_origin *origin, bool useless)
{
	bool was_warm = origin->is_warm;
	struct error ignored;

	if (useless)
		templates_remove(options->templates, origin->key, &ignored);
	pod_origin_done(origin);
	if (was_warm)
		find_plain_or_boot(options, resolved, origin);
}

void pod_origin_done(struct pod_origin *origin)
{
	template_close(&origin->template);
	*origin = POD_ORIGIN_NONE;
}
