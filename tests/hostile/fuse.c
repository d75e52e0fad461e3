// SPDX-License-Identifier: Apache-2.0
/*
 * fuse.c: groups 9 to 16, requests to the file server.
 *
 * The tree has volumes/rw, which may be written, and volumes/ro. Both hold: file, directory/inner, and symbolic
 * links named to-root ("/"), to-parent ("../../.."), to-magic ("/proc/self/root") and to-file ("file").
 */
#include "tests/hostile/driver.h"
#include "tests/hostile/functions.h"

/* linux/fuse.h of 7.38 and earlier. */
#define OPCODE_STATX 52u
#define OPCODES_END  64u

#define ACCESS_WRITE    1u
#define ACCESS_BOTH     2u
#define FLAG_CREATE     0100u
#define FLAG_EXCLUSIVE  0200u
#define FLAG_TRUNCATE   01000u
#define FLAG_APPEND     02000u
#define FLAG_DIRECT     040000u
#define FLAG_PATH       010000000u
#define FLAG_TMPFILE    020200000u
#define MODE_FILE       0100000u
#define MODE_FIFO       0010000u
#define MODE_SOCKET     0140000u
#define MODE_CHARACTER  0020000u
#define MODE_BLOCK      0060000u
#define RENAME_EXCHANGE 2u
#define RENAME_WHITEOUT 4u

static const char *const volumes[] = {"volumes/rw", "volumes/ro"};

static void expect_error(int result, const char *what, uint64_t value)
{
	expect(result < 0, what, value);
}

/* ---- group 9 */

void case_header_malformed(void)
{
	static const struct {
		uint32_t says, has; /* bytes */
	} lengths[] = {{0, 40}, {39, 40}, {41, 40}, {40, 48}, {0xffffffff, 40}, {0x80000000, 4096},
		{40, 39}, {40, 0}, {8, 8}, {40, 1}, {4096, 4095}};
	unsigned int slot = device_find(ID_FS);

	for (uint32_t opcode = FUSE_LOOKUP; opcode <= FUSE_FORGET; opcode++) {
		for (unsigned int i = 0; i < ARRAY_COUNT(lengths); i++) {
			const struct fuse_in_header header = {
				.len = lengths[i].says, .opcode = opcode, .nodeid = FUSE_ROOT_ID};
			struct ring *ring = ring_of(slot, FS_REQUESTS);

			if (!fuse_begin())
				return;
			guest_store(DATA, &header, sizeof(header));
			ring_describe(ring, 0, DATA, lengths[i].has, NEXT, 1);
			ring_describe(ring, 1, DATA + 0x8000, 4096, WRITE, 0);
			ring_offer(ring, 0);
			ring_notify(ring);
			expect_broken(slot, "a header with a bad length", lengths[i].says);
		}
	}
}

void case_opcode_unknown(void)
{
	static const uint32_t opcodes[] = {0, 7, 11, 19, 36, 37, 39, 40, 41, 53, 63, 64, 100, 255,
		256, 0x1000, 0x100000, 0x7fffffff, 0x80000003, 0xffffffff, CUSE_INIT};
	static const uint8_t arguments[128];

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(opcodes); i++) {
		int r = fuse_call(opcodes[i], FUSE_ROOT_ID, arguments, sizeof(arguments), NULL, 0);

		expect(r < 0, "an unknown opcode", opcodes[i]);
	}
}

void case_session_missing(void)
{
	static const uint8_t arguments[128];

	if (!fuse_begin_without_session())
		return;
	for (uint32_t opcode = 1; opcode < OPCODES_END; opcode++) {
		int r;

		if (opcode == FUSE_INIT)
			continue;
		r = fuse_call(opcode, FUSE_ROOT_ID, arguments, sizeof(arguments), NULL, 0);
		expect(r < 0 || r == FUSE_NO_REPLY, "a request before INIT", opcode);
	}
	/* What DESTROY ended is over, too. */
	if (!fuse_begin())
		return;
	expect(fuse_call(FUSE_DESTROY, 0, NULL, 0, NULL, 0) == 0, "DESTROY", 0);
	expect_error(fuse_call_name(FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "volumes"),
		"a request after DESTROY", 0);
}

void case_init_versions(void)
{
	static const uint32_t numbers[] = {0, 1, 6, 7, 8, 30, 31, 39, 0x7fffffff, 0xffffffff};
	static const size_t sizes[] = {0, 4, 8, 15, 16, 17, 63, 64, 65, 200};

	for (unsigned int i = 0; i < ARRAY_COUNT(numbers); i++) {
		for (unsigned int j = 0; j < ARRAY_COUNT(numbers); j++) {
			struct {
				struct fuse_init_in init;
				uint8_t more[256];
			} in = {.init = {.major = numbers[i],
					.minor = numbers[j],
					.max_readahead = numbers[j],
					.flags = numbers[i],
					.flags2 = numbers[j]}};

			if (!fuse_begin_without_session())
				return;
			fuse_call(FUSE_INIT, numbers[i], &in, sizes[(i + j) % ARRAY_COUNT(sizes)],
				NULL, 0);
			fuse_call_name(FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "volumes");
			expect_running(device_find(ID_FS), "INIT of a version", numbers[i]);
		}
	}
}

void case_init_again(void)
{
	const struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
	uint64_t node, handle;

	if (!fuse_begin())
		return;
	node = fuse_walk("volumes/rw/file");
	expect(node != 0, "the tree lacks a file", 0);
	fuse_open(FUSE_OPEN, node, ACCESS_BOTH, &handle);
	expect(fuse_call(FUSE_INIT, 0, &in, sizeof(in), NULL, 0) == 0, "a second INIT", 0);
	for (uint64_t slot = node & 0xffffffff; slot < (node & 0xffffffff) + 2; slot++) {
		const struct fuse_read_in read = {.fh = handle, .size = 16};

		expect_error(fuse_call(FUSE_READ, node, &read, sizeof(read), NULL, 0),
			"a handle of the first session", handle);
	}
	expect_error(fuse_call_name(FUSE_LOOKUP, node, NULL, 0, "x"), "a node of the first session",
		node);
}

