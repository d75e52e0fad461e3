// SPDX-License-Identifier: Apache-2.0
/* test_boot.c: what the kernel finds in memory, and what becomes of kernels that are none. */
#include "base/file.h"
#include "vmm/boot.h"
#include "vmm/boot_console.h"
#include "vmm/device_tree.h"
#include "vmm/initramfs.h"
#include "vmm/layout.h"

#include <archive.h>
#include <archive_entry.h>
#include <asm/bootparam.h>
#include <elf.h>
#include <fcntl.h>
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MEMORY_SIZE  (64ull << 20)
#define KERNEL_START 0x1000000ull
#define TREE_SIZE    0x10000

/* ---- device tree */

static int node_at(const void *tree, const char *path)
{
	int node = fdt_path_offset(tree, path);

	if (node < 0)
		fail_msg("no node %s", path);
	return node;
}

static void assert_string_property(
	const void *tree, const char *path, const char *name, const char *expected)
{
	assert_true(fdt_stringlist_contains(fdt_getprop(tree, node_at(tree, path), name, NULL),
		(int)strlen(expected) + 1, expected));
}

static uint64_t cells(const void *tree, const char *path, const char *name, int first, int count)
{
	const fdt32_t *property;
	uint64_t value = 0;
	int length;

	property = fdt_getprop(tree, node_at(tree, path), name, &length);
	assert_non_null(property);
	assert_true(length >= (first + count) * 4);
	for (int i = first; i < first + count; i++)
		value = value << 32 | fdt32_to_cpu(property[i]);
	return value;
}

static void device_tree_describes_cpus_interrupts_and_devices(void **state)
{
	static uint8_t tree[TREE_SIZE];
	char path[64];
	size_t size;

	(void)state;
	assert_int_equal(device_tree_write(tree, sizeof(tree), 3, 4, &size), 0);
	assert_in_range(size, 100, sizeof(tree));
	assert_int_equal(fdt_check_full(tree, size), 0);
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/cpus/cpu@%u", i);
		assert_int_equal(cells(tree, path, "reg", 0, 1), i);
		assert_string_property(tree, path, "device_type", "cpu");
	}
	assert_int_equal(fdt_path_offset(tree, "/cpus/cpu@3"), -FDT_ERR_NOTFOUND);
	assert_string_property(tree, "/soc/ioapic@fec00000", "compatible", "intel,ce4100-ioapic");
	assert_int_equal(cells(tree, "/soc/ioapic@fec00000", "reg", 0, 2), LAYOUT_IOAPIC);
	assert_non_null(fdt_getprop(
		tree, node_at(tree, "/soc/ioapic@fec00000"), "interrupt-controller", NULL));
	assert_string_property(tree, "/soc/lapic@fee00000", "compatible", "intel,ce4100-lapic");
	assert_int_equal(cells(tree, "/soc/lapic@fee00000", "reg", 0, 2), LAYOUT_LAPIC);
	assert_int_equal(cells(tree, "/", "interrupt-parent", 0, 1),
		fdt_get_phandle(tree, node_at(tree, "/soc/ioapic@fec00000")));
	for (unsigned int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "/soc/virtio@%llx", LAYOUT_DEVICES + i * 0x1000);
		assert_string_property(tree, path, "compatible", "virtio,mmio");
		assert_int_equal(cells(tree, path, "reg", 0, 2), LAYOUT_DEVICES + i * 0x1000);
		assert_int_equal(cells(tree, path, "reg", 2, 2), 0x1000);
		assert_int_equal(cells(tree, path, "interrupts", 0, 1), LAYOUT_FIRST_LINE + i);
	}
	snprintf(path, sizeof(path), "/soc/rng@%llx", LAYOUT_GENERATION);
	assert_string_property(tree, path, "compatible", "microsoft,vmgenid");
	assert_int_equal(cells(tree, path, "reg", 0, 2), LAYOUT_GENERATION);
	assert_int_equal(cells(tree, path, "interrupts", 0, 1), LAYOUT_FIRST_LINE + 4);
}

