/* Load on the group coordinator: members that heartbeat, offsets that are committed, groups that
 * rebalance. One thread, one epoll; every mode is bounded by time.
 *
 *   main.c   options and report      peer.c    connections: requests out, answers in their order
 *   member.c a member's life         modes.c   what is measured, by mode
 *   floor.c  what TCP alone costs     transaction.c  small transactions */
#ifndef EAGRE_PERF_GROUP_GROUP_LOAD_H
#define EAGRE_PERF_GROUP_GROUP_LOAD_H

#include "engine/base/bytes.h"
#include "net/kafka/kafka_client_codec.h"
#include "perf/load/histogram.h"
#include "perf/load/process.h"

#define PEER_AWAITED_MAX 4096u /* requests without an answer on one connection */
#define PEER_OUT_BYTES (UINT32_C(256) << 10)
#define PEER_IN_BYTES (UINT32_C(1) << 20)
#define MEMBER_ID_MAX 128u

struct group_options {
    const char *host;
    const char *port;
    const char *mode;  /* "heartbeat", "floor", "commit", "rebalance", "transaction" */
    const char *topic; /* commit: whose offsets; it must exist */
    uint32_t groups;
    uint32_t members;     /* of each group */
    uint32_t connections; /* heartbeat: a multiple of members; commit: any */
    uint32_t in_flight;   /* commit: of each connection */
    uint32_t partitions;  /* commit: of the topic */
    uint32_t interval_ms; /* between two heartbeats of a member */
    uint32_t rounds;      /* rebalance: how often a member comes */
    double seconds;
    double warmup_seconds;
    int server_pid; /* 0: its CPU is not measured */
    bool json;
};

/* ---- peer.c */

struct peer_awaited {
    uint64_t sent_ns;
    uint32_t who;
    enum kafka_api_key api_key;
    int16_t version;
};

struct peer {
    int fd;
    bool watches_write;
    uint8_t *out; /* [PEER_OUT_BYTES] */
    uint32_t out_at;
    uint32_t out_count;
    uint8_t *in; /* [PEER_IN_BYTES] */
    uint32_t in_count;
    struct peer_awaited *awaited; /* FIFO ring [PEER_AWAITED_MAX] */
    uint32_t awaited_first;
    uint32_t awaited_count;
    int32_t correlation_next;
};

struct peers;
struct peer_answer {
    uint32_t who;
    enum kafka_api_key api_key;
    const void *message; /* a struct of the API's response type; borrowed for the call */
    uint64_t sent_ns;
    uint64_t now_ns;
};
struct peers {
    struct peer *peers; /* [count] */
    uint32_t count;
    int epoll_fd;
    void *ctx;
    void (*answered)(void *ctx, const struct peer_answer *answer);
    uint8_t *arena;
    bool is_broken; /* a connection ended or did not speak our protocol */
};

/* False: cannot connect; said on standard error. */
bool peers_open(struct peers *peers, const struct group_options *options, uint32_t count);
/* Puts a request in the queue of a connection; the program ends when there is no room, which the
 * modes avoid by what they have under way. who comes back with the answer. */
void peer_request(struct peers *peers,
                  uint32_t idx,
                  const struct peer_awaited *request,
                  const void *message);
/* Sends and receives; waits for timeout_ms at most. */
void peers_poll(struct peers *peers, int timeout_ms);

/* ---- member.c */

enum member_state { MEMBER_OUT, MEMBER_JOINING, MEMBER_SYNCING, MEMBER_STABLE };

struct member {
    enum member_state state;
    uint32_t group;
    uint32_t peer;
    int32_t generation;
    uint32_t id_count;
    uint8_t id[MEMBER_ID_MAX];
    bool is_heartbeating;  /* one is under way */
    uint64_t heartbeat_ns; /* when the next is due */
    uint64_t join_sent_ns;
    uint64_t stable_ns;
};

struct group_load {
    struct group_options options;
    struct peers peers;
    struct member *members; /* [groups * members] */
    uint32_t member_count;
    uint32_t stable_count;
    uint64_t heartbeats;
    uint64_t commits;
    uint64_t errors;
    int16_t first_error;
    bool is_measuring;
    struct histogram latency; /* of heartbeats or commits */
};

void member_join(struct group_load *load, uint32_t idx);
void member_leave(struct group_load *load, uint32_t idx);
/* Sends what is due; returns when the next member is due, ns. */
uint64_t members_heartbeat(struct group_load *load, uint64_t now_ns);
void members_answered(void *ctx, const struct peer_answer *answer);
/* As if it had joined: heartbeats are sent, whatever answers. */
void member_pretend(struct group_load *load, uint32_t idx, uint64_t now_ns);
void group_load_error(struct group_load *load, int16_t error);

/* ---- floor.c: a process that answers heartbeats with nothing in between; its id, or -1. It dies
 * with this one. ret_port: where it listens, as text. */
int floor_start(char *ret_port, size_t port_capacity);

/* ---- modes.c: each returns the exit status */

int mode_heartbeat(struct group_load *load);
int mode_commit(struct group_load *load);
int mode_rebalance(struct group_load *load);
int mode_transaction(struct group_load *load); /* transaction.c */

#endif
