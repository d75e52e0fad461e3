// SPDX-License-Identifier: Apache-2.0
/* test_lease.c: addresses that are given and come back, whatever happens to who has them; rules made of them. */
#include "pod/firewall.h"
#include "pod/lease.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define FIRST 0x0a000002u

static int set_up(void **state)
{
	char *path = strdup("/tmp/lease-XXXXXX");

	assert_non_null(mkdtemp(path));
	*state = path;
	return 0;
}

static int tear_down(void **state)
{
	directory_remove(AT_FDCWD, *state);
	free(*state);
	return 0;
}

static struct leases open_leases(void **state)
{
	struct leases leases;

	assert_int_equal(leases_open(*state, &leases, NULL), 0);
	return leases;
}

static struct lease example(const char *interface, uint32_t address)
{
	struct lease lease = {
		.bridge = "br0",
		.mac = {2, 0, 0, 0, 0, 1},
		.address.s_addr = htonl(address),
		.prefix = 24,
		.prefix6 = 64,
	};

	snprintf(lease.interface, sizeof(lease.interface), "%s", interface);
	inet_pton(AF_INET6, "fd00::2", &lease.address6);
	return lease;
}

static int give(void **state, const char *interface, uint32_t *ret_address)
{
	struct leases leases = open_leases(state);
	struct lease lease;
	int fd;

	assert_int_equal(leases_find_address(&leases, "br0", FIRST, 3, ret_address), 0);
	lease = example(interface, *ret_address);
	assert_int_equal(leases_write(&leases, &lease, &fd), 0);
	leases_close(&leases);
	return fd;
}

static void lease_is_read_as_it_was_written(void **state)
{
	struct leases leases = open_leases(state);
	struct lease lease = example("pod1", FIRST);
	struct lease_port ports[] = {
		{.host_port = 8080, .port = 80},
		{.is_udp = true,
			.host.s_addr = htonl(INADDR_LOOPBACK),
			.host_port = 53,
			.port = 53},
	};
	int fd;

	lease.ports = ports;
	lease.port_count = ARRAY_SIZE(ports);
	assert_int_equal(leases_write(&leases, &lease, &fd), 0);
	leases_close(&leases);
	leases = open_leases(state);
	assert_int_equal(leases.count, 1);
	assert_int_equal(leases.stale_count, 0);
	assert_string_equal(leases.items[0].interface, "pod1");
	assert_string_equal(leases.items[0].bridge, "br0");
	assert_memory_equal(leases.items[0].mac, lease.mac, sizeof(lease.mac));
	assert_int_equal(leases.items[0].address.s_addr, lease.address.s_addr);
	assert_int_equal(leases.items[0].prefix, 24);
	assert_memory_equal(&leases.items[0].address6, &lease.address6, sizeof(lease.address6));
	assert_int_equal(leases.items[0].prefix6, 64);
	assert_int_equal(leases.items[0].port_count, 2);
	assert_memory_equal(leases.items[0].ports, ports, sizeof(ports));
	leases_close(&leases);
	close(fd);
}

static void addresses_are_each_ones_own_and_not_given_again_at_once(void **state)
{
	struct leases leases;
	uint32_t address;
	int fds[3];

	for (unsigned int i = 0; i < 3; i++) {
		fds[i] = give(state, (const char *[]){"pod1", "pod2", "pod3"}[i], &address);
		assert_int_equal(address, FIRST + i);
	}
	leases = open_leases(state);
	assert_int_equal(leases_find_address(&leases, "br0", FIRST, 3, &address), -ENOSPC);
	/* Another bridge has a network of its own. */
	assert_int_equal(leases_find_address(&leases, "br1", 0x0b000002, 3, &address), 0);
	assert_int_equal(leases_end(&leases, "pod2"), 0);
	assert_int_equal(leases_find_address(&leases, "br0", FIRST, 3, &address), 0);
	assert_int_equal(address, FIRST + 1);
	assert_int_equal(leases_end(&leases, "pod1"), 0);
	assert_int_equal(leases_end(&leases, "pod9"), 0);
	leases_forget_stale(&leases);
	leases_close(&leases);
	close(fds[1]);
	close(give(state, "pod4", &address));
	/* After the one that was given last, and round. */
	assert_int_equal(address, FIRST);
	close(give(state, "pod5", &address));
	assert_int_equal(address, FIRST + 1);
	close(fds[0]);
	close(fds[2]);
}

