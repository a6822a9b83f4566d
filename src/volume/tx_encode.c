/*
 * The journal's entry of a transaction: header, runs, checksums of data, messages, carried blocks,
 * as journal_format says. It is made before the gate, so that appending it cannot fail.
 */

#include "volume/tx_internal.h"

#include <stdlib.h>

static struct journal_message
message_view(const struct message *message)
{
	const uint8_t *at = message->bytes;
	struct journal_message view = {
		.op = message->op,
		.name = message->name,
		.root_at = message->root_at,
		.is_end = message->is_end,
	};

	view.key = view_of(at, message->key_bytes);
	at += message->key_bytes;
	view.value = view_of(at, message->value_bytes);
	at += message->value_bytes;
	view.from = view_of(at, message->from_bytes);
	at += message->from_bytes;
	view.until = view_of(at, message->until_bytes);
	return view;
}

static struct journal_message
carried_view(const struct carried *carried, uint8_t key[static DATA_KEY_BYTES])
{
	put_be64(key, carried->addr);
	return (struct journal_message){
		.op = MESSAGE_DATA,
		.name = { .branch = BRANCH_MAIN, .object = carried->object, .kind = TREE_CONTENT },
		.key = view_of(key, DATA_KEY_BYTES),
		.value = view_of(carried->bytes, BLOCK_BYTES),
	};
}

static uint32_t
count_taken(const struct tx *tx)
{
	uint32_t count = 0;

	for (size_t i = 0; i < tx->taken.count; i++)
		count += tx->taken.runs[i].blocks > 0;
	return count;
}

static size_t
encoded_bytes(const struct tx *tx)
{
	size_t bytes = TX_HEADER_BYTES + tx->data.at +
		       (count_taken(tx) + tx->released.count) * TX_RUN_BYTES;

	for (uint32_t i = 0; i < tx->message_count; i++) {
		struct journal_message view = message_view(&tx->messages[i]);

		bytes += journal_message_bytes(&view);
	}
	for (uint32_t i = 0; i < tx->carried_count; i++) {
		uint8_t key[DATA_KEY_BYTES];
		struct journal_message view = carried_view(&tx->carried[i], key);

		bytes += journal_message_bytes(&view);
	}
	return bytes;
}

static void
encode_parts(const struct tx *tx, struct writer *w)
{
	for (size_t i = 0; i < tx->taken.count; i++) {
		if (tx->taken.runs[i].blocks > 0)
			journal_encode_run(w, tx->taken.runs[i]);
	}
	for (size_t i = 0; i < tx->released.count; i++)
		journal_encode_run(w, tx->released.runs[i]);
	write_bytes(w, tx->data.data, tx->data.at);
	for (uint32_t i = 0; i < tx->message_count; i++) {
		struct journal_message view = message_view(&tx->messages[i]);

		journal_encode_message(w, &view);
	}
	for (uint32_t i = 0; i < tx->carried_count; i++) {
		uint8_t key[DATA_KEY_BYTES];
		struct journal_message view = carried_view(&tx->carried[i], key);

		journal_encode_message(w, &view);
	}
}

int
tx__encode(struct tx *tx)
{
	size_t bytes = encoded_bytes(tx);
	struct journal_tx header = {
		.bytes = (uint32_t)bytes,
		.messages = (uint16_t)(tx->message_count + tx->carried_count),
		.taken = (uint16_t)count_taken(tx),
		.released = (uint16_t)tx->released.count,
		.data = (uint16_t)tx->data_count,
		.objects = tx->objects,
	};
	struct journal_entry *entry;
	struct writer w;

	if (!journal_fits(tx->volume->journal, bytes))
		return fail(COP_ENOSPC, "a transaction of %zu bytes is too large for the journal",
			bytes);
	entry = malloc(sizeof *entry + bytes);
	if (!entry)
		return fail(COP_ENOMEM, "transaction of %zu bytes", bytes);
	*entry = (struct journal_entry){
		.bytes = (uint32_t)bytes,
		.names_data = tx->data_count > 0,
	};
	w = writer_over(entry->data, bytes);
	journal_encode_tx(&w, &header);
	encode_parts(tx, &w);
	assert(!w.bad);
	assert(w.at == bytes);
	tx->entry = entry;
	return 0;
}
