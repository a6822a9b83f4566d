#include "support/die.h"

#include "coppice.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)printf(": %s\n", cop_error_text());
	exit(EXIT_FAILURE);
}

void
must(int err, const char *what)
{
	if (err)
		die("%s", what);
}