static void device_tree_that_does_not_fit_is_an_error(void **state)
{
	uint8_t *tree;
	size_t needed, size;

	(void)state;
	tree = malloc(TREE_SIZE);
	assert_non_null(tree);
	assert_int_equal(device_tree_write(tree, TREE_SIZE, 1, 1, &needed), 0);
	free(tree);
	for (size_t room = 0; room < needed; room += 7) {
		/* An allocation of that size: ASan sees a byte too much. */
		tree = malloc(room ? room : 1);
		assert_non_null(tree);
		assert_int_equal(device_tree_write(tree, room, 1, 1, &size), -ENOSPC);
		free(tree);
	}
}

/* ---- initramfs */

static void initramfs_unpacks_to_init_with_equal_bytes(void **state)
{
	static const size_t sizes[] = {1, 2, 3, 4, 5, 4095, 4096, 100003};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = initramfs_size(sizes[i]), offset;
		_cleanup_free_ uint8_t *archive = calloc(1, size), *init = malloc(sizes[i]);
		_cleanup_free_ uint8_t *unpacked = malloc(sizes[i] + 1);
		struct archive *reader = archive_read_new();
		struct archive_entry *entry;

		assert_non_null(archive);
		assert_non_null(init);
		assert_non_null(unpacked);
		for (size_t j = 0; j < sizes[i]; j++)
			init[j] = (uint8_t)(j * 31 + j / 256);
		offset = initramfs_write(archive, sizes[i]);
		assert_true(offset + sizes[i] <= size);
		memcpy(archive + offset, init, sizes[i]);

		assert_int_equal(archive_read_support_format_cpio(reader), ARCHIVE_OK);
		assert_int_equal(archive_read_open_memory(reader, archive, size), ARCHIVE_OK);
		assert_int_equal(archive_read_next_header(reader, &entry), ARCHIVE_OK);
		assert_int_equal(archive_format(reader), ARCHIVE_FORMAT_CPIO_SVR4_NOCRC);
		assert_string_equal(archive_entry_pathname(entry), "init");
		assert_int_equal(archive_entry_mode(entry), 0100755);
		assert_int_equal(archive_entry_uid(entry), 0);
		assert_int_equal(archive_entry_gid(entry), 0);
		assert_int_equal(archive_entry_size(entry), sizes[i]);
		assert_int_equal(archive_read_data(reader, unpacked, sizes[i] + 1), sizes[i]);
		assert_memory_equal(unpacked, init, sizes[i]);
		assert_int_equal(archive_read_next_header(reader, &entry), ARCHIVE_EOF);
		archive_read_free(reader);
	}
}

/* ---- boot_load() */

struct kernel {
	Elf64_Ehdr header;
	Elf64_Phdr segments[20];
	uint8_t text[4096];
};

struct boot_fixture {
	struct guest_memory memory;
	struct kernel kernel; /* a good one, for the test to spoil */
	size_t kernel_size;
	struct boot_options options;
};

static int bytes_fd(const void *data, size_t length)
{
	int fd = memfd_create("boot", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data, length), 0);
	return fd;
}

static int set_up(void **state)
{
	static const char init[] = "\177ELF guest-init";
	struct boot_fixture *fixture = calloc(1, sizeof(*fixture));
	struct kernel *kernel;
	void *host;

	assert_non_null(fixture);
	host = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(host, MAP_FAILED);
	fixture->memory = (struct guest_memory){.regions = {{0, MEMORY_SIZE, host}}, .count = 1};
	kernel = &fixture->kernel;
	memcpy(kernel->header.e_ident, ELFMAG, SELFMAG);
	kernel->header.e_ident[EI_CLASS] = ELFCLASS64;
	kernel->header.e_ident[EI_DATA] = ELFDATA2LSB;
	kernel->header.e_type = ET_EXEC;
	kernel->header.e_machine = EM_X86_64;
	kernel->header.e_entry = KERNEL_START + 0x10;
	kernel->header.e_phoff = offsetof(struct kernel, segments);
	kernel->header.e_phentsize = sizeof(Elf64_Phdr);
	kernel->header.e_phnum = 2;
	kernel->segments[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct kernel, text),
		.p_paddr = KERNEL_START,
		.p_filesz = sizeof(kernel->text),
		.p_memsz = 0x10000,
	};
	kernel->segments[1] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = UINT64_MAX};
	memset(kernel->text, 0x90, sizeof(kernel->text));
	fixture->kernel_size = sizeof(*kernel);
	fixture->options = (struct boot_options){
		.kernel_fd = -1,
		.initramfs_fd = bytes_fd(init, sizeof(init)),
		.vcpus = 2,
		.devices = 3,
	};
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct boot_fixture *fixture = *state;

	munmap(fixture->memory.regions[0].host, MEMORY_SIZE);
	close(fixture->options.initramfs_fd);
	free(fixture);
	return 0;
}

