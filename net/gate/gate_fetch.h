/* Fetch requests: what is asked of which partition, and what was found. Private to net/gate.
 *
 *   PROBING -> PARKED -> PROBING ...      may be read: DUE -> READING -> DONE
 *
 * A Fetch holds response memory only from DUE to the end of its reply, and only as the first of its
 * connection. */
#ifndef EAGRE_NET_GATE_GATE_FETCH_H
#define EAGRE_NET_GATE_GATE_FETCH_H

#include "net/gate/gate_const.h"
#include "net/kafka/kafka_fetch.h"
#include "net/request/request.h"

#include "net/gate/gate_connection.h"
#include <sys/uio.h>

struct gate_fetch;

/* One partition of a Fetch. */
struct gate_fetch_entry {
    struct partition_ref ref;       /* incarnation 0: unknown partition, error is set */
    struct gate_fetch_entry *next;  /* on the partition's list of those who wait */
    struct gate_fetch_entry **link; /* what points to us; NULL: not on a list */
    struct gate_fetch *fetch;
    uint64_t offset;
    uint64_t read_offset; /* where the next read of this response goes on; READING only */
    uint64_t high_watermark;
    uint64_t last_stable_offset;
    uint64_t start_offset;
    uint64_t readable_bytes; /* as last told */
    uint8_t *data;
    uint32_t data_bytes;
    uint32_t data_capacity;
    uint32_t max_bytes;
    uint32_t skip_count; /* aborted transactions, as sent, from data + data_capacity on */
    uint32_t skip_end;   /* in the reply: where they belong */
    uint32_t header_end; /* in the reply: where the data belongs */
    int32_t leader_epoch;
    int32_t partition;
    int16_t error;
    uint8_t armed_asked; /* the request under way carries ARM */
    bool due;            /* ask again */
    bool marked;         /* a mark came since it was last asked */
    bool answered;       /* high_watermark and start_offset are real */
};

struct gate_fetch_topic {
    struct kafka_fetch_topic topic; /* name points into the fetch's own memory */
    uint32_t entry_first;
};

enum fetch_state {
    FETCH_PROBING, /* asked what can be read */
    FETCH_PARKED,  /* waits for marks or the deadline */
    FETCH_DUE,     /* may read, waits to be the first of its connection or for response memory */
    FETCH_READING, /* reads are under way */
    FETCH_DONE,    /* reply is built */
};

struct gate_fetch {
    uint32_t slot;        /* GATE_NONE: given back, but still on a list */
    uint8_t state;        /* enum fetch_state */
    bool single;          /* one partition, min_bytes <= 1: reads without a probe */
    bool committed;       /* isolation level 1: reads below the last stable offset */
    bool expired;         /* its time is up: answer what there is */
    bool was_parked;      /* at least once */
    bool queued_issue;    /* on gate.issue: entries are due */
    bool queued_memory;   /* on gate.response_wait */
    bool unarmed;         /* some partition could not be armed: asked again now and then */
    uint8_t barren_count; /* reads that found nothing where a probe saw something */
    bool read_again;      /* first batch did not fit: bytes_needed */
    uint32_t next_issue;
    uint32_t next_memory;
    uint32_t heap_at;  /* place in the heap of deadlines, GATE_NONE: not there */
    uint32_t issue_at; /* first entry not yet looked at by the issue pass */
    uint64_t wake_ns;
    uint64_t deadline_ns;
    uint64_t min_bytes;
    uint32_t max_bytes;
    uint32_t bytes_needed;
    uint32_t entry_count;
    uint32_t topic_count;
    struct gate_fetch_topic *topics;  /* [topic_count] */
    struct gate_fetch_entry *entries; /* [entry_count] */
    void *state_block;                /* of the state pool, or NULL: inline memory */
    uint8_t *reply;                   /* in the state block; NULL: the slot's own is enough */
    uint32_t reply_bytes_max;
    uint8_t *data_block;  /* of the response pool */
    uint32_t send_entry;  /* next entry whose data is to be sent */
    uint32_t send_header; /* bytes of the reply already handed out */
    _Alignas(8) uint8_t inline_memory[GATE_FETCH_INLINE_BYTES];
};

struct gate;

