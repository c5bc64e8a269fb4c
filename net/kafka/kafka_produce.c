#include "net/kafka/kafka_produce.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_table.h"

#define PRODUCE_LOG_START_FIRST 5
#define PRODUCE_ZSTD_FIRST 7
#define PRODUCE_MESSAGES_FIRST 8 /* record errors and error message of each partition */
#define PRODUCE_FLEXIBLE_FIRST 9
#define PRODUCE_CODEC_ZSTD 4

/* What the next bytes of the body are. The _END states are the tagged sections of flexible
 * versions; older ones pass through them without a byte. */
enum kafka_produce_state {
    STATE_HEADER,        /* transactional id, acks, timeout, topic count */
    STATE_TOPIC,         /* name, partition count */
    STATE_PARTITION,     /* index, length of the records */
    STATE_PARTITION_END, /* behind the records */
    STATE_TOPIC_END,
    STATE_BODY_END,
    STATE_DONE,
    STATE_MALFORMED, /* stays */
};

/* An item either is there whole, or nothing of it is consumed. bad: more bytes would not mend it.
 */
struct item {
    struct reader reader;
    bool flexible;
    bool bad;
};

void
kafka_produce_parser_init(struct kafka_produce_parser *parser, int16_t version, uint32_t body_bytes)
{
    *parser = (struct kafka_produce_parser){
        .state = STATE_HEADER,
        .flexible = version >= PRODUCE_FLEXIBLE_FIRST,
        .version = version,
        .body_left = body_bytes,
    };
}

static uint32_t
item_uvarint(struct item *item)
{
    bool enough = reader_left(&item->reader) >= 5;
    bool before = item->reader.failed;
    uint32_t value = reader_uvarint32(&item->reader);

    if (item->reader.failed && !before && enough)
        item->bad = true; /* five bytes were there and did not end it */
    return value;
}

/* A length or count: -1 is null; smaller ones are bad. */
static int64_t
item_length(struct item *item, bool narrow)
{
    int64_t length;

    if (item->flexible)
        length = (int64_t)item_uvarint(item) - 1;
    else if (narrow)
        length = (int16_t)reader_u16_be(&item->reader);
    else
        length = (int32_t)reader_u32_be(&item->reader);
    if (item->reader.failed)
        return 0;
    if (length < -1 || length > INT32_MAX)
        item->bad = true;
    return length;
}

static struct bytes
item_string(struct item *item, bool nullable)
{
    int64_t length = item_length(item, true);

    if (length > KAFKA_PRODUCE_ITEM_BYTES_MAX || (length < 0 && !nullable))
        item->bad = true;
    if (item->bad || length < 0)
        return (struct bytes){0};
    return (struct bytes){.at = reader_take(&item->reader, (size_t)length),
                          .count = (size_t)length};
}

static uint32_t
item_count(struct item *item)
{
    int64_t count = item_length(item, false);

    if (count < 0)
        item->bad = true;
    return item->bad ? 0 : (uint32_t)count;
}

static void
item_tagged(struct item *item)
{
    if (!item->flexible)
        return;
    uint32_t count = item_uvarint(item);
    for (uint32_t i = 0; i < count && !item->reader.failed; i++) {
        item_uvarint(item);
        reader_take(&item->reader, item_uvarint(item));
    }
}

/* Reads the item of the present state. */
static void
item_read(struct item *item, uint8_t state, struct kafka_produce_step *ret)
{
    switch (state) {
    case STATE_HEADER:
        ret->u.header.transactional_id = item_string(item, true);
        ret->u.header.acks = (int16_t)reader_u16_be(&item->reader);
        ret->u.header.timeout_ms = (int32_t)reader_u32_be(&item->reader);
        ret->u.header.topic_count = item_count(item);
        break;
    case STATE_TOPIC:
        ret->u.topic.name = item_string(item, false);
        ret->u.topic.partition_count = item_count(item);
        break;
    case STATE_PARTITION: {
        ret->u.partition.index = (int32_t)reader_u32_be(&item->reader);
        int64_t length = item_length(item, false);
        ret->skip_bytes = length > 0 ? (uint32_t)length : 0; /* null is taken as empty */
        break;
    }
    default:
        item_tagged(item);
    }
}

