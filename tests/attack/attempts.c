// SPDX-License-Identifier: Apache-2.0
/* attempts.c: see attempts.h. */
#include "tests/attack/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/kvm.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

/* More than a VMM has. */
#define FDS_MAX 256

#define NOTHING_TO_TRY 1

/* The result of a system call that is not to succeed. */
static int stopped(long r)
{
	return r < 0 ? -errno : 0;
}

/* Of a call that makes an fd. */
static int stopped_fd(long fd)
{
	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

/* An attempt with several ways: the first that succeeds is enough; else how the last one was stopped. */
static int first_success(const int *results, size_t count)
{
	int last = NOTHING_TO_TRY;

	for (size_t i = 0; i < count; i++) {
		if (results[i] == 0)
			return 0;
		if (results[i] < 0)
			last = results[i];
	}
	return last;
}

#define ANY_OF(...) \
	first_success((const int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int))

/* ---- files */

static int open_secret(const struct attack_targets *targets)
{
	return targets->secret ? stopped_fd(open(targets->secret, O_RDONLY)) : NOTHING_TO_TRY;
}

static int open_upwards(const struct attack_targets *targets)
{
	char path[4096];

	if (!targets->secret)
		return NOTHING_TO_TRY;
	snprintf(path, sizeof(path), "../../../../../../../../..%s", targets->secret);
	return stopped_fd(open(path, O_RDONLY));
}

static int write_outside(const struct attack_targets *targets)
{
	(void)targets;
	return ANY_OF(stopped_fd(open("/etc/cron.d/x", O_WRONLY | O_CREAT, 0644)),
		stopped_fd(open("/tmp/x", O_WRONLY | O_CREAT, 0644)),
		stopped_fd(open("../../../../tmp/x", O_WRONLY | O_CREAT, 0644)));
}

/* From every directory that the process has open: what a careless fd would give away. */
static int open_through_fds(const struct attack_targets *targets)
{
	static const char *const prefixes[] = {"", ".", "..", "../..", "../../..", "../../../../..",
		"../root", "../../1/root", "../../self/root", "../cwd/../../../.."};
	int last = NOTHING_TO_TRY;
	char path[4096];

	for (int fd = 0; targets->secret && fd < FDS_MAX; fd++) {
		for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
			int r;

			snprintf(path, sizeof(path), "%s%s", prefixes[i],
				targets->secret + (*prefixes[i] == '\0'));
			r = stopped_fd(openat(fd, path, O_RDONLY));
			if (r == 0)
				return 0;
			if (r != -EBADF)
				last = r;
		}
	}
	return last;
}

/* A process of the host, or the kernel's settings, through a /proc that some fd leads to. */
static int open_proc(const struct attack_targets *targets)
{
	static const char *const files[] = {"sys/kernel/core_pattern", "sysrq-trigger", "kcore",
		"kallsyms", "modules", "sys/kernel/modprobe", "mounts"};
	int last = NOTHING_TO_TRY;
	char path[128];

	for (int fd = -1; fd < FDS_MAX; fd++) {
		for (size_t i = 0; i <= sizeof(files) / sizeof(files[0]); i++) {
			int at = fd < 0 ? AT_FDCWD : fd, r;

			if (i < sizeof(files) / sizeof(files[0]))
				snprintf(path, sizeof(path), "%s%s", fd < 0 ? "/proc/" : "../../",
					files[i]);
			else
				snprintf(path, sizeof(path), "%s%d/environ",
					fd < 0 ? "/proc/" : "../../", targets->process);
			r = stopped_fd(openat(at, path, O_RDONLY));
			if (r == 0)
				return 0;
			if (r != -EBADF)
				last = r;
		}
	}
	return last;
}

/* The file that a machine's memory was mapped from: large, and open for reading. Others start from it, too. */
static bool is_memory_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= ATTACK_MEMORY_SIZE;
}

static int reopen_for_writing(int memory)
{
	int last = NOTHING_TO_TRY;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	for (int fd = -1; fd < FDS_MAX && last != 0; fd++) {
		int r = stopped_fd(
			openat(fd, fd < 0 ? path : path + strlen("/proc/self/fd/"), O_RDWR));

		if (r != -EBADF && r != -ENOENT && r != -ENOTDIR)
			last = r;
	}
	return last;
}

