/* Reading everything at the end; see engine_reader.h. */
#include "engine_reader.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READER_NUMBER 99u
#define READER_WAIT_NS (60 * NS_PER_S)

/* One question at a time; the reader is an actor only so that the world knows when it has news. */
struct reader_client {
    struct client_world *of;
    struct stream stream;
    struct stream_answer answer;
    enum stream_event event;
    uint64_t end_ns;
};

static uint32_t
reader_step(void *object)
{
    struct reader_client *reader = object;
    if (reader->event == STREAM_NOTHING)
        reader->event = stream_poll(&reader->stream, &reader->answer);
    return reader->event != STREAM_NOTHING;
}

static uint64_t
reader_due_ns(void *object)
{
    struct reader_client *reader = object;
    return reader->event == STREAM_NOTHING ? min_u64(stream_due_ns(&reader->stream), reader->end_ns)
                                           : SIM_NEVER_NS;
}

static bool
reader_is_over(void *ctx)
{
    struct reader_client *reader = ctx;
    return reader->event != STREAM_NOTHING || sim_world_now_ns(reader->of->world) >= reader->end_ns;
}

/* Sends one request and waits. The answer is valid until reader_next(). */
static bool
reader_ask(struct reader_client *reader,
           enum kafka_api_key key,
           int16_t version,
           const void *message)
{
    struct kafka_client_request request = {.api_key = key, .version = version};

    if (!reader->stream.is_open && !stream_open(&reader->stream, RIG_PORT))
        return engine_model_fail(reader->of->model, "reader: nobody listens");
    stream_ask(&reader->stream, &request, message, READER_NUMBER, true);
    reader->event = STREAM_NOTHING;
    reader->end_ns = sim_world_now_ns(reader->of->world) + READER_WAIT_NS;
    enum sim_world_end end = sim_world_run(reader->of->world, reader_is_over, reader);
    if (reader->event == STREAM_ANSWER)
        return true;
    return engine_model_fail(reader->of->model,
                             "reader: no answer to API %d (%s, event %d)",
                             (int)key,
                             sim_world_end_name(end),
                             (int)reader->event);
}

static void
reader_next(struct reader_client *reader)
{
    stream_done(&reader->stream, &reader->answer);
}

/* Start and end of a partition. */
static bool
reader_offset(struct reader_client *reader,
              uint32_t topic,
              uint32_t partition,
              int64_t timestamp_ms,
              int64_t *ret_offset)
{
    struct engine_model *model = reader->of->model;
    struct kafka_list_offsets_request request;
    struct kafka_list_offsets_request_topic of;
    struct kafka_list_offsets_request_partition at;

    kafka_list_offsets_request_defaults(&request);
    kafka_list_offsets_request_topic_defaults(&of);
    kafka_list_offsets_request_partition_defaults(&at);
    at.index = (int32_t)partition;
    at.timestamp_ms = timestamp_ms;
    of.name = client__name(&model->topics[topic]);
    of.partitions.at = &at;
    of.partitions.count = 1;
    request.topics.at = &of;
    request.topics.count = 1;
    if (!reader_ask(reader, KAFKA_LIST_OFFSETS, 7, &request))
        return false;
    const struct kafka_list_offsets_response *answer = &reader->answer.u.list_offsets;
    bool good = answer->topics.count == 1 && answer->topics.at[0].partitions.count == 1;
    int16_t error = good ? answer->topics.at[0].partitions.at[0].error : -1;
    if (error == KAFKA_ERROR_NONE)
        *ret_offset = answer->topics.at[0].partitions.at[0].offset;
    reader_next(reader);
    if (error == KAFKA_ERROR_NONE)
        return true;
    return engine_model_fail(model,
                             "%s/%u: offsets at the end: %s",
                             model->topics[topic].name,
                             partition,
                             kafka_error_name(error));
}

