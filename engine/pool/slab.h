/* Slab pool: a fixed number of equal objects, taken and given by index in O(1), newest first.
 *
 * The caller brings the memory. Owned by one core. Objects are not cleared. */
#ifndef EAGRE_ENGINE_POOL_SLAB_H
#define EAGRE_ENGINE_POOL_SLAB_H

#include "engine/base/base.h"

#define SLAB_NONE UINT32_MAX

struct slab {
    uint8_t *objects;
    uint32_t *next_free; /* [count]; SLAB_TAKEN marks an object that is out */
    uint32_t first_free;
    uint32_t object_bytes; /* multiple of 8 */
    uint32_t count;
    uint32_t used;
};

size_t slab_footprint(uint32_t object_bytes, uint32_t count);
/* memory: slab_footprint() bytes, 64-byte aligned. object_bytes is rounded up to a multiple of 64
 * inside. */
void slab_init(struct slab *slab, void *memory, uint32_t object_bytes, uint32_t count);

/* Index of a free object in [0, count), or SLAB_NONE when all are out.
 * Runs on: the owning core.  Allocates: nothing.  Blocks: never. */
uint32_t slab_take(struct slab *slab) MUST_USE;
/* Gives an object back; giving one twice stops the program. */
void slab_give(struct slab *slab, uint32_t idx);

static ALWAYS_INLINE void *
slab_at(const struct slab *slab, uint32_t idx)
{
    return slab->objects + (size_t)idx * slab->object_bytes;
}

#endif
