/* A native session of a test program on plain sockets, written against net/session alone: joins in
 * clear text on loopback, opens, resolves a topic, and turns until told to stop. One thread; every
 * failure ends the program with one line "failed ..." and exit status 1. */
#ifndef EAGRE_TESTS_NATIVE_ATTACK_SESSION_H
#define EAGRE_TESTS_NATIVE_ATTACK_SESSION_H

#include "hw/clock/clock.h"
#include "net/session/session.h"
#include "net/wire/wire_control.h"
#include "net/wire/wire_frame.h"

struct attack_session {
    /* set before attack_session_open() */
    uint16_t port; /* of the control exchange */
    uint16_t via;  /* where datagrams go instead of the granted port; 0: there */
    const char *topic;
    void (*take)(void *ctx, const struct wire_frame *frame, uint64_t now_ns);
    void *ctx;
    struct clock clock; /* clock_init_real() */
    /* ours */
    int tcp;
    int udp;
    uint16_t local_port;
    struct wire_grant grant;
    struct session_cipher *cipher;
    void *slots; /* memory of the pool */
    struct session_pool *pool;
    struct session *session;
    struct wire_partition partition; /* the topic's first */
    bool is_resolved;
};

_Noreturn void attack_give_up(const char *what);
/* Joins, opens and resolves. */
void attack_session_open(struct attack_session *attack);
/* One round: sleeps until something comes, at most until until_ns or 10 ms, receives and transmits.
 * False: the server ended the session or its connection. */
bool attack_session_turn(struct attack_session *attack, uint64_t until_ns) MUST_USE;
/* Says goodbye unless it is over, and gives everything back. */
void attack_session_close(struct attack_session *attack);

#endif
