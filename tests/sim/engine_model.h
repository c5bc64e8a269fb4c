/* What clients of a server have done and been told, and the rule by which the server is judged.
 *
 * The model remembers every batch that a client sent, what it was answered, and what anyone has
 * read at which offset. Records carry the number of their batch, so stored bytes name their sender.
 *
 * The rule. Of every partition, after all faults are over:
 *   E1  offsets are without a gap from the start to the end, leader epochs never fall
 *   E2  each batch was sent, to this partition, with exactly these records, and its CRC is right
 *   E3  each acknowledged batch stands at its acknowledged offset
 *   E4  what a consumer has read at an offset stands there for ever
 *   E5  an idempotent producer's batches stand once each, in order, without a hole
 *   E6  batches acknowledged at the first attempt stand in the order in which they were sent
 *   E7  the high watermark that anyone was told never falls, and is never below what was
 *       acknowledged before the question
 *   E8  a topic keeps its id; what was deleted, and its records, never come back
 *   E9  no producer id is handed out twice
 * Topics with durability "memory" may lose their newest records in a crash: no E3, E4, E7 there.
 *
 * One thread. Allocates, as every double does. */
#ifndef EAGRE_TESTS_SIM_ENGINE_MODEL_H
#define EAGRE_TESTS_SIM_ENGINE_MODEL_H

#include "engine/base/bytes.h"
#include "hw/io/sim_base.h"
#include "net/kafka/kafka_message.h"

#define ENGINE_TOPICS_MAX 6u
#define ENGINE_PARTITIONS_MAX 4u
#define ENGINE_BATCH_BYTES_MAX (64u << 10)
#define ENGINE_PRODUCER_IDS_MAX 1024u
#define ENGINE_WHY_MAX 1024u
#define ENGINE_NEVER UINT64_MAX

/* A batch as its producer made it. Its number is its place in the list plus 1. */
struct engine_batch {
    uint32_t topic;
    uint32_t partition;
    uint32_t producer; /* the client's number */
    uint32_t sequence; /* of batches of this producer to this partition: 0, 1, ... */
    uint32_t records;
    uint32_t value_bytes; /* of each record, >= 12 */
    int64_t timestamp_ms;
    int64_t producer_id; /* -1: not idempotent */
    int32_t base_sequence;
    int16_t producer_epoch;
    uint32_t attempts;
    uint64_t sent_ns;  /* first attempt */
    uint64_t acked_ns; /* ENGINE_NEVER: not */
    int64_t offset;    /* where the answer says it stands; -1: not known */
};

struct engine_place {
    uint32_t batch; /* number; 0: nothing known */
    uint32_t index; /* of the record in it */
};

struct engine_partition {
    struct engine_place *seen; /* [seen_count], by offset: what consumers read */
    uint64_t seen_count;
    int64_t high_watermark; /* greatest that anyone was told */
    int64_t acked_end;      /* behind the last acknowledged record */
};

struct engine_topic {
    char name[32];
    struct kafka_uuid id; /* zero: nobody was told yet */
    uint32_t partition_count;
    bool is_memory;      /* eagre.durability = memory */
    bool is_append_time; /* message.timestamp.type = LogAppendTime */
    bool is_auto;        /* made by asking for its metadata */
    bool is_volatile;    /* deleted and made again now and then */
    int64_t segment_bytes;
    int64_t retention_bytes; /* -1: nothing goes */
    /* of a volatile topic */
    bool exists;          /* the last answer of a creation or deletion */
    bool is_unsure;       /* such a request has no answer yet */
    uint64_t created_ns;  /* answer of the last creation */
    uint64_t deleting_ns; /* first request of the last deletion */
    struct engine_partition partitions[ENGINE_PARTITIONS_MAX];
};

struct engine_model {
    struct engine_topic topics[ENGINE_TOPICS_MAX];
    uint32_t topic_count;
    struct engine_batch *batches; /* [batch_count] */
    uint32_t batch_count;
    uint32_t batch_capacity;
    int64_t producer_ids[ENGINE_PRODUCER_IDS_MAX];
    uint32_t producer_id_count;
    uint64_t acked_batches;
    uint64_t read_records;
    char why[ENGINE_WHY_MAX]; /* the first breach; "": none */
};

/* What was read of one partition at the end. */
struct engine_stored {
    int64_t start;
    int64_t end;
    struct engine_place *places; /* [place_count], places[i] at offset start + i */
    uint64_t place_count;
    uint64_t place_capacity;
    int32_t epoch; /* of the last batch */
};

void engine_model_init(struct engine_model *model);
void engine_model_fini(struct engine_model *model);

/* Notes the first breach; returns false always. */
bool engine_model_fail(struct engine_model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes a batch over; returns its number. */
uint32_t engine_model_add(struct engine_model *model, const struct engine_batch *batch);
/* number > 0. */
struct engine_batch *engine_model_batch(struct engine_model *model, uint32_t number);
/* Writes its bytes, at most ENGINE_BATCH_BYTES_MAX; returns how many. */
uint32_t engine_model_build(struct engine_model *model, uint32_t number, uint8_t *memory);

/* An answer acknowledges a batch. */
bool engine_model_ack(struct engine_model *model, uint32_t number, int64_t offset, uint64_t now_ns);
/* A high watermark or latest offset was told; least: what must have been reached when asked. */
bool engine_model_told(struct engine_model *model,
                       uint32_t topic,
                       uint32_t partition,
                       int64_t high_watermark,
                       int64_t least);
/* The least that a question asked now must be answered with. */
int64_t engine_model_least(const struct engine_model *model, uint32_t topic, uint32_t partition);
/* Somebody was told the id of a topic. */
bool engine_model_identify(struct engine_model *model, uint32_t topic, const struct kafka_uuid *id);
bool engine_model_producer_id(struct engine_model *model, int64_t id);
/* A crash took what was not on the device: memory topics begin anew. */
void engine_model_crash(struct engine_model *model);

/* Checks records read from an offset on (E1, E2, E4) and notes them. stored: gets them too; may be
 * NULL. *ret_next: behind the last record. */
struct engine_reading {
    uint32_t topic;
    uint32_t partition;
    int64_t offset;
    struct bytes records;
    struct engine_stored *stored;
};
bool engine_model_read(struct engine_model *model,
                       const struct engine_reading *reading,
                       int64_t *ret_next);

/* The whole rule for one partition. */
bool engine_model_judge(struct engine_model *model,
                        uint32_t topic,
                        uint32_t partition,
                        const struct engine_stored *stored);

#endif
