// SPDX-License-Identifier: Apache-2.0
/*
 * test_jail.c: a process in the jail, without a machine: what stops it there, and that the file server can
 * do its work all the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "tests/attack/attempts.h"
#include "virtio/fs/fs.h"
#include "vmm/jail.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define USER 0x70001234u

/* What a test writes for its parent to read: text, in memory that both have. */
struct notes {
	size_t length;
	char text[16384];
};

struct world {
	char directory[64]; /* of the host; the tree is mounted on "tree" below it */
	char secret[128], host_name[65], abstract[64];
	struct attack_targets targets;
	struct io_uring_params ring;
	int listener, abstract_listener, memory;
	bool has_careless_socket, has_careless_ring;
	struct notes *notes;
};

static void note(struct world *world, const char *format, ...) _printf_(2, 3);

static void note(struct world *world, const char *format, ...)
{
	struct notes *notes = world->notes;
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(notes->text + notes->length, sizeof(notes->text) - notes->length, format,
		arguments);
	va_end(arguments);
	if (n > 0 && (size_t)n < sizeof(notes->text) - notes->length)
		notes->length += (size_t)n;
}

static bool expect(struct world *world, const char *what, bool good)
{
	if (!good)
		note(world, "%s: %s\n", what, strerror(errno));
	return good;
}

static int listen_on(struct sockaddr *address, socklen_t size)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, address, size), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int set_up(void **state)
{
	static struct world world;
	struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un abstract = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(tcp);
	char memory[96];
	int fd;

	/* Mounts of a jail, and a namespace to mount them in, need root. */
	if (geteuid() != 0)
		return 0;
	world = (struct world){0};
	snprintf(world.directory, sizeof(world.directory), "/tmp/appc-jail-XXXXXX");
	assert_non_null(mkdtemp(world.directory));
	snprintf(world.secret, sizeof(world.secret), "%s/secret", world.directory);
	fd = open(world.secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	/* What a VMM has of the template that its machine comes from, which is another user's. */
	snprintf(memory, sizeof(memory), "%s/memory", world.directory);
	fd = open(memory, O_RDWR | O_CREAT | O_CLOEXEC, 0400);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, ATTACK_MEMORY_SIZE), 0);
	world.memory = file_reopen_read_only(fd);
	assert_true(world.memory >= 0);
	close(fd);
	world.listener = listen_on((struct sockaddr *)&tcp, sizeof(tcp));
	assert_int_equal(getsockname(world.listener, (struct sockaddr *)&tcp, &size), 0);
	snprintf(world.abstract, sizeof(world.abstract), "appc-jail-%d", getpid());
	memcpy(abstract.sun_path + 1, world.abstract, strlen(world.abstract));
	world.abstract_listener = listen_on((struct sockaddr *)&abstract,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(world.abstract)));
	gethostname(world.host_name, sizeof(world.host_name) - 1);
	world.targets = (struct attack_targets){
		.secret = world.secret,
		.abstract = world.abstract,
		.tcp_port = ntohs(tcp.sin_port),
		.process = getpid(),
		.shared_memory = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0666),
		.host_name = world.host_name,
		.read_only = "/volumes/fixed",
	};
	world.notes = mmap(NULL, sizeof(struct notes), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(world.notes != MAP_FAILED);
	*state = &world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	if (!world)
		return 0;
	shmctl(world->targets.shared_memory, IPC_RMID, NULL);
	close(world->memory);
	close(world->listener);
	close(world->abstract_listener);
	munmap(world->notes, sizeof(struct notes));
	assert_int_equal(directory_remove(AT_FDCWD, world->directory), 0);
	return 0;
}

/* The shape of a ring of the file server's. */
static void learn_ring(struct world *world)
{
	long fd = syscall(SYS_io_uring_setup, 64, &world->ring);

	if (fd < 0)
		return;
	world->targets.ring = &world->ring;
	world->targets.ring_operations = attack_ring_operations((int)fd);
	if (!world->has_careless_ring)
		close((int)fd);
}

