/*
 * The table of commands. Texts are for people who have never seen the program: what it does first,
 * then what could surprise. Examples say more than options do.
 */

#include "front/cli/command.h"

#include "base/num.h"
#include "front/cli/verbs.h"

#define END_OF_OPTIONS                              \
	{                                           \
		OPTION_NONE, 0, 0, NULL, NULL, NULL \
	}

static const struct option_row init_options[] = {
	{ OPTION_SIZE, 's', 0, "size", "BYTES", "size of the volume, such as 64M or 20G" },
	{ OPTION_LABEL, 'L', 0, "label", "TEXT", "a name for people, up to 63 bytes" },
	{ OPTION_NODE_SIZE, 0, 0, "node-size", "BYTES",
		"size of tree nodes, 4K to 64K (8K; 4K in less than 256M)" },
	{ OPTION_COPIES, 0, 0, "metadata-copies", "N",
		"keep 1 or 2 copies of every node (2; 1 of leaves of content)" },
	{ OPTION_JOURNAL, 0, 0, "journal", "BYTES",
		"size of the journal (a sixteenth of the volume, 256K to 64M)" },
	{ OPTION_PREALLOCATE, 0, 0, "preallocate", NULL, "have the host reserve all space now" },
	{ OPTION_FORCE, 'f', 0, "force", NULL, "overwrite what is there" },
	END_OF_OPTIONS,
};

static const struct option_row cp_options[] = {
	{ OPTION_RECURSIVE, 'r', 'R', "recursive", NULL,
		"copy directories whole, and preserve everything" },
	{ OPTION_ALL, 'a', 0, "archive", NULL, "the same as -r" },
	{ OPTION_PRESERVE, 'p', 0, "preserve", NULL,
		"preserve mode, owner, times and attributes of files" },
	{ OPTION_NO_CLOBBER, 'n', 0, "no-clobber", NULL, "leave existing files alone" },
	{ OPTION_UPDATE, 'u', 0, "update", NULL, "replace only files that are older" },
	{ OPTION_PARTIAL, 0, 0, "partial", NULL,
		"keep what can be read of a damaged file as NAME.partial" },
	{ OPTION_VERBOSE, 'v', 0, "verbose", NULL, "say what is copied" },
	END_OF_OPTIONS,
};

static const struct option_row ls_options[] = {
	{ OPTION_LONG, 'l', 0, "long", NULL, "with mode, links, owner, size and time" },
	{ OPTION_RECURSIVE, 'R', 'r', "recursive", NULL, "list directories below as well" },
	{ OPTION_ALL, 'a', 0, "all", NULL, "accepted: all names are always shown" },
	{ OPTION_DIRECTORY, 'd', 0, "directory", NULL, "a directory itself, not what is in it" },
	{ OPTION_HUMAN, 'h', 0, "human-readable", NULL, "sizes such as 4.0K or 1.5G" },
	END_OF_OPTIONS,
};

static const struct option_row mkdir_options[] = {
	{ OPTION_PARENTS, 'p', 0, "parents", NULL, "make parents too; no error if it exists" },
	END_OF_OPTIONS,
};

static const struct option_row rm_options[] = {
	{ OPTION_RECURSIVE, 'r', 'R', "recursive", NULL, "remove directories and all in them" },
	{ OPTION_FORCE, 'f', 0, "force", NULL, "what does not exist is no error" },
	END_OF_OPTIONS,
};

static const struct option_row mv_options[] = {
	{ OPTION_NO_CLOBBER, 'n', 0, "no-clobber", NULL, "leave existing files alone" },
	END_OF_OPTIONS,
};

static const struct option_row df_options[] = {
	{ OPTION_HUMAN, 'h', 0, "human-readable", NULL, "sizes such as 4.0K or 1.5G" },
	END_OF_OPTIONS,
};

static const struct option_row du_options[] = {
	{ OPTION_SUMMARY, 's', 0, "summarize", NULL, "only a total for each operand" },
	{ OPTION_HUMAN, 'h', 0, "human-readable", NULL, "sizes such as 4.0K or 1.5G" },
	END_OF_OPTIONS,
};

static const struct option_row check_options[] = {
	{ OPTION_METADATA, 0, 0, "metadata", NULL, "leave the data of files unread" },
	END_OF_OPTIONS,
};

