/* Goal: only allowed keys and values get in, each refusal names its key, and text in is text out.
 * Method: bad input first, then edges of every row of the table. */
#include "engine/topic/topic_config.h"

#include <criterion/criterion.h>
#include <string.h>

static struct bytes
text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static enum rc
set(struct topic_config *config, const char *key, const char *value, struct diag_trail *trail)
{
    diag_trail_clear(trail);
    return topic_config_set(config, text(key), text(value), trail);
}

Test(topic_config, refuses_unknown_keys_by_name, .timeout = 10)
{
    struct topic_config config = {0};
    struct diag_trail trail;

    cr_assert_eq(set(&config, "retention.sm", "5", &trail), RC_UNSUPPORTED);
    cr_assert_not_null(strstr(trail.text, "retention.sm"));
    cr_assert_eq(set(&config, "", "5", &trail), RC_UNSUPPORTED);
    cr_assert_eq(topic_config_set(&config, (struct bytes){NULL, 0}, text("5"), &trail),
                 RC_UNSUPPORTED);
    cr_assert_eq(config.set, 0u);
}

Test(topic_config, refuses_numbers_that_are_none_or_out_of_range, .timeout = 10)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "12x",
                                      " 12",
                                      "1.5",
                                      "99999999999999999999",
                                      "-2",
                                      "9223372036854775808",
                                      "--1",
                                      "+1",
                                      "0x10"};
    struct topic_config config = {0};
    struct diag_trail trail;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_eq(set(&config, "retention.ms", bad[i], &trail), RC_INVALID, "'%s'", bad[i]);
        cr_assert_not_null(strstr(trail.text, "retention.ms"));
    }
    cr_assert_eq(set(&config, "max.message.bytes", "8388609", &trail), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "8388608"));
    cr_assert_eq(config.set, 0u);
}

Test(topic_config, refuses_what_is_accepted_only_at_its_default, .timeout = 10)
{
    struct topic_config config = {0};
    struct diag_trail trail;

    cr_assert_eq(set(&config, "min.insync.replicas", "2", &trail), RC_UNSUPPORTED);
    cr_assert_not_null(strstr(trail.text, "min.insync.replicas"));
    cr_assert_eq(set(&config, "compression.type", "zstd", &trail), RC_UNSUPPORTED);
    cr_assert_eq(set(&config, "cleanup.policy", "delete", &trail), RC_OK);
    cr_assert_eq(set(&config, "eagre.durability", "Device", &trail), RC_INVALID);
    cr_assert_eq(set(&config, "eagre.durability", "device|memory", &trail), RC_INVALID);
}

Test(topic_config, refuses_decimals_that_are_none_or_out_of_range, .timeout = 10)
{
    static const char *const bad[] = {
        "", ".", "..", "0.5.", "-0.5", "1.000001", "2", "0.5 ", "0,5", "1e-1", "0.1234567", "NaN"};
    struct topic_config config = {0};
    struct diag_trail trail;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_eq(
            set(&config, "min.cleanable.dirty.ratio", bad[i], &trail), RC_INVALID, "'%s'", bad[i]);
        cr_assert_not_null(strstr(trail.text, "[0.0, 1.0]"));
    }
    cr_assert_eq(config.set, 0u);
}

Test(topic_config, reads_decimals_as_millionths, .timeout = 10)
{
    static const struct {
        const char *text;
        int64_t millionths;
        const char *again;
    } good[] = {{"0", 0, "0.0"},
                {"0.5", 500000, "0.5"},
                {".25", 250000, "0.25"},
                {"1.", 1000000, "1.0"},
                {"1.0000000", 1000000, "1.0"},
                {"0.000001", 1, "0.000001"},
                {"0.01", 10000, "0.01"}};
    struct topic_config config = {0};
    char out[TOPIC_CONFIG_TEXT_MAX];
    struct diag_trail trail;

    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        cr_assert_eq(set(&config, "min.cleanable.dirty.ratio", good[i].text, &trail), RC_OK);
        cr_assert_eq(topic_config_number(&config, NULL, TOPIC_CONFIG_MIN_CLEANABLE_DIRTY_RATIO),
                     good[i].millionths);
        topic_config_text(&config, TOPIC_CONFIG_MIN_CLEANABLE_DIRTY_RATIO, out);
        cr_assert_str_eq(out, good[i].again);
    }
}

