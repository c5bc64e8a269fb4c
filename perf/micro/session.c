/* One native session, per packet of 1,400 bytes: receiving in order (session_receive and
 * session_take) beside its checksum or cipher alone, and writing and sending beside sealing alone.
 * Datagrams are made in batches of one window outside the measured time, so that they lie in the
 * second-level cache as they do after a NIC's burst. */
#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "net/session/session.h"
#include "net/wire/wire_frame.h"
#include "perf/micro/micro.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATAGRAM 1400u
#define BATCH SESSION_WINDOW_MAX
#define BATCHES 400u
#define POOL_SLOTS 1024u

struct bench {
    struct session_cipher *peer; /* seals what the session receives */
    struct session_cipher *cipher;
    struct session_pool *pool;
    struct session *session;
    uint64_t packet_number;
    uint64_t sequence;
    uint64_t now_ns;
};

static uint8_t datagrams[BATCH][DATAGRAM];
static uint8_t scratch[DATAGRAM];

static uint32_t
bench_seal(struct bench *bench, uint8_t type, uint8_t *at, const struct wire_ack *ack)
{
    struct wire_header header = {
        .type = type,
        .flags = ack == NULL ? WIRE_FLAG_SEQUENCED : 0,
        .packet_number = ++bench->packet_number,
        .ack = ack == NULL ? 1 : bench->sequence,
        .sequence = ack == NULL ? bench->sequence++ : 0,
    };
    uint32_t clear_bytes = wire_clear_bytes(type, header.flags);
    uint32_t count = DATAGRAM - WIRE_TAG_BYTES;

    wire_header_encode(&header, at);
    if (ack != NULL)
        count = clear_bytes + wire_ack_encode(at + clear_bytes, ack);
    else
        wire_frame_header(at + clear_bytes,
                          WIRE_FRAME_DATA,
                          0,
                          (uint16_t)(count - clear_bytes - WIRE_FRAME_HEADER_BYTES));
    return session_cipher_seal(bench->peer, at, clear_bytes, count, header.packet_number);
}

static void
bench_open(struct bench *bench, uint8_t auth, enum session_role role)
{
    struct wire_grant grant = {.auth = auth};
    uint8_t datagram[DATAGRAM];

    *bench = (struct bench){.sequence = 1, .now_ns = NS_PER_S};
    CHECK(session_cipher_create(&grant, role == SESSION_SERVER, &bench->peer) == RC_OK);
    CHECK(session_cipher_create(&grant, role == SESSION_CLIENT, &bench->cipher) == RC_OK);
    void *memory = aligned_alloc(64, round_up(session_pool_footprint(POOL_SLOTS, DATAGRAM), 64));
    CHECK(memory != NULL);
    bench->pool = session_pool_init(memory, POOL_SLOTS, POOL_SLOTS / 2, DATAGRAM);
    bench->session = aligned_alloc(64, session_footprint());
    CHECK(bench->session != NULL);
    struct session_config config = {.role = role,
                                    .pool = bench->pool,
                                    .cipher = bench->cipher,
                                    .datagram_bytes_max = DATAGRAM,
                                    .delay_target_ns = UINT64_MAX};
    session_init(bench->session, &config, bench->now_ns);
    /* The client is opened by any authentic packet; here one with all credit. */
    struct wire_ack ack = {.largest_packet = 0, .credit = UINT64_MAX};
    uint32_t count = bench_seal(bench, WIRE_SESSION, datagram, &ack);
    (void)session_receive(bench->session, datagram, count, scratch, 0, bench->now_ns);
    CHECK(session_state(bench->session) == SESSION_OPEN);
}

static void
bench_close(struct bench *bench)
{
    session_fini(bench->session);
    session_cipher_destroy(bench->peer);
    session_cipher_destroy(bench->cipher);
    free(bench->session);
    free(bench->pool);
}

/* ns per packet received, taken and walked. */
static double
bench_receive(uint8_t auth)
{
    double samples[BATCHES];
    struct bench bench;
    uint8_t reply[DATAGRAM];
    uint32_t counts[BATCH];

    bench_open(&bench, auth, SESSION_CLIENT);
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        while (session_transmit(bench.session, bench.now_ns, reply, sizeof(reply)) > 0)
            ; /* credit for a batch */
        for (uint32_t i = 0; i < BATCH; i++)
            counts[i] = bench_seal(&bench, WIRE_SESSION, datagrams[i], NULL);
        uint64_t begin_ns = micro_now_ns();
        for (uint32_t i = 0; i < BATCH; i++) {
            struct bytes frames;
            (void)session_receive(
                bench.session, datagrams[i], counts[i], scratch, UINT32_MAX, bench.now_ns);
            while (session_take(bench.session, UINT32_MAX, &frames))
                __asm__ __volatile__("" ::"r"(frames.at) : "memory");
        }
        samples[batch] = (double)(micro_now_ns() - begin_ns) / BATCH;
    }
    CHECK(session_counters(bench.session)->received_packets == 1 + BATCH * BATCHES);
    bench_close(&bench);
    return micro_median(samples, BATCHES);
}