static int change_memory_file(const struct attack_targets *targets)
{
	int last = NOTHING_TO_TRY;
	struct stat st;

	(void)targets;
	for (int fd = 3; fd < FDS_MAX; fd++) {
		if (!is_memory_file(fd) || fstat(fd, &st) < 0)
			continue;
		last = ANY_OF(stopped(utimensat(fd, "", NULL, AT_EMPTY_PATH)),
			stopped(fchownat(fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH)),
			stopped(fchmod(fd, st.st_mode & 07777)),
			stopped(fsetxattr(fd, "user.x", "", 0, 0)),
			stopped(ftruncate(fd, st.st_size)), reopen_for_writing(fd));
		if (last == 0)
			return 0;
	}
	return last;
}

/* A file or directory that is open, perhaps by its place only (O_PATH), and on a read-only mount. */
static int change_read_only_fd(int fd)
{
	struct stat st;
	char name[16];
	int last;

	if (fstat(fd, &st) < 0)
		return -errno;
	last = ANY_OF(stopped(utimensat(fd, "", NULL, AT_EMPTY_PATH)),
		stopped(fchownat(fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH)),
		stopped(fchmod(fd, st.st_mode & 07777)), stopped(fsetxattr(fd, "user.x", "", 0, 0)),
		stopped(fremovexattr(fd, "user.x")), stopped(ftruncate(fd, st.st_size)),
		stopped(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1)),
		stopped(linkat(fd, "", AT_FDCWD, "/attack-link", AT_EMPTY_PATH)),
		reopen_for_writing(fd));
	snprintf(name, sizeof(name), "%d", fd);
	/* The same by its name in a /proc that some fd leads to. */
	for (int proc = 3; proc < FDS_MAX && last != 0; proc++) {
		struct stat found;

		if (fstatat(proc, name, &found, 0) < 0 || found.st_ino != st.st_ino ||
			found.st_dev != st.st_dev)
			continue;
		last = ANY_OF(stopped(utimensat(proc, name, NULL, 0)),
			stopped(fchownat(proc, name, st.st_uid, st.st_gid, 0)),
			stopped(fchmodat(proc, name, st.st_mode & 07777, 0)),
			stopped(linkat(proc, name, AT_FDCWD, "/attack-link", AT_SYMLINK_FOLLOW)));
	}
	return last;
}

static int change_read_only_path(const char *directory, const char *file, const char *other)
{
	struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
	struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
	int r;

	r = ANY_OF(stopped_fd(open(file, O_RDWR)), stopped_fd(open(file, O_WRONLY | O_TRUNC)),
		stopped_fd(open(other, O_WRONLY | O_CREAT, 0600)),
		stopped_fd(open(directory, O_TMPFILE | O_RDWR, 0600)), stopped(truncate(file, 0)),
		stopped(unlink(file)), stopped(rename(file, other)),
		stopped(rename(file, "/attack-link")), stopped(link(file, other)),
		stopped(link(file, "/attack-link")), stopped(symlink("x", other)),
		stopped(mkdir(other, 0700)), stopped(mknod(other, S_IFREG | 0600, 0)),
		stopped(chmod(file, 0666)), stopped(chown(file, 0, 0)),
		stopped(utimensat(AT_FDCWD, file, NULL, 0)),
		stopped(setxattr(file, "user.x", "", 0, 0)), stopped(rmdir(directory)),
		stopped(mount(NULL, directory, NULL, MS_REMOUNT | MS_BIND, NULL)));
	if (r == 0)
		return 0;
	r = stopped(
		syscall(SYS_mount_setattr, AT_FDCWD, directory, 0, &writable, sizeof(writable)));
	if (r == 0)
		syscall(SYS_mount_setattr, AT_FDCWD, directory, 0, &read_only, sizeof(read_only));
	return r;
}

static bool is_on_read_only_mount(int fd)
{
	struct statvfs st;

	return fstatvfs(fd, &st) == 0 && st.f_flag & ST_RDONLY;
}

/* By its path, by fds that are opened for it, and by each fd that is there: of a directory above it, or of the mount. */
static int write_read_only(const struct attack_targets *targets)
{
	static const int flags[] = {O_RDONLY, O_PATH};
	char file[4096], other[4096];
	int last;

	if (!targets->read_only)
		return NOTHING_TO_TRY;
	snprintf(file, sizeof(file), "%s/file", targets->read_only);
	snprintf(other, sizeof(other), "%s/other", targets->read_only);
	last = change_read_only_path(targets->read_only, file, other);
	for (size_t i = 0; i < 4 && last != 0; i++) {
		int fd = open(i & 1 ? file : targets->read_only, flags[i / 2] | O_CLOEXEC);

		/* That the file is there is what makes the others worth something. */
		if (fd < 0)
			return NOTHING_TO_TRY;
		last = change_read_only_fd(fd);
		close(fd);
	}
	for (int fd = 3; fd < FDS_MAX && last != 0; fd++) {
		int r = stopped_fd(openat(fd, file + 1, O_RDWR));

		if (r != 0 && is_on_read_only_mount(fd))
			r = change_read_only_fd(fd);
		if (r != -EBADF)
			last = r;
	}
	return last;
}