void case_reply_room(void)
{
	static const uint32_t rooms[] = {1, 8, 15, 16, 17, 24, 79, 80, 128, 143};

	for (uint32_t opcode = 1; opcode < OPCODES_END; opcode++) {
		for (unsigned int i = 0; i < ARRAY_COUNT(rooms); i++) {
			const uint8_t arguments[64] = {0};
			const struct fuse_in_header header = {
				.len = sizeof(header) + sizeof(arguments),
				.opcode = opcode,
				.nodeid = FUSE_ROOT_ID};
			int r;

			if ((i == 0 || device_is_broken(device_find(ID_FS))) && !fuse_begin())
				return;
			r = fuse_call_raw(&header, arguments, sizeof(arguments), rooms[i]);
			expect(rooms[i] >= sizeof(struct fuse_out_header) || r == FUSE_BROKEN,
				"no room for a reply's header", opcode);
		}
	}
}

void case_arguments_short(void)
{
	const uint8_t arguments[16] = {0};

	if (!fuse_begin())
		return;
	for (uint32_t opcode = 1; opcode < OPCODES_END; opcode++) {
		for (size_t length = 0; length <= sizeof(arguments); length += 4) {
			int r = fuse_call(opcode, FUSE_ROOT_ID, arguments, length, NULL, 0);

			expect(r != FUSE_BROKEN, "arguments that are too short", opcode);
			if (opcode == FUSE_DESTROY || r == FUSE_BROKEN)
				fuse_begin();
		}
	}
}

/* ---- group 10 */

void case_node_unknown(void)
{
	static const uint64_t nodes[] = {0, 2, 0xff, 0xffff, 0xffffffff, 0x100000001,
		0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX, UINT64_MAX - 1};
	const uint8_t arguments[64] = {0};

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(nodes); i++) {
		for (uint32_t opcode = 1; opcode < FUSE_REMOVEMAPPING; opcode++) {
			int r;

			switch (opcode) {
			case FUSE_INIT:
			case FUSE_DESTROY:
			case FUSE_FORGET:
			case FUSE_BATCH_FORGET:
				continue;
			}
			r = fuse_call(opcode, nodes[i], arguments, sizeof(arguments), NULL, 0);
			expect(r < 0, "a node that was never given", nodes[i]);
		}
	}
	/* Each id was of some file once. */
	if (fuse_walk("volumes/rw/file")) {
		const struct fuse_forget_in forget = {.nlookup = 1};
		uint64_t node = fuse_walk("volumes/rw/directory");

		fuse_call(FUSE_FORGET, node, &forget, sizeof(forget), NULL, 0);
		expect(fuse_call_name(FUSE_LOOKUP, node, NULL, 0, "inner") == -ESTALE,
			"a forgotten node", node);
	}
}

void case_forget_more(void)
{
	static const uint64_t counts[] = {2, 0xffffffff, 0x8000000000000000, UINT64_MAX};

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(counts); i++) {
		const struct fuse_forget_in forget = {.nlookup = counts[i]};
		uint64_t node = fuse_walk("volumes/rw/file");

		fuse_call(FUSE_FORGET, node, &forget, sizeof(forget), NULL, 0);
		fuse_call(FUSE_FORGET, node, &forget, sizeof(forget), NULL, 0);
		fuse_call(FUSE_FORGET, FUSE_ROOT_ID, &forget, sizeof(forget), NULL, 0);
		fuse_call(FUSE_FORGET, 0, &forget, sizeof(forget), NULL, 0);
		expect(fuse_walk("volumes/rw/file") != 0, "a tree that was forgotten", counts[i]);
	}
}

void case_forget_batch(void)
{
	static const uint32_t counts[] = {
		0, 1, 2, 3, 100, 0x0fffffff, 0x10000000, 0x7fffffff, 0xffffffff};

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(counts); i++) {
		const struct fuse_batch_forget_in in = {.count = counts[i]};
		const struct fuse_forget_one ones[] = {
			{fuse_walk("volumes/rw/file"), 1}, {UINT64_MAX, UINT64_MAX}};

		fuse_call(FUSE_BATCH_FORGET, 0, &in, sizeof(in), ones, sizeof(ones));
		expect(fuse_walk("volumes/rw/file") != 0, "a batch", counts[i]);
	}
}

void case_handle_unknown(void)
{
	const struct fuse_release_in nothing = {0};
	uint64_t file, directory, fh, dh, guesses[8];

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/rw/file");
	directory = fuse_walk("volumes/rw/directory");
	expect(fuse_open(FUSE_OPEN, file, ACCESS_BOTH, &fh) == 0, "a file is not opened", file);
	expect(fuse_open(FUSE_OPENDIR, directory, 0, &dh) == 0, "a directory is not opened",
		directory);
	guesses[0] = dh; /* of another kind */
	guesses[1] = fh ^ 1ull << 32;
	guesses[2] = fh + (1ull << 32);
	guesses[3] = fh + 100;
	guesses[4] = UINT64_MAX;
	guesses[5] = 0x8000000000000000;
	guesses[6] = fh ^ 1ull << 63;
	guesses[7] = dh + (1ull << 32);
	for (unsigned int i = 0; i < ARRAY_COUNT(guesses); i++) {
		const struct fuse_read_in read = {.fh = guesses[i], .size = 64};
		const struct fuse_write_in write = {.fh = guesses[i], .size = 1};
		const struct fuse_fsync_in sync = {.fh = guesses[i]};

		expect_error(fuse_call(FUSE_READ, file, &read, sizeof(read), NULL, 0), "READ",
			guesses[i]);
		expect_error(fuse_call(FUSE_WRITE, file, &write, sizeof(write), "x", 1), "WRITE",
			guesses[i]);
		expect_error(fuse_call(FUSE_FSYNC, file, &sync, sizeof(sync), NULL, 0), "FSYNC",
			guesses[i]);
		if (i > 0)
			expect_error(
				fuse_call(FUSE_READDIR, directory, &read, sizeof(read), NULL, 0),
				"READDIR", guesses[i]);
	}
	for (int i = 0; i < 3; i++) {
		struct fuse_release_in release = nothing;

		release.fh = fh;
		fuse_call(FUSE_RELEASE, file, &release, sizeof(release), NULL, 0);
		release.fh = dh;
		fuse_call(FUSE_RELEASEDIR, directory, &release, sizeof(release), NULL, 0);
	}
	{
		const struct fuse_read_in read = {.fh = fh, .size = 64};

		expect_error(fuse_call(FUSE_READ, file, &read, sizeof(read), NULL, 0),
			"a closed handle", fh);
	}
}

/* ---- group 11 */

