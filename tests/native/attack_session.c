/* See attack_session.h. */
#include "tests/native/attack_session.h"

#include "engine/base/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATAGRAM_BYTES 1400u
#define PATIENCE_NS (20 * NS_PER_S)
#define SLOTS 1024u

void
attack_give_up(const char *what)
{
    printf("failed %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in
loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* ---- control exchange ---- */

static void
join(struct attack_session *attack)
{
    struct sockaddr_in address = loopback(attack->port);
    struct wire_join join = {.version = WIRE_VERSION,
                             .auth = WIRE_AUTH_AEAD,
                             .tile = 0xff,
                             .datagram_bytes_max = DATAGRAM_BYTES,
                             .client = {(const uint8_t *)"attack_session", 14}};
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    uint32_t count = wire_join_encode(message, &join);
    struct bytes body;
    uint8_t type;

    attack->tcp = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(attack->tcp, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(attack->tcp, message, count, 0) != (ssize_t)count)
        attack_give_up("to join");
    count = 0;
    while (wire_control_next(message, count, &type, &body, &(uint32_t){0}) == RC_AGAIN) {
        ssize_t got = recv(attack->tcp, message + count, sizeof(message) - count, 0);
        if (got <= 0)
            attack_give_up("to hear of the JOIN");
        count += (uint32_t)got;
    }
    if (type != WIRE_CONTROL_GRANT || wire_grant_decode(body, &attack->grant) != RC_OK)
        attack_give_up("because the JOIN was refused");
}

static void
open_session(struct attack_session *attack)
{
    uint16_t server_port = attack->grant.ports[attack->grant.tile];
    struct sockaddr_in address = loopback(attack->via != 0 ? attack->via : server_port);
    struct sockaddr_in own = {0};
    socklen_t own_bytes = sizeof(own);
    int buffer_bytes = 1 << 20;

    attack->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(attack->udp, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
    if (connect(attack->udp, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(attack->udp, (struct sockaddr *)&own, &own_bytes) != 0)
        attack_give_up("to open a socket");
    if (session_cipher_create(&attack->grant, true, &attack->cipher) != RC_OK)
        attack_give_up("to make a cipher");
    attack->slots = aligned_alloc(64, round_up(session_pool_footprint(SLOTS, DATAGRAM_BYTES), 64));
    attack->pool = session_pool_init(attack->slots, SLOTS, SLOTS / 2, DATAGRAM_BYTES);
    attack->session = aligned_alloc(64, round_up(session_footprint(), 64));
    struct session_config config = {
        .role = SESSION_CLIENT,
        .session_id = attack->grant.session,
        .pool = attack->pool,
        .cipher = attack->cipher,
        .datagram_bytes_max = attack->grant.datagram_bytes_max,
        .window = attack->grant.window,
        .idle_ns = attack->grant.idle_ms * NS_PER_MS,
    };
    session_init(attack->session, &config, clock_now_ns(&attack->clock));
    attack->local_port = ntohs(own.sin_port);
}

/* ---- datagrams ---- */

static void
take_frames(struct attack_session *attack, struct bytes frames, uint64_t now_ns)
{
    struct wire_frame frame;
    struct wire_resolved resolved;

    while (wire_frame_next(&frames, &frame)) {
        if (frame.type != WIRE_FRAME_RESOLVED || attack->is_resolved) {
            if (attack->take != NULL)
                attack->take(attack->ctx, &frame, now_ns);
            continue;
        }
        if (wire_resolved_decode(&frame, &resolved) != RC_OK || resolved.status != 0 ||
            resolved.entry_count == 0)
            attack_give_up("to resolve the topic");
        wire_resolved_at(&resolved, 0, &attack->partition);
        attack->is_resolved = true;
    }
}

static void
receive_all(struct attack_session *attack)
{
    uint8_t datagram[2048];
    uint8_t scratch[2048];
    struct bytes frames;

    for (;;) {
        ssize_t count = recv(attack->udp, datagram, sizeof(datagram), 0);
        if (count < 0)
            return;
        uint64_t now_ns = clock_now_ns(&attack->clock);
        (void)session_receive(
            attack->session, datagram, (uint32_t)count, scratch, UINT32_MAX, now_ns);
        while (session_take(attack->session, UINT32_MAX, &frames))
            take_frames(attack, frames, now_ns);
    }
}

static void
transmit_all(struct attack_session *attack)
{
    uint8_t datagram[2048];
    uint64_t now_ns = clock_now_ns(&attack->clock);

    session_tick(attack->session, now_ns);
    for (;;) {
        uint32_t count = session_transmit(attack->session, now_ns, datagram, sizeof(datagram));
        if (count == 0)
            return;
        (void)!send(attack->udp, datagram, count, 0); /* what is lost goes out again */
    }
}

bool
attack_session_turn(struct attack_session *attack, uint64_t until_ns)
{
    struct pollfd fds[] = {{attack->udp, POLLIN, 0}, {attack->tcp, POLLIN, 0}};
    uint64_t wake_ns = min_u64(until_ns, session_deadline(attack->session));
    uint64_t now_ns = clock_now_ns(&attack->clock);
    uint64_t wait_ns = wake_ns > now_ns ? min_u64(wake_ns - now_ns, 10 * NS_PER_MS) : 0;
    struct timespec wait = {0, (long)wait_ns};

    (void)ppoll(fds, 2, &wait, NULL);
    receive_all(attack);
    transmit_all(attack);
    return fds[1].revents == 0 && session_state(attack->session) != SESSION_CLOSED;
}

static void
resolve(struct attack_session *attack)
{
    struct wire_resolve resolve = {
        .topic = {(const uint8_t *)attack->topic, strlen(attack->topic)}};
    uint64_t begin_ns = clock_now_ns(&attack->clock);
    bool asked = false;

    while (!attack->is_resolved) {
        uint8_t *at = NULL;
        if (!asked)
            at = session_reserve(attack->session,
                                 WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVE_HEAD_BYTES +
                                     WIRE_TOPIC_NAME_MAX);
        if (at != NULL) {
            session_commit(attack->session, wire_resolve_encode(at, &resolve));
            asked = true;
        }
        if (!attack_session_turn(attack, clock_now_ns(&attack->clock) + NS_PER_MS))
            attack_give_up("because the server ended the session");
        if (clock_now_ns(&attack->clock) - begin_ns > PATIENCE_NS)
            attack_give_up("to open the session and resolve the topic");
    }
}

void
attack_session_open(struct attack_session *attack)
{
    attack->is_resolved = false;
    join(attack);
    open_session(attack);
    resolve(attack);
}

void
attack_session_close(struct attack_session *attack)
{
    session_close(attack->session, WIRE_CLOSE_BYE, NULL);
    transmit_all(attack);
    session_fini(attack->session);
    session_cipher_destroy(attack->cipher);
    free(attack->session);
    free(attack->slots);
    close(attack->udp);
    close(attack->tcp);
}
