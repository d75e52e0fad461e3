// SPDX-License-Identifier: Apache-2.0
/*
 * park.c: a program stopped at its first instruction.
 *
 * Theory of operation: PID 1 traces the process. execve() stops it at the first instruction of the
 * program, or, where that needs one, of the dynamic linker; then a breakpoint at the program's entry point
 * lets the linker do its work. There the stack is as the kernel left it, no function of the program is
 * active, and nothing of it has run but what its libraries do when they are loaded.
 *
 * The pages that the program will touch first are brought in by the process itself: madvise() calls are
 * made in its name, by a system call instruction put where it stands.
 *
 * The process is hostile. All that is read of it is checked as far as it matters to us: an address that
 * it made up leads into its own memory, or nowhere.
 */
#include "guest-init/park.h"

#include "base/file.h"
#include "guest-init/environment.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* How long the dynamic linker may take; the kernel may be emulated. */
#define LINKER_SECONDS 60
/* Bounds on what is populated: all of it, and one mapping that is not backed by a file. */
#define POPULATE_MAX           (8u << 20)
#define POPULATE_ANONYMOUS_MAX (1u << 20)
/* Below the stack pointer. */
#define POPULATE_STACK (16u << 10)
#define MAPS_MAX       (1u << 20)
/* Of a heap that the program has not begun; the alignment that C libraries want. */
#define HEAP_TAKEN 16u
#define READ_SIZE  (64u << 10)

#define RANDOM_SIZE 16
/* The stack protector's value in the thread control block, as gcc and clang have it on x86-64. */
#define CANARY_OFFSET 0x28

#define BREAKPOINT      0xccu
#define SYSCALL_OPCODES 0xcc050fu /* syscall; int3 */

struct auxiliary {
	uint64_t entry, base, random;
};

/*
 * The next stop of the process, or its end. SIGCHLD, which is blocked, tells of both; PID 1 looks for
 * other children that it told of when it is done. #syscalls: wait4 rt_sigtimedwait
 */
static int stop_wait(pid_t pid, int *ret_status, struct error *err)
{
	struct timespec now, left;
	sigset_t child;
	time_t deadline;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	clock_gettime(CLOCK_MONOTONIC, &now);
	deadline = now.tv_sec + LINKER_SECONDS;
	for (;;) {
		pid_t found = waitpid(pid, ret_status, WNOHANG);

		if (found < 0 && errno != EINTR)
			return error_set_errno(err, -errno, "wait for the program");
		if (found == pid)
			break;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= deadline)
			return error_set(err, -ETIMEDOUT,
				"the program did not come to its first instruction within %d s",
				LINKER_SECONDS);
		left = (struct timespec){.tv_sec = deadline - now.tv_sec};
		sigtimedwait(&child, NULL, &left);
	}
	if (WIFSTOPPED(*ret_status))
		return 0;
	if (WIFSIGNALED(*ret_status))
		return error_set(err, -ECHILD,
			"the program was killed by signal %d before its first instruction",
			WTERMSIG(*ret_status));
	return error_set(err, -ECHILD,
		"the program ended with status %d before its first instruction",
		WEXITSTATUS(*ret_status));
}

/* Waits for the trap that is expected; anything else cannot be parked. */
static int trap_wait(pid_t pid, struct error *err)
{
	int status, r = stop_wait(pid, &status, err);

	if (r < 0)
		return r;
	if (status >> 16)
		return error_set(err, -EBUSY,
			"the program made a process or executed another one before its first "
			"instruction");
	if (WSTOPSIG(status) != SIGTRAP)
		return error_set(err, -EBUSY,
			"the program got signal %d before its first instruction", WSTOPSIG(status));
	return 0;
}

/* #syscalls: ptrace */
static int text_peek(pid_t pid, uint64_t address, uint64_t *ret)
{
	errno = 0;
	*ret = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, address, 0);
	return errno ? -errno : 0;
}

static int text_poke(pid_t pid, uint64_t address, uint64_t word)
{
	return ptrace(PTRACE_POKETEXT, pid, address, word) < 0 ? -errno : 0;
}

static int registers_get(pid_t pid, struct user_regs_struct *registers)
{
	return ptrace(PTRACE_GETREGS, pid, 0, registers) < 0 ? -errno : 0;
}

static int registers_set(pid_t pid, const struct user_regs_struct *registers)
{
	return ptrace(PTRACE_SETREGS, pid, 0, registers) < 0 ? -errno : 0;
}

/*
 * A proc file system for a moment: names that were looked up in the usual one would be cached, and
 * thrown away again when the process ends, in each copy of the machine. #syscalls: fsopen fsconfig fsmount
 */
