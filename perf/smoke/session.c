/* A native packet, received and sent, without a cipher: what a library does is not ours to count.
 */
#include "engine/base/check.h"
#include "perf/micro/session_pair.h"
#include "perf/smoke/smoke.h"

#define BATCH SESSION_WINDOW_MAX
#define BATCHES 20u

static uint8_t datagrams[BATCH][SESSION_PAIR_DATAGRAM];
static uint8_t scratch[SESSION_PAIR_DATAGRAM];

static void
session_take_credit(struct session_pair *pair)
{
    uint8_t reply[SESSION_PAIR_DATAGRAM];

    while (session_transmit(pair->session, pair->now_ns, reply, sizeof(reply)) > 0)
        ;
}

/* One batch is counted, all that went before it warm the tables. */
static void
session_case_receive(void)
{
    uint32_t counts[BATCH];
    struct session_pair pair;

    session_pair_open(&pair, WIRE_AUTH_NONE, SESSION_CLIENT);
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        session_take_credit(&pair);
        for (uint32_t i = 0; i < BATCH; i++)
            counts[i] = session_pair_seal(&pair, WIRE_SESSION, datagrams[i], NULL);
        smoke_begin();
        for (uint32_t i = 0; i < BATCH; i++) {
            struct bytes frames;
            (void)session_receive(
                pair.session, datagrams[i], counts[i], scratch, UINT32_MAX, pair.now_ns);
            while (session_take(pair.session, UINT32_MAX, &frames))
                __asm__ __volatile__("" ::"r"(frames.at) : "memory");
        }
    }
    smoke_end("receive-packet-plain-1400", BATCH);
    CHECK(session_counters(pair.session)->received_packets == 1 + BATCH * BATCHES);
    session_pair_close(&pair);
}

static void
session_case_send(void)
{
    struct session_pair pair;

    session_pair_open(&pair, WIRE_AUTH_NONE, SESSION_CLIENT);
    session_take_credit(&pair);
    uint32_t frame_bytes = session_frame_bytes_max(pair.session);
    smoke_begin();
    for (uint32_t i = 0; i < BATCH; i++) {
        uint8_t *at = session_reserve(pair.session, frame_bytes);
        CHECK(at != NULL);
        wire_frame_header(
            at, WIRE_FRAME_DATA, 0, (uint16_t)(frame_bytes - WIRE_FRAME_HEADER_BYTES));
        session_commit(pair.session, frame_bytes);
        CHECK(session_transmit(pair.session, pair.now_ns, datagrams[i], SESSION_PAIR_DATAGRAM) > 0);
    }
    smoke_end("send-packet-plain-1400", BATCH);
    session_pair_close(&pair);
}

void
smoke_session(void)
{
    session_case_receive();
    session_case_send();
}
