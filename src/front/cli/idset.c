/*
 * Open addressing with linear probing, at most three quarters full. Removal moves later rows of
 * the same cluster back, so that there are no graves.
 */

#include "front/cli/idset.h"

#include "front/cli/text.h"

#include <assert.h>
#include <stdlib.h>

enum { CAPACITY_FIRST = 64 };

static size_t
slot_of(const struct idset *set, uint64_t space, uint64_t number)
{
	uint64_t hash =
		(number + space * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

	return (size_t)(hash ^ hash >> 32) & (set->capacity - 1);
}

void
idset_fini(struct idset *set)
{
	for (size_t i = 0; i < set->capacity; i++)
		free(set->rows[i].place);
	free(set->rows);
	*set = (struct idset){ 0 };
}

struct idset_row *
idset_find(struct idset *set, uint64_t space, uint64_t number)
{
	if (set->capacity == 0)
		return NULL;
	for (size_t i = slot_of(set, space, number); set->rows[i].is_used;
		i = (i + 1) & (set->capacity - 1)) {
		if (set->rows[i].space == space && set->rows[i].number == number)
			return &set->rows[i];
	}
	return NULL;
}

static struct idset_row *
place_row(struct idset *set, const struct idset_row *row)
{
	size_t i = slot_of(set, row->space, row->number);

	while (set->rows[i].is_used)
		i = (i + 1) & (set->capacity - 1);
	set->rows[i] = *row;
	return &set->rows[i];
}

static void
grow(struct idset *set)
{
	struct idset old = *set;

	set->capacity = old.capacity > 0 ? 2 * old.capacity : CAPACITY_FIRST;
	set->rows = need(set->capacity, sizeof *set->rows);
	for (size_t i = 0; i < old.capacity; i++) {
		if (old.rows[i].is_used)
			(void)place_row(set, &old.rows[i]);
	}
	free(old.rows);
}

struct idset_row *
idset_insert(struct idset *set, uint64_t space, uint64_t number)
{
	struct idset_row row = { .space = space, .number = number, .is_used = true };

	assert(!idset_find(set, space, number));
	if (4 * (set->count + 1) > 3 * set->capacity)
		grow(set);
	set->count++;
	return place_row(set, &row);
}

void
idset_remove(struct idset *set, struct idset_row *row)
{
	size_t hole = (size_t)(row - set->rows);
	size_t mask = set->capacity - 1;

	assert(row->is_used);
	free(row->place);
	for (size_t i = (hole + 1) & mask; set->rows[i].is_used; i = (i + 1) & mask) {
		size_t home = slot_of(set, set->rows[i].space, set->rows[i].number);

		/* It may move to the hole unless its home lies between the hole and itself. */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			set->rows[hole] = set->rows[i];
			hole = i;
		}
	}
	set->rows[hole] = (struct idset_row){ 0 };
	set->count--;
}
