#include "crash/recall.h"

#include "base/checksum.h"
#include "base/num.h"
#include "support/must.h"
#include "volume/journal_format.h"

#include <assert.h>

enum {
	JOURNAL_BLOCKS_MAX = 256,
	CLASS_PLACES = 1 << 14,
	BRANCH_PLACES = 1 << 16,
	STEPS_MAX = 1 << 20, /* 16 MiB; then everything is forgotten */
};

/* ---- What counts of a block ------------------------------------------------------------------ */

/* What is known of a block at its place in the journal, or of the blocks of a batch there. */
struct class
{
	uint64_t key;    /* 0: an empty place */
	uint64_t counts; /* of a block by itself */
	uint32_t blocks; /* of the batch that begins there; 0: none does */
};

struct reading {
	struct journal_region region;
	struct class classes[CLASS_PLACES];
	size_t class_count;

	/* Of the run at hand. */
	struct sim_medium *medium;           /* borrowed; NULL: it was listened to */
	uint64_t counts[JOURNAL_BLOCKS_MAX]; /* of blocks of the journal; 0: not read yet */
	uint64_t hashes[JOURNAL_BLOCKS_MAX]; /* of those that were listened to */
	uint8_t *bytes;                      /* likewise; owned */
	uint8_t *batch;                      /* owned: room for the largest */
};

enum { WHOLE = 2, TORN = 4 }; /* as what counts of a block: all, or nothing. Hashes are odd */

static uint64_t
mix(uint64_t a, uint64_t b)
{
	const uint64_t words[2] = { a, b };

	return hash64(words, sizeof words, 0) | 1;
}

/* The place of the key, or the empty one where it belongs. */
static struct class *
class_find(struct reading *reading, uint64_t key)
{
	uint64_t at = key / 2 % CLASS_PLACES;

	if (reading->class_count > CLASS_PLACES / 2) {
		memset(reading->classes, 0, sizeof reading->classes);
		reading->class_count = 0;
	}
	while (reading->classes[at].key != 0 && reading->classes[at].key != key)
		at = (at + 1) % CLASS_PLACES;
	return &reading->classes[at];
}

static void
class_add(struct reading *reading, struct class *place, struct class class)
{
	*place = class;
	reading->class_count++;
}

static struct sim_look
look_at(struct sim_medium *medium, uint64_t addr)
{
	struct sim_look look;

	if (sim_look(medium, addr, &look) != 0)
		must_have(NULL);
	return look;
}

/* Blocks of the journal from `position` on, one after the other; *key gets their hashes. */
static const uint8_t *
bytes_at(struct reading *reading, uint64_t position, uint32_t blocks, uint64_t *key)
{
	uint64_t read_hash;

	if (!reading->medium) {
		for (uint32_t i = 0; i < blocks; i++)
			*key = mix(*key, reading->hashes[position + i]);
		return reading->bytes + position * BLOCK_BYTES;
	}
	read_hash = sim_read_hash(reading->medium);
	for (uint32_t i = 0; i < blocks; i++) {
		struct sim_look look =
			look_at(reading->medium, reading->region.addr + position + i);

		*key = mix(*key, look.hash);
		memcpy(reading->batch + (size_t)i * BLOCK_BYTES, look.bytes, BLOCK_BYTES);
	}
	sim_set_read_hash(reading->medium, read_hash);
	return reading->batch;
}

/* A block by itself: does a batch begin there, by its header? */
static struct class class_of_block(struct reading *reading, uint64_t position, uint64_t hash)
{
	uint64_t key = mix(hash, position);
	uint64_t ignored = 0;
	struct class *place = class_find(reading, key);
	struct batch_header header;
	const uint8_t *block;
	int result;

	if (place->key == key)
		return *place;
	block = bytes_at(reading, position, 1, &ignored);
	result = batch_decode_header(
		block, &reading->region.owner, position, reading->region.blocks, &header);
	err_clear();
	class_add(reading, place,
		(struct class){
			.key = key,
			.blocks = result == 0 ? header.blocks : 0,
			.counts = result == 0 ? hash64(block, BATCH_HEADER_BYTES, 1) | 1
					      : mix((uint64_t)(int64_t)result, 1),
		});
	return *place;
}

/* Is the batch there that the header at `position` announces? */
static bool
is_whole(struct reading *reading, uint64_t position, uint32_t blocks)
{
	uint64_t key = mix(blocks, position);
	const uint8_t *batch = bytes_at(reading, position, blocks, &key);
	struct class *place = class_find(reading, key);
	struct batch_header header;
	bool whole;

	if (place->key == key)
		return place->blocks > 0;
	whole = batch_decode_header(batch, &reading->region.owner, position, reading->region.blocks,
			&header) == 0 &&
		batch_check(&header, batch) == 0;
	err_clear();
	class_add(reading, place, (struct class){ .key = key, .blocks = whole ? blocks : 0 });
	return whole;
}