/* All operations that take a name: their number, bytes before it, and whether there are two. */
static const struct {
	uint32_t opcode;
	uint32_t before;
	bool two;
} named[] = {
	{FUSE_LOOKUP, 0, false},
	{FUSE_MKNOD, sizeof(struct fuse_mknod_in), false},
	{FUSE_MKDIR, sizeof(struct fuse_mkdir_in), false},
	{FUSE_UNLINK, 0, false},
	{FUSE_RMDIR, 0, false},
	{FUSE_SYMLINK, 0, true}, /* the second is the target */
	{FUSE_CREATE, sizeof(struct fuse_create_in), false},
	{FUSE_LINK, sizeof(struct fuse_link_in), false},
	{FUSE_RENAME, sizeof(struct fuse_rename_in), true},
	{FUSE_RENAME2, sizeof(struct fuse_rename2_in), true},
};

/* Sends each operation with one name, and "file" as the second. */
static void try_name(uint64_t node, uint64_t file, const char *name, size_t length)
{
	for (unsigned int i = 0; i < ARRAY_COUNT(named); i++) {
		union {
			uint8_t bytes[64];
			uint64_t id; /* of the new directory, or the file to link */
			struct fuse_mknod_in mknod;
			struct fuse_create_in create;
		} in = {0};
		uint8_t names[4400];
		size_t used = 0;

		if (named[i].opcode == FUSE_LINK)
			in.id = file;
		else if (named[i].opcode == FUSE_RENAME || named[i].opcode == FUSE_RENAME2)
			in.id = node;
		else if (named[i].opcode == FUSE_CREATE)
			in.create = (struct fuse_create_in){
				.flags = ACCESS_BOTH | FLAG_CREATE, .mode = 0100644};
		else if (named[i].opcode == FUSE_MKNOD)
			in.mknod.mode = MODE_FILE | 0644;
		for (size_t j = 0; j < length; j++)
			names[used++] = (uint8_t)name[j];
		for (size_t j = 0; named[i].two && j < sizeof("file"); j++)
			names[used++] = (uint8_t) "file"[j];
		expect_error(
			fuse_call(named[i].opcode, node, in.bytes, named[i].before, names, used),
			"a bad name", (uint64_t)named[i].opcode << 32 | length);
	}
}

void case_names_bad(void)
{
	static const struct {
		const char *text;
		size_t length; /* with its end */
	} names[] = {{"", 1}, {".", 2}, {"..", 3}, {"/", 2}, {"a/b", 4}, {"/etc", 5},
		{"../../../etc", 13}, {"file/", 6}, {"./file", 7}, {"new\0er", 7}, {"\0file", 6}};
	static char many[4200];

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(volumes); i++) {
		uint64_t node = fuse_walk(volumes[i]), file;

		file = fuse_call_name(FUSE_LOOKUP, node, NULL, 0, "file") == 0
			? ((const struct fuse_entry_out *)(const void *)fuse_reply)->nodeid
			: 0;
		expect(node && file, "the tree lacks a volume", i);
		for (unsigned int j = 0; j < ARRAY_COUNT(names); j++)
			try_name(node, file, names[j].text, names[j].length);
		for (size_t j = 0; j < sizeof(many) - 1; j++)
			many[j] = 'n';
		try_name(node, file, many, sizeof(many)); /* its end is zero */
		many[256] = '\0';
		try_name(node, file, many, 257);
		many[256] = 'n';
	}
}

void case_names_unended(void)
{
	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(named); i++) {
		uint8_t bytes[72] = {0};

		for (size_t length = 0; length < 4; length++) {
			for (size_t j = 0; j < length; j++)
				bytes[named[i].before + j] = 'x';
			expect_error(fuse_call(named[i].opcode, FUSE_ROOT_ID, bytes,
					     named[i].before + length, NULL, 0),
				"a name without an end", named[i].opcode);
		}
	}
}

/* ---- group 12 */

void case_links_followed(void)
{
	static const char *const links[] = {"to-root", "to-parent", "to-magic", "to-file"};
	static const char *const beyond[] = {"etc", "self", "proc", "apps", "canary", "file"};

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(volumes) * ARRAY_COUNT(links); i++) {
		uint64_t volume = fuse_walk(volumes[i / ARRAY_COUNT(links)]), node, handle;
		const struct fuse_setattr_in truncate = {.valid = FATTR_SIZE};
		const char *link = links[i % ARRAY_COUNT(links)];
		const struct fuse_entry_out *entry = (const void *)fuse_reply;

		expect(fuse_call_name(FUSE_LOOKUP, volume, NULL, 0, link) == 0,
			"a link is not there", i);
		expect((entry->attr.mode & 0170000) == 0120000, "a link is followed",
			entry->attr.mode);
		node = entry->nodeid;
		for (unsigned int j = 0; j < ARRAY_COUNT(beyond); j++)
			expect(fuse_call_name(FUSE_LOOKUP, node, NULL, 0, beyond[j]) < 0,
				"a name behind a link", j);
		expect_error(fuse_open(FUSE_OPEN, node, 0, &handle), "OPEN of a link", i);
		expect_error(
			fuse_open(FUSE_OPEN, node, ACCESS_WRITE, &handle), "OPEN of a link", i);
		expect_error(fuse_open(FUSE_OPENDIR, node, 0, &handle), "OPENDIR of a link", i);
		expect_error(fuse_call(FUSE_SETATTR, node, &truncate, sizeof(truncate), NULL, 0),
			"truncation of a link", i);
		expect(fuse_call(FUSE_READLINK, node, NULL, 0, NULL, 0) == 0, "READLINK", i);
	}
}

void case_links_made(void)
{
	static const char *const targets[] = {"/", "../../../..", "/proc/self/root",
		"/proc/self/fd/3", "/proc/1/root/etc/passwd", "/dev/kvm", "to-new", "/etc/passwd"};
	uint64_t volume;

	if (!fuse_begin())
		return;
	volume = fuse_walk("volumes/rw");
	for (unsigned int i = 0; i < ARRAY_COUNT(targets); i++) {
		const struct fuse_create_in create = {
			.flags = ACCESS_BOTH | FLAG_CREATE, .mode = 0644};
		uint64_t node, handle;

		fuse_call_name(FUSE_UNLINK, volume, NULL, 0, "to-new");
		expect(fuse_call(FUSE_SYMLINK, volume, "to-new", 7, targets[i],
			       text_length(targets[i]) + 1) == 0,
			"a link is not made", i);
		node = ((const struct fuse_entry_out *)(const void *)fuse_reply)->nodeid;
		expect_error(
			fuse_call_name(FUSE_LOOKUP, node, NULL, 0, "etc"), "behind a new link", i);
		expect_error(fuse_open(FUSE_OPEN, node, 0, &handle), "OPEN of a new link", i);
		expect_error(fuse_call(FUSE_CREATE, volume, &create, sizeof(create), "to-new", 7),
			"CREATE through a link", i);
		expect_error(fuse_call_name(FUSE_MKDIR, node, &create, sizeof(struct fuse_mkdir_in),
				     "new"),
			"MKDIR behind a link", i);
	}
	fuse_call_name(FUSE_UNLINK, volume, NULL, 0, "to-new");
}

