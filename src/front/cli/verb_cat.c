#include "base/num.h"
#include "front/cli/damage.h"
#include "front/cli/interrupt.h"
#include "front/cli/text.h"
#include "front/cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, BUFFER_ALIGNMENT = 4096 };

static int
read_object(void *context, uint64_t offset, void *buffer, size_t bytes, size_t *out_bytes)
{
	return cop_read(context, offset, buffer, bytes, out_bytes);
}

/* False when nobody takes the output any more. */
static bool
put(struct cli *cli, const void *buffer, size_t bytes)
{
	if (fwrite(buffer, 1, bytes, stdout) == bytes)
		return true;
	report_and_stop(cli, NULL, fail_errno(errno, "standard output"));
	return false;
}

static void
print_content(struct cli *cli, const char *operand, struct cop_object *object, uint64_t length,
	char *buffer)
{
	uint64_t offset = 0;

	while (offset < length && !interrupt_requested()) {
		size_t want = min_u64(BUFFER_BYTES, length - offset);
		struct damage_range range = { 0 };
		size_t bytes = want;

		if (cop_read(object, offset, buffer, want, &bytes) != 0) {
			range = damage_find(read_object, object, offset, buffer, want);
			if (range.bytes > 0)
				bytes = (size_t)(range.offset - offset);
		}
		if (!put(cli, buffer, bytes))
			return;
		if (range.bytes > 0) {
			report(cli, operand, damage_note(&range));
			return;
		}
		if (bytes == 0)
			return;
		offset += bytes;
		progress_set(&cli->progress, offset, length);
	}
}

static void
print_file(struct cli *cli, const char *operand, char *buffer)
{
	struct cop_attr attr = COP_INIT(attr);
	struct cop_object *object = NULL;
	struct address address;
	int err;

	if (volume_address(cli, operand, &address) != 0)
		return;
	err = volumes_walk(cli, &address, false, 0, &object);
	if (!err)
		err = cop_stat(object, &attr);
	if (err)
		report(cli, operand, err);
	else if (attr.kind == COP_DIRECTORY)
		complain_of(cli, operand, EXIT_ERROR, "coppice ls", "is a directory");
	else if (attr.kind != COP_FILE)
		complain_of(cli, operand, EXIT_ERROR, "coppice stat", "has no content to print");
	else
		print_content(cli, operand, object, attr.length, buffer);
	cop_release(object);
	address_fini(&address);
}

int
verb_cat(struct cli *cli)
{
	char *buffer = need_aligned(BUFFER_ALIGNMENT, BUFFER_BYTES);

	for (size_t i = 0; i < cli->args.count && cli->stop_exit == 0; i++) {
		cli->items++;
		print_file(cli, cli->args.operands[i], buffer);
	}
	free(buffer);
	return EXIT_FINE;
}
