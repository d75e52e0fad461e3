// SPDX-License-Identifier: Apache-2.0
/* lease.c: see lease.h. */
#include "pod/lease.h"

#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

/*
 * Of each network namespace one. Its inode, by which people find it, is another one's when it is gone; its cookie is
 * nobody else's before the next boot.
 */
#define PARENT_DIRECTORY "/run/appc-vm"
#define NAME_PREFIX      "network-%ju-"
#define NAME_FORMAT      NAME_PREFIX "%" PRIu64

#define LEASE_SIZE_MAX (256u << 10)

/* Names of other files than leases, which are names of interfaces: they start with what those do not. */
#define TEMPORARY_PREFIX "."
#define LAST_ADDRESS     ".last"
#define MARK_SEPARATOR   "="

void lease_done(struct lease *lease)
{
	free(lease->ports);
	*lease = (struct lease){.ports = NULL};
}

bool lease_has_ipv6(const struct lease *lease)
{
	return !IN6_IS_ADDR_UNSPECIFIED(&lease->address6);
}

static void list_free(struct lease *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		lease_done(&items[i]);
	free(items);
}

void leases_close(struct leases *leases)
{
	list_free(leases->items, leases->count);
	list_free(leases->stale, leases->stale_count);
	if (leases->fd >= 0 && leases->count == 0) {
		unlinkat(leases->fd, LAST_ADDRESS, 0);
		rmdir(leases->path); /* -ENOTEMPTY: there are marks */
	}
	cleanup_close(&leases->fd);
	*leases = LEASES_NONE;
}

/* ---- files */

static int port_parse(json_t *object, struct lease_port *ret)
{
	const char *host;
	int is_udp, host_port, port;

	if (json_unpack(object, "{s:b, s:s, s:i, s:i}", "udp", &is_udp, "host", &host, "host_port",
		    &host_port, "port", &port) < 0 ||
		host_port < 1 || host_port > UINT16_MAX || port < 1 || port > UINT16_MAX)
		return -EBADMSG;
	*ret = (struct lease_port){
		.is_udp = is_udp, .host_port = (uint16_t)host_port, .port = (uint16_t)port};
	return inet_pton(AF_INET, host, &ret->host) == 1 ? 0 : -EBADMSG;
}

/* 0, -EBADMSG or -ENOMEM. */
static int lease_parse(json_t *object, struct lease *ret)
{
	const char *bridge, *mac, *address, *address6;
	json_t *ports, *port;
	int prefix, prefix6;
	size_t i;

	if (json_unpack(object, "{s:s, s:s, s:s, s:i, s:s, s:i, s:o}", "bridge", &bridge, "mac",
		    &mac, "address", &address, "prefix", &prefix, "address6", &address6, "prefix6",
		    &prefix6, "ports", &ports) < 0 ||
		strlen(bridge) >= IFNAMSIZ || prefix < 1 || prefix > 30 || prefix6 < 0 ||
		prefix6 > 128 || hex_read(mac, ret->mac, sizeof(ret->mac)) < 0 ||
		inet_pton(AF_INET, address, &ret->address) != 1 ||
		inet_pton(AF_INET6, address6, &ret->address6) != 1)
		return -EBADMSG;
	snprintf(ret->bridge, sizeof(ret->bridge), "%s", bridge);
	ret->prefix = (uint8_t)prefix;
	ret->prefix6 = (uint8_t)prefix6;
	ret->ports = calloc(json_array_size(ports) + 1, sizeof(ret->ports[0]));
	if (!ret->ports)
		return -ENOMEM;
	json_array_foreach (ports, i, port) {
		int r = port_parse(port, &ret->ports[ret->port_count++]);

		if (r < 0)
			return r;
	}
	return 0;
}

static json_t *lease_json(const struct lease *lease)
{
	char mac_text[2 * LEASE_MAC_SIZE + 1], address[INET_ADDRSTRLEN], address6[INET6_ADDRSTRLEN];
	json_t *ports = json_array();

	for (size_t i = 0; i < lease->port_count; i++) {
		const struct lease_port *port = &lease->ports[i];

		if (json_array_append_new(ports,
			    json_pack("{s:b, s:s, s:i, s:i}", "udp", port->is_udp, "host",
				    inet_ntop(AF_INET, &port->host, address, sizeof(address)),
				    "host_port", port->host_port, "port", port->port)) < 0) {
			json_decref(ports);
			return NULL;
		}
	}
	hex_write(lease->mac, sizeof(lease->mac), mac_text);
	return json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:o}", "bridge", lease->bridge, "mac",
		mac_text, "address", inet_ntop(AF_INET, &lease->address, address, sizeof(address)),
		"prefix", lease->prefix, "address6",
		inet_ntop(AF_INET6, &lease->address6, address6, sizeof(address6)), "prefix6",
		lease->prefix6, "ports", ports);
}

static int list_add(struct lease **items, size_t *count, struct lease *lease)
{
	struct lease *grown = reallocarray(*items, *count + 1, sizeof(**items));

	if (!grown)
		return -ENOMEM;
	*items = grown;
	grown[(*count)++] = *lease;
	*lease = (struct lease){.ports = NULL};
	return 0;
}