/* Bytes of a topic's or a partition's shortest form, so that a count cannot promise more than the
 * body holds. */
static bool
counts_fit(const struct kafka_produce_parser *parser,
           const struct kafka_produce_step *step,
           uint32_t body_left)
{
    uint32_t topic_bytes_min = parser->flexible ? 3 : 6;
    uint32_t partition_bytes_min = parser->flexible ? 6 : 8;

    if (parser->state == STATE_HEADER)
        return step->u.header.topic_count <= body_left / topic_bytes_min;
    if (parser->state == STATE_TOPIC)
        return step->u.topic.partition_count <= body_left / partition_bytes_min;
    return step->skip_bytes <= body_left;
}

static uint8_t
state_after(struct kafka_produce_parser *parser, const struct kafka_produce_step *step)
{
    switch (parser->state) {
    case STATE_HEADER:
        parser->topics_left = step->u.header.topic_count;
        return parser->topics_left > 0 ? STATE_TOPIC : STATE_BODY_END;
    case STATE_TOPIC:
        parser->topics_left--;
        parser->partitions_left = step->u.topic.partition_count;
        return parser->partitions_left > 0 ? STATE_PARTITION : STATE_TOPIC_END;
    case STATE_PARTITION:
        parser->partitions_left--;
        return STATE_PARTITION_END;
    case STATE_PARTITION_END:
        return parser->partitions_left > 0 ? STATE_PARTITION : STATE_TOPIC_END;
    case STATE_TOPIC_END:
        return parser->topics_left > 0 ? STATE_TOPIC : STATE_BODY_END;
    default:
        return STATE_DONE;
    }
}

static enum kafka_produce_event
event_of(uint8_t state)
{
    switch (state) {
    case STATE_HEADER:
        return KAFKA_PRODUCE_HEADER;
    case STATE_TOPIC:
        return KAFKA_PRODUCE_TOPIC;
    case STATE_PARTITION:
        return KAFKA_PRODUCE_PARTITION;
    default:
        return KAFKA_PRODUCE_END;
    }
}

static enum kafka_produce_event
malformed(struct kafka_produce_parser *parser, struct kafka_produce_step *ret)
{
    parser->state = STATE_MALFORMED;
    *ret = (struct kafka_produce_step){0};
    return KAFKA_PRODUCE_MALFORMED;
}

enum kafka_produce_event
kafka_produce_parser_next(struct kafka_produce_parser *parser,
                          const uint8_t *at,
                          size_t available,
                          struct kafka_produce_step *ret)
{
    uint32_t consumed = 0;

    if (parser->state == STATE_MALFORMED)
        return malformed(parser, ret);
    *ret = (struct kafka_produce_step){0};
    while (parser->state != STATE_DONE) {
        uint64_t limit = min_u64(parser->body_left, KAFKA_PRODUCE_ITEM_BYTES_MAX);
        uint64_t seen = min_u64(available - consumed, limit);
        struct item item = {.reader = reader_over(at + consumed, seen),
                            .flexible = parser->flexible};
        item_read(&item, parser->state, ret);
        if (item.bad || (item.reader.failed && seen == limit))
            return malformed(parser, ret);
        if (item.reader.failed) {
            *ret = (struct kafka_produce_step){.consumed_bytes = consumed,
                                               .need_bytes = (uint32_t)seen + 1};
            return KAFKA_PRODUCE_MORE;
        }
        uint32_t item_bytes = (uint32_t)(item.reader.at - (at + consumed));
        if (!counts_fit(parser, ret, parser->body_left - item_bytes))
            return malformed(parser, ret);
        consumed += item_bytes;
        parser->body_left -= item_bytes + ret->skip_bytes;
        uint8_t done = parser->state;
        parser->state = state_after(parser, ret);
        if (done <= STATE_PARTITION) {
            ret->consumed_bytes = consumed;
            return event_of(done);
        }
    }
    ret->consumed_bytes = consumed;
    ret->skip_bytes = parser->body_left;
    parser->body_left = 0;
    return KAFKA_PRODUCE_END;
}

bool
kafka_produce_codec_ok(int16_t version, uint8_t codec)
{
    return codec != PRODUCE_CODEC_ZSTD || version >= PRODUCE_ZSTD_FIRST;
}

/* ---- response ---- */

