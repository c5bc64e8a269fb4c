/* The state of libeagre that has to do with the server as a whole: the control exchange, topics,
 * and Kafka requests carried in CALL frames; and the limits of all parts. client_inner.h has the
 * rest.
 */
#ifndef EAGRE_NET_CLIENT_CLIENT_STATE_H
#define EAGRE_NET_CLIENT_CLIENT_STATE_H

#include "eagre/eagre.h"
#include "hw/clock/clock.h"
#include "net/wire/wire_control.h"

#include <openssl/ssl.h>

#define CLIENT_WHY_BYTES 256u
#define CLIENT_PRODUCERS_MAX 64u
#define CLIENT_SUBSCRIBERS_MAX 64u
#define CLIENT_BATCHES_MAX 16384u
#define CLIENT_SUBSCRIBER_PARTITIONS_MAX 1024u
#define CLIENT_HEADERS_MAX 256u /* of one record */
#define CLIENT_CALL_BYTES 65536u
#define CLIENT_TICK_NS                                                                          \
    (5 * NS_PER_MS)                   /* how often timeouts are looked at while work is pending \
                                       */
#define CLIENT_JOIN_NS (5 * NS_PER_S) /* from the first SYN to the grant, and to READY */
#define CLIENT_ASK_NS (5 * NS_PER_S)  /* until a question without an answer is asked again */
#define CLIENT_CARRIER_VERSION 1u

/* ---- control.c */

enum control_state {
    CONTROL_DOWN,       /* waits until retry_at_ns */
    CONTROL_CONNECTING, /* TCP */
    CONTROL_TLS,        /* handshake */
    CONTROL_JOINING,    /* JOIN is being written, or GRANT waited for */
    CONTROL_GRANTED,    /* held open; the session lives */
};

struct control {
    enum control_state state;
    int fd; /* -1: none */
    int epoll_fd;
    SSL_CTX *tls; /* NULL: clear text */
    SSL *stream;
    bool wants_write;
    uint64_t retry_at_ns; /* DOWN */
    uint64_t give_up_ns;  /* CONNECTING .. JOINING, and until the session is open */
    uint64_t look_at_ns;  /* GRANTED: when its end is looked for again */
    uint64_t backoff_ns;
    uint32_t out_bytes;
    uint32_t out_done;
    uint32_t in_bytes;
    uint8_t out[WIRE_CONTROL_BYTES_MAX];
    uint8_t in[WIRE_CONTROL_BYTES_MAX];
};

/* ---- topic.c */

enum topic_state {
    TOPIC_FREE,
    TOPIC_WANTED, /* RESOLVE is to be sent when retry_at_ns has come */
    TOPIC_ASKED,
    TOPIC_CREATE, /* a Metadata call that may create it is to be made, or under way */
    TOPIC_KNOWN,
};

struct client_topic {
    enum topic_state state;
    char name[WIRE_TOPIC_NAME_MAX + 1];
    bool create;
    bool was_known;
    int rc; /* of the last try; EAGRE_AGAIN: none yet */
    int server_error;
    uint32_t request;
    uint64_t retry_at_ns;
    uint64_t backoff_ns;
    struct eagre_topic_info info;
    uint32_t filled;      /* partitions of the answer so far */
    uint32_t place_base;  /* of its partitions in client->places */
    uint32_t place_count; /* the most partitions it ever had: a topic that was made again with fewer
                             leaves batches of the others behind, which are reported too */
};

/* ---- call.c */

enum call_kind { CALL_NONE, CALL_CREATE, CALL_PRODUCER_ID, CALL_START, CALL_END };

struct call {
    enum call_kind kind;
    uint32_t owner;   /* index of topic, producer or subscriber */
    bool is_disowned; /* who asked is closed, and another may have the index */
    uint32_t request;
    uint64_t give_up_ns;
    uint32_t out_bytes;
    uint32_t out_done;
    uint16_t out_pieces;
    uint16_t in_pieces;
    uint32_t in_bytes;
    uint8_t *out; /* [CLIENT_CALL_BYTES] */
    uint8_t *in;  /* [CLIENT_CALL_BYTES] */
    uint8_t *arena;
};

#endif
