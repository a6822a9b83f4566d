#include "front/cli/json.h"
#include "front/cli/verbs.h"

#include <stdio.h>

int
verb_version(struct cli *cli)
{
	struct json json;

	if (args_has(&cli->args, OPTION_JSON)) {
		json_begin(&json, stdout, "coppice.version/1");
		json_end(&json);
	} else {
		(void)printf("coppice %d.%d.%d\n", COP_VERSION_MAJOR, COP_VERSION_MINOR,
			COP_VERSION_PATCH);
	}
	return EXIT_FINE;
}
