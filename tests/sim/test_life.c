/* Goal: "Life of a record" in engine/README.md, trace_stage.def and the engine itself say the same.
 * Method: the whole engine on simulated clock, disk and network takes one 1 KB record from a Kafka
 * client, gives it back and stops; the stages that were stamped, each once and in the order of its
 * first stamp, are compared with the rows of the document and with the table of trace stages. Once
 * with all tiles on one core, once with a core for each, and with several seeds.
 *
 * Usage: test_life [PATH OF THE DOCUMENT]. Ends with "N passed, M failed". */
#include "engine/app/engine.h"
#include "engine/base/check.h"
#include "engine/record/record_builder.h"
#include "net/kafka/kafka_client_codec.h"
#include "net/kafka/kafka_error.h"
#include "sim_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIFE_PORT 9092u
#define LIFE_SEEDS 5u
#define LIFE_CORES_MAX 4u
#define LIFE_TRIES 100u
#define LIFE_FRAME_BYTES 65536u
#define LIFE_VALUE_BYTES 1024u
#define LIFE_STAGES_MAX 32u
#define LIFE_MEMORY_BYTES (256 * MIB)
#define LIFE_TEXT_BYTES 65536u

static uint32_t passed;
static uint32_t failed;

static void
expect(bool holds, const char *what)
{
    passed += holds;
    failed += !holds;
    if (!holds)
        printf("FAIL %s\n", what);
}

/* ---- the document ---- */

struct life_stage {
    char name[32];
    char folder[32];
};

struct life_stages {
    struct life_stage at[LIFE_STAGES_MAX];
    uint32_t count;
};

/* Copies a table cell without its blanks; returns what follows the '|' after it, NULL: no cell. */
static const char *
read_cell(const char *at, char *to, size_t capacity)
{
    const char *end = strchr(at, '|');
    const char *line = strchr(at, '\n');

    if (end == NULL || (line != NULL && line < end))
        return NULL;
    at += strspn(at, " ");
    size_t count = (size_t)(end - at);
    while (count > 0 && at[count - 1] == ' ')
        count--;
    if (count >= capacity)
        return NULL;
    memcpy(to, at, count);
    to[count] = '\0';
    return end + 1;
}

/* Rows of the first table below "## Life of a record": their first two cells. */
static void
read_document(const char *path, struct life_stages *stages)
{
    static char text[LIFE_TEXT_BYTES];
    FILE *file = fopen(path, "r");

    stages->count = 0;
    if (file == NULL)
        return;
    size_t count = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[count] = '\0';
    const char *at = strstr(text, "## Life of a record");
    at = at == NULL ? NULL : strstr(at, "\n|");
    uint32_t row = 0;
    for (; at != NULL && at[1] == '|' && stages->count < LIFE_STAGES_MAX; row++) {
        struct life_stage *stage = &stages->at[stages->count];
        const char *rest = read_cell(at + 2, stage->name, sizeof(stage->name));
        if (row >= 2 && rest != NULL &&
            read_cell(rest, stage->folder, sizeof(stage->folder)) != NULL)
            stages->count++; /* the first two are the head */
        at = strchr(at + 1, '\n');
    }
}

/* ---- the engine ---- */

struct life {
    struct sim_world world;
    struct settings settings;
    struct engine_layout layout;
    struct engine *engine;
    struct clock clocks[LIFE_CORES_MAX];
    struct io *ios[LIFE_CORES_MAX];
    /* the client */
    uint32_t client;
    int32_t correlation;
    uint8_t out[LIFE_FRAME_BYTES];
    uint32_t out_count;
    uint32_t out_sent;
    uint8_t in[LIFE_FRAME_BYTES];
    uint32_t in_count;
    uint8_t arena[LIFE_FRAME_BYTES];
    uint8_t batch[LIFE_FRAME_BYTES];
    uint32_t batch_bytes;
    uint64_t begin_ns; /* stamps before it are not the record's */
};

static void
life_lay_out(struct life *life, bool merged)
{
    life->layout = (struct engine_layout){
        .core_count = merged ? 1 : 2, .gate_count = 1, .log_count = 1};
    life->layout.cores[0].cpu = -1;
    life->layout.cores[1].cpu = -1;
    life->layout.cores[0].tiles[0] = ENGINE_TILE_GATE;
    life->layout.cores[0].tile_count = 1;
    if (merged) {
        life->layout.cores[0].tiles[1] = ENGINE_TILE_LOG;
        life->layout.cores[0].tile_count = 2;
    } else {
        life->layout.cores[1].tiles[0] = ENGINE_TILE_LOG;
        life->layout.cores[1].tile_count = 1;
    }
}

