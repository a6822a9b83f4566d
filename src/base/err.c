#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct err_note note;

struct err_row {
	int code;
	const char *name;
	int host_errno;
	const char *sentence;
};

static const struct err_row rows[] = {
	{ COP_EIO, "COP_EIO", EIO, "the device failed" },
	{ COP_ENOMEM, "COP_ENOMEM", ENOMEM, "out of memory" },
	{ COP_ENOSPC, "COP_ENOSPC", ENOSPC, "no space left on the volume" },
	{ COP_EINVAL, "COP_EINVAL", EINVAL, "an argument makes no sense" },
	{ COP_ENOENT, "COP_ENOENT", ENOENT, "not found" },
	{ COP_EEXIST, "COP_EEXIST", EEXIST, "exists already" },
	{ COP_ENOTDIR, "COP_ENOTDIR", ENOTDIR, "not a directory" },
	{ COP_EISDIR, "COP_EISDIR", EISDIR, "is a directory" },
	{ COP_ENOTEMPTY, "COP_ENOTEMPTY", ENOTEMPTY, "directory not empty" },
	{ COP_ENAMETOOLONG, "COP_ENAMETOOLONG", ENAMETOOLONG, "name too long" },
	{ COP_ELOOP, "COP_ELOOP", ELOOP, "too many symbolic links or a loop of directories" },
	{ COP_EMLINK, "COP_EMLINK", EMLINK, "too many links" },
	{ COP_EFBIG, "COP_EFBIG", EFBIG, "file too large" },
	{ COP_EROFS, "COP_EROFS", EROFS, "read-only" },
	{ COP_EBUSY, "COP_EBUSY", EBUSY, "in use" },
	{ COP_EPERM, "COP_EPERM", EPERM, "not permitted" },
	{ COP_EACCES, "COP_EACCES", EACCES, "permission denied" },
	{ COP_ENODATA, "COP_ENODATA", ENODATA, "no such data or attribute" },
	{ COP_ERANGE, "COP_ERANGE", ERANGE, "result too large for the buffer" },
	{ COP_ECHECKSUM, "COP_ECHECKSUM", EIO, "damaged: checksum or identity mismatch" },
	{ COP_EFORMAT, "COP_EFORMAT", EUCLEAN, "damaged: contents make no sense" },
	{ COP_ENOTVOLUME, "COP_ENOTVOLUME", EMEDIUMTYPE, "not a coppice volume" },
	{ COP_EUNSUPPORTED, "COP_EUNSUPPORTED", EPROTONOSUPPORT, "unknown format or feature" },
	{ COP_ESTALE, "COP_ESTALE", ESTALE, "the object is gone" },
	{ COP_EXDEV, "COP_EXDEV", EXDEV, "across volumes or versions" },
	{ COP_ETOOSMALL, "COP_ETOOSMALL", EINVAL, "too small for a volume" },
	{ COP_ENOTSUP, "COP_ENOTSUP", EOPNOTSUPP, "not supported" },
	{ COP_EINTR, "COP_EINTR", EINTR, "interrupted" },
	{ COP_ELOSS, "COP_ELOSS", EIO, "damaged: what was durable is lost" },
};
static_assert(sizeof rows / sizeof rows[0] == -COP_ELAST, "a row for each code");

static const struct err_row *
find_row(int code)
{
	if (code >= 0 || code < COP_ELAST)
		return NULL;
	assert(rows[-code - 1].code == code);
	return &rows[-code - 1];
}

static int
code_of_errno(int host_errno)
{
	if (host_errno == EACCES)
		return COP_EACCES;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].host_errno == host_errno)
			return rows[i].code;
	}
	return COP_EIO;
}

/* Formats aside first: an argument may be the old text itself. A text cut off is good enough. */
static void
note_set(const char *file, int line, const char *format, va_list args)
{
	char text[ERR_NOTE_BYTES];

	(void)vsnprintf(text, sizeof text, format, args);
	memcpy(note.text, text, sizeof note.text);
	note.file = file;
	note.line = line;
}

int
err_fail(const char *file, int line, int code, const char *format, ...)
{
	va_list args;

	assert(code < 0);
	va_start(args, format);
	note_set(file, line, format, args);
	va_end(args);
	return code;
}

int
err_fail_in(int code, const char *format, ...)
{
	char front[ERR_NOTE_BYTES];
	char old[ERR_NOTE_BYTES];
	va_list args;

	assert(code < 0);
	memcpy(old, note.text, sizeof old);
	va_start(args, format);
	(void)vsnprintf(front, sizeof front, format, args);
	va_end(args);
	(void)snprintf(note.text, sizeof note.text, "%.500s: %.500s", front, old);
	return code;
}

int
err_fail_errno(const char *file, int line, int host_errno, const char *format, ...)
{
	char front[ERR_NOTE_BYTES];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(front, sizeof front, format, args);
	va_end(args);
	return err_fail(file, line, code_of_errno(host_errno), "%.900s: %s", front,
		strerrordesc_np(host_errno));
}

void
err_clear(void)
{
	note.text[0] = '\0';
	note.file = NULL;
	note.line = 0;
}

void
err_keep(struct err_note *out_note)
{
	*out_note = note;
}

void
err_put_back(const struct err_note *kept)
{
	note = *kept;
}

const char *
err_text(void)
{
	return note.text;
}

const char *
err_place(void)
{
	static _Thread_local char place[256];

	(void)snprintf(place, sizeof place, "%s:%d", note.file ? note.file : "?", note.line);
	return place;
}

const char *
cop_error_text(void)
{
	return err_text();
}

const char *
cop_error_name(int code)
{
	const struct err_row *row = find_row(code);

	return row ? row->name : code == 0 ? "COP_OK" : "COP_E?";
}

const char *
cop_error_sentence(int code)
{
	const struct err_row *row = find_row(code);

	return row ? row->sentence : code == 0 ? "no error" : "unknown error";
}

int
cop_error_errno(int code)
{
	const struct err_row *row = find_row(code);

	return row ? row->host_errno : code == 0 ? 0 : EIO;
}
