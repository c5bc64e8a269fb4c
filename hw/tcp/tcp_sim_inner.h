/* Structs of the in-memory network, shared by tcp_sim.c (struct tcp and clients) and
 * tcp_sim_device.c (the ring's side). */
#ifndef EAGRE_HW_TCP_TCP_SIM_INNER_H
#define EAGRE_HW_TCP_TCP_SIM_INNER_H

#include "hw/tcp/tcp_sim.h"

/* Bytes sent together: [the former piece's end, end) of the direction's stream, visible from
 * arrive_ns on. */
struct tcp_sim_piece {
    uint64_t end;
    uint64_t arrive_ns;
};

/* One direction. */
struct tcp_sim_pipe {
    uint8_t *buffer; /* ring of capacity bytes */
    uint32_t capacity;
    uint64_t sent;                                   /* bytes taken since the beginning */
    uint64_t received;                               /* of them, given to the receiver */
    struct tcp_sim_piece pieces[TCP_SIM_PIECES_MAX]; /* ring */
    uint32_t piece_first;
    uint32_t piece_count;
    uint64_t arrive_last_ns; /* keeps the order */
    bool
        finished; /* no more will be sent; seen by the receiver at arrive_last_ns after all bytes */
    uint64_t reset_at; /* bytes */
};

enum tcp_sim_state {
    TCP_SIM_FREE,
    TCP_SIM_WAITING,     /* connected by the client, not accepted */
    TCP_SIM_OPEN,        /* has a server descriptor */
    TCP_SIM_SERVER_GONE, /* the server closed; the client has not let go */
};

struct tcp_sim_connection {
    enum tcp_sim_state state;
    bool client_gone; /* said so: sends to it fail */
    bool released;    /* the client's handle was given back */
    bool reset;
    bool vanished;
    bool shut;                    /* the server ended both directions but holds the descriptor */
    uint16_t port;                /* listener's */
    uint64_t arrive_ns;           /* when the connect reaches the listener */
    uint64_t order;               /* of connecting */
    uint32_t under_way;           /* ring requests on the server descriptor */
    struct tcp_sim_pipe pipes[2]; /* by enum tcp_sim_direction */
};

struct tcp_sim_listener {
    bool open;
    bool shut;
    uint16_t port;
    uint32_t under_way;
};

struct tcp_sim {
    struct tcp tcp; /* first */
    struct io_sim_device device;
    struct clock *clock;
    struct sim_rng rng;
    struct sim_trace *trace;
    struct tcp_sim_faults faults;
    uint64_t order_next;
    uint16_t port_next;
    struct tcp_sim_listener listeners[TCP_SIM_LISTENERS_MAX];
    struct tcp_sim_connection connections[TCP_SIM_CONNECTIONS_MAX];
};

/* Descriptors: listeners first, then connections, by index. */
#define TCP_SIM_FD_CONNECTION (TCP_SIM_FD_FIRST + (int)TCP_SIM_LISTENERS_MAX)
#define TCP_SIM_FD_END (TCP_SIM_FD_CONNECTION + (int)TCP_SIM_CONNECTIONS_MAX)

static inline struct tcp_sim *
tcp_sim_of(struct tcp *tcp)
{
    return (struct tcp_sim *)tcp;
}

/* The listener or connection of a server descriptor, or NULL. */
struct tcp_sim_listener *tcp_sim__listener(struct tcp_sim *sim, int fd);
struct tcp_sim_connection *tcp_sim__connection(struct tcp_sim *sim, int fd);
/* Index of the first waiting connection that has reached a listener; *ret_due_ns: when the next one
 * does. */
uint32_t
tcp_sim__waiting(struct tcp_sim *sim, uint16_t port, uint64_t now_ns, uint64_t *ret_due_ns);

/* Bytes visible at now. */
uint64_t tcp_sim__visible(const struct tcp_sim_pipe *pipe, uint64_t now_ns);
/* When the receiver has something new: bytes or the end. */
uint64_t tcp_sim__pipe_due_ns(const struct tcp_sim_pipe *pipe, uint64_t now_ns);
/* Space for the sender. */
uint32_t tcp_sim__space(const struct tcp_sim_pipe *pipe);
/* Both transfers draw the faults; they return bytes moved and may reset the connection (then 0). */
uint32_t tcp_sim__put(struct tcp_sim *sim,
                      struct tcp_sim_connection *connection,
                      enum tcp_sim_direction direction,
                      const void *bytes,
                      uint32_t count);
uint32_t tcp_sim__take(struct tcp_sim *sim,
                       struct tcp_sim_connection *connection,
                       enum tcp_sim_direction direction,
                       void *buffer,
                       uint32_t capacity);
void tcp_sim__reset(struct tcp_sim *sim, struct tcp_sim_connection *connection);
/* The sender of a direction is done. */
void tcp_sim__finish(struct tcp_sim *sim,
                     struct tcp_sim_connection *connection,
                     enum tcp_sim_direction direction);
/* Frees what both ends have let go. */
void tcp_sim__settle(struct tcp_sim_connection *connection);
void tcp_sim__device_init(struct tcp_sim *sim);

#endif
