// SPDX-License-Identifier: Apache-2.0
/*
 * vm-init.c: PID 1 of a virtual machine that QEMU runs for the benchmark. Mounts the root filesystem that
 * the host shares under the tag "pod", runs one command in it with /dev/hvc0 as its output, and resets
 * the machine, which ends QEMU. A command that failed shows in the output.
 *
 * What it does comes in environment variables, which the kernel makes of NAME=VALUE on its command line:
 * BENCH_TYPE is virtiofs or 9p, BENCH_0, BENCH_1 and so on are the command's words. BENCH_ADDRESS is an IPv4 address for
 * eth0, whose network has 24 bits, and BENCH_GATEWAY the address of its router; without it there is no network.
 *
 * It does as little as one can: the comparison shall be about the machines.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX       24 /* the kernel hands over 32 variables */
#define CONSOLE_WAIT_MS 30000

static _Noreturn void end(void)
{
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static _Noreturn void fail(const char *what)
{
	dprintf(STDOUT_FILENO, "vm-init: %s: %s\n", what, strerror(errno));
	end();
}

/* The device announces its port by a message, which may come after we start. */
static int console_open(void)
{
	for (int i = 0; i < CONSOLE_WAIT_MS; i++) {
		int fd = open("/dev/hvc0", O_RDWR | O_NOCTTY);

		if (fd >= 0)
			return fd;
		usleep(1000);
	}
	end();
}

static void share_mount(const char *type)
{
	const char *options = !strcmp(type, "9p")
		? "trans=virtio,version=9p2000.L,cache=loose,msize=512000"
		: NULL;

	mkdir("/root", 0755);
	if (mount("pod", "/root", type, 0, options) < 0)
		fail(type);
	mkdir("/root/proc", 0755);
	mkdir("/root/dev", 0755);
	if (mount("proc", "/root/proc", "proc", 0, NULL) < 0)
		fail("proc");
	if (mount("devtmpfs", "/root/dev", "devtmpfs", 0, NULL) < 0)
		fail("devtmpfs");
}

static void put_address(struct sockaddr *place, const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		fail(text);
	memcpy(place, &address, sizeof(address));
}

static void interface_set(int fd, unsigned long what, const char *name, const char *address)
{
	struct ifreq request = {.ifr_flags = 0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (what == SIOCSIFFLAGS)
		request.ifr_flags = IFF_UP;
	else
		put_address(&request.ifr_addr, address);
	if (ioctl(fd, what, &request) < 0)
		fail(name);
}

static void network_set_up(const char *address, const char *gateway)
{
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	interface_set(fd, SIOCSIFFLAGS, "lo", NULL);
	interface_set(fd, SIOCSIFADDR, "eth0", address);
	interface_set(fd, SIOCSIFNETMASK, "eth0", "255.255.255.0");
	interface_set(fd, SIOCSIFFLAGS, "eth0", NULL);
	put_address(&route.rt_dst, "0.0.0.0");
	put_address(&route.rt_genmask, "0.0.0.0");
	put_address(&route.rt_gateway, gateway);
	if (ioctl(fd, SIOCADDRT, &route) < 0)
		fail("route");
	close(fd);
}

static void run(const char *type, char **command)
{
	pid_t pid;
	int status;

	share_mount(type);
	pid = fork();
	if (pid == 0) {
		if (chroot("/root") < 0 || chdir("/") < 0)
			fail("/root");
		execv(command[0], command);
		fail(command[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("fork");
	sync();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		dprintf(STDOUT_FILENO, "vm-init: the command failed\n");
}

int main(void)
{
	const char *type = getenv("BENCH_TYPE");
	char *command[WORDS_MAX + 1] = {NULL};
	int fd;

	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	fd = console_open();
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	for (int i = 0; i < WORDS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "BENCH_%d", i);
		command[i] = getenv(name);
	}
	if (getenv("BENCH_ADDRESS") && getenv("BENCH_GATEWAY"))
		network_set_up(getenv("BENCH_ADDRESS"), getenv("BENCH_GATEWAY"));
	if (type && command[0])
		run(type, command);
	end();
}