static bool
flexible(const struct kafka_produce_answer *answer)
{
    return answer->version >= PRODUCE_FLEXIBLE_FIRST;
}

static uint32_t
count_bytes(const struct kafka_produce_answer *answer, uint32_t count)
{
    return flexible(answer) ? kafka__uvarint_bytes(count + 1) : 4;
}

static uint32_t
result_bytes(const struct kafka_produce_answer *answer)
{
    uint32_t bytes = 4 + 2 + 8 + 8; /* index, error, base offset, append time */

    bytes += answer->version >= PRODUCE_LOG_START_FIRST ? 8 : 0;
    if (flexible(answer))
        return bytes + 3; /* no record errors, no message, no tags */
    return bytes + (answer->version >= PRODUCE_MESSAGES_FIRST ? 6 : 0);
}

uint32_t
kafka_produce_response_bytes(const struct kafka_produce_answer *answer)
{
    uint32_t tail_bytes = flexible(answer) ? 1 : 0;
    uint32_t bytes = KAFKA_FRAME_PREFIX_BYTES + 4 + tail_bytes; /* size, correlation id, tags */

    bytes += count_bytes(answer, answer->topic_count);
    for (uint32_t i = 0; i < answer->topic_count; i++) {
        const struct kafka_produce_result_topic *topic = &answer->topics[i];
        uint32_t name_bytes = (uint32_t)topic->name.count;
        bytes += (flexible(answer) ? kafka__uvarint_bytes(name_bytes + 1) : 2) + name_bytes;
        bytes += count_bytes(answer, topic->partition_count);
        bytes += topic->partition_count * result_bytes(answer) + tail_bytes;
    }
    return bytes + 4 + tail_bytes; /* throttle time */
}

static void
write_count(struct writer *writer, const struct kafka_produce_answer *answer, uint32_t count)
{
    if (flexible(answer))
        writer_uvarint32(writer, count + 1);
    else
        writer_u32_be(writer, count);
}

static void
write_result(struct writer *writer,
             const struct kafka_produce_answer *answer,
             const struct kafka_produce_result *result)
{
    writer_u32_be(writer, (uint32_t)result->index);
    writer_u16_be(writer, (uint16_t)result->error);
    writer_u64_be(writer, (uint64_t)result->base_offset);
    writer_u64_be(writer, (uint64_t)result->log_append_time_ms);
    if (answer->version >= PRODUCE_LOG_START_FIRST)
        writer_u64_be(writer, (uint64_t)result->log_start_offset);
    if (flexible(answer)) {
        writer_u8(writer, 1); /* no record errors */
        writer_u8(writer, 0); /* null message */
        writer_u8(writer, 0); /* no tags */
    } else if (answer->version >= PRODUCE_MESSAGES_FIRST) {
        writer_u32_be(writer, 0);
        writer_u16_be(writer, UINT16_MAX);
    }
}

void
kafka_produce_response(struct writer *writer, const struct kafka_produce_answer *answer)
{
    const struct kafka_produce_result *result = answer->results;

    writer_u32_be(writer, kafka_produce_response_bytes(answer) - KAFKA_FRAME_PREFIX_BYTES);
    writer_u32_be(writer, (uint32_t)answer->correlation_id);
    if (flexible(answer))
        writer_u8(writer, 0);
    write_count(writer, answer, answer->topic_count);
    for (uint32_t i = 0; i < answer->topic_count && !writer->failed; i++) {
        const struct kafka_produce_result_topic *topic = &answer->topics[i];
        CHECK(topic->name.count <= KAFKA_PRODUCE_ITEM_BYTES_MAX); /* it came through the parser */
        if (flexible(answer))
            writer_uvarint32(writer, (uint32_t)topic->name.count + 1);
        else
            writer_u16_be(writer, (uint16_t)topic->name.count);
        writer_bytes(writer, topic->name.at, topic->name.count);
        write_count(writer, answer, topic->partition_count);
        for (uint32_t j = 0; j < topic->partition_count && !writer->failed; j++)
            write_result(writer, answer, result++);
        if (flexible(answer))
            writer_u8(writer, 0);
    }
    writer_u32_be(writer, (uint32_t)answer->throttle_ms);
    if (flexible(answer))
        writer_u8(writer, 0);
}