static bool
reader_fetch(struct reader_client *reader, struct engine_reading *reading, int64_t *ret_next)
{
    struct engine_model *model = reader->of->model;
    struct kafka_fetch_request request;
    struct kafka_fetch_request_topic of;
    struct kafka_fetch_request_partition at;

    kafka_fetch_request_defaults(&request);
    kafka_fetch_request_topic_defaults(&of);
    kafka_fetch_request_partition_defaults(&at);
    at.index = (int32_t)reading->partition;
    at.fetch_offset = reading->offset;
    at.max_bytes = 1 * MIB;
    of.name = client__name(&model->topics[reading->topic]);
    of.partitions.at = &at;
    of.partitions.count = 1;
    request.max_bytes = 1 * MIB;
    request.topics.at = &of;
    request.topics.count = 1;
    if (!reader_ask(reader, KAFKA_FETCH, 11, &request))
        return false;
    const struct kafka_fetch_response *answer = &reader->answer.u.fetch;
    bool good = answer->error == 0 && answer->topics.count == 1 &&
                answer->topics.at[0].partitions.count == 1 &&
                answer->topics.at[0].partitions.at[0].error == 0;
    if (good) {
        reading->records = answer->topics.at[0].partitions.at[0].records;
        good = engine_model_read(model, reading, ret_next);
    } else {
        (void)engine_model_fail(model,
                                "%s/%u: fetch at the end from offset %" PRId64 " refused",
                                model->topics[reading->topic].name,
                                reading->partition,
                                reading->offset);
    }
    reader_next(reader);
    return good;
}

static bool
reader_judge(struct reader_client *reader, uint32_t topic, uint32_t partition)
{
    struct engine_model *model = reader->of->model;
    struct engine_stored stored = {0};

    if (!reader_offset(reader, topic, partition, -2, &stored.start) ||
        !reader_offset(reader, topic, partition, -1, &stored.end) ||
        !engine_model_told(
            model, topic, partition, stored.end, engine_model_least(model, topic, partition)))
        return false;
    struct engine_reading reading = {
        .topic = topic, .partition = partition, .offset = stored.start, .stored = &stored};
    bool good = true;
    while (good && reading.offset < stored.end) {
        int64_t next;
        good = reader_fetch(reader, &reading, &next);
        if (good && next == reading.offset)
            break; /* the verdict tells where it ended */
        if (good)
            reading.offset = next;
    }
    if (good)
        good = engine_model_judge(model, topic, partition, &stored);
    free(stored.places);
    return good;
}

static bool
is_known(const struct engine_model *model, struct bytes name, struct kafka_uuid id)
{
    for (uint32_t t = 0; t < model->topic_count; t++) {
        struct bytes own = client__name(&model->topics[t]);
        if (own.count == name.count && memcmp(own.at, name.at, own.count) == 0)
            return model->topics[t].is_auto || memcmp(&id, &model->topics[t].id, sizeof(id)) == 0;
    }
    return false;
}

/* E8: only what was created, under the id that was told. */
static bool
reader_judge_topics(struct reader_client *reader)
{
    struct engine_model *model = reader->of->model;
    struct kafka_metadata_request request;
    bool good = true;

    kafka_metadata_request_defaults(&request);
    if (!reader_ask(reader, KAFKA_METADATA, 12, &request))
        return false;
    const struct kafka_metadata_response *answer = &reader->answer.u.metadata;
    for (uint32_t t = 0; good && t < answer->topics.count; t++) {
        const struct kafka_metadata_topic *topic = &answer->topics.at[t];
        if (!is_known(model, topic->name, topic->topic_id))
            good = engine_model_fail(model,
                                     "topic %.*s is there, but nobody created it, or another one",
                                     (int)topic->name.count,
                                     (const char *)topic->name.at);
    }
    if (good && answer->topics.count != model->topic_count)
        good = engine_model_fail(
            model, "%u topics at the end, not %u", answer->topics.count, model->topic_count);
    reader_next(reader);
    return good;
}

bool
engine_reader_judge_all(struct client_world *of)
{
    struct engine_model *model = of->model;
    struct reader_client *reader = calloc(1, sizeof(*reader));

    CHECK(reader != NULL);
    reader->of = of;
    reader->event = STREAM_LOST; /* nothing asked */
    reader->end_ns = SIM_NEVER_NS;
    stream_init(&reader->stream, of->world);
    sim_world_add(
        of->world,
        &(struct sim_actor){
            .name = "reader", .object = reader, .step = reader_step, .due_ns = reader_due_ns});
    bool good = reader_judge_topics(reader);
    for (uint32_t t = 0; good && t < model->topic_count; t++)
        for (uint32_t p = 0; good && p < model->topics[t].partition_count; p++)
            good = reader_judge(reader, t, p);
    sim_world_remove(of->world, reader);
    stream_fini(&reader->stream);
    free(reader);
    return good;
}
