/* The whole engine in a simulated world, by seed: scripted Kafka clients, and everything that can
 * go wrong around a server.
 *
 * A seed draws a layout, sizes, topics, clients, and which kinds of trouble there are. The clients
 * work while the trouble comes and goes: connections are reset, the process is killed, the machine
 * loses power, the disk is full, slow, stuck or broken, the wall clock jumps. Then all is healed,
 * the clients must finish within a bound, the server is ended and started once more, everything is
 * read, and judged by engine_model.h. Every 20th seed runs twice and must leave the same trace.
 *
 *   sim_engine --seed 7              one seed;  --verbose: one line per event
 *   sim_engine --from 1 --count 200  many */
#include "engine_reader.h"
#include "sim_options.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 4000000u
#define PATIENCE_NS (4 * NS_PER_S)       /* while things break */
#define PATIENCE_CALM_NS (30 * NS_PER_S) /* afterwards */
#define FINISH_NS (300 * NS_PER_S)       /* virtual time for all clients to finish when healed */
#define STOP_NS (60 * NS_PER_S)
#define TWICE_EVERY 20u

enum trouble {
    TROUBLE_RESETS,
    TROUBLE_KILL,
    TROUBLE_POWER,
    TROUBLE_STOP,
    TROUBLE_FULL,
    TROUBLE_SLOW,
    TROUBLE_STUCK,
    TROUBLE_BROKEN,
    TROUBLE_JUMP,
    TROUBLE_COUNT,
};

static const char *const trouble_names[TROUBLE_COUNT] = {
    [TROUBLE_RESETS] = "resets",
    [TROUBLE_KILL] = "kill",
    [TROUBLE_POWER] = "power",
    [TROUBLE_STOP] = "stop",
    [TROUBLE_FULL] = "full",
    [TROUBLE_SLOW] = "slow",
    [TROUBLE_STUCK] = "stuck",
    [TROUBLE_BROKEN] = "broken",
    [TROUBLE_JUMP] = "jump",
};

struct scene {
    struct sim_world world;
    struct engine_rig rig;
    struct engine_model model;
    struct client_world shared;
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct sim_rng rng;                 /* of trouble: what, when, how long */
    uint32_t troubles;                  /* bits of enum trouble: what this seed knows */
    uint64_t alarm_ns;                  /* when the director wants to act */
    struct disk_sim_faults disk_faults; /* when nothing is wrong */
    struct tcp_sim_faults tcp_faults;
    bool verbose;
};

/* ---- drawing ---- */

static void
draw_transport(struct scene *scene)
{
    struct sim_rng *rng = &scene->world.swarm;
    scene->disk_faults = (struct disk_sim_faults){
        .latency_ns = sim_rng_between(rng, 1000, 100000),
        .spread_ns = sim_rng_chance(rng, 700000) ? sim_rng_between(rng, 1000, 400000) : 0,
        .short_ppm = sim_rng_chance(rng, 300000) ? (uint32_t)sim_rng_below(rng, 200000) : 0,
    };
    scene->tcp_faults = (struct tcp_sim_faults){
        .latency_ns = sim_rng_between(rng, 1000, 100000),
        .spread_ns = sim_rng_chance(rng, 500000) ? sim_rng_between(rng, 1000, 1000000) : 0,
        .fragment_ppm = sim_rng_chance(rng, 500000) ? (uint32_t)sim_rng_below(rng, 500000) : 0,
        .fragment_bytes = (uint32_t)sim_rng_between(rng, 1, 4000),
        .partial_ppm = sim_rng_chance(rng, 500000) ? (uint32_t)sim_rng_below(rng, 500000) : 0,
        .buffer_bytes = sim_rng_chance(rng, 300000) ? (uint32_t)sim_rng_between(rng, 2048, 16384)
                                                    : 0,
    };
    if (sim_rng_chance(rng, 300000))
        scene->world.step_cost_ns = sim_rng_between(rng, 200, 20000);
    disk_sim_set_faults(scene->world.disk, &scene->disk_faults);
    tcp_sim_set_faults(scene->world.tcp, &scene->tcp_faults);
}

