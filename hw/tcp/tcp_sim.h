/* An in-memory network: the sim body of struct tcp, the device of the sim ring for its descriptors,
 * and the other ends of the connections, driven by scripted clients.
 *
 *   tcp_sim_create(&config, &tcp); io_sim_attach(io, tcp_sim_device(tcp));      the engine listens,
 * accepts, receives, sends tcp_sim_connect(tcp, port, &client); tcp_sim_client_send(...);
 * tcp_sim_client_receive(...); tcp_sim_client_release(...)
 *
 * Each direction is a bounded buffer whose bytes arrive in order, each piece at a virtual time
 * drawn by seed. Receives are cut down to single bytes or joined over pieces, sends are taken in
 * part, connections are reset at a chosen byte or by chance, and a client may vanish without a word
 * (half-open). Time comes from the clock given at creation.
 *
 * One thread. Allocates. Limits: TCP_SIM_CONNECTIONS_MAX at a time, TCP_SIM_LISTENERS_MAX,
 * TCP_SIM_PIECES_MAX per direction. */
#ifndef EAGRE_HW_TCP_TCP_SIM_H
#define EAGRE_HW_TCP_TCP_SIM_H

#include "hw/io/io_sim.h"
#include "hw/tcp/tcp.h"

#define TCP_SIM_FD_FIRST 20000
#define TCP_SIM_CONNECTIONS_MAX 1024u
#define TCP_SIM_LISTENERS_MAX 8u
#define TCP_SIM_PIECES_MAX 64u

struct tcp_sim_config {
    struct clock *clock; /* borrowed */
    uint64_t seed;
    struct sim_trace *trace; /* borrowed; may be NULL */
};

struct tcp_sim_faults {
    uint32_t fragment_ppm;    /* receives (both ends) that give at most fragment_bytes */
    uint32_t fragment_bytes;  /* drawn in [1, this]; 0 is taken as 1 */
    uint32_t partial_ppm;     /* sends (both ends) that take only a part */
    uint32_t reset_ppm;       /* transfers at which the connection is reset */
    uint64_t latency_ns;      /* least time of a piece on its way */
    uint64_t spread_ns;       /* drawn on top */
    uint32_t buffer_bytes;    /* per direction, for connections made from now on; 0: 64 KiB */
    uint32_t connections_max; /* server descriptors; beyond, accepts answer EMFILE; 0:
                                 TCP_SIM_CONNECTIONS_MAX */
};

enum tcp_sim_direction { TCP_SIM_TO_SERVER, TCP_SIM_TO_CLIENT };

/* Results of tcp_sim_client_receive() that are not a count. */
enum { TCP_SIM_NOTHING_YET = 0, TCP_SIM_END = -1, TCP_SIM_RESET = -2 };

/* Allocates: yes. */
enum rc tcp_sim_create(const struct tcp_sim_config *config, struct tcp **ret_tcp);
/* Rings that hold requests of it must be destroyed before. */
void tcp_sim_destroy(struct tcp *tcp);
struct io_sim_device *tcp_sim_device(struct tcp *tcp);
void tcp_sim_set_faults(struct tcp *tcp, const struct tcp_sim_faults *faults);
/* The server dies: every listener and server end goes, clients see resets. Rings must be destroyed
 * before. */
void tcp_sim_kill_server(struct tcp *tcp);

/* RC_NOT_FOUND: nobody listens there; RC_LIMIT: no more connections. */
enum rc tcp_sim_connect(struct tcp *tcp, uint16_t port, uint32_t *ret_client);
/* Takes up to count bytes; returns how many, [0, count]; 0 when the buffer is full or the
 * connection is no more. */
uint32_t tcp_sim_client_send(struct tcp *tcp, uint32_t client, const void *bytes, uint32_t count);
/* Copies out what has arrived, [1, capacity] bytes, or one of the results above. */
int32_t tcp_sim_client_receive(struct tcp *tcp, uint32_t client, void *buffer, uint32_t capacity);
/* Says "no more from me" after what was sent; receiving goes on. */
void tcp_sim_client_finish(struct tcp *tcp, uint32_t client);
void tcp_sim_client_reset(struct tcp *tcp, uint32_t client);
/* Nothing moves any more in either direction, and nobody is told. */
void tcp_sim_client_vanish(struct tcp *tcp, uint32_t client);
/* Resets the connection when that many bytes in all were taken in a direction; the bytes beyond are
 * lost. */
void tcp_sim_client_reset_at(struct tcp *tcp,
                             uint32_t client,
                             enum tcp_sim_direction direction,
                             uint64_t bytes);
/* Ends the connection (as finish, then anything that arrives is dropped) and gives the handle back.
 */
void tcp_sim_client_release(struct tcp *tcp, uint32_t client);

/* The next moment at which a client has something new to see; <= now when it has now; SIM_NEVER_NS:
 * never. */
uint64_t tcp_sim_client_due_ns(struct tcp *tcp, uint32_t client);
/* Server ends open now, listeners not counted. */
uint32_t tcp_sim_server_connections(struct tcp *tcp);

#endif
