/*
 * cp decides what each operand is, opens the volumes, the one that is written first, and has the
 * engine copy one operand after the other.
 */

#include "front/cli/copy.h"
#include "front/cli/interrupt.h"
#include "front/cli/output.h"
#include "front/cli/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct operand {
	struct address address;
	bool is_stream; /* "-" */
};

struct job {
	struct cli *cli;
	struct operand *operands; /* the sources, and the destination as the last */
	size_t count;
	struct sink sink;
	struct destination to;
	struct copy copy;
};

static bool
is_in_volume(const struct operand *operand)
{
	return !operand->is_stream && operand->address.kind == ADDRESS_VOLUME;
}

static bool
is_volume(const char *path)
{
	struct cop_volume_info info = COP_INIT(info);
	struct stat st;
	bool is = stat(path, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
		  cop_probe(path, &info) == 0;

	err_clear();
	return is;
}

/* One of the operands may be a volume, or be meant for a place in one. */
static void
complain_of_no_volume(const struct job *job)
{
	static const char message[] =
		"none of the operands is in a volume; a place in one is VOLUME:/PATH";
	char *place = NULL;
	struct text hint = { 0 };

	for (size_t i = 0; i < job->count && !place; i++) {
		const char *word = job->operands[i].address.operand;
		bool is_last = i == job->count - 1;

		place = is_volume(word) ? need_format("%s:/", word) : place_meant(word);
		if (!place)
			continue;
		text_add_string(&hint, is_last ? "coppice cp ... " : "coppice cp ");
		text_add_quoted(&hint, place);
		text_add_string(&hint, is_last ? "" : " ...");
	}
	if (place)
		complain(job->cli, NULL, EXIT_USAGE, hint.data, "%s", message);
	else
		(void)usage(job->cli, NULL, "%s", message);
	free(place);
	text_fini(&hint);
}

static bool
read_operands(struct job *job)
{
	bool any = false;

	job->count = job->cli->args.count;
	job->operands = need(job->count, sizeof *job->operands);
	for (size_t i = 0; i < job->count; i++) {
		struct operand *operand = &job->operands[i];
		const char *word = job->cli->args.operands[i];

		operand->is_stream = strcmp(word, "-") == 0;
		if (operand->is_stream)
			operand->address.operand = word;
		else if (volume_address(job->cli, word, &operand->address) != 0)
			return false;
		any = any || is_in_volume(operand);
	}
	if (!any)
		complain_of_no_volume(job);
	return any;
}

/* A volume named without ":/" would be overwritten by the file: surely that is not meant. */
static bool
is_bare_volume(struct job *job, const struct address *address)
{
	struct text hint = { 0 };

	if (!is_volume(address->operand))
		return false;
	text_add_string(&hint, "coppice cp ... ");
	text_add_quoted(&hint, address->operand);
	text_add_string(&hint, ":/");
	job->cli->items++;
	complain(job->cli, address->operand, EXIT_USAGE, hint.data,
		"is a volume, and would be overwritten; to copy into it add \":/\"");
	text_fini(&hint);
	return true;
}

static void
stream_to_stdout(struct destination *to)
{
	*to = (struct destination){
		.path = need_copy("standard output"),
		.is_stream = true,
		.stream = { .kind = COP_FILE, .fd = STDOUT_FILENO, .is_stream = true },
	};
}

/* Opens where things go. Reports. */
static bool
open_destination(struct job *job)
{
	struct operand *operand = &job->operands[job->count - 1];
	struct sink *sink = &job->sink;
	int err = 0;

	sink->ops = is_in_volume(operand) ? &sink_volume : &sink_host;
	if (operand->is_stream) {
		stream_to_stdout(&job->to);
		return true;
	}
	if (is_in_volume(operand))
		err = volumes_root(job->cli, &operand->address, true, &sink->root);
	else if (is_bare_volume(job, &operand->address))
		return false;
	if (!err)
		err = sink->ops->locate(sink, &operand->address, &job->to);
	if (!err && job->to.name && job->count > 2)
		err = fail(COP_ENOTDIR, "several sources need a directory that exists");
	if (err) {
		job->cli->items++;
		report(job->cli, operand->address.operand, err);
	}
	return !err;
}

/* Opens the source of an operand in a volume; `source` is released by the caller. */
static int
open_source(struct job *job, const struct operand *operand, struct source *source)
{
	*source = (struct source){ .cli = job->cli };
	source->ops = is_in_volume(operand) ? &source_volume : &source_host;
	job->copy.source = source;
	if (!is_in_volume(operand))
		return 0;
	return volumes_root(job->cli, &operand->address, false, &source->root);
}

/* For the progress line. What fails here fails again in the copy, and is told of then. */
static void
count_source(struct job *job, const struct operand *operand)
{
	struct source source;

	if (operand->is_stream)
		return;
	if (open_source(job, operand, &source) == 0)
		copy_count(&job->copy, &operand->address);
	cop_release(source.root);
}

static void
copy_source(struct job *job, const struct operand *operand)
{
	struct source source;
	int err = open_source(job, operand, &source);

	if (!err && operand->is_stream) {
		copy_stream(&job->copy, &job->to);
	} else if (err) {
		job->cli->items++;
		report(job->cli, operand->address.operand, err);
	} else {
		copy_operand(&job->copy, &operand->address, &job->to);
	}
	cop_release(source.root);
}

static mode_t
read_umask(void)
{
	mode_t mask = umask(0);

	(void)umask(mask);
	return mask;
}

static void
begin_copy(struct job *job)
{
	const struct arguments *args = &job->cli->args;
	bool recursive = args_has(args, OPTION_RECURSIVE) || args_has(args, OPTION_ALL);

	job->copy = (struct copy){
		.cli = job->cli,
		.sink = &job->sink,
		.recursive = recursive,
		.preserve = recursive || args_has(args, OPTION_PRESERVE),
		.no_clobber = args_has(args, OPTION_NO_CLOBBER),
		.update = args_has(args, OPTION_UPDATE),
		.partial = args_has(args, OPTION_PARTIAL),
		.verbose = args_has(args, OPTION_VERBOSE),
		.umask_bits = read_umask(),
	};
	job->sink = (struct sink){
		.cli = job->cli,
		.preserve = job->copy.preserve,
		.recursive = recursive,
		.has_no_tmpfile = access("/proc/self/fd", F_OK) != 0,
		.sync_fd = -1,
	};
}

static void
end_copy(struct job *job)
{
	int err = job->sink.ops && job->sink.ops->end ? job->sink.ops->end(&job->sink) : 0;

	if (err)
		report_and_stop(job->cli, job->to.path, err);
	if (job->to.directory)
		job->sink.ops->leave(job->to.directory);
	if (job->to.is_stream)
		job->sink.ops->abandon(&job->to.stream);
	cop_release(job->sink.root);
	copy_fini(&job->copy);
	free(job->to.name);
	free(job->to.path);
	for (size_t i = 0; i < job->count; i++)
		address_fini(&job->operands[i].address);
	free(job->operands);
}

int
verb_cp(struct cli *cli)
{
	struct job job = { .cli = cli };

	begin_copy(&job);
	if (read_operands(&job) && open_destination(&job)) {
		for (size_t i = 0; i + 1 < job.count; i++)
			count_source(&job, &job.operands[i]);
		for (size_t i = 0; i + 1 < job.count; i++) {
			if (!job.copy.has_stopped && !interrupt_requested())
				copy_source(&job, &job.operands[i]);
		}
	}
	end_copy(&job);
	return EXIT_FINE;
}
