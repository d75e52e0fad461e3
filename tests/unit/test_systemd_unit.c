// SPDX-License-Identifier: Apache-2.0
/* test_systemd_unit.c: units that run pods, and words in them. */
#include "cli/systemd_unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect_word(const char *word, const char *expected)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	FILE *file = open_memstream(&text, &length);

	assert_non_null(file);
	systemd_print_word(word, file);
	fclose(file);
	assert_string_equal(text, expected);
}

static void words_stay_what_they_are(void **state)
{
	(void)state;
	expect_word("/usr/bin/appc-vm", "/usr/bin/appc-vm");
	expect_word("--environment=A=b:c,d@e", "--environment=A=b:c,d@e");
	expect_word("", "\"\"");
	expect_word("two words", "\"two words\"");
	expect_word("50%", "50%%");
	expect_word("$HOME", "$$HOME");
	expect_word("a\"b\\c", "\"a\\\"b\\\\c\"");
	expect_word("it's; # all", "\"it's; # all\"");
	expect_word("gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"");
}

/* The caller frees it; NULL: it was refused. */
static char *printed(const struct systemd_unit *unit)
{
	struct error error = {0};
	char *text = NULL;
	size_t length;
	FILE *file = open_memstream(&text, &length);
	int r;

	assert_non_null(file);
	r = systemd_unit_print(unit, file, &error);
	fclose(file);
	if (r == 0)
		return text;
	assert_int_equal(r, -EINVAL);
	assert_non_null(strstr(error.message, "control character"));
	free(text);
	return NULL;
}

static void a_manifest_is_a_new_pod_each_time(void **state)
{
	char *flags[] = {(char *)"--net=none", (char *)"--cpus=2"};
	const struct systemd_unit unit = {.name = "web",
		.program = "/opt/my tools/appc-vm",
		.data_directory = "/var/lib/appc-vm",
		.pod = "/srv/web.json",
		.flags = flags,
		.flag_count = 2};
	_cleanup_free_ char *text = printed(&unit);

	(void)state;
	assert_non_null(strstr(text, "\nType=notify\nNotifyAccess=main\n"));
	assert_non_null(strstr(text,
		"\nExecStart=\"/opt/my tools/appc-vm\" --dir /var/lib/appc-vm run "
		"--uuid-file-save=%t/appc-vm-web/uuid --net=none --cpus=2 --pod-manifest /srv/web.json\n"));
	assert_non_null(strstr(text,
		"\nExecStopPost=-\"/opt/my tools/appc-vm\" --dir /var/lib/appc-vm rm "
		"--uuid-file=%t/appc-vm-web/uuid\n"));
	assert_non_null(strstr(text, "\nRuntimeDirectory=appc-vm-web\n"));
	assert_non_null(strstr(text, "\nKillMode=mixed\n"));
	assert_non_null(strstr(text, "\nRestart=on-failure\n"));
	/* It would be the first of two stops, and the second kills. */
	assert_null(strstr(text, "ExecStop="));
}

static void a_prepared_pod_is_run_once(void **state)
{
	const struct systemd_unit unit = {.name = "u",
		.program = "/bin/appc-vm",
		.data_directory = "/d",
		.pod = "01234567-89ab-cdef-0123-456789abcdef",
		.is_prepared = true};
	_cleanup_free_ char *text = printed(&unit);

	(void)state;
	assert_non_null(strstr(text,
		"\nExecStart=/bin/appc-vm --dir /d run-prepared "
		"01234567-89ab-cdef-0123-456789abcdef\n"));
	assert_null(strstr(text, "Restart="));
	assert_null(strstr(text, "ExecStopPost="));
}

static void what_no_unit_can_hold_is_refused(void **state)
{
	char *flags[] = {(char *)"a\nExecStart=/bin/evil"};
	const struct systemd_unit flag = {.name = "u",
		.program = "/p",
		.data_directory = "/d",
		.pod = "/x",
		.flags = flags,
		.flag_count = 1};
	const struct systemd_unit path = {
		.name = "u", .program = "/p", .data_directory = "/d", .pod = "/x\ny"};

	(void)state;
	assert_null(printed(&flag));
	assert_null(printed(&path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_stay_what_they_are),
		cmocka_unit_test(a_manifest_is_a_new_pod_each_time),
		cmocka_unit_test(a_prepared_pod_is_run_once),
		cmocka_unit_test(what_no_unit_can_hold_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