/* One that nobody has locked is stale. One that cannot be read is nobody's: it was never given. */
static int load_one(struct leases *leases, const char *name)
{
	_cleanup_close_ int fd = openat(leases->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_(lease_done) struct lease lease = {.ports = NULL};
	_cleanup_json_ json_t *object = NULL;
	_cleanup_free_ char *text = NULL;
	uint64_t failures;
	size_t length;
	bool is_stale;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	is_stale = flock(fd, LOCK_EX | LOCK_NB) == 0;
	r = file_read_fd(fd, LEASE_SIZE_MAX, &text, &length);
	if (r < 0)
		return r;
	snprintf(lease.interface, sizeof(lease.interface), "%.*s", IFNAMSIZ - 1, name);
	failures = json_failures();
	object = json_loadb(text, length, 0, NULL);
	r = object ? lease_parse(object, &lease) : -EBADMSG;
	/* Who reads it without enough memory knows nothing of what is in it. */
	if (json_failures() != failures)
		r = -ENOMEM;
	if (r == -EBADMSG) {
		unlinkat(leases->fd, name, 0);
		return 0;
	}
	if (r < 0)
		return r;
	return is_stale ? list_add(&leases->stale, &leases->stale_count, &lease)
			: list_add(&leases->items, &leases->count, &lease);
}

static bool is_lease_name(const char *name)
{
	return *name != '.' && strlen(name) < IFNAMSIZ && !strstr(name, MARK_SEPARATOR);
}

/* What a killed process wrote and never named. */
static bool is_left_over(const char *name)
{
	return *name == '.' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		strcmp(name, LAST_ADDRESS) != 0;
}

static int load_all(struct leases *leases)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(leases->fd, ".", &directory);

	while (r == 0 && (entry = readdir(directory))) {
		if (is_lease_name(entry->d_name))
			r = load_one(leases, entry->d_name);
		else if (is_left_over(entry->d_name))
			unlinkat(leases->fd, entry->d_name, 0);
	}
	return r;
}

/* Locked, and not removed by whoever had it locked before. */
static int open_locked(const char *path)
{
	for (;;) {
		_cleanup_close_ int fd = -1;
		struct stat st;
		int r;

		r = directory_create_path(AT_FDCWD, path, 0700);
		if (r == 0) {
			fd = directory_open(AT_FDCWD, path);
			r = fd;
		}
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		while (flock(fd, LOCK_EX) < 0)
			if (errno != EINTR)
				return -errno;
		if (fstat(fd, &st) < 0)
			return -errno;
		if (st.st_nlink > 0)
			return TAKE_FD(fd);
	}
}

struct network_namespace {
	uintmax_t inode;
	uint64_t cookie; /* 0: the kernel has none (before Linux 5.14) */
};

static int own_namespace(struct network_namespace *ret)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(ret->cookie);
	struct stat st;

	*ret = (struct network_namespace){.cookie = 0};
	if (fd < 0 || stat("/proc/self/ns/net", &st) < 0)
		return -errno;
	ret->inode = st.st_ino;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &ret->cookie, &length) < 0)
		ret->cookie = 0;
	return 0;
}

static int own_path(char *path, size_t size)
{
	struct network_namespace own;
	int r = own_namespace(&own);

	if (r == 0)
		snprintf(path, size, PARENT_DIRECTORY "/" NAME_FORMAT, own.inode, own.cookie);
	return r;
}

/* Of namespaces that had the inode before: nothing of what they tell is left, nor anybody who could still use it. */
static void remove_predecessors(void)
{
	_cleanup_closedir_ DIR *parent = NULL;
	char prefix[64], name[64];
	struct network_namespace own;
	struct dirent *entry;

	if (directory_open_stream(AT_FDCWD, PARENT_DIRECTORY, &parent) < 0 ||
		own_namespace(&own) < 0)
		return;
	snprintf(prefix, sizeof(prefix), NAME_PREFIX, own.inode);
	snprintf(name, sizeof(name), NAME_FORMAT, own.inode, own.cookie);
	while ((entry = readdir(parent)))
		if (!strncmp(entry->d_name, prefix, strlen(prefix)) &&
			strcmp(entry->d_name, name) != 0)
			directory_remove(dirfd(parent), entry->d_name);
}

bool leases_exist(void)
{
	char path[sizeof(((struct leases *)NULL)->path)];

	return own_path(path, sizeof(path)) == 0 && access(path, F_OK) == 0;
}

int leases_open(const char *path, struct leases *ret, struct error *err)
{
	int r = 0;

	*ret = LEASES_NONE;
	if (path && strlen(path) >= sizeof(ret->path))
		return error_set_errno(err, -ENAMETOOLONG, "%s", path);
	if (path) {
		snprintf(ret->path, sizeof(ret->path), "%s", path);
	} else {
		r = own_path(ret->path, sizeof(ret->path));
		remove_predecessors();
	}
	if (r < 0)
		return error_set_errno(err, r, "/proc/self/ns/net");
	ret->fd = open_locked(ret->path);
	r = ret->fd < 0 ? ret->fd : load_all(ret);
	if (r < 0) {
		error_set_errno(err, r, "%s", ret->path);
		leases_close(ret);
	}
	return r;
}

