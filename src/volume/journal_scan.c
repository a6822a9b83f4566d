/*
 * Two steps. The survey reads the region once and remembers every batch of this volume that it
 * meets, whole or not. Everything else is then decided in memory: which chain there is, why it
 * stops, and what was durable.
 *
 * A whole batch is stepped over: its inside is its own, whatever it looks like. A batch of which
 * only the header is left says the truth about what was durable when it was written, and may not
 * lend its sequence to another; so it counts for these two, and is no link of a chain.
 */

#include "volume/journal_scan.h"

#include "base/checksum.h"
#include "base/num.h"
#include "base/plant.h"

#include <assert.h>
#include <stdlib.h>

enum {
	WINDOW_BLOCKS = 512,
	SEEN_FIRST = 64,
	READS_IN_FLIGHT = 32,
	READ_BLOCKS = 16, /* of data, in one request */
};

/* ---- The survey ------------------------------------------------------------------------------ */

struct seen {
	uint64_t position;
	struct batch_header header; /* unless it makes no sense, or is of a later version */
	bool has_header;

	/* 0: whole. COP_ECHECKSUM: torn, or rotten. COP_EIO: cannot be read whole. COP_EFORMAT,
	 * COP_EUNSUPPORTED: verifies, and cannot be used. */
	int result;
};

struct survey {
	struct device *dev;
	const struct journal_region *region;

	struct seen *seen; /* owned, by position */
	size_t count;
	size_t capacity;

	uint8_t *unreadable; /* owned: a bit for each block of the region */
	uint64_t unreadable_count;

	uint8_t *window; /* owned: blocks [from, until) of the region */
	uint64_t from;
	uint64_t until;
};

static void
survey_fini(struct survey *survey)
{
	free(survey->seen);
	free(survey->unreadable);
	free(survey->window);
}

static bool
is_unreadable(const struct survey *survey, uint64_t position, uint64_t blocks)
{
	for (uint64_t i = position; i < position + blocks; i++) {
		if (survey->unreadable[i / 8] & 1 << i % 8)
			return true;
	}
	return false;
}

/* Block by block, so that one bad sector hides one block. Unreadable ones are zero. */
static int
read_singly(struct survey *survey, uint64_t position, uint8_t *buffer, uint64_t blocks)
{
	for (uint64_t i = 0; i < blocks; i++) {
		uint8_t *block = buffer + i * BLOCK_BYTES;
		uint64_t at = position + i;
		int err = device_read(survey->dev, survey->region->addr + at, block, 1);

		if (err && err != COP_EIO)
			return err;
		if (err) {
			err_clear();
			memset(block, 0, BLOCK_BYTES);
			survey->unreadable[at / 8] |= (uint8_t)(1 << at % 8);
			survey->unreadable_count++;
		}
	}
	return 0;
}

/* Has the window hold `blocks` from `position` on; it only moves forward. */
static int
window_move(struct survey *survey, uint64_t position, uint64_t blocks)
{
	uint64_t keep;
	uint64_t more;
	uint8_t *to;
	int err;

	assert(position >= survey->from);
	assert(position <= survey->until);
	if (position + blocks <= survey->until)
		return 0;
	keep = survey->until - position;
	memmove(survey->window, survey->window + (position - survey->from) * BLOCK_BYTES,
		keep * BLOCK_BYTES);
	survey->from = position;
	more = min_u64(WINDOW_BLOCKS - keep, survey->region->blocks - survey->until);
	to = survey->window + keep * BLOCK_BYTES;
	err = device_read(survey->dev, survey->region->addr + survey->until, to, more);
	if (err == COP_EIO) {
		err_clear();
		err = read_singly(survey, survey->until, to, more);
	}
	if (err)
		return fail_in(err, "journal");
	survey->until += more;
	return 0;
}

static int
seen_add(struct survey *survey, const struct seen *seen)
{
	if (survey->count == survey->capacity) {
		size_t capacity = survey->capacity == 0 ? SEEN_FIRST : 2 * survey->capacity;
		struct seen *grown = realloc(survey->seen, capacity * sizeof *grown);

		if (!grown)
			return fail(COP_ENOMEM, "batches of the journal");
		survey->seen = grown;
		survey->capacity = capacity;
	}
	survey->seen[survey->count++] = *seen;
	return 0;
}

