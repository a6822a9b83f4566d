#ifndef COPPICE_BASE_ERR_H
#define COPPICE_BASE_ERR_H

/*
 * err: error codes with a sentence each, and the note of what went wrong.
 *
 * fail() makes an error where it is found: it writes the note of this thread and returns the code.
 * The code travels up unchanged; a layer that knows more puts it in front with fail_in(). Whoever
 * recovers from an error calls err_clear().
 *
 * Locks  None: the note belongs to the thread.
 * Cost   Only on failure.
 */

#include "coppice.h"

#include <inttypes.h>

#define MUST_CHECK __attribute__((warn_unused_result))

/* Moves ownership out of a pointer variable: its value, leaving NULL. */
#define TAKE(pointer)                                   \
	__extension__({                                 \
		__typeof__(pointer) taken_ = (pointer); \
		(pointer) = NULL;                       \
		taken_;                                 \
	})

/* Internal: never leaves the library. A node or buffer is not resident; load it and try again. */
enum { ERR_MISSING = -100 };

/* An error is less than 0. Saying so spares compilers the path on which a failure is none. */
static inline int
err_known(int code)
{
	if (code >= 0)
		__builtin_unreachable(); /* the functions below assert it */
	return code;
}

/* Notes what went wrong and where; the value is `code`. */
#define fail(code, ...) err_known(err_fail(__FILE__, __LINE__, (code), __VA_ARGS__))

/* Puts "context: " in front of the note; the value is `code`. */
#define fail_in(code, ...) err_known(err_fail_in((code), __VA_ARGS__))

/* The note made from an errno of the host; the value is the code nearest to it. */
#define fail_errno(host_errno, ...) \
	err_known(err_fail_errno(__FILE__, __LINE__, (host_errno), __VA_ARGS__))

int err_fail(const char *file, int line, int code, const char *format, ...)
	__attribute__((format(printf, 4, 5), cold));
int err_fail_in(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
int err_fail_errno(const char *file, int line, int host_errno, const char *format, ...)
	__attribute__((format(printf, 4, 5), cold));

void err_clear(void);
const char *err_text(void);

/* For what goes on after an error and may meet others, which nobody is to hear of. */
enum { ERR_NOTE_BYTES = 1024 };

struct err_note {
	char text[ERR_NOTE_BYTES];
	const char *file;
	int line;
};

void err_keep(struct err_note *out_note);
void err_put_back(const struct err_note *kept);

/* Where the newest error of this thread was made: "file.c:12", for debugging. */
const char *err_place(void);

/* True for the codes that mean a damaged volume. */
static inline bool
err_is_damage(int code)
{
	return code == COP_ECHECKSUM || code == COP_EFORMAT || code == COP_ELOSS;
}

#endif
