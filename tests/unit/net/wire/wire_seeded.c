/* See wire_seeded.h. */
#include "wire_seeded.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct clock dice;
static uint8_t piece_memory[4096];

void
seeded_begin(uint64_t seed)
{
    fprintf(stderr, "seed %#llx\n", (unsigned long long)seed);
    clock_random_seed(&dice, seed);
}

uint64_t
seeded_u64(void)
{
    switch (clock_random_below(&dice, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_C(1) << clock_random_below(&dice, 64);
    default:
        return clock_random(&dice);
    }
}

uint64_t
seeded_below(uint64_t bound)
{
    return clock_random_below(&dice, bound);
}

void
seeded_fill(uint8_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        at[i] = (uint8_t)clock_random(&dice);
}

struct wire_partition
seeded_partition(void)
{
    return (struct wire_partition){seeded_u64(), (uint32_t)seeded_u64(), (uint16_t)seeded_u64()};
}

struct wire_piece
seeded_piece(size_t bytes_max)
{
    size_t limit = min_u64(bytes_max, sizeof(piece_memory));
    struct wire_piece piece = {.bytes = {piece_memory, 1 + seeded_below(limit)}};

    seeded_fill(piece_memory, piece.bytes.count);
    piece.count = (uint16_t)(1 + seeded_below(seeded_below(2) ? 3 : WIRE_FRAGMENTS_MAX));
    piece.index = (uint16_t)seeded_below(piece.count);
    piece.total_bytes = (uint32_t)piece.bytes.count;
    if (piece.count > 1) {
        uint64_t least = piece.bytes.count + piece.count - 1u;
        piece.total_bytes = (uint32_t)(least + seeded_below(WIRE_MESSAGE_BYTES_MAX - least + 1));
    }
    return piece;
}

struct wire_frame
seeded_frame(const uint8_t *at, uint32_t count)
{
    uint8_t *copy = kept(malloc(count));
    struct wire_frame frame;
    struct wire_frame end;

    memcpy(copy, at, count);
    struct bytes frames = {copy, count};
    cr_assert(wire_frame_next(&frames, &frame));
    cr_assert_eq(frames.count, 0);
    cr_assert(!wire_frame_next(&frames, &end));
    cr_assert_eq(end.type, WIRE_FRAME_PADDING);
    return frame;
}

struct wire_frame
seeded_body(uint8_t type, uint8_t flags, const uint8_t *body, size_t count)
{
    uint8_t *copy = kept(malloc(count + 1)); /* malloc(0) may be NULL */

    memcpy(copy + 1, body, count);
    return (struct wire_frame){type, flags, {copy + 1, count}};
}

bool
bytes_equal(struct bytes a, struct bytes b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.at, b.at, a.count) == 0);
}
