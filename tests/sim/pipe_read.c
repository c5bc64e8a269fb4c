/* Reading of pipelines: committed offsets, fetches, and the filter that every reader of committed
 * records has to have. */
#include "pipe_client.h"

#include "engine/base/check.h"
#include "engine/record/record_iterator.h"
#include "net/kafka/kafka_error.h"

#include <string.h>

#define FILTER_PRODUCERS_MAX 64u

void
pipe__walk_begin(struct pipe_client *client, uint32_t partition, int64_t offset)
{
    const struct history_walk walk = {.partition = partition,
                                      .is_committed = client->script.kind == PIPE_WORKER ||
                                                      client->script.is_committed,
                                      .is_final = client->script.is_final,
                                      .begin = offset,
                                      .end = offset};
    client->walks[partition] = history_add_walk(client->of->history, &walk);
    client->positions[partition] = offset;
}

/* ---- committed offsets ---- */

static void
place_ask(struct pipe_client *client)
{
    struct kafka_offset_fetch_request request;
    struct kafka_offset_fetch_request_topic topic;
    bool is_final = client->script.is_final;
    uint32_t partition = is_final ? client->place_partition : client->script.partition;
    const struct history_offset read = {.group = is_final ? client->place_group
                                                          : client->script.group,
                                        .partition = partition,
                                        .is_read = true,
                                        .is_final = is_final};
    int32_t index = pipe__index(partition);

    kafka_offset_fetch_request_defaults(&request);
    kafka_offset_fetch_request_topic_defaults(&topic);
    topic.name = pipe__topic(partition);
    topic.partition_indexes.at = &index;
    topic.partition_indexes.count = 1;
    request.group_id = pipe__group(read.group);
    request.topics.at = &topic;
    request.topics.count = 1;
    request.require_stable = true;
    client->offset_read = history_add_offset(client->of->history, &read);
    pipe__ask(client, KAFKA_OFFSET_FETCH, 7, &request);
}

/* The final reader asks for one after the other: in, out; of group-plain, in. */
static void
place_next(struct pipe_client *client)
{
    static const uint32_t first[PIPE_GROUPS] = {0, 2, 0};
    if (++client->place_partition == first[client->place_group] + 2) {
        client->place_group++;
        client->place_partition = client->place_group < PIPE_GROUPS ? first[client->place_group]
                                                                    : 0;
    }
    if (client->place_group < PIPE_GROUPS)
        return;
    pipe__go(client, PIPE_FETCH);
}

static bool
place_answer(struct pipe_client *client, const struct kafka_offset_fetch_response *answer)
{
    bool whole = answer->topics.count == 1 && answer->topics.at[0].partitions.count == 1;
    int16_t error = answer->error;

    if (error == KAFKA_ERROR_NONE && whole)
        error = answer->topics.at[0].partitions.at[0].error;
    if (pipe__may_retry(error)) {
        pipe__pause(client, 20 * NS_PER_MS);
        return true;
    }
    if (error != KAFKA_ERROR_NONE || !whole)
        return pipe__fail(client, "OffsetFetch", error);
    struct history_offset *read = history_offset(client->of->history, client->offset_read);
    read->value = answer->topics.at[0].partitions.at[0].committed_offset;
    read->answered = ++client->of->history->tick;
    if (client->script.is_final) {
        place_next(client);
    } else if (client->script.kind == PIPE_MEMBER) {
        pipe__go(client, PIPE_BEAT);
        pipe__pause(client, client->script.think_ns);
    } else {
        pipe__walk_begin(client, client->script.partition, read->value < 0 ? 0 : read->value);
        pipe__go(client, PIPE_FETCH);
    }
    return true;
}

/* ---- fetches ---- */

static void
fetch_ask(struct pipe_client *client)
{
    struct kafka_fetch_request request;
    struct kafka_fetch_request_topic topics[PIPE_PARTITIONS];
    struct kafka_fetch_request_partition partitions[PIPE_PARTITIONS];
    uint32_t count = 0;
    bool is_committed = client->script.kind == PIPE_WORKER || client->script.is_committed;

    kafka_fetch_request_defaults(&request);
    request.isolation_level = is_committed ? 1 : 0;
    request.max_wait_ms = (int32_t)sim_rng_between(&client->rng, 0, 50);
    request.min_bytes = 1;
    request.max_bytes = 1 * MIB;
    for (uint32_t p = 0; p < PIPE_PARTITIONS; p++) {
        if (client->script.kind == PIPE_WORKER && p != client->script.partition)
            continue;
        if (client->walks[p] == HISTORY_NONE)
            pipe__walk_begin(client, p, 0);
        kafka_fetch_request_topic_defaults(&topics[count]);
        kafka_fetch_request_partition_defaults(&partitions[count]);
        topics[count].name = pipe__topic(p);
        topics[count].partitions.at = &partitions[count];
        topics[count].partitions.count = 1;
        partitions[count].index = pipe__index(p);
        partitions[count].fetch_offset = client->positions[p];
        partitions[count].max_bytes = (int32_t)sim_rng_between(&client->rng, 1, 64 * KIB);
        count++;
    }
    request.topics.at = topics;
    request.topics.count = count;
    pipe__ask(client, KAFKA_FETCH, 11, &request);
}

struct filter {
    const struct kafka_fetch_response_partition *answer;
    int64_t producers[FILTER_PRODUCERS_MAX]; /* whose records are skipped */
    uint32_t producer_count;
    bool is_committed;
};

/* Aborted transactions that have begun up to that offset are skipped from now on. */
static void
filter_reach(struct filter *filter, int64_t from, int64_t to)
{
    for (uint32_t i = 0; i < filter->answer->aborted.count; i++) {
        int64_t first = filter->answer->aborted.at[i].first_offset;
        if (first < from || first > to)
            continue;
        CHECK(filter->producer_count < FILTER_PRODUCERS_MAX);
        filter->producers[filter->producer_count++] = filter->answer->aborted.at[i].producer_id;
    }
}

