/*
 * Completion scripts, from the command table. Verbs and options are words of the script itself;
 * paths in a volume are asked of "coppice ls" when ":/" has been typed.
 */

#include "base/num.h"
#include "front/cli/verbs.h"

#include <stdio.h>
#include <string.h>

/* Text inside single quotes of any shell: without the quotes themselves. */
static void
put_plain(const char *text)
{
	for (; *text != '\0'; text++)
		(void)putchar(*text == '\'' ? ' ' : *text);
}

static void
put_verbs(void)
{
	for (size_t i = 0; i < command_count; i++)
		(void)printf("%s%s", i > 0 ? " " : "", commands[i].name);
}

static void
put_options(const struct command *command)
{
	const struct option_row *rows[COMMAND_OPTIONS_MAX];
	size_t count = command_options(command, rows);

	for (size_t i = 0; i < count; i++) {
		if (rows[i]->letter)
			(void)printf("-%c ", rows[i]->letter);
		(void)printf("--%s ", rows[i]->name);
	}
}

static void
bash(void)
{
	(void)fputs("# bash completion for coppice: source <(coppice completion bash)\n"
		    "_coppice_paths() {\n"
		    "\tlocal volume=${1%%:/*} path=/${1#*:/} name\n"
		    "\tlocal above=${path%/*}/\n"
		    "\tcompopt -o nospace\n"
		    "\twhile IFS= read -r name; do\n"
		    "\t\tCOMPREPLY+=(\"${2}${above#/}$name\")\n"
		    "\tdone < <(coppice ls -- \"$volume:$above\" 2>/dev/null | grep -F -- "
		    "\"${path##*/}\" | while IFS= read -r name; do\n"
		    "\t\t[[ $name == \"${path##*/}\"* ]] && printf '%s\\n' \"$name\"\n"
		    "\tdone)\n"
		    "}\n"
		    "_coppice() {\n"
		    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} word options i\n"
		    "\tCOMPREPLY=()\n"
		    "\tif ((COMP_CWORD == 1)); then\n"
		    "\t\tmapfile -t COMPREPLY < <(compgen -W '",
		stdout);
	put_verbs();
	(void)fputs("' -- \"$cur\")\n"
		    "\t\treturn\n"
		    "\tfi\n"
		    "\tcase ${COMP_WORDS[1]} in\n",
		stdout);
	for (size_t i = 0; i < command_count; i++) {
		(void)printf("\t%s) options='", commands[i].name);
		put_options(&commands[i]);
		(void)fputs("' ;;\n", stdout);
	}
	(void)fputs("\tesac\n"
		    "\tif [[ $cur == -* ]]; then\n"
		    "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
		    "\t\treturn\n"
		    "\tfi\n"
		    "\tcase ${COMP_WORDS[1]} in\n"
		    "\thelp) mapfile -t COMPREPLY < <(compgen -W '",
		stdout);
	put_verbs();
	(void)fputs("' -- \"$cur\"); return ;;\n"
		    "\tcompletion) mapfile -t COMPREPLY < <(compgen -W 'bash zsh fish' -- "
		    "\"$cur\"); return ;;\n"
		    "\tesac\n"
		    "\t# A colon breaks words: what is typed is put together again up to a blank.\n"
		    "\tword=$cur\n"
		    "\ti=$COMP_CWORD\n"
		    "\tif [[ ${COMP_WORDS[i]} == : ]]; then\n"
		    "\t\tword=${COMP_WORDS[i-1]}:\n"
		    "\telif ((i > 2)) && [[ ${COMP_WORDS[i-1]} == : ]]; then\n"
		    "\t\tword=${COMP_WORDS[i-2]}:$cur\n"
		    "\tfi\n"
		    "\tif [[ $word == *:/* ]]; then\n"
		    "\t\tif [[ $word == \"$cur\" ]]; then\n"
		    "\t\t\t_coppice_paths \"$word\" \"${word%%:/*}:/\"\n"
		    "\t\telse\n"
		    "\t\t\t_coppice_paths \"$word\" /\n"
		    "\t\tfi\n"
		    "\t\treturn\n"
		    "\tfi\n"
		    "\tcompopt -o filenames\n"
		    "\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
		    "}\n"
		    "complete -F _coppice coppice\n",
		stdout);
}

static void
zsh_option(const struct option_row *row)
{
	char names[3][40];
	size_t count = 0;

	(void)snprintf(names[count++], sizeof names[0], "--%s", row->name);
	if (row->letter)
		(void)snprintf(names[count++], sizeof names[0], "-%c", row->letter);
	if (row->second_letter)
		(void)snprintf(names[count++], sizeof names[0], "-%c", row->second_letter);
	for (size_t i = 0; i < count; i++) {
		(void)printf("\t\t\t'%s[", names[i]);
		put_plain(row->help);
		(void)printf("]%s%s' \\\n", row->argument ? ":" : "",
			row->argument ? row->argument : "");
	}
}

