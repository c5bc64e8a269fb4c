/* Short words for tests of the virtual disk. Every helper stops the test when the disk refuses. */
#ifndef EAGRE_TESTS_UNIT_HW_SIM_SIM_DISK_HELP_H
#define EAGRE_TESTS_UNIT_HW_SIM_SIM_DISK_HELP_H

#include "hw/disk/disk_sim.h"

struct disk *help_disk(uint64_t seed);
/* Creates a file, its name durable. */
int help_create(struct disk *disk, const char *path, uint32_t flags);
int help_open(struct disk *disk, const char *path, uint32_t flags);
/* Writes count bytes of that value at position. */
void help_fill(struct disk *disk, int fd, uint8_t value, uint64_t count, uint64_t position);
/* The byte at a position of a file by name; -1 when there is no such file or byte. */
int help_byte(struct disk *disk, const char *path, uint64_t position);
bool help_exists(struct disk *disk, const char *path);
uint64_t help_size(struct disk *disk, const char *path);
void help_crash(struct disk *disk, uint64_t seed);

#endif
