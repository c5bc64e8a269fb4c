/* The log under a seeded user, a seeded disk and seeded ends of its process and machine.
 *
 * A seed draws the log's sizes, the disk's manners (slow, short, out of order), the user, and how
 * each of some lives ends: cleanly, by kill, by power cut; after a power cut the recovery itself
 * may be cut at any event of its own trace, several times over. After every start the whole content
 * is compared with the model. Each 20th seed runs twice and must leave the same trace. Seeds from
 * 2^62 on have compacted partitions and a compactor. */
#include "log_cleaner.h"
#include "log_client.h"
#include "sim_options.h"

#include "engine/base/check.h"
#include "hw/disk/disk_sim_walk.h"

#include <inttypes.h>
#include <stdio.h>

#define RECOVERY_CUTS_MAX 3u
#define COMPACTED_SEEDS (UINT64_C(1) << 62)

struct run {
    struct sim_world world;
    struct log_model model;
    struct log_rig rig;
    struct log_client client;
    uint32_t cuts; /* power cuts during recovery */
    uint32_t kills;
    uint32_t power_cuts;
    uint32_t stops;
    bool clean; /* the last life ended by a clean stop */
};

struct result {
    uint64_t hash;
    uint64_t events;
    uint64_t bulk;     /* batches that bypassed the journal */
    uint64_t referred; /* of them, met again by a recovery */
    uint64_t runs;     /* of the compactor, to their ends */
    uint64_t removed;  /* records that it took out */
    bool good;
};

static struct rig_options
draw_options(struct sim_rng *rng, uint64_t seed)
{
    static const uint64_t bulk_bytes[] = {0, 4 * KIB, 16 * KIB, 64 * KIB};
    static const uint64_t journal_bytes[] = {64 * KIB, 128 * KIB, 512 * KIB, 2 * MIB};
    static const uint64_t ring_bytes[] = {1 * MIB, 2 * MIB, 8 * MIB};
    return (struct rig_options){
        .journal_file_bytes = journal_bytes[sim_rng_below(rng, ARRAY_COUNT(journal_bytes))],
        .slab_ring_bytes = ring_bytes[sim_rng_below(rng, ARRAY_COUNT(ring_bytes))],
        /* Of the seed's bits, not drawn: older seeds keep what they draw. */
        .bulk_bytes = bulk_bytes[(seed * 0x9e3779b97f4a7c15u) >> 62],
        .compacts = seed >= COMPACTED_SEEDS,
        .partitions_max = MODEL_PARTITIONS_MAX,
        .producers_max = 64,
        .open_files_max = (uint32_t)sim_rng_between(rng, 16, 128),
        .job_ns_max = sim_rng_chance(rng, 300000) ? 20 * NS_PER_MS : 200 * NS_PER_US,
    };
}

/* Replaces the disk by what a power cut at a chosen moment of the recorded recovery would have
 * left. */
static void
cut_recovery(struct run *run)
{
    struct sim_world *world = &run->world;
    struct disk_sim_walk *walk = disk_sim_walk_create(world->disk, sim_rng_next(&world->crash));
    uint64_t events = disk_sim_trace_count(world->disk);
    uint64_t at = sim_rng_below(&world->crash, events + 1);
    while (disk_sim_walk_position(walk) < at)
        CHECK(disk_sim_walk_next(walk));
    uint32_t states = disk_sim_walk_states(walk, 64);
    struct disk_sim_config config = sim_world_disk_config(world);
    struct disk *disk = disk_sim_walk_state(
        walk, (uint32_t)sim_rng_below(&world->crash, states), &config);
    disk_sim_walk_destroy(walk);
    rig_kill(&run->rig);
    sim_world_replace_disk(world, disk);
    run->cuts++;
}

static bool
start(struct run *run, bool may_cut)
{
    struct sim_world *world = &run->world;
    for (uint32_t cut = 0;; cut++) {
        struct diag_trail trail = {{0}};
        bool again = may_cut && cut < RECOVERY_CUTS_MAX && sim_rng_chance(&world->crash, 400000);
        if (again)
            disk_sim_trace_start(world->disk);
        enum rc rc = rig_start(&run->rig, &trail);
        if (rc != RC_OK)
            return log_model_fail(&run->model, "recovery refuses: %s: %s", rc_name(rc), trail.text);
        if (!again)
            break;
        cut_recovery(run);
    }
    if (run->clean && run->rig.report.batches_replayed > 0)
        return log_model_fail(&run->model, "a start after a clean stop replayed batches");
    return rig_judge(&run->rig, 0, true) && log_client_restart(&run->client);
}

/* How a life ends. */
static bool
end_life(struct run *run)
{
    uint64_t draw = sim_rng_below(&run->world.crash, 10);
    run->clean = false;
    if (draw < 6) {
        run->power_cuts++;
        rig_power_cut(&run->rig);
        return true;
    }
    if (draw < 8) {
        run->kills++;
        rig_kill(&run->rig);
        return true;
    }
    sim_world_remove(&run->world, &run->client);
    run->stops++;
    run->clean = true;
    return rig_settle(&run->rig) && rig_judge(&run->rig, 0, true) && rig_stop(&run->rig);
}