static void
zsh(void)
{
	(void)fputs("#compdef coppice\n"
		    "# zsh completion for coppice: coppice completion zsh > a directory of $fpath"
		    "/_coppice\n"
		    "_coppice_operands() {\n"
		    "\tlocal word=${(Q)PREFIX}\n"
		    "\tif [[ $word == *:/* ]]; then\n"
		    "\t\tlocal above=${word%/*}/\n"
		    "\t\tlocal -a names\n"
		    "\t\tnames=(${(f)\"$(coppice ls -- $above 2>/dev/null)\"})\n"
		    "\t\tcompadd -Q -S '' -p ${(q)above} -- ${(q)names}\n"
		    "\telse\n"
		    "\t\t_files\n"
		    "\tfi\n"
		    "}\n"
		    "_coppice() {\n"
		    "\tlocal -a verbs\n"
		    "\tverbs=(\n",
		stdout);
	for (size_t i = 0; i < command_count; i++) {
		(void)printf("\t\t'%s:", commands[i].name);
		put_plain(commands[i].summary);
		(void)fputs("'\n", stdout);
	}
	(void)fputs("\t)\n"
		    "\tif ((CURRENT == 2)); then\n"
		    "\t\t_describe verb verbs\n"
		    "\t\treturn\n"
		    "\tfi\n"
		    "\tlocal verb=$words[2]\n"
		    "\twords=(\"coppice $verb\" \"${(@)words[3,-1]}\")\n"
		    "\t((CURRENT--))\n"
		    "\tcase $verb in\n",
		stdout);
	for (size_t i = 0; i < command_count; i++) {
		const struct option_row *rows[COMMAND_OPTIONS_MAX];
		size_t count = command_options(&commands[i], rows);
		const char *operands = commands[i].operand == OPERAND_VERB    ? "($verbs)"
				       : commands[i].operand == OPERAND_SHELL ? "(bash zsh fish)"
									      : "_coppice_operands";

		(void)printf("\t%s)\n\t\t_arguments \\\n", commands[i].name);
		for (size_t j = 0; j < count; j++)
			zsh_option(rows[j]);
		if (commands[i].operand == OPERAND_VERB)
			operands = "_command_names";
		(void)printf("\t\t\t'*:operand:%s'\n\t\t;;\n",
			commands[i].operand == OPERAND_VERB ? "->verb" : operands);
	}
	(void)fputs("\tesac\n"
		    "\t[[ $state == verb ]] && _describe verb verbs\n"
		    "}\n"
		    "_coppice \"$@\"\n",
		stdout);
}

static void
fish(void)
{
	(void)fputs("# fish completion for coppice\n"
		    "function __coppice_operands\n"
		    "\tset -l word (commandline -ct)\n"
		    "\tif string match -q -- '*:/*' $word\n"
		    "\t\tset -l above (string replace -r -- '[^/]*$' '' $word)\n"
		    "\t\tcoppice ls -- $above 2>/dev/null | string replace -r -- '^' $above\n"
		    "\telse\n"
		    "\t\t__fish_complete_path $word\n"
		    "\tend\n"
		    "end\n"
		    "complete -c coppice -f\n",
		stdout);
	for (size_t i = 0; i < command_count; i++) {
		(void)printf("complete -c coppice -n __fish_use_subcommand -a %s -d '",
			commands[i].name);
		put_plain(commands[i].summary);
		(void)fputs("'\n", stdout);
	}
	for (size_t i = 0; i < command_count; i++) {
		const struct option_row *rows[COMMAND_OPTIONS_MAX];
		size_t count = command_options(&commands[i], rows);

		for (size_t j = 0; j < count; j++) {
			(void)printf(
				"complete -c coppice -n '__fish_seen_subcommand_from %s' -l %s",
				commands[i].name, rows[j]->name);
			if (rows[j]->letter)
				(void)printf(" -s %c", rows[j]->letter);
			(void)printf("%s -d '", rows[j]->argument ? " -x" : "");
			put_plain(rows[j]->help);
			(void)fputs("'\n", stdout);
		}
		if (commands[i].operand == OPERAND_PATH || commands[i].operand == OPERAND_VOLUME)
			(void)printf("complete -c coppice -n '__fish_seen_subcommand_from %s' "
				     "-a '(__coppice_operands)'\n",
				commands[i].name);
	}
	(void)fputs("complete -c coppice -n '__fish_seen_subcommand_from completion' "
		    "-a 'bash zsh fish'\n"
		    "complete -c coppice -n '__fish_seen_subcommand_from help' -a '",
		stdout);
	put_verbs();
	(void)fputs("'\n", stdout);
}

int
verb_completion(struct cli *cli)
{
	static const struct {
		const char *shell;
		void (*print)(void);
	} rows[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
	const char *shell = cli->args.operands[0];

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		if (strcmp(rows[i].shell, shell) == 0) {
			rows[i].print();
			return EXIT_FINE;
		}
	}
	return usage(cli, shell, "completion is for bash, zsh and fish");
}
