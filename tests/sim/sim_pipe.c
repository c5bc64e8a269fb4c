/* Pipelines on the whole engine in a simulated world, by seed: transactions, groups and compaction,
 * with crashes at random moments and at labelled points.
 *
 * A seed draws writers, workers, members and readers (pipe_client.h), some of them twice with one
 * transactional id. While they work the server is killed, loses power or is stopped; every second
 * time at a labelled point: when some client comes to a phase, or is answered in it, plus at most
 * two milliseconds. Then all is calm, the clients end what they have begun, the server is ended
 * once more, and when every transaction is over everything is read, by a reader of committed
 * records and one of all. The history is judged by history_check.h. Every 20th seed runs twice and
 * must leave the same trace.
 *
 *   sim_pipe --seed 7              one seed;  --verbose: one line per event
 *   sim_pipe --from 1 --count 50   many */
#include "pipe_client.h"
#include "sim_options.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 6000000u
#define PATIENCE_NS (2 * NS_PER_S)       /* while things break */
#define PATIENCE_CALM_NS (30 * NS_PER_S) /* afterwards */
#define FINISH_NS (120 * NS_PER_S)       /* virtual time for all clients to finish */
#define STOP_NS (60 * NS_PER_S)
#define TWICE_EVERY 20u

struct scene {
    struct sim_world world;
    struct engine_rig rig;
    struct history history;
    struct pipe_world shared;
    struct pipe_client clients[PIPE_CLIENTS_MAX];
    uint32_t client_count;
    struct sim_rng rng;
    uint64_t alarm_ns; /* when the director wants to act */
    struct tcp_sim_faults tcp_faults;
};

/* ---- drawing ---- */

static void
draw_transport(struct scene *scene)
{
    struct sim_rng *rng = &scene->world.swarm;
    const struct disk_sim_faults disk_faults = {
        .latency_ns = sim_rng_between(rng, 1000, 100000),
        .spread_ns = sim_rng_chance(rng, 700000) ? sim_rng_between(rng, 1000, 2000000) : 0,
        .short_ppm = sim_rng_chance(rng, 300000) ? (uint32_t)sim_rng_below(rng, 200000) : 0,
    };
    scene->tcp_faults = (struct tcp_sim_faults){
        .latency_ns = sim_rng_between(rng, 1000, 100000),
        .spread_ns = sim_rng_chance(rng, 500000) ? sim_rng_between(rng, 1000, 1000000) : 0,
        .fragment_ppm = sim_rng_chance(rng, 300000) ? (uint32_t)sim_rng_below(rng, 300000) : 0,
        .fragment_bytes = (uint32_t)sim_rng_between(rng, 1, 4000),
    };
    disk_sim_set_faults(scene->world.disk, &disk_faults);
    tcp_sim_set_faults(scene->world.tcp, &scene->tcp_faults);
}

static void
add_client(struct scene *scene, struct pipe_script script)
{
    static const char *const names[PIPE_CLIENTS_MAX] = {
        "pipe0",  "pipe1",  "pipe2",  "pipe3",  "pipe4",  "pipe5",  "pipe6",  "pipe7",
        "pipe8",  "pipe9",  "pipe10", "pipe11", "pipe12", "pipe13", "pipe14", "pipe15",
        "pipe16", "pipe17", "pipe18", "pipe19", "pipe20", "pipe21", "pipe22", "pipe23"};
    struct sim_rng *rng = &scene->world.swarm;
    CHECK(scene->client_count < PIPE_CLIENTS_MAX);
    struct pipe_client *client = &scene->clients[scene->client_count];

    script.number = scene->client_count;
    script.think_ns = sim_rng_between(rng, 1, 40 * NS_PER_MS);
    script.value_bytes_max = (uint32_t)sim_rng_between(rng, 8, 4000);
    script.timeout_ms = (int32_t)sim_rng_between(rng, 300, 4000);
    script.abort_ppm = (uint32_t)sim_rng_below(rng, 500000);
    script.die_ppm = (uint32_t)sim_rng_below(rng, 20000);
    script.sleep_ppm = (uint32_t)sim_rng_below(rng, 20000);
    if (script.kind == PIPE_MEMBER) { /* the dead of a group hold up the living */
        script.think_ns /= 8;
        script.timeout_ms = 200 + script.timeout_ms / 10;
        script.die_ppm /= 8;
        script.sleep_ppm /= 8;
    }
    pipe_client_init(client, &scene->shared, &script, scene->world.options.seed);
    sim_world_add(&scene->world,
                  &(struct sim_actor){.name = names[scene->client_count],
                                      .object = client,
                                      .step = pipe_client_step,
                                      .due_ns = pipe_client_due_ns});
    scene->client_count++;
}

