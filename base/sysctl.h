/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of kernel parameters, as sysctl(8) takes them. The host checks them before a pod starts, and guest-init,
 * which trusts nobody, again before it writes.
 */
#ifndef APPC_BASE_SYSCTL_H
#define APPC_BASE_SYSCTL_H

/*
 * The path below /proc/sys: "net.ipv4.ip_forward" is "net/ipv4/ip_forward". A name whose first separator is a slash is
 * a path already ("net/ipv4/conf/eth0.1/forwarding"). The caller frees *ret. -EINVAL: it would lead elsewhere, or a
 * component is empty or too long for a file's name; -ENOMEM.
 */
int sysctl_path(const char *name, char **ret);

#endif
