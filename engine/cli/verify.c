/* eagre verify: what engine/inspect finds in a stopped server's data directory, as text or as one
 * JSON object per line. Exit codes of its own: 0 clean, 1 something was found, 2 cannot read. */
#include "engine/cli/cli.h"

#include "engine/inspect/inspect.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

enum verify_exit { VERIFY_CLEAN = 0, VERIFY_FOUND = 1, VERIFY_UNREADABLE = 2 };

struct verify {
    const struct cli_args *args;
    bool progress;
    bool bar_shown;
    bool table_begun;
};

static const char *const grade_names[INSPECT_GRADES] = {
    [INSPECT_NOTE] = "note",
    [INSPECT_WARNING] = "warning",
    [INSPECT_DAMAGE] = "damage",
};

static void
verify_clear_bar(struct verify *verify)
{
    if (verify->bar_shown)
        fprintf(stderr, "\r%*s\r", 78, "");
    verify->bar_shown = false;
}

/* jansson's own memory goes with each line: nothing is kept whatever is found. */
static void
verify_print_line(json_t *row)
{
    json_dumpf(row, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(row);
}

static void
verify_finding(void *ctx, const struct inspect_finding *finding)
{
    struct verify *verify = ctx;

    verify_clear_bar(verify);
    if (!verify->args->json) {
        printf("%-7s %-3s %s at %llu: %s\n",
               grade_names[finding->grade],
               finding->rule,
               finding->file,
               (unsigned long long)finding->position,
               finding->what);
        return;
    }
    char incarnation[17];
    snprintf(incarnation, sizeof(incarnation), "%016llx", (unsigned long long)finding->incarnation);
    verify_print_line(json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s}",
                                "kind",
                                "finding",
                                "grade",
                                grade_names[finding->grade],
                                "rule",
                                finding->rule,
                                "file",
                                finding->file,
                                "position",
                                (json_int_t)finding->position,
                                "incarnation",
                                incarnation,
                                "what",
                                finding->what));
}

static void
verify_progress(void *ctx, uint64_t bytes_done, uint64_t bytes_total)
{
    struct verify *verify = ctx;
    char bar[CLI_BAR_TEXT];

    if (!verify->progress)
        return;
    cli_bar(bar, bytes_done, bytes_total);
    fprintf(stderr, "\r%s %llu MiB read ", bar, (unsigned long long)(bytes_done / MIB));
    verify->bar_shown = true;
}

static void
verify_partition(void *ctx, const struct inspect_partition_sum *sum)
{
    struct verify *verify = ctx;
    char incarnation[17];

    verify_clear_bar(verify);
    snprintf(incarnation, sizeof(incarnation), "%016llx", (unsigned long long)sum->incarnation);
    if (verify->args->json) {
        json_t *row = json_pack("{s:s, s:s, s:i, s:s, s:s, s:i}",
                                "kind",
                                "partition",
                                "topic",
                                sum->topic,
                                "partition",
                                (int)sum->partition,
                                "incarnation",
                                incarnation,
                                "state",
                                sum->state,
                                "segments",
                                (int)sum->segments);
        json_object_set_new(row, "start_offset", json_integer((json_int_t)sum->start_offset));
        json_object_set_new(row, "next_offset", json_integer((json_int_t)sum->next_offset));
        json_object_set_new(row, "batches", json_integer((json_int_t)sum->batches));
        json_object_set_new(row, "records", json_integer((json_int_t)sum->records));
        json_object_set_new(row, "bytes", json_integer((json_int_t)sum->bytes));
        json_object_set_new(row, "warnings", json_integer(sum->warnings));
        json_object_set_new(row, "damages", json_integer(sum->damages));
        verify_print_line(row);
        return;
    }
    if (!verify->table_begun)
        printf("%-28s %5s %-8s %8s %12s %12s %12s %14s %s\n",
               "topic",
               "part.",
               "state",
               "segments",
               "start",
               "next",
               "records",
               "bytes",
               "found");
    verify->table_begun = true;
    printf("%-28s %5u %-8s %8u %12llu %12llu %12llu %14llu ",
           sum->topic[0] != '\0' ? sum->topic : incarnation,
           sum->partition,
           sum->state,
           sum->segments,
           (unsigned long long)sum->start_offset,
           (unsigned long long)sum->next_offset,
           (unsigned long long)sum->records,
           (unsigned long long)sum->bytes);
    if (sum->damages + sum->warnings == 0)
        puts("-");
    else
        printf("%u damages, %u warnings\n", sum->damages, sum->warnings);
}