/*
 * Of a block of the journal. Of it and the next ones, `blocks` are in one request: these are read
 * in any case, and so may be looked at.
 */
static uint64_t
what_counts_of_journal(struct reading *reading, uint64_t position, uint64_t blocks, uint64_t hash)
{
	struct class class;

	if (reading->counts[position] == 0) {
		class = class_of_block(reading, position, hash);
		if (class.blocks > blocks)
			return hash; /* nobody knows yet */
		reading->counts[position] = class.counts;
		for (uint32_t i = 0; i < class.blocks; i++) {
			if (i == 0 && !is_whole(reading, position, class.blocks))
				break;
			reading->counts[position + i] = WHOLE;
		}
	}
	return reading->counts[position] == WHOLE ? hash : reading->counts[position];
}

static uint64_t
what_counts(struct reading *reading, const struct sim_look *look, uint64_t blocks)
{
	uint64_t position = look->addr - reading->region.addr; /* wraps for what lies before */

	if (position < reading->region.blocks)
		return what_counts_of_journal(reading, position, blocks, look->hash);
	/* A superblock is one sector, and what is behind it of no matter: it counts all the same.
	 */
	return look->is_torn && look->addr > reading->region.addr ? TORN : look->hash;
}

static void
begin_reading(struct reading *reading, struct sim_medium *medium)
{
	reading->medium = medium;
	memset(reading->counts, 0, sizeof reading->counts);
}

/* ---- The tree of runs ------------------------------------------------------------------------ */

struct step {
	uint64_t counts; /* of the block, on this way */
	uint32_t addr;
	uint32_t blocks; /* of the request, from this one on */
};

/* Steps without a branch among them that leads elsewhere than the branches say. */
struct segment {
	size_t first;
	size_t count;
	void *found; /* owned: at its end */
};

/* At a step of a segment, with other contents, another segment goes on behind that step. */
struct branch {
	uint64_t key; /* 0: an empty place */
	uint32_t to;
};

struct recall {
	void (*release)(void *found);
	struct reading reading;

	struct step *steps;
	size_t step_count;
	size_t step_capacity;
	struct segment *segments;
	size_t segment_count;
	size_t segment_capacity;
	struct branch branches[BRANCH_PLACES];

	/* The run that is listened to. */
	uint64_t salt;
	bool is_useless; /* a read failed */
	struct sim_look *run;
	size_t run_count;
	size_t run_capacity;
};

enum { NO_SEGMENT = UINT32_MAX };

struct recall *
recall_create(const struct journal_region *region, void (*release)(void *found))
{
	struct recall *recall = must_alloc(sizeof *recall);

	assert(region->blocks <= JOURNAL_BLOCKS_MAX);
	recall->reading.region = *region;
	recall->reading.bytes = must_alloc(region->blocks * BLOCK_BYTES);
	recall->reading.batch = must_alloc(region->blocks * BLOCK_BYTES);
	recall->release = release;
	return recall;
}

static void
forget_all(struct recall *recall)
{
	for (size_t i = 0; i < recall->segment_count; i++)
		recall->release(recall->segments[i].found);
	recall->segment_count = 0;
	recall->step_count = 0;
	memset(recall->branches, 0, sizeof recall->branches);
}

void
recall_free(struct recall *recall)
{
	if (!recall)
		return;
	forget_all(recall);
	free(recall->reading.bytes);
	free(recall->reading.batch);
	free(recall->steps);
	free(recall->segments);
	free(recall->run);
	free(recall);
}

static struct branch *
branch_find(
	struct recall *recall, uint32_t segment, size_t step, uint64_t counts, uint64_t *out_key)
{
	const uint64_t words[3] = { segment, step, counts };
	uint64_t key = hash64(words, sizeof words, 0) | 1;
	uint64_t at = key / 2 % BRANCH_PLACES;

	while (recall->branches[at].key != 0 && recall->branches[at].key != key)
		at = (at + 1) % BRANCH_PLACES;
	*out_key = key;
	return &recall->branches[at];
}

/* Where the path goes on from a step that has these contents there; NO_SEGMENT: nowhere yet. */
static uint32_t
follow(struct recall *recall, uint32_t segment, size_t step, uint64_t counts)
{
	uint64_t key;
	const struct branch *branch = branch_find(recall, segment, step, counts, &key);

	return branch->key ? branch->to : NO_SEGMENT;
}

