#ifndef COPPICE_FRONT_CLI_DOCUMENT_H
#define COPPICE_FRONT_CLI_DOCUMENT_H

/*
 * document: a dump as text for people: what follows from its items alone, so that text and JSON say
 * the same.
 *
 * An object is a line of its plain members, broken where it gets long; what lies in it stands
 * below, further in:
 *
 *	batches:
 *	  - position 4, sequence 9, kind "changes"
 *	    transactions:
 *	      - bytes 120
 */

#include "coppice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { DOCUMENT_DEPTH_MAX = 16 };

struct document {
	FILE *stream;
	uint32_t depth;
	bool is_array[DOCUMENT_DEPTH_MAX];
	bool is_line_open; /* the next plain member goes on in this line */
	bool is_line_empty;
	size_t column;
};

void document_begin(struct document *document, FILE *stream);
void document_put(struct document *document, const struct cop_dump_item *item);
void document_end(struct document *document);

#endif
