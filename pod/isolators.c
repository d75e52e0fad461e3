// SPDX-License-Identifier: Apache-2.0
/* isolators.c: from isolators to limits, capabilities, filters, and what is said of each. */
#include "pod/isolators.h"

#include "base/log.h"
#include "base/sysctl.h"

#include <inttypes.h>
#include <string.h>

/* The specification's range of cpu-shares, and cgroup v2's of weights. */
#define SHARES_MIN 2
#define SHARES_MAX 262144
#define WEIGHT_MAX 10000

/* A limit below a page keeps everything from running. */
#define MEMORY_LIMIT_MIN 4096

enum fate { FATE_ENFORCED, FATE_IGNORED, FATE_MODIFIED, FATES };

static const char *const fate_names[FATES] = {
	[FATE_ENFORCED] = "enforced",
	[FATE_IGNORED] = "ignored",
	[FATE_MODIFIED] = "modified",
};

/* One list of isolators being resolved, and its part of the report. */
struct scope {
	const char *who; /* "pod", or the app's name */
	const struct appc_isolators *isolators;
	const struct resolve_options *options;
	json_t *report;
};

static json_t *report_new(void)
{
	return json_pack("{s:[], s:[], s:[]}", fate_names[FATE_ENFORCED], fate_names[FATE_IGNORED],
		fate_names[FATE_MODIFIED]);
}

/* Only the last of a name has an effect, and is reported. */
static bool is_effective(const struct appc_isolators *isolators, size_t index)
{
	for (size_t i = index + 1; i < isolators->count; i++)
		if (!strcmp(isolators->items[i].name, isolators->items[index].name))
			return false;
	return true;
}

static int report(struct scope *scope, const struct appc_isolator *isolator, enum fate fate)
{
	return json_array_append_new(json_object_get(scope->report, fate_names[fate]),
		       json_string(isolator->name)) < 0
		? -ENOMEM
		: 0;
}

/* why may be NULL: its name says it. */
static int report_ignored(struct scope *scope, const struct appc_isolator *isolator,
	const char *why, struct error *err)
{
	const char *colon = why ? ": " : "";

	why = why ? why : "";
	if (scope->options->strict_isolators)
		return error_set(err, -ENOTSUP, "%s: isolator \"%s\" cannot be enforced%s%s",
			scope->who, isolator->name, colon, why);
	log_warning("%s: isolator \"%s\" is ignored%s%s", scope->who, isolator->name, colon, why);
	return report(scope, isolator, FATE_IGNORED);
}

static const char no_limit[] = "there is no limit in it";

/*
 * Limits on files and on the network, which a device of the machine knows for all of its apps together: the pod's, and
 * those of an app that is alone. Returns NULL, or why they cannot be enforced.
 */
static const char *limit_device(struct resolved_pod *pod, const struct appc_isolator *isolator,
	const struct resolve_options *options)
{
	uint64_t *limit = isolator->kind == APPC_ISOLATOR_NETWORK_BANDWIDTH
		? &pod->network_bandwidth
		: isolator->kind == APPC_ISOLATOR_BLOCK_IOPS ? &pod->file_limits.operations
							     : &pod->file_limits.bytes;

	if (options->is_container)
		return "a container has no device of its own to slow down";
	if (isolator->limit <= 0)
		return no_limit;
	if (*limit == 0 || (uint64_t)isolator->limit < *limit)
		*limit = (uint64_t)isolator->limit;
	return NULL;
}

/* What the person who runs the pod switched off is no surprise to him. */
static int report_insecure(struct scope *scope, const struct appc_isolator *isolator)
{
	log_debug("%s: isolator \"%s\" is switched off by --insecure-options", scope->who,
		isolator->name);
	return report(scope, isolator, FATE_IGNORED);
}

static int check_sysctls(const struct appc_isolator *isolator, struct error *err)
{
	for (size_t i = 0; i < isolator->sysctls.count; i++) {
		const char *name = isolator->sysctls.items[i].name;
		_cleanup_free_ char *path = NULL;
		int r = sysctl_path(name, &path);

		if (r == -EINVAL)
			return error_set(err, r,
				"isolator \"%s\": \"%s\" is not the name of a kernel parameter",
				isolator->name, name);
		if (r < 0)
			return r;
	}
	return 0;
}

int pod_isolators_resolve(
	struct resolved_pod *pod, const struct resolve_options *options, struct error *err)
{
	struct scope scope = {
		.who = "pod",
		.isolators = &pod->manifest->isolators,
		.options = options,
		.report = report_new(),
	};

