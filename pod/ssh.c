// SPDX-License-Identifier: Apache-2.0
/* ssh.c: see ssh.h. */
#include "pod/ssh.h"

#include "base/base64.h"
#include "base/child.h"
#include "base/file.h"
#include "base/json.h"
#include "pod/debug_tree.h"
#include "pod/session.h"
#include "pod/sockets.h"
#include "pod/stream.h"
#include "store/temporary.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_TYPE   "ssh-ed25519 "
#define OUTPUT_MAX 4096
#define KEY_MAX    1024

/* How long the pod may take to let us in. */
#define ANSWER_MS 30000

#define IDENTITY_DIRECTORY  "identity"
#define IDENTITY_PUBLIC_KEY POD_SSH_IDENTITY ".pub"
#define HOST_DIRECTORY      "ssh"
#define HOST_KEY            "host_key"
#define HOST_PUBLIC_KEY     "host_key.pub"

/* The first line of a text that is a public key, as "ssh-ed25519 AAAA...": no other can be meant. */
static char *public_key_find(const char *text)
{
	while (text && strncmp(text, KEY_TYPE, strlen(KEY_TYPE)) != 0) {
		text = strchr(text, '\n');
		text += text ? 1 : 0;
	}
	if (text) {
		size_t length = strcspn(text + strlen(KEY_TYPE), " \n");
		char bytes[KEY_MAX];

		if (length > 0 && length <= sizeof(bytes) &&
			base64_decode(text + strlen(KEY_TYPE), length, bytes) > 0)
			return strndup(text, strlen(KEY_TYPE) + length);
	}
	return NULL;
}

static int public_key_read(int dirfd, const char *path, char **ret)
{
	_cleanup_free_ char *text = NULL;
	int r = file_read(dirfd, path, OUTPUT_MAX, &text, NULL);

	if (r < 0)
		return r;
	*ret = public_key_find(text);
	return *ret ? 0 : -EBADMSG;
}

/* ---- keys that are made once */

/* What makes one, in an empty directory; its output is a public key or not. */
struct key_maker {
	const char *program, *package;
	const char *const *argv;
	const char *
		public_key; /* a file that its output is to be kept in; NULL: it writes one itself */
};

static int keep_public_key(int directory, const char *name, const char *output)
{
	_cleanup_free_ char *key = public_key_find(output);
	_cleanup_free_ char *line = NULL;

	if (!key)
		return -EBADMSG;
	if (asprintf(&line, "%s\n", key) < 0) {
		line = NULL;
		return -ENOMEM;
	}
	return file_write_atomic(directory, name, line, strlen(line), 0600);
}

static int make_key(const struct key_maker *maker, int directory, struct error *err)
{
	_cleanup_free_ char *output = NULL;
	int r = child_run(directory, maker->program, maker->argv, OUTPUT_MAX, &output);

	if (r == -ENOENT)
		return error_set(err, -ENOPKG, "%s is not installed; as root: apt-get install %s",
			maker->program, maker->package);
	if (r > 0)
		return error_set(err, -EIO, "%s failed: %.*s", maker->program,
			(int)strcspn(output, "\n"), output);
	if (r == 0 && maker->public_key)
		r = keep_public_key(directory, maker->public_key, output);
	if (r == 0 && syncfs(directory) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, r, "%s", maker->program) : 0;
}

/* Makes dirfd/name where it is not there. */
static int key_directory_make(int data_dirfd, int dirfd, const char *name,
	const struct key_maker *maker, struct error *err)
{
	_cleanup_close_ int tmp = -1;
	_cleanup_temporary_ struct temporary temporary = TEMPORARY_NONE;
	struct stat st;
	int r;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	r = directory_create_path(data_dirfd, "tmp", 0750);
	if (r == 0)
		tmp = directory_open(data_dirfd, "tmp");
	if (r == 0)
		r = tmp < 0 ? tmp : temporary_create(tmp, "ssh-", &temporary);
	if (r < 0)
		return error_set_errno(err, r, "cannot make a directory for keys");
	r = make_key(maker, temporary.fd, err);
	if (r < 0)
		return r;
	r = temporary_publish(&temporary, dirfd, name);
	/* Somebody was faster. */
	return r < 0 && r != -EEXIST ? error_set_errno(err, r, "cannot keep a key") : 0;
}

int pod_ssh_make_identity(int data_dirfd, struct error *err)
{
	static const char *const argv[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C",
		"appc-vm", "-f", "id_ed25519", NULL};
	static const struct key_maker maker = {
		.program = "/usr/bin/ssh-keygen", .package = "openssh-client", .argv = argv};
	_cleanup_close_ int directory = -1;
	int r = directory_create_path(data_dirfd, "ssh", 0700);

	if (r == 0)
		directory = directory_open(data_dirfd, "ssh");
	if (r < 0 || directory < 0)
		return error_set_errno(
			err, r < 0 ? r : directory, "cannot make a directory for keys");
	return key_directory_make(data_dirfd, directory, IDENTITY_DIRECTORY, &maker, err);
}

