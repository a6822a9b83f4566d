/*
 * The journal's writer.
 *
 *   append    entries queue up, in the order of applying
 *   lead      one thread at a time takes what waits, batch by batch, writes and waits for each; the
 *             others wait for it, and one of them leads the next round
 *   cut       a count of entries that no batch crosses; where the leader passes it, the next period
 *             begins
 *
 * Places in the region are counted without end (`head`, `tail`, ...); modulo the region's blocks
 * they are positions.
 */

#include "volume/journal.h"

#include "base/lock.h"
#include "base/num.h"
#include "base/plant.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	SPARE_BLOCKS = 4,     /* for opening batches and marks */
	PERIODS = 3,          /* alive at one time */
	LONG_PART = 4,        /* a period of that part of the region is long */
	FULL_BYTES = 1 << 20, /* so much waiting is written without being asked */
};

struct journal {
	/* Constant. */
	struct journal_options options;
	uint32_t batch_blocks_max;

	/* The leader's: one batch. */
	uint8_t *buffer;

	struct mutex lock;
	struct condition changed; /* a round has ended, or a flush */

	/* Guarded by `lock`. */
	struct journal_entry *first;
	struct journal_entry *last;
	uint64_t appended; /* entries, ever */
	uint64_t batched;  /* of them, in batches */
	uint64_t written;  /* of them, in batches that are complete */
	uint64_t synced;   /* of them, durable */
	uint64_t waiting_bytes;
	bool has_leader;
	bool is_flushing;
	int failed;
	char failed_text[160];

	uint64_t head; /* place of `end` */
	uint64_t tail;
	uint64_t newest;
	uint64_t period;          /* where the open period began, as far as it is written */
	uint64_t admitted_bytes;  /* not yet appended */
	uint64_t admitted_blocks; /* the same, if each were a batch of its own */
	uint64_t writing_blocks;  /* of the batch that is on its way */
	struct journal_place end;
	uint64_t durable;
	bool is_open;

	uint64_t told_durable;  /* highest that a batch has recorded */
	uint64_t last_sequence; /* of a batch with transactions */

	bool has_cut; /* not passed yet */
	uint64_t cut_after;
	uint64_t cut_head;
	struct journal_place cut;

	struct journal_stats stats;
};

/* ---- Creating -------------------------------------------------------------------------------- */

int
journal_create(const struct journal_options *options, struct journal **out_journal)
{
	struct journal *journal = calloc(1, sizeof *journal);
	int err;

	assert(options->end.position < options->region.blocks);
	assert(options->newest_blocks <= options->retained_blocks);
	assert(options->retained_blocks < options->region.blocks);
	if (!journal)
		return fail(COP_ENOMEM, "journal");
	journal->options = *options;
	journal->batch_blocks_max = journal_batch_blocks_max(options->region.blocks);
	/* Far enough from 0 that what is retained lies after it, at the right position. */
	journal->head = options->region.blocks + options->end.position;
	journal->tail = journal->head - options->retained_blocks;
	journal->newest = journal->head - options->newest_blocks;
	journal->period = journal->newest;
	journal->end = options->end;
	journal->durable = options->durable;
	journal->told_durable = options->durable;
	journal->is_open = options->is_open;
	journal->buffer = block_buffer_alloc(journal->batch_blocks_max);
	if (!journal->buffer) {
		err = fail(COP_ENOMEM, "journal");
		goto undo_journal;
	}
	err = mutex_init(&journal->lock, LOCK_JOURNAL);
	if (err)
		goto undo_buffer;
	err = condition_init(&journal->changed);
	if (err)
		goto undo_lock;
	*out_journal = journal;
	return 0;

undo_lock:
	mutex_fini(&journal->lock);
undo_buffer:
	free(journal->buffer);
undo_journal:
	free(journal);
	return err;
}

void
journal_free(struct journal *journal)
{
	struct journal_entry *next;

	if (!journal)
		return;
	assert(!journal->has_leader);
	for (struct journal_entry *entry = journal->first; entry; entry = next) {
		next = entry->next;
		free(entry);
	}
	condition_fini(&journal->changed);
	mutex_fini(&journal->lock);
	free(journal->buffer);
	free(journal);
}

/* ---- Room ------------------------------------------------------------------------------------ */

