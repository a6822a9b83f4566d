/* What a node says of itself, for those who show it. */

#include "tree/tree_internal.h"

#include <assert.h>

void
tree_image_read(const uint8_t *data, struct tree_image *out_image)
{
	*out_image = (struct tree_image){
		.kind = data[NODE_AT_KIND],
		.level = (uint8_t)node_level(data),
		.self = node_self(data),
		.entries = node_count(data),
		.heap_bytes = get_le16(data + NODE_AT_HEAP_BYTES),
		.garbage_bytes = get_le16(data + NODE_AT_GARBAGE_BYTES),
		.low = node_low(data),
		.high = node_high(data),
	};
}

struct view
tree_image_entry(const uint8_t *data, uint32_t index, uint8_t key[static TREE_KEY_BYTES_MAX],
	struct view *out_value)
{
	assert(index < node_count(data));
	*out_value = node_value(data, index);
	return node_key_copy(node_key(data, index), key);
}
