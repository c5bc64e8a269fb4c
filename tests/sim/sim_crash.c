/* Every crash of short workloads.
 *
 * Each workload (log_script.h: all sequences of few operations) runs once with the disk's trace
 * recorded. Then, for every point of the trace and every state that a power cut there could leave
 * (at most STATES_MAX, disk_sim_walk.h), the log is recovered and its whole content judged:
 * acknowledged by that point <= found <= submitted by that point. The recovery's own trace is
 * recorded too and cut once more at a point drawn by seed, and recovered and judged again.
 *
 * Workloads from COMPACTION_FIRST on have a compacted partition and a compactor beside it, in the
 * run and after the crash; its writes, syncs, names and removals are points like all others.
 *
 * A state that was judged before against the same set of acknowledged and submitted operations is
 * not judged twice. */
#include "log_cleaner.h"
#include "log_script.h"
#include "sim_options.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "hw/disk/disk_sim_walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATES_MAX 64u     /* where every combination can be offered */
#define STATES_SAMPLED 16u /* where it cannot */
#define KNOWN_BITS 22u     /* table of judged states */
#define COMPACTION_FIRST 1000000u
#define COMPACTION_VARIANTS 3u /* of each: no bulk bypass, some, all */

struct totals {
    uint64_t points;
    uint64_t states;     /* offered */
    uint64_t judged;     /* recovered: the others were known */
    uint64_t seconds;    /* second crashes */
    uint64_t exhaustive; /* points at which every combination was offered */
    uint64_t bulk;       /* batches of the workload that bypassed the journal */
    uint64_t referred;   /* met again by the recoveries */
    uint64_t compactions;
};

struct judge {
    struct sim_world world;
    struct log_rig rig;
    struct log_model *model;
    uint64_t *known; /* [1 << KNOWN_BITS], open addressing; 0: free */
    uint32_t known_count;
    struct totals totals;
};

static bool
is_new(struct judge *judge, uint64_t key)
{
    uint64_t mask = (UINT64_C(1) << KNOWN_BITS) - 1;
    key |= 1;
    for (uint64_t at = key >> 20;; at++) {
        uint64_t *slot = &judge->known[at & mask];
        if (*slot == key)
            return false;
        if (*slot == 0) {
            CHECK(++judge->known_count < mask / 2);
            *slot = key;
            return true;
        }
    }
}

static uint64_t
by(uint64_t event_mark, uint64_t mark)
{
    return event_mark <= mark ? 1 : 0;
}

/* A number for what the model knew at a mark. */
static uint64_t
model_version(const struct log_model *model, uint64_t mark)
{
    uint64_t version = 0;
    for (uint32_t i = 0; i < model->partition_count; i++) {
        const struct model_partition *partition = &model->partitions[i];
        version += by(partition->open_submit, mark) + by(partition->open_ack, mark);
        version += by(partition->drop_submit, mark) + by(partition->drop_ack, mark);
        for (uint32_t b = 0; b < partition->batch_count; b++)
            version += by(partition->batches[b].submit_mark, mark) +
                       by(partition->batches[b].ack_mark, mark);
        for (uint32_t t = 0; t < partition->trim_count; t++)
            version += by(partition->trims[t].submit_mark, mark) +
                       by(partition->trims[t].ack_mark, mark);
    }
    return version;
}

/* Recovers the judge's disk and compares; the process is gone afterwards. */
static bool
recover_and_judge(struct judge *judge, uint64_t mark)
{
    struct diag_trail trail = {{0}};
    enum rc rc = rig_start(&judge->rig, &trail);
    bool good = rc == RC_OK;
    if (!good)
        (void)log_model_fail(judge->model, "recovery refuses: %s: %s", rc_name(rc), trail.text);
    good = good && rig_judge(&judge->rig, mark, false);
    rig_kill(&judge->rig);
    return good;
}

