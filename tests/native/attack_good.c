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
 * for a line on stdin before each phase. */
#include "tests/native/attack_session.h"

#include "engine/base/bytes.h"
#include "engine/record/record_builder.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_BYTES 100u
#define RECORDS_MAX 1000000u
#define PHASES_MAX 16u
#define PATIENCE_NS (20 * NS_PER_S)

struct good {
    struct attack_session attack;
    uint32_t rate;
    bool pause;
    uint32_t phase_s[PHASES_MAX];
    uint32_t phase_count;
    uint64_t *due_ns;     /* [RECORDS_MAX] */
    uint64_t *latency_ns; /* [RECORDS_MAX]; 0: no COMMIT yet */
    uint32_t sent;
    uint32_t committed;
};

static void
take_commit(void *ctx, const struct wire_frame *frame, uint64_t now_ns)
{
    struct good *good = ctx;
    uint32_t count = 0;

    if (frame->type != WIRE_FRAME_COMMIT)
        return;
    if (wire_commit_count(frame, &count) != RC_OK)
        attack_give_up("to read a COMMIT");
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
        attack_give_up("to build a batch");
    struct wire_data data = {
        .request = number,
        .partition = good->attack.partition,
        .batch = {batch, record_builder_finish(&builder)},
    };
    uint32_t bytes = WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES + (uint32_t)data.batch.count;
    uint8_t *at = session_reserve(good->attack.session, bytes);
    if (at == NULL)
        return false;
    uint32_t head = wire_data_encode_head(at, &data);
    bytes_copy(at + head, bytes - head, data.batch.at, data.batch.count);
    session_commit(good->attack.session, bytes);
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
turn(struct good *good, uint64_t until_ns)
{
    if (attack_session_turn(&good->attack, until_ns))
        return;
    printf("failed: the server ended the session: code %u %s\n",
           session_close_code(good->attack.session),
           session_close_text(good->attack.session));
    exit(1);
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
           (unsigned long)session_counters(good->attack.session)->retransmitted);
}

static void
run_phase(struct good *good, uint32_t phase)
{
    uint32_t first = good->sent;
    uint32_t last = first + good->rate * good->phase_s[phase];
    uint64_t gap_ns = NS_PER_S / good->rate;

    printf("phase %u begin\n", phase);
    uint64_t begin_ns = clock_now_ns(&good->attack.clock);
    uint64_t end_ns = begin_ns + good->phase_s[phase] * NS_PER_S + PATIENCE_NS;
    while (good->committed < last && clock_now_ns(&good->attack.clock) < end_ns) {
        uint64_t now_ns = clock_now_ns(&good->attack.clock);
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
            good->attack.port = (uint16_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--via") == 0)
            good->attack.via = (uint16_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--rate") == 0)
            good->rate = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--topic") == 0)
            good->attack.topic = value;
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
    struct attack_session *attack = &good.attack;
    if (attack->port == 0 || attack->topic == NULL || good.rate == 0 || good.phase_count == 0)
        attack_give_up("because --port, --topic, --rate or --phases is missing");
    clock_init_real(&attack->clock);
    attack->take = take_commit;
    attack->ctx = &good;
    good.due_ns = calloc(RECORDS_MAX, sizeof(uint64_t));
    good.latency_ns = calloc(RECORDS_MAX, sizeof(uint64_t));
    attack_session_open(attack);
    printf("session %u udp %u local %u\n",
           attack->grant.session,
           attack->grant.ports[attack->grant.tile],
           attack->local_port);
    for (uint32_t phase = 0; phase < good.phase_count; phase++) {
        struct pollfd input = {STDIN_FILENO, POLLIN, 0};
        while (good.pause && poll(&input, 1, 0) == 0)
            turn(&good, clock_now_ns(&attack->clock) + NS_PER_MS);
        if (good.pause)
            (void)!read(STDIN_FILENO, &(char){0}, 1);
        run_phase(&good, phase);
    }
    attack_session_close(attack);
    printf("end\n");
    free(good.due_ns);
    free(good.latency_ns);
    return 0;
}
