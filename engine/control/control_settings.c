/* From the settings of `eagre serve` to control's configuration, and to the lines that
 * DescribeConfigs shows of this broker under the names that Kafka's tools look for. */
#include "engine/control/control.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"

#include <stdio.h>

static void
copy_text(char *to, size_t capacity, const char *from)
{
    size_t count = min_u64(strlen(from), capacity - 1);

    bytes_copy(to, capacity - 1, from, count);
    to[count] = 0;
}

/* A setting that is not at its default becomes an override of the broker. */
static void
set_broker(struct topic_config *broker, const char *key, int64_t value, int64_t preset)
{
    char text[32];
    int count = snprintf(text, sizeof(text), "%lld", (long long)value);

    if (value == preset)
        return;
    CHECK(count > 0 && (size_t)count < sizeof(text));
    /* The setting's range lies within the topic config's; what does not fit keeps the default. */
    enum rc rc = topic_config_set(broker,
                                  (struct bytes){(const uint8_t *)key, strlen(key)},
                                  (struct bytes){(const uint8_t *)text, (size_t)count},
                                  NULL);
    if (rc != RC_OK)
        diag_warn("setting_out_of_range", "name=%s value=%s doing=use_default", key, text);
}

static void
take_topic_defaults(struct topic_config *broker,
                    const struct settings *settings,
                    const struct settings *presets)
{
    uint64_t segment_bytes = min_u64(settings->segment_bytes, INT32_MAX); /* Kafka's type is INT */

    set_broker(broker, "segment.bytes", (int64_t)segment_bytes, (int64_t)presets->segment_bytes);
    set_broker(broker, "segment.ms", settings->segment_ms, presets->segment_ms);
    set_broker(broker, "retention.ms", settings->retention_ms, presets->retention_ms);
    set_broker(broker, "retention.bytes", settings->retention_bytes, presets->retention_bytes);
    set_broker(broker,
               "max.message.bytes",
               (int64_t)settings->max_message_bytes,
               (int64_t)presets->max_message_bytes);
}

/* ---- lines of DescribeConfigs */

static struct control_broker_config *
add_line(struct control_config *config, const char *key, const char *sentence, bool is_default)
{
    CHECK(config->config_count < CONTROL_BROKER_CONFIGS_MAX);
    struct control_broker_config *line = &config->configs[config->config_count++];

    *line = (struct control_broker_config){
        .key = key,
        .sentence = sentence,
        .is_default = is_default,
        .type = TOPIC_CONFIG_TYPE_STRING,
    };
    return line;
}

static void
add_text(struct control_config *config, const char *key, const char *value, const char *sentence)
{
    copy_text(add_line(config, key, sentence, false)->value, CONTROL_VALUE_MAX, value);
}

struct number_line {
    const char *key;
    int64_t value;
    int64_t preset;
    enum topic_config_type type;
    const char *sentence;
};

static void
add_number(struct control_config *config, const struct number_line *number)
{
    struct control_broker_config *line = add_line(
        config, number->key, number->sentence, number->value == number->preset);

    line->type = number->type;
    if (number->type == TOPIC_CONFIG_TYPE_BOOL)
        copy_text(line->value, CONTROL_VALUE_MAX, number->value != 0 ? "true" : "false");
    else
        snprintf(line->value, CONTROL_VALUE_MAX, "%lld", (long long)number->value);
}

/* Kafka names it in minutes; what is left over counts as a whole one. */
static int64_t
in_minutes(int64_t ms)
{
    return ms < 0 ? -1 : ms / 60000 + (ms % 60000 != 0);
}