/* Cuts the recorded recovery at a drawn point and recovers what is left. */
static bool
crash_again(struct judge *judge, uint64_t mark)
{
    struct sim_world *world = &judge->world;
    struct disk_sim_walk *walk = disk_sim_walk_create(world->disk, mark);
    uint64_t at = sim_rng_below(&world->crash, disk_sim_trace_count(world->disk) + 1);
    while (disk_sim_walk_position(walk) < at)
        CHECK(disk_sim_walk_next(walk));
    uint32_t states = disk_sim_walk_states(walk, STATES_MAX);
    uint32_t state = (uint32_t)sim_rng_below(&world->crash, states);
    struct disk_sim_config config = sim_world_disk_config(world);
    struct disk *disk = disk_sim_walk_state(walk, state, &config);
    disk_sim_walk_destroy(walk);
    sim_world_replace_disk(world, disk);
    judge->totals.seconds++;
    if (recover_and_judge(judge, mark))
        return true;
    printf("  second crash: event %" PRIu64 " of the recovery, state %" PRIu32 "\n", at, state);
    return false;
}

static bool
judge_state(struct judge *judge, struct disk *disk, uint64_t mark)
{
    sim_world_replace_disk(&judge->world, disk);
    disk_sim_trace_start(disk);
    judge->totals.judged++;
    return recover_and_judge(judge, mark) && crash_again(judge, mark);
}

static bool
judge_trace(struct judge *judge, struct disk *disk, uint64_t seed)
{
    struct disk_sim_walk *walk = disk_sim_walk_create(disk, seed);
    bool good = true;
    do {
        uint64_t mark = disk_sim_walk_position(walk);
        uint32_t states = disk_sim_walk_states(walk, STATES_MAX);
        if (!disk_sim_walk_is_exhaustive(walk))
            states = disk_sim_walk_states(walk, STATES_SAMPLED);
        uint64_t version = model_version(judge->model, mark);
        judge->totals.points++;
        judge->totals.exhaustive += disk_sim_walk_is_exhaustive(walk);
        for (uint32_t i = 0; i < states && good; i++) {
            struct disk_sim_config config = sim_world_disk_config(&judge->world);
            struct disk *after = disk_sim_walk_state(walk, i, &config);
            uint64_t words[2] = {disk_sim_hash(after), version};
            judge->totals.states++;
            if (!is_new(judge, hash_xxh3(words, sizeof(words), 0))) {
                disk_fini(after);
                continue;
            }
            good = judge_state(judge, after, mark);
            if (!good)
                printf("  after %" PRIu64 " events of the disk, state %" PRIu32 " of %" PRIu32 "\n",
                       mark,
                       i,
                       states);
        }
    } while (good && disk_sim_walk_next(walk));
    disk_sim_walk_destroy(walk);
    return good;
}

/* Runs the workload; its model and its disk's trace remain. */
static bool
run_workload(struct log_script *script, uint32_t number)
{
    struct diag_trail trail = {{0}};
    struct log_rig *rig = script->rig;
    bool from_birth = number < SCRIPT_OP_COUNT; /* the first start is cut too */
    if (from_birth)
        disk_sim_trace_start(rig->world->disk);
    enum rc rc = rig_start(rig, &trail);
    if (rc != RC_OK)
        return log_model_fail(rig->model, "first start: %s: %s", rc_name(rc), trail.text);
    if (number % 2 == 0 && !from_birth)
        disk_sim_trace_start(rig->world->disk);
    if (!log_script_begin(script))
        return false;
    if (number % 2 == 1 && !from_birth) {
        /* Marks begin with the trace: what is there already is acknowledged. */
        disk_sim_trace_start(rig->world->disk);
        rig->model->partitions[0].open_submit = 0;
        rig->model->partitions[0].open_ack = 0;
    }
    return log_script_run(script);
}

/* Off, for batches of 64 KiB and more, and for nearly all. */
static uint64_t
choose_bulk_bytes(uint32_t number)
{
    static const uint64_t bulk_bytes[] = {64 * KIB, 4 * KIB, 0};
    return bulk_bytes[number % ARRAY_COUNT(bulk_bytes)];
}

/* The N-th workload, and what of the rig depends on it. */
static bool
choose(uint32_t number, struct log_script *script, struct rig_options *options)
{
    uint32_t compaction = (number - COMPACTION_FIRST) / COMPACTION_VARIANTS;
    bool is_there = number >= COMPACTION_FIRST ? log_script_choose_compaction(script, compaction)
                                               : log_script_choose(script, number);
    options->bulk_bytes = choose_bulk_bytes(number);
    options->compacts = script->compacts;
    return is_there;
}