static bool
live(struct run *run)
{
    uint64_t lives = sim_rng_between(&run->world.swarm, 1, 5);
    for (uint64_t life = 0; life < lives; life++) {
        if (!start(run, life > 0))
            return false;
        log_client_add(&run->client, sim_rng_between(&run->world.swarm, 1, 800));
        enum sim_world_end end = sim_world_run(&run->world, log_client_is_done, &run->client);
        if (end != SIM_WORLD_DONE)
            return log_model_fail(&run->model, "the user got stuck: %s", sim_world_end_name(end));
        if (run->model.why[0] != '\0')
            return false;
        uint64_t more = sim_rng_below(&run->world.crash, 200);
        if (run->rig.options.compacts)
            sim_world_pass(&run->world, sim_rng_below(&run->world.crash, 2 * NS_PER_S));
        for (uint64_t i = 0; i < more; i++)
            (void)sim_world_step(&run->world);
        bool good = run->model.why[0] == '\0' && end_life(run);
        sim_world_remove(&run->world, &run->client);
        if (!good)
            return false;
    }
    /* Liveness: everything heals, everything is there, and stops. */
    disk_sim_heal(run->world.disk);
    if (!start(run, false) || !rig_stop(&run->rig))
        return false;
    run->clean = true;
    return start(run, false) && rig_stop(&run->rig);
}

static struct result
run_seed(uint64_t seed, const struct sim_options *options)
{
    static struct run run;
    run = (struct run){0};
    sim_world_init(&run.world,
                   &(struct sim_world_options){.seed = seed, .verbose = options->verbose});
    sim_world_draw_faults(&run.world);
    log_model_init(&run.model);
    struct rig_options rig_options = draw_options(&run.world.swarm, seed);
    rig_init(&run.rig, &run.world, &run.model, &rig_options);
    log_client_init(&run.client, &run.rig);

    struct result result = {.good = live(&run)};
    if (run.rig.running)
        rig_kill(&run.rig);
    result.hash = run.world.trace.hash;
    result.events = run.world.trace.events;
    result.bulk = rig_bulk_batches(&run.rig);
    result.referred = run.rig.counts.batches_referred;
    result.runs = cleaner_runs(&run.rig);
    result.removed = cleaner_removed(&run.rig);
    const struct rig_counts *counts = &run.rig.counts;
    if (!result.good || options->single)
        printf("seed %" PRIu64 ": %s; %" PRIu64 " appends, %" PRIu64 " acks, %" PRIu64
               " duplicates, %" PRIu64 " reads, %" PRIu64 " opens, %" PRIu64 " trims, %" PRIu64
               " drops, %" PRIu64 " batches replayed, %" PRIu64 " in bulk, %" PRIu64
               " of them met again; %u power cuts, %u during recovery, %u kills, %u "
               "stops; %" PRIu64 " compactions, %" PRIu64 " records removed; %" PRIu64
               " events, trace %016" PRIx64 "\n",
               seed,
               result.good ? "good" : run.model.why,
               counts->appends,
               counts->acks,
               counts->duplicates,
               counts->reads,
               counts->opens,
               counts->trims,
               counts->drops,
               counts->batches_replayed,
               result.bulk,
               result.referred,
               run.power_cuts,
               run.cuts,
               run.kills,
               run.stops,
               result.runs,
               result.removed,
               result.events,
               result.hash);
    rig_fini(&run.rig);
    log_model_fini(&run.model);
    sim_world_fini(&run.world);
    return result;
}

int
main(int count, char **arguments)
{
    struct sim_options options = {.first = 1, .count = 200};
    uint64_t passed = 0;
    uint64_t failed = 0;
    uint64_t bulk = 0;
    uint64_t referred = 0;
    uint64_t runs = 0;
    uint64_t removed = 0;
    if (!sim_options_read(&options, count, arguments))
        return 2;
    sim_options_quiet(&options);
    for (uint64_t i = 0; i < options.count && !(options.stop && failed > 0); i++) {
        uint64_t seed = options.first + i;
        if (!options.single && !sim_options_mine(&options, seed))
            continue;
        sim_options_case("--seed", seed);
        struct result result = run_seed(seed, &options);
        if (result.good && (seed % 20 == 0 || options.single)) {
            struct sim_options quiet = {0};
            struct result again = run_seed(seed, &quiet);
            if (again.hash != result.hash || again.events != result.events) {
                printf("seed %" PRIu64 ": a second run leaves another trace\n", seed);
                result.good = false;
            }
        }
        bulk += result.bulk;
        referred += result.referred;
        runs += result.runs;
        removed += result.removed;
        passed += result.good;
        failed += !result.good;
        if (!result.good)
            printf("  to repeat: tests/sim/run --seed %" PRIu64 "\n", seed);
        (void)fflush(stdout);
    }
    printf("%" PRIu64 " batches bypassed the journal, %" PRIu64 " were met again by recoveries\n",
           bulk,
           referred);
    if (runs > 0)
        printf("%" PRIu64 " compactions took out %" PRIu64 " records\n", runs, removed);
    return sim_options_end(passed, failed);
}
