// SPDX-License-Identifier: Apache-2.0
/*
 * fault.c: a library to be preloaded that makes the n-th call of a kind fail, or be the last.
 *
 * Theory of operation. It stands between the program and libc. Calls of the kind FAULT_KIND are counted in
 * the file FAULT_STATE, which all processes of one command map, so that one number counts them all; call
 * number FAULT_AT fails once, as a full disk, a lost sector or too little memory would make it. With
 * FAULT_KILL set it does not fail: the command's first process is killed before the call, as by SIGKILL
 * from outside. With FAULT_AT=0 calls are counted only.
 *
 *   alloc       malloc, calloc, realloc and their kin, called by anyone but libarchive: ENOMEM
 *   libarchive  the same called by libarchive, which does not survive each of them
 *   write       write, pwrite, writev, pwritev, pwritev2, truncation and allocation of files: ENOSPC; send, sendmsg:
 *               ENOBUFS
 *   preadv      preadv, preadv2, with which the file server reads: EIO
 *   fsync       fsync, fdatasync, syncfs: EIO
 *   rename      rename, renameat, renameat2: ENOSPC
 *   mmap        mmap, mremap: ENOMEM
 *   ioctl       ioctl, without KVM_RUN: ENOMEM
 *   kvm-run     ioctl KVM_RUN: EIO
 *   any         all of them, each with its error
 *
 * What libc calls inside itself (stdio's writes, the memory of new threads) does not come by here.
 */
/* Both names of each call are there, and each is its own. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { ALLOC, LIBARCHIVE, WRITE, PREADV, FSYNC, RENAME, MMAP, IOCTL, KVM_RUN_CALL, KINDS };

static const struct {
	const char *name;
	int error;
} kinds[KINDS] = {
	[ALLOC] = {"alloc", ENOMEM},
	[LIBARCHIVE] = {"libarchive", ENOMEM},
	[WRITE] = {"write", ENOSPC},
	[PREADV] = {"preadv", EIO},
	[FSYNC] = {"fsync", EIO},
	[RENAME] = {"rename", ENOSPC},
	[MMAP] = {"mmap", ENOMEM},
	[IOCTL] = {"ioctl", ENOMEM},
	[KVM_RUN_CALL] = {"kvm-run", EIO},
};

/* The file FAULT_STATE. */
struct state {
	unsigned long calls;
	unsigned long pid; /* of the command's first process */
};

static struct state *state;
static unsigned long fault_at;
static unsigned int fault_kinds;
static bool is_open, kills;
static __thread bool is_loading __attribute__((tls_model("initial-exec")));
static uintptr_t libarchive_begin, libarchive_end;

static int find_libarchive(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	if (!strstr(info->dlpi_name, "/libarchive.so"))
		return 0;
	libarchive_begin = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t end =
			info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;

		if (end > libarchive_end)
			libarchive_end = end;
	}
	return 1;
}

