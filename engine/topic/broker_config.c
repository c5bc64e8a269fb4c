/* See broker_config.h. What a value of a topic config may be is said in topic_config.c alone. */
#include "engine/topic/broker_config.h"

#include "engine/base/check.h"

#define BROKER_TOPIC(symbol, name) [TOPIC_CONFIG_##symbol] = (name),
#define BROKER_NUMBER(symbol, ...)
#define BROKER_REFUSED(name, reason)
static const char *const topic_names[TOPIC_CONFIG_COUNT] = {
#include "engine/topic/broker_config.def"
};
#undef BROKER_TOPIC
#undef BROKER_NUMBER

#define BROKER_TOPIC(symbol, name)
#define BROKER_NUMBER(symbol, name, least, most, words)        \
    [BROKER_CONFIG_##symbol] = {.key = (name),                 \
                                .sentence = (words),           \
                                .type = TOPIC_CONFIG_TYPE_INT, \
                                .min = (least),                \
                                .max = (most)},
static const struct broker_config_row number_rows[BROKER_CONFIG_NUMBERS] = {
#include "engine/topic/broker_config.def"
};
#undef BROKER_TOPIC
#undef BROKER_NUMBER

/* A key and why it is refused, in turn. */
#define BROKER_TOPIC(symbol, name)
#define BROKER_NUMBER(symbol, ...)
#undef BROKER_REFUSED
#define BROKER_REFUSED(name, reason) {(name), (reason)},
static const char *const refused[][2] = {
#include "engine/topic/broker_config.def"
};
#undef BROKER_TOPIC
#undef BROKER_NUMBER
#undef BROKER_REFUSED

struct broker_config_row
broker_config_row(uint32_t key)
{
    CHECK(key < BROKER_CONFIG_COUNT);
    if (key >= TOPIC_CONFIG_COUNT)
        return number_rows[key - TOPIC_CONFIG_COUNT];
    const struct topic_config_row *row = topic_config_row((enum topic_config_key)key);
    return (struct broker_config_row){
        .key = topic_names[key], .sentence = row->sentence, .type = row->type};
}

uint32_t
broker_config_find(struct bytes key)
{
    for (uint32_t i = 0; i < BROKER_CONFIG_COUNT; i++) {
        const char *name = broker_config_row(i).key;
        if (name != NULL && key.count == strlen(name) && key.at != NULL &&
            memcmp(key.at, name, key.count) == 0)
            return i;
    }
    return BROKER_CONFIG_COUNT;
}

bool
broker_config_has(const struct broker_config *config, uint32_t key)
{
    CHECK(key < BROKER_CONFIG_COUNT);
    return key < TOPIC_CONFIG_COUNT ? (config->topics.set >> key & 1) != 0
                                    : (config->set >> (key - TOPIC_CONFIG_COUNT) & 1) != 0;
}

size_t
broker_config_text(const struct broker_config *config, uint32_t key, char *text)
{
    CHECK(broker_config_has(config, key));
    if (key < TOPIC_CONFIG_COUNT)
        return topic_config_text(&config->topics, (enum topic_config_key)key, text);
    return topic_config_format_number(config->numbers[key - TOPIC_CONFIG_COUNT], text);
}

static enum rc
set_number(struct broker_config *config,
           uint32_t number,
           struct bytes value,
           struct diag_trail *trail)
{
    const struct broker_config_row *row = &number_rows[number];
    int64_t parsed;

    if (value.at == NULL) {
        config->set &= ~(UINT64_C(1) << number);
        config->numbers[number] = 0;
        return RC_OK;
    }
    if (!topic_config_parse_number(value, &parsed) || parsed < row->min || parsed > row->max) {
        diag_trail_add(trail,
                       "%s must be a whole number in [%lld, %lld]",
                       row->key,
                       (long long)row->min,
                       (long long)row->max);
        return RC_INVALID;
    }
    config->set |= UINT64_C(1) << number;
    config->numbers[number] = parsed;
    return RC_OK;
}

/* What is not in the table of those that can be set. */
static enum rc
set_other(struct bytes key, struct bytes value, struct diag_trail *trail)
{
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        const char *name = refused[i][0];
        if (key.at == NULL || key.count != strlen(name) || memcmp(key.at, name, key.count) != 0)
            continue;
        if (value.at == NULL)
            return RC_OK;
        diag_trail_add(trail, "%s: %s", name, refused[i][1]);
        return RC_UNSUPPORTED;
    }
    diag_trail_add(trail,
                   "%.*s is not a setting that changes at run time",
                   (int)min_u64(key.count, 128),
                   key.at != NULL ? (const char *)key.at : "");
    return RC_UNSUPPORTED;
}

enum rc
broker_config_set(struct broker_config *config,
                  struct bytes key,
                  struct bytes value,
                  struct diag_trail *trail)
{
    uint32_t idx = broker_config_find(key);

    if (idx == BROKER_CONFIG_COUNT)
        return set_other(key, value, trail);
    if (idx >= TOPIC_CONFIG_COUNT)
        return set_number(config, idx - TOPIC_CONFIG_COUNT, value, trail);
    const char *name = topic_config_row((enum topic_config_key)idx)->key;
    struct bytes topic_key = {(const uint8_t *)name, strlen(name)};
    enum rc rc = topic_config_set(&config->topics, topic_key, value, trail);
    if (rc != RC_OK)
        diag_trail_add(trail, "%s", topic_names[idx]);
    return rc;
}

void
broker_config_lay(struct topic_config *under, const struct topic_config *over)
{
    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        if ((over->set >> i & 1) != 0)
            under->values[i] = over->values[i];
    }
    under->set |= over->set;
}