static void
draw_topics(struct scene *scene)
{
    static const int64_t segment_bytes[] = {192 * KIB, 512 * KIB, 1 * MIB};
    struct sim_rng *rng = &scene->world.swarm;
    struct engine_model *model = &scene->model;
    uint32_t count = (uint32_t)sim_rng_between(rng, 1, 4);

    for (uint32_t t = 0; t < count; t++) {
        struct engine_topic *topic = &model->topics[model->topic_count++];
        (void)snprintf(topic->name, sizeof(topic->name), "topic-%u", t);
        topic->partition_count = (uint32_t)sim_rng_between(rng, 1, ENGINE_PARTITIONS_MAX);
        topic->segment_bytes = segment_bytes[sim_rng_below(rng, ARRAY_COUNT(segment_bytes))];
        topic->retention_bytes = -1;
        if (t == 0)
            continue; /* a plain one in every world */
        switch (sim_rng_below(rng, 6)) {
        case 0:
            topic->is_memory = true;
            break;
        case 1:
            topic->is_append_time = true;
            break;
        case 2:
            topic->is_auto = true;
            topic->partition_count = (uint32_t)scene->rig.settings.topic_partitions_default;
            break;
        case 3:
            topic->retention_bytes = 256 * KIB;
            break;
        case 4:
            topic->is_volatile = true;
            break;
        default:
            break;
        }
    }
}

static struct client *
add_client(struct scene *scene, struct client_script *script)
{
    static const char *const names[CLIENTS_MAX] = {"client0",
                                                   "client1",
                                                   "client2",
                                                   "client3",
                                                   "client4",
                                                   "client5",
                                                   "client6",
                                                   "client7",
                                                   "client8",
                                                   "client9",
                                                   "client10",
                                                   "client11",
                                                   "client12",
                                                   "client13",
                                                   "client14",
                                                   "client15"};
    struct client *client = &scene->clients[scene->client_count];
    script->number = scene->client_count;
    script->version_less = (int16_t)sim_rng_below(&scene->world.swarm, 8);
    client_init(client, &scene->shared, script, scene->world.options.seed);
    sim_world_add(&scene->world,
                  &(struct sim_actor){.name = names[scene->client_count],
                                      .object = client,
                                      .step = client_step,
                                      .due_ns = client_due_ns});
    scene->client_count++;
    return client;
}

/* Lanes in random partitions, each partition once. */
static void
draw_lanes(struct scene *scene, struct client *client, bool device_only)
{
    struct sim_rng *rng = &scene->world.swarm;
    uint32_t wanted = (uint32_t)sim_rng_between(rng, 1, CLIENT_LANES_MAX);

    for (uint32_t i = 0; i < 2 * wanted && client->lane_count < wanted; i++) {
        uint32_t t = (uint32_t)sim_rng_below(rng, scene->model.topic_count);
        const struct engine_topic *topic = &scene->model.topics[t];
        uint32_t p = (uint32_t)sim_rng_below(rng, topic->partition_count);
        bool known = false;
        for (uint32_t l = 0; l < client->lane_count; l++)
            known |= client->lanes[l].topic == t && client->lanes[l].partition == p;
        if (known || (device_only && (topic->is_memory || topic->is_volatile)))
            continue;
        client_add_lane(client, t, p);
    }
    if (client->lane_count == 0)
        client_add_lane(client, 0, 0);
}

