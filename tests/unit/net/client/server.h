/* A server in the test's own process and thread: TCP and UDP on loopback, net/session in the
 * server's role, and a log that treats producers as the engine does: sequences without a gap, the
 * last five batches of a producer remembered. It can be told to refuse, to say nothing, and to
 * die. */
#ifndef EAGRE_TESTS_UNIT_NET_CLIENT_SERVER_H
#define EAGRE_TESTS_UNIT_NET_CLIENT_SERVER_H

#include "eagre/eagre.h"
#include "hw/clock/clock.h"
#include "hw/nic/nic_socket.h"
#include "net/session/cookie.h"
#include "net/session/session.h"
#include "net/wire/wire_frame.h"

#define SERVER_PARTITIONS_MAX 64u
#define SERVER_LOG_BYTES (16u << 20)
#define SERVER_REMEMBERED 5u
#define SERVER_WAITING_MAX 4096u

struct server_producer {
    int64_t id; /* 0: none */
    uint32_t next;
    uint32_t count;
    uint32_t first[SERVER_REMEMBERED];
    uint64_t offset[SERVER_REMEMBERED];
};

struct server_partition {
    uint8_t *log; /* batches one after the other */
    uint64_t log_bytes;
    uint64_t next_offset;
    struct server_producer producers[8];
    uint64_t incarnation;
};

struct server_subscription {
    bool is_used;
    uint32_t number;
    uint32_t partition;
    uint64_t at; /* byte in the log */
    uint64_t offset;
    uint64_t credit;
    uint64_t sent;
};

struct server {
    struct clock clock;
    int listener;
    int connection;
    uint16_t port;
    struct nic *nic;
    struct session_pool *pool;
    struct session *session;
    struct session_cipher *cipher;
    struct cookie_jar *jar;
    struct wire_grant grant;
    struct nic_address peer;
    void *pool_memory;
    bool is_up; /* a session stands */
    uint32_t partition_count;
    struct server_partition partitions[SERVER_PARTITIONS_MAX];
    struct server_subscription subscriptions[SERVER_PARTITIONS_MAX];
    struct wire_commit waiting[SERVER_WAITING_MAX]; /* answers not sent yet */
    uint32_t waiting_count;
    uint8_t *message; /* under reassembly */
    uint32_t message_bytes;
    int64_t id_next;
    bool has_topic;
    uint32_t created;
    /* what a test sets */
    bool is_mute;           /* answers to batches are kept back */
    uint16_t refuse_status; /* of the next refuse_count batches */
    uint32_t refuse_count;
    uint32_t batch_bytes_max; /* of the topic, as RESOLVED says it */
    bool call_delay;          /* ListOffsets is answered when this is cleared; one at most */
    uint32_t delayed_count;
    uint32_t delayed_bytes;
    uint32_t delayed_request;
    uint8_t delayed[2048];
    uint16_t join_refusal; /* code of a REFUSED instead of a GRANT */
    uint32_t batches;      /* stored */
    uint32_t duplicates;
    uint32_t out_of_order;
};

/* Topic "orders" exists with so many partitions; has_topic false: it waits to be created. */
struct server *server_open(uint32_t partition_count);
void server_close(struct server *server);
/* One turn of its loop. */
void server_poll(struct server *server);
/* The connection is cut and the session forgotten; the log stays. Unsent answers are lost. */
void server_kill(struct server *server);
/* What a crash does to a topic of durability memory: the last batches are gone. */
void server_forget_batches(struct server *server, uint32_t partition, uint32_t keep);
/* Polls both until *done_flag or seconds have passed; false: time is over. */
bool server_run(struct server *server,
                struct eagre_client *client,
                bool (*is_done)(void *context),
                void *context,
                uint32_t seconds);
/* A batch as a Kafka producer would have sent it, appended to the log: codec from its attributes.
 */
void server_append(struct server *server, uint32_t partition, const uint8_t *batch, uint32_t bytes);
struct eagre_config server_config(const struct server *server);

#endif