static uint32_t
client_step(void *object)
{
    struct life *life = object;
    struct tcp *tcp = life->world.tcp;
    uint32_t sent = tcp_sim_client_send(
        tcp, life->client, life->out + life->out_sent, life->out_count - life->out_sent);
    int32_t got = tcp_sim_client_receive(
        tcp, life->client, life->in + life->in_count, LIFE_FRAME_BYTES - life->in_count);

    life->out_sent += sent;
    if (got > 0)
        life->in_count += (uint32_t)got;
    return sent + (got > 0 ? (uint32_t)got : 0);
}

static uint64_t
client_due_ns(void *object)
{
    struct life *life = object;

    if (life->out_sent < life->out_count)
        return 0;
    return tcp_sim_client_due_ns(life->world.tcp, life->client);
}

static bool
engine_is_ready(void *ctx)
{
    struct life *life = ctx;

    return control_is_ready(engine_control(life->engine));
}

static bool
life_start(struct life *life, uint64_t seed, bool merged)
{
    static const char *const names[LIFE_CORES_MAX] = {"core0", "core1", "core2", "core3"};
    const struct sim_world_options options = {.seed = seed};
    struct recover_report report;
    struct diag_trail trail = {0};

    sim_world_init(&life->world, &options);
    config_defaults(&life->settings);
    life->settings.kafka.port = LIFE_PORT;
    life->settings.max_message_bytes = 256 * KIB;
    life->settings.journal_file_bytes = 1 * MIB;
    life->settings.partitions_max = 64;
    life->settings.producers_max = 64;
    life->settings.topics_max = 16;
    life->settings.connections_max = 16;
    life_lay_out(life, merged);
    const struct engine_config config = {.settings = &life->settings,
                                         .layout = &life->layout,
                                         .disk = life->world.disk,
                                         .tcp = life->world.tcp,
                                         .memory_bytes = LIFE_MEMORY_BYTES};
    enum rc rc = engine_create(&config, &life->engine, &trail);
    if (rc == RC_OK) {
        engine_keep_trace(life->engine);
        for (uint32_t i = 0; i < engine_core_count(life->engine); i++) {
            clock_init_sim(&life->clocks[i], seed + i + 1, SIM_WALL_MS);
            sim_world_add_clock(&life->world, &life->clocks[i]);
            life->ios[i] = sim_world_create_io(&life->world, &life->clocks[i]);
            engine_attach(life->engine, i, &life->clocks[i], life->ios[i]);
        }
        rc = engine_wire(life->engine, &trail);
    }
    if (rc == RC_OK)
        rc = engine_recover(life->engine, &report, &trail);
    if (rc != RC_OK) {
        printf("%s: %s\n", rc_text(rc), trail.text);
        return false;
    }
    for (uint32_t i = 0; i < engine_core_count(life->engine); i++)
        sim_world_add_core(&life->world, names[i], engine_core(life->engine, i));
    return sim_world_run(&life->world, engine_is_ready, life) == SIM_WORLD_DONE;
}

/* Ends the process of a run that cannot go on; the world may still own what it likes. */
static bool
life_stop(struct life *life)
{
    for (uint64_t steps = 0; steps < 10000000; steps++) {
        if (engine_stop_step(life->engine))
            return true;
        if (!sim_world_step(&life->world))
            return false;
    }
    return false;
}

static void
life_end(struct life *life)
{
    for (uint32_t i = 0; life->engine != NULL && i < engine_core_count(life->engine); i++)
        if (life->ios[i] != NULL)
            io_destroy(life->ios[i]);
    engine_destroy(life->engine);
    sim_world_fini(&life->world);
}

/* ---- the client ---- */

static bool
answer_is_there(void *ctx)
{
    const struct life *life = ctx;

    return life->in_count >= 4 && life->in_count - 4 >= get_u32_be(life->in);
}

/* Asks and waits for the answer, whose memory is the arena. */
static bool
client_call(
    struct life *life, enum kafka_api_key api_key, int16_t version, const void *message, void *ret)
{
    struct kafka_client_request request = {
        .api_key = api_key,
        .version = version,
        .correlation_id = ++life->correlation,
        .client_id = {(const uint8_t *)"life", 4},
    };
    struct writer writer = writer_over(life->out, sizeof(life->out));
    struct kafka_arena arena = kafka_arena_over(life->arena, sizeof(life->arena));