static int change_root(const struct attack_targets *targets)
{
	(void)targets;
	mkdir("/attack", 0700);
	return ANY_OF(stopped(chroot("/attack")), stopped(chroot("..")),
		stopped(syscall(SYS_pivot_root, ".", ".")));
}

static int mount_something(const struct attack_targets *targets)
{
	struct mount_attr devices = {.attr_clr = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};

	(void)targets;
	mkdir("/attack", 0700);
	return ANY_OF(stopped(mount("tmpfs", "/attack", "tmpfs", 0, NULL)),
		stopped(mount("proc", "/attack", "proc", 0, NULL)),
		stopped(mount("/", "/attack", NULL, MS_BIND, NULL)),
		stopped(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)),
		stopped(umount2("/", MNT_DETACH)), stopped(umount2("/apps", MNT_DETACH)),
		stopped(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &devices, sizeof(devices))),
		stopped_fd(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE)),
		stopped_fd(syscall(SYS_fsopen, "tmpfs", 0)));
}

/* Inode 2 of the file system: its root, wherever that is mounted. */
static int open_by_handle(const struct attack_targets *targets)
{
	struct {
		struct file_handle handle;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int id, results[4] = {1, 1, 1, 1};

	(void)targets;
	if (name_to_handle_at(AT_FDCWD, "/", &handle.handle, &id, 0) == 0)
		results[0] = stopped_fd(open_by_handle_at(AT_FDCWD, &handle.handle, O_RDONLY));
	handle.handle.handle_bytes = 8;
	handle.handle.handle_type = 1;
	memset(handle.bytes, 0, sizeof(handle.bytes));
	handle.bytes[0] = 2;
	for (int fd = 3; fd < FDS_MAX; fd++) {
		int r = stopped_fd(open_by_handle_at(fd, &handle.handle, O_RDONLY));

		if (r != -EBADF)
			results[1] = r;
		if (r == 0)
			break;
	}
	return first_success(results, 4);
}

/* A disk and the kernel's memory: device nodes can be made, but not opened. */
static int open_device_node(const struct attack_targets *targets)
{
	static const struct {
		mode_t type;
		unsigned int major, minor;
	} nodes[] = {{S_IFBLK, 8, 0}, {S_IFBLK, 253, 0}, {S_IFBLK, 254, 0}, {S_IFBLK, 259, 0},
		{S_IFCHR, 1, 1}, {S_IFCHR, 10, 232}};
	int last = NOTHING_TO_TRY;

	(void)targets;
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		int r;

		unlink("/attack-node");
		if (mknod("/attack-node", nodes[i].type | 0600,
			    makedev(nodes[i].major, nodes[i].minor)) < 0) {
			last = -errno;
			continue;
		}
		r = stopped_fd(open("/attack-node", O_RDWR | O_NONBLOCK));
		unlink("/attack-node");
		/* The node leads to no driver: it was opened all the same. */
		if (r == 0 || r == -ENXIO || r == -ENODEV)
			return 0;
		last = r;
	}
	return last;
}

/* A program that is set-user-id; were it executed, the machine would be gone. */
static int execute_file(const struct attack_targets *targets)
{
	static const char program[] = "#!/bin/sh\n";
	char *const arguments[] = {(char *)"x", NULL};
	int fd = open("/attack-program", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	int r;

	(void)targets;
	if (fd < 0 || write(fd, program, sizeof(program) - 1) < 0)
		return -errno;
	fchmod(fd, 04755);
	close(fd);
	execve("/attack-program", arguments, arguments + 1);
	r = -errno;
	unlink("/attack-program");
	return r;
}

/* ---- namespaces and processes */

static int new_user_namespace(const struct attack_targets *targets)
{
	struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	long pid;

	(void)targets;
	/* For a process with threads unshare() fails for another reason. */
	pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0)
		_exit(0);
	return pid < 0 ? -errno : 0;
}

static int new_namespaces(const struct attack_targets *targets)
{
	(void)targets;
	return ANY_OF(stopped(unshare(CLONE_NEWNS)), stopped(unshare(CLONE_NEWNET)),
		stopped(unshare(CLONE_NEWPID)), stopped(unshare(CLONE_NEWIPC)),
		stopped(unshare(CLONE_NEWUTS)), stopped(unshare(CLONE_NEWCGROUP)));
}