/* Looks at the place: *out_blocks is how far to go on. */
static int
look_at(struct survey *survey, uint64_t position, uint64_t *out_blocks)
{
	const struct journal_region *region = survey->region;
	const uint8_t *block = survey->window + (position - survey->from) * BLOCK_BYTES;
	struct seen seen = { .position = position };

	*out_blocks = 1;
	if (!batch_may_begin(block))
		return 0;
	seen.result =
		batch_decode_header(block, &region->owner, position, region->blocks, &seen.header);
	seen.has_header = seen.result == 0;
	if (seen.has_header && is_unreadable(survey, position, seen.header.blocks))
		seen.result = COP_EIO;
	else if (seen.has_header)
		seen.result = batch_check(&seen.header, block);
	if (seen.result == 0)
		*out_blocks = seen.header.blocks;
	else
		err_clear();
	if (!seen.has_header && seen.result == COP_ECHECKSUM)
		return 0; /* none of this volume, or not of this place */
	return seen_add(survey, &seen);
}

/* Reads the region once. */
static int
survey_make(struct survey *survey)
{
	uint64_t blocks = survey->region->blocks;
	uint64_t position = 0;

	survey->unreadable = calloc(div_up(blocks, 8), 1);
	survey->window = block_buffer_alloc(WINDOW_BLOCKS);
	if (!survey->unreadable || !survey->window)
		return fail(COP_ENOMEM, "window over the journal");
	static_assert(WINDOW_BLOCKS >= 2 * 256, "the window holds a batch, and reads far ahead");
	while (position < blocks) {
		uint64_t wanted = min_u64(journal_batch_blocks_max(blocks), blocks - position);
		uint64_t step;
		int err = window_move(survey, position, wanted);

		if (err == 0)
			err = look_at(survey, position, &step);
		if (err)
			return err;
		position += step;
	}
	if (survey->unreadable_count == blocks)
		return fail(COP_EIO, "the journal at block %" PRIu64 " cannot be read",
			survey->region->addr);
	return 0;
}

/* What the survey saw at `position`, or NULL. */
static const struct seen *
seen_at(const struct survey *survey, uint64_t position)
{
	size_t low = 0;
	size_t high = survey->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (survey->seen[middle].position < position)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == survey->count || survey->seen[low].position != position)
		return NULL;
	return &survey->seen[low];
}

/* ---- The chain ------------------------------------------------------------------------------- */

struct journal_region
journal_region_of(const struct superblock *sb, const struct geometry *geometry)
{
	struct journal_region region = {
		.addr = geometry_journal(geometry),
		.blocks = geometry->journal_blocks,
		.owner.seed = sb->journal_seed,
	};

	memcpy(region.owner.uuid, sb->uuid, sizeof region.owner.uuid);
	return region;
}

struct journal_place
journal_tail_of(const struct superblock *sb)
{
	return (struct journal_place){
		.position = sb->journal_tail,
		.sequence = max_u64(sb->journal_sequence, 1), /* 0: the journal was never used */
		.epoch = sb->epoch,
	};
}

void
journal_chain_free(struct journal_chain *chain)
{
	free(chain->batches);
	*chain = (struct journal_chain){ 0 };
}

struct journal_place
journal_place_of(const struct journal_chain *chain, size_t index)
{
	assert(index <= chain->count);
	if (index == chain->count)
		return chain->end;
	if (index == 0)
		return chain->start;
	return (struct journal_place){
		.position = chain->batches[index].position,
		.sequence = chain->batches[index - 1].sequence + 1,
		.epoch = chain->batches[index - 1].epoch,
	};
}

static bool
place_equal(const struct journal_place *a, const struct journal_place *b)
{
	return a->position == b->position && a->sequence == b->sequence && a->epoch == b->epoch;
}

static bool
goes_on_at(const struct batch_header *header, const struct journal_place *place)
{
	if (header->flags & BATCH_OPENING)
		return header->previous_epoch == place->epoch &&
		       header->previous_sequence + 1 == place->sequence;
	return header->sequence == place->sequence &&
	       (header->epoch == place->epoch || planted(PLANT_EPOCH_NOT_COMPARED));
}

