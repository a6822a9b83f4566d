#include "support/oracle.h"

#include "base/checksum.h"
#include "coppice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct oracle *
new_oracle(void)
{
	struct snapshot_entry root = { .id = 1, .kind = COP_DIRECTORY, .mode = 0755 };

	return oracle_create(&root);
}

static int
create(struct oracle *oracle, const char *path, uint32_t kind)
{
	struct op op = { .type = OP_CREATE, .kind = kind, .seed = 5 };

	snprintf(op.path, sizeof op.path, "%s", path);
	return oracle_apply(oracle, &op, 100);
}

static int
on_path(struct oracle *oracle, enum op_type type, const char *path, uint64_t offset, uint64_t bytes,
	uint64_t seed)
{
	struct op op = { .type = type, .offset = offset, .bytes = bytes, .seed = seed };

	op.flags = type == OP_UNLINK ? COP_UNLINK_FILE : 0;
	snprintf(op.path, sizeof op.path, "%s", path);
	return oracle_apply(oracle, &op, 200);
}

static int
on_paths(struct oracle *oracle, enum op_type type, const char *path, const char *path2,
	uint32_t flags)
{
	struct op op = { .type = type, .flags = flags };

	snprintf(op.path, sizeof op.path, "%s", path);
	snprintf(op.path2, sizeof op.path2, "%s", path2);
	return oracle_apply(oracle, &op, 300);
}

static const struct snapshot_entry *
entry_of(struct oracle *oracle, const char *path)
{
	const struct snapshot *snapshot = oracle_snapshot(oracle);

	for (size_t i = 0; i < snapshot->count; i++)
		if (strcmp(snapshot->entries[i].path, path) == 0)
			return &snapshot->entries[i];
	return NULL;
}

static uint64_t
hash_of(const uint8_t block[COP_BLOCK_BYTES])
{
	return hash64(block, COP_BLOCK_BYTES, 0) | 1;
}

static void
content_is_what_was_written_with_zeros_around_it(void **state)
{
	struct oracle *oracle = new_oracle();
	uint8_t block[2 * COP_BLOCK_BYTES] = { 0 };
	const struct snapshot_entry *file;

	(void)state;
	assert_int_equal(create(oracle, "/f", COP_FILE), 0);
	assert_int_equal(on_path(oracle, OP_WRITE, "/f", 4000, 200, 9), 0);
	op_fill(9, 0, block + 4000, 200);
	file = entry_of(oracle, "/f");
	assert_int_equal(file->length, 4200);
	assert_int_equal(file->block_count, 2);
	assert_int_equal(file->blocks[0].hash, hash_of(block));
	assert_int_equal(file->blocks[1].hash, hash_of(block + COP_BLOCK_BYTES));
	assert_int_equal(file->modified_ns, 200);

	/* What was cut off is zeros when the file grows again. */
	assert_int_equal(on_path(oracle, OP_SET_LENGTH, "/f", 0, 4050, 0), 0);
	assert_int_equal(on_path(oracle, OP_SET_LENGTH, "/f", 0, 9000, 0), 0);
	memset(block + 4050, 0, sizeof block - 4050);
	file = entry_of(oracle, "/f");
	assert_int_equal(file->length, 9000);
	assert_int_equal(file->block_count, 1);
	assert_int_equal(file->blocks[0].hash, hash_of(block));

	/* A punch past the end touches nothing. */
	assert_int_equal(on_path(oracle, OP_PUNCH, "/f", 9100, 100, 0), 0);
	assert_int_equal(entry_of(oracle, "/f")->block_count, 1);

	assert_int_equal(on_path(oracle, OP_PUNCH, "/f", 0, 4096, 0), 0);
	assert_int_equal(entry_of(oracle, "/f")->block_count, 0);
	oracle_free(oracle);
}

