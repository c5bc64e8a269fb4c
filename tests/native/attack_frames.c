/* The tenant who is let in and hostile: a session with good keys whose frames are wrong. Every
 * packet is authentic and in order, so all that stands between it and the server's memory is what
 * the door checks of frames.
 *
 *   attack_frames --port P --topic T --sessions N --seed S
 *
 * Each session sends up to PACKETS frames: whole ones of every type that the protocol has, with
 * bytes flipped, fields at their borders, lengths that lie, pieces that do not fit each other;
 * until the server ends it. Prints "sessions N frames F ended E closed C": ended by the server, and
 * how many of these with a CLOSE. */
#include "tests/native/attack_session.h"

#include "engine/base/bytes.h"
#include "engine/record/record_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(WIRE_PIECE_HEAD_BYTES == 8, "put_piece()");

#define RUN_BYTES 100u
#define RUN_COUNT 3u
#define PACKETS 40u
#define BODY_MAX 1200u
#define PATIENCE_NS (2 * NS_PER_S)

static struct attack_session attack;
static uint8_t frame[WIRE_FRAME_HEADER_BYTES + BODY_MAX + 256];
static uint64_t frames_sent;
static uint32_t data_run; /* pieces so far, of this session */
static uint32_t call_run;

static uint32_t
below(uint32_t bound)
{
    return (uint32_t)clock_random_below(&attack.clock, bound);
}

/* A number that programs get wrong. */
static uint64_t
border(void)
{
    static const uint64_t borders[] = {0,
                                       1,
                                       0x7f,
                                       0xff,
                                       0x7fff,
                                       0xffff,
                                       0x7fffffff,
                                       0xffffffff,
                                       WIRE_MESSAGE_BYTES_MAX,
                                       WIRE_MESSAGE_BYTES_MAX + 1,
                                       INT64_MAX,
                                       UINT64_MAX};

    return below(3) == 0 ? clock_random(&attack.clock) : borders[below(ARRAY_COUNT(borders))];
}

static struct wire_partition
some_partition(void)
{
    struct wire_partition partition = attack.partition;

    if (below(4) == 0)
        partition.incarnation = border();
    if (below(4) == 0)
        partition.slot = (uint32_t)border();
    if (below(4) == 0)
        partition.log_tile = (uint16_t)border();
    return partition;
}

static uint32_t
put_bytes(uint32_t at, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        frame[at + i] = (uint8_t)clock_random(&attack.clock);
    return at + count;
}

/* A batch that is right, or nearly. */
static uint32_t
put_batch(uint32_t at)
{
    struct record_builder builder;
    struct record record = {.timestamp_ms = 1700000000000,
                            .value = {(const uint8_t *)"value of a hostile tenant", 25}};
    struct record_builder_options options = RECORD_BUILDER_PLAIN;

    if (below(2) == 0) {
        options.producer_id = (int64_t)border();
        options.producer_epoch = (int16_t)border();
        options.base_sequence = (int32_t)border();
    }
    record_builder_begin(&builder, frame + at, 512, &options);
    for (uint32_t i = 0; i <= below(3); i++)
        (void)!record_builder_add(&builder, &record);
    uint32_t count = record_builder_finish(&builder);
    if (below(2) == 0)
        frame[at + below(count)] ^= (uint8_t)(1 + below(255));
    return at + count;
}

/* Writes a piece and its head, the last bytes before `at`, over one that the encoder took for
 * right: the next of a message in three pieces (right), a message of its own (right), or what fits
 * nothing. The end of the frame. */
static uint32_t
put_piece(uint32_t at, uint32_t *run)
{
    uint32_t bytes = 1 + below(200);
    uint32_t total_bytes = bytes;
    uint16_t index = 0;
    uint16_t count = 1;

    if (below(2) == 0) {
        bytes = RUN_BYTES;
        total_bytes = RUN_COUNT * RUN_BYTES;
        index = (uint16_t)((*run)++ % RUN_COUNT);
        count = RUN_COUNT;
    }
    if (below(12) == 0) {
        total_bytes = below(2) == 0 ? (uint32_t)border() : total_bytes;
        index = below(2) == 0 ? (uint16_t)border() : index;
        count = below(2) == 0 ? (uint16_t)border() : count;
    }
    put_u32_le(frame + at - 8, total_bytes);
    put_u16_le(frame + at - 4, index);
    put_u16_le(frame + at - 2, count);
    return put_bytes(at, bytes);
}

static uint32_t
make_data(void)
{
    struct wire_data data = {.request = (uint32_t)border(), .partition = some_partition()};
    uint32_t head = wire_data_encode_head(frame, &data);

    return put_batch(head);
}

static uint32_t
make_data_frag(void)
{
    struct wire_data_frag frag = {.request = below(12) == 0 ? (uint32_t)border() : 1,
                                  .partition = below(12) == 0 ? some_partition() : attack.partition,
                                  .piece = {.total_bytes = 1, .count = 1}};

    return put_piece(wire_data_frag_encode_head(frame, &frag), &data_run);
}

