/* Protocol-neutral requests and responses: what travels in the rings between the doors (gate, net),
 * the control tile and the log tiles. One slot is 64 bytes. Each (requester, log tile) pair has one
 * request ring and one response ring; each (gate, control) pair likewise. A request is answered by
 * exactly one response (PRODUCE with acks=0 too), in any order; the requester admits a request only
 * while it has a response slot to spare, so response rings never overflow. MARK and TOPIC responses
 * are unsolicited: at most one MARK per (requester, armed partition) is outstanding.
 *
 * Memory named by a request belongs to the answering tile until its response is popped; batches in
 * a byte ring only until they are released (REQUEST_FLAG_RELEASE). */
#ifndef EAGRE_NET_REQUEST_REQUEST_H
#define EAGRE_NET_REQUEST_REQUEST_H

#include "engine/base/base.h"
#include "engine/base/rc.h"

#define REQUEST_RING_SLOTS 4096u
#define REQUESTER_CONTROL \
    0u /* requester index of the control tile; gates are 1, 2, ..., net tiles follow */
#define REQUESTERS_MAX 17u
#define LOG_TILES_MAX 16u

/* Where a partition lives. slot is an index into that log tile's table; incarnation is never
 * reused, so a stale slot is noticed. */
struct partition_ref {
    uint64_t incarnation; /* 0: none */
    uint32_t slot;
    uint16_t log_tile;
};

enum request_kind {
    /* to a log tile */
    REQUEST_PRODUCE = 1, /* one batch, already CRC-checked */
    REQUEST_READ, /* whole batches from the one that contains offset; dst_bytes 0: only a probe */
    REQUEST_ARM,  /* one MARK as soon as the high watermark differs from arm.high_watermark */
    REQUEST_OFFSETS,   /* start, high watermark, end, leader epoch */
    REQUEST_FIND_TIME, /* the first batch whose max timestamp >= time; whole batch into dst */
    REQUEST_FIND_MAX_TIME,
    REQUEST_EPOCH_END, /* end offset of the greatest epoch <= asked */
    REQUEST_OPEN,      /* control only: open or create a partition */
    REQUEST_DROP,      /* control only: forget it and delete its files */
    REQUEST_CONFIGURE, /* control only: new topic settings */
    REQUEST_TRIM,      /* control only: raise the start offset */
    REQUEST_PRUNE,     /* control only, at boot: drop each partition that no REQUEST_OPEN named */
    REQUEST_STOP,      /* control only: flush, seal, checkpoint as clean; answered when done */
    /* control only, for transactions: u.transaction */
    REQUEST_TXN_ADMIT, /* the partition belongs to the producer's transaction now: its transactional
                          batches of that epoch are taken until the marker; kept in memory only */
    REQUEST_TXN_MARKER, /* append the control batch that ends the transaction here; answered when
                           durable, base_offset is the marker's */
    REQUEST_PRODUCERS,  /* u.find.dst: struct request_producer of the partition's producers, as many
                           as fit; bytes tells how much was written */
    /* to the control tile */
    REQUEST_KAFKA,      /* a whole Kafka request that the gate does not serve itself */
    REQUEST_TOPIC_SEEN, /* gives back the snapshot of a RESPONSE_TOPIC or RESPONSE_QUOTA */
    REQUEST_HTTP,       /* admin request; never from a gate */
};

enum request_flags {
    REQUEST_FLAG_NO_ACK = 1, /* PRODUCE: acks=0, respond as soon as the batch is taken or refused */
    REQUEST_FLAG_ARM = 2,    /* READ: when nothing was read, arm as REQUEST_ARM does */
    REQUEST_FLAG_WHOLE =
        4, /* READ: give the first batch even when it exceeds max_bytes (never dst_bytes) */
    /* PRODUCE: the batch lies in the requester's byte ring (broker_link.bytes) and is the last of
     * its piece: the log tile gives the ring back up to produce.release_to as soon as it has copied
     * or refused the batch, long before the response. */
    REQUEST_FLAG_RELEASE = 8,
    /* READ, ARM: a reader of committed records: gets nothing at or above the last stable offset and
     * waits for that one to move (arm.high_watermark is then the last stable offset it knows). A
     * READ puts behind the batches in dst, at the next multiple of 8, a uint64_t count and so many
     * struct request_aborted: the aborted transactions that touch what it gave, in any order and
     * perhaps some that begin behind it. RC_NO_MEMORY counts the room for them. */
    REQUEST_FLAG_COMMITTED = 16,
};

/* An aborted transaction whose records a reader must skip: those of the producer from first_offset
 * on, up to its next abort marker (Fetch, KIP-98). */
struct request_aborted {
    int64_t producer_id;
    uint64_t first_offset;
};

/* What a partition knows of a producer (DescribeProducers, KIP-664). */
struct request_producer {
    int64_t producer_id;
    int64_t last_append_ms;
    uint64_t transaction_first_offset; /* UINT64_MAX: no transaction is open */
    int32_t coordinator_epoch;         /* of the last marker, -1: none */
    int32_t last_sequence;             /* -1: none */
    int16_t producer_epoch;
    uint8_t zero[6];
};
_Static_assert(sizeof(struct request_producer) == 40, "eight-byte aligned in an array");

