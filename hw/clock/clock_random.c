/* Random numbers for both bodies of the clock: xoshiro256** 1.0 with a SplitMix64-filled state
 * (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018). Pure. */
#include "hw/clock/clock.h"

#include "engine/base/check.h"

static uint64_t
rotate_left(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

void
clock_random_seed(struct clock *clock, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_COUNT(clock->random_state); i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t mixed = seed;

        mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
        clock->random_state[i] = mixed ^ (mixed >> 31);
    }
}

uint64_t
clock_random(struct clock *clock)
{
    uint64_t *state = clock->random_state;
    uint64_t result = rotate_left(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;

    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

/* Lemire's multiply-and-reject: without the rejection small values would be a little more likely.
 * */
uint64_t
clock_random_below(struct clock *clock, uint64_t bound)
{
    CHECK(bound > 0);

    unsigned __int128 product = (unsigned __int128)clock_random(clock) * bound;
    if ((uint64_t)product < bound) {
        uint64_t reject_below = (0 - bound) % bound;

        while ((uint64_t)product < reject_below)
            product = (unsigned __int128)clock_random(clock) * bound;
    }
    return (uint64_t)(product >> 64);
}
