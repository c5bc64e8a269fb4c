/* Small structs of the control tile: what an answer of a log tile belongs to, the run-time sides of
 * partitions and topics, boot and metadata log. See control_internal.h. */
#ifndef EAGRE_ENGINE_CONTROL_CONTROL_PARTS_H
#define EAGRE_ENGINE_CONTROL_CONTROL_PARTS_H

#include "engine/group/group.h"
#include "engine/transaction/transaction.h"
#include "engine/record/record_builder.h"
#include "engine/topic/topic_store.h"
#include "log/append/log.h"
#include "net/request/topic_snapshot.h"

#define CONTROL_NONE UINT32_MAX

struct control;

/* ---- log tiles */

/* What an answer of a log tile belongs to; bits [63:56] of ctx. [55:32]: object, [31:0]: item. */
enum control_tag {
    TAG_METADATA_APPEND = 1,
    TAG_METADATA_READ,
    TAG_METADATA_OFFSETS,
    TAG_OPEN,         /* object: place in opens */
    TAG_OPEN_OFFSETS, /* object: place in opens */
    TAG_DROP,         /* object: operation, or 0xffffff: nobody waits */
    TAG_PRUNE,
    TAG_CALL, /* object: call, item: item */
    TAG_STOP,
    TAG_INTERNAL_OFFSETS, /* object: internal log */
    TAG_INTERNAL_READ,
    TAG_INTERNAL_APPEND,
    TAG_INTERNAL_TRIM,
    TAG_CONFIGURE, /* object: place in opens */
    TAG_ORDER,     /* item: ticket of the transaction coordinator */
};
#define CONTROL_TAG_OBJECT_NONE 0xffffffu

static ALWAYS_INLINE uint64_t
control__tag(enum control_tag tag, uint32_t object, uint32_t item)
{
    return (uint64_t)tag << 56 | (uint64_t)(object & 0xffffffu) << 32 | item;
}

/* A partition being opened: REQUEST_OPEN, then REQUEST_OFFSETS for its leader epoch. Or one that
 * gets new settings: REQUEST_CONFIGURE. */
struct control_open {
    struct log_partition_config config; /* borrowed by the log tile until it answers */
    uint32_t operation;                 /* CONTROL_NONE: the boot */
    uint32_t place; /* in the store's partitions; CONTROL_NONE: the metadata log */
};

/* Run-time side of a partition, at the same place as in the store. */
struct control_place {
    uint64_t incarnation; /* this entry is about; another one in the store: nothing known yet */
    uint32_t slot;        /* in its log tile; UINT32_MAX: not open */
    int32_t leader_epoch;
    uint16_t log_tile;
    uint16_t rc;        /* enum rc */
    uint64_t listed_by; /* serial of the last call that named it: a second naming is noticed */
};

/* Run-time side of a topic, at the same idx as in the store. */
struct control_topic {
    uint64_t first_incarnation; /* of the topic this entry is about */
    uint32_t visible_count;     /* partitions that gates and clients know; 0: not published yet */
};

/* ---- metadata and boot */

enum boot_state {
    BOOT_BEGIN,        /* open the metadata log */
    BOOT_OPENING_LOG,  /* waits for it */
    BOOT_OFFSETS,      /* ask its end */
    BOOT_READ,         /* ask the next piece */
    BOOT_WAIT,         /* waits for offsets or a piece */
    BOOT_CLUSTER,      /* the log was empty: the cluster record is being written */
    BOOT_OPEN,         /* partitions are being opened */
    BOOT_PRUNE,        /* log tiles forget what metadata do not name */
    BOOT_TRANSACTIONS, /* their log is read, open ones are admitted again */
    BOOT_PUBLISH,      /* topics go to the gates */
    BOOT_DONE,
    BOOT_FAILED,
};

