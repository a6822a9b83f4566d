/*
 * Damage in what a replay must change, where neither superblock leads past it.
 *
 * A message whose place cannot be read is left out, and the place is marked as lost in the node
 * above it (TREE_SEAL_LOST): from then on everything that the journal says of that range of keys is
 * left out, nothing that comes later finds it empty, and it stays lost should the device read it
 * again. [A record that a left-out message had deleted would come back and name blocks that have
 * another owner by then.] All else is replayed as it was.
 *
 * What a transaction takes is used, as always; what it gives up stays used where one of its
 * messages is left out. So blocks that only lost nodes name are never handed out again: a leak,
 * which check tells, and never a block with two owners. It matters to no message which nodes there
 * are, nor to an allocation what was freed in the same replay: what is allocated was free in the
 * checkpoint.
 *
 * Content whose checksum is wrong is lost like that without a question: it would be so without any
 * journal. Names and objects are lost only to who reads or has accepted the loss. So is what the
 * device did not read, and any content if it did not read something of the predecessor, which may
 * have it: the next time it may read it. The catalog has what else hangs on it: a reader sees what
 * was before, a writer is refused.
 */

#include "volume/volume_internal.h"

#include "base/num.h"

static const struct tree_name catalog_name = { .kind = TREE_CATALOG };
static const struct tree_name objects_name = { .branch = BRANCH_MAIN, .kind = TREE_OBJECTS };

bool
volume__may_be_left_out(int err)
{
	return err_is_damage(err) || err == COP_EIO;
}

static const char *
what_is_lost(struct tree_name name)
{
	switch (name.kind) {
	case TREE_CONTENT:
		return "content of object";
	case TREE_DIRECTORY:
		return "names in object";
	case TREE_CATALOG:
		return "the list of branches and jobs, number";
	default:
		return "objects from number";
	}
}

static uint64_t
number_of(struct tree_name name, struct view key)
{
	if (name.kind == TREE_OBJECTS && key.bytes >= sizeof(uint64_t))
		return get_be64(key.data);
	if (name.kind == TREE_CATALOG && key.bytes >= CATALOG_KEY_BYTES)
		return get_be64(key.data + 1);
	return name.object;
}

/* May it be lost for good? If not, this is why the volume does not open. */
static int
ask_for_acceptance(struct volume *volume, struct tree_name name, struct view key, int err)
{
	bool is_accepted = volume->options.read_only || volume->options.accept_loss;

	if (name.kind == TREE_CATALOG)
		return err;
	if (is_accepted || (name.kind == TREE_CONTENT && err_is_damage(err) &&
				   volume->recovery_way == RECOVERY_LOSING))
		return 0;
	return fail(COP_ELOSS,
		"%s: damage in what the journal must change: %s %" PRIu64
		": %s. It can be opened for reading, and for writing when the loss is accepted",
		device_name(volume->dev), what_is_lost(name), number_of(name, key), err_text());
}

/* Is the place of a change lost? Where it turns out to be damaged, it is from now on. */
static int
look(struct volume *volume, struct tree_name name, struct view key, bool *out_is_lost)
{
	struct tree_pins pins;
	struct tree *tree;
	bool is_damaged;
	int err = volume_tree_open(volume, name, &tree);

	if (err)
		return err;
	tree_pins_init(&pins, volume->cache);
	err = tree_prepare(tree, key, &pins);
	tree_pins_release(&pins);
	volume_tree_release(volume, tree);

	is_damaged = volume__may_be_left_out(err);
	if (is_damaged && !pins.met_lost) {
		err = ask_for_acceptance(volume, name, key, err);
		if (err)
			return err;
		err_clear();
		err = volume__tx_lose(volume, name, key);
	} else if (is_damaged) {
		err_clear();
		err = 0;
	}
	*out_is_lost = is_damaged;
	return err;
}

/* The root record of a content or directory tree. */
static int
look_for_root(struct volume *volume, uint64_t object, enum tree_kind kind, bool *out_is_lost)
{
	uint8_t key[ROOT_KEY_BYTES];

	return look(volume, objects_name, root_key(key, object, kind), out_is_lost);
}

/*
 * A clone shares what its source has, and that is counted. It cannot be left out: its record would
 * name blocks of which nobody counts it as a holder. Nor is there anything to share without the
 * source.
 */
static int
look_for_clone(struct volume *volume, const struct journal_message *message)
{
	uint64_t objects[] = { message->name.object, get_be64(message->key.data) };
	int err = 0;

	for (size_t i = 0; err == 0 && i < ARRAY_COUNT(objects); i++) {
		bool is_lost = false;

		err = look_for_root(volume, objects[i], message->name.kind, &is_lost);
		if (err == 0 && is_lost)
			err = fail(COP_ELOSS,
				"a clone of object %" PRIu64 " in the journal: object %" PRIu64
				" is damaged",
				objects[1], objects[i]);
	}
	return err;
}

static int
look_for_message(struct volume *volume, const struct journal_message *message, bool *out_is_lost)
{
	enum tree_kind kind = message->name.kind;
	bool is_of_job = message->op == MESSAGE_BURY || message->op == MESSAGE_STEP;
	bool is_lost = false;
	int err = 0;

	if (message->op == MESSAGE_DATA)
		return 0;
	if (message->op == MESSAGE_CLONE)
		return look_for_clone(volume, message);
	if (message->op != MESSAGE_STEP && (kind == TREE_CONTENT || kind == TREE_DIRECTORY))
		err = look_for_root(volume, message->name.object, kind, &is_lost);
	if (err == 0 && !is_lost)
		err = look(
			volume, is_of_job ? catalog_name : message->name, message->key, &is_lost);
	*out_is_lost = is_lost;
	return err;
}

int
volume__find_losses(struct volume *volume, const struct journal_tx *tx, struct losses *out_losses)
{
	struct reader r = reader_over(tx->first_message, (size_t)(tx->end - tx->first_message));
	struct losses losses = { .count = 0 };
	struct volume_visit visit;
	int err = 0;

	if (tx->messages > sizeof losses.is_lost)
		return fail(COP_EFORMAT, "a transaction of %u messages", tx->messages);
	volume_enter(volume, &visit);
	for (uint32_t i = 0; err == 0 && i < tx->messages; i++) {
		struct journal_message message;

		err = journal_decode_message(&r, &message);
		if (err == 0)
			err = look_for_message(volume, &message, &losses.is_lost[i]);
		losses.count += losses.is_lost[i];
	}
	volume_leave(volume, &visit);
	*out_losses = losses;
	return err;
}
