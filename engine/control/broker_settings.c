/* Settings of the broker that change at run time. What counts is laid in four layers: the server's
 * presets, what it was started with, what was set for all brokers, what was set for this one. The
 * result stands where everything else looks for it: control->config.
 *
 * A change is stored first. Then it counts; then every open partition gets its settings again and
 * every gate its topics; then the client is told. Partitions that were just being opened with the
 * former settings are waited for. */
#include "engine/control/control_internal.h"

static int64_t
number_now(const struct control *control, enum broker_config_number number)
{
    const struct groups_limits *groups = &control->config.limits.groups;

    switch (number) {
    case BROKER_CONFIG_GROUP_INITIAL_DELAY_MS:
        return (int64_t)(groups->initial_delay_ns / NS_PER_MS);
    case BROKER_CONFIG_GROUP_SESSION_MIN_MS:
        return (int64_t)(groups->session_min_ns / NS_PER_MS);
    case BROKER_CONFIG_GROUP_SESSION_MAX_MS:
        return (int64_t)(groups->session_max_ns / NS_PER_MS);
    case BROKER_CONFIG_GROUP_SIZE_MAX:
        return groups->size_max;
    case BROKER_CONFIG_OFFSET_METADATA_BYTES_MAX:
        return groups->metadata_bytes_max;
    case BROKER_CONFIG_QUOTA_WINDOW_NUM:
        return control->config.quota_window_num;
    case BROKER_CONFIG_QUOTA_WINDOW_SECONDS:
        return (int64_t)(control->config.quota_window_ns / NS_PER_S);
    case BROKER_CONFIG_NUMBERS:
        break;
    }
    CHECK(false);
}

static void
set_number(struct control *control, enum broker_config_number number, int64_t value)
{
    struct groups_limits *groups = &control->config.limits.groups;

    switch (number) {
    case BROKER_CONFIG_GROUP_INITIAL_DELAY_MS:
        groups->initial_delay_ns = (uint64_t)value * NS_PER_MS;
        return;
    case BROKER_CONFIG_GROUP_SESSION_MIN_MS:
        groups->session_min_ns = (uint64_t)value * NS_PER_MS;
        return;
    case BROKER_CONFIG_GROUP_SESSION_MAX_MS:
        groups->session_max_ns = (uint64_t)value * NS_PER_MS;
        return;
    case BROKER_CONFIG_GROUP_SIZE_MAX:
        groups->size_max = (uint32_t)value;
        return;
    case BROKER_CONFIG_OFFSET_METADATA_BYTES_MAX:
        groups->metadata_bytes_max = (uint32_t)value;
        return;
    case BROKER_CONFIG_QUOTA_WINDOW_NUM:
        control->config.quota_window_num = (uint32_t)value;
        return;
    case BROKER_CONFIG_QUOTA_WINDOW_SECONDS:
        control->config.quota_window_ns = (uint64_t)value * NS_PER_S;
        return;
    case BROKER_CONFIG_NUMBERS:
        break;
    }
    CHECK(false);
}

void
control__broker_begin(struct control *control)
{
    control->start_topics = control->config.broker;
    for (uint32_t i = 0; i < BROKER_CONFIG_NUMBERS; i++)
        control->start_numbers[i] = number_now(control, (enum broker_config_number)i);
}

const struct broker_config *
control__broker_layer(const struct control *control, bool own)
{
    static const struct broker_config nothing;

    if (!own)
        return &control->store.brokers;
    return control->store.broker_id == (uint32_t)control->config.node_id ? &control->store.broker
                                                                         : &nothing;
}

int64_t
control__broker_number(const struct control *control,
                       const struct broker_config *brokers,
                       const struct broker_config *own,
                       enum broker_config_number number)
{
    if ((own->set >> number & 1) != 0)
        return own->numbers[number];
    if ((brokers->set >> number & 1) != 0)
        return brokers->numbers[number];
    return control->start_numbers[number];
}

