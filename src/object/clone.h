#ifndef COPPICE_OBJECT_CLONE_H
#define COPPICE_OBJECT_CLONE_H

/*
 * clone: the content of one file becomes that of another, without being copied.
 *
 * Promises
 *   - Both have the same bytes afterwards, and from then on each is changed by itself: what one
 *     writes goes to new blocks, what one gives up stays as long as the other has it.
 *   - One transaction: after a crash the target has its old content or the new one.
 *   - What is cloned is content. Attributes, links and names stay what they were.
 * Cost  A content tree is shared by its root, whatever its size; extents in the record are counted
 *       one by one, of which there are few. What the target had is left to a job if it is large.
 */

#include "object/object_internal.h"

/* Both are files of one volume. COP_EISDIR, COP_EINVAL, COP_EXDEV, COP_ENOSPC. */
MUST_CHECK int object_clone(struct cop_object *source, struct cop_object *target);

#endif
