/* The client that behaves: joins, opens a session, produces records at a steady rate, and tells how
 * long each took to its COMMIT. check_security attacks the server while it does.
 *
 * Open loop: record i is due at begin + i / rate whatever became of those before, and its time is
 * counted from then; so a server that stalls cannot hide it. One record is one batch, its value the
 * number of the record, so that the log tells what was stored and how often.
 *
 *   attack_good --port P --topic T --rate R --phases 2,2 [--via UDP_PORT] [--pause]
 *
 * Lines on stdout: "session ID udp SERVER_PORT local LOCAL_PORT", then for each phase "phase N
 * begin" and "phase N sent S committed C p50_us A p99_us B max_us M retransmitted R", then "end".
 * --via sends the datagrams to another local port (a proxy) instead of the server's; --pause waits
 * for a line on stdin before each phase. Written against net/session alone: no line of libeagre. */
#include "engine/base/bytes.h"
#include "engine/record/record_builder.h"
#include "hw/clock/clock.h"
#include "net/session/session.h"
#include "net/wire/wire_control.h"
#include "net/wire/wire_frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATAGRAM_BYTES 1400u
#define VALUE_BYTES 100u
#define RECORDS_MAX 1000000u
#define PHASES_MAX 8u
#define PATIENCE_NS (20 * NS_PER_S)
#define SLOTS 1024u

struct good {
    const char *topic;
    uint16_t port;
    uint16_t via;
    uint32_t rate;
    bool pause;
    uint32_t phase_s[PHASES_MAX];
    uint32_t phase_count;
    int tcp;
    int udp;
    struct clock clock;
    struct wire_grant grant;
    struct session_cipher *cipher;
    struct session_pool *pool;
    struct session *session;
    struct wire_partition partition;
    bool resolved;
    uint64_t *due_ns;     /* [RECORDS_MAX] */
    uint64_t *latency_ns; /* [RECORDS_MAX]; 0: no COMMIT yet */
    uint32_t sent;
    uint32_t committed;
};

static _Noreturn void
give_up(const char *what)
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
join(struct good *good)
{
    struct sockaddr_in address = loopback(good->port);
    struct wire_join join = {.version = WIRE_VERSION,
                             .auth = WIRE_AUTH_AEAD,
                             .tile = 0xff,
                             .datagram_bytes_max = DATAGRAM_BYTES,
                             .client = {(const uint8_t *)"attack_good", 11}};
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    uint32_t count = wire_join_encode(message, &join);
    struct bytes body;
    uint8_t type;

    good->tcp = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(good->tcp, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(good->tcp, message, count, 0) != (ssize_t)count)
        give_up("to join");
    count = 0;
    while (wire_control_next(message, count, &type, &body, &(uint32_t){0}) == RC_AGAIN) {
        ssize_t got = recv(good->tcp, message + count, sizeof(message) - count, 0);
        if (got <= 0)
            give_up("to hear of the JOIN");
        count += (uint32_t)got;
    }
    if (type != WIRE_CONTROL_GRANT || wire_grant_decode(body, &good->grant) != RC_OK)
        give_up("because the JOIN was refused");
}