/* It ends in two steps: what it stood for is taken away in between, or by somebody else where that failed. */
static void lease_that_ended_stays_on_disk_until_it_is_forgotten(void **state)
{
	struct leases leases;
	uint32_t address;
	int fd = give(state, "pod1", &address);

	leases = open_leases(state);
	assert_int_equal(leases_end(&leases, "pod1"), 0);
	assert_int_equal(leases.count, 0);
	assert_int_equal(leases.stale_count, 1);
	assert_string_equal(leases.stale[0].interface, "pod1");
	assert_int_equal(ntohl(leases.stale[0].address.s_addr), address);
	leases_close(&leases);
	close(fd);
	leases = open_leases(state);
	assert_int_equal(leases.count, 0);
	assert_int_equal(leases.stale_count, 1);
	leases_forget_stale(&leases);
	leases_close(&leases);
	leases = open_leases(state);
	assert_int_equal(leases.stale_count, 0);
	leases_close(&leases);
}

static void lease_of_a_killed_process_is_stale(void **state)
{
	struct leases leases;
	uint32_t address;
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		give(state, "pod1", &address);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	leases = open_leases(state);
	assert_int_equal(leases.count, 1);
	leases_close(&leases);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	leases = open_leases(state);
	assert_int_equal(leases.count, 0);
	assert_int_equal(leases.stale_count, 1);
	assert_string_equal(leases.stale[0].interface, "pod1");
	leases_forget_stale(&leases);
	leases_close(&leases);
	leases = open_leases(state);
	assert_int_equal(leases.stale_count, 0);
	leases_close(&leases);
	close(ready[0]);
	close(ready[1]);
}

static void what_is_no_lease_is_removed_and_an_empty_directory_too(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{\"bridge\":\"br0\"}",
		"{\"bridge\":\"br0\",\"mac\":\"2\",\"address\":\"10.0.0.2\",\"prefix\":24,"
		"\"address6\":\"::\",\"prefix6\":0,\"ports\":[]}",
		"{\"bridge\":\"br0\",\"mac\":\"020000000001\",\"address\":\"10.0.0.2\",\"prefix\":24,"
		"\"address6\":\"::\",\"prefix6\":0,\"ports\":[{\"udp\":false,\"host\":\"0.0.0.0\","
		"\"host_port\":0,\"port\":1}]}"};
	struct leases leases;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char file[128];

		assert_int_equal(directory_create_path(AT_FDCWD, *state, 0700), 0);
		snprintf(file, sizeof(file), "%s/pod1", (char *)*state);
		assert_int_equal(
			file_write_atomic(AT_FDCWD, file, texts[i], strlen(texts[i]), 0600), 0);
		snprintf(file, sizeof(file), "%s/.pod2", (char *)*state);
		assert_int_equal(file_write_atomic(AT_FDCWD, file, "", 0, 0600), 0);
		leases = open_leases(state);
		assert_int_equal(leases.count + leases.stale_count, 0);
		leases_close(&leases);
		assert_int_equal(access(*state, F_OK), -1);
	}
}

static void count_mark(void *context, const char *name)
{
	(*(unsigned int *)context)++;
	assert_string_equal(name, "br0");
}