    kafka_client_request(&writer, &request, message);
    CHECK(!writer.failed);
    life->out_count = (uint32_t)writer_count(&writer);
    life->out_sent = 0;
    life->in_count = 0;
    if (sim_world_run(&life->world, answer_is_there, life) != SIM_WORLD_DONE)
        return false;
    struct bytes frame = {life->in + 4, get_u32_be(life->in)};
    return kafka_client_response(frame, &request, &arena, ret) == RC_OK;
}

static const struct bytes topic_name = {(const uint8_t *)"life", 4};

/* Metadata of the topic, which creates it. */
static bool
client_has_topic(struct life *life)
{
    struct kafka_metadata_request message;
    struct kafka_metadata_request_topic topic;
    struct kafka_metadata_response response;

    kafka_metadata_request_defaults(&message);
    kafka_metadata_request_topic_defaults(&topic);
    topic.name = topic_name;
    message.topics.at = &topic;
    message.topics.count = 1;
    for (uint32_t i = 0; i < LIFE_TRIES; i++) {
        if (!client_call(life, KAFKA_METADATA, 9, &message, &response))
            return false;
        if (response.topics.count == 1 && response.topics.at[0].error == KAFKA_ERROR_NONE &&
            response.topics.at[0].partitions.count > 0 &&
            response.topics.at[0].partitions.at[0].error == KAFKA_ERROR_NONE)
            return true;
    }
    return false;
}

/* One record of LIFE_VALUE_BYTES in one batch. The gate may not know the topic yet: then nothing
 * was stamped, and the same is sent again. */
static bool
client_produce(struct life *life)
{
    static uint8_t value[LIFE_VALUE_BYTES];
    const struct record record = {.timestamp_ms = SIM_WALL_MS, .value = {value, sizeof(value)}};
    struct kafka_produce_request message;
    struct kafka_produce_request_topic topic;
    struct kafka_produce_request_partition partition;
    struct kafka_produce_response response;
    struct record_builder builder;

    memset(value, 'r', sizeof(value));
    record_builder_begin(&builder, life->batch, sizeof(life->batch), &RECORD_BUILDER_PLAIN);
    CHECK(record_builder_add(&builder, &record));
    life->batch_bytes = record_builder_finish(&builder);
    kafka_produce_request_defaults(&message);
    kafka_produce_request_topic_defaults(&topic);
    kafka_produce_request_partition_defaults(&partition);
    partition.records = (struct bytes){life->batch, life->batch_bytes};
    topic.name = topic_name;
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    message.acks = -1;
    message.timeout_ms = 10000;
    message.topics.at = &topic;
    message.topics.count = 1;
    for (uint32_t i = 0; i < LIFE_TRIES; i++) {
        life->begin_ns = sim_world_now_ns(&life->world);
        if (!client_call(life, KAFKA_PRODUCE, 9, &message, &response) ||
            response.topics.count != 1 || response.topics.at[0].partitions.count != 1)
            return false;
        int16_t error = response.topics.at[0].partitions.at[0].error;
        if (error != KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION)
            return error == KAFKA_ERROR_NONE &&
                   response.topics.at[0].partitions.at[0].base_offset == 0;
    }
    return false;
}

/* The same bytes come back, but for those that the engine fills in. */
static bool
client_fetch(struct life *life)
{
    struct kafka_fetch_request message;
    struct kafka_fetch_request_topic topic;
    struct kafka_fetch_request_partition partition;
    struct kafka_fetch_response response;

    kafka_fetch_request_defaults(&message);
    kafka_fetch_request_topic_defaults(&topic);
    kafka_fetch_request_partition_defaults(&partition);
    partition.max_bytes = 65536;
    topic.name = topic_name;
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    message.max_wait_ms = 500;
    message.min_bytes = 1;
    message.max_bytes = 65536;
    message.topics.at = &topic;
    message.topics.count = 1;
    if (!client_call(life, KAFKA_FETCH, 11, &message, &response) || response.topics.count != 1 ||
        response.topics.at[0].partitions.count != 1)
        return false;
    struct bytes records = response.topics.at[0].partitions.at[0].records;
    return response.topics.at[0].partitions.at[0].error == KAFKA_ERROR_NONE &&
           records.count == life->batch_bytes &&
           memcmp(records.at + RECORD_BATCH_ATTRIBUTES,
                  life->batch + RECORD_BATCH_ATTRIBUTES,
                  life->batch_bytes - RECORD_BATCH_ATTRIBUTES) == 0;
}

