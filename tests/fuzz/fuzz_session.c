/* A hostile peer that has the key: any bytes as a script of packets, authentic or not, between
 * calls of the session's own user. Whatever comes, the session keeps its slots, hands out only
 * well-formed frames, comes to rest, and at the end owns nothing. Plain, so that the script's
 * packets can be sealed; both roles. */
#include "engine/base/check.h"
#include "net/session/session_inner.h"

#include <stdlib.h>
#include <string.h>

#define DATAGRAM 1400u
#define SLOTS 64u
#define REORDER 9u
#define CALLS_MAX 600u /* of one round: windows of data, acks, pings and probes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum op {
    OP_TIME,
    OP_PACKET,
    OP_RAW,
    OP_WRITE,
    OP_GRANT,
    OP_TAKE,
    OP_PING,
    OP_CLOSE,
    OP_SEND,
    OP_COUNT,
};

struct rig {
    struct session *session;
    struct session_pool *pool;
    struct session_cipher *cipher;
    uint64_t now_ns;
    uint64_t packet_number;
    uint32_t room_bytes;
    bool is_server;
    uint8_t datagram[DATAGRAM];
    uint8_t scratch[DATAGRAM];
};

static void
take(struct rig *rig, uint32_t times)
{
    struct bytes frames;
    struct wire_frame frame;

    while (times-- > 0 && session_take(rig->session, rig->room_bytes, &frames)) {
        CHECK(frames.count > 0);
        CHECK(frames.count <= rig->room_bytes);
        CHECK(frames.at[0] > WIRE_FRAME_CLOSE);
        while (wire_frame_next(&frames, &frame))
            ;
        CHECK(frame.type != WIRE_FRAME_TYPES);
    }
}

/* Everything that the session sends now; it must come to rest. */
static void
transmit(struct rig *rig)
{
    struct wire_header header;
    struct bytes frames;
    uint32_t byte_count;
    uint32_t calls = 0;

    do {
        session_tick(rig->session, rig->now_ns);
        byte_count = session_transmit(rig->session, rig->now_ns, rig->datagram, DATAGRAM);
        if (byte_count > 0)
            CHECK(wire_header_decode(rig->datagram, byte_count, &header, &frames) == RC_OK);
        CHECK(++calls < CALLS_MAX);
    } while (byte_count > 0 || session_deadline(rig->session) <= rig->now_ns);
}

static void
deliver(struct rig *rig, uint32_t byte_count)
{
    const uint8_t type = rig->datagram[0] & 15;
    uint8_t copy[DATAGRAM]; /* out of what transmit() writes into */

    memcpy(copy, rig->datagram, sizeof(copy));
    if (rig->is_server && type == WIRE_HELLO && byte_count >= WIRE_HELLO_BYTES) {
        (void)!session_accept_hello(rig->session, copy, byte_count, rig->now_ns);
        return;
    }
    (void)session_receive(
        rig->session, copy, byte_count, rig->scratch, rig->room_bytes, rig->now_ns);
    take(rig, UINT32_MAX);
}

/* A number near what the session expects, or far from it. */
static uint64_t
near(struct reader *script, uint64_t base)
{
    uint8_t step = reader_u8(script);
    return step == 255 ? reader_u64_le(script) : base + step - 100;
}

static void
packet(struct rig *rig, struct reader *script)
{
    static const uint8_t types[] = {WIRE_SESSION, WIRE_SESSION, WIRE_READY, WIRE_HELLO};
    const struct session_receiver *receive = &rig->session->receive;
    uint8_t kind = reader_u8(script);
    struct wire_header header = {
        .type = types[kind & 3],
        .session = rig->session->config.session_id,
        .packet_number = (kind & 4) != 0 ? near(script, rig->packet_number) : ++rig->packet_number,
        .ack = (kind & 8) != 0 ? near(script, rig->session->send.unsent)
                               : rig->session->send.unsent,
    };
    if (header.type == WIRE_SESSION && (kind & 16) != 0) {
        header.flags = WIRE_FLAG_SEQUENCED;
        header.sequence = (kind & 32) != 0 ? near(script, receive->take_next) : receive->take_next;
    }
    uint32_t clear_bytes = wire_clear_bytes(header.type, header.flags);
    size_t frame_bytes = min_u64(reader_u16_le(script) % 1300, reader_left(script));
    const uint8_t *frames = reader_take(script, frame_bytes);

    memset(rig->datagram, 0, DATAGRAM);
    wire_header_encode(&header, rig->datagram);
    if (frames != NULL && frame_bytes > 0)
        memcpy(rig->datagram + clear_bytes, frames, frame_bytes);
    uint32_t byte_count = clear_bytes + (uint32_t)frame_bytes;
    if (header.type == WIRE_HELLO && byte_count < WIRE_HELLO_BYTES)
        byte_count = WIRE_HELLO_BYTES; /* zeros are padding */
    deliver(rig,
            session_cipher_seal(
                rig->cipher, rig->datagram, clear_bytes, byte_count, header.packet_number));
}

