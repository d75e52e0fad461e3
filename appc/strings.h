/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forms in which the command line writes parts of a manifest: a name, then KEY=VALUE pairs, all
 * separated by commas. The rules for the values are those of the JSON form.
 *
 *   volume       NAME,kind=host|empty[,source=PATH][,readOnly=BOOL][,recursive=BOOL]
 *                [,mode=OCTAL][,uid=N][,gid=N]
 *   mount point  NAME,path=PATH[,readOnly=BOOL]
 *   port         NAME,protocol=PROTOCOL,port=N[,count=N][,socketActivated=BOOL]
 *   mount        volume=NAME,target=PATH
 *   exposed port NAME:[HOSTIP:]HOSTPORT (an IPv6 address stands in brackets)
 *   image name   NAME[:VERSION][,LABEL=VALUE...]
 *
 * A command demands APPC_COMPLETE; APPC_DECODE accepts what the reference implementation accepts.
 * On success the caller owns what *ret holds and clears it with the function of appc/manifest.h; on
 * failure *ret holds nothing. Errors: -EINVAL with a message, -ENOMEM.
 */
#ifndef APPC_APPC_STRINGS_H
#define APPC_APPC_STRINGS_H

#include "appc/manifest.h"
#include "appc/types.h"

int appc_volume_from_string(const char *text, enum appc_strictness strictness,
	struct appc_volume *ret, struct error *err);
int appc_mount_point_from_string(const char *text, enum appc_strictness strictness,
	struct appc_mount_point *ret, struct error *err);
int appc_port_from_string(const char *text, enum appc_strictness strictness, struct appc_port *ret,
	struct error *err);
int appc_mount_from_string(const char *text, struct appc_mount *ret, struct error *err);
int appc_exposed_port_from_string(
	const char *text, struct appc_exposed_port *ret, struct error *err);
/* "NAME:PROTOCOL:PODPORT:[HOSTIP:]HOSTPORT": one that no app has to have declared. */
int appc_forwarded_port_from_string(
	const char *text, struct appc_exposed_port *ret, struct error *err);

struct appc_image_reference {
	char *name;
	struct appc_pairs labels; /* the version is the label "version" */
};

int appc_image_reference_from_string(
	const char *text, struct appc_image_reference *ret, struct error *err);
void appc_image_reference_clear(struct appc_image_reference *reference);

#endif
