/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --insecure-options: which checks a person gives up, as bits of cli->insecure.
 *
 * The names and groups are rkt's. Of fetching: image, tls, http, pubkey; of running: ondisk,
 * capabilities, paths, seccomp. These are walls around apps. Ours, which no group of rkt's has, are the walls
 * around the VMM: vmm-namespaces, vmm-user, vmm-limits, vmm-cgroup, vmm-landlock, vmm-seccomp, all-vmm.
 */
#ifndef APPC_CLI_INSECURE_H
#define APPC_CLI_INSECURE_H

#include "base/error.h"
#include "vmm/jail.h"

enum cli_insecure {
	CLI_INSECURE_IMAGE = 1u << 0,  /* images need no signature */
	CLI_INSECURE_TLS = 1u << 1,    /* any certificate of a server will do */
	CLI_INSECURE_HTTP = 1u << 2,   /* an https:// URL may lead to an http:// one */
	CLI_INSECURE_PUBKEY = 1u << 3, /* keys may come over http, or without a known certificate */
	CLI_INSECURE_ONDISK = 1u << 4, /* a rendered image is not verified before it runs */
	CLI_INSECURE_CAPABILITIES = 1u << 5, /* apps have all capabilities */
	CLI_INSECURE_PATHS = 1u << 6,        /* no path of /proc and /sys is hidden or read-only */
	CLI_INSECURE_SECCOMP = 1u << 7,      /* no system call is filtered */

	/* 1u << (CLI_INSECURE_VMM + enum jail_wall): the wall is left out */
	CLI_INSECURE_VMM = 16,

	CLI_INSECURE_ALL_FETCH = CLI_INSECURE_IMAGE | CLI_INSECURE_TLS | CLI_INSECURE_HTTP |
		CLI_INSECURE_PUBKEY,
	CLI_INSECURE_ALL_RUN = CLI_INSECURE_ONDISK | CLI_INSECURE_CAPABILITIES |
		CLI_INSECURE_PATHS | CLI_INSECURE_SECCOMP,
};

/* The walls of the VMM that are left out: a set of vmm/jail.h. */
unsigned int cli_insecure_walls(unsigned int bits);

/* Adds the bits of a comma-separated list of names. -EINVAL: an unknown name. */
int cli_insecure_parse(const char *list, unsigned int *bits, struct error *err);

#endif