static void
a_clone_has_the_content_and_nothing_else(void **state)
{
	struct op op = { .type = OP_CLONE, .path = "/f", .path2 = "/g" };
	struct oracle *oracle = new_oracle();
	const struct snapshot_entry *clone;
	uint64_t hash;
	uint32_t mode;

	(void)state;
	assert_int_equal(create(oracle, "/f", COP_FILE), 0);
	assert_int_equal(create(oracle, "/g", COP_FILE), 0);
	assert_int_equal(create(oracle, "/d", COP_DIRECTORY), 0);
	assert_int_equal(on_path(oracle, OP_WRITE, "/f", 4096, 5000, 4), 0);
	assert_int_equal(on_path(oracle, OP_WRITE, "/g", 0, 20000, 5), 0);
	hash = entry_of(oracle, "/f")->blocks[0].hash;
	mode = entry_of(oracle, "/g")->mode;
	assert_int_equal(oracle_apply(oracle, &op, 77), 0);
	clone = entry_of(oracle, "/g");
	assert_int_equal(clone->length, 9096);
	assert_int_equal(clone->block_count, 2);
	assert_int_equal(clone->blocks[0].hash, hash);
	assert_int_equal(clone->mode, mode);

	/* Each by itself from now on. */
	assert_int_equal(on_path(oracle, OP_WRITE, "/g", 4096, 10, 6), 0);
	assert_int_equal(entry_of(oracle, "/f")->blocks[0].hash, hash);
	assert_int_not_equal(entry_of(oracle, "/g")->blocks[0].hash, hash);

	snprintf(op.path2, sizeof op.path2, "/d");
	assert_int_equal(oracle_apply(oracle, &op, 78), COP_EISDIR);
	snprintf(op.path2, sizeof op.path2, "/none");
	assert_int_equal(oracle_apply(oracle, &op, 78), COP_ENOENT);
	oracle_free(oracle);
}

static void
a_copy_stays_as_it_was(void **state)
{
	struct oracle *oracle = new_oracle();
	struct oracle *copy;
	uint64_t hash;

	(void)state;
	assert_int_equal(create(oracle, "/f", COP_FILE), 0);
	assert_int_equal(on_path(oracle, OP_WRITE, "/f", 0, 100, 9), 0);
	hash = entry_of(oracle, "/f")->blocks[0].hash;
	copy = oracle_copy(oracle);
	assert_int_equal(on_path(oracle, OP_WRITE, "/f", 0, 100, 10), 0);
	assert_int_equal(on_paths(oracle, OP_RENAME, "/f", "/g", 0), 0);
	assert_true(entry_of(oracle, "/g")->blocks[0].hash != hash);
	assert_null(entry_of(oracle, "/f"));
	oracle_free(oracle);
	assert_int_equal(entry_of(copy, "/f")->blocks[0].hash, hash);
	assert_null(entry_of(copy, "/g"));
	oracle_free(copy);
}

static void
names_follow_the_rules_of_rename_and_link(void **state)
{
	struct oracle *oracle = new_oracle();

	(void)state;
	assert_int_equal(create(oracle, "/d", COP_DIRECTORY), 0);
	assert_int_equal(create(oracle, "/d/e", COP_DIRECTORY), 0);
	assert_int_equal(create(oracle, "/f", COP_FILE), 0);
	assert_int_equal(create(oracle, "/f", COP_FILE), COP_EEXIST);
	assert_int_equal(create(oracle, "/f/x", COP_FILE), COP_ENOTDIR);
	assert_int_equal(on_paths(oracle, OP_LINK, "/f", "/g", 0), 0);
	assert_int_equal(entry_of(oracle, "/g")->links, 2);
	assert_int_equal(on_paths(oracle, OP_LINK, "/d", "/d2", 0), COP_EPERM);
	assert_int_equal(on_paths(oracle, OP_RENAME, "/d", "/d/e/x", 0), COP_ELOOP);
	assert_int_equal(on_paths(oracle, OP_RENAME, "/d", "/f", 0), COP_ENOTDIR);
	assert_int_equal(on_paths(oracle, OP_RENAME, "/f", "/d", 0), COP_EISDIR);
	assert_int_equal(on_paths(oracle, OP_RENAME, "/f", "/g", 0), 0);
	assert_non_null(entry_of(oracle, "/f")); /* both are the same object: nothing happens */
	assert_int_equal(on_path(oracle, OP_UNLINK, "/d", 0, 0, 0), COP_EISDIR);
	assert_int_equal(
		on_paths(oracle, OP_UNLINK, "/d", "", COP_UNLINK_DIRECTORY), COP_ENOTEMPTY);
	assert_int_equal(on_paths(oracle, OP_RENAME, "/d/e", "/g", COP_RENAME_EXCHANGE), 0);
	assert_int_equal(entry_of(oracle, "/g")->kind, COP_DIRECTORY);
	assert_int_equal(entry_of(oracle, "/d/e")->links, 2);
	assert_int_equal(entry_of(oracle, "/d")->length, 1);
	assert_int_equal(on_path(oracle, OP_UNLINK, "/f", 0, 0, 0), 0);
	assert_int_equal(entry_of(oracle, "/d/e")->links, 1);
	oracle_free(oracle);
}