static int load(struct boot_fixture *fixture, uint64_t *ret_entry, struct error *err)
{
	_cleanup_close_ int kernel_fd = bytes_fd(&fixture->kernel, fixture->kernel_size);

	err->message[0] = '\0';
	fixture->options.kernel_fd = kernel_fd;
	return boot_load(&fixture->memory, &fixture->options, ret_entry, err);
}

static void assert_refused(struct boot_fixture *fixture, int expected)
{
	struct error err;
	uint64_t entry;

	assert_int_equal(load(fixture, &entry, &err), expected);
	assert_int_equal(strncmp(err.message, "kernel: ", 8), 0);
}

static const void *at(struct boot_fixture *fixture, uint64_t address, size_t length)
{
	const void *span = guest_memory_span(&fixture->memory, address, length);

	assert_non_null(span);
	return span;
}

static void good_kernel_is_loaded_with_its_parameters(void **state)
{
	struct boot_fixture *fixture = *state;
	const struct boot_params *params;
	const struct setup_data *data;
	bool found_tree = false, found_seed = false;
	const char *line;
	uint64_t entry = 0, usable = 0;
	struct error err;

	fixture->options.extra_command_line = "extra.word=1";
	if (load(fixture, &entry, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(entry, KERNEL_START + 0x10);
	assert_memory_equal(at(fixture, KERNEL_START, 4096), fixture->kernel.text, 4096);
	assert_int_equal(*(const uint8_t *)at(fixture, KERNEL_START + 4096, 1), 0);

	params = at(fixture, LAYOUT_ZERO_PAGE, sizeof(*params));
	assert_int_equal(params->hdr.boot_flag, 0xaa55);
	assert_int_equal(params->hdr.header, 0x53726448);
	line = at(fixture, params->hdr.cmd_line_ptr, LAYOUT_COMMAND_LINE_MAX);
	assert_int_equal(strlen(line), params->hdr.cmdline_size);
	assert_non_null(strstr(line, " extra.word=1"));
	assert_null(strstr(line, "mitigations=off")); /* only where there is nothing to protect */

	/* The archive lies in RAM, behind the kernel, with init's bytes. */
	assert_true(params->hdr.ramdisk_image >= KERNEL_START + 0x10000);
	assert_int_equal(params->hdr.ramdisk_image % 4096, 0);
	assert_non_null(memmem(at(fixture, params->hdr.ramdisk_image, params->hdr.ramdisk_size),
		params->hdr.ramdisk_size, "\177ELF guest-init", 15));

	for (uint64_t next = params->hdr.setup_data; next; next = data->next) {
		data = at(fixture, next, sizeof(*data));
		at(fixture, next + sizeof(*data), data->len);
		if (data->type == 2) {
			found_tree = true;
			assert_int_equal(fdt_check_full(data->data, data->len), 0);
			node_at(data->data, "/cpus/cpu@1");
			node_at(data->data, "/soc/virtio@d0002000");
		} else if (data->type == 9) {
			found_seed = data->len >= 32;
		}
	}
	assert_true(found_tree && found_seed);

	assert_in_range(params->e820_entries, 1, 128);
	for (unsigned int i = 0; i < params->e820_entries; i++) {
		const struct boot_e820_entry *map = &params->e820_table[i];

		at(fixture, map->addr, map->size);
		usable += map->size;
	}
	assert_in_range(usable, MEMORY_SIZE - (1 << 20), MEMORY_SIZE);
	/* Identity mapping: the first entry of each level. */
	assert_int_equal(*(const uint64_t *)at(fixture, LAYOUT_PAGE_TABLES, 8) & ~0xfffull,
		LAYOUT_PAGE_TABLES + 0x1000);
}

static void each_boot_gets_a_seed_of_its_own(void **state)
{
	struct boot_fixture *fixture = *state;
	uint8_t first[32];
	struct error err;
	uint64_t entry;

	assert_int_equal(load(fixture, &entry, &err), 0);
	memcpy(first, at(fixture, LAYOUT_SETUP_SEED + sizeof(struct setup_data), 32), 32);
	assert_int_equal(load(fixture, &entry, &err), 0);
	assert_memory_not_equal(
		first, at(fixture, LAYOUT_SETUP_SEED + sizeof(struct setup_data), 32), 32);
}

static void files_that_are_no_kernel_are_refused(void **state)
{
	struct boot_fixture *fixture = *state;
	const struct kernel good = fixture->kernel;

	fixture->kernel_size = 0;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel_size = sizeof(Elf64_Ehdr) - 1;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel_size = sizeof(good);
	memcpy(fixture->kernel.header.e_ident, "MZ\0\0", 4); /* a bzImage */
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel = good;
	fixture->kernel.header.e_ident[EI_CLASS] = ELFCLASS32;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel = good;
	fixture->kernel.header.e_machine = EM_AARCH64;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel = good;
	fixture->kernel.header.e_phentsize = 1;
	assert_refused(fixture, -ENOEXEC);
}

static void hostile_segment_tables_are_refused(void **state)
{
	static const uint64_t offsets[] = {
		UINT64_MAX, UINT64_MAX - 100, 1ull << 63, 1ull << 40, sizeof(struct kernel) - 8};
	struct boot_fixture *fixture = *state;
	struct error err;
	uint64_t entry;

	fixture->kernel.header.e_phnum = 0;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel.header.e_phnum = 17;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel.header.e_phnum = UINT16_MAX;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel.header.e_phnum = 2;
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		fixture->kernel.header.e_phoff = offsets[i];
		assert_true(load(fixture, &entry, &err) < 0);
		assert_non_null(strstr(err.message, "cannot read the ELF segments"));
	}
}

static void kernel_without_a_segment_to_load_is_refused(void **state)
{
	struct boot_fixture *fixture = *state;

	fixture->kernel.segments[0].p_type = PT_NULL;
	assert_refused(fixture, -ENOEXEC);
}

static void entry_point_outside_of_the_kernel_is_refused(void **state)
{
	static const uint64_t entries[] = {
		0, 0xfffff, KERNEL_START + 0x10000, MEMORY_SIZE, 0xffffffff81000000, UINT64_MAX};
	struct boot_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		fixture->kernel.header.e_entry = entries[i];
		assert_refused(fixture, -ENOEXEC);
	}
}