static int proc_mount(void)
{
	_cleanup_close_ int context = fsopen("proc", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return fd < 0 ? -errno : fd;
}

static int file_open_of(int proc_fd, pid_t pid, const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%d/%s", (int)pid, name);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int auxiliary_read(int proc_fd, pid_t pid, struct auxiliary *auxiliary)
{
	_cleanup_close_ int fd = file_open_of(proc_fd, pid, "auxv");
	Elf64_auxv_t entries[64];
	ssize_t n;

	*auxiliary = (struct auxiliary){0};
	if (fd < 0)
		return fd;
	n = read(fd, entries, sizeof(entries));
	if (n < 0)
		return -errno;
	for (size_t i = 0; i < (size_t)n / sizeof(entries[0]); i++) {
		if (entries[i].a_type == AT_ENTRY)
			auxiliary->entry = entries[i].a_un.a_val;
		else if (entries[i].a_type == AT_BASE)
			auxiliary->base = entries[i].a_un.a_val;
		else if (entries[i].a_type == AT_RANDOM)
			auxiliary->random = entries[i].a_un.a_val;
	}
	return auxiliary->entry && auxiliary->random ? 0 : -EBADMSG;
}

/* Lets the dynamic linker work until it jumps to the program. */
static int entry_reach(pid_t pid, uint64_t entry, struct error *err)
{
	struct user_regs_struct registers;
	uint64_t word;
	int r;

	r = text_peek(pid, entry, &word);
	if (r == 0)
		r = text_poke(pid, entry, (word & ~(uint64_t)0xff) | BREAKPOINT);
	if (r == 0 && ptrace(PTRACE_CONT, pid, 0, 0) < 0)
		r = -errno;
	if (r < 0)
		return error_set_errno(err, r, "run the dynamic linker");
	r = trap_wait(pid, err);
	if (r < 0)
		return r;
	r = registers_get(pid, &registers);
	if (r == 0 && registers.rip != entry + 1)
		return error_set(err, -EBUSY, "the program stopped before its first instruction");
	if (r == 0)
		r = text_poke(pid, entry, word);
	registers.rip = entry;
	registers.orig_rax = UINT64_MAX; /* no system call to be restarted */
	if (r == 0)
		r = registers_set(pid, &registers);
	return r < 0 ? error_set_errno(err, r, "stop at the program's first instruction") : 0;
}

/* A system call in the name of the stopped process. */
static int process_call_make(pid_t pid, uint64_t number, const uint64_t arguments[3],
	uint64_t *ret_result, struct error *err)
{
	struct user_regs_struct before, registers;
	uint64_t word = 0;
	int r;

	r = registers_get(pid, &before);
	if (r == 0)
		r = text_peek(pid, before.rip, &word);
	if (r == 0)
		r = text_poke(pid, before.rip, (word & ~(uint64_t)0xffffff) | SYSCALL_OPCODES);
	if (r < 0)
		return error_set_errno(err, r, "populate the program's memory");
	registers = before;
	registers.rax = number;
	registers.rdi = arguments[0];
	registers.rsi = arguments[1];
	registers.rdx = arguments[2];
	registers.orig_rax = UINT64_MAX;
	r = registers_set(pid, &registers);
	if (r == 0 && ptrace(PTRACE_CONT, pid, 0, 0) < 0)
		r = -errno;
	if (r < 0)
		return error_set_errno(err, r, "populate the program's memory");
	r = trap_wait(pid, err);
	if (r < 0)
		return r;
	r = registers_get(pid, &registers);
	if (r == 0)
		r = text_poke(pid, before.rip, word);
	if (r == 0)
		r = registers_set(pid, &before);
	if (r < 0)
		return error_set_errno(err, r, "populate the program's memory");
	*ret_result = registers.rax;
	return 0;
}

/* That it fails is no error: then a page is missing. */
static int process_madvise_make(
	pid_t pid, uint64_t start, uint64_t length, int advice, struct error *err)
{
	const uint64_t arguments[] = {start, length, (unsigned int)advice};
	uint64_t ignored;

	return process_call_make(pid, SYS_madvise, arguments, &ignored, err);
}

static int process_brk_make(pid_t pid, uint64_t end, uint64_t *ret_end, struct error *err)
{
	const uint64_t arguments[] = {end, 0, 0};

	return process_call_make(pid, SYS_brk, arguments, ret_end, err);
}

/*
 * C libraries begin by asking for a little more heap than there is. The program finds its break a few bytes
 * into a page that is there: what it asks for is in that page, or at least next to a page, whose
 * tables and accounts it shares.
 */
static int heap_begin(pid_t pid, struct error *err)
{
	uint64_t end = 0, wanted;
	int r = process_brk_make(pid, 0, &end, err);

	if (r < 0)
		return r;
	wanted = (end | (HEAP_TAKEN - 1)) + 1;
	r = process_brk_make(pid, wanted, &end, err);
	if (r < 0 || end != wanted)
		return r;
	return process_madvise_make(
		pid, (end - 1) & ~(uint64_t)(PAGE_SIZE - 1), PAGE_SIZE, MADV_POPULATE_WRITE, err);
}

#define MAPPING_PERMISSIONS 4

struct mapping {
	uint64_t start, end;           /* what is to be populated of it */
	uint64_t file_start, file_end; /* all of it */
	uint64_t offset;               /* in the file, of start */
	const char *permissions;       /* "rwxp" */
	const char *name;              /* empty: anonymous */
};

/* "start-end rwxp offset device inode   name" */
static bool mapping_parse(char *line, struct mapping *mapping)
{
	char *field;

	mapping->start = strtoull(line, &line, 16);
	if (*line != '-')
		return false;
	mapping->end = strtoull(line + 1, &line, 16);
	if (*line != ' ' || mapping->start >= mapping->end)
		return false;
	line++;
	field = strsep(&line, " ");
	if (strlen(field) != MAPPING_PERMISSIONS)
		return false;
	mapping->permissions = field;
	if (!line)
		return false;
	mapping->offset = strtoull(line, &line, 16);
	for (int i = 0; line && i < 3; i++)
		strsep(&line, " ");
	if (!line)
		return false;
	mapping->file_start = mapping->start;
	mapping->file_end = mapping->end;
	mapping->name = line + strspn(line, " ");
	return true;
}

/*
 * What of a mapping to populate: the range is narrowed. Returns the advice, 0 for nothing. Pages that the
 * program may write are made its own at once.
 */
static int mapping_choose(struct mapping *mapping, uint64_t stack_pointer, uint64_t left)
{
	bool is_writable = mapping->permissions[1] == 'w' && mapping->permissions[3] == 'p';
	bool is_stack = !strcmp(mapping->name, "[stack]");
	uint64_t bottom = (stack_pointer - POPULATE_STACK) & ~(uint64_t)(PAGE_SIZE - 1);

	/* Those are not made of pages that could be populated. */
	if (mapping->permissions[0] != 'r' || !strncmp(mapping->name, "[vvar", 5) ||
		!strcmp(mapping->name, "[vsyscall]"))
		return 0;
	if (is_stack && bottom > mapping->start && bottom < mapping->end)
		mapping->start = bottom;
	if (mapping->name[0] != '/' && mapping->end - mapping->start > POPULATE_ANONYMOUS_MAX)
		return 0;
	if (mapping->end - mapping->start > left)
		mapping->end = mapping->start + (left & ~(uint64_t)(PAGE_SIZE - 1));
	if (mapping->start == mapping->end)
		return 0;
	return is_writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
}

/*
 * A page of a file that was used twice is on the kernel's list of active pages. Those that are mapped and
 * not on it are put there one by one when the process ends, in each copy of the machine; so it is done
 * here. What cannot be read is left as it is.
 */
static void file_pages_activate(int proc_fd, pid_t pid, const struct mapping *mapping)
{
	_cleanup_free_ char *buffer = malloc(READ_SIZE);
	uint64_t length = mapping->end - mapping->start;
	_cleanup_close_ int fd = -1;
	char name[64];

	snprintf(name, sizeof(name), "map_files/%" PRIx64 "-%" PRIx64, mapping->file_start,
		mapping->file_end);
	fd = file_open_of(proc_fd, pid, name);
	if (fd < 0 || !buffer)
		return;
	for (int pass = 0; pass < 2; pass++)
		for (uint64_t done = 0; done < length; done += READ_SIZE) {
			uint64_t left = length - done;

			if (pread(fd, buffer, left < READ_SIZE ? (size_t)left : READ_SIZE,
				    (off_t)(mapping->offset + done)) <= 0)
				break;
		}
}

static int mappings_populate(int proc_fd, pid_t pid, uint64_t stack_pointer, struct error *err)
{
	_cleanup_close_ int fd = file_open_of(proc_fd, pid, "maps");
	_cleanup_free_ char *text = NULL;
	uint64_t left = POPULATE_MAX;
	char *line, *lines;
	bool has_heap = false;
	int r = fd < 0 ? fd : file_read_fd(fd, MAPS_MAX, &text, NULL);

	if (r < 0)
		return error_set_errno(err, r, "read the program's mappings");
	lines = text;
	while ((line = strsep(&lines, "\n"))) {
		struct mapping mapping;
		int advice;

		if (!mapping_parse(line, &mapping))
			continue;
		has_heap |= !strcmp(mapping.name, "[heap]");
		advice = mapping_choose(&mapping, stack_pointer, left);
		if (advice == 0)
			continue;
		left -= mapping.end - mapping.start;
		r = process_madvise_make(
			pid, mapping.start, mapping.end - mapping.start, advice, err);
		if (r < 0)
			return r;
		if (mapping.name[0] == '/' && advice == MADV_POPULATE_READ)
			file_pages_activate(proc_fd, pid, &mapping);
	}
	return has_heap ? 0 : heap_begin(pid, err);
}

/*
 * The value that the dynamic linker left in the thread control block. C libraries keep one byte of it
 * zero against string functions: glibc the first, musl the second.
 */
static void canary_find(pid_t pid, uint64_t thread, struct guest_parked *parked)
{
	uint64_t canary;

	if (thread == 0 || text_peek(pid, thread + CANARY_OFFSET, &canary) < 0 || canary == 0)
		return;
	parked->canary_address = thread + CANARY_OFFSET;
	parked->canary_mask = UINT64_MAX;
	if ((canary & 0xff) == 0)
		parked->canary_mask &= ~(uint64_t)0xff;
	if ((canary & 0xff00) == 0)
		parked->canary_mask &= ~(uint64_t)0xff00;
}

/* From the stop at its execve() on. */
static int program_park(int proc_fd, pid_t pid, struct guest_parked *parked, struct error *err)
{
	const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
		PTRACE_O_TRACEEXEC;
	struct user_regs_struct registers;
	struct auxiliary auxiliary;
	int r;

	if (ptrace(PTRACE_SETOPTIONS, pid, 0, options) < 0)
		return error_set_errno(err, -errno, "trace the program");
	r = auxiliary_read(proc_fd, pid, &auxiliary);
	if (r < 0)
		return error_set_errno(err, r, "read the program's auxiliary vector");
	if (auxiliary.base) {
		r = entry_reach(pid, auxiliary.entry, err);
		if (r < 0)
			return r;
	}
	r = registers_get(pid, &registers);
	if (r < 0)
		return error_set_errno(err, r, "read the program's registers");
	r = mappings_populate(proc_fd, pid, registers.rsp, err);
	if (r < 0)
		return r;
	if (auxiliary.base)
		canary_find(pid, registers.fs_base, parked);
	r = guest_environment_find(proc_fd, pid, "AC_METADATA_URL=", &parked->url_address);
	if (r < 0 && r != -ENOENT)
		return error_set_errno(err, r, "find the program's environment");
	parked->random_address = auxiliary.random;
	parked->pid = pid;
	return 0;
}

int guest_park(pid_t pid, struct guest_parked *parked, struct error *err)
{
	_cleanup_close_ int proc_fd = -1;
	int r = trap_wait(pid, err);

	*parked = (struct guest_parked){0};
	if (r < 0)
		return r;
	proc_fd = proc_mount();
	if (proc_fd < 0)
		return error_set_errno(err, proc_fd, "mount proc");
	return program_park(proc_fd, pid, parked, err);
}

/* #syscalls: process_vm_writev */
int guest_parked_renew(const struct guest_parked *parked,
	const uint8_t random[GUEST_PARKED_RANDOM_SIZE], const char *variable)
{
	uint64_t canary;
	struct iovec local[3], remote[3];
	unsigned long count = 0;
	ssize_t length = 0, n;
	const struct {
		uint64_t address;
		const void *bytes;
		size_t size;
	} parts[] = {
		{parked->random_address, random, RANDOM_SIZE},
		{parked->canary_address, &canary, sizeof(canary)},
		{parked->url_address, variable, strlen(variable)},
	};

	memcpy(&canary, random + RANDOM_SIZE, sizeof(canary));
	canary &= parked->canary_mask;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i].address == 0)
			continue;
		local[count] = (struct iovec){(void *)parts[i].bytes, parts[i].size};
		/* An address of another process. NOLINTNEXTLINE(performance-no-int-to-ptr) */
		remote[count++] = (struct iovec){(void *)parts[i].address, parts[i].size};
		length += (ssize_t)parts[i].size;
	}
	n = process_vm_writev(parked->pid, local, count, remote, count, 0);
	if (n < 0)
		return -errno;
	return n == length ? 0 : -EFAULT;
}

int guest_parked_release(struct guest_parked *parked)
{
	pid_t pid = parked->pid;

	parked->pid = 0;
	return ptrace(PTRACE_DETACH, pid, 0, 0) < 0 ? -errno : 0;
}