/* Namespaces of the host have files in /proc; processes lead to them, too. */
static int join_namespaces(const struct attack_targets *targets)
{
	static const char *const files[] = {
		"../ns/mnt", "../../1/ns/net", "../ns/pid_for_children"};
	int last = NOTHING_TO_TRY;

	for (int fd = 0; fd < FDS_MAX; fd++) {
		for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
			int file = openat(fd, files[i], O_RDONLY), r;

			if (file < 0)
				continue;
			r = stopped(setns(file, 0));
			close(file);
			if (r == 0)
				return 0;
			last = r;
		}
		if (setns(fd, 0) == 0)
			return 0;
	}
	if (targets->process > 0) {
		int pidfd = (int)syscall(SYS_pidfd_open, targets->process, 0);

		if (pidfd < 0)
			return -errno;
		last = stopped(setns(pidfd, CLONE_NEWNS));
		close(pidfd);
	}
	return last;
}

static int see_processes(const struct attack_targets *targets)
{
	pid_t self = getpid();

	/* All but ourselves; the first process of a PID namespace cannot have another beside its threads. */
	for (pid_t pid = 1; pid < 70000; pid++)
		if (pid != self && kill(pid, 0) == 0 && syscall(SYS_tgkill, self, pid, 0) < 0)
			return 0;
	return targets->process > 0 ? stopped(kill(targets->process, 0)) : -ESRCH;
}

static int kill_everything(const struct attack_targets *targets)
{
	(void)targets;
	/* Not ourselves; nor, being its first process, anybody whom we do not see. */
	return stopped(kill(-1, 0));
}

static int trace_process(const struct attack_targets *targets)
{
	return targets->process > 0 ? stopped(ptrace(PTRACE_SEIZE, targets->process, NULL, NULL))
				    : NOTHING_TO_TRY;
}

static int read_process(const struct attack_targets *targets)
{
	char byte;
	struct iovec local = {&byte, 1}, remote = {&byte, 1};

	return targets->process > 0
		? stopped(process_vm_readv(targets->process, &local, 1, &remote, 1, 0))
		: NOTHING_TO_TRY;
}

static int signal_by_fcntl(const struct attack_targets *targets)
{
	int r = NOTHING_TO_TRY;

	for (int fd = 3; targets->process > 0 && fd < FDS_MAX; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		r = stopped(fcntl(fd, F_SETOWN, targets->process));
		break;
	}
	return r;
}

static int attach_memory(const struct attack_targets *targets)
{
	const void *memory;

	if (targets->shared_memory < 0)
		return NOTHING_TO_TRY;
	memory = shmat(targets->shared_memory, NULL, SHM_RDONLY);
	if ((intptr_t)memory == -1)
		return -errno;
	shmdt(memory);
	return 0;
}

static int know_host_name(const struct attack_targets *targets)
{
	char name[256] = "";

	if (!targets->host_name)
		return NOTHING_TO_TRY;
	gethostname(name, sizeof(name) - 1);
	return strcmp(name, targets->host_name) == 0 ? 0 : -ENOENT;
}

/* ---- network */

static int connect_tcp(const struct attack_targets *targets)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)targets->tcp_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), r;

	if (targets->tcp_port < 0 || fd < 0)
		return fd < 0 ? -errno : NOTHING_TO_TRY;
	r = stopped(connect(fd, (struct sockaddr *)&address, sizeof(address)));
	close(fd);
	return r;
}

static int send_datagram(const struct attack_targets *targets)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x08080808)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), r;

	(void)targets;
	if (fd < 0)
		return -errno;
	r = stopped(sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)));
	close(fd);
	return r;
}

/* The address of the host's abstract socket; its length. */
static socklen_t abstract_address(const struct attack_targets *targets, struct sockaddr_un *ret)
{
	size_t length = strlen(targets->abstract);

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret->sun_path + 1, targets->abstract, length);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static int connect_abstract(const struct attack_targets *targets)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), r;
	struct sockaddr_un address;
	socklen_t length;

	if (!targets->abstract || fd < 0)
		return fd < 0 ? -errno : NOTHING_TO_TRY;
	length = abstract_address(targets, &address);
	r = stopped(connect(fd, (struct sockaddr *)&address, length));
	close(fd);
	return r;
}

