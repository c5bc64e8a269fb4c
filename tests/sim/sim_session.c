/* Ten million records through native sessions on a bad wire: 30 % loss, 50 % duplication,
 * reordering and corruption, both directions at once, with and without encryption, keys that turn
 * every few thousand packets, users that stall and trickle, and in each third seed a foe
 * (session_rig.h).
 *
 *   sim_session                 seeds 1 to 24, 420,000 records each
 *   sim_session --seed N        one seed, twice, with its trace hash
 *
 * Each fourth seed runs twice and must leave the same trace. */
#include "session_rig.h"
#include "sim_options.h"

#include <inttypes.h>
#include <stdio.h>

#define SEEDS 24u
#define RECORDS_PER_SEED 420000u
#define TWICE_EVERY 4u

static bool
try_seed(uint64_t seed, const struct sim_options *options, struct session_rig_sum *sum)
{
    static struct session_rig rig;
    struct session_rig_options one = {
        .seed = seed, .records = RECORDS_PER_SEED, .verbose = options->verbose};
    struct session_rig_sum again = {0};

    sim_options_case("--session", seed);
    bool good = session_rig_run(&rig, &one, sum);
    uint64_t hash = rig.trace;
    if (good && (options->single || seed % TWICE_EVERY == 0)) {
        one.verbose = false;
        good = session_rig_run(&rig, &one, &again);
        if (good && rig.trace != hash) {
            good = false;
            snprintf(rig.why, sizeof(rig.why), "a second run of the seed went another way");
        }
    }
    if (!good)
        printf("seed %" PRIu64 ": %s\n  to repeat: tests/sim/run --session %" PRIu64 "\n",
               seed,
               rig.why,
               seed);
    else if (options->single)
        printf("trace %016" PRIx64 " of %" PRIu64 " steps\n", hash, rig.steps);
    return good;
}

int
main(int count, char **arguments)
{
    struct sim_options options = {.first = 1, .count = SEEDS};
    struct session_rig_sum sum = {0};
    uint64_t passed = 0;
    uint64_t failed = 0;

    if (!sim_options_read(&options, count, arguments))
        return 2;
    for (uint64_t i = 0; i < options.count && !(options.stop && failed > 0); i++) {
        if (!sim_options_mine(&options, options.first + i))
            continue;
        if (try_seed(options.first + i, &options, &sum))
            passed++;
        else
            failed++;
    }
    printf("%" PRIu64 " records in %" PRIu64 " packets, %" PRIu64 " sent again, %" PRIu64
           " key turns, %" PRIu64 " replays and %" PRIu64 " forgeries refused, %" PRIu64
           " injected, %" PRIu64 " without room\n",
           sum.records,
           sum.packets,
           sum.retransmitted,
           sum.rekeys,
           sum.replayed,
           sum.forged,
           sum.injected,
           sum.stalls);
    return sim_options_end(passed, failed);
}
