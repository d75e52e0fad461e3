// SPDX-License-Identifier: Apache-2.0
/* test_debug_tree.c: which libraries a program needs, and which trees are removed. */
#include "pod/debug_tree.h"

#include "base/file.h"
#include "pod/pod.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static void libraries_are_those_with_a_path(void **state)
{
	const char *text = "\tlinux-vdso.so.1 (0x00007ff7ba2b1000)\n"
			   "\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007ff7ba153000)\n"
			   "\n"
			   "\tlib (x).so => /opt/a b/lib (x).so (0x1)\n"
			   "\t/lib64/ld-linux-x86-64.so.2 (0x00007ff7ba2b3000)\n"
			   "\tlast.so => /lib/last.so";
	static const char *const expected[] = {"/lib/x86_64-linux-gnu/libz.so.1",
		"/opt/a b/lib (x).so", "/lib64/ld-linux-x86-64.so.2", "/lib/last.so"};
	char path[PATH_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_int_equal(debug_tree_next_library(&text, path, sizeof(path)), 1);
		assert_string_equal(path, expected[i]);
	}
	assert_int_equal(debug_tree_next_library(&text, path, sizeof(path)), 0);
	text = "";
	assert_int_equal(debug_tree_next_library(&text, path, sizeof(path)), 0);
}

static void a_library_that_is_missing_is_named(void **state)
{
	const char *text = "\tlibgone.so.3 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x0)\n";
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(debug_tree_next_library(&text, path, sizeof(path)), -ENOENT);
	assert_string_equal(path, "libgone.so.3");
	text = "\tx => /lib/longer (0x0)\n";
	assert_int_equal(
		debug_tree_next_library(&text, path, strlen("/lib/longer")), -ENAMETOOLONG);
}

#define TREE(digit) \
	"sha256-" digit "00000000000000000000000000000000000000000000000000000000000000" digit

static int list(void *context, char ***ret_names, size_t *ret_count, struct error *err)
{
	(void)err;
	if (!context)
		return -EIO;
	*ret_names = calloc(1, sizeof(**ret_names));
	assert_non_null(*ret_names);
	(*ret_names)[0] = strdup(context);
	*ret_count = 1;
	return 0;
}

static bool is_there(int data, const char *path)
{
	struct stat st;

	return fstatat(data, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void trees_that_nobody_uses_are_removed_with_their_links(void **state)
{
	char path[] = "/tmp/test-debug-tree-XXXXXX", used[] = TREE("a");
	size_t removed = 0;
	struct error error;
	int data;

	(void)state;
	assert_non_null(mkdtemp(path));
	data = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(data >= 0);
	/* Nothing is there, and nobody is asked. */
	assert_int_equal(debug_trees_collect(data, list, NULL, &removed, &error), 0);
	assert_int_equal(directory_create_path(data, "debug/" TREE("a") "/bin", 0755), 0);
	assert_int_equal(directory_create_path(data, "debug/" TREE("b") "/bin", 0755), 0);
	assert_int_equal(directory_create_path(data, "debug/other", 0755), 0);
	assert_int_equal(symlinkat(TREE("a"), data, "debug/of-1"), 0);
	assert_int_equal(symlinkat(TREE("b"), data, "debug/of-2"), 0);
	/* Where it is not known what is in use, all is. */
	assert_int_equal(debug_trees_collect(data, list, NULL, &removed, &error), -EIO);
	assert_true(is_there(data, "debug/" TREE("b") "/bin"));
	assert_int_equal(debug_trees_collect(data, list, used, &removed, &error), 0);
	assert_int_equal(removed, 1);
	assert_true(is_there(data, "debug/" TREE("a") "/bin"));
	assert_true(is_there(data, "debug/of-1"));
	assert_true(is_there(data, "debug/other"));
	assert_false(is_there(data, "debug/" TREE("b")));
	assert_false(is_there(data, "debug/of-2"));
	close(data);
	assert_int_equal(directory_remove(AT_FDCWD, path), 0);
}

#define WRITERS 16

static void names_that_are_noted_at_once_are_all_kept(void **state)
{
	char path[] = "/tmp/test-debug-tree-XXXXXX";
	_cleanup_free_ char *text = NULL;
	size_t length;
	int pod, gate[2];

	(void)state;
	assert_non_null(mkdtemp(path));
	pod = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(pod >= 0);
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	for (int i = 0; i < WRITERS; i++) {
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0) {
			/* As a process of its own has it: a file description that it shares with nobody. */
			_cleanup_close_ int own = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			char name[32], byte;
			int r = 0;

			close(gate[1]);
			if (read(gate[0], &byte, 1) != 0)
				_exit(2);
			for (int j = 0; r == 0 && j < 4; j++) {
				snprintf(name, sizeof(name), "sha256-%d-%d", i, j);
				r = debug_tree_note_use(own, name);
				/* It is there, and stays there once. */
				if (r == 0)
					r = debug_tree_note_use(own, name);
			}
			_exit(r == 0 ? 0 : 1);
		}
	}
	/* All at once. */
	close(gate[0]);
	close(gate[1]);
	for (int i = 0; i < WRITERS; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(file_read(pod, POD_DEBUG_TREE, 1u << 16, &text, &length), 0);
	for (int i = 0; i < WRITERS; i++)
		for (int j = 0; j < 4; j++) {
			char line[32];
			const char *at;

			snprintf(line, sizeof(line), "sha256-%d-%d\n", i, j);
			at = strstr(text, line);
			assert_non_null(at);
			assert_true(at == text || at[-1] == '\n');
			assert_null(strstr(at + 1, line));
		}
	/* What is the beginning of another's name is a name, too. */
	assert_int_equal(debug_tree_note_use(pod, "sha256-1"), 0);
	free(TAKE_PTR(text));
	assert_int_equal(file_read(pod, POD_DEBUG_TREE, 1u << 16, &text, &length), 0);
	assert_non_null(strstr(text, "\nsha256-1\n"));
	close(pod);
	assert_int_equal(directory_remove(AT_FDCWD, path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libraries_are_those_with_a_path),
		cmocka_unit_test(a_library_that_is_missing_is_named),
		cmocka_unit_test(trees_that_nobody_uses_are_removed_with_their_links),
		cmocka_unit_test(names_that_are_noted_at_once_are_all_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