static void
draw_clients(struct scene *scene)
{
    struct sim_rng *rng = &scene->world.swarm;
    uint32_t producers = (uint32_t)sim_rng_between(rng, 1, 5);
    uint32_t consumers = (uint32_t)sim_rng_between(rng, 1, 3);
    struct client_script admin = {
        .kind = CLIENT_ADMIN,
        .batches = (uint32_t)sim_rng_between(rng, 1, 4),
        .think_ns = sim_rng_between(rng, NS_PER_MS, 100 * NS_PER_MS),
    };

    (void)add_client(scene, &admin);
    for (uint32_t i = 0; i < producers; i++) {
        struct client_script script = {
            .kind = CLIENT_PRODUCER,
            .is_idempotent = sim_rng_chance(rng, 600000),
            .flight_max = (uint32_t)sim_rng_between(rng, 1, 8),
            .batches = (uint32_t)sim_rng_between(rng, 10, 80),
            .records_max = (uint32_t)sim_rng_between(rng, 1, 10),
            .value_bytes_max = (uint32_t)sim_rng_between(rng, 12, 4000),
            .think_ns = sim_rng_between(rng, 1, 10 * NS_PER_MS),
        };
        script.is_stubborn = script.is_idempotent || sim_rng_chance(rng, 500000);
        draw_lanes(scene, add_client(scene, &script), script.is_idempotent);
    }
    for (uint32_t i = 0; i < consumers; i++) {
        struct client_script script = {
            .kind = CLIENT_CONSUMER,
            .wait_ms_max = (int32_t)sim_rng_between(rng, 0, 500),
            .min_bytes = (int32_t)sim_rng_between(rng, 0, 20000),
            .think_ns = sim_rng_between(rng, 1, 5 * NS_PER_MS),
        };
        draw_lanes(scene, add_client(scene, &script), true);
    }
}

static void
draw_troubles(struct scene *scene)
{
    for (uint32_t i = 0; i < TROUBLE_COUNT; i++)
        if (sim_rng_chance(&scene->rng, 400000))
            scene->troubles |= 1u << i;
}

/* ---- the director ---- */

static uint32_t
director_step(void *object)
{
    struct scene *scene = object;
    scene->alarm_ns = SIM_NEVER_NS;
    return 0;
}

static uint64_t
director_due_ns(void *object)
{
    return ((struct scene *)object)->alarm_ns;
}

static bool
clients_are_done(struct scene *scene)
{
    bool producers = true;
    bool all = true;
    for (uint32_t i = 0; i < scene->client_count; i++) {
        bool done = scene->clients[i].state == CLIENT_DONE;
        all &= done;
        if (scene->clients[i].script.kind != CLIENT_CONSUMER)
            producers &= done;
    }
    scene->shared.producers_done = producers;
    return all;
}

static bool
is_over(void *ctx)
{
    struct scene *scene = ctx;
    return scene->model.why[0] != '\0' || clients_are_done(scene) ||
           scene->alarm_ns == SIM_NEVER_NS;
}

/* Lets the world go on for that long, or until all clients are done. False: a breach. */
static bool
go_on(struct scene *scene, uint64_t ns)
{
    scene->alarm_ns = sim_world_now_ns(&scene->world) + ns;
    enum sim_world_end end = sim_world_run(&scene->world, is_over, scene);
    if (end != SIM_WORLD_DONE)
        return engine_model_fail(&scene->model, "%s", sim_world_end_name(end));
    const char *failure = rig_boot_failure(&scene->rig);
    if (failure != NULL && !scene->shared.storage_errors)
        return engine_model_fail(&scene->model, "the boot was given up: %s", failure);
    return scene->model.why[0] == '\0';
}

static uint64_t
draw_pause(struct scene *scene)
{
    uint64_t ns = UINT64_C(1) << sim_rng_between(&scene->rng, 17, 28); /* 131 us to 268 ms */
    return sim_rng_between(&scene->rng, ns / 2, ns);
}

static bool
start(struct scene *scene)
{
    scene->shared.storage_errors = false;
    enum rc rc = rig_start(&scene->rig);
    if (rc == RC_OK)
        return true;
    return engine_model_fail(&scene->model, "the server does not start: %s", scene->rig.why);
}