void *
recall_find(struct recall *recall, struct sim_medium *medium, uint64_t salt)
{
	const uint64_t read_hash = sim_read_hash(medium);
	uint32_t at = follow(recall, NO_SEGMENT, 0, salt);
	size_t i = 0;

	begin_reading(&recall->reading, medium);
	while (at != NO_SEGMENT && i < recall->segments[at].count) {
		const struct step *step = &recall->steps[recall->segments[at].first + i];
		struct sim_look look = look_at(medium, step->addr);
		uint64_t counts = what_counts(&recall->reading, &look, step->blocks);

		if (counts == step->counts) {
			i++;
			continue;
		}
		at = follow(recall, at, i, counts);
		i = 0;
	}
	if (at != NO_SEGMENT)
		return recall->segments[at].found;
	sim_set_read_hash(medium, read_hash);
	return NULL;
}

static void
listen(void *context, const struct sim_look *look)
{
	struct recall *recall = context;
	struct reading *reading = &recall->reading;
	uint64_t position = look->addr - reading->region.addr;

	recall->is_useless = recall->is_useless || look->err != 0;
	recall->run = must_grow(
		recall->run, recall->run_count, &recall->run_capacity, sizeof *recall->run);
	recall->run[recall->run_count++] = *look;
	if (look->err == 0 && position < reading->region.blocks) {
		reading->hashes[position] = look->hash;
		memcpy(reading->bytes + position * BLOCK_BYTES, look->bytes, BLOCK_BYTES);
	}
}

void
recall_listen(struct recall *recall, struct sim_medium *medium, uint64_t salt)
{
	recall->salt = salt;
	recall->is_useless = false;
	recall->run_count = 0;
	sim_set_listener(medium, listen, recall);
}

void
recall_drop(struct recall *recall, struct sim_medium *medium)
{
	(void)recall;
	sim_set_listener(medium, NULL, NULL);
}

static void
add_step(struct recall *recall, const struct sim_look *look, uint64_t counts)
{
	recall->steps = must_grow(
		recall->steps, recall->step_count, &recall->step_capacity, sizeof *recall->steps);
	recall->steps[recall->step_count++] = (struct step){
		.addr = (uint32_t)look->addr,
		.blocks = (uint32_t)look->blocks,
		.counts = counts,
	};
}

/* A new segment behind a step, with the run's steps from `from` on. */
static void
grow(struct recall *recall, uint32_t segment, size_t step, uint64_t counts, size_t from)
{
	uint64_t key;
	struct branch *branch = branch_find(recall, segment, step, counts, &key);

	*branch = (struct branch){ .key = key, .to = (uint32_t)recall->segment_count };
	recall->segments = must_grow(recall->segments, recall->segment_count,
		&recall->segment_capacity, sizeof *recall->segments);
	recall->segments[recall->segment_count] = (struct segment){
		.first = recall->step_count,
		.count = recall->run_count - from,
	};
	for (size_t i = from; i < recall->run_count; i++) {
		const struct sim_look *look = &recall->run[i];

		add_step(recall, look, what_counts(&recall->reading, look, look->blocks));
	}
	recall->segment_count++;
}

/* The segment that the run ends with, made if it is new. */
static uint32_t
segment_of_run(struct recall *recall)
{
	uint32_t at = follow(recall, NO_SEGMENT, 0, recall->salt);
	size_t i = 0;

	begin_reading(&recall->reading, NULL);
	if (at == NO_SEGMENT) {
		grow(recall, NO_SEGMENT, 0, recall->salt, 0);
		return (uint32_t)recall->segment_count - 1;
	}
	for (size_t r = 0; r < recall->run_count; r++) {
		const struct sim_look *look = &recall->run[r];
		uint64_t counts = what_counts(&recall->reading, look, look->blocks);
		const struct step *step = &recall->steps[recall->segments[at].first + i];
		uint32_t next;

		/* Equal reads so far, and the next one is of another block: then a run depends on
		 * more than its reads, and nothing here would hold. */
		assert(i < recall->segments[at].count);
		assert(step->addr == look->addr);
		if (counts == step->counts) {
			i++;
			continue;
		}
		next = follow(recall, at, i, counts);
		if (next == NO_SEGMENT) {
			grow(recall, at, i, counts, r + 1);
			return (uint32_t)recall->segment_count - 1;
		}
		at = next;
		i = 0;
	}
	assert(i == recall->segments[at].count);
	return at;
}

void
recall_keep(struct recall *recall, struct sim_medium *medium, void *found)
{
	struct segment *end;
	uint32_t at;

	sim_set_listener(medium, NULL, NULL);
	if (recall->is_useless) {
		recall->release(found);
		return;
	}
	if (recall->step_count + recall->run_count > STEPS_MAX ||
		recall->segment_count > BRANCH_PLACES / 2)
		forget_all(recall);
	at = segment_of_run(recall);
	end = &recall->segments[at];
	if (end->found)
		recall->release(found); /* it was known */
	else
		end->found = found;
}