struct topic_snapshot;       /* net/request/topic_snapshot.h */
struct quota_snapshot;       /* net/request/quota.h */
struct log_partition_config; /* log/append/log.h; only control and the log tile look inside */

struct request {
    uint8_t kind;       /* enum request_kind */
    uint8_t flags;      /* enum request_flags */
    uint16_t requester; /* REQUESTER_CONTROL or gate index + 1 */
    uint32_t slot;
    uint64_t incarnation;
    uint64_t ctx; /* the requester's own; echoed */
    union {
        struct {
            const uint8_t *batch; /* [batch_bytes], RecordBatch v2, CRC checked */
            uint32_t batch_bytes;
            uint64_t release_to; /* with REQUEST_FLAG_RELEASE: see byte_ring_release_to() */
        } produce;
        struct {
            uint64_t offset;
            uint8_t *dst; /* [dst_bytes] */
            uint32_t dst_bytes;
            uint32_t max_bytes;   /* of this partition in this response */
            int32_t leader_epoch; /* the client's; -1: not checked */
        } read;
        struct {
            uint64_t high_watermark; /* what the requester knows */
        } arm;
        struct {
            int64_t time_ms;
            uint8_t *dst;
            uint32_t dst_bytes;
        } find;
        struct {
            int32_t epoch;
            int32_t leader_epoch; /* the client's current; -1: not checked */
        } epoch_end;
        struct {
            const struct log_partition_config
                *config; /* OPEN, CONFIGURE: borrowed until the response */
        } open;
        struct {
            uint64_t start_offset; /* UINT64_MAX: up to the high watermark */
        } trim;
        struct {
            int64_t producer_id;
            int64_t wall_ms;           /* MARKER: the control record's timestamp */
            int32_t coordinator_epoch; /* MARKER: a smaller one than known is refused */
            int16_t producer_epoch;    /* MARKER: one more than the producer's fences it */
            bool is_commit;            /* MARKER */
        } transaction;
        struct {
            const uint8_t *frame; /* from the request header on, without the length */
            uint8_t *reply; /* the whole response from the correlation id on is written here */
            uint32_t frame_bytes;
            /* Too small: RC_NO_MEMORY, and response.bytes tells what is needed. */
            uint32_t reply_capacity;
            uint8_t peer[16]; /* who asks: IPv6, or IPv4 as ::ffff:a.b.c.d; zero: not known */
        } kafka;
        struct {
            const void *snapshot; /* the one given back; the same is in ctx */
        } topic_seen;
        uint64_t words[5]; /* the union fills the slot */
    } u;
};
_Static_assert(sizeof(struct request) == 64, "one ring slot");

enum response_kind {
    RESPONSE_DONE = 1, /* answers a request */
    /* Unsolicited: slot, incarnation in ctx, high_watermark, start_offset, last_stable_offset,
     * total_bytes. */
    RESPONSE_MARK,
    RESPONSE_TOPIC, /* unsolicited, control to gate: a topic came, changed or went; u.topic */
    RESPONSE_QUOTA, /* unsolicited, control to gate: a client's limits changed; u.quota */
};

struct response {
    uint8_t kind;         /* enum response_kind */
    uint8_t request_kind; /* of the request answered */
    uint16_t rc;          /* enum rc */
    uint32_t slot;
    uint64_t ctx; /* of the request; MARK: the incarnation */
    /* PRODUCE: first offset; READ: offset of the first batch given; EPOCH_END: end offset; FIND:
     * its batch; OFFSETS: last stable offset; TXN_MARKER: the marker's; KAFKA: nanoseconds that
     * control worked for it. */
    uint64_t base_offset;
    uint64_t high_watermark;
    uint64_t start_offset;
    union {
        uint64_t end_offset;                /* OFFSETS */
        uint64_t last_stable_offset;        /* READ, FIND, MARK */
        int64_t append_time_ms;             /* PRODUCE: -1 unless LogAppendTime */
        const struct topic_snapshot *topic; /* TOPIC: borrowed until REQUEST_TOPIC_SEEN */
        const struct quota_snapshot *quota; /* QUOTA: likewise */
    } u;
    /* READ and MARK: bytes of batches below the high watermark since the partition was opened. A
     * probe (READ, dst_bytes 0): bytes readable from offset, an estimate, 0 only if none. */
    uint64_t total_bytes;
    /* READ, FIND: bytes written to dst; with RC_NO_MEMORY: bytes needed. KAFKA: bytes of the reply.
     */
    uint32_t bytes;
    int32_t leader_epoch;
};
_Static_assert(sizeof(struct response) == 64, "one ring slot");

/* Name of a request kind for people, as in "PRODUCE"; static; "?" for none of ours. */
const char *request_kind_name(uint8_t kind);

#endif