/* ---- the comparison ---- */

static int
stamp_compare(const void *left, const void *right)
{
    const struct trace_stamp *a = left;
    const struct trace_stamp *b = right;

    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns ? -1 : 1;
    return a->number < b->number ? -1 : 1; /* one core acts at one moment */
}

/* Stages in the order of their first stamps. */
static void
life_stages(struct life *life, struct life_stages *stages)
{
    static struct trace_stamp stamps[LIFE_CORES_MAX * TRACE_STAMPS];
    bool seen[TRACE_STAGE_COUNT] = {false};
    uint32_t count = 0;

    for (uint32_t i = 0; i < engine_core_count(life->engine); i++)
        count += trace_read(engine_trace(life->engine, i), stamps + count, TRACE_STAMPS);
    qsort(stamps, count, sizeof(stamps[0]), stamp_compare);
    stages->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        enum trace_stage stage = (enum trace_stage)stamps[i].stage;
        if (stamps[i].at_ns < life->begin_ns || seen[stage])
            continue;
        seen[stage] = true;
        struct life_stage *to = &stages->at[stages->count++];
        (void)snprintf(to->name, sizeof(to->name), "%s", trace_stage_name(stage));
        (void)snprintf(to->folder, sizeof(to->folder), "%s", trace_stage_folder(stage));
    }
}

static bool
stages_are_equal(const struct life_stages *left, const struct life_stages *right)
{
    bool equal = left->count == right->count && left->count > 0;

    for (uint32_t i = 0; equal && i < left->count; i++)
        equal = strcmp(left->at[i].name, right->at[i].name) == 0 &&
                strcmp(left->at[i].folder, right->at[i].folder) == 0;
    return equal;
}

static void
stages_print(const char *who, const struct life_stages *stages)
{
    printf("  %s:", who);
    for (uint32_t i = 0; i < stages->count; i++)
        printf(" %s(%s)", stages->at[i].name, stages->at[i].folder);
    printf("\n");
}

static void
life_run(uint64_t seed, bool merged, const struct life_stages *document)
{
    static struct life life;
    struct life_stages seen = {.count = 0};
    char what[128];

    life = (struct life){.correlation = 0};
    (void)snprintf(what,
                   sizeof(what),
                   "a record's stages on %s, seed %llu",
                   merged ? "one core" : "two cores",
                   (unsigned long long)seed);
    bool begun = life_start(&life, seed, merged);
    if (begun && tcp_sim_connect(life.world.tcp, LIFE_PORT, &life.client) == RC_OK) {
        const struct sim_actor client = {
            .name = "client", .object = &life, .step = client_step, .due_ns = client_due_ns};
        sim_world_add(&life.world, &client);
        expect(client_has_topic(&life), "the topic is created by asking for it");
        expect(client_produce(&life), "the record is acknowledged with offset 0");
        expect(client_fetch(&life), "the record is fetched as it was sent");
        tcp_sim_client_release(life.world.tcp, life.client);
        sim_world_remove(&life.world, &life);
        expect(life_stop(&life), "the engine stops");
        life_stages(&life, &seen);
    } else {
        expect(false, "the engine starts and takes a connection");
    }
    bool equal = stages_are_equal(&seen, document);
    expect(equal, what);
    if (!equal) {
        stages_print("engine/README.md", document);
        stages_print("the engine", &seen);
    }
    life_end(&life);
}

int
main(int argc, char **argv)
{
    struct life_stages document;
    struct life_stages table = {.count = TRACE_STAGE_COUNT};

    read_document(argc > 1 ? argv[1] : LIFE_DOCUMENT, &document);
    for (uint32_t i = 0; i < TRACE_STAGE_COUNT; i++) {
        enum trace_stage stage = (enum trace_stage)i;
        struct life_stage *to = &table.at[i];
        (void)snprintf(to->name, sizeof(to->name), "%s", trace_stage_name(stage));
        (void)snprintf(to->folder, sizeof(to->folder), "%s", trace_stage_folder(stage));
    }
    bool equal = stages_are_equal(&document, &table);
    expect(equal, "engine/README.md names the stages of trace_stage.def");
    if (!equal) {
        stages_print("engine/README.md", &document);
        stages_print("trace_stage.def", &table);
    }
    for (uint64_t seed = 1; seed <= LIFE_SEEDS; seed++) {
        life_run(seed, true, &document);
        life_run(seed, false, &document);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
