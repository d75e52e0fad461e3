// SPDX-License-Identifier: Apache-2.0
/* template_key.c: what a template depends on. */
#include "vmm/template_key.h"

#include "base/checked.h"
#include "base/file.h"
#include "vmm/template_state.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define NANOSECONDS 1000000000ull

#define DIGEST_SIZE_MAX 512
/* A file that was changed a moment ago may change again within the same tick of its clock. */
#define DIGEST_SETTLED_NS (2 * NANOSECONDS)
/* Kernels come and go; a digest that is older is computed again. */
#define DIGEST_AGE_MAX_NS (30ull * 24 * 60 * 60 * NANOSECONDS)

#define CHUNK_SIZE (1u << 20)

#define CPUID_ENTRIES_MAX 256

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return template_time_ns(&time);
}

/* Each part with its name and length, so that no two lists of parts read the same. */
static void key_add(struct sha512 *sha, const char *name, const void *data, size_t length)
{
	uint64_t lengths[2] = {strlen(name), length};

	sha512_update(sha, lengths, sizeof(lengths));
	sha512_update(sha, name, strlen(name));
	sha512_update(sha, data, length);
}

static void key_add_number(struct sha512 *sha, const char *name, uint64_t number)
{
	key_add(sha, name, &number, sizeof(number));
}

static void key_add_text(struct sha512 *sha, const char *name, const char *text)
{
	key_add(sha, name, text, strlen(text));
}

/*
 * Takes out what tells the CPU that we happen to run on from its neighbours, and what KVM tells the
 * guest otherwise (vmm/kvm.c). Cores of two kinds in one host differ in their caches only as far as
 * a guest can see.
 */
static void cpuid_normalise(struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case 1: /* APIC id, and how many ids the package has */
		entry->ebx &= 0x0000ffff;
		/* OSXSAVE: a state of this kernel. */
		entry->ecx &= ~(1u << 27);
		break;
	case 7: /* OSPKE, as OSXSAVE */
		if (entry->index == 0)
			entry->ecx &= ~(1u << 4);
		break;
	case 0xd: /* sizes for what is enabled at present */
		if (entry->index < 2)
			entry->ebx = 0;
		break;
	case 2: /* caches and topology */
	case 4:
	case 0xb:
	case 0x1a:
	case 0x1f:
	case 0x8000001d:
	case 0x8000001e:
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	}
}

static int key_add_host(struct sha512 *sha, struct error *err)
{
	static const char *const modules[] = {"kvm_intel", "kvm_amd", "kvm_pvm"};
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct {
		struct kvm_cpuid2 header;
		struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
	} cpuid = {.header.nent = CPUID_ENTRIES_MAX};
	struct utsname host;
	int version;

	if (fd < 0)
		return error_set_errno(err, -errno, "cannot open /dev/kvm");
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0 || ioctl(fd, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		return error_set_errno(err, -errno, "cannot ask /dev/kvm what CPU a guest sees");
	key_add_number(sha, "kvm-api", (uint64_t)version);
	for (uint32_t i = 0; i < cpuid.header.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid.entries[i];

		cpuid_normalise(entry);
		key_add(sha, "cpuid",
			(const uint32_t[]){entry->function, entry->index, entry->flags, entry->eax,
				entry->ebx, entry->ecx, entry->edx},
			7 * sizeof(uint32_t));
	}
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/module/%s", modules[i]);
		if (access(path, F_OK) == 0)
			key_add_text(sha, "kvm-module", modules[i]);
	}
	/* What a saved vCPU means is the word of the kernel that saved it. */
	if (uname(&host) < 0)
		return error_set_errno(err, -errno, "uname");
	key_add_text(sha, "host-kernel", host.release);
	return 0;
}

/* A decimal number up to the next space or newline; moves *next behind that. */
static bool digest_number(const char **next, uint64_t *ret)
{
	size_t length = strspn(*next, "0123456789");
	char number[32];

	if (length >= sizeof(number) || (*next)[length] != ' ')
		return false;
	memcpy(number, *next, length);
	number[length] = '\0';
	*next += length + 1;
	return checked_parse_u64(number, UINT64_MAX, ret);
}

int template_digest_parse(const char *text, size_t length,
	const struct template_file_identity *identity, char ret_digest[SHA512_TEXT_SIZE])
{
	struct template_file_identity found;
	char line[DIGEST_SIZE_MAX + 1];
	const char *next = line;

	if (length > DIGEST_SIZE_MAX || memchr(text, '\0', length))
		return -EBADMSG;
	memcpy(line, text, length);
	line[length] = '\0';
	if (!digest_number(&next, &found.size) || !digest_number(&next, &found.modified) ||
		!digest_number(&next, &found.changed) ||
		strspn(next, "0123456789abcdef") != SHA512_TEXT_SIZE - 1 ||
		strcmp(next + SHA512_TEXT_SIZE - 1, "\n"))
		return -EBADMSG;
	if (found.size != identity->size || found.modified != identity->modified ||
		found.changed != identity->changed)
		return -ESTALE;
	memcpy(ret_digest, next, SHA512_TEXT_SIZE - 1);
	ret_digest[SHA512_TEXT_SIZE - 1] = '\0';
	return 0;
}

