// SPDX-License-Identifier: Apache-2.0
/* boot.c: puts the kernel, its initramfs and its parameters into guest memory. */
#include "vmm/boot.h"

#include "base/checked.h"
#include "base/file.h"
#include "vmm/device_tree.h"
#include "vmm/initramfs.h"
#include "vmm/layout.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>

#define KERNEL_SEGMENTS_MAX 16
#define INIT_SIZE_MAX       (64u << 20)
#define SEED_SIZE           32
#define LOADER_UNDEFINED    0xff

/* Types of struct setup_data that Debian 12's headers do not all have (boot.rst). */
#define SETUP_TYPE_DTB      2
#define SETUP_TYPE_RNG_SEED 9

/* Words of the command line, each for a reason given in docs/boot.md. */
#define COMMAND_LINE_ALWAYS                                                                   \
	" earlyprintk=serial,0x3f8,115200,keep console=ttynull panic=-1 oops=panic reboot=k " \
	"rootfstype=ramfs page_reporting.page_reporting_order=4 virtio_net.napi_tx=0"
/*
 * Only where guest kernel code is emulated. Mitigations are of no use there: they are against
 * speculation in ring 0, and no CPU ever runs that code.
 */
#define COMMAND_LINE_EMULATED                                                    \
	" appc.emulated_ring0=1 mitigations=off "                                \
	"clearcpuid=rdrand,popcnt,movbe,aes,avx,xsaveopt,xsavec,xgetbv1,xsaves " \
	"clocksource=kvm-clock tsc=nowatchdog thp_anon=32K:always"
#define COMMAND_LINE_ONE_VCPU " noreplace-smp"

static int load_segment(const struct guest_memory *memory, int fd, const Elf64_Phdr *segment,
	uint64_t *ret_end, struct error *err)
{
	uint64_t end;
	void *span;
	int r;

	if (segment->p_filesz > segment->p_memsz ||
		!checked_add_u64(segment->p_paddr, segment->p_memsz, &end) ||
		segment->p_paddr < LAYOUT_HIGH_START)
		return error_set(err, -ENOEXEC, "kernel: malformed ELF segment");
	span = guest_memory_span(memory, segment->p_paddr, segment->p_memsz);
	if (!span)
		return error_set(err, -ENOMEM,
			"kernel: needs memory up to %llu MiB; give the VM more",
			(unsigned long long)(end >> 20) + 1);
	r = file_read_exactly(fd, span, segment->p_filesz, segment->p_offset);
	if (r < 0)
		return error_set_errno(err, r, "kernel: cannot read a segment");
	if (end > *ret_end)
		*ret_end = end;
	return 0;
}

static int load_kernel(const struct guest_memory *memory, int fd, uint64_t *ret_entry,
	uint64_t *ret_end, struct error *err)
{
	Elf64_Phdr segments[KERNEL_SEGMENTS_MAX] = {0};
	Elf64_Ehdr header;
	int r;

	r = file_read_exactly(fd, &header, sizeof(header), 0);
	if (r < 0 || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
		header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
		header.e_phentsize != sizeof(Elf64_Phdr))
		return error_set(err, -ENOEXEC,
			"kernel: not a 64-bit x86 ELF vmlinux (a bzImage will not do)");
	if (header.e_phnum > KERNEL_SEGMENTS_MAX)
		return error_set(err, -ENOEXEC, "kernel: %u ELF segments, at most %d expected",
			header.e_phnum, KERNEL_SEGMENTS_MAX);
	r = file_read_exactly(fd, segments, header.e_phnum * sizeof(Elf64_Phdr), header.e_phoff);
	if (r < 0)
		return error_set_errno(err, r, "kernel: cannot read the ELF segments");
	*ret_end = 0;
	for (unsigned int i = 0; i < header.e_phnum; i++) {
		if (segments[i].p_type != PT_LOAD)
			continue;
		r = load_segment(memory, fd, &segments[i], ret_end, err);
		if (r < 0)
			return r;
	}
	if (header.e_entry < LAYOUT_HIGH_START || header.e_entry >= *ret_end)
		return error_set(err, -ENOEXEC, "kernel: its entry point is in no ELF segment");
	*ret_entry = header.e_entry;
	return 0;
}

