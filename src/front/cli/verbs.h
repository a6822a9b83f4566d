#ifndef COPPICE_FRONT_CLI_VERBS_H
#define COPPICE_FRONT_CLI_VERBS_H

/* verbs: the functions behind the rows of the command table. Each returns an exit code. */

#include "front/cli/cli.h"

int verb_cat(struct cli *cli);
int verb_check(struct cli *cli);
int verb_completion(struct cli *cli);
int verb_cp(struct cli *cli);
int verb_df(struct cli *cli);
int verb_dump(struct cli *cli);
int verb_du(struct cli *cli);
int verb_help(struct cli *cli);
int verb_info(struct cli *cli);
int verb_init(struct cli *cli);
int verb_ls(struct cli *cli);
int verb_mkdir(struct cli *cli);
int verb_mv(struct cli *cli);
int verb_repair(struct cli *cli);
int verb_rm(struct cli *cli);
int verb_stat(struct cli *cli);
int verb_stats(struct cli *cli);
int verb_sync(struct cli *cli);
int verb_version(struct cli *cli);

/* Says that there is no such verb, and which may have been meant. Returns the exit code. */
int help_unknown(struct cli *cli, const char *word);

/* The help of one command, and the page that lists them all, on stdout. */
void help_command(const struct command *command);
void help_all(void);

#endif
