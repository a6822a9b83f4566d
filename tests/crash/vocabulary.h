#ifndef COPPICE_TESTS_VOCABULARY_H
#define COPPICE_TESTS_VOCABULARY_H

/*
 * vocabulary: operations in a line each, as initializers of a struct op. What they write is a
 * function of their seed.
 */

#include "coppice.h"
#include "support/op.h"

#define CREATE(kind_, path_, seed_)                                                  \
	{                                                                            \
		.type = OP_CREATE, .kind = (kind_), .path = (path_), .seed = (seed_) \
	}
#define WRITE(path_, offset_, bytes_, seed_)                                               \
	{                                                                                  \
		.type = OP_WRITE, .path = (path_), .offset = (offset_), .bytes = (bytes_), \
		.seed = (seed_)                                                            \
	}
#define XATTR(path_, number_, bytes_, seed_)                                     \
	{                                                                        \
		.type = OP_XATTR_SET, .path = (path_), .name_number = (number_), \
		.bytes = (bytes_), .seed = (seed_)                               \
	}
#define LINK(path_, path2_)                                         \
	{                                                           \
		.type = OP_LINK, .path = (path_), .path2 = (path2_) \
	}
#define RENAME(path_, path2_, flags_)                                                    \
	{                                                                                \
		.type = OP_RENAME, .path = (path_), .path2 = (path2_), .flags = (flags_) \
	}
#define UNLINK(path_)                                                        \
	{                                                                    \
		.type = OP_UNLINK, .path = (path_), .flags = COP_UNLINK_FILE \
	}
#define RMDIR(path_)                                                              \
	{                                                                         \
		.type = OP_UNLINK, .path = (path_), .flags = COP_UNLINK_DIRECTORY \
	}
#define LENGTH(path_, bytes_)                                             \
	{                                                                 \
		.type = OP_SET_LENGTH, .path = (path_), .bytes = (bytes_) \
	}
#define PUNCH(path_, offset_, bytes_)                                                     \
	{                                                                                 \
		.type = OP_PUNCH, .path = (path_), .offset = (offset_), .bytes = (bytes_) \
	}
#define PREALLOCATE(path_, offset_, bytes_, grow_)                                               \
	{                                                                                        \
		.type = OP_PREALLOCATE, .path = (path_), .offset = (offset_), .bytes = (bytes_), \
		.flags = (grow_)                                                                 \
	}
#define CLONE(path_, path2_)                                         \
	{                                                            \
		.type = OP_CLONE, .path = (path_), .path2 = (path2_) \
	}

#endif