static uint32_t
make_call(uint8_t type)
{
    struct wire_call call = {.request = 1, .piece = {.total_bytes = 1, .count = 1}};
    uint32_t at = wire_call_encode_head(frame, type, &call);
    uint32_t end = put_piece(at, &call_run);

    /* An api key and version that exist, most of the time: the rest of the request is noise. */
    if (below(4) != 0 && end >= at + 4) {
        put_u16_be(frame + at, (uint16_t)below(70));
        put_u16_be(frame + at + 2, (uint16_t)below(13));
    }
    return end;
}

static uint32_t
make_read(void)
{
    struct wire_fetch fetch = {.request = (uint32_t)border(),
                               .partition = some_partition(),
                               .offset = border(),
                               .max_bytes = (uint32_t)border()};
    struct wire_subscribe subscribe = {.subscription = below(4),
                                       .partition = some_partition(),
                                       .offset = border(),
                                       .credit_bytes = border()};
    struct wire_credit credit = {.subscription = below(4), .credit_bytes = border()};

    switch (below(3)) {
    case 0:
        return wire_fetch_encode(frame, &fetch);
    case 1:
        return wire_subscribe_encode(frame, &subscribe);
    default:
        return wire_credit_encode(frame, &credit, (uint8_t)below(4));
    }
}

static uint32_t
make_resolve(void)
{
    uint8_t name[WIRE_TOPIC_NAME_MAX];
    struct wire_resolve resolve = {.request = (uint32_t)border(),
                                   .partition_first = (uint32_t)border(),
                                   .topic = {name, 1 + below(sizeof(name))}};

    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = below(8) == 0 ? (uint8_t)clock_random(&attack.clock) : 'a';
    return wire_resolve_encode(frame, &resolve);
}

static uint32_t
make_frame(void)
{
    uint32_t count;

    /* Most are well formed: what is not ends the session before the rest was tried. */
    switch (below(20)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        count = make_data();
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        count = make_data_frag();
        break;
    case 9:
    case 10:
    case 11:
        count = make_call(below(30) == 0 ? WIRE_FRAME_ANSWER : WIRE_FRAME_CALL);
        break;
    case 12:
    case 13:
    case 14:
    case 15:
        count = make_read();
        break;
    case 16:
    case 17:
    case 18:
        count = make_resolve();
        break;
    default: /* noise */
        count = put_bytes(WIRE_FRAME_HEADER_BYTES, below(BODY_MAX));
        frame[0] = (uint8_t)below(WIRE_FRAME_TYPES + 2);
        frame[1] = (uint8_t)below(4);
    }
    /* Heads leave the length to the bytes that follow. */
    put_u16_le(frame + 2, (uint16_t)(count - WIRE_FRAME_HEADER_BYTES));
    if (below(60) == 0)
        put_u16_le(frame + 2, (uint16_t)border());
    if (below(25) == 0 && count > WIRE_FRAME_HEADER_BYTES)
        frame[WIRE_FRAME_HEADER_BYTES + below(count - WIRE_FRAME_HEADER_BYTES)] ^=
            (uint8_t)(1 + below(255));
    return count;
}

static uint64_t
now(void)
{
    return clock_now_ns(&attack.clock);
}

/* False: the server ended it. */
static bool
send_frame(void)
{
    uint32_t count = make_frame();
    uint64_t end_ns = now() + PATIENCE_NS;
    uint8_t *at;

    while ((at = session_reserve(attack.session, count)) == NULL && now() < end_ns)
        if (!attack_session_turn(&attack, now() + NS_PER_MS))
            return false;
    if (at == NULL)
        return true; /* no credit: the server is busy with what it has */
    bytes_copy(at, count, frame, count);
    session_commit(attack.session, count);
    frames_sent++;
    /* One at a time: what follows a wrong one would never be looked at. */
    end_ns = now() + 10 * NS_PER_MS;
    while (session_unacked(attack.session) > 0 && now() < end_ns)
        if (!attack_session_turn(&attack, end_ns))
            return false;
    return attack_session_turn(&attack, now());
}

/* Gives the last frames time to be read. */
static bool
linger(void)
{
    uint64_t end_ns = now() + 20 * NS_PER_MS;

    while (now() < end_ns)
        if (!attack_session_turn(&attack, end_ns))
            return false;
    return true;
}

int
main(int argc, char **argv)
{
    uint32_t sessions = 0;
    uint64_t seed = 1;
    uint32_t ended = 0;
    uint32_t closed = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            attack.port = (uint16_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--topic") == 0)
            attack.topic = argv[i + 1];
        else if (strcmp(argv[i], "--sessions") == 0)
            sessions = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoul(argv[i + 1], NULL, 10);
    }
    clock_init_real(&attack.clock);
    clock_random_seed(&attack.clock, seed);
    for (uint32_t i = 0; i < sessions; i++) {
        bool is_open = true;
        attack_session_open(&attack);
        data_run = call_run = 0;
        for (uint32_t n = 0; n < PACKETS && is_open; n++)
            is_open = send_frame();
        is_open = is_open && linger();
        ended += is_open ? 0 : 1;
        closed += session_close_code(attack.session) != UINT16_MAX ? 1 : 0;
        attack_session_close(&attack);
    }
    printf("sessions %u frames %lu ended %u closed %u\n",
           sessions,
           (unsigned long)frames_sent,
           ended,
           closed);
    return 0;
}
