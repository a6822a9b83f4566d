#ifndef COPPICE_TESTS_DIE_H
#define COPPICE_TESTS_DIE_H

/* die: the end of a test program, when what it stands on fails. */

/* Prints the text, with that of the library's newest error behind it. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Dies of an error. */
void must(int err, const char *what);

#endif
