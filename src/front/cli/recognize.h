#ifndef COPPICE_FRONT_CLI_RECOGNIZE_H
#define COPPICE_FRONT_CLI_RECOGNIZE_H

/*
 * What a device of the host is, when it is no volume: "directory", "empty file", "file of 1.2M,
 * looks like an ext4 file system". To be freed; NULL when it cannot be read. Nothing that could
 * wait, such as a FIFO, is opened.
 */
char *recognize(const char *device);

#endif