static const struct option_row repair_options[] = {
	{ OPTION_ACCEPT_LOSS, 0, 0, "accept-loss", NULL,
		"give up for good what damage in the journal has lost" },
	END_OF_OPTIONS,
};

static const struct option_row dump_options[] = {
	{ OPTION_ALL, 'a', 0, "all", NULL,
		"entries of nodes, checksums, and batches of older laps as well" },
	{ OPTION_PREVIOUS, 0, 0, "previous", NULL, "of the checkpoint before the newest" },
	{ OPTION_REPLAY, 0, 0, "replay", NULL, "as it is after the journal, replayed in memory" },
	END_OF_OPTIONS,
};

static const struct option_row help_options[] = {
	{ OPTION_MAN, 0, 0, "man", NULL, "print the manual page, for man(1)" },
	END_OF_OPTIONS,
};

const struct command commands[] = {
	{
		.name = "init",
		.synopsis = "[--size BYTES] [OPTION]... VOLUME",
		.summary = "make an empty volume",
		.text = "A file that is not there is created, sparse unless --preallocate is "
			"given, and\n"
			"needs --size. A device or an empty file may be taken as large as it is. "
			"What is\n"
			"not empty is refused and left untouched, unless --force is given.",
		.examples =
			"coppice init --size 64M vol.cop\ta volume in a new file\n"
			"coppice init --label backups /dev/sdb1\ta whole disk or partition\n"
			"coppice init --force --size 1G vol.cop\tbegin again: all in it is lost\n",
		.options = init_options,
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = 1,
		.run = verb_init,
	},
	{
		.name = "info",
		.synopsis = "[--json] FILE...",
		.summary = "say what a file or device is",
		.text = "Of a volume: its size, label, format and newest checkpoint, read from "
			"the\n"
			"superblocks alone, also while another process has it open. Of anything "
			"else:\n"
			"what it looks like, with exit code 9.",
		.examples = "coppice info vol.cop\twhat is known of a volume\n"
			    "coppice info /dev/sdb1\twhat is on a disk, before it is overwritten\n",
		.flags = COMMAND_QUERY,
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_info,
	},
	{
		.name = "cp",
		.synopsis = "[-r] [-n] [--update] [OPTION]... SOURCE... DESTINATION",
		.summary = "copy into, out of and within volumes",
		.text = "At least one of the operands is in a volume; \"-\" is standard input or "
			"output.\n"
			"As with cp(1), a source goes into a destination that is a directory, and "
			"takes\n"
			"the place of one that does not exist. -r preserves modes, owners, times, "
			"links,\n"
			"extended attributes, ACLs and holes. A file appears under its name only "
			"when it\n"
			"is whole. What cannot be read is named on standard error and left out, "
			"the rest\n"
			"goes on, and the exit code is 3. A copy that is killed leaves what was "
			"there\n"
			"before and the first part of what it copied: all but the last five "
			"seconds.",
		.examples =
			"coppice cp -r photos vol.cop:/\ta directory of the host into a volume\n"
			"coppice cp -r vol.cop:/photos /tmp/out\tand back\n"
			"coppice cp -r vol.cop:/a other.cop:/b\tfrom one volume to another\n"
			"tar c photos | coppice cp - vol.cop:/photos.tar\twhat another program "
			"writes\n"
			"coppice cp -r --update photos vol.cop:/\tonly what is newer\n",
		.options = cp_options,
		.flags = COMMAND_CHANGES,
		.operand = OPERAND_PATH,
		.operands_min = 2,
		.operands_max = OPERANDS_ANY,
		.run = verb_cp,
	},
	{
		.name = "ls",
		.synopsis = "[-l] [-R] [-d] [-h] [--json] VOLUME[:/PATH]...",
		.summary = "list directories of a volume",
		.text = "Sorted by name; in columns on a terminal, one name a line elsewhere. "
			"Control\n"
			"bytes in names are escaped on a terminal.",
		.examples = "coppice ls vol.cop\tthe root of a volume\n"
			    "coppice ls -l vol.cop:/etc\twith modes, owners, sizes and times\n"
			    "coppice ls -R --json vol.cop\teverything, for programs\n",
		.options = ls_options,
		.flags = COMMAND_QUERY,
		.operand = OPERAND_PATH,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_ls,
	},
	{
		.name = "cat",
		.synopsis = "VOLUME:/PATH...",
		.summary = "write files of a volume to standard output",
		.text = "Where a file is damaged, the output ends with the last good byte before "
			"the\n"
			"damage, the byte range is named on standard error, and the exit code is "
			"4.",
		.examples = "coppice cat vol.cop:/etc/motd\ta file\n",
		.operand = OPERAND_PATH,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_cat,
	},
	{
		.name = "stat",
		.synopsis = "[--json] VOLUME[:/PATH]...",
		.summary = "show all attributes of an object",
		.text = "A symlink at the end of the path is shown itself, not what it leads to.",
		.examples = "coppice stat vol.cop:/etc/motd\teverything known of a file\n",
		.flags = COMMAND_QUERY,
		.operand = OPERAND_PATH,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_stat,
	},
	{
		.name = "mkdir",
		.synopsis = "[-p] VOLUME:/PATH...",
		.summary = "make directories in a volume",
		.text = NULL,
		.examples = "coppice mkdir vol.cop:/new\ta directory\n"
			    "coppice mkdir -p vol.cop:/a/b/c\tand those above it\n",
		.options = mkdir_options,
		.flags = COMMAND_CHANGES,
		.operand = OPERAND_PATH,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_mkdir,
	},
	{
		.name = "rm",
		.synopsis = "[-r] [-f] VOLUME:/PATH...",
		.summary = "remove files and directories of a volume",
		.text = "The root of a volume cannot be removed. The command returns when the "
			"space is\n"
			"free again. A symlink is removed itself, never what it leads to.",
		.examples = "coppice rm vol.cop:/old.txt\ta file\n"
			    "coppice rm -r vol.cop:/old\ta directory with all in it\n",
		.options = rm_options,
		.flags = COMMAND_CHANGES,
		.operand = OPERAND_PATH,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_rm,
	},
	{
		.name = "mv",
		.synopsis = "[-n] VOLUME:/PATH... VOLUME:/PATH",
		.summary = "rename and move within a volume",
		.text = "Each move is atomic, and replaces an existing file as rename(2) does. "
			"Across\n"
			"volumes use cp and then rm.",
		.examples =
			"coppice mv vol.cop:/a vol.cop:/b\trename, or move into the directory b\n",
		.options = mv_options,
		.flags = COMMAND_CHANGES,
		.operand = OPERAND_PATH,
		.operands_min = 2,
		.operands_max = OPERANDS_ANY,
		.run = verb_mv,
	},
	{
		.name = "df",
		.synopsis = "[-h] [--json] VOLUME",
		.summary = "show how full a volume is",
		.text = "Available is what can still be stored: free space less what the volume "
			"keeps\n"
			"back so that it can always be emptied. Pending comes back with the next "
			"two\n"
			"checkpoints. Figures are in KiB, in bytes with --json.",
		.examples = "coppice df -h vol.cop\tused and free space\n",
		.options = df_options,
		.flags = COMMAND_QUERY,
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = 1,
		.run = verb_df,
	},
	{
		.name = "du",
		.synopsis = "[-s] [-h] [--json] VOLUME[:/PATH]...",
		.summary = "show how much space directories take",
		.text = "Allocated space in KiB, with all below; a file of several names counts "
			"once.",
		.examples = "coppice du -sh vol.cop:/photos\tone figure\n",
		.options = du_options,
		.flags = COMMAND_QUERY,
		.operand = OPERAND_PATH,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_du,
	},
	{
		.name = "sync",
		.synopsis = "VOLUME...",
		.summary = "make what a server of the volume holds durable",
		.text = "Every command that changes a volume has made its changes durable when it\n"
			"returns 0, so where nothing serves the volume there is nothing to do.",
		.examples = "coppice sync vol.cop\tafter this, what was written is safe\n",
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = OPERANDS_ANY,
		.run = verb_sync,
	},
	{
		.name = "check",
		.synopsis = "[--metadata] [--json] VOLUME",
		.summary = "prove that a volume is sound",
		.text = "Verifies every invariant and every allocated block with its data, and "
			"writes\n"
			"nothing. After a crash that is done twice: for the newest checkpoint, and "
			"for "
			"what\n"
			"the journal makes of it, which is what any command would find. Exit code "
			"4 "
			"when\n"
			"there is a problem.",
		.examples = "coppice check vol.cop\teverything\n"
			    "coppice check --metadata vol.cop\tfaster: without the data of files\n",
		.options = check_options,
		.flags = COMMAND_QUERY,
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = 1,
		.run = verb_check,
	},
	{
		.name = "dump",
		.synopsis = "[-a] [--previous] [--replay] [--json] VOLUME [WHAT [NAME]]",
		.summary = "show what lies on a volume, for people who debug",
		.text = "WHAT is superblocks (the default), groups, journal, trees, \"tree NAME\", "
			"\"node\n"
			"BLOCK\" or \"object NUMBER-OR-PATH\". NAME of a tree is catalog, objects, "
			"shares,\n"
			"content:OBJECT, directory:OBJECT or dead:JOB. Shown is the newest "
			"checkpoint, "
			"as it\n"
			"lies there. What cannot be read is named where it belongs, the rest is "
			"shown, "
			"and\n"
			"the exit code is 4. Writes nothing and takes no lock.",
		.examples = "coppice dump vol.cop\tsuperblocks: every slot in every place\n"
			    "coppice dump vol.cop journal\tbatches, and where the chain ends\n"
			    "coppice dump -a vol.cop tree objects\tall nodes with their entries\n"
			    "coppice dump --replay vol.cop object /etc/motd\twhere a file lies\n",
		.options = dump_options,
		.flags = COMMAND_QUERY,
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = 3,
		.run = verb_dump,
	},
	{
		.name = "repair",
		.synopsis = "[--accept-loss] VOLUME",
		.summary = "make a volume writable again after damage in its journal",
		.text = "After a crash, any command finishes what the journal holds; this one does "
			"only\n"
			"that. Where damage in the journal has lost changes that were durable, "
			"every "
			"command\n"
			"that would write refuses: the volume is as it was before them, and can be "
			"read, so\n"
			"copy out what matters first. With --accept-loss those changes are given "
			"up, "
			"and\n"
			"the volume can be written again. Nothing else is lost, and nothing is "
			"guessed.",
		.examples = "coppice cp -r vol.cop:/ /tmp/rescue\tfirst: what can be read\n"
			    "coppice repair --accept-loss vol.cop\tthen: go on without the rest\n",
		.options = repair_options,
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = 1,
		.run = verb_repair,
	},
	{
		.name = "stats",
		.synopsis = "[--json] VOLUME",
		.summary = "show what it costs to open and walk a volume",
		.text = "Opens the volume for reading, looks at every object, and shows the "
			"requests, "
			"bytes,\n"
			"nodes and cache hits of both, beside the size of what is there; data of "
			"files "
			"is not\n"
			"read. After a crash, opening replays the journal in memory. Counters of a "
			"process\n"
			"that has the volume open are its own: cop_stats() tells them.",
		.examples =
			"coppice stats vol.cop\twhat listing everything would cost\n"
			"coppice stats --json --cache 8M vol.cop\tin little memory, for programs\n",
		.flags = COMMAND_QUERY,
		.operand = OPERAND_VOLUME,
		.operands_min = 1,
		.operands_max = 1,
		.run = verb_stats,
	},
	{
		.name = "version",
		.synopsis = "[--json]",
		.summary = "show the version of the program",
		.text = NULL,
		.examples = "coppice version\n",
		.flags = COMMAND_QUERY,
		.operand = OPERAND_NONE,
		.operands_max = 0,
		.run = verb_version,
	},
	{
		.name = "help",
		.synopsis = "[VERB]",
		.summary = "show help for a verb, or list them all",
		.text = NULL,
		.examples = "coppice help cp\tthe same as coppice cp --help\n",
		.options = help_options,
		.operand = OPERAND_VERB,
		.operands_max = 1,
		.run = verb_help,
	},
	{
		.name = "completion",
		.synopsis = "bash|zsh|fish",
		.summary = "print a completion script for a shell",
		.text = NULL,
		.examples = "source <(coppice completion bash)\tfor this shell\n"
			    "coppice completion fish > "
			    "~/.config/fish/completions/coppice.fish\tfor all\n",
		.operand = OPERAND_SHELL,
		.operands_min = 1,
		.operands_max = 1,
		.run = verb_completion,
	},
};

const size_t command_count = ARRAY_COUNT(commands);
