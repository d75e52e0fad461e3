/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the apps of a pod look up names: the texts of their resolv.conf(5) and hosts(5), from flags in rkt's
 * forms.
 */
#ifndef APPC_POD_NAME_SERVICE_H
#define APPC_POD_NAME_SERVICE_H

#include "appc/manifest.h"

/* Longest text of either file, bytes. */
#define NAME_SERVICE_TEXT_MAX (64u << 10)

/* The values of the flags, each as often as it stood. */
struct name_service_flags {
	struct appc_strings servers; /* IP[,IP...], or alone: "host", "none" */
	struct appc_strings searches, options;
	const char *domain;        /* NULL: none; borrowed */
	struct appc_strings hosts; /* IP=NAME[,IP=NAME...], or alone: "host" */
};

void name_service_flags_clear(struct name_service_flags *flags);

struct name_service {
	char *resolv_conf;   /* NULL: what the image has */
	char *hosts_entries; /* lines, each ended by a newline; NULL: none */
};

void name_service_clear(struct name_service *service);

/*
 * "host" reads resolv_conf_path and hosts_path, the host's files. -EINVAL, or what reading gave, with a
 * message; -ENOMEM. *ret is empty then.
 */
int name_service_resolve(const struct name_service_flags *flags, const char *resolv_conf_path,
	const char *hosts_path, struct name_service *ret, struct error *err);

/*
 * Adds the host's name servers that can be asked from another network: IPv4, and not the host's own loopback, where a
 * resolver of systemd stands for those of SYSTEMD_RESOLV_CONF. No file, no server: nothing is added. -ENOMEM.
 */
#define SYSTEMD_RESOLV_CONF "/run/systemd/resolve/resolv.conf"
int name_service_add_reachable(struct appc_strings *servers, const char *resolv_conf_path);

#endif
