/* DescribeTopicPartitions (75): topics in the order of their names, cut into pages. A page ends
 * after so many partitions and says where the next one begins; the cursor names a topic, so topics
 * may come and go between pages. */
#include "engine/control/control_internal.h"

#include "engine/topic/topic_name.h"

#define PARTITIONS_PER_PAGE_MAX 2000

/* Names to describe and how far it went. */
struct page {
    struct bytes *names; /* [count], sorted, each once */
    uint32_t count;
    uint32_t first_partition; /* of the first name */
    uint32_t room;            /* partitions that may still be listed */
};

/* As bytes, a shorter name before a longer one that it begins. */
static int
compare_names(struct bytes a, struct bytes b)
{
    size_t common = min_u64(a.count, b.count);
    int order = common > 0 ? memcmp(a.at, b.at, common) : 0;

    if (order != 0)
        return order;
    return a.count == b.count ? 0 : (a.count < b.count ? -1 : 1);
}

/* Shell's sort with gaps that shrink by about 2.25 (Tokuda 1992): short, in place, and quick enough
 * for the tens of thousands of names that there can be. */
static void
sort_names(struct bytes *names, uint32_t count)
{
    uint32_t gap = 1;

    while (gap < count / 9 * 4)
        gap = gap * 9 / 4 + 1;
    for (; gap > 0; gap = gap * 4 / 9) {
        for (uint32_t i = gap; i < count; i++) {
            struct bytes name = names[i];
            uint32_t at = i;
            for (; at >= gap && compare_names(names[at - gap], name) > 0; at -= gap)
                names[at] = names[at - gap];
            names[at] = name;
        }
    }
}

/* Puts the names that were asked for, or those of all topics, from the cursor on. */
static bool
collect_names(struct control *control,
              const struct kafka_describe_topic_partitions_request *request,
              struct kafka_arena *arena,
              struct page *page)
{
    bool all = request->topics.count == 0;
    uint32_t max = all ? control->store.topic_count : request->topics.count;
    const struct kafka_describe_topic_partitions_request_cursor *cursor = request->cursor.count > 0
                                                                              ? request->cursor.at
                                                                              : NULL;
    uint32_t kept = 0;

    page->names = kafka_arena_take(arena, sizeof(*page->names) * (max + 1));
    if (page->names == NULL)
        return false;
    for (uint32_t i = 0; i < request->topics.count; i++)
        page->names[page->count++] = request->topics.at[i].name;
    for (const struct topic *topic = all ? topic_store_next(&control->store, 0) : NULL;
         topic != NULL;
         topic = topic_store_next(&control->store, topic->idx + 1)) {
        if (control__visible(control, topic) > 0)
            page->names[page->count++] = control__topic_name(topic);
    }
    sort_names(page->names, page->count);
    for (uint32_t i = 0; i < page->count; i++) {
        struct bytes name = page->names[i];
        bool again = kept > 0 && compare_names(page->names[kept - 1], name) == 0;
        bool before = cursor != NULL && compare_names(name, cursor->topic_name) < 0;
        if (!again && !before)
            page->names[kept++] = name;
    }
    page->count = kept;
    if (cursor != NULL && kept > 0 && compare_names(page->names[0], cursor->topic_name) == 0)
        page->first_partition = (uint32_t)cursor->index;
    return true;
}

static void
fill_partition(struct control *control,
               const struct topic *topic,
               uint32_t partition,
               struct kafka_describe_topic_partitions_response_partition *ret)
{
    uint32_t place = topic_store_partition(&control->store, topic, partition);
    const struct control_place *entry = control__place(control, place);
    bool open = entry->slot != UINT32_MAX;
    struct kafka_i32_list self = {&control->config.node_id, 1};
    struct kafka_i32_list none = {&control->config.node_id, 0};

    kafka_describe_topic_partitions_response_partition_defaults(ret);
    ret->error = open ? KAFKA_ERROR_NONE : KAFKA_ERROR_LEADER_NOT_AVAILABLE;
    ret->index = (int32_t)partition;
    ret->leader_id = open ? control->config.node_id : -1;
    ret->leader_epoch = open ? entry->leader_epoch : -1;
    ret->replica_nodes = self;
    ret->isr_nodes = open ? self : none;
    ret->offline_replicas = open ? none : self;
    ret->eligible_leader_replicas = none;
    ret->last_known_elr = none;
}

