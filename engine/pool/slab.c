#include "engine/pool/slab.h"

#include "engine/base/check.h"

#define SLAB_TAKEN (UINT32_MAX - 1)

size_t
slab_footprint(uint32_t object_bytes, uint32_t count)
{
    return (size_t)round_up(object_bytes, 64) * count +
           round_up((uint64_t)count * sizeof(uint32_t), 64);
}

void
slab_init(struct slab *slab, void *memory, uint32_t object_bytes, uint32_t count)
{
    CHECK(count > 0);
    CHECK(count < SLAB_TAKEN);
    CHECK((uintptr_t)memory % 64 == 0);

    *slab = (struct slab){
        .objects = memory,
        .object_bytes = (uint32_t)round_up(object_bytes, 64),
        .count = count,
    };
    slab->next_free = (uint32_t *)(void *)(slab->objects + (size_t)slab->object_bytes * count);
    for (uint32_t i = 0; i < count; i++)
        slab->next_free[i] = i + 1 < count ? i + 1 : SLAB_NONE;
    slab->first_free = 0;
}

uint32_t
slab_take(struct slab *slab)
{
    uint32_t idx = slab->first_free;

    if (idx == SLAB_NONE)
        return SLAB_NONE;
    slab->first_free = slab->next_free[idx];
    slab->next_free[idx] = SLAB_TAKEN;
    slab->used++;
    return idx;
}

void
slab_give(struct slab *slab, uint32_t idx)
{
    CHECK(idx < slab->count);
    CHECK(slab->next_free[idx] == SLAB_TAKEN);
    slab->next_free[idx] = slab->first_free;
    slab->first_free = idx;
    slab->used--;
}
