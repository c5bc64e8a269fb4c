/* What the files of this folder share: the structs behind struct gate, and the calls between its
 * parts.
 *
 *   gate.c        tile: poll, complete, timers, stop      accept and close: connection.c
 *   intake.c      receive blocks, frames, waiting         produce.c, produce_reply.c
 *   fetch.c       phases of a Fetch                        fetch_reply.c, park.c
 *   slot.c        requests in order, sending               link.c (rings), topic_table.c
 *   gate_quota.c  limits of clients, pauses                 quota_table.c (accounts)
 *
 * All indexes are 32 bits with GATE_NONE for "none"; all lists are intrusive; everything is owned
 * by the gate's core. */
#ifndef EAGRE_NET_GATE_GATE_INTERNAL_H
#define EAGRE_NET_GATE_GATE_INTERNAL_H

#include "net/gate/gate_const.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/pool/buddy.h"
#include "engine/pool/slab.h"
#include "net/gate/gate.h"
#include "net/gate/gate_connection.h"
#include "net/gate/gate_fetch.h"
#include "net/gate/gate_quota.h"
#include "net/request/topic_table.h"
#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_fetch.h"
#include "net/kafka/kafka_frame.h"
#include "net/kafka/kafka_produce.h"

/* Who waits for marks of one partition, by (log tile, slot). */
struct gate_interest {
    struct gate_fetch_entry *first;
    uint64_t incarnation; /* that was armed last */
    uint32_t arming;      /* requests with ARM under way */
    bool armed;           /* a mark is certain to come */
    bool armed_all;       /* ... with whatever moves, not only with the last stable offset */
    bool early;           /* a mark overtook the answer to the request that armed it */
};

struct gate_link {
    struct ring *requests;
    struct ring *responses;
    struct waker *waker;
    uint32_t credits; /* response slots spoken for */
    uint32_t credits_max;
    uint32_t armed; /* of these, for marks */
    bool dirty;     /* something was put in and not yet published */
    bool hurry;     /* ... that is not a heartbeat */
    uint64_t
        notify_at_ns; /* the consumer is woken then at the latest; NO_DEADLINE: nothing waits */
};

/* A first-in first-out list of indexes; the links are in the objects. */
struct gate_list {
    uint32_t first;
    uint32_t last;
};

struct gate {
    struct gate_config config;
    uint64_t now_ns; /* of this poll or completion */
    _Atomic uint32_t stop;
    _Atomic uint32_t stopped;
    bool stopping;
    bool accepting;        /* an accept is under way */
    bool issue_now;        /* fetches have something to send and are not held up by a ring */
    bool kick;             /* something was freed: those who wait may try again */
    bool ingest_short;     /* in this pass somebody in front waits for ingest memory */
    uint64_t accept_at_ns; /* earliest next accept */
    uint64_t sweep_at_ns;
    uint64_t stop_deadline_ns;
    uint32_t connection_count;
    uint32_t ingest_waiters;
    uint32_t parked_count; /* fetches in FETCH_PARKED */
    struct gate_list ready;
    struct gate_list send;
    struct gate_list wait;
    struct gate_list issue;         /* fetches */
    struct gate_list response_wait; /* fetches */
    struct gate_list control_wait;  /* slots whose request is still to be sent to control */
    struct gate_link links[LOG_TILES_MAX + 1]; /* [log_tile_count] log tiles, then control */
    struct slab connections;
    struct slab slots;
    struct slab fetches;
    struct slab pool_blocks;        /* of struct gate_block */
    struct gate_block *base_blocks; /* [connections_max] */
    struct buddy ingest;
    struct buddy response;
    struct buddy state;
    struct topic_table topics;
    struct gate_interest *interests; /* [log_tile_count * partitions_max] */
    uint32_t *heap;                  /* [fetches_max] of fetch indexes */
    uint32_t heap_count;
    struct quota_table quotas;
    uint32_t muted_first; /* connections that pause, linked by next_muted */
    uint32_t muted_count;
    uint32_t clients_muted; /* client ids that they belong to */
    uint64_t unmute_at_ns;  /* when the first of them may go on; NO_DEADLINE: none */
    uint8_t *send_memory;   /* [connections_max * GATE_SEND_BYTES] */
    uint8_t *scratch;       /* arena for decoding a Fetch */
    size_t scratch_bytes;
    struct gate_counters counters;
    struct gate_gauges gauges;
};

/* link.c */
/* The next request to fill in, or NULL when the link has no room for it; credits: response slots it
 * may take. */
struct request *link__reserve(struct gate *gate, uint32_t link_idx, uint32_t credits) MUST_USE;
/* Publishes what was put in since the last call, and wakes. */
void link__publish(struct gate *gate);
/* Handles up to GATE_RESPONSES_PER_POLL responses of every link; returns how many. */
uint32_t link__drain(struct gate *gate);
void link__release(struct gate *gate, uint32_t link_idx, uint32_t credits);

static ALWAYS_INLINE uint32_t
link__control(const struct gate *gate)
{
    return gate->config.log_tile_count;
}

/* gate.c */
/* Makes the next sweep over the connections happen no later than that. */
static ALWAYS_INLINE void
gate__sweep_by(struct gate *gate, uint64_t deadline_ns)
{
    gate->sweep_at_ns = min_u64(gate->sweep_at_ns, deadline_ns);
}

static ALWAYS_INLINE void
gate__count(_Atomic uint64_t *counter, uint64_t more)
{
    /* Single writer: a plain addition, relaxed for readers on other cores. */
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + more, memory_order_relaxed);
}

/* id without METRIC_: what goes out under a label. */
#define gate__count_label(gate, id, index)                           \
    do {                                                             \
        if ((gate)->config.metrics != NULL)                          \
            metrics_add_label((gate)->config.metrics, id, index, 1); \
    } while (0)

/* Reads the clock only when stamps are kept. */
static ALWAYS_INLINE void
gate__stamp(struct gate *gate, enum trace_stage stage, uint64_t id)
{
    if (UNLIKELY(gate->config.trace != NULL))
        trace_keep(gate->config.trace, stage, clock_now_ns(gate->config.clock), id);
}

static ALWAYS_INLINE struct gate_connection *
gate__connection(struct gate *gate, uint32_t idx)
{
    return slab_at(&gate->connections, idx);
}

static ALWAYS_INLINE struct gate_slot *
gate__slot(struct gate *gate, uint32_t idx)
{
    return slab_at(&gate->slots, idx);
}

static ALWAYS_INLINE struct gate_fetch *
gate__fetch(struct gate *gate, uint32_t idx)
{
    return slab_at(&gate->fetches, idx);
}

static ALWAYS_INLINE struct gate_block *
gate__block(struct gate *gate, uint32_t idx)
{
    uint32_t base_count = gate->config.limits.connections_max;

    return idx < base_count ? &gate->base_blocks[idx]
                            : (struct gate_block *)slab_at(&gate->pool_blocks, idx - base_count);
}

/* ctx of a request: [63:48] slot, [47:36] generation, [35:16] hole or entry, [15:0] block. */
static ALWAYS_INLINE uint64_t
gate__ctx(uint32_t slot, uint32_t generation, uint32_t entry, uint32_t block)
{
    return (uint64_t)slot << 48 | (uint64_t)(generation & 0xfff) << 36 | (uint64_t)entry << 16 |
           (block & 0xffff);
}

#endif
