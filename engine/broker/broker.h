/* The log tile: takes requests from the doors and the control tile, drives one struct log, answers.
 *
 * One broker per log tile, owned by that tile's core. Each requester (control is 0, gates are 1, 2,
 * ...) has one request ring and one response ring. A request is popped only when its response is
 * sure to find a slot, so response rings never overflow and nothing here ever waits for space. A
 * produce request that finds no room stays at the head of its requester's ring (back-pressure for
 * that door only); a read that finds no cold buffer, or comes after this poll's copying budget,
 * waits in a bounded queue.
 *
 *   requests ──► held (1 per requester) ──► log_append / log_read / ...
 *                                                 │
 *   responses ◄── acks, reads, marks, events ◄── log_poll
 *
 * Limits: BROKER_BURST requests per requester and poll, BROKER_COPY_BYTES copied to readers per
 * poll, BROKER_DEFERRED_MAX waiting reads. */
#ifndef EAGRE_ENGINE_BROKER_BROKER_H
#define EAGRE_ENGINE_BROKER_BROKER_H

#include "engine/ring/byte_ring.h"
#include "engine/ring/ring.h"
#include "engine/tile/tile.h"
#include "log/append/log_transaction.h"
#include "net/request/request.h"

#define BROKER_BURST 64u
#define BROKER_COPY_BYTES (UINT32_C(256) << 10)
#define BROKER_DEFERRED_MAX 256u
#define BROKER_REQUESTER_NONE UINT16_MAX /* acks of acks=0 batches go nowhere */
#define BROKER_REQUESTER_MARKER 0x4000u  /* with it: the ack answers a TXN_MARKER */
#define BROKER_PRODUCERS_MAX 64u         /* told per step of a REQUEST_PRODUCERS */

/* Both ends' view of one requester; the broker consumes request and produces response. */
struct broker_link {
    struct ring *request;
    struct ring *response;
    struct waker *waker;     /* of the requester's core */
    struct byte_ring *bytes; /* where a net tile's batches lie; NULL for gates and control */
};

struct broker_requester {
    struct broker_link link;
    struct request held; /* popped but not taken by the log yet */
    bool is_held;
    bool notify;          /* responses were pushed in this poll */
    uint32_t outstanding; /* taken requests whose response was not pushed */
};

/* Written by this tile, read by metrics (relaxed). */
struct broker_counters {
    _Atomic uint64_t requests;
    _Atomic uint64_t appends_again;  /* a produce request had to wait for room */
    _Atomic uint64_t reads_deferred; /* a read waited for a cold buffer or the next poll's budget */
    _Atomic uint64_t marks;
};

struct broker {
    struct log *log;
    struct clock *clock;
    uint32_t requester_count;
    struct broker_requester requesters[REQUESTERS_MAX];
    struct request deferred[BROKER_DEFERRED_MAX]; /* FIFO ring of reads */
    uint32_t deferred_first;
    uint32_t deferred_count;
    uint32_t copied_bytes; /* to readers, in this poll */
    uint64_t stop_ctx;
    struct log_producers producers; /* the walk of the REQUEST_PRODUCERS under way */
    uint32_t producers_told;
    struct broker_counters counters;
};

/* links: [link_count], copied; link_count in [1, REQUESTERS_MAX]. log and clock are borrowed for
 * the broker's life. */
void broker_init(struct broker *broker,
                 struct log *log,
                 struct clock *clock,
                 const struct broker_link *links,
                 uint32_t link_count);

/* The tile's functions; object is a struct broker.
 * Runs on: the log tile's core.  Allocates: nothing.  Blocks: never. */
extern const struct tile_ops broker_tile_ops;

#endif