static void
draw_clients(struct scene *scene)
{
    struct sim_rng *rng = &scene->world.swarm;
    uint32_t members = (uint32_t)sim_rng_between(rng, 1, 4);
    uint32_t writers = (uint32_t)sim_rng_between(rng, 1, 3);

    for (uint32_t i = 0; i < writers; i++) {
        const struct pipe_script script = {.kind = PIPE_WRITER, .id = i};
        add_client(scene, script);
        if (sim_rng_chance(rng, 500000))
            add_client(scene, script);
    }
    for (uint32_t p = 0; p < 4; p++) {
        const struct pipe_script script = {
            .kind = PIPE_WORKER, .id = 3 + p, .partition = p, .group = p / 2};
        if (p > 0 && sim_rng_chance(rng, 300000))
            continue; /* nobody consumes this one */
        add_client(scene, script);
        if (sim_rng_chance(rng, 500000))
            add_client(scene, script);
    }
    for (uint32_t i = 0; i < members; i++)
        add_client(scene, (struct pipe_script){.kind = PIPE_MEMBER, .group = PIPE_GROUP_PLAIN});
    add_client(scene, (struct pipe_script){.kind = PIPE_READER, .is_committed = true});
    add_client(scene, (struct pipe_script){.kind = PIPE_READER});
}

static void
draw_server(struct scene *scene)
{
    struct settings *settings = &scene->rig.settings;
    settings->group_initial_delay_ms = (int64_t)sim_rng_below(&scene->world.swarm, 50);
    settings->group_session_ms_min = 100;
}

/* ---- the director ---- */

static uint32_t
director_step(void *object)
{
    ((struct scene *)object)->alarm_ns = SIM_NEVER_NS;
    return 0;
}

static uint64_t
director_due_ns(void *object)
{
    return ((struct scene *)object)->alarm_ns;
}

static bool
clients_are_done(const struct scene *scene)
{
    for (uint32_t i = 0; i < scene->client_count; i++)
        if (scene->clients[i].phase != PIPE_DONE)
            return false;
    return true;
}

static bool
is_over(void *ctx)
{
    struct scene *scene = ctx;
    return scene->history.why[0] != '\0' || scene->shared.hit || clients_are_done(scene) ||
           scene->alarm_ns == SIM_NEVER_NS;
}

/* Lets the world go on for that long, until all are done, or a labelled point. False: a breach. */
static bool
go_on(struct scene *scene, uint64_t ns)
{
    scene->alarm_ns = sim_world_now_ns(&scene->world) + ns;
    enum sim_world_end end = sim_world_run(&scene->world, is_over, scene);
    if (end != SIM_WORLD_DONE)
        return history_fail(&scene->history, "%s", sim_world_end_name(end));
    const char *failure = rig_boot_failure(&scene->rig);
    if (failure != NULL)
        return history_fail(&scene->history, "the boot was given up: %s", failure);
    return scene->history.why[0] == '\0';
}

static bool
start(struct scene *scene)
{
    if (rig_start(&scene->rig) == RC_OK)
        return true;
    return history_fail(&scene->history, "the server does not start: %s", scene->rig.why);
}

static bool
restart(struct scene *scene)
{
    uint64_t how = sim_rng_below(&scene->rng, 10);
    if (how < 5)
        rig_power_cut(&scene->rig);
    else if (how < 9)
        rig_kill(&scene->rig);
    else if (!rig_stop(&scene->rig, STOP_NS))
        return history_fail(&scene->history, "the server does not stop: %s", scene->rig.why);
    if (sim_rng_chance(&scene->rng, 300000))
        sim_world_pass(&scene->world, sim_rng_below(&scene->rng, 300 * NS_PER_MS));
    return start(scene);
}