/* The disk gets well, but what it has refused stays refused until a start. */
static void
heal_disk(struct scene *scene)
{
    disk_sim_heal(scene->world.disk);
    disk_sim_set_faults(scene->world.disk, &scene->disk_faults);
    rig_unstick(&scene->rig);
}

static bool
restart(struct scene *scene, enum trouble how)
{
    bool was_ill = scene->shared.storage_errors;

    if (how == TROUBLE_STOP) {
        scene->shared.storage_errors = was_ill;
        if (!rig_stop(&scene->rig, STOP_NS)) {
            if (!was_ill)
                return engine_model_fail(
                    &scene->model, "the server does not stop: %s", scene->rig.why);
            engine_model_crash(&scene->model);
        }
        if (was_ill)
            engine_model_crash(&scene->model);
    } else {
        if (how == TROUBLE_POWER)
            rig_power_cut(&scene->rig);
        else
            rig_kill(&scene->rig);
        engine_model_crash(&scene->model);
    }
    if (scene->model.why[0] != '\0')
        return false;
    heal_disk(scene);
    return go_on(scene, draw_pause(scene)) && start(scene);
}

static bool
trouble_broken(struct scene *scene)
{
    static const char *const parts[] = {NULL, "journal", "segment", ".log", "checkpoint"};
    static const uint32_t classes[] = {
        DISK_SIM_WRITE, DISK_SIM_WRITE, DISK_SIM_SYNC, DISK_SIM_NAME, DISK_SIM_SIZE, DISK_SIM_READ};
    static const enum trouble ends[] = {TROUBLE_KILL, TROUBLE_POWER, TROUBLE_STOP};
    struct disk_sim_plan plan = {
        .classes = classes[sim_rng_below(&scene->rng, ARRAY_COUNT(classes))],
        .path_part = parts[sim_rng_below(&scene->rng, ARRAY_COUNT(parts))],
        .skip = sim_rng_below(&scene->rng, 20),
        .count = sim_rng_between(&scene->rng, 1, 3),
        .effect = DISK_SIM_EFFECT_ERROR,
        .error = 5, /* EIO */
    };

    scene->shared.storage_errors = true;
    disk_sim_plan_add(scene->world.disk, &plan);
    return go_on(scene, draw_pause(scene)) && go_on(scene, draw_pause(scene)) &&
           restart(scene, ends[sim_rng_below(&scene->rng, ARRAY_COUNT(ends))]);
}

static bool
trouble_full(struct scene *scene)
{
    struct disk_sim_faults faults = scene->disk_faults;
    faults.space_bytes = disk_sim_used_bytes(scene->world.disk) +
                         sim_rng_below(&scene->rng,
                                       sim_rng_chance(&scene->rng, 500000) ? 32 * KIB : 512 * KIB);
    scene->shared.storage_errors = true;
    disk_sim_set_faults(scene->world.disk, &faults);
    bool good = go_on(scene, draw_pause(scene));
    heal_disk(scene);
    return good;
}

static bool
trouble_slow(struct scene *scene, bool stuck)
{
    struct disk_sim_faults faults = scene->disk_faults;
    if (stuck) {
        faults.stuck_ppm = 200000;
    } else {
        faults.slow_ppm = (uint32_t)sim_rng_between(&scene->rng, 10000, 1000000);
        faults.slow_ns = sim_rng_between(&scene->rng, NS_PER_MS, 300 * NS_PER_MS);
    }
    disk_sim_set_faults(scene->world.disk, &faults);
    bool good = go_on(scene, draw_pause(scene));
    heal_disk(scene);
    return good;
}

static bool
trouble_resets(struct scene *scene)
{
    struct tcp_sim_faults faults = scene->tcp_faults;
    faults.reset_ppm = (uint32_t)sim_rng_between(&scene->rng, 1000, 100000);
    tcp_sim_set_faults(scene->world.tcp, &faults);
    bool good = go_on(scene, draw_pause(scene));
    tcp_sim_set_faults(scene->world.tcp, &scene->tcp_faults);
    return good;
}

