/* eagre doctor: what this host has and lacks, what each costs, and the command that mends it. */
#include "engine/cli/cli.h"

#include "hw/probe/probe.h"

#include <jansson.h>
#include <stdio.h>

static void
doctor_print_json(const struct probe_facts *facts, const struct probe_report *report)
{
    json_t *rows = json_array();

    for (uint32_t i = 0; i < report->count; i++) {
        const struct probe_row *row = &report->rows[i];
        json_array_append_new(rows,
                              json_pack("{s:s, s:s, s:s, s:s, s:s}",
                                        "name",
                                        row->name,
                                        "state",
                                        probe_state_name(row->state),
                                        "found",
                                        row->found,
                                        "cost",
                                        row->cost,
                                        "fix",
                                        row->fix));
    }
    json_t *all = json_pack("{s:o, s:f, s:f}",
                            "rows",
                            rows,
                            "dsync_p50_us",
                            (double)facts->latency.p50_ns / 1e3,
                            "dsync_p99_us",
                            (double)facts->latency.p99_ns / 1e3);
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

int
cli_doctor(const struct cli_args *args)
{
    static struct probe_facts facts;
    static struct probe_report report;
    const struct probe_config config = {.data_directory = cli_text(args, "data", ".")};

    probe_collect(&config, &facts);
    probe_judge(&facts, &report);
    if (args->json) {
        doctor_print_json(&facts, &report);
        return CLI_OK;
    }
    for (uint32_t i = 0; i < report.count; i++) {
        char text[1024];
        probe_row_text(&report.rows[i], text, sizeof(text));
        puts(text);
    }
    return CLI_OK;
}
