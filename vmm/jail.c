// SPDX-License-Identifier: Apache-2.0
/*
 * jail.c: see jail.h; docs/security.md says what each wall stops.
 *
 * Theory of operation: the order matters. Mounts need CAP_SYS_ADMIN, so the tree comes first; limits and the
 * bounding set need capabilities that go away with the change of user; landlock comes last, because it
 * forbids mounts and would forbid the rest of /proc.
 *
 * The tree does not become the root of the mount namespace: that is an empty, read-only tmpfs, and the process is
 * chrooted to the tree that is mounted in it. A process whose root is not that of its mount namespace
 * cannot create user namespaces (user_namespaces(7), EPERM), through which it could get all capabilities over new
 * namespaces of its own, and so into much more of the kernel. Without CAP_SYS_CHROOT nothing leads out of
 * the chroot, and behind it is an empty directory.
 *
 * The user is the pod's own, but the user for files (setfsuid(2)) stays root: the file server assumes the identity of
 * whoever the guest's kernel names, and with CAP_SETUID it is free to do so anyway. What the
 * user decides is what is not a file: signals, keys, limits, sysctls, what peers of sockets see.
 *
 * No filter needs the system calls of this file: they are made before there is one.
 */
#include "vmm/jail.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Below the root of the mount namespace. */
#define TREE_NAME "tree"

#define USER_FIRST 0x70000000u
#define USER_BITS  28

static const char *const wall_names[JAIL_WALLS] = {
	[JAIL_TREE] = "tree",
	[JAIL_NAMESPACES] = "namespaces",
	[JAIL_USER] = "user",
	[JAIL_LIMITS] = "limits",
	[JAIL_CGROUP] = "cgroup",
	[JAIL_LANDLOCK] = "landlock",
	[JAIL_SECCOMP] = "seccomp",
};

const char *jail_wall_name(enum jail_wall wall)
{
	return wall_names[wall];
}

static bool is_wanted(const struct jail_options *options, enum jail_wall wall)
{
	return !(options->omitted & 1u << wall);
}

uid_t jail_user(const char *uuid)
{
	uint32_t number = 0;

	/* The last digits: what is random in a UUID of any version. */
	for (const char *c = uuid; *c; c++)
		if (*c != '-')
			number = number << 4 |
				(uint32_t)(*c <= '9' ? *c - '0' : ((*c | 0x20) - 'a' + 10) & 0xf);
	return USER_FIRST | (number & ((1u << USER_BITS) - 1));
}

unsigned long jail_namespaces(unsigned int omitted)
{
	/* That of cgroups is created later: its root is the cgroup that its creator is in. */
	return omitted & 1u << JAIL_NAMESPACES
		? 0
		: CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
}

/* ---- first step */

/* The thread that writes "0" is moved itself, which needs no lock and no wait for other CPUs. */
static int join_cgroups(const struct jail_options *options)
{
	for (size_t i = 0; i < options->join_count; i++)
		if (write(options->join_fds[i], "0", 1) != 1)
			return -errno;
	if (is_wanted(options, JAIL_NAMESPACES) && unshare(CLONE_NEWCGROUP) < 0)
		return -errno;
	return 0;
}

/*
 * The file server reaches what it has open through /proc/self/fd. With the host's /proc that fd would lead to every
 * process and to /proc/sys. This one has neither, is read-only, and no mount of it stays.
 */
static int mount_proc(void)
{
	return mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		       "subset=pid") < 0
		? -errno
		: 0;
}

int jail_prepare(const struct jail_options *options, int *ret_tree_fd, struct error *err)
{
	int r, tree;

	r = join_cgroups(options);
	if (r < 0)
		return error_set_errno(err, r, "cannot enter the VMM's cgroup");
	/*
	 * No mount goes out. Of those that stay, those in the tree, only a mutable pod's have a master: what the
	 * supervisor mounts there later comes in.
	 */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return error_set_errno(err, -errno, "cannot set up the VMM's mount namespace");
	r = mount_proc();
	if (r < 0)
		return error_set_errno(err, r, "cannot mount a /proc for the VMM");
	/* As this mount namespace has it: an fd of the supervisor's would lead to the host's files. */
	tree = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0)
		return error_set_errno(err, -errno, "cannot open the pod's tree");
	*ret_tree_fd = tree;
	return 0;
}