void case_links_across(void)
{
	uint64_t rw, ro, file;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/ro/file");
	ro = fuse_walk("volumes/ro");
	rw = fuse_walk("volumes/rw");
	{
		const struct fuse_link_in link = {.oldnodeid = file};
		const struct fuse_rename_in out = {.newdir = rw}, in = {.newdir = ro};
		const struct fuse_rename2_in exchange = {.newdir = rw, .flags = RENAME_EXCHANGE},
					     whiteout = {.newdir = rw, .flags = RENAME_WHITEOUT},
					     unknown = {.newdir = rw, .flags = 0xffffffff};

		expect_error(
			fuse_call_name(FUSE_LINK, rw, &link, sizeof(link), "stolen"), "LINK", 0);
		expect_error(fuse_call(FUSE_RENAME, ro, &out, sizeof(out), "file\0stolen", 12),
			"out", 0);
		expect_error(
			fuse_call(FUSE_RENAME, rw, &in, sizeof(in), "file\0brought", 13), "in", 0);
		expect_error(
			fuse_call(FUSE_RENAME2, ro, &exchange, sizeof(exchange), "file\0file", 10),
			"exchange", 0);
		expect_error(
			fuse_call(FUSE_RENAME2, rw, &whiteout, sizeof(whiteout), "file\0other", 11),
			"whiteout", 0);
		expect_error(
			fuse_call(FUSE_RENAME2, rw, &unknown, sizeof(unknown), "file\0other", 11),
			"unknown flags", 0);
	}
	/* The mount points themselves. */
	{
		const struct fuse_rename_in in = {.newdir = rw};
		uint64_t top = fuse_walk("volumes");

		fuse_call(FUSE_RENAME, top, &in, sizeof(in), "ro\0stolen", 10);
		fuse_call(FUSE_RENAME, FUSE_ROOT_ID, &in, sizeof(in), "volumes\0stolen", 15);
		fuse_call_name(FUSE_RMDIR, top, NULL, 0, "ro");
		expect(fuse_walk("volumes/ro/file") != 0, "a volume was moved", 0);
	}
}

/* ---- group 13 */

void case_special_files(void)
{
	static const uint32_t modes[] = {MODE_FIFO | 0666, MODE_SOCKET | 0666};
	uint64_t volume;

	if (!fuse_begin())
		return;
	volume = fuse_walk("volumes/rw");
	for (unsigned int i = 0; i < ARRAY_COUNT(modes); i++) {
		const struct fuse_mknod_in in = {.mode = modes[i]};
		uint64_t node, handle;

		fuse_call_name(FUSE_UNLINK, volume, NULL, 0, "special");
		if (fuse_call_name(FUSE_MKNOD, volume, &in, sizeof(in), "special") != 0)
			continue;
		node = ((const struct fuse_entry_out *)(const void *)fuse_reply)->nodeid;
		for (uint32_t flags = 0; flags <= ACCESS_BOTH; flags++)
			expect_error(fuse_open(FUSE_OPEN, node, flags, &handle), "OPEN", modes[i]);
		expect_error(fuse_open(FUSE_OPENDIR, node, 0, &handle), "OPENDIR", modes[i]);
		expect_error(
			fuse_call_name(FUSE_LOOKUP, node, NULL, 0, "x"), "LOOKUP below", modes[i]);
	}
	fuse_call_name(FUSE_UNLINK, volume, NULL, 0, "special");
}

void case_device_nodes(void)
{
	static const uint32_t modes[] = {
		MODE_CHARACTER | 0666, MODE_BLOCK | 0666, 0170000, 0, 0xffffffff};
	static const uint32_t devices[] = {
		0, 0x0103 /* null */, 0x0a00 | 232 /* kvm */, 0x0800, UINT32_MAX};

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < ARRAY_COUNT(modes) * ARRAY_COUNT(devices); i++) {
		const struct fuse_mknod_in in = {.mode = modes[i % ARRAY_COUNT(modes)],
			.rdev = devices[i / ARRAY_COUNT(modes)]};
		uint64_t handle;
		int r = fuse_call_name(
			FUSE_MKNOD, fuse_walk("volumes/rw"), &in, sizeof(in), "device");

		if (in.mode != 0) /* which is a regular file */
			expect_error(r, "a device in a volume", in.mode);
		if (r == 0 && in.mode == 0)
			fuse_open(FUSE_OPEN,
				((const struct fuse_entry_out *)(const void *)fuse_reply)->nodeid,
				0, &handle);
		fuse_call_name(FUSE_UNLINK, fuse_walk("volumes/rw"), NULL, 0, "device");
	}
}

void case_open_flags(void)
{
	static const uint32_t flags[] = {FLAG_TMPFILE | ACCESS_BOTH, FLAG_PATH, FLAG_DIRECT,
		FLAG_EXCLUSIVE, FLAG_CREATE, FLAG_APPEND | ACCESS_BOTH, 3, 0xffffffff, 0x80000000,
		0x00200000};
	uint64_t file, link, volume;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/rw/file");
	link = fuse_walk("volumes/rw/to-file");
	volume = fuse_walk("volumes/rw");
	for (unsigned int i = 0; i < ARRAY_COUNT(flags); i++) {
		const struct fuse_create_in create = {
			.flags = flags[i], .mode = 0777, .umask = 0xffffffff};
		uint64_t handle;

		fuse_open(FUSE_OPEN, file, flags[i] & ~FLAG_TRUNCATE, &handle);
		fuse_open(FUSE_OPENDIR, volume, flags[i], &handle);
		expect_error(fuse_open(FUSE_OPEN, link, flags[i], &handle), "a link", flags[i]);
		expect_error(
			fuse_open(FUSE_OPENDIR, file, flags[i], &handle), "no directory", flags[i]);
		expect_error(fuse_open(FUSE_OPEN, volume, flags[i], &handle), "no file", flags[i]);
		fuse_call(FUSE_CREATE, volume, &create, sizeof(create), "to-root", 8);
		fuse_call(FUSE_CREATE, volume, &create, sizeof(create), "created", 8);
		fuse_call_name(FUSE_UNLINK, volume, NULL, 0, "created");
		fuse_call(FUSE_TMPFILE, volume, &create, sizeof(create), "t", 2);
	}
}