static void
a_held_object_outlives_its_name(void **state)
{
	struct oracle *oracle = new_oracle();

	(void)state;
	assert_int_equal(create(oracle, "/f", COP_FILE), 0);
	assert_int_equal(on_path(oracle, OP_HOLD, "/f", 0, 0, 0), 0);
	assert_int_equal(on_path(oracle, OP_UNLINK, "/f", 0, 0, 0), 0);
	assert_null(entry_of(oracle, "/f"));
	assert_int_equal(on_path(oracle, OP_WRITE_HELD, "", 0, 10, 1), 0);
	oracle_forget_held(oracle);
	assert_int_equal(on_path(oracle, OP_WRITE_HELD, "", 0, 10, 1), COP_ENOENT);
	oracle_free(oracle);
}

static void
snapshots_differ_where_they_differ_and_may_be_unreadable_in_part(void **state)
{
	struct oracle *oracle = new_oracle();
	struct oracle *other;
	struct snapshot *found = snapshot_create();
	char why[256] = "";

	(void)state;
	assert_int_equal(create(oracle, "/f", COP_FILE), 0);
	assert_int_equal(on_path(oracle, OP_WRITE, "/f", 0, 3 * COP_BLOCK_BYTES, 9), 0);
	other = oracle_copy(oracle);
	assert_true(snapshot_matches(
		oracle_snapshot(oracle), oracle_snapshot(other), 0, why, sizeof why));
	assert_int_equal(on_path(other, OP_WRITE, "/f", 5000, 1, 10), 0);
	assert_false(snapshot_matches(
		oracle_snapshot(oracle), oracle_snapshot(other), 0, why, sizeof why));
	assert_non_null(strstr(why, "/f: a wrong block"));

	/* As if block 1 were unreadable: then the two cannot be told apart, but only if allowed. */
	for (size_t i = 0; i < oracle_snapshot(oracle)->count; i++) {
		const struct snapshot_entry *from = &oracle_snapshot(oracle)->entries[i];
		struct snapshot_entry *entry = snapshot_add(found, from->path);
		char *path = entry->path;

		*entry = *from;
		entry->path = path;
		entry->blocks = NULL;
		entry->block_count = 0;
		for (size_t b = 0; b < from->block_count; b++)
			snapshot_add_block(entry, b, b == 1 ? 0 : from->blocks[b].hash);
		if (from->block_count)
			entry->unreadable = SNAPSHOT_NO_CONTENT;
	}
	assert_true(snapshot_matches(
		found, oracle_snapshot(other), SNAPSHOT_NO_CONTENT, why, sizeof why));
	assert_false(snapshot_matches(found, oracle_snapshot(other), 0, why, sizeof why));
	assert_non_null(strstr(why, "unreadable"));
	snapshot_free(found);
	oracle_free(other);
	oracle_free(oracle);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_is_what_was_written_with_zeros_around_it),
		cmocka_unit_test(a_clone_has_the_content_and_nothing_else),
		cmocka_unit_test(a_copy_stays_as_it_was),
		cmocka_unit_test(names_follow_the_rules_of_rename_and_link),
		cmocka_unit_test(a_held_object_outlives_its_name),
		cmocka_unit_test(snapshots_differ_where_they_differ_and_may_be_unreadable_in_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