/* Puts the archive at the end of low RAM, where the kernel takes it apart without moving it. */
static int load_initramfs(const struct guest_memory *memory, int fd, uint64_t kernel_end,
	struct boot_params *params, struct error *err)
{
	uint64_t ram_end = memory->regions[0].size, start;
	struct stat st;
	uint8_t *span;
	size_t size;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set_errno(err, -errno, "guest-init");
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > INIT_SIZE_MAX)
		return error_set(err, -EINVAL, "guest-init: not a program file of at most %u bytes",
			INIT_SIZE_MAX);
	size = initramfs_size((size_t)st.st_size);
	start = size > ram_end ? 0 : (ram_end - size) & ~0xfffull;
	if (start < kernel_end)
		return error_set(err, -ENOMEM,
			"the kernel and guest-init do not fit into %llu MiB of memory",
			(unsigned long long)(ram_end >> 20));
	span = guest_memory_span(memory, start, size);
	if (!span)
		return -EFAULT;
	r = file_read_exactly(
		fd, span + initramfs_write(span, (size_t)st.st_size), (size_t)st.st_size, 0);
	if (r < 0)
		return error_set_errno(err, r, "guest-init: cannot read it");
	params->hdr.ramdisk_image = (uint32_t)start;
	params->hdr.ramdisk_size = (uint32_t)size;
	return 0;
}

static void add_setup_data(const struct guest_memory *memory, struct boot_params *params,
	uint64_t address, uint32_t type, size_t length)
{
	struct setup_data data = {
		.next = params->hdr.setup_data,
		.type = type,
		.len = (uint32_t)length,
	};

	guest_memory_write(memory, address, &data, sizeof(data));
	params->hdr.setup_data = address;
}

static int load_setup_data(const struct guest_memory *memory, const struct boot_options *options,
	struct boot_params *params, struct error *err)
{
	uint64_t seed_address = LAYOUT_SETUP_SEED, tree_address = LAYOUT_SETUP_DTB;
	uint8_t seed[SEED_SIZE];
	size_t tree_size;
	void *tree;
	int r;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return error_set(err, -EIO, "cannot get random bytes");
	guest_memory_write(memory, seed_address + sizeof(struct setup_data), seed, sizeof(seed));
	add_setup_data(memory, params, seed_address, SETUP_TYPE_RNG_SEED, sizeof(seed));

	tree = guest_memory_span(
		memory, tree_address + sizeof(struct setup_data), LAYOUT_SETUP_DTB_MAX);
	r = device_tree_write(
		tree, LAYOUT_SETUP_DTB_MAX, options->vcpus, options->devices, &tree_size);
	if (r < 0)
		return error_set_errno(err, r, "cannot write the device tree");
	add_setup_data(memory, params, tree_address, SETUP_TYPE_DTB, tree_size);
	return 0;
}

static int load_command_line(const struct guest_memory *memory, const struct boot_options *options,
	struct boot_params *params, struct error *err)
{
	const char *extra = options->extra_command_line;
	char line[LAYOUT_COMMAND_LINE_MAX];
	int n;

	/* "quiet" comes first: the words after it are parsed with it in force. */
	n = snprintf(line, sizeof(line), "%s%s%s%s%s%s",
		options->kernel_messages ? "loglevel=7" : "quiet", COMMAND_LINE_ALWAYS,
		options->emulated ? COMMAND_LINE_EMULATED : "",
		options->emulated && options->vcpus == 1 ? COMMAND_LINE_ONE_VCPU : "",
		extra ? " " : "", extra ? extra : "");
	if (n < 0 || (size_t)n >= sizeof(line))
		return error_set(err, -E2BIG, "kernel command line: longer than %zu bytes",
			sizeof(line) - 1);
	params->hdr.cmd_line_ptr = LAYOUT_COMMAND_LINE;
	params->hdr.cmdline_size = (uint32_t)n;
	return guest_memory_write(memory, LAYOUT_COMMAND_LINE, line, (size_t)n + 1);
}