static void
add_lines(struct control_config *config,
          const struct settings *settings,
          const struct settings *presets)
{
    /* tidy: length, flat table */
    const struct number_line numbers[] = {
        {"broker.id",
         (int64_t)settings->broker_id,
         (int64_t)presets->broker_id,
         TOPIC_CONFIG_TYPE_INT,
         "Number of this broker in its cluster."},
        {"auto.create.topics.enable",
         settings->topic_auto_create,
         presets->topic_auto_create,
         TOPIC_CONFIG_TYPE_BOOL,
         "Whether asking for an unknown topic creates it."},
        {"num.partitions",
         (int64_t)settings->topic_partitions_default,
         (int64_t)presets->topic_partitions_default,
         TOPIC_CONFIG_TYPE_INT,
         "Partitions of a topic whose creator does not say."},
        {"default.replication.factor",
         1,
         1,
         TOPIC_CONFIG_TYPE_INT,
         "Replicas of a partition; there is one broker."},
        {"delete.topic.enable", 1, 1, TOPIC_CONFIG_TYPE_BOOL, "Whether topics may be deleted."},
        {"transaction.max.timeout.ms",
         settings->transaction_timeout_ms_max,
         presets->transaction_timeout_ms_max,
         TOPIC_CONFIG_TYPE_INT,
         "Longest time that a producer may give its transactions."},
        {"transactional.id.expiration.ms",
         settings->transaction_expiration_ms,
         presets->transaction_expiration_ms,
         TOPIC_CONFIG_TYPE_INT,
         "How long an unused transactional id is remembered."},
        {"producer.id.expiration.ms",
         settings->producer_id_expiration_ms,
         presets->producer_id_expiration_ms,
         TOPIC_CONFIG_TYPE_LONG,
         "How long the sequences of an idle producer are remembered."},
        {"offsets.retention.minutes",
         in_minutes(settings->offsets_retention_ms),
         in_minutes(presets->offsets_retention_ms),
         TOPIC_CONFIG_TYPE_INT,
         "How long offsets are kept after their group lost its last member; -1 keeps them."},
        {"group.consumer.session.timeout.ms",
         settings->group_consumer_session_ms,
         presets->group_consumer_session_ms,
         TOPIC_CONFIG_TYPE_INT,
         "Silence after which a member of the consumer protocol counts as gone."},
        {"group.consumer.heartbeat.interval.ms",
         settings->group_consumer_heartbeat_ms,
         presets->group_consumer_heartbeat_ms,
         TOPIC_CONFIG_TYPE_INT,
         "How often members of the consumer protocol are told to speak."},
        {"fetch.max.bytes",
         (int64_t)settings->fetch_bytes_max,
         (int64_t)presets->fetch_bytes_max,
         TOPIC_CONFIG_TYPE_INT,
         "Most record bytes in one fetch response."},
        {"max.connections",
         (int64_t)settings->connections_max,
         (int64_t)presets->connections_max,
         TOPIC_CONFIG_TYPE_INT,
         "Most Kafka connections."},
        {"connections.max.idle.ms",
         settings->connection_idle_ms,
         presets->connection_idle_ms,
         TOPIC_CONFIG_TYPE_LONG,
         "A connection without a request for this long is closed."},
        {"socket.request.max.bytes",
         (int64_t)settings->connection_request_bytes_max,
         (int64_t)presets->connection_request_bytes_max,
         TOPIC_CONFIG_TYPE_INT,
         "Longest request."},
    };
    char address[CONTROL_VALUE_MAX];

    config->config_count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        add_number(config, &numbers[i]);
    snprintf(
        address, sizeof(address), "PLAINTEXT://%s:%u", settings->kafka.host, settings->kafka.port);
    add_text(config, "listeners", address, "Where Kafka clients connect.");
    snprintf(address, sizeof(address), "PLAINTEXT://%s:%u", config->host, config->port);
    add_text(
        config, "advertised.listeners", address, "Address that clients are told to come back to.");
    add_text(config,
             "group.coordinator.rebalance.protocols",
             "classic,consumer",
             "Protocols that groups may use.");
    add_text(config,
             "group.consumer.migration.policy",
             "disabled",
             "A group changes its protocol while it has no members.");
}

