// SPDX-License-Identifier: Apache-2.0
/*
 * systemd_unit.c: see systemd_unit.h.
 *
 * Theory of operation: the process of the unit is the one that runs the pod, which says when the apps have started
 * (Type=notify). SIGTERM is its gentle stop, and only the first: an ExecStop= before it would make that the second, which
 * kills the apps at once. So there is none, and KillMode=mixed sends SIGTERM to that process alone; SIGKILL, when it does
 * not come to an end, to all.
 */
#include "cli/systemd_unit.h"

#include <string.h>

/* Longer than the grace of a stop with all that may follow (pod/run_loop.c), and than a first boot may take. */
#define STOP_SECONDS  60
#define START_SECONDS 660

void systemd_print_word(const char *word, FILE *file)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./:=,+@%$";
	bool quoted = !*word || word[strspn(word, plain)];

	if (quoted)
		putc('"', file);
	for (; *word; word++) {
		if (*word == '%' || *word == '$')
			putc(*word, file);
		if (*word == '"' || *word == '\\')
			putc('\\', file);
		putc(*word, file);
	}
	if (quoted)
		putc('"', file);
}

static int check_word(const char *word, struct error *err)
{
	for (const char *c = word; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return error_set(err, -EINVAL,
				"\"%s\" has a control character, which no unit can hold", word);
	return 0;
}

static int check_words(const struct systemd_unit *unit, struct error *err)
{
	const char *const words[] = {unit->program, unit->data_directory, unit->pod};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(words); i++)
		r = check_word(words[i], err);
	for (size_t i = 0; r == 0 && i < unit->flag_count; i++)
		r = check_word(unit->flags[i], err);
	return r;
}

/* "KEY PROGRAM --dir DATA", for more to follow: a quote begins with its word. */
static void print_command(const struct systemd_unit *unit, const char *key, FILE *file)
{
	fputs(key, file);
	systemd_print_word(unit->program, file);
	fputs(" --dir ", file);
	systemd_print_word(unit->data_directory, file);
}

static void print_start(const struct systemd_unit *unit, FILE *file)
{
	print_command(unit, "ExecStart=", file);
	if (unit->is_prepared)
		fputs(" run-prepared", file);
	else
		fprintf(file, " run --uuid-file-save=%%t/appc-vm-%s/uuid", unit->name);
	for (size_t i = 0; i < unit->flag_count; i++) {
		putc(' ', file);
		systemd_print_word(unit->flags[i], file);
	}
	fputs(unit->is_prepared ? " " : " --pod-manifest ", file);
	systemd_print_word(unit->pod, file);
	putc('\n', file);
}

int systemd_unit_print(const struct systemd_unit *unit, FILE *file, struct error *err)
{
	int r = check_words(unit, err);

	if (r < 0)
		return r;
	fprintf(file,
		"[Unit]\n"
		"Description=Pod %s\n"
		"Documentation=man:appc-vm-run(1)\n"
		"Wants=network-online.target\n"
		"After=network-online.target\n"
		"\n"
		"[Service]\n"
		"Type=notify\n"
		"NotifyAccess=main\n",
		unit->name);
	print_start(unit, file);
	if (!unit->is_prepared) {
		/* Each start makes a pod of its own. */
		print_command(unit, "ExecStopPost=-", file);
		fprintf(file, " rm --uuid-file=%%t/appc-vm-%s/uuid\n", unit->name);
		fprintf(file, "RuntimeDirectory=appc-vm-%s\nRestart=on-failure\n", unit->name);
	}
	fprintf(file,
		"KillMode=mixed\n"
		"TimeoutStartSec=%d\n"
		"TimeoutStopSec=%d\n"
		"Delegate=yes\n"
		"\n"
		"[Install]\n"
		"WantedBy=multi-user.target\n",
		START_SECONDS, STOP_SECONDS);
	return ferror(file) ? -EIO : 0;
}
