/* One native session, per packet of 1,400 bytes: receiving in order (session_receive and
 * session_take) beside its checksum or cipher alone, and writing and sending beside sealing alone.
 * Datagrams are made in batches of one window outside the measured time, so that they lie in the
 * second-level cache as they do after a NIC's burst. */
#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "perf/micro/micro.h"
#include "perf/micro/session_pair.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH SESSION_WINDOW_MAX
#define BATCHES 400u

static uint8_t datagrams[BATCH][SESSION_PAIR_DATAGRAM];
static uint8_t scratch[SESSION_PAIR_DATAGRAM];

/* ns per packet received, taken and walked. */
static double
bench_receive(uint8_t auth)
{
    double samples[BATCHES];
    struct session_pair bench;
    uint8_t reply[SESSION_PAIR_DATAGRAM];
    uint32_t counts[BATCH];

    session_pair_open(&bench, auth, SESSION_CLIENT);
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        while (session_transmit(bench.session, bench.now_ns, reply, sizeof(reply)) > 0)
            ; /* credit for a batch */
        for (uint32_t i = 0; i < BATCH; i++)
            counts[i] = session_pair_seal(&bench, WIRE_SESSION, datagrams[i], NULL);
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
    session_pair_close(&bench);
    return micro_median(samples, BATCHES);
}

/* ns per packet reserved, written, committed and transmitted. */
static double
bench_send(uint8_t auth)
{
    double samples[BATCHES];
    struct session_pair bench;
    uint8_t reply[SESSION_PAIR_DATAGRAM];

    session_pair_open(&bench, auth, SESSION_CLIENT);
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
            (void)session_transmit(
                bench.session, bench.now_ns, datagrams[i], SESSION_PAIR_DATAGRAM);
        }
        samples[batch] = (double)(micro_now_ns() - begin_ns) / BATCH;
        packets += BATCH;
        bench.sequence += BATCH; /* the peer's cumulative ack of all of it */
        struct wire_ack ack = {.largest_packet = packets, .credit = UINT64_MAX};
        uint32_t count = session_pair_seal(&bench, WIRE_SESSION, reply, &ack);
        (void)session_receive(bench.session, reply, count, scratch, 0, bench.now_ns);
        CHECK(session_unacked(bench.session) == 0);
    }
    session_pair_close(&bench);
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
            sink += hash_crc32c(0, datagrams[i], SESSION_PAIR_DATAGRAM - WIRE_CRC_BYTES);
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
            (void)EVP_CipherUpdate(context,
                                   scratch,
                                   &count,
                                   datagrams[i] + 32,
                                   (int)(SESSION_PAIR_DATAGRAM - 32 - WIRE_TAG_BYTES));
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
