/* What the real body finds out about the file system below its root; used by hw/probe as well.
 */
#ifndef EAGRE_HW_DISK_DISK_REAL_H
#define EAGRE_HW_DISK_DISK_REAL_H

#include "hw/disk/disk.h"

#define DISK_LOCK_NAME "lock"

/* The real body, and the one that only reads (disk_reading.c). */
struct disk_real {
    struct disk disk;
    int root_fd;
    int lock_fd;
    struct disk_facts facts; /* all but the free space, which is asked each time */
};

extern const struct disk_ops disk__real_ops;

/* Fills every fact but the space. root_fd is the directory, file_fd a regular file in it or root_fd
 * again. What cannot be found out is "unknown" or the safe value. Runs on: start-up, control.
 * Allocates: nothing.  Blocks: yes. */
void disk__probe(int root_fd, int file_fd, struct disk_facts *ret_facts);

/* The facts of a directory that need not be a data directory; nothing is locked, nothing is left
 * behind. Runs on: start-up, command-line tools.  Allocates: nothing.  Blocks: yes. */
enum rc disk_facts_read(const char *directory, struct disk_facts *ret_facts) MUST_USE;

/* Fills free and total bytes. */
enum rc disk__space(int root_fd, struct disk_facts *ret_facts) MUST_USE;

#endif