void case_read_only(void)
{
	static const char *const xattr = "user.x";
	uint64_t volume, file, directory, inner, handle, source;

	if (!fuse_begin())
		return;
	volume = fuse_walk("volumes/ro");
	file = fuse_walk("volumes/ro/file");
	directory = fuse_walk("volumes/ro/directory");
	inner = fuse_walk("volumes/ro/directory/inner");
	expect(volume && file && directory && inner, "the tree lacks what is read-only", 0);
	for (uint32_t flags = ACCESS_WRITE; flags <= ACCESS_BOTH; flags++) {
		expect_error(fuse_open(FUSE_OPEN, file, flags, &handle), "OPEN to write", flags);
		expect_error(fuse_open(FUSE_OPEN, file, flags | FLAG_TRUNCATE, &handle),
			"OPEN to truncate", flags);
	}
	expect_error(fuse_open(FUSE_OPEN, file, FLAG_TRUNCATE, &handle), "OPEN to truncate", 0);
	expect(fuse_open(FUSE_OPEN, file, 0, &handle) == 0, "OPEN to read", 0);
	{
		const struct fuse_write_in write = {.fh = handle, .size = 1};
		const struct fuse_fallocate_in allocate = {.fh = handle, .length = 100};
		const struct fuse_setxattr_in set = {.size = 1};
		const struct fuse_create_in create = {
			.flags = ACCESS_BOTH | FLAG_CREATE, .mode = 0644};
		const struct fuse_mknod_in node = {.mode = MODE_FILE | 0644};
		const struct fuse_mkdir_in make = {.mode = 0755};
		const struct fuse_link_in link = {.oldnodeid = file};
		const struct fuse_rename2_in move = {.newdir = volume};

		expect_error(
			fuse_call(FUSE_WRITE, file, &write, sizeof(write), "x", 1), "WRITE", 0);
		expect_error(fuse_call(FUSE_FALLOCATE, file, &allocate, sizeof(allocate), NULL, 0),
			"FALLOCATE", 0);
		expect_error(fuse_call(FUSE_SETXATTR, file, &set, FUSE_COMPAT_SETXATTR_IN_SIZE,
				     "user.x\0x", 8),
			"SETXATTR", 0);
		expect_error(
			fuse_call_name(FUSE_REMOVEXATTR, file, NULL, 0, xattr), "REMOVEXATTR", 0);
		expect_error(fuse_call_name(FUSE_CREATE, volume, &create, sizeof(create), "new"),
			"CREATE", 0);
		expect_error(fuse_call_name(FUSE_CREATE, volume, &create, sizeof(create), "file"),
			"CREATE of what is there", 0);
		expect_error(fuse_call_name(FUSE_TMPFILE, volume, &create, sizeof(create), "new"),
			"TMPFILE", 0);
		expect_error(
			fuse_call_name(FUSE_MKNOD, volume, &node, sizeof(node), "new"), "MKNOD", 0);
		expect_error(
			fuse_call_name(FUSE_MKDIR, volume, &make, sizeof(make), "new"), "MKDIR", 0);
		expect_error(fuse_call(FUSE_SYMLINK, volume, "new\0/", 6, NULL, 0), "SYMLINK", 0);
		expect_error(
			fuse_call_name(FUSE_LINK, volume, &link, sizeof(link), "new"), "LINK", 0);
		expect_error(fuse_call_name(FUSE_UNLINK, volume, NULL, 0, "file"), "UNLINK", 0);
		expect_error(fuse_call_name(FUSE_UNLINK, directory, NULL, 0, "inner"),
			"UNLINK below", 0);
		expect_error(fuse_call_name(FUSE_RMDIR, volume, NULL, 0, "directory"), "RMDIR", 0);
		expect_error(
			fuse_call(FUSE_RENAME2, volume, &move, sizeof(move), "file\0moved", 11),
			"RENAME2", 0);
		expect_error(fuse_call(FUSE_RENAME, volume, &move, sizeof(struct fuse_rename_in),
				     "file\0moved", 11),
			"RENAME", 0);
	}
	for (uint32_t bit = 1; bit; bit <<= 1) {
		const struct fuse_setattr_in set = {
			.valid = bit, .mode = 0777, .uid = 1, .gid = 1, .size = 1, .mtime = 1};

		/* Alone, some say nothing to change. */
		if (bit &
			(FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | FATTR_ATIME |
				FATTR_MTIME))
			expect_error(fuse_call(FUSE_SETATTR, file, &set, sizeof(set), NULL, 0),
				"SETATTR", bit);
		else
			fuse_call(FUSE_SETATTR, file, &set, sizeof(set), NULL, 0);
	}
	source = fuse_walk("volumes/rw/file");
	{
		struct fuse_copy_file_range_in copy = {
			.nodeid_out = file, .fh_out = handle, .len = 4};

		expect(fuse_open(FUSE_OPEN, source, ACCESS_BOTH, &copy.fh_in) == 0, "OPEN", 0);
		expect_error(fuse_call(FUSE_COPY_FILE_RANGE, source, &copy, sizeof(copy), NULL, 0),
			"COPY_FILE_RANGE", 0);
	}
}

/* ---- group 14 */

static const uint64_t numbers[] = {0, 1, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff,
	0x100000000, 0x7fffffffffffefff, 0x7ffffffffffffff0, 0x7fffffffffffffff, 0x8000000000000000,
	0xfffffffffffff000, UINT64_MAX};

