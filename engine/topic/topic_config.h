/* Configuration of topics: which keys exist, which values they take, and the overrides that one
 * topic carries.
 *
 * The table is topic_config.def. A struct topic_config holds overrides only: a key whose bit in
 * `set` is clear has the value of the next layer (the broker's own overrides, then the table's
 * default). Unknown keys and values outside the allowed range are refused by name; the text for the
 * client goes to a diag_trail. Pure: no OS, clock or allocator.
 *
 *   struct topic_config overrides = {0};
 *   rc = topic_config_set(&overrides, key, value, &trail);
 *   retention = topic_config_number(&overrides, &broker, TOPIC_CONFIG_RETENTION_MS);
 */
#ifndef EAGRE_ENGINE_TOPIC_TOPIC_CONFIG_H
#define EAGRE_ENGINE_TOPIC_TOPIC_CONFIG_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define TOPIC_NUMBER(symbol, ...) TOPIC_CONFIG_##symbol,
#define TOPIC_CHOICE(symbol, ...) TOPIC_CONFIG_##symbol,
#define TOPIC_DECIMAL(symbol, ...) TOPIC_CONFIG_##symbol,
#define TOPIC_FIXED(symbol, ...) TOPIC_CONFIG_##symbol,
enum topic_config_key {
#include "engine/topic/topic_config.def"
    TOPIC_CONFIG_COUNT
};
#undef TOPIC_NUMBER
#undef TOPIC_CHOICE
#undef TOPIC_DECIMAL
#undef TOPIC_FIXED
_Static_assert(TOPIC_CONFIG_COUNT <= 64, "one bit per key");

/* Values of the CHOICE keys: the word's place in the row. */
enum { TOPIC_DURABILITY_DEVICE = 0, TOPIC_DURABILITY_MEMORY = 1 };
enum { TOPIC_TIMESTAMP_CREATE = 0, TOPIC_TIMESTAMP_APPEND = 1 };
enum {
    TOPIC_CLEANUP_DELETE = 0,
    TOPIC_CLEANUP_COMPACT = 1,
    TOPIC_CLEANUP_COMPACT_DELETE = 2,
    TOPIC_CLEANUP_DELETE_COMPACT = 3,
};

#define TOPIC_DECIMAL_ONE INT64_C(1000000) /* of the DECIMAL keys */

/* Numbers of the Kafka protocol (DescribeConfigs, ConfigType). */
enum topic_config_type {
    TOPIC_CONFIG_TYPE_BOOL = 1,
    TOPIC_CONFIG_TYPE_STRING = 2,
    TOPIC_CONFIG_TYPE_INT = 3,
    TOPIC_CONFIG_TYPE_LONG = 5,
    TOPIC_CONFIG_TYPE_DOUBLE = 6,
    TOPIC_CONFIG_TYPE_LIST = 7,
};

/* Where an effective value comes from; numbers of the Kafka protocol (DescribeConfigs,
 * ConfigSource). */
enum topic_config_source {
    TOPIC_CONFIG_SOURCE_TOPIC = 1,
    TOPIC_CONFIG_SOURCE_BROKER_OWN = 2, /* set at run time for this broker */
    TOPIC_CONFIG_SOURCE_BROKERS = 3,    /* set at run time for all brokers */
    TOPIC_CONFIG_SOURCE_BROKER = 4,
    TOPIC_CONFIG_SOURCE_DEFAULT = 5,
};

enum topic_config_rule {
    TOPIC_CONFIG_RULE_NUMBER,
    TOPIC_CONFIG_RULE_CHOICE,
    TOPIC_CONFIG_RULE_DECIMAL,
    TOPIC_CONFIG_RULE_FIXED
};

struct topic_config_row {
    const char *key;
    enum topic_config_type type;
    enum topic_config_rule rule;
    const char *text;       /* CHOICE: "a|b"; FIXED: the value; else NULL */
    int64_t default_number; /* NUMBER, DECIMAL */
    int64_t min;
    int64_t max;
    const char *sentence;
};

/* Overrides of one topic (or of the broker). All zero: none. */
struct topic_config {
    uint64_t set;                       /* bit per enum topic_config_key */
    int64_t values[TOPIC_CONFIG_COUNT]; /* NUMBER: the number; DECIMAL: millionths; CHOICE: the
                                           word's place; FIXED: not used */
};

/* Longest value text, with the NUL. */
#define TOPIC_CONFIG_TEXT_MAX 64u

/* The row of a key; static storage. */
const struct topic_config_row *topic_config_row(enum topic_config_key key);

/* The key of that text, or TOPIC_CONFIG_COUNT. */
enum topic_config_key topic_config_find(struct bytes key);

/* Sets one override from text; value.at NULL removes it (back to the default).
 *
 * key, value   Borrowed; any bytes, as they came from outside.
 * trail        Gets the reason, naming the key; may be NULL.
 *
 * RC_UNSUPPORTED: no such key, or a value that only a later version may honour. RC_INVALID: not a
 * value of this key. config is unchanged then. Runs on: any core.  Allocates: nothing.  Blocks:
 * never. */
enum rc topic_config_set(struct topic_config *config,
                         struct bytes key,
                         struct bytes value,
                         struct diag_trail *trail) MUST_USE;

/* The effective value of a key that is not FIXED: of the topic, else of the broker, else the
 * default. broker may be NULL. */
int64_t topic_config_number(const struct topic_config *topic,
                            const struct topic_config *broker,
                            enum topic_config_key key);

/* Where the effective value comes from. */
enum topic_config_source topic_config_source(const struct topic_config *topic,
                                             const struct topic_config *broker,
                                             enum topic_config_key key);

/* The text of one layer's value for any key: layer NULL or without the key gives the table's
 * default. text: [TOPIC_CONFIG_TEXT_MAX], ends with a NUL. Returns its length in bytes. */
size_t topic_config_text(const struct topic_config *layer, enum topic_config_key key, char *text);

/* A whole decimal number with an optional '-', nothing else; false when it is none or does not fit.
 */
bool topic_config_parse_number(struct bytes text, int64_t *ret_number) MUST_USE;
/* text: [TOPIC_CONFIG_TEXT_MAX], ends with a NUL; returns its length. */
size_t topic_config_format_number(int64_t number, char *text);

#endif
