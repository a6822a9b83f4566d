#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* fail() itself: cmocka has a macro of that name. */
#define make_error(code, ...) err_fail(__FILE__, __LINE__, (code), __VA_ARGS__)

static void
returns_the_code_and_notes_text_and_place(void **state)
{
	(void)state;
	assert_int_equal(make_error(COP_ENOENT, "object %d", 42), COP_ENOENT);
	assert_string_equal(err_text(), "object 42");
	assert_string_equal(cop_error_text(), "object 42");
	assert_non_null(strstr(err_place(), "test_err.c:"));
}

static void
puts_what_a_caller_knows_in_front(void **state)
{
	int err = make_error(COP_ECHECKSUM, "node at block 977");

	(void)state;
	err = fail_in(err, "object %d, byte %d", 42, 81920);
	assert_int_equal(err, COP_ECHECKSUM);
	assert_string_equal(err_text(), "object 42, byte 81920: node at block 977");
	assert_non_null(strstr(err_place(), "test_err.c:")); /* still where it was found */
}

static void
keeps_a_note_while_other_things_fail(void **state)
{
	struct err_note kept;

	(void)state;
	(void)make_error(COP_ENOSPC, "first");
	err_keep(&kept);
	(void)make_error(COP_EIO, "second");
	err_clear();
	err_put_back(&kept);
	assert_string_equal(err_text(), "first");
	assert_non_null(strstr(err_place(), "test_err.c:"));
}

static void
can_quote_its_own_note(void **state)
{
	(void)state;
	(void)make_error(COP_EIO, "inner");
	(void)make_error(COP_EIO, "outer (%s)", err_text());
	assert_string_equal(err_text(), "outer (inner)");
	(void)fail_in(COP_EIO, "again (%s)", err_text());
	assert_string_equal(err_text(), "again (outer (inner)): outer (inner)");
}

static void
cuts_off_what_is_too_long(void **state)
{
	char text[4000];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	(void)make_error(COP_EIO, "%s", text);
	assert_in_range(strlen(err_text()), 500, sizeof text - 2);
	for (int i = 0; i < 10; i++)
		(void)fail_in(COP_EIO, "%s", text);
	assert_in_range(strlen(err_text()), 500, sizeof text - 2);
}

static void
turns_an_errno_into_the_nearest_code(void **state)
{
	static const struct {
		int host;
		int code;
	} rows[] = {
		{ EIO, COP_EIO }, { ENOMEM, COP_ENOMEM }, { ENOSPC, COP_ENOSPC },
		{ EINVAL, COP_EINVAL }, { ENOENT, COP_ENOENT }, { EACCES, COP_EACCES },
		{ EPERM, COP_EPERM }, { EROFS, COP_EROFS }, { EXDEV, COP_EXDEV },
		{ EBADF, COP_EIO }, /* no row of its own */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int code = fail_errno(rows[i].host, "open '%s'", "v.cop");

		assert_int_equal(code, rows[i].code);
		assert_non_null(strstr(err_text(), "open 'v.cop': "));
		assert_non_null(strstr(err_text(), strerror(rows[i].host)));
		assert_non_null(strstr(err_place(), "test_err.c:"));
	}
}

static void
clears(void **state)
{
	(void)state;
	(void)make_error(COP_EIO, "gone soon");
	err_clear();
	assert_string_equal(err_text(), "");
	assert_string_equal(err_place(), "?:0");
}

static void
has_a_name_a_sentence_and_an_errno_for_every_code(void **state)
{
	(void)state;
	for (int code = -1; code >= COP_ELAST; code--) {
		assert_int_equal(strncmp(cop_error_name(code), "COP_E", 5), 0);
		assert_string_not_equal(cop_error_name(code), "COP_E?");
		assert_string_not_equal(cop_error_sentence(code), "unknown error");
		assert_int_not_equal(cop_error_errno(code), 0);
		for (int other = -1; other > code; other--) {
			assert_string_not_equal(cop_error_name(code), cop_error_name(other));
			assert_string_not_equal(
				cop_error_sentence(code), cop_error_sentence(other));
		}
	}
	assert_string_equal(cop_error_name(COP_ENOSPC), "COP_ENOSPC");
	assert_int_equal(cop_error_errno(COP_ENOSPC), ENOSPC);
	assert_string_equal(cop_error_name(0), "COP_OK");
	assert_string_equal(cop_error_sentence(0), "no error");
	assert_int_equal(cop_error_errno(0), 0);
	assert_string_equal(cop_error_name(COP_ELAST - 1), "COP_E?");
	assert_string_equal(cop_error_sentence(1), "unknown error");
	assert_int_equal(cop_error_errno(COP_ELAST - 1), EIO);
}

static void
calls_every_kind_of_damage_damage(void **state)
{
	(void)state;
	for (int code = 0; code >= COP_ELAST; code--) {
		bool want = code == COP_ECHECKSUM || code == COP_EFORMAT || code == COP_ELOSS;

		assert_int_equal(err_is_damage(code), want);
	}
}

static void *
fails_elsewhere(void *context)
{
	(void)context;
	(void)make_error(COP_EBUSY, "of the other thread");
	return NULL;
}

static void
keeps_a_note_for_each_thread(void **state)
{
	pthread_t thread;

	(void)state;
	(void)make_error(COP_EIO, "mine");
	assert_int_equal(pthread_create(&thread, NULL, fails_elsewhere, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_string_equal(err_text(), "mine");
}

static void
takes_a_pointer_and_leaves_null(void **state)
{
	int value = 1;
	int *pointer = &value;
	int *taken = TAKE(pointer);

	(void)state;
	assert_ptr_equal(taken, &value);
	assert_null(pointer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(returns_the_code_and_notes_text_and_place),
		cmocka_unit_test(puts_what_a_caller_knows_in_front),
		cmocka_unit_test(keeps_a_note_while_other_things_fail),
		cmocka_unit_test(can_quote_its_own_note),
		cmocka_unit_test(cuts_off_what_is_too_long),
		cmocka_unit_test(turns_an_errno_into_the_nearest_code),
		cmocka_unit_test(clears),
		cmocka_unit_test(has_a_name_a_sentence_and_an_errno_for_every_code),
		cmocka_unit_test(calls_every_kind_of_damage_damage),
		cmocka_unit_test(keeps_a_note_for_each_thread),
		cmocka_unit_test(takes_a_pointer_and_leaves_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
