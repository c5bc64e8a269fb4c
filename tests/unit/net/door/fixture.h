/* A door with everything around it played by the test: a memory carrier, clients with real
 * sessions, log tiles and control behind real rings, the exchange as two rings. One thread, virtual
 * time. */
#ifndef EAGRE_TESTS_UNIT_NET_DOOR_FIXTURE_H
#define EAGRE_TESTS_UNIT_NET_DOOR_FIXTURE_H

#include "hw/nic/nic_memory.h"
#include "net/door/door_internal.h"

#define FIXTURE_CLIENTS 8u
#define FIXTURE_FRAMES 4096u
#define FIXTURE_LOGS 2u
#define FIXTURE_HELD 4096u
#define FIXTURE_STEP_NS (50 * NS_PER_US)
#define FIXTURE_PARTITIONS 400u
#define FIXTURE_LOG_BYTES (4u << 20) /* of one partition's batches */

/* What a client received, frame by frame. */
struct fixture_frame {
    uint8_t type;
    uint8_t flags;
    uint32_t count;
    uint8_t *body; /* [count] */
};

struct fixture_client {
    struct session *session;
    struct session_cipher *cipher;
    struct session_cipher *door_cipher; /* came back with DOOR_CLOSED */
    struct session_pool *pool;
    struct nic *nic;
    uint32_t id;
    uint8_t *scratch;
    struct fixture_frame frames[FIXTURE_FRAMES];
    uint32_t frame_count;
    bool deaf;   /* does not receive */
    bool stingy; /* gives no credit */
};

struct fixture_options {
    uint32_t door_count;   /* 0: 1 */
    uint32_t sessions_max; /* 0: 8 */
    uint32_t produces_max; /* 0: the preset */
    uint64_t ring_bytes;   /* 0: 1 MiB */
    uint32_t messages_max; /* 0: 4 */
    uint32_t reads_max;    /* 0: 4 */
    uint32_t reorder_max;  /* 0: the preset */
    uint32_t calls_max;    /* 0: 4 */
    struct nic_memory_faults faults;
    uint64_t seed;
};

struct fixture_partition {
    uint64_t incarnation;
    uint8_t *bytes; /* batches, one behind the other, offsets set */
    uint32_t byte_count;
    uint64_t next_offset;
    bool armed;
};

struct fixture {
    struct clock clock;
    struct nic_memory_net *net;
    struct nic *door_nic;
    struct nic *client_nic;
    struct door *door;
    struct door_config config;
    struct ring log_requests[FIXTURE_LOGS];
    struct ring log_responses[FIXTURE_LOGS];
    struct byte_ring bytes[FIXTURE_LOGS];
    struct ring control_requests;
    struct ring control_responses;
    struct ring grants;
    struct ring events;
    struct ring forward[2]; /* out, in */
    struct byte_ring forward_bytes[2];
    struct fixture_partition partitions[FIXTURE_PARTITIONS];
    struct fixture_client clients[FIXTURE_CLIENTS];
    uint32_t client_count;
    bool next_is_stingy; /* clients granted from now on */
    uint32_t closed_events;
    uint32_t opened_events;
    uint64_t close_code; /* of the last closed one */
    bool logs_held;      /* log tiles take nothing */
    bool answers_held;   /* log tiles take and release, and answer later */
    bool calls_held;     /* control takes, and answers later */
    struct request held[FIXTURE_HELD];
    uint32_t held_count;
    struct request held_call;
    bool has_held_call;
    uint16_t append_rc; /* answered to every PRODUCE; RC_OK */
    uint32_t call_reply_bytes;
    uint32_t calls_seen;
    uint32_t large_calls_seen; /* with a reply buffer beyond the first */
};

struct fixture *fixture_new(const struct fixture_options *options);
/* Ends every session, checks that nothing is left, and that no byte is under way. */
void fixture_free(struct fixture *fixture);
/* Lets that much virtual time pass, step by step. */
void fixture_run(struct fixture *fixture, uint64_t ns);
/* A topic whose partition p is slot first_slot + p of log tile p % FIXTURE_LOGS. */
void fixture_topic(struct fixture *fixture,
                   const char *name,
                   uint32_t first_slot,
                   uint32_t partitions,
                   bool is_memory);
void fixture_topic_gone(struct fixture *fixture, const char *name, uint32_t first_slot);
struct wire_partition fixture_partition(const struct fixture *fixture, uint32_t slot);
/* Batches that a log tile holds back are answered now. */
void fixture_answer_held(struct fixture *fixture);
static inline uint64_t
fixture_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* fixture_client.c */
/* Grants a session and makes its client, not yet open; on the carrier's end that is given. */
struct fixture_client *fixture_grant(struct fixture *fixture, struct nic *nic);
/* The same, and runs until it is open. */
struct fixture_client *fixture_join(struct fixture *fixture);
void fixture_client_step(struct fixture *fixture, struct fixture_client *client);
/* Sends one frame; room is awaited. */
void fixture_send(struct fixture *fixture,
                  struct fixture_client *client,
                  const uint8_t *frame,
                  uint32_t bytes);
/* A batch of one record with value_bytes of value; its bytes. Static memory. */
struct bytes fixture_batch(uint32_t value_bytes, uint32_t number);
void fixture_produce(struct fixture *fixture,
                     struct fixture_client *client,
                     uint32_t request,
                     uint32_t slot,
                     struct bytes batch);
/* The same in pieces. */
void fixture_produce_pieces(struct fixture *fixture,
                            struct fixture_client *client,
                            uint32_t request,
                            uint32_t slot,
                            struct bytes batch);
void fixture_call(struct fixture *fixture,
                  struct fixture_client *client,
                  uint32_t request,
                  struct bytes message);
/* Frame number idx of a type among those received, or NULL. */
const struct fixture_frame *
fixture_frame(const struct fixture_client *client, uint8_t type, uint32_t idx);
uint32_t fixture_count(const struct fixture_client *client, uint8_t type);
/* The result told for a request; false: none. */
bool fixture_commit(const struct fixture_client *client, uint32_t request, struct wire_commit *ret);
/* How many results were told in all. */
uint32_t fixture_commits(const struct fixture_client *client);

#endif
