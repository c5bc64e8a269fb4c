/* Checksums and hashes. Pure.
 *
 * CRC-32C (Castagnoli, reflected 0x82F63B78, init and final XOR 0xFFFFFFFF; RFC 3720 appendix B.4)
 * guards what is stored or sent; XXH3-64 chooses places in tables and log tiles; murmur2 and CRC-32
 * (zlib) are the partitioners of other clients. */
#ifndef EAGRE_ENGINE_BASE_HASH_H
#define EAGRE_ENGINE_BASE_HASH_H

#include "engine/base/base.h"

/* Continues a CRC-32C: pass 0 to begin, the former result to go on. Uses the SSE4.2 instruction, in
 * three interleaved streams where count is large enough. */
uint32_t hash_crc32c(uint32_t crc, const void *at, size_t count);

/* CRC of A|B from crc32c(A), crc32c(B) and the length of B in bytes. */
uint32_t hash_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t count_b);

uint64_t hash_xxh3(const void *at, size_t count, uint64_t seed);

/* Kafka's Java default partitioner hash (seed 0x9747b28c). */
uint32_t hash_murmur2(const void *at, size_t count);

#endif
