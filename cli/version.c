// SPDX-License-Identifier: Apache-2.0
/* version.c: appc-vm version */
#include "cli/cli.h"

#include "vmm/kvm.h"

#include <sys/utsname.h>

/* As rkt names what it was built for: the machine's name in Go's words. */
static void print_platform(void)
{
	struct utsname host;

	if (uname(&host) == 0)
		printf("OS/Arch: linux/amd64\nKernel: %s %s\n", host.sysname, host.release);
}

static void print_kvm(void)
{
	struct kvm_facts facts;
	struct error err = {0};

	if (kvm_probe(&facts, &err) < 0)
		printf("KVM: not available: %s\n", err.message);
	else
		printf("KVM: %s (%s)\n", facts.emulated ? "software" : "hardware", facts.module);
}

int command_version(struct cli *cli, int argc, char **argv)
{
	int r = cli_parse_flags(cli, NULL, 0, argc, argv);

	if (r < 0)
		return r;
	printf("appc-vm Version: %s\nappc Version: %s\n", APPC_VM_VERSION, APPC_VERSION);
	print_platform();
	print_kvm();
	return 0;
}
