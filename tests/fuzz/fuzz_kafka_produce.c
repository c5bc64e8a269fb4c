/* Any bytes as a Produce body, whole and in pieces: the events are the same, the parser never
 * leaves the body, and a request that it takes is one that the message table takes too.
 *
 * Input: version, size of a piece, body. */
#include "engine/base/check.h"
#include "net/kafka/kafka_produce.h"

#define INPUT_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum kafka_produce_event last;
    uint64_t digest;
    size_t taken_bytes;
    uint32_t topics;
    uint32_t event_count;
};

static void
digest_step(struct outcome *outcome, const struct kafka_produce_step *step)
{
    uint64_t value = outcome->last;

    if (outcome->last == KAFKA_PRODUCE_HEADER) {
        outcome->topics = step->u.header.topic_count;
        value += (uint64_t)(uint16_t)step->u.header.acks << 8 ^
                 (uint64_t)(uint32_t)step->u.header.timeout_ms << 24;
    } else if (outcome->last == KAFKA_PRODUCE_TOPIC) {
        for (size_t i = 0; i < step->u.topic.name.count; i++)
            value = value * 31 + step->u.topic.name.at[i];
        value += step->u.topic.partition_count;
    } else if (outcome->last == KAFKA_PRODUCE_PARTITION) {
        value += (uint64_t)(uint32_t)step->u.partition.index << 32 | step->skip_bytes;
    }
    outcome->digest = (outcome->digest ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    outcome->event_count++;
}

static struct outcome
feed(int16_t version, const uint8_t *body, size_t size, size_t piece)
{
    struct outcome outcome = {.last = KAFKA_PRODUCE_MORE};
    struct kafka_produce_parser parser;
    size_t seen = 0;

    kafka_produce_parser_init(&parser, version, (uint32_t)size);
    while (outcome.last != KAFKA_PRODUCE_END && outcome.last != KAFKA_PRODUCE_MALFORMED) {
        struct kafka_produce_step step;
        size_t available = seen - outcome.taken_bytes;
        outcome.last = kafka_produce_parser_next(
            &parser, body + outcome.taken_bytes, available, &step);
        CHECK(step.consumed_bytes <= available);
        outcome.taken_bytes += step.consumed_bytes;
        if (outcome.last == KAFKA_PRODUCE_MORE) {
            CHECK(seen < size); /* with the whole body there is nothing to wait for */
            CHECK(step.need_bytes > available - step.consumed_bytes);
            seen = min_u64(size, seen + piece);
            continue;
        }
        digest_step(&outcome, &step);
        outcome.taken_bytes += step.skip_bytes;
        CHECK(outcome.taken_bytes <= size);
        seen = max_u64(seen, outcome.taken_bytes);
    }
    return outcome;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(8) uint8_t memory[KAFKA_ARENA_FACTOR * INPUT_MAX + KAFKA_ARENA_REST_BYTES];

    if (size < 2 || size - 2 > INPUT_MAX)
        return 0;
    int16_t version = (int16_t)(3 + data[0] % 10);
    struct outcome whole = feed(version, data + 2, size - 2, size);
    struct outcome pieces = feed(version, data + 2, size - 2, 1u + data[1]);
    CHECK(whole.last == pieces.last);
    CHECK(whole.digest == pieces.digest);
    CHECK(whole.event_count == pieces.event_count);
    if (whole.last == KAFKA_PRODUCE_END) {
        struct kafka_produce_request request;
        struct kafka_arena arena = kafka_arena_over(memory, sizeof(memory));
        struct reader reader = reader_over(data + 2, size - 2);
        CHECK(whole.taken_bytes == size - 2);
        CHECK(kafka_produce_request_decode(&reader, version, &arena, &request) == RC_OK);
        CHECK(request.topics.count == whole.topics);
    }
    return 0;
}