bool
journal_fits(const struct journal *journal, uint64_t bytes)
{
	return bytes <= (uint64_t)journal->batch_blocks_max * BLOCK_BYTES - BATCH_HEADER_BYTES;
}

/* What a pad, opening batches and marks may take beside what is admitted. */
static uint64_t
slack_blocks(const struct journal *journal)
{
	return (uint64_t)journal->batch_blocks_max + SPARE_BLOCKS;
}

/*
 * Blocks that are still to be written, at the worst, with an entry of `more_bytes` beside, if not
 * 0. What waits goes into batches together: into one, and one more where it is cut; or, if it is
 * too much for that, into several that are at least half full, but for two. What is admitted may
 * also be synced one by one.
 */
static uint64_t
unwritten_blocks_locked(const struct journal *journal, uint32_t more_bytes)
{
	uint64_t single = journal->admitted_blocks;
	uint64_t waiting = journal->waiting_bytes;

	if (more_bytes > 0)
		single += batch_blocks(more_bytes);
	if (journal_fits(journal, waiting + journal->admitted_bytes + more_bytes))
		waiting = waiting == 0 ? 0 : batch_blocks(waiting) + 1;
	else
		waiting = 2 * (div_up(waiting, BLOCK_BYTES) + single + 2);
	return journal->writing_blocks + waiting + single;
}

bool
journal_admit(struct journal *journal, uint32_t bytes)
{
	uint64_t region = journal->options.region.blocks;
	uint64_t slack = slack_blocks(journal);
	uint64_t unwritten;
	bool has_room;

	mutex_lock(&journal->lock);
	unwritten = unwritten_blocks_locked(journal, bytes);
	has_room = journal->head - journal->tail + unwritten + slack <= region &&
		   (planted(PLANT_TRIM_TOO_SOON) || journal->head - journal->period + unwritten <=
							    (region - slack) / PERIODS);
	if (has_room) {
		journal->admitted_bytes += bytes;
		journal->admitted_blocks += batch_blocks(bytes);
	} else {
		journal->stats.held_back++;
	}
	mutex_unlock(&journal->lock);
	return has_room;
}

static void
unadmit_locked(struct journal *journal, uint32_t bytes)
{
	assert(journal->admitted_bytes >= bytes);
	assert(journal->admitted_blocks >= batch_blocks(bytes));
	journal->admitted_bytes -= bytes;
	journal->admitted_blocks -= batch_blocks(bytes);
}

void
journal_unadmit(struct journal *journal, uint32_t bytes)
{
	mutex_lock(&journal->lock);
	unadmit_locked(journal, bytes);
	mutex_unlock(&journal->lock);
}

bool
journal_is_long(struct journal *journal)
{
	bool is_long;

	mutex_lock(&journal->lock);
	is_long = journal->head - journal->period + unwritten_blocks_locked(journal, 0) >=
		  journal->options.region.blocks / LONG_PART;
	mutex_unlock(&journal->lock);
	return is_long;
}

/* ---- Appending ------------------------------------------------------------------------------- */

void
journal_append(struct journal *journal, struct journal_entry *entry)
{
	entry->next = NULL;
	mutex_lock(&journal->lock);
	unadmit_locked(journal, entry->bytes);
	if (journal->last)
		journal->last->next = entry;
	else
		journal->first = entry;
	journal->last = entry;
	journal->appended++;
	journal->waiting_bytes += entry->bytes;
	mutex_unlock(&journal->lock);
}

void
journal_cut(struct journal *journal)
{
	mutex_lock(&journal->lock);
	assert(!journal->has_cut);
	journal->has_cut = true;
	journal->cut_after = journal->appended;
	mutex_unlock(&journal->lock);
}

void
journal_cut_behind(struct journal *journal, const struct journal_place *place, uint64_t blocks)
{
	mutex_lock(&journal->lock);
	assert(!journal->has_cut);
	assert(journal->batched == 0);
	assert(blocks <= journal->head - journal->newest);
	journal->cut = *place;
	journal->cut_head = journal->head - blocks;
	journal->period = journal->cut_head;
	mutex_unlock(&journal->lock);
}

/* ---- Leading --------------------------------------------------------------------------------- */

/* One batch, from when it is gathered until it is complete. */
struct round {
	struct batch_header header;
	uint64_t entries; /* batched with it */
	bool names_data;
};

