// SPDX-License-Identifier: Apache-2.0
/*
 * keyring.c: trusted keys on disk, and gpgv.
 *
 * Theory of operation. gpgv parses the signature, a stranger's file, as nobody and with four files open:
 * what it says of the signature, the keyring (an anonymous file with all trusted keys), the signature and
 * the data. It gets no environment but a locale. Its exit status alone is not believed: its status lines
 * must tell of exactly one signature, and a good one. Which images the signer may sign is asked later,
 * when the image's name is known, so that nothing of an image is parsed before its signature is good.
 */
#include "store/keyring.h"

#include "base/child.h"
#include "base/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define KEYS_DIRECTORY "trusted-keys"
#define KEYS_ROOT      KEYS_DIRECTORY "/root.d"
#define KEYS_PREFIX    KEYS_DIRECTORY "/prefix.d"
#define KEYS_SIZE_MAX  (64u << 20)
#define NAME_SIZE_MAX  256

#define GPGV            "/usr/bin/gpgv"
#define STATUS_SIZE_MAX (64u << 10)
/* In rkt's words. */
#define UNKNOWN_ENTITY "openpgp: signature made by unknown entity"
#define STATUS_PREFIX  "[GNUPG:] "

/* gpgv's files. */
enum { FD_STATUS = CHILD_FIRST_FD, FD_KEYRING, FD_SIGNATURE, FD_DATA };

/* ---- keys on disk */

/* The directory of a prefix: its '/' is ',', which no name has. -ENAMETOOLONG. */
static int prefix_path(const char *prefix, size_t length, char *ret, size_t size)
{
	int n = snprintf(ret, size, "%s/%.*s", KEYS_PREFIX, (int)length, prefix);

	if (n < 0 || (size_t)n >= size || length >= NAME_SIZE_MAX)
		return -ENAMETOOLONG;
	for (char *c = ret + strlen(KEYS_PREFIX "/"); *c; c++)
		if (*c == '/')
			*c = ',';
	return 0;
}

int keyring_add(int data_dirfd, const char *prefix, const struct openpgp_key *key, char **ret_path,
	struct error *err)
{
	char directory[sizeof(KEYS_PREFIX) + NAME_SIZE_MAX + 1] = KEYS_ROOT;
	_cleanup_free_ char *path = NULL;
	struct error reason = {0};
	int r;