static void add_memory_map(
	struct boot_params *params, uint64_t address, uint64_t size, uint32_t type)
{
	params->e820_table[params->e820_entries++] = (struct boot_e820_entry){
		.addr = address,
		.size = size,
		.type = type,
	};
}

/* Identity mapping of the first 4 GiB in 2 MiB pages, and a GDT: what the entry point asks for. */
static void load_page_tables(const struct guest_memory *memory)
{
	enum { PRESENT_WRITABLE = 0x3, LARGE = 0x80 };
	uint64_t level4 = LAYOUT_PAGE_TABLES, level3 = level4 + 0x1000, level2 = level3 + 0x1000;
	uint64_t *table = guest_memory_span(memory, level4, (uint64_t)6 * 0x1000);
	/* Null, unused, 64-bit code at 0x10 (__BOOT_CS), data at 0x18 (__BOOT_DS). */
	uint64_t gdt[] = {0, 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull};

	table[0] = level3 | PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (level2 + i * 0x1000) | PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 2048; i++)
		table[1024 + i] = i << 21 | PRESENT_WRITABLE | LARGE;
	guest_memory_write(memory, LAYOUT_GDT, gdt, sizeof(gdt));
}

int boot_load(const struct guest_memory *memory, const struct boot_options *options,
	uint64_t *ret_entry, struct error *err)
{
	struct boot_params params = {
		/* boot.rst, "64-bit boot protocol": what a loader of a vmlinux fills itself. */
		.hdr.boot_flag = 0xaa55,
		.hdr.header = 0x53726448, /* "HdrS" */
		.hdr.version = 0x20f,
		.hdr.type_of_loader = LOADER_UNDEFINED,
		.hdr.loadflags = LOADED_HIGH,
		.hdr.kernel_alignment = 0x1000000,
	};
	uint64_t kernel_end = 0;
	int r;

	r = load_kernel(memory, options->kernel_fd, ret_entry, &kernel_end, err);
	if (r < 0)
		return r;
	r = load_initramfs(memory, options->initramfs_fd, kernel_end, &params, err);
	if (r < 0)
		return r;
	r = load_setup_data(memory, options, &params, err);
	if (r < 0)
		return r;
	r = load_command_line(memory, options, &params, err);
	if (r < 0)
		return r;
	add_memory_map(&params, 0, LAYOUT_LOW_END, 1);
	add_memory_map(&params, LAYOUT_HIGH_START, memory->regions[0].size - LAYOUT_HIGH_START, 1);
	if (memory->count > 1)
		add_memory_map(&params, memory->regions[1].start, memory->regions[1].size, 1);
	load_page_tables(memory);
	return guest_memory_write(memory, LAYOUT_ZERO_PAGE, &params, sizeof(params));
}

int boot_set_registers(struct vcpu *vcpu, uint64_t entry, struct error *err)
{
	struct kvm_segment code = {.limit = 0xffffffff,
		.selector = 0x10,
		.type = 11,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1};
	struct kvm_segment data = {.limit = 0xffffffff,
		.selector = 0x18,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1};
	struct kvm_regs registers = {.rip = entry, .rflags = 2, .rsi = LAYOUT_ZERO_PAGE};
	struct kvm_sregs special;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &special) < 0)
		return error_set_errno(err, -errno, "cannot read vCPU registers");
	special.cr3 = LAYOUT_PAGE_TABLES;
	special.cr4 = 0x20;       /* PAE */
	special.cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
	special.efer = 0x500;     /* LMA LME */
	special.gdt.base = LAYOUT_GDT;
	special.gdt.limit = 4 * 8 - 1;
	special.idt.base = 0;
	special.idt.limit = 0;
	special.cs = code;
	special.ds = special.es = special.ss = special.fs = special.gs = data;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &special) < 0 ||
		ioctl(vcpu->fd, KVM_SET_REGS, &registers) < 0)
		return error_set_errno(err, -errno, "cannot set vCPU registers");
	return 0;
}
