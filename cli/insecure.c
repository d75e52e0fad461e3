// SPDX-License-Identifier: Apache-2.0
/* insecure.c: the names of --insecure-options */
#include "cli/insecure.h"

#include <string.h>

#define VMM(wall) (1u << (CLI_INSECURE_VMM + (wall)))

static const struct {
	const char *name;
	unsigned int bits;
} names[] = {
	{"none", 0},
	{"image", CLI_INSECURE_IMAGE},
	{"tls", CLI_INSECURE_TLS},
	{"http", CLI_INSECURE_HTTP},
	{"pubkey", CLI_INSECURE_PUBKEY},
	{"ondisk", CLI_INSECURE_ONDISK},
	{"capabilities", CLI_INSECURE_CAPABILITIES},
	{"paths", CLI_INSECURE_PATHS},
	{"seccomp", CLI_INSECURE_SECCOMP},
	{"vmm-namespaces", VMM(JAIL_NAMESPACES)},
	{"vmm-user", VMM(JAIL_USER)},
	{"vmm-limits", VMM(JAIL_LIMITS)},
	{"vmm-cgroup", VMM(JAIL_CGROUP)},
	{"vmm-landlock", VMM(JAIL_LANDLOCK)},
	{"vmm-seccomp", VMM(JAIL_SECCOMP)},
	{"all-vmm",
		VMM(JAIL_NAMESPACES) | VMM(JAIL_USER) | VMM(JAIL_LIMITS) | VMM(JAIL_CGROUP) |
			VMM(JAIL_LANDLOCK) | VMM(JAIL_SECCOMP)},
	{"all-fetch", CLI_INSECURE_ALL_FETCH},
	{"all-run", CLI_INSECURE_ALL_RUN},
	{"all", CLI_INSECURE_ALL_FETCH | CLI_INSECURE_ALL_RUN},
};

unsigned int cli_insecure_walls(unsigned int bits)
{
	return bits >> CLI_INSECURE_VMM & JAIL_ALL;
}

int cli_insecure_parse(const char *list, unsigned int *bits, struct error *err)
{
	for (const char *rest = list; *rest;) {
		size_t length = strcspn(rest, ","), i;

		for (i = 0; i < ARRAY_SIZE(names); i++)
			if (strlen(names[i].name) == length &&
				!strncmp(names[i].name, rest, length))
				break;
		if (i == ARRAY_SIZE(names))
			return error_set(err, -EINVAL,
				"--insecure-options: unknown option \"%.*s\"; there are none, image, tls, "
				"http, pubkey, ondisk, capabilities, paths, seccomp, all-fetch, all-run, "
				"all, and of the VMM vmm-namespaces, vmm-user, vmm-limits, vmm-cgroup, "
				"vmm-landlock, vmm-seccomp and all-vmm",
				(int)length, rest);
		*bits |= names[i].bits;
		rest += length + (rest[length] == ',');
	}
	return 0;
}
