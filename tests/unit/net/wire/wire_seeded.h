/* Seeded values and exact copies for the tests of net/wire. */
#ifndef EAGRE_TESTS_UNIT_NET_WIRE_WIRE_SEEDED_H
#define EAGRE_TESTS_UNIT_NET_WIRE_WIRE_SEEDED_H

#include "hw/clock/clock.h"
#include "net/wire/wire_frame.h"

#define SEED 0x5eed
#define ROUNDS 2000

/* Starts the numbers over and prints the seed. */
void seeded_begin(uint64_t seed);
/* Any 64 bits; often 0, all ones, or a single bit. */
uint64_t seeded_u64(void);
uint64_t seeded_below(uint64_t bound);
void seeded_fill(uint8_t *at, size_t count);
struct wire_partition seeded_partition(void);
/* A piece that the decoders take, bytes drawn up to bytes_max >= 1; its bytes live until the next
 * call. */
struct wire_piece seeded_piece(size_t bytes_max);

/* The frame at [at, at + count) read back from memory of exactly that size, which must hold it and
 * nothing more; kept until the test ends. */
struct wire_frame seeded_frame(const uint8_t *at, uint32_t count);
/* A frame of this type over body bytes, in memory of exactly that size. */
struct wire_frame seeded_body(uint8_t type, uint8_t flags, const uint8_t *body, size_t count);
bool bytes_equal(struct bytes a, struct bytes b);

#endif
