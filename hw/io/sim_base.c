/* Random streams and the trace hash of the simulator; see the header. */
#include "hw/io/sim_base.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

#include <string.h>

static uint64_t
splitmix_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t
rotate_left(uint64_t value, unsigned count)
{
    return (value << count) | (value >> (64 - count));
}

void
sim_rng_seed(struct sim_rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;
    state = splitmix_next(&state) ^ (stream * UINT64_C(0xd1342543de82ef95));
    for (size_t i = 0; i < ARRAY_COUNT(rng->state); i++)
        rng->state[i] = splitmix_next(&state);
}

uint64_t
sim_rng_next(struct sim_rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t
sim_rng_below(struct sim_rng *rng, uint64_t bound)
{
    CHECK(bound > 0);
    return (uint64_t)(((unsigned __int128)sim_rng_next(rng) * bound) >> 64);
}

uint64_t
sim_rng_between(struct sim_rng *rng, uint64_t low, uint64_t high)
{
    CHECK(low <= high);
    return low + sim_rng_below(rng, high - low + 1);
}

bool
sim_rng_chance(struct sim_rng *rng, uint32_t ppm)
{
    return ppm != 0 && sim_rng_below(rng, SIM_PPM_ALL) < ppm;
}

void
sim_trace_init(struct sim_trace *trace)
{
    *trace = (struct sim_trace){.hash = UINT64_C(0x45616772652d7369)};
}

void
sim_trace_add(struct sim_trace *trace, const char *kind, uint64_t a, uint64_t b, uint64_t c)
{
    if (trace == NULL)
        return;
    if (trace->show != NULL) {
        struct sim_trace_event event = {.kind = kind, .a = a, .b = b, .c = c};
        trace->show(trace->ctx, &event);
    }
    uint64_t words[4] = {hash_xxh3(kind, strlen(kind), 0), a, b, c};
    trace->hash = hash_xxh3(words, sizeof(words), trace->hash);
    trace->events++;
}