static void
filter_forget(struct filter *filter, int64_t producer_id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < filter->producer_count; i++)
        if (filter->producers[i] != producer_id)
            filter->producers[kept++] = filter->producers[i];
    filter->producer_count = kept;
}

static bool
filter_skips(const struct filter *filter, const struct record_batch_info *info)
{
    if (!filter->is_committed || (info->attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) == 0)
        return false;
    for (uint32_t i = 0; i < filter->producer_count; i++)
        if (filter->producers[i] == info->producer_id)
            return true;
    return false;
}

static bool
take_record(struct pipe_client *client, uint32_t partition, const struct record_view *view)
{
    uint32_t number = view->value.count >= 4 ? get_u32_le(view->value.at) : 0;

    if (number == 0 || number > client->of->history->records.count)
        return history_fail(client->of->history,
                            "partition %u offset %lld: a record that nobody wrote",
                            partition,
                            (long long)view->offset);
    history_add_read(client->of->history, client->walks[partition], number, view->offset);
    if (client->script.kind == PIPE_WORKER) {
        client->inputs[client->input_count] = number;
        client->input_offsets[client->input_count++] = view->offset;
    }
    return true;
}

/* False: a breach. A worker that has enough stops in the middle. */
static bool
take_batch(struct pipe_client *client,
           uint32_t partition,
           const uint8_t *at,
           const struct record_batch_info *info)
{
    struct record_iterator iterator;
    struct record_view view;

    record_iterator_begin(&iterator,
                          info,
                          (struct bytes){at + RECORD_BATCH_HEADER_BYTES,
                                         info->batch_bytes - RECORD_BATCH_HEADER_BYTES});
    while (record_iterator_next(&iterator, &view)) {
        if (view.offset < client->positions[partition])
            continue;
        if (client->input_count == PIPE_BATCH_RECORDS_MAX)
            return true;
        if (!take_record(client, partition, &view))
            return false;
        client->positions[partition] = view.offset + 1;
    }
    if (iterator.rc != RC_OK)
        return history_fail(client->of->history, "partition %u: records are none", partition);
    return true;
}

static bool
take_records(struct pipe_client *client, uint32_t partition, struct filter *filter)
{
    struct bytes records = filter->answer->records;
    int64_t reached = INT64_MIN;
    struct record_batch_info info;

    for (size_t at = 0; at + RECORD_BATCH_HEADER_BYTES <= records.count; at += info.batch_bytes) {
        if (record_batch_read(records.at + at, records.count - at, &info) != RC_OK ||
            info.batch_bytes > records.count - at)
            break; /* a piece of one */
        int64_t last = record_batch_last_offset(&info);
        filter_reach(filter, reached, last);
        reached = last + 1;
        if ((info.attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
            filter_forget(filter, info.producer_id);
        else if (!filter_skips(filter, &info) &&
                 !take_batch(client, partition, records.at + at, &info))
            return false;
        if (client->input_count == PIPE_BATCH_RECORDS_MAX)
            break;
        if (client->positions[partition] <= last)
            client->positions[partition] = last + 1;
    }
    return true;
}

static bool
take_partition(struct pipe_client *client,
               uint32_t partition,
               const struct kafka_fetch_response_partition *answer)
{
    struct filter filter = {.answer = answer,
                            .is_committed = client->script.kind == PIPE_WORKER ||
                                            client->script.is_committed};

    if (pipe__may_retry(answer->error))
        return true;
    if (answer->error != KAFKA_ERROR_NONE)
        return pipe__fail(client, "Fetch", answer->error);
    if (!take_records(client, partition, &filter))
        return false;
    history_walk(client->of->history, client->walks[partition])->end = client->positions[partition];
    client->is_at_end[partition] = client->positions[partition] == answer->high_watermark &&
                                   (!filter.is_committed ||
                                    answer->last_stable_offset == answer->high_watermark);
    return true;
}

static bool
is_everywhere_at_end(const struct pipe_client *client)
{
    for (uint32_t p = 0; p < PIPE_PARTITIONS; p++)
        if (!client->is_at_end[p])
            return false;
    return true;
}

static bool
fetch_answer(struct pipe_client *client, const struct kafka_fetch_response *answer)
{
    client->input_count = 0;
    if (answer->error != KAFKA_ERROR_NONE)
        return pipe__fail(client, "Fetch", answer->error);
    for (uint32_t i = 0; i < answer->topics.count; i++) {
        const struct kafka_fetch_response_partition *at = answer->topics.at[i].partitions.at;
        uint32_t partition = client->script.kind == PIPE_WORKER ? client->script.partition : i;
        if (answer->topics.at[i].partitions.count != 1 || at->index != pipe__index(partition))
            return history_fail(client->of->history, "Fetch answered what nobody asked");
        if (!take_partition(client, partition, at))
            return false;
    }
    pipe__pause(client, client->script.think_ns);
    if (client->script.kind == PIPE_WORKER && client->input_count > 0)
        pipe__transaction_begin(client);
    else if (client->of->closing && (!client->script.is_final || is_everywhere_at_end(client)))
        pipe__go(client, PIPE_DONE);
    return true;
}

void
pipe__read_ask(struct pipe_client *client)
{
    if (client->phase == PIPE_PLACE)
        place_ask(client);
    else
        fetch_ask(client);
}

bool
pipe__read_answer(struct pipe_client *client, const struct stream_answer *answer)
{
    return client->phase == PIPE_PLACE ? place_answer(client, &answer->u.offset_fetch)
                                       : fetch_answer(client, &answer->u.fetch);
}