enum topic_config_source
control__config_source(const struct control *control,
                       const struct topic_config *topic,
                       enum topic_config_key key)
{
    if ((topic->set >> key & 1) != 0)
        return TOPIC_CONFIG_SOURCE_TOPIC;
    if (broker_config_has(control__broker_layer(control, true), (uint32_t)key))
        return TOPIC_CONFIG_SOURCE_BROKER_OWN;
    if (broker_config_has(control__broker_layer(control, false), (uint32_t)key))
        return TOPIC_CONFIG_SOURCE_BROKERS;
    return topic_config_source(topic, &control->config.broker, key);
}

void
control__broker_count(struct control *control)
{
    const struct broker_config *brokers = control__broker_layer(control, false);
    const struct broker_config *own = control__broker_layer(control, true);

    control->config.broker = control->start_topics;
    broker_config_lay(&control->config.broker, &brokers->topics);
    broker_config_lay(&control->config.broker, &own->topics);
    for (uint32_t i = 0; i < BROKER_CONFIG_NUMBERS; i++) {
        enum broker_config_number number = (enum broker_config_number)i;
        set_number(control, number, control__broker_number(control, brokers, own, number));
    }
    groups_retune(control->groups, &control->config.limits.groups);
}

/* ---- the steps of an operation */

void
control__broker_appended(struct control *control, struct control_operation *operation)
{
    struct topic_config topics = control->config.broker;
    uint64_t window_ns = control->config.quota_window_ns;
    uint32_t window_num = control->config.quota_window_num;

    control__broker_count(control);
    operation->tells_topics = memcmp(&topics, &control->config.broker, sizeof(topics)) != 0;
    operation->tells_windows = window_ns != control->config.quota_window_ns ||
                               window_num != control->config.quota_window_num;
    operation->cursor = 0;
    operation->end = 0;
}

/* Operations that began to open or configure partitions before the change counted. */
static bool
others_are_under_way(const struct control *control, const struct control_operation *operation)
{
    for (uint32_t i = 0; i < control->config.limits.operations_max; i++) {
        const struct control_operation *other = &control->operations[i];
        bool busy = other->state == OPERATION_OPENING || other->state == OPERATION_CONFIGURING;
        if (other != operation && busy && other->order < operation->order)
            return true;
    }
    return false;
}

/* cursor: topic, end: its next partition. */
static bool
configure_topic(struct control *control,
                struct control_operation *operation,
                const struct topic *topic)
{
    uint32_t idx = (uint32_t)(operation - control->operations);

    for (; operation->end < topic->partition_count; operation->end++) {
        uint32_t place = topic_store_partition(&control->store, topic, operation->end);
        CHECK(place != TOPIC_NONE);
        if (control__place(control, place)->slot == UINT32_MAX)
            continue; /* gets them when it is opened */
        if (!control__configure(control, place, idx))
            return false;
        operation->outstanding++;
    }
    return true;
}

bool
control__broker_configured(struct control *control, struct control_operation *operation)
{
    const struct topic *topic;

    if (!operation->tells_topics)
        return true;
    if (others_are_under_way(control, operation)) {
        control->retry = true;
        return false;
    }
    while ((topic = topic_store_next(&control->store, operation->cursor)) != NULL) {
        if (topic->idx != operation->cursor)
            operation->end = 0; /* the topic that the cursor stood at is gone */
        operation->cursor = topic->idx;
        if (!configure_topic(control, operation, topic))
            return false;
        operation->cursor++;
        operation->end = 0;
    }
    if (operation->outstanding > 0)
        return false;
    operation->cursor = 0;
    return true;
}

bool
control__broker_published(struct control *control, struct control_operation *operation)
{
    const struct topic *topic;

    while (operation->tells_topics &&
           (topic = topic_store_next(&control->store, operation->cursor)) != NULL) {
        uint32_t count = control__visible(control, topic);
        if (count > 0 && !control__publish_topic(control, topic, count))
            return false;
        operation->cursor = topic->idx + 1;
    }
    operation->tells_topics = false;
    /* The windows travel with any limit. */
    return !operation->tells_windows ||
           control__publish_quota(control, &control->store.quotas.fallback);
}
