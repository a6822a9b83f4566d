#ifndef COPPICE_TESTS_DEVICE_HOST_H
#define COPPICE_TESTS_DEVICE_HOST_H

/*
 * host: what the tests of the file driver do to the host: a folder of their own, children that run
 * with a system call refused.
 */

#include <stdint.h>

struct host_folder {
	char path[64];
	char file[96]; /* a name in it; nothing is there yet */
};

void host_folder_make(struct host_folder *folder);

/* Removes `file`, if it is there, and the folder. */
void host_folder_remove(const struct host_folder *folder);

/* From now on `syscall_number` fails with `host_errno` in this process. */
void host_refuse(long syscall_number, int host_errno);

/* As host_refuse(), where the argument `index` of the call, from 0, is `value`. */
void host_refuse_argument(long syscall_number, int index, uint32_t value, int host_errno);

/* Runs `body` in a child and asserts that it returns 0. The child has no cmocka. */
void host_in_child(int (*body)(void *context), void *context);

/* Threads that this process has started, and itself. */
int host_thread_count(void);

/* A sanitizer starts a thread of its own with the first of the program; after this it is there. */
void host_start_first_thread(void);

#endif