static void
raw(struct rig *rig, struct reader *script)
{
    size_t byte_count = min_u64(reader_u16_le(script) % DATAGRAM, reader_left(script));
    const uint8_t *bytes = reader_take(script, byte_count);

    if (bytes == NULL || byte_count == 0)
        return;
    memset(rig->datagram, 0, DATAGRAM);
    memcpy(rig->datagram, bytes, byte_count);
    deliver(rig, (uint32_t)byte_count);
}

static void
write_frames(struct rig *rig, uint32_t count, uint32_t frame_bytes)
{
    for (; count > 0; count--) {
        uint8_t *at = session_reserve(rig->session, frame_bytes);
        if (at == NULL)
            return;
        memset(at, 0, frame_bytes);
        wire_frame_header(
            at, WIRE_FRAME_DATA, 0, (uint16_t)(frame_bytes - WIRE_FRAME_HEADER_BYTES));
        session_commit(rig->session, count % 5 == 0 ? 0 : frame_bytes);
    }
}

static void
step(struct rig *rig, struct reader *script)
{
    switch ((enum op)(reader_u8(script) % OP_COUNT)) {
    case OP_TIME:
        rig->now_ns += reader_u16_le(script) * (NS_PER_MS / 10);
        transmit(rig);
        break;
    case OP_PACKET:
        packet(rig, script);
        break;
    case OP_RAW:
        raw(rig, script);
        break;
    case OP_WRITE:
        write_frames(rig, reader_u8(script), 4 + reader_u16_le(script) % 1300);
        break;
    case OP_GRANT:
        session_grant(rig->session, reader_u8(script));
        rig->room_bytes = (uint32_t)reader_u8(script) << 4;
        break;
    case OP_TAKE:
        take(rig, reader_u8(script));
        break;
    case OP_PING:
        session_ping(rig->session, reader_u8(script));
        break;
    case OP_CLOSE:
        if (reader_u8(script) == 7)
            session_close(rig->session, WIRE_CLOSE_BYE, "enough");
        break;
    case OP_SEND:
    case OP_COUNT:
        transmit(rig);
        break;
    }
    CHECK(rig->pool->reorder_used <= REORDER);
    CHECK(rig->pool->used <= SLOTS);
    CHECK(session_unacked(rig->session) <= SESSION_WINDOW_MAX);
    CHECK(session_window(rig->session) <= SESSION_WINDOW_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig rig;
    struct wire_grant grant = {.auth = WIRE_AUTH_NONE};
    struct reader script = reader_over(data, size);

    rig = (struct rig){.now_ns = NS_PER_S, .room_bytes = 2000};
    rig.is_server = (reader_u8(&script) & 1) != 0;
    CHECK(session_cipher_create(&grant, true, &rig.cipher) == RC_OK);
    void *memory = aligned_alloc(64, round_up(session_pool_footprint(SLOTS, DATAGRAM), 64));
    CHECK(memory != NULL);
    rig.pool = session_pool_init(memory, SLOTS, REORDER, DATAGRAM);
    rig.session = aligned_alloc(64, session_footprint());
    CHECK(rig.session != NULL);
    struct session_config config = {
        .role = rig.is_server ? SESSION_SERVER : SESSION_CLIENT,
        .session_id = 1,
        .pool = rig.pool,
        .cipher = rig.cipher,
        .datagram_bytes_max = DATAGRAM,
        .delay_target_ns = (size & 1) != 0 ? UINT64_MAX : 0,
    };
    session_init(rig.session, &config, rig.now_ns);
    while (!script.failed && reader_left(&script) > 0)
        step(&rig, &script);
    session_fini(rig.session);
    CHECK(session_pool_used(rig.pool) == 0);
    CHECK(rig.pool->reorder_used == 0);
    session_cipher_destroy(rig.cipher);
    free(rig.session);
    free(memory);
    return 0;
}