static int make_host_key(const struct pod *pod, struct error *err)
{
	static const char *const argv[] = {"dropbearkey", "-t", "ed25519", "-f", HOST_KEY, NULL};
	static const struct key_maker maker = {.program = "/usr/bin/dropbearkey",
		.package = "dropbear-bin",
		.argv = argv,
		.public_key = HOST_PUBLIC_KEY};

	if (pod->state != POD_RUNNING)
		return error_set(err, -ESRCH, "pod \"%s\" is not running", pod->uuid);
	return key_directory_make(pods_data_fd(pod->pods), pod->fd, HOST_DIRECTORY, &maker, err);
}

int pod_ssh_host_key(const struct pod *pod, char **ret, struct error *err)
{
	int r = make_host_key(pod, err);

	if (r < 0)
		return r;
	r = public_key_read(pod->fd, HOST_DIRECTORY "/" HOST_PUBLIC_KEY, ret);
	return r < 0 ? error_set_errno(err, r, "pod %s: cannot read its host key", pod->uuid) : 0;
}

/* ---- the connection */

static int make_request(const struct pod *pod, const char *tree, json_t **ret, struct error *err)
{
	_cleanup_free_ char *public = NULL, *line = NULL, *key = NULL;
	char text[BASE64_LENGTH(WIRE_SESSION_HOST_KEY_MAX) + 1];
	size_t length = 0;
	int r = public_key_read(pods_data_fd(pod->pods), IDENTITY_PUBLIC_KEY, &public);

	if (r < 0)
		return error_set_errno(err, r, "cannot read the key " IDENTITY_PUBLIC_KEY);
	r = file_read(
		pod->fd, HOST_DIRECTORY "/" HOST_KEY, WIRE_SESSION_HOST_KEY_MAX, &key, &length);
	if (r < 0)
		return error_set_errno(err, r, "pod %s: cannot read its host key", pod->uuid);
	base64_encode(key, length, text);
	if (asprintf(&line, "%s\n", public) < 0) {
		line = NULL;
		return error_set_errno(err, -ENOMEM, "cannot compose the request");
	}
	*ret = json_pack("{s:s, s:s, s:s, s:s}", "type", "ssh", "tree", tree, "host_key", text,
		"authorized_keys", line);
	return *ret ? 0 : error_set_errno(err, -ENOMEM, "cannot compose the request");
}

/* The tree's name stands in the pod's directory before the lock on the trees is let go of. */
static int use_tree(const struct pod *pod, char name[DEBUG_TREE_NAME_SIZE], struct error *err)
{
	_cleanup_close_ int lock = -1;
	int r = debug_tree_get(pods_data_fd(pod->pods), name, &lock, err);

	if (r < 0)
		return r;
	r = debug_tree_note_use(pod->fd, name);
	return r < 0 ? error_set_errno(err, r, "pod %s: cannot write its directory", pod->uuid) : 0;
}

/* *ret_session is the server's connection, behind the guest's frame. */
static int connect_server(const struct pod *pod, const json_t *request,
	struct pod_session *ret_session, struct error *err)
{
	struct wire_session_frame frame;
	int status, r = pod_session_open(pod, pod_vsock_connect(pod, ANSWER_MS), ret_session, err);

	if (r < 0)
		return r;
	r = pod_session_ask(ret_session, request);
	if (r < 0)
		return error_set_errno(err, r, "cannot send to the pod");
	r = pod_session_await(ret_session, ANSWER_MS, &frame, err);
	if (r < 0 || frame.kind == WIRE_SESSION_STREAM)
		return r;
	if (frame.kind == WIRE_SESSION_RESULT)
		r = pod_session_result(&frame, &status, err);
	return r < 0 ? r : pod_session_broken(err);
}

int pod_ssh(struct pod *pod, struct error *err)
{
	_cleanup_(pod_session_close) struct pod_session session = POD_SESSION_NONE;
	_cleanup_json_ json_t *request = NULL;
	char tree[DEBUG_TREE_NAME_SIZE];
	const char *begun;
	size_t length;
	int r = make_host_key(pod, err);

	if (r == 0)
		r = pod_ssh_make_identity(pods_data_fd(pod->pods), err);
	if (r == 0)
		r = use_tree(pod, tree, err);
	if (r == 0)
		r = make_request(pod, tree, &request, err);
	if (r == 0)
		r = connect_server(pod, request, &session, err);
	if (r < 0)
		return r;
	length = wire_session_reader_rest(&session.reader, &begun);
	r = pod_stream_run(session.fd, begun, length, err);
	/* As a local process that writes to a pipe nobody reads. */
	return r == -EPIPE ? WIRE_STATUS_SIGNAL(SIGPIPE) : r;
}
