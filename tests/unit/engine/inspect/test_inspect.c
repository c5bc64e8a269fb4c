/* Goal: whatever stands in a directory, looking at it ends, stays inside its memory, writes nothing
 * and says what is wrong by the label that a start would act on. Method: directories made by hand
 * below /tmp, bad ones first, then bytes from a printed seed under our names. What a real server
 * leaves is checked by tests/system/check_verify.py. */
#include "engine/inspect/inspect.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEED 20261121u
#define FOUND_MAX 256u

static char root[64];
static struct inspect_totals totals;
static struct diag_trail trail;
static char rules[FOUND_MAX][4];
static char files[FOUND_MAX][DISK_PATH_MAX];
static uint32_t found_count;

static void
make_root(void)
{
    snprintf(root, sizeof(root), "/tmp/eagre-inspect-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    found_count = 0;
}

static void
remove_root(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(inspect, .init = make_root, .fini = remove_root, .timeout = 60);

static void
put_file(const char *name, const void *bytes, size_t count)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    cr_assert_eq(fclose(file), 0);
}

static void
put_directory(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    cr_assert_eq(mkdir(path, 0750), 0);
}

static void
put_meta(void)
{
    static uint8_t file[META_FILE_BYTES];
    const struct meta_block meta = {.node_id = 1, .node_uuid = {7}, .created_ms = 5};

    meta_encode(&meta, file);
    put_file(FORMAT_META_PATH, file, sizeof(file));
}

static void
on_finding(void *ctx, const struct inspect_finding *finding)
{
    (void)ctx;
    if (found_count == FOUND_MAX)
        return;
    snprintf(rules[found_count], sizeof(rules[0]), "%s", finding->rule);
    snprintf(files[found_count++], sizeof(files[0]), "%s", finding->file);
}

static void
on_partition(void *ctx, const struct inspect_partition_sum *sum)
{
    (void)ctx;
    (void)sum;
}

static enum rc
look(void)
{
    struct inspect_options options = {
        .hooks = {.finding = on_finding, .partition = on_partition},
    };

    trail = (struct diag_trail){""};
    enum rc rc = disk_open_reading(root, &options.disk, &trail);
    if (rc == RC_OK)
        rc = inspect_verify(&options, &totals, &trail);
    disk_fini(options.disk);
    return rc;
}

static bool
has_found(const char *rule, const char *file)
{
    for (uint32_t i = 0; i < found_count; i++)
        if (strcmp(rules[i], rule) == 0 && strcmp(files[i], file) == 0)
            return true;
    return false;
}

Test(inspect, does_not_know_an_empty_directory)
{
    cr_assert_eq(look(), RC_NOT_FOUND);
    cr_assert_not_null(strstr(trail.text, FORMAT_META_PATH));
}

Test(inspect, finds_neither_copy_of_the_meta_block_whole)
{
    static const uint8_t zeros[META_FILE_BYTES];

    put_file(FORMAT_META_PATH, zeros, sizeof(zeros));
    cr_assert_eq(look(), RC_OK);
    cr_assert(has_found("V1", FORMAT_META_PATH));
    cr_assert_eq(totals.counts[INSPECT_DAMAGE], 1u);
}

Test(inspect, finds_nothing_in_a_directory_that_never_served)
{
    put_meta();
    cr_assert_eq(look(), RC_OK);
    cr_assert_eq(found_count, 0u, "%s in %s", rules[0], files[0]);
}

Test(inspect, finds_a_journal_without_a_checkpoint)
{
    static const uint8_t zeros[8192];

    put_meta();
    put_file("journal-0-0", zeros, sizeof(zeros));
    cr_assert_eq(look(), RC_OK);
    cr_assert(has_found("R2", "checkpoint-0-0"));
}

Test(inspect, takes_one_torn_checkpoint_for_a_first_start_that_was_cut_off)
{
    put_meta();
    put_file("checkpoint-0-1", "EAGR", 4);
    cr_assert_eq(look(), RC_OK);
    cr_assert(has_found("R3", "checkpoint-0-0"));
    cr_assert_eq(totals.counts[INSPECT_DAMAGE] + totals.counts[INSPECT_WARNING], 0u);
}

Test(inspect, finds_no_checkpoint_whole_beside_a_journal)
{
    put_meta();
    put_file("journal-0-0", "x", 1);
    put_file("checkpoint-0-0", "EAGR", 4);
    put_file("checkpoint-0-1", "EAGRCHKT", 8);
    cr_assert_eq(look(), RC_OK);
    cr_assert(has_found("R4", "checkpoint-0-0"));
    cr_assert(has_found("R4", "checkpoint-0-1"));
}

Test(inspect, notes_what_the_next_start_removes)
{
    put_meta();
    put_directory("partitions");
    put_directory("partitions/00000000000000ab");
    put_directory("partitions/somebody-elses");
    put_file("journal-0-2.new", "half", 4);
    cr_assert_eq(look(), RC_OK);
    cr_assert(has_found("R15", "partitions/00000000000000ab"));
    cr_assert(has_found("R15", "journal-0-2.new"));
    cr_assert_eq(totals.counts[INSPECT_DAMAGE] + totals.counts[INSPECT_WARNING], 0u);
    cr_assert_eq(totals.counts[INSPECT_NOTE], 2u);
}

Test(inspect, ends_on_any_bytes_under_our_names)
{
    static const char *const names[] = {
        "eagre.meta", "journal-0-0", "journal-3-1", "checkpoint-0-0", "checkpoint-0-1"};
    static uint8_t bytes[64 * 1024];
    uint64_t state = SEED;

    cr_log_info("seed %u", SEED);
    for (uint32_t round = 0; round < 20; round++) {
        for (size_t f = 0; f < ARRAY_COUNT(names); f++) {
            for (size_t i = 0; i < sizeof(bytes); i++) {
                state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
                bytes[i] = (uint8_t)(state >> 56);
            }
            put_file(names[f], bytes, 1 + (state >> 40) % sizeof(bytes));
        }
        if (round % 2 == 0)
            put_meta();
        cr_assert_eq(look(), RC_OK);
        cr_assert_gt(totals.counts[INSPECT_DAMAGE], 0u);
    }
}
