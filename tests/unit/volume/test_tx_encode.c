#include "base/num.h"
#include "volume/tx_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

static const uint64_t checksums[] = { 11, 22, 33 };

static struct tx *
begin(struct world *world)
{
	struct tx *tx;

	assert_int_equal(tx_begin(world->volume, &world->visit, false, &tx), 0);
	return tx;
}

static void
assert_run(struct run run, struct run as)
{
	assert_int_equal(run.addr, as.addr);
	assert_int_equal(run.blocks, as.blocks);
}

static void
assert_message(struct reader *r, enum message_op op, const char *key, const char *value)
{
	struct journal_message message;

	assert_int_equal(journal_decode_message(r, &message), 0);
	assert_int_equal(message.op, op);
	assert_true(view_equal(message.key, view_of(key, strlen(key))));
	assert_true(view_equal(message.value, view_of(value, strlen(value))));
}

/* Runs, checksums and messages in the order in which they were collected, carried blocks last. */
static void
an_entry_says_what_was_collected(void **state)
{
	struct world world = { 0 };
	uint8_t block[BLOCK_BYTES];
	struct journal_message carried;
	struct journal_data data;
	struct journal_tx found;
	struct run taken[2];
	struct run unused;
	struct reader r;
	struct tx *tx;

	(void)state;
	memset(block, 7, sizeof block);
	world_format(&world, 8 << 20, 0);
	tx = begin(&world);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 3, &taken[0]), 0);
	assert_int_equal(tx_take(tx, SPACE_DATA, 0, 2, &unused), 0);
	assert_int_equal(tx_take(tx, SPACE_SMALL_DATA, 0, 1, &taken[1]), 0);
	tx_give_back(tx, unused);
	assert_int_equal(tx_data(tx, taken[0].addr, 1, checksums), 0);
	assert_int_equal(tx_data(tx, taken[0].addr + 1, 2, checksums + 1), 0); /* goes on */
	assert_int_equal(tx_carry(tx, 20, taken[1].addr, block), 0);
	assert_int_equal(tx_put(tx, world_objects, view_of("k1", 2), view_of("v", 1)), 0);
	assert_int_equal(tx_delete(tx, world_objects, view_of("k2", 2)), 0);
	assert_int_equal(tx_release(tx, (struct run){ .addr = 700, .blocks = 5 }), 0);
	tx_count_objects(tx, -1);

	assert_int_equal(tx__encode(tx), 0);
	assert_true(tx->entry->names_data);
	r = reader_over(tx->entry->data, tx->entry->bytes);
	assert_int_equal(journal_decode_tx(&r, &found), 0);
	assert_ptr_equal(found.end, tx->entry->data + tx->entry->bytes);
	assert_int_equal(found.objects, -1);
	assert_int_equal(found.taken, 2);
	assert_int_equal(found.released, 1);
	assert_run(journal_run(&found, 0), taken[0]);
	assert_run(journal_run(&found, 1), taken[1]);
	assert_run(journal_run(&found, 2), (struct run){ .addr = 700, .blocks = 5 });

	assert_int_equal(found.data, 1);
	r = reader_over(found.first_data, (size_t)(found.first_message - found.first_data));
	assert_int_equal(journal_decode_data(&r, &data), 0);
	assert_run((struct run){ data.addr, data.blocks }, taken[0]);
	for (uint32_t i = 0; i < ARRAY_COUNT(checksums); i++)
		assert_int_equal(get_le64(data.checksums + i * sizeof(uint64_t)), checksums[i]);

	assert_int_equal(found.messages, 3);
	r = reader_over(found.first_message, (size_t)(found.end - found.first_message));
	assert_message(&r, MESSAGE_PUT, "k1", "v");
	assert_message(&r, MESSAGE_DELETE, "k2", "");
	assert_int_equal(journal_decode_message(&r, &carried), 0);
	assert_int_equal(carried.op, MESSAGE_DATA);
	assert_int_equal(get_be64(carried.key.data), taken[1].addr);
	assert_true(view_equal(carried.value, view_of(block, sizeof block)));
	tx_abort(tx);
	world_end(&world);
}

static void
what_no_batch_can_hold_is_refused(void **state)
{
	enum { BLOCKS = 1024 };
	static const uint64_t many[BLOCKS];
	struct world world = { 0 };
	uint32_t count = 0;
	struct tx *tx;

	(void)state;
	world_format(&world, 8 << 20, 0);
	tx = begin(&world);
	while (journal_fits(world.volume->journal, (uint64_t)count * sizeof many)) {
		assert_int_equal(tx_data(tx, 100000 + 2 * count * BLOCKS, BLOCKS, many), 0);
		count++;
	}
	assert_true(count > 2);
	assert_int_equal(tx__encode(tx), COP_ENOSPC);
	assert_non_null(strstr(err_text(), "too large for the journal"));
	assert_null(tx->entry);
	assert_int_equal(tx_commit(tx), COP_ENOSPC);
	assert_false(volume_is_dirty(world.volume));
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_says_what_was_collected),
		cmocka_unit_test(what_no_batch_can_hold_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