struct control_metadata {
    uint32_t slot;
    uint64_t next_read; /* boot: offset of the next batch */
    uint64_t end;       /* boot: high watermark */
    bool appending;
    bool failed; /* the log refused an append for good: no changes until restart */
    uint32_t batch_bytes;
    uint8_t *batch;            /* [CONTROL_METADATA_BYTES] */
    uint64_t next_incarnation; /* of the batch being built */
    uint64_t producer_next;
    uint64_t producer_end;  /* ids [producer_next, producer_end) may be handed out */
    bool producers_asked;   /* somebody waits for the next block */
    bool producers_pending; /* its record is on the way */
};

struct control_boot {
    enum boot_state state;
    uint32_t topic;     /* cursor over topics */
    uint32_t partition; /* cursor inside it */
    uint32_t outstanding;
    uint32_t tile; /* cursor over log tiles */
    bool cluster_asked;
    bool quotas_begun;
    uint32_t quota; /* cursor over limits of client ids */
    uint8_t *piece;
};

/* ---- internal logs: internal_log.c */

enum { INTERNAL_LOG_GROUPS, INTERNAL_LOG_TRANSACTIONS, INTERNAL_LOGS };

enum internal_log_state {
    INTERNAL_LOG_NONE,     /* no such topic yet */
    INTERNAL_LOG_CREATING, /* it is being made */
    INTERNAL_LOG_READ,     /* ask the next piece */
    INTERNAL_LOG_WAIT,     /* waits for offsets or a piece */
    INTERNAL_LOG_READY,
    INTERNAL_LOG_FAILED, /* the guest's requests are refused until a restart */
};

#define CONTROL_INTERNAL_BATCH_BYTES (1u << 20)

/* Whose records a log holds, and how that guest is told. */
struct internal_log_kind {
    const char *topic;
    enum rc (*replay)(struct control *control,
                      struct bytes key,
                      struct bytes value,
                      struct diag_trail *trail);
    void (*loaded)(struct control *control);
    void (*durable)(struct control *control, uint64_t number, enum rc rc);
    /* Appends what lives, from *cursor on; true: all of it. */
    bool (*rewrite)(struct control *control, uint64_t *cursor);
    void (*tick)(struct control *control);
    void (*metrics)(struct control *control);
    uint64_t (*deadline)(const struct control *control);
};

struct internal_log {
    const struct internal_log_kind *kind;
    enum internal_log_state state;
    uint32_t place;     /* of its partition in the store */
    uint64_t retry_ns;  /* CREATING: when it counts as failed */
    uint64_t next_read; /* replay: offset of the next batch */
    uint64_t end;       /* replay: high watermark */
    uint64_t replayed;
    uint8_t *piece;
    uint8_t *batches[2]; /* [CONTROL_INTERNAL_BATCH_BYTES] each: one is filled, one is sent */
    struct record_builder builder; /* over batches[filling]; record_count 0: not begun */
    uint32_t filling;
    bool is_loaded; /* READY, or FAILED since */
    bool appending;
    uint32_t sending_bytes;  /* of batches[!filling] that found no credit yet */
    uint32_t sending_count;  /* records in it */
    uint64_t sending_number; /* of its last record */
    uint64_t last_number;    /* of the last record taken */
    uint64_t next_offset;    /* of the log, when nothing is under way */
    uint64_t appended_bytes; /* since the last rewrite began */
    uint64_t live_bytes;     /* that the last rewrite took */
    bool rewriting;
    bool rewrite_done; /* all that lives was appended, up to rewrite_number */
    uint64_t rewrite_cursor;
    uint64_t rewrite_number;
    uint64_t rewrite_offset; /* where the rewritten records begin */
};

/* The end of a transaction at the group coordinator, which may answer while it is being asked. */
struct control_ending {
    bool is_asking;
    bool is_answered;
    enum rc rc;
};

struct control_backlog {
    struct request *requests; /* FIFO ring [REQUEST_RING_SLOTS] */
    uint32_t first;
    uint32_t count;
    uint32_t snapshots; /* the gate has not given back */
};

#endif
