/* The setting `cores`: parse, default, print. Pure. */
#include "hw/cpu/cpu.h"

#include "engine/base/check.h"

#include <stdio.h>
#include <string.h>

static const char *const tile_names[] = {
    [CPU_TILE_NET] = "net",
    [CPU_TILE_GATE] = "gate",
    [CPU_TILE_LOG] = "log",
};
_Static_assert(ARRAY_COUNT(tile_names) == CPU_TILE_KINDS, "a name per kind");

const char *
cpu_tile_name(enum cpu_tile tile)
{
    CHECK(tile < CPU_TILE_KINDS);
    return tile_names[tile];
}

/* ---- parse ---- */

/* Walks the text; a word ends at '+', '/', '@' or the end. */
struct plan_parse {
    const char *at;
    const struct cpu_topology *topology;
    struct cpu_plan *plan;
    struct diag_trail *trail;
};

static size_t
word_count(const char *at)
{
    return strcspn(at, "+/@");
}

static enum rc
parse_tile(struct plan_parse *parse, struct cpu_thread *thread)
{
    size_t count = word_count(parse->at);
    uint32_t kind = 0;

    while (kind < CPU_TILE_KINDS &&
           (strlen(tile_names[kind]) != count || strncmp(tile_names[kind], parse->at, count) != 0))
        kind++;
    if (kind == CPU_TILE_KINDS) {
        diag_trail_add(parse->trail,
                       "thread %u: \"%.*s\" is not a tile (net, gate or log)",
                       parse->plan->thread_count,
                       (int)min_u64(count, 32),
                       parse->at);
        return RC_INVALID;
    }
    for (uint32_t i = 0; i < thread->tile_count; i++) {
        if (thread->tiles[i] != (enum cpu_tile)kind)
            continue;
        diag_trail_add(parse->trail,
                       "thread %u has two %s tiles: give the second a thread of its own",
                       parse->plan->thread_count,
                       tile_names[kind]);
        return RC_INVALID;
    }
    thread->tiles[thread->tile_count++] = (enum cpu_tile)kind;
    parse->plan->tile_counts[kind]++;
    parse->at += count;
    return RC_OK;
}

static bool
topology_allows(const struct cpu_topology *topology, uint32_t cpu)
{
    for (uint32_t i = 0; i < topology->allowed_count; i++) {
        if (topology->allowed[i] == cpu)
            return true;
    }
    return false;
}

/* After '@': digits up to the next thread. */
static enum rc
parse_cpu(struct plan_parse *parse, struct cpu_thread *thread)
{
    size_t count = strcspn(parse->at, "/");
    uint32_t cpu = 0;
    bool valid = count > 0 && count <= 4;

    for (size_t i = 0; valid && i < count; i++) {
        valid = parse->at[i] >= '0' && parse->at[i] <= '9';
        cpu = cpu * 10 + (uint32_t)(parse->at[i] - '0');
    }
    if (!valid || !topology_allows(parse->topology, cpu)) {
        diag_trail_add(
            parse->trail,
            "thread %u: \"@%.*s\" is not a CPU that this process may use (%u are allowed, "
            "from %u)",
            parse->plan->thread_count,
            (int)min_u64(count, 32),
            parse->at,
            parse->topology->allowed_count,
            parse->topology->allowed[0]);
        return RC_INVALID;
    }
    for (uint32_t i = 0; i + 1 < parse->plan->thread_count; i++) {
        if (parse->plan->threads[i].cpu != cpu)
            continue;
        diag_trail_add(parse->trail, "CPU %u is named for two threads", cpu);
        return RC_INVALID;
    }
    thread->cpu = cpu;
    parse->at += count;
    return RC_OK;
}

/* One thread: tile { '+' tile } [ '@' cpu ]. */
static enum rc
parse_thread(struct plan_parse *parse)
{
    if (parse->plan->thread_count == CPU_THREADS_MAX) {
        diag_trail_add(parse->trail, "more than %u threads", CPU_THREADS_MAX);
        return RC_INVALID;
    }
    struct cpu_thread *thread = &parse->plan->threads[parse->plan->thread_count++];
    *thread = (struct cpu_thread){.cpu = CPU_ANY};
    enum rc rc = parse_tile(parse, thread);
    while (rc == RC_OK && *parse->at == '+') {
        parse->at++;
        rc = parse_tile(parse, thread);
    }
    if (rc == RC_OK && *parse->at == '@') {
        parse->at++;
        rc = parse_cpu(parse, thread);
    }
    return rc;
}