static void
verify_summary(const struct verify *verify, const struct inspect_totals *totals)
{
    if (!verify->args->json) {
        printf("\ncluster %s, node %s\n%u partitions of %llu topics, %llu segments, %llu records, "
               "%llu producers; %u log tiles, %llu journal groups; %.1f MiB read\n"
               "%llu damages, %llu warnings, %llu notes\n",
               totals->cluster_uuid,
               totals->node_uuid,
               totals->partitions,
               (unsigned long long)totals->topics,
               (unsigned long long)totals->segments,
               (unsigned long long)totals->records,
               (unsigned long long)totals->producers,
               totals->tiles,
               (unsigned long long)totals->groups,
               (double)totals->bytes_read / (double)MIB,
               (unsigned long long)totals->counts[INSPECT_DAMAGE],
               (unsigned long long)totals->counts[INSPECT_WARNING],
               (unsigned long long)totals->counts[INSPECT_NOTE]);
        return;
    }
    json_t *row = json_pack("{s:s, s:s, s:s}",
                            "kind",
                            "summary",
                            "cluster",
                            totals->cluster_uuid,
                            "node",
                            totals->node_uuid);
    json_object_set_new(row, "tiles", json_integer(totals->tiles));
    json_object_set_new(row, "topics", json_integer((json_int_t)totals->topics));
    json_object_set_new(row, "partitions", json_integer(totals->partitions));
    json_object_set_new(row, "segments", json_integer((json_int_t)totals->segments));
    json_object_set_new(row, "journal_groups", json_integer((json_int_t)totals->groups));
    json_object_set_new(row, "batches", json_integer((json_int_t)totals->batches));
    json_object_set_new(row, "records", json_integer((json_int_t)totals->records));
    json_object_set_new(row, "producers", json_integer((json_int_t)totals->producers));
    json_object_set_new(row, "bytes_read", json_integer((json_int_t)totals->bytes_read));
    json_object_set_new(row, "damages", json_integer((json_int_t)totals->counts[INSPECT_DAMAGE]));
    json_object_set_new(row, "warnings", json_integer((json_int_t)totals->counts[INSPECT_WARNING]));
    json_object_set_new(row, "notes", json_integer((json_int_t)totals->counts[INSPECT_NOTE]));
    verify_print_line(row);
}

int
cli_verify(const struct cli_args *args)
{
    const char *root = cli_text(args, "data", NULL);
    struct verify verify = {
        .args = args,
        .progress = isatty(STDERR_FILENO) != 0 && !cli_flag(args, "no-progress"),
    };
    struct inspect_options options = {
        .topic = cli_text(args, "topic", NULL),
        .quick = cli_flag(args, "quick"),
        .hooks = {.finding = verify_finding,
                  .progress = verify_progress,
                  .partition = verify_partition,
                  .ctx = &verify},
    };
    struct diag_trail trail = {{0}};
    struct inspect_totals totals;

    if (root == NULL)
        return cli_fail(args, CLI_USAGE, "--data DIR is needed");
    enum rc rc = disk_open_reading(root, &options.disk, &trail);
    if (rc == RC_OK)
        rc = inspect_verify(&options, &totals, &trail);
    disk_fini(options.disk);
    verify_clear_bar(&verify);
    if (rc != RC_OK) {
        (void)cli_fail(
            args, CLI_FAILED, "%s: %s", root, trail.text[0] != 0 ? trail.text : rc_text(rc));
        return VERIFY_UNREADABLE;
    }
    verify_summary(&verify, &totals);
    return totals.counts[INSPECT_DAMAGE] + totals.counts[INSPECT_WARNING] > 0 ? VERIFY_FOUND
                                                                              : VERIFY_CLEAN;
}
