/*
 * When a window is built. Every read that misses brings a credit of CREDIT_PER_MISS extents.
 *
 *   where there is no window of this version    from the second miss on, as large as the credit; so
 *                                               who reads and writes in turn never builds one
 *   where one of this version ends              at once, in full: somebody reads on
 *   where one of this version lies elsewhere    when the credit is for a full one: content in many
 *                                               pieces, or more regions than places
 *
 * A window may be published that was overtaken by a change meanwhile: it bears its version, and
 * nobody takes it for a newer one.
 */

#include "object/cached.h"

#include "cache/cache.h"
#include "object/content_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
	READ_TRIES = 2,
	CREDIT_PER_MISS = 16,
	CREDIT_FIRST = 2 * CREDIT_PER_MISS,
	BUDGET_DIVISOR = 16, /* of the cache's limit, for windows */
};

/* What a read needs of an extent. */
struct piece {
	uint64_t first;
	uint64_t addr;
	uint32_t checksum_at; /* of its first block, in window.checksums */
	uint32_t blocks;
	bool is_zero;  /* allocated, not written */
	bool is_plain; /* or a read has to ask */
};

struct window {
	struct epoch_item retired;
	struct cop_volume *volume;
	size_t bytes; /* of memory */

	/* Constant. */
	uint64_t version;
	uint64_t length; /* of the content */
	uint64_t first;  /* blocks [first, end) that it tells of; what no piece covers is a hole */
	uint64_t end;
	uint32_t count;
	size_t inline_bytes;    /* of `content` */
	const uint8_t *content; /* NULL: not inline */
	const struct piece *pieces;
	const uint64_t *checksums;
};

/* ---- Reading -------------------------------------------------------------------------------- */

/*
 * Readers beside a writer have no changes; all that they see moves with the generation. It moves
 * under the exclusive gate as well.
 */
static uint64_t
version_of(const struct cop_object *object)
{
	struct volume *volume = object->volume->volume;

	if (volume_is_read_only(volume))
		return volume_generation(volume);
	return cached_version(&object->cached);
}

static _Atomic(struct window *) *
place_of(struct cop_object *object, uint64_t block)
{
	return &object->cached.windows[block / CACHED_REGION_BLOCKS % CACHED_WINDOWS];
}

static bool
window_covers(const struct window *window, uint64_t block)
{
	return window->first <= block && block < window->end;
}

/* Inside an epoch. */
static const struct window *
find_window(struct cop_object *object, uint64_t version, uint64_t block)
{
	const struct window *window = atomic_load(place_of(object, block));

	if (!window || window->version != version || !window_covers(window, block))
		return NULL;
	return window;
}

/* NULL: a hole. */
static const struct piece *
find_piece(const struct window *window, uint64_t block)
{
	const struct piece *pieces = window->pieces;
	uint32_t low = 0;
	uint32_t high = window->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (pieces[middle].first <= block)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || block - pieces[low - 1].first >= pieces[low - 1].blocks)
		return NULL;
	return &pieces[low - 1];
}

/* What is dirty may go on where the record's bytes end; in between there are zeros. */
static void
copy_inline(const struct window *window, uint64_t offset, uint8_t *buffer, size_t bytes)
{
	size_t part = 0;

	if (offset < window->inline_bytes)
		part = min_u64(bytes, window->inline_bytes - offset);
	if (part > 0)
		memcpy(buffer, window->content + offset, part);
	memset(buffer + part, 0, bytes - part);
}

/* Bytes [from, from + bytes) of one block that the window covers. False: not in memory. */
static bool
copy_from_block(const struct window *window, uint32_t slot, uint64_t block, size_t from,
	uint8_t *buffer, size_t bytes)
{
	const struct piece *piece;
	const uint8_t *data;
	uint64_t index;

	if (window->content) {
		copy_inline(window, block * BLOCK_BYTES + from, buffer, bytes);
		return true;
	}
	piece = find_piece(window, block);
	if (!piece || piece->is_zero) {
		memset(buffer, 0, bytes);
		return true;
	}
	if (!piece->is_plain)
		return false;
	index = block - piece->first;
	data = cache_look(volume_cache(window->volume->volume), slot, piece->addr + index,
		window->checksums[piece->checksum_at + index], data_verify_block);
	if (!data)
		return false;
	memcpy(buffer, data + from, bytes);
	return true;
}

enum look {
	LOOK_DONE,
	LOOK_MISSED,
	LOOK_CHANGED, /* somebody has changed the object meanwhile */
};