Test(topic_config, knows_both_orders_of_a_double_policy, .timeout = 10)
{
    struct topic_config config = {0};
    struct diag_trail trail;

    cr_assert_eq(set(&config, "cleanup.policy", "compact,compact", &trail), RC_INVALID);
    cr_assert_eq(set(&config, "cleanup.policy", "compact,delete", &trail), RC_OK);
    cr_assert_eq(topic_config_number(&config, NULL, TOPIC_CONFIG_CLEANUP_POLICY),
                 TOPIC_CLEANUP_COMPACT_DELETE);
    cr_assert_eq(set(&config, "cleanup.policy", "delete,compact", &trail), RC_OK);
    cr_assert_eq(topic_config_number(&config, NULL, TOPIC_CONFIG_CLEANUP_POLICY),
                 TOPIC_CLEANUP_DELETE_COMPACT);
}

Test(topic_config, takes_the_edges_of_every_row_and_gives_the_text_back, .timeout = 10)
{
    char out[TOPIC_CONFIG_TEXT_MAX];
    char again[TOPIC_CONFIG_TEXT_MAX];
    struct diag_trail trail;

    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const struct topic_config_row *row = topic_config_row((enum topic_config_key)i);
        struct topic_config config = {0};
        cr_assert_eq(topic_config_find(text(row->key)), i, "keys are unique: %s", row->key);
        cr_assert_gt(strlen(row->sentence), 10u);
        topic_config_text(NULL, (enum topic_config_key)i, out);
        cr_assert_eq(
            set(&config, row->key, out, &trail), RC_OK, "default of %s: %s", row->key, out);
        topic_config_text(&config, (enum topic_config_key)i, again);
        cr_assert_str_eq(out, again);
        if (row->rule != TOPIC_CONFIG_RULE_NUMBER && row->rule != TOPIC_CONFIG_RULE_DECIMAL)
            continue;
        config.values[i] = row->min;
        topic_config_text(&config, (enum topic_config_key)i, out);
        cr_assert_eq(set(&config, row->key, out, &trail), RC_OK, "%s=%s", row->key, out);
        cr_assert_eq(config.values[i], row->min);
        config.values[i] = row->max;
        topic_config_text(&config, (enum topic_config_key)i, out);
        cr_assert_eq(set(&config, row->key, out, &trail), RC_OK, "%s=%s", row->key, out);
        cr_assert_eq(config.values[i], row->max);
    }
}

Test(topic_config, looks_through_topic_then_broker_then_default, .timeout = 10)
{
    struct topic_config topic = {0};
    struct topic_config broker = {0};
    struct diag_trail trail;

    cr_assert_eq(topic_config_number(&topic, NULL, TOPIC_CONFIG_RETENTION_MS), 604800000);
    cr_assert_eq(topic_config_source(&topic, &broker, TOPIC_CONFIG_RETENTION_MS),
                 TOPIC_CONFIG_SOURCE_DEFAULT);
    cr_assert_eq(set(&broker, "retention.ms", "7", &trail), RC_OK);
    cr_assert_eq(topic_config_number(&topic, &broker, TOPIC_CONFIG_RETENTION_MS), 7);
    cr_assert_eq(topic_config_source(&topic, &broker, TOPIC_CONFIG_RETENTION_MS),
                 TOPIC_CONFIG_SOURCE_BROKER);
    cr_assert_eq(set(&topic, "retention.ms", "-1", &trail), RC_OK);
    cr_assert_eq(topic_config_number(&topic, &broker, TOPIC_CONFIG_RETENTION_MS), -1);
    cr_assert_eq(topic_config_source(&topic, &broker, TOPIC_CONFIG_RETENTION_MS),
                 TOPIC_CONFIG_SOURCE_TOPIC);
    cr_assert_eq(topic_config_set(&topic, text("retention.ms"), (struct bytes){NULL, 0}, &trail),
                 RC_OK);
    cr_assert_eq(topic_config_number(&topic, &broker, TOPIC_CONFIG_RETENTION_MS), 7);
    cr_assert_eq(set(&topic, "eagre.durability", "memory", &trail), RC_OK);
    cr_assert_eq(topic_config_number(&topic, NULL, TOPIC_CONFIG_DURABILITY),
                 TOPIC_DURABILITY_MEMORY);
}
