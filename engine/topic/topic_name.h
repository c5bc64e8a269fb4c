/* Names of topics, and the log tile of a partition. Pure; any core; allocates nothing; never
 * blocks. */
#ifndef EAGRE_ENGINE_TOPIC_TOPIC_NAME_H
#define EAGRE_ENGINE_TOPIC_TOPIC_NAME_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "net/request/topic_snapshot.h"

/* True for 1 to TOPIC_NAME_MAX characters of [a-zA-Z0-9._-] that are not "." or "..". name.at may
 * be NULL. */
bool topic_name_is_valid(struct bytes name);

/* True when both are equal after every '.' became '_': such names may not live side by side
 * (Kafka's metric names made it so). Equal names collide too. */
bool topic_name_collides(struct bytes a, struct bytes b);

/* Hash that is the same for names that collide. seed: of the table. */
uint64_t topic_name_hash(struct bytes name, uint64_t seed);

/* "__consumer_offsets" and the like: reported as internal. */
bool topic_name_is_internal(struct bytes name);

/* The log tile of a partition: XXH3-64 (seed 0) of the topic id followed by the partition as 4
 * big-endian bytes, modulo log_tiles. The only place where this is decided; it must never change
 * for data that exist. topic_id: [16]. log_tiles > 0. */
uint32_t topic_partition_tile(const uint8_t *topic_id, uint32_t partition, uint32_t log_tiles);

#endif