typedef bool in_jail(struct world *world, struct virtio_fs *fs);

static int jailed_child(struct world *world, const struct jail_options *options, in_jail *test)
{
	static struct guest_memory memory;
	struct virtio_fs_options fs_options = {
		.tag = "pod", .policy = VIRTIO_FS_EXCLUSIVE, .inodes_max = 1024, .handles_max = 64};
	struct virtio_fs *fs;
	struct error err = {0};
	unsigned int walls;
	int tree;

	if (jail_prepare(options, &tree, &err) < 0) {
		note(world, "prepare: %s\n", err.message);
		return 1;
	}
	learn_ring(world);
	fs_options.tree_fd = tree;
	if (virtio_fs_create(&memory, &fs_options, &fs, &err) < 0) {
		note(world, "file server: %s\n", err.message);
		return 1;
	}
	if (jail_enter(options, tree, &walls, &err) < 0) {
		note(world, "enter: %s\n", err.message);
		return 1;
	}
	note(world, "walls %x\n", walls);
	return test(world, fs) ? 0 : 1;
}

/* Sockets as a VMM has them, made where those of the host are: connected ones, and one that listens. */
static int give_sockets(struct world *world)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int pair[2], fd, careless;

	/* The host's own stay open with the parent. */
	close(world->listener);
	close(world->abstract_listener);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/vsock", world->directory);
	unlink(address.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, 1) < 0)
		return -errno;
	if (!world->has_careless_socket)
		return 0;
	careless = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return careless < 0 ? -errno : 0;
}

