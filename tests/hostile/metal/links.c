// SPDX-License-Identifier: Apache-2.0
/*
 * links.c: group 12 again, with a process of the host that exchanges directories of the volume with symbolic links to
 * what is outside of it, while the guest walks, opens, makes and moves below them (hostile.bats has the process).
 *
 * A directory has "file", whose text is "inside", and the directory "inner". What the links lead to has other names.
 */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"

#define ROUNDS          600u
#define FLAGS_CREATE    0102u /* O_RDWR | O_CREAT */
#define RENAME_EXCHANGE 2u
#define MODE_TYPE       0170000u
#define MODE_LINK       0120000u
#define MODE_DIRECTORY  0040000u

static const char *const exchanged[] = {"swap0", "swap1", "swap2", "swap3"};
static const char *const outside[] = {"canary", "rw", "ro", "volumes", "etc"};

static const struct fuse_entry_out *entry_of_reply(void)
{
	return (const struct fuse_entry_out *)(const void *)fuse_reply;
}

static bool reply_has(const char *text)
{
	size_t length = text_length(text);

	for (size_t i = 0; i + length <= fuse_reply_length && i + length <= sizeof(fuse_reply);
		i++) {
		size_t same = 0;

		while (same < length && fuse_reply[i + same] == (uint8_t)text[same])
			same++;
		if (same == length)
			return true;
	}
	return false;
}

static void try_file(uint64_t node)
{
	struct fuse_release_in release = {0};
	struct fuse_read_in read = {.size = 64};

	if (fuse_open(FUSE_OPEN, node, 0, &read.fh) != 0)
		return;
	expect(fuse_call(FUSE_READ, node, &read, sizeof(read), NULL, 0) == 0 && reply_has("inside"),
		"the text of another file", fuse_reply[0]);
	release.fh = read.fh;
	fuse_call(FUSE_RELEASE, node, &release, sizeof(release), NULL, 0);
}

static void try_names(uint64_t node)
{
	struct fuse_release_in release = {0};
	struct fuse_read_in read = {.size = 2048};

	for (unsigned int i = 0; i < ARRAY_COUNT(outside); i++)
		expect(fuse_call_name(FUSE_LOOKUP, node, NULL, 0, outside[i]) < 0,
			"a name of outside", i);
	if (fuse_open(FUSE_OPENDIR, node, 0, &read.fh) != 0)
		return;
	fuse_call(FUSE_READDIR, node, &read, sizeof(read), NULL, 0);
	expect(!reply_has("canary"), "a list of what is outside", 0);
	release.fh = read.fh;
	fuse_call(FUSE_RELEASEDIR, node, &release, sizeof(release), NULL, 0);
}

/* What makes and moves; below a link nothing can be. */
static void try_changes(uint64_t node, uint64_t other, bool is_link)
{
	const struct fuse_create_in create = {.flags = FLAGS_CREATE, .mode = 0644};
	const struct fuse_mkdir_in mkdir = {.mode = 0755};
	const struct fuse_rename_in rename = {.newdir = other};
	const struct fuse_rename2_in exchange = {.newdir = other, .flags = RENAME_EXCHANGE};
	int results[8];

	results[0] = fuse_call(FUSE_CREATE, node, &create, sizeof(create), "made", 5);
	results[1] = fuse_call_name(FUSE_MKDIR, node, &mkdir, sizeof(mkdir), "new");
	results[2] = fuse_call(FUSE_SYMLINK, node, "link", 5, "..", 3);
	results[3] = fuse_call(FUSE_RENAME, node, &rename, sizeof(rename), "made\0moved", 11);
	results[4] = fuse_call(FUSE_RENAME2, node, &exchange, sizeof(exchange), "inner\0inner", 12);
	results[5] = fuse_call_name(FUSE_UNLINK, node, NULL, 0, "link");
	results[6] = fuse_call_name(FUSE_RMDIR, node, NULL, 0, "new");
	results[7] = fuse_call_name(FUSE_UNLINK, node, NULL, 0, "canary");
	for (unsigned int i = 0; i < ARRAY_COUNT(results); i++)
		expect(!is_link || results[i] < 0, "a change behind a link", i);
	expect(results[7] < 0, "the canary is removed", 0);
	fuse_call_name(FUSE_UNLINK, other, NULL, 0, "moved");
}

void case_links_exchanged(void)
{
	unsigned int links = 0, directories = 0;
	uint64_t volume, other;

	if (!fuse_begin())
		return;
	volume = fuse_walk("volumes/rw");
	other = fuse_walk("volumes/rw/directory");
	expect(volume != 0 && other != 0, "the tree lacks a volume", 0);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t node;
		uint32_t type;

		if (fuse_call_name(FUSE_LOOKUP, volume, NULL, 0,
			    exchanged[round % ARRAY_COUNT(exchanged)]) != 0)
			continue;
		node = entry_of_reply()->nodeid;
		type = entry_of_reply()->attr.mode & MODE_TYPE;
		links += type == MODE_LINK;
		directories += type == MODE_DIRECTORY;
		try_names(node);
		if (fuse_call_name(FUSE_LOOKUP, node, NULL, 0, "file") == 0) {
			expect(type != MODE_LINK, "a file behind a link", round);
			try_file(entry_of_reply()->nodeid);
		}
		try_changes(node, other, type == MODE_LINK);
	}
	/* The host was at work. */
	expect(links > ROUNDS / 20, "too few links were met", links);
	expect(directories > ROUNDS / 20, "too few directories were met", directories);
}
