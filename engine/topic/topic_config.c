/* The key table, and the walk from text to value and back. Values from clients are parsed by hand
 * with explicit bounds: a number that does not fit is refused, never wrapped. */
#include "engine/topic/topic_config.h"

#include "engine/base/check.h"

#define NUMBER_DIGITS_MAX 20u /* of INT64_MIN, with its sign */

#define TOPIC_NUMBER(symbol, name, kind, initial, least, most, words) \
    [TOPIC_CONFIG_##symbol] = {.key = (name),                         \
                               .type = TOPIC_CONFIG_TYPE_##kind,      \
                               .rule = TOPIC_CONFIG_RULE_NUMBER,      \
                               .default_number = (initial),           \
                               .min = (least),                        \
                               .max = (most),                         \
                               .sentence = (words)},
#define TOPIC_CHOICE(symbol, name, kind, choices, words)         \
    [TOPIC_CONFIG_##symbol] = {.key = (name),                    \
                               .type = TOPIC_CONFIG_TYPE_##kind, \
                               .rule = TOPIC_CONFIG_RULE_CHOICE, \
                               .text = (choices),                \
                               .sentence = (words)},
#define TOPIC_DECIMAL(symbol, name, kind, initial, least, most, words) \
    [TOPIC_CONFIG_##symbol] = {.key = (name),                          \
                               .type = TOPIC_CONFIG_TYPE_##kind,       \
                               .rule = TOPIC_CONFIG_RULE_DECIMAL,      \
                               .default_number = (initial),            \
                               .min = (least),                         \
                               .max = (most),                          \
                               .sentence = (words)},
#define TOPIC_FIXED(symbol, name, kind, initial, words)          \
    [TOPIC_CONFIG_##symbol] = {.key = (name),                    \
                               .type = TOPIC_CONFIG_TYPE_##kind, \
                               .rule = TOPIC_CONFIG_RULE_FIXED,  \
                               .text = (initial),                \
                               .sentence = (words)},
static const struct topic_config_row topic_config_rows[TOPIC_CONFIG_COUNT] = {
#include "engine/topic/topic_config.def"
};
#undef TOPIC_NUMBER
#undef TOPIC_CHOICE
#undef TOPIC_DECIMAL
#undef TOPIC_FIXED

static bool
bytes_are(struct bytes bytes, const char *text, size_t count)
{
    return bytes.count == count && (count == 0 || memcmp(bytes.at, text, count) == 0);
}

/* Finds word idx of "a|b|c"; false when there are fewer. */
static bool
choice_word(const char *choices, int64_t idx, struct bytes *ret_word)
{
    const char *at = choices;

    for (int64_t i = 0;; i++) {
        size_t count = strcspn(at, "|");
        if (i == idx) {
            *ret_word = (struct bytes){(const uint8_t *)at, count};
            return true;
        }
        if (at[count] == 0)
            return false;
        at += count + 1;
    }
}

/* Whole decimal number with an optional '-', nothing else; false when it is not one or does not
 * fit. */
bool
topic_config_parse_number(struct bytes text, int64_t *ret_number)
{
    bool negative = text.count > 0 && text.at[0] == '-';
    size_t at = negative ? 1 : 0;
    int64_t number = 0;

    if (at == text.count || text.count > NUMBER_DIGITS_MAX)
        return false;
    for (; at < text.count; at++) {
        if (text.at[at] < '0' || text.at[at] > '9')
            return false;
        int64_t digit = text.at[at] - '0';
        if (__builtin_mul_overflow(number, 10, &number))
            return false;
        /* Towards the sign, so that INT64_MIN is reachable. */
        if (__builtin_add_overflow(number, negative ? -digit : digit, &number))
            return false;
    }
    *ret_number = number;
    return true;
}

size_t
topic_config_format_number(int64_t number, char *text)
{
    char digits[NUMBER_DIGITS_MAX + 1];
    size_t count = 0;
    size_t at = 0;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0)
        text[at++] = '-';
    while (count > 0)
        text[at++] = digits[--count];
    text[at] = 0;
    return at;
}

/* Millionths of "12", "0.5", ".5" or "1.": digits with at most one point, nothing else; digits
 * behind the sixth must be 0. False when it is not that or does not fit. */
static bool
parse_decimal(struct bytes text, int64_t *ret_millionths)
{
    int64_t number = 0;
    int64_t unit = TOPIC_DECIMAL_ONE; /* of the next digit behind the point, times 10 */
    size_t digits = 0;
    bool has_point = false;

    if (text.count > NUMBER_DIGITS_MAX)
        return false;
    for (size_t at = 0; at < text.count; at++) {
        if (text.at[at] == '.' && !has_point) {
            has_point = true;
            continue;
        }
        if (text.at[at] < '0' || text.at[at] > '9')
            return false;
        int64_t digit = text.at[at] - '0';
        digits++;
        if (!has_point && __builtin_mul_overflow(number, 10, &number))
            return false;
        unit = has_point ? unit / 10 : unit;
        if (unit == 0 && digit != 0)
            return false;
        if (__builtin_add_overflow(number, digit * unit, &number))
            return false;
    }
    *ret_millionths = number;
    return digits > 0;
}

/* "0.5", "1.0": as Kafka prints doubles of this size. */
static size_t
format_decimal(int64_t millionths, char *text)
{
    size_t at = topic_config_format_number(millionths / TOPIC_DECIMAL_ONE, text);
    int64_t rest = millionths % TOPIC_DECIMAL_ONE;

    text[at++] = '.';
    do {
        rest *= 10;
        text[at++] = (char)('0' + rest / TOPIC_DECIMAL_ONE);
        rest %= TOPIC_DECIMAL_ONE;
    } while (rest != 0);
    text[at] = 0;
    return at;
}