/* Until some client comes to a point drawn now; then a little more. */
static bool
go_to_label(struct scene *scene)
{
    struct pipe_world *shared = &scene->shared;
    static const uint32_t phases[] = {PIPE_INIT,
                                      PIPE_ADD,
                                      PIPE_PRODUCE,
                                      PIPE_PRODUCE,
                                      PIPE_ADD_OFFSETS,
                                      PIPE_TXN_COMMIT,
                                      PIPE_TXN_COMMIT,
                                      PIPE_END,
                                      PIPE_END,
                                      PIPE_END,
                                      PIPE_COMMIT,
                                      PIPE_COMMIT,
                                      PIPE_SYNC,
                                      PIPE_JOIN,
                                      PIPE_LEAVE};
    shared->watch = phases[sim_rng_below(&scene->rng, ARRAY_COUNT(phases))];
    shared->watch_answer = sim_rng_chance(&scene->rng, 400000);
    shared->hit = false;
    bool good = go_on(scene, 400 * NS_PER_MS);
    shared->watch = PIPE_PHASES;
    shared->hit = false;
    if (good && sim_rng_chance(&scene->rng, 700000))
        good = go_on(scene, sim_rng_below(&scene->rng, 2 * NS_PER_MS));
    return good;
}

static bool
act_troubles(struct scene *scene)
{
    uint32_t count = (uint32_t)sim_rng_between(&scene->rng, 3, 14);

    if (!go_on(scene, 500 * NS_PER_MS))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct tcp_sim_faults faults = scene->tcp_faults;
        uint64_t pause_ns = sim_rng_below(&scene->rng,
                                          UINT64_C(1) << sim_rng_between(&scene->rng, 20, 30));
        if (sim_rng_chance(&scene->rng, 200000))
            faults.reset_ppm = (uint32_t)sim_rng_between(&scene->rng, 1000, 20000);
        tcp_sim_set_faults(scene->world.tcp, &faults);
        if (!go_on(scene, pause_ns))
            return false;
        if (sim_rng_chance(&scene->rng, 600000) && !go_to_label(scene))
            return false;
        tcp_sim_set_faults(scene->world.tcp, &scene->tcp_faults);
        if (!restart(scene))
            return false;
    }
    return true;
}

/* ---- the end ---- */

static bool
act_finish(struct scene *scene)
{
    uint32_t left = 0;

    sim_trace_add(&scene->world.trace, "calm", 0, 0, 0);
    scene->shared.calm = true;
    scene->shared.patience_ns = PATIENCE_CALM_NS;
    if (!go_on(scene, 3 * NS_PER_S)) /* some work with nothing broken; compaction catches up */
        return false;
    scene->shared.closing = true;
    if (!go_on(scene, FINISH_NS))
        return false;
    if (clients_are_done(scene))
        return true;
    while (scene->clients[left].phase == PIPE_DONE)
        left++;
    return history_fail(&scene->history,
                        "client %u is in phase %d although nothing is broken",
                        left,
                        (int)scene->clients[left].phase);
}

static bool
act_judge(struct scene *scene)
{
    if (!restart(scene))
        return false;
    add_client(scene,
               (struct pipe_script){.kind = PIPE_READER, .is_committed = true, .is_final = true});
    add_client(scene, (struct pipe_script){.kind = PIPE_READER, .is_final = true});
    if (!go_on(scene, FINISH_NS))
        return false;
    if (!clients_are_done(scene))
        return history_fail(&scene->history,
                            "the last reader does not come to the end: a transaction stays open");
    if (scene->history.records.count == 0 || scene->shared.seen_commits == 0)
        return history_fail(&scene->history, "nothing was committed at all");
    return history_judge(&scene->history);
}

/* ---- seeds ---- */

/* Values of committed transactions that compaction took: written to "keys", and not there at the
 * end. */
static uint32_t
count_compacted(struct history *history)
{
    uint32_t gone = 0;

    for (uint32_t i = 1; i <= history->records.count; i++) {
        const struct history_record *record = history_record(history, i);
        gone += record->partition == PIPE_KEYS_PARTITION &&
                history_transaction(history, record->transaction)->committed != HISTORY_NEVER;
    }
    const struct history_read *reads = history->reads.at;
    for (uint32_t i = 0; i < history->reads.count; i++) {
        const struct history_walk *walk = history_walk(history, reads[i].walk);
        uint32_t by = history_record(history, reads[i].record)->transaction;
        gone -= walk->is_final && walk->is_committed && walk->partition == PIPE_KEYS_PARTITION &&
                history_transaction(history, by)->committed != HISTORY_NEVER;
    }
    return gone;
}

struct outcome {
    uint64_t hash;
    uint64_t events;
    uint32_t starts;
    uint32_t commits;
    uint32_t aborts;
    uint32_t fences;
    uint32_t offsets;
    uint32_t records;
    uint32_t reads;
    uint32_t compacted;
    char why[HISTORY_WHY_MAX];
};