/* Without memory of its own: it runs before anything else does. */
__attribute__((constructor)) static void fault_open(void)
{
	const char *kind = getenv("FAULT_KIND"), *at = getenv("FAULT_AT"),
		   *path = getenv("FAULT_STATE");
	unsigned long first = 0;
	void *mapped;
	int fd;

	if (is_open)
		return;
	is_open = true;
	if (!kind || !at || !path)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	/* The function is ours. NOLINTNEXTLINE(performance-no-int-to-ptr) */
	mapped = (void *)syscall(
		SYS_mmap, NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
	syscall(SYS_close, fd);
	if (mapped == MAP_FAILED)
		return;
	state = mapped;
	__atomic_compare_exchange_n(&state->pid, &first, (unsigned long)getpid(), false,
		__ATOMIC_RELAXED, __ATOMIC_RELAXED);
	for (const char *digit = at; *digit >= '0' && *digit <= '9'; digit++)
		fault_at = fault_at * 10 + (unsigned long)(*digit - '0');
	kills = getenv("FAULT_KILL") != NULL;
	for (int i = 0; i < KINDS; i++)
		if (!strcmp(kind, kinds[i].name) || !strcmp(kind, "any"))
			fault_kinds |= 1u << i;
}

/* Whether this call is the one; errno is set then. */
static bool fails(enum kind kind)
{
	if (!is_open)
		fault_open();
	if (is_loading || !(fault_kinds & 1u << kind) ||
		__atomic_add_fetch(&state->calls, 1, __ATOMIC_RELAXED) != fault_at)
		return false;
	if (kills) {
		syscall(SYS_kill, state->pid, SIGKILL);
		return false;
	}
	errno = kinds[kind].error;
	return true;
}

/* The function of that name in libc. */
static void *next(void **cache, const char *name)
{
	if (!*cache)
		*cache = dlsym(RTLD_NEXT, name);
	return *cache;
}

#define NEXT(name)                                      \
	({                                              \
		static void *cache;                     \
		(__typeof__(&name))next(&cache, #name); \
	})

/*
 * ---- libarchive, which is loaded when it is needed
 *
 * The loader itself ends the process where it has no memory for its search paths ("out of memory", status 127).
 */

void *dlopen(const char *name, int flags)
{
	void *handle;

	is_loading = true;
	handle = NEXT(dlopen)(name, flags);
	is_loading = false;
	dl_iterate_phdr(find_libarchive, NULL);
	return handle;
}

/* ---- memory: libc's own names, since dlsym() allocates */

/* Who asks for it: the caller of the function that this stands in. */
#define ALLOCATION                                                   \
	((uintptr_t)__builtin_return_address(0) - libarchive_begin < \
				libarchive_end - libarchive_begin    \
			? LIBARCHIVE                                 \
			: ALLOC)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
	return fails(ALLOCATION) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails(ALLOCATION) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return fails(ALLOCATION) ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return fails(ALLOCATION) ? NULL : __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return fails(ALLOCATION) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
	void *memory = fails(ALLOCATION) ? NULL : __libc_memalign(alignment, size);

	if (!memory)
		return ENOMEM;
	*ret = memory;
	return 0;
}

/* ---- files */

ssize_t write(int fd, const void *data, size_t length)
{
	return fails(WRITE) ? -1 : NEXT(write)(fd, data, length);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
	return fails(WRITE) ? -1 : NEXT(pwrite)(fd, data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
	return fails(WRITE) ? -1 : NEXT(pwrite64)(fd, data, length, offset);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
	return fails(WRITE) ? -1 : NEXT(writev)(fd, pieces, count);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t offset)
{
	return fails(WRITE) ? -1 : NEXT(pwritev64)(fd, pieces, count, offset);
}

ssize_t pwritev64v2(int fd, const struct iovec *pieces, int count, off64_t offset, int flags)
{
	return fails(WRITE) ? -1 : NEXT(pwritev64v2)(fd, pieces, count, offset, flags);
}

ssize_t preadv64(int fd, const struct iovec *pieces, int count, off64_t offset)
{
	return fails(PREADV) ? -1 : NEXT(preadv64)(fd, pieces, count, offset);
}

ssize_t preadv64v2(int fd, const struct iovec *pieces, int count, off64_t offset, int flags)
{
	return fails(PREADV) ? -1 : NEXT(preadv64v2)(fd, pieces, count, offset, flags);
}

/* A socket is no disk. */
static bool send_fails(void)
{
	if (!fails(WRITE))
		return false;
	errno = ENOBUFS;
	return true;
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
	return send_fails() ? -1 : NEXT(send)(fd, data, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	return send_fails() ? -1 : NEXT(sendmsg)(fd, message, flags);
}

ssize_t copy_file_range(
	int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags)
{
	return fails(WRITE) ? -1 : NEXT(copy_file_range)(in, in_at, out, out_at, length, flags);
}

int ftruncate(int fd, off_t size)
{
	return fails(WRITE) ? -1 : NEXT(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return fails(WRITE) ? -1 : NEXT(ftruncate64)(fd, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	return fails(WRITE) ? -1 : NEXT(fallocate64)(fd, mode, offset, length);
}

int fsync(int fd)
{
	return fails(FSYNC) ? -1 : NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
	return fails(FSYNC) ? -1 : NEXT(fdatasync)(fd);
}

int syncfs(int fd)
{
	return fails(FSYNC) ? -1 : NEXT(syncfs)(fd);
}

int rename(const char *from, const char *to)
{
	return fails(RENAME) ? -1 : NEXT(rename)(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return fails(RENAME) ? -1 : NEXT(renameat)(from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	return fails(RENAME) ? -1 : NEXT(renameat2)(from_fd, from, to_fd, to, flags);
}

/* ---- the rest */

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return fails(MMAP) ? MAP_FAILED
			   : NEXT(mmap)(address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	return fails(MMAP) ? MAP_FAILED
			   : NEXT(mmap64)(address, length, protection, flags, fd, offset);
}

void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
	va_list arguments;
	void *address;

	va_start(arguments, flags);
	address = va_arg(arguments, void *);
	va_end(arguments);
	return fails(MMAP) ? MAP_FAILED : NEXT(mremap)(old, old_length, length, flags, address);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return fails(request == KVM_RUN ? KVM_RUN_CALL : IOCTL)
		? -1
		: NEXT(ioctl)(fd, request, argument);
}