const struct topic_config_row *
topic_config_row(enum topic_config_key key)
{
    CHECK(key < TOPIC_CONFIG_COUNT);
    return &topic_config_rows[key];
}

enum topic_config_key
topic_config_find(struct bytes key)
{
    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const char *name = topic_config_rows[i].key;
        if (bytes_are(key, name, strlen(name)))
            return (enum topic_config_key)i;
    }
    return TOPIC_CONFIG_COUNT;
}

static enum rc
set_number(const struct topic_config_row *row,
           struct bytes value,
           int64_t *ret_value,
           struct diag_trail *trail)
{
    int64_t number;

    if (!topic_config_parse_number(value, &number) || number < row->min || number > row->max) {
        diag_trail_add(trail,
                       "%s must be a whole number in [%lld, %lld]",
                       row->key,
                       (long long)row->min,
                       (long long)row->max);
        return RC_INVALID;
    }
    *ret_value = number;
    return RC_OK;
}

static enum rc
set_decimal(const struct topic_config_row *row,
            struct bytes value,
            int64_t *ret_value,
            struct diag_trail *trail)
{
    char least[TOPIC_CONFIG_TEXT_MAX];
    char most[TOPIC_CONFIG_TEXT_MAX];
    int64_t number;

    if (parse_decimal(value, &number) && number >= row->min && number <= row->max) {
        *ret_value = number;
        return RC_OK;
    }
    format_decimal(row->min, least);
    format_decimal(row->max, most);
    diag_trail_add(
        trail, "%s must be a number in [%s, %s] with at most six decimals", row->key, least, most);
    return RC_INVALID;
}

static enum rc
set_choice(const struct topic_config_row *row,
           struct bytes value,
           int64_t *ret_value,
           struct diag_trail *trail)
{
    struct bytes word;

    for (int64_t i = 0; choice_word(row->text, i, &word); i++) {
        if (bytes_are(value, (const char *)word.at, word.count)) {
            *ret_value = i;
            return RC_OK;
        }
    }
    diag_trail_add(trail, "%s must be one of %s", row->key, row->text);
    return RC_INVALID;
}

enum rc
topic_config_set(struct topic_config *config,
                 struct bytes key,
                 struct bytes value,
                 struct diag_trail *trail)
{
    enum topic_config_key idx = topic_config_find(key);

    if (idx == TOPIC_CONFIG_COUNT) {
        diag_trail_add(trail,
                       "unknown topic config %.*s",
                       (int)min_u64(key.count, 128),
                       key.at != NULL ? (const char *)key.at : "");
        return RC_UNSUPPORTED;
    }
    if (value.at == NULL) {
        config->set &= ~(UINT64_C(1) << idx);
        config->values[idx] = 0;
        return RC_OK;
    }
    const struct topic_config_row *row = &topic_config_rows[idx];
    int64_t parsed = 0;
    enum rc rc = RC_OK;
    if (row->rule == TOPIC_CONFIG_RULE_NUMBER)
        rc = set_number(row, value, &parsed, trail);
    else if (row->rule == TOPIC_CONFIG_RULE_CHOICE)
        rc = set_choice(row, value, &parsed, trail);
    else if (row->rule == TOPIC_CONFIG_RULE_DECIMAL)
        rc = set_decimal(row, value, &parsed, trail);
    else if (!bytes_are(value, row->text, strlen(row->text))) {
        diag_trail_add(trail,
                       "%s is accepted only at its default, '%s': %s",
                       row->key,
                       row->text,
                       row->sentence);
        rc = RC_UNSUPPORTED;
    }
    if (rc != RC_OK)
        return rc;
    config->set |= UINT64_C(1) << idx;
    config->values[idx] = parsed;
    return RC_OK;
}

static bool
layer_has(const struct topic_config *layer, enum topic_config_key key)
{
    return layer != NULL && (layer->set >> key & 1) != 0;
}

int64_t
topic_config_number(const struct topic_config *topic,
                    const struct topic_config *broker,
                    enum topic_config_key key)
{
    CHECK(key < TOPIC_CONFIG_COUNT);
    CHECK(topic_config_rows[key].rule != TOPIC_CONFIG_RULE_FIXED);
    if (layer_has(topic, key))
        return topic->values[key];
    if (layer_has(broker, key))
        return broker->values[key];
    return topic_config_rows[key].default_number;
}

enum topic_config_source
topic_config_source(const struct topic_config *topic,
                    const struct topic_config *broker,
                    enum topic_config_key key)
{
    if (layer_has(topic, key))
        return TOPIC_CONFIG_SOURCE_TOPIC;
    return layer_has(broker, key) ? TOPIC_CONFIG_SOURCE_BROKER : TOPIC_CONFIG_SOURCE_DEFAULT;
}

size_t
topic_config_text(const struct topic_config *layer, enum topic_config_key key, char *text)
{
    CHECK(key < TOPIC_CONFIG_COUNT);
    const struct topic_config_row *row = &topic_config_rows[key];
    int64_t value = layer_has(layer, key) ? layer->values[key] : row->default_number;
    struct bytes word = {(const uint8_t *)row->text, 0};

    if (row->rule == TOPIC_CONFIG_RULE_NUMBER)
        return topic_config_format_number(value, text);
    if (row->rule == TOPIC_CONFIG_RULE_DECIMAL)
        return format_decimal(value, text);
    if (row->rule == TOPIC_CONFIG_RULE_CHOICE)
        CHECK(choice_word(row->text, value, &word));
    else
        word.count = strlen(row->text);
    bytes_copy(text, TOPIC_CONFIG_TEXT_MAX - 1, word.at, word.count);
    text[word.count] = 0;
    return word.count;
}
