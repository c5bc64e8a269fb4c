/* The records of the metadata log: what is stored of topics, and nothing else. METADATA.md has
 * every byte.
 *
 * A record's value is one of the kinds below, little endian, with a version of its own; its key is
 * null. Encoding and decoding are pure; a decoded record borrows nothing. Values from a newer
 * version are refused (RC_NEWER_FORMAT), damaged ones are RC_CORRUPT. */
#ifndef EAGRE_ENGINE_TOPIC_TOPIC_RECORD_H
#define EAGRE_ENGINE_TOPIC_TOPIC_RECORD_H

#include "engine/topic/broker_config.h"
#include "engine/topic/topic_config.h"
#include "net/request/quota.h"
#include "net/request/topic_snapshot.h"

enum topic_record_kind {
    TOPIC_RECORD_CLUSTER = 1,    /* the cluster's id; the first record of the log */
    TOPIC_RECORD_CREATED = 2,    /* a topic with its first partitions */
    TOPIC_RECORD_DELETED = 3,    /* it is gone, with all partitions */
    TOPIC_RECORD_PARTITIONS = 4, /* partitions were added at the end */
    TOPIC_RECORD_CONFIG = 5,     /* all overrides of a topic, replacing the former */
    TOPIC_RECORD_PRODUCERS = 6,  /* a block of producer ids was handed out */
    TOPIC_RECORD_QUOTA = 7,      /* all limits of a client id, replacing the former */
    TOPIC_RECORD_BROKER = 8,     /* all run-time settings of a broker, replacing the former */
    TOPIC_RECORD_LAST = TOPIC_RECORD_BROKER
};

#define TOPIC_RECORD_ALL_BROKERS UINT32_MAX

struct topic_record {
    enum topic_record_kind kind;
    uint8_t id[16];  /* of the topic; CLUSTER: of the cluster */
    int64_t wall_ms; /* CLUSTER, CREATED: when */
    /* CREATED */
    uint8_t name_count;
    char name[TOPIC_NAME_MAX];
    /* CREATED, PARTITIONS: partitions [first_partition, first_partition + partition_count) */
    uint32_t first_partition; /* 0 for CREATED */
    uint32_t partition_count;
    uint64_t first_incarnation; /* of first_partition; the others follow */
    /* CREATED, CONFIG */
    struct topic_config config;
    /* PRODUCERS: ids [first_producer, first_producer + producer_count) */
    uint64_t first_producer;
    uint32_t producer_count;
    /* QUOTA */
    struct quota_entity quota;
    /* BROKER */
    uint32_t broker_id; /* TOPIC_RECORD_ALL_BROKERS: the default of all */
    struct broker_config broker;
};

/* Longest encoded record: a name and every key at its longest value. */
#define TOPIC_RECORD_BYTES_MAX (512u + BROKER_CONFIG_COUNT * (64u + TOPIC_CONFIG_TEXT_MAX))

/* Appends the encoded record; the writer fails when it does not fit. */
void topic_record_encode(const struct topic_record *record, struct writer *writer);

/* Decodes one record value. trail gets the reason, may be NULL. ret_record is written wholly only
 * when the result is RC_OK. */
enum rc topic_record_decode(struct bytes value,
                            struct topic_record *ret_record,
                            struct diag_trail *trail) MUST_USE;

#endif
