#include "perf/micro/session_pair.h"

#include "engine/base/check.h"

#include <stdlib.h>

#define POOL_SLOTS 1024u

static uint8_t scratch[SESSION_PAIR_DATAGRAM];

uint32_t
session_pair_seal(struct session_pair *pair, uint8_t type, uint8_t *at, const struct wire_ack *ack)
{
    struct wire_header header = {
        .type = type,
        .flags = ack == NULL ? WIRE_FLAG_SEQUENCED : 0,
        .packet_number = ++pair->packet_number,
        .ack = ack == NULL ? 1 : pair->sequence,
        .sequence = ack == NULL ? pair->sequence++ : 0,
    };
    uint32_t clear_bytes = wire_clear_bytes(type, header.flags);
    uint32_t count = SESSION_PAIR_DATAGRAM - WIRE_TAG_BYTES;

    wire_header_encode(&header, at);
    if (ack != NULL)
        count = clear_bytes + wire_ack_encode(at + clear_bytes, ack);
    else
        wire_frame_header(at + clear_bytes,
                          WIRE_FRAME_DATA,
                          0,
                          (uint16_t)(count - clear_bytes - WIRE_FRAME_HEADER_BYTES));
    return session_cipher_seal(pair->peer, at, clear_bytes, count, header.packet_number);
}

void
session_pair_open(struct session_pair *pair, uint8_t auth, enum session_role role)
{
    struct wire_grant grant = {.auth = auth};
    uint8_t datagram[SESSION_PAIR_DATAGRAM];

    *pair = (struct session_pair){.sequence = 1, .now_ns = NS_PER_S};
    CHECK(session_cipher_create(&grant, role == SESSION_SERVER, &pair->peer) == RC_OK);
    CHECK(session_cipher_create(&grant, role == SESSION_CLIENT, &pair->cipher) == RC_OK);
    void *memory = aligned_alloc(
        64, round_up(session_pool_footprint(POOL_SLOTS, SESSION_PAIR_DATAGRAM), 64));
    CHECK(memory != NULL);
    pair->pool = session_pool_init(memory, POOL_SLOTS, POOL_SLOTS / 2, SESSION_PAIR_DATAGRAM);
    pair->session = aligned_alloc(64, session_footprint());
    CHECK(pair->session != NULL);
    struct session_config config = {.role = role,
                                    .pool = pair->pool,
                                    .cipher = pair->cipher,
                                    .datagram_bytes_max = SESSION_PAIR_DATAGRAM,
                                    .delay_target_ns = UINT64_MAX};
    session_init(pair->session, &config, pair->now_ns);
    /* The client is opened by any authentic packet; here one with all credit. */
    struct wire_ack ack = {.largest_packet = 0, .credit = UINT64_MAX};
    uint32_t count = session_pair_seal(pair, WIRE_SESSION, datagram, &ack);
    (void)session_receive(pair->session, datagram, count, scratch, 0, pair->now_ns);
    CHECK(session_state(pair->session) == SESSION_OPEN);
}

void
session_pair_close(struct session_pair *pair)
{
    session_fini(pair->session);
    session_cipher_destroy(pair->peer);
    session_cipher_destroy(pair->cipher);
    free(pair->session);
    free(pair->pool);
}
