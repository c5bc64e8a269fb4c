/* What the files of libeagre share. The public contract is include/eagre/eagre.h.
 *
 * One struct client owns everything; eagre_poll() runs its parts in order:
 *
 *   control.c   TCP or TLS to the server, JOIN -> GRANT; its end is the session's end
 *   link.c      the carrier and the session: datagrams in -> frames to their owners; frames out
 *   topic.c     names -> partitions (RESOLVE), and creating topics
 *   call.c      Kafka requests carried in CALL frames, one at a time
 *   producer.c  batches being filled; deliver.c: their sending, their answers, sending again
 *   subscriber.c  places to begin at, credit, FETCHED into buffers; batches.c: reading them
 *
 * Invariants are numbered in README.md. */
#ifndef EAGRE_NET_CLIENT_CLIENT_INNER_H
#define EAGRE_NET_CLIENT_CLIENT_INNER_H

#include "eagre/eagre.h"
#include "engine/record/record_builder.h"
#include "engine/record/record_iterator.h"
#include "hw/clock/clock.h"
#include "hw/nic/nic.h"
#include "net/client/client_state.h"
#include "net/session/session.h"
#include "net/wire/wire_frame.h"

/* ---- producer.c, deliver.c */

enum batch_state {
    BATCH_FREE,
    BATCH_OPEN,    /* being filled */
    BATCH_WAITING, /* to be sent */
    BATCH_SENT,    /* whole; no answer yet */
    BATCH_DOUBT,   /* answered as out of order: a gap, or stored long ago */
    BATCH_REFUSED, /* not stored, to be sent again */
};

struct client_batch {
    struct eagre_producer *producer;
    struct client_batch *before; /* in its partition, by order of taking */
    struct client_batch *after;
    struct record_builder builder;
    uint8_t *memory;
    uint64_t *opaques;
    uint64_t born_ns;
    uint32_t idx;
    uint32_t partition;
    uint32_t byte_count; /* once sealed */
    uint32_t sent_bytes; /* of a fragmented one */
    uint16_t sent_pieces;
    uint16_t tries;
    uint16_t generation; /* of the slot, so that an answer that comes late is known as such */
    uint8_t state;       /* enum batch_state */
    bool is_unsure;      /* was on its way when a session ended: may be stored (D4) */
};

struct producer_partition {
    struct eagre_producer *producer;
    struct client_batch *oldest;
    struct client_batch *newest;
    struct client_batch *next; /* first that is WAITING or OPEN; all before it are not */
    struct producer_partition *queue_next;
    int64_t producer_id;
    uint64_t resume_at_ns;
    uint64_t backoff_ns;
    uint32_t sent_count;
    uint32_t sequence_next; /* of the next batch to send */
    uint32_t stored_next;   /* behind the last batch known to be stored */
    int16_t producer_epoch;
    bool is_queued;
    bool is_known;    /* the server has shown in this session that it knows the producer */
    bool is_doubtful; /* out of order without a known cause: a gap, or stored before */
    bool is_draining; /* not stored: answers are awaited, then it is sent again from there */
    bool is_id_lost;  /* what the server knows of the id is not what we know */
    bool wants_id;    /* nothing is sent until a new one is there */
};

struct eagre_producer {
    struct eagre_client *client;
    struct eagre_producer_options options;
    struct client_topic *topic;
    struct producer_partition *partitions; /* [client->config.partitions_max] */
    struct client_batch *batches;          /* [options.batch_count] */
    struct client_batch *free;             /* linked by after */
    uint8_t *memory;
    uint64_t *opaques;
    uint32_t idx;
    uint32_t records_per_batch;
    uint32_t turn; /* partition for records without a key */
    bool turn_is_set;
    bool turn_was_set;
    int64_t producer_id; /* -1: not there yet */
    int16_t producer_epoch;
    bool wants_id;
    uint64_t id_retry_at_ns;
    uint64_t pending;
    uint32_t open_count;
};

/* ---- subscriber.c, batches.c */

enum part_state {
    PART_PLACE, /* the offset to begin at is to be found */
    PART_READY, /* SUBSCRIBE is to be sent when retry_at_ns has come */
    PART_FLOWS,
    PART_OVER, /* failed; rc is to be given out once */
};