static void
run_seed(uint64_t seed, bool verbose, struct outcome *ret_outcome)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    CHECK(scene != NULL);
    const struct sim_world_options options = {
        .seed = seed, .steps_max = STEPS_MAX, .time_max_ns = 3600 * NS_PER_S, .verbose = verbose};

    sim_world_init(&scene->world, &options);
    sim_rng_seed(&scene->rng, seed, 50);
    history_init(&scene->history);
    scene->history.compacted = 1u << PIPE_KEYS_PARTITION;
    scene->history.sources = 0xf;
    scene->history.group_of[2] = PIPE_GROUP_BACK;
    scene->history.group_of[3] = PIPE_GROUP_BACK;
    rig_init(&scene->rig, &scene->world);
    draw_server(scene);
    scene->shared = (struct pipe_world){.world = &scene->world,
                                        .rig = &scene->rig,
                                        .history = &scene->history,
                                        .patience_ns = PATIENCE_NS,
                                        .watch = PIPE_PHASES};
    draw_transport(scene);
    draw_clients(scene);
    scene->alarm_ns = SIM_NEVER_NS;
    sim_world_add(
        &scene->world,
        &(struct sim_actor){
            .name = "director", .object = scene, .step = director_step, .due_ns = director_due_ns});
    if (start(scene) && act_troubles(scene) && act_finish(scene))
        (void)act_judge(scene);
    if (scene->rig.engine != NULL)
        rig_kill(&scene->rig);
    for (uint32_t i = 0; i < scene->client_count; i++)
        pipe_client_fini(&scene->clients[i]);
    *ret_outcome = (struct outcome){
        .hash = scene->world.trace.hash,
        .events = scene->world.trace.events,
        .starts = scene->rig.starts,
        .commits = scene->shared.seen_commits,
        .aborts = scene->shared.seen_aborts,
        .fences = scene->shared.seen_fences,
        .offsets = scene->shared.seen_offsets,
        .records = scene->history.records.count,
        .reads = scene->history.reads.count,
        .compacted = scene->history.why[0] == '\0' ? count_compacted(&scene->history) : 0,
    };
    memcpy(ret_outcome->why, scene->history.why, sizeof(ret_outcome->why));
    history_fini(&scene->history);
    sim_world_fini(&scene->world);
    free(scene);
}

static bool
try_seed(const char *program, uint64_t seed, const struct sim_options *options, struct outcome *sum)
{
    struct outcome outcome;

    sim_options_case("--pipe", seed);
    run_seed(seed, options->verbose, &outcome);
    if (outcome.why[0] == '\0' && seed % TWICE_EVERY == 0) {
        struct outcome again;
        run_seed(seed, false, &again);
        if (again.hash != outcome.hash || again.events != outcome.events)
            (void)snprintf(outcome.why, sizeof(outcome.why), "two runs differ");
    }
    if (outcome.why[0] != '\0')
        printf("FAILED seed %" PRIu64 ": %s\n  to repeat: %s --seed %" PRIu64 "\n",
               seed,
               outcome.why,
               program,
               seed);
    else if (options->single)
        printf("seed %" PRIu64 ": hash %016" PRIx64 ", %" PRIu64 " events, %u starts, %u reads\n",
               seed,
               outcome.hash,
               outcome.events,
               outcome.starts,
               outcome.reads);
    sum->starts += outcome.starts;
    sum->commits += outcome.commits;
    sum->aborts += outcome.aborts;
    sum->fences += outcome.fences;
    sum->offsets += outcome.offsets;
    sum->records += outcome.records;
    sum->compacted += outcome.compacted;
    (void)fflush(stdout);
    return outcome.why[0] == '\0';
}

int
main(int argc, char **argv)
{
    struct sim_options options = {.first = 1, .count = 50};
    struct outcome sum = {0};
    uint64_t passed = 0;
    uint64_t failed = 0;

    if (!sim_options_read(&options, argc, argv))
        return 2;
    sim_options_quiet(&options);
    for (uint64_t seed = options.first; seed < options.first + options.count; seed++) {
        if (!options.single && !sim_options_mine(&options, seed))
            continue;
        bool good = try_seed(argv[0], seed, &options, &sum);
        passed += good;
        failed += !good;
        if (!good && options.stop)
            break;
    }
    printf("%u starts, %u commits, %u aborts, %u fenced, %u offsets; of %u records %u compacted "
           "away\n",
           sum.starts,
           sum.commits,
           sum.aborts,
           sum.fences,
           sum.offsets,
           sum.records,
           sum.compacted);
    return sim_options_end(passed, failed);
}