/* fetch_begin.c */
/* A whole Fetch request lies at parse of the connection's block. */
enum step fetch__begin(struct gate *gate, uint32_t connection);

/* fetch.c */
/* A response to one of its reads or probes. Returns the credits to give back. */
uint32_t fetch__answered(struct gate *gate, const struct response *response);
/* Something changed for a parked or due Fetch: decides what is next. */
void fetch__decide(struct gate *gate, uint32_t fetch_idx);
/* Builds the reply out of what was found; error is the session's, usually 0. */
void fetch__finish(struct gate *gate, uint32_t fetch_idx, int16_t error);
/* Response memory that a connection's next small read should take. */
uint32_t fetch__hint(struct gate *gate, const struct gate_fetch *fetch);
/* It has become the first of its connection. */
void fetch__is_first(struct gate *gate, uint32_t fetch_idx);
/* Sends what is due to the log tiles; false when a ring took no more. */
bool fetch__issue(struct gate *gate);
void fetch__queue_issue(struct gate *gate, uint32_t fetch_idx);
/* Gives response memory to those who wait for it, first come first served. */
void fetch__serve_memory(struct gate *gate);
/* Deadlines; returns the nearest one left. */
uint64_t fetch__expire(struct gate *gate);
/* The gate stops: nobody waits any longer. */
void fetch__stop(struct gate *gate);
/* Gives everything back; no response may be owed. */
void fetch__release(struct gate *gate, uint32_t fetch_idx);

/* fetch_reply.c */
/* Writes everything but the records into the slot's reply. */
void fetch_reply__build(struct gate *gate, struct gate_fetch *fetch, int16_t error);
/* Adds up to room iovecs; true when the reply's last byte is covered. */
bool fetch_reply__gather(struct gate *gate,
                         struct gate_fetch *fetch,
                         struct iovec *iovecs,
                         uint32_t room,
                         uint32_t *ret_count);

/* fetch_skips.c */
/* Of so many bytes of response memory, those that a read may fill; and the other way round. */
uint32_t fetch_skips__room(const struct gate_fetch *fetch, uint32_t bytes);
uint32_t fetch_skips__need(const struct gate_fetch *fetch, uint32_t bytes);
/* Keeps the aborted transactions that a read has left behind its batches. */
void fetch_skips__take(struct gate *gate,
                       struct gate_fetch *fetch,
                       struct gate_fetch_entry *entry,
                       const struct response *response);
/* How far this Fetch may read. */
static ALWAYS_INLINE uint64_t
fetch__end(const struct gate_fetch *fetch, const struct gate_fetch_entry *entry)
{
    return fetch->committed ? entry->last_stable_offset : entry->high_watermark;
}

/* park.c: who waits for which partition, and until when */
void park__listen(struct gate *gate, struct gate_fetch_entry *entry);
void park__forget(struct gate_fetch_entry *entry);
/* A mark came: wakes those who wait for the partition. */
void park__marked(struct gate *gate, uint32_t link_idx, const struct response *response);
/* How an ARM ended. */
enum park_armed { PARK_NOT_ARMED, PARK_ARMED, PARK_ARMED_STABLE };
/* Gives back the credits that it no longer needs. */
uint32_t park__armed(struct gate *gate, uint32_t link_idx, uint32_t slot, enum park_armed how);
/* A request with ARM was put in; park__armed() follows with its response. */
void park__arming(struct gate *gate, const struct partition_ref *ref);
/* True when a mark for the partition is certain to come as soon as this Fetch can go on. */
bool park__is_armed(const struct gate *gate,
                    const struct partition_ref *ref,
                    const struct gate_fetch *fetch);
/* True when one more partition of that link may be armed. */
bool park__may_arm(const struct gate *gate, uint32_t link_idx, uint32_t slot);
/* Partitions of a topic that is gone will send no mark. */
void park__topic_gone(struct gate *gate, const struct partition_ref *refs, uint32_t count);
void park__timer_set(struct gate *gate, uint32_t fetch_idx, uint64_t wake_ns);
void park__timer_clear(struct gate *gate, uint32_t fetch_idx);
/* The fetch whose time has come, or GATE_NONE. */
uint32_t park__timer_due(struct gate *gate, uint64_t now_ns);

#endif