	pod->memory_max = pod->cpu_millis = -1;
	pod->isolators = json_pack("{s:o, s:{}}", "pod", scope.report, "apps");
	if (!pod->isolators)
		return -ENOMEM;
	for (size_t i = 0; i < scope.isolators->count; i++) {
		const struct appc_isolator *isolator = &scope.isolators->items[i];
		const char *why;
		int r;

		if (!is_effective(scope.isolators, i))
			continue;
		switch (isolator->kind) {
		case APPC_ISOLATOR_MEMORY:
			pod->memory_max = isolator->limit;
			if (pod->memory_max >= 0 && pod->memory_max < MEMORY_LIMIT_MIN)
				return error_set(err, -EINVAL,
					"the pod's memory limit of %" PRId64 " bytes is too low",
					pod->memory_max);
			r = pod->memory_max < 0 ? report_ignored(&scope, isolator, no_limit, err)
						: report(&scope, isolator, FATE_ENFORCED);
			break;
		case APPC_ISOLATOR_CPU:
			pod->cpu_millis = isolator->limit > 0 ? isolator->limit : -1;
			r = pod->cpu_millis < 0 ? report_ignored(&scope, isolator, no_limit, err)
						: report(&scope, isolator, FATE_ENFORCED);
			break;
		case APPC_ISOLATOR_SYSCTL:
			r = check_sysctls(isolator, err);
			if (r == 0)
				r = report(&scope, isolator, FATE_ENFORCED);
			break;
		case APPC_ISOLATOR_BLOCK_BANDWIDTH:
		case APPC_ISOLATOR_BLOCK_IOPS:
		case APPC_ISOLATOR_NETWORK_BANDWIDTH:
			why = limit_device(pod, isolator, options);
			r = why ? report_ignored(&scope, isolator, why, err)
				: report(&scope, isolator, FATE_ENFORCED);
			break;
		default:
			r = report_ignored(&scope, isolator, NULL, err);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* An app may not use more than its pod. *ret_fate tells when that changes what it asked for. */
static int64_t limit_bounded(int64_t bound, int64_t limit, enum fate *ret_fate)
{
	*ret_fate = FATE_ENFORCED;
	if (bound < 0 || limit < 0 || limit <= bound)
		return limit;
	*ret_fate = FATE_MODIFIED;
	return bound;
}

/* A request that is omitted is the limit, as the pod's bounds it (specification, "Resource Isolators"). */
static int64_t request_or_limit(const struct appc_isolator *isolator, int64_t limit)
{
	return isolator->request < 0 ? limit : isolator->request;
}

static int resolve_memory(const struct resolved_pod *pod, struct resolved_app *app,
	const struct appc_isolator *isolator, enum fate *ret_fate, struct error *err)
{
	if (isolator->limit >= 0 && isolator->limit < MEMORY_LIMIT_MIN)
		return error_set(
			err, -EINVAL, "memory limit of %" PRId64 " bytes too low", isolator->limit);
	app->memory_max = limit_bounded(pod->memory_max, isolator->limit, ret_fate);
	app->memory_low = request_or_limit(isolator, app->memory_max);
	return 0;
}

static int64_t weight_clamped(int64_t weight)
{
	return weight < 1 ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
}

static int resolve_cpu(const struct resolved_pod *pod, struct resolved_app *app,
	const struct appc_isolator *isolator, enum fate *ret_fate)
{
	int64_t request;

	app->cpu_millis = limit_bounded(pod->cpu_millis, isolator->limit, ret_fate);
	request = request_or_limit(isolator, app->cpu_millis);
	/* Weight 100 is one CPU's worth of request; cpu-shares say it more exactly. */
	if (request > 0 && !appc_isolators_find(&app->app->isolators, APPC_ISOLATOR_CPU_SHARES)) {
		app->has_cpu_weight = true;
		app->cpu_weight = weight_clamped(request / 10);
	}
	return 0;
}

/* The kernel's own formula for cgroup v2. */
static void resolve_shares(struct resolved_app *app, const struct appc_isolator *isolator)
{
	app->has_cpu_weight = true;
	app->cpu_weight = weight_clamped(
		1 + (isolator->number - SHARES_MIN) * (WEIGHT_MAX - 1) / (SHARES_MAX - SHARES_MIN));
}

static bool user_is_root(const struct appc_app *app)
{
	return !strcmp(app->user, "0") || !strcmp(app->user, "root");
}

/* A filter that a user other than root is to have takes new privileges from him. */
static enum fate resolve_no_new_privileges(
	struct resolved_app *app, const struct appc_isolator *isolator)
{
	app->no_new_privileges = isolator->flag;
	return !isolator->flag && app->seccomp.program && !user_is_root(app->app) ? FATE_MODIFIED
										  : FATE_ENFORCED;
}

/* What a set of capabilities comes to: a name that none has is no reason not to run, as a system call's is not. */
static enum fate check_capabilities(struct scope *scope, const struct appc_isolator *isolator)
{
	enum fate fate = FATE_ENFORCED;

	for (size_t i = 0; i < isolator->set.count; i++) {
		if (appc_capability_number(isolator->set.items[i]) >= 0)
			continue;
		log_warning("%s: isolator \"%s\": there is no capability \"%s\"", scope->who,
			isolator->name, isolator->set.items[i]);
		fate = FATE_MODIFIED;
	}
	return fate;
}

/*
 * One isolator of an app. Capabilities and the filter, which an app has without any isolator too, are resolved
 * already.
 */
static int resolve_one(struct scope *scope, struct resolved_pod *pod, struct resolved_app *app,
	const struct appc_isolator *isolator, struct error *err)
{
	enum fate fate = FATE_ENFORCED;
	const char *why;
	int r = 0;

	switch (isolator->kind) {
	case APPC_ISOLATOR_MEMORY:
		r = resolve_memory(pod, app, isolator, &fate, err);
		break;
	case APPC_ISOLATOR_CPU:
		r = resolve_cpu(pod, app, isolator, &fate);
		break;
	case APPC_ISOLATOR_CPU_SHARES:
		resolve_shares(app, isolator);
		break;
	case APPC_ISOLATOR_OOM_SCORE_ADJ:
		app->has_oom_score_adj = true;
		app->oom_score_adj = isolator->number;
		break;
	case APPC_ISOLATOR_NO_NEW_PRIVILEGES:
		fate = resolve_no_new_privileges(app, isolator);
		break;
	case APPC_ISOLATOR_CAPABILITIES_RETAIN:
	case APPC_ISOLATOR_CAPABILITIES_REMOVE:
		if (scope->options->insecure_capabilities)
			return report_insecure(scope, isolator);
		fate = check_capabilities(scope, isolator);
		break;
	case APPC_ISOLATOR_SECCOMP_RETAIN:
	case APPC_ISOLATOR_SECCOMP_REMOVE:
		if (scope->options->insecure_seccomp)
			return report_insecure(scope, isolator);
		if (app->seccomp.is_partial)
			fate = FATE_MODIFIED;
		break;
	case APPC_ISOLATOR_BLOCK_BANDWIDTH:
	case APPC_ISOLATOR_BLOCK_IOPS:
	case APPC_ISOLATOR_NETWORK_BANDWIDTH:
		why = pod->manifest->app_count == 1
			? limit_device(pod, isolator, scope->options)
			: "the pod's apps share their devices: give the limit to the pod";
		if (why)
			return report_ignored(scope, isolator, why, err);
		break;
	case APPC_ISOLATOR_APPARMOR_PROFILE:
		/* To run an app without the profile that it asks for is what the specification forbids. */
		return error_set(err, -ENOTSUP,
			"isolator \"%s\": there is no AppArmor in a pod, so its profile is not available",
			isolator->name);
	default:
		return report_ignored(scope, isolator, NULL, err);
	}
	return r < 0 ? r : report(scope, isolator, fate);
}

int pod_isolators_resolve_app(struct resolved_pod *pod, struct resolved_app *app,
	const struct resolve_options *options, struct error *err)
{
	struct scope scope = {
		.who = app->name,
		.isolators = &app->app->isolators,
		.options = options,
		.report = report_new(),
	};
	int r = 0;

	if (json_object_set_new(json_object_get(pod->isolators, "apps"), app->name, scope.report) <
		0)
		return -ENOMEM;
	app->memory_max = app->memory_low = app->cpu_millis = -1;
	app->capabilities = UINT64_MAX;
	if (!options->insecure_capabilities)
		r = appc_capabilities_resolve(scope.isolators, &app->capabilities, err);
	if (r == 0 && !options->insecure_seccomp)
		r = pod_seccomp_resolve(scope.isolators, app->name, &app->seccomp, err);
	for (size_t i = 0; r == 0 && i < scope.isolators->count; i++)
		if (is_effective(scope.isolators, i))
			r = resolve_one(&scope, pod, app, &scope.isolators->items[i], err);
	return r;
}