/*
 * What a socket that is there may be made to reach instead of whom it is for. It was perhaps made in the network namespace
 * of the host, whose names it would be looked up by. To whom it is connected nothing is said: a message of a sequenced
 * socket goes there whatever address it has.
 */
static int redirect_socket(int fd, const struct sockaddr *address, socklen_t length)
{
	const struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
	socklen_t size = sizeof(int);
	int type, r;

	(void)connect(fd, &unspecified, sizeof(unspecified));
	r = connect(fd, address, length);
	if (r == 0 || errno == EINPROGRESS)
		return 0;
	r = -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type == SOCK_SEQPACKET)
		return r;
	return stopped(sendto(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL, address, length));
}

/* SIOCUNIXFILE of <linux/un.h>, which sys/un.h excludes. */
#define UNIX_FILE SIOCPROTOPRIVATE

/* Of Linux 6.5 and 6.11. */
#define PEER_PIDFD           77
#define PIDFD_NAMESPACE(n)   _IO(0xff, n)
#define PIDFD_NAMESPACES_MAX 10

/* The process that made the pair, or listens, or connected: a process of the host. */
static int use_peer(int fd)
{
	int pidfd = -1, last;
	socklen_t size = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, PEER_PIDFD, &pidfd, &size) < 0)
		return -errno;
	last = ANY_OF(stopped(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0)),
		stopped_fd(syscall(SYS_pidfd_getfd, pidfd, 0, 0)),
		stopped(setns(pidfd, CLONE_NEWNET)), stopped(setns(pidfd, CLONE_NEWNS)));
	for (unsigned int i = 1; i <= PIDFD_NAMESPACES_MAX && last != 0; i++)
		last = stopped_fd(ioctl(pidfd, PIDFD_NAMESPACE(i)));
	close(pidfd);
	return last;
}

static bool is_tap(int fd)
{
	struct ifreq request;

	return ioctl(fd, TUNGETIFF, &request) == 0;
}

/* Whom sockets and taps that the VMM has could reach, and which namespaces and files they could give. */
static int reuse_sockets(const struct attack_targets *targets)
{
	const struct sockaddr_in tcp = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)targets->tcp_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int last = NOTHING_TO_TRY;
	struct sockaddr_un address;
	socklen_t length;

	if (!targets->abstract || targets->tcp_port < 0)
		return NOTHING_TO_TRY;
	length = abstract_address(targets, &address);
	for (int fd = 0; fd < FDS_MAX && last != 0; fd++) {
		struct stat st;

		if (is_tap(fd))
			last = ANY_OF(stopped_fd(ioctl(fd, TUNGETDEVNETNS)),
				stopped_fd(ioctl(fd, SIOCGSKNS)));
		else if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
			last = ANY_OF(
				redirect_socket(fd, (const struct sockaddr *)&address, length),
				redirect_socket(fd, (const struct sockaddr *)&tcp, sizeof(tcp)),
				stopped_fd(ioctl(fd, SIOCGSKNS)), stopped_fd(ioctl(fd, UNIX_FILE)),
				use_peer(fd));
	}
	return last;
}

/*
 * Names and states of interfaces are told to each socket of their namespace, whatever its family: an own one has nothing but
 * a loopback interface that is down.
 */
static int see_interfaces(const struct attack_targets *targets)
{
	int last = NOTHING_TO_TRY;

	(void)targets;
	for (int fd = 0; fd < FDS_MAX && last != 0; fd++) {
		struct ifreq request = {.ifr_ifindex = 1};

		if (ioctl(fd, SIOCGIFNAME, &request) == 0)
			last = ioctl(fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_UP
				? 0
				: -ENETDOWN;
	}
	return last;
}

/* The tap's address on the host, which its bridge may take for its own, and whether it outlives the pod. */
static int change_tap(const struct attack_targets *targets)
{
	int last = NOTHING_TO_TRY;

	(void)targets;
	for (int fd = 3; fd < FDS_MAX && last != 0; fd++) {
		struct ifreq request;

		if (!is_tap(fd) || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
			continue;
		last = ANY_OF(stopped(ioctl(fd, SIOCSIFHWADDR, &request)),
			stopped(ioctl(fd, TUNSETPERSIST, 0)));
	}
	return last;
}

static int raw_socket(const struct attack_targets *targets)
{
	(void)targets;
	return ANY_OF(stopped_fd(socket(AF_PACKET, SOCK_RAW, 0)),
		stopped_fd(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)));
}

static int new_socket(const struct attack_targets *targets)
{
	(void)targets;
	return ANY_OF(stopped_fd(socket(AF_UNIX, SOCK_STREAM, 0)),
		stopped_fd(socket(AF_NETLINK, SOCK_RAW, 0)),
		stopped_fd(socket(AF_VSOCK, SOCK_STREAM, 0)),
		stopped_fd(socket(AF_ALG, SOCK_SEQPACKET, 0)));
}

/* ---- privileges */

static int raise_capabilities(const struct attack_targets *targets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{.effective = 1u << CAP_SYS_ADMIN, .permitted = 1u << CAP_SYS_ADMIN}, {0}};

	(void)targets;
	return ANY_OF(stopped(syscall(SYS_capset, &header, data)),
		stopped(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0)),
		stopped(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0)),
		stopped(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)));
}