static struct journal_entry *
pop_locked(struct journal *journal)
{
	struct journal_entry *entry = journal->first;

	journal->first = entry->next;
	if (!journal->first)
		journal->last = NULL;
	journal->waiting_bytes -= entry->bytes;
	journal->batched++;
	return entry;
}

/* The cut lies here, if it does: the next period begins. */
static void
pass_cut_locked(struct journal *journal)
{
	if (!journal->has_cut || journal->batched != journal->cut_after)
		return;
	journal->cut = journal->end;
	journal->cut_head = journal->head;
	journal->period = journal->head;
	journal->has_cut = false;
}

static void
begin_batch_locked(struct journal *journal, struct round *round)
{
	struct batch_header *header = &round->header;

	*round = (struct round){ 0 };
	header->owner = journal->options.region.owner;
	header->epoch = journal->options.epoch;
	header->sequence = journal->end.sequence;
	header->durable = journal->durable;
	header->position = journal->end.position;
	if (!journal->is_open) {
		header->flags = BATCH_OPENING;
		header->previous_epoch = journal->end.epoch;
		header->previous_sequence = journal->end.sequence - 1;
	}
}

/*
 * Gathers what goes into the next batch: what waits, in order, up to a cut, to what a batch holds,
 * and to the end of the region; if not even one entry fits there, a pad. False: nothing waits.
 */
static bool
gather_locked(struct journal *journal, struct round *round)
{
	uint64_t limit = journal->has_cut ? journal->cut_after : journal->appended;
	uint64_t left = journal->options.region.blocks - journal->end.position;
	uint64_t room = min_u64(left, journal->batch_blocks_max) * BLOCK_BYTES - BATCH_HEADER_BYTES;
	uint8_t *at = journal->buffer + BATCH_HEADER_BYTES;

	if (journal->batched == limit)
		return false;
	begin_batch_locked(journal, round);
	while (journal->batched < limit && journal->first->bytes <= room - round->header.bytes) {
		struct journal_entry *entry = pop_locked(journal);

		memcpy(at + round->header.bytes, entry->data, entry->bytes);
		round->header.bytes += entry->bytes;
		round->header.transactions++;
		round->entries++;
		round->names_data |= entry->names_data;
		free(entry);
	}
	round->header.blocks = batch_blocks(round->header.bytes);
	if (round->entries == 0) {
		assert(left < journal->batch_blocks_max);
		round->header.flags |= BATCH_PAD;
		round->header.blocks = (uint32_t)left;
	}
	journal->writing_blocks = round->header.blocks;
	return true;
}

static int
fail_locked(struct journal *journal, int err)
{
	if (journal->failed == 0) {
		journal->failed = err;
		(void)snprintf(journal->failed_text, sizeof journal->failed_text, "%s", err_text());
	}
	return err;
}

static void
complete_locked(struct journal *journal, const struct round *round, bool is_durable)
{
	const struct batch_header *header = &round->header;

	journal->writing_blocks = 0;
	journal->written += round->entries;
	assert(journal->written == journal->batched);
	journal->head += header->blocks;
	journal->end.position += header->blocks;
	assert(journal->end.position <= journal->options.region.blocks);
	if (journal->end.position == journal->options.region.blocks) {
		journal->end.position = 0;
		journal->stats.wraps++;
	}
	assert(journal->head - journal->tail <= journal->options.region.blocks);
	journal->end.sequence++;
	journal->end.epoch = header->epoch;
	journal->is_open = true;
	journal->told_durable = header->durable;
	if (header->transactions > 0)
		journal->last_sequence = header->sequence;
	if (planted(PLANT_DURABLE_BEFORE_FLUSH))
		journal->durable = header->sequence;
	if (is_durable) {
		journal->durable = header->sequence;
		journal->synced = journal->written;
		journal->stats.fua_writes++;
	}
	journal->stats.batches++;
	journal->stats.blocks += header->blocks;
	journal->stats.pads += (header->flags & BATCH_PAD) != 0;
	journal->stats.marks += (header->flags & BATCH_MARK) != 0;
}

