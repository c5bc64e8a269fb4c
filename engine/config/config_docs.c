/* Writes the documents of settings.def to stdout: `config_docs yaml` the commented default file,
 * `config_docs table` the page SETTINGS.md. tests/tidy compares them with the files that are
 * checked in. */
#include "engine/config/config.h"

#include <string.h>

static const char *
when_text(const struct setting *row)
{
    return row->when == SETTING_RESTART ? "at a restart" : "at once";
}

static void
print_yaml(void)
{
    char allowed[160];

    printf("# Settings of `eagre serve --config FILE`. Made from engine/config/settings.def: "
           "change that, not this.\n"
           "# What is commented out has its default. Flags (--journal.file_bytes 64MiB) override "
           "this file. A key may\n"
           "# also be written as nested mappings. Changes count at the next start.\n");
    for (uint32_t i = 0; i < config_count(); i++) {
        const struct setting *row = config_at(i);
        if (strcmp(row->name, "config") == 0)
            continue; /* a file cannot name another */
        config_allowed(row, allowed, sizeof(allowed));
        printf("\n# %s\n# Takes %s.\n", row->about, allowed);
        printf("#%s: %s\n", row->name, row->preset[0] != '\0' ? row->preset : "\"\"");
    }
}

static void
print_table(void)
{
    char allowed[160];

    printf("# Settings\n\nMade from `settings.def`; do not edit. Flag: `--name value`. File: "
           "`name: value`.\n\n"
           "| name | default | takes | unit | changes count | what it does "
           "|\n|---|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < config_count(); i++) {
        const struct setting *row = config_at(i);
        config_allowed(row, allowed, sizeof(allowed));
        printf("| `%s` | %s%s%s | ",
               row->name,
               row->preset[0] != '\0' ? "`" : "",
               row->preset,
               row->preset[0] != '\0' ? "`" : "");
        for (const char *at = allowed; *at != '\0'; at++)
            printf(*at == '|' ? "\\|" : "%c", *at);
        printf(" | %s | %s | %s |\n",
               row->type == SETTING_CHOICE ? "word" : row->unit,
               when_text(row),
               row->about);
    }
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "yaml") == 0) {
        print_yaml();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "table") == 0) {
        print_table();
        return 0;
    }
    (void)fprintf(stderr, "usage: config_docs yaml|table\n");
    return 2;
}