static enum rc
plan_check_tiles(const struct cpu_plan *plan, struct diag_trail *trail)
{
    if (plan->tile_counts[CPU_TILE_LOG] == 0) {
        diag_trail_add(trail, "no log tile: add one, as in gate+log");
        return RC_INVALID;
    }
    if (plan->tile_counts[CPU_TILE_GATE] + plan->tile_counts[CPU_TILE_NET] == 0) {
        diag_trail_add(trail, "neither a gate nor a net tile: add one, as in gate+log");
        return RC_INVALID;
    }
    return RC_OK;
}

static void
plan_finish(struct cpu_plan *plan, const struct cpu_topology *topology)
{
    plan->overprovisioned = plan->thread_count >= topology->usable || topology->usable <= 2;
}

enum rc
cpu_plan_parse(const char *text,
               const struct cpu_topology *topology,
               struct cpu_plan *ret_plan,
               struct diag_trail *trail)
{
    struct cpu_plan plan = {.thread_count = 0};
    struct plan_parse parse = {.at = text, .topology = topology, .plan = &plan, .trail = trail};

    CHECK(topology->allowed_count > 0);
    if (strcmp(text, "auto") == 0) {
        cpu_plan_auto(topology, ret_plan);
        return RC_OK;
    }
    enum rc rc = parse_thread(&parse);
    while (rc == RC_OK && *parse.at == '/') {
        parse.at++;
        rc = parse_thread(&parse);
    }
    if (rc == RC_OK)
        rc = plan_check_tiles(&plan, trail);
    if (rc != RC_OK) {
        diag_trail_add(trail, "cores = %.64s", text);
        return rc;
    }
    CHECK(*parse.at == '\0'); /* every way out of parse_thread() ends at '/' or the end */
    plan_finish(&plan, topology);
    *ret_plan = plan;
    return RC_OK;
}

/* ---- the default ---- */

void
cpu_plan_auto(const struct cpu_topology *topology, struct cpu_plan *ret_plan)
{
    struct cpu_plan plan = {.thread_count = 1, .is_auto = true};
    struct cpu_thread *first = &plan.threads[0];

    *first = (struct cpu_thread){
        .tiles = {CPU_TILE_NET, CPU_TILE_GATE, CPU_TILE_LOG}, .tile_count = 3, .cpu = CPU_ANY};
    if (topology->usable >= 4) {
        bool pinned = topology->quota_milli == 0;
        const uint32_t *last = &topology->allowed[topology->allowed_count - 1];

        first->tile_count = 2;
        first->cpu = pinned ? last[-1] : CPU_ANY;
        plan.threads[1] = (struct cpu_thread){
            .tiles = {CPU_TILE_LOG}, .tile_count = 1, .cpu = pinned ? last[0] : CPU_ANY};
        plan.thread_count = 2;
    }
    for (uint32_t kind = 0; kind < CPU_TILE_KINDS; kind++)
        plan.tile_counts[kind] = 1;
    plan_finish(&plan, topology);
    *ret_plan = plan;
}

/* ---- print ---- */

struct text_cursor {
    char *at;
    size_t left;
};

static void
text_add(struct text_cursor *cursor, const char *text)
{
    int count = snprintf(cursor->at, cursor->left, "%s", text);
    size_t moved = min_u64((uint64_t)count, cursor->left - 1);

    cursor->at += moved;
    cursor->left -= moved;
}

void
cpu_plan_text(const struct cpu_plan *plan, char *text, size_t capacity)
{
    struct text_cursor cursor = {text, capacity};
    char number[16];

    CHECK(capacity > 0);
    text[0] = '\0';
    for (uint32_t i = 0; i < plan->thread_count; i++) {
        const struct cpu_thread *thread = &plan->threads[i];

        if (i > 0)
            text_add(&cursor, "/");
        for (uint32_t j = 0; j < thread->tile_count; j++) {
            if (j > 0)
                text_add(&cursor, "+");
            text_add(&cursor, tile_names[thread->tiles[j]]);
        }
        if (thread->cpu != CPU_ANY) {
            snprintf(number, sizeof(number), "@%u", thread->cpu);
            text_add(&cursor, number);
        }
    }
}