static void
chain_append(struct journal_chain *chain, const struct batch_header *header, uint64_t region_blocks)
{
	chain->batches[chain->count++] = (struct journal_batch){
		.position = header->position,
		.sequence = header->sequence,
		.epoch = header->epoch,
		.durable = header->durable,
		.blocks = header->blocks,
		.flags = header->flags,
		.transactions = header->transactions,
	};
	chain->end.position = (header->position + header->blocks) % region_blocks;
	chain->end.sequence = header->sequence + 1;
	chain->end.epoch = header->epoch;
}

/*
 * The chain from `start` as far as it goes; false if it does not come by `newest`. Sequences only
 * grow, so that no batch is met twice: there is room for all that were seen.
 */
static bool
chain_follow(const struct survey *survey, const struct journal_place *start,
	const struct journal_place *newest, struct journal_chain *chain)
{
	bool is_reached = false;

	chain->count = 0;
	chain->start = *start;
	chain->end = *start;
	for (;;) {
		const struct seen *seen = seen_at(survey, chain->end.position);

		if (place_equal(&chain->end, newest)) {
			chain->newest = chain->count;
			is_reached = true;
		}
		if (!seen || seen->result != 0 || !goes_on_at(&seen->header, &chain->end))
			return is_reached;
		assert(chain->count < survey->count);
		chain_append(chain, &seen->header, survey->region->blocks);
	}
}

static void
note_highest(const struct survey *survey, struct journal_chain *chain)
{
	for (size_t i = 0; i < survey->count; i++) {
		const struct batch_header *header = &survey->seen[i].header;

		if (!survey->seen[i].has_header)
			continue;
		chain->highest_sequence = max_u64(chain->highest_sequence, header->sequence);
		chain->highest_durable = max_u64(chain->highest_durable, header->durable);
		chain->generation = max_u64(chain->generation, header->generation);
		chain->next_object = max_u64(chain->next_object, header->next_object);
		chain->next_job = max_u64(chain->next_job, header->next_job);
	}
}

/*
 * Why does the chain stop? A torn write leaves old bytes, new bytes, or some of each by sectors: a
 * header or a whole that does not verify. Anything else that would be the next batch, and is
 * not, is damage.
 */
static int
judge_end(const struct survey *survey, struct journal_chain *chain)
{
	const struct seen *seen = seen_at(survey, chain->end.position);
	bool may_be_next;

	if (seen && seen->result == COP_EUNSUPPORTED)
		return fail(COP_EUNSUPPORTED,
			"a later version of coppice wrote to the journal; batch %" PRIu64,
			chain->end.sequence);
	may_be_next = seen && (!seen->has_header || goes_on_at(&seen->header, &chain->end));
	if (is_unreadable(survey, chain->end.position, 1) ||
		(may_be_next && (seen->result == COP_EIO || seen->result == COP_EFORMAT))) {
		chain->is_damaged = true;
		chain->lost_sequence = chain->end.sequence;
	}
	if (chain->highest_durable >= chain->end.sequence) {
		chain->is_damaged = true;
		chain->lost_sequence = chain->highest_durable;
	}
	return 0;
}

static void
judge_opening(struct journal_chain *chain)
{
	const struct journal_batch *last;

	chain->ends_in_opening = false;
	if (chain->count <= chain->newest)
		return;
	last = &chain->batches[chain->count - 1];
	if (!(last->flags & BATCH_OPENING) || last->transactions > 0)
		return;
	chain->last_opening = journal_place_of(chain, chain->count - 1);
	chain->ends_in_opening = chain->highest_durable < chain->last_opening.sequence;
}

static int
chain_make(const struct survey *survey, const struct journal_place *newest,
	const struct journal_place *previous, struct journal_chain *chain)
{
	uint64_t blocks = survey->region->blocks;
	struct journal_place tail = *newest;
	struct journal_place retained = *previous;
	int err;

	if (tail.position > blocks)
		return fail(COP_EFORMAT, "the journal begins at its block %" PRIu64 " of %" PRIu64,
			tail.position, blocks);
	tail.position %= blocks;
	chain->batches = calloc(survey->count + 1, sizeof *chain->batches);
	if (!chain->batches)
		return fail(COP_ENOMEM, "%zu batches of the journal", survey->count);

	if (retained.sequence != 0 && retained.position <= blocks) {
		retained.position %= blocks;
		chain->has_previous = chain_follow(survey, &retained, &tail, chain);
	}
	if (!chain->has_previous)
		(void)chain_follow(survey, &tail, &tail, chain); /* it begins there */

	note_highest(survey, chain);
	err = judge_end(survey, chain);
	if (err)
		return err;
	if (tail.sequence > 0) {
		chain->durable = max_u64(tail.sequence - 1, chain->highest_durable);
		chain->durable = min_u64(chain->durable, chain->end.sequence - 1);
		chain->highest_sequence = max_u64(chain->highest_sequence, tail.sequence - 1);
	}
	judge_opening(chain);
	return 0;
}