/* The leader writes what stands in its buffer, and waits. */
static int
write_batch(struct journal *journal, struct round *round, bool durably)
{
	struct batch_header *header = &round->header;
	struct device *dev = journal->options.dev;
	uint64_t addr = journal->options.region.addr + header->position;
	int err;

	journal->options.counters(journal->options.context, &header->generation,
		&header->next_object, &header->next_job);
	batch_encode(header, journal->buffer);
	if (durably)
		err = device_write_durably(dev, addr, journal->buffer, header->blocks);
	else
		err = device_write(dev, addr, journal->buffer, header->blocks);
	if (err)
		err = fail_in(err, "writing batch %" PRIu64 " of the journal", header->sequence);

	mutex_lock(&journal->lock);
	if (err)
		(void)fail_locked(journal, err);
	else
		complete_locked(journal, round, durably);
	mutex_unlock(&journal->lock);
	return err;
}

/*
 * The last batch of a sync may be durable by itself: when all before it is, and it names nothing
 * outside. [Batch 6 complete but unflushed, batch 7 by FUA, power cut: 6 lost, 7 unreachable though
 * acknowledged.]
 */
static bool
may_be_fua_locked(const struct journal *journal, const struct round *round, uint64_t upto)
{
	if (journal->options.no_flush || round->entries == 0 || journal->batched < upto)
		return false;
	if (planted(PLANT_FUA_PAST_UNFLUSHED))
		return !round->names_data;
	return !round->names_data && journal->durable + 1 == round->header.sequence;
}

/* The leader writes all that was appended up to `upto`, and what came after it in the same batch.
 */
static int
write_entries(struct journal *journal, uint64_t upto, bool is_sync)
{
	struct round round;
	int err = 0;

	while (err == 0) {
		bool durably;
		bool has_some = false;

		mutex_lock(&journal->lock);
		pass_cut_locked(journal);
		if (journal->batched < upto)
			has_some = gather_locked(journal, &round);
		durably = has_some && is_sync && may_be_fua_locked(journal, &round, upto);
		mutex_unlock(&journal->lock);
		if (!has_some)
			break;
		err = write_batch(journal, &round, durably);
	}
	return err;
}

static int
refuse_locked(struct journal *journal)
{
	return fail(journal->failed, "%s", journal->failed_text);
}

/* True: this thread leads now, and lead_end() must follow. False: another has led a round. */
static bool
lead_begin_locked(struct journal *journal)
{
	if (journal->has_leader) {
		condition_wait(&journal->changed, &journal->lock);
		return false;
	}
	journal->has_leader = true;
	return true;
}

static void
lead_end_locked(struct journal *journal)
{
	journal->has_leader = false;
	condition_wake_all(&journal->changed);
}

/* ---- Durable --------------------------------------------------------------------------------- */

/*
 * One flush at a time: where two are under way and a write that both should save is lost, the host
 * may tell only one of them.
 */
int
journal_flush(struct journal *journal)
{
	uint64_t complete;
	uint64_t written;
	int err;

	lock_assert_none_held();
	mutex_lock(&journal->lock);
	while (journal->is_flushing)
		condition_wait(&journal->changed, &journal->lock);
	if (journal->failed) {
		err = refuse_locked(journal);
		mutex_unlock(&journal->lock);
		return err;
	}
	journal->is_flushing = true;
	complete = journal->end.sequence - 1;
	written = journal->written;
	mutex_unlock(&journal->lock);

	err = device_flush(journal->options.dev);

	mutex_lock(&journal->lock);
	journal->is_flushing = false;
	condition_wake_all(&journal->changed);
	if (err) {
		(void)fail_locked(journal, err);
	} else {
		journal->durable = max_u64(journal->durable, complete);
		journal->synced = max_u64(journal->synced, written);
	}
	mutex_unlock(&journal->lock);
	return err;
}

/* The leader's part of a sync: everything up to `upto`. */
static int
lead_sync(struct journal *journal, uint64_t upto)
{
	bool is_durable;
	int err = write_entries(journal, upto, true);

	if (err)
		return err;
	mutex_lock(&journal->lock);
	is_durable = journal->synced >= upto;
	if (!is_durable)
		journal->stats.flushes++;
	if (journal->options.no_flush || planted(PLANT_SYNC_WITHOUT_FLUSH))
		journal->synced = journal->written; /* as far as anybody here asks */
	mutex_unlock(&journal->lock);
	if (is_durable || journal->options.no_flush || planted(PLANT_SYNC_WITHOUT_FLUSH))
		return 0;
	return journal_flush(journal);
}