static bool
try_workload(uint32_t number, const struct sim_options *options, struct totals *totals)
{
    static struct judge judge;
    static struct sim_world world;
    static struct log_model model;
    static struct log_rig rig;
    char name[128];
    struct rig_options rig_options = log_script_options();
    struct log_script script = {
        .rig = &rig, .settle = number / 2 % 2 == 0, .idempotent = number / 4 % 2 == 0};
    struct sim_world_options world_options = {.seed = 1000 + number, .verbose = options->verbose};

    if (!choose(number, &script, &rig_options))
        return false;
    sim_world_init(&world, &world_options);
    disk_sim_set_faults(world.disk,
                        &(struct disk_sim_faults){.latency_ns = 20000, .spread_ns = 100000});
    log_model_init(&model);
    rig_init(&rig, &world, &model, &rig_options);
    log_script_name(&script, name, sizeof(name));
    bool good = run_workload(&script, number);

    judge.model = &model;
    judge.totals = (struct totals){0};
    judge.known_count = 0;
    if (judge.known == NULL)
        judge.known = malloc(sizeof(uint64_t) << KNOWN_BITS);
    CHECK(judge.known != NULL);
    memset(judge.known, 0, sizeof(uint64_t) << KNOWN_BITS);
    world_options.verbose = false;
    sim_world_init(&judge.world, &world_options);
    rig_options.observer = true;
    rig_init(&judge.rig, &judge.world, &model, &rig_options);
    struct disk *traced = world.disk;
    if (rig.running)
        rig_kill(&rig);
    good = good && judge_trace(&judge, traced, number);

    struct totals *sums = &judge.totals;
    sums->bulk = rig_bulk_batches(&rig);
    sums->referred = judge.rig.counts.batches_referred;
    sums->compactions = cleaner_runs(&rig);
    if (!good || options->single)
        printf("workload %" PRIu32 " (%s): %s; %" PRIu64 " points, %" PRIu64 " states, %" PRIu64
               " judged, %" PRIu64 " second crashes; %" PRIu64 " batches in bulk, %" PRIu64
               " compactions\n",
               number,
               name,
               good ? "good" : model.why,
               sums->points,
               sums->states,
               sums->judged,
               sums->seconds,
               sums->bulk,
               sums->compactions);
    if (!good)
        printf("  to repeat: tests/sim/run --workload %" PRIu32 "\n", number);
    totals->points += sums->points;
    totals->states += sums->states;
    totals->judged += sums->judged;
    totals->seconds += sums->seconds;
    totals->exhaustive += sums->exhaustive;
    totals->bulk += sums->bulk;
    totals->referred += sums->referred;
    totals->compactions += sums->compactions;
    rig_fini(&judge.rig);
    rig_fini(&rig);
    log_model_fini(&model);
    sim_world_fini(&judge.world);
    sim_world_fini(&world);
    return good;
}

/* Journal reclaim makes a workload ten times as long: of the sequences of three with one, each
 * eighth is run unless all are wanted. */
static bool
is_left_out(uint32_t number)
{
    struct log_script script = {0};
    bool reclaims = false;
    if (!log_script_choose(&script, number) || script.op_count < 3)
        return false;
    for (uint32_t i = 0; i < script.op_count; i++)
        reclaims |= script.ops[i] == SCRIPT_RECLAIM;
    return reclaims && number % 8 != 0;
}

int
main(int count, char **arguments)
{
    struct sim_options options = {.first = 0, .count = log_script_count(3)};
    struct totals totals = {0};
    uint64_t passed = 0;
    uint64_t failed = 0;
    if (!sim_options_read(&options, count, arguments))
        return 2;
    sim_options_quiet(&options);
    for (uint64_t i = 0; i < options.count && !(options.stop && failed > 0); i++) {
        if (!options.single && !sim_options_mine(&options, i))
            continue;
        if (!options.single && !options.all && is_left_out((uint32_t)(options.first + i)))
            continue;
        sim_options_case("--workload", options.first + i);
        bool good = try_workload((uint32_t)(options.first + i), &options, &totals);
        passed += good;
        failed += !good;
        (void)fflush(stdout);
    }
    printf("%" PRIu64 " crash points (%" PRIu64 " exhaustive), %" PRIu64 " states, %" PRIu64
           " recovered and judged, %" PRIu64 " second crashes; %" PRIu64
           " batches bypassed the journal, %" PRIu64 " were met again; %" PRIu64 " compactions\n",
           totals.points,
           totals.exhaustive,
           totals.states,
           totals.judged,
           totals.seconds,
           totals.bulk,
           totals.referred,
           totals.compactions);
    return sim_options_end(passed, failed);
}
