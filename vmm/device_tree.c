// SPDX-License-Identifier: Apache-2.0
/*
 * device_tree.c: describes the machine to the kernel.
 *
 * x86 Linux takes its local APIC, IOAPIC and CPUs from a device tree in setup_data when there is
 * neither ACPI nor an MP table (arch/x86/kernel/devicetree.c; the compatible strings are those of the
 * first board that did so).
 */
#include "vmm/device_tree.h"

#include "virtio/mmio.h"
#include "vmm/layout.h"

#include <errno.h>
#include <libfdt.h>
#include <stdint.h>
#include <stdio.h>

#define IOAPIC_HANDLE 1
/* Second cell of an interrupt, of_ioapic_type[]: rising edge, as irqfd gives it. */
#define INTERRUPT_RISING_EDGE 3

struct writer {
	void *fdt;
	int error; /* the first one */
};

static void check(struct writer *writer, int result)
{
	if (writer->error == 0)
		writer->error = result;
}

static void begin(struct writer *writer, const char *name)
{
	check(writer, fdt_begin_node(writer->fdt, name));
}

static void begin_at(struct writer *writer, const char *kind, uint64_t address)
{
	char name[64];

	snprintf(name, sizeof(name), "%s@%llx", kind, (unsigned long long)address);
	begin(writer, name);
}

static void end(struct writer *writer)
{
	check(writer, fdt_end_node(writer->fdt));
}

static void number(struct writer *writer, const char *name, uint32_t value)
{
	check(writer, fdt_property_u32(writer->fdt, name, value));
}

static void string(struct writer *writer, const char *name, const char *value)
{
	check(writer, fdt_property_string(writer->fdt, name, value));
}

static void flag(struct writer *writer, const char *name)
{
	check(writer, fdt_property(writer->fdt, name, NULL, 0));
}

static void range(struct writer *writer, uint64_t address, uint64_t size)
{
	fdt64_t cells[] = {cpu_to_fdt64(address), cpu_to_fdt64(size)};

	check(writer, fdt_property(writer->fdt, "reg", cells, sizeof(cells)));
}

static void write_cpus(struct writer *writer, unsigned int vcpus)
{
	begin(writer, "cpus");
	number(writer, "#address-cells", 1);
	number(writer, "#size-cells", 0);
	for (unsigned int i = 0; i < vcpus; i++) {
		begin_at(writer, "cpu", i);
		string(writer, "device_type", "cpu");
		string(writer, "compatible", "intel,x86");
		number(writer, "reg", i);
		end(writer);
	}
	end(writer);
}

static void write_interrupt_controllers(struct writer *writer)
{
	begin_at(writer, "lapic", LAYOUT_LAPIC);
	string(writer, "compatible", "intel,ce4100-lapic");
	range(writer, LAYOUT_LAPIC, 0x1000);
	flag(writer, "intel,virtual-wire-mode");
	end(writer);

	begin_at(writer, "ioapic", LAYOUT_IOAPIC);
	string(writer, "compatible", "intel,ce4100-ioapic");
	range(writer, LAYOUT_IOAPIC, 0x1000);
	flag(writer, "interrupt-controller");
	number(writer, "#interrupt-cells", 2);
	number(writer, "phandle", IOAPIC_HANDLE);
	end(writer);
}

/* One page of registers and one interrupt line. Ends before the node does. */
static void begin_device(struct writer *writer, const char *kind, const char *compatible,
	uint64_t address, uint32_t line)
{
	fdt32_t interrupt[] = {cpu_to_fdt32(line), cpu_to_fdt32(INTERRUPT_RISING_EDGE)};

	begin_at(writer, kind, address);
	string(writer, "compatible", compatible);
	range(writer, address, 0x1000);
	check(writer, fdt_property(writer->fdt, "interrupts", interrupt, sizeof(interrupt)));
}

int device_tree_write(
	void *buffer, size_t size, unsigned int vcpus, unsigned int devices, size_t *ret_size)
{
	struct writer writer = {.fdt = buffer};

	/* Without a header nothing else is to be called: libfdt reads it first. */
	if (fdt_create(buffer, (int)size) < 0)
		return -ENOSPC;
	check(&writer, fdt_finish_reservemap(buffer));
	begin(&writer, "");
	string(&writer, "compatible", "appc,vm");
	number(&writer, "#address-cells", 2);
	number(&writer, "#size-cells", 2);
	number(&writer, "interrupt-parent", IOAPIC_HANDLE);
	write_cpus(&writer, vcpus);
	begin(&writer, "soc");
	string(&writer, "compatible", "simple-bus");
	number(&writer, "#address-cells", 2);
	number(&writer, "#size-cells", 2);
	flag(&writer, "ranges");
	write_interrupt_controllers(&writer);
	for (unsigned int i = 0; i < devices; i++) {
		begin_device(&writer, "virtio", "virtio,mmio",
			LAYOUT_DEVICES + (uint64_t)i * VIRTIO_MMIO_SIZE, LAYOUT_FIRST_LINE + i);
		end(&writer);
	}
	begin_device(&writer, "rng", "microsoft,vmgenid", LAYOUT_GENERATION,
		LAYOUT_GENERATION_LINE(devices));
	/* Of our own: 64 secret bytes follow the id (kernel patch 0016). */
	flag(&writer, "appc,secret");
	end(&writer);
	end(&writer);
	end(&writer);
	check(&writer, fdt_finish(buffer));
	if (writer.error)
		return -ENOSPC;
	*ret_size = fdt_totalsize(buffer);
	return 0;
}