/* Files of the volume stay small: the guest's own limit of them is not what is tested. */
void case_data_extremes(void)
{
	uint64_t file, handle;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/rw/file");
	expect(fuse_open(FUSE_OPEN, file, ACCESS_BOTH, &handle) == 0, "OPEN", 0);
	for (unsigned int i = 0; i < ARRAY_COUNT(numbers) * ARRAY_COUNT(numbers); i++) {
		uint64_t a = numbers[i % ARRAY_COUNT(numbers)],
			 b = numbers[i / ARRAY_COUNT(numbers)];
		const struct fuse_read_in read = {
			.fh = handle, .offset = a, .size = (uint32_t)b, .flags = (uint32_t)a};
		const struct fuse_lseek_in seek = {
			.fh = handle, .offset = a, .whence = (uint32_t)b};
		const struct fuse_copy_file_range_in copy = {.fh_in = handle,
			.off_in = a,
			.nodeid_out = file,
			.fh_out = handle,
			.off_out = b,
			.len = b > 4096 && a <= 4096 ? 1 : b,
			.flags = a};
		const struct fuse_fsync_in sync = {.fh = handle, .fsync_flags = (uint32_t)a};

		fuse_call(FUSE_READ, file, &read, sizeof(read), NULL, 0);
		fuse_call(FUSE_LSEEK, file, &seek, sizeof(seek), NULL, 0);
		fuse_call(FUSE_COPY_FILE_RANGE, file, &copy, sizeof(copy), NULL, 0);
		if (i < ARRAY_COUNT(numbers))
			fuse_call(FUSE_FSYNC, file, &sync, sizeof(sync), NULL, 0);
	}
	for (uint32_t mode = 0; mode < 0x80; mode++) {
		const struct fuse_fallocate_in in = {.fh = handle,
			.offset = 0,
			.length = 4096,
			.mode = mode == 0x7f ? UINT32_MAX : mode};
		const struct fuse_fallocate_in far = {.fh = handle,
			.offset = numbers[mode % ARRAY_COUNT(numbers)],
			.length = 0x7fffffffffffffff,
			.mode = mode};

		fuse_call(FUSE_FALLOCATE, file, &in, sizeof(in), NULL, 0);
		expect_error(fuse_call(FUSE_FALLOCATE, file, &far, sizeof(far), NULL, 0),
			"FALLOCATE", mode);
	}
	expect_running(device_find(ID_FS), "numbers break the file server", 0);
}

void case_write_lies(void)
{
	static const uint32_t sizes[] = {
		0, 1, 3, 5, 4096, 0x100000, 0x100001, 0x7fffffff, 0xffffffff};
	uint64_t file, handle;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/rw/file");
	expect(fuse_open(FUSE_OPEN, file, ACCESS_BOTH, &handle) == 0, "OPEN", 0);
	for (unsigned int i = 0; i < ARRAY_COUNT(sizes); i++) {
		for (unsigned int j = 6; j < ARRAY_COUNT(numbers); j++) {
			const struct fuse_write_in in = {.fh = handle,
				.offset = numbers[j],
				.size = sizes[i],
				.write_flags = UINT32_MAX,
				.flags = UINT32_MAX};
			const struct fuse_write_in here = {.fh = handle, .size = sizes[i]};

			if (numbers[j] > 0x7ffffffffffff000 || sizes[i] != 4)
				fuse_call(FUSE_WRITE, file, sizes[i] > 4 || j > 7 ? &in : &here,
					sizeof(in), "four", 4);
			if (sizes[i] > 4)
				expect_error(
					fuse_call(FUSE_WRITE, file, &here, sizeof(here), "four", 4),
					"a WRITE of more than it has", sizes[i]);
		}
	}
	{
		const struct fuse_setattr_in small = {.valid = FATTR_SIZE, .size = 5};

		fuse_call(FUSE_SETATTR, file, &small, sizeof(small), NULL, 0);
	}
}

void case_directory_extremes(void)
{
	static const uint32_t sizes[] = {
		0, 1, 23, 24, 32, 151, 152, 4096, 0x10000, 0x7fffffff, 0xffffffff};
	uint64_t directory, handle;

	if (!fuse_begin())
		return;
	directory = fuse_walk("volumes/rw");
	expect(fuse_open(FUSE_OPENDIR, directory, 0, &handle) == 0, "OPENDIR", 0);
	for (unsigned int i = 0; i < ARRAY_COUNT(sizes); i++) {
		for (unsigned int j = 0; j < ARRAY_COUNT(numbers); j++) {
			const struct fuse_read_in in = {
				.fh = handle, .offset = numbers[j], .size = sizes[i]};

			fuse_call(FUSE_READDIR, directory, &in, sizeof(in), NULL, 0);
			expect(fuse_reply_length <= sizes[i], "READDIR gives more than was asked",
				sizes[i]);
			fuse_call(FUSE_READDIRPLUS, directory, &in, sizeof(in), NULL, 0);
			expect(fuse_reply_length <= sizes[i], "READDIRPLUS gives more", sizes[i]);
		}
	}
}

void case_attribute_extremes(void)
{
	uint64_t file;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/rw/file");
	for (uint32_t bit = 0; bit < 33; bit++) {
		const struct fuse_setattr_in in = {
			.valid = bit == 32 ? UINT32_MAX & ~(uint32_t)FATTR_SIZE : 1u << bit,
			.fh = UINT64_MAX,
			.size = UINT64_MAX,
			.lock_owner = UINT64_MAX,
			.atime = UINT64_MAX,
			.mtime = 1ull << 62,
			.ctime = UINT64_MAX,
			.atimensec = UINT32_MAX,
			.mtimensec = UINT32_MAX,
			.mode = UINT32_MAX,
			.uid = UINT32_MAX,
			.gid = UINT32_MAX,
		};
		const uint32_t statx[6] = {UINT32_MAX, 0, 0, 0, 1u << bit % 32, UINT32_MAX};

		fuse_call(FUSE_SETATTR, file, &in, sizeof(in), NULL, 0);
		fuse_call(FUSE_GETATTR, file, &in, sizeof(struct fuse_getattr_in), NULL, 0);
		fuse_call(OPCODE_STATX, file, statx, sizeof(statx), NULL, 0);
		expect(fuse_call_name(FUSE_LOOKUP, fuse_walk("volumes/rw"), NULL, 0, "file") == 0,
			"a file is lost by its attributes", bit);
	}
	{
		const struct fuse_setattr_in back = {.valid = FATTR_MODE, .mode = 0644};

		fuse_call(FUSE_SETATTR, file, &back, sizeof(back), NULL, 0);
	}
}