int
journal_scan(struct device *dev, const struct journal_region *region,
	const struct journal_place *newest, const struct journal_place *previous,
	struct journal_chain *out_chain)
{
	struct survey survey = { .dev = dev, .region = region };
	struct journal_chain chain = { 0 };
	int err;

	assert(region->blocks > 0);
	err = survey_make(&survey);
	if (err == 0)
		err = chain_make(&survey, newest, previous, &chain);
	survey_fini(&survey);
	if (err)
		journal_chain_free(&chain);
	else
		*out_chain = chain;
	return err;
}

/* One batch of the chain, judged again. */
static int
read_batch(struct device *dev, const struct journal_region *region,
	const struct journal_batch *batch, void *buffer, struct batch_header *out_header)
{
	int err;

	assert(batch->position + batch->blocks <= region->blocks);
	err = device_read(dev, region->addr + batch->position, buffer, batch->blocks);
	if (err == 0)
		err = batch_decode_header(
			buffer, &region->owner, batch->position, region->blocks, out_header);
	if (err)
		return err;
	if (out_header->sequence != batch->sequence || out_header->epoch != batch->epoch ||
		out_header->blocks != batch->blocks)
		return fail(COP_ECHECKSUM,
			"batch %" PRIu64 " of the journal has become batch %" PRIu64,
			batch->sequence, out_header->sequence);
	return batch_check(out_header, buffer);
}

int
journal_read_batch(struct device *dev, const struct journal_region *region,
	const struct journal_batch *batch, void *buffer)
{
	struct batch_header header;

	return read_batch(dev, region, batch, buffer, &header);
}

/* ---- Data ------------------------------------------------------------------------------------ */

/* One request, and what must come of it. */
struct data_read {
	struct device_io io;
	uint8_t *buffer;
	uint64_t checksums[READ_BLOCKS];
	size_t batch; /* index in the chain of the batch that names it */
	bool is_busy;
};

/*
 * Requests are judged in the order in which they were made, so that the first mismatch found is the
 * first there is.
 */
struct verifier {
	struct device *dev;
	uint64_t volume_blocks;
	struct data_read *reads; /* owned, a ring */
	uint8_t *buffers;        /* owned */
	uint64_t next;           /* request; of ring entry next % READS_IN_FLIGHT */
	bool has_mismatch;
	size_t mismatch;    /* index of the batch */
	bool is_unreadable; /* that was why */
};

static void
mismatch(struct verifier *v, size_t batch, bool is_unreadable)
{
	if (v->has_mismatch)
		return;
	v->has_mismatch = true;
	v->mismatch = batch;
	v->is_unreadable = is_unreadable;
}

/* Waits for the oldest request, if it is one; then its place in the ring is free. */
static int
collect(struct verifier *v, struct data_read *read)
{
	if (!read->is_busy)
		return 0;
	device_wait(v->dev, &read->io);
	read->is_busy = false;
	if (read->io.result == COP_EIO) {
		mismatch(v, read->batch, true);
		return 0;
	}
	if (read->io.result)
		return fail(read->io.result, "reading data that the journal names: %s",
			cop_error_sentence(read->io.result));
	for (uint64_t i = 0; i < read->io.blocks; i++) {
		if (checksum64(read->buffer + i * BLOCK_BYTES, BLOCK_BYTES) != read->checksums[i])
			mismatch(v, read->batch, false);
	}
	return 0;
}

static int
collect_all(struct verifier *v)
{
	int first = 0;

	for (uint64_t i = 0; i < READS_IN_FLIGHT; i++) {
		int err = collect(v, &v->reads[(v->next + i) % READS_IN_FLIGHT]);

		if (err && first == 0)
			first = err;
	}
	return first;
}