/* Inside an epoch. */
static enum look
look(struct cop_object *object, uint32_t slot, uint64_t offset, uint8_t *buffer, size_t bytes,
	size_t *out_bytes)
{
	uint64_t version = version_of(object);
	const struct window *window = find_window(object, version, offset / BLOCK_BYTES);
	uint64_t end;
	uint64_t at = offset;

	if (!window)
		return LOOK_MISSED;
	end = min_u64(offset + bytes, pages_length(&object->pages, window->length));
	end = max_u64(offset, end);
	while (at < end) {
		uint64_t block = at / BLOCK_BYTES;
		size_t from = at % BLOCK_BYTES;
		size_t part = min_u64(end - at, BLOCK_BYTES - from);
		const struct buffer *page = pages_find(&object->pages, block);

		if (page) {
			memcpy(buffer + (at - offset), page->data + from, part);
			at += part;
			continue;
		}
		if (!window_covers(window, block)) {
			window = find_window(object, version, block);
			if (!window)
				return LOOK_MISSED;
		}
		if (!copy_from_block(window, slot, block, from, buffer + (at - offset), part))
			return LOOK_MISSED;
		at += part;
	}
	if (version_of(object) != version)
		return LOOK_CHANGED;
	*out_bytes = end - offset;
	return LOOK_DONE;
}

bool
cached_read(
	struct cop_object *object, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	struct epoch *epoch = cache_epoch(volume_cache(object->volume->volume));

	for (int tries = 0; tries < READ_TRIES; tries++) {
		enum look found;
		uint32_t slot;

		if (!epoch_enter(epoch, &slot))
			return false;
		found = look(object, slot, offset, buffer, bytes, out_bytes);
		epoch_leave(epoch, slot);
		if (found != LOOK_CHANGED)
			return found == LOOK_DONE;
	}
	return false;
}

/* ---- Memory --------------------------------------------------------------------------------- */

void
cached_budget_init(struct cached_budget *budget, uint64_t cache_bytes)
{
	budget->limit_bytes = cache_bytes / BUDGET_DIVISOR;
	atomic_init(&budget->bytes, 0);
}

static void
window_free(struct window *window)
{
	struct cop_volume *volume = window->volume;

	cache_uncharge(volume_cache(volume->volume), window->bytes);
	atomic_fetch_sub(&volume->cached.bytes, window->bytes);
	free(window);
}

static void
free_retired(void *context, struct epoch_item *item)
{
	(void)context;
	window_free((struct window *)((uint8_t *)item - offsetof(struct window, retired)));
}

static void
retire(struct window *window)
{
	window->retired.free = free_retired;
	epoch_retire(cache_epoch(volume_cache(window->volume->volume)), &window->retired);
}

void
cached_forget(struct cop_object *object)
{
	for (uint32_t i = 0; i < CACHED_WINDOWS; i++) {
		struct window *window = NULL;

		if (atomic_load_explicit(&object->cached.windows[i], memory_order_relaxed))
			window = atomic_exchange(&object->cached.windows[i], NULL);
		if (window)
			retire(window);
	}
	atomic_store_explicit(&object->cached.credit, 0, memory_order_relaxed);
}

/* Whoever is next in the table of handles gives its windows up, until there is room. */
static void
make_room(struct cop_volume *volume, size_t bytes)
{
	struct cached_budget *budget = &volume->cached;

	mutex_lock(&volume->lock);
	for (size_t i = 0; i < HANDLE_BUCKETS; i++) {
		struct cop_object *object;

		if (atomic_load(&budget->bytes) + bytes <= budget->limit_bytes)
			break;
		volume->cached_cursor = (volume->cached_cursor + 1) % HANDLE_BUCKETS;
		object = volume->buckets[volume->cached_cursor];
		for (; object; object = object->next)
			cached_forget(object);
	}
	mutex_unlock(&volume->lock);
}

/* Memory for a window with that much behind it. NULL: there is none. */
static struct window *
window_alloc(struct cop_volume *volume, size_t behind)
{
	struct cached_budget *budget = &volume->cached;
	size_t bytes = sizeof(struct window) + behind;
	struct window *window;

	if (bytes > budget->limit_bytes)
		return NULL;
	if (atomic_load(&budget->bytes) + bytes > budget->limit_bytes)
		make_room(volume, bytes);
	if (atomic_load(&budget->bytes) + bytes > budget->limit_bytes)
		return NULL;
	if (!cache_charge(volume_cache(volume->volume), bytes))
		return NULL;
	window = malloc(bytes);
	if (!window) {
		cache_uncharge(volume_cache(volume->volume), bytes);
		return NULL;
	}
	atomic_fetch_add(&budget->bytes, bytes);
	*window = (struct window){ .volume = volume, .bytes = bytes };
	return window;
}

/* ---- Building ------------------------------------------------------------------------------- */

static struct window *
window_of_inline(struct cop_volume *volume, const struct record *record)
{
	size_t bytes = record->content.bytes;
	struct window *window = window_alloc(volume, bytes);
	uint8_t *content;

	if (!window)
		return NULL;
	content = (uint8_t *)(window + 1);
	if (bytes > 0)
		memcpy(content, record->content.data, bytes);
	window->content = content;
	window->inline_bytes = bytes;
	window->length = min_u64(record->length, bytes);
	window->end = CACHED_REGION_BLOCKS;
	return window;
}

static uint32_t
count_checksums(const struct extents *extents)
{
	uint32_t count = 0;

	for (size_t i = 0; i < extents->count; i++)
		count += extents->list[i].blocks;
	return count;
}