/* A volume that is read-only by its mount. */
static int mount_fixed_volume(void)
{
	const unsigned long flags = MS_NODEV | MS_NOSUID | MS_NOEXEC;
	int fd;

	mkdir("volumes", 0755);
	mkdir("volumes/fixed", 0755);
	if (mount("pod", "volumes/fixed", "tmpfs", flags, NULL) < 0)
		return -errno;
	fd = open("volumes/fixed/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, "fixed", 5) != 5)
		return -errno;
	close(fd);
	return mount(NULL, "volumes/fixed", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) <
			0
		? -errno
		: 0;
}

/* The tree is mounted in a mount namespace of this process's own, as the supervisor does it. */
static int supervise(struct world *world, const struct jail_options *options, in_jail *test)
{
	struct clone_args arguments = {
		.flags = CLONE_NEWNS | jail_namespaces(options->omitted), .exit_signal = SIGCHLD};
	char tree[96];
	int status, r;
	pid_t pid;

	snprintf(tree, sizeof(tree), "%s/tree", world->directory);
	mkdir(tree, 0755);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("pod", tree, "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, "mode=0755") < 0 ||
		chdir(tree) < 0)
		return -errno;
	mkdir("apps", 0755);
	r = mount_fixed_volume();
	if (r == 0)
		r = give_sockets(world);
	if (r < 0) {
		note(world, "what the process has: %s\n", strerror(-r));
		return r;
	}
	pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0)
		_exit(jailed_child(world, options, test));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	if (WIFSIGNALED(status))
		note(world, "signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void run_in_jail(struct world *world, const struct jail_options *options, in_jail *test)
{
	int status;
	pid_t pid;

	world->notes->length = 0;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(supervise(world, options, test) == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s", world->notes->text);
}

/* ---- attempts */

static bool attempts_fail(struct world *world, struct virtio_fs *fs)
{
	bool good = true;

	(void)fs;
	for (size_t i = 0; i < attempt_count; i++) {
		bool needs_filter = !strcmp(attempts[i].wall, "filter");
		int r = needs_filter ? -ENOSYS : attempts[i].run(&world->targets);

		if (r == 0)
			note(world, "%s succeeded: %s\n", attempts[i].name, attempts[i].tries);
		if (r > 0)
			note(world, "%s: there was nothing to try it on\n", attempts[i].name);
		good = good && r < 0;
	}
	return good;
}

static const struct jail_options all_walls = {.user = USER};

#define SKIP_WITHOUT_ROOT(state) \
	do {                     \
		if (!*(state))   \
			skip();  \
	} while (0)

static void every_attempt_to_break_out_is_stopped(void **state)
{
	SKIP_WITHOUT_ROOT(state);
	run_in_jail(*state, &all_walls, attempts_fail);
}

/* With CAP_SETUID and without a filter the VMM can be user 0: that is nobody special. */
static bool attempts_fail_as_root(struct world *world, struct virtio_fs *fs)
{
	return setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0 && attempts_fail(world, fs);
}

static void user_0_is_stopped_too(void **state)
{
	SKIP_WITHOUT_ROOT(state);
	run_in_jail(*state, &all_walls, attempts_fail_as_root);
}

/* The others stand without landlock, which not every kernel has. */
static void every_attempt_is_stopped_without_landlock(void **state)
{
	const struct jail_options options = {.user = USER, .omitted = 1u << JAIL_LANDLOCK};

	SKIP_WITHOUT_ROOT(state);
	run_in_jail(*state, &options, attempts_fail);
}

/* That attempts are worth something: where a wall is missing, some that it stops succeed. */
static bool some_attempts_succeed(struct world *world, struct virtio_fs *fs)
{
	static const char *const names[] = {"change-root", "mount", "new-namespaces",
		"see-processes", "trace-process", "attach-memory", "know-host-name", "connect-tcp",
		"connect-abstract", "raise-capabilities", "reuse-sockets", "see-interfaces",
		"write-read-only"};
	bool good = true;
	int status;

	(void)fs;
	for (size_t i = 0; i < attempt_count; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
			if (strcmp(attempts[i].name, names[j]) != 0)
				continue;
			/* One that succeeds is in the way of the next. */
			if (fork() == 0)
				_exit(attempts[i].run(&world->targets) == 0 ? 0 : 1);
			if (wait(&status) < 0 || status != 0) {
				note(world, "%s failed\n", names[j]);
				good = false;
			}
		}
	}
	return good;
}

static void attempts_succeed_where_no_wall_stands(void **state)
{
	const struct jail_options options = {.user = USER, .omitted = JAIL_ALL};

	SKIP_WITHOUT_ROOT(state);
	run_in_jail(*state, &options, some_attempts_succeed);
}

/* What a careless VMM would have: they find it. */
static bool attempt_succeeds(struct world *world, const char *name)
{
	for (size_t i = 0; i < attempt_count; i++) {
		int r = strcmp(attempts[i].name, name) != 0 ? -ENOENT
							    : attempts[i].run(&world->targets);

		if (r == 0)
			return true;
		if (r != -ENOENT)
			note(world, "%s: %d\n", name, r);
	}
	return false;
}

static bool finds_socket(struct world *world, struct virtio_fs *fs)
{
	(void)fs;
	return attempt_succeeds(world, "reuse-sockets");
}

static void a_socket_of_the_host_that_is_left_open_is_found(void **state)
{
	const struct jail_options options = {.user = USER, .omitted = 1u << JAIL_LANDLOCK};
	struct world *world = *state;

	SKIP_WITHOUT_ROOT(state);
	world->has_careless_socket = true;
	run_in_jail(world, &options, finds_socket);
	world->has_careless_socket = false;
}

static bool finds_ring(struct world *world, struct virtio_fs *fs)
{
	(void)fs;
	return attempt_succeeds(world, "use-ring") && attempt_succeeds(world, "register-with-ring");
}

static void a_ring_without_restrictions_is_found(void **state)
{
	struct world *world = *state;

	SKIP_WITHOUT_ROOT(state);
	world->has_careless_ring = true;
	run_in_jail(world, &all_walls, finds_ring);
	world->has_careless_ring = false;
}

/* What it says of an attempt that no other wall stops here. */
static bool stops(struct world *world, const char *name, int expected)
{
	for (size_t i = 0; i < attempt_count; i++) {
		int r = strcmp(attempts[i].name, name) != 0 ? expected
							    : attempts[i].run(&world->targets);

		if (r == expected)
			continue;
		note(world, "%s: %d, expected %d\n", name, r, expected);
		return false;
	}
	return true;
}

static bool landlock_stands_alone(struct world *world, struct virtio_fs *fs)
{
	int version = jail_landlock_version();
	bool good = true;

	(void)fs;
	if (version >= 1 && (mount("tmpfs", "/apps", "tmpfs", 0, NULL) == 0 || errno != EPERM)) {
		note(world, "a mount: %s\n", strerror(errno));
		good = false;
	}
	if (version >= 4)
		good &= stops(world, "connect-tcp", -EACCES);
	if (version >= 6)
		good &= stops(world, "connect-abstract", -EPERM) &&
			stops(world, "see-processes", -EPERM);
	return good;
}

static void landlock_stops_what_other_walls_stop_too(void **state)
{
	const struct jail_options options = {
		.user = USER, .omitted = JAIL_ALL & ~(1u << JAIL_LANDLOCK)};

	SKIP_WITHOUT_ROOT(state);
	if (jail_landlock_version() == 0)
		skip();
	run_in_jail(*state, &options, landlock_stands_alone);
}

/* ---- what is there */

/* Hard and soft, as docs/security.md says. */
static bool has_limits(struct world *world)
{
	static const struct {
		int resource; /* an enum with glibc */
		rlim_t limit;
	} limits[] = {
		{RLIMIT_CORE, 0},
		{RLIMIT_NPROC, JAIL_THREADS_MAX},
		{RLIMIT_MEMLOCK, 0},
		{RLIMIT_MSGQUEUE, 0},
		{RLIMIT_SIGPENDING, JAIL_THREADS_MAX},
		{RLIMIT_NICE, 0},
		{RLIMIT_RTPRIO, 0},
	};
	struct rlimit limit;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		getrlimit((__rlimit_resource_t)limits[i].resource, &limit);
		if (limit.rlim_cur == limits[i].limit && limit.rlim_max == limits[i].limit)
			continue;
		note(world, "limit %d: %lu %lu\n", limits[i].resource, limit.rlim_cur,
			limit.rlim_max);
		return false;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	note(world, "open files: %lu %lu\n", limit.rlim_cur, limit.rlim_max);
	return limit.rlim_cur == limit.rlim_max;
}

static bool has_its_own_identity(struct world *world, struct virtio_fs *fs)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint64_t wanted = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER |
		1ull << CAP_FSETID | 1ull << CAP_SETGID | 1ull << CAP_SETUID | 1ull << CAP_MKNOD |
		1ull << CAP_SETFCAP;
	uint64_t bounding = 0;
	uid_t real, effective, saved;

	(void)fs;
	syscall(SYS_capget, &header, data);
	for (unsigned int i = 0; i < 41; i++)
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			bounding |= 1ull << i;
	getresuid(&real, &effective, &saved);
	note(world, "capabilities %x %x, bounding %lx, user %u %u %u\n", data[0].effective,
		data[1].effective, bounding, real, effective, saved);
	return data[0].effective == wanted && data[0].permitted == wanted &&
		data[0].inheritable == 0 && data[1].permitted == 0 && bounding == wanted &&
		real == USER && effective == USER && saved == USER && getgroups(0, NULL) == 0 &&
		setfsuid((uid_t)-1) == 0 && setfsgid((gid_t)-1) == 0 &&
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_DUMPABLE) == 0 &&
		has_limits(world) && getpid() == 1;
}

