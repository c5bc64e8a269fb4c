/* See session_rig.h. */
#include "session_rig.h"

#include "engine/base/check.h"
#include "net/wire/wire_frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_NS 10000u
#define TIME_MAX_NS (20000 * NS_PER_S)
#define STEPS_MAX UINT64_C(50000000)
#define RECORD_BYTES 8u
#define FRAMES_PER_STEP 3u
#define SESSION_ID 0x5eed0000u

static void
blame(struct session_rig *rig, const char *what, uint64_t a, uint64_t b)
{
    if (rig->why[0] != '\0')
        return;
    snprintf(rig->why,
             sizeof(rig->why),
             "%s (%" PRIu64 ", %" PRIu64 ") at %" PRIu64 " ns, step %" PRIu64,
             what,
             a,
             b,
             clock_now_ns(&rig->clock),
             rig->steps);
}

static void
trace(struct session_rig *rig, const struct station *station, uint64_t what, uint64_t number)
{
    uint64_t now_ns = clock_now_ns(&rig->clock);

    for (uint32_t i = 0; i < 3; i++) {
        uint64_t word = i == 0 ? now_ns : i == 1 ? what : number;
        rig->trace = (rig->trace ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        rig->trace ^= rig->trace >> 29;
    }
    if (rig->options.verbose)
        printf("%12" PRIu64 " %s %" PRIu64 " %" PRIu64 "\n", now_ns, station->name, what, number);
}

static uint32_t
below(struct session_rig *rig, uint32_t bound)
{
    return (uint32_t)clock_random_below(&rig->dice, bound);
}

static uint64_t
record_value(uint64_t key, uint64_t number)
{
    uint64_t value = (number + key) * UINT64_C(0xbf58476d1ce4e5b9);
    return value ^ value >> 31;
}

/* ---- the users ---- */

static void
user_write(struct session_rig *rig, struct station *station)
{
    uint32_t bytes_max = session_frame_bytes_max(station->session);
    uint32_t records_max = (bytes_max - WIRE_FRAME_HEADER_BYTES) / RECORD_BYTES;

    for (uint32_t i = below(rig, FRAMES_PER_STEP); i > 0; i--) {
        uint64_t left = station->write_goal - station->written;
        uint32_t count = 1 + below(rig, below(rig, 16) == 0 ? records_max : 12);
        count = (uint32_t)min_u64(count, left);
        if (count == 0)
            return;
        uint32_t frame_bytes = WIRE_FRAME_HEADER_BYTES + count * RECORD_BYTES;
        uint8_t *at = session_reserve(station->session, frame_bytes);
        if (at == NULL)
            return;
        if (below(rig, 50) == 0) { /* changed its mind */
            session_commit(station->session, 0);
            continue;
        }
        wire_frame_header(at, WIRE_FRAME_DATA, 0, (uint16_t)(count * RECORD_BYTES));
        for (uint32_t r = 0; r < count; r++)
            put_u64_le(at + WIRE_FRAME_HEADER_BYTES + r * RECORD_BYTES,
                       record_value(station->key, station->written++));
        session_commit(station->session, frame_bytes);
    }
}

static void
user_check(struct session_rig *rig, struct station *station, struct bytes frames)
{
    struct wire_frame frame;

    while (wire_frame_next(&frames, &frame)) {
        if (frame.type <= WIRE_FRAME_CLOSE)
            continue;
        for (size_t at = 0; at < frame.body.count; at += RECORD_BYTES) {
            uint64_t value = get_u64_le(frame.body.at + at);
            if (value != record_value(station->peer_key, station->taken))
                blame(rig, "a record lost, twice, changed or out of order", station->taken, value);
            station->taken++;
        }
    }
    if (frame.type == WIRE_FRAME_TYPES)
        blame(rig, "malformed frames were handed out", station->taken, 0);
}

static uint32_t
user_room(const struct station *station)
{
    static const uint32_t rooms[STATION_MOODS] = {
        [STATION_BUSY] = UINT32_MAX, [STATION_STALLED] = 0, [STATION_TRICKLES] = 1400};
    return rooms[station->mood];
}

static void
user_take(struct session_rig *rig, struct station *station)
{
    struct bytes frames;

    while (session_take(station->session, user_room(station), &frames)) {
        user_check(rig, station, frames);
        if (station->mood == STATION_TRICKLES && below(rig, 3) == 0)
            break; /* ready for no more: what is left waits in the slots */
    }
}

static bool
user_is_done(const struct station *station)
{
    return station->written == station->write_goal && station->taken == station->take_goal;
}

static void
user_change_mood(struct session_rig *rig, struct station *station)
{
    uint64_t now_ns = clock_now_ns(&rig->clock);

    if (now_ns < station->mood_until_ns)
        return;
    station->mood = below(rig, 3) != 0 ? STATION_BUSY : below(rig, STATION_MOODS);
    station->mood_until_ns = now_ns + NS_PER_MS * (1 + below(rig, 40));
    session_grant(station->session,
                  station->mood == STATION_BUSY      ? station->session->config.window
                  : station->mood == STATION_STALLED ? 0
                                                     : 1 + below(rig, 3));
}

/* ---- the ends ---- */

/* As the door does it. */
static bool
station_hello(struct session_rig *rig, struct station *station, const struct nic_received *received)
{
    uint64_t now_ns = clock_now_ns(&rig->clock);
    const uint8_t *cookie;
    uint8_t retry[WIRE_RETRY_BYTES_MAX];

    if (station != &rig->server ||
        cookie_in_hello(received->bytes, received->byte_count, &cookie) != RC_OK)
        return false;
    if (cookie != NULL && cookie_is_good(rig->jar, cookie, &received->peer, SESSION_ID, now_ns)) {
        bool accepted = session_accept_hello(
            station->session, received->bytes, received->byte_count, now_ns);
        trace(rig, station, 100, accepted);
        return true;
    }
    uint32_t byte_count = cookie_retry(rig->jar, &received->peer, SESSION_ID, now_ns, retry);
    if (byte_count > received->byte_count)
        blame(rig, "an answer longer than the question", byte_count, received->byte_count);
    nic_memory_inject(rig->net, &station->nic->local, &received->peer, retry, byte_count);
    return true;
}

static uint32_t
station_receive(struct session_rig *rig, struct station *station)
{
    struct nic_received received[NIC_BURST];
    uint32_t count = nic_receive(station->nic, received, NIC_BURST);

    for (uint32_t i = 0; i < count; i++) {
        if (station_hello(rig, station, &received[i]))
            continue;
        enum session_received result = session_receive(station->session,
                                                       received[i].bytes,
                                                       received[i].byte_count,
                                                       station->scratch,
                                                       user_room(station),
                                                       clock_now_ns(&rig->clock));
        trace(rig, station, 110 + result, received[i].byte_count);
        user_take(rig, station);
    }
    nic_release(station->nic, received, count);
    return count;
}

static void
station_judge_sent(struct session_rig *rig,
                   struct station *station,
                   const struct nic_sending *sending)
{
    const struct station *other = station == &rig->client ? &rig->server : &rig->client;
    struct wire_header header;
    struct bytes frames;

    if (wire_header_decode(sending->bytes, sending->byte_count, &header, &frames) != RC_OK) {
        blame(rig, "sent what is no packet", sending->byte_count, 0);
        return;
    }
    if ((header.flags & WIRE_FLAG_SEQUENCED) != 0 &&
        header.sequence >= other->session->receive.granted)
        blame(rig, "sent beyond the credit", header.sequence, other->session->receive.granted);
    trace(rig, station, 200 + header.type, header.packet_number);
}

static uint32_t
station_transmit(struct session_rig *rig, struct station *station)
{
    uint32_t sent = 0;

    for (; sent < 16; sent++) { /* a round sends so many at most, as the door's */
        struct nic_sending sending;
        if (nic_reserve(station->nic, &sending, 1) == 0)
            break;
        sending.byte_count = session_transmit(
            station->session, clock_now_ns(&rig->clock), sending.bytes, sending.capacity);
        if (sending.byte_count == 0) {
            nic_cancel(station->nic, &sending, 1);
            break;
        }
        sending.peer = station->peer;
        station_judge_sent(rig, station, &sending);
        session_foe_look(rig, station, sending.bytes, sending.byte_count);
        nic_send(station->nic, &sending, 1);
    }
    (void)nic_flush(station->nic);
    return sent;
}

static uint32_t
station_step(struct session_rig *rig, struct station *station)
{
    uint64_t unacked = session_unacked(station->session);

    user_change_mood(rig, station);
    uint32_t work = station_receive(rig, station);
    user_take(rig, station);
    user_write(rig, station);
    session_tick(station->session, clock_now_ns(&rig->clock));
    work += station_transmit(rig, station);
    if (session_state(station->session) == SESSION_CLOSED)
        blame(rig, "the session was closed", session_close_code(station->session), unacked);
    if (station->pool->reorder_used > station->pool->reorder_max)
        blame(rig, "too many slots out of order", station->pool->reorder_used, 0);
    if (session_unacked(station->session) > station->session->config.window)
        blame(rig, "more under way than the window", session_unacked(station->session), 0);
    return work;
}

/* ---- the world ---- */

static uint64_t
station_due_ns(const struct station *station)
{
    return user_is_done(station)
               ? session_deadline(station->session)
               : min_u64(session_deadline(station->session), station->mood_until_ns);
}

static void
rig_wait(struct session_rig *rig, uint32_t work)
{
    uint64_t now_ns = clock_now_ns(&rig->clock);
    uint64_t due_ns = now_ns + STEP_NS;

    if (work == 0) {
        due_ns = min_u64(station_due_ns(&rig->client), station_due_ns(&rig->server));
        due_ns = min_u64(due_ns, nic_memory_due_ns(rig->net));
        due_ns = max_u64(due_ns, now_ns + STEP_NS);
    }
    if (due_ns == NO_DEADLINE) {
        blame(rig, "nobody will ever be due again", 0, 0);
        return;
    }
    clock_sim_advance(&rig->clock, due_ns - now_ns);
}

static bool
rig_is_done(const struct session_rig *rig)
{
    return user_is_done(&rig->client) && user_is_done(&rig->server) &&
           session_unacked(rig->client.session) == 0 && session_unacked(rig->server.session) == 0;
}

static void
station_open(struct session_rig *rig,
             struct station *station,
             const struct wire_grant *grant,
             const struct session_config *shared)
{
    static const uint32_t slot_counts[] = {300, 600, 64, 1024};
    struct session_config config = *shared;
    uint32_t slots = slot_counts[below(rig, ARRAY_COUNT(slot_counts))];
    uint32_t reorder_max = 1 + below(rig, slots / 2);
    bool is_client = station == &rig->client;
    void *memory = aligned_alloc(64,
                                 round_up(session_pool_footprint(slots, SESSION_RIG_DATAGRAM), 64));

    CHECK(memory != NULL);
    station->pool = session_pool_init(memory, slots, reorder_max, SESSION_RIG_DATAGRAM);
    CHECK(session_cipher_create(grant, is_client, &station->cipher) == RC_OK);
    config.role = is_client ? SESSION_CLIENT : SESSION_SERVER;
    config.pool = station->pool;
    config.cipher = station->cipher;
    config.ack_every = 1 + below(rig, 8);
    config.ack_delay_ns = (1 + below(rig, 20)) * NS_PER_MS / 10;
    config.probe_floor_ns = (1 + below(rig, 5)) * NS_PER_MS;
    station->session = aligned_alloc(64, session_footprint());
    CHECK(station->session != NULL);
    session_init(station->session, &config, clock_now_ns(&rig->clock));
}

static void
rig_open_wire(struct session_rig *rig)
{
    struct nic *ends[2];
    struct nic_memory_config config = {
        .clock = &rig->clock,
        .slots = 4096,
        .faults = {.loss_ppm = 300000, .duplicate_ppm = 500000},
    };

    /* One statement each: the order of draws must not be the compiler's. */
    config.seed = clock_random(&rig->dice);
    config.faults.reorder_ppm = 200000 + below(rig, 400000);
    config.faults.corrupt_ppm = 10000 + below(rig, 60000);
    config.faults.delay_ns = 20000 + below(rig, 500000);
    config.faults.reorder_ns = 50000 + below(rig, 4000000);
    CHECK(nic_memory_open(&config, ends, &rig->net) == RC_OK);
    rig->server = (struct station){.name = "server", .nic = ends[0], .peer = ends[1]->local};
    rig->client = (struct station){.name = "client", .nic = ends[1], .peer = ends[0]->local};
}

static void
rig_open(struct session_rig *rig, const struct session_rig_options *options)
{
    static const uint32_t windows[] = {256, 256, 64, 8, 1};
    struct wire_grant grant = {.session = SESSION_ID};
    uint8_t secret[32];

    memset(rig, 0, sizeof(*rig));
    rig->options = *options;
    clock_init_sim(&rig->clock, options->seed, 0);
    clock_init_sim(&rig->dice, options->seed * 2 + 1, 0);
    rig->sealed = options->seed % 2 == 0;
    rig->foe_ppm = options->seed % 3 == 0 ? 100000 : 0;
    grant.auth = rig->sealed ? WIRE_AUTH_AEAD : WIRE_AUTH_NONE;
    for (uint32_t i = 0; i < WIRE_KEY_BYTES; i++) {
        grant.client_key[i] = (uint8_t)clock_random(&rig->dice);
        grant.server_key[i] = (uint8_t)clock_random(&rig->dice);
    }
    for (uint32_t i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)clock_random(&rig->dice);
    CHECK(cookie_jar_create(secret, &rig->jar) == RC_OK);
    rig_open_wire(rig);
    struct session_config shared = {.session_id = SESSION_ID, .idle_ns = 120 * NS_PER_S};
    shared.datagram_bytes_max = SESSION_RIG_DATAGRAM - below(rig, 2) * 200;
    shared.window = windows[below(rig, ARRAY_COUNT(windows))];
    shared.delay_target_ns = below(rig, 2) == 0 ? UINT64_MAX : NS_PER_MS;
    shared.rekey_packets = 1000 + below(rig, 4000);
    shared.rekey_ns = NS_PER_S * (1 + below(rig, 100));
    station_open(rig, &rig->client, &grant, &shared);
    station_open(rig, &rig->server, &grant, &shared);
    rig->client.write_goal = rig->server.take_goal = options->records / 10 * (1 + below(rig, 9));
    rig->server.write_goal = rig->client.take_goal = options->records - rig->client.write_goal;
    rig->client.key = rig->server.peer_key = clock_random(&rig->dice);
    rig->server.key = rig->client.peer_key = clock_random(&rig->dice);
}

static void
station_close(struct session_rig *rig, struct station *station, struct session_rig_sum *sum)
{
    const struct session_counters *counters = session_counters(station->session);

    sum->records += station->taken;
    sum->packets += counters->sent_packets;
    sum->retransmitted += counters->retransmitted;
    sum->rekeys += counters->rekeys;
    sum->replayed += counters->received_replayed;
    sum->forged += counters->received_forged;
    sum->stalls += counters->dropped_no_room;
    session_fini(station->session);
    if (session_pool_used(station->pool) != 0 || station->pool->reorder_used != 0)
        blame(rig, "slots leaked", session_pool_used(station->pool), station->pool->reorder_used);
    session_cipher_destroy(station->cipher);
    free(station->session);
    free(station->pool);
}

/* Takes from the wire what is still under way, then nothing may be in use. */
static void
rig_close_wire(struct session_rig *rig)
{
    struct nic_received received[NIC_BURST];
    struct nic *ends[] = {rig->client.nic, rig->server.nic};

    clock_sim_advance(&rig->clock, NS_PER_S);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t count;
        while ((count = nic_receive(ends[i], received, NIC_BURST)) > 0)
            nic_release(ends[i], received, count);
    }
    if (nic_memory_in_use(rig->net) != 0)
        blame(rig, "datagrams leaked", nic_memory_in_use(rig->net), 0);
    nic_close(rig->client.nic);
    nic_close(rig->server.nic);
}

bool
session_rig_run(struct session_rig *rig,
                const struct session_rig_options *options,
                struct session_rig_sum *sum)
{
    rig_open(rig, options);
    uint64_t begin_ns = clock_now_ns(&rig->clock);
    while (!rig_is_done(rig) && rig->why[0] == '\0') {
        bool client_first = below(rig, 2) == 0;
        uint32_t work = station_step(rig, client_first ? &rig->client : &rig->server);
        work += station_step(rig, client_first ? &rig->server : &rig->client);
        rig_wait(rig, work);
        if (++rig->steps > STEPS_MAX)
            blame(rig, "too many steps", rig->client.taken, rig->server.taken);
        if (clock_now_ns(&rig->clock) - begin_ns > TIME_MAX_NS)
            blame(rig, "too much time", rig->client.taken, rig->server.taken);
    }
    sum->injected += rig->foe_injected;
    station_close(rig, &rig->client, sum);
    station_close(rig, &rig->server, sum);
    rig_close_wire(rig);
    cookie_jar_destroy(rig->jar);
    return rig->why[0] == '\0';
}
