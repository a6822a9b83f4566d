#ifndef COPPICE_TESTS_ORACLE_H
#define COPPICE_TESTS_ORACLE_H

/*
 * oracle: what a volume must contain, as a plain model in memory. It shares only base/ with the
 * product: a table of nodes with attributes, entries, extended attributes and pages of content.
 *
 * A copy is cheap (nodes and pages are shared until they change), so a workload keeps one for each
 * operation since the last acknowledged sync: after a crash the volume must show one of those.
 */

#include "support/op.h"
#include "support/snapshot.h"

struct oracle;

/* A volume just formatted: its root directory is as `root` says (an entry of a snapshot). */
struct oracle *oracle_create(const struct snapshot_entry *root);
struct oracle *oracle_copy(const struct oracle *oracle);
void oracle_free(struct oracle *oracle);

/*
 * The answer that the volume must give, and its effect on the model; `now_ns` is what the clock of
 * the volume says during the operation. An operation with an error changes nothing.
 */
int oracle_apply(struct oracle *oracle, const struct op *op, int64_t now_ns);

/* Tells the number that the volume gave to the object at `path`, which was just made. */
void oracle_learn_id(struct oracle *oracle, const char *path, uint64_t id);

/*
 * Gives the object of `as`, with its length and times, the content that it has in `from`: what was
 * written to it since is taken back.
 */
void oracle_take_content(
	struct oracle *oracle, const struct oracle *from, const struct snapshot_entry *as);

/* What the volume must look like; made once for each state. Borrowed, until the model changes. */
const struct snapshot *oracle_snapshot(struct oracle *oracle);

/* As after a crash or a close: no handles are held, nameless objects are gone. */
void oracle_forget_held(struct oracle *oracle);

/* For generators: paths of objects, the root not among them. */
size_t oracle_path_count(struct oracle *oracle);
const struct snapshot_entry *oracle_path(struct oracle *oracle, size_t index);
bool oracle_is_held(const struct oracle *oracle, uint32_t slot);

#endif
