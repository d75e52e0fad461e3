/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's physical address space. */
#ifndef APPC_VMM_LAYOUT_H
#define APPC_VMM_LAYOUT_H

/* What the boot protocol needs below 1 MiB. */
#define LAYOUT_GDT              0x500u
#define LAYOUT_ZERO_PAGE        0x7000u
#define LAYOUT_PAGE_TABLES      0x9000u /* six pages */
#define LAYOUT_COMMAND_LINE     0x20000u
#define LAYOUT_COMMAND_LINE_MAX 0x800u /* COMMAND_LINE_SIZE of x86 */
#define LAYOUT_SETUP_SEED       0x2f000u
#define LAYOUT_SETUP_DTB        0x30000u
#define LAYOUT_SETUP_DTB_MAX    0x10000u
#define LAYOUT_LOW_END          0x9fc00u
#define LAYOUT_HIGH_START       0x100000u

/* RAM ends here; the rest goes above 4 GiB. */
#define LAYOUT_RAM_HOLE 0xc0000000ull
#define LAYOUT_RAM_HIGH 0x100000000ull

/*
 * The window for files (virtio/fs/dax.h) follows RAM, both above 4 GiB, at the next address whose
 * struct pages Linux makes by themselves (a section of its memory map).
 */
#define LAYOUT_WINDOW_ALIGNMENT (128ull << 20)

/* Devices: one page each, interrupt lines from LAYOUT_FIRST_LINE up; the IOAPIC has 24. */
#define LAYOUT_DEVICES    0xd0000000ull
#define LAYOUT_FIRST_LINE 5u
/* The virtual machine's generation: one page below them, the interrupt line above theirs. */
#define LAYOUT_GENERATION               0xcffff000ull
#define LAYOUT_GENERATION_LINE(devices) (LAYOUT_FIRST_LINE + (devices))
#define LAYOUT_IOAPIC                   0xfec00000u
#define LAYOUT_LAPIC                    0xfee00000u

#endif