int
journal_sync(struct journal *journal)
{
	uint64_t upto;
	int err = 0;

	lock_assert_none_held();
	mutex_lock(&journal->lock);
	upto = journal->appended;
	if (journal->synced < upto)
		journal->stats.syncs++;
	while (err == 0 && journal->synced < upto) {
		if (journal->failed) {
			err = refuse_locked(journal);
		} else if (lead_begin_locked(journal)) {
			uint64_t all = journal->appended;

			mutex_unlock(&journal->lock);
			err = lead_sync(journal, all);
			mutex_lock(&journal->lock);
			lead_end_locked(journal);
		}
	}
	mutex_unlock(&journal->lock);
	return err;
}

bool
journal_is_dirty(struct journal *journal)
{
	bool is_dirty;

	mutex_lock(&journal->lock);
	is_dirty = journal->synced < journal->appended;
	mutex_unlock(&journal->lock);
	return is_dirty;
}

/* Unless somebody is writing already. */
static int
write_if(struct journal *journal, uint64_t least_bytes)
{
	int err = 0;

	mutex_lock(&journal->lock);
	if (journal->waiting_bytes >= least_bytes && !journal->has_leader && !journal->failed &&
		lead_begin_locked(journal)) {
		uint64_t upto = journal->appended;

		mutex_unlock(&journal->lock);
		err = write_entries(journal, upto, false);
		mutex_lock(&journal->lock);
		lead_end_locked(journal);
	}
	mutex_unlock(&journal->lock);
	return err;
}

int
journal_write_full(struct journal *journal)
{
	return write_if(journal, FULL_BYTES);
}

int
journal_write_waiting(struct journal *journal)
{
	return write_if(journal, 1);
}

/* Would a mark tell anything new, and is there room for it? */
static bool
wants_mark_locked(const struct journal *journal)
{
	uint64_t used = journal->head - journal->tail + unwritten_blocks_locked(journal, 0);

	return journal->is_open && !journal->failed &&
	       journal->told_durable < journal->last_sequence &&
	       journal->durable >= journal->last_sequence &&
	       journal->batched == journal->appended &&
	       used + 1 + slack_blocks(journal) <= journal->options.region.blocks;
}

int
journal_mark(struct journal *journal)
{
	struct round round;
	int err = 0;

	mutex_lock(&journal->lock);
	if (!journal->has_leader && wants_mark_locked(journal) && lead_begin_locked(journal)) {
		pass_cut_locked(journal);
		begin_batch_locked(journal, &round);
		round.header.flags |= BATCH_MARK;
		round.header.blocks = 1;
		mutex_unlock(&journal->lock);
		err = write_batch(journal, &round, false);
		mutex_lock(&journal->lock);
		lead_end_locked(journal);
	}
	mutex_unlock(&journal->lock);
	return err;
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

int
journal_write_cut(struct journal *journal, struct journal_place *out_place)
{
	int err = 0;

	lock_assert_none_held();
	mutex_lock(&journal->lock);
	while (err == 0 && journal->has_cut) {
		if (journal->failed) {
			err = refuse_locked(journal);
		} else if (lead_begin_locked(journal)) {
			uint64_t upto = journal->cut_after;

			mutex_unlock(&journal->lock);
			err = write_entries(journal, upto, false);
			mutex_lock(&journal->lock);
			lead_end_locked(journal);
		}
	}
	if (err == 0)
		*out_place = journal->cut;
	mutex_unlock(&journal->lock);
	return err;
}

void
journal_trim(struct journal *journal)
{
	mutex_lock(&journal->lock);
	assert(!journal->has_cut);
	journal->tail = planted(PLANT_TRIM_TOO_SOON) ? journal->cut_head : journal->newest;
	journal->newest = journal->cut_head;
	mutex_unlock(&journal->lock);
}

/* ---- Telling --------------------------------------------------------------------------------- */

struct journal_stats
journal_stats(struct journal *journal)
{
	struct journal_stats stats;

	mutex_lock(&journal->lock);
	stats = journal->stats;
	mutex_unlock(&journal->lock);
	return stats;
}