	r = prefix ? appc_identifier_check(prefix, &reason) : 0;
	if (r < 0)
		return error_set(err, r, "prefix \"%s\": %s", prefix, error_text(&reason, r));
	r = prefix ? prefix_path(prefix, strlen(prefix), directory, sizeof(directory)) : 0;
	if (r == 0 && asprintf(&path, "%s/%s", directory, key->fingerprint) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = directory_create_path(data_dirfd, directory, 0755);
	if (r == 0)
		r = file_write_atomic(data_dirfd, path, key->data, key->length, 0644);
	if (r < 0)
		return error_set_errno(err, r, "cannot write key %s", key->fingerprint);
	*ret_path = TAKE_PTR(path);
	return 0;
}

static bool is_fingerprint(const char *name)
{
	return strlen(name) == OPENPGP_FINGERPRINT_SIZE - 1 &&
		strspn(name, "0123456789abcdef") == OPENPGP_FINGERPRINT_SIZE - 1;
}

/* Appends the keys in a directory to the keyring. */
static int add_keys(int parent, const char *path, int keyring, size_t *total)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(parent, path, &directory);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	while ((entry = readdir(directory))) {
		_cleanup_free_ char *key = NULL;
		size_t length;

		if (!is_fingerprint(entry->d_name))
			continue;
		r = file_read(dirfd(directory), entry->d_name, OPENPGP_KEY_SIZE_MAX, &key, &length);
		if (r == 0 && (*total += length) > KEYS_SIZE_MAX)
			r = -EFBIG;
		if (r == 0)
			r = file_write_all(keyring, key, length);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * All trusted keys in one anonymous file. Its fd or -errno; -ENOKEY: there are none.
 * #syscalls: memfd_create
 */
static int keyring_collect(int data_dirfd)
{
	_cleanup_close_ int keyring = memfd_create("keyring", MFD_CLOEXEC);
	_cleanup_closedir_ DIR *prefixes = NULL;
	struct dirent *entry;
	size_t total = 0;
	int r;

	if (keyring < 0)
		return -errno;
	r = add_keys(data_dirfd, KEYS_ROOT, keyring, &total);
	if (r == 0) {
		r = directory_open_stream(data_dirfd, KEYS_PREFIX, &prefixes);
		r = r == -ENOENT ? 0 : r;
	}
	while (r == 0 && prefixes && (entry = readdir(prefixes)))
		if (entry->d_name[0] != '.')
			r = add_keys(dirfd(prefixes), entry->d_name, keyring, &total);
	if (r < 0)
		return r;
	return total > 0 ? TAKE_FD(keyring) : -ENOKEY;
}

static bool has_key(int data_dirfd, const char *directory, const char *fingerprint)
{
	_cleanup_close_ int fd = directory_open(data_dirfd, directory);

	return fd >= 0 && faccessat(fd, fingerprint, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int keyring_check_name(int data_dirfd, const char *fingerprint, const char *name, struct error *err)
{
	size_t length = 0;

	if (is_fingerprint(fingerprint) && has_key(data_dirfd, KEYS_ROOT, fingerprint))
		return 0;
	/* "a/b/c": a, a/b, a/b/c. */
	while (is_fingerprint(fingerprint) && name[length]) {
		char directory[sizeof(KEYS_PREFIX) + NAME_SIZE_MAX + 1];

		length += name[length] == '/';
		length += strcspn(name + length, "/");
		if (prefix_path(name, length, directory, sizeof(directory)) < 0)
			break;
		if (has_key(data_dirfd, directory, fingerprint))
			return 0;
	}
	return error_set(err, -EKEYREJECTED,
		"signed with key %s, which is not trusted for images called \"%s\"", fingerprint,
		name);
}

/* ---- gpgv */

/* What gpgv says of a signature that is not to be believed. */
static const struct {
	const char *keyword, *reason;
} refusals[] = {
	{"BADSIG", "bad signature: the file was changed, or the signature is of another file"},
	{"ERRSIG", UNKNOWN_ENTITY ": no trusted key made it"},
	{"NO_PUBKEY", UNKNOWN_ENTITY ": no trusted key made it"},
	{"EXPSIG", "the signature has expired"},
	{"EXPKEYSIG", "the key that made the signature has expired"},
	{"REVKEYSIG", "the key that made the signature was revoked"},
	{"KEYREVOKED", "the key that made the signature was revoked"},
	{"NODATA", "not an OpenPGP signature"},
	{"UNEXPECTED", "not an OpenPGP signature"},
	{"FAILURE", "gpgv cannot check the signature"},
	{"ERROR", "gpgv cannot check the signature"},
};

static int refuse(struct error *err, const char *reason)
{
	return error_set(err, -EKEYREJECTED, "%s", reason);
}

/*
 * VALIDSIG fingerprint date timestamp expires version reserved algorithm hash class primary-fingerprint.
 * Class 00 and 01 are signatures of documents.
 */
static int parse_valid(char *arguments, char ret[OPENPGP_FINGERPRINT_SIZE], struct error *err)
{
	char *fields[10], *rest = arguments;
	size_t count = 0;

	while (rest && count < ARRAY_SIZE(fields))
		fields[count++] = strsep(&rest, " ");
	if (count < ARRAY_SIZE(fields) || rest)
		return refuse(err, "gpgv's output is not understood");
	if (strcmp(fields[8], "00") && strcmp(fields[8], "01"))
		return refuse(err, "not a signature of a file");
	for (char *c = fields[9]; *c; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c - 'A' + 'a');
	if (!is_fingerprint(fields[9]))
		return refuse(err, "gpgv's output is not understood");
	memcpy(ret, fields[9], OPENPGP_FINGERPRINT_SIZE);
	return 0;
}

int keyring_parse_status(const char *text, size_t length,
	char ret_fingerprint[OPENPGP_FINGERPRINT_SIZE], struct error *err)
{
	_cleanup_free_ char *copy = calloc(1, length + 1);
	char fingerprint[OPENPGP_FINGERPRINT_SIZE] = "", *rest = copy, *line;
	size_t signatures = 0, good = 0, valid = 0;

	if (!copy)
		return error_set_errno(err, -ENOMEM, "cannot check the signature");
	memcpy(copy, text, length);
	if (strlen(copy) != length || (length > 0 && copy[length - 1] != '\n'))
		return refuse(err, "gpgv's output is not understood");
	while ((line = strsep(&rest, "\n")) && (rest || *line)) {
		char *arguments = line + strlen(STATUS_PREFIX), *keyword;
		int r = 0;

		if (strncmp(line, STATUS_PREFIX, strlen(STATUS_PREFIX)))
			return refuse(err, "gpgv's output is not understood");
		keyword = strsep(&arguments, " ");
		for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
			if (!strcmp(keyword, refusals[i].keyword))
				return refuse(err, refusals[i].reason);
		signatures += !strcmp(keyword, "NEWSIG");
		good += !strcmp(keyword, "GOODSIG");
		if (!strcmp(keyword, "VALIDSIG")) {
			valid++;
			r = arguments ? parse_valid(arguments, fingerprint, err)
				      : refuse(err, "gpgv's output is not understood");
		}
		if (r < 0)
			return r;
	}
	if (signatures > 1 || good > 1 || valid > 1)
		return refuse(err, "more than one signature");
	if (signatures != 1 || good != 1 || valid != 1)
		return refuse(err, "no good signature");
	memcpy(ret_fingerprint, fingerprint, sizeof(fingerprint));
	return 0;
}

/* Runs gpgv to its end. Its exit status or -errno; what it said in ret_status, which the caller frees. */
static int run_gpgv(int keyring, int signature, int data, char **ret_status, size_t *ret_length)
{
	static const char *const arguments[] = {"gpgv", "--enable-special-filenames", "--quiet",
		"--weak-digest", "SHA1", "--status-fd", "3", "--keyring", "/proc/self/fd/4", "--",
		"-&5", "-&6", NULL};
	static const char *const environment[] = {"LC_ALL=C", "GNUPGHOME=/nonexistent", NULL};
	_cleanup_close_ int read_end = -1, write_end = -1;
	int fds[2], r, status;
	pid_t pid;

	_Static_assert(FD_STATUS == 3 && FD_KEYRING == 4 && FD_SIGNATURE == 5 && FD_DATA == 6,
		"as in the arguments");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	read_end = fds[0];
	write_end = fds[1];
	pid = child_fork_unprivileged((const int[]){write_end, keyring, signature, data}, 4);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		execve(GPGV, (char *const *)arguments, (char *const *)environment);
		_exit(127);
	}
	close(TAKE_FD(write_end));
	r = file_read_fd(read_end, STATUS_SIZE_MAX, ret_status, ret_length);
	/* With nobody to read, it ends. */
	close(TAKE_FD(read_end));
	status = child_wait(pid);
	return r < 0 ? r : status;
}

int keyring_verify(int data_dirfd, int file_fd, int signature_fd, const char *source,
	char ret_fingerprint[OPENPGP_FINGERPRINT_SIZE], struct error *err)
{
	_cleanup_close_ int keyring = keyring_collect(data_dirfd);
	_cleanup_free_ char *status = NULL;
	char fingerprint[OPENPGP_FINGERPRINT_SIZE];
	size_t length = 0;
	int exit_status, r;

	if (keyring == -ENOKEY)
		return error_set(err, -EKEYREJECTED,
			"%s: " UNKNOWN_ENTITY ": no key is trusted (see \"appc-vm trust\")",
			source);
	if (keyring < 0)
		return error_set_errno(err, keyring, "cannot read the trusted keys");
	if (access(GPGV, X_OK) < 0)
		return error_set_errno(
			err, -errno, "%s: signatures are checked with %s", source, GPGV);
	if (lseek(file_fd, 0, SEEK_SET) < 0 || lseek(signature_fd, 0, SEEK_SET) < 0)
		return error_set_errno(err, -errno, "%s", source);
	exit_status = run_gpgv(keyring, signature_fd, file_fd, &status, &length);
	if (exit_status < 0 || !status)
		return error_set_errno(err, exit_status, "%s: cannot check its signature", source);
	r = keyring_parse_status(status, length, fingerprint, err);
	if (r < 0)
		return error_prefix(err, r, "%s", source);
	if (exit_status != 0)
		return error_set(err, -EKEYREJECTED,
			"%s: gpgv does not accept the signature (status %d)", source, exit_status);
	memcpy(ret_fingerprint, fingerprint, sizeof(fingerprint));
	return 0;
}