static void
open_session(struct good *good)
{
    uint16_t server_port = good->grant.ports[good->grant.tile];
    struct sockaddr_in address = loopback(good->via != 0 ? good->via : server_port);
    struct sockaddr_in own = {0};
    socklen_t own_bytes = sizeof(own);
    int buffer_bytes = 1 << 20;

    good->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(good->udp, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
    if (connect(good->udp, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(good->udp, (struct sockaddr *)&own, &own_bytes) != 0)
        give_up("to open a socket");
    if (session_cipher_create(&good->grant, true, &good->cipher) != RC_OK)
        give_up("to make a cipher");
    void *slots = aligned_alloc(64, round_up(session_pool_footprint(SLOTS, DATAGRAM_BYTES), 64));
    good->pool = session_pool_init(slots, SLOTS, SLOTS / 2, DATAGRAM_BYTES);
    good->session = aligned_alloc(64, round_up(session_footprint(), 64));
    struct session_config config = {
        .role = SESSION_CLIENT,
        .session_id = good->grant.session,
        .pool = good->pool,
        .cipher = good->cipher,
        .datagram_bytes_max = good->grant.datagram_bytes_max,
        .window = good->grant.window,
        .idle_ns = good->grant.idle_ms * NS_PER_MS,
    };
    session_init(good->session, &config, clock_now_ns(&good->clock));
    printf("session %u udp %u local %u\n",
           good->grant.session,
           server_port,
           (unsigned)ntohs(own.sin_port));
}

/* ---- datagrams ---- */

static void
take_commit(struct good *good, const struct wire_frame *frame, uint64_t now_ns)
{
    uint32_t count = 0;

    if (wire_commit_count(frame, &count) != RC_OK)
        give_up("to read a COMMIT");
    for (uint32_t i = 0; i < count; i++) {
        struct wire_commit commit;
        wire_commit_at(frame, i, &commit);
        if (commit.status != 0 || commit.request >= good->sent ||
            good->latency_ns[commit.request] != 0) {
            printf("failed commit of %u: status %u\n", commit.request, commit.status);
            exit(1);
        }
        good->latency_ns[commit.request] = max_u64(now_ns - good->due_ns[commit.request], 1);
        good->committed++;
    }
}

static void
take_frames(struct good *good, struct bytes frames, uint64_t now_ns)
{
    struct wire_frame frame;
    struct wire_resolved resolved;

    while (wire_frame_next(&frames, &frame)) {
        if (frame.type == WIRE_FRAME_COMMIT)
            take_commit(good, &frame, now_ns);
        if (frame.type != WIRE_FRAME_RESOLVED)
            continue;
        if (wire_resolved_decode(&frame, &resolved) != RC_OK || resolved.status != 0 ||
            resolved.entry_count == 0)
            give_up("to resolve the topic");
        wire_resolved_at(&resolved, 0, &good->partition);
        good->resolved = true;
    }
}

static void
receive_all(struct good *good)
{
    uint8_t datagram[2048];
    uint8_t scratch[2048];
    struct bytes frames;

    for (;;) {
        ssize_t count = recv(good->udp, datagram, sizeof(datagram), 0);
        if (count < 0)
            return;
        uint64_t now_ns = clock_now_ns(&good->clock);
        (void)session_receive(
            good->session, datagram, (uint32_t)count, scratch, UINT32_MAX, now_ns);
        while (session_take(good->session, UINT32_MAX, &frames))
            take_frames(good, frames, now_ns);
    }
}

static void
transmit_all(struct good *good)
{
    uint8_t datagram[2048];
    uint64_t now_ns = clock_now_ns(&good->clock);

    session_tick(good->session, now_ns);
    for (;;) {
        uint32_t count = session_transmit(good->session, now_ns, datagram, sizeof(datagram));
        if (count == 0)
            return;
        (void)!send(good->udp, datagram, count, 0); /* what is lost goes out again */
    }
}

/* One round of the loop; sleeps until something comes, at most until until_ns. */
static void
turn(struct good *good, uint64_t until_ns)
{
    struct pollfd fds[] = {{good->udp, POLLIN, 0}, {good->tcp, POLLIN, 0}};
    uint64_t wake_ns = min_u64(until_ns, session_deadline(good->session));
    uint64_t now_ns = clock_now_ns(&good->clock);
    uint64_t wait_ns = wake_ns > now_ns ? min_u64(wake_ns - now_ns, 10 * NS_PER_MS) : 0;
    struct timespec wait = {0, (long)wait_ns};

    (void)ppoll(fds, 2, &wait, NULL);
    if (fds[1].revents != 0 || session_state(good->session) == SESSION_CLOSED) {
        printf("failed: the server ended the session: code %u %s\n",
               session_close_code(good->session),
               session_close_text(good->session));
        exit(1);
    }
    receive_all(good);
    transmit_all(good);
}

static void
resolve(struct good *good)
{
    struct wire_resolve resolve = {.topic = {(const uint8_t *)good->topic, strlen(good->topic)}};
    uint64_t begin_ns = clock_now_ns(&good->clock);
    bool asked = false;

    while (!good->resolved) {
        uint8_t *at = NULL;
        if (!asked)
            at = session_reserve(good->session,
                                 WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVE_HEAD_BYTES +
                                     WIRE_TOPIC_NAME_MAX);
        if (at != NULL) {
            session_commit(good->session, wire_resolve_encode(at, &resolve));
            asked = true;
        }
        turn(good, clock_now_ns(&good->clock) + NS_PER_MS);
        if (clock_now_ns(&good->clock) - begin_ns > PATIENCE_NS)
            give_up("to open the session and resolve the topic");
    }
}

/* ---- records ---- */

static bool
produce(struct good *good, uint32_t number)
{
    uint8_t batch[512];
    char value[VALUE_BYTES + 1];
    struct record_builder builder;
    struct record record = {.timestamp_ms = 1700000000000,
                            .value = {(const uint8_t *)value, VALUE_BYTES}};

    snprintf(value, sizeof(value), "%-*u", (int)VALUE_BYTES, number);
    record_builder_begin(&builder, batch, sizeof(batch), &RECORD_BUILDER_PLAIN);
    if (!record_builder_add(&builder, &record))
        give_up("to build a batch");
    struct wire_data data = {
        .request = number,
        .partition = good->partition,
        .batch = {batch, record_builder_finish(&builder)},
    };
    uint32_t bytes = WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES + (uint32_t)data.batch.count;
    uint8_t *at = session_reserve(good->session, bytes);
    if (at == NULL)
        return false;
    uint32_t head = wire_data_encode_head(at, &data);
    bytes_copy(at + head, bytes - head, data.batch.at, data.batch.count);
    session_commit(good->session, bytes);
    return true;
}

static int
by_size(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static void
report(struct good *good, uint32_t phase, uint32_t first)
{
    uint32_t count = good->sent - first;
    uint64_t *times = good->latency_ns + first;

    qsort(times, count, sizeof(*times), by_size);
    printf("phase %u sent %u committed %u p50_us %lu p99_us %lu max_us %lu retransmitted %lu\n",
           phase,
           good->sent,
           good->committed,
           (unsigned long)(times[count / 2] / 1000),
           (unsigned long)(times[count - 1 - count / 100] / 1000),
           (unsigned long)(times[count - 1] / 1000),
           (unsigned long)session_counters(good->session)->retransmitted);
}

static void
run_phase(struct good *good, uint32_t phase)
{
    uint32_t first = good->sent;
    uint32_t last = first + good->rate * good->phase_s[phase];
    uint64_t gap_ns = NS_PER_S / good->rate;

    printf("phase %u begin\n", phase);
    uint64_t begin_ns = clock_now_ns(&good->clock);
    uint64_t end_ns = begin_ns + good->phase_s[phase] * NS_PER_S + PATIENCE_NS;
    while (good->committed < last && clock_now_ns(&good->clock) < end_ns) {
        uint64_t now_ns = clock_now_ns(&good->clock);
        while (good->sent < last && begin_ns + (good->sent - first) * gap_ns <= now_ns) {
            good->due_ns[good->sent] = begin_ns + (good->sent - first) * gap_ns;
            if (!produce(good, good->sent))
                break;
            good->sent++;
        }
        turn(good, good->sent < last ? begin_ns + (good->sent - first) * gap_ns : end_ns);
    }
    report(good, phase, first);
}

static void
read_options(struct good *good, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--pause") == 0) {
            good->pause = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--port") == 0)
            good->port = (uint16_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--via") == 0)
            good->via = (uint16_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--rate") == 0)
            good->rate = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--topic") == 0)
            good->topic = value;
        else if (strcmp(argv[i - 1], "--phases") == 0)
            for (char *at = argv[i]; *at != '\0' && good->phase_count < PHASES_MAX;
                 at += *at == ',')
                good->phase_s[good->phase_count++] = (uint32_t)strtoul(at, &at, 10);
    }
}

int
main(int argc, char **argv)
{
    static struct good good;

    setvbuf(stdout, NULL, _IOLBF, 0);
    read_options(&good, argc, argv);
    if (good.port == 0 || good.topic == NULL || good.rate == 0 || good.phase_count == 0)
        give_up("because --port, --topic, --rate or --phases is missing");
    clock_init_real(&good.clock);
    good.due_ns = calloc(RECORDS_MAX, sizeof(uint64_t));
    good.latency_ns = calloc(RECORDS_MAX, sizeof(uint64_t));
    join(&good);
    open_session(&good);
    resolve(&good);
    for (uint32_t phase = 0; phase < good.phase_count; phase++) {
        struct pollfd input = {STDIN_FILENO, POLLIN, 0};
        while (good.pause && poll(&input, 1, 0) == 0)
            turn(&good, clock_now_ns(&good.clock) + NS_PER_MS);
        if (good.pause)
            (void)!read(STDIN_FILENO, &(char){0}, 1);
        run_phase(&good, phase);
    }
    session_close(good.session, WIRE_CLOSE_BYE, NULL);
    transmit_all(&good);
    printf("end\n");
    session_fini(good.session);
    session_cipher_destroy(good.cipher);
    free(good.due_ns);
    free(good.latency_ns);
    return 0;
}