static void segments_outside_of_their_place_are_refused(void **state)
{
	static const struct {
		uint64_t address, memory_size;
		int error;
	} places[] = {
		{0, 0x1000, -ENOEXEC}, /* over the boot parameters */
		{LAYOUT_PAGE_TABLES, 0x1000, -ENOEXEC}, {LAYOUT_HIGH_START - 1, 0x1000, -ENOEXEC},
		{UINT64_MAX, 0x1000, -ENOEXEC}, /* wraps */
		{UINT64_MAX - 0xfff, 0x1000, -ENOEXEC}, {KERNEL_START, UINT64_MAX, -ENOEXEC},
		{KERNEL_START, MEMORY_SIZE, -ENOMEM}, /* past the end of RAM */
		{MEMORY_SIZE - 0xfff, 0x1000, -ENOMEM}, {LAYOUT_DEVICES, 0x1000, -ENOMEM},
		{LAYOUT_RAM_HIGH, 0x1000, -ENOMEM},
		{0xffffffff81000000, 0x1000, -ENOMEM}, /* a virtual address */
	};
	struct boot_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		fixture->kernel.segments[0].p_paddr = places[i].address;
		fixture->kernel.segments[0].p_memsz = places[i].memory_size;
		fixture->kernel.segments[0].p_filesz = 0x1000;
		assert_refused(fixture, places[i].error);
	}
}

static void more_file_than_memory_in_a_segment_is_refused(void **state)
{
	struct boot_fixture *fixture = *state;

	fixture->kernel.segments[0].p_memsz = fixture->kernel.segments[0].p_filesz - 1;
	assert_refused(fixture, -ENOEXEC);
	fixture->kernel.segments[0].p_filesz = UINT64_MAX;
	assert_refused(fixture, -ENOEXEC);
}

static void segments_past_the_end_of_the_file_are_refused(void **state)
{
	static const uint64_t offsets[] = {sizeof(struct kernel), sizeof(struct kernel) - 4095,
		1ull << 62, 1ull << 63, UINT64_MAX};
	struct boot_fixture *fixture = *state;
	struct error err;
	uint64_t entry;

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		fixture->kernel.segments[0].p_offset = offsets[i];
		assert_true(load(fixture, &entry, &err) < 0);
		assert_non_null(strstr(err.message, "cannot read a segment"));
	}
}