static int become_root(const struct attack_targets *targets)
{
	(void)targets;
	return stopped(syscall(SYS_setresuid, 0, 0, 0));
}

static int raise_limits(const struct attack_targets *targets)
{
	int last = NOTHING_TO_TRY;

	(void)targets;
	for (int resource = 0; resource < (int)RLIM_NLIMITS && last != 0; resource++) {
		struct rlimit limit;

		if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 ||
			limit.rlim_max == RLIM_INFINITY)
			continue;
		limit.rlim_max++;
		last = stopped(setrlimit((__rlimit_resource_t)resource, &limit));
	}
	return last;
}

/*
 * Of a call whose arguments make no sense, so that it can do no harm: whether it got as far as to see that. The right
 * to make it is looked at first.
 */
static int permitted(long r)
{
	return r < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS) ? -errno : 0;
}

static int administer(const struct attack_targets *targets)
{
	const struct timezone zone = {.tz_minuteswest = 100000};
	char name[256] = "";

	(void)targets;
	return ANY_OF(permitted(syscall(SYS_init_module, "", 0, "")),
		permitted(syscall(SYS_reboot, 0, 0, 0, NULL)),
		permitted(syscall(SYS_swapoff, "/x")), permitted(syscall(SYS_acct, "/x")),
		permitted(settimeofday(NULL, &zone)), permitted(syscall(SYS_syslog, 8, NULL, -1)),
		permitted(syscall(SYS_iopl, 3)),
		permitted(syscall(SYS_kexec_load, 0, 1000000, NULL, 0)),
		permitted(sethostname(name, sizeof(name))),
		stopped_fd(fanotify_init(FAN_CLASS_CONTENT, 0)));
}

static int new_machine(const struct attack_targets *targets)
{
	int last = stopped_fd(open("/dev/kvm", O_RDWR));

	(void)targets;
	for (int fd = 0; fd < FDS_MAX && last != 0; fd++) {
		int machine = ioctl(fd, KVM_CREATE_VM, 0);

		if (machine >= 0) {
			close(machine);
			return 0;
		}
	}
	return last;
}

/* ---- kernel interfaces */

static int use_keys(const struct attack_targets *targets)
{
	(void)targets;
	return stopped(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
}

static int load_bpf(const struct attack_targets *targets)
{
	union bpf_attr attributes = {0};

	(void)targets;
	attributes.map_type = BPF_MAP_TYPE_ARRAY;
	attributes.key_size = 4;
	attributes.value_size = 4;
	attributes.max_entries = 1;
	return stopped_fd(syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes)));
}

static int handle_faults(const struct attack_targets *targets)
{
	(void)targets;
	return stopped_fd(syscall(SYS_userfaultfd, O_CLOEXEC | 1)); /* UFFD_USER_MODE_ONLY */
}

static int watch_performance(const struct attack_targets *targets)
{
	struct perf_event_attr attributes = {.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attributes),
		.config = PERF_COUNT_SW_CPU_CLOCK};

	(void)targets;
	/* Of the whole machine. */
	return stopped_fd(syscall(SYS_perf_event_open, &attributes, -1, 0, -1, 0));
}

static int new_ring(const struct attack_targets *targets)
{
	struct io_uring_params parameters = {0};

	(void)targets;
	return stopped_fd(syscall(SYS_io_uring_setup, 2, &parameters));
}

/* The numbers that an operation can have; more than any kernel knows. */
#define RING_NUMBERS 256

struct attack_ring {
	const struct io_uring_params *shape;
	int fd;
	struct io_uring_sqe *entries;
	char *ring;
};

static bool is_ring(int fd)
{
	return syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, NULL, 0) == 0 ||
		(errno != EBADF && errno != EOPNOTSUPP);
}