struct subscriber_part {
    enum part_state state;
    uint32_t partition;
    uint16_t generation; /* in the subscription's number */
    bool has_end;        /* end offset at the beginning is known */
    bool told;           /* PART_OVER: given out */
    bool owes_end;       /* the server still serves this subscription; it is to be ended */
    int rc;
    int server_error;
    uint64_t retry_at_ns;
    uint64_t receive_offset; /* next to be received */
    uint64_t first_wanted;   /* records below are left out */
    uint64_t given_next;     /* behind the last batch given out */
    uint64_t high_watermark;
    uint64_t credit_sent; /* since SUBSCRIBE */
    uint64_t credit_base; /* credit when nothing is freed */
    uint64_t freed_bytes; /* since SUBSCRIBE */
    uint64_t held_bytes;  /* messages in the ring */
    uint8_t *ring;        /* [ring_bytes]; items: struct part_item, then the message */
    uint64_t ring_bytes;
    uint64_t head;  /* oldest item; both count up for ever */
    uint64_t tail;  /* behind the newest whole item */
    uint32_t total; /* of the message under way; 0: none */
    uint32_t have;
    uint16_t piece_next;
    uint64_t item_at; /* of the message under way */
    uint32_t read_at; /* in the oldest item's message */
};

struct eagre_subscriber {
    struct eagre_client *client;
    struct eagre_subscriber_options options;
    struct client_topic *topic;
    struct subscriber_part *parts; /* [options.partitions_max] */
    uint32_t part_count;           /* 0: topic not known yet */
    uint32_t idx;
    uint32_t turn;
    uint8_t *memory;
    uint8_t *unpacked;
    bool is_closing; /* only there until the server was told of its end */
    int rc;          /* whole subscription failed; told once */
    bool told;
    uint64_t offsets_retry_at_ns;
    struct subscriber_part *current;
    struct record_iterator iterator;
    uint64_t skip_below;
};

/* ---- the client */

struct eagre_client {
    struct eagre_config config; /* strings point into text */
    char *text;
    size_t text_bytes;
    struct clock clock;
    uint64_t now_ns; /* of this poll */
    char why[CLIENT_WHY_BYTES];
    bool is_refused;
    struct nic_address server; /* of the control exchange */
    char server_host[WIRE_CONTROL_TEXT_MAX];
    struct nic_address data; /* where this session's datagrams go */
    struct control control;

    struct nic *nic;
    void *carrier_library;
    bool carrier_is_stale; /* its other end is gone: opened anew before the next session */
    char carrier_text[CLIENT_WHY_BYTES];
    struct session *session;
    struct session_pool *pool;
    void *pool_memory;
    struct session_cipher *cipher;
    struct wire_grant grant;
    bool is_open;
    uint32_t datagram_bytes_max; /* of configuration and carrier */
    uint8_t *scratch;            /* [NIC_DATAGRAM_BYTES_MAX] */
    uint64_t
        link_at_ns; /* the carrier holds more than this poll could take or give; UINT64_MAX: no */
    uint64_t resend_at_ns; /* the carrier had no buffer: sending is tried again then; 0: it has */
    uint64_t ping_token;
    uint64_t ping_sent_ns; /* 0: none under way */
    uint64_t pong_ns;      /* 0: none */

    struct client_topic *topics;   /* [config.topics_max] */
    struct wire_partition *places; /* [config.partitions_max] */
    uint32_t places_used;
    uint32_t request_next;

    struct eagre_producer *producers[CLIENT_PRODUCERS_MAX];
    struct eagre_subscriber *subscribers[CLIENT_SUBSCRIBERS_MAX];
    struct producer_partition *queue_first; /* partitions with something to send */
    struct producer_partition *queue_last;
    struct client_batch *sending; /* a fragmented batch of which a part is sent */
    struct wire_partition sending_place;
    struct call call;
    uint64_t tick_at_ns;
    struct record_header headers[CLIENT_HEADERS_MAX];
    bool is_polling;
    uint32_t done; /* of this poll */
    struct eagre_stats stats;
    struct session_counters past; /* of former sessions */
};

#endif