static void kernel_that_leaves_no_room_for_init_is_refused(void **state)
{
	struct boot_fixture *fixture = *state;
	struct error err;
	uint64_t entry;

	fixture->kernel.segments[0].p_memsz = MEMORY_SIZE - KERNEL_START;
	assert_int_equal(load(fixture, &entry, &err), -ENOMEM);
	assert_non_null(strstr(err.message, "do not fit"));
}

static void init_that_is_no_program_file_is_refused(void **state)
{
	struct boot_fixture *fixture = *state;
	struct error err;
	uint64_t entry;
	int good = fixture->options.initramfs_fd;
	_cleanup_close_ int empty = bytes_fd("", 0), huge = bytes_fd("", 0);
	_cleanup_close_ int directory = directory_open(AT_FDCWD, "/");
	const int bad[] = {empty, huge, directory};

	assert_int_equal(ftruncate(huge, 1ll << 40), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fixture->options.initramfs_fd = bad[i];
		assert_int_equal(load(fixture, &entry, &err), -EINVAL);
		assert_int_equal(strncmp(err.message, "guest-init: ", 12), 0);
	}
	fixture->options.initramfs_fd = good;
}

static void command_line_that_does_not_fit_is_refused(void **state)
{
	struct boot_fixture *fixture = *state;
	char text[LAYOUT_COMMAND_LINE_MAX];
	struct error err;
	uint64_t entry;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fixture->options.extra_command_line = text;
	assert_int_equal(load(fixture, &entry, &err), -E2BIG);
	assert_int_equal(strncmp(err.message, "kernel command line: ", 21), 0);
}

/* ---- boot console */

static void print(struct boot_console *console, const char *text)
{
	for (; *text; text++)
		boot_console_write(console, 0, (uint8_t)*text);
}

static void panic_line_is_kept(void **state)
{
	struct boot_console console;
	char reason[256];

	(void)state;
	boot_console_init(&console, false);
	assert_false(boot_console_reason(&console, reason, sizeof(reason)));
	print(&console, "[    0.000000] Linux version\r\n");
	assert_false(boot_console_reason(&console, reason, sizeof(reason)));
	print(&console,
		"[    0.100000] Kernel panic - not syncing: Attempted to kill init!\r\n"
		"[    0.100001] CPU: 0 PID: 1\r\n");
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	assert_string_equal(reason, "Kernel panic - not syncing: Attempted to kill init!");
	/* Cut to the room there is. */
	assert_true(boot_console_reason(&console, reason, 13));
	assert_string_equal(reason, "Kernel panic");
}