static bool
make_trouble(struct scene *scene, enum trouble trouble)
{
    sim_trace_add(&scene->world.trace, trouble_names[trouble], 0, 0, 0);
    switch (trouble) {
    case TROUBLE_RESETS:
        return trouble_resets(scene);
    case TROUBLE_KILL:
    case TROUBLE_POWER:
    case TROUBLE_STOP:
        return restart(scene, trouble);
    case TROUBLE_FULL:
        return trouble_full(scene);
    case TROUBLE_SLOW:
        return trouble_slow(scene, false);
    case TROUBLE_STUCK:
        return trouble_slow(scene, true);
    case TROUBLE_BROKEN:
        return trouble_broken(scene);
    case TROUBLE_JUMP:
        /* At most 50 minutes from the clients' time, in all: one hour is what a topic allows. */
        rig_jump(&scene->rig,
                 (int64_t)sim_rng_below(&scene->rng, 6000000) - 3000000 - scene->rig.skew_ms);
        return true;
    case TROUBLE_COUNT:
        break;
    }
    return true;
}

static bool
act_troubles(struct scene *scene)
{
    uint32_t count = (uint32_t)sim_rng_between(&scene->rng, 1, 12);

    if (scene->troubles == 0)
        return true;
    for (uint32_t i = 0; i < count && !clients_are_done(scene); i++) {
        uint32_t trouble;
        do
            trouble = (uint32_t)sim_rng_below(&scene->rng, TROUBLE_COUNT);
        while ((scene->troubles & (1u << trouble)) == 0);
        if (!go_on(scene, draw_pause(scene)) || !make_trouble(scene, (enum trouble)trouble))
            return false;
        /* A server whose boot failed ends by itself; somebody starts it again. */
        if (rig_boot_failure(&scene->rig) != NULL && !restart(scene, TROUBLE_KILL))
            return false;
    }
    return true;
}

/* ---- the end ---- */

static bool
act_finish(struct scene *scene)
{
    sim_trace_add(&scene->world.trace, "calm", 0, 0, 0);
    scene->shared.calm = true;
    scene->shared.patience_ns = PATIENCE_CALM_NS;
    if (!go_on(scene, FINISH_NS))
        return false;
    if (clients_are_done(scene))
        return true;
    uint32_t left = 0;
    while (scene->clients[left].state == CLIENT_DONE)
        left++;
    return engine_model_fail(
        &scene->model, "client %u is not done although nothing is broken", left);
}

/* One more start, after a stop or a cut; then the verdict. */
static bool
act_judge(struct scene *scene)
{
    static const enum trouble ends[] = {TROUBLE_STOP, TROUBLE_STOP, TROUBLE_POWER, TROUBLE_KILL};
    enum trouble how = ends[sim_rng_below(&scene->rng, ARRAY_COUNT(ends))];
    const struct recover_report *recovered = &scene->rig.recovered;

    if (!restart(scene, how))
        return false;
    if (how == TROUBLE_STOP &&
        (recovered->groups_replayed > 0 || recovered->tiles_clean != recovered->tiles_found))
        return engine_model_fail(&scene->model,
                                 "%" PRIu64 " groups were replayed after a clean stop",
                                 recovered->groups_replayed);
    if (recovered->partitions_halted > 0)
        return engine_model_fail(
            &scene->model, "%u partitions are halted", recovered->partitions_halted);
    while (!rig_is_ready(&scene->rig)) {
        scene->alarm_ns = sim_world_now_ns(&scene->world) + NS_PER_MS;
        if (!sim_world_step(&scene->world) || rig_boot_failure(&scene->rig) != NULL)
            return engine_model_fail(&scene->model, "the last boot does not end");
    }
    scene->alarm_ns = SIM_NEVER_NS;
    if (!engine_reader_judge_all(&scene->shared))
        return false;
    if (!rig_stop(&scene->rig, STOP_NS))
        return engine_model_fail(&scene->model, "the last stop does not end: %s", scene->rig.why);
    uint32_t open = disk_sim_open_descriptors(scene->world.disk);
    if (open > 0)
        return engine_model_fail(&scene->model, "%u files are left open after the stop", open);
    return true;
}