void case_xattr_names(void)
{
	static const char *const names[] = {"security.selinux", "security.ima", "security.evm",
		"security.apparmor", "system.posix_acl_access", "system.posix_acl_default",
		"trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque",
		"system.", "", "nothing", "user", "TRUSTED.x", "system.nfs4_acl"};
	static const uint32_t sizes[] = {1, 2, 0x10001, 0x7fffffff, 0xffffffff};
	uint64_t file;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/rw/file");
	for (unsigned int i = 0; i < ARRAY_COUNT(names); i++) {
		struct {
			char name[32], value[4];
		} text = {0};
		const struct fuse_setxattr_in set = {.size = 2};
		const struct fuse_getxattr_in get = {.size = 256};
		size_t length = text_length(names[i]);

		for (size_t j = 0; j < length; j++)
			text.name[j] = names[i][j];
		text.name[length + 1] = 'y';
		expect_error(fuse_call(FUSE_SETXATTR, file, &set, FUSE_COMPAT_SETXATTR_IN_SIZE,
				     &text, length + 3),
			"an attribute of the host's is set", i);
		expect_error(fuse_call_name(FUSE_GETXATTR, file, &get, sizeof(get), names[i]),
			"an attribute of the host's is read", i);
		expect_error(fuse_call_name(FUSE_REMOVEXATTR, file, NULL, 0, names[i]),
			"an attribute of the host's is removed", i);
	}
	for (unsigned int i = 0; i < ARRAY_COUNT(sizes); i++) {
		const struct fuse_setxattr_in set = {.size = sizes[i], .flags = UINT32_MAX};
		const struct fuse_getxattr_in get = {.size = sizes[i]};

		expect_error(fuse_call(FUSE_SETXATTR, file, &set, FUSE_COMPAT_SETXATTR_IN_SIZE,
				     "user.x\0", 7),
			"SETXATTR without its value", sizes[i]);
		fuse_call_name(FUSE_GETXATTR, file, &get, sizeof(get), "user.none");
		fuse_call(FUSE_LISTXATTR, file, &get, sizeof(get), NULL, 0);
	}
}

/* ---- group 15 */

/* Each name is looked up and never forgotten; in process the bound is small and is met. */
void case_inodes_many(void)
{
	static const struct fuse_create_in create = {
		.flags = ACCESS_BOTH | FLAG_CREATE, .mode = 0644};
	uint64_t directory;

	if (!fuse_begin())
		return;
	directory = fuse_walk("volumes/rw/directory");
	for (unsigned int i = 0; i < 500; i++) {
		char name[] = "many-000";

		name[5] = (char)('0' + i / 100);
		name[6] = (char)('0' + i / 10 % 10);
		name[7] = (char)('0' + i % 10);
		fuse_call_name(FUSE_CREATE, directory, &create, sizeof(create), name);
		fuse_call_name(FUSE_LOOKUP, directory, NULL, 0, name);
	}
	/* The session's end gives them all back. */
	if (!fuse_begin())
		return;
	directory = fuse_walk("volumes/rw/directory");
	for (unsigned int i = 0; i < 500; i++) {
		char name[] = "many-000";

		name[5] = (char)('0' + i / 100);
		name[6] = (char)('0' + i / 10 % 10);
		name[7] = (char)('0' + i % 10);
		fuse_call_name(FUSE_UNLINK, directory, NULL, 0, name);
	}
}

void case_handles_many(void)
{
	uint64_t file, directory, handle;
	unsigned int opened = 0;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/ro/file");
	directory = fuse_walk("volumes/ro/directory");
	for (unsigned int i = 0; i < 700; i++) {
		opened += fuse_open(FUSE_OPEN, file, 0, &handle) == 0;
		fuse_open(FUSE_OPENDIR, directory, 0, &handle);
	}
	expect(opened > 0, "no file can be opened", opened);
}

void case_locks_unknown(void)
{
	const struct fuse_lk_in lock = {.lk = {.end = UINT64_MAX, .type = 1}};
	const struct fuse_interrupt_in interrupt = {.unique = 1};

	if (!fuse_begin())
		return;
	for (unsigned int i = 0; i < 200; i++) {
		static const uint32_t opcodes[] = {FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW};

		expect(fuse_call(opcodes[i % 3], FUSE_ROOT_ID, &lock, sizeof(lock), NULL, 0) ==
				-ENOSYS,
			"a lock", i);
		expect(fuse_call(FUSE_INTERRUPT, 0, &interrupt, sizeof(interrupt), NULL, 0) < 0,
			"an interrupt", i);
	}
}

/* Reads that all go to the host's queue at once, of which nobody waits for the answer. */
void case_requests_many(void)
{
	unsigned int slot = device_find(ID_FS);
	uint64_t node, handle;
	struct ring *ring = ring_of(slot, FS_REQUESTS);
	struct {
		struct fuse_in_header header;
		struct fuse_read_in read;
	} in = {.header = {.len = sizeof(in), .opcode = FUSE_READ}, .read = {.size = 64}};

	for (unsigned int turn = 0; turn < 10; turn++) {
		if (!fuse_begin())
			return;
		node = fuse_walk("volumes/rw/file");
		fuse_open(FUSE_OPEN, node, ACCESS_BOTH, &handle);
		in.header.nodeid = node;
		in.read.fh = handle;
		guest_store(DATA, &in, sizeof(in));
		ring_describe(ring, 0, DATA, sizeof(in), NEXT, 1);
		ring_describe(ring, 1, DATA + 0x2000, 256, WRITE, 0);
		for (unsigned int i = 0; i < 12; i++) {
			for (unsigned int j = 0; j < RING_SIZE; j++)
				ring_offer(ring, 0);
			ring_notify(ring);
			/* Faster than they are answered is against the rules. */
			if (device_is_broken(slot))
				break;
		}
		device_reset(slot);
	}
}

/*
 * One chain, again and again, before it was answered. Where reads are limited (resource/block-iops) the answers
 * are held back, and there may not be more of them than a ring has chains.
 */
void case_head_flood(void)
{
	unsigned int slot = device_find(ID_FS);
	struct ring *ring = ring_of(slot, FS_REQUESTS);
	struct {
		struct fuse_in_header header;
		struct fuse_read_in read;
	} in = {.header = {.len = sizeof(in), .opcode = FUSE_READ}, .read = {.size = 1}};

	if (!fuse_begin())
		return;
	in.header.nodeid = fuse_walk("volumes/rw/file");
	fuse_open(FUSE_OPEN, in.header.nodeid, ACCESS_BOTH, &in.read.fh);
	guest_store(DATA, &in, sizeof(in));
	ring_describe(ring, 0, DATA, sizeof(in), NEXT, 1);
	ring_describe(ring, 1, DATA + 0x2000, 256, WRITE, 0);
	for (unsigned int i = 0; i < 4000 && !device_is_broken(slot); i++) {
		ring_offer(ring, 0);
		ring_notify(ring);
	}
	expect(device_is_broken(slot) || ring_wait(ring, ring->next_available),
		"answers are kept without bound", ring_used(ring));
}

/* ---- group 16 */

static const struct fuse_setupmapping_in good_mapping = {
	.fh = UINT64_MAX, .len = 2ull << 20, .flags = 2};

static uint64_t window_size(void)
{
	unsigned int slot = device_find(ID_FS);

	device_set(slot, VIRTIO_MMIO_SHM_SEL, 0);
	return device_register(slot, VIRTIO_MMIO_SHM_LEN_LOW) |
		(uint64_t)device_register(slot, VIRTIO_MMIO_SHM_LEN_HIGH) << 32;
}