static int
verify_data(struct verifier *v, size_t batch, const struct journal_data *data)
{
	if (data->addr > v->volume_blocks || data->blocks > v->volume_blocks - data->addr) {
		int err = collect_all(v); /* what came before it counts before it */

		mismatch(v, batch, false);
		return err;
	}
	for (uint32_t at = 0; at < data->blocks && !v->has_mismatch; at += READ_BLOCKS) {
		struct data_read *read = &v->reads[v->next % READS_IN_FLIGHT];
		struct device_io *io = &read->io;
		uint32_t blocks = (uint32_t)min_u64(READ_BLOCKS, data->blocks - at);
		int err = collect(v, read);

		if (err)
			return err;
		device_io_init(io, DEVICE_READ, data->addr + at, blocks, read->buffer);
		for (uint32_t i = 0; i < blocks; i++)
			read->checksums[i] = get_le64(data->checksums + 8 * (size_t)(at + i));
		read->batch = batch;
		read->is_busy = true;
		v->next++;
		device_submit(v->dev, &io, 1);
	}
	return 0;
}

static int
verify_transactions(
	struct verifier *v, size_t index, const struct batch_header *header, const uint8_t *batch)
{
	struct reader r = reader_over(batch + BATCH_HEADER_BYTES, header->bytes);

	for (uint32_t i = 0; i < header->transactions && !v->has_mismatch; i++) {
		struct journal_tx tx;
		struct reader data;
		int err = journal_decode_tx(&r, &tx);

		if (err)
			return err;
		data = reader_over(tx.first_data, (size_t)(tx.first_message - tx.first_data));
		for (uint32_t k = 0; k < tx.data && !v->has_mismatch; k++) {
			struct journal_data piece;

			err = journal_decode_data(&data, &piece);
			if (err == 0)
				err = verify_data(v, index, &piece);
			if (err)
				return err;
		}
	}
	return 0;
}

/* A batch that cannot be read again is one that does not verify. */
static int
verify_batch(struct verifier *v, const struct journal_region *region,
	const struct journal_chain *chain, size_t index, uint8_t *buffer)
{
	struct batch_header header;
	int err = read_batch(v->dev, region, &chain->batches[index], buffer, &header);
	int why = err;

	if (err == 0)
		return verify_transactions(v, index, &header, buffer);
	if (err != COP_EIO && !err_is_damage(err))
		return err;
	err_clear();
	err = collect_all(v);
	mismatch(v, index, why == COP_EIO);
	return err;
}

static int
verifier_init(struct verifier *v)
{
	v->reads = calloc(READS_IN_FLIGHT, sizeof *v->reads);
	v->buffers = block_buffer_alloc((uint64_t)READS_IN_FLIGHT * READ_BLOCKS);
	if (!v->reads || !v->buffers)
		return fail(COP_ENOMEM, "verifying what the journal names");
	for (size_t i = 0; i < READS_IN_FLIGHT; i++)
		v->reads[i].buffer = v->buffers + i * READ_BLOCKS * BLOCK_BYTES;
	return 0;
}

static void
chain_cut(struct journal_chain *chain, size_t index, bool is_damaged)
{
	assert(index >= chain->newest);
	assert(chain->batches[index].sequence > chain->durable);
	if (is_damaged) {
		chain->is_damaged = true;
		chain->lost_sequence = max_u64(chain->lost_sequence, chain->end.sequence - 1);
	}
	chain->end = journal_place_of(chain, index);
	chain->count = index;
	judge_opening(chain);
}

int
journal_verify_data(struct device *dev, const struct journal_region *region, uint64_t volume_blocks,
	struct journal_chain *chain)
{
	struct verifier v = {
		.dev = dev,
		.volume_blocks = min_u64(volume_blocks, device_blocks(dev)),
	};
	uint8_t *buffer = block_buffer_alloc(journal_batch_blocks_max(region->blocks));
	int err = verifier_init(&v);
	int last;

	if (!buffer)
		err = fail(COP_ENOMEM, "a batch of the journal");
	if (err)
		goto out;
	for (size_t i = chain->newest; i < chain->count && !v.has_mismatch && err == 0; i++) {
		const struct journal_batch *batch = &chain->batches[i];

		if (batch->sequence > chain->durable && batch->transactions > 0)
			err = verify_batch(&v, region, chain, i, buffer);
	}
	last = collect_all(&v);
	if (err == 0)
		err = last;
	if (err == 0 && v.has_mismatch)
		chain_cut(chain, v.mismatch, v.is_unreadable);
out:
	free(v.reads);
	free(v.buffers);
	free(buffer);
	return err;
}
