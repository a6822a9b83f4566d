#include "front/cli/recognize.h"

#include "base/bytes.h"
#include "base/num.h"
#include "device/device.h"
#include "front/cli/output.h"
#include "front/cli/text.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The magic of btrfs is the last that is looked for, 64 KiB and a little from the start. */
enum { HEAD_BYTES = 68 << 10 };

struct magic {
	uint32_t offset;
	uint32_t bytes;
	const char *value;
	const char *what;
};

static const struct magic magics[] = {
	{ 0, 4, "\177ELF", "an ELF program or library" },
	{ 0, 4, "XFSB", "an XFS file system" },
	{ 1080, 2, "\x53\xef", "an ext2, ext3 or ext4 file system" },
	{ 65600, 8, "_BHRfS_M", "a btrfs file system" },
	{ 32769, 5, "CD001", "an ISO 9660 image" },
	{ 4086, 10, "SWAPSPACE2", "swap space" },
	{ 0, 4, "hsqs", "a squashfs file system" },
	{ 3, 8, "NTFS    ", "an NTFS file system" },
	{ 82, 5, "FAT32", "a FAT file system" },
	{ 54, 4, "FAT1", "a FAT file system" },
	{ 0, 6, "LUKS\xba\xbe", "a LUKS encrypted disk" },
	{ 536, 8, "LVM2 001", "an LVM physical volume" },
	{ 512, 8, "EFI PART", "a disk with a GPT partition table" },
	{ 510, 2, "\x55\xaa", "a disk with a boot sector" },
	{ 0, 4, "QFI\xfb", "a QCOW2 disk image" },
	{ 0, 4, "KDMV", "a VMDK disk image" },
	{ 257, 5, "ustar", "a tar archive" },
	{ 0, 2, "\x1f\x8b", "gzip compressed data" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "zstd compressed data" },
	{ 0, 6, "\xfd\x37zXZ", "xz compressed data" },
	{ 0, 3, "BZh", "bzip2 compressed data" },
	{ 0, 4, "PK\3\4", "a zip archive" },
	{ 0, 16, "SQLite format 3", "an SQLite database" },
	{ 0, 5, "%PDF-", "a PDF document" },
	{ 0, 8, "\x89PNG\r\n\x1a\n", "a PNG image" },
	{ 0, 3, "\xff\xd8\xff", "a JPEG image" },
	{ 0, 2, "#!", "a script" },
};

static bool
is_text(const char *head, size_t bytes)
{
	size_t at = 0;

	while (at < bytes) {
		size_t length = utf8_sequence(head + at, bytes - at);

		/* A sequence cut off by the end of what was read is no fault. */
		if (length == 0)
			return bytes - at < 4 && bytes == HEAD_BYTES;
		if ((unsigned char)head[at] < 0x20 && !strchr("\t\n\r\f\033", head[at]))
			return false;
		if (head[at] == '\0')
			return false;
		at += length;
	}
	return bytes > 0;
}

static const char *
look(const char *head, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_COUNT(magics); i++) {
		const struct magic *magic = &magics[i];

		if (magic->offset + magic->bytes <= bytes &&
			memcmp(head + magic->offset, magic->value, magic->bytes) == 0)
			return magic->what;
	}
	if (is_text(head, bytes))
		return "text";
	return bytes > 0 && bytes_are_zero(head, bytes) ? "nothing but zeros at its start"
							: "data of no known kind";
}

static char *
describe_content(int fd, const char *kind, uint64_t length)
{
	char *head = need(HEAD_BYTES, 1);
	ssize_t got = pread(fd, head, HEAD_BYTES, 0);
	char *what = NULL;

	if (got >= 0)
		what = need_format("%s of %" PRIu64 " bytes, looks like %s", kind, length,
			look(head, (size_t)got));
	free(head);
	return what;
}

static char *
describe_open(const char *path, const struct stat *st)
{
	bool block = S_ISBLK(st->st_mode);
	uint64_t length = (uint64_t)st->st_size;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *what;

	if (fd < 0)
		return NULL;
	if (block && ioctl(fd, BLKGETSIZE64, &length) != 0)
		length = 0;
	what = describe_content(fd, block ? "block device" : "file", length);
	(void)close(fd);
	return what;
}

char *
recognize(const char *device)
{
	const char *path;
	struct stat st;

	if (!device_url_is_host_path(device, &path) || stat(path, &st) != 0)
		return NULL;
	if (S_ISDIR(st.st_mode))
		return need_copy("directory");
	if (S_ISFIFO(st.st_mode))
		return need_copy("FIFO");
	if (S_ISSOCK(st.st_mode))
		return need_copy("socket");
	if (S_ISCHR(st.st_mode))
		return need_copy("character device");
	if (S_ISREG(st.st_mode) && st.st_size == 0)
		return need_copy("empty file");
	return describe_open(path, &st);
}