static struct groups_limits
group_limits(const struct settings *settings)
{
    return (struct groups_limits){
        .groups_max = (uint32_t)settings->group_groups_max,
        .members_max = (uint32_t)settings->group_members_max,
        .size_max = (uint32_t)settings->group_size_max,
        .offsets_max = (uint32_t)settings->group_offsets_max,
        .consumer_topics_max = (uint32_t)settings->group_topics_max,
        .consumer_partitions_max = (uint32_t)settings->group_consumer_partitions_max,
        .consumer_session_ns = (uint64_t)settings->group_consumer_session_ms * NS_PER_MS,
        .consumer_heartbeat_ms = (int32_t)settings->group_consumer_heartbeat_ms,
        .transactions_max = (uint32_t)settings->group_transactions_max,
        .memory_bytes = round_up(settings->group_memory_bytes, 4096),
        .metadata_bytes_max = (uint32_t)settings->offset_metadata_bytes_max,
        .session_min_ns = (uint64_t)settings->group_session_ms_min * NS_PER_MS,
        .session_max_ns = (uint64_t)settings->group_session_ms_max * NS_PER_MS,
        .initial_delay_ns = (uint64_t)settings->group_initial_delay_ms * NS_PER_MS,
        .retention_ms = settings->offsets_retention_ms,
    };
}

static struct coordinator_limits
transaction_limits(const struct settings *settings)
{
    return (struct coordinator_limits){
        .transactions_max = (uint32_t)settings->transaction_ids_max,
        .partitions_max = (uint32_t)settings->transaction_partitions_max,
        .size_max = (uint32_t)settings->transaction_size_max,
        .timeout_max_ms = (int32_t)settings->transaction_timeout_ms_max,
        .expiration_ms = settings->transaction_expiration_ms,
        .orders_max = CONTROL_ORDERS,
    };
}

static void
take_number_presets(struct control_config *config, const struct settings *presets)
{
    int64_t *to = config->number_presets;

    to[BROKER_CONFIG_GROUP_INITIAL_DELAY_MS] = presets->group_initial_delay_ms;
    to[BROKER_CONFIG_GROUP_SESSION_MIN_MS] = presets->group_session_ms_min;
    to[BROKER_CONFIG_GROUP_SESSION_MAX_MS] = presets->group_session_ms_max;
    to[BROKER_CONFIG_GROUP_SIZE_MAX] = (int64_t)presets->group_size_max;
    to[BROKER_CONFIG_OFFSET_METADATA_BYTES_MAX] = (int64_t)presets->offset_metadata_bytes_max;
    to[BROKER_CONFIG_QUOTA_WINDOW_NUM] = (int64_t)presets->quota_window_num;
    to[BROKER_CONFIG_QUOTA_WINDOW_SECONDS] = (int64_t)presets->quota_window_seconds;
}

void
control_config_take(struct control_config *config,
                    const struct settings *settings,
                    uint16_t kafka_port)
{
    struct settings presets;
    bool advertised = settings->advertise.host[0] != 0;

    CHECK(config->log_tile_count > 0);
    config_defaults(&presets);
    config->limits = (struct control_limits){
        .topics_max = (uint32_t)settings->topics_max,
        .partitions_max = (uint32_t)settings->partitions_max * config->log_tile_count,
        .topic_partitions_max = (uint32_t)settings->topic_partitions_max,
        .calls_max = CONTROL_CALLS,
        .operations_max = CONTROL_OPERATIONS,
        .pool_bytes = CONTROL_POOL_BYTES,
        .quota_entities_max = (uint32_t)settings->quota_entities_max,
        .groups = group_limits(settings),
        .transactions = transaction_limits(settings),
    };
    config->broker = (struct topic_config){0};
    take_topic_defaults(&config->broker, settings, &presets);
    take_number_presets(config, &presets);
    config->node_id = (int32_t)settings->broker_id;
    copy_text(config->host,
              sizeof(config->host),
              advertised ? settings->advertise.host : settings->kafka.host);
    config->port = advertised && settings->advertise.port != 0 ? settings->advertise.port
                                                               : kafka_port;
    config->auto_create = settings->topic_auto_create;
    config->default_partitions = (uint32_t)min_u64(settings->topic_partitions_default,
                                                   settings->topic_partitions_max);
    config->quota_window_ns = settings->quota_window_seconds * NS_PER_S;
    config->quota_window_num = (uint32_t)settings->quota_window_num;
    config->producer_block = (uint32_t)settings->producer_id_block;
    copy_text(config->data, sizeof(config->data), settings->data);
    copy_text(config->cluster_id, sizeof(config->cluster_id), settings->cluster_id);
    add_lines(config, settings, &presets);
}