/* ---- seeds ---- */

struct outcome {
    uint64_t hash;
    uint64_t events;
    uint64_t steps;
    uint64_t acked;
    uint64_t read;
    uint32_t starts;
    char why[ENGINE_WHY_MAX];
};

static void
run_seed(uint64_t seed, bool verbose, struct outcome *ret_outcome)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    CHECK(scene != NULL);
    struct sim_world_options options = {
        .seed = seed, .steps_max = STEPS_MAX, .time_max_ns = 3600 * NS_PER_S, .verbose = verbose};

    sim_world_init(&scene->world, &options);
    sim_rng_seed(&scene->rng, seed, 50);
    engine_model_init(&scene->model);
    rig_init(&scene->rig, &scene->world);
    scene->shared = (struct client_world){.world = &scene->world,
                                          .rig = &scene->rig,
                                          .model = &scene->model,
                                          .patience_ns = PATIENCE_NS};
    draw_transport(scene);
    draw_topics(scene);
    draw_clients(scene);
    draw_troubles(scene);
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
        client_fini(&scene->clients[i]);
    *ret_outcome = (struct outcome){
        .hash = scene->world.trace.hash,
        .events = scene->world.trace.events,
        .steps = scene->world.steps,
        .acked = scene->model.acked_batches,
        .read = scene->model.read_records,
        .starts = scene->rig.starts,
    };
    memcpy(ret_outcome->why, scene->model.why, sizeof(ret_outcome->why));
    engine_model_fini(&scene->model);
    sim_world_fini(&scene->world);
    free(scene);
}

static bool
try_seed(const char *program, uint64_t seed, const struct sim_options *options)
{
    struct outcome outcome;

    sim_options_case("--engine", seed);
    run_seed(seed, options->verbose, &outcome);
    if (outcome.why[0] == '\0' && seed % TWICE_EVERY == 0) {
        struct outcome again;
        run_seed(seed, false, &again);
        if (again.hash != outcome.hash || again.events != outcome.events)
            (void)snprintf(outcome.why,
                           sizeof(outcome.why),
                           "two runs differ: %" PRIu64 " events, hash %016" PRIx64 ", then %" PRIu64
                           " and %016" PRIx64,
                           outcome.events,
                           outcome.hash,
                           again.events,
                           again.hash);
    }
    if (outcome.why[0] != '\0')
        printf("FAILED seed %" PRIu64 ": %s; repeat: %s --seed %" PRIu64 "\n",
               seed,
               outcome.why,
               program,
               seed);
    else if (options->single)
        printf("seed %" PRIu64 ": hash %016" PRIx64 ", %" PRIu64 " events, %" PRIu64
               " steps, %u starts, %" PRIu64 " batches acknowledged, %" PRIu64 " records read\n",
               seed,
               outcome.hash,
               outcome.events,
               outcome.steps,
               outcome.starts,
               outcome.acked,
               outcome.read);
    (void)fflush(stdout);
    return outcome.why[0] == '\0';
}

int
main(int argc, char **argv)
{
    struct sim_options options = {.first = 1, .count = 200};
    uint64_t passed = 0;
    uint64_t failed = 0;

    if (!sim_options_read(&options, argc, argv))
        return 2;
    sim_options_quiet(&options);
    for (uint64_t seed = options.first; seed < options.first + options.count; seed++) {
        if (!options.single && !sim_options_mine(&options, seed))
            continue;
        if (try_seed(argv[0], seed, &options))
            passed++;
        else
            failed++;
    }
    return sim_options_end(passed, failed);
}