unsigned int attack_ring_operations(int ring_fd)
{
	_Alignas(struct io_uring_probe) char bytes[sizeof(struct io_uring_probe) +
		RING_NUMBERS * sizeof(struct io_uring_probe_op)] = {0};
	struct io_uring_probe *probe = (struct io_uring_probe *)bytes;

	if (syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_PROBE, probe, RING_NUMBERS) < 0)
		return IORING_OP_LAST;
	return probe->last_op + 1u;
}

static bool ring_map(struct attack_ring *ring)
{
	const struct io_uring_params *shape = ring->shape;

	ring->entries = mmap(NULL, shape->sq_entries * sizeof(struct io_uring_sqe),
		PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, (off_t)IORING_OFF_SQES);
	ring->ring = mmap(NULL, shape->sq_off.array + shape->sq_entries * sizeof(unsigned int),
		PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	return ring->entries != MAP_FAILED && ring->ring != MAP_FAILED;
}

static void ring_unmap(const struct attack_ring *ring)
{
	const struct io_uring_params *shape = ring->shape;

	if (ring->entries != MAP_FAILED)
		munmap(ring->entries, shape->sq_entries * sizeof(struct io_uring_sqe));
	if (ring->ring != MAP_FAILED)
		munmap(ring->ring, shape->sq_off.array + shape->sq_entries * sizeof(unsigned int));
}

/* Submits one entry and waits for its end: the result of the operation. */
static int ring_do(struct attack_ring *ring, const struct io_uring_sqe *entry)
{
	const struct io_uring_params *shape = ring->shape;
	unsigned int *tail = (unsigned int *)(ring->ring + shape->sq_off.tail);
	unsigned int *head = (unsigned int *)(ring->ring + shape->cq_off.head);
	unsigned int index = *tail & (shape->sq_entries - 1);
	const struct io_uring_cqe *answer;
	int result;

	ring->entries[index] = *entry;
	((unsigned int *)(ring->ring + shape->sq_off.array))[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	answer = (struct io_uring_cqe *)(ring->ring + shape->cq_off.cqes) +
		(*head & (shape->cq_entries - 1));
	result = answer->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

/* What the file server needs (virtio/fs/queued.c). */
static bool is_needed(unsigned int opcode)
{
	return opcode == IORING_OP_READV || opcode == IORING_OP_WRITEV ||
		opcode == IORING_OP_FSYNC || opcode == IORING_OP_FALLOCATE;
}

/*
 * Those four go into the ring, on no file; with a flag they do not: from a table of files, handed to a worker, into a buffer
 * of the kernel's choice. No other does in any way.
 */
static int ring_try(struct attack_ring *ring, unsigned int opcode, bool is_known)
{
	static const uint8_t flags[] = {IOSQE_FIXED_FILE, IOSQE_ASYNC, IOSQE_BUFFER_SELECT};
	struct io_uring_sqe entry = {.opcode = (uint8_t)opcode, .fd = -1};
	int r;

	if (!is_needed(opcode)) {
		entry.fd = AT_FDCWD;
		entry.addr = (uintptr_t) "/";
	}
	r = ring_do(ring, &entry);
	/* Not the file server's. */
	if (is_needed(opcode) && r == -EACCES)
		return NOTHING_TO_TRY;
	/*
	 * Any other answer is one of the operation. What the kernel does not know it refuses before it looks at what the ring may
	 * do.
	 */
	if (!is_needed(opcode))
		return r == -EACCES || (r == -EINVAL && !is_known) ? -EACCES : 0;
	for (size_t i = 0; i < sizeof(flags); i++) {
		entry.flags = flags[i];
		r = ring_do(ring, &entry);
		if (r != -EACCES && r != -EINVAL && r != -EOPNOTSUPP)
			return 0;
	}
	return -EACCES;
}

/* The ring that the file server has: its submissions are not system calls. Its shape is that of any such ring. */
static int use_ring(const struct attack_targets *targets)
{
	int last = NOTHING_TO_TRY;

	for (int fd = 3; targets->ring && fd < FDS_MAX && last != 0; fd++) {
		struct attack_ring ring = {.shape = targets->ring, .fd = fd};

		if (!is_ring(fd))
			continue;
		last = -EACCES;
		if (!ring_map(&ring))
			last = NOTHING_TO_TRY;
		for (unsigned int opcode = 0; opcode < RING_NUMBERS && last < 0; opcode++)
			last = ring_try(&ring, opcode, opcode < targets->ring_operations);
		ring_unmap(&ring);
	}
	return last;
}

/*
 * Files, a user's rights, or fewer restrictions: what a ring may have registered with it. Numbers that the kernel does not
 * know are the last ones, and invalid; if another is invalid, it is its arguments that were looked at.
 */
static int register_with_ring(const struct attack_targets *targets)
{
	int last = NOTHING_TO_TRY;

	(void)targets;
	for (int fd = 3; fd < FDS_MAX; fd++) {
		bool is_known = true;

		if (!is_ring(fd))
			continue;
		for (unsigned int i = 0; i < 2 * RING_NUMBERS; i++) {
			/* Without an argument, and with one where no memory is. */
			unsigned long count = i & 1;
			long r = syscall(SYS_io_uring_register, fd, i / 2, count, count);

			if (r < 0 && errno == EINVAL)
				is_known = false;
			else if (r >= 0 || errno != EACCES || !is_known)
				return 0;
			last = -EACCES;
		}
	}
	return last;
}

const struct attempt attempts[] = {
	{"open-secret", "a file of the host by its path", "tree", open_secret},
	{"open-upwards", "the same by ..", "tree", open_upwards},
	{"write-outside", "a new file in a directory of the host", "tree", write_outside},
	{"open-through-fds", "a file of the host from each fd that is open", "tree",
		open_through_fds},
	{"open-proc", "files of /proc from each fd", "tree", open_proc},
	{"change-memory", "times, owner, mode, attributes, content of the template's memory",
		"tree", change_memory_file},
	{"write-read-only", "times, owner, mode, attributes, content, names on a read-only volume",
		"tree", write_read_only},
	{"change-root", "chroot(2) and pivot_root(2)", "user", change_root},
	{"mount", "new mounts, other flags of mounts, no mounts", "user", mount_something},
	{"open-by-handle", "open_by_handle_at(2) of the root of a disk", "user", open_by_handle},
	{"open-device", "device nodes of disks and memory", "tree", open_device_node},
	{"execute-file", "execve(2) of a set-user-id file", "tree", execute_file},
	{"new-user-namespace", "a user namespace with all capabilities", "tree",
		new_user_namespace},
	{"new-namespaces", "unshare(2) of each other namespace", "user", new_namespaces},
	{"join-namespaces", "setns(2) to those of the host", "tree", join_namespaces},
	{"see-processes", "kill(2) with signal 0 of each process id", "namespaces", see_processes},
	{"kill-everything", "kill(2) of -1", "namespaces", kill_everything},
	{"trace-process", "ptrace(2) of a process of the host", "namespaces", trace_process},
	{"read-process", "process_vm_readv(2) of one", "namespaces", read_process},
	{"signal-by-fcntl", "F_SETOWN of one", "namespaces", signal_by_fcntl},
	{"attach-memory", "a System V segment of the host", "namespaces", attach_memory},
	{"know-host-name", "the name of the host", "namespaces", know_host_name},
	{"connect-tcp", "a server on the host's loopback interface", "namespaces", connect_tcp},
	{"send-datagram", "a datagram to the Internet", "namespaces", send_datagram},
	{"connect-abstract", "an abstract socket of the host", "namespaces", connect_abstract},
	{"raw-socket", "packet and raw sockets", "user", raw_socket},
	{"reuse-sockets", "the host's servers, namespaces and processes by sockets that are there",
		"user", reuse_sockets},
	{"raise-capabilities", "CAP_SYS_ADMIN, ambient capabilities, other securebits", "user",
		raise_capabilities},
	{"raise-limits", "higher hard limits", "user", raise_limits},
	{"administer", "modules, reboot, clock, I/O ports, kernel log, fanotify", "user",
		administer},
	{"new-machine", "another virtual machine", "tree", new_machine},
	{"watch-performance", "perf_event_open(2) of everything", "user", watch_performance},
	{"use-ring", "all operations but four in the file server's io_uring",
		"the ring's restrictions", use_ring},
	{"register-with-ring", "files, rights or other rules for the file server's io_uring",
		"the ring's restrictions", register_with_ring},
	{"new-socket", "sockets of any family", "filter", new_socket},
	{"become-root", "setresuid(2) to user 0, without more capabilities", "filter", become_root},
	{"use-keys", "keyctl(2)", "filter", use_keys},
	{"load-bpf", "bpf(2)", "filter", load_bpf},
	{"handle-faults", "userfaultfd(2)", "filter", handle_faults},
	{"see-interfaces", "which interfaces the host has, by sockets that it made", "filter",
		see_interfaces},
	{"change-tap", "the host's side of a tap", "filter", change_tap},
	{"new-ring", "another io_uring, with all its operations", "filter", new_ring},
};
const size_t attempt_count = sizeof(attempts) / sizeof(attempts[0]);