/* ---- second step: the tree */

/* An empty tmpfs with one directory to mount the tree on; mounted nowhere yet. */
static int create_root(void)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
	_cleanup_close_ int root = -1;

	if (context < 0 ||
		syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
		syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	root = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (root < 0 || mkdirat(root, TREE_NAME, 0555) < 0 ||
		syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) <
			0)
		return -errno;
	return TAKE_FD(root);
}

/* The mount of the tree is moved, not copied: the file server has fds to it. */
static int enter_tree(int tree_fd)
{
	_cleanup_close_ int root = create_root();

	if (root < 0)
		return root;
	/* /proc is as good a place as any to put the new root on, until it is the root. */
	if (umount2("/proc", MNT_DETACH) < 0 ||
		syscall(SYS_move_mount, root, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
		syscall(SYS_move_mount, tree_fd, "", root, TREE_NAME, MOVE_MOUNT_F_EMPTY_PATH) <
			0 ||
		fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chroot("/" TREE_NAME) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* ---- limits */

static int set_limits(void)
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
	struct rlimit files;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (setrlimit((__rlimit_resource_t)limits[i].resource,
			    &(struct rlimit){limits[i].limit, limits[i].limit}) < 0)
			return -errno;
	/* As many as the file server found it needs, for ever. Files of the guest may have any size. */
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_max = files.rlim_cur;
	return setrlimit(RLIMIT_NOFILE, &files) < 0 ? -errno : 0;
}

/* ---- the user */

/*
 * What the file server does for the guest's users, whom the guest's kernel has checked, and nothing else:
 *   CHOWN, FOWNER, FSETID, DAC_OVERRIDE   owners, modes and times of anybody's files; reading and writing them.
 *                                         Not DAC_READ_SEARCH, which opens files by handles from anywhere
 *   SETUID, SETGID                        to create files that belong to the caller (setfsuid(2))
 *   MKNOD                                 device nodes in root file systems, which no host can open (nodev)
 *   SETFCAP                               file capabilities of programs in the guest
 */
static const unsigned int capabilities[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
	CAP_SETGID, CAP_SETUID, CAP_MKNOD, CAP_SETFCAP};

static uint64_t retained_capabilities(void)
{
	uint64_t set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		set |= 1ull << capabilities[i];
	return set;
}

static int drop_bounding_set(uint64_t retained)
{
	for (unsigned int i = 0; i < 64; i++) {
		if (retained & 1ull << i)
			continue;
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			/* The first that this kernel does not know. */
			return errno == EINVAL && i > CAP_SETFCAP ? 0 : -errno;
	}
	return 0;
}

static int set_capabilities(uint64_t set)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	data[0].effective = data[0].permitted = (uint32_t)set;
	data[1].effective = data[1].permitted = (uint32_t)(set >> 32);
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* The caller's session keyring is inherited like an fd; an empty one of our own takes its place. */
static int leave_keyring(void)
{
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 || errno == ENOSYS)
		return 0;
	return -errno;
}

static int become(uid_t user)
{
	/* No user gives, takes or restores capabilities from now on, neither by execve() nor by set*id(). */
	const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
		SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	uint64_t retained = retained_capabilities();
	int r;

	if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0 ||
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	r = drop_bounding_set(retained);
	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 ||
		setresuid(user, user, user) < 0)
		return -errno;
	r = leave_keyring();
	if (r < 0)
		return r;
	setfsgid(0);
	setfsuid(0);
	return set_capabilities(retained);
}

/* ---- landlock */

/* Of later kernels than the headers we are built with (landlock(7)). */
#define ACCESS_TRUNCATE   (1ull << 14)
#define ACCESS_IOCTL_DEV  (1ull << 15)
#define NET_BIND_TCP      (1ull << 0)
#define NET_CONNECT_TCP   (1ull << 1)
#define SCOPE_UNIX_SOCKET (1ull << 0)
#define SCOPE_SIGNAL      (1ull << 1)

#define ACCESS_VERSION_1 ((1ull << 13) - 1)