static uint64_t window_start(void)
{
	unsigned int slot = device_find(ID_FS);

	device_set(slot, VIRTIO_MMIO_SHM_SEL, 0);
	return device_register(slot, VIRTIO_MMIO_SHM_BASE_LOW) |
		(uint64_t)device_register(slot, VIRTIO_MMIO_SHM_BASE_HIGH) << 32;
}

void case_window_ranges(void)
{
	static const uint64_t lengths[] = {0, 1, 4096, 0x1fffff, 0x200001, 1ull << 40, UINT64_MAX,
		0x8000000000000000, 0xffffffffffe00000};
	uint64_t file, size;

	if (!fuse_begin())
		return;
	size = window_size();
	expect(size != UINT64_MAX && size > 0, "there is no window", size);
	file = fuse_walk("volumes/rw/file");
	for (unsigned int i = 0; i < ARRAY_COUNT(lengths); i++) {
		struct fuse_setupmapping_in in = good_mapping;
		struct fuse_removemapping_in remove = {.count = 1};
		struct fuse_removemapping_one one = {.len = lengths[i]};

		in.len = lengths[i];
		expect_error(fuse_call(FUSE_SETUPMAPPING, file, &in, sizeof(in), NULL, 0), "length",
			in.len);
		in = good_mapping;
		in.moffset = lengths[i] ? lengths[i] : size;
		expect_error(fuse_call(FUSE_SETUPMAPPING, file, &in, sizeof(in), NULL, 0),
			"moffset", in.moffset);
		in = good_mapping;
		in.foffset = lengths[i] ? lengths[i] : 1;
		expect_error(fuse_call(FUSE_SETUPMAPPING, file, &in, sizeof(in), NULL, 0),
			"foffset", in.foffset);
		in = good_mapping;
		in.flags = lengths[i] << 2 | 1ull << 2;
		expect_error(fuse_call(FUSE_SETUPMAPPING, file, &in, sizeof(in), NULL, 0), "flags",
			in.flags);
		fuse_call(FUSE_REMOVEMAPPING, file, &remove, sizeof(remove), &one, sizeof(one));
		one = (struct fuse_removemapping_one){.moffset = lengths[i], .len = 2ull << 20};
		fuse_call(FUSE_REMOVEMAPPING, file, &remove, sizeof(remove), &one, sizeof(one));
		remove.count = (uint32_t)lengths[i];
		fuse_call(FUSE_REMOVEMAPPING, file, &remove, sizeof(remove), &one, sizeof(one));
	}
	expect_running(device_find(ID_FS), "ranges break the file server", 0);
}

void case_window_read_only(void)
{
	struct fuse_setupmapping_in in = good_mapping;
	uint64_t file;

	if (!fuse_begin())
		return;
	file = fuse_walk("volumes/ro/file");
	in.flags = FUSE_SETUPMAPPING_FLAG_WRITE;
	expect_error(
		fuse_call(FUSE_SETUPMAPPING, file, &in, sizeof(in), NULL, 0), "for writing", 0);
	in.flags |= FUSE_SETUPMAPPING_FLAG_READ;
	expect_error(fuse_call(FUSE_SETUPMAPPING, file, &in, sizeof(in), NULL, 0), "for both", 0);
	in.flags = FUSE_SETUPMAPPING_FLAG_READ;
	for (unsigned int i = 0; i < ARRAY_COUNT(volumes); i++)
		fuse_call(FUSE_SETUPMAPPING, fuse_walk(volumes[i]), &in, sizeof(in), NULL, 0);
	expect_error(fuse_call(FUSE_SETUPMAPPING, fuse_walk("volumes/ro/to-magic"), &in, sizeof(in),
			     NULL, 0),
		"a link in the window", 0);
}

/* Its pages are no memory of ours: nothing that is decided on may be there. */
void case_window_as_buffer(void)
{
	const struct {
		struct fuse_in_header header;
		struct fuse_setattr_in in;
	} cut = {.header = {.len = sizeof(cut), .opcode = FUSE_SETATTR, .nodeid = 1},
		.in = {.valid = FATTR_UID | FATTR_GID}};
	const uint32_t known = sizeof(cut.header) + offsetof(struct fuse_setattr_in, fh);
	unsigned int slot = device_find(ID_FS);
	struct ring ring = ring_place(slot, FS_REQUESTS, RING_SIZE), *good;
	uint64_t start = window_start();

	expect(start != UINT64_MAX, "there is no window", start);
	ring.descriptors = start;
	device_negotiate(slot, FEATURE_VERSION_1);
	expect(!queue_set_up(&ring), "descriptors in the window", start);
	ring = ring_place(slot, FS_REQUESTS, RING_SIZE);
	ring.used = start;
	expect(!queue_set_up(&ring), "a used ring in the window", start);
	good = ring_of(slot, FS_REQUESTS);
	for (unsigned int writable = 0; writable < 3; writable++) {
		const struct fuse_in_header in = {
			.len = sizeof(in), .opcode = FUSE_STATFS, .nodeid = 1};

		if (!fuse_begin())
			return;
		guest_store(DATA, &in, sizeof(in));
		ring_describe(good, 0, writable == 1 ? DATA : start, sizeof(in), NEXT, 1);
		ring_describe(good, 1, writable == 0 ? DATA + 0x1000 : start, 256, WRITE, 0);
		ring_offer(good, 0);
		ring_notify(good);
		ring_wait(good, good->next_available);
	}
	/* An argument that goes on in the window is one that is cut off: nothing else is taken for the rest of it. */
	if (!fuse_begin())
		return;
	guest_store(DATA, &cut, sizeof(cut));
	ring_describe(good, 0, DATA, known, NEXT, 1);
	ring_describe(good, 1, start, sizeof(cut) - known, NEXT, 2);
	ring_describe(good, 2, DATA + 0x1000, 256, WRITE, 0);
	ring_offer(good, 0);
	ring_notify(good);
	if (ring_wait(good, good->next_available)) {
		struct fuse_out_header out;

		guest_load(DATA + 0x1000, &out, sizeof(out));
		expect_error(out.error, "an argument that is cut off", 0);
	}
	/* No other device takes it for memory. */
	slot = device_find(ID_RNG);
	device_start(slot, 0);
	ring_describe(ring_of(slot, 0), 0, start, 64, WRITE, 0);
	ring_offer(ring_of(slot, 0), 0);
	ring_notify(ring_of(slot, 0));
	expect_broken(slot, "entropy for the window", start);
}