static void a_jailed_process_has_eight_capabilities_a_user_of_its_own_and_limits(void **state)
{
	SKIP_WITHOUT_ROOT(state);
	run_in_jail(*state, &all_walls, has_its_own_identity);
}

static void users_differ_by_pod_and_lie_in_a_range_that_nobody_has(void **state)
{
	(void)state;
	assert_int_equal(jail_user("811776a7-dd6a-4b1b-8afc-5c0c51b93b34"), 0x71b93b34);
	assert_int_not_equal(jail_user("811776a7-dd6a-4b1b-8afc-5c0c51b93b34"),
		jail_user("811776a7-dd6a-4b1b-8afc-5c0c51b93b35"));
	assert_int_equal(jail_user("ffffffff-ffff-ffff-ffff-ffffffffffff"), 0x7fffffff);
}

static void *wait_for_end(void *argument)
{
	int fd = *(int *)argument;
	char byte;

	(void)!read(fd, &byte, 1);
	return NULL;
}

static void a_thread_that_would_stay_outside_is_noticed(void **state)
{
	struct error err = {0};
	pthread_t thread;
	unsigned int walls;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_end, &fds[0]), 0);
	assert_int_equal(jail_enter(&all_walls, -1, &walls, &err), -EBUSY);
	close(fds[1]);
	pthread_join(thread, NULL);
	close(fds[0]);
}