/* Describes one topic as far as there is room. Writes the next partition, or 0 when all are there.
 */
static bool
fill_topic(struct control *control,
           struct page *page,
           uint32_t first,
           struct kafka_arena *arena,
           struct kafka_describe_topic_partitions_response_topic *ret)
{
    const struct topic *topic = topic_store_find(&control->store, ret->name);
    uint32_t visible = topic != NULL ? control__visible(control, topic) : 0;
    uint32_t count = first < visible ? min_u32(visible - first, page->room) : 0;
    struct kafka_describe_topic_partitions_response_partition *partitions = kafka_arena_take(
        arena, sizeof(*partitions) * (count + 1));

    if (partitions == NULL)
        return false;
    ret->partitions.at = partitions;
    ret->partitions.count = count;
    if (visible == 0) {
        ret->error = topic_name_is_valid(ret->name) ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION
                                                    : KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
        return true;
    }
    ret->is_internal = topic_name_is_internal(ret->name);
    bytes_copy(ret->topic_id.at, sizeof(ret->topic_id.at), topic->id, sizeof(topic->id));
    for (uint32_t i = 0; i < count; i++)
        fill_partition(control, topic, first + i, &partitions[i]);
    page->room -= count;
    page->first_partition = first + count < visible ? first + count : 0;
    return true;
}

static bool
fill(struct control *control,
     struct page *page,
     struct kafka_arena *arena,
     struct kafka_describe_topic_partitions_response *response)
{
    struct kafka_describe_topic_partitions_response_topic *topics = kafka_arena_take(
        arena, sizeof(*topics) * (page->count + 1));
    struct kafka_describe_topic_partitions_response_cursor *next = kafka_arena_take(arena,
                                                                                    sizeof(*next));
    uint32_t at = 0;

    if (topics == NULL || next == NULL)
        return false;
    while (at < page->count && page->room > 0) {
        uint32_t first = page->first_partition;
        page->first_partition = 0;
        kafka_describe_topic_partitions_response_topic_defaults(&topics[at]);
        topics[at].name = page->names[at];
        if (!fill_topic(control, page, first, arena, &topics[at]))
            return false;
        response->topics.count++;
        if (page->first_partition > 0)
            break; /* the next page goes on with this one */
        at++;
    }
    response->topics.at = topics;
    if (at == page->count)
        return true;
    kafka_describe_topic_partitions_response_cursor_defaults(next);
    next->topic_name = page->names[at];
    next->index = (int32_t)page->first_partition;
    response->next_cursor.at = next;
    response->next_cursor.count = 1;
    return true;
}

/* A cursor that no answer can have held refuses the request. */
static enum rc
begin(struct control *control, struct control_call *call)
{
    const struct kafka_describe_topic_partitions_request *request = call->message;

    (void)control;
    if (request->cursor.count > 0 && request->cursor.at->index < 0)
        return RC_MALFORMED;
    return RC_OK;
}

static void *
finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_describe_topic_partitions_request *request = call->message;
    struct kafka_describe_topic_partitions_response *response = kafka_arena_take(arena,
                                                                                 sizeof(*response));
    int32_t limit = request->response_partition_limit;
    struct page page = {.room = PARTITIONS_PER_PAGE_MAX};

    if (response == NULL)
        return NULL;
    if (limit < PARTITIONS_PER_PAGE_MAX)
        page.room = limit > 0 ? (uint32_t)limit : 1;
    kafka_describe_topic_partitions_response_defaults(response);
    if (!collect_names(control, request, arena, &page) || !fill(control, &page, arena, response))
        return NULL;
    return response;
}

const struct control_api control__api_describe_topic_partitions = {
    .key = KAFKA_DESCRIBE_TOPIC_PARTITIONS,
    .begin = begin,
    .finish = finish,
};