static struct template_file_identity file_identity(const struct stat *st)
{
	return (struct template_file_identity){
		.size = (uint64_t)st->st_size,
		.modified = template_time_ns(&st->st_mtim),
		.changed = template_time_ns(&st->st_ctim),
	};
}

/* Hashes all of a file; its position does not matter and does not change. */
static int file_hash(int fd, uint64_t size, char ret_digest[SHA512_TEXT_SIZE])
{
	_cleanup_free_ char *chunk = malloc(CHUNK_SIZE);
	struct sha512 sha;

	if (!chunk)
		return -ENOMEM;
	sha512_init(&sha);
	for (uint64_t offset = 0; offset < size;) {
		size_t length = size - offset < CHUNK_SIZE ? (size_t)(size - offset) : CHUNK_SIZE;
		int r = file_read_exactly(fd, chunk, length, offset);

		if (r < 0)
			return r;
		sha512_update(&sha, chunk, length);
		offset += length;
	}
	sha512_final_text(&sha, ret_digest);
	return 0;
}

/* The digest of a file's content, from the cache if it can be. what is its name in the message. */
static int file_digest(int digests_fd, int fd, const char *what, char ret_digest[SHA512_TEXT_SIZE],
	struct error *err)
{
	struct template_file_identity identity, after;
	_cleanup_free_ char *text = NULL;
	char name[64], line[DIGEST_SIZE_MAX];
	struct stat st;
	size_t length;
	int n, r;

	if (fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "cannot read %s", what);
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s is not a regular file", what);
	identity = file_identity(&st);
	snprintf(name, sizeof(name), "%" PRIx64 "-%" PRIx64, (uint64_t)st.st_dev,
		(uint64_t)st.st_ino);
	r = file_read(digests_fd, name, DIGEST_SIZE_MAX, &text, &length);
	if (r == 0 && template_digest_parse(text, length, &identity, ret_digest) == 0)
		return 0;
	r = file_hash(fd, identity.size, ret_digest);
	if (r < 0)
		return error_set_errno(err, r, "cannot read %s", what);
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "cannot read %s", what);
	after = file_identity(&st);
	if (memcmp(&identity, &after, sizeof(identity)) != 0)
		return error_set(err, -EBUSY, "%s is being written", what);
	if (identity.changed + DIGEST_SETTLED_NS > now())
		return 0;
	n = snprintf(line, sizeof(line), "%" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", identity.size,
		identity.modified, identity.changed, ret_digest);
	/* Only a cache: what cannot be written is hashed again. */
	file_write_atomic(digests_fd, name, line, (size_t)n, 0600);
	return 0;
}

int template_key_compute(int digests_fd, const struct template_subject *subject,
	char ret_key[TEMPLATE_KEY_SIZE], struct error *err)
{
	char program[SHA512_TEXT_SIZE], kernel[SHA512_TEXT_SIZE], init[SHA512_TEXT_SIZE];
	_cleanup_close_ int program_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char digest[SHA512_TEXT_SIZE];
	struct sha512 sha;
	int r;

	if (program_fd < 0)
		return error_set_errno(err, -errno, "cannot open my own executable");
	r = file_digest(digests_fd, program_fd, "the program", program, err);
	if (r == 0 && !subject->is_whole)
		r = file_digest(digests_fd, subject->kernel_fd, "the guest kernel", kernel, err);
	if (r == 0 && !subject->is_whole)
		r = file_digest(digests_fd, subject->init_fd, "guest-init", init, err);
	if (r < 0)
		return r;
	sha512_init(&sha);
	key_add_number(&sha, "format", TEMPLATE_STATE_FORMAT);
	/* Its devices, its memory layout, its part of the command line, what it saves and how. */
	key_add_text(&sha, "program", program);
	if (!subject->is_whole) {
		key_add_text(&sha, "kernel", kernel);
		key_add_text(&sha, "init", init);
	}
	key_add_number(&sha, "vcpus", subject->vcpus);
	key_add_number(&sha, "memory", subject->memory);
	key_add_number(&sha, "shared", subject->shared);
	key_add_number(&sha, "dax", subject->dax);
	key_add_number(&sha, "network", subject->net_kind);
	key_add_number(&sha, "kernel-messages", subject->kernel_messages);
	if (subject->extra_command_line)
		key_add_text(&sha, "command-line", subject->extra_command_line);
	if (subject->pod)
		key_add_text(&sha, "pod", subject->pod);
	r = key_add_host(&sha, err);
	if (r < 0)
		return r;
	sha512_final_text(&sha, digest);
	memcpy(ret_key, digest, TEMPLATE_KEY_SIZE - 1);
	ret_key[TEMPLATE_KEY_SIZE - 1] = '\0';
	return 0;
}

int template_digests_collect(int digests_fd)
{
	_cleanup_closedir_ DIR *directory = NULL;
	struct dirent *entry;
	int r = directory_open_stream(digests_fd, ".", &directory);

	if (r < 0)
		return r;
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		struct stat st;

		if (fstatat(digests_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode) &&
			template_time_ns(&st.st_mtim) + DIGEST_AGE_MAX_NS < now())
			unlinkat(digests_fd, entry->d_name, 0);
	}
	return -errno;
}
