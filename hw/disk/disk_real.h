/* What the real body finds out about the file system below its root; shared with hw/probe's report.
 */
#ifndef EAGRE_HW_DISK_DISK_REAL_H
#define EAGRE_HW_DISK_DISK_REAL_H

#include "hw/disk/disk.h"

/* Fills every fact but the space. root_fd is the directory, file_fd any regular file in it. What
 * cannot be found out is "unknown" or the safe value. Runs on: start-up, control.  Allocates:
 * nothing.  Blocks: yes. */
void disk__probe(int root_fd, int file_fd, struct disk_facts *ret_facts);

/* Fills free and total bytes. */
enum rc disk__space(int root_fd, struct disk_facts *ret_facts) MUST_USE;

#endif
