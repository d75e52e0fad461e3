// SPDX-License-Identifier: Apache-2.0
/* app_request.c: see app_request.h. */
#include "pod/app_request.h"

#include "base/json.h"
#include "pod/request.h"
#include "wire/wire.h"

#include <string.h>

static const char *const names[APP_ACTIONS] = {
	[APP_ADD] = "add",
	[APP_START] = "start",
	[APP_STOP] = "stop",
	[APP_RM] = "rm",
};
/*
 * How long an answer may take, in milliseconds; a guest that never says what became of an app keeps nobody for ever. Who
 * adds waits for the host alone. Before an app is executed its pre-start handler runs, which may have much to do. One that
 * is removed may have to be stopped first.
 */
static const int patience[APP_ACTIONS] = {
	[APP_ADD] = -1,
	[APP_START] = 600000,
	[APP_STOP] = 2 * WIRE_STOP_GRACE_MS + 30000,
	[APP_RM] = 2 * WIRE_STOP_GRACE_MS + 60000,
};

/* As the only one of a pod manifest, so that it passes the same checks. */
static int parse_app(json_t *app, struct appc_pod_manifest **ret, struct error *err)
{
	_cleanup_json_ json_t *manifest = json_pack("{s:s, s:s, s:[O]}", "acVersion",
		APPC_VM_VERSION, "acKind", "PodManifest", "apps", app);
	_cleanup_free_ char *text = manifest ? json_text(manifest, JSON_COMPACT) : NULL;

	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	return appc_pod_manifest_parse(text, strlen(text), ret, err);
}

int app_request_parse(json_t *message, struct app_request *ret, struct error *err)
{
	const char *action = json_string_value(json_object_get(message, "action"));
	json_t *app = json_object_get(message, "app");
	unsigned int i = 0;

	*ret = (struct app_request){0};
	while (i < APP_ACTIONS && (!action || strcmp(action, names[i]) != 0))
		i++;
	if (i == APP_ACTIONS)
		return error_set(err, -EINVAL, "the request names no action on an app");
	ret->action = (enum app_action)i;
	if (ret->action == APP_ADD)
		return json_is_object(app)
			? parse_app(app, &ret->manifest, err)
			: error_set(err, -EINVAL, "the request to add an app has none");
	ret->app = json_string_value(app);
	return ret->app ? 0 : error_set(err, -EINVAL, "the request names no app");
}

void app_request_clear(struct app_request *request)
{
	appc_pod_manifest_free(request->manifest);
	*request = (struct app_request){0};
}

int app_request_ask(const struct pod *pod, enum app_action action, json_t *app, struct error *err)
{
	_cleanup_json_ json_t *message =
		json_pack("{s:s, s:s, s:O}", "type", "app", "action", names[action], "app", app);
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int fd = -1;

	if (!message)
		return error_set(err, -ENOMEM, "out of memory");
	fd = pod_request_ask(pod, message, patience[action], &answer, err);
	return fd < 0 ? fd : 0;
}