/* ---- the file server's work; each line needs the capability that it names */

static bool works_for_the_guest(struct world *world, struct virtio_fs *fs)
{
	static const char capability[20] = {1, 0, 0, 2, 1}; /* VFS_CAP_REVISION_2, CAP_CHOWN */
	struct stat st;
	bool good;
	int fd;

	(void)fs;
	good = expect(world, "SETUID, SETGID", setfsgid(1001) == 0 && setfsuid(1000) == 0);
	good &= expect(world, "DAC_OVERRIDE, to write in root's directory", mkdir("d", 0) == 0);
	good &= expect(
		world, "to work in a directory without permissions", mkdir("d/e", 0700) == 0);
	setfsuid(0);
	setfsgid(0);
	good &= expect(world, "the directory is the user's",
		stat("d/e", &st) == 0 && st.st_uid == 1000 && st.st_gid == 1001);
	fd = open("d/f", O_RDWR | O_CREAT, 0);
	good &= expect(world, "a file", fd >= 0);
	good &= expect(world, "CHOWN", fchown(fd, 4294967294u, 77) == 0);
	good &= expect(world, "FOWNER", fchmod(fd, 06755) == 0);
	good &= expect(world, "FSETID",
		write(fd, "x", 1) == 1 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 06755);
	good &= expect(world, "SETFCAP",
		fsetxattr(fd, "security.capability", capability, sizeof(capability), 0) == 0);
	good &= expect(world, "MKNOD",
		mknod("d/node", S_IFBLK | 0600, makedev(8, 0)) == 0 && stat("d/node", &st) == 0 &&
			S_ISBLK(st.st_mode));
	good &= expect(world, "MKNOD for fifos", mknod("d/fifo", S_IFIFO | 0600, 0) == 0);
	good &= expect(world, "a link across directories", link("d/f", "d/e/f") == 0);
	good &= expect(world, "a rename across directories", rename("d/f", "g") == 0);
	good &= expect(world, "truncate", truncate("g", 100000) == 0);
	close(fd);
	return good;
}

static void the_file_servers_work_needs_what_is_left(void **state)
{
	SKIP_WITHOUT_ROOT(state);
	run_in_jail(*state, &all_walls, works_for_the_guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_attempt_to_break_out_is_stopped),
		cmocka_unit_test(user_0_is_stopped_too),
		cmocka_unit_test(every_attempt_is_stopped_without_landlock),
		cmocka_unit_test(landlock_stops_what_other_walls_stop_too),
		cmocka_unit_test(attempts_succeed_where_no_wall_stands),
		cmocka_unit_test(a_socket_of_the_host_that_is_left_open_is_found),
		cmocka_unit_test(a_ring_without_restrictions_is_found),
		cmocka_unit_test(
			a_jailed_process_has_eight_capabilities_a_user_of_its_own_and_limits),
		cmocka_unit_test(users_differ_by_pod_and_lie_in_a_range_that_nobody_has),
		cmocka_unit_test(a_thread_that_would_stay_outside_is_noticed),
		cmocka_unit_test(the_file_servers_work_needs_what_is_left),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
