#include "volume/volume_internal.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

enum { ENTRY_BYTES = 32768, OBJECT = 100, OTHER = 101 };

static const struct losses no_losses;

/* An entry of the journal as it is decoded. */
struct entry {
	struct journal_tx tx;
	uint8_t bytes[ENTRY_BYTES];
};

static void
make_entry(struct entry *entry, const struct journal_message *messages, uint16_t count)
{
	struct journal_tx header = { .bytes = TX_HEADER_BYTES, .messages = count };
	struct writer w = writer_over(entry->bytes, sizeof entry->bytes);
	struct reader r;

	for (uint16_t i = 0; i < count; i++)
		header.bytes += (uint32_t)journal_message_bytes(&messages[i]);
	journal_encode_tx(&w, &header);
	for (uint16_t i = 0; i < count; i++)
		journal_encode_message(&w, &messages[i]);
	assert_false(w.bad);
	r = reader_over(entry->bytes, header.bytes);
	assert_int_equal(journal_decode_tx(&r, &entry->tx), 0);
}

static struct journal_message
put_of(struct tree_name name, struct view key)
{
	return (struct journal_message){
		.op = MESSAGE_PUT, .name = name, .key = key, .value = view_of("x", 1)
	};
}

/* It is well-formed, and means nothing that can be done: the reason is told, nothing changes. */
static void
assert_refused(struct world *world, const struct journal_message *messages, uint16_t count,
	const char *reason)
{
	uint64_t available_blocks = space_available_blocks(volume_space(world->volume));
	uint64_t transactions = volume_stats(world->volume).transactions;
	struct entry entry;
	int err;

	make_entry(&entry, messages, count);
	err = volume__tx_replay(world->volume, &entry.tx, &no_losses);
	if (err != COP_EFORMAT || !strstr(err_text(), reason))
		fail_msg("%s: %d, %s", reason, err, err_text());
	assert_int_equal(space_available_blocks(volume_space(world->volume)), available_blocks);
	assert_int_equal(volume_stats(world->volume).transactions, transactions);
}

static void
refuses_what_cannot_be_done(void **state)
{
	uint8_t large[BLOCK_BYTES] = { 0 };
	uint8_t source[CLONE_KEY_BYTES];
	uint8_t addr[DATA_KEY_BYTES];
	uint8_t runs[TX_RUN_BYTES];
	struct tree_name tags = { .branch = BRANCH_MAIN, .kind = TREE_TAGS };
	struct journal_message message;
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put_content(&world, OBJECT, 1, 1, 10, true), 0);
	assert_int_equal(world_put_content(&world, OTHER, 1, 1, 10, true), 0);

	message = put_of(tags, view_of("key", 3));
	assert_refused(&world, &message, 1, "a message for a tree of kind");
	message = put_of(world_content(OBJECT), view_of("key", 3));
	message.value = view_of(large, sizeof large);
	assert_refused(&world, &message, 1, "a value of 4096 bytes");

	put_be64(source, OBJECT);
	message = (struct journal_message){ .op = MESSAGE_CLONE,
		.name = world_content(OBJECT),
		.key = view_of(source, sizeof source) };
	assert_refused(&world, &message, 1, "its own clone");
	message.name = world_content(OTHER);
	assert_refused(&world, &message, 1, "a clone over content that stays");
	journal_encode_clone_run((struct run){ world.volume->geometry.blocks - 1, 2 }, runs);
	message.value = view_of(runs, sizeof runs);
	assert_refused(&world, &message, 1, "2 shared blocks at block");

	put_be64(addr, 1000);
	message = (struct journal_message){ .op = MESSAGE_DATA,
		.name = world_content(OBJECT),
		.key = view_of(addr, sizeof addr),
		.value = view_of(large, sizeof large) };
	assert_refused(&world, &message, 1, "data for block 1000");

	message = (struct journal_message){ .op = MESSAGE_STEP,
		.name = world_content(OBJECT),
		.key = view_of("no job", 6),
		.is_end = true };
	assert_refused(&world, &message, 1, "a step of a job that is not there");
	world_end(&world);
}

static void
refuses_more_messages_than_there_can_be(void **state)
{
	struct journal_message messages[TX_MESSAGES_MAX + TX_CARRIED_MAX + 1];
	struct world world = { 0 };

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	for (uint16_t i = 0; i < TX_MESSAGES_MAX + TX_CARRIED_MAX + 1; i++)
		messages[i] = put_of(world_objects, view_of("key", 3));
	assert_refused(&world, messages, TX_MESSAGES_MAX + 1, "too many messages");
	assert_refused(&world, messages, TX_MESSAGES_MAX + TX_CARRIED_MAX + 1,
		"a transaction of 69 messages");
	world_end(&world);
}

/* It is in the journal already, and is not written there again. */
static void
applies_an_entry_without_writing_another(void **state)
{
	uint8_t key[OBJECT_KEY_BYTES];
	struct journal_message message;
	struct world world = { 0 };
	struct entry entry;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 1, 1, 10), 0);
	assert_int_equal(volume_sync(world.volume), 0);
	message = put_of(world_objects, world_key(key, 2));
	make_entry(&entry, &message, 1);
	assert_int_equal(volume__tx_replay(world.volume, &entry.tx, &no_losses), 0);
	assert_int_equal(world_get(&world, 2), 'x');
	assert_false(volume_needs_sync(world.volume));
	assert_true(volume_is_dirty(world.volume));
	world_end(&world);
}

/* The others happen. */
static void
leaves_out_what_is_lost(void **state)
{
	uint8_t keys[3][OBJECT_KEY_BYTES];
	struct losses losses = { .count = 1, .is_lost = { [1] = true } };
	struct journal_message messages[3];
	struct world world = { 0 };
	struct entry entry;

	(void)state;
	world_format(&world, 8 << 20, 0);
	assert_int_equal(world_put(&world, 10, 1, 10), 0);
	for (uint32_t i = 0; i < 3; i++)
		messages[i] = put_of(world_objects, world_key(keys[i], i));
	make_entry(&entry, messages, 3);
	assert_int_equal(volume__tx_replay(world.volume, &entry.tx, &losses), 0);
	assert_int_equal(world_get(&world, 0), 'x');
	assert_int_equal(world_get(&world, 1), COP_ENOENT);
	assert_int_equal(world_get(&world, 2), 'x');
	world_end(&world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_cannot_be_done),
		cmocka_unit_test(refuses_more_messages_than_there_can_be),
		cmocka_unit_test(applies_an_entry_without_writing_another),
		cmocka_unit_test(leaves_out_what_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