static void marks_stay_until_they_are_removed(void **state)
{
	struct leases leases = open_leases(state);
	unsigned int count = 0;

	assert_int_equal(leases_set_mark(&leases, "bridge", "br0"), 0);
	assert_int_equal(leases_set_mark(&leases, "other", "br1"), 0);
	leases_close(&leases);
	leases = open_leases(state);
	assert_int_equal(leases.count + leases.stale_count, 0);
	assert_true(leases_has_mark(&leases, "bridge", "br0"));
	assert_false(leases_has_mark(&leases, "bridge", "br1"));
	assert_int_equal(leases_each_mark(&leases, "bridge", count_mark, &count), 0);
	assert_int_equal(count, 1);
	leases_remove_mark(&leases, "bridge", "br0");
	leases_remove_mark(&leases, "bridge", "br0");
	assert_false(leases_has_mark(&leases, "bridge", "br0"));
	leases_close(&leases);
}

static void assert_says(const char *rules, const char *line)
{
	if (!strstr(rules, line))
		fail_msg("not in the rules: %s\n%s", line, rules);
}

static void rules_bind_each_pod_to_its_addresses_and_publish_its_ports(void **state)
{
	struct lease_port ports[] = {
		{.host_port = 8080, .port = 80},
		{.is_udp = true, .host.s_addr = htonl(INADDR_LOOPBACK), .host_port = 53, .port = 5},
	};
	struct lease items[] = {example("appc1", FIRST), example("appc2", FIRST + 1)};
	struct leases leases = {.items = items, .count = 2};
	_cleanup_free_ char *rules = NULL, *none = NULL, *open = NULL, *some = NULL;

	(void)state;
	items[0].ports = ports;
	items[0].port_count = 2;
	items[1].address6 = (struct in6_addr){.s6_addr = {0}};
	rules = firewall_rules(&leases, "");
	open = firewall_rules(&leases, NULL);
	some = firewall_rules(&leases, "\"lan0\", \"lan1\"");
	none = firewall_rules(&(struct leases){.count = 0}, "");
	assert_says(rules, "ether saddr != 02:00:00:00:00:01 drop");
	assert_says(rules, "arp saddr ether 02:00:00:00:00:01 arp saddr ip 10.0.0.3 accept");
	assert_says(rules, "\"appc1\" : goto appc1, \"appc2\" : goto appc2");
	assert_says(rules,
		"frag frag-off 0 meta l4proto ipv6-icmp drop\n\t\tether type ip6 meta l4proto 0-255 "
		"ip6 saddr { fd00::2, fe80::ff:fe00:1 } accept");
	assert_says(rules,
		"{ 0xfd000000000000000000000000000002, "
		"0xfe80000000000000000000fffe000001 }");
	assert_says(rules, "elements = { tcp . 8080 : 10.0.0.2 . 80 }");
	assert_says(rules, "elements = { 127.0.0.1 . udp . 53 : 10.0.0.2 . 5 }");
	assert_says(rules, "ip saddr 10.0.0.0/24 oifname != \"br0\" masquerade");
	assert_says(rules, "ip6 saddr fd00::/64 oifname != \"br0\" masquerade");
	assert_says(rules, "iifname @bridges accept\n\t\tmeta nfproto ipv4 drop");
	assert_says(some,
		"iifname @bridges accept\n\t\tmeta nfproto ipv4 iifname != { \"lan0\", \"lan1\" } drop");
	assert_says(rules,
		"iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n\t\tiifname { \"appc1\", \"appc2\" } drop");
	assert_null(strstr(open, "meta nfproto ipv4"));
	assert_null(strstr(none, "chain"));
}

#define LEASE_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LEASE_TEST(lease_is_read_as_it_was_written),
		LEASE_TEST(addresses_are_each_ones_own_and_not_given_again_at_once),
		LEASE_TEST(lease_that_ended_stays_on_disk_until_it_is_forgotten),
		LEASE_TEST(lease_of_a_killed_process_is_stale),
		LEASE_TEST(what_is_no_lease_is_removed_and_an_empty_directory_too),
		LEASE_TEST(marks_stay_until_they_are_removed),
		cmocka_unit_test(rules_bind_each_pod_to_its_addresses_and_publish_its_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
