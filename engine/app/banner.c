#include "engine/app/banner.h"

#include "hw/probe/probe.h"

#include <stdio.h>

static const char *
banner_tile(enum engine_tile_kind kind)
{
    static const char *const names[] = {
        [ENGINE_TILE_GATE] = "gate", [ENGINE_TILE_LOG] = "log", [ENGINE_TILE_NET] = "net"};

    return names[kind];
}

static void
banner_threads(const struct engine_layout *layout)
{
    printf("threads:");
    for (uint32_t c = 0; c < layout->core_count; c++) {
        const struct engine_core_layout *core = &layout->cores[c];
        printf(" ");
        for (uint32_t t = 0; t < core->tile_count; t++)
            printf("%s%s", t > 0 ? "+" : "", banner_tile(core->tiles[t]));
        if (core->cpu >= 0)
            printf("@%d", core->cpu);
    }
    printf(" and control; %s\n",
           layout->poll_always ? "always polling: each takes a whole CPU"
           : layout->spin_ns > 0
               ? "spin 50 us, then sleep: idle costs nothing"
               : "as many threads as CPUs: never spin, sleep at once, idle costs nothing");
}

void
banner_start(const struct settings *settings, const struct engine_layout *layout, struct disk *disk)
{
    static struct probe_facts facts;
    const struct probe_config config = {.data_directory = settings->data};
    char text[512];

    (void)disk;
    probe_collect(&config, &facts);
    probe_banner(&facts, text, sizeof(text));
    printf("eagre: %s\n", text);
    banner_threads(layout);
    fflush(stdout);
}

void
banner_built(struct engine *engine, const struct recover_report *recovered)
{
    char text[160];

    for (uint32_t i = 0; i < engine_control_core(engine); i++)
        printf("core %u: %s\n", i, engine_core(engine, i)->io->body_name);
    printf("memory budget:\n");
    for (uint32_t i = 0; mem_arena_line(engine_memory(engine), i, text, sizeof(text)); i++)
        printf("  %s\n", text);
    if (recovered->tiles_found == 0)
        printf("recovery: a new data directory\n");
    else if (recovered->groups_replayed == 0)
        printf("recovery: %u partitions, stopped cleanly before, nothing to replay\n",
               recovered->partitions);
    else
        printf("recovery: %u partitions, %llu groups with %llu batches (%.1f MiB) replayed from "
               "the journal, %u halted\n",
               recovered->partitions,
               (unsigned long long)recovered->groups_replayed,
               (unsigned long long)recovered->batches_replayed,
               (double)recovered->bytes_replayed / (double)MIB,
               recovered->partitions_halted);
    fflush(stdout);
}

void
banner_native(const struct native *native, const struct settings *settings, uint32_t net_count)
{
    if (net_count == 0) {
        printf("native door: off%s\n",
               native_is_on(settings) ? " (--cores names no net tile)" : "");
        return;
    }
    printf("native door: %s:%u (TCP joins, UDP data%s), %s, %u net tile%s\n",
           settings->native.host,
           native->port,
           settings->native_tls_certificate[0] != '\0' ? ", TLS 1.3" : "",
           settings->native_auth == SETTINGS_NATIVE_AUTH_NONE ? "auth none: CRC-32C only"
                                                              : "AES-128-GCM",
           net_count,
           net_count > 1 ? "s" : "");
    if (settings->native_credentials[0] == '\0')
        printf("native door: no credentials are set: whoever reaches it may write and read\n");
    printf("carrier: %s\n", native->carrier);
    if (native->note[0] != '\0')
        printf("carrier: %s\n", native->note);
}

void
banner_ready(struct engine *engine, const struct settings *settings, uint16_t admin_port)
{
    printf("ready: Kafka clients on %s:%u, metrics and live page on http://%s:%u/\n",
           settings->kafka.host,
           engine_kafka_port(engine),
           settings->admin.host,
           admin_port);
    fflush(stdout);
}

void
banner_stopping(void)
{
    printf("stopping: no new connections; draining and sealing\n");
    fflush(stdout);
}