struct ruleset_attributes {
	uint64_t files;
	uint64_t net;   /* since version 4 */
	uint64_t scope; /* since version 6 */
};

int jail_landlock_version(void)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return version > 0 ? (int)version : 0;
}

static size_t ruleset_size(int version)
{
	return version >= 6    ? sizeof(struct ruleset_attributes)
		: version >= 4 ? offsetof(struct ruleset_attributes, scope)
			       : offsetof(struct ruleset_attributes, net);
}

/*
 * Files of the tree may be used in all ways but to be executed or to be devices; no other file, also not through
 * fds of directories, can be opened, made or removed.
 */
static int enter_landlock(int version)
{
	struct ruleset_attributes attributes = {
		.files = ACCESS_VERSION_1 | (version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) |
			(version >= 3 ? ACCESS_TRUNCATE : 0) |
			(version >= 5 ? ACCESS_IOCTL_DEV : 0),
		.net = version >= 4 ? NET_BIND_TCP | NET_CONNECT_TCP : 0,
		.scope = version >= 6 ? SCOPE_UNIX_SOCKET | SCOPE_SIGNAL : 0,
	};
	_cleanup_close_ int tree = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), ruleset = -1;
	struct landlock_path_beneath_attr below_tree = {
		.allowed_access = attributes.files &
			~(LANDLOCK_ACCESS_FS_EXECUTE | ACCESS_IOCTL_DEV),
		.parent_fd = tree,
	};

	if (tree < 0)
		return -errno;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, ruleset_size(version), 0);
	if (ruleset < 0 ||
		syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &below_tree,
			0) < 0 ||
		syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	return 0;
}

/* ---- second step */

static int build_tree(const struct jail_options *options, int tree_fd, struct error *err)
{
	int r = enter_tree(tree_fd);

	if (r < 0)
		return error_set_errno(err, r, "cannot shut the VMM into the pod's tree");
	/* The name of the host is no secret, but also no business of the VMM's. */
	if (is_wanted(options, JAIL_NAMESPACES) && sethostname("vmm", 3) < 0)
		return error_set_errno(err, -errno, "cannot name the VMM's UTS namespace");
	return 0;
}

/* One that is not there was not asked for, or is not in this kernel. */
static int build_landlock(unsigned int *walls, struct error *err)
{
	int version = jail_landlock_version(), r;

	if (version == 0)
		return 0;
	r = enter_landlock(version);
	if (r < 0)
		return error_set_errno(err, r, "cannot restrict the VMM by landlock");
	*walls |= 1u << JAIL_LANDLOCK;
	return 0;
}

int jail_enter(
	const struct jail_options *options, int tree_fd, unsigned int *ret_walls, struct error *err)
{
	unsigned int walls = 1u << JAIL_TREE;
	int r;

	/* Succeeds for a process with one thread only, and then does nothing. */
	if (unshare(CLONE_THREAD) < 0)
		return error_set(err, -EBUSY, "a thread of the VMM would be outside of its jail");
	r = build_tree(options, tree_fd, err);
	if (r < 0)
		return r;
	if (is_wanted(options, JAIL_NAMESPACES))
		walls |= 1u << JAIL_NAMESPACES;
	if (options->has_cgroup)
		walls |= 1u << JAIL_CGROUP;
	if (is_wanted(options, JAIL_LIMITS)) {
		r = set_limits();
		if (r < 0)
			return error_set_errno(err, r, "cannot limit the VMM's resources");
		walls |= 1u << JAIL_LIMITS;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set_errno(err, -errno, "cannot give up new privileges");
	if (is_wanted(options, JAIL_USER)) {
		r = become(options->user);
		if (r < 0)
			return error_set_errno(
				err, r, "cannot give the VMM a user without privileges");
		walls |= 1u << JAIL_USER;
	}
	/* Neither core dumps nor other processes of the same user look into guest memory. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_set_errno(err, -errno, "cannot shut other processes out of the VMM");
	if (is_wanted(options, JAIL_LANDLOCK)) {
		r = build_landlock(&walls, err);
		if (r < 0)
			return r;
	}
	*ret_walls = walls;
	return 0;
}