static void a_kernel_that_prints_for_ever_is_shown_up_to_a_bound(void **state)
{
	_cleanup_close_ int file = memfd_create("shown", MFD_CLOEXEC),
			    saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	struct boot_console console;
	_cleanup_free_ char *text = NULL;
	char reason[256];
	off_t size;

	(void)state;
	assert_true(file >= 0 && saved >= 0);
	boot_console_init(&console, true);
	assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
	for (size_t i = 0; i < 3 * BOOT_CONSOLE_SHOW_MAX / 100; i++)
		print(&console,
			"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 "
			"0123456789 0123456789 01234567890\n");
	print(&console, "Kernel panic - not syncing: at last\n");
	dup2(saved, STDERR_FILENO);
	size = lseek(file, 0, SEEK_END);
	assert_in_range(size, BOOT_CONSOLE_SHOW_MAX, BOOT_CONSOLE_SHOW_MAX * 5 / 4);
	text = calloc(1, (size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(pread(file, text, (size_t)size, 0), size);
	/* Once, and last. */
	assert_non_null(strstr(text, "no more of it is shown\n"));
	assert_string_equal(strstr(text, "no more of it is shown\n"), "no more of it is shown\n");
	/* Why it died is known all the same. */
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	assert_string_equal(reason, "Kernel panic - not syncing: at last");
}

static void panic_is_the_reason_before_what_led_to_it(void **state)
{
	struct boot_console console;
	char reason[256];

	(void)state;
	boot_console_init(&console, false);
	print(&console, "[ 1.0] BUG: unable to handle page fault\n");
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	assert_string_equal(reason, "BUG: unable to handle page fault");
	print(&console, "[ 1.1] Kernel panic - not syncing: Fatal exception\n");
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	assert_string_equal(reason, "Kernel panic - not syncing: Fatal exception");
}

static void only_the_last_bytes_are_kept(void **state)
{
	struct boot_console console;
	char reason[BOOT_CONSOLE_KEEP + 16];

	(void)state;
	boot_console_init(&console, false);
	print(&console, "Kernel panic - early\n");
	/* Until just before it falls out of what is kept. */
	for (size_t i = strlen("Kernel panic - early\n"); i < BOOT_CONSOLE_KEEP; i++)
		boot_console_write(&console, 0, 'x');
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	boot_console_write(&console, 0, 'x');
	assert_false(boot_console_reason(&console, reason, sizeof(reason)));
	for (size_t i = 0; i < 100 * BOOT_CONSOLE_KEEP; i++)
		boot_console_write(&console, 0, 'x');
	print(&console, "\nKernel panic - late");
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	assert_string_equal(reason, "Kernel panic - late");
}

static void a_line_of_any_length_is_a_reason_of_bounded_length(void **state)
{
	struct boot_console console;
	char reason[100];

	(void)state;
	boot_console_init(&console, false);
	print(&console, "Kernel panic - ");
	for (size_t i = 0; i < BOOT_CONSOLE_KEEP / 2; i++)
		boot_console_write(&console, 0, 'y');
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	assert_int_equal(strlen(reason), sizeof(reason) - 1);
}

static void guest_cannot_drive_the_terminal(void **state)
{
	struct boot_console console;
	char reason[256];

	(void)state;
	boot_console_init(&console, false);
	print(&console, "Kernel panic - \033[2J\a\b\x9b\xff ok\n");
	assert_true(boot_console_reason(&console, reason, sizeof(reason)));
	assert_string_equal(reason, "Kernel panic - [2J ok");
}

static void other_registers_of_the_uart_take_no_text(void **state)
{
	struct boot_console console;

	(void)state;
	boot_console_init(&console, false);
	for (uint16_t reg = 1; reg < BOOT_CONSOLE_PORTS; reg++)
		boot_console_write(&console, reg, 'x');
	assert_int_equal(console.written, 0);
	assert_int_equal(boot_console_read(&console, 5) & 0x60, 0x60); /* always ready to send */
	for (uint16_t reg = 0; reg < BOOT_CONSOLE_PORTS; reg++)
		if (reg != 5)
			assert_int_equal(boot_console_read(&console, reg), 0);
}

#define BOOT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_tree_describes_cpus_interrupts_and_devices),
		cmocka_unit_test(device_tree_that_does_not_fit_is_an_error),
		cmocka_unit_test(initramfs_unpacks_to_init_with_equal_bytes),
		BOOT_TEST(good_kernel_is_loaded_with_its_parameters),
		BOOT_TEST(each_boot_gets_a_seed_of_its_own),
		BOOT_TEST(files_that_are_no_kernel_are_refused),
		BOOT_TEST(hostile_segment_tables_are_refused),
		BOOT_TEST(kernel_without_a_segment_to_load_is_refused),
		BOOT_TEST(entry_point_outside_of_the_kernel_is_refused),
		BOOT_TEST(segments_outside_of_their_place_are_refused),
		BOOT_TEST(more_file_than_memory_in_a_segment_is_refused),
		BOOT_TEST(segments_past_the_end_of_the_file_are_refused),
		BOOT_TEST(kernel_that_leaves_no_room_for_init_is_refused),
		BOOT_TEST(init_that_is_no_program_file_is_refused),
		BOOT_TEST(command_line_that_does_not_fit_is_refused),
		cmocka_unit_test(panic_line_is_kept),
		cmocka_unit_test(a_kernel_that_prints_for_ever_is_shown_up_to_a_bound),
		cmocka_unit_test(panic_is_the_reason_before_what_led_to_it),
		cmocka_unit_test(only_the_last_bytes_are_kept),
		cmocka_unit_test(a_line_of_any_length_is_a_reason_of_bounded_length),
		cmocka_unit_test(guest_cannot_drive_the_terminal),
		cmocka_unit_test(other_registers_of_the_uart_take_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