static bool
is_plain(const struct cop_volume *volume, const struct extent *extent)
{
	uint64_t blocks = volume_tree_env(volume->volume)->device_blocks;

	return !(extent->flags & (EXTENT_COMPRESSED | EXTENT_ENCRYPTED)) && extent->addr < blocks &&
	       extent->blocks <= blocks - extent->addr;
}

static struct window *
window_of_extents(
	struct cop_volume *volume, const struct record *record, const struct extents *extents)
{
	size_t pieces_bytes = extents->count * sizeof(struct piece);
	size_t checksums_bytes = count_checksums(extents) * sizeof(uint64_t);
	struct window *window = window_alloc(volume, pieces_bytes + checksums_bytes);
	uint32_t checksums_at = 0;
	uint64_t *checksums;
	struct piece *pieces;

	if (!window)
		return NULL;
	pieces = (struct piece *)(window + 1);
	checksums = (uint64_t *)(pieces + extents->count);
	for (size_t i = 0; i < extents->count; i++) {
		const struct extent *extent = &extents->list[i];

		pieces[i] = (struct piece){
			.first = extent->first,
			.addr = extent->addr,
			.checksum_at = checksums_at,
			.blocks = extent->blocks,
			.is_zero = (extent->flags & EXTENT_UNWRITTEN) != 0,
			.is_plain = is_plain(volume, extent),
		};
		memcpy(checksums + checksums_at, extent->checksums,
			extent->blocks * sizeof *checksums);
		checksums_at += extent->blocks;
	}
	window->pieces = pieces;
	window->checksums = checksums;
	window->count = (uint32_t)extents->count;
	window->length = record->length;
	return window;
}

/* The map of the region of `block`, from its beginning when all may be had, else from the block. */
static struct window *
window_from_map(struct cop_object *object, const struct record *record, uint64_t block, size_t max)
{
	uint64_t region = block - block % CACHED_REGION_BLOCKS;
	struct gather gather = {
		.first = max == CACHED_EXTENTS_MAX ? region : block,
		.end = region + CACHED_REGION_BLOCKS,
		.max = max,
	};
	struct extents extents = { 0 };
	struct window *window;
	bool more;
	int err = content_gather(object, record, &gather, &extents, &more);

	if (err == 0 && more && extent_last(&extents.list[extents.count - 1]) < block) {
		extents_free(&extents);
		gather.first = block;
		err = content_gather(object, record, &gather, &extents, &more);
	}
	if (err) {
		err_clear(); /* the read that needs it will say so */
		return NULL;
	}
	window = window_of_extents(object->volume, record, &extents);
	if (window) {
		window->first = gather.first;
		window->end = more ? extent_last(&extents.list[extents.count - 1]) + 1 : gather.end;
	}
	extents_free(&extents);
	return window;
}

static void
build(struct cop_object *object, uint64_t block, size_t max)
{
	uint64_t version = version_of(object);
	struct window *window;
	struct loaded loaded;
	int err = record_load(object, &loaded);

	if (err) {
		err_clear();
		return;
	}
	if (loaded.record.form == COP_FORM_INLINE)
		window = window_of_inline(object->volume, &loaded.record);
	else
		window = window_from_map(object, &loaded.record, block, max);
	if (!window)
		return;
	if (version_of(object) != version) {
		window_free(window); /* record and map may not belong together */
		return;
	}
	window->version = version;
	window = atomic_exchange(place_of(object, block), window);
	if (window)
		retire(window);
}

/* Extents that may be gathered for a window of `last`, where a read from `first` on ended; 0: none
 * is due. */
static size_t
due(struct cop_object *object, uint64_t first, uint64_t last, uint32_t credit)
{
	struct epoch *epoch = cache_epoch(volume_cache(object->volume->volume));
	const struct window *window;
	size_t extents;
	uint32_t slot;

	if (!epoch_enter(epoch, &slot))
		return 0;
	window = atomic_load(place_of(object, last));
	if (!window || window->version != version_of(object))
		extents = credit < CREDIT_FIRST ? 0 : min_u64(credit, CACHED_EXTENTS_MAX);
	else if (!(first <= window->end && window->end <= last) &&
		 (window_covers(window, last) || credit < CACHED_EXTENTS_MAX))
		extents = 0;
	else
		extents = CACHED_EXTENTS_MAX;
	epoch_leave(epoch, slot);
	return extents;
}

void
cached_fill(struct cop_object *object, uint64_t offset, size_t bytes)
{
	uint64_t first = offset / BLOCK_BYTES;
	uint64_t last = bytes == 0 ? first : (offset + bytes - 1) / BLOCK_BYTES;
	uint32_t credit = atomic_fetch_add_explicit(
				  &object->cached.credit, CREDIT_PER_MISS, memory_order_relaxed) +
			  CREDIT_PER_MISS;
	size_t extents = due(object, first, last, credit);

	if (extents == 0)
		return;
	atomic_store_explicit(&object->cached.credit, 0, memory_order_relaxed);
	build(object, last, extents);
}
