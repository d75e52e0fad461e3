// SPDX-License-Identifier: Apache-2.0
/* docker-reference.c: takes names of Docker images apart. */
#include "store/docker-reference.h"

#include <string.h>

void docker_reference_clear(struct docker_reference *reference)
{
	free(reference->original);
	free(reference->registry);
	free(reference->repository);
	free(reference->tag);
	*reference = (struct docker_reference){0};
}

bool docker_reference_has_repository(const char *text)
{
	return strpbrk(text, "/:") != NULL;
}

/* The first component is a registry if it cannot be part of a name on Docker Hub. */
static bool is_registry(const char *text, size_t length)
{
	return memchr(text, '.', length) || memchr(text, ':', length) ||
		(length == strlen("localhost") && !strncmp(text, "localhost", length));
}

static bool is_docker_hub(const char *text, size_t length)
{
	static const char *const names[] = {"docker.io", "index.docker.io", DOCKER_HUB};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == length && !strncmp(text, names[i], length))
			return true;
	return false;
}

static int reference_parse(const char *text, struct docker_reference *ret, struct error *err)
{
	size_t length = strcspn(text, "@"), registry_length;
	const char *slash, *colon, *repository = text, *tag = DOCKER_DEFAULT_TAG;
	size_t tag_length = strlen(tag);
	bool hub = true;

	colon = memrchr(text, ':', length);
	slash = memrchr(text, '/', length);
	if (colon && (!slash || colon > slash)) {
		tag = colon + 1;
		tag_length = length - (size_t)(tag - text);
		length = (size_t)(colon - text);
	}
	slash = memchr(text, '/', length);
	if (slash && is_registry(text, (size_t)(slash - text))) {
		registry_length = (size_t)(slash - text);
		hub = is_docker_hub(text, registry_length);
		if (!hub)
			ret->registry = strndup(text, registry_length);
		repository = slash + 1;
		length -= registry_length + 1;
	}
	if (length == 0 || tag_length == 0)
		return error_set(err, -EINVAL, "\"%s\" is not the name of an image", text);
	if (hub)
		ret->registry = strdup(DOCKER_HUB);
	if (asprintf(&ret->repository, "%s%.*s",
		    hub && !memchr(repository, '/', length) ? "library/" : "", (int)length,
		    repository) < 0)
		ret->repository = NULL;
	ret->tag = strndup(tag, tag_length);
	ret->original = strdup(text);
	if (!ret->registry || !ret->repository || !ret->tag || !ret->original)
		return error_set_errno(err, -ENOMEM, "%s", text);
	return 0;
}

int docker_reference_parse(const char *text, struct docker_reference *ret, struct error *err)
{
	_cleanup_docker_reference_ struct docker_reference reference = {0};
	int r = reference_parse(text, &reference, err);

	if (r < 0)
		return r;
	*ret = reference;
	reference = (struct docker_reference){0};
	return 0;
}

bool docker_reference_equal(
	const struct docker_reference *left, const struct docker_reference *right)
{
	return !strcmp(left->registry, right->registry) &&
		!strcmp(left->repository, right->repository) && !strcmp(left->tag, right->tag);
}
