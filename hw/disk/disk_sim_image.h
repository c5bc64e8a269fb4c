/* The bytes of a simulated file: sparse, copy-on-write, 4 KiB pages.
 *
 * A page that was never written, or was written with zeros only, costs nothing, so zero-filled
 * journals and reserved segments are cheap. Two images share pages and whole chunks of them until
 * one is written; cloning costs one pointer per MiB. A written page beyond `bytes` is kept but not
 * readable: sim_image_cut() removes it. One thread; reference counts are plain. */
#ifndef EAGRE_HW_DISK_DISK_SIM_IMAGE_H
#define EAGRE_HW_DISK_DISK_SIM_IMAGE_H

#include "engine/base/base.h"

#define SIM_PAGE_BYTES 4096u
#define SIM_CHUNK_PAGES 256u
#define SIM_CHUNK_BYTES ((uint64_t)SIM_PAGE_BYTES * SIM_CHUNK_PAGES)
#define SIM_IMAGE_BYTES_MAX (64 * GIB)

struct sim_chunk;
struct sim_image {
    uint64_t bytes;            /* the file's size; set by the owner */
    struct sim_chunk **chunks; /* [chunk_count]; NULL: zeros */
    uint32_t chunk_count;
};

/* An all-zero struct is an empty image. */
void sim_image_fini(struct sim_image *image);
/* *ret_clone is overwritten without being freed. */
void sim_image_clone(const struct sim_image *image, struct sim_image *ret_clone);
/* Stores bytes at position; does not change image->bytes. position + count <= SIM_IMAGE_BYTES_MAX.
 */
void
sim_image_write(struct sim_image *image, const void *buffer, uint64_t count, uint64_t position);
/* Fills buffer with what is stored; beyond the pages there are zeros. Does not look at
 * image->bytes. */
void sim_image_read(const struct sim_image *image, void *buffer, uint64_t count, uint64_t position);
/* Zeroes everything at and after position. */
void sim_image_cut(struct sim_image *image, uint64_t position);
/* Of the size and every page that is not zero. */
uint64_t sim_image_hash(const struct sim_image *image, uint64_t seed);
/* Pages held by all images together; a test sees leaks and costs by it. */
uint64_t sim_image_pages_in_use(void);

#endif