int leases_write(struct leases *leases, const struct lease *lease, int *ret_fd)
{
	_cleanup_json_ json_t *object = lease_json(lease);
	_cleanup_free_ char *text = object ? json_text(object, JSON_COMPACT) : NULL;
	_cleanup_close_ int fd = -1;
	struct lease copy = *lease;
	char name[sizeof(TEMPORARY_PREFIX) + IFNAMSIZ];
	int r;

	if (!text)
		return -ENOMEM;
	/* It would not be read again. */
	if (strlen(text) >= LEASE_SIZE_MAX)
		return -E2BIG;
	copy.ports = calloc(lease->port_count + 1, sizeof(copy.ports[0]));
	if (!copy.ports)
		return -ENOMEM;
	if (lease->port_count > 0)
		memcpy(copy.ports, lease->ports, lease->port_count * sizeof(copy.ports[0]));
	snprintf(name, sizeof(name), TEMPORARY_PREFIX "%s", lease->interface);
	fd = openat(leases->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
	/* Locked before it has its name. */
	if (r == 0 &&
		(flock(fd, LOCK_EX | LOCK_NB) < 0 ||
			renameat(leases->fd, name, leases->fd, lease->interface) < 0))
		r = -errno;
	if (r == 0)
		r = list_add(&leases->items, &leases->count, &copy);
	if (r < 0) {
		unlinkat(leases->fd, name, 0);
		lease_done(&copy);
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int leases_end(struct leases *leases, const char *interface)
{
	for (size_t i = 0; i < leases->count; i++) {
		int r;

		if (strcmp(leases->items[i].interface, interface) != 0)
			continue;
		r = list_add(&leases->stale, &leases->stale_count, &leases->items[i]);
		if (r == 0)
			leases->items[i] = leases->items[--leases->count];
		return r;
	}
	return 0;
}

void leases_forget_stale(struct leases *leases)
{
	for (size_t i = 0; i < leases->stale_count; i++)
		unlinkat(leases->fd, leases->stale[i].interface, 0);
	list_free(leases->stale, leases->stale_count);
	leases->stale = NULL;
	leases->stale_count = 0;
}

/* ---- addresses */

static bool is_taken(const struct leases *leases, const char *bridge, uint32_t address)
{
	for (size_t i = 0; i < leases->count; i++)
		if (!strcmp(leases->items[i].bridge, bridge) &&
			ntohl(leases->items[i].address.s_addr) == address)
			return true;
	return false;
}

/* A hint: one that is lost or torn does no harm. */
static uint32_t last_address(const struct leases *leases)
{
	_cleanup_free_ char *text = NULL;
	size_t length;

	return file_read(leases->fd, LAST_ADDRESS, 32, &text, &length) == 0
		? (uint32_t)strtoul(text, NULL, 10)
		: 0;
}

static void set_last_address(const struct leases *leases, uint32_t address)
{
	_cleanup_close_ int fd =
		openat(leases->fd, LAST_ADDRESS, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0)
		dprintf(fd, "%" PRIu32 "\n", address);
}

int leases_find_address(const struct leases *leases, const char *bridge, uint32_t first,
	uint32_t count, uint32_t *ret)
{
	uint32_t last = last_address(leases), from = 0;

	if (last >= first && last - first < count)
		from = last - first + 1;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t address = first + (from + i) % count;

		if (is_taken(leases, bridge, address))
			continue;
		set_last_address(leases, address);
		*ret = address;
		return 0;
	}
	return -ENOSPC;
}

/* ---- marks */

static void mark_name(char *text, size_t size, const char *kind, const char *name)
{
	snprintf(text, size, "%s" MARK_SEPARATOR "%s", kind, name);
}

bool leases_has_mark(const struct leases *leases, const char *kind, const char *name)
{
	char file[64];

	mark_name(file, sizeof(file), kind, name);
	return faccessat(leases->fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int leases_set_mark(const struct leases *leases, const char *kind, const char *name)
{
	_cleanup_close_ int fd = -1;
	char file[64];

	mark_name(file, sizeof(file), kind, name);
	fd = openat(leases->fd, file, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : 0;
}

void leases_remove_mark(const struct leases *leases, const char *kind, const char *name)
{
	char file[64];

	mark_name(file, sizeof(file), kind, name);
	unlinkat(leases->fd, file, 0);
}

int leases_each_mark(const struct leases *leases, const char *kind,
	void (*call)(void *context, const char *name), void *context)
{
	_cleanup_closedir_ DIR *directory = NULL;
	size_t length = strlen(kind);
	struct dirent *entry;
	int r = directory_open_stream(leases->fd, ".", &directory);

	if (r < 0)
		return r;
	while ((entry = readdir(directory)))
		if (!strncmp(entry->d_name, kind, length) &&
			!strncmp(entry->d_name + length, MARK_SEPARATOR, 1))
			call(context, entry->d_name + length + 1);
	return 0;
}
