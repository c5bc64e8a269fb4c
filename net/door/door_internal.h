/* What the files of this folder share: the structs behind struct door, and the calls between its
 * parts.
 *
 *   door.c          tile: poll, timers, sleep, stop    door_layout.c   memory
 *   door_receive.c  datagrams, handshake               door_forward.c  to and from other doors
 *   door_session.c  table, grants, ends                door_frame.c    frames of one packet
 *   door_produce.c  batches to log tiles               door_message.c  pieces of long batches
 *   door_commit.c   results to clients                 door_watch.c    marks at the tail
 *   door_read.c, door_read_send.c FETCH and SUBSCRIBE  door_call.c     Kafka requests to control
 *   door_resolve.c  topics, notes                      door_transmit.c datagrams out
 *   door_link.c     rings
 *
 * All indexes are 32 bits with DOOR_NONE for "none"; all lists are intrusive; everything is owned
 * by the door's core. */
#ifndef EAGRE_NET_DOOR_DOOR_INTERNAL_H
#define EAGRE_NET_DOOR_DOOR_INTERNAL_H

#include "engine/base/check.h"
#include "engine/pool/slab.h"
#include "net/door/door_parts.h"
#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_frame.h"
#include "net/request/topic_table.h"
#include "net/session/cookie.h"

struct door {
    struct door_config config;
    struct nic *nic;
    uint64_t now_ns;
    _Atomic uint32_t stop;
    _Atomic uint32_t stopped;
    bool stopping;
    bool is_waiting;      /* an IO_POLL is under way */
    bool kick;            /* something was freed: those who wait may try again */
    uint32_t idle_rounds; /* naps without a datagram between them */
    uint64_t busy_ns;     /* when something was done last */
    uint64_t stop_deadline_ns;
    uint64_t epoch;
    uint64_t epoch_end_ns;
    uint32_t senders;        /* sessions with data in the last epoch, at least 1 */
    uint32_t senders_so_far; /* in this one */
    uint32_t open_count;
    uint32_t subscription_count;
    uint32_t frames_max; /* places that one packet may need */
    uint32_t room_packets;
    struct door_link links[LOG_TILES_MAX + 1]; /* [log_tile_count] log tiles, then control */
    struct slab sessions;                      /* of struct door_session */
    uint8_t *session_memory;
    size_t session_stride;
    uint32_t *buckets; /* [bucket_mask + 1]: session index or DOOR_NONE */
    uint32_t bucket_mask;
    uint32_t *heap; /* [sessions_max] */
    uint32_t heap_count;
    struct session_pool *pool;
    struct cookie_jar *jar;
    uint8_t *scratch; /* [datagram_bytes_max] */
    struct slab produces;
    struct slab readers;
    struct slab read_buffers; /* bookkeeping only; memory at read_memory */
    uint8_t *read_memory;
    struct slab messages;
    uint8_t *message_memory;
    struct slab stashes;       /* [datagram_bytes_max] each: rests of packets */
    uint32_t messages_reading; /* of these, lent to readers and replies */
    struct slab calls;
    uint8_t *call_memory;
    struct door_place *places; /* [log_tile_count * partitions_max] */
    struct topic_table topics;
    struct door_list active;         /* sessions */
    struct door_list stuck;          /* sessions */
    struct door_list readers_queued; /* readers */
    struct door_list readers_lazy;   /* at the tail of partitions that could not be armed */
    struct door_list calls_queued;
    uint32_t orphans; /* readers and calls that only await an answer */
    struct nic_sending sends[NIC_BURST];
    uint32_t send_count; /* reserved */
    uint32_t send_used;
    bool send_short; /* the carrier gave no buffer in this poll */
    struct door_counters counters;
    struct door_gauges gauges;
};

static ALWAYS_INLINE void
door__count(_Atomic uint64_t *counter, uint64_t more)
{
    /* Single writer: a plain addition, relaxed for readers on other cores. */
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + more, memory_order_relaxed);
}

static ALWAYS_INLINE struct door_session *
door__session(struct door *door, uint32_t idx)
{
    return slab_at(&door->sessions, idx);
}
static ALWAYS_INLINE uint32_t
door__session_idx(const struct door *door, const struct door_session *session)
{
    return (uint32_t)(((const uint8_t *)session - door->sessions.objects) /
                      door->sessions.object_bytes);
}
static ALWAYS_INLINE struct door_produce *
door__produce(struct door *door, uint32_t idx)
{
    return slab_at(&door->produces, idx);
}
static ALWAYS_INLINE struct door_reader *
door__reader(struct door *door, uint32_t idx)
{
    return slab_at(&door->readers, idx);
}
static ALWAYS_INLINE struct door_call *
door__call(struct door *door, uint32_t idx)
{
    return slab_at(&door->calls, idx);
}
static ALWAYS_INLINE uint8_t *
door__message(struct door *door, uint32_t idx)
{
    return door->message_memory + (size_t)idx * DOOR_MESSAGE_BYTES;
}
/* NULL: no partition can be there. */
static ALWAYS_INLINE struct door_place *
door__place(struct door *door, uint32_t log_tile, uint32_t slot)
{
    if (log_tile >= door->config.log_tile_count || slot >= door->config.limits.partitions_max)
        return NULL;
    return &door->places[(size_t)log_tile * door->config.limits.partitions_max + slot];
}
/* Whether a session that holds so many of what all share may have `more`: as long as so many are
 * free as it would hold then. One that never gives back leaves half, two a third each; one that
 * holds nothing gets what is left. */
static ALWAYS_INLINE bool
door__may_hold(const struct slab *slab, uint32_t held, uint32_t more)
{
    uint32_t free_count = slab->count - slab->used;

    return free_count >= more && (held == 0 || held + more <= free_count);
}
static ALWAYS_INLINE uint32_t
door__control(const struct door *door)
{
    return door->config.log_tile_count;
}

#include "net/door/door_calls.h" /* needs struct door */

#endif