/* ns per packet reserved, written, committed and transmitted. */
static double
bench_send(uint8_t auth)
{
    double samples[BATCHES];
    struct bench bench;
    uint8_t reply[DATAGRAM];

    bench_open(&bench, auth, SESSION_CLIENT);
    while (session_transmit(bench.session, bench.now_ns, reply, sizeof(reply)) > 0)
        ;
    uint32_t frame_bytes = session_frame_bytes_max(bench.session);
    uint64_t packets = session_counters(bench.session)->sent_packets;
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        uint64_t begin_ns = micro_now_ns();
        for (uint32_t i = 0; i < BATCH; i++) {
            uint8_t *at = session_reserve(bench.session, frame_bytes);
            CHECK(at != NULL);
            wire_frame_header(
                at, WIRE_FRAME_DATA, 0, (uint16_t)(frame_bytes - WIRE_FRAME_HEADER_BYTES));
            session_commit(bench.session, frame_bytes);
            (void)session_transmit(bench.session, bench.now_ns, datagrams[i], DATAGRAM);
        }
        samples[batch] = (double)(micro_now_ns() - begin_ns) / BATCH;
        packets += BATCH;
        bench.sequence += BATCH; /* the peer's cumulative ack of all of it */
        struct wire_ack ack = {.largest_packet = packets, .credit = UINT64_MAX};
        uint32_t count = bench_seal(&bench, WIRE_SESSION, reply, &ack);
        (void)session_receive(bench.session, reply, count, scratch, 0, bench.now_ns);
        CHECK(session_unacked(bench.session) == 0);
    }
    bench_close(&bench);
    return micro_median(samples, BATCHES);
}

static double
bare_crc(void)
{
    double samples[BATCHES];
    uint32_t sink = 0;

    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        uint64_t begin_ns = micro_now_ns();
        for (uint32_t i = 0; i < BATCH; i++)
            sink += hash_crc32c(0, datagrams[i], DATAGRAM - WIRE_CRC_BYTES);
        __asm__ __volatile__("" : "+r"(sink)::"memory");
        samples[batch] = (double)(micro_now_ns() - begin_ns) / BATCH;
    }
    return micro_median(samples, BATCHES);
}

/* EVP alone on the same bytes: set the IV, header as associated data, frames, tag. */
static double
bare_cipher(bool seals)
{
    static const uint8_t key[WIRE_KEY_BYTES];
    double samples[BATCHES];
    uint8_t iv[12] = {0};
    uint8_t tag[WIRE_TAG_BYTES] = {0};
    int count;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    CHECK(EVP_CipherInit_ex(context, EVP_aes_128_gcm(), NULL, key, iv, seals) == 1);
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        uint64_t begin_ns = micro_now_ns();
        for (uint32_t i = 0; i < BATCH; i++) {
            iv[4]++;
            (void)EVP_CipherInit_ex(context, NULL, NULL, NULL, iv, -1);
            (void)EVP_CipherUpdate(context, NULL, &count, datagrams[i], 32);
            (void)EVP_CipherUpdate(
                context, scratch, &count, datagrams[i] + 32, (int)(DATAGRAM - 32 - WIRE_TAG_BYTES));
            if (!seals)
                (void)EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, WIRE_TAG_BYTES, tag);
            (void)EVP_CipherFinal_ex(context, scratch, &count);
            if (seals)
                (void)EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, WIRE_TAG_BYTES, tag);
        }
        samples[batch] = (double)(micro_now_ns() - begin_ns) / BATCH;
    }
    EVP_CIPHER_CTX_free(context);
    return micro_median(samples, BATCHES);
}

void
micro_session(void)
{
    double receive_plain = bench_receive(WIRE_AUTH_NONE);
    micro_row("session receive, 1,400 bytes, plain", receive_plain, "ns", "crc32c, ns", bare_crc());
    double receive_sealed = bench_receive(WIRE_AUTH_AEAD);
    micro_row("session receive, 1,400 bytes, sealed",
              receive_sealed,
              "ns",
              "EVP open, ns",
              bare_cipher(false));
    double send_plain = bench_send(WIRE_AUTH_NONE);
    micro_row("session send, 1,400 bytes, plain", send_plain, "ns", "crc32c, ns", bare_crc());
    double send_sealed = bench_send(WIRE_AUTH_AEAD);
    micro_row(
        "session send, 1,400 bytes, sealed", send_sealed, "ns", "EVP seal, ns", bare_cipher(true));
}
