/* Settings of the broker that clients change at run time: defaults of topics under the broker's own
 * names, and some numbers.
 *
 * The table is broker_config.def. A struct broker_config holds what was set, as struct topic_config
 * does; there are two of them, one for all brokers (Kafka's entity "") and one for this broker,
 * which goes before it. Pure: no OS, clock or allocator.
 *
 * A key is an index: [0, TOPIC_CONFIG_COUNT) are the topic configs, of which some have no broker's
 * name; the numbers follow. */
#ifndef EAGRE_ENGINE_TOPIC_BROKER_CONFIG_H
#define EAGRE_ENGINE_TOPIC_BROKER_CONFIG_H

#include "engine/topic/topic_config.h"

#define BROKER_TOPIC(symbol, key)
#define BROKER_NUMBER(symbol, ...) BROKER_CONFIG_##symbol,
#define BROKER_REFUSED(key, reason)
enum broker_config_number {
#include "engine/topic/broker_config.def"
    BROKER_CONFIG_NUMBERS
};
#undef BROKER_TOPIC
#undef BROKER_NUMBER
#undef BROKER_REFUSED
_Static_assert(BROKER_CONFIG_NUMBERS <= 32, "one bit per number");

#define BROKER_CONFIG_COUNT ((uint32_t)TOPIC_CONFIG_COUNT + (uint32_t)BROKER_CONFIG_NUMBERS)

struct broker_config {
    struct topic_config topics;
    uint64_t set;                           /* bit per enum broker_config_number */
    int64_t numbers[BROKER_CONFIG_NUMBERS]; /* 0 where not set */
};

struct broker_config_row {
    const char *key; /* NULL: a topic config without a broker's name */
    const char *sentence;
    enum topic_config_type type;
    int64_t min; /* of a number */
    int64_t max;
};

/* All below: Runs on: any core.  Allocates: nothing.  Blocks: never. */

/* key < BROKER_CONFIG_COUNT. */
struct broker_config_row broker_config_row(uint32_t key);
/* The key of that text, or BROKER_CONFIG_COUNT. */
uint32_t broker_config_find(struct bytes key);
bool broker_config_has(const struct broker_config *config, uint32_t key);
/* The value of a key that is set. text: [TOPIC_CONFIG_TEXT_MAX], ends with a NUL; returns its
 * length. */
size_t broker_config_text(const struct broker_config *config, uint32_t key, char *text);

/* Sets one key from text; value.at NULL removes it, also one of those that are always refused. key,
 * value: borrowed, any bytes. RC_UNSUPPORTED: not a setting that changes at run time, or a value
 * that only a later version may honour; RC_INVALID: not a value of this key. The reason, naming the
 * key, goes to trail (may be NULL); config is unchanged then. */
enum rc broker_config_set(struct broker_config *config,
                          struct bytes key,
                          struct bytes value,
                          struct diag_trail *trail) MUST_USE;

/* Lays the topic configs of `over` upon those of `under`. */
void broker_config_lay(struct topic_config *under, const struct topic_config *over);

#endif
